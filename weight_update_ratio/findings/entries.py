"""What happened to one tensor of a worker: its violations that fire, by kind, and where each began.

Only its own course tells. All kinds but those of values that are not finite are told from the comparisons before the
first one that is not.
"""

from __future__ import annotations

from typing import Iterator, NamedTuple

import numpy as np

from ..compare.ratio import DRIFTED, LARGE, OK, SMALL, VERDICTS
from ..compare.rows import Array
from . import kinds
from .course import Course
from .kinds import FAULT, FEW, NOTE
from .onset import departure

RESTS = 2  # times the longest rest in between; zeros at an end that are not longer are a rest
NOISE = 4.0  # standard deviations of a course; a rise before NaN is its cause where it is more
LEAST_DECAYS = 5  # comparisons
MOST_BEFORE, MOST_AFTER = 100, 10  # moves around a spike whose ratios are compared
FLOOR = -8.0  # log10 of what is as good as 0: from nearer to its level than to this a tensor stops at once
ROUNDED = 1e-5  # ratios below are of updates that float32 rounds
PURE = 1e-4  # of the update, by which the fall of the norm may differ from it
PARTS = 10  # of a course, in which it is looked for a change
DECADE, MOST_DECADES = 1.0, 300.0  # that a change has at least; that a factor tells


class Entry(NamedTuple):
    """What happened to one tensor of a worker.

    Attributes:
        kind: One of KINDS.
        severity: FAULT or NOTE.
        course: Of the tensor.
        rows: Positions in the course of its violations that fire; of a note without violations, of its comparisons.
        onset: Position from which on the ratio left its own course.
        factor: By how much it rose or fell from there on, as a factor; 1.0 where no course shows that.
    """

    kind: str
    severity: str
    course: Course
    rows: Array
    onset: int
    factor: float = 1.0

    @property
    def onset_step(self) -> int:
        """The step of the onset."""
        return int(self.course.steps[self.onset])

    @property
    def worst(self) -> int:
        """Position of the violation that is furthest outside of its bounds."""
        return int(self.rows[self.course.decades[self.rows].argmax()])


def entries_of(course: Course) -> list[Entry]:
    """Return what happened to a tensor, each kind once, and each violation that fires in one entry."""
    if not course.verdicts.any():
        return list(_notes(course))
    lost = [_lost(course)] if course.end < len(course.steps) else []
    before = course.until(lost[0].onset if lost else course.end)
    found = [*lost, *_growing(before), *_shrinking(before), *_drifting(before)]
    decayed = [] if course.verdicts[:-FEW].any() else list(_decay(course))
    return decayed + [entry for entry in (_that_fires(entry, course) for entry in found) if len(entry.rows)]


def _that_fires(entry: Entry, course: Course) -> Entry:
    """Return an entry of a whole course with the violations that fire."""
    rows = entry.rows[course.fires[entry.rows]]
    begins = len(rows) and entry.onset == entry.rows[0]
    return entry._replace(course=course, rows=rows, onset=int(rows[0]) if begins else entry.onset)


def _verdicts(course: Course, verdict: str) -> Array:
    return np.flatnonzero(course.verdicts == VERDICTS.index(verdict))


def _departed(kind: str, course: Course, rows: Array) -> Entry:
    """Return an entry whose onset is where the course left for its first violation."""
    onset, factor = _departure(course, int(rows[0]))
    return Entry(kind, FAULT, course, rows, onset, factor)


def _departure(course: Course, first: int) -> tuple[int, float]:
    """Return (position, factor) of where a course left its level for good up to a position; else that and 1.0."""
    moves = _known_moves(course, first + 1)
    levels = _levels(course, moves)
    start = departure(levels)
    if start is None:
        return first, 1.0
    return int(moves[start]), _factor(levels, start)


def _known_moves(course: Course, end: int) -> Array:
    """Return the positions of moves before ``end`` whose reference weights are not all zero."""
    return np.flatnonzero((course.ratios[:end] > 0) & (course.norms[:end] > 0))


def _levels(course: Course, moves: Array) -> Array:
    """Return log10 of ratios, against the middle of the baseline's bounds where all of them are held against it."""
    levels = np.log10(course.ratios[moves])
    lower, upper = course.lower[moves], course.upper[moves]
    return levels - (np.log10(lower) + np.log10(upper)) / 2 if (course.held[moves] & (lower > 0)).all() else levels


