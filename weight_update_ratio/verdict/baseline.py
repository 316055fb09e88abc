"""What good runs did: of every tensor the lowest and the highest ratio, by bins of the step.

Ratios change over a run by decades, early steps most. So bins grow with the step: every step below 8 is the first bin,
and the others begin at 8, 11, 13, 16, 21, 26, 32, ... = ceil(8 * 2**(k / 3)): three each time that the step doubles.
"""

from __future__ import annotations

import math
from typing import Dict, Iterable, NamedTuple, Tuple

from ..errors import TrialError
from ..trial.index_file import LARGEST_STEP

BIN_EDGES = [math.ceil(8 * 2 ** (k / 3)) for k in range(3 * (LARGEST_STEP.bit_length() - 4) + 1)]
LAST_BIN = len(BIN_EDGES)

Extremes = Dict[int, Tuple[float, float]]  # bin -> (lowest, highest ratio)


class Band(NamedTuple):
    """The ratios of one tensor over one number of steps from the reference step."""

    comparisons: int
    extremes: Extremes


class TensorBand(NamedTuple):
    """The band of one tensor; ``gap`` is the number of steps from the reference step."""

    gap: int
    band: Band


class Baseline:
    """The ratios of one or more good runs; all their workers are folded together.

    Attributes:
        runs: How many good runs there are.
        mode: The mode that was judged; ratios count its steps.
        num_steps: The parameter with which they were judged.
        epsilon: Added to the norm of the weights.
        bands: {tensor: its band}, of the gap that is most frequent in all runs together, the smaller of equals.
    """

    def __init__(
        self, runs: int, mode: str, num_steps: int | None, epsilon: float, by_gap: dict[str, dict[int, Band]]
    ) -> None:
        self.runs = runs
        self.mode = mode
        self.num_steps = num_steps
        self.epsilon = epsilon
        self._by_gap = by_gap
        self.bands = {tensor: TensorBand(*max(bands.items(), key=_frequency)) for tensor, bands in by_gap.items()}

    def merged(self, other: Baseline) -> Baseline:
        """Return the baseline of the runs of both; they were judged alike."""
        by_gap = {tensor: dict(bands) for tensor, bands in self._by_gap.items()}
        for tensor, bands in other._by_gap.items():
            mine = by_gap.setdefault(tensor, {})
            for gap, band in bands.items():
                mine[gap] = _joined(mine[gap], band) if gap in mine else band
        return Baseline(self.runs + other.runs, self.mode, self.num_steps, self.epsilon, by_gap)


def _frequency(item: tuple[int, Band]) -> tuple[int, int]:
    """Return what is highest for the most frequent gap, and of equals for the smaller one."""
    gap, band = item
    return band.comparisons, -gap


def _joined(band: Band, other: Band) -> Band:
    extremes = dict(band.extremes)
    for place, (low, high) in other.extremes.items():
        known_low, known_high = extremes.get(place, (low, high))
        extremes[place] = min(low, known_low), max(high, known_high)
    return Band(band.comparisons + other.comparisons, extremes)


def first_step(place: int) -> int:
    """Return the first step of a bin; steps of a mode begin at 0, or at -1.

    >>> [first_step(place) for place in (0, 1, 2)]
    [0, 8, 11]
    """
    return BIN_EDGES[place - 1] if place else 0


def merged_baselines(named: Iterable[tuple[str, Baseline]]) -> Baseline:
    """Return the baseline of the runs of all; each comes with what it is called in a message.

    Raises:
        TrialError: They were not judged alike.
    """
    (first_name, result), *others = named
    for name, baseline in others:
        if result.mode != baseline.mode:
            raise TrialError(
                f"the baselines {first_name!r} and {name!r} cannot be merged: their mode is {result.mode} and "
                f"{baseline.mode}",
                "Merge baselines that were judged with the same mode.",
            )
        result = result.merged(baseline)
    return result
