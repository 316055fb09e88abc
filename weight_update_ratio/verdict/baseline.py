"""What good runs did: of every tensor the lowest and the highest ratio, by bins of the step.

Ratios change over a run by decades, early steps most. So bins grow with the step: every step below 8 is the first bin,
and the others begin at 8, 11, 13, 16, 21, 26, 32, ... = ceil(8 * 2**(k / 3)): three each time that the step doubles.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import TYPE_CHECKING, Any, Dict, Iterable, NamedTuple, Tuple

import numpy as np

from ..compare.ratio import NOT_FINITE, VERDICTS
from ..errors import TrialError
from ..trial.index_file import LARGEST_STEP

if TYPE_CHECKING:
    from ..compare.history import History

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
        num_steps: The parameter with which they were judged, and so is the next one.
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


def bin_of(step: int) -> int:
    """Return the bin of a step.

    >>> [bin_of(step) for step in (-1, 7, 8, 10, 11, 16, 1000)]
    [0, 0, 1, 1, 2, 4, 21]
    """
    return bisect_right(BIN_EDGES, step)


def first_step(place: int) -> int:
    """Return the first step of a bin; steps of a mode begin at 0, or at -1.

    >>> [first_step(place) for place in (0, 1, 2)]
    [0, 8, 11]
    """
    return BIN_EDGES[place - 1] if place else 0


def learn_baseline(history: History) -> Baseline:
    """Return the baseline of one run.

    Raises:
        TrialError: A ratio is not finite, so that the run is not a good one; or it was not compared as a whole.
    """
    columns = {name: np.asarray(column) for name, column in history.columns.items()}
    bad = np.flatnonzero(columns["verdict"] == VERDICTS.index(NOT_FINITE))
    if len(bad):
        first = int(bad[0])
        tensor = list(history.tensors)[columns["tensor"][first]]
        raise TrialError(
            f"the ratio of {tensor!r} at {history.mode} step {columns['step'][first]} is {columns['ratio'][first]}",
            "Take a run that trains well.",
        )
    if history.problem is not None:
        raise history.problem
    if not history.complete:
        lost = len(history.unreadable)
        raise TrialError(
            f"{lost:,} of its records could not be read",
            "Restore its files, or take another run that trains well.",
        )
    by_gap: dict[str, dict[int, Band]] = {tensor: {} for tensor in history.tensors}
    names = list(history.tensors)
    for (tensor, gap), rows in _groups(columns["tensor"], columns["step"] - columns["reference_step"]):
        bins = np.searchsorted(BIN_EDGES, columns["step"][rows], side="right")
        ratios = columns["ratio"][rows]
        extremes = {place: (float(ratios[own].min()), float(ratios[own].max())) for (place,), own in _groups(bins)}
        by_gap[names[tensor]][gap] = Band(len(rows), extremes)
    compared = {tensor: bands for tensor, bands in by_gap.items() if bands}
    parameters = history.parameters
    return Baseline(1, history.mode or "", parameters.num_steps, parameters.epsilon, compared)


def _groups(*keys: Any) -> Iterable[tuple[tuple[int, ...], Any]]:
    """Yield each combination of keys, and the positions that have it, an int64 array."""
    order = np.lexsort(keys)
    changes = np.zeros(len(order), bool)
    for key in keys:
        changes[1:] |= np.diff(key[order]) != 0
    for positions in np.split(order, np.flatnonzero(changes)):
        yield tuple(int(key[positions[0]]) for key in keys), positions


def merged_baselines(named: Iterable[tuple[str, Baseline]]) -> Baseline:
    """Return the baseline of the runs of all; each comes with what it is called in a message.

    Raises:
        TrialError: They were not judged alike.
    """
    (first_name, result), *others = named
    for name, baseline in others:
        for what in ("mode", "num_steps", "epsilon"):
            mine, theirs = getattr(result, what), getattr(baseline, what)
            if mine != theirs:
                raise TrialError(
                    f"the baselines {first_name!r} and {name!r} cannot be merged: their {what} is {mine} and {theirs}",
                    f"Merge baselines that were judged with the same {what}.",
                )
        result = result.merged(baseline)
    return result
