"""The course of each tensor of a worker: its comparisons by global step, and how its ratio moved against others."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..compare.history import History
from ..compare.ratio import NOT_FINITE, OK, VERDICTS
from .levels import Array, levels_to_end


class Course(NamedTuple):
    """The comparisons of one tensor of one worker by global step; every array has shape (n,).

    Attributes:
        tensor: Its place in the history's tensors.
        worker: Its place in the history's workers.
        steps: int64, of the judged mode.
        references: int64, the step that each is compared with.
        global_steps: int64.
        ratios: float64.
        verdicts: Places in VERDICTS.
        lower: The bounds, float64, and so is the next one.
        upper: Its unit is that of a ratio.
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
    found, starts = np.unique(keys[order], return_index=True)
    ratios = columns["ratio"]
    finite = np.where(np.isfinite(ratios[order]), np.arange(len(order)), -1)
    last = np.maximum.reduceat(finite, starts)
    moves_to_end = (last >= 0) & (ratios[order][last] != 0)
    sources = (
        *(columns[name] for name in ("step", "reference_step", "global_step", "ratio", "verdict", "lower", "upper")),
        columns["weight_norm"] == 0,
        firing_rows(history, columns),
        levels_to_end(columns["worker"], columns["step"], ratios, np.isin(keys, found[moves_to_end])),
    )
    parts = [np.split(source[order], starts[1:]) for source in sources]
    return [Course(*divmod(int(key), workers), *own) for key, own in zip(found.tolist(), zip(*parts))]


def count_firing(history: History) -> int:
    """Return how many violations fire, or lead up to one that does."""
    columns = {name: np.asarray(column) for name, column in history.columns.items()}
    return int(firing_rows(history, columns).sum())


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


def is_finite(course: Course) -> Array:
    """Return which comparisons are finite: shape (n,), bool."""
    finite: Array = course.verdicts != VERDICTS.index(NOT_FINITE)
    return finite
