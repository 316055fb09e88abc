"""What a person is told: what happened, with its numbers, and what to do, which is true for the case."""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.findings.made_runs import judged_report, made_baseline
from tests.findings.test_findings import (
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
from weight_update_ratio.findings.findings import Finding
from weight_update_ratio.findings.kinds import KINDS
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.render.words.advice import TITLES, kinds_first
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
        "b rested between moves: ratio 0 at TRAIN step 8 (1 comparison).",
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
        "while others did: ratio 0 at TRAIN steps 1-20 (20 comparisons), expected 3.3e-04 to 3e-03 at step 1.",
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
    report.only_evaluated = name.startswith("EVAL")
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


class TestTrueForTheCase:
    """A cause is named only where the data shows it."""

    @staticmethod
    def parameters_of(finding: Finding) -> dict[str, int]:
        """Return the parameters that an advice gives."""
        return {name: int(number) for name, number in re.findall(r"(num_steps|start_step)=(\d+)", finding.advice)}

    def test_start_step_is_a_global_step(self, trial_writer: Any) -> None:
        """With an EVAL step after each TRAIN step, step k of the mode comes later than global step k."""
        writer = trial_writer().collections({"weights": ["a", "b"]})
        for step, weights in enumerate(weights_of(accumulated(40, 4))):
            for mode in ("TRAIN", "EVAL"):
                writer.save(2 * step + (mode == "EVAL"), {"a": weights, "b": weights}, mode)
        (finding,) = check_trial(writer.end().path).findings
        assert [] == check_trial(writer.path, **self.parameters_of(finding)).findings

    def test_start_step_of_a_job_that_begins_later(self, trial_writer: Any) -> None:
        """Step 1000 is the first that was saved: it goes on from a checkpoint."""
        writer = trial_writer().collections({"weights": ["a", "b"]})
        for step, weights in enumerate(weights_of(accumulated(40, 4)), 1000):
            writer.save(step, {"a": weights, "b": weights}, "TRAIN", step)
        (finding,) = check_trial(writer.end().path).findings
        assert [] == check_trial(writer.path, **self.parameters_of(finding)).findings

    def test_accumulation_where_one_tensor_rests_more_often(self) -> None:
        """It has the same first and last rest as the others, so it is in their finding."""
        often = [OK if step % 4 == 0 and step % 12 else 0 for step in range(1, 101)]
        finding = finding_of(judged_report({**alike(accumulated(100, 4)), "f": often}), "resting", "a")
        assert "num_steps=4" in finding.advice
        assert "scaler" not in finding.advice

    def test_accumulation_saved_as_float16(self) -> None:
        """What moves by 1e-3 at every fourth step is not below its resolution at the others."""
        finding = finding_of(judged_report(alike(accumulated(40, 4)), dtypes="float16"), "resting")
        assert "num_steps=4" in finding.advice

    def test_accumulation_over_more_steps_than_num_steps(self) -> None:
        """Over 3 steps, a run that accumulates 8 moves at 3 comparisons of 8: no loss scaler does that."""
        ratios = alike([OK if step % 8 < 3 and step > 2 else 0 for step in range(1, 81)])
        report = judged_report(ratios, Parameters(num_steps=3), gaps=dict.fromkeys("abcde", 3))
        assert "num_steps=8" in finding_of(report, "resting").advice

    def test_rests_at_steps_of_their_own(self) -> None:
        """Only the first and the last are the same."""
        inner = [np.random.default_rng(seed).choice([0, OK], 90) for seed in range(5)]
        ratios = {str(at): [OK] * 4 + [0.0, *map(float, own), 0.0] + [OK] * 4 for at, own in enumerate(inner)}
        finding = finding_of(judged_report(ratios), "resting")
        assert "same steps" not in finding.advice

    def test_a_schedule_with_restarts(self) -> None:
        """Its learning rate falls to 0 evenly, three times."""
        ratios = alike(lambda seed: noisy(np.concatenate([cosine(50), cosine(50), cosine(50)]), seed))
        assert "schedule" in finding_of(judged_report(ratios), "resting").advice

    def test_a_loss_scaler_that_skips_the_first_steps(self) -> None:
        """It begins too high as a rule; a warm-up from 0 is 0 at its first step only, and grows."""
        assert "scaler" in finding_of(judged_report(alike([0] * 6 + [OK] * 94)), "not_yet").advice

    def test_a_schedule_that_ends_beside_a_layer_that_faded(self) -> None:
        """All are 0 at the end."""
        ratios = alike(lambda seed: noisy(cosine(100), seed))
        ratios["f", "worker_0"] = noisy(np.concatenate([cosine(90) * np.geomspace(1, 1e-4, 90), np.zeros(10)]), 9)
        finding = finding_of(judged_report(ratios), "stopped")
        assert "schedule" in finding.advice
        assert "gradient" not in finding.advice

    def test_a_schedule_that_ends_in_a_trial_of_one_tensor(self) -> None:
        """There are no others that it falls away from, and it never was below its bound."""
        (finding,) = judged_report({"a": noisy(cosine(100))}).findings
        assert "stopped" == finding.kind
        assert "schedule" in finding.advice

    def test_what_stopped_was_small_before_it_was_zero(self) -> None:
        """5 of its 9 comparisons are not 0."""
        finding = finding_of(judged_report(alike(faded(1e-3, 1e-10, 16) + [0] * 4)), "stopped")
        assert "ratio 0 at TRAIN steps 12-20" not in finding.text

    def test_large_before_and_after_not_finite(self) -> None:
        """Before it reaches up to it."""
        ratios = {**WELL, "a": [OK] * 5 + [LARGE] * 4 + [NAN] * 2 + [LARGE] * 5 + [OK] * 4}
        assert "too large from step 6 on" in finding_of(judged_report(ratios), "not_finite").text

    def test_large_at_first_and_again_up_to_not_finite(self) -> None:
        """In between it was well for 900 steps."""
        ratios = {"a": [LARGE] * 2 + [OK] * 900 + [LARGE] * 2 + [NAN] * 9, "b": [OK] * 913}
        text = finding_of(judged_report(ratios), "not_finite").text
        assert "from step 1 on" not in text
        assert "from step 903 on" in text

    def test_not_finite_after_another_tensor_was_too_large(self) -> None:
        """Its own history has no cause; if the other's is named, it is named as the other's."""
        ratios = {"b": [OK] * 15 + [NAN] * 5, "zebra": [OK] * 10 + [LARGE] * 5 + [OK] * 5, "h": [OK] * 20}
        text = finding_of(judged_report(ratios), "not_finite").text
        assert "too large" not in text or "zebra" in text

    @pytest.mark.parametrize(("ratio", "kind"), [(LARGE, "spike"), (NAN, "not_finite")])
    def test_steps_with_others_in_between(self, ratio: float, kind: str) -> None:
        """Two comparisons of 900 are not "at steps 8-907"."""
        ratios = {"a": at_steps(920, ratio, 8, 907), "b": [OK] * 920}
        assert "at TRAIN steps 8-907" not in finding_of(judged_report(ratios), kind).text

    def test_float16_beside_float32_in_one_finding(self) -> None:
        """What is true of the one is not said of both."""
        dtypes = {"h1": "float32", "h2": "float32", "a": "float16", "b": "float32"}
        finding = finding_of(judged_report({**WELL, "a": [0] * 20, "b": [0] * 20}, dtypes=dtypes), "frozen", "b")
        assert "optimizer" in finding.advice

    def test_a_forgotten_layer_of_float16(self) -> None:
        """The others are float16 too, and move: it may be its resolution, and it may be the optimizer."""
        finding = finding_of(judged_report({**WELL, "a": [0] * 20}, dtypes="float16"), "frozen")
        assert "float16" in finding.advice
        assert "optimizer" in finding.advice

    @pytest.mark.parametrize("word", ["EVAL", "float16"])
    def test_the_text_names_the_cause_too(self, word: str) -> None:
        report = judged_report(alike([0] * 20), dtypes="float16" if word == "float16" else "float32")
        report.only_evaluated = word == "EVAL"
        assert word in finding_of(report, "nothing_moved").text


class TestReallyTrained:
    """What nets did that were really trained, as far as a few tensors show it."""

    def test_all_fade_and_cross_their_bounds_at_different_steps(self) -> None:
        """A learning rate that decays by a tenth each step: no tensor falls against the others."""
        ratios = {
            str(at): noisy(level * 0.9 ** np.arange(200), at) for at, level in enumerate(np.geomspace(1e-1, 1e-4, 7))
        }
        (finding,) = judged_report(ratios).findings
        assert ("vanishing", 7) == (finding.kind, len(finding.tensors))
        assert "schedule" in finding.advice
        assert "units" not in finding.advice

    def test_all_stop_at_once_from_full_size(self) -> None:
        """No schedule does that."""
        ratios = alike(lambda seed: np.concatenate([noisy(np.full(88, 0.1), seed), np.zeros(112)]))
        finding = finding_of(judged_report(ratios), "stopped")
        assert "dead units" in finding.advice
        assert "schedule" not in finding.advice

    def test_what_comes_after_an_explosion_is_not_told_by_itself(self) -> None:
        """0 before NaN is not the end, and large up to two steps before NaN does not recover."""
        ratios = {
            "a": [OK] * 100 + [50.0, 2.3e3, 3.7e10, 9.6e5, 0, 0] + [NAN] * 94,
            "head": [OK] * 101 + [2.6e3, 3.6e10, 1.6e-2] + [NAN] * 96,
        }
        report = judged_report(ratios)
        assert {"not_finite", "too_large", "resting"} == {finding.kind for finding in report.findings}
        large = [finding for finding in report.findings if finding.kind == "too_large"]
        assert [(("a", "head"), 101, 104)] == [(find.tensors, find.first_step, find.last_step) for find in large]
        assert "from step 101 on" in finding_of(report, "not_finite", "head").text

    def test_large_from_the_second_comparison_on(self) -> None:
        """Nothing can have changed there."""
        advice = finding_of(judged_report({**WELL, "a": [OK] + [LARGE] * 19}), "too_large").advice
        assert "changed" not in advice
        assert "warm" in advice

    def test_a_spike_of_what_is_too_large_at_other_steps(self) -> None:
        """It oscillates about the bound: no batch is to blame, and patience would not help."""
        finding = finding_of(
            judged_report({**WELL, "a": [OK] * 5 + [LARGE] * 5 + [OK] * 4 + [LARGE] + [OK] * 5}), "spike"
        )
        assert "batch" not in finding.advice
        assert "patience" not in finding.advice
        assert "too large" in finding.advice

    def test_a_spike_near_the_start(self) -> None:
        assert "warm" in finding_of(judged_report({**WELL, "a": at_steps(20, LARGE, 2)}), "spike").advice

    def test_layers_behind_one_that_began_at_zero(self) -> None:
        """It passes back no gradient at its first step."""
        report = judged_report(
            {"head": [1e6] + [OK] * 19, "body": [0] + [OK] * 19, "stem": [0] + [OK] * 19, "other": [OK] * 20},
            zero_weights=[("head", 1)],
        )
        assert "zero-initialised" in finding_of(report, "not_yet").advice

    def test_a_warm_up_from_tiny_updates(self) -> None:
        """All grow."""
        ratios = alike(lambda seed: noisy(np.concatenate([np.geomspace(1e-12, 1e-3, 20), np.full(80, 1e-3)]), seed))
        assert "warm-up" in finding_of(judged_report(ratios), "too_small").advice

    @pytest.mark.parametrize("kind", ["vanishing", "stopped", "too_small", "resting"])
    def test_float16_may_be_the_cause(self, kind: str) -> None:
        """Of one tensor, while the others move."""
        course = {
            "vanishing": faded(1.5e-3, 1e-10, 16) + [0] * 4,
            "stopped": [OK] * 10 + [0] * 10,
            "too_small": [SMALL] * 20,
            "resting": at_steps(20, 0, 8, 12),
        }[kind]
        finding = finding_of(judged_report({**WELL, "a": course}, dtypes="float16"), kind)
        assert "float16" in finding.advice

    def test_accumulation_against_a_baseline(self) -> None:
        """Another num_steps needs another baseline."""
        good = made_baseline({name: (1, dict.fromkeys(range(8), (OK, OK))) for name in "abcde"})
        report = judged_report(alike(accumulated(40, 4)), Parameters(baseline=("good",)), good)
        assert "save the baseline anew" in finding_of(report, "resting").advice

    def test_less_than_in_the_good_run(self) -> None:
        good = made_baseline({name: (1, dict.fromkeys(range(8), (OK, OK))) for name in "abcde"})
        report = judged_report(alike([1e-5] * 20), Parameters(baseline=("good",)), good)
        assert "compare the learning rates" in finding_of(report, "too_small").advice

    def test_violations_that_did_not_last_are_counted_beside_those_that_did(self) -> None:
        """Of one verdict of one tensor too."""
        ratios = {**WELL, "a": [0] * 3 + [OK] * 5 + [0] + [OK] * 11}
        report = judged_report(ratios, Parameters(patience=3))
        assert "4 of 60 update-to-weight ratios are violations, 1 of them never 3 in a row" in report.to_text()


class TestTrueAgainstABaseline:
    PATIENT = Parameters(baseline=("good",))

    @staticmethod
    def report(ratios: Any, level: float) -> Report:
        """Return the report of a run of tensors that were at this level in the good run."""
        good = made_baseline({name: (1, dict.fromkeys(range(8), (level, level))) for name in "abcde"})
        return judged_report(ratios, TestTrueAgainstABaseline.PATIENT, good)

    def test_a_threshold_that_does_not_count(self) -> None:
        """The lower bound is the baseline's: a lower small_threshold changes nothing."""
        assert "small_threshold" not in finding_of(self.report(alike([1e-5] * 20), OK), "too_small").advice

    def test_a_baseline_is_not_advised_where_it_judged(self) -> None:
        finding = finding_of(self.report({"a": [0] * 20, "b": [OK] * 20}, OK), "frozen")
        assert "judge against a baseline" not in finding.advice

    def test_a_layer_that_rests_there_and_moves_here(self) -> None:
        """It is not the learning rate: in the good run it was frozen."""
        finding = finding_of(self.report({"a": [OK] * 20, "b": [0] * 20}, 0.0), "too_large")
        assert "froze" in finding.text + finding.advice
        assert "Lower the learning rate" not in finding.advice
