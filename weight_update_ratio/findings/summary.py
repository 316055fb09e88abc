"""How large the ratios of a run are, also of a healthy one: of all of it, and of each tensor."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..compare.ratio import LARGE, OK, VERDICTS
from ..compare.rows import Array
from ..verdict.judged_run import JudgedRun
from .course import Course, courses

AWAY = 1.0  # decades that a tensor moves away from the others before it is named
LEAST_STEPS = 5  # comparisons that a level is the median of


class Summary(NamedTuple):
    """The finite ratios of a run; None where there are none.

    Attributes:
        median: The middle one.
        p05: The ratio that 5% are below.
        p95: The ratio that 5% are above.
        outliers: Names of the tensors that moved away from the others by more than a decade, in the trial's order.
    """

    median: float | None
    p05: float | None
    p95: float | None
    outliers: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the summary by the names of the JSON format."""
        return {**self._asdict(), "outliers": list(self.outliers)}


class TensorSummary(NamedTuple):
    """The ratios of one tensor of one worker: of the finite ones median, lowest and highest, NaN where there are none.

    ``last`` is the last ratio, also where that is not finite; ``violations`` counts all of them.
    """

    tensor: str
    worker: str
    median: float
    lowest: float
    highest: float
    last: float
    violations: int


def run_summary(run: JudgedRun) -> Summary:
    """Return how large the ratios of a run are."""
    ratios = np.asarray(run.columns["ratio"])
    finite = ratios[np.isfinite(ratios)]
    away = {course.tensor for course in courses(run) if moved_away(course)}
    outliers = tuple(name for tensor, name in enumerate(run.tensors) if tensor in away)
    if not len(finite):
        return Summary(None, None, None, outliers)
    p05, median, p95 = (float(value) for value in np.quantile(finite, (0.05, 0.5, 0.95)))
    return Summary(median, p05, p95, outliers)


def moved_away(course: Course) -> bool:
    """Return whether a tensor moved away from the worker's other tensors by more than a decade.

    Its level, against the median of the others at the same step, is that of its first comparisons; what was large from
    weights of zero is left out.
    """
    sound = ~np.isnan(course.levels) & ~(course.zero_references & (course.verdicts == VERDICTS.index(LARGE)))
    levels = course.levels[sound]
    if len(levels) < 2 * LEAST_STEPS or levels.max() - levels.min() <= AWAY:
        return False
    first = float(np.median(levels[: max(LEAST_STEPS, len(levels) // 4)]))
    size = max(LEAST_STEPS, len(levels) // 10)
    later: Array = levels[len(levels) % size :].reshape(-1, size)
    medians = np.median(later, axis=1)
    return bool(((abs(medians - first) > AWAY) & (abs(medians) > abs(first))).any())


def tensor_summaries(run: JudgedRun) -> list[TensorSummary]:
    """Return the ratios of each tensor and worker in short, in the trial's order."""
    tensors, workers = list(run.tensors), list(run.workers)
    rows = []
    for course in courses(run):
        finite = course.ratios[np.isfinite(course.ratios)]
        extremes = (np.median(finite), finite.min(), finite.max()) if len(finite) else (np.nan,) * 3
        violations = int((course.verdicts != VERDICTS.index(OK)).sum())
        median, lowest, highest, last = (float(value) for value in (*extremes, course.ratios[-1]))
        names = (tensors[course.tensor], workers[course.worker])
        rows.append(TensorSummary(*names, median, lowest, highest, last, violations))
    return rows
