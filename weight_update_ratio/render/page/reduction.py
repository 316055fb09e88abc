"""A report as a picture can hold it: a row a tensor and worker, its steps in bins, and of each bin the extremes.

A trial of 300 tensors and 5,000 steps has 1.5 million comparisons, more than a screen has pixels. A bin keeps its
lowest ratio, its highest and its first that is not finite, so that a spike stays visible. A small trial keeps
everything.
"""

from __future__ import annotations

from typing import Iterable, NamedTuple

import numpy as np

from ...compare.rows import Array
from ...findings.judgement import Judgement
from ...verdict.firing import decades_outside

GOOD_RATIO = -3.0  # log10; cs231n's advice: "this ratio should be somewhere around 1e-3"
MOST_POINTS = 105_000  # comparisons that a picture holds; about 17 bytes each, a third more in base64
MOST_POINTS_BANDED = 70_000  # likewise, each with its own bounds
MOST_COLUMNS = 240  # cells across; more than a phone has pixels for, and the canvas would drop some
MOST_ROWS = 2_000  # the worst of more


class Row(NamedTuple):
    """One tensor of one worker; its bin i reaches from ``left + i * width`` to ``left + (i + 1) * width``, in steps.

    Attributes:
        left: Half a save interval before its first step, so that a bin of one step is centred on it.
        points: Where its points are in the picture's columns.
        worst: Index of its worst point; of several, the first.
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
            -inf for zero), verdict (index in VERDICTS), gap (whether steps before it were not compared) of the kept
            comparisons; by row, then by step.
        worst_first: The rows' indices, worst first.
        left_out: How many rows are not drawn.
        reduced: Whether any comparison of a drawn row is not kept.
    """

    rows: list[Row]
    points: dict[str, Array]
    worst_first: list[int]
    left_out: int
    reduced: bool

    def point_of(self, row: int, step: int) -> int:
        """Return the index of a row's point at a step, or of the kept one that is nearest."""
        points = self.rows[row].points
        nearest = int(abs(self.points["step"][points] - step).argmin())
        return int(points.start) + nearest


def reduce_report(report: Judgement, keep: Iterable[tuple[str, str, int]] = ()) -> Picture:
    """Return what a picture of the report holds: all of a small one, the extremes of each bin of a large one.

    Args:
        report: What is drawn.
        keep: (tensor, worker, step) of comparisons that are kept in any case.
    """
    most_points = MOST_POINTS if report.bounds.baseline is None else MOST_POINTS_BANDED
    columns = report.columns
    workers = max(len(report.workers), 1)
    keys = columns["tensor"].astype(np.int64) * workers + columns["worker"]
    order = np.lexsort((columns["step"], keys))
    badness = decades_outside(columns)
    found, starts = np.unique(keys[order], return_index=True)
    parts = np.split(order, starts[1:]) if len(found) else []
    ranking = sorted(range(len(parts)), key=lambda row: _row_badness(columns, badness, parts[row]))
    drawn = sorted(ranking[:MOST_ROWS])
    tensors, names = list(report.tensors), list(report.workers)
    kept_steps: dict[int, list[int]] = {}
    for name, worker_name, step in keep:
        kept_steps.setdefault(report.tensors[name] * workers + report.workers[worker_name], []).append(step)
    bins = _most_bins((found[ranking[:MOST_ROWS]] // workers).tolist(), ranking[:MOST_ROWS], most_points)
    keep_all = sum(len(parts[row]) for row in drawn) <= most_points
    rows: list[Row] = []
    kept: list[Array] = []
    gaps: list[Array] = []
    start = 0
    for row in drawn:
        tensor, worker = divmod(int(found[row]), workers)
        steps = columns["step"][parts[row]]
        left, width, bin_of = _bins(steps, bins[row])
        worst = int(badness[parts[row]].argmax())
        chosen = np.arange(len(steps))
        if not keep_all:
            asked = np.flatnonzero(np.isin(steps, kept_steps.get(int(found[row]), [])))
            chosen = np.union1d(_extremes(columns["ratio"][parts[row]], bin_of), np.append(asked, worst))
        points = parts[row][chosen]
        cells = _worst_points(badness[points], bin_of[chosen], start)
        place = start + int(np.searchsorted(chosen, worst))
        rows.append(Row(tensors[tensor], names[worker], left, width, slice(start, start + len(points)), place, cells))
        kept.append(points)
        gaps.append(gaps_before(steps, chosen))
        start += len(points)
    index = np.concatenate(kept) if kept else np.zeros(0, np.int64)
    places = {row: place for place, row in enumerate(drawn)}
    return Picture(
        rows,
        {**_points(columns, index), "gap": np.concatenate(gaps) if gaps else np.zeros(0, bool)},
        [places[row] for row in ranking[:MOST_ROWS]],
        len(parts) - len(drawn),
        len(index) < sum(len(parts[row]) for row in drawn),
    )


def gaps_before(steps: Array, chosen: Array) -> Array:
    """Return for each chosen comparison whether steps before it, back to the one chosen before, were not compared.

    They were not where the interval between two comparisons is larger than the tensor's usual one.

    >>> gaps_before(np.array([1, 2, 3, 5, 6]), np.array([0, 2, 4])).tolist()
    [False, False, True]
    """
    intervals = np.diff(steps)
    usual = np.median(intervals) if len(intervals) else 0
    so_far = np.append(0, np.cumsum(intervals > usual))[chosen]
    return np.append(False, np.diff(so_far) > 0)


def _row_badness(columns: dict[str, Array], badness: Array, part: Array) -> tuple[float, int, int]:
    """Return a key that sorts the worst row first: by its worst comparison, its violations, and when that one is."""
    worst = part[badness[part].argmax()]
    return -float(badness[worst]), -int(np.count_nonzero(columns["verdict"][part])), int(columns["step"][worst])


def _most_bins(tensors: list[int], ranking: list[int], most_points: int) -> dict[int, int]:
    """Return how many bins each row has at most, of which each keeps two points; ``tensors`` are those of ``ranking``.

    All rows of a tensor but the worst, which is seen first, share half.
    """
    first = dict(reversed(list(zip(tensors, ranking))))
    worst = set(first.values())
    others = len(ranking) - len(worst)
    share = most_points // (4 if others else 2)
    room = {row: share // (len(worst) if row in worst else others) for row in ranking}
    return {row: max(1, min(MOST_COLUMNS, bins)) for row, bins in room.items()}


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
    ascending = np.lexsort((-np.arange(len(badness)), badness, bin_of))
    cells[bin_of[ascending]] = ascending + start  # of several, the last stays: the worst, and of equals the first
    return cells


def _points(columns: dict[str, Array], index: Array) -> dict[str, Array]:
    points: dict[str, Array] = {name: columns[name][index] for name in ("step", "reference_step", "verdict")}
    for name in ("update_norm", "weight_norm", "ratio", "lower", "upper"):
        with np.errstate(all="ignore"):
            points[name] = np.log10(columns[name][index]).astype(np.float32)
    return points
