"""How large the ratios of a run are, also of a healthy one: of all of it, and of each tensor."""

from __future__ import annotations

from typing import Iterator, NamedTuple

import numpy as np

from ..compare.rows import Array
from ..verdict.bounds import OK, VERDICTS
from ..verdict.judged_run import JudgedRun
from .course import Course


class Summary(NamedTuple):
    """The finite ratios of a run; None if there are none."""

    median: float | None
    p05: float | None  # 5% are below
    p95: float | None  # 5% are above
    path: float | None  # median over tensors and workers of the sum of ratios: the most that weights can have moved


class TensorSummary(NamedTuple):
    """The ratios of one tensor of one worker; median, lowest and highest of the finite ones, NaN if there are none."""

    tensor: str
    worker: str
    median: float
    lowest: float
    highest: float
    last: float  # also if it is not finite
    violations: int


def run_summary(ratios: Array, courses: list[Course]) -> Summary:
    finite = ratios[np.isfinite(ratios)]
    if not len(finite):
        return Summary(None, None, None, None)
    p05, median, p95 = (float(value) for value in np.quantile(finite, (0.05, 0.5, 0.95)))
    with np.errstate(over="ignore"):
        sums = [course.ratios[np.isfinite(course.ratios)].sum() for course in courses]
        return Summary(median, p05, p95, float(np.median(sums)))


def tensor_summaries(run: JudgedRun, courses: list[Course]) -> Iterator[TensorSummary]:
    tensors, workers = list(run.tensors), list(run.workers)
    for course in courses:
        finite = course.ratios[np.isfinite(course.ratios)]
        extremes = (np.median(finite), finite.min(), finite.max()) if len(finite) else (np.nan,) * 3
        numbers = map(float, (*extremes, course.ratios[-1]))
        violations = int((course.verdicts != VERDICTS.index(OK)).sum())
        names = tensors[course.tensor], workers[course.worker]
        yield TensorSummary._make((*names, *numbers, violations))
