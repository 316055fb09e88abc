"""What happened in a run: what began together and is of one family, in any tensors, is one finding.

Kinds and numbers, without words; DESIGN.md, section 5.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Sequence

import numpy as np

from ..verdict.judged_run import JudgedRun
from .course import Course
from .entries import Entry, entries_of
from .kinds import EXPLODED, FEW, KINDS, LOST, NOT_FINITE_KIND, NOTE, RESTING, SHRINKING, TOO_LARGE, family
from .severity import HALF, TOGETHER, RunCourses, in_the_run

MOST_OF_A_KIND = 5  # findings; the rest of a kind become one
UNSURE = 0.25  # of the steps from an onset to the first violation; guessed: noise moves onsets of one fade so far


class Finding(NamedTuple):
    """One thing that happened; steps are of the judged mode, names in the trial's order."""

    kind: str  # one of KINDS
    severity: str  # "fault" or "note"
    tensors: tuple[str, ...]
    workers: tuple[str, ...]
    onset_step: int  # from which on the ratios left their own course
    first_step: int  # of its violations
    last_step: int
    count: int  # type: ignore[assignment]  # of violations; in place of tuple.count
    worst_ratio: float  # the one furthest outside of its bounds
    worst_step: int
    worst_tensor: str
    text: str  # one sentence of what happened, in words that the renderings give it
    advice: str  # one sentence of what to do, likewise
    entries: tuple[Entry, ...]  # what happened to each of its tensors
    first: tuple[Entry, ...]  # those that began it; if it is not finite, those that are its cause
    share: float  # of the tensors that move on its workers
    is_rest: bool  # whether it is made of all further findings of its kind

    def __repr__(self) -> str:
        return f"<Finding {self.kind}: {self.text or ', '.join(self.tensors)}>"

    def as_dict(self) -> dict[str, Any]:
        document = dict(zip(self._fields[: self._fields.index("entries")], self))
        return {**document, "tensors": list(self.tensors), "workers": list(self.workers)}


def worst_of(entries: Sequence[Entry]) -> Entry:
    """Return the entry whose worst violation is furthest outside of its bounds; of equals the earliest."""

    def key(entry: Entry) -> tuple[float, int, int, int]:
        course, worst = entry.course, entry.worst
        return -float(course.decades[worst]), int(course.steps[worst]), course.tensor, course.worker

    return min(entries, key=key)


def find_findings(run: JudgedRun, courses: Sequence[Course]) -> list[Finding]:
    if not courses:
        return []
    common = RunCourses(courses)
    entries = in_the_run([entry for course in courses for entry in entries_of(course)], run, common)
    by_kind: dict[tuple[str, str], list[list[Entry]]] = {}
    for event in _events(entries, run.bounds.baseline is not None, common.length):
        by_kind.setdefault((_kind(event), event[0].severity), []).append(event)
    findings = []
    for (kind, _), events in by_kind.items():
        _put_each_tensor_into_one_event(kind, events)
        events.sort(key=len, reverse=True)
        most = MOST_OF_A_KIND if len(events) > MOST_OF_A_KIND + 1 else len(events)
        findings += [_finding(run, common, kind, event) for event in events[:most]]
        rest = [entry for event in events[most:] for entry in event]
        if rest:
            findings.append(_finding(run, common, kind, rest, is_rest=True))
    return _in_order(findings, max(FEW * min(course.gap for course in courses), TOGETHER * common.length))


def _events(entries: Sequence[Entry], has_baseline: bool, length: int) -> list[list[Entry]]:
    """Return the entries in groups of one family and severity that begin together; an explosion takes in its NaN."""
    families: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        families.setdefault((family(entry.kind, has_baseline), entry.severity), []).append(entry)
    events = []
    for waiting in families.values():
        while waiting:
            first = _began_together(waiting, length)
            workers = {entry.course.worker for entry in first if entry.kind == EXPLODED}
            taken = {id(entry) for entry in first}
            taken |= {id(entry) for entry in waiting if entry.kind in LOST and entry.course.worker in workers}
            event = [entry for entry in waiting if id(entry) in taken]
            waiting = [entry for entry in waiting if id(entry) not in taken]
            kind = EXPLODED if _rises(event) else NOT_FINITE_KIND
            events.append([entry._replace(kind=kind) if entry.kind in LOST else entry for entry in event])
    return events


