"""What a person is told is wrong: runs made with known faults, and the findings that the contract has for them."""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import TrialWriter, event_file, needs_writing, run_command
from tests.findings.made_runs import judged_report, made_baseline
from tests.sick_runs import sick_resnet, sick_transformer
from weight_update_ratio import check_trial
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.report import Report
from weight_update_ratio.verdict.baseline import Baseline
from weight_update_ratio.verdict.baseline_file import baseline_text

OK, LARGE, SMALL, NAN, INF = 1e-3, 50.0, 1e-9, math.nan, math.inf
WELL = {"h1": [OK] * 20, "h2": [2 * OK] * 20}  # two tensors that train well
W0 = ("worker_0",)


class Told(NamedTuple):
    """A finding in its numbers."""

    kind: str
    tensors: tuple[str, ...]
    workers: tuple[str, ...]
    first_step: int
    last_step: int
    count: int


def told(report: Report) -> set[Told]:
    """Return the findings of a report, in their numbers; none is there twice."""
    found = [
        Told(each.kind, tuple(each.tensors), tuple(each.workers), each.first_step, each.last_step, each.count)
        for each in report.findings
    ]
    assert len(set(found)) == len(found)
    return set(found)


def faded(first: float, last: float, steps: int) -> list[float]:
    """Return ratios that fall evenly in decades."""
    return [float(ratio) for ratio in np.geomspace(first, last, steps)]


def at_steps(length: int, ratio: float, *steps: int, well: float = OK) -> list[float]:
    """Return ratios of a tensor that trains well but at some steps."""
    return [ratio if step in steps else well for step in range(1, length + 1)]


class Case(NamedTuple):
    """A run of one tensor "a" next to two that train well, and what is told of it: (kind, first, last, count)."""

    ratios: list[float]
    expected: set[tuple[str, int, int, int]]
    zero_weights: tuple[int, ...] = ()


