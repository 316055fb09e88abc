"""Counts what each way of judging catches, misses, and calls sick though it trains well."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

import numpy as np

from tests.benchmarks.detection.faults import HEALTHY
from tests.benchmarks.detection.judge import fires, learnt, merged
from tests.benchmarks.detection.runs import Run
from weight_update_ratio.verdict.baseline import Baseline

LOST_ACCURACY = 0.05  # a fault that costs this is harmful
RESTING = 1e-8  # a tensor whose ratio is below does not train
WAYS = DEFAULT, ONE, THREE = ("default bounds", "one good run", "three good runs")


@dataclass(frozen=True)
class Verdict:
    """Of a faulty run: whether the fault did harm, and the share of baselines that make it fire by way of judging."""

    setup: str
    fault: str
    harmful: bool
    firing: dict[str, float]


@dataclass(frozen=True)
class Score:
    """What was caught and called sick wrongly in a set-up.

    Attributes:
        name: The set-up.
        accuracy: Mean of the good runs.
        verdicts: One for each faulty run.
        alarms: How many comparisons of good runs with other good runs fire, by way of judging.
        comparisons: How many there are, by way of judging.
    """

    name: str
    accuracy: float
    verdicts: list[Verdict]
    alarms: dict[str, int]
    comparisons: dict[str, int]

    @property
    def harmful(self) -> int:
        """How many faults did harm."""
        return sum(verdict.harmful for verdict in self.verdicts)

    @property
    def harmless(self) -> int:
        """How many faults did none."""
        return len(self.verdicts) - self.harmful

    def firing(self, way: str, harmful: bool) -> float:
        """Return how many faulty runs fire, harmful or harmless ones; a sum of shares."""
        return sum(verdict.firing[way] for verdict in self.verdicts if verdict.harmful == harmful)


def scored(name: str, runs: list[Run], factor: float, patience: int) -> Score:
    """Return the score of a set-up from all of its runs, good and faulty."""
    good = [run for run in runs if run.plan.fault == HEALTHY.name]
    baselines = [learnt(run) for run in good]
    alarms = _alarms(good, baselines, factor, patience)
    return Score(
        name=name,
        accuracy=fmean(run.accuracy for run in good),
        verdicts=[_verdict(run, good, baselines, factor, patience) for run in runs if run.plan.fault != HEALTHY.name],
        alarms={way: sum(fired) for way, fired in alarms.items()},
        comparisons={way: len(fired) for way, fired in alarms.items()},
    )


def total(name: str, scores: list[Score]) -> Score:
    """Return the sum of one or more scores, with the mean of their accuracies."""
    return Score(
        name=name,
        accuracy=fmean(score.accuracy for score in scores),
        verdicts=[verdict for score in scores for verdict in score.verdicts],
        alarms={way: sum(score.alarms[way] for score in scores) for way in WAYS},
        comparisons={way: sum(score.comparisons[way] for score in scores) for way in WAYS},
    )


def is_harmful(run: Run, good: list[Run]) -> bool:
    """Return whether a faulty run tests worse than the good ones do, or leaves a tensor untrained that they train."""
    if run.accuracy < fmean(other.accuracy for other in good) - LOST_ACCURACY:
        return True
    half = run.plan.steps // 2
    return any(
        _last_move(values) < half and all(_last_move(other.ratios[name]) >= half for other in good)
        for name, values in run.ratios.items()
        if name in good[0].ratios
    )


def _last_move(values: np.ndarray) -> int:
    """Return the last step at which a tensor moved; 0 where it never did. What is not finite moved."""
    moved = np.flatnonzero(~(values < RESTING))
    return int(moved[-1]) + 1 if len(moved) else 0


def _verdict(run: Run, good: list[Run], baselines: list[Baseline], factor: float, patience: int) -> Verdict:
    """Return the verdict on a faulty run: each good run alone is a baseline, and as many threes of them are."""
    count = len(good)
    threes = [[baselines[(first + step) % count] for step in (0, 1, 3)] for first in range(count)]
    firing = {
        DEFAULT: float(fires(run, None)),
        ONE: fmean(fires(run, one, factor, patience) for one in baselines),
        THREE: fmean(fires(run, merged(three), factor, patience) for three in threes),
    }
    return Verdict(run.plan.setup, run.plan.fault, is_harmful(run, good), firing)


def _alarms(good: list[Run], baselines: list[Baseline], factor: float, patience: int) -> dict[str, list[bool]]:
    """Return whether good runs fire: against each of the others, and against all threes of the others."""
    found: dict[str, list[bool]] = {way: [] for way in WAYS}
    for number, run in enumerate(good):
        others = baselines[:number] + baselines[number + 1 :]
        found[DEFAULT].append(fires(run, None))
        found[ONE] += [fires(run, one, factor, patience) for one in others]
        found[THREE] += [fires(run, merged(list(three)), factor, patience) for three in combinations(others, 3)]
    return found
