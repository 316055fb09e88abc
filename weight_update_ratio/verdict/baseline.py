"""What good runs did: of every tensor the lowest and highest ratio and weight norm, by bins of the step, and its rests.

Ratios change over a run by decades, early steps most. So bins grow with the step: every step below 8 is the first bin,
and the others begin at 8, 11, 13, 16, 21, 26, 32, ... = ceil(8 * 2**(k / 3)): three each time that the step doubles.

Only moves teach. What rests, what comes from weights that were all zero, and a spike of one comparison would open the
bounds for good: so rests are counted apart, and each ratio is replaced by the median of it and its two neighbours.
"""

from __future__ import annotations

import math
from typing import Iterable, NamedTuple

import numpy as np

from ..compare.rows import Array
from ..errors import TrialError
from ..trial.index_file import LARGEST_STEP

BIN_EDGES = [math.ceil(8 * 2 ** (k / 3)) for k in range(3 * (LARGEST_STEP.bit_length() - 4) + 1)]
BINS = len(BIN_EDGES) + 1
LIMITS = ("low", "high", "norm_low", "norm_high")


class Band(NamedTuple):
    """What one tensor did over one number of steps from the reference step.

    Attributes:
        gap: That number.
        rest: The most comparisons in a row whose ratio was 0.
        limits: The lowest and highest ratio, and the lowest and highest norm of the weights before the update, by bin;
            NaN where a bin has no move: float64, shape (4, BINS).
    """

    gap: int
    rest: int
    limits: Array

    @property
    def moves(self) -> bool:
        """Whether it moved at all."""
        return not bool(np.isnan(self.limits[0]).all())


class Baseline(NamedTuple):
    """The bands of one or more good runs; all their workers are folded together.

    Attributes:
        runs: How many good runs there are.
        mode: The mode that was judged; steps count in it.
        epsilon: Added to the norm of the weights.
        last_step: The last step of the longest run.
        bands: {tensor: its band}.
    """

    runs: int
    mode: str
    epsilon: float
    last_step: int
    bands: dict[str, Band]

    @property
    def width(self) -> float:
        """How many times its lowest ratio a tensor's highest is, the median over the tensors; NaN where none moves."""
        moving = [band.limits for band in self.bands.values() if band.moves]
        with np.errstate(divide="ignore", over="ignore"):  # a file may have 0 for the lowest
            return float(np.median([np.nanmax(high) / np.nanmin(low) for low, high, *_ in moving] or [np.nan]))


def merged_baselines(named: Iterable[tuple[str, Baseline]]) -> Baseline:
    """Return the baseline of the runs of all, in any order the same; each comes with what it is called in a message.

    Raises:
        TrialError: They were not judged alike.
    """
    (first_name, result), *others = named
    for name, other in others:
        both = f"the baselines {first_name!r} and {name!r} cannot be merged:"
        for what in ("mode", "epsilon"):
            mine, theirs = getattr(result, what), getattr(other, what)
            if mine != theirs:
                raise TrialError(
                    f"{both} their {what} is {mine} and {theirs}",
                    f"Merge baselines that were judged with the same {what}.",
                )
        bands = dict(result.bands)
        for tensor, band in other.bands.items():
            known = bands.setdefault(tensor, band)
            if known.gap != band.gap:
                raise TrialError(
                    f"{both} the ratios of {tensor!r} are over {gap_text(known.gap)} and over {gap_text(band.gap)}",
                    "Merge baselines of runs that were saved at the same interval and judged with the same num_steps.",
                )
            lows, highs = np.fmin(known.limits, band.limits), np.fmax(known.limits, band.limits)
            limits = np.stack([lows[0], highs[1], lows[2], highs[3]])
            bands[tensor] = Band(band.gap, max(known.rest, band.rest), limits)
        last_step = max(result.last_step, other.last_step)
        result = Baseline(result.runs + other.runs, result.mode, result.epsilon, last_step, bands)
    return result


def gap_text(gap: int) -> str:
    """Return a number of steps as a person writes it."""
    return f"{gap} step{'s' * (gap != 1)}"
