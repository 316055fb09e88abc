"""The course of each tensor of a worker: its comparisons by global step, and how its ratio moved against others."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .history import History
from .ratio import NOT_FINITE, OK, VERDICTS

Array = Any  # a NumPy array; its generic alias came with Python 3.9


class Course(NamedTuple):
    """The comparisons of one tensor of one worker by global step; every array has shape (n,).

    Attributes:
        tensor: Its place in the history's tensors.
        worker: Its place in the history's workers.
        steps: int64, of the judged mode.
        ratios: float64.
        verdicts: Places in VERDICTS.
        lower: The bounds, float64, and so is the next one.
        upper: Its unit is that of a ratio.
        zero_references: bool, whether the reference weights are all zero.
        fires: bool, whether it is a violation that fires or leads up to one that does.
        levels: float64, log10 of the ratio above the median of the worker's other tensors at that step; NaN where the
            ratio is zero or not finite, or no other tensor moved.
    """

    tensor: int
    worker: int
    steps: Array
    ratios: Array
    verdicts: Array
    lower: Array
    upper: Array
    zero_references: Array
    fires: Array
    levels: Array


def courses(history: History) -> list[Course]:
    """Return the course of each tensor and worker that was compared, by tensor and worker."""
    columns = {name: np.asarray(column) for name, column in history.columns.items()}
    if not len(history):
        return []
    workers = max(len(history.workers), 1)
    keys = columns["tensor"].astype(np.int64) * workers + columns["worker"]
    order = np.lexsort((columns["global_step"], keys))
    _, starts = np.unique(keys[order], return_index=True)
    sources = (
        *(columns[name] for name in ("step", "ratio", "verdict", "lower", "upper")),
        columns["weight_norm"] == 0,
        firing_rows(history, columns),
        relative_levels(columns["worker"], columns["step"], columns["ratio"]),
    )
    parts = [np.split(source[order], starts[1:]) for source in sources]
    return [Course(*divmod(int(keys[order[start]]), workers), *own) for start, own in zip(starts.tolist(), zip(*parts))]


def firing_rows(history: History, columns: dict[str, Array]) -> Array:
    """Return which comparisons are violations that fire, or lead up to one that does: shape (n,), bool."""
    fires: Array = columns["verdict"] != VERDICTS.index(OK)
    tensors, workers = history.tensors, history.workers
    keys = [
        (tensors[tensor] * len(workers) + workers[worker]) * len(VERDICTS) + VERDICTS.index(verdict)
        for tensor, worker, verdict in history.firing_keys
    ]
    own = columns["tensor"].astype(np.int64) * len(workers) + columns["worker"]
    fires &= np.isin(own * len(VERDICTS) + columns["verdict"], keys)
    if history.parameters.violations_to_fire > 1:
        lasting = np.zeros(len(fires), bool)
        candidates = np.flatnonzero(fires)
        for (tensor, worker), spans in history.firing_spans.items():
            key = tensors[tensor] * len(workers) + workers[worker]
            rows = candidates[own[candidates] == key]
            for first, last in spans:
                at = columns["global_step"][rows]
                lasting[rows[(first <= at) & (at <= last)]] = True
        fires &= lasting
    return fires


def relative_levels(workers: Array, steps: Array, ratios: Array) -> Array:
    """Return log10 of each ratio above the median of the worker's other ratios at that step: shape (n,), float64.

    NaN where the ratio is zero or not finite, or all others are.
    """
    levels = np.full(len(ratios), np.nan)
    known = np.flatnonzero((ratios > 0) & np.isfinite(ratios))
    if not len(known):
        return levels
    logs = np.log10(ratios[known])
    order = np.lexsort((logs, steps[known], workers[known]))
    logs, known = logs[order], known[order]
    begins = np.ones(len(known), bool)
    begins[1:] = (steps[known][1:] != steps[known][:-1]) | (workers[known][1:] != workers[known][:-1])
    starts = np.flatnonzero(begins)
    sizes = np.diff(np.append(starts, len(known)))
    first, count = np.repeat(starts, sizes), np.repeat(sizes, sizes)
    rank = np.arange(len(known)) - first
    median = np.zeros(len(known))
    for middle in ((count - 2) // 2, (count - 1) // 2):  # of the others, so the own rank is passed over
        place = np.maximum(middle, 0) + (middle >= rank)
        median += logs[first + np.minimum(place, count - 1)] / 2
    levels[known] = np.where(count > 1, logs - median, np.nan)
    return levels


def is_finite(course: Course) -> Array:
    """Return which comparisons are finite: shape (n,), bool."""
    finite: Array = course.verdicts != VERDICTS.index(NOT_FINITE)
    return finite