def _factor(levels: Array, start: int) -> float:
    """Return by how much the levels from a place on are furthest from the median before; below 1 where they fall."""
    away = levels[start:] - np.median(levels[: start or FEW])
    side = np.sign(away[-1]) or 1.0
    return float(10 ** np.clip(side * (side * away).max(), -MOST_DECADES, MOST_DECADES))


def _lost(course: Course) -> Entry:
    """Return what is not finite, with the violations from where it began to rise before."""
    onset, factor = _rise(course)
    rows = onset + np.flatnonzero(course.verdicts[onset:] != VERDICTS.index(OK))
    return Entry(kinds.NOT_FINITE_KIND if onset == course.end else kinds.EXPLODED, FAULT, course, rows, onset, factor)


def _growing(course: Course) -> Iterator[Entry]:
    """Yield what is too large."""
    large = _verdicts(course, LARGE)
    from_zero = np.cumsum(course.norms != 0)[large] == 0
    brief = _is_brief(course, large) & ~from_zero
    started = from_zero | (~brief & _at_start(course, large[~from_zero], large))
    if started.any():
        rows = large[started]
        yield Entry(kinds.ZERO_START, NOTE, course, rows, int(rows[0]))
    large, brief = large[~started], brief[~started]
    if not brief.all():
        departed = _departed(kinds.TOO_LARGE, course, large[~brief])
        brief &= (large < departed.onset) | (large > departed.rows[-1])  # a rise with noise crosses its bound often
        yield departed._replace(rows=large[~brief])
    if brief.any():
        yield Entry(kinds.SPIKE, FAULT, course, large[brief], int(large[brief][0]))


def _rise(course: Course) -> tuple[int, float]:
    """Return (position, factor) of where a tensor began to rise until it was not finite; else that position and 1.0."""
    end = course.end
    moves = _known_moves(course, end)
    levels = _levels(course, moves)
    start = departure(levels)
    if start is not None and end - moves[-1] <= FEW:
        noise = 1.4826 * np.median(abs(np.diff(levels[: max(start, FEW)]))) / np.sqrt(2)
        factor = _factor(levels, start)
        if factor > 1 and np.log10(factor) > NOISE * noise:
            return int(moves[start]), factor
    began = end
    for row in _verdicts(course, LARGE)[::-1].tolist():  # too short for a course: it was too large up to there
        if row < end and began - row > FEW:
            break
        began = min(began, row)
    return began, 1.0


def _at_start(course: Course, large: Array, all_large: Array) -> Array:
    """Return which are within the first comparisons of a tensor that is within bounds, or at rest, from then on."""
    if not len(large) or large[-1] >= FEW:
        return np.zeros(len(all_large), bool)
    after = slice(int(large[-1]) + 1, None)
    is_ok = course.verdicts[after] == VERDICTS.index(OK)
    comes_in = bool((is_ok | (course.ratios[after] == 0)).all()) and np.count_nonzero(is_ok) >= FEW
    return np.isin(all_large, large) & comes_in


def _is_brief(course: Course, large: Array) -> Array:
    """Return which are of no more than a few in a row, within bounds before and after."""
    brief = np.zeros(len(large), bool)
    for part in np.split(np.arange(len(large)), np.flatnonzero(np.diff(large) > 1) + 1):
        if len(part):
            before, after = int(large[part[0]]) - 1, int(large[part[-1]]) + 1
            is_between = before >= 0 and after < len(course.steps) and not course.verdicts[[before, after]].any()
            brief[part] = is_between and len(part) <= FEW
    return brief


def size_afterwards(course: Course, large: Array) -> float:
    """Return how many times its size before the ratio has after what was too large; 1.0 where that is not known."""
    moves = _known_moves(course, course.end)
    before, after = moves[moves < large[0]][-MOST_BEFORE:], moves[moves > large[-1]][:MOST_AFTER]
    if len(before) < FEW or len(after) < FEW:
        return 1.0
    decades = np.median(np.log10(course.ratios[after])) - np.median(np.log10(course.ratios[before]))
    return float(10 ** np.clip(decades, -MOST_DECADES, MOST_DECADES))


