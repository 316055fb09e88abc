"""Which violations fire: those that last, and those that are not finite.

A violation fires where its tensor and worker have been outside of their bounds in ``patience`` comparisons in a row, in
the order of global steps. Steps without a comparison do not count and do not break the row. The trial alone decides:
where the comparison before was not judged, for it is before ``start_step`` or the rule was not invoked there, it is
made.
"""

from __future__ import annotations

from typing import Iterable, Iterator

from ..trial.folder import TrialFolder
from .comparison import Comparer, Comparison
from .held import HeldSteps
from .history import History
from .ratio import NOT_FINITE, OK
from .references import step_pairs


class Firing:
    """Decides which violations of a trial fire, in any order of its steps.

    While nothing of the run can be held against its baseline, violations wait, but for those that are not finite.
    """

    def __init__(self, folder: TrialFolder, history: History) -> None:
        self._folder = folder
        self._history = history
        self._mode = history.mode or ""
        self._needed = history.parameters.violations_to_fire
        self._last: dict[tuple[str, str], tuple[int, int]] = {}  # a tensor's last violation: its step, which in a row
        self._latest = -1
        self._is_in_order = True
        self._made: dict[tuple[str, str, int], bool | None] = {}
        self._held = HeldSteps(folder, self._mode, history.bounds)
        self._waiting: list[Comparison] = []

    def add(self, violations: Iterable[Comparison]) -> list[Comparison]:
        """Return which violations fire now; of those of a step, all are given at once."""
        rows = list(violations)
        lasting = rows if self._needed == 1 else [row for row in rows if self._lasts(row) or row.verdict == NOT_FINITE]
        if self._held.any():
            lasting, self._waiting = self._waiting + lasting, []
            return lasting
        self._waiting += [row for row in lasting if row.verdict != NOT_FINITE]
        return [row for row in lasting if row.verdict == NOT_FINITE]

    def _lasts(self, row: Comparison) -> bool:
        """Return whether a violation is at least the ``patience``-th in a row."""
        key = row.tensor, row.worker
        self._is_in_order = self._is_in_order and row.global_step >= self._latest
        self._latest = row.global_step
        last, count = self._last.get(key, (-1, 0))
        in_a_row = 1
        for global_step in self._steps_before(row):
            if global_step == last:
                in_a_row += count
                break
            violates = self._violates(row, global_step)
            if violates is not None:
                if not violates:
                    break
                in_a_row += 1
                if in_a_row >= self._needed:
                    break
        in_a_row = min(in_a_row, self._needed)
        self._last[key] = row.global_step, in_a_row
        return in_a_row >= self._needed

    def _steps_before(self, row: Comparison) -> Iterator[int]:
        """Yield the global steps before a row at which its tensor was saved by its worker, the last first."""
        timeline = self._folder.timeline(row.worker, self._mode)
        for position in range((timeline.position(row.global_step) or 0) - 1, -1, -1):
            if row.tensor in timeline.steps[position].records and not timeline.is_saved_again(position, row.tensor):
                yield timeline.global_steps[position]

    def _violates(self, row: Comparison, global_step: int) -> bool | None:
        """Return whether a row's tensor is outside of its bounds at an earlier step; None without a comparison."""
        key = row.tensor, row.worker, global_step
        if self._is_in_order and global_step in self._history.judged_steps:
            return None if key in self._history.uncompared else False  # else it were the tensor's last violation
        if key not in self._made:
            pairs = step_pairs(self._folder, self._mode, global_step)
            own = [pair for pair in pairs if (pair.saved.tensor, pair.saved.worker) == key[:2]]
            made = Comparer(self._folder.storage, self._history.bounds).compare(own).comparisons
            self._made[key] = made[0].verdict != OK if made else None
        return self._made[key]
