"""What the rest of the run says of what happened to a tensor: a note if that explains it, else a fault."""

from __future__ import annotations

from collections import Counter
from typing import Sequence

import numpy as np

from ..compare.rows import Array
from ..verdict.bounds import SMALL, VERDICTS
from ..verdict.judged_run import JudgedRun
from .course import Course
from .entries import Entry
from .kinds import CHANGED, FEW, FROZEN, NOT_YET, NOTE, NOTHING_MOVED, RESTING, SHRINKING, STOPPED, TOO_SMALL, VANISHING

TOGETHER = 0.02  # of the run: what begins, or rests, no longer apart is together
HALF = 0.5  # of the tensors that move
LEAST_LENGTH, LEAST_FADING = 10, 4  # comparisons of a run that ends by its schedule; of one that is seen to fade
FADED, GONE = 10.0, 100.0  # how many times the last ratio is less than the median, if a schedule ends; guessed


class RunCourses:
    """What the courses of a run have in common."""

    def __init__(self, courses: Sequence[Course]) -> None:
        moving = [course for course in courses if len(course.moves)]
        self.length = int(max(course.steps.max() for course in courses) - min(course.steps.min() for course in courses))
        self.movers = Counter(course.worker for course in moving)  # {worker: how many of its tensors move}
        self.moving_steps: dict[int, Array] = {}  # {worker: the steps at which any tensor moves}
        for worker in self.movers:
            steps = [course.steps[course.moves] for course in moving if course.worker == worker]
            self.moving_steps[worker] = np.unique(np.concatenate(steps))
        self.ends_by_schedule = all(map(ends_by_schedule, moving))


def ends_by_schedule(course: Course) -> bool:
    """Return whether a tensor comes to rest at its last few comparisons, or nearly, as if a schedule ends at 0."""
    quiet = (course.verdicts == VERDICTS.index(SMALL)) | (course.ratios == 0)
    loud = np.flatnonzero(~quiet)
    if not len(loud) or course.end < len(quiet):
        return False
    tail, fall = len(quiet) - 1 - int(loud[-1]), float(np.median(course.ratios[loud]) / course.ratios[loud[-1]])
    if not tail:
        return fall >= GONE
    is_long = len(quiet) >= LEAST_LENGTH or (len(quiet) >= LEAST_FADING and fall >= FADED)
    return is_long and (tail <= FEW or (fall >= FADED and tail <= TOGETHER * len(quiet)))


def in_the_run(entries: Sequence[Entry], run: JudgedRun, common: RunCourses) -> list[Entry]:
    """Return the entries as the rest of the run shows them, without changes that most tensors share."""
    trends = [entry for entry in entries if entry.kind in (*SHRINKING, CHANGED)]
    directions = Counter((entry.course.worker, _rises(entry)) for entry in trends)
    settled = []
    for entry in entries:
        worker = entry.course.worker
        if entry.kind == CHANGED and directions[worker, _rises(entry)] >= HALF * common.movers[worker]:
            continue
        if entry.kind == FROZEN and not common.movers:
            entry = entry._replace(kind=NOTHING_MOVED)
        settled.append(entry._replace(severity=NOTE) if _is_explained(entry, run, common) else entry)
    return settled


def _rises(entry: Entry) -> bool:
    return entry.kind not in SHRINKING and entry.factor > 1


def _is_explained(entry: Entry, run: JudgedRun, common: RunCourses) -> bool:
    """Return whether the rest of the run, or the recording, shows that an entry is not a fault."""
    course = entry.course
    if entry.kind == FROZEN:
        return run.bounds.baseline is None and list(run.tensors)[course.tensor] in run.not_trained
    if entry.kind in (STOPPED, VANISHING):
        return common.ends_by_schedule
    if entry.kind == TOO_SMALL:
        return common.ends_by_schedule and bool((course.verdicts[entry.rows[0] :] == VERDICTS.index(SMALL)).all())
    if entry.kind in (NOT_YET, RESTING):
        first, moving = course.steps[course.moves[0]], common.moving_steps[course.worker]
        alone = np.intersect1d(course.steps[entry.rows], moving)
        if not len(alone):
            return True
        missed = np.count_nonzero((course.steps < first) & (course.steps >= moving[0]))
        return bool(alone.max() < first and min(missed, np.count_nonzero(moving < first)) <= FEW)
    return entry.severity == NOTE
