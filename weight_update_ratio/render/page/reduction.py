"""The rows that a page draws, the worst first, and which comparisons of each its charts show.

A trial of 300 tensors and 5,000 steps has 1.5 million comparisons, more than a file should have. Of a large trial a row
keeps, of each bin of its steps, the lowest ratio, the highest and the first that is not finite, so that no spike
vanishes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...compare.rows import Array
from ...findings.course import Course
from ...findings.findings import worst_of
from ...findings.judgement import Judgement
from ...findings.summary import TensorSummary, tensor_summaries

MOST_POINTS = 105_000  # comparisons in the charts; about 11 bytes each in the file
MOST_BINS = 200  # of a row: the strip of a small window is about as many pixels wide
MOST_ROWS = 2_000  # the worst of more
WORST_SHARE = 3  # points of a tensor's worst worker for one of another worker


class Row(NamedTuple):
    """One tensor of one worker."""

    course: Course  # by step
    summary: TensorSummary
    worst: int  # position of the comparison that is furthest outside of its bounds; of several, the first
    kept: Array  # positions of the comparisons that the charts show


def worst_rows(report: Judgement) -> list[Row]:
    """Return the worst rows, the worst first: by the worst comparison, the number of violations, and when it was.

    Of each finding the charts show the onset and the worst comparison.
    """
    by_step = [course.part(np.argsort(course.steps)) for course in report.courses]  # a resumed job repeats numbers
    rows = [
        Row(course, summary, int(course.decades.argmax()), np.arange(len(course.steps)))
        for course, summary in zip(by_step, tensor_summaries(report, report.courses))
    ]
    rows.sort(key=lambda row: (-row.course.decades[row.worst], -row.summary.violations, row.course.steps[row.worst]))
    rows = rows[:MOST_ROWS]
    if sum(len(row.kept) for row in rows) <= MOST_POINTS:
        return rows
    asked: dict[tuple[int, int], list[int]] = {}
    for finding in report.findings:
        for entry in (worst_of(finding.entries), worst_of(finding.first)):
            pair = (entry.course.tensor, entry.course.worker)
            asked.setdefault(pair, []).extend([finding.onset_step, finding.worst_step])
    worst_workers = {row.course.tensor: row.course.worker for row in reversed(rows)}
    shares = [WORST_SHARE if worst_workers[row.course.tensor] == row.course.worker else 1 for row in rows]
    room = MOST_POINTS / sum(shares)
    steps = [asked.get((row.course.tensor, row.course.worker), []) for row in rows]
    return [_reduced(row, int(room * share), seen) for row, share, seen in zip(rows, shares, steps)]


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


def _reduced(row: Row, most: int, asked: list[int]) -> Row:
    steps, ratios = row.course.steps, row.course.ratios
    bin_of, _, _ = bins_of(steps, min(max(most // 2, 1), MOST_BINS))
    finite, lost = np.flatnonzero(np.isfinite(ratios)), np.flatnonzero(~np.isfinite(ratios))
    ascending = finite[np.lexsort((ratios[finite], bin_of[finite]))]
    begins = np.flatnonzero(np.diff(bin_of[ascending], prepend=-1))
    ends = np.flatnonzero(np.diff(bin_of[ascending], append=-1))
    first_lost = np.unique(bin_of[lost], return_index=True)[1]
    kept = [ascending[begins], ascending[ends], lost[first_lost], np.flatnonzero(np.isin(steps, asked)), [row.worst]]
    return row._replace(kept=np.unique(np.concatenate(kept)).astype(np.int64))
