"""The violations of one kind of one tensor and worker, and what its course shows of their cause."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..compare.rows import Array
from .course import Course
from .kinds import (
    DEEP,
    DRIFTED_KIND,
    FEW,
    NOT_FINITE_KIND,
    NOT_YET,
    RESTING,
    STOPPED,
    TOO_LARGE,
    VANISHING,
    Zeros,
    fall_of,
)

MOST_ALIKE = 0.8  # of the distances between moves, that they have a period
HALF = 0.5  # of the normal ratio; where moves next to a rest are smaller, the rest comes gradually


class Entry(NamedTuple):
    """The violations of one kind of one tensor and worker; steps are of the judged mode.

    Attributes:
        kind: One of KINDS.
        tensor: Its place in the run's tensors.
        worker: Its place in the run's workers.
        first: The step of the first.
        last: The step of the last.
        severity: How many decades the worst is outside of its bounds.
        worst_ratio: The worst one.
        worst_step: Its step.
        lower: Its bounds, and so is ``upper``; of one that drifted, those of the weight norm.
        norm: The norm of its reference weights.
        gap: How far apart the comparisons of the tensor are, in steps.
        near_start: Whether they begin within the first few comparisons of the tensor.
        to_end: Whether the last one is.
        in_a_row: Whether no other comparison is between them.
        all_zero: Whether every ratio is zero.
        is_gradual: Whether the moves next to zeros are less than half of the normal ratio.
        fell_away: Whether the tensor ends a decade or more below its level among the others.
        with_all: Whether no tensor of the worker moves where it rests.
        period: How many steps moves are apart that rest in between, where that is regular and rests are the rule.
        full_from: The global step from which on windows of ``period`` steps are full.
        led_up_from: The step from which on updates were too large, where that goes on until a ratio is not finite.
    """

    kind: str
    tensor: int
    worker: int
    first: int
    last: int
    count: int  # type: ignore[assignment]  # in place of tuple.count
    severity: float
    worst_ratio: float
    worst_step: int
    lower: float
    upper: float
    norm: float
    gap: int
    near_start: bool
    to_end: bool
    in_a_row: bool
    all_zero: bool
    is_gradual: bool
    fell_away: bool
    with_all: bool
    period: int | None
    full_from: int | None
    led_up_from: int | None


def entries_of(course: Course, zeros: Zeros, kinds: Array, moving_steps: Array) -> list[Entry]:
    """Return the entry of each kind that a course has among the violations that fire.

    Args:
        course: One tensor of a worker.
        zeros: What ``zeros_of`` returns for it.
        kinds: What ``kinds_of`` returns for it.
        moving_steps: The steps at which any tensor of the worker moves.
    """
    found = dict.fromkeys(kinds[course.fires].tolist())
    return [_entry(course, zeros, kinds, moving_steps, kind) for kind in found]


def _entry(course: Course, zeros: Zeros, kinds: Array, moving_steps: Array, kind: str) -> Entry:
    rows = np.flatnonzero((kinds == kind) & course.fires)
    steps = course.steps[rows]
    outside = course.decades[rows]
    worst = int(rows[outside.argmax()])
    period = _period(course, zeros.moves) if kind == RESTING else None
    return Entry(
        kind,
        course.tensor,
        course.worker,
        int(steps.min()),
        int(steps.max()),
        len(rows),
        float(outside.max()),
        float(course.ratios[worst]),
        int(course.steps[worst]),
        float((course.norm_lower if kind == DRIFTED_KIND else course.lower)[worst]),
        float((course.norm_upper if kind == DRIFTED_KIND else course.upper)[worst]),
        float(course.norms[worst]),
        max(int(np.median(np.diff(course.steps))), 1) if len(course.steps) > 1 else 1,
        bool(rows[0] < FEW),
        bool(rows[-1] == len(course.steps) - 1),
        bool(rows[-1] - rows[0] + 1 == len(rows)),
        not course.ratios[rows].any(),
        kind in (NOT_YET, RESTING, STOPPED) and _is_gradual(course, zeros, rows),
        kind == VANISHING and fall_of(course, zeros.moves).decades >= DEEP,
        not np.isin(steps[course.ratios[rows] == 0], moving_steps).any(),
        period,
        None if period is None else _full_from(course, period),
        _led_up_from(course, kinds) if kind == NOT_FINITE_KIND else None,
    )


def _is_gradual(course: Course, zeros: Zeros, rows: Array) -> bool:
    """Return whether the moves next to zeros are small: before them, or after those that come first."""
    moves = zeros.moves
    places = np.searchsorted(moves, rows) - 1
    near = moves[np.unique(np.maximum(places, 0))]
    return bool(np.median(course.ratios[near]) < HALF * np.median(course.ratios[moves]))


def _period(course: Course, moves: Array) -> int | None:
    """Return how many steps are between moves, where each is over no more steps than a comparison reaches back."""
    begins = np.flatnonzero(np.diff(np.concatenate([[-2], moves])) > 1)  # of moves in a row, the first
    begins = begins[moves[begins] > 0]
    if len(begins) < 3:
        return None
    found, counts = np.unique(np.diff(course.steps[moves[begins]]), return_counts=True)
    period = int(found[counts.argmax()])
    in_a_row = np.diff(np.append(begins, len(moves)))[:-1]
    interval = int(np.median(np.diff(course.steps)))
    reach = int(np.median(course.steps - course.references))
    is_regular = counts.max() >= MOST_ALIKE * (len(begins) - 1) and int(np.median(in_a_row)) * interval <= reach
    return period if is_regular else None


def _full_from(course: Course, period: int) -> int:
    return int(course.global_steps[course.steps >= course.references[0] + period].min())


def _led_up_from(course: Course, kinds: Array) -> int | None:
    """Return the step from which on updates were too large, where that reaches up to the first that is not finite."""
    first = int(np.flatnonzero(kinds == NOT_FINITE_KIND)[0])
    began = None
    at = first
    for large in np.flatnonzero(kinds[:first] == TOO_LARGE)[::-1].tolist():
        if at - large > FEW + 1:
            break
        began = at = large
    return None if began is None else int(course.steps[began])
