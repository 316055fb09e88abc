"""A baseline learnt from a run that trains well."""

from __future__ import annotations

import numpy as np

from ..compare.ratio import NOT_FINITE, VERDICTS
from ..compare.rows import Array
from ..errors import TrialError
from .baseline import BIN_EDGES, BINS, Band, Baseline
from .firing import in_a_row, keys_of
from .judged_run import JudgedRun


def learn_baseline(run: JudgedRun) -> Baseline:
    """Return the baseline of one run.

    Raises:
        TrialError: A ratio is not finite, so that the run is not a good one; or it was not compared as a whole.
    """
    columns = run.columns
    bad = np.flatnonzero(columns["verdict"] == VERDICTS.index(NOT_FINITE))
    if len(bad):
        first = int(bad[0])
        tensor = list(run.tensors)[columns["tensor"][first]]
        raise TrialError(
            f"the ratio of {tensor!r} at {run.mode} step {columns['step'][first]} is {columns['ratio'][first]}",
            "Take a run that trains well.",
        )
    if run.problem is not None:
        raise run.problem
    if not run.complete:
        raise TrialError(
            f"{len(run.unreadable):,} of its records could not be read",
            "Restore its files, or take another run that trains well.",
        )
    return Baseline(1, run.mode or "", run.parameters.epsilon, int(columns["step"].max()), _bands(run))


def _bands(run: JudgedRun) -> dict[str, Band]:
    columns, names = run.columns, list(run.tensors)
    tensors, ratios, norms = columns["tensor"].astype(np.int64), columns["ratio"], columns["weight_norm"]
    gaps = _most_frequent(tensors, columns["step"] - columns["reference_step"], len(names))
    rests = np.zeros(len(names), np.int64)
    np.maximum.at(rests, tensors, in_a_row(keys_of(columns), ratios == 0)[0])
    moves = (columns["step"] - columns["reference_step"] == gaps[tensors]) & (ratios > 0) & (norms > 0)
    order = np.flatnonzero(moves)
    order = order[np.argsort(keys_of(columns)[order], kind="stable")]  # each course in the order of global steps
    smooth = medians_of_three(keys_of(columns)[order], ratios[order])
    bins = np.searchsorted(BIN_EDGES, columns["step"][order], side="right")
    limits = np.full((4, len(names), BINS), np.nan)
    for which, values in enumerate((smooth, smooth, norms[order], norms[order])):
        np.fmax.at(limits[which], (tensors[order], bins), values if which % 2 else -values)
    limits[::2] *= -1  # the lowest is the highest of what is negative
    return {names[code]: Band(int(gaps[code]), int(rests[code]), limits[:, code]) for code in np.unique(tensors)}


def _most_frequent(tensors: Array, gaps: Array, count: int) -> Array:
    """Return the most frequent gap of each tensor, of equals the smaller one: shape (count,)."""
    pairs, counts = np.unique(np.stack([tensors, gaps]), axis=1, return_counts=True)
    order = np.lexsort((-pairs[1], counts))  # of each tensor, the last is written last
    found = np.zeros(count, np.int64)
    found[pairs[0][order]] = pairs[1][order]
    return found


def medians_of_three(keys: Array, values: Array) -> Array:
    """Return the median of each value and its two neighbours of the same key; the first and the last stay as they are.

    >>> medians_of_three(np.array([0, 0, 0, 1]), np.array([1.0, 9.0, 2.0, 5.0])).tolist()
    [1.0, 2.0, 2.0, 5.0]
    """
    result = values.copy()
    if len(values) > 2:
        before, own, after = values[:-2], values[1:-1], values[2:]
        median = np.maximum(np.minimum(before, own), np.minimum(np.maximum(before, own), after))
        result[1:-1] = np.where((keys[:-2] == keys[1:-1]) & (keys[1:-1] == keys[2:]), median, own)
    return result
