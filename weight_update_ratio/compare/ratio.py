"""Norms and ratios: NumPy and nothing else.

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

Vector = Any  # a one-dimensional NumPy array


def weight_norms(weights: Sequence[Vector]) -> Vector:
    """Return the L2 norm of each tensor, ||w|| = sqrt(sum_i w_i^2): float64 >= 0, shape (number of tensors,).

    The relative error is below 1e-9; NaN where an element is NaN, inf where one is infinite or the norm is beyond
    float64. What else is given along with a tensor does not change its norm by a bit.
    """
    return _norms(_reals(weights))[0]


def update_norms(before: Sequence[Vector], after: Sequence[Vector]) -> tuple[Vector, Vector]:
    """Return the norm of each ``after - before``, and of each ``after``, which is the next step's reference."""
    weights, updates = _norms(_reals(after), _reals(before))
    return updates, weights


def update_ratios(update_norms: Vector, weight_norms: Vector, epsilon: float) -> Vector:
    """Return the size of each update relative to the weights that it changed: float64 >= 0, shape (n,).

        ratio = ||w_s - w_r|| / (||w_r|| + epsilon)

    It is dimensionless; NaN or inf where a norm is not finite. ``weight_norms`` are those *before* the updates, and
    ``epsilon`` > 0 has their unit.

    >>> update_ratios(np.array([3.0]), np.array([4.0]), 2.0).tolist()
    [0.5]

    Source: cs231n, "Ratio of weights:updates", with L2 norms and the earlier weights below the line.
    """
    with np.errstate(all="ignore"):
        ratios = update_norms / (weight_norms + epsilon)
    return np.where(np.isinf(weight_norms), np.nan, ratios)  # an update of infinite weights has no finite ratio


def _reals(tensors: Sequence[Vector]) -> Sequence[Vector]:
    """Return complex tensors as pairs of reals, which have the same norm, and others as they are."""
    if COMPLEX.isdisjoint([each.dtype.char for each in tensors]):
        return tensors
    return [each.view(each.real.dtype) if each.dtype.char in COMPLEX else each for each in tensors]


def _norms(after: Sequence[Vector], before: Sequence[Vector] | None = None) -> Any:
    """Return the norms of tensors and, if there is a second operand, of how they differ from it: shape (1 or 2, n)."""
    weights, updates = [], []
    with np.errstate(all="ignore"):
        for index, tensor in enumerate(after):
            weight = update = 0.0
            for start in range(0, tensor.size, BLOCK):
                block = tensor[start : start + BLOCK].astype(np.float64)
                weight += _sum_of_squares(block)
                if before is not None:
                    np.subtract(block, before[index][start : start + BLOCK], out=block)
                    update += _sum_of_squares(block)
            weights.append(weight)
            updates.append(update)
        squared = np.array([weights] if before is None else [weights, updates])
        norms = np.sqrt(squared)
        for which, index in np.argwhere(~((squared > LEAST_SAFE_SUM) & (squared < math.inf))).tolist():
            tensors = [after[index]] if before is None or not which else [after[index], before[index]]
            if any(each.dtype == np.float64 for each in tensors):
                norms[which, index] = _scaled_norm(*tensors)
    return norms


def _sum_of_squares(block: Vector) -> Any:
    if block.size <= UNTHREADED:
        return block.dot(block)
    whole = block.size - block.size % ROW
    rows, rest = block[:whole].reshape(-1, 1, ROW), block[whole:]
    return np.matmul(rows, rows.transpose(0, 2, 1)).sum() + rest.dot(rest)


def _scaled_norm(*tensors: Vector) -> float:
    """Return the norm with its largest element scaled to about 1, so that no square overflows or vanishes."""
    largest = float(np.max([np.abs(block).max() for block in _blocks(*tensors)], initial=0.0))  # NaN, if there is one
    if largest == 0 or not math.isfinite(largest):
        return largest
    exponent = math.frexp(largest)[1]
    squared = sum(float(_sum_of_squares(np.ldexp(block, -exponent))) for block in _blocks(*tensors))
    return float(np.ldexp(math.sqrt(squared), exponent))


def _blocks(after: Vector, before: Vector | None = None) -> Iterator[Vector]:
    for start in range(0, after.size, BLOCK):
        block = after[start : start + BLOCK].astype(np.float64)
        yield block if before is None else block - before[start : start + BLOCK]
