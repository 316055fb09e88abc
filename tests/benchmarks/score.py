"""Counts what each way of judging catches, misses, and calls sick though it trains well."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import NamedTuple

import numpy as np

from tests.benchmarks.faults import FAULTS
from tests.benchmarks.job import prepared
from tests.benchmarks.nets import SETUPS, Setup
from tests.findings.made_runs import columns_report
from tests.reports import step_columns
from weight_update_ratio.compare.ratio import update_norms, update_ratios, weight_norms
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.report import Report
from weight_update_ratio.verdict.baseline import Baseline, merged_baselines
from weight_update_ratio.verdict.good_runs import learn_baseline

EPSILON = 1e-9  # the rule's default
FIRST_FAULTY_SEED = 1000  # no good run has a seed of a faulty one
LOST_ACCURACY = 0.05  # a fault that costs this is harmful
RESTING = 1e-8  # a tensor whose ratio is below does not train
WAYS = DEFAULT, ONE, THREE = ("default bounds", "one good run", "three good runs")


class Plan(NamedTuple):
    """One run; the fault is None for a good one."""

    setup: str
    fault: str | None
    seed: int
    steps: int


@dataclass(frozen=True)
class Run:
    """What a run left: ratios and the norms before the update, both (steps, matrices), and its accuracy in the test."""

    plan: Plan
    tensors: list[str]
    ratios: np.ndarray
    norms: np.ndarray
    accuracy: float


def plans(setup: Setup, seeds: int, steps: int) -> list[Plan]:
    """Return the good runs of a set-up and then one run of every fault that it can have."""
    good = [Plan(setup.name, None, seed, steps) for seed in range(seeds)]
    seeded = enumerate(FAULTS.values(), FIRST_FAULTY_SEED)
    return good + [Plan(setup.name, fault.name, seed, steps) for seed, fault in seeded if fault.applies(setup)]


def trained(plan: Plan) -> Run:
    """Return the run of a plan, of the parameters that the recorder has in ``weights``."""
    job = prepared(SETUPS[plan.setup], plan.seed, plan.steps)
    if plan.fault:
        FAULTS[plan.fault].start(job)
    named = {name: parameter.detach() for name, parameter in job.model.named_parameters() if parameter.ndim >= 2}
    ratios, norms, before = [], [], []
    for _ in job.train():
        after = [parameter.numpy().flatten() for parameter in named.values()]  # a copy
        if before:
            updates, next_norms = update_norms(before, after)
            ratios.append(update_ratios(updates, norms[-1], EPSILON))
        else:
            next_norms = weight_norms(after)
        before = after
        norms.append(next_norms)
    return Run(plan, list(named), np.array(ratios), np.array(norms[:-1]), job.accuracy())


def judged(run: Run, baseline: Baseline | None = None, factor: float = 1.0, patience: int = 1) -> Report:
    """Return the report of a run by a baseline; None: by the default bounds."""
    steps, tensors = run.ratios.shape
    numbers, step = np.tile(np.arange(tensors), steps), np.repeat(np.arange(1, steps + 1), tensors)
    columns = step_columns(numbers, np.zeros(len(step), int), step, run.ratios.ravel(), run.norms.ravel())
    parameters = Parameters(epsilon=EPSILON, baseline_factor=factor, patience=patience)
    return columns_report(run.tensors, ["worker_0"], columns, parameters, baseline)


@dataclass(frozen=True)
class Verdict:
    """Of a faulty run: whether the fault did harm, and the share of baselines that make it fire by way of judging."""

    setup: str
    fault: str
    harmful: bool
    firing: dict[str, float]


@dataclass(frozen=True)
class Score:
    """What was caught, and called sick wrongly, in a set-up or in several."""

    name: str
    accuracy: float  # mean of the good runs
    verdicts: list[Verdict]  # one for each faulty run
    alarms: dict[str, list[bool]]  # by way of judging, whether a good run fires against other good ones

    def firing(self, way: str, harmful: bool) -> float:
        """Return how many faulty runs fire, harmful or harmless ones; a sum of shares."""
        return sum(verdict.firing[way] for verdict in self.verdicts if verdict.harmful == harmful)


def scored(name: str, runs: list[Run], factor: float, patience: int) -> Score:
    """Return the score of a set-up from all of its runs, good and faulty.

    Each good run alone is a baseline, and so are three: for a faulty run as many threes as there are good runs, for a
    good run all threes of the others.
    """

    def fires(run: Run, *baselines: Baseline) -> bool:
        merged = merged_baselines((f"run {number}", baseline) for number, baseline in enumerate(baselines))
        return judged(run, merged, factor, patience).fired

    good = [run for run in runs if run.plan.fault is None]
    learnt = [learn_baseline(judged(run)) for run in good]
    turned = [learnt[first:] + learnt[:first] for first in range(len(good))]
    verdicts = [
        Verdict(
            setup=name,
            fault=run.plan.fault,
            harmful=is_harmful(run, good),
            firing={
                DEFAULT: float(judged(run).fired),
                ONE: fmean(fires(run, one) for one in learnt),
                THREE: fmean(fires(run, first, second, fourth) for first, second, _, fourth, *_ in turned),
            },
        )
        for run in runs
        if run.plan.fault
    ]
    alarms = {
        DEFAULT: [judged(run).fired for run in good],
        ONE: [fires(run, one) for run, (_, *others) in zip(good, turned) for one in others],
        THREE: [fires(run, *three) for run, (_, *others) in zip(good, turned) for three in combinations(others, 3)],
    }
    return Score(name, fmean(run.accuracy for run in good), verdicts, alarms)


def total(name: str, scores: list[Score]) -> Score:
    """Return the sum of one or more scores, with the mean of their accuracies."""
    return Score(
        name=name,
        accuracy=fmean(score.accuracy for score in scores),
        verdicts=[verdict for score in scores for verdict in score.verdicts],
        alarms={way: [fires for score in scores for fires in score.alarms[way]] for way in WAYS},
    )


def is_harmful(run: Run, good: list[Run]) -> bool:
    """Return whether a faulty run tests worse than the good ones do, or leaves a tensor untrained that they train."""
    lost = fmean(other.accuracy for other in good) - run.accuracy
    return lost > LOST_ACCURACY or bool((np.all([_trains(other) for other in good], axis=0) & ~_trains(run)).any())


def _trains(run: Run) -> np.ndarray:
    """Return of each tensor whether it moves in the second half of the run; what is not finite moved."""
    return (~(run.ratios[run.plan.steps // 2 - 1 :] < RESTING)).any(axis=0)