ONE_TENSOR = {
    "well": Case([OK] * 20, set()),
    "frozen": Case([0] * 20, {("frozen", 1, 20, 20)}),
    "frozen, saved once": Case([0], {("frozen", 1, 1, 1)}),
    "not yet": Case([0] * 6 + [OK] * 14, {("not_yet", 1, 6, 6)}),
    "not yet, one step": Case([0] + [OK] * 19, {("not_yet", 1, 1, 1)}),
    "stopped": Case([OK] * 14 + [0] * 6, {("stopped", 15, 20, 6)}),
    "stopped at the last step": Case([OK] * 19 + [0], {("stopped", 20, 20, 1)}),
    "not yet, and stopped": Case([0] * 5 + [OK] * 10 + [0] * 5, {("not_yet", 1, 5, 5), ("stopped", 16, 20, 5)}),
    "resting once": Case(at_steps(20, 0, 8), {("resting", 8, 8, 1)}),
    "resting twice": Case(at_steps(20, 0, 8, 9, 15), {("resting", 8, 15, 3)}),
    "resting at both ends too": Case(at_steps(20, 0, 1, 2, 10, 19, 20), {("resting", 1, 20, 5)}),
    "longer at the ends than twice the rest": Case(
        at_steps(20, 0, 1, 2, 3, 10, 18, 19, 20), {("not_yet", 1, 3, 3), ("resting", 10, 10, 1), ("stopped", 18, 20, 3)}
    ),
    "too large to the end": Case([OK] * 10 + [LARGE] * 10, {("too_large", 11, 20, 10)}),
    "too large from the start": Case([LARGE] * 2 + [OK] * 18, {("too_large", 1, 2, 2)}),
    "too large at the first step": Case(at_steps(20, LARGE, 1), {("too_large", 1, 1, 1)}),
    "too large at the last step": Case(at_steps(20, LARGE, 20), {("too_large", 20, 20, 1)}),
    "too large at the last steps": Case(at_steps(20, LARGE, 18, 19, 20), {("too_large", 18, 20, 3)}),
    "too large at all steps": Case([LARGE] * 20, {("too_large", 1, 20, 20)}),
    "too large, saved once": Case([LARGE], {("too_large", 1, 1, 1)}),
    "spike": Case(at_steps(20, LARGE, 8), {("spike", 8, 8, 1)}),
    "spike next to the first": Case(at_steps(20, LARGE, 2), {("spike", 2, 2, 1)}),
    "spike next to the last": Case(at_steps(20, LARGE, 19), {("spike", 19, 19, 1)}),
    "spike of three": Case(at_steps(20, LARGE, 8, 9, 10), {("spike", 8, 10, 3)}),
    "four are no spike": Case(at_steps(20, LARGE, 8, 9, 10, 11), {("too_large", 8, 11, 4)}),
    "two spikes": Case(at_steps(20, LARGE, 8, 14, 15), {("spike", 8, 15, 3)}),
    "two spikes with one step between": Case(at_steps(20, LARGE, 8, 10), {("spike", 8, 10, 2)}),
    "spike, then too large": Case(
        at_steps(20, LARGE, 4, 10, 11, 12, 13), {("spike", 4, 4, 1), ("too_large", 10, 13, 4)}
    ),
    "spike, too large at the end": Case(at_steps(20, LARGE, 4, 20), {("spike", 4, 4, 1), ("too_large", 20, 20, 1)}),
    "spike away from a rest": Case(
        at_steps(20, LARGE, 8)[:12] + at_steps(8, 0, 3), {("spike", 8, 8, 1), ("resting", 15, 15, 1)}
    ),
    "too small": Case([SMALL] * 20, {("too_small", 1, 20, 20)}),
    "too small at one step": Case(at_steps(20, SMALL, 8), {("too_small", 8, 8, 1)}),
    "too small, then well": Case([SMALL] * 5 + [OK] * 15, {("too_small", 1, 5, 5)}),
    "too small, saved once": Case([SMALL], {("too_small", 1, 1, 1)}),
    "vanishing": Case(faded(1e-3, 1e-7, 15) + faded(9e-9, 1e-11, 5), {("vanishing", 16, 20, 5)}),
    "vanishing through the bound to 0": Case(
        faded(1e-3, 1e-7, 12) + faded(9e-9, 1e-10, 4) + [0] * 4, {("vanishing", 13, 20, 8)}
    ),
    "vanishing by two decades more than the others": Case(faded(1e-3, 1e-6, 15) + [0] * 5, {("vanishing", 16, 20, 5)}),
    "fallen by one decade only": Case(faded(1e-3, 1e-4, 15) + [0] * 5, {("stopped", 16, 20, 5)}),
    "zero start": Case([1e6] + [OK] * 19, {("zero_start", 1, 1, 1)}, (1,)),
    "zero start, then a spike": Case(
        [1e6] + at_steps(19, LARGE, 9), {("zero_start", 1, 1, 1), ("spike", 10, 10, 1)}, (1,)
    ),
    "zero start, then large to the end": Case(
        [1e6] + [OK] * 9 + [LARGE] * 10, {("zero_start", 1, 1, 1), ("too_large", 11, 20, 10)}, (1,)
    ),
    "zero start after weights that stay zero": Case(
        [0, 0, 1e6] + [OK] * 17, {("not_yet", 1, 2, 2), ("zero_start", 3, 3, 1)}, (1, 2, 3)
    ),
    "weights that stay zero": Case([0] * 20, {("frozen", 1, 20, 20)}, tuple(range(1, 21))),
    "not finite": Case([OK] * 9 + [NAN] * 11, {("not_finite", 10, 20, 11)}),
    "infinite": Case([OK] * 9 + [INF] + [NAN] * 10, {("not_finite", 10, 20, 11)}),
    "not finite that comes and goes": Case(at_steps(20, NAN, 5, 11, 12), {("not_finite", 5, 12, 3)}),
    "not finite from the first": Case([NAN] * 20, {("not_finite", 1, 20, 20)}),
    "not finite, zero weights": Case([NAN] + [OK] * 19, {("not_finite", 1, 1, 1)}, (1,)),
    "large up to not finite": Case(
        [OK] * 7 + [LARGE] * 4 + [NAN] * 9, {("too_large", 8, 11, 4), ("not_finite", 12, 20, 9)}
    ),
    "one large step before not finite": Case(
        [OK] * 10 + [LARGE] + [NAN] * 9, {("too_large", 11, 11, 1), ("not_finite", 12, 20, 9)}
    ),
    "everything in one": Case(
        [0] * 6 + [OK] * 3 + [0] + [OK] * 3 + [LARGE] + [OK] * 3 + [SMALL] + [OK] * 2 + [LARGE] * 5 + [NAN] * 3,
        {
            ("not_yet", 1, 6, 6),
            ("resting", 10, 10, 1),
            ("spike", 14, 14, 1),
            ("too_small", 18, 18, 1),
            ("too_large", 21, 25, 5),
            ("not_finite", 26, 28, 3),
        },
    ),
}


@pytest.mark.parametrize("name", ONE_TENSOR)
def test_kinds_of_one_tensor(name: str) -> None:
    """Its own history tells; the two that train well have no part in it."""
    case = ONE_TENSOR[name]
    report = judged_report({**WELL, "a": case.ratios}, zero_weights=[("a", step) for step in case.zero_weights])
    assert {Told(kind, ("a",), W0, *steps) for kind, *steps in case.expected} == told(report)


class Mixture(NamedTuple):
    """A run of several tensors, and what is told of it."""

    ratios: dict[Any, Any]
    expected: set[Told]
    options: dict[str, Any] = {}  # noqa: RUF012  (never changed)


def noisy(level: Any, seed: int = 0, spread: float = 0.1) -> list[float]:
    """Return ratios of these levels with scatter, in decades; 0 stays 0."""
    level = np.asarray(level, float)
    return [float(ratio) for ratio in level * 10 ** np.random.default_rng(seed).normal(0, spread, len(level))]


def cosine(steps: int, most: float = OK) -> Any:
    """Return ratios of a cosine schedule that is exactly 0 at its last step."""
    level = most * (1 + np.cos(np.pi * np.arange(1, steps + 1) / steps)) / 2
    level[-1] = 0
    return level


def linear(steps: int, zeros: int, most: float = OK) -> Any:
    """Return ratios of a schedule that falls evenly to 0, and stays there."""
    return np.concatenate([most * np.arange(steps - zeros, 0, -1) / (steps - zeros), np.zeros(zeros)])


