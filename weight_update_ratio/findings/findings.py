"""What is wrong with a run: violations of one kind, at about the same steps, of any tensors, are one finding.

Kinds and numbers, without words; DESIGN.md, section 5.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Iterable, NamedTuple

import numpy as np

from ..compare.ratio import OK, VERDICTS
from ..compare.rows import Array
from ..verdict.judged_run import JudgedRun
from .course import Course
from .entries import MOST_ALIKE, Entry, entries_of
from .kinds import (
    FEW,
    FROZEN,
    KINDS,
    NOT_YET,
    NOTHING_MOVED,
    RESTING,
    STOPPED,
    TOO_LARGE,
    VANISHING,
    ZERO_START,
    kinds_of,
    zeros_of,
)

FAULT, NOTE = SEVERITIES = ("fault", "note")
MOST_OF_A_KIND = 5  # findings; the rest of a kind become one
MOST_TENSORS = 0.9  # of those that move, that a finding is of all
FADING = 0.1  # of the length of a fade; its first step hangs on the noise of a ratio that nears its bound slowly


class Clues(NamedTuple):
    """What the courses of a finding's tensors show of its cause: what ``Entry`` says, of all of them, and more.

    Attributes:
        together: Whether nearly all tensors that move have violations of this kind, of several; of rests, whether
            nothing moves there.
        alone: Whether one tensor moves at all.
        too_large: Whether its tensors have updates that are too large as well.
        zero_start: Whether any tensor of the run began at zero.
        led_up: The tensors of which ``led_up_from`` is so.
        is_rest: Whether it holds all further findings of its kind.
    """

    lower: float
    upper: float
    norm: float
    near_start: bool
    to_end: bool
    in_a_row: bool
    all_zero: bool
    is_gradual: bool
    together: bool
    alone: bool
    fell_away: bool
    too_large: bool
    zero_start: bool
    period: int | None
    full_from: int | None
    led_up_from: int | None
    led_up: tuple[str, ...]
    is_rest: bool


class Finding(NamedTuple):
    """One thing that is wrong; steps are of the judged mode.

    Attributes:
        kind: One of KINDS.
        severity: FAULT or NOTE.
        tensors: Names, in the trial's order.
        workers: Names, in the trial's order.
        onset_step: From which on the ratios left their own course.
        first_step: Of its first violation.
        last_step: Of its last one.
        count: How many violations it has.
        worst_ratio: The one furthest outside of its bounds.
        worst_step: Where that is.
        worst_tensor: Whose it is.
        worst_worker: Likewise.
        clues: What shows its cause.
        text: One sentence of what happened; the renderings give it words, and so the next one.
        advice: One sentence of what to do.
    """

    kind: str
    severity: str
    tensors: tuple[str, ...]
    workers: tuple[str, ...]
    onset_step: int
    first_step: int
    last_step: int
    count: int  # type: ignore[assignment]  # in place of tuple.count
    worst_ratio: float
    worst_step: int
    worst_tensor: str
    worst_worker: str
    clues: Clues
    text: str = ""
    advice: str = ""

    def __repr__(self) -> str:
        """Return its kind and what happened, as a notebook lists it."""
        return f"<Finding {self.kind}: {self.text or ', '.join(self.tensors)}>"

    def as_dict(self) -> dict[str, Any]:
        """Return the finding by the names of the JSON format."""
        hidden = ("worst_worker", "clues")
        document = {name: value for name, value in self._asdict().items() if name not in hidden}
        return {**document, "tensors": list(self.tensors), "workers": list(self.workers)}


class _Run:
    """What the courses of a run have in common; tensors and workers by their places in the run.

    Attributes:
        zeros: Of each course.
        kinds: Of each course's comparisons; None where no comparison is a violation.
        movers: {worker: tensors that move}.
        having: {(worker, kind): tensors that have violations of this kind, also where they do not fire}.
    """

    def __init__(self, found: list[Course]) -> None:
        self.zeros = [zeros_of(course) for course in found]
        self.movers: dict[int, set[int]] = {}
        self.having: dict[tuple[int, str], set[int]] = {}
        ends_at_rest: dict[int, bool] = {}
        moving: dict[int, list[Array]] = {}
        for course, own in zip(found, self.zeros):
            if course.ratios.any():
                self.movers.setdefault(course.worker, set()).add(course.tensor)
            moving.setdefault(course.worker, []).append(course.steps[course.ratios != 0])
            if len(own.moves):
                ends_at_rest[course.worker] = ends_at_rest.get(course.worker, True) and own.ends_at_rest
        self.moving_steps = {worker: np.unique(np.concatenate(steps)) for worker, steps in moving.items()}
        self.kinds: list[Array] = []
        for course, own in zip(found, self.zeros):
            violating = course.verdicts != VERDICTS.index(OK)
            if not violating.any():
                self.kinds.append(None)
                continue
            all_stop = ends_at_rest.get(course.worker, False) and len(self.movers[course.worker]) > 1
            kinds = kinds_of(course, own, all_stop)
            self.kinds.append(kinds)
            for kind in set(kinds[violating].tolist()):
                self.having.setdefault((course.worker, kind), set()).add(course.tensor)

    def tensors(self, workers: Iterable[int], kind: str | None = None) -> set[int]:
        """Return the tensors that move on any of these workers, or that have violations of a kind there."""
        known = (self.movers.get(at, set()) if kind is None else self.having.get((at, kind), set()) for at in workers)
        return set().union(*known)


def find_findings(report: JudgedRun, found: list[Course]) -> list[Finding]:
    """Return what is wrong, the most urgent first, and of a kind the earliest first."""
    run = _Run(found)
    entries: dict[str, list[Entry]] = {}
    for course, own, kinds in zip(found, run.zeros, run.kinds):
        if not course.fires.any():
            continue
        for entry in entries_of(course, own, kinds, run.moving_steps[course.worker]):
            kind = NOTHING_MOVED if entry.kind == FROZEN and not run.movers else entry.kind
            entries.setdefault(kind, []).append(entry)
    return [finding for kind in KINDS for finding in _findings_of(report, kind, entries.get(kind, []), run)]


def _findings_of(report: JudgedRun, kind: str, entries: list[Entry], run: _Run) -> list[Finding]:
    """Return the findings of one kind; of more than ``MOST_OF_A_KIND`` the smallest and latest become one."""
    groups: list[list[Entry]] = []
    for alike in _alike(entries):
        by_tensor: dict[int, list[Entry]] = {}
        for entry in alike:
            by_tensor.setdefault(entry.tensor, []).append(entry)
        by_workers: dict[tuple[int, ...], list[Entry]] = {}
        for own in by_tensor.values():
            by_workers.setdefault(tuple(sorted(entry.worker for entry in own)), []).extend(own)
        groups += by_workers.values()
    groups.sort(key=lambda group: (-len(group), min(entry.first for entry in group)))
    rest = [entry for group in groups[MOST_OF_A_KIND:] for entry in group]
    kept = [_finding(report, kind, group, run) for group in groups[:MOST_OF_A_KIND]]
    kept.sort(key=lambda finding: (finding.first_step, -len(finding.tensors)))
    if rest:
        kept.append(_finding(report, kind, rest, run, is_rest=len(groups) > MOST_OF_A_KIND + 1))
    return kept


def _alike(entries: list[Entry]) -> list[list[Entry]]:
    """Return entries in groups whose first and last steps are within a few comparisons of those of the earliest."""
    waiting = sorted(entries, key=lambda entry: (entry.first, entry.last))
    first, last, fell_away = (
        np.array([getattr(entry, name) for entry in waiting]) for name in ("first", "last", "fell_away")
    )
    left = np.arange(len(waiting))
    groups = []
    while len(left):
        anchor = waiting[left[0]]
        reach = float(FEW * anchor.gap)
        if anchor.kind == VANISHING:
            reach = max(reach, FADING * (anchor.last - anchor.first))
        near = (first[left] - anchor.first <= reach) & (abs(last[left] - anchor.last) <= reach)
        if anchor.kind == VANISHING and not anchor.fell_away:
            near |= ~fell_away[left]  # all fade alike, and cross their bounds at different steps
        groups.append([waiting[position] for position in left[near].tolist()])
        left = left[~near]
    return groups


def _finding(report: JudgedRun, kind: str, entries: list[Entry], run: _Run, is_rest: bool = False) -> Finding:
    tensors, workers = list(report.tensors), list(report.workers)
    own_tensors = sorted({entry.tensor for entry in entries})
    own_workers = sorted({entry.worker for entry in entries})
    worst = min(entries, key=lambda entry: (-entry.severity, entry.worst_step, entry.tensor, entry.worker))
    moving = run.tensors(own_workers)
    together = len(moving) > 1 and len(moving & run.tensors(own_workers, kind)) >= MOST_TENSORS * len(moving)
    if kind in (NOT_YET, STOPPED, RESTING):
        together = len(moving) > 1 and _most(entry.with_all for entry in entries)
    period = _common([entry.period for entry in entries], MOST_ALIKE)
    led_up = [entry for entry in entries if entry.led_up_from is not None]
    clues = Clues(
        worst.lower,
        worst.upper,
        worst.norm,
        any(entry.near_start for entry in entries),
        all(entry.to_end for entry in entries),
        all(entry.in_a_row for entry in entries),
        all(entry.all_zero for entry in entries),
        _most(entry.is_gradual for entry in entries),
        together,
        len(moving) == 1,
        _most(entry.fell_away for entry in entries),
        bool(run.tensors(own_workers, TOO_LARGE).intersection(own_tensors)),
        bool(run.tensors(run.movers, ZERO_START)),
        period,
        max((entry.full_from or 0 for entry in entries if entry.period == period), default=None) if period else None,
        min((entry.led_up_from or 0 for entry in led_up), default=None),
        tuple(tensors[tensor] for tensor in sorted({entry.tensor for entry in led_up})),
        is_rest,
    )
    return Finding(
        kind,
        FAULT,
        tuple(tensors[tensor] for tensor in own_tensors),
        tuple(workers[worker] for worker in own_workers),
        min(entry.first for entry in entries),
        min(entry.first for entry in entries),
        max(entry.last for entry in entries),
        sum(entry.count for entry in entries),
        worst.worst_ratio,
        worst.worst_step,
        tensors[worst.tensor],
        workers[worst.worker],
        clues,
    )


def _most(values: Iterable[bool]) -> bool:
    known = list(values)
    return sum(known) >= MOST_ALIKE * len(known)


def _common(values: list[Any], share: float) -> Any:
    value, count = Counter(values).most_common(1)[0]
    return value if count >= share * len(values) else None
