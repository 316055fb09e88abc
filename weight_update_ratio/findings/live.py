"""The faults of a job that is still running: each is announced once, when nothing that follows can make it a note."""

from __future__ import annotations

import numpy as np

from ..compare.rows import Comparison
from ..verdict.bounds import LARGE
from ..verdict.judged_run import comparisons, firing_at
from .entries import RESTS, Entry, stretches
from .judgement import Judgement
from .kinds import DRIFTED_KIND, FAULT, FEW, LOST, SHRINKING, SPIKE, TOO_LARGE, TOO_SMALL
from .severity import RunCourses, ends_by_schedule

LASTING = 10  # comparisons at rest in a row that no schedule or loss scaler makes
UNMOVED = 20  # the same if nothing has moved yet: accumulated gradients, and a first update of rate 0
GROWTH = 1.1  # of the rows, after which findings are looked for again


class LiveFaults:
    """Announces each fault of a growing run once; it is asked after each step.

    Findings cost as much as all rows. They are looked for if violations of a tensor begin, if they become as many in a
    row as separate a fault from a note, and if the rows have grown by a tenth.
    """

    def __init__(self) -> None:
        self._announced: set[tuple[str, str, str]] = set()  # tensor, worker, kind; if strict, verdict
        self._in_a_row: dict[tuple[str, str, str], int] = {}  # tensor, worker, verdict
        self._most: dict[tuple[str, str, str], int] = {}
        self._rows_seen = 0

    def new_faults(self, run: Judgement, global_step: int) -> list[Comparison]:
        """Return the last violation of each tensor that has a new fault at ``global_step``, the run's last step."""
        firing = firing_at(run.rows, run.bounds, run.mode, global_step)
        if run.strict:
            new = [row for row in firing if (row.tensor, row.worker, row.verdict) not in self._announced]
            self._announced.update((row.tensor, row.worker, row.verdict) for row in new)
            return new
        is_worth = self._is_worth_a_look(run, global_step, firing)
        if not is_worth and not (firing and len(run) >= GROWTH * self._rows_seen):
            return []
        return self.look(run)

    def look(self, run: Judgement) -> list[Comparison]:
        """Return the last violation of each tensor that has a fault that is not announced yet."""
        if not len(run):
            return []
        if run.strict:
            self._announced.update((each.tensor, each.worker, each.verdict) for each in run.violations if each.fires)
            return []
        self._rows_seen = len(run)
        common, tensors, workers = RunCourses(run.courses), list(run.tensors), list(run.workers)
        columns, rows = run.columns, []
        for entry in (entry for finding in run.findings if finding.severity == FAULT for entry in finding.entries):
            course = entry.course
            key = tensors[course.tensor], workers[course.worker], entry.kind
            if key not in self._announced and is_settled(entry, common):
                self._announced.add(key)
                last = course.global_steps[entry.rows[-1]]
                step = slice(*np.searchsorted(columns["global_step"], [last, last + 1]))
                is_last = (columns["tensor"][step] == course.tensor) & (columns["worker"][step] == course.worker)
                rows.append(step.start + int(is_last.argmax()))
        return list(comparisons({name: column[rows] for name, column in columns.items()}, run.rows, run.mode))

    def _is_worth_a_look(self, run: Judgement, global_step: int, firing: list[Comparison]) -> bool:
        """Return whether violations in a row became as many as never before, and as many as matter, or ended."""
        now = {(row.tensor, row.worker, row.verdict) for row in firing}
        columns, is_worth = run.rows.compared, False
        step = slice(*np.searchsorted(columns["global_step"], [global_step, global_step + 1]))
        compared = set(zip(columns["tensor"][step].tolist(), columns["worker"][step].tolist()))
        others = self._in_a_row.keys() - now
        for key in [each for each in others if (run.tensors.get(each[0]), run.workers.get(each[1])) in compared]:
            is_worth |= key[2] == LARGE and (*key[:2], SPIKE) not in self._announced
            self._most[key] = max(self._most.get(key, 0), self._in_a_row.pop(key))
        for key in now:
            is_new = key not in self._in_a_row
            count = self._in_a_row[key] = self._in_a_row.get(key, run.parameters.violations_to_fire - 1) + 1
            most = self._most.get(key, 0)
            matters = is_new or count <= FEW + 1 or count in (UNMOVED, max(LASTING, RESTS * most + 1))
            is_worth |= matters and count > most
        return is_worth


def is_settled(entry: Entry, common: RunCourses) -> bool:
    """Return whether nothing that follows can make an entry a note."""
    course, rows = entry.course, entry.rows
    if entry.kind in (*LOST, SPIKE):
        return True
    last = stretches(rows)[-1]
    if entry.kind == TOO_LARGE:
        return len(last) > FEW or bool(rows[0] >= FEW and rows[-1] < len(course.steps) - 1)  # else: a zero start?
    if entry.kind in SHRINKING and ends_by_schedule(course):
        return False
    if entry.kind in (DRIFTED_KIND, TOO_SMALL):
        return len(last) > FEW
    if not common.movers:
        return len(last) >= UNMOVED and not np.ptp(course.norms)  # else it moves between pairs, which see no update
    moves = np.concatenate([[-1], course.moves[course.moves < last[0]]])
    others = common.moving_steps.get(course.worker, last[:0])
    behind = np.count_nonzero((others >= course.steps[last[0]]) & (others <= course.steps[last[-1]]))
    may_begin = 0 < behind <= FEW and len(moves) == 1  # a few steps after what is above it
    return not may_begin and len(last) >= max(LASTING, RESTS * int((np.diff(moves) - 1).max(initial=0)) + 1)