def accumulated(steps: int, every: int, phase: int = 0) -> list[float]:
    """Return ratios that are 0 but at each ``every``-th step."""
    return [OK if (step + phase) % every == 0 else 0.0 for step in range(1, steps + 1)]


TENSORS = ("a", "b", "c", "d", "e")
FOUR = tuple(f"worker_{number}" for number in range(4))


def alike(values: Any, tensors: Any = TENSORS, workers: Any = W0) -> dict[Any, Any]:
    """Return the same ratios for tensors of workers, or, of a function, each its own (by a number)."""
    keys = [(tensor, worker) for worker in workers for tensor in tensors]
    return {key: values(number) if callable(values) else values for number, key in enumerate(keys)}


def zeros_in(values: Any) -> int:
    return sum(ratio == 0 for ratio in values)


MIXTURES = {
    "nothing moves": Mixture(alike([0] * 20), {Told("nothing_moved", TENSORS, W0, 1, 20, 100)}),
    "nothing moves on any of four workers": Mixture(
        alike([0] * 20, workers=FOUR), {Told("nothing_moved", TENSORS, FOUR, 1, 20, 400)}
    ),
    "nothing moves on one worker": Mixture(
        {**alike([0] * 20), **alike([OK] * 20, workers=["worker_1"])}, {Told("frozen", TENSORS, W0, 1, 20, 100)}
    ),
    "nothing moves but one tensor, once": Mixture(
        {**alike([0] * 20), "f": at_steps(20, OK, 9, well=0)},
        {
            Told("frozen", TENSORS, W0, 1, 20, 100),
            Told("not_yet", ("f",), W0, 1, 8, 8),
            Told("stopped", ("f",), W0, 10, 20, 11),
        },
    ),
    "nothing moves but what is not finite": Mixture(
        {**alike([0] * 20), "f": [NAN] * 20},
        {Told("frozen", TENSORS, W0, 1, 20, 100), Told("not_finite", ("f",), W0, 1, 20, 20)},
    ),
    "accumulation of 2": Mixture(alike(accumulated(40, 2)), {Told("resting", TENSORS, W0, 1, 39, 100)}),
    "accumulation of 4": Mixture(alike(accumulated(40, 4)), {Told("resting", TENSORS, W0, 1, 39, 150)}),
    "accumulation of 8": Mixture(alike(accumulated(64, 8)), {Told("resting", TENSORS, W0, 1, 63, 280)}),
    "accumulation of 8 from its middle": Mixture(
        alike(accumulated(64, 8, 3)), {Told("resting", TENSORS, W0, 1, 64, 280)}
    ),
    "accumulation of 4 with a skip": Mixture(
        alike([0 if step == 20 else ratio for step, ratio in enumerate(accumulated(40, 4), 1)]),
        {Told("resting", TENSORS, W0, 1, 39, 155)},
    ),
    "loss scaler skips": Mixture(alike(at_steps(100, 0, 20, 21, 50)), {Told("resting", TENSORS, W0, 20, 50, 15)}),
    "warm-up of all from 0": Mixture(
        alike(lambda seed: noisy(np.arange(20) * 1e-4, seed)), {Told("not_yet", TENSORS, W0, 1, 1, 5)}
    ),
    "unfreezing of one": Mixture(
        {**alike([OK] * 20), "f": [0] * 10 + [OK] * 10}, {Told("not_yet", ("f",), W0, 1, 10, 10)}
    ),
    "cosine to 0": Mixture(alike(lambda seed: noisy(cosine(100), seed)), {Told("stopped", TENSORS, W0, 100, 100, 5)}),
    "linear to 0, and 5 at 0": Mixture(
        alike(lambda seed: noisy(linear(100, 5), seed)), {Told("stopped", TENSORS, W0, 96, 100, 25)}
    ),
    "decades down to 0": Mixture(  # below the bound before they are 0, all together
        alike(lambda seed: noisy(np.concatenate([np.geomspace(1e-3, 2e-8, 90), np.zeros(10)]), seed)),
        {Told("stopped", TENSORS, W0, 91, 100, 50)},
    ),
    "down to 0 through the bound, all together": Mixture(
        alike(faded(1e-3, 1e-10, 16) + [0] * 4), {Told("stopped", TENSORS, W0, 12, 20, 45)}
    ),
    "cosine with restarts": Mixture(
        alike(lambda seed: noisy(np.concatenate([cosine(50), cosine(50), cosine(50)]), seed)),
        {Told("resting", TENSORS, W0, 50, 150, 15)},
    ),
    "a layer fades while a schedule runs": Mixture(
        {
            **alike(lambda seed: noisy(cosine(100), seed)),
            "f": noisy(np.concatenate([cosine(90) * np.geomspace(1, 1e-4, 90), np.zeros(10)]), 9),
        },
        {Told("stopped", TENSORS, W0, 100, 100, 5), Told("vanishing", ("f",), W0, 81, 100, 20)},
    ),
    "frozen, rest, spike and NaN, each in another": Mixture(
        {
            "frozen": [0] * 1000,
            "rests": at_steps(1000, 0, 500),
            "spikes": at_steps(1000, LARGE, 401),
            "nan": [OK] * 985 + [NAN] * 15,
            "well": [OK] * 1000,
        },
        {
            Told("frozen", ("frozen",), W0, 1, 1000, 1000),
            Told("resting", ("rests",), W0, 500, 500, 1),
            Told("spike", ("spikes",), W0, 401, 401, 1),
            Told("not_finite", ("nan",), W0, 986, 1000, 15),
        },
    ),
    "explosion to NaN": Mixture(
        alike([OK] * 10 + [LARGE] * 5 + [NAN] * 5),
        {Told("too_large", TENSORS, W0, 11, 15, 25), Told("not_finite", TENSORS, W0, 16, 20, 25)},
    ),
    "spikes of steps that are near": Mixture(
        {"a": at_steps(20, LARGE, 8), "b": at_steps(20, LARGE, 11), "c": at_steps(20, LARGE, 9), "d": [OK] * 20},
        {Told("spike", ("a", "b", "c"), W0, 8, 11, 3)},
    ),
    "spikes of steps that are not": Mixture(
        {"a": at_steps(20, LARGE, 8), "b": at_steps(20, LARGE, 12), "d": [OK] * 20},
        {Told("spike", ("a",), W0, 8, 8, 1), Told("spike", ("b",), W0, 12, 12, 1)},
    ),
    "NaN that reaches one after the other": Mixture(  # each within 3 of the one before, not of the first
        {name: [OK] * (4 + 2 * at) + [NAN] * (16 - 2 * at) for at, name in enumerate("abcd")},
        {Told("not_finite", ("a", "b"), W0, 5, 20, 30), Told("not_finite", ("c", "d"), W0, 9, 20, 22)},
    ),
    "stopped and large at the same steps are two": Mixture(
        {"a": [OK] * 10 + [0] * 10, "b": [OK] * 10 + [LARGE] * 10, "c": [OK] * 20},
        {Told("stopped", ("a",), W0, 11, 20, 10), Told("too_large", ("b",), W0, 11, 20, 10)},
    ),
    "a layer frozen on one worker of four": Mixture(
        {**alike([OK] * 20, workers=FOUR), ("a", "worker_2"): [0] * 20, ("b", "worker_2"): [0] * 20},
        {Told("frozen", ("a", "b"), ("worker_2",), 1, 20, 40)},
    ),
    "workers that stop one after the other": Mixture(
        {("a", worker): [OK] * (10 * at + 10) + [0] * (50 - 10 * at) for at, worker in enumerate(FOUR)},
        {Told("stopped", ("a",), (worker,), 10 * at + 11, 60, 50 - 10 * at) for at, worker in enumerate(FOUR)},
    ),
    "workers that stop at nearly one time": Mixture(
        {
            **alike([OK] * 60, workers=FOUR),
            **{("a", worker): [OK] * (10 + at) + [0] * (50 - at) for at, worker in enumerate(FOUR)},
        },
        {Told("stopped", ("a",), FOUR, 11, 60, 50 + 49 + 48 + 47)},
    ),
    "tensors of the same steps on other workers": Mixture(
        {
            **alike([OK] * 20, workers=FOUR),
            **{("a", worker): at_steps(20, LARGE, 8) for worker in FOUR},
            ("b", "worker_1"): at_steps(20, LARGE, 8),
        },
        {Told("spike", ("a",), FOUR, 8, 8, 4), Told("spike", ("b",), ("worker_1",), 8, 8, 1)},
    ),
    "eight spikes far from each other": Mixture(
        {**{f"t{at}": at_steps(100, LARGE, 10 * at) for at in range(1, 9)}, "h": [OK] * 100},
        {
            *(Told("spike", (f"t{at}",), W0, 10 * at, 10 * at, 1) for at in range(1, 6)),
            Told("spike", ("t6", "t7", "t8"), W0, 60, 80, 3),
        },
    ),
    "six spikes far from each other": Mixture(
        {**{f"t{at}": at_steps(100, LARGE, 10 * at) for at in range(1, 7)}, "h": [OK] * 100},
        {Told("spike", (f"t{at}",), W0, 10 * at, 10 * at, 1) for at in range(1, 7)},
    ),
    "saved at other intervals": Mixture(
        {
            "a": dict.fromkeys(range(10, 101, 10), 0),
            "b": {step: LARGE if step == 50 else OK for step in range(5, 101, 5)},
            "c": {step: OK if step < 50 else 0 for step in range(2, 101, 2)},
            "h": [OK] * 100,
        },
        {
            Told("frozen", ("a",), W0, 10, 100, 10),
            Told("spike", ("b",), W0, 50, 50, 1),
            Told("stopped", ("c",), W0, 50, 100, 26),
        },
        {"gaps": {"a": 10, "b": 5, "c": 2}},
    ),
    "steps that were not compared do not end a spike": Mixture(
        {"a": [OK] * 5 + [None] * 3 + [LARGE] + [None] * 3 + [OK] * 8, "h": [OK] * 20},
        {Told("spike", ("a",), W0, 9, 9, 1)},
    ),
    "one tensor that never moves": Mixture({"a": [0] * 20}, {Told("nothing_moved", ("a",), W0, 1, 20, 20)}),
    "one tensor that stops": Mixture({"a": [OK] * 10 + [0] * 10}, {Told("stopped", ("a",), W0, 11, 20, 10)}),
    "one tensor that fades below its bound and is 0": Mixture(
        {"a": faded(1e-3, 1e-10, 16) + [0] * 4}, {Told("vanishing", ("a",), W0, 12, 20, 9)}
    ),
    "one comparison of 0": Mixture({"a": [0]}, {Told("nothing_moved", ("a",), W0, 1, 1, 1)}),
    "one comparison too large": Mixture({"a": [LARGE]}, {Told("too_large", ("a",), W0, 1, 1, 1)}),
    "one comparison that is well": Mixture({"a": [OK]}, set()),
    "two tensors, one frozen": Mixture({"a": [0] * 9, "b": [OK] * 9}, {Told("frozen", ("a",), W0, 1, 9, 9)}),
    "two tensors, one vanishes": Mixture(
        {"a": faded(1e-3, 1e-7, 15) + [0] * 5, "b": [OK] * 20}, {Told("vanishing", ("a",), W0, 16, 20, 5)}
    ),
    "zero-initialised biases": Mixture(
        {**alike([1e6] + [OK] * 19, ["x.bias", "y.bias"]), "x.weight": [OK] * 20, "y.weight": [OK] * 20},
        {Told("zero_start", ("x.bias", "y.bias"), W0, 1, 1, 2)},
        {"zero_weights": [("x.bias", 1), ("y.bias", 1)]},
    ),
    "a step that waits for 3, for violations that last and that do not": Mixture(
        {
            "a": at_steps(20, LARGE, 5, 6),
            "b": at_steps(20, LARGE, 5, 6, 7),
            "c": at_steps(20, LARGE, 5, 6, 7, 8),
            "d": at_steps(20, LARGE, 5, 12, 13, 14, 15),
            "h": [OK] * 20,
        },
        {
            Told("spike", ("b",), W0, 5, 7, 3),
            Told("too_large", ("c",), W0, 5, 8, 4),
            Told("too_large", ("d",), W0, 12, 15, 4),
        },
        {"parameters": Parameters(patience=3)},
    ),
    "accumulation of 2 with a patience of 3": Mixture(
        alike(accumulated(40, 2)), set(), {"parameters": Parameters(patience=3)}
    ),
    "accumulation of 4 with a patience of 3": Mixture(
        alike(accumulated(40, 4)), {Told("resting", TENSORS, W0, 1, 39, 150)}, {"parameters": Parameters(patience=3)}
    ),
    "a row of other verdicts with a patience of 3": Mixture(
        {"a": [OK] * 5 + [LARGE, 0, LARGE] + [OK] * 5, "b": [OK] * 13},
        {Told("too_large", ("a",), W0, 6, 8, 2), Told("resting", ("a",), W0, 7, 7, 1)},
        {"parameters": Parameters(patience=3)},
    ),
    "NaN fires alone with a patience of 3": Mixture(
        {"a": [OK] * 5 + [LARGE, NAN] + [OK] * 5, "b": [OK] * 12},
        {Told("not_finite", ("a",), W0, 7, 7, 1)},
        {"parameters": Parameters(patience=3)},
    ),
    "thresholds of its own": Mixture(
        {"a": at_steps(20, 0.5, 8), "b": [1e-5] * 20, "h": [OK] * 20},
        {Told("spike", ("a",), W0, 8, 8, 1), Told("too_small", ("b",), W0, 1, 20, 20)},
        {"parameters": Parameters(small_threshold=1e-4, large_threshold=0.1)},
    ),
    "a small threshold of 0 allows zeros": Mixture(
        {"a": [0] * 20, "b": at_steps(20, 0, 5), "h": [OK] * 20}, set(), {"parameters": Parameters(small_threshold=0)}
    ),
}


