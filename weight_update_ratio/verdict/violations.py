"""The violations of a trial, and what was skipped, in groups of one tensor and worker."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from ..compare.comparison import Comparison
from ..compare.ratio import LARGE, SMALL

ZERO_REFERENCE = "reference weights are all zero"


class SkippedGroup(NamedTuple):
    """The steps at which one tensor of one worker, or None: the worker as a whole, was skipped for one reason."""

    tensor: str | None
    worker: str | None
    reason: str
    first_step: int | None
    last_step: int | None
    count: int  # type: ignore[assignment]  # in place of tuple.count


class ViolationGroup(NamedTuple):
    """The violations of one verdict of one tensor and worker; the worst is the ratio furthest from its bound.

    How far is counted in factors: with a baseline the bounds differ from step to step.

    Attributes:
        tensor: Its name.
        worker: Its name.
        verdict: What all of them have.
        first_step: The lowest step, of the judged mode.
        last_step: The highest one.
        count: How many there are.
        worst_ratio: The ratio of the worst.
        worst_step: Its step.
        lower: The bounds at that step, and so is the next one.
        upper: Its unit is that of a ratio.
        zero_references: How many have reference weights that are all zero.
    """

    tensor: str
    worker: str
    verdict: str
    first_step: int
    last_step: int
    count: int  # type: ignore[assignment]  # in place of tuple.count
    worst_ratio: float
    worst_step: int
    lower: float
    upper: float
    zero_references: int

    @property
    def key(self) -> tuple[str, str, str]:
        """Tensor, worker and verdict."""
        return self.tensor, self.worker, self.verdict

    def __repr__(self) -> str:
        """Return what it is of, how many there are and where."""
        steps = f"step {self.first_step}" if self.count == 1 else f"steps {self.first_step}-{self.last_step}"
        return f"<ViolationGroup {self.verdict}: {self.tensor} of {self.worker}, {self.count:,} at {steps}>"

    @property
    def note(self) -> str:
        """What a person should know beside the ratio, or an empty string."""
        if not self.zero_references:
            return ""
        return ZERO_REFERENCE + ("" if self.zero_references == self.count else f" at {self.zero_references} of them")

    def as_dict(self) -> dict[str, Any]:
        """Return the group by the names of the JSON format."""
        group: dict[str, Any] = self._asdict()
        del group["zero_references"]
        if self.note:
            group["note"] = self.note
        return group


def group_with(group: ViolationGroup | None, violation: Comparison) -> ViolationGroup:
    """Return a group with one more violation; None: a new group."""
    zero = int(violation.weight_norm == 0)
    step, bounds = violation.step, (violation.lower, violation.upper)
    if group is None:
        names = (violation.tensor, violation.worker, violation.verdict)
        return ViolationGroup(*names, step, step, 1, violation.ratio, step, *bounds, zero)
    first, last = min(group.first_step, step), max(group.last_step, step)
    group = group._replace(
        first_step=first, last_step=last, count=group.count + 1, zero_references=group.zero_references + zero
    )
    distance = _distance(violation.ratio, *bounds, violation.verdict)
    if distance > _distance(group.worst_ratio, group.lower, group.upper, group.verdict):
        group = group._replace(worst_ratio=violation.ratio, worst_step=step, lower=bounds[0], upper=bounds[1])
    return group


def _distance(ratio: float, lower: float, upper: float, verdict: str) -> tuple[float, float]:
    """Return by which factor a ratio is outside of its bounds; of equal ones the more extreme ratio is further."""
    if verdict == LARGE:
        return ratio / upper if upper else math.inf, ratio
    if verdict == SMALL:
        return lower / ratio if ratio else math.inf, -ratio
    return float(math.isnan(ratio)), 0.0
