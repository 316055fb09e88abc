"""The course of each tensor of a worker: its comparisons by global step, and how its ratio moved against others."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..compare.ratio import NOT_FINITE, VERDICTS
from ..compare.rows import Array
from ..verdict.firing import decades_outside
from ..verdict.judged_run import JudgedRun
from .levels import levels_to_end


class Course(NamedTuple):
    """The comparisons of one tensor of one worker by global step; every array has shape (n,).

    Attributes:
        tensor: Its place in the run's tensors.
        worker: Its place in the run's workers.
        steps: int64, of the judged mode.
        references: int64, the step that each is compared with.
        global_steps: int64.
        ratios: float64.
        verdicts: Places in VERDICTS.
        lower: The bounds, float64, and so is ``upper``.
        norms: float64, of the reference weights; ``norm_lower`` and ``norm_upper`` are their bounds.
        decades: float64, how many decades it is outside of its bounds.
        zero_references: bool, whether the reference weights are all zero.
        fires: bool, whether it is a violation that fires or leads up to one that does.
        levels: float64, log10 of the ratio above the median of the worker's other tensors at that step, of those that
            move to the end where there are some; NaN where the ratio is zero or not finite, or no other tensor moved.
    """

    tensor: int
    worker: int
    steps: Array
    references: Array
    global_steps: Array
    ratios: Array
    verdicts: Array
    lower: Array
    upper: Array
    norms: Array
    norm_lower: Array
    norm_upper: Array
    decades: Array
    zero_references: Array
    fires: Array
    levels: Array


def courses_of(run: JudgedRun) -> list[Course]:
    """Return the course of each tensor and worker that was compared, by tensor and worker."""
    columns = run.columns
    if not len(run):
        return []
    workers = max(len(run.workers), 1)
    keys = columns["tensor"].astype(np.int64) * workers + columns["worker"]
    order = np.lexsort((columns["global_step"], keys))
    found, starts = np.unique(keys[order], return_index=True)
    ratios = columns["ratio"]
    finite = np.where(np.isfinite(ratios[order]), np.arange(len(order)), -1)
    last = np.maximum.reduceat(finite, starts)
    moves_to_end = (last >= 0) & (ratios[order][last] != 0)
    sources = (
        *(columns[name] for name in ("step", "reference_step", "global_step", "ratio", "verdict", "lower", "upper")),
        *(columns[name] for name in ("weight_norm", "norm_lower", "norm_upper")),
        decades_outside(columns),
        columns["weight_norm"] == 0,
        run.leads,
        levels_to_end(columns["worker"], columns["step"], ratios, np.isin(keys, found[moves_to_end])),
    )
    parts = [np.split(source[order], starts[1:]) for source in sources]
    return [Course(*divmod(int(key), workers), *own) for key, own in zip(found.tolist(), zip(*parts))]


def is_finite(course: Course) -> Array:
    """Return which comparisons are finite: shape (n,), bool."""
    finite: Array = course.verdicts != VERDICTS.index(NOT_FINITE)
    return finite
