"""What happened to a tensor of a worker, by its course alone: its violations that fire, by kind, and their beginnings.

All kinds except those of values that are not finite come from the comparisons before the first such value.
"""

from __future__ import annotations

from typing import Iterator, NamedTuple

import numpy as np

from ..compare.rows import Array
from ..verdict.bounds import DRIFTED, LARGE, OK, SMALL, VERDICTS
from . import kinds
from .course import Course
from .kinds import FAULT, FEW, NOTE
from .onset import departure

RESTS = 2  # times the longest rest in between; zeros at an end that are not longer are a rest
NOISE = 4.0  # standard deviations of a course; a rise before NaN is its cause if it is more
LEAST_DECAYS = 5  # comparisons
MOST_BEFORE, MOST_AFTER = 100, 10  # moves around a spike whose ratios are compared
FLOOR = -8.0  # log10 of what is as good as 0: from nearer to its level than to this a tensor stops at once
ROUNDED = 1e-5  # ratios below are of updates that float32 rounds
PURE = 1e-4  # of the update, by which the fall of the norm may differ from it
PARTS = 10  # of a course that is searched for a change
DECADE, MOST_DECADES = 1.0, 300.0  # the least change; the most that a factor says


class Entry(NamedTuple):
    """What happened to one tensor of a worker."""

    kind: str
    severity: str
    course: Course
    rows: Array  # indices in the course: of the violations that fire; of a note without any, of its comparisons
    onset: int  # index from which on the ratio left its own course
    factor: float = 1.0  # by which it rose or fell from there on; 1.0 if no course shows that

    @property
    def onset_step(self) -> int:
        return int(self.course.steps[self.onset])

    @property
    def worst(self) -> int:
        """Index of the violation that is furthest outside of its bounds."""
        return int(self.rows[self.course.decades[self.rows].argmax()])


def entries_of(course: Course) -> list[Entry]:
    """Return what happened to a tensor, each kind once, and each violation that fires in one entry."""
    rows = np.arange(len(course.steps))
    may_decay = not course.verdicts[:-FEW].any()
    decayed = [Entry(kinds.DECAYED, NOTE, course, rows, 0)] if may_decay and is_pure_decay(course) else []
    if not course.verdicts.any():
        change = None if decayed else change_of(course)
        return [Entry(kinds.CHANGED, NOTE, course, rows[change[0] :], *change)] if change else decayed
    lost = [_lost(course)] if course.end < len(course.steps) else []
    before = course.part(slice(lost[0].onset if lost else course.end))
    drifted = _of_verdict(before, DRIFTED)
    entries = [*lost, *_growing(before), *_shrinking(before)]
    if len(drifted):
        entries.append(Entry(kinds.DRIFTED_KIND, FAULT, before, drifted, int(drifted[0])))
    return decayed + [entry for entry in (_that_fires(entry, course) for entry in entries) if len(entry.rows)]


def _that_fires(entry: Entry, course: Course) -> Entry:
    """Return an entry of a whole course with the violations that fire."""
    rows = entry.rows[course.fires[entry.rows]]
    begins = len(rows) and entry.onset == entry.rows[0]
    return entry._replace(course=course, rows=rows, onset=int(rows[0]) if begins else entry.onset)


def _of_verdict(course: Course, verdict: str) -> Array:
    return np.flatnonzero(course.verdicts == VERDICTS.index(verdict))


def stretches(rows: Array) -> list[Array]:
    """Return ascending indices in parts, each of indices in a row."""
    return np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)


def _departure(course: Course, first: int) -> tuple[int, float]:
    """Return (index, factor) of where a course left its level for good up to ``first``; else that and 1.0."""
    moves, levels = _moves(course, first + 1)
    start = departure(levels)
    return (first, 1.0) if start is None else (int(moves[start]), _factor(levels, start))


