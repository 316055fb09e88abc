"""Whether a recorded run fires: by the default bounds, or by a baseline, with the package's own code."""

from __future__ import annotations

from functools import reduce

import numpy as np

from tests.benchmarks.detection.runs import EPSILON, Ratios
from weight_update_ratio.compare.history import History
from weight_update_ratio.compare.ratio import OK, VERDICTS
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.verdict.baseline import Baseline, bin_of, first_step, learn_baseline
from weight_update_ratio.verdict.bounds import Bounds

MODE = "TRAIN"


def learnt(ratios: Ratios) -> Baseline:
    """Return the baseline that is learnt from the ratios of one good run, by tensor, from step 1 on."""
    history = History("a good run", Parameters(epsilon=EPSILON))
    history.mode = MODE
    history.workers["worker_0"] = 0
    for code, (tensor, values) in enumerate(ratios.items()):
        history.tensors[tensor] = code
        steps = range(1, len(values) + 1)
        filled = {"step": steps, "global_step": steps, "reference_step": range(len(values)), "ratio": values}
        same = {"tensor": code, "verdict": VERDICTS.index(OK)}
        for name, column in history.columns.items():
            column.extend(filled[name] if name in filled else [same.get(name, 0)] * len(values))
    return learn_baseline(history)


def merged(baselines: list[Baseline]) -> Baseline:
    """Return the baseline of the runs of all."""
    return reduce(Baseline.merged, baselines)


def fires(ratios: Ratios, baseline: Baseline | None, factor: float = 1.0, patience: int = 1) -> bool:
    """Return whether a run fires.

    Args:
        ratios: The run's ratios by tensor, each of shape (steps,) from step 1 on.
        baseline: What good runs did; None for the default bounds.
        factor: How far outside of the band a ratio may be; >= 1.
        patience: How many ratios of a tensor in a row must be outside; >= 1. One that is not finite fires at once.
    """
    bounds = Bounds(Parameters(epsilon=EPSILON, baseline_factor=factor), baseline)
    return any(_fires(values, bounds, tensor, patience) for tensor, values in ratios.items())


def _fires(values: np.ndarray, bounds: Bounds, tensor: str, patience: int) -> bool:
    if not np.isfinite(values).all():
        return True
    bins = np.array([bin_of(step) for step in range(1, len(values) + 1)])
    of_bins = [bounds.of(tensor, step, step - 1) for step in map(first_step, range(bins[-1] + 1))]
    lower, upper = np.array(of_bins)[bins].T
    outside = (values < lower) | (values > upper)
    rows = np.lib.stride_tricks.sliding_window_view(outside, patience)
    return bool(rows.all(axis=1).any())
