"""How large the ratios of a run are, also of a healthy one: of all of it, and of each tensor."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..compare.ratio import OK, VERDICTS
from ..compare.rows import Array
from ..verdict.judged_run import JudgedRun
from .course import Course


class Summary(NamedTuple):
    """The finite ratios of a run; None where there are none.

    Attributes:
        median: The middle one.
        p05: The ratio that 5% are below.
        p95: The ratio that 5% are above.
        path: The median over tensors and workers of the sum of ratios: by how much of their size the weights can have
            moved.
    """

    median: float | None
    p05: float | None
    p95: float | None
    path: float | None


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


def run_summary(ratios: Array, courses: list[Course]) -> Summary:
    """Return how large the ratios of a run are."""
    finite = ratios[np.isfinite(ratios)]
    if not len(finite):
        return Summary(None, None, None, None)
    p05, median, p95 = (float(value) for value in np.quantile(finite, (0.05, 0.5, 0.95)))
    sums = [course.ratios[np.isfinite(course.ratios)].sum() for course in courses]
    return Summary(median, p05, p95, float(np.median(sums)))


def tensor_summaries(run: JudgedRun, courses: list[Course]) -> list[TensorSummary]:
    """Return the ratios of each tensor and worker in short, in the trial's order."""
    tensors, workers = list(run.tensors), list(run.workers)
    rows = []
    for course in courses:
        finite = course.ratios[np.isfinite(course.ratios)]
        extremes = (np.median(finite), finite.min(), finite.max()) if len(finite) else (np.nan,) * 3
        violations = int((course.verdicts != VERDICTS.index(OK)).sum())
        median, lowest, highest, last = (float(value) for value in (*extremes, course.ratios[-1]))
        names = (tensors[course.tensor], workers[course.worker])
        rows.append(TensorSummary(*names, median, lowest, highest, last, violations))
    return rows
