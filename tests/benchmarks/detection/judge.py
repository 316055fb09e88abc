"""Whether a recorded run fires: by the default bounds, or by a baseline, with the package's own code."""

from __future__ import annotations

from functools import reduce

import numpy as np

from tests.benchmarks.detection.runs import EPSILON, Ratios
from tests.made_rows import columns_report
from tests.reports import step_columns
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.report import Report
from weight_update_ratio.verdict.baseline import Baseline
from weight_update_ratio.verdict.learning import learn_baseline


def judged(ratios: Ratios, baseline: Baseline | None = None, factor: float = 1.0, patience: int = 1) -> Report:
    """Return the report of a run whose ratios by tensor, each of shape (steps,), begin at step 1."""
    parameters = Parameters(epsilon=EPSILON, baseline_factor=factor, patience=patience)
    count = [len(values) for values in ratios.values()]
    step = np.concatenate([np.arange(1, steps + 1) for steps in count])
    ratio = np.concatenate(list(ratios.values()))
    zero = np.zeros(len(step), int)
    columns = step_columns(np.repeat(np.arange(len(count)), count), zero, step, ratio, zero + 1.0)
    return columns_report(list(ratios), ["worker_0"], columns, parameters, baseline)


def learnt(ratios: Ratios) -> Baseline:
    """Return the baseline that is learnt from the ratios of one good run."""
    return learn_baseline(judged(ratios))


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
    return judged(ratios, baseline, factor, patience).fired
