"""Between which ratios and weight norms a comparison is sound: the thresholds, or a baseline's band made wider."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..compare.rows import Array
from ..errors import TrialError
from ..parameters import Parameters
from .baseline import BIN_EDGES, BINS, Band, Baseline

RESTS = 2  # times the longest rest of the good runs, that a tensor may rest


class BoundColumns(NamedTuple):
    """The bounds of comparisons; every array has shape (n,).

    Attributes:
        lower: The lowest sound ratios, float64.
        upper: The highest ones, float64.
        norm_lower: The lowest weight norms that the baseline knows, float64; 0 where it knows none.
        norm_upper: The highest ones; infinite where it knows none.
        rest: How many ratios of 0 in a row are sound, float64; NaN where the thresholds judge them.
        held: bool, whether the bounds are the baseline's.
    """

    lower: Array
    upper: Array
    norm_lower: Array
    norm_upper: Array
    rest: Array
    held: Array


class Bounds:
    """The bounds of every comparison; one way to judge, with a baseline and without.

    Attributes:
        parameters: The thresholds are of them, and the factor.
        baseline: What good runs did, or None.
    """

    def __init__(self, parameters: Parameters, baseline: Baseline | None = None) -> None:
        self.parameters = parameters
        self.baseline = baseline
        bands = {} if baseline is None else baseline.bands
        self._rows = {tensor: row for row, tensor in enumerate(bands)}
        # The last row of each is of a tensor without a band.
        self._gaps = np.array([*(band.gap for band in bands.values()), 0])
        self._rests = np.array([*(RESTS * band.rest if band.moves else np.inf for band in bands.values()), np.nan])
        self._tables = np.full((4, len(bands) + 1, BINS), np.nan)
        for row, band in enumerate(bands.values()):
            self._tables[:, row] = self._table(band)

    def _table(self, band: Band) -> Array:
        """Return the bounds by bin, shape (4, BINS): those of the bin and its two neighbours, made wider."""
        if not band.moves:  # it may rest for ever, and not move
            return np.array([[0.0], [self.parameters.small_threshold], [np.nan], [np.nan]]) + np.zeros(BINS)
        padded = np.pad(band.limits, ((0, 0), (1, 1)), constant_values=np.nan)
        near = [padded[:, :-2], padded[:, 1:-1], padded[:, 2:]]
        table: Array = np.where([[True], [False], [True], [False]], np.fmin.reduce(near), np.fmax.reduce(near))
        known = np.flatnonzero(~np.isnan(band.limits[0]))
        table[:, : known[0]] = np.nan
        table[:, known[-1] + 1 :] = table[:, known[-1], np.newaxis]  # those of the last bin count for later ones too
        factor, norm = self.parameters.baseline_factor, norm_factor(self.parameters.baseline_factor)
        with np.errstate(over="ignore"):  # a bound may be infinite
            table = table / np.array([[factor], [1], [norm], [1]]) * np.array([[1], [factor], [1], [norm]])
        np.fmax(table[1], self.parameters.small_threshold, out=table[1], where=~np.isnan(table[1]))
        return table

    def columns(self, tensors: list[str], codes: Array, steps: Array, reference_steps: Array) -> BoundColumns:
        """Return the bounds of comparisons.

        Args:
            tensors: The names that ``codes`` stand for.
            codes: Shape (n,), whole numbers; so are the next two.
            steps: Of the judged mode.
            reference_steps: Likewise.
        """
        thresholds = self.parameters.small_threshold, self.parameters.large_threshold, 0.0, np.inf
        if self.baseline is None:
            return BoundColumns(*(np.broadcast_to(value, len(codes)) for value in (*thresholds, np.nan, False)))
        rows = self._rows_of(tensors)[codes]
        rows[steps - reference_steps != self._gaps[rows]] = -1
        bounds = self._tables[:, rows, np.searchsorted(BIN_EDGES, steps, side="right")]
        lower, upper, norm_lower, norm_upper = np.where(np.isnan(bounds), np.array(thresholds)[:, None], bounds)
        return BoundColumns(lower, upper, norm_lower, norm_upper, self._rests[rows], ~np.isnan(bounds[0]))

    def rests(self, tensors: list[str]) -> Array:
        """Return how many ratios of 0 in a row the baseline bears of each tensor; NaN where it does not know one."""
        return self._rests[self._rows_of(tensors)]

    def _rows_of(self, tensors: list[str]) -> Array:
        return np.array([self._rows.get(tensor, -1) for tensor in tensors], np.int64)

    @property
    def baseline_mode(self) -> str | None:
        """The mode that the baseline was judged in."""
        return None if self.baseline is None else self.baseline.mode

    def require_alike(self, mode: str | None) -> None:
        """Raise TrialError where the baseline was not judged as the run is; a mode that is not known yet may be any."""
        if self.baseline is None:
            return
        for what, own in (("mode", mode or self.baseline.mode), ("epsilon", self.parameters.epsilon)):
            theirs = getattr(self.baseline, what)
            if theirs != own:
                name = f"the baseline {', '.join(map(repr, self.parameters.baseline))}"
                raise TrialError(
                    f"the run cannot be held against {name}: its {what} is {own}, the baseline's {theirs}",
                    f"Save the baseline anew, from a run whose steps are of mode {own}."
                    if what == "mode"
                    else f"Judge both with the same {what}, or save the baseline anew.",
                )


def norm_factor(factor: float) -> float:
    """Return by how much a weight norm may leave its range, for a factor of the ratio's bounds.

    >>> norm_factor(3.0)
    1.5
    """
    return 1 + (factor - 1) / 4
