"""Parameters with which a finding is gone: each is tried on the courses of its tensors before it is advised."""

from __future__ import annotations

from collections import Counter
from typing import Sequence

import numpy as np

from ..verdict.firing import in_a_row
from .entries import Entry

MOST_EQUAL = 0.8  # of the distances between moves, that they have a period
LEAST_PERIODS = 2


def period_of(entry: Entry) -> int | None:
    """Return how many steps moves are apart from the first rest on, if that is regular, and half are rests."""
    course = entry.course
    moves = course.steps[course.moves[course.moves >= entry.rows[0] - 1]]
    begins = moves[np.diff(moves, prepend=-np.inf) > course.gap]  # of moves in a row, the first
    distances = np.diff(begins)
    if len(distances) < LEAST_PERIODS:
        return None
    period, count = Counter(distances.tolist()).most_common(1)[0]
    is_regular = count >= MOST_EQUAL * len(distances) and 2 * len(moves) * course.gap <= period * (len(begins) + 1)
    return int(period) if is_regular else None


def longer_reference(entries: Sequence[Entry], num_steps: int) -> int | None:
    """Return the start_step from which on every comparison over ``num_steps`` has a move; None if there is none."""
    starts: list[int] = []
    for course in (entry.course for entry in entries):
        moves = course.steps[course.moves]
        until, since = (np.searchsorted(moves, course.steps - back, side="right") for back in (0, num_steps))
        lacking = np.flatnonzero((until == since) | (course.steps - num_steps < course.references[0]))
        start = int(lacking[-1]) + 1 if len(lacking) else 0
        starts += course.global_steps[start:-1][:1].tolist()  # nothing from the last step on
    return max(starts) if len(starts) == len(entries) else None


def start_after(entries: Sequence[Entry]) -> int | None:
    """Return the global step after the last violation of these entries; None if that is the last step."""
    if any(entry.rows[-1] == len(entry.course.steps) - 1 for entry in entries):
        return None
    return max(int(entry.course.global_steps[entry.rows[-1] + 1]) for entry in entries)


def patience_over(entries: Sequence[Entry]) -> int | None:
    """Return the patience with which none of these violations fires; None if one lasts to the end of its tensor."""
    longest = 0
    for entry in entries:
        verdicts = entry.course.verdicts
        _, lengths = in_a_row(np.zeros(len(verdicts), np.int64), verdicts != 0)
        if entry.rows[-1] >= len(verdicts) - lengths[-1]:
            return None
        longest = max(longest, int(lengths[entry.rows].max()))
    return longest + 1
