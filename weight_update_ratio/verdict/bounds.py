"""Between which ratios a comparison is sound: the thresholds, or a baseline's band made wider by a factor."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..compare.rows import Array
from ..errors import TrialError
from ..parameters import Parameters
from .baseline import BIN_EDGES, LAST_BIN, Baseline, TensorBand


class BoundColumns(NamedTuple):
    """The bounds of comparisons; every array has shape (n,).

    Attributes:
        lower: The lowest sound ratios, float64.
        upper: The highest ones, float64.
        held: bool, whether these are the baseline's.
    """

    lower: Array
    upper: Array
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
        self._gaps = np.array([*(band.gap for band in bands.values()), 0])  # the last row: a tensor without a band
        self._tables = np.full((2, len(bands) + 1, LAST_BIN + 1), np.nan)  # lower and upper by tensor and bin
        for row, band in enumerate(bands.values()):
            self._fill(self._tables[:, row], band)

    def _fill(self, table: Array, band: TensorBand) -> None:
        """Fill in the bounds that a bin and its two neighbours give; those of the last bin count for later ones too."""
        extremes, factor = band.band.extremes, self.parameters.baseline_factor
        first, last = min(extremes), max(extremes)
        for place in range(first, last + 1):
            near = [extremes[at] for at in (place - 1, place, place + 1) if at in extremes]
            if near:
                low, high = min(low for low, _ in near), max(high for _, high in near)
                table[:, place] = low / factor, max(high * factor, self.parameters.small_threshold)
        table[:, last + 1 :] = table[:, last : last + 1]

    def columns(self, tensors: list[str], codes: Array, steps: Array, reference_steps: Array) -> BoundColumns:
        """Return the bounds of comparisons.

        Args:
            tensors: The names that ``codes`` stand for.
            codes: Shape (n,), whole numbers; so are the next two.
            steps: Of the judged mode.
            reference_steps: Likewise.
        """
        thresholds = self.parameters.small_threshold, self.parameters.large_threshold
        if self.baseline is None:
            lower, upper, held = (np.broadcast_to(value, len(codes)) for value in (*thresholds, False))
            return BoundColumns(lower, upper, held)
        rows = np.array([self._rows.get(tensor, -1) for tensor in tensors], np.int64)[codes]
        bounds = self._tables[:, rows, np.searchsorted(BIN_EDGES, steps, side="right")]
        held = (steps - reference_steps == self._gaps[rows]) & ~np.isnan(bounds[0])
        lower, upper = np.where(held, bounds, np.array(thresholds)[:, None])
        return BoundColumns(lower, upper, held)

    @property
    def baseline_mode(self) -> str | None:
        """The mode that the baseline was judged in."""
        return None if self.baseline is None else self.baseline.mode

    def require_alike(self, mode: str | None) -> None:
        """Raise TrialError where the baseline was not judged as the run is; a mode that is not known yet may be any."""
        if self.baseline is None:
            return
        judged = {"mode": mode, "num_steps": self.parameters.num_steps, "epsilon": self.parameters.epsilon}
        for what, own in judged.items():
            theirs = getattr(self.baseline, what)
            if theirs != own and not (what == "mode" and own is None):
                name = f"the baseline {', '.join(map(repr, self.parameters.baseline))}"
                raise TrialError(
                    f"the run cannot be held against {name}: its {what} is {own}, the baseline's {theirs}",
                    f"Save the baseline anew, from a run whose steps are of mode {own}."
                    if what == "mode"
                    else f"Judge both with the same {what}, or save the baseline anew.",
                )
