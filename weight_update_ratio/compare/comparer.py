"""One saved step against its references: records are read in groups, and compared in columns."""

from __future__ import annotations

import functools
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any, List, Mapping, Tuple

import numpy as np

from ..errors import UnreadableError
from ..storage.location import Storage
from ..trial.event_file import DTYPES, TensorLayout
from ..trial.index_file import Records
from ..trial.record_group import RecordGroup, record_plan
from ..trial.timeline import WorkerStep
from .ratio import update_norms, weight_norms
from .references import StepPairs
from .rows import StepRows

THREADED_BYTES = 8 << 20  # a step of fewer is done before threads would have begun
BYTES_AT_ONCE = 512 << 20  # of records that several threads compare at the same time, two groups each
KEPT_BYTES = 256 << 20  # of a step's records; those of a larger step are read again at the next one
PLANNED = 65536  # tensors of which it is kept how their records are read; a trial needs those of a few steps

TYPE_NAMES = {dtype: dtype.name for dtype in DTYPES.values()}  # asking NumPy for a name takes it 5 us

Shape = Tuple[int, ...]
_Plan = Tuple[List[RecordGroup], List[str]]  # what record_plan returns


class _Record:
    """A tensor at a step: its elements, of shape (n,), their layout, and their norm once it is known."""

    def __init__(self, elements: np.ndarray[Any, Any], layout: TensorLayout) -> None:
        self.elements = elements
        self.layout = layout
        self.norm: float | None = None


class Comparer:
    """Compares the tensors of saved steps with their references, and keeps the records of a step for the next one."""

    def __init__(self, storage: Storage) -> None:
        self.types: Mapping[str, str] = {}  # {tensor: type before it was widened to be saved}
        self._storage = storage
        self._threads = ThreadPoolExecutor(os.cpu_count() or 1)
        # Steps that have their records at the same positions share a plan.
        self._plans: dict[tuple[int, tuple[str, ...]], tuple[Records, _Plan]] = {}
        self._last: dict[str, tuple[int, dict[str, _Record]]] = {}  # {worker: (global step, records)}

    def compare(self, pairs: list[StepPairs]) -> list[StepRows]:
        steps = [StepRows(each) for each in pairs]
        self._storage.retain(self._needed(steps))
        groups = [self._groups(step, step.pairs.saved, step.pairs.tensors) for step in steps]
        keeps = sum(group.length for each in groups for group in each) <= KEPT_BYTES
        for step, of_step in zip(steps, groups):
            saved = step.pairs.saved
            sizes = [group.length for group in of_step]
            is_large = 2 * max(sizes, default=0) * (os.cpu_count() or 1) > BYTES_AT_ONCE
            is_alone = is_large or len(sizes) < 2 or sum(sizes) < THREADED_BYTES
            judged = (map if is_alone else self._threads.map)(functools.partial(self._judge, step, keeps), of_step)
            records = {tensor: record for part in judged for tensor, record in part.items()}
            self._last[saved.worker] = saved.global_step, records
        return steps

    def _needed(self, steps: list[StepRows]) -> dict[str, list[tuple[int, int]]]:
        """Return the bytes of the records of steps and of their references: {event file: [(first byte, length)]}."""
        needed: dict[str, list[tuple[int, int]]] = {}
        for step in steps:
            saved, tensors, _, _ = step.pairs
            for at, names in [(saved, tensors), *step.by_reference(range(len(tensors)))]:
                for group in self._plan(at, tuple(names))[0]:
                    needed.setdefault(at.event_file, []).append((group.start, group.length))
        return needed

    def _plan(self, at: WorkerStep, tensors: tuple[str, ...]) -> _Plan:
        key = id(at.records), tensors
        known = self._plans.get(key)
        if known is None:  # several threads plan
            if sum(len(names) for _, names in list(self._plans)) > PLANNED:
                self._plans.clear()
            known = self._plans[key] = at.records, record_plan(at.records, tensors)
        return known[1]

    def _groups(self, step: StepRows, at: WorkerStep, tensors: tuple[str, ...]) -> list[RecordGroup]:
        groups, unnamed = self._plan(at, tensors)
        for tensor in unnamed:
            step.note(at, tensor, "names no range of bytes for it")
        return groups

    def _judge(self, step: StepRows, keeps: bool, group: RecordGroup) -> dict[str, _Record]:
        """Compare the tensors of a group and return its records. Several threads have a group each."""
        before = self._references(step, group)
        after = self._read(step, step.pairs.saved, group)
        names, positions = [], []
        for tensor, position in zip(group.tensors, group.positions):
            if tensor in after and tensor in before:
                old, new = before[tensor].layout, after[tensor].layout
                reason = why_skipped(old.shape, old.dtype, new.shape, new.dtype)
                if reason:
                    step.skipped.append((position, reason))
                else:
                    names.append(tensor)
                    positions.append(position)
                    step.types[position] = self.types.get(tensor) or TYPE_NAMES[after[tensor].layout.dtype]
        if names:
            earlier, later = ([records[name] for name in names] for records in (before, after))
            unknown = [record for record in earlier if record.norm is None]
            for record, norm in zip(unknown, weight_norms([record.elements for record in unknown]).tolist()):
                record.norm = norm
            elements = ([record.elements for record in records] for records in (earlier, later))
            step.update[positions], norms = update_norms(*elements)
            step.weight[positions] = [record.norm for record in earlier]
            for record, norm in zip(later, norms.tolist()):
                record.norm = norm
        return after if keeps else {}

    def _references(self, step: StepRows, group: RecordGroup) -> dict[str, _Record]:
        """Return the records of a group's references; what is not kept is read."""
        references: dict[str, _Record] = {}
        last_step, kept = self._last.get(step.pairs.saved.worker, (-1, {}))
        for reference, tensors in step.by_reference(group.positions):
            last = kept if reference.global_step == last_step else {}
            references.update((tensor, last.pop(tensor)) for tensor in tensors if tensor in last)
            missing = tuple([tensor for tensor in tensors if tensor not in references])
            for each in self._groups(step, reference, missing) if missing else ():
                references.update(self._read(step, reference, each))
        return references

    def _read(self, step: StepRows, at: WorkerStep, group: RecordGroup) -> dict[str, _Record]:
        """Return the records of a group that can be read, and note the others."""
        try:
            octets = self._storage.span(at.event_file, group.start, group.length)
        except UnreadableError as error:
            if len(group.tensors) > 1:  # some may be there
                alone = [self._read(step, at, each) for each in group.alone()]
                return {tensor: record for records in alone for tensor, record in records.items()}
            step.note(at, group.tensors[0], str(error))
            return {}
        records = {}
        for tensor, layout in zip(group.tensors, group.layouts(octets, at.global_step)):
            if isinstance(layout, str):
                step.note(at, tensor, layout)
            else:
                elements = np.frombuffer(octets, layout.dtype, layout.size, layout.offset)  # a view
                records[tensor] = _Record(elements, layout)
        return records


def why_skipped(shape: Shape, dtype: np.dtype[Any], shape_after: Shape, dtype_after: np.dtype[Any]) -> str:
    """Return why a tensor of these shapes and types has no ratio; an empty string if it has one."""
    if shape != shape_after:
        return f"shape changed from {shape} to {shape_after}"
    if (dtype.kind == "c") != (dtype_after.kind == "c"):
        return f"type changed from {dtype} to {dtype_after}"
    return "no elements" if 0 in shape else ""
