"""Norms, ratios and verdicts: NumPy and nothing else.

    update_norm = ||w_s - w_r||    weight_norm = ||w_r||    ratio = update_norm / (weight_norm + epsilon)

Tensors are taken as float64, 64-bit integers too, in blocks that stay in the cache: the error is that of float64
whatever the saved type. Squares of float64 may overflow or vanish where the norm itself would not, so a sum that left
the safe range is taken again, scaled by a power of two as BLAS's ``nrm2`` does.
"""

from __future__ import annotations

import math
from typing import Any, Iterator, Sequence

import numpy as np

BLOCK = 262144  # elements at once; 2 MiB as float64: threads take turns seldom, and it is in a core's cache
ROW = 256  # elements whose squares are summed at once; from 500 rows on NumPy lets other threads run meanwhile
UNTHREADED = 8192  # elements; for more than 10,000 OpenBLAS starts threads of its own, and they wait actively
COMPLEX = frozenset("FD")  # NumPy's characters of them

# A sum of squares above this lost less than 1e-12 of itself to squares that vanished, for up to 1e18 elements.
LEAST_SAFE_SUM = 1e-270

OK = "ok"
LARGE = "large"
SMALL = "small"
NOT_FINITE = "not_finite"
DRIFTED = "drifted"
VERDICTS = (OK, LARGE, SMALL, NOT_FINITE, DRIFTED)


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
        after: The same tensors at the judged step, each of the same shape.

    Returns:
        (update norms, norms of ``after``), each as ``weight_norms`` returns them.
    """
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


def _norms(
    after: Sequence[np.ndarray[Any, Any]], before: Sequence[np.ndarray[Any, Any]] | None = None
) -> np.ndarray[Any, Any]:
    """Return the norms of tensors and, if there is a second operand, of how they differ from it: shape (1 or 2, n)."""
    weights, updates = [], []
    with np.errstate(all="ignore"):
        for place, tensor in enumerate(after):
            weight = update = 0.0
            for start in range(0, tensor.size, BLOCK):
                block = tensor[start : start + BLOCK].astype(np.float64)
                weight += _sum_of_squares(block)
                if before is not None:
                    np.subtract(block, before[place][start : start + BLOCK], out=block)
                    update += _sum_of_squares(block)
            weights.append(weight)
            updates.append(update)
        squared = np.array([weights] if before is None else [weights, updates])
        norms: np.ndarray[Any, Any] = np.sqrt(squared)
        for which, place in np.argwhere(~((squared > LEAST_SAFE_SUM) & (squared < math.inf))).tolist():
            tensors = [after[place]] if before is None or not which else [after[place], before[place]]
            if any(each.dtype == np.float64 for each in tensors):
                norms[which, place] = _scaled_norm(*tensors)
    return norms


def _sum_of_squares(block: np.ndarray[Any, Any]) -> Any:
    if block.size <= UNTHREADED:
        return block.dot(block)
    whole = block.size - block.size % ROW
    rows, rest = block[:whole].reshape(-1, 1, ROW), block[whole:]
    return np.matmul(rows, rows.transpose(0, 2, 1)).sum() + rest.dot(rest)


def _scaled_norm(*tensors: np.ndarray[Any, Any]) -> float:
    """Return the norm with its largest element scaled to about 1, so that no square overflows or vanishes."""
    largest = float(np.max([np.abs(block).max() for block in _blocks(*tensors)], initial=0.0))  # NaN, if there is one
    if largest == 0 or not math.isfinite(largest):
        return largest
    exponent = math.frexp(largest)[1]
    squared = sum(float(_sum_of_squares(np.ldexp(block, -exponent))) for block in _blocks(*tensors))
    return float(np.ldexp(math.sqrt(squared), exponent))


def _blocks(after: np.ndarray[Any, Any], before: np.ndarray[Any, Any] | None = None) -> Iterator[np.ndarray[Any, Any]]:
    for start in range(0, after.size, BLOCK):
        block = after[start : start + BLOCK].astype(np.float64)
        yield block if before is None else block - before[start : start + BLOCK]
