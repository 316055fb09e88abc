"""Which violations fire: those that last, and those that are not finite.

A violation fires where its tensor and worker have been outside of their bounds in ``patience`` comparisons in a row, in
the order of global steps. Steps without a comparison do not count and do not break the row. The trial alone decides:
where the comparison before was not judged, for it is before ``start_step`` or the rule was not invoked there, it is
made.
"""

from __future__ import annotations

from typing import Iterable, Iterator, NamedTuple

from ..compare.comparer import Comparer
from ..compare.comparison import Comparison
from ..compare.history import History
from ..compare.ratio import NOT_FINITE, OK, VERDICTS
from ..compare.references import StepPairs, step_pairs
from ..trial.folder import TrialFolder
from .held import HeldSteps


class Fired(NamedTuple):
    """A violation that fires, and those that led up to it: their verdicts, and the global step of the first."""

    row: Comparison
    verdicts: frozenset[str]
    since: int


class _InARow(NamedTuple):
    """The violations of a tensor and worker that follow each other, up to the last one.

    Attributes:
        global_step: That of the last one.
        count: How many there are, or at least ``patience``.
        verdicts: Which they have.
        since: The global step of the first, as far back as they were counted.
    """

    global_step: int
    count: int  # type: ignore[assignment]  # in place of tuple.count
    verdicts: frozenset[str]
    since: int


NONE_IN_A_ROW = _InARow(-1, 0, frozenset(), -1)


def _alone(row: Comparison) -> Fired:
    return Fired(row, frozenset((row.verdict,)), row.global_step)


class Firing:
    """Decides which violations of a trial fire, in any order of its steps.

    While nothing of the run can be held against its baseline, violations wait, but for those that are not finite.
    """

    def __init__(self, folder: TrialFolder, history: History) -> None:
        self._folder = folder
        self._history = history
        self._mode = history.mode or ""
        self._needed = history.parameters.violations_to_fire
        self._last: dict[tuple[str, str], _InARow] = {}  # by tensor and worker
        self._latest = -1
        self._is_in_order = True
        self._made: dict[tuple[str, str, int], str | None] = {}
        self._pairs: dict[int, list[StepPairs]] = {}  # by global step
        self._held = HeldSteps(folder, self._mode, history.bounds)
        self._waiting: list[Fired] = []

    @property
    def is_simple(self) -> bool:
        """Whether each violation fires at once, whatever came before."""
        return self._needed == 1 and self._history.bounds.baseline is None

    def add(self, violations: Iterable[Comparison]) -> list[Fired]:
        """Return which violations fire now; of those of a step, all are given at once."""
        firing = [fired for fired in map(self._fired, violations) if fired is not None]
        if self._held.any():
            firing, self._waiting = self._waiting + firing, []
            return firing
        self._waiting += [fired for fired in firing if fired.row.verdict != NOT_FINITE]
        return [_alone(fired.row) for fired in firing if fired.row.verdict == NOT_FINITE]

    def _fired(self, row: Comparison) -> Fired | None:
        """Return a violation with those that led up to it, where it fires."""
        if self._needed == 1:
            return _alone(row)
        self._is_in_order = self._is_in_order and row.global_step >= self._latest
        self._latest = row.global_step
        last = self._last.get((row.tensor, row.worker), NONE_IN_A_ROW)
        count, verdicts, since = 1, {row.verdict}, row.global_step
        for global_step in self._steps_before(row):
            if global_step == last.global_step:
                count += last.count
                verdicts |= last.verdicts
                since = last.since
                break
            verdict = self._verdict(row, global_step)
            if verdict == OK or count >= self._needed:
                break
            if verdict is not None:
                count += 1
                verdicts.add(verdict)
                since = global_step
        self._last[row.tensor, row.worker] = _InARow(row.global_step, count, frozenset(verdicts), since)
        if count >= self._needed:
            return Fired(row, frozenset(verdicts), since)
        return _alone(row) if row.verdict == NOT_FINITE else None

    def _steps_before(self, row: Comparison) -> Iterator[int]:
        """Yield the global steps before a row at which its tensor was saved by its worker, the last first."""
        timeline = self._folder.timeline(row.worker, self._mode)
        for position in range((timeline.position(row.global_step) or 0) - 1, -1, -1):
            if row.tensor in timeline.steps[position].records and not timeline.is_saved_again(position, row.tensor):
                yield timeline.global_steps[position]

    def _verdict(self, row: Comparison, global_step: int) -> str | None:
        """Return the verdict of a row's tensor at an earlier step; None where it has no comparison there."""
        key = row.tensor, row.worker, global_step
        if self._is_in_order and global_step in self._history.judged_steps:
            return None if key in self._history.uncompared else OK  # else it were the tensor's last violation
        if key not in self._made:
            if global_step not in self._pairs:
                pairs = step_pairs(self._folder, self._mode, global_step)
                self._pairs = dict([*self._pairs.items()][-self._needed :])  # the last few steps are looked at again
                self._pairs[global_step] = pairs
            own = [
                pairs.only(row.tensor)
                for pairs in self._pairs[global_step]
                if pairs.saved.worker == row.worker and row.tensor in pairs.tensors
            ]
            compared = Comparer(self._folder.storage, self._history.bounds).compare(own).compared
            made = [VERDICTS[code] for each in compared for code in each.verdict]
            self._made[key] = made[0] if made else None
        return self._made[key]
