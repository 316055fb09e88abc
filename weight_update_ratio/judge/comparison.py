"""One saved step against its references: what was compared, what was skipped and what could not be read."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Iterable, NamedTuple

import numpy as np

from ..errors import Unreadable, UnreadableError
from ..parameters import Parameters
from ..trial.disk import MAPPED_FILES
from ..trial.event_file import TensorLayout, record_mode_step, tensor_array, tensor_layout
from ..trial.folder import NO_RANGE, SavedTensor, spans_by_file
from ..trial.s3 import Storage
from .ratio import OK, ratio_verdict, update_norms, update_ratio, weight_norm
from .references import GLOBAL, Pair

THREADED_BYTES = 8 << 20  # a step of fewer is done before threads would have begun

UNCERTAIN = "has no certain reference: the index file of a step before it is unreadable or wrong"


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


class _Readable(NamedTuple):
    """A pair whose two records could be read: their elements, shape (n,), as views of the storage's bytes."""

    saved: SavedTensor
    reference: SavedTensor
    before: np.ndarray[Any, Any]
    after: np.ndarray[Any, Any]


def judge_pairs(storage: Storage, pairs: list[Pair], parameters: Parameters) -> JudgedStep:
    """Return the comparison of every tensor that has a reference."""
    judged = JudgedStep([], [], [])
    readable: list[_Readable] = []
    files: set[str] = set()
    storage.need(_spans(pairs))
    for saved, reference, uncertain in pairs:
        if uncertain:
            judged.unreadable.append(_unreadable(saved, UNCERTAIN))
            continue
        try:
            if reference is None:
                _elements(storage, saved, None)  # whether it is what its index says, for then it has none
                continue
            layout_before, before = _elements(storage, reference, None)
            layout_after, after = _elements(storage, saved, layout_before)
        except _UnreadableRecordError as error:
            judged.unreadable.append(error.record)
            continue
        reason = _why_skipped(layout_before, layout_after)
        if reason:
            judged.skipped.append(
                Skipped(saved.tensor, saved.worker, saved.mode, saved.step, saved.global_step, reason)
            )
            continue
        readable.append(_Readable(saved, reference, before, after))
        files.update((saved.file, reference.file))
        if len(files) >= MAPPED_FILES:  # a view keeps its file's mapping, and that a file descriptor
            del before, after
            judged.comparisons.extend(_comparisons(readable, parameters))
            readable.clear()
            files.clear()
    judged.comparisons.extend(_comparisons(readable, parameters))
    return judged


def _comparisons(readable: list[_Readable], parameters: Parameters) -> list[Comparison]:
    return [
        _comparison(saved, reference, *norms, parameters)
        for (saved, reference, _, _), norms in zip(readable, _norms(readable))
    ]


def _spans(pairs: list[Pair]) -> dict[str, list[tuple[int, int]]]:
    needed = [pair.saved for pair in pairs] + [pair.reference for pair in pairs if pair.reference is not None]
    return spans_by_file(needed, "GLOBAL")


class _UnreadableRecordError(Exception):
    def __init__(self, saved: SavedTensor, reason: str) -> None:
        super().__init__(reason)
        self.record = _unreadable(saved, reason)


def _unreadable(saved: SavedTensor, reason: str) -> Unreadable:
    return Unreadable(saved.file, saved.tensor, saved.worker, saved.global_step, reason)


def _norms(readable: list[_Readable]) -> Iterable[tuple[float, float]]:
    """Return (update norm, reference's norm) of each pair, by several threads where a step is large."""
    cores = os.cpu_count() or 1
    if cores == 1 or len(readable) == 1 or sum(pair.after.nbytes for pair in readable) < THREADED_BYTES:
        return map(_norms_of_pair, readable)
    norms: list[tuple[float, float]] = [(0.0, 0.0)] * len(readable)

    def judge_share(share: list[int]) -> None:
        for position in share:
            norms[position] = _norms_of_pair(readable[position])

    with ThreadPoolExecutor(cores) as threads:
        list(threads.map(judge_share, _shares(readable, cores)))
    return norms


def _shares(readable: list[_Readable], cores: int) -> list[list[int]]:
    """Return positions in ``readable`` for each thread, of about as many bytes: the largest first, to the idlest."""
    shares: list[list[int]] = [[] for _ in range(cores)]
    loads = [0] * cores
    for position in sorted(range(len(readable)), key=lambda position: -readable[position].after.nbytes):
        idlest = loads.index(min(loads))
        shares[idlest].append(position)
        loads[idlest] += readable[position].after.nbytes
    return shares


def _norms_of_pair(pair: _Readable) -> tuple[float, float]:
    saved, reference = pair.saved, pair.reference
    if reference.norm is None:
        reference.norm = weight_norm(pair.before)
    update, saved.norm = update_norms(pair.before, pair.after)
    return update, reference.norm


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
        if saved.layout is None:
            layout = tensor_layout(record, saved.tensor, saved.global_step, like)
            _check_mode_step(saved, record_mode_step(record, layout))
            saved.layout = layout
        return saved.layout, tensor_array(record, saved.layout)
    except UnreadableError as error:
        raise _UnreadableRecordError(saved, str(error)) from None


def _check_mode_step(saved: SavedTensor, recorded: tuple[str, int] | None) -> None:
    """Check what an index file says against the record; steps of the mode GLOBAL are numbered by the files' names."""
    if recorded is not None and saved.mode != GLOBAL and recorded != (saved.mode, saved.step):
        raise UnreadableError(f"is of {recorded[0]} step {recorded[1]}, while its index is of step {saved.step}")


def _why_skipped(before: TensorLayout, after: TensorLayout) -> str:
    if before.shape != after.shape:
        return f"shape changed from {before.shape} to {after.shape}"
    if (before.dtype.kind == "c") != (after.dtype.kind == "c"):
        return f"type changed from {before.dtype} to {after.dtype}"
    return "" if after.size else "no elements"
