"""What a person sees of a job while it is followed: a line for what begins to be wrong, and the page so far."""

from __future__ import annotations

import sys
import time
from typing import Any, Sequence

from ..compare.rows import Comparison
from ..verdict.bounds import DRIFTED, LARGE, NOT_FINITE, SMALL
from .terminal import save_text
from .words.escapes import printable
from .words.names import tensors_text, workers_text

MOST_LINES = 20  # of one job; the report has everything
LEAST_SECONDS = 5.0  # between two pages,
MOST_OF_THE_TIME = 0.1  # and so many that writing them takes no more of the time
WORDS = {NOT_FINITE: "not finite", LARGE: "too large", SMALL: "too small", DRIFTED: "drifted"}


class LiveView:
    """Shows a report that grows; it is called after each step with the report and the violations of new faults."""

    def __init__(self, quiet: bool, page: str | None, fail_fast: bool) -> None:
        self._quiet = quiet
        self._page = page  # file that gets the page so far again and again
        self._fail_fast = fail_fast
        self._lines = 0
        self._next_page = 0.0

    def __call__(self, report: Any, faults: Sequence[Comparison]) -> bool:
        """Show what is new, and return whether to end."""
        if not self._quiet:
            self._print_faults(report, faults)
        began = time.monotonic()
        if self._page is not None and began >= self._next_page:
            save_text(report.to_html(), self._page)
            now = time.monotonic()
            self._next_page = now + max(LEAST_SECONDS, (now - began) / MOST_OF_THE_TIME)
        return self._fail_fast and bool(faults)

    def _print_faults(self, report: Any, faults: Sequence[Comparison]) -> None:
        """Print a line for all tensors of a step and verdict."""
        groups: dict[tuple[int, str], list[Comparison]] = {}
        for row in faults:
            groups.setdefault((row.step, row.verdict), []).append(row)
        for (step, verdict), rows in groups.items():
            self._lines += 1
            if self._lines > MOST_LINES + 1:
                return
            line = "More is not printed here; the report will have all of it."
            if self._lines <= MOST_LINES:
                tensors = tensors_text(list(dict.fromkeys(row.tensor for row in rows)), report.tensors)
                workers = workers_text(list(dict.fromkeys(row.worker for row in rows)), report.workers)
                row = rows[0]
                norm_or_ratio = f"weight norm {row.weight_norm:.3g}" if verdict == DRIFTED else f"ratio {row.ratio:.3g}"
                line = f"{row.mode} step {step}: {WORDS[verdict]}: {tensors}{workers}, {norm_or_ratio} in {row.tensor}"
            print(printable(line), file=sys.stderr, flush=True)
