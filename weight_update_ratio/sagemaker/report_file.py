"""The rule's report as a file, which the service uploads when the evaluator ends."""

from __future__ import annotations

import atexit
import json
import os
import time
from typing import Any, Callable

from ..files import whole_file
from ..verdict.document import finite_numbers, run_document
from ..verdict.judged_run import JudgedRun

REPORT_FILE = "WeightUpdateRatio.json"
FREE_SECONDS = 5.0  # of writing in all; after these not every step that fires writes a report
MOST_OF_THE_TIME = 0.1  # that writing takes then: a long job's report is large


class ReportFile:
    """Writes reports to ``WeightUpdateRatio.json`` in a folder, each whole or not at all; to none for "".

    A disk that refuses it does not stop the judging: that is logged once, because a disk stays full for many steps.
    """

    def __init__(self, folder: str, log_error: Callable[[str], Any]) -> None:
        self._folder = folder
        self._log_error = log_error
        self._pending: JudgedRun | None = None
        self._spent = self._next = 0.0
        if folder:
            atexit.register(self.close)

    def write(self, report: JudgedRun, is_due: bool = True, at_once: bool = False) -> None:
        """Write a report; if it is not due, or writing has taken long, leave that to a later call or to ``close``."""
        self._pending = report
        if at_once or (is_due and (self._spent < FREE_SECONDS or time.monotonic() >= self._next)):
            self.close()

    def close(self) -> None:
        """Write what is not written yet."""
        if not self._folder or self._pending is None:
            return
        path = os.path.join(self._folder, REPORT_FILE)
        report, self._pending = self._pending, None
        began = time.monotonic()
        try:
            os.makedirs(self._folder, exist_ok=True)
            with whole_file(path) as file:
                file.write(json.dumps(finite_numbers(run_document(report)), indent=2, allow_nan=False))
        except OSError as error:
            self._log_error(f"the report {path!r} cannot be written: {error.strerror}")
            self._log_error = lambda text: None
        now = time.monotonic()
        self._spent += now - began
        self._next = now + (now - began) / MOST_OF_THE_TIME
