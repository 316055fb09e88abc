"""One saved step against its references: records are read in groups, and compared in columns."""

from __future__ import annotations

import itertools
import operator
import os
import threading
from typing import Any, Iterable, NamedTuple, Sequence

import numpy as np

from ..errors import Unreadable, UnreadableError
from ..storage.daemon_threads import DaemonThreads, awaited
from ..storage.storage import Storage
from ..trial.event_file import TensorLayout, tensor_array
from ..trial.index_file import Records
from ..trial.record_group import RecordGroup, RecordPlan, record_plan
from ..trial.timeline import WorkerStep
from ..verdict.bounds import Bounds
from .comparison import ComparedTensors, JudgedStep, Skipped
from .ratio import update_norms, update_ratios, verdict_codes, weight_norms
from .references import StepPairs

THREADED_BYTES = 8 << 20  # a step of fewer is done before threads would have begun
BYTES_AT_ONCE = 512 << 20  # of records that are compared at the same time, two groups a thread; of one larger, its own
KEPT_BYTES = 256 << 20  # of a step's records; those of a larger step are read again at the next one
PLANNED = 65536  # tensors of which it is kept how their records are read; a trial needs those of a few steps

UNCERTAIN = "has no certain reference: the index file of a step before it is lost or broken"


class _Content:
    """The bytes of a group of records; their memory is used again once none of its tensors needs them."""

    def __init__(self, storage: Storage, octets: memoryview, tensors: int) -> None:
        self._storage = storage
        self._octets = octets
        self._needed = tensors
        self._lock = threading.Lock()

    def used(self, tensors: int) -> None:
        """Note that so many tensors more do not need them any more."""
        with self._lock:
            self._needed -= tensors
            if self._needed:
                return
        self._storage.recycle(self._octets)


class _Record(NamedTuple):
    """A tensor's record as it was read: its elements, of shape (n,), and of what shape and type they are."""

    elements: np.ndarray[Any, Any]
    layout: TensorLayout
    content: _Content


class _Step:
    """What is found of the tensors of one worker at one step; each has its place in the arrays."""

    def __init__(self, pairs: StepPairs) -> None:
        self.pairs = pairs
        self.kept: dict[str, _Record] = {}
        self.layouts: dict[str, TensorLayout] = {}  # of the tensors that could be read
        self.update, self.weight, self.norm = np.full((3, len(pairs.tensors)), np.nan)  # norm: of the next references
        self.compared: list[int] = []
        self.skipped: list[tuple[int, Skipped]] = []
        self.unreadable: list[Unreadable] = []
        for tensor in pairs.uncertain:
            self.note(pairs.saved, tensor, UNCERTAIN)

    def by_reference(self, places: Sequence[int]) -> list[tuple[WorkerStep, list[str]]]:
        """Return the certain reference steps of the tensors at these places, each with those that it is of."""
        _, tensors, references, uncertain = self.pairs
        found: dict[int, tuple[WorkerStep, list[str]]] = {}
        for place in places:
            reference = references[place]
            if reference is not None and tensors[place] not in uncertain:
                found.setdefault(reference.global_step, (reference, []))[1].append(tensors[place])
        return list(found.values())

    def skip(self, place: int, reason: str) -> None:
        """Note that a tensor has no ratio."""
        saved, tensors = self.pairs.saved, self.pairs.tensors
        skipped = Skipped(tensors[place], saved.worker, saved.mode, saved.step, saved.global_step, reason)
        self.skipped.append((place, skipped))

    def note(self, at: WorkerStep, tensor: str, reason: str) -> None:
        """Note that a tensor could not be read at this step or at its reference step."""
        file = at.index_file if at.records[tensor] is None else at.event_file
        self.unreadable.append(Unreadable(file, tensor, at.worker, at.global_step, reason))

    def unreadable_in_order(self) -> list[Unreadable]:
        """Return what could not be read, in the order of the index."""
        if not self.unreadable:
            return []
        places: dict[str | None, int] = {tensor: place for place, tensor in enumerate(self.pairs.tensors)}
        return sorted(self.unreadable, key=lambda entry: places[entry.tensor])

    def columns(self, bounds: Bounds) -> ComparedTensors:
        """Return the comparisons that could be made, in the order of the index."""
        saved, tensors, references, _ = self.pairs
        places = sorted(self.compared)
        names = [tensors[place] for place in places]
        reference_step = np.array([references[place].step for place in places], np.int64)  # type: ignore[union-attr]
        lower, upper = bounds.columns(names, saved.step, reference_step)
        update, weight = self.update[places], self.weight[places]
        ratio = update_ratios(update, weight, bounds.parameters.epsilon)
        verdict = verdict_codes(ratio, lower, upper)
        at = (saved.worker, saved.step, saved.global_step)
        return ComparedTensors(names, *at, reference_step, update, weight, ratio, lower, upper, verdict)


