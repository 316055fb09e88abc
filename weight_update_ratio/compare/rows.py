"""The comparisons of a run in columns, by global step, with what was skipped and what could not be read there.

A comparison takes 52 bytes. What follows from the columns, such as ratios, verdicts and what fires, is not kept here.
"""

from __future__ import annotations

from typing import Any, Iterable, NamedTuple

import numpy as np

from ..errors import Unreadable
from ..trial.timeline import WorkerStep
from .references import StepPairs

Array = Any  # a NumPy array; its generic alias came with Python 3.9

UNCERTAIN = "has no certain reference: the index file of a step before it is lost or broken"


class Comparison(NamedTuple):
    """A tensor at a saved step against its reference step; steps count in ``mode``, norms are L2 in float64.

    ``lower`` and ``upper`` are the bounds that its verdict was judged by.
    """

    tensor: str
    worker: str
    mode: str
    step: int
    reference_step: int
    global_step: int
    update_norm: float
    weight_norm: float
    ratio: float
    lower: float
    upper: float
    verdict: str
    type: str  # that the tensor was saved as, or before it was widened


class SkippedGroup(NamedTuple):
    """The steps at which one tensor of one worker, or None: the worker as a whole, was skipped for one reason."""

    tensor: str | None
    worker: str | None
    reason: str
    first_step: int | None = None
    last_step: int | None = None
    count: int = 1  # type: ignore[assignment]  # in place of tuple.count


class StepRows:
    """What comparing the tensors of one worker at one step gives; a position is one in ``pairs.tensors``."""

    def __init__(self, pairs: StepPairs) -> None:
        self.pairs = pairs
        self.update, self.weight = np.full((2, len(pairs.tensors)), np.nan)  # norms, by position; NaN: not compared
        self.types: dict[int, str] = {}  # {position: type that it was saved as} of those that were compared
        self.skipped: list[tuple[int, str]] = []  # (position, reason) of those that were read and have no ratio
        self.unreadable: list[Unreadable] = []
        for tensor in pairs.uncertain:
            self.note(pairs.saved, tensor, UNCERTAIN)

    def by_reference(self, positions: Iterable[int]) -> list[tuple[WorkerStep, list[str]]]:
        """Return the certain reference steps of the tensors at these positions, each with its tensors."""
        _, tensors, references, uncertain = self.pairs
        steps: dict[int, tuple[WorkerStep, list[str]]] = {}
        for position in positions:
            reference = references[position]
            if reference is not None and tensors[position] not in uncertain:
                steps.setdefault(reference.global_step, (reference, []))[1].append(tensors[position])
        return list(steps.values())

    def note(self, at: WorkerStep, tensor: str, reason: str) -> None:
        """Note that a tensor could not be read at this step or at its reference step."""
        file = at.index_file if at.records[tensor] is None else at.event_file
        self.unreadable.append(Unreadable(file, tensor, at.worker, at.global_step, reason))