def _began_together(entries: Sequence[Entry], length: int) -> list[Entry]:
    """Return the entries that began when the earliest did; it is less sure where a slow trend begins."""
    first = min(entries, key=lambda entry: entry.onset_step)
    trend = int(first.course.steps[first.rows[0]]) - first.onset_step
    last = first.onset_step + max(FEW * first.course.gap, TOGETHER * length)

    def is_near(entry: Entry) -> bool:
        if entry.kind == RESTING or (entry.severity == NOTE and entry.kind in SHRINKING):
            return True  # rests begin by chance, and notes that shrink are of one schedule
        late = UNSURE * trend if entry.factor != 1 else trend if entry.kind == first.kind not in LOST else 0
        return entry.onset_step <= last + late

    return [entry for entry in entries if is_near(entry)]


def _kind(event: Sequence[Entry]) -> str:
    """Return the most urgent kind that at least half of the tensors of an event have, else the most frequent one."""
    tensors = {kind: {entry.course.tensor for entry in event if entry.kind == kind} for kind in KINDS}
    half = HALF * len(set().union(*tensors.values()))
    return max(KINDS, key=lambda kind: min(len(tensors[kind]), half))  # of equals the first


def _put_each_tensor_into_one_event(kind: str, events: list[list[Entry]]) -> None:
    """Move what is of another kind than its event to the event that its tensor is in with this kind."""
    homes = {id(entry.course): event for event in events for entry in event if entry.kind == kind}
    for event in events:
        for entry in [entry for entry in event if entry.kind != kind]:
            home = homes.setdefault(id(entry.course), event)
            if home is not event:
                event[:] = [other for other in event if other is not entry]
                home.append(entry)


def _rises(event: Sequence[Entry]) -> list[Entry]:
    """Return what rose before anything of an event was not finite."""
    lost = [entry.course.steps[entry.course.end] for entry in event if entry.kind in LOST]
    grown = [entry for entry in event if entry.kind in (*LOST, TOO_LARGE) and entry.onset < entry.course.end]
    return [entry for entry in grown if lost and entry.onset_step < min(lost)]


def _roots(entries: Sequence[Entry], first: Sequence[Entry]) -> list[Entry]:
    """Return what was not finite from its first saved step on, else what rose first, else what was not finite first."""
    from_start = [entry for entry in entries if not np.isfinite(entry.course.norms[0])]
    rises = [entry for entry in _rises(entries) if any(entry is other for other in first)]
    lost = [entry for entry in entries if entry.kind in LOST]
    earliest = min(entry.course.steps[entry.course.end] for entry in lost)
    return from_start or rises or [entry for entry in lost if entry.course.steps[entry.course.end] == earliest]


def _finding(run: JudgedRun, common: RunCourses, kind: str, entries: list[Entry], is_rest: bool = False) -> Finding:
    first = _began_together(entries, common.length)
    first = _roots(entries, first) if kind in LOST else first
    onsets, numbers = sorted(entry.onset_step for entry in first), numbers_of(run, entries)
    onset = onsets[0 if kind == RESTING else (len(onsets) - 1) // 2]
    pairs = {(entry.course.tensor, entry.course.worker) for entry in entries}
    moving = sum(common.movers[worker] for worker in {worker for _, worker in pairs})
    return Finding(
        kind=kind,
        severity=entries[0].severity,
        onset_step=min(onset, numbers["first_step"]),
        text="",
        advice="",
        first=tuple(first),
        share=len(pairs) / max(moving, len(pairs)),
        is_rest=is_rest,
        **numbers,
    )


def numbers_of(run: JudgedRun, entries: Sequence[Entry]) -> dict[str, Any]:
    """Return the attributes of a finding that follow from its entries."""
    tensors, workers = list(run.tensors), list(run.workers)
    steps = [entry.course.steps[entry.rows] for entry in entries]
    worst = worst_of(entries)
    return {
        "tensors": tuple(tensors[tensor] for tensor in sorted({entry.course.tensor for entry in entries})),
        "workers": tuple(workers[worker] for worker in sorted({entry.course.worker for entry in entries})),
        "first_step": min(int(each.min()) for each in steps),
        "last_step": max(int(each.max()) for each in steps),
        "count": sum(map(len, steps)),
        "worst_ratio": float(worst.course.ratios[worst.worst]),
        "worst_step": int(worst.course.steps[worst.worst]),
        "worst_tensor": tensors[worst.course.tensor],
        "entries": tuple(entries),
    }


def _in_order(findings: list[Finding], reach: float) -> list[Finding]:
    """Return faults before notes; of these what began first, and of what began together what most tensors have."""
    waiting = sorted(findings, key=lambda finding: (finding.severity, finding.onset_step))
    ordered: list[Finding] = []
    while waiting:
        first = waiting[0]
        last = first.severity, first.onset_step + reach
        near = [finding for finding in waiting if (finding.severity, finding.onset_step) <= last]
        ordered += sorted(near, key=lambda each: (-len(each.tensors), KINDS.index(each.kind), each.onset_step))
        waiting = waiting[len(near) :]
    return ordered
