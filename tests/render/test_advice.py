"""What a person is told: what happened, with its numbers, and what to do, which is true for the case."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.judge.made_runs import judged_report, made_baseline
from tests.judge.test_findings import (
    FOUR,
    INF,
    LARGE,
    NAN,
    OK,
    SMALL,
    WELL,
    accumulated,
    alike,
    at_steps,
    cosine,
    faded,
    linear,
    noisy,
    weights_of,
)
from weight_update_ratio import check_trial
from weight_update_ratio.judge.findings import Finding
from weight_update_ratio.judge.kinds import KINDS
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.render.advice import TITLES, kinds_first
from weight_update_ratio.report import Report


def finding_of(report: Report, kind: str, tensor: str | None = None) -> Finding:
    """Return the only finding of a kind, or that of a tensor."""
    (found,) = [each for each in report.findings if each.kind == kind and (tensor is None or tensor in each.tensors)]
    return found


class Words(NamedTuple):
    """A run, and what a finding of it says, and what it does not say."""

    ratios: Any
    kind: str
    text: str
    advice: tuple[str, ...]
    never: tuple[str, ...] = ()
    options: dict[str, Any] = {}  # noqa: RUF012  (never changed)


GRADUAL = {**WELL, **{f"u{at}": [0] * (4 * at) + [OK] * (20 - 4 * at) for at in (1, 2)}}
WORDS = {
    "frozen": Words(
        {**WELL, "a": [0] * 20},
        "frozen",
        "a never moved, while others did: ratio 0 at TRAIN steps 1-20 (20 comparisons).",
        ("optimizer", "trainable", "exclude_regex", "baseline"),
        ("scaler", "learning rate"),
    ),
    "a forgotten layer, and one that rests": Words(
        {**WELL, "a": [0] * 20, "b": at_steps(20, 0, 8)}, "frozen", "a never moved", ("optimizer",), ("scaler",)
    ),
    "one that rests, and a forgotten layer": Words(
        {**WELL, "a": [0] * 20, "b": at_steps(20, 0, 8)},
        "resting",
        "b rested between moves: ratio 0 at TRAIN step 8.",
        ("gradient", "patience"),
        ("scaler", "optimizer", "num_steps"),
    ),
    "nothing moves": Words(
        alike([0] * 20),
        "nothing_moved",
        "All 5 tensors did not move: ratio 0 at TRAIN steps 1-20 (100 comparisons).",
        ("learning rate", "optimizer"),
        ("float16", "EVAL"),
    ),
    "nothing moves on four workers": Words(
        alike([0] * 2000, workers=FOUR),
        "nothing_moved",
        "All 5 tensors on all 4 workers did not move: ratio 0 at TRAIN steps 1-2000 (40,000 comparisons).",
        ("learning rate",),
    ),
    "EVAL steps alone": Words(alike([0] * 20), "nothing_moved", "did not move", ("EVAL", "TRAIN"), ("optimizer",)),
    "EVAL steps alone, five each time": Words(
        alike(accumulated(40, 5)), "resting", "rested", ("EVAL", "TRAIN"), ("num_steps", "accumulat", "scaler")
    ),
    "float16": Words(
        alike([0] * 20), "nothing_moved", "did not move", ("float16", "float32"), ("scaler",), {"dtypes": "float16"}
    ),
    "float16, of one layer": Words(
        {**WELL, "a": [0] * 20},
        "frozen",
        "never moved",
        ("float16", "float32"),
        (),
        {"dtypes": {"h1": "float32", "h2": "float32", "a": "float16"}},
    ),
    "float16 of others": Words(
        {**WELL, "a": [0] * 20},
        "frozen",
        "never moved",
        ("optimizer",),
        ("float16",),
        {"dtypes": {"h1": "float16", "h2": "float16", "a": "float32"}},
    ),
    "fades from 1.5e-3 to 0": Words(
        {**WELL, "a": faded(1.5e-3, 1e-10, 16) + [0] * 4},
        "vanishing",
        "a faded until too small at TRAIN steps 12-20 (9 comparisons): the worst ratio is 0 at step 17.",
        ("gradient", "saturated"),
        ("scaler", "skip"),
    ),
    "all fade": Words(
        alike(lambda seed: noisy(np.geomspace(1e-3, 1e-11, 60), seed)),
        "vanishing",
        "All 5 tensors faded until too small",
        ("schedule",),
        ("saturated", "scaler"),
    ),
    "stopped": Words(
        {**WELL, "a": [OK] * 14 + [0] * 6},
        "stopped",
        "a moved, and then no more: ratio 0 at TRAIN steps 15-20 (6 comparisons).",
        ("frozen", "gradient", "step 15"),
        ("schedule", "scaler"),
    ),
    "a schedule that ends at 0": Words(
        alike(lambda seed: noisy(cosine(100), seed)),
        "stopped",
        "All 5 tensors moved, and then no more: ratio 0 at TRAIN step 100 (5 comparisons).",
        ("learning rate", "schedule"),
        ("gradient", "scaler"),
    ),
    "a linear schedule that ends before the run": Words(
        alike(lambda seed: noisy(linear(100, 5), seed)), "stopped", "at TRAIN steps 96-100", ("schedule",), ("scaler",)
    ),
    "a schedule's end, and a frozen layer": Words(
        {**alike(lambda seed: noisy(cosine(100), seed)), "f": [0] * 100},
        "stopped",
        "a, b, c and 2 more moved",
        ("schedule",),
        ("gradient",),
    ),
    "warm-up from 0": Words(
        alike(lambda seed: noisy(np.arange(20) * 1e-4, seed)),
        "not_yet",
        "All 5 tensors did not move at first: ratio 0 at TRAIN step 1 (5 comparisons), and moved later.",
        ("warm-up", "learning rate", "start_step"),
        ("scaler", "unfrozen"),
    ),
    "unfrozen later": Words(
        {**WELL, "a": [0] * 6 + [OK] * 14},
        "not_yet",
        "a did not move at first: ratio 0 at TRAIN steps 1-6 (6 comparisons), and moved later.",
        ("unfrozen", "baseline"),
        ("warm-up", "scaler"),
    ),
    "accumulation": Words(
        alike(accumulated(64, 8)),
        "resting",
        "All 5 tensors rested between moves: ratio 0 at 280 comparisons between TRAIN steps 1 and 63.",
        ("num_steps=8 with start_step=8", "accumulated"),
        ("scaler",),
    ),
    "accumulation with a skip": Words(
        alike([0 if step == 20 else ratio for step, ratio in enumerate(accumulated(40, 4), 1)]),
        "resting",
        "All 5 tensors rested",
        ("num_steps=4 with start_step=4",),
    ),
    "accumulation, saved at every second step": Words(
        {name: {step: OK if step % 8 == 0 else 0 for step in range(2, 81, 2)} for name in "abc"},
        "resting",
        "All 3 tensors rested",
        ("num_steps=8 with start_step=8",),
        (),
        {"gaps": dict.fromkeys("abc", 2)},
    ),
    "a loss scaler": Words(
        alike(at_steps(100, 0, 20, 21, 50)), "resting", "ratio 0 at 15 comparisons", ("loss scaler",), ("num_steps",)
    ),
    "spike": Words(
        {**WELL, "a": at_steps(20, LARGE, 8)},
        "spike",
        "a moved too much for a moment, at TRAIN step 8 (1 comparison): the worst ratio is 50 at step 8.",
        ("batch", "clip"),
        ("warm",),
    ),
    "spike of several": Words(
        {**WELL, "a": at_steps(20, LARGE, 8), "b": at_steps(20, 2 * LARGE, 9)},
        "spike",
        "a, b moved too much for a moment, at TRAIN steps 8-9 (2 comparisons): the worst ratio is 100 at step 9 in b.",
        ("batch",),
    ),
    "large from the start": Words(
        {**WELL, "a": [LARGE] * 2 + [OK] * 18}, "too_large", "at TRAIN steps 1-2", ("learning rate", "warm")
    ),
    "large later": Words(
        {**WELL, "a": [OK] * 10 + [LARGE] * 10},
        "too_large",
        "a moved too much at TRAIN steps 11-20 (10 comparisons): the worst ratio is 50 at step 11.",
        ("step 11", "clip"),
        ("warm",),
    ),
    "too small": Words(
        {**WELL, "a": [SMALL] * 20},
        "too_small",
        "a moved too little at TRAIN steps 1-20 (20 comparisons): the worst ratio is 1e-09 at step 1.",
        ("gradient", "learning rate"),
        ("scaler",),
    ),
    "all too small": Words(alike([SMALL] * 20), "too_small", "All 5 tensors moved too little", ("learning rate",)),
    "zero start": Words(
        {**WELL, "a": [1e6] + [OK] * 19},
        "zero_start",
        "a moved from weights of zero at TRAIN step 1 (1 comparison): the worst ratio is 1e+06 at step 1.",
        ("start_step", "exclude_regex", "baseline"),
        ("Lower the learning rate",),
        {"zero_weights": [("a", 1)]},
    ),
    "not finite": Words(
        {**WELL, "a": [OK] * 9 + [NAN] * 11},
        "not_finite",
        "a became NaN or infinite at TRAIN steps 10-20 (11 comparisons).",
        ("NaN in the data", "overflow"),
        ("float16",),
    ),
    "not finite, float16": Words(
        {**WELL, "a": [OK] * 9 + [INF] * 11},
        "not_finite",
        "a became",
        ("overflow of float16",),
        (),
        {"dtypes": "float16"},
    ),
    "not finite after an explosion": Words(
        {**WELL, "a": [OK] * 7 + [LARGE] * 4 + [NAN] * 9},
        "not_finite",
        "at TRAIN steps 12-20 (9 comparisons), after updates that were too large from step 8 on.",
        ("learning rate", "clip"),
        ("data",),
    ),
    "not finite, nearly after an explosion": Words(
        {**WELL, "a": [OK] * 7 + [LARGE] * 4 + [OK] * 3 + [NAN] * 6},
        "not_finite",
        "too large from step 8 on",
        ("clip",),
    ),
    "not finite, long after an explosion": Words(
        {**WELL, "a": [OK] * 3 + [LARGE] * 4 + [OK] * 6 + [NAN] * 7}, "not_finite", "(7 comparisons).", ("data",)
    ),
    "not finite, long after a spike of another": Words(
        {"a": [OK] * 985 + [NAN] * 15, "b": at_steps(1000, LARGE, 401), "c": [OK] * 1000},
        "not_finite",
        "a became NaN or infinite at TRAIN steps 986-1000 (15 comparisons).",
        ("data",),
        ("large updates",),
    ),
    "on one worker": Words(
        {**alike([OK] * 20, workers=FOUR), ("a", "worker_2"): [0] * 20},
        "frozen",
        "a on worker_2 only never moved",
        ("optimizer",),
    ),
    "others": Words(
        {**{f"t{at}": at_steps(100, LARGE, 10 * at) for at in range(1, 9)}, "h": [OK] * 100},
        "spike",
        "Others (t6, t7, t8) moved too much",
        ("batch",),
    ),
    "against a baseline": Words(
        {"a": [0] * 20, "b": [OK] * 20},
        "frozen",
        "a never moved, while others did: ratio 0 at TRAIN steps 1-20 (20 comparisons), expected 3.3e-04 to 3e-03.",
        ("optimizer",),
        (),
        {
            "parameters": Parameters(baseline=("good",)),
            "baseline": made_baseline({name: (1, dict.fromkeys(range(8), (OK, OK))) for name in "ab"}),
        },
    ),
}


@pytest.mark.parametrize("name", WORDS)
def test_words(name: str) -> None:
    """The sentence of what happened, and the words of what to do."""
    ratios, kind, text, advice, never, options = WORDS[name]
    report = judged_report(ratios, **options)
    report.history.only_evaluated = name.startswith("EVAL")
    found = [each for each in report.findings if each.kind == kind and text in each.text]
    (finding,) = found or [finding_of(report, kind)]
    assert text in finding.text
    assert [] == [word for word in advice if word not in finding.advice]
    assert [] == [word for word in never if word in finding.text + finding.advice]


def test_every_kind_has_a_title() -> None:
    assert set(KINDS) == set(TITLES)


def test_no_kind_is_lost_where_not_all_have_room() -> None:
    """The first of each kind, by urgency, then the others."""
    ratios = {"a": at_steps(99, LARGE, 9), "b": at_steps(99, LARGE, 50), "c": [0] * 99, "d": at_steps(99, 0, 9)}
    findings = judged_report({**ratios, "h": [OK] * 99}).findings
    assert ["frozen", "spike", "spike", "resting"] == [finding.kind for finding in findings]
    shown = kinds_first(findings)
    assert ["frozen", "spike", "resting", "spike"] == [finding.kind for finding in shown]
    assert [9, 50] == [finding.first_step for finding in shown if finding.kind == "spike"]


class TestTrialFolders:
    """The type and the modes are those of the trial."""

    def test_float16_below_its_resolution(self, write_trial: Any) -> None:
        """Weights that move by 1e-4 a step in float64, and are saved as float16."""
        weights = [np.full(4, 1.0) * (1 + 1e-4) ** step for step in range(4)]
        report = check_trial(write_trial({"a": weights, "b": weights}, dtype=np.float16).path)
        finding = finding_of(report, "nothing_moved")
        assert "float16" in finding.advice

    def test_float16_beside_float32(self, write_trial: Any) -> None:
        weights = [np.full(4, 1.0) * (1 + 1e-4) ** step for step in range(4)]
        half = [own.astype(np.float16) for own in weights]
        report = check_trial(write_trial({"a": weights, "b": half}).path)
        finding = finding_of(report, "frozen")
        assert ("b",) == finding.tensors
        assert "float16" in finding.advice

    @pytest.mark.parametrize("modes", ["EVAL", "PREDICT", ["EVAL", "PREDICT"]])
    def test_eval_steps_alone(self, write_trial: Any, modes: Any) -> None:
        report = check_trial(write_trial({"a": [np.ones(3)] * 6, "b": [np.ones(3)] * 6}, modes=modes).path)
        finding = finding_of(report, "nothing_moved")
        assert "EVAL" in finding.advice
        assert "learning rate" not in finding.advice

    def test_train_steps_at_rest(self, write_trial: Any) -> None:
        """EVAL steps in between do not count."""
        path = write_trial({"a": [np.ones(3)] * 6, "b": [np.ones(3)] * 6}, modes=["TRAIN", "EVAL"]).path
        finding = finding_of(check_trial(path), "nothing_moved")
        assert "learning rate" in finding.advice
        assert "EVAL" not in finding.advice

    def test_one_comparison(self, write_trial: Any) -> None:
        report = check_trial(write_trial({"a": weights_of([NAN])}).path)
        assert ["a became NaN or infinite at TRAIN step 1 (1 comparison)."] == [each.text for each in report.findings]
        assert math.isnan(report.findings[0].worst_ratio)