class Columns:
    """Arrays of one length, ascending by the column ``global_step``; those that were given away keep their values."""

    def __init__(self, **types: Any) -> None:
        self._arrays: dict[str, Array] = {name: np.empty(0, kind) for name, kind in types.items()}
        self._count = 0

    def __getitem__(self, name: str) -> Array:
        return self._arrays[name][: self._count]

    def arrays(self) -> dict[str, Array]:
        return {name: self[name] for name in self._arrays}

    def add(self, count: int, **values: Any) -> None:
        """Add so many rows after those of earlier global steps and of the same."""
        before, end = self._count, self._count + count
        for name, array in self.arrays().items():
            if end > len(self._arrays[name]):
                self._arrays[name] = np.empty(end + end // 20, array.dtype)
                self._arrays[name][:before] = array
            self._arrays[name][before:end] = values[name]
        self._count = end
        steps = self["global_step"]
        if 0 < before < end and steps[before] < steps[before - 1]:
            order = np.argsort(steps, kind="stable")
            self._arrays = {name: array[order] for name, array in self.arrays().items()}

    def keep(self, rows: Array) -> None:
        self._arrays = {name: array[rows] for name, array in self.arrays().items()}
        self._count = int(np.count_nonzero(rows))

    def cut(self, global_step: int) -> None:
        self.keep(self["global_step"] < global_step)


class Names:
    """Names in the order of the global steps at which they first came; columns have their codes."""

    def __init__(self) -> None:
        self.codes: dict[str, int] = {}
        self._first: dict[str, int] = {}  # global steps, by name
        self._last: tuple[int, tuple[str, ...], Array] = (0, (), np.empty(0, np.int32))

    def add(self, name: str, global_step: int) -> int:
        """Return the code of a name that is known from ``global_step`` on."""
        self._first[name] = min(global_step, self._first.get(name, global_step))
        return self.codes.setdefault(name, len(self.codes))

    def add_all(self, names: tuple[str, ...], global_step: int) -> Array:
        """Return the codes of names; mostly each step has the same."""
        last_step, last, codes = self._last
        if global_step < last_step or names != last:
            codes = np.array([self.add(name, global_step) for name in names], np.int32)
        self._last = global_step, names, codes
        return codes

    def cut(self, global_step: int) -> Array:
        """Remove the names that are known only from ``global_step`` on; return the new codes by the old ones."""
        kept = sorted((first, self.codes[name], name) for name, first in self._first.items() if first < global_step)
        new_codes = np.zeros(len(self.codes), np.int32)
        new_codes[[code for _, code, _ in kept]] = np.arange(len(kept))
        self.codes = {name: code for code, (_, _, name) in enumerate(kept)}
        self._first = {name: first for first, _, name in kept}
        self._last = (0, (), np.empty(0, np.int32))
        return new_codes


class Rows:
    """The rows of the steps that were compared, in any order of the calls."""

    def __init__(self) -> None:
        codes, steps = {"tensor": "i4", "worker": "i4", "type": "i4"}, {"step": "i8", "global_step": "i8"}
        self.compared = Columns(**codes, **steps, reference_step="i8", update_norm="f8", weight_norm="f8")
        self.tensors, self.workers, self.types = Names(), Names(), Names()  # of the selected tensors
        self.steps: set[int] = set()  # the global steps that have a selected tensor
        self.skipped: list[tuple[int, tuple[str, str, str], int]] = []  # (global step, (tensor, worker, reason), step)
        self.unreadable: dict[Unreadable, int] = {}  # {entry: the first global step that needed it}

    def append(self, part: StepRows) -> None:
        saved, tensors, references, _ = part.pairs
        at, compared = saved.global_step, sorted(part.types)
        self.steps.add(at)
        self.compared.add(
            len(compared),
            tensor=self.tensors.add_all(tensors, at)[compared],
            worker=self.workers.add(saved.worker, at),
            type=self.types.add_all(tuple([part.types[position] for position in compared]), at),
            step=saved.step,
            global_step=at,
            reference_step=[references[position].step for position in compared],  # type: ignore[union-attr]
            update_norm=part.update[compared],
            weight_norm=part.weight[compared],
        )
        for position, reason in sorted(part.skipped):
            self.skipped.append((at, (tensors[position], saved.worker, reason), saved.step))
        if part.unreadable:  # by several threads, in any order
            positions = {tensor: position for position, tensor in enumerate(tensors)}
            self.add_unreadable(at, sorted(part.unreadable, key=lambda entry: positions[entry.tensor or ""]))

    def drop(self, part: StepRows) -> None:
        """Remove the rows of which a part has others."""
        saved, tensors, _, _ = part.pairs
        codes = [self.tensors.codes.get(tensors[position], -1) for position in part.types]
        same = (self.compared["global_step"] == saved.global_step) & np.isin(self.compared["tensor"], codes)
        self.compared.keep(~(same & (self.compared["worker"] == self.workers.codes.get(saved.worker, -1))))

    def add_unreadable(self, global_step: int, unreadable: list[Unreadable]) -> None:
        for entry in unreadable:
            self.unreadable[entry] = min(global_step, self.unreadable.get(entry, global_step))

    def cut(self, global_step: int) -> None:
        """Remove the steps from ``global_step`` on, and put the names in the order of the steps."""
        self.compared.cut(global_step)
        for codes, names in ((self.compared["tensor"], self.tensors), (self.compared["worker"], self.workers)):
            codes[:] = names.cut(global_step)[codes]
        self.steps = {step for step in self.steps if step < global_step}
        self.skipped = [entry for entry in self.skipped if entry[0] < global_step]
        self.unreadable = {entry: at for entry, at in self.unreadable.items() if at < global_step}

    def skipped_groups(self) -> list[SkippedGroup]:
        """Return what was skipped by tensor, worker and reason, in the order of the first steps."""
        groups: dict[tuple[str, str, str], list[int]] = {}
        for _, named, step in sorted(self.skipped, key=lambda entry: entry[0]):
            groups.setdefault(named, []).append(step)
        return [SkippedGroup(*named, steps[0], steps[-1], len(steps)) for named, steps in groups.items()]
