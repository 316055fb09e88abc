"""Whether a recorded run fires: by the default bounds, or by a baseline, with the package's own code."""

from __future__ import annotations

import numpy as np

from tests.benchmarks.detection.runs import EPSILON, Run
from tests.made_rows import columns_report
from tests.reports import step_columns
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.report import Report
from weight_update_ratio.verdict.baseline import Baseline, merged_baselines
from weight_update_ratio.verdict.good_runs import learn_baseline


def judged(run: Run, baseline: Baseline | None = None, factor: float = 1.0, patience: int = 1) -> Report:
    """Return the report of a run whose steps begin at 1."""
    parameters = Parameters(epsilon=EPSILON, baseline_factor=factor, patience=patience)
    count = [len(values) for values in run.ratios.values()]
    step = np.concatenate([np.arange(1, steps + 1) for steps in count])
    ratio, norm = (np.concatenate(list(own.values())) for own in (run.ratios, run.norms))
    columns = step_columns(np.repeat(np.arange(len(count)), count), np.zeros(len(step), int), step, ratio, norm)
    return columns_report(list(run.ratios), ["worker_0"], columns, parameters, baseline)


def learnt(run: Run) -> Baseline:
    """Return the baseline that is learnt from one good run."""
    return learn_baseline(judged(run))


def merged(baselines: list[Baseline]) -> Baseline:
    """Return the baseline of the runs of all."""
    return merged_baselines((f"run {number}", baseline) for number, baseline in enumerate(baselines))


def fires(run: Run, baseline: Baseline | None, factor: float = 1.0, patience: int = 1) -> bool:
    """Return whether a run fires.

    Args:
        run: What was recorded.
        baseline: What good runs did; None for the default bounds.
        factor: How far outside of the band a ratio may be; >= 1.
        patience: How many violations of a tensor in a row must be; >= 1. One that is not finite fires at once.
    """
    return judged(run, baseline, factor, patience).fired
