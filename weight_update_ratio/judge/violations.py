"""The violations of a trial, grouped: one verdict of one tensor and worker."""

from __future__ import annotations

import math
from typing import Any

from .comparison import Comparison
from .ratio import LARGE, SMALL

ZERO_REFERENCE = "reference weights are all zero"


class ViolationGroup:
    """The violations of one verdict of one tensor and worker; the worst is the ratio furthest from the threshold."""

    def __init__(self, first: Comparison) -> None:
        self.tensor = first.tensor
        self.worker = first.worker
        self.verdict = first.verdict
        self.first_step = self.last_step = self.worst_step = first.step
        self.worst_ratio = first.ratio
        self.count = 0
        self.zero_references = 0

    def add(self, violation: Comparison) -> None:
        """Count one more violation of the group."""
        self.count += 1
        self.zero_references += violation.weight_norm == 0
        self.first_step = min(self.first_step, violation.step)
        self.last_step = max(self.last_step, violation.step)
        if self._is_worse(violation.ratio):
            self.worst_ratio, self.worst_step = violation.ratio, violation.step

    def _is_worse(self, ratio: float) -> bool:
        if self.verdict == LARGE:
            return ratio > self.worst_ratio
        if self.verdict == SMALL:
            return ratio < self.worst_ratio
        return math.isnan(ratio) and not math.isnan(self.worst_ratio)

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
        }
        if self.note:
            group["note"] = self.note
        return group
