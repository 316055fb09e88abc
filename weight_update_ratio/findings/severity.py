"""What the rest of the run says of what happened to a tensor: a note where that explains it, else a fault."""

from __future__ import annotations

from collections import Counter
from typing import Sequence

import numpy as np

from ..compare.ratio import SMALL, VERDICTS
from ..compare.rows import Array
from ..verdict.judged_run import JudgedRun
from .course import Course
from .entries import Entry
from .kinds import CHANGED, FEW, FROZEN, NOT_YET, NOTE, NOTHING_MOVED, RESTING, SHRINKING, STOPPED, TOO_SMALL, VANISHING

ALIKE = 0.02  # of the run: what begins, or rests, no longer apart is together
HALF = 0.5  # of the tensors that move
LEAST_LENGTH, LEAST_FADING = 10, 4  # comparisons of a run that ends by its schedule; of one that is seen to fade
FADED, GONE = 10.0, 100.0  # how many times the last ratio is less than the median, where a schedule ends; guessed


class RunCourses:
    """What the courses of a run have in common.

    Attributes:
        length: Steps from the first to the last one.
        moving_steps: {worker: the steps at which any tensor moves}.
        movers: {worker: how many tensors move}.
        ends_by_schedule: Whether all that moves comes to rest at its last few comparisons.
    """

    def __init__(self, courses: Sequence[Course]) -> None:
        self.length = int(max(course.steps.max() for course in courses) - min(course.steps.min() for course in courses))
        moving = [course for course in courses if len(course.moves)]
        self.movers = Counter(course.worker for course in moving)
        self.moving_steps: dict[int, Array] = {}
        for worker in self.movers:
            steps = [course.steps[course.moves] for course in moving if course.worker == worker]
            self.moving_steps[worker] = np.unique(np.concatenate(steps))
        self.ends_by_schedule = all(ends_by_schedule(course) for course in moving)


def ends_by_schedule(course: Course) -> bool:
    """Return whether a tensor comes to rest at its last few comparisons, or nearly, as where a schedule ends at 0."""
    quiet = (course.verdicts == VERDICTS.index(SMALL)) | (course.ratios == 0)
    loud = np.flatnonzero(~quiet)
    if not len(loud) or course.end < len(quiet):
        return False
    tail, fall = len(quiet) - 1 - int(loud[-1]), float(np.median(course.ratios[loud]) / course.ratios[loud[-1]])
    if not tail:
        return fall >= GONE
    is_long = len(quiet) >= LEAST_LENGTH or (len(quiet) >= LEAST_FADING and fall >= FADED)
    return is_long and (tail <= FEW or (fall >= FADED and tail <= ALIKE * len(quiet)))


def in_the_run(entries: Sequence[Entry], run: JudgedRun, known: RunCourses) -> list[Entry]:
    """Return the entries as the rest of the run shows them, without changes that most tensors share."""
    names, moves = list(run.tensors), known.moving_steps
    alike = Counter(key for entry in entries for key in _directions(entry))
    found = []
    for entry in entries:
        course = entry.course
        worker, is_note = course.worker, entry.severity == NOTE
        if entry.kind == CHANGED and alike[worker, entry.factor > 1] >= HALF * known.movers[worker]:
            continue
        if entry.kind == FROZEN and not known.movers:
            entry = entry._replace(kind=NOTHING_MOVED)
        elif entry.kind == FROZEN:
            is_note = run.bounds.baseline is None and names[course.tensor] in run.not_trained
        elif entry.kind in (STOPPED, VANISHING):
            is_note = known.ends_by_schedule
        elif entry.kind == TOO_SMALL:
            is_end = (course.verdicts[entry.rows[0] :] == VERDICTS.index(SMALL)).all()
            is_note = known.ends_by_schedule and bool(is_end)
        elif entry.kind in (NOT_YET, RESTING):
            first = course.steps[course.moves[0]]
            alone = np.intersect1d(course.steps[entry.rows], moves[worker])
            own = np.count_nonzero((course.steps < first) & (course.steps >= moves[worker][0]))
            is_late = alone.max(initial=-1) >= first or min(own, np.count_nonzero(moves[worker] < first)) > FEW
            is_note = len(alone) == 0 or not is_late
        found.append(entry._replace(severity=NOTE) if is_note else entry)
    return found


def _directions(entry: Entry) -> list[tuple[int, bool]]:
    """Return the worker, and whether the ratio rose, of an entry that says so."""
    falls = entry.kind in SHRINKING
    return [(entry.course.worker, not falls and entry.factor > 1)] if falls or entry.kind == CHANGED else []