def _shrinking(course: Course) -> Iterator[Entry]:
    """Yield what is too small or at rest."""
    small, moves, end = _verdicts(course, SMALL), course.moves, len(course.steps)
    if not len(small):
        return
    if not len(moves):
        yield Entry(kinds.FROZEN, FAULT, course, small, 0)
        return
    fade = _fade(course, small)
    if fade is not None:
        yield Entry(kinds.VANISHING, FAULT, course, small[small >= fade[0]], *fade)
        small = small[small < fade[0]]
    rests, zeros = np.diff(moves) - 1, small[course.ratios[small] == 0]
    longest = int(rests.max(initial=0))
    begin = int(moves[0]) if moves[0] > RESTS * longest else 0
    stop = int(moves[-1]) + 1 if end - 1 - moves[-1] > RESTS * longest else end
    between = zeros[(zeros >= begin) & (zeros < stop)]
    parts = (
        (kinds.NOT_YET, zeros[zeros < begin], 0),
        (kinds.RESTING, between, *between[:1]),
        (kinds.STOPPED, zeros[zeros >= stop], stop),
    )
    for kind, rows, *onset in parts:
        if len(rows):
            yield Entry(kind, FAULT, course, rows, int(onset[0]))
    rows = small[course.ratios[small] > 0]
    if len(rows):
        yield _departed(kinds.TOO_SMALL, course, rows)


def _drifting(course: Course) -> Iterator[Entry]:
    drifted = _verdicts(course, DRIFTED)
    if len(drifted):
        yield Entry(kinds.DRIFTED_KIND, FAULT, course, drifted, int(drifted[0]))


def _fade(course: Course, small: Array) -> tuple[int, float] | None:
    """Return (position, factor) of where a tensor began to shrink that ends too small or at rest; else None."""
    if small[-1] < len(course.steps) - FEW:
        return None
    apart = np.flatnonzero(np.diff(small) > FEW + 1)
    first = int(small[apart[-1] + 1 if len(apart) else 0])
    moves = _known_moves(course, first + 1)
    levels = _levels(course, moves)
    if len(levels) <= FEW:
        return None
    top, depth = np.quantile(levels, 0.9), np.quantile(levels, 0.9) - np.median(levels[-FEW:])
    high = int(np.flatnonzero(levels >= top - depth / 4)[-1])
    low = high + int(np.argmax(levels[high:] <= top - 3 * depth / 4))
    if depth < DECADE or low - high <= FEW:
        return None
    if course.ratios[first] == 0 and depth < np.log10(course.ratios[moves[-1]]) - FLOOR:
        return None
    onset, factor = _departure(course, first)
    return None if factor != 1 and first - onset <= FEW else (onset, factor)


def _notes(course: Course) -> Iterator[Entry]:
    """Yield what is worth a look of a tensor that is within its bounds."""
    yield from _decay(course)
    change = None if is_pure_decay(course) else change_of(course)
    if change is not None:
        onset, factor = change
        yield Entry(kinds.CHANGED, NOTE, course, np.arange(onset, len(course.steps)), onset, factor)


def change_of(course: Course) -> tuple[int, float] | None:
    """Return (position, factor) from which on the ratio is a decade or more from its course before; else None."""
    moves = _known_moves(course, len(course.steps))
    levels = _levels(course, moves)
    size = len(levels) // PARTS
    if not size:
        return None
    medians = np.median(levels[len(levels) - PARTS * size :].reshape(PARTS, size), axis=1)
    for part in range(1, PARTS) if np.ptp(medians) > DECADE else ():
        end = len(levels) - (PARTS - part) * size
        away = medians[part:] - np.median(levels[:end])
        if (away > DECADE).all() or (away < -DECADE).all():
            start = departure(levels[: end + 1])
            return int(moves[end if start is None else start]), float(
                10 ** np.clip(np.median(away), -MOST_DECADES, MOST_DECADES)
            )
    return None


def _decay(course: Course) -> Iterator[Entry]:
    if is_pure_decay(course):
        yield Entry(kinds.DECAYED, NOTE, course, np.arange(len(course.steps)), 0)


def is_pure_decay(course: Course) -> bool:
    """Return whether the norm falls by just the norm of the update, wherever the next comparison shows it."""
    follows = course.references[1:] == course.steps[:-1]
    falls, updates = (course.norms[:-1] - course.norms[1:])[follows], course.updates[:-1][follows]
    known = updates > ROUNDED * course.norms[:-1][follows]
    falls, updates = falls[known], updates[known]
    return len(falls) >= LEAST_DECAYS and bool((abs(falls - updates) <= PURE * updates).all())