@pytest.mark.parametrize("name", MIXTURES)
def test_mixtures(name: str) -> None:
    """Each tensor's own faults, folded where kind, workers and steps are the same."""
    ratios, expected, options = MIXTURES[name]
    assert expected == told(judged_report(ratios, **options))


class TestBaseline:
    """Its bounds take the place of the thresholds, where it knows the tensor."""

    PATIENT = Parameters(baseline=("good",))  # so 3 in a row
    AT_ONCE = Parameters(baseline=("good",), patience=1)

    @staticmethod
    def good(**levels: float) -> Baseline:
        """Return a baseline of tensors that were at one level at all of their steps, until step 32 and on."""
        return made_baseline({name: (1, dict.fromkeys(range(8), (level, level))) for name, level in levels.items()})

    def test_a_layer_that_rests_there_and_here(self) -> None:
        """Its bounds allow zero: no violation, and no finding."""
        report = judged_report({"a": [0] * 20, "b": [OK] * 20}, self.AT_ONCE, self.good(a=0.0, b=OK))
        assert set() == told(report)

    def test_a_layer_that_rests_there_and_moves_here(self) -> None:
        report = judged_report({"a": [OK] * 20, "b": [OK] * 20}, self.PATIENT, self.good(a=0.0, b=OK))
        assert {Told("too_large", ("a",), W0, 1, 20, 20)} == told(report)

    def test_a_layer_that_moves_there_and_rests_here(self) -> None:
        report = judged_report({"a": [0] * 20, "b": [OK] * 20}, self.PATIENT, self.good(a=OK, b=OK))
        assert {Told("frozen", ("a",), W0, 1, 20, 20)} == told(report)
        assert "expected 3.3e-04 to 3e-03" in report.findings[0].text

    def test_narrow_bounds(self) -> None:
        """A spike is one of three times the good run's, and a fade ends at a third of it."""
        ratios = {"a": at_steps(20, 4e-3, 8), "b": faded(OK, 1e-5, 20), "c": [1e-4] * 20, "d": [OK] * 20}
        report = judged_report(ratios, self.AT_ONCE, self.good(a=OK, b=OK, c=OK, d=OK))
        assert {
            Told("spike", ("a",), W0, 8, 8, 1),
            Told("vanishing", ("b",), W0, 6, 20, 15),
            Told("too_small", ("c",), W0, 1, 20, 20),
        } == told(report)

    def test_violations_that_do_not_last(self) -> None:
        ratios = {"a": at_steps(20, 4e-3, 8, 9), "b": at_steps(20, 4e-3, 8, 9, 10), "d": [OK] * 20}
        report = judged_report(ratios, self.PATIENT, self.good(a=OK, b=OK, d=OK))
        assert {Told("spike", ("b",), W0, 8, 10, 3)} == told(report)

    def test_a_tensor_that_it_does_not_know(self) -> None:
        report = judged_report({"a": [1.0] * 20, "b": [1.0] * 20}, self.AT_ONCE, self.good(a=OK))
        assert {Told("too_large", ("a",), W0, 1, 20, 20)} == told(report)


