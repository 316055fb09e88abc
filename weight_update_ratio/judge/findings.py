"""What is wrong with a run: violations of one kind, at about the same steps, of any tensors, are one finding.

Kinds and numbers, without words; DESIGN.md, section 5.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .course import Course, courses
from .history import History
from .kinds import (
    FEW,
    FROZEN,
    KINDS,
    NOT_FINITE_KIND,
    NOTHING_MOVED,
    RESTING,
    TOO_LARGE,
    Zeros,
    kinds_of,
    period_of,
    severity,
    zeros_of,
)

MOST_OF_A_KIND = 5  # findings; the rest of a kind become one
MOST_TENSORS = 0.9  # of those that move, that a finding is of all


class Finding(NamedTuple):
    """One thing that is wrong; steps are of the judged mode.

    Attributes:
        kind: One of KINDS.
        tensors: Names, in the trial's order.
        workers: Names, in the trial's order.
        first_step: Of its first violation.
        last_step: Of its last one.
        count: How many violations it has.
        worst_ratio: The one furthest outside of its bounds.
        worst_step: Where that is.
        worst_tensor: Whose it is.
        worst_worker: Likewise.
        lower: The bounds of that comparison, and so is the next one.
        upper: Its unit is that of a ratio.
        from_start: Whether it begins with the first comparison of its tensors.
        to_end: Whether it ends with the last one.
        everywhere: Whether it is of nearly all tensors that move, and there are several.
        period: How many steps are between the moves of tensors that rest in between, where that is regular.
        led_up_from: Step from which updates were too large, where that goes on until a ratio is not finite.
        is_rest: Whether it stands for all further findings of its kind.
        text: One sentence of what happened; the renderings give it words, and so the next one.
        advice: One sentence of what to do.
    """

    kind: str
    tensors: tuple[str, ...]
    workers: tuple[str, ...]
    first_step: int
    last_step: int
    count: int  # type: ignore[assignment]  # in place of tuple.count
    worst_ratio: float
    worst_step: int
    worst_tensor: str
    worst_worker: str
    lower: float
    upper: float
    from_start: bool
    to_end: bool
    everywhere: bool
    period: int | None
    led_up_from: int | None
    is_rest: bool
    text: str = ""
    advice: str = ""

    def __repr__(self) -> str:
        """Return its kind and what happened, as a notebook lists it."""
        return f"<Finding {self.kind}: {self.text or ', '.join(self.tensors)}>"

    def as_dict(self) -> dict[str, Any]:
        """Return the finding by the names of the JSON format."""
        names = ("first_step", "last_step", "count", "worst_ratio", "worst_step", "worst_tensor", "text", "advice")
        lists = {"tensors": list(self.tensors), "workers": list(self.workers)}
        return {"kind": self.kind, **lists, **{name: getattr(self, name) for name in names}}


class _Entry(NamedTuple):
    """The violations of one kind of one tensor and worker; ``gap`` is how far apart its comparisons are, in steps."""

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
    from_start: bool
    to_end: bool
    period: int | None
    gap: int


def find_findings(history: History) -> list[Finding]:
    """Return what is wrong, the most urgent first, and of a kind the earliest first."""
    found = courses(history)
    zeros = [zeros_of(course) for course in found]
    nothing_moved = not any(course.ratios.any() for course in found)
    moving: dict[int, set[int]] = {}  # worker -> tensors
    stopped: dict[int, bool] = {}
    for course, own in zip(found, zeros):
        if len(own.moves) or len(own.finite) < len(course.steps):
            moving.setdefault(course.worker, set()).add(course.tensor)
        if len(own.moves):
            stopped[course.worker] = stopped.get(course.worker, True) and own.ends_at_rest
    entries: dict[str, list[_Entry]] = {}
    for course, own in zip(found, zeros):
        if course.fires.any():
            all_stop = stopped.get(course.worker, False) and len(moving[course.worker]) > 1
            for entry in _entries(course, own, all_stop):
                kind = NOTHING_MOVED if entry.kind == FROZEN and nothing_moved else entry.kind
                entries.setdefault(kind, []).append(entry)
    findings = []
    for kind in KINDS:
        findings += _findings_of_kind(history, kind, entries.get(kind, []), moving)
    return [_with_cause(finding, entries.get(TOO_LARGE, [])) for finding in findings]


def _entries(course: Course, zeros: Zeros, all_stop: bool) -> list[_Entry]:
    kinds = kinds_of(course, zeros, all_stop)
    kinds[~course.fires] = None
    gap = max(int(np.median(np.diff(course.steps))), 1) if len(course.steps) > 1 else 1
    entries = []
    for kind in dict.fromkeys(kinds[course.fires].tolist()):
        rows = np.flatnonzero(kinds == kind)
        outside = severity(course, rows)
        worst = int(rows[outside.argmax()])
        entries.append(
            _Entry(
                kind,
                course.tensor,
                course.worker,
                int(course.steps[rows].min()),
                int(course.steps[rows].max()),
                len(rows),
                float(outside.max()),
                float(course.ratios[worst]),
                int(course.steps[worst]),
                float(course.lower[worst]),
                float(course.upper[worst]),
                bool(rows[0] == 0),
                bool(rows[-1] == len(course.steps) - 1),
                period_of(course, zeros.moves) if kind == RESTING else None,
                gap,
            )
        )
    return entries


def _findings_of_kind(history: History, kind: str, entries: list[_Entry], moving: dict[int, set[int]]) -> list[Finding]:
    """Return the findings of one kind; of more than ``MOST_OF_A_KIND`` the smallest and latest become one."""
    groups: list[list[_Entry]] = []
    for alike in _alike(entries):
        by_tensor: dict[int, list[_Entry]] = {}
        for entry in alike:
            by_tensor.setdefault(entry.tensor, []).append(entry)
        by_workers: dict[tuple[int, ...], list[_Entry]] = {}
        for own in by_tensor.values():
            by_workers.setdefault(tuple(sorted(entry.worker for entry in own)), []).extend(own)
        groups += by_workers.values()
    groups.sort(key=lambda group: (-len(group), min(entry.first for entry in group)))
    rest = [entry for group in groups[MOST_OF_A_KIND:] for entry in group]
    kept = [_finding(history, kind, group, moving) for group in groups[:MOST_OF_A_KIND]]
    kept.sort(key=lambda finding: (finding.first_step, -len(finding.tensors)))
    if rest:
        is_rest = len(groups) > MOST_OF_A_KIND + 1
        kept.append(_finding(history, kind, rest, moving)._replace(is_rest=is_rest))
    return kept


def _alike(entries: list[_Entry]) -> list[list[_Entry]]:
    """Return entries in groups whose first and last steps are within a few comparisons of those of the earliest."""
    waiting = sorted(entries, key=lambda entry: (entry.first, entry.last))
    first, last, gap = (np.array([getattr(entry, name) for entry in waiting]) for name in ("first", "last", "gap"))
    left = np.arange(len(waiting))
    groups = []
    while len(left):
        anchor = left[0]
        reach = FEW * np.maximum(gap[left], gap[anchor])
        near = (first[left] - first[anchor] <= reach) & (abs(last[left] - last[anchor]) <= reach)
        groups.append([waiting[position] for position in left[near].tolist()])
        left = left[~near]
    return groups


def _finding(history: History, kind: str, entries: list[_Entry], moving: dict[int, set[int]]) -> Finding:
    tensors, workers = list(history.tensors), list(history.workers)
    own_tensors = sorted({entry.tensor for entry in entries})
    own_workers = sorted({entry.worker for entry in entries})
    worst = min(entries, key=lambda entry: (-entry.severity, entry.worst_step))
    movers = set().union(*(moving.get(worker, set()) for worker in own_workers))
    periods = {entry.period for entry in entries}
    return Finding(
        kind,
        tuple(tensors[tensor] for tensor in own_tensors),
        tuple(workers[worker] for worker in own_workers),
        min(entry.first for entry in entries),
        max(entry.last for entry in entries),
        sum(entry.count for entry in entries),
        worst.worst_ratio,
        worst.worst_step,
        tensors[worst.tensor],
        workers[worst.worker],
        worst.lower,
        worst.upper,
        all(entry.from_start for entry in entries),
        all(entry.to_end for entry in entries),
        len(movers) > 1 and len(movers.intersection(own_tensors)) >= MOST_TENSORS * len(movers),
        periods.pop() if len(periods) == 1 else None,
        None,
        False,
    )


def _with_cause(finding: Finding, too_large: list[_Entry]) -> Finding:
    """Return a finding of what is not finite with the step from which updates that lead up to it were too large."""
    if finding.kind != NOT_FINITE_KIND:
        return finding
    before = [entry.first for entry in too_large if 0 <= finding.first_step - entry.last <= (FEW + 1) * entry.gap]
    return finding._replace(led_up_from=min(before)) if before else finding
