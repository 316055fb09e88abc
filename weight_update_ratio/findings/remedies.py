"""Parameters with which a finding is gone: each is tried on the courses of its tensors before it is advised."""

from __future__ import annotations

from collections import Counter
from typing import Sequence

import numpy as np

from .course import Course
from .entries import Entry

MOST_ALIKE = 0.8  # of the distances between moves, that they have a period
LEAST_PERIODS = 2


def period_of(course: Course) -> int | None:
    """Return how many steps its moves are apart where that is regular and it rests at least half of the time."""
    moves = course.steps[course.moves]
    begins = moves[np.append(True, np.diff(moves) > course.gap)]  # of moves in a row, the first
    distances = np.diff(begins)
    if len(distances) < LEAST_PERIODS:
        return None
    period, count = Counter(distances.tolist()).most_common(1)[0]
    is_regular = count >= MOST_ALIKE * len(distances) and 2 * len(moves) * course.gap <= period * len(begins)
    return int(period) if is_regular else None


def longer_reference(entries: Sequence[Entry]) -> tuple[int, int] | None:
    """Return (num_steps, start_step) with which every comparison from there on spans a move; None where none does."""
    periods = [period_of(entry.course) for entry in entries]
    known = [period for period in periods if period is not None]
    if len(known) < len(periods):
        return None
    num_steps = max(known)
    starts = [_spans_moves_from(entry.course, num_steps) for entry in entries]
    return None if None in starts else (num_steps, max(start for start in starts if start is not None))


def _spans_moves_from(course: Course, num_steps: int) -> int | None:
    """Return the first global step from which on each range of so many steps has a move in it; None where none is."""
    moves = course.steps[course.moves]
    before = np.searchsorted(moves, course.steps, side="right")
    spans = (before > np.searchsorted(moves, course.steps - num_steps, side="right")) & (
        course.steps - num_steps >= course.references[0]
    )
    last = np.flatnonzero(~spans)
    start = int(last[-1]) + 1 if len(last) else 0
    return int(course.global_steps[start]) if start < len(spans) - 1 else None


def start_after(entries: Sequence[Entry]) -> int | None:
    """Return the global step after the last violation of these entries; None where that is the last step."""
    if any(entry.rows[-1] == len(entry.course.steps) - 1 for entry in entries):
        return None
    return max(int(entry.course.global_steps[entry.rows[-1] + 1]) for entry in entries)


def patience_over(entries: Sequence[Entry]) -> int | None:
    """Return the patience with which none of these violations fires; None where one lasts to the end of its tensor."""
    longest = 0
    for entry in entries:
        violates = np.concatenate([[False], entry.course.verdicts != 0, [False]])
        begins, ends = np.flatnonzero(np.diff(violates)).reshape(-1, 2).T
        own = np.searchsorted(begins, entry.rows, side="right") - 1
        if ends[own].max() == len(entry.course.steps):
            return None
        longest = max(longest, int((ends - begins)[own].max()))
    return longest + 1
