"""The course of each tensor of a worker: its comparisons by global step."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..compare.rows import Array
from ..verdict.bounds import NOT_FINITE, VERDICTS
from ..verdict.firing import decades_outside, keys_of, rows_by_key
from ..verdict.judged_run import JudgedRun

BOUNDS = ("lower", "upper", "norm_lower", "norm_upper")
COLUMNS = ("step", "reference_step", "global_step", "ratio", "update_norm", "weight_norm", "verdict", "held", *BOUNDS)


class Course(NamedTuple):
    """The comparisons of one tensor of one worker by global step; every array has shape (n,)."""

    tensor: int  # its index in the run's tensors
    worker: int
    steps: Array
    references: Array  # the steps of the reference weights
    global_steps: Array
    ratios: Array
    updates: Array  # their norms
    norms: Array  # of the reference weights
    verdicts: Array  # indices in VERDICTS
    held: Array  # whether the bounds are a baseline's
    lower: Array
    upper: Array
    norm_lower: Array
    norm_upper: Array
    decades: Array  # by how many it is outside of its bounds
    fires: Array  # whether it is a violation that fires or leads up to one that does

    @property
    def end(self) -> int:
        """How many comparisons come before the first that is not finite."""
        lost = np.flatnonzero(self.verdicts == VERDICTS.index(NOT_FINITE))
        return int(lost[0]) if len(lost) else len(self.steps)

    def part(self, rows: Any) -> Course:
        return Course(self.tensor, self.worker, *(column[rows] for column in self[2:]))

    @property
    def moves(self) -> Array:
        """Indices, before the first comparison that is not finite, at which it moved."""
        return np.flatnonzero(self.ratios[: self.end] > 0)

    @property
    def gap(self) -> int:
        """How far apart its comparisons are, in steps: the median; of one, how far back its reference is."""
        return max(int(np.median(np.diff(self.steps) if len(self.steps) > 1 else self.steps - self.references)), 1)


def courses_of(run: JudgedRun) -> list[Course]:
    columns = run.columns  # by global step
    tensors, workers = columns["tensor"], columns["worker"]
    sources = [*(columns[name] for name in COLUMNS), decades_outside(columns), run.leads]
    return [
        Course(int(tensors[rows[0]]), int(workers[rows[0]]), *(source[rows] for source in sources))
        for rows in rows_by_key(keys_of(columns))
    ]
