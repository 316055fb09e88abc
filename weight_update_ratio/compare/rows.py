"""The comparisons of a run in columns, by global step, with what was skipped and what could not be read there.

A comparison takes 49 bytes. What follows from the columns, such as ratios, verdicts and what fires, is not kept here.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Any, NamedTuple

import numpy as np

from ..errors import Unreadable
from .references import StepPairs

Array = Any  # a NumPy array; its generic alias came with Python 3.9


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


class Skipped(NamedTuple):
    """A tensor of a worker that was read at a step and has no ratio there."""

    global_step: int
    worker: str
    step: int
    tensor: str
    reason: str


class SkippedGroup(NamedTuple):
    """The steps at which one tensor of one worker, or None: the worker as a whole, was skipped for one reason."""

    tensor: str | None
    worker: str | None
    reason: str
    first_step: int | None
    last_step: int | None
    count: int  # type: ignore[assignment]  # in place of tuple.count


class StepRows:
    """What comparing the tensors of one worker at one step gives, by their places in ``pairs.tensors``.

    Attributes:
        pairs: The tensors, n of them, and their references.
        update: The norms of the updates, NaN where there is none; float64, shape (n,).
        weight: Those of the weights before them; likewise.
        types: The types that the compared ones were saved as, {place: type}.
        skipped: (place, reason) of those that were read and have no ratio.
        unreadable: What could not be read.
    """

    def __init__(self, pairs: StepPairs) -> None:
        self.pairs = pairs
        self.update, self.weight = np.full((2, len(pairs.tensors)), np.nan)
        self.types: dict[int, str] = {}
        self.skipped: list[tuple[int, str]] = []
        self.unreadable: list[Unreadable] = []


class Columns:
    """Arrays of one length, ascending by the column ``global_step``.

    Arrays that were given away keep their values, whatever is added or cut later.
    """

    def __init__(self, **types: Any) -> None:
        self._arrays: dict[str, Array] = {name: np.empty(0, kind) for name, kind in types.items()}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, name: str) -> Array:
        return self._arrays[name][: self._count]

    def arrays(self) -> dict[str, Array]:
        """Return all columns, each of shape (len,)."""
        return {name: self[name] for name in self._arrays}

    def add(self, count: int, **values: Any) -> None:
        """Add so many rows after those of earlier global steps and of the same."""
        end = self._count + count
        for name, array in self.arrays().items():
            if end > len(self._arrays[name]):
                self._arrays[name] = np.empty(end + end // 20, array.dtype)
                self._arrays[name][: self._count] = array
            self._arrays[name][self._count : end] = values[name]
        before, self._count = self._count, end
        steps = self["global_step"]
        if 0 < before < end and steps[before] < steps[before - 1]:
            order = np.argsort(steps, kind="stable")
            self._arrays = {name: array[order] for name, array in self.arrays().items()}

    def cut(self, global_step: int, **codes: Array) -> None:
        """Remove the rows from ``global_step`` on; ``codes`` say what the values of a column become."""
        kept = int(np.searchsorted(self["global_step"], global_step))
        arrays = {name: array[:kept].copy() for name, array in self.arrays().items()}
        self._arrays = {name: codes[name][array] if name in codes else array for name, array in arrays.items()}
        self._count = kept


class Names:
    """Names in the order in which they first came; columns hold their places in it."""

    def __init__(self) -> None:
        self.codes: dict[str, int] = {}
        self._first: list[int] = []  # global steps, by place

    def add(self, name: str, global_step: int) -> int:
        """Return the place of a name that is known from ``global_step`` on."""
        code = self.codes.setdefault(name, len(self.codes))
        if code == len(self._first):
            self._first.append(global_step)
        elif global_step < self._first[code]:
            self._first[code] = global_step
        return code

    def cut(self, global_step: int) -> Array:
        """Remove the names that are known only from ``global_step`` on; return the new places by the old ones."""
        names = list(self.codes)
        kept = sorted((first, code) for code, first in enumerate(self._first) if first < global_step)
        self.codes = {names[code]: place for place, (_, code) in enumerate(kept)}
        self._first = [first for first, _ in kept]
        places = np.zeros(len(names), np.int32)
        places[[code for _, code in kept]] = np.arange(len(kept))
        return places

    def merge(self, later: Names) -> Array:
        """Add the names of later steps; return their places here by their places there."""
        return np.array([self.add(name, first) for name, first in zip(later.codes, later._first)], np.int32)


class Rows:
    """The rows of the steps that were compared, in any order of the calls.

    Attributes:
        compared: The comparisons: places in ``tensors``, ``workers`` and ``types``, steps, and the two norms.
        skipped: What was read and has no ratio.
        unreadable: What could not be read, {entry: the first global step that needed it}.
        steps: The global steps that hold a selected tensor, ascending.
        tensors: The selected tensors of these steps, and so on: the names that places stand for.
    """

    def __init__(self) -> None:
        codes, steps = {"tensor": "i4", "worker": "i4"}, {"step": "i8", "global_step": "i8"}
        norms = {"update_norm": "f8", "weight_norm": "f8"}
        self.compared = Columns(**codes, type="i1", **steps, reference_step="i8", **norms)
        self.skipped: list[Skipped] = []
        self.unreadable: dict[Unreadable, int] = {}
        self.steps: list[int] = []
        self.tensors, self.workers, self.types = Names(), Names(), Names()
        self._last: tuple[int, tuple[str, ...], Array] = (-1, (), np.empty(0, np.int32))

    def append(self, part: StepRows) -> None:
        """Add the rows of one worker at one step."""
        saved, tensors, references, _ = part.pairs
        at, compared = saved.global_step, np.array(sorted(part.types), np.int64)
        if tensors and (not self.steps or at > self.steps[-1]):
            self.steps.append(at)
        elif tensors and self.steps[bisect_left(self.steps, at)] != at:
            insort(self.steps, at)
        self.compared.add(
            len(compared),
            tensor=self._tensor_codes(at, tensors)[compared],
            worker=self.workers.add(saved.worker, at),
            type=self._type_codes(at, [part.types[place] for place in compared.tolist()]),
            step=saved.step,
            global_step=at,
            reference_step=[references[place].step for place in compared.tolist()],
            update_norm=part.update[compared],
            weight_norm=part.weight[compared],
        )
        for place, reason in sorted(part.skipped):
            self.skipped.append(Skipped(at, saved.worker, saved.step, tensors[place], reason))
        if part.unreadable:  # by several threads, in any order
            places = {tensor: place for place, tensor in enumerate(tensors)}
            self.add_unreadable(at, sorted(part.unreadable, key=lambda entry: places[entry.tensor or ""]))

    def _tensor_codes(self, global_step: int, tensors: tuple[str, ...]) -> Array:
        last_step, last, codes = self._last
        if global_step < last_step or tensors != last:  # mostly each step holds the same tensors
            codes = np.array([self.tensors.add(tensor, global_step) for tensor in tensors], np.int32)
        self._last = global_step, tensors, codes
        return codes

    def _type_codes(self, global_step: int, types: list[str]) -> int | list[int]:
        codes = {name: self.types.add(name, global_step) for name in dict.fromkeys(types)}
        return next(iter(codes.values())) if len(codes) == 1 else [codes[name] for name in types]

    def add_unreadable(self, global_step: int, unreadable: list[Unreadable]) -> None:
        """Add what could not be read for a step."""
        for entry in unreadable:
            self.unreadable[entry] = min(global_step, self.unreadable.get(entry, global_step))

    def cut(self, global_step: int) -> None:
        """Remove all that was found at the steps from ``global_step`` on."""
        codes = {"tensor": self.tensors.cut(global_step), "worker": self.workers.cut(global_step)}
        self.compared.cut(global_step, **codes)
        self.skipped = [entry for entry in self.skipped if entry.global_step < global_step]
        self.unreadable = {entry: at for entry, at in self.unreadable.items() if at < global_step}
        del self.steps[bisect_left(self.steps, global_step) :]
        self._last = (-1, (), np.empty(0, np.int32))

    def merge(self, later: Rows) -> None:
        """Add the rows of later steps."""
        places = {
            "tensor": self.tensors.merge(later.tensors),
            "worker": self.workers.merge(later.workers),
            "type": self.types.merge(later.types),
        }
        columns = later.compared.arrays()
        columns.update((name, own[columns[name]]) for name, own in places.items())
        self.compared.add(len(later.compared), **columns)
        self.skipped += later.skipped
        for entry, at in later.unreadable.items():
            self.add_unreadable(at, [entry])
        self.steps += later.steps

    def skipped_groups(self) -> list[SkippedGroup]:
        """Return what was skipped by tensor, worker and reason, in the order of the first steps."""
        groups: dict[tuple[str, str, str], list[int]] = {}
        for entry in sorted(self.skipped, key=lambda skipped: skipped.global_step):
            groups.setdefault((entry.tensor, entry.worker, entry.reason), []).append(entry.step)
        return [SkippedGroup(*named, steps[0], steps[-1], len(steps)) for named, steps in groups.items()]
