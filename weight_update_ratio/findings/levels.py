"""Each ratio against the others of its step, so that what all tensors do together does not count: a schedule."""

from __future__ import annotations

import numpy as np

from ..compare.rows import Array


def levels_to_end(workers: Array, steps: Array, ratios: Array, moves_to_end: Array) -> Array:
    """Return log10 of each ratio above that of the others: of those that move to the end where there are some.

    Where most layers fade to zero, the median of all would fade with them.

    Args:
        workers: Shape (n,), and so are the next three.
        steps: Of the judged mode.
        ratios: Those that are zero or not finite get NaN.
        moves_to_end: Whether the last ratio of the tensor is not zero.
    """
    known = np.flatnonzero((ratios > 0) & np.isfinite(ratios))
    logs, to_end = np.log10(ratios[known]), moves_to_end[known]
    groups = _numbered(steps)[known] * (int(workers.max()) + 1) + workers[known]
    medians = np.full(len(known), np.nan)
    medians[to_end] = other_medians(groups[to_end], logs[to_end])
    if not to_end.all():
        medians[~to_end] = group_medians(groups[to_end], logs[to_end], groups[~to_end])
        alone = ~to_end & np.isnan(medians)
        medians[alone] = other_medians(groups[alone], logs[alone])
    levels = np.full(len(ratios), np.nan)
    levels[known] = logs - medians
    return levels


def _numbered(values: Array) -> Array:
    """Return the place of each value among the different ones: shape (n,), int64."""
    rises = np.diff(values)
    if (rises >= 0).all():
        return np.concatenate([[0], np.cumsum(rises > 0)])
    return np.unique(values, return_inverse=True)[1].reshape(-1)


def _by_group(groups: Array, logs: Array) -> Array:
    """Return the order by group, and by value in it: shape (n,), int64; values closer than 1e-9 may change places."""
    low, high = (logs.min(), logs.max()) if len(logs) else (0.0, 0.0)
    return np.argsort(groups + 0.5 * (logs - low) / ((high - low) or 1.0))  # one sort in place of two


def other_medians(groups: Array, logs: Array) -> Array:
    """Return the median of the others of its group for each value: shape (n,), NaN where there are none."""
    order = _by_group(groups, logs)
    ascending = logs[order]
    begins = np.concatenate([[True], np.diff(groups[order]) != 0])[: len(order)]
    starts = np.flatnonzero(begins)
    sizes = np.diff(np.append(starts, len(order)))
    first, count = np.repeat(starts, sizes), np.repeat(sizes, sizes)
    rank = np.arange(len(order)) - first
    median = np.zeros(len(order))
    for middle in ((count - 2) // 2, (count - 1) // 2):
        place = np.maximum(middle, 0)
        place += place >= rank  # the own one is passed over
        median += ascending[first + np.minimum(place, count - 1)] / 2
    result = np.empty(len(order))
    result[order] = np.where(count > 1, median, np.nan)
    return result


def group_medians(groups: Array, logs: Array, of: Array) -> Array:
    """Return the median of the values of each group that is asked for: shape (m,), NaN where it is empty."""
    order = _by_group(groups, logs)
    ascending, known = logs[order], groups[order]
    first: Array = np.searchsorted(known, of, side="left")
    end: Array = np.searchsorted(known, of, side="right")
    median = np.full(len(of), np.nan)
    some = end > first
    sums = first[some] + end[some]
    median[some] = (ascending[(sums - 1) // 2] + ascending[sums // 2]) / 2
    return median
