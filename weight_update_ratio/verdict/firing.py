"""Which violations fire, as a pure function of the columns.

A violation fires where it is not finite, or where it ends ``patience`` violations in a row of its tensor and worker, in
the order of global steps; so does each further one. The comparisons that were made count, and no others.
"""

from __future__ import annotations

from typing import Mapping, NamedTuple

import numpy as np

from ..compare.ratio import NOT_FINITE, OK, VERDICTS
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
    if patience == 1 or not violates.any():
        return Firing(violates, violates)
    keys = columns["tensor"].astype(np.int64) * (int(columns["worker"].max()) + 1) + columns["worker"]
    rows = np.flatnonzero(np.isin(keys, np.unique(keys[violates])))
    rows = rows[np.argsort(keys[rows], kind="stable")]
    own, outside = keys[rows], violates[rows]
    begins = np.ones(len(rows), bool)
    begins[1:] = (np.diff(own) != 0) | ~outside[1:] | ~outside[:-1]
    run = np.cumsum(begins) - 1  # of violations in a row, or of one sound comparison
    length = np.bincount(run)
    so_far = np.arange(len(rows)) - np.flatnonzero(begins)[run] + 1
    fires = columns["verdict"] == VERDICTS.index(NOT_FINITE)
    leads = fires.copy()
    fires[rows[outside & (so_far >= patience)]] = True
    leads[rows[outside & (length[run] >= patience)]] = True
    return Firing(fires, leads)


def longest_course(columns: Mapping[str, Array]) -> int:
    """Return how many comparisons a tensor of a worker has at the most; patience beyond that cannot be reached."""
    keys = columns["tensor"].astype(np.int64) * (int(columns["worker"].max(initial=0)) + 1) + columns["worker"]
    return int(np.unique(keys, return_counts=True)[1].max(initial=0))


def decades_outside(columns: Mapping[str, Array]) -> Array:
    """Return how many decades each ratio is outside of its bounds: float64, shape (n,).

    Infinite for what is not finite, ``ZERO`` for 0 below a bound; 0 at a bound; negative within them. The worst
    comparison, wherever one is named, has the largest number, and of several the earliest step.

    Args:
        columns: ``ratio``, ``lower``, ``upper`` and ``verdict``, each of shape (n,).

    >>> columns = {"ratio": np.array([1e3, 0, 0.1]), "lower": np.full(3, 1e-8), "upper": np.full(3, 10.0)}
    >>> decades_outside({**columns, "verdict": np.array([1, 2, 0])}).tolist()
    [2.0, 1000.0, -2.0]
    """
    ratio, lower, upper = columns["ratio"], columns["lower"], columns["upper"]
    with np.errstate(all="ignore"):
        level = np.log10(ratio)
        decades = np.fmax(level - np.log10(upper), np.log10(lower) - level)
        decades = np.where(columns["verdict"] == VERDICTS.index(OK), np.fmin(decades, 0), np.fmin(decades, ZERO))
    return np.where(np.isfinite(ratio), decades, np.inf)
