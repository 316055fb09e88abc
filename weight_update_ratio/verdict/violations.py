"""The violations of a run in groups of one tensor, worker and verdict, and what was skipped in groups of one reason."""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple

import numpy as np

from ..compare.ratio import OK, VERDICTS
from ..compare.rows import Array
from .firing import decades_outside


class ViolationGroup(NamedTuple):
    """The violations of one verdict of one tensor and worker.

    Attributes:
        verdict: What all of them have.
        first_step: The lowest step, of the judged mode.
        worst_ratio: The ratio of the worst.
        worst_step: Its step.
        lower: The bounds at that step are ``lower`` and ``upper``.
        fires: Whether one of them fires, or leads up to a violation that does.
    """

    tensor: str
    worker: str
    verdict: str
    first_step: int
    last_step: int
    count: int  # type: ignore[assignment]  # in place of tuple.count
    worst_ratio: float
    worst_step: int
    lower: float
    upper: float
    fires: bool

    def as_dict(self) -> dict[str, Any]:
        """Return the group by the names of the JSON format."""
        return {name: value for name, value in self._asdict().items() if name != "fires"}


def violation_groups(
    columns: Mapping[str, Array], leads: Array, tensors: list[str], workers: list[str]
) -> list[ViolationGroup]:
    """Return the violations in groups, in the order in which they began.

    Args:
        columns: Those of the run, each of shape (n,), in the order of global steps.
        leads: Which comparisons fire or lead up to one that does: shape (n,), bool.
        tensors: The names that the column ``tensor`` stands for.
        workers: Likewise.
    """
    rows = np.flatnonzero(columns["verdict"] != VERDICTS.index(OK))
    if not len(rows):
        return []
    outside = {name: column[rows] for name, column in columns.items()}
    keys = (outside["tensor"].astype(np.int64) * len(workers) + outside["worker"]) * len(VERDICTS) + outside["verdict"]
    by_key = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[by_key], prepend=-1))
    decades, steps = decades_outside(outside), outside["step"]
    groups = []
    for own in np.split(by_key, starts[1:]):
        at, worst = own[0], own[decades[own].argmax()]
        group = ViolationGroup(
            tensors[outside["tensor"][at]],
            workers[outside["worker"][at]],
            VERDICTS[outside["verdict"][at]],
            int(steps[own].min()),
            int(steps[own].max()),
            len(own),
            float(outside["ratio"][worst]),
            int(steps[worst]),
            float(outside["lower"][worst]),
            float(outside["upper"][worst]),
            bool(leads[rows[own]].any()),
        )
        groups.append((group.first_step, int(at), group))
    return [group for _, _, group in sorted(groups, key=lambda found: found[:2])]
