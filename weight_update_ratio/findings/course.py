"""The course of each tensor of a worker: its comparisons by global step."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..compare.ratio import NOT_FINITE, VERDICTS
from ..compare.rows import Array
from ..verdict.firing import decades_outside, keys_of
from ..verdict.judged_run import JudgedRun

COLUMNS = ("step", "reference_step", "global_step", "ratio", "update_norm", "weight_norm", "verdict", "held")
BOUNDS = ("lower", "upper", "norm_lower", "norm_upper")


class Course(NamedTuple):
    """The comparisons of one tensor of one worker by global step; every array has shape (n,).

    Attributes:
        tensor: Its place in the run's tensors.
        worker: Its place in the run's workers.
        steps: int64, of the judged mode.
        references: int64, the step that each is compared with.
        global_steps: int64.
        ratios: float64.
        updates: float64, the norms of the updates.
        norms: float64, of the reference weights.
        verdicts: Places in VERDICTS.
        held: bool, whether its bounds are a baseline's.
        lower: The bounds, float64, and so is ``upper``; ``norm_lower`` and ``norm_upper`` are those of the norms.
        decades: float64, how many decades it is outside of its bounds.
        fires: bool, whether it is a violation that fires or leads up to one that does.
    """

    tensor: int
    worker: int
    steps: Array
    references: Array
    global_steps: Array
    ratios: Array
    updates: Array
    norms: Array
    verdicts: Array
    held: Array
    lower: Array
    upper: Array
    norm_lower: Array
    norm_upper: Array
    decades: Array
    fires: Array

    @property
    def end(self) -> int:
        """How many comparisons come before the first that is not finite."""
        lost = np.flatnonzero(self.verdicts == VERDICTS.index(NOT_FINITE))
        return int(lost[0]) if len(lost) else len(self.steps)

    def until(self, end: int) -> Course:
        """Return its first ``end`` comparisons."""
        return Course(self.tensor, self.worker, *(column[:end] for column in self[2:]))

    @property
    def moves(self) -> Array:
        """Positions, before the first comparison that is not finite, at which it moved."""
        return np.flatnonzero(self.ratios[: self.end] > 0)

    @property
    def gap(self) -> int:
        """How far apart its comparisons are, in steps: the median; of one, how far back its reference is."""
        return max(int(np.median(np.diff(self.steps) if len(self.steps) > 1 else self.steps - self.references)), 1)


def courses_of(run: JudgedRun) -> list[Course]:
    """Return the course of each tensor and worker that was compared, by tensor and worker."""
    if not len(run):
        return []
    columns, keys = run.columns, keys_of(run.columns)
    order = np.lexsort((columns["global_step"], keys))
    starts = np.unique(keys[order], return_index=True)[1]
    sources = [*(columns[name] for name in (*COLUMNS, *BOUNDS)), decades_outside(columns), run.leads]
    parts = [np.split(source[order], starts[1:]) for source in sources]
    places = zip(columns["tensor"][order][starts].tolist(), columns["worker"][order][starts].tolist())
    return [Course(*place, *own) for place, own in zip(places, zip(*parts))]
