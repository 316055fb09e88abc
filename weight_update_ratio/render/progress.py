"""A progress bar while a trial is checked: rich's on stderr, or in a notebook HTML that is updated in place."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import Any, Callable, Iterator

LEAST_SECONDS = 0.1  # between two updates of a notebook


def progress_bar() -> contextlib.AbstractContextManager[Callable[[int, int], None]]:
    """Return a context that gives a function of (steps done, steps in all), which moves the bar."""
    shell = sys.modules.get("IPython") and sys.modules["IPython"].get_ipython()
    return _notebook_bar() if getattr(shell, "kernel", None) is not None else terminal_bar()


def pace(done: int, total: int, seconds: float) -> str:
    """Return the pace so far, and the time that the rest takes at that pace.

    >>> pace(300, 1200, 2.0)
    '150 steps/s, 6 s left'
    >>> pace(1200, 1200, 8.0)
    '150 steps/s'
    """
    if not done or seconds <= 0:
        return ""
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


@contextlib.contextmanager
def optional_bar(quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Give a progress bar on stderr, or None where that is not a terminal."""
    if quiet or sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    with terminal_bar() as step_done:
        yield step_done


@contextlib.contextmanager
def _notebook_bar() -> Iterator[Callable[[int, int], None]]:
    """Give a progress bar in the cell's output, without ipywidgets, which rich would ask for."""
    from IPython.display import HTML, display

    handle: Any = display(HTML(_bar_html(0, 0, 0.0)), display_id=True)
    began = shown = time.monotonic()
    last = (0, 0)

    def update(done: int, total: int) -> None:
        nonlocal shown, last
        last = (done, total)
        if time.monotonic() - shown >= LEAST_SECONDS:
            shown = time.monotonic()
            handle.update(HTML(_bar_html(done, total, shown - began)))

    try:
        yield update
    finally:
        handle.update(HTML(_bar_html(*last, 0.0)))  # without the pace, which differs at every run


def _bar_html(done: int, total: int, seconds: float) -> str:
    bar = f'checking <progress value="{done}" max="{max(total, 1)}"></progress> {done:,} of {total:,} steps'
    return f"{bar} {pace(done, total, seconds)}".rstrip()
