"""The progress of a check on stderr: rich's bar on a terminal, elsewhere a line that is written anew."""

from __future__ import annotations

import contextlib
import sys
from typing import Callable, Iterator

from ..errors import needed_by


@contextlib.contextmanager
def progress_bar() -> Iterator[Callable[[int, int], None]]:
    """Give a function of (steps done, steps in all) that shows them; a terminal's bar disappears at the end."""
    if sys.stderr is None or not sys.stderr.isatty():  # as in a notebook, where rich needs ipywidgets
        yield lambda done, total: print(
            f"\rchecking {done:,} of {total:,} steps", end="\n" * (done == total), file=sys.stderr
        )
        return
    with needed_by("a progress bar"):
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("checking"), BarColumn(), MofNCompleteColumn(), TextColumn("steps"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("checking", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
