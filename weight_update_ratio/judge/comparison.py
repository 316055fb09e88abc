"""One saved step against its references: what was compared, what was skipped and what could not be read."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Iterable, NamedTuple

import numpy as np

from ..errors import Unreadable, UnreadableError
from ..parameters import Parameters
from ..trial.disk import MAPPED_FILES
from ..trial.event_file import TensorLayout, tensor_array, tensor_layout
from ..trial.folder import spans_by_file
from ..trial.storage import Storage
from ..trial.timeline import NO_RANGE, SavedTensor
from .ratio import OK, ratio_verdict, update_norms, update_ratio, weight_norm
from .references import Pair

THREADED_BYTES = 8 << 20  # a step of fewer is done before threads would have begun
KEPT_BYTES = 256 << 20  # of a step's elements; those of a larger step are read again at the next one

UNCERTAIN = "has no certain reference: the index file of a step before it is lost or broken"


class Comparison(NamedTuple):
    """A tensor at a saved step against its reference step; steps count in ``mode``, norms are L2 in float64."""

    tensor: str
    worker: str
    mode: str
    step: int
    reference_step: int
    global_step: int
    update_norm: float
    weight_norm: float
    ratio: float
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
    """All that was found at one global step."""

    comparisons: list[Comparison]
    skipped: list[Skipped]
    unreadable: list[Unreadable]

    @property
    def violations(self) -> list[Comparison]:
        """The comparisons whose verdict is not ``ok``."""
        return [comparison for comparison in self.comparisons if comparison.verdict != OK]


class _KeptTensor(NamedTuple):
    """What a step's judgement learnt of a tensor that may be a later reference."""

    step: int
    layout: TensorLayout
    norm: float


class _ReadablePair(NamedTuple):
    """A pair whose two records could be read: their elements, shape (n,); the reference's norm where it is known."""

    saved: SavedTensor
    reference: SavedTensor
    layout: TensorLayout
    before: np.ndarray[Any, Any]
    after: np.ndarray[Any, Any]
    reference_norm: float | None


class Comparer:
    """Compares the tensors of saved steps with their references, one step after the other.

    It keeps what the next steps need again: layout and norm of each tensor within ``num_steps``, and the last step's
    elements.
    """

    def __init__(self, storage: Storage, parameters: Parameters) -> None:
        self._storage = storage
        self._parameters = parameters
        self._kept: dict[tuple[str, str], dict[int, _KeptTensor]] = {}  # (worker, tensor) -> global step -> what it was
        self._last: dict[tuple[str, str, int], np.ndarray[Any, Any]] = {}  # the elements of the last step

    def compare(self, pairs: list[Pair]) -> JudgedStep:
        """Return the comparison of every tensor of a step that has a reference."""
        judged = JudgedStep([], [], [])
        needed = [pair.saved for pair in pairs] + [pair.reference for pair in pairs if pair.reference is not None]
        self._storage.retain(spans_by_file(needed))
        files = {saved.file for saved in needed}
        keeps_elements = len(files) < MAPPED_FILES and sum(pair.saved.length for pair in pairs) <= KEPT_BYTES
        readable: list[_ReadablePair] = []
        elements: dict[tuple[str, str, int], np.ndarray[Any, Any]] = {}
        opened: set[str] = set()
        for pair in pairs:
            try:
                found = self._read(pair)
            except _UnreadableRecordError as error:
                judged.unreadable.append(error.record)
                continue
            if isinstance(found, Skipped):
                judged.skipped.append(found)
            elif found is not None:
                readable.append(found)
                if keeps_elements:
                    elements[found.saved.worker, found.saved.tensor, found.saved.global_step] = found.after
                opened.update((found.saved.file, found.reference.file))
                if len(opened) >= MAPPED_FILES:  # a view keeps its file's mapping, and that a file descriptor
                    del found
                    self._compare_readable(readable, judged)
                    opened.clear()
        self._compare_readable(readable, judged)
        self._last = elements
        return judged

    def _read(self, pair: Pair) -> _ReadablePair | Skipped | None:
        """Return the elements of a pair, why they are not compared, or None where there is no reference."""
        saved, reference = pair.saved, pair.reference
        if pair.uncertain:
            raise _UnreadableRecordError(saved, UNCERTAIN)
        if reference is None:
            layout, _ = _elements(self._storage, saved, None)  # so that an unreadable record is reported
            return None
        kept = self._kept.get((saved.worker, saved.tensor), {}).get(reference.global_step)
        before = self._last.get((saved.worker, saved.tensor, reference.global_step))
        if kept is not None and before is not None:
            layout_before = kept.layout
        else:
            layout_before, before = _elements(self._storage, reference, kept and kept.layout)
        layout, after = _elements(self._storage, saved, layout_before)
        reason = _why_skipped(layout_before, layout)
        if reason:
            return Skipped(saved.tensor, saved.worker, saved.mode, saved.step, saved.global_step, reason)
        return _ReadablePair(saved, reference, layout, before, after, None if kept is None else kept.norm)

    def _compare_readable(self, readable: list[_ReadablePair], judged: JudgedStep) -> None:
        """Add the comparisons of pairs that could be read, and empty the list."""
        for pair, (update, weight, norm) in zip(readable, _norms(readable)):
            judged.comparisons.append(_comparison(pair.saved, pair.reference, update, weight, self._parameters))
            self._keep(pair.saved, pair.layout, norm)
        readable.clear()

    def _keep(self, saved: SavedTensor, layout: TensorLayout, norm: float) -> None:
        """Keep what the next references need, and release what is too old to be one."""
        window = self._kept.setdefault((saved.worker, saved.tensor), {})
        if len(window) >= (self._parameters.num_steps or 1):
            oldest = saved.step - (self._parameters.num_steps or 0)
            for global_step in [known for known, kept in window.items() if not oldest < kept.step < saved.step]:
                del window[global_step]
        window[saved.global_step] = _KeptTensor(saved.step, layout, norm)


