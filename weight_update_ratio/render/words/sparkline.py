"""The course of a ratio in a few characters."""

from __future__ import annotations

import numpy as np

from ...compare.rows import Array

BARS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
ZERO = "_"
NOT_FINITE = "x"
LEAST_SPAN = 2.0  # decades from the lowest bar to the highest: a sound ratio is nearly level


def sparkline(ratios: Array, width: int) -> str:
    """Return the course of log10 of ratios in at most ``width`` characters, each of as many comparisons.

    A character is the median of its comparisons that are not zero; "x" if one is not finite, "_" if all are zero.

    >>> sparkline(np.array([1e-3, 1e-2, 0.0, float("nan")]), 4) == BARS[2] + BARS[6] + "_x"
    True
    """
    bars = ""
    parts = np.array_split(np.asarray(ratios, float), min(width, len(ratios)))
    moves = [part[(part > 0) & np.isfinite(part)] for part in parts]
    levels = [float(np.median(np.log10(move))) if len(move) else None for move in moves]
    known = [level for level in levels if level is not None] or [0.0]
    middle, span = (max(known) + min(known)) / 2, max(max(known) - min(known), LEAST_SPAN)
    for part, level in zip(parts, levels):
        if not np.isfinite(part).all():
            bars += NOT_FINITE
        elif level is None:
            bars += ZERO
        else:
            bars += BARS[min(int(((level - middle) / span + 0.5) * len(BARS) + 0.5), len(BARS) - 1)]
    return bars
