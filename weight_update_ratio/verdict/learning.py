"""A baseline learnt from a run that trains well."""

from __future__ import annotations

from typing import Any, Iterable

import numpy as np

from ..compare.ratio import NOT_FINITE, VERDICTS
from ..errors import TrialError
from .baseline import BIN_EDGES, Band, Baseline
from .judged_run import JudgedRun


def learn_baseline(run: JudgedRun) -> Baseline:
    """Return the baseline of one run.

    Raises:
        TrialError: A ratio is not finite, so that the run is not a good one; or it was not compared as a whole.
    """
    columns = run.columns
    bad = np.flatnonzero(columns["verdict"] == VERDICTS.index(NOT_FINITE))
    if len(bad):
        first = int(bad[0])
        tensor = list(run.tensors)[columns["tensor"][first]]
        raise TrialError(
            f"the ratio of {tensor!r} at {run.mode} step {columns['step'][first]} is {columns['ratio'][first]}",
            "Take a run that trains well.",
        )
    if run.problem is not None:
        raise run.problem
    if not run.complete:
        lost = len(run.unreadable)
        raise TrialError(
            f"{lost:,} of its records could not be read",
            "Restore its files, or take another run that trains well.",
        )
    names = list(run.tensors)
    by_gap: dict[str, dict[int, Band]] = {tensor: {} for tensor in names}
    for (tensor, gap), rows in _groups(columns["tensor"], columns["step"] - columns["reference_step"]):
        bins = np.searchsorted(BIN_EDGES, columns["step"][rows], side="right")
        ratios = columns["ratio"][rows]
        extremes = {place: (float(ratios[own].min()), float(ratios[own].max())) for (place,), own in _groups(bins)}
        by_gap[names[tensor]][gap] = Band(len(rows), extremes)
    compared = {tensor: bands for tensor, bands in by_gap.items() if bands}
    parameters = run.parameters
    return Baseline(1, run.mode or "", parameters.num_steps, parameters.epsilon, compared)


def _groups(*keys: Any) -> Iterable[tuple[tuple[int, ...], Any]]:
    order = np.lexsort(keys)
    changes = np.zeros(len(order), bool)
    for key in keys:
        changes[1:] |= np.diff(key[order]) != 0
    for positions in np.split(order, np.flatnonzero(changes)):
        yield tuple(int(key[positions[0]]) for key in keys), positions
