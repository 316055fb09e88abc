"""Which violations fire, as a pure function of the columns.

A violation fires where it is not finite, or where it ends ``patience`` violations in a row of its tensor and worker, in
the order of global steps; so does each further one. The comparisons that were made count, and no others.
"""

from __future__ import annotations

from typing import Mapping, NamedTuple

import numpy as np

from ..compare.ratio import DRIFTED, NOT_FINITE, OK, VERDICTS
from ..compare.rows import Array

ZERO = 1000.0  # decades: further outside than any other number can be


class Firing(NamedTuple):
    """Which comparisons fire, and which fire or lead up to one that does: bool, shape (n,) each."""

    fires: Array
    leads: Array


def firing(columns: Mapping[str, Array], patience: int) -> Firing:
    """Return which comparisons fire.

    Args:
        columns: ``tensor`` and ``worker``, whole numbers; ``verdict``, places in VERDICTS; all of shape (n,), in the
            order of global steps.
        patience: How many violations in a row fire; >= 1.

    >>> columns = {"tensor": np.zeros(5, int), "worker": np.zeros(5, int), "verdict": np.array([2, 0, 2, 1, 2])}
    >>> firing(columns, 3).fires.tolist(), firing(columns, 3).leads.tolist()
    ([False, False, False, False, True], [False, False, True, True, True])
    """
    violates = columns["verdict"] != VERDICTS.index(OK)
    if patience == 1:
        return Firing(violates, violates)
    so_far, length = in_a_row(keys_of(columns), violates)
    lost = columns["verdict"] == VERDICTS.index(NOT_FINITE)
    return Firing(lost | (so_far >= patience), lost | (length >= patience))


def keys_of(columns: Mapping[str, Array]) -> Array:
    """Return a number for each tensor and worker that there is: int64, shape (n,)."""
    keys: Array = columns["tensor"].astype(np.int64) * (int(columns["worker"].max(initial=0)) + 1) + columns["worker"]
    return keys


def in_a_row(keys: Array, marked: Array) -> tuple[Array, Array]:
    """Return how many marked rows of its key there are in a row, up to each and in all; 0 where a row is not marked.

    Args:
        keys: Whole numbers, shape (n,), in the order of global steps.
        marked: bool, shape (n,).

    Returns:
        Two arrays of int64, shape (n,).
    """
    so_far, length = np.zeros((2, len(keys)), np.int64)
    if marked.any():
        rows = np.flatnonzero(np.isin(keys, np.unique(keys[marked])))
        rows = rows[np.argsort(keys[rows], kind="stable")]
        own, of_run = keys[rows], marked[rows]
        begins = np.ones(len(rows), bool)
        begins[1:] = (np.diff(own) != 0) | ~of_run[1:] | ~of_run[:-1]
        run = np.cumsum(begins) - 1  # of marked rows, or of one that is not
        so_far[rows] = np.where(of_run, np.arange(len(rows)) - np.flatnonzero(begins)[run] + 1, 0)
        length[rows] = np.where(of_run, np.bincount(run)[run], 0)
    return so_far, length


def longest_course(columns: Mapping[str, Array]) -> int:
    """Return how many comparisons a tensor of a worker has at the most; patience beyond that cannot be reached."""
    return int(np.unique(keys_of(columns), return_counts=True)[1].max(initial=0))


def decades_outside(columns: Mapping[str, Array]) -> Array:
    """Return how many decades each ratio, or drifted weight norm, is outside of its bounds: float64, shape (n,).

    Infinite for what is not finite, ``ZERO`` for 0 below a bound; 0 at a bound; negative within them. The worst
    comparison, wherever one is named, has the largest number, and of several the earliest step.

    Args:
        columns: ``ratio``, ``lower``, ``upper``, ``weight_norm``, ``norm_lower``, ``norm_upper`` and ``verdict``, each
            of shape (n,).

    >>> columns = {"ratio": np.array([1e3, 0, 0.1]), "lower": np.full(3, 1e-8), "upper": np.full(3, 10.0)}
    >>> norms = {"weight_norm": np.ones(3), "norm_lower": np.zeros(3), "norm_upper": np.full(3, np.inf)}
    >>> decades_outside({**columns, **norms, "verdict": np.array([1, 2, 0])}).tolist()
    [2.0, 1000.0, -2.0]
    """
    ratio, drifted = columns["ratio"], columns["verdict"] == VERDICTS.index(DRIFTED)
    value = np.where(drifted, columns["weight_norm"], ratio)
    lower = np.where(drifted, columns["norm_lower"], columns["lower"])
    upper = np.where(drifted, columns["norm_upper"], columns["upper"])
    with np.errstate(all="ignore"):
        level = np.log10(value)
        decades = np.fmax(level - np.log10(upper), np.log10(lower) - level)
        decades = np.where(columns["verdict"] == VERDICTS.index(OK), np.fmin(decades, 0), np.fmin(decades, ZERO))
    return np.where(np.isfinite(ratio), decades, np.inf)
