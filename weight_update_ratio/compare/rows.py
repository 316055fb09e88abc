"""The comparisons of a run in columns, by global step, with what was skipped and what could not be read there.

A comparison takes 49 bytes. What follows from the columns, such as ratios, verdicts and what fires, is not kept here.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Any, NamedTuple

import numpy as np

from ..errors import Unreadable

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


class SkippedGroup(NamedTuple):
    """The steps at which one tensor of one worker, or None: the worker as a whole, was skipped for one reason."""

    tensor: str | None
    worker: str | None
    reason: str
    first_step: int | None
    last_step: int | None
    count: int  # type: ignore[assignment]  # in place of tuple.count


class StepRows(NamedTuple):
    """What comparing the tensors of one worker at one step gives.

    Attributes:
        step: The number in the judged mode.
        tensors: The selected tensors that were saved there, n of them, also those without a comparison.
        compared: Positions in ``tensors`` of those that were compared, ascending: int64, shape (m,).
        types: The type that each of these was saved as, m names.
        reference_step: int64, shape (m,).
        update_norm: float64, shape (m,).
        weight_norm: Of the weights before the update; float64, shape (m,).
        skipped: (tensor, reason) of those that were read and have no ratio.
    """

    worker: str
    step: int
    global_step: int
    tensors: tuple[str, ...]
    compared: Array
    types: list[str]
    reference_step: Array
    update_norm: Array
    weight_norm: Array
    skipped: list[tuple[str, str]]
    unreadable: list[Unreadable]


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

    def insert(self, count: int, **values: Any) -> None:
        """Insert so many rows of one global step after those of earlier ones and of the same."""
        if not count:
            return
        end = self._count + count
        if self._count and values["global_step"] < self._arrays["global_step"][self._count - 1]:
            at = int(np.searchsorted(self["global_step"], values["global_step"], side="right"))
            for name, array in self.arrays().items():
                between = np.full(count, values[name], array.dtype)
                self._arrays[name] = np.concatenate([array[:at], between, array[at:]])
        else:
            self._make_room(end)
            for name, array in self._arrays.items():
                array[self._count : end] = values[name]
        self._count = end

    def extend(self, later: Columns, **codes: Array) -> None:
        """Add the rows of later steps; ``codes`` replace their columns of these names."""
        end = self._count + len(later)
        self._make_room(end)
        for name, array in self._arrays.items():
            array[self._count : end] = codes.get(name, later[name])
        self._count = end

    def cut(self, global_step: int, **codes: Array) -> None:
        """Remove the rows from ``global_step`` on; ``codes`` say what the values of a column become."""
        kept = int(np.searchsorted(self["global_step"], global_step))
        arrays = {name: array[:kept].copy() for name, array in self.arrays().items()}
        self._arrays = {name: codes[name][array] if name in codes else array for name, array in arrays.items()}
        self._count = kept

    def _make_room(self, count: int) -> None:
        for name, array in self.arrays().items():
            if count <= len(self._arrays[name]):
                return
            grown = np.empty(count + count // 20, array.dtype)
            grown[: len(array)] = array
            self._arrays[name] = grown


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
        skipped: What was read and has no ratio: places in ``tensors``, ``workers`` and ``reasons``, and steps.
        unreadable: What could not be read, {entry: the first global step that needed it}.
        steps: The global steps that hold a selected tensor, ascending.
        tensors: The selected tensors of these steps, and so on: the names that places stand for.
    """

    def __init__(self) -> None:
        codes, steps = {"tensor": "i4", "worker": "i4"}, {"step": "i8", "global_step": "i8"}
        norms = {"update_norm": "f8", "weight_norm": "f8"}
        self.compared = Columns(**codes, type="i1", **steps, reference_step="i8", **norms)
        self.skipped = Columns(**codes, reason="i4", **steps)
        self.unreadable: dict[Unreadable, int] = {}
        self.steps: list[int] = []
        self.tensors, self.workers, self.types, self.reasons = Names(), Names(), Names(), Names()
        self._last: tuple[int, tuple[str, ...], Array] = (-1, (), np.empty(0, np.int32))

    def append(self, part: StepRows) -> None:
        """Add the rows of one worker at one step."""
        at = part.global_step
        if part.tensors:
            if not self.steps or at > self.steps[-1]:
                self.steps.append(at)
            elif self.steps[bisect_left(self.steps, at)] != at:
                insort(self.steps, at)
        tensors, worker = self._tensor_codes(at, part.tensors), self.workers.add(part.worker, at)
        self.compared.insert(
            len(part.compared),
            tensor=tensors[part.compared],
            worker=worker,
            type=self._type_codes(at, part.types),
            step=part.step,
            global_step=at,
            reference_step=part.reference_step,
            update_norm=part.update_norm,
            weight_norm=part.weight_norm,
        )
        self.skipped.insert(
            len(part.skipped),
            tensor=[self.tensors.add(tensor, at) for tensor, _ in part.skipped],
            worker=worker,
            reason=[self.reasons.add(reason, at) for _, reason in part.skipped],
            step=part.step,
            global_step=at,
        )
        self.add_unreadable(at, part.unreadable)

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
        self.skipped.cut(global_step, **codes)
        self.unreadable = {entry: at for entry, at in self.unreadable.items() if at < global_step}
        del self.steps[bisect_left(self.steps, global_step) :]
        self._last = (-1, (), np.empty(0, np.int32))

    def merge(self, later: Rows) -> None:
        """Add the rows of later steps."""
        codes = {"tensor": self.tensors.merge(later.tensors), "worker": self.workers.merge(later.workers)}
        named = {"type": self.types.merge(later.types), "reason": self.reasons.merge(later.reasons)}
        for mine, theirs in ((self.compared, later.compared), (self.skipped, later.skipped)):
            places = {**codes, **named}
            mine.extend(theirs, **{name: places[name][theirs[name]] for name in theirs.arrays() if name in places})
        for entry, at in later.unreadable.items():
            self.add_unreadable(at, [entry])
        self.steps += later.steps

    def skipped_groups(self) -> list[SkippedGroup]:
        """Return what was skipped by tensor, worker and reason, in the order of the first steps."""
        tensors, workers, reasons = list(self.tensors.codes), list(self.workers.codes), list(self.reasons.codes)
        columns = self.skipped.arrays()
        keys = np.stack([columns[name] for name in ("tensor", "worker", "reason")])
        order = np.lexsort(keys)
        changes = np.flatnonzero((np.diff(keys[:, order], axis=1) != 0).any(axis=0)) + 1
        groups = []
        for rows in np.split(order, changes) if len(order) else ():
            tensor, worker, reason = keys[:, rows[0]].tolist()
            first, last = columns["step"][rows[[0, -1]]].tolist()
            named = tensors[tensor], workers[worker], reasons[reason]
            groups.append((int(rows[0]), SkippedGroup(*named, first, last, len(rows))))
        return [group for _, group in sorted(groups, key=lambda found: found[0])]