def firing_violations(report: Report, patience: int) -> int:
    """Return how many violations fire or lead up to one that does, by the words of the contract."""
    count = 0
    for values in by_key(report).values():
        row: list[str] = []
        for verdict in [*values, "ok"]:
            if verdict != "ok":
                row.append(verdict)
                continue
            count += len(row) if len(row) >= patience else row.count("not_finite")
            row = []
    return count


def by_key(report: Report) -> dict[tuple[str, str], list[str]]:
    """Return the verdicts of each tensor and worker, by global step."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in sorted(report, key=lambda row: row.global_step):
        found.setdefault((row.tensor, row.worker), []).append(row.verdict)
    return found


QUICK = settings(deadline=None)  # a busy machine is no failure


class TestProperties:
    RATIO = st.one_of(st.none(), st.sampled_from([0, 0, 1e-9, 1e-7, 1e-5, OK, OK, OK, LARGE, 1e6, NAN, INF]))
    KEYS = st.tuples(st.sampled_from("abcd"), st.sampled_from(["w0", "w1"]))
    RUNS = st.dictionaries(KEYS, st.lists(RATIO, min_size=1, max_size=14), min_size=1, max_size=8)
    PATIENCE = st.sampled_from([1, 1, 2, 3])

    @staticmethod
    def zero_weights(run: Any) -> list[tuple[str, int]]:
        return [(tensor, step) for (tensor, _), own in run.items() for step, r in enumerate(own, 1) if r == 1e6]

    @QUICK
    @given(RUNS, PATIENCE, st.booleans())
    def test_each_violation_that_fires_is_in_one_finding(self, run: Any, patience: int, zero: bool) -> None:
        """Counts add up, steps are extremes of theirs, and of a kind are at most six."""
        options = {"zero_weights": self.zero_weights(run) if zero else ()}
        report = judged_report(run, Parameters(patience=patience), **options)
        findings = report.findings
        assert firing_violations(report, patience) == sum(finding.count for finding in findings)
        assert all(sum(other.kind == finding.kind for other in findings) <= 6 for finding in findings)
        rows = {(row.tensor, row.worker, row.step): row for row in report if row.verdict != "ok"}
        for finding in findings:
            own = [key for key in rows if key[0] in finding.tensors and key[1] in finding.workers]
            assert {finding.first_step, finding.last_step} <= {step for _, _, step in own}
            worst = [rows[key] for key in own if key[0] == finding.worst_tensor and key[2] == finding.worst_step]
            assert any(repr(row.ratio) == repr(finding.worst_ratio) for row in worst)
            assert finding.first_step <= finding.worst_step <= finding.last_step
            assert finding.text.endswith(".")
            assert finding.advice.endswith(".")
            assert "\n" not in finding.text + finding.advice

    @QUICK
    @given(RUNS, PATIENCE, st.randoms(use_true_random=False))
    def test_the_order_of_the_rows_of_a_step_does_not_matter(self, run: Any, patience: int, random: Any) -> None:
        """Workers and tensors have no rank."""
        parameters = Parameters(patience=patience)
        expected = judged_report(run, parameters).findings
        assert repr([finding.as_dict() for finding in expected]) == repr(
            [finding.as_dict() for finding in judged_report(run, parameters, shuffle=random).findings]
        )

    @QUICK
    @given(RUNS, st.sampled_from([0.25, 0.5, 2.0]))
    def test_a_scale_changes_no_kind_of_zeros(self, run: Any, scale: float) -> None:
        """Ratios within the bounds stay there."""
        well = {key: [r if r in (0, None) else OK for r in own] for key, own in run.items()}
        scaled = {key: [r and r * scale for r in own] for key, own in well.items()}
        assert told(judged_report(well)) == told(judged_report(scaled))

    @QUICK
    @given(RUNS)
    def test_zeros_by_the_words_of_the_contract(self, run: Any) -> None:
        """Of tensors that are well where they are not zero."""
        well = {key: [r if r in (0, None) else OK for r in own] for key, own in run.items()}
        found: dict[tuple[str, str], set[tuple[str, int, int, int]]] = {key: set() for key in well}
        moved = any(r for own in well.values() for r in own)
        for key, own in well.items():
            at = [(step, r == 0) for step, r in enumerate(own, 1) if r is not None]
            rests = [list(group) for _, group in groupby(at, key=lambda part: part[1])]
            steps = [[step for step, _ in rest] for rest in rests if rest[0][1]]
            if not steps:
                continue
            if len(rests) == 1:
                found[key].add(entry("frozen" if moved else "nothing_moved", steps[0]))
                continue
            first, last = rests[0][0][1], rests[-1][0][1]
            longest = max([0, *map(len, steps[first : len(steps) - last])])
            if first and len(steps[0]) > 2 * longest:
                found[key].add(entry("not_yet", steps.pop(0)))
            if last and len(steps[-1]) > 2 * longest:
                found[key].add(entry("stopped", steps.pop()))
            if steps:
                found[key].add(entry("resting", [step for rest in steps for step in rest]))
        told_of: dict[tuple[str, str], set[str]] = {key: set() for key in well}
        for finding in judged_report(well).findings:
            for tensor in finding.tensors:
                for worker in finding.workers:
                    told_of[tensor, worker].add(finding.kind)
                    (own_entry,) = [each for each in found[tensor, worker] if each[0] == finding.kind]
                    assert finding.first_step <= own_entry[1] <= own_entry[2] <= finding.last_step
        assert {key: {kind for kind, *_ in entries} for key, entries in found.items()} == told_of


def entry(kind: str, steps: list[int]) -> tuple[str, int, int, int]:
    return kind, steps[0], steps[-1], len(steps)


def weights_of(ratios: Any, start: float = 1.0) -> list[Any]:
    """Return weights whose updates have these ratios, as float64."""
    weights = [np.full(3, start)]
    for ratio in ratios:
        weights.append(weights[-1] * (1 + ratio) if math.isfinite(ratio) else np.full(3, ratio))
    return weights


SICK = {
    "enc.0.weight": [OK] * 60,
    "enc.1.weight": at_steps(60, 0, 8, 11, 12, 13),
    "enc.2.weight": [0] * 60,
    "enc.3.weight": at_steps(60, 20.0, 9, 10, 11),
    "head.weight": [OK] * 42 + [20.0] * 5 + [NAN] * 13,
    "head.bias": faded(1e-3, 1e-9, 40) + [0] * 20,
}


@needs_writing
class TestTrialFolders:
    """Real folders, through every door."""

    WORKERS = ("worker_0", "worker_1")
    EXPECTED: ClassVar[set[Told]] = {
        Told("not_finite", ("head.weight",), WORKERS, 48, 60, 26),
        Told("too_large", ("head.weight",), WORKERS, 43, 47, 10),
        Told("vanishing", ("head.bias",), WORKERS, 34, 60, 54),
        Told("frozen", ("enc.2.weight",), WORKERS, 1, 60, 120),
        Told("spike", ("enc.3.weight",), WORKERS, 9, 11, 6),
        Told("resting", ("enc.1.weight",), WORKERS, 8, 13, 8),
    }

    @pytest.fixture
    def sick(self, tmp_path: Path) -> Path:
        """Give a trial of two workers, whose weights are the same."""
        writer = TrialWriter(tmp_path / "sick").collections({"weights": list(SICK)}, workers=self.WORKERS)
        weights = {name: weights_of(ratios) for name, ratios in SICK.items()}
        for step in range(61):
            for worker in self.WORKERS:
                writer.save(step, {name: own[step] for name, own in weights.items()}, "TRAIN", step, worker)
        return writer.end().path

    def test_the_function(self, sick: Path) -> None:
        assert self.EXPECTED == told(check_trial(sick))

    def test_the_command(self, sick: Path) -> None:
        """Its JSON is strict, and has the findings in the order of their urgency."""
        result = run_command("check", sick, "--format", "json")
        assert 1 == result.returncode
        document = json.loads(result.stdout, parse_constant=lambda name: pytest.fail(name))
        findings = document["findings"]
        names = ("kind", "tensors", "workers", "first_step", "last_step", "count")
        found = [[finding[name] for name in names] for finding in findings]
        assert self.EXPECTED == {
            Told(kind, tuple(tensors), tuple(workers), *steps) for kind, tensors, workers, *steps in found
        }
        assert ["not_finite", "too_large", "vanishing", "frozen", "spike", "resting"] == [row[0] for row in found]
        also = ["worst_ratio", "worst_step", "worst_tensor", "text", "advice"]
        assert all([*names, *also] == list(finding) for finding in findings)
        assert ("nan", 48, "head.weight") == tuple(findings[0][name] for name in also[:3])
        assert "after updates that were too large from step 43 on" in findings[0]["text"]

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"patience": 3},
            {"num_steps": 3},
            {"start_step": 11},
            {"start_step": 11, "patience": 3},
            {"end_step": 30},
        ],
    )
    def test_ranges_on_an_executor(self, sick: Path, options: Any) -> None:
        with ThreadPoolExecutor(3) as executor:
            report = check_trial(sick, executor=executor, **options)
        assert report.findings
        assert json.loads(report.to_json()) == json.loads(check_trial(sick, **options).to_json())

    def test_patience(self, sick: Path) -> None:
        """The single rest at step 8 passes."""
        rest = Told("resting", ("enc.1.weight",), self.WORKERS, 11, 13, 6)
        assert (self.EXPECTED - {Told("resting", ("enc.1.weight",), self.WORKERS, 8, 13, 8)}) | {rest} == told(
            check_trial(sick, patience=3)
        )

    def test_a_window_of_steps(self, sick: Path) -> None:
        """What fired before start_step is not told; rows in it are as they are."""
        report = check_trial(sick, start_step=9, end_step=20, patience=3)
        assert {
            Told("frozen", ("enc.2.weight",), self.WORKERS, 9, 19, 22),
            Told("too_large", ("enc.3.weight",), self.WORKERS, 9, 11, 6),  # with nothing before it
            Told("resting", ("enc.1.weight",), self.WORKERS, 11, 13, 6),
        } == told(report)

    @pytest.mark.parametrize("every", [2, 4, 8])
    @pytest.mark.parametrize("phase", [0, 1])
    def test_the_advice_for_accumulation_helps(self, write_trial: Any, every: int, phase: int) -> None:
        """num_steps and start_step as they are given let the run pass."""
        ratios = accumulated(40, every, phase)
        trial = write_trial({name: weights_of(ratios) for name in "ab"}).path
        (finding,) = check_trial(trial).findings
        assert Told("resting", ("a", "b"), W0, 1 + (every == 2 and phase), 40 - (not phase), 2 * zeros_in(ratios)) == (
            Told(*finding[:6])
        )
        assert f"num_steps={every} with start_step={every}" in finding.advice
        assert [] == check_trial(trial, num_steps=every, start_step=every).findings

    def test_over_three_steps(self, write_trial: Any) -> None:
        """A ratio spans three updates, so a spike is seen three times, and a rest of one step never."""
        ratios = {"a": at_steps(30, LARGE, 15), "b": at_steps(30, 0, 15), "c": [OK] * 30}
        report = check_trial(write_trial({name: weights_of(own) for name, own in ratios.items()}).path, num_steps=3)
        assert {Told("spike", ("a",), W0, 15, 17, 3)} == told(report)

    def test_steps_saved_again(self, trial_writer: Any) -> None:
        """A job that was resumed at step 5: its later rows stand."""
        writer = trial_writer().collections({"weights": ["a", "b"]})
        steps = [*range(8), *range(5, 12)]
        weights = weights_of([OK] * 30)
        for global_step, step in enumerate(steps):
            frozen = np.ones(3) if global_step < 8 else weights[global_step]
            writer.save(global_step, {"a": frozen, "b": weights[global_step]}, "TRAIN", step)
        assert {Told("not_yet", ("a",), W0, 1, 4, 4)} == told(check_trial(writer.end().path))

    def test_unreadable_records_in_between(self, write_trial: Any) -> None:
        """They neither break a row nor add to it; the step after has no certain reference."""
        ratios = {"a": at_steps(20, LARGE, 9, 12), "b": [OK] * 20}
        trial = write_trial({name: weights_of(own) for name, own in ratios.items()}).path
        event_file(trial, 10).write_bytes(b"")
        report = check_trial(trial)
        assert report.unreadable
        assert {Told("spike", ("a",), W0, 9, 12, 2)} == told(report)


def test_a_run_that_cannot_be_held_against_its_baseline(tmp_path: Path, write_trial: Any) -> None:
    """Only what is not finite is told."""
    ratios = {"a": [OK] * 3 + [NAN] * 3, "b": [0] * 6}
    trial = write_trial({name: weights_of(own) for name, own in ratios.items()}).path
    (tmp_path / "other.json").write_text(baseline_text(made_baseline({"other": (1, {0: (0.5, 0.5)})})))
    report = check_trial(trial, baseline=tmp_path / "other.json")
    assert {Told("not_finite", ("a",), W0, 4, 6, 3)} == told(report)


def test_nothing_is_told_of_an_empty_run() -> None:
    assert [] == judged_report({"a": [None]}).findings


@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("made", "kinds"),
    [
        (sick_resnet, ["not_finite", "vanishing", "frozen", "spike", "not_yet", "resting"]),
        (sick_transformer, ["too_large", "stopped", "zero_start", "resting"]),
    ],
)
def test_large_sick_runs(made: Any, kinds: list[str]) -> None:
    """All violations are in a finding, the most urgent first."""
    report = made(250)
    assert kinds == list(dict.fromkeys(finding.kind for finding in report.findings))
    assert report.counts["violations"] == sum(finding.count for finding in report.findings)


def test_a_finding_shows_what_happened() -> None:
    (finding,) = judged_report({"a": at_steps(20, LARGE, 8), "b": [OK] * 20}).findings
    assert f"<Finding spike: {finding.text}>" == repr(finding)
    assert "<Finding spike: a>" == repr(finding._replace(text=""))
