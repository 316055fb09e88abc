"""Between which ratios a comparison is sound: the thresholds, or a baseline's band made wider by a factor."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np

from ..errors import TrialError
from ..parameters import Parameters
from .baseline import BIN_EDGES, LAST_BIN, Band, Baseline, bin_of


class _Table(NamedTuple):
    """The bounds of one tensor by bin, from ``first_bin`` on; None where the baseline has no ratio near."""

    gap: int
    first_bin: int
    bounds: list[tuple[float, float] | None]

    def at(self, step: int, reference_step: int) -> tuple[float, float] | None:
        gap, first_bin, bounds = self
        if step - reference_step != gap:
            return None
        place = bin_of(step) - first_bin
        return bounds[-1] if place >= len(bounds) else bounds[place] if place >= 0 else None


class Bounds:
    """The bounds of every comparison; one way to judge, with a baseline and without.

    Attributes:
        parameters: The thresholds are of them, and the factor.
        baseline: What good runs did, or None.
    """

    def __init__(self, parameters: Parameters, baseline: Baseline | None = None) -> None:
        self.parameters = parameters
        self.baseline = baseline
        self._thresholds = (parameters.small_threshold, parameters.large_threshold)
        bands = {} if baseline is None else baseline.bands
        self._tables = {tensor: self._table(*band) for tensor, band in bands.items()}

    def _table(self, gap: int, band: Band) -> _Table:
        first, last = min(band.extremes), max(band.extremes)
        return _Table(gap, first, [self._around(band, place) for place in range(first, last + 1)])

    def _around(self, band: Band, place: int) -> tuple[float, float] | None:
        """Return the bounds that a bin and its two neighbours give."""
        near = [band.extremes[at] for at in (place - 1, place, place + 1) if at in band.extremes]
        if not near:
            return None
        factor = self.parameters.baseline_factor
        low, high = min(low for low, _ in near), max(high for _, high in near)
        return low / factor, max(high * factor, self.parameters.small_threshold)

    def of(self, tensor: str, step: int, reference_step: int) -> tuple[float, float]:
        """Return the lowest and the highest ratio that a comparison may have."""
        table = self._tables.get(tensor)
        return (table and table.at(step, reference_step)) or self._thresholds

    def columns(self, tensors: list[str], step: int, reference_steps: Any) -> tuple[Any, Any]:
        """Return the lowest and the highest ratios that tensors may have at a step: float64, shape (n,) each."""
        if self.baseline is None:
            lower, upper = self._thresholds
            return np.full(len(tensors), lower), np.full(len(tensors), upper)
        both = [self.of(*at) for at in zip(tensors, itertools.repeat(step), reference_steps.tolist())]
        lowest, highest = np.array(both, np.float64).reshape(-1, 2).T
        return lowest, highest

    def holds(self, tensor: str, step: int, reference_step: int) -> bool:
        """Return whether a comparison can be held against the baseline."""
        table = self._tables.get(tensor)
        return table is not None and table.at(step, reference_step) is not None

    def held(self, tensors: list[str], codes: Any, steps: Any, reference_steps: Any) -> Any:
        """Return which comparisons are held against the baseline: shape (n,), bool.

        Args:
            tensors: The names that ``codes`` stand for.
            codes: Shape (n,), whole numbers; so are the next two.
            steps: Of the judged mode.
            reference_steps: Likewise.
        """
        gaps = np.zeros(len(tensors), np.int64)  # no comparison has a gap of 0
        known = np.zeros((len(tensors), LAST_BIN + 1), bool)
        for code, tensor in enumerate(tensors):
            table = self._tables.get(tensor)
            if table is not None:
                gaps[code] = table.gap
                has = [bounds is not None for bounds in table.bounds]
                known[code, table.first_bin : table.first_bin + len(has)] = has
                known[code, table.first_bin + len(has) :] = has[-1]
        bins = np.searchsorted(BIN_EDGES, steps, side="right")
        return known[codes, bins] & (steps - reference_steps == gaps[codes])

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
