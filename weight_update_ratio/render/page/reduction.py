"""The rows that a page draws, the worst first, and which comparisons of each its charts show.

A trial of 300 tensors and 5,000 steps has 1.5 million comparisons, more than a file should have. Of a large trial a row
keeps, of each bin of its steps, the lowest ratio, the highest and the first that is not finite, so that no spike
vanishes.
"""

from __future__ import annotations

from typing import Iterable, NamedTuple

import numpy as np

from ...compare.rows import Array
from ...findings.course import Course
from ...findings.judgement import Judgement
from ...findings.summary import TensorSummary, tensor_summaries

MOST_POINTS = 105_000  # comparisons in the charts; about 11 bytes each in the file
MOST_POINTS_BANDED = 70_000  # likewise, each with its own bounds
MOST_BINS = 240  # of a row: a phone is about as many pixels wide
MOST_ROWS = 2_000  # the worst of more
WORST_SHARE = 3  # points of a tensor's worst worker for one of another worker


class Row(NamedTuple):
    """One tensor of one worker."""

    course: Course  # by step
    summary: TensorSummary
    worst: int  # position of the comparison that is furthest outside of its bounds; of several, the first
    kept: Array  # positions of the comparisons that the charts show

    def nearest(self, step: int) -> int:
        """Return the index in ``kept`` of the comparison at a step, or of the nearest one."""
        return int(abs(self.course.steps[self.kept] - step).argmin())


def worst_rows(report: Judgement, keep: Iterable[tuple[str, str, int]]) -> list[Row]:
    """Return the worst rows, the worst first: by the worst comparison, the number of violations, and when it was.

    Args:
        report: What is drawn.
        keep: (tensor, worker, step) of comparisons that the charts show in any case.
    """
    rows = [
        Row(course, summary, int(course.decades.argmax()), np.arange(len(course.steps)))
        for course, summary in zip(map(_by_step, report.courses), tensor_summaries(report, report.courses))
    ]
    rows = sorted(rows, key=_urgency)[:MOST_ROWS]
    most = MOST_POINTS if report.bounds.baseline is None else MOST_POINTS_BANDED
    if sum(len(row.kept) for row in rows) <= most:
        return rows
    steps: dict[tuple[str, str], list[int]] = {}
    for tensor, worker, step in keep:
        steps.setdefault((tensor, worker), []).append(step)
    worst_workers = {row.course.tensor: row.course.worker for row in reversed(rows)}
    shares = [WORST_SHARE if worst_workers[row.course.tensor] == row.course.worker else 1 for row in rows]
    total = sum(shares)
    return [
        _reduced(row, most * share // total, steps.get((row.summary.tensor, row.summary.worker), []))
        for row, share in zip(rows, shares)
    ]


def bins_of(steps: Array, most: int) -> tuple[Array, int, int]:
    """Return the bin of each step, how many bins there are, and the interval of the steps.

    Bins divide the slots from the first step to the last one, an interval each, into at most ``most`` parts.

    >>> bins_of(np.array([10, 20, 50]), 3)
    (array([0, 0, 2]), 3, 10)
    """
    interval = int(np.gcd.reduce(np.diff(steps))) or 1
    slots = (steps - steps[0]) // interval
    count = int(slots[-1]) + 1
    return slots * min(most, count) // count, min(most, count), interval


def gaps_before(steps: Array, kept: Array) -> Array:
    """Return for each comparison kept whether steps between it and the one kept before were not compared.

    They were not where the interval between two comparisons is larger than the tensor's usual one.

    >>> gaps_before(np.array([1, 2, 3, 5, 6]), np.array([0, 2, 4])).tolist()
    [False, False, True]
    """
    intervals = np.diff(steps)
    usual = np.median(intervals) if len(intervals) else 0
    so_far = np.append(0, np.cumsum(intervals > usual))[kept]
    return np.append(False, np.diff(so_far) > 0)


def _by_step(course: Course) -> Course:
    order = np.argsort(course.steps)  # a resumed job repeats numbers
    return Course(course.tensor, course.worker, *(column[order] for column in course[2:]))


def _urgency(row: Row) -> tuple[float, int, int]:
    return -float(row.course.decades[row.worst]), -row.summary.violations, int(row.course.steps[row.worst])


def _reduced(row: Row, most: int, steps: list[int]) -> Row:
    course = row.course
    if len(course.steps) <= most:
        return row
    bin_of, _, _ = bins_of(course.steps, min(max(most // 2, 1), MOST_BINS))
    by_ratio = np.lexsort((course.ratios, bin_of))
    finite, lost = np.isfinite(course.ratios[by_ratio]), np.flatnonzero(~np.isfinite(course.ratios))
    by_ratio = by_ratio[finite]
    lowest = np.flatnonzero(np.diff(bin_of[by_ratio], prepend=-1))
    highest = np.append(lowest[1:], len(by_ratio))[: len(lowest)] - 1
    first_lost = lost[np.unique(bin_of[lost], return_index=True)[1]]
    asked = np.flatnonzero(np.isin(course.steps, steps))
    kept = np.unique(np.concatenate([by_ratio[lowest], by_ratio[highest], first_lost, asked, [row.worst]]))
    return row._replace(kept=kept.astype(np.int64))
