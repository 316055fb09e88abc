"""Norms, ratio and verdict: NumPy and nothing else.

    update_norm = ||w_s - w_r||    weight_norm = ||w_r||    ratio = update_norm / (weight_norm + epsilon)

Tensors are taken in blocks that stay in the cache, as float64: no copy of a tensor is made, and the error is that of
float64 whatever the saved type. Squares of float64 may overflow or vanish where the norm itself would not, so a sum
that left the safe range is taken again, scaled by a power of two as BLAS's ``nrm2`` does.
"""

from __future__ import annotations

import math
from typing import Any, Callable, Iterator

import numpy as np

BLOCK = 262144  # elements; 2 MiB as float64: threads take turns seldom, and a cache near the core holds most of it
DOT = 8192  # elements; OpenBLAS would start threads of its own for more, and they wait actively

# A sum of squares above this lost less than 1e-12 of itself to squares that vanished, for up to 1e18 elements.
LEAST_SAFE_SUM = 1e-270

OK = "ok"
LARGE = "large"
SMALL = "small"
NOT_FINITE = "not_finite"
VERDICTS = (OK, LARGE, SMALL, NOT_FINITE)


def weight_norm(weights: np.ndarray[Any, Any]) -> float:
    """Return the L2 norm of a tensor over all elements.

        ||w|| = sqrt(sum_i w_i^2)

    Args:
        weights: Shape (n,); float16/32/64, complex, any integer, or bool.

    Returns:
        A float64 >= 0, to a relative error below 1e-9; NaN where an element is NaN; inf where one is infinite or the
        norm is beyond float64.
    """
    weights = _real(weights)
    with np.errstate(all="ignore"):
        return _norm(lambda: _blocks(weights), weights.dtype == np.float64)