class Comparer:
    """Compares the tensors of saved steps with their references, one step after the other.

    It keeps what the next steps need again: the norms of each tensor at the last ``num_steps`` steps, and the last
    step's records. How a step's records are read is planned once for all steps that have them at the same places.

    Attributes:
        dtypes: {tensor: the type that it was saved as}.
    """

    def __init__(self, storage: Storage, bounds: Bounds) -> None:
        self.dtypes: dict[str, str] = {}
        self._storage = storage
        self._bounds = bounds
        self._threads = DaemonThreads()
        self._plans: dict[tuple[int, tuple[str, ...]], tuple[Records, RecordPlan]] = {}
        self._norms: dict[str, dict[int, dict[str, float]]] = {}  # worker -> global step -> tensor -> norm
        self._last: dict[str, tuple[int, dict[str, _Record]]] = {}  # worker -> its last step, and its records there

    def compare(self, pairs: list[StepPairs]) -> JudgedStep:
        """Return the comparison of every tensor of a step that has a reference."""
        steps = [_Step(own) for own in pairs]
        self._storage.retain(self._needed(steps))
        groups = [(step, group) for step in steps for group in self._groups(step, step.pairs.saved, step.pairs.tensors)]
        keeps_records = sum(group.length for _, group in groups) <= KEPT_BYTES
        self._judge_all(groups, keeps_records)
        _release(record for _, last in self._last.values() for record in last.values())
        self._last = {}
        for step in steps:
            self._keep(step)
        return JudgedStep(
            [step.columns(self._bounds) for step in steps],
            [skipped for step in steps for _, skipped in sorted(step.skipped)],
            [entry for step in steps for entry in step.unreadable_in_order()],
        )

    def _needed(self, steps: list[_Step]) -> dict[str, list[tuple[int, int]]]:
        """Return where the records of steps and of their references are: {event file: [(first byte, length)]}."""
        needed: dict[str, list[tuple[int, int]]] = {}
        for step in steps:
            saved, tensors, _, _ = step.pairs
            for at, names in [(saved, tensors), *step.by_reference(range(len(tensors)))]:
                for group in self._plan(at, tuple(names)).groups:
                    needed.setdefault(at.event_file, []).append((group.start, group.length))
        return needed

    def _plan(self, at: WorkerStep, tensors: tuple[str, ...]) -> RecordPlan:
        key = id(at.records), tensors  # steps that save the same tensors at the same places share their records
        known = self._plans.get(key)
        if known is None:
            if sum(len(names) for _, names in list(self._plans)) > PLANNED:
                self._plans.clear()
            known = self._plans[key] = at.records, record_plan(at.records, tensors)
        return known[1]

    def _groups(self, step: _Step, at: WorkerStep, tensors: tuple[str, ...]) -> list[RecordGroup]:
        """Return the groups of tensors' records, and note those that cannot be read."""
        plan = self._plan(at, tensors)
        for tensor, reason in plan.refused:
            step.note(at, tensor, reason)
        return plan.groups

    def _judge_all(self, groups: list[tuple[_Step, RecordGroup]], keeps_records: bool) -> None:
        """Compare the tensors of each group, by several threads where a step is large."""
        sizes = [group.length for _, group in groups]
        threads = min(os.cpu_count() or 1, len(groups), BYTES_AT_ONCE // (2 * max(sizes, default=0) or 1))
        if sum(sizes) < THREADED_BYTES:
            threads = 1

        def judge_share(share: Iterable[int]) -> None:
            for position in share:
                self._judge(*groups[position], keeps_records)

        if threads < 2:
            judge_share(range(len(groups)))
            return
        for done in [self._threads.submit(judge_share, share) for share in _shares(sizes, threads)]:
            awaited(done)

    def _judge(self, step: _Step, group: RecordGroup, keeps_records: bool) -> None:
        """Compare the tensors of a group. Runs in several threads, each with groups of its own."""
        before, norms = self._references(step, group)
        after = self._read(step, step.pairs.saved, group)
        compared: list[tuple[int, _Record, _Record, float]] = []
        alone: list[tuple[int, _Record]] = []
        for tensor, place in zip(group.tensors, group.places):
            old, new = before.get(tensor), after.get(tensor)
            if new is None:
                continue
            reason = _why_skipped(old.layout, new.layout) if old else ""
            if old and not reason:
                compared.append((place, old, new, norms[tensor]))
            else:
                alone.append((place, new))
                if reason:
                    step.skip(place, reason)
        if compared:
            places, olds, news, weights = map(list, zip(*compared))
            old_elements, new_elements = ([record.elements for record in records] for records in (olds, news))
            step.update[places], step.norm[places] = update_norms(old_elements, new_elements)
            step.weight[places] = weights
            step.compared += places
        if alone:
            step.norm[[place for place, _ in alone]] = weight_norms([record.elements for _, record in alone])
        _release(before.values())
        step.layouts.update({tensor: record.layout for tensor, record in after.items()})
        if keeps_records:
            step.kept.update(after)
        else:
            _release(after.values())

    def _references(self, step: _Step, group: RecordGroup) -> tuple[dict[str, _Record], dict[str, float]]:
        """Return the records and the norms of a group's references; what is not at hand is read."""
        worker = step.pairs.saved.worker
        last_step, last = self._last.get(worker, (-1, {}))
        records: dict[str, _Record] = {}
        norms: dict[str, float] = {}
        for reference, tensors in step.by_reference(group.places):
            if reference.global_step == last_step:
                records.update({tensor: last.pop(tensor) for tensor in tensors if tensor in last})
            missing = tuple([tensor for tensor in tensors if tensor not in records])
            for each in self._groups(step, reference, missing) if missing else ():
                records.update(self._read(step, reference, each))
            at_hand = self._norms.get(worker, {}).get(reference.global_step, {})
            norms.update({tensor: at_hand[tensor] for tensor in tensors if tensor in at_hand})
        unknown = [tensor for tensor in records if tensor not in norms]
        if unknown:
            norms.update(zip(unknown, weight_norms([records[tensor].elements for tensor in unknown])))
        return records, norms

    def _read(self, step: _Step, at: WorkerStep, group: RecordGroup) -> dict[str, _Record]:
        """Return the records of a group that can be read, and note the others."""
        try:
            octets = self._storage.span(at.event_file, group.start, group.length)
        except UnreadableError as error:
            if len(group.tensors) > 1:  # some may be there
                return {tensor: record for own in group.alone() for tensor, record in self._read(step, at, own).items()}
            step.note(at, group.tensors[0], str(error))
            return {}
        content = _Content(self._storage, octets, len(group.tensors))
        records = {}
        for tensor, layout in zip(group.tensors, group.layouts(octets, at.global_step)):
            if isinstance(layout, str):
                step.note(at, tensor, layout)
                content.used(1)
            else:
                records[tensor] = _Record(tensor_array(octets, layout), layout, content)
        return records

    def _keep(self, step: _Step) -> None:
        """Keep what the next steps' references need, and forget what is too old to be one."""
        saved, tensors, _, _ = step.pairs
        new = step.layouts.keys() - self.dtypes.keys()
        self.dtypes.update({tensor: step.layouts[tensor].dtype.name for tensor in new})
        norms = self._norms.setdefault(saved.worker, {})
        norms[saved.global_step] = {t: norm for t, norm in zip(tensors, step.norm.tolist()) if t in step.layouts}
        while len(norms) > (self._bounds.parameters.num_steps or 1):
            del norms[next(iter(norms))]
        self._last[saved.worker] = saved.global_step, step.kept


def _release(records: Iterable[_Record]) -> None:
    for content, own in itertools.groupby(records, operator.attrgetter("content")):
        content.used(len(list(own)))


def _shares(sizes: list[int], threads: int) -> list[list[int]]:
    """Return positions in ``sizes`` for each thread, of about as many bytes: the largest first, to the idlest."""
    shares: list[list[int]] = [[] for _ in range(threads)]
    loads = [0] * threads
    for position in sorted(range(len(sizes)), key=lambda position: -sizes[position]):
        idlest = loads.index(min(loads))
        shares[idlest].append(position)
        loads[idlest] += sizes[position]
    return shares


def _why_skipped(before: TensorLayout, after: TensorLayout) -> str:
    if before is after:  # as their group was walked once
        return "" if after.size else "no elements"
    if before.shape != after.shape:
        return f"shape changed from {before.shape} to {after.shape}"
    if (before.dtype.kind == "c") != (after.dtype.kind == "c"):
        return f"type changed from {before.dtype} to {after.dtype}"
    return "" if after.size else "no elements"
