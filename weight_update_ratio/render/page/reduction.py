"""A Report as a picture can hold it: a row a tensor and worker, its steps in bins, and of each bin the extremes.

A trial of 300 tensors and 5,000 steps has 1.5 million comparisons, more than a screen has pixels. A bin keeps its
lowest ratio, its highest and its first that is not finite, so that a spike stays visible. A small trial keeps
everything.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...judge.history import History
from ...judge.ratio import OK, VERDICTS

GOOD_RATIO = -3.0  # log10; cs231n's advice: "this ratio should be somewhere around 1e-3"
MOST_POINTS = 100_000  # comparisons that a picture holds; 20 bytes each, a third more in base64
MOST_COLUMNS = 240  # cells across; more than a phone has pixels for, and the canvas would drop some
MOST_ROWS = 2_000  # the worst of more

Array = Any  # a NumPy array; its generic alias came with Python 3.9


class Row(NamedTuple):
    """One tensor of one worker; its bin i reaches from ``left + i * width`` to ``left + (i + 1) * width``, in steps.

    Attributes:
        left: Half a save interval before its first step, so that a bin of one step is centred on it.
        points: Where its points are in the picture's columns.
        worst: Index of its worst point.
        cells: Index of the worst point of each bin, -1 where nothing was compared; shape (bins,).
    """

    tensor: str
    worker: str
    left: float
    width: int
    points: slice
    worst: int
    cells: Array

    def bins_of(self, steps: Array) -> Array:
        """Return the bin of each step: int64."""
        return ((steps - self.left) // self.width).astype(np.int64)


class Picture(NamedTuple):
    """What is drawn of a report.

    Attributes:
        rows: Rows in the trial's order; at most ``MOST_ROWS``, the worst.
        points: Columns step, reference_step (int64), update_norm, weight_norm, ratio, lower, upper (log10 in float32:
            -inf for zero), verdict (index in VERDICTS) of the kept comparisons; by row, then by step.
        worst_first: The rows' indices, worst first.
        left_out: How many rows are not drawn.
        reduced: Whether any comparison of a drawn row is not kept.
    """

    rows: list[Row]
    points: dict[str, Array]
    worst_first: list[int]
    left_out: int
    reduced: bool


def reduce_report(report: History, most_points: int = MOST_POINTS) -> Picture:
    """Return what a picture of the report holds: all of a small one, the extremes of each bin of a large one."""
    columns = {name: np.asarray(column) for name, column in report.columns.items()}
    workers = max(len(report.workers), 1)
    keys = columns["tensor"].astype(np.int64) * workers + columns["worker"]
    order = np.lexsort((columns["step"], keys))
    badness = ratio_badness(columns["ratio"], columns["verdict"])
    found, starts = np.unique(keys[order], return_index=True)
    parts = np.split(order, starts[1:]) if len(found) else []
    ranking = sorted(range(len(parts)), key=lambda row: _row_badness(badness[parts[row]]))
    drawn = sorted(ranking[:MOST_ROWS])
    tensors, names = list(report.tensors), list(report.workers)
    bins = max(1, min(MOST_COLUMNS, most_points // (2 * max(len(drawn), 1))))
    keep_all = sum(len(parts[row]) for row in drawn) <= most_points
    rows: list[Row] = []
    kept: list[Array] = []
    start = 0
    for row in drawn:
        tensor, worker = divmod(int(found[row]), workers)
        left, width, bin_of = _bins(columns["step"][parts[row]], bins)
        chosen = np.arange(len(bin_of)) if keep_all else _extremes(columns["ratio"][parts[row]], bin_of)
        points = parts[row][chosen]
        cells = _worst_points(badness[points], bin_of[chosen], start)
        worst = start + int(badness[points].argmax())
        rows.append(Row(tensors[tensor], names[worker], left, width, slice(start, start + len(points)), worst, cells))
        kept.append(points)
        start += len(points)
    index = np.concatenate(kept) if kept else np.zeros(0, np.int64)
    places = {row: place for place, row in enumerate(drawn)}
    return Picture(
        rows,
        _points(columns, index),
        [places[row] for row in ranking[:MOST_ROWS]],
        len(parts) - len(drawn),
        len(index) < sum(len(parts[row]) for row in drawn),
    )


def ratio_badness(ratio: Array, verdict: Array) -> Array:
    """Return how bad a comparison is: its decades from 1e-3; any violation is worse than any that is ok."""
    with np.errstate(all="ignore"):
        decades = np.abs(np.log10(ratio) - GOOD_RATIO)
    decades = np.where(ratio == 0, 1e5, decades)
    decades = np.where(np.isfinite(ratio), decades, 1e6)
    return decades + np.where(verdict == VERDICTS.index(OK), 0.0, 1e4)


def _row_badness(badness: Array) -> tuple[float, int]:
    """Return a key that sorts the worst row first: by its worst comparison, then by how many are as bad."""
    worst = badness.max()
    return -float(worst), -int((badness == worst).sum())


def _bins(steps: Array, most: int) -> tuple[float, int, Array]:
    """Return (left edge, steps a bin, bin of each step), with one saved step a bin where there is room for it."""
    interval = int(np.gcd.reduce(np.diff(steps))) or 1 if len(steps) > 1 else 1
    first = int(steps[0])
    count = (int(steps[-1]) - first) // interval + 1
    width = interval * -(-count // most)
    return first - interval / 2, width, (steps - first) // width


def _extremes(ratio: Array, bin_of: Array) -> Array:
    """Return the indices, ascending, of each bin's lowest and highest ratio and of its first that is not finite."""
    finite = np.flatnonzero(np.isfinite(ratio))
    other = np.flatnonzero(~np.isfinite(ratio))
    by_ratio = finite[np.lexsort((ratio[finite], bin_of[finite]))]
    first = np.unique(bin_of[by_ratio], return_index=True)[1]
    last = np.append(first[1:], len(by_ratio)) - 1 if len(first) else first
    first_other = np.unique(bin_of[other], return_index=True)[1]
    chosen: Array = np.unique(np.concatenate([by_ratio[first], by_ratio[last], other[first_other]]))
    return chosen


def _worst_points(badness: Array, bin_of: Array, start: int) -> Array:
    """Return for each bin the index of its worst point, counted from ``start``, or -1."""
    cells = np.full(int(bin_of[-1]) + 1, -1, np.int64)
    ascending = np.lexsort((badness, bin_of))
    cells[bin_of[ascending]] = ascending + start  # of several, the last stays: the worst
    return cells


def _points(columns: dict[str, Array], index: Array) -> dict[str, Array]:
    points: dict[str, Array] = {name: columns[name][index] for name in ("step", "reference_step", "verdict")}
    for name in ("update_norm", "weight_norm", "ratio", "lower", "upper"):
        with np.errstate(all="ignore"):
            points[name] = np.log10(columns[name][index]).astype(np.float32)
    return points
