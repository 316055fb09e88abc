"""Between which ratios and weight norms a comparison is sound, by thresholds or a baseline; and what each ratio is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..compare.rows import Array
from ..errors import TrialError
from ..parameters import Parameters
from .baseline import BIN_EDGES, BINS, Band, Baseline

RESTS = 2  # times the longest rest of the good runs, that a tensor may rest

OK = "ok"
LARGE = "large"
SMALL = "small"
NOT_FINITE = "not_finite"
DRIFTED = "drifted"
VERDICTS = (OK, LARGE, SMALL, NOT_FINITE, DRIFTED)


class BoundColumns(NamedTuple):
    """The bounds of n comparisons; every array has shape (n,), float64 except ``held``."""

    lower: Array  # the lowest sound ratio
    upper: Array
    norm_lower: Array  # the lowest weight norm that the baseline knows; 0 where it knows none
    norm_upper: Array  # infinite where it knows none
    rest: Array  # how many ratios of 0 in a row are sound; NaN where the thresholds judge them
    held: Array  # bool: the bounds are the baseline's


class Bounds:
    """The bounds of every comparison; one way to judge, with a baseline and without."""

    def __init__(self, parameters: Parameters, baseline: Baseline | None = None) -> None:
        self.parameters = parameters
        self.baseline = baseline
        self.baseline_mode = None if baseline is None else baseline.mode
        self.bands = bands = {} if baseline is None else baseline.bands
        self._rows = {tensor: row for row, tensor in enumerate(bands)}
        # The last row of each is of a tensor without a band.
        self._gaps = np.array([*(band.gap for band in bands.values()), 0])
        self._rests = np.array([*(RESTS * band.rest if band.moves else np.inf for band in bands.values()), np.nan])
        self._tables = np.full((4, len(bands) + 1, BINS), np.nan)
        for row, band in enumerate(bands.values()):
            self._tables[:, row] = self._table(band)

    def _table(self, band: Band) -> Array:
        """Return the bounds by bin, shape (4, BINS or 1): those of the bin and its two neighbours, made wider."""
        small, factor = self.parameters.small_threshold, self.parameters.baseline_factor
        if not band.moves:  # it may rest for ever, and not move
            return np.array([[0.0], [small], [np.nan], [np.nan]])
        padded = np.pad(band.limits, ((0, 0), (1, 1)), constant_values=np.nan)
        near = [padded[:, :-2], padded[:, 1:-1], padded[:, 2:]]
        lows, highs = np.fmin.reduce(near), np.fmax.reduce(near)
        norm = 1 + (factor - 1) / 4  # the factor of the weight norm
        with np.errstate(over="ignore"):  # a bound may be infinite
            table = np.stack([lows[0] / factor, highs[1] * factor, lows[2] / norm, highs[3] * norm])
        known = np.flatnonzero(~np.isnan(band.limits[0]))
        table[:, : known[0]] = np.nan
        table[:, known[-1] + 1 :] = table[:, known[-1:]]  # those of the last bin count for later ones too
        table[1] = np.maximum(table[1], small)
        return table

    def columns(self, tensors: list[str], codes: Array, steps: Array, reference_steps: Array) -> BoundColumns:
        """Return the bounds of n comparisons; ``codes`` are indices in ``tensors``, steps are of the judged mode."""
        thresholds = self.parameters.small_threshold, self.parameters.large_threshold, 0.0, np.inf
        if self.baseline is None:
            return BoundColumns(*(np.broadcast_to(value, len(codes)) for value in (*thresholds, np.nan, False)))
        rows = self._rows_of(tensors)[codes]
        rows[steps - reference_steps != self._gaps[rows]] = -1
        bounds = self._tables[:, rows, np.searchsorted(BIN_EDGES, steps, side="right")]
        lower, upper, norm_lower, norm_upper = np.where(np.isnan(bounds), np.array(thresholds)[:, None], bounds)
        return BoundColumns(lower, upper, norm_lower, norm_upper, self._rests[rows], ~np.isnan(bounds[0]))

    def rests(self, tensors: list[str]) -> Array:
        """Return how many ratios of 0 in a row are sound of each tensor; NaN where the baseline does not know it."""
        return self._rests[self._rows_of(tensors)]

    def _rows_of(self, tensors: list[str]) -> Array:
        return np.array([self._rows.get(tensor, -1) for tensor in tensors], np.int64)

    def require_alike(self, mode: str | None) -> None:
        """Raise TrialError if the baseline was not judged as the run is; a mode that is not known yet may be any."""
        if self.baseline is None:
            return
        for what, ours, remedy in (
            ("mode", mode or self.baseline.mode, f"Save the baseline anew, from a run whose steps are of mode {mode}."),
            ("epsilon", self.parameters.epsilon, "Judge both with the same epsilon, or save the baseline anew."),
        ):
            theirs = getattr(self.baseline, what)
            if theirs != ours:
                name = f"the baseline {', '.join(map(repr, self.parameters.baseline))}"
                message = f"the run cannot be held against {name}: its {what} is {ours}, the baseline's {theirs}"
                raise TrialError(message, remedy)


def verdict_codes(ratios: Array, lower: Array, upper: Array) -> Array:
    """Return what each ratio is, as its index in ``VERDICTS``; both bounds are strict. All are of shape (n,).

    >>> codes = verdict_codes(np.array([10.0, 10.1, 0.0, np.nan]), np.full(4, 1e-8), np.full(4, 10.0))
    >>> [VERDICTS[code] for code in codes]
    ['ok', 'large', 'small', 'not_finite']
    """
    codes = np.zeros(len(ratios), np.int8)
    with np.errstate(invalid="ignore"):
        codes[ratios < lower] = VERDICTS.index(SMALL)
        codes[ratios > upper] = VERDICTS.index(LARGE)
    codes[~np.isfinite(ratios)] = VERDICTS.index(NOT_FINITE)  # last, because NaN compares false with every bound
    return codes
