"""From which step on the ratio of a tensor leaves its own course."""

from __future__ import annotations

import numpy as np

from ..compare.rows import Array

FEWEST = 10  # moves that are a course
AWAY = float(np.log10(3))  # decades from the median of the moves so far
MOST_MOVES = 100  # at which the median is taken, and the beginning is looked for
SURE = 9.0  # times the variance, that a bend explains at least
PART = 0.4  # of the way to the first violation, in decades, that a departure goes at least
JUMP = 0.5  # of that way in one move: the move is the onset
NEAR = 0.1  # of that way: a move within it is at the level
BEFORE = 2  # times as many moves as the departure takes are looked at before it


def departure(levels: Array) -> int | None:
    """Return the move from which on a course leaves its level and does not come back, else None.

    ``levels`` are log10 of the ratios of its moves up to the first violation. A move is away if it is a factor of 3
    from the median of the moves before it. The beginning of the trend that leads there is the move at which a line that
    bends or jumps fits best by least squares. A course that is away from its first ten moves on has no level.

    >>> departure(np.array([-3.0] * 20 + [-2.9, -2.8, -2.7, -2.6, -2.5, -2.4])), departure(np.full(30, -3.0))
    (20, None)
    """
    if len(levels) <= FEWEST:
        return None
    smooth = levels.copy()
    smooth[1:-1] = np.median(np.stack([levels[:-2], levels[1:-1], levels[2:]]), axis=0)
    moves = np.unique(np.linspace(FEWEST, len(levels) - 1, MOST_MOVES).astype(int))
    medians = np.array([np.partition(levels[:move], move // 2)[move // 2] for move in moves])  # of the moves before
    lowest = np.minimum.accumulate(smooth[::-1])[::-1][moves]
    highest = np.maximum.accumulate(smooth[::-1])[::-1][moves]
    gone = np.flatnonzero((lowest - medians > AWAY) | (medians - highest > AWAY))
    if not len(gone):
        return None
    distances = smooth - medians[gone[0]]
    distances *= np.sign(distances[-1])
    near = np.flatnonzero(distances <= max(AWAY, PART * distances[-1]))
    left = max(FEWEST, int(near[-1]) + 1 if len(near) else 0)
    if left < len(levels) and abs(levels[left] - levels[left - 1]) >= JUMP * distances[-1]:
        return left
    if left == len(levels) or (left == FEWEST and abs(smooth[FEWEST - 1] - np.median(levels[:FEWEST])) > AWAY):
        return None
    level = np.flatnonzero(distances[:left] <= NEAR * distances[-1])
    length = left - (int(level[-1]) + 1 if len(level) else 0)
    begin = max(0, left - length - BEFORE * max(length, FEWEST) - FEWEST)
    return begin + _bend(levels[begin : left + max(length, FEWEST // 2)], left - begin)


def _bend(values: Array, latest: int) -> int:
    """Return the index, up to ``latest``, at which a line bends or jumps that fits best; 0 if it is straight."""
    times = np.arange(len(values))
    bends = np.unique(np.linspace(min(2, latest), latest, MOST_MOVES).astype(int))[:, None]
    line = np.stack([np.ones(len(times)), times - times.mean()])
    line /= np.linalg.norm(line, axis=1, keepdims=True)
    rest = values - values @ line.T @ line
    best = []
    for shape in (np.maximum(times - bends + 1.0, 0), np.where(times >= bends, 1.0, 0)):
        shape -= shape @ line.T @ line
        sizes = (shape**2).sum(axis=1)
        gains = np.where(sizes > 1e-9, (shape @ rest) ** 2 / np.maximum(sizes, 1e-9), 0)
        best.append((float(gains.max()), int(bends[gains.argmax(), 0])))
    gain, bend = max(best)
    if gain > SURE * float(rest @ rest) / len(values):
        return bend
    return 0 if np.var(values) > 2 * np.var(rest) else latest
