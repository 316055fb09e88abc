"""One saved step against its references: what was compared, what was skipped and what could not be read."""

from __future__ import annotations

import os
from typing import Any, Callable, Iterable, NamedTuple

import numpy as np

from ..errors import Unreadable, UnreadableError
from ..trial.daemon_threads import DaemonThreads, awaited
from ..trial.event_file import LONGEST_RECORD, TensorLayout, tensor_array, tensor_layout
from ..trial.folder import spans_by_file
from ..trial.storage import Storage
from ..trial.timeline import NO_RANGE, SavedTensor
from .bounds import Bounds
from .ratio import OK, ratio_verdict, update_norms, update_ratio, weight_norm
from .references import Pair

THREADED_BYTES = 8 << 20  # a step of fewer is done before threads would have begun
BYTES_AT_ONCE = 512 << 20  # of records that are compared at the same time; of one larger pair, its own
KEPT_BYTES = 256 << 20  # of a step's elements; those of a larger step are read again at the next one

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


class Skipped(NamedTuple):
    """A tensor that was saved and read, and has no ratio."""

    tensor: str
    worker: str
    mode: str
    step: int
    global_step: int
    reason: str


class JudgedStep(NamedTuple):
    """All that was found at one global step.

    Attributes:
        comparisons: Those that could be made.
        skipped: The tensors that have no ratio.
        unreadable: What could not be read.
        firing: Violations that fire now that the step is judged; earlier ones too, where they waited for a baseline.
    """

    comparisons: list[Comparison]
    skipped: list[Skipped]
    unreadable: list[Unreadable]
    firing: tuple[Comparison, ...] = ()

    @property
    def violations(self) -> list[Comparison]:
        """The comparisons whose verdict is not ``ok``."""
        return [comparison for comparison in self.comparisons if comparison.verdict != OK]


class _KeptTensor(NamedTuple):
    """What a step's judgement learnt of a tensor that may be a later reference."""

    step: int
    layout: TensorLayout
    norm: float | None  # not known where the tensor had no reference itself


class _Record(NamedTuple):
    """A tensor's record as it was read."""

    content: memoryview
    layout: TensorLayout

    @property
    def elements(self) -> np.ndarray[Any, Any]:
        """The tensor's elements as a view of the record: shape (n,)."""
        return tensor_array(self.content, self.layout)


class _Judged(NamedTuple):
    """What was found of one pair, and the record of its saved tensor where that could be read."""

    found: Comparison | Skipped | None = None
    record: _Record | None = None
    norm: float | None = None
    unreadable: tuple[Unreadable, ...] = ()


