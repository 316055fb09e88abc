"""The faults of a job that is still running, each told once, when nothing that follows can make it a note."""

from __future__ import annotations

from typing import Iterable

import numpy as np

from ..compare.ratio import LARGE, NOT_FINITE, VERDICTS
from ..compare.rows import Comparison
from ..verdict.judged_run import firing_at
from .entries import RESTS, Entry
from .judgement import Judgement
from .kinds import DRIFTED_KIND, FAULT, FEW, LOST, SPIKE, TOO_LARGE, TOO_SMALL

LASTING = 10  # comparisons at rest in a row that no schedule or loss scaler makes
GROWTH = 1.1  # of the rows, after which findings are looked for again


class LiveFaults:
    """Tells of each fault of a growing run once; it is asked after each step.

    Looking for findings costs as much as all rows. So it is done where a value is not finite, where violations in a row
    become as many as tell a fault from a note, and else when the rows have grown by a tenth.
    """

    def __init__(self) -> None:
        self._told: set[tuple[str, str, str]] = set()  # tensor, worker, verdict
        self._in_a_row: dict[tuple[str, str, str], int] = {}
        self._most: dict[tuple[str, str, str], int] = {}
        self._rows_seen = 0

    def new_faults(self, run: Judgement, global_step: int) -> list[Comparison]:
        """Return the last violation of each tensor whose fault is told at this step, the last one of the run so far."""
        firing = firing_at(run.rows, run.bounds, run.mode, global_step)
        if run.strict:
            return firing
        is_worth = self._is_worth_a_look(run, global_step, firing)
        if not is_worth and not (firing and len(run) >= GROWTH * self._rows_seen):
            return []
        self._rows_seen = len(run)
        faults = (finding for finding in run.findings if finding.severity == FAULT)
        rows = [_last_violation(run, entry) for finding in faults for entry in finding.entries if is_settled(entry)]
        new = [row for row in rows if (row.tensor, row.worker, row.verdict) not in self._told]
        self._told.update((row.tensor, row.worker, row.verdict) for row in new)
        return new

    def _is_worth_a_look(self, run: Judgement, global_step: int, firing: Iterable[Comparison]) -> bool:
        """Return whether violations in a row became as many as never before, and as many as matter, or ended."""
        now = {(row.tensor, row.worker, row.verdict) for row in firing} - self._told
        compared, is_worth = _compared_at(run, global_step), False
        for key in [key for key in self._in_a_row if key not in now and key[:2] in compared]:
            is_worth |= key[2] == LARGE
            self._most[key] = max(self._most.get(key, 0), self._in_a_row.pop(key))
        for key in now:
            count = self._in_a_row[key] = self._in_a_row.get(key, 0) + 1
            most = self._most.get(key, 0)
            matters = key[2] == NOT_FINITE or count <= FEW + 1 or count == max(LASTING, RESTS * most + 1)
            is_worth |= matters and count > most
        return is_worth


def _compared_at(run: Judgement, global_step: int) -> set[tuple[str, str]]:
    columns = run.rows.compared
    begin, end = np.searchsorted(columns["global_step"], [global_step, global_step + 1])
    tensors, workers = list(run.tensors), list(run.workers)
    codes = zip(columns["tensor"][begin:end].tolist(), columns["worker"][begin:end].tolist())
    return {(tensors[tensor], workers[worker]) for tensor, worker in codes}


def is_settled(entry: Entry) -> bool:
    """Return whether nothing that follows can make an entry a note."""
    if entry.kind in LOST:
        return True
    course, rows = entry.course, entry.rows
    runs = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
    if entry.kind in (DRIFTED_KIND, TOO_SMALL, SPIKE, TOO_LARGE) and max(map(len, runs)) > FEW:
        return True
    if entry.kind in (SPIKE, TOO_LARGE):
        return bool(rows[0] >= course.moves[0] + FEW and rows[-1] < len(course.steps) - 1)  # else: a zero start?
    if entry.kind in (DRIFTED_KIND, TOO_SMALL):
        return False
    moves = np.concatenate([[-1], course.moves[course.moves < runs[-1][0]]])
    return len(runs[-1]) >= max(LASTING, RESTS * int((np.diff(moves) - 1).max(initial=0)) + 1)


def _last_violation(run: Judgement, entry: Entry) -> Comparison:
    course, at = entry.course, int(entry.rows[-1])
    names = list(run.tensors)[course.tensor], list(run.workers)[course.worker], run.mode or ""
    steps = int(course.steps[at]), int(course.references[at]), int(course.global_steps[at])
    columns = (course.updates, course.norms, course.ratios, course.lower, course.upper)
    numbers = (float(column[at]) for column in columns)
    return Comparison._make((*names, *steps, *numbers, VERDICTS[course.verdicts[at]]))
