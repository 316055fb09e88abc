"""Norms, ratios and verdicts: NumPy and nothing else.

    update_norm = ||w_s - w_r||    weight_norm = ||w_r||    ratio = update_norm / (weight_norm + epsilon)

Tensors are taken as float64, 64-bit integers too, in blocks that stay in the cache, a large one in several and small
ones together: the error is that of float64 whatever the saved type. Squares of float64 may overflow or vanish where the
norm itself would not, so a sum that left the safe range is taken again, scaled by a power of two as BLAS's ``nrm2``
does.
"""

from __future__ import annotations

import functools
import math
from collections import deque
from typing import Any, Callable, Iterator, NamedTuple, Sequence

import numpy as np

BLOCK = 262144  # elements of a large tensor; 2 MiB as float64: threads take turns seldom, and it is in a core's cache
JOINED = BLOCK // 2  # elements of small tensors together, those before beside those after
ROW = 256  # elements whose squares are summed at once; from 500 rows on NumPy lets other threads run meanwhile
COMPLEX = frozenset("FD")  # NumPy's characters of them

# A sum of squares above this lost less than 1e-12 of itself to squares that vanished, for up to 1e18 elements.
LEAST_SAFE_SUM = 1e-270

OK = "ok"
LARGE = "large"
SMALL = "small"
NOT_FINITE = "not_finite"
VERDICTS = (OK, LARGE, SMALL, NOT_FINITE)

_ZEROS = np.zeros(ROW)
_spare: deque[np.ndarray[Any, Any]] = deque(maxlen=64)  # memory for blocks, which is used again and again