def update_norms(before: np.ndarray[Any, Any], after: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Return the L2 norm of ``after - before`` and that of ``after``, which is the next step's reference.

    Args:
        before: Weights at the reference step; shape (n,), any numeric dtype.
        after: Weights at the judged step; shape (n,), any numeric dtype.

    Returns:
        (update norm, norm of ``after``), each as ``weight_norm`` returns it.

    Raises:
        ValueError: The shapes differ.
    """
    if before.shape != after.shape:
        raise ValueError(f"weights of shape {after.shape} cannot be compared with weights of shape {before.shape}")
    before, after = _real(before), _real(after)
    wide = np.float64 in (before.dtype, after.dtype)
    with np.errstate(all="ignore"):
        if _needs_halves(before.dtype, after.dtype):
            return _norm(lambda: _exact_differences(before, after), wide), weight_norm(after)
        squared_update = squared_weights = 0.0
        buffer = np.empty(min(after.size, BLOCK))
        for start in range(0, after.size, BLOCK):
            new, old = after[start : start + BLOCK], before[start : start + BLOCK]
            block = buffer[: new.size]
            np.copyto(block, new)
            squared_weights += _squared(block)
            np.subtract(block, old, out=block)
            squared_update += _squared(block)
        update, weights = math.sqrt(squared_update), math.sqrt(squared_weights)
        if wide and not _is_safe(squared_update):
            update = _scaled_norm(lambda: _differences(before, after))
        if wide and not _is_safe(squared_weights):
            weights = _scaled_norm(lambda: _blocks(after))
    return update, weights


def update_ratio(update_norm: float, weight_norm: float, epsilon: float) -> float:
    """Return the size of an update relative to the weights that it changed.

        ratio = ||w_s - w_r|| / (||w_r|| + epsilon)

    Args:
        update_norm: L2 norm of the update, >= 0 or not finite.
        weight_norm: L2 norm of the weights *before* the update, >= 0 or not finite.
        epsilon: Added to ``weight_norm``, in its unit; > 0.

    Returns:
        A dimensionless float64 >= 0; NaN or inf where a norm is not finite.

    >>> update_ratio(3.0, 4.0, 2.0)
    0.5

    Source: cs231n, "Ratio of weights:updates", with L2 norms and the earlier weights below the line.
    """
    if math.isinf(weight_norm):
        return math.nan  # an update of infinite weights has no finite ratio
    return update_norm / (weight_norm + epsilon)


def ratio_verdict(ratio: float, lower: float, upper: float) -> str:
    """Return ``large``, ``small``, ``not_finite`` or ``ok``; both bounds are strict.

    >>> [ratio_verdict(ratio, 1e-8, 10.0) for ratio in (10.0, 10.1, 0.0, float("nan"))]
    ['ok', 'large', 'small', 'not_finite']
    """
    if not math.isfinite(ratio):  # first, for NaN compares false with every bound
        return NOT_FINITE
    if ratio > upper:
        return LARGE
    if ratio < lower:
        return SMALL
    return OK


def _real(weights: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return complex elements as pairs of reals, which have the same norm, and others as they are."""
    return weights.view(weights.real.dtype) if weights.dtype.kind == "c" else weights


def _norm(blocks: Callable[[], Iterator[np.ndarray[Any, Any]]], wide: bool) -> float:
    squared = sum(map(_squared, blocks()), 0.0)
    return _scaled_norm(blocks) if wide and not _is_safe(squared) else math.sqrt(squared)


def _squared(block: np.ndarray[Any, Any]) -> float:
    """Return the sum of squares of a block of float64; in one call, for threads wait for each other between calls."""
    if block.size <= DOT:
        return float(block.dot(block))
    whole = block.size - block.size % DOT
    rows, rest = block[:whole].reshape(-1, 1, DOT), block[whole:]
    return float(np.matmul(rows, rows.transpose(0, 2, 1)).sum()) + float(rest.dot(rest))


def _is_safe(squared: float) -> bool:
    return LEAST_SAFE_SUM < squared < math.inf or math.isnan(squared)


def _scaled_norm(blocks: Callable[[], Iterator[np.ndarray[Any, Any]]]) -> float:
    """Return the norm with its largest element scaled to about 1, so that no square overflows or vanishes."""
    largest = max((float(np.abs(block).max()) for block in blocks()), default=0.0)
    if largest == 0 or not math.isfinite(largest):
        return largest
    exponent = math.frexp(largest)[1]
    scaled = (np.ldexp(block, -exponent) for block in blocks())
    return float(np.ldexp(math.sqrt(sum(map(_squared, scaled))), exponent))


def _blocks(weights: np.ndarray[Any, Any]) -> Iterator[np.ndarray[Any, Any]]:
    for start in range(0, weights.size, BLOCK):
        yield weights[start : start + BLOCK].astype(np.float64)


def _differences(before: np.ndarray[Any, Any], after: np.ndarray[Any, Any]) -> Iterator[np.ndarray[Any, Any]]:
    for start in range(0, after.size, BLOCK):
        yield after[start : start + BLOCK].astype(np.float64) - before[start : start + BLOCK]


def _needs_halves(*dtypes: np.dtype[Any]) -> bool:
    """Return whether float64 cannot hold the operands: one is a 64-bit integer, the other as large, or float32."""
    return any(dtype.kind in "iu" and dtype.itemsize == 8 for dtype in dtypes) and all(
        dtype.itemsize == 8 or dtype == np.float32 for dtype in dtypes
    )


def _exact_differences(before: np.ndarray[Any, Any], after: np.ndarray[Any, Any]) -> Iterator[np.ndarray[Any, Any]]:
    """Yield differences of 64-bit integers, or of one and a float: high and low halves apart are exact."""
    for start in range(0, after.size, BLOCK):
        old_high, old_low = _halves(before[start : start + BLOCK])
        new_high, new_low = _halves(after[start : start + BLOCK])
        yield (new_high - old_high) * 2.0**32 + (new_low - old_low)


def _halves(block: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return (high, low) as float64, block = high * 2**32 + low exactly, both of one sign; low is 0 beside infinity."""
    if block.dtype.kind == "f":
        high = np.trunc(block.astype(np.float64) / 2.0**32)
        return high, np.where(np.isfinite(high), block - high * 2.0**32, 0.0)
    high, low = (block >> 32).astype(np.float64), (block & 0xFFFFFFFF).astype(np.float64)
    differ = (high < 0) & (low > 0)
    return high + differ, low - differ * 2.0**32
