"""The violations of a trial, and what was skipped, in groups of one tensor and worker."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from .comparison import Comparison
from .ratio import LARGE, SMALL

ZERO_REFERENCE = "reference weights are all zero"


class SkippedGroup(NamedTuple):
    """The steps at which one tensor of one worker, or None: the worker as a whole, was skipped for one reason."""

    tensor: str | None
    worker: str | None
    reason: str
    first_step: int | None
    last_step: int | None
    count: int  # type: ignore[assignment]  # in place of tuple.count


class ViolationGroup:
    """The violations of one verdict of one tensor and worker; the worst is the ratio furthest from its bound.

    How far is counted in factors: with a baseline the bounds differ from step to step.
    """

    def __init__(self, first: Comparison) -> None:
        self.tensor = first.tensor
        self.worker = first.worker
        self.verdict = first.verdict
        self.first_step = self.last_step = self.worst_step = first.step
        self.worst_ratio = first.ratio
        self.lower, self.upper = first.lower, first.upper  # at the worst step
        self.count = 0
        self.zero_references = 0

    def add(self, violation: Comparison) -> None:
        """Count one more violation of the group."""
        self.count += 1
        self.zero_references += violation.weight_norm == 0
        self.first_step = min(self.first_step, violation.step)
        self.last_step = max(self.last_step, violation.step)
        distance = _distance(violation.ratio, violation.lower, violation.upper, self.verdict)
        if distance > _distance(self.worst_ratio, self.lower, self.upper, self.verdict):
            self.worst_ratio, self.worst_step = violation.ratio, violation.step
            self.lower, self.upper = violation.lower, violation.upper

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
        group = {
            "tensor": self.tensor,
            "worker": self.worker,
            "verdict": self.verdict,
            "first_step": self.first_step,
            "last_step": self.last_step,
            "count": self.count,
            "worst_ratio": self.worst_ratio,
            "worst_step": self.worst_step,
            "lower": self.lower,
            "upper": self.upper,
        }
        if self.note:
            group["note"] = self.note
        return group


def _distance(ratio: float, lower: float, upper: float, verdict: str) -> tuple[float, float]:
    """Return by which factor a ratio is outside of its bounds; of equal ones the more extreme ratio is further."""
    if verdict == LARGE:
        return ratio / upper if upper else math.inf, ratio
    if verdict == SMALL:
        return lower / ratio if ratio else math.inf, -ratio
    return float(math.isnan(ratio)), 0.0
