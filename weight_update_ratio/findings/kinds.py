"""Of which kind each violation of a tensor is; its own course tells, and for a schedule's end that all others end too.

A violation belongs to one kind: not finite; else large from weights that were zero; else a kind of its ratio.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..compare.ratio import DRIFTED, LARGE, NOT_FINITE, OK, SMALL, VERDICTS
from ..compare.rows import Array
from .course import Course, is_finite

NOT_FINITE_KIND = "not_finite"
TOO_LARGE = "too_large"
NOTHING_MOVED = "nothing_moved"
VANISHING = "vanishing"
STOPPED = "stopped"
FROZEN = "frozen"
SPIKE = "spike"
TOO_SMALL = "too_small"
DRIFTED_KIND = "drifted"
ZERO_START = "zero_start"
NOT_YET = "not_yet"
RESTING = "resting"
KINDS = (  # most urgent first
    NOT_FINITE_KIND,
    TOO_LARGE,
    NOTHING_MOVED,
    VANISHING,
    STOPPED,
    FROZEN,
    SPIKE,
    TOO_SMALL,
    DRIFTED_KIND,
    ZERO_START,
    NOT_YET,
    RESTING,
)

FEW = 3  # comparisons in a row: a spike lasts no longer, and steps are the same that are no further apart
DEEP = 1.0  # decades that a ratio sinks at least before it is said to vanish
FAR = 2.0  # decades that a tensor falls more than the others before it is said to vanish
RESTS = 2  # times the longest rest in between; zeros at an end that are not longer are a rest


class Zeros(NamedTuple):
    """Where the finite ratios of a course are exactly zero.

    Attributes:
        finite: Positions of the finite ratios in the course.
        moves: Positions of those that are not zero.
        leading: How many zeros there are before the first move.
        trailing: How many after the last one.
        longest: The longest rest in between.
    """

    finite: Array
    moves: Array
    leading: int
    trailing: int
    longest: int

    @property
    def ends_at_rest(self) -> bool:
        """Whether it moved, and the last finite ratio is zero."""
        return bool(len(self.moves)) and self.trailing > 0


def zeros_of(course: Course) -> Zeros:
    """Return where a course has ratios of zero."""
    finite = np.flatnonzero(is_finite(course))
    moving = np.flatnonzero(course.ratios[finite] != 0)
    if not len(moving):
        return Zeros(finite, moving, len(finite), len(finite), 0)
    rests = np.diff(moving) - 1
    longest = int(rests.max()) if len(rests) else 0
    trailing = len(finite) - 1 - int(moving[-1])
    if finite[-1] < len(course.steps) - 1:  # what is not finite comes after it: it is not the end
        longest, trailing = max(longest, trailing), 0
    return Zeros(finite, finite[moving], int(moving[0]), trailing, longest)


def kinds_of(course: Course, zeros: Zeros, all_stop: bool) -> Array:
    """Return the kind of each comparison that is a violation: shape (n,), objects; None elsewhere.

    Args:
        course: One tensor of a worker.
        zeros: What ``zeros_of`` returns for it.
        all_stop: Whether all tensors of the worker that moved end at rest, and there are several.
    """
    kinds = np.full(len(course.steps), None, object)
    kinds[course.verdicts == VERDICTS.index(NOT_FINITE)] = NOT_FINITE_KIND
    kinds[course.verdicts == VERDICTS.index(DRIFTED)] = DRIFTED_KIND
    _mark_large(course, kinds)
    if (course.verdicts == VERDICTS.index(SMALL)).any():
        _mark_small(course, zeros, all_stop, kinds)
    return kinds


def _mark_large(course: Course, kinds: Array) -> None:
    large = course.verdicts == VERDICTS.index(LARGE)
    lost = course.verdicts == VERDICTS.index(NOT_FINITE)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], large, [False]])))
    for first, end in zip(edges[::2].tolist(), edges[1::2].tolist()):
        between = first > 0 and end < len(large) and not course.verdicts[[first - 1, end]].any()  # OK is the first
        recovers = between and not lost[end : end + FEW + 1].any()
        kinds[first:end] = SPIKE if recovers and end - first <= FEW else TOO_LARGE
    kinds[large & course.zero_references] = ZERO_START


def _mark_small(course: Course, zeros: Zeros, all_stop: bool, kinds: Array) -> None:
    small = course.verdicts == VERDICTS.index(SMALL)
    at_rest = small & (course.ratios == 0)
    if not len(zeros.moves):
        kinds[small] = FROZEN
        return
    kinds[small] = TOO_SMALL
    kinds[at_rest] = RESTING
    positions = np.arange(len(small))
    first, last = zeros.moves[[0, -1]]
    if zeros.leading > RESTS * zeros.longest:
        kinds[at_rest & (positions < first)] = NOT_YET
    stops = zeros.trailing > RESTS * zeros.longest
    fall = fall_of(course, zeros.moves)
    fallen = small & (positions >= fall.low)
    if stops:
        kinds[at_rest & (positions > last)] = STOPPED
    if stops and all_stop and fall.below and not fall.far:
        kinds[fallen & ~at_rest] = STOPPED
    elif (stops and (fall.far or fall.below)) or (fall.below and fall.slow):
        kinds[fallen] = VANISHING


class Fall(NamedTuple):
    """How the moves of a course end.

    Attributes:
        below: Whether they end below the lower bound, after they were within.
        far: Whether they end ``FAR`` decades further from their normal level than the other tensors do.
        decades: How far below their normal level they end, measured likewise.
        slow: Whether that took more than a few moves.
        low: Position of the first move below the bound since it fell; else where the moves end.
    """

    below: bool
    far: bool
    decades: float
    slow: bool
    low: int


def fall_of(course: Course, moves: Array) -> Fall:
    """Return how the moves of a course end; ``moves`` are their positions, of which there is at least one."""
    sound = (course.verdicts[moves] == VERDICTS.index(OK)) & ~course.zero_references[moves]
    if not sound.any():
        return Fall(False, False, 0.0, False, len(course.steps))
    logs = np.log10(course.ratios[moves])
    levels = course.levels[moves]
    is_alone = bool(np.isnan(levels[sound]).all())  # no other tensor moved
    if is_alone:
        levels = logs
    small = course.verdicts[moves] == VERDICTS.index(SMALL)
    depths = _normal(levels[sound]) - levels  # decades
    ends = depths[~np.isnan(depths)][-FEW:]
    decades = float(np.median(ends))
    far = not is_alone and decades >= FAR
    below = bool(small[-FEW:].mean() > 0.5 or (small[-1] and depths[-1] >= FAR))
    normal = _normal(logs[sound])
    depth = normal - float(np.median(logs[-FEW:]))
    high = int(np.flatnonzero(logs >= normal - depth / 4)[-1])
    low = np.flatnonzero(logs[high:] <= normal - 3 * depth / 4)
    slow = depth >= DEEP and bool(len(low)) and int(low[0]) > FEW
    first = np.flatnonzero(small[high:])
    return Fall(below, far, decades, slow, int(moves[high + first[0]] if len(first) else moves[-1] + 1))


def _normal(values: Array) -> float:
    """Return the level that values normally have, NaN left out: high among them, for a fall takes the others down."""
    return float(np.nanquantile(values, 0.9))