class _UnreadableRecordError(Exception):
    def __init__(self, saved: SavedTensor, reason: str) -> None:
        super().__init__(reason)
        self.record = Unreadable(saved.file, saved.tensor, saved.worker, saved.global_step, reason)


def _norms(readable: list[_ReadablePair]) -> Iterable[tuple[float, float, float]]:
    """Return the norms of each pair, by several threads where a step is large."""
    cores = os.cpu_count() or 1
    if cores == 1 or len(readable) == 1 or sum(pair.after.nbytes for pair in readable) < THREADED_BYTES:
        return map(_norms_of_pair, readable)
    norms: list[tuple[float, float, float]] = [(0.0, 0.0, 0.0)] * len(readable)

    def judge_share(share: list[int]) -> None:
        for position in share:
            norms[position] = _norms_of_pair(readable[position])

    with ThreadPoolExecutor(cores) as threads:
        list(threads.map(judge_share, _shares(readable, cores)))
    return norms


def _shares(readable: list[_ReadablePair], cores: int) -> list[list[int]]:
    """Return positions in ``readable`` for each thread, of about as many bytes: the largest first, to the idlest."""
    shares: list[list[int]] = [[] for _ in range(cores)]
    loads = [0] * cores
    for position in sorted(range(len(readable)), key=lambda position: -readable[position].after.nbytes):
        idlest = loads.index(min(loads))
        shares[idlest].append(position)
        loads[idlest] += readable[position].after.nbytes
    return shares


def _norms_of_pair(pair: _ReadablePair) -> tuple[float, float, float]:
    """Return the norms of the update, of the reference and of the judged tensor."""
    before = weight_norm(pair.before) if pair.reference_norm is None else pair.reference_norm
    update, after = update_norms(pair.before, pair.after)
    return update, before, after


def _comparison(
    saved: SavedTensor, reference: SavedTensor, update: float, weight: float, parameters: Parameters
) -> Comparison:
    ratio = update_ratio(update, weight, parameters.epsilon)
    verdict = ratio_verdict(ratio, parameters.large_threshold, parameters.small_threshold)
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
        verdict,
    )


def _elements(
    storage: Storage, saved: SavedTensor, like: TensorLayout | None
) -> tuple[TensorLayout, np.ndarray[Any, Any]]:
    """Return the tensor's layout and its elements as a view of the storage's bytes: shape (n,)."""
    try:
        if saved.start == NO_RANGE:
            raise UnreadableError("names no range of bytes for it")
        record = storage.span(saved.file, saved.start, saved.length)
        layout = tensor_layout(record, saved.tensor, saved.global_step, like)
        return layout, tensor_array(record, layout)
    except UnreadableError as error:
        raise _UnreadableRecordError(saved, str(error)) from None


def _why_skipped(before: TensorLayout, after: TensorLayout) -> str:
    if before.shape != after.shape:
        return f"shape changed from {before.shape} to {after.shape}"
    if (before.dtype.kind == "c") != (after.dtype.kind == "c"):
        return f"type changed from {before.dtype} to {after.dtype}"
    return "" if after.size else "no elements"
