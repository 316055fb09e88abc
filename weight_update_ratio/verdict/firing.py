"""Which violations fire, how far outside of their bounds they are, and their groups: pure functions of the columns.

A violation fires if it is not finite, or from the ``patience``-th in a row of its tensor and worker on.
"""

from __future__ import annotations

from typing import Any, Iterator, Mapping, NamedTuple

import numpy as np

from ..compare.rows import Array
from .bounds import DRIFTED, NOT_FINITE, OK, VERDICTS

ZERO = 1000.0  # decades: further outside than any other number can be


def firing(columns: Mapping[str, Array], patience: int) -> tuple[Array, Array]:
    """Return which comparisons fire, and which fire or lead up to one that does: bool, shape (n,) each.

    >>> columns = {"tensor": np.zeros(5, int), "worker": np.zeros(5, int), "verdict": np.array([2, 0, 2, 1, 2])}
    >>> [each.tolist() for each in firing(columns, 3)]
    [[False, False, False, False, True], [False, False, True, True, True]]
    """
    violates = columns["verdict"] != VERDICTS.index(OK)
    if patience == 1:
        return violates, violates
    so_far, length = in_a_row(keys_of(columns), violates)
    lost = columns["verdict"] == VERDICTS.index(NOT_FINITE)
    return lost | (so_far >= patience), lost | (length >= patience)


def keys_of(columns: Mapping[str, Array]) -> Array:
    """Return a number for each tensor and worker that there is: int64, shape (n,)."""
    keys: Array = columns["tensor"].astype(np.int64) * (int(columns["worker"].max(initial=0)) + 1) + columns["worker"]
    return keys


def rows_by_key(keys: Array) -> list[Array]:
    """Return the rows of each key, ascending, in the order of the keys."""
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order], prepend=keys[order[:1]] - 1))
    return np.split(order, starts)[1:]


def in_a_row(keys: Array, marked: Array) -> tuple[Array, Array]:
    """Return how many marked rows of its key there are in a row, up to each and in all; 0 if it is not marked."""
    so_far, length = np.zeros((2, len(keys)), np.int64)
    if marked.any():
        rows = np.flatnonzero(np.isin(keys, np.unique(keys[marked])))
        rows = rows[np.argsort(keys[rows], kind="stable")]
        is_marked = marked[rows]
        begins = np.ones(len(rows), bool)
        begins[1:] = (np.diff(keys[rows]) != 0) | ~is_marked[1:] | ~is_marked[:-1]
        run = np.cumsum(begins) - 1  # of marked rows, or of one that is not
        so_far[rows] = np.where(is_marked, np.arange(len(rows)) - np.flatnonzero(begins)[run] + 1, 0)
        length[rows] = np.where(is_marked, np.bincount(run)[run], 0)
    return so_far, length


def longest_course(columns: Mapping[str, Array]) -> int:
    """Return how many comparisons a tensor of a worker has at the most; patience beyond that cannot be reached."""
    return int(np.unique(keys_of(columns), return_counts=True)[1].max(initial=0))


def decades_outside(columns: Mapping[str, Array]) -> Array:
    """Return how many decades each ratio, or drifted weight norm, is outside of its bounds: float64, shape (n,).

    Infinite for what is not finite, ``ZERO`` for 0 below a bound; 0 at a bound; negative within them.

    >>> columns = {"ratio": np.array([1e3, 0, 0.1]), "lower": np.full(3, 1e-8), "upper": np.full(3, 10.0)}
    >>> norms = {"weight_norm": np.ones(3), "norm_lower": np.zeros(3), "norm_upper": np.full(3, np.inf)}
    >>> decades_outside({**columns, **norms, "verdict": np.array([1, 2, 0])}).tolist()
    [2.0, 1000.0, -2.0]
    """
    drifted = columns["verdict"] == VERDICTS.index(DRIFTED)
    names = (("weight_norm", "ratio"), ("norm_lower", "lower"), ("norm_upper", "upper"))
    value, lower, upper = (np.where(drifted, columns[norm], columns[ratio]) for norm, ratio in names)
    with np.errstate(all="ignore"):
        level = np.log10(value)
        decades = np.fmax(level - np.log10(upper), np.log10(lower) - level)
        decades = np.where(columns["verdict"] == VERDICTS.index(OK), np.fmin(decades, 0), np.fmin(decades, ZERO))
    return np.where(np.isfinite(columns["ratio"]), decades, np.inf)


class ViolationGroup(NamedTuple):
    """The violations of one verdict of one tensor and worker; steps are of the judged mode."""

    tensor: str
    worker: str
    verdict: str
    first_step: int
    last_step: int
    count: int  # type: ignore[assignment]  # in place of tuple.count
    worst_ratio: float
    worst_step: int
    lower: float  # the bounds at the worst step
    upper: float
    fires: bool  # whether one of them fires, or leads up to a violation that does

    def as_dict(self) -> dict[str, Any]:
        return {name: value for name, value in self._asdict().items() if name != "fires"}


def violation_groups(
    columns: Mapping[str, Array], leads: Array, tensors: list[str], workers: list[str]
) -> Iterator[ViolationGroup]:
    rows = np.flatnonzero(columns["verdict"] != VERDICTS.index(OK))
    outside = {name: column[rows] for name, column in columns.items()}
    keys = keys_of(outside) * len(VERDICTS) + outside["verdict"]
    decades, steps = decades_outside(outside), outside["step"]
    for members in sorted(rows_by_key(keys), key=lambda members: (steps[members].min(), members[0])):
        first, worst = members[0], members[decades[members].argmax()]
        yield ViolationGroup(
            tensors[outside["tensor"][first]],
            workers[outside["worker"][first]],
            VERDICTS[outside["verdict"][first]],
            int(steps[members].min()),
            int(steps[members].max()),
            len(members),
            float(outside["ratio"][worst]),
            int(steps[worst]),
            float(outside["lower"][worst]),
            float(outside["upper"][worst]),
            bool(leads[rows[members]].any()),
        )
