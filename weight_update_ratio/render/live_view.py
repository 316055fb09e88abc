"""What a person sees of a job while it is followed: a line where something begins to be wrong, and the page so far."""

from __future__ import annotations

import sys
import time
from typing import Any, Iterable

from ..compare.ratio import DRIFTED, LARGE, NOT_FINITE, SMALL
from ..compare.rows import Comparison
from .terminal import save_text
from .words.escapes import printable
from .words.names import tensors_text, workers_text
from .words.wording import format_ratio

MOST_LINES = 20  # of one job; the report has everything
LEAST_SECONDS = 5.0  # between two pages,
MOST_OF_THE_TIME = 0.1  # and so many that writing them takes no more of the time
WORDS = {NOT_FINITE: "not finite", LARGE: "too large", SMALL: "too small", DRIFTED: "drifted"}


class LiveView:
    """Shows a report that grows; it is called after each step with the report and the violations of new faults.

    Args:
        quiet: Whether no lines are printed.
        page: File that gets the page so far again and again; None: none does.
        fail_fast: Whether to end at the first fault.
    """

    def __init__(self, quiet: bool, page: str | None, fail_fast: bool) -> None:
        self._quiet = quiet
        self._page = page
        self._fail_fast = fail_fast
        self._seen: set[tuple[str, str, str]] = set()
        self._lines = 0
        self._next_page = 0.0

    def __call__(self, report: Any, firing: Iterable[Comparison]) -> bool:
        """Show what is new, and return whether to end.

        Raises:
            CommandError: The page cannot be written.
        """
        firing = list(firing)
        if not self._quiet:
            self._print_beginning(report, firing)
        if self._page is not None and time.monotonic() >= self._next_page:
            began = time.monotonic()
            save_text(report.to_html(), self._page)
            now = time.monotonic()
            self._next_page = now + max(LEAST_SECONDS, (now - began) / MOST_OF_THE_TIME)
        return self._fail_fast and bool(firing)

    def _print_beginning(self, report: Any, firing: list[Comparison]) -> None:
        """Print a line for each verdict that tensors have for the first time."""
        by_verdict: dict[tuple[int, str], list[Comparison]] = {}
        for row in firing:
            if (row.tensor, row.worker, row.verdict) not in self._seen:
                self._seen.add((row.tensor, row.worker, row.verdict))
                by_verdict.setdefault((row.step, row.verdict), []).append(row)
        for (step, verdict), rows in by_verdict.items():
            self._lines += 1
            if self._lines <= MOST_LINES:
                tensors = tensors_text(list(dict.fromkeys(row.tensor for row in rows)), report.tensors)
                workers = workers_text(list(dict.fromkeys(row.worker for row in rows)), report.workers)
                worst = rows[0]
                line = f"{worst.mode} step {step}: {WORDS[verdict]}: {tensors}{workers}"
                is_norm = verdict == DRIFTED
                what, number = ("weight norm", worst.weight_norm) if is_norm else ("ratio", worst.ratio)
                _print(f"{line}, {what} {format_ratio(number)} in {worst.tensor}")
            elif self._lines == MOST_LINES + 1:
                _print("More is not printed here; the report will have all of it.")


def _print(line: str) -> None:
    print(printable(line), file=sys.stderr, flush=True)