def weight_norms(weights: Sequence[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """Return the L2 norm of each tensor, over all its elements.

        ||w|| = sqrt(sum_i w_i^2)

    Args:
        weights: n tensors, each of shape (its size,); float16/32/64, complex, any integer, or bool.

    Returns:
        Shape (n,), float64 >= 0, to a relative error below 1e-9; NaN where an element is NaN; inf where one is infinite
        or the norm is beyond float64. What else is given along with a tensor does not change its norm by a bit.
    """
    return _norms(_reals(weights))[0]  # type: ignore[no-any-return]


def update_norms(
    before: Sequence[np.ndarray[Any, Any]], after: Sequence[np.ndarray[Any, Any]]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the L2 norm of each ``after - before``, and of each ``after``, which is the next step's reference.

    Args:
        before: n tensors at the reference step, each of shape (its size,); any numeric dtype.
        after: The same tensors at the judged step.

    Returns:
        (update norms, norms of ``after``), each as ``weight_norms`` returns them.

    Raises:
        ValueError: The shapes differ.
    """
    if [each.size for each in before] != [each.size for each in after]:
        shapes = (f"{old.shape} and {new.shape}" for old, new in zip(before, after) if old.shape != new.shape)
        raise ValueError(f"weights of the shapes {next(shapes)} cannot be compared")
    weights, updates = _norms(_reals(after), _reals(before))
    return updates, weights


def update_ratios(
    update_norms: np.ndarray[Any, Any], weight_norms: np.ndarray[Any, Any], epsilon: float
) -> np.ndarray[Any, Any]:
    """Return the size of each update relative to the weights that it changed.

        ratio = ||w_s - w_r|| / (||w_r|| + epsilon)

    Args:
        update_norms: L2 norms of the updates, >= 0 or not finite; shape (n,).
        weight_norms: L2 norms of the weights *before* the updates, likewise.
        epsilon: Added to ``weight_norms``, in their unit; > 0.

    Returns:
        Shape (n,), dimensionless float64 >= 0; NaN or inf where a norm is not finite.

    >>> update_ratios(np.array([3.0]), np.array([4.0]), 2.0).tolist()
    [0.5]

    Source: cs231n, "Ratio of weights:updates", with L2 norms and the earlier weights below the line.
    """
    with np.errstate(all="ignore"):
        ratios = update_norms / (weight_norms + epsilon)
    # An update of infinite weights has no finite ratio.
    return np.where(np.isinf(weight_norms), np.nan, ratios)


def verdict_codes(
    ratios: np.ndarray[Any, Any], lower: np.ndarray[Any, Any], upper: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """Return what each ratio is, as its place in ``VERDICTS``; both bounds are strict. All are of shape (n,).

    >>> codes = verdict_codes(np.array([10.0, 10.1, 0.0, np.nan]), np.full(4, 1e-8), np.full(4, 10.0))
    >>> [VERDICTS[code] for code in codes]
    ['ok', 'large', 'small', 'not_finite']
    """
    codes = np.zeros(len(ratios), np.int8)
    with np.errstate(invalid="ignore"):
        codes[ratios < lower] = VERDICTS.index(SMALL)
        codes[ratios > upper] = VERDICTS.index(LARGE)
    codes[~np.isfinite(ratios)] = VERDICTS.index(NOT_FINITE)  # last, for NaN compares false with every bound
    return codes


def _reals(weights: Sequence[np.ndarray[Any, Any]]) -> Sequence[np.ndarray[Any, Any]]:
    """Return complex tensors as pairs of reals, which have the same norm, and others as they are."""
    if COMPLEX.isdisjoint([each.dtype.char for each in weights]):
        return weights
    return [each.view(each.real.dtype) if each.dtype.char in COMPLEX else each for each in weights]


def _norms(*operands: Sequence[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """Return the norms of the first operand's tensors and, where there is a second, of how they differ from it.

    They are the roots of sums of squares; where float64 is not wide enough for these, the norms of pieces.

    Returns:
        Shape (number of operands, n).
    """
    with np.errstate(all="ignore"):
        squared = _sums_of_squares(*operands)
        norms: np.ndarray[Any, Any] = np.sqrt(squared)
        is_safe = (squared > LEAST_SAFE_SUM) & (squared < math.inf)
        suspects = [] if is_safe.all() else np.argwhere(~is_safe).tolist()
        for which, place in suspects:
            tensors = [operand[place] for operand in operands[: which + 1]]
            if any(each.dtype == np.float64 for each in tensors):
                pieces = _difference_pieces if which else _pieces
                norms[which, place] = _scaled_norm(functools.partial(pieces, *tensors))
    return norms


def _sums_of_squares(
    after: Sequence[np.ndarray[Any, Any]], before: Sequence[np.ndarray[Any, Any]] | None = None
) -> np.ndarray[Any, Any]:
    """Return the sums of squares that ``_norms`` returns the roots of."""
    blocks, places, begins, rows = _plan(tuple([each.size for each in after]))
    sums = np.empty((1 if before is None else 2, rows))
    memory = _borrowed_memory()
    for block in blocks:
        elements = block.joined(after, memory)
        block.square(elements, sums[0])
        if before is not None:
            old = block.joined(before, memory[JOINED:]) if block.part is None else before[block.places[0]][block.part]
            np.subtract(elements[: old.size], old, out=elements[: old.size])
            block.square(elements, sums[1])
    _spare.append(memory)
    squared = np.zeros((len(sums), len(after)))
    if blocks:
        squared[:, places] = np.add.reduceat(sums, begins, axis=1)
    return squared


def _borrowed_memory() -> np.ndarray[Any, Any]:
    """Return memory for a block, float64, which no other thread has; it is to be put into ``_spare`` again."""
    try:
        return _spare.pop()
    except IndexError:
        return np.empty(BLOCK)


class _Block(NamedTuple):
    """Small tensors as a whole, or a part of a large one; each is filled up with zeros to whole rows.

    Attributes:
        places: Which tensors.
        part: What part of the large one.
        padding: The zeros behind each tensor; empty where none needs any.
        rows: Which rows these are, of all that are squared.
    """

    places: list[int]
    part: slice | None
    padding: list[np.ndarray[Any, Any]]
    rows: slice

    def joined(self, weights: Sequence[np.ndarray[Any, Any]], memory: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return the elements as float64, at the beginning of the memory."""
        pieces = [weights[place] for place in self.places]
        if self.part is not None:
            pieces = [pieces[0][self.part]]
        if self.padding:
            pieces = [part for pair in zip(pieces, self.padding) for part in pair]
        return np.concatenate(pieces, out=memory[: (self.rows.stop - self.rows.start) * ROW])

    def square(self, elements: np.ndarray[Any, Any], sums: np.ndarray[Any, Any]) -> None:
        """Put the sum of squares of each row into ``sums``.

        By rows, for OpenBLAS would start threads of its own for longer ones, and they wait actively.
        """
        rows = elements.reshape(-1, 1, ROW)
        np.matmul(rows, rows.transpose(0, 2, 1), out=sums[self.rows].reshape(-1, 1, 1))


class _Plan(NamedTuple):
    """How tensors are taken: in which blocks; which tensor begins with which row; and how many rows there are."""

    blocks: list[_Block]
    places: list[int]
    begins: list[int]
    rows: int


@functools.lru_cache(maxsize=256)
def _plan(sizes: tuple[int, ...]) -> _Plan:
    """Return how tensors of these sizes are taken; those of a group have the same ones at every step."""
    taken: list[tuple[list[int], slice | None]] = []
    small: list[int] = []
    room = 0
    for place, size in enumerate(sizes):
        if size > JOINED:
            taken += [([place], slice(start, min(start + BLOCK, size))) for start in range(0, size, BLOCK)]
        elif size:
            if size + -size % ROW > room:
                small, room = [], JOINED
                taken.append((small, None))
            small.append(place)
            room -= size + -size % ROW
    blocks, places, begins, rows = [], [], [], 0
    for own, part in taken:
        first = rows
        lengths = [sizes[place] for place in own] if part is None else [part.stop - part.start]
        for place, length in zip(own, lengths):
            if part is None or part.start == 0:
                places.append(place)
                begins.append(rows)
            rows += -(-length // ROW)
        padding = [_ZEROS[: -length % ROW] for length in lengths]
        blocks.append(_Block(own, part, padding if any(map(len, padding)) else [], slice(first, rows)))
    return _Plan(blocks, places, begins, rows)


def _scaled_norm(pieces: Callable[[], Iterator[np.ndarray[Any, Any]]]) -> float:
    """Return the norm with its largest element scaled to about 1, so that no square overflows or vanishes."""
    largest = float(np.max([np.abs(piece).max() for piece in pieces()], initial=0.0))  # NaN, if there is one
    if largest == 0 or not math.isfinite(largest):
        return largest
    exponent = math.frexp(largest)[1]
    squared = sum(float(np.square(np.ldexp(piece, -exponent)).sum()) for piece in pieces())
    return float(np.ldexp(math.sqrt(squared), exponent))


def _pieces(weights: np.ndarray[Any, Any]) -> Iterator[np.ndarray[Any, Any]]:
    for start in range(0, weights.size, BLOCK):
        yield weights[start : start + BLOCK].astype(np.float64)


def _difference_pieces(before: np.ndarray[Any, Any], after: np.ndarray[Any, Any]) -> Iterator[np.ndarray[Any, Any]]:
    for start in range(0, after.size, BLOCK):
        yield after[start : start + BLOCK].astype(np.float64) - before[start : start + BLOCK]