def _moves(course: Course, end: int) -> tuple[Array, Array]:
    """Return the indices of moves before ``end`` whose reference weights are not all zero, and log10 of their ratios.

    If all of them have a baseline's bounds, the logarithms are relative to the middle of these.
    """
    moves = np.flatnonzero((course.ratios[:end] > 0) & (course.norms[:end] > 0))
    levels, lower, upper = np.log10(course.ratios[moves]), course.lower[moves], course.upper[moves]
    is_held = (course.held[moves] & (lower > 0)).all()
    return moves, levels - (np.log10(lower) + np.log10(upper)) / 2 if is_held else levels


def _factor(levels: Array, start: int) -> float:
    """Return the largest distance from the median before ``start``, as a factor; below 1 if the levels fall."""
    away = levels[start:] - np.median(levels[: start or FEW])
    side = np.sign(away[-1]) or 1.0
    return _power(side * (side * away).max())


def _power(decades: float) -> float:
    return float(10 ** np.clip(decades, -MOST_DECADES, MOST_DECADES))


def _lost(course: Course) -> Entry:
    """Return what is not finite, with the violations from where it began to rise before."""
    onset, factor = _rise(course)
    rows = onset + np.flatnonzero(course.verdicts[onset:] != VERDICTS.index(OK))
    return Entry(kinds.NOT_FINITE_KIND if onset == course.end else kinds.EXPLODED, FAULT, course, rows, onset, factor)


def _rise(course: Course) -> tuple[int, float]:
    """Return (index, factor) of where a tensor began to rise until it was not finite; else the latter's and 1.0."""
    end = course.end
    moves, levels = _moves(course, end)
    start = departure(levels)
    if start is not None and end - moves[-1] <= FEW:
        noise = 1.4826 * np.median(abs(np.diff(levels[: max(start, FEW)]))) / np.sqrt(2)
        factor = _factor(levels, start)
        if factor > 1 and np.log10(factor) > NOISE * noise:
            return int(moves[start]), factor
    began = end
    for row in _of_verdict(course.part(slice(end)), LARGE)[::-1].tolist():  # too short for a course: was it too large?
        if began - row > FEW:
            break
        began = row
    return began, 1.0


def _growing(course: Course) -> Iterator[Entry]:
    large = _of_verdict(course, LARGE)
    if not len(large):
        return
    from_zero = np.cumsum(course.norms != 0)[large] == 0  # all reference weights so far are zero
    brief = _is_brief(course, large) & ~from_zero
    started = from_zero | (~brief & _settles(course, large[~from_zero]))
    if started.any():
        yield Entry(kinds.ZERO_START, NOTE, course, large[started], int(large[started][0]))
    large, brief = large[~started], brief[~started]
    if not brief.all():
        lasting = large[~brief]
        onset, factor = _departure(course, int(lasting[0]))
        brief &= (large < onset) | (large > lasting[-1])  # a rise with noise crosses its bound often
        yield Entry(kinds.TOO_LARGE, FAULT, course, large[~brief], onset, factor)
    if brief.any():
        yield Entry(kinds.SPIKE, FAULT, course, large[brief], int(large[brief][0]))


def _settles(course: Course, large: Array) -> bool:
    """Return whether only the first comparisons are too large, and later ones within bounds or at rest."""
    if not len(large) or large[-1] >= FEW:
        return False
    later = slice(int(large[-1]) + 1, None)
    is_ok = course.verdicts[later] == VERDICTS.index(OK)
    return bool((is_ok | (course.ratios[later] == 0)).all() and is_ok.sum() >= FEW)


def _is_brief(course: Course, large: Array) -> Array:
    """Return which are of no more than a few in a row, within bounds before and after."""
    parts = []
    is_ok = np.concatenate([[False], course.verdicts == VERDICTS.index(OK), [False]])  # is_ok[1 + row]
    for rows in stretches(large):
        parts += [len(rows) <= FEW and is_ok[rows[0]] and is_ok[rows[-1] + 2]] * len(rows)
    return np.array(parts)


def size_afterwards(course: Course, large: Array) -> float:
    """Return how many times its size before the ratio has after what was too large; 1.0 if that is not known."""
    moves, _ = _moves(course, course.end)
    before, after = moves[moves < large[0]][-MOST_BEFORE:], moves[moves > large[-1]][:MOST_AFTER]
    if len(before) < FEW or len(after) < FEW:
        return 1.0
    return _power(np.median(np.log10(course.ratios[after])) - np.median(np.log10(course.ratios[before])))


