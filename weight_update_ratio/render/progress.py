"""A progress bar while a trial is checked: rich's on a terminal, or in a notebook a line that is written anew."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import Callable, Iterator

LEAST_SECONDS = 0.1  # between two updates of a notebook


def progress_bar() -> contextlib.AbstractContextManager[Callable[[int, int], None]]:
    """Return a context that gives a function of (steps done, steps in all), which moves the bar."""
    return terminal_bar() if _is_terminal() else line_bar()


def pace(done: int, total: int, seconds: float) -> str:
    """Return the pace so far, and the time that the rest takes at that pace.

    >>> pace(300, 1200, 2.0)
    '150 steps/s, 6 s left'
    >>> pace(1200, 1200, 8.0)
    '150 steps/s'
    """
    seconds = max(seconds, 1e-9)
    rate = f"{done / seconds:,.{0 if done >= 10 * seconds else 1}f} steps/s"
    if done >= total:
        return rate  # a job that is followed may save more
    left = seconds / done * (total - done)
    return f"{rate}, {left / 60:,.0f} min left" if left >= 100 else f"{rate}, {left:.0f} s left"


@contextlib.contextmanager
def terminal_bar() -> Iterator[Callable[[int, int], None]]:
    """Give a progress bar on stderr, which disappears at the end."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("checking"), BarColumn(), MofNCompleteColumn(), TextColumn("steps  {task.fields[pace]}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("checking", total=None, pace="")
        began = time.monotonic()

        def update(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, pace=pace(done, total, time.monotonic() - began))

        yield update


def optional_bar(quiet: bool) -> contextlib.AbstractContextManager[Callable[[int, int], None] | None]:
    """Return a context that gives a progress bar on stderr, or None where that is not a terminal."""
    return contextlib.nullcontext() if quiet or not _is_terminal() else terminal_bar()


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


@contextlib.contextmanager
def line_bar() -> Iterator[Callable[[int, int], None]]:
    """Give a line on stderr that is written anew, which a notebook shows without ipywidgets."""
    began = shown = time.monotonic()

    def update(done: int, total: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown >= LEAST_SECONDS or done == total:
            shown = now
            left = "" if done == total else pace(done, total, now - began)  # a notebook keeps the last line
            line = f"checking {done:,} of {total:,} steps  {left}"
            print(f"\r{line:<79}", end="\n" if done == total else "", file=sys.stderr, flush=True)

    yield update