class Comparer:
    """Compares the tensors of saved steps with their references, one step after the other.

    It keeps what the next steps need again: layout and norm of each tensor within ``num_steps``, and the last step's
    records.

    Attributes:
        dtypes: {tensor: the type that it was saved as}.
    """

    def __init__(self, storage: Storage, bounds: Bounds) -> None:
        self.dtypes: dict[str, str] = {}
        self._storage = storage
        self._bounds = bounds
        self._num_steps = bounds.parameters.num_steps
        self._kept: dict[tuple[str, str], dict[int, _KeptTensor]] = {}  # (worker, tensor) -> global step -> what it was
        self._last: dict[tuple[str, str, int], _Record] = {}  # the records of the last step

    def compare(self, pairs: list[Pair]) -> JudgedStep:
        """Return the comparison of every tensor of a step that has a reference."""
        judged = JudgedStep([], [], [])
        needed = [pair.saved for pair in pairs] + [pair.reference for pair in pairs if pair.reference is not None]
        self._storage.retain(spans_by_file(needed))
        size = sum(pair.saved.length for pair in pairs)
        keeps_records = size <= KEPT_BYTES

        def judge(pair: Pair) -> _Judged:
            outcome = self._judge(pair)
            if keeps_records or outcome.record is None:
                return outcome
            self._storage.recycle(outcome.record.content)
            return outcome._replace(record=outcome.record._replace(content=memoryview(b"")))

        last: dict[tuple[str, str, int], _Record] = {}
        for pair, outcome in zip(pairs, _in_threads(judge, pairs, size)):
            if isinstance(outcome.found, Comparison):
                judged.comparisons.append(outcome.found)
            elif isinstance(outcome.found, Skipped):
                judged.skipped.append(outcome.found)
            judged.unreadable.extend(outcome.unreadable)
            if outcome.record is not None:
                if pair.saved.tensor not in self.dtypes:
                    self.dtypes[pair.saved.tensor] = outcome.record.layout.dtype.name
                self._keep(pair.saved, outcome.record.layout, outcome.norm)
                if keeps_records:
                    last[pair.saved.worker, pair.saved.tensor, pair.saved.global_step] = outcome.record
        for record in self._last.values():
            self._storage.recycle(record.content)
        self._last = last
        return judged

    def _judge(self, pair: Pair) -> _Judged:
        """Return what is found of a pair. Runs in several threads, each with pairs of its own."""
        saved, reference = pair.saved, pair.reference
        if pair.uncertain:
            return _Judged(unreadable=(_unreadable(saved, UNCERTAIN),))
        kept = before = None
        unreadable: list[Unreadable] = []
        if reference is not None:
            kept = self._kept.get((saved.worker, saved.tensor), {}).get(reference.global_step)
            before = self._last.pop((saved.worker, saved.tensor, reference.global_step), None)
            if before is None:
                before = self._read(reference, kept and kept.layout, unreadable)
        after = self._read(saved, before and before.layout, unreadable)  # also alone, so that a bad one is reported
        if reference is None or before is None or after is None:
            return _Judged(None, after, unreadable=tuple(unreadable))
        reason = _why_skipped(before.layout, after.layout)
        if reason:
            skipped = Skipped(saved.tensor, saved.worker, saved.mode, saved.step, saved.global_step, reason)
            return _Judged(skipped, after)
        weight = kept.norm if kept is not None and kept.norm is not None else weight_norm(before.elements)
        update, norm = update_norms(before.elements, after.elements)
        self._storage.recycle(before.content)
        return _Judged(_comparison(saved, reference, update, weight, self._bounds), after, norm)

    def _read(self, saved: SavedTensor, like: TensorLayout | None, unreadable: list[Unreadable]) -> _Record | None:
        """Return a tensor's record, or None and why in ``unreadable``; ``like`` is its layout at another step."""
        try:
            if saved.start == NO_RANGE:
                raise UnreadableError("names no range of bytes for it")
            if saved.length > LONGEST_RECORD:  # before as much memory is asked for
                raise UnreadableError(f"has {saved.length} bytes, more than a record can have ({LONGEST_RECORD})")
            content = self._storage.span(saved.file, saved.start, saved.length)
            return _Record(content, tensor_layout(content, saved.tensor, saved.global_step, like))
        except UnreadableError as error:
            unreadable.append(_unreadable(saved, str(error)))
            return None

    def _keep(self, saved: SavedTensor, layout: TensorLayout, norm: float | None) -> None:
        """Keep what the next references need, and release what is too old to be one."""
        window = self._kept.setdefault((saved.worker, saved.tensor), {})
        if len(window) >= (self._num_steps or 1):
            oldest = saved.step - (self._num_steps or 0)
            for global_step in [known for known, kept in window.items() if not oldest < kept.step < saved.step]:
                del window[global_step]
        window[saved.global_step] = _KeptTensor(saved.step, layout, norm)


def _unreadable(saved: SavedTensor, reason: str) -> Unreadable:
    return Unreadable(saved.file, saved.tensor, saved.worker, saved.global_step, reason)


def _in_threads(judge: Callable[[Pair], _Judged], pairs: list[Pair], size: int) -> Iterable[_Judged]:
    """Return what ``judge`` gives for each pair, by several threads where a step is large: ``size`` in bytes."""
    largest = max((pair.saved.length for pair in pairs), default=0)
    threads = min(os.cpu_count() or 1, len(pairs), BYTES_AT_ONCE // (2 * largest or 1))  # each holds two records
    if threads < 2 or size < THREADED_BYTES:
        return map(judge, pairs)
    outcomes = [_Judged()] * len(pairs)

    def judge_share(share: list[int]) -> None:
        for position in share:
            outcomes[position] = judge(pairs[position])

    pool = DaemonThreads(threads)
    for done in [pool.submit(judge_share, share) for share in _shares(pairs, threads)]:
        awaited(done)
    return outcomes


def _shares(pairs: list[Pair], threads: int) -> list[list[int]]:
    """Return positions in ``pairs`` for each thread, of about as many bytes: the largest first, to the idlest."""
    shares: list[list[int]] = [[] for _ in range(threads)]
    loads = [0] * threads
    for position in sorted(range(len(pairs)), key=lambda position: -pairs[position].saved.length):
        idlest = loads.index(min(loads))
        shares[idlest].append(position)
        loads[idlest] += pairs[position].saved.length
    return shares


def _comparison(saved: SavedTensor, reference: SavedTensor, update: float, weight: float, bounds: Bounds) -> Comparison:
    ratio = update_ratio(update, weight, bounds.parameters.epsilon)
    lower, upper = bounds.of(saved.tensor, saved.step, reference.step)
    return Comparison(
        saved.tensor,
        saved.worker,
        saved.mode,
        saved.step,
        reference.step,
        saved.global_step,
        update,
        weight,
        ratio,
        lower,
        upper,
        ratio_verdict(ratio, lower, upper),
    )


def _why_skipped(before: TensorLayout, after: TensorLayout) -> str:
    if before.shape != after.shape:
        return f"shape changed from {before.shape} to {after.shape}"
    if (before.dtype.kind == "c") != (after.dtype.kind == "c"):
        return f"type changed from {before.dtype} to {after.dtype}"
    return "" if after.size else "no elements"