def _shrinking(course: Course) -> Iterator[Entry]:
    small, moves, end = _of_verdict(course, SMALL), course.moves, len(course.steps)
    if not len(small):
        return
    if not len(moves):
        yield Entry(kinds.FROZEN, FAULT, course, small, 0)
        return
    fade = _fade(course, small)
    if fade is not None:
        yield Entry(kinds.VANISHING, FAULT, course, small[small >= fade[0]], *fade)
        small = small[small < fade[0]]
    zeros, longest = small[course.ratios[small] == 0], int((np.diff(moves) - 1).max(initial=0))
    begin = int(moves[0]) if moves[0] > RESTS * longest else 0  # zeros before it: not yet
    stop = int(moves[-1]) + 1 if end - 1 - moves[-1] > RESTS * longest else end  # from it on: stopped
    between = zeros[(zeros >= begin) & (zeros < stop)]
    for kind, rows, onset in (
        (kinds.NOT_YET, zeros[zeros < begin], 0),
        (kinds.RESTING, between, int(between[0]) if len(between) else 0),
        (kinds.STOPPED, zeros[zeros >= stop], stop),
    ):
        if len(rows):
            yield Entry(kind, FAULT, course, rows, onset)
    moving = small[course.ratios[small] > 0]
    if len(moving):
        yield Entry(kinds.TOO_SMALL, FAULT, course, moving, *_departure(course, int(moving[0])))


def _fade(course: Course, small: Array) -> tuple[int, float] | None:
    """Return (index, factor) of where a tensor began to shrink that ends too small or at rest; else None."""
    if small[-1] < len(course.steps) - FEW:
        return None
    apart = np.flatnonzero(np.diff(small) > FEW + 1)  # the fade ends in the last violations that are near each other
    first = int(small[apart[-1] + 1 if len(apart) else 0])
    moves, levels = _moves(course, first + 1)
    if len(levels) <= FEW:
        return None
    top = np.quantile(levels, 0.9)
    depth = top - np.median(levels[-FEW:])
    high = int(np.flatnonzero(levels >= top - depth / 4)[-1])  # the last in the upper quarter
    low = high + int(np.argmax(levels[high:] <= top - 3 * depth / 4))  # the first in the lower quarter after it
    if depth < DECADE or low - high <= FEW:
        return None
    if course.ratios[first] == 0 and depth < np.log10(course.ratios[moves[-1]]) - FLOOR:
        return None
    onset, factor = _departure(course, first)
    return None if factor != 1 and first - onset <= FEW else (onset, factor)


def change_of(course: Course) -> tuple[int, float] | None:
    """Return (index, factor) from which on the ratio is a decade or more from its course before; else None."""
    moves, levels = _moves(course, len(course.steps))
    size = len(levels) // PARTS
    if not size:
        return None
    medians = np.median(levels[len(levels) - PARTS * size :].reshape(PARTS, size), axis=1)
    for part in range(1, PARTS) if np.ptp(medians) > DECADE else ():
        end = len(levels) - (PARTS - part) * size
        away = medians[part:] - np.median(levels[:end])
        if (away > DECADE).all() or (away < -DECADE).all():
            start = departure(levels[: end + 1])
            return int(moves[end if start is None else start]), _power(np.median(away))
    return None


def is_pure_decay(course: Course) -> bool:
    """Return whether the norm falls by just the norm of the update, wherever the next comparison shows it."""
    follows = course.references[1:] == course.steps[:-1]
    norms, updates = course.norms[:-1], course.updates[:-1]
    known = follows & (updates > ROUNDED * norms)
    with np.errstate(invalid="ignore"):  # of norms that are infinite
        falls, updates = (norms - course.norms[1:])[known], updates[known]
        return len(falls) >= LEAST_DECAYS and bool((abs(falls - updates) <= PURE * updates).all())
