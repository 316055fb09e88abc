"""Advice is true for the case at hand."""

from __future__ import annotations

import math

import pytest

from tests.conftest import RECORDED
from tests.reports import HOSTILE, made_report
from weight_update_ratio import check_trial
from weight_update_ratio.judge.ratio import LARGE, NOT_FINITE, SMALL
from weight_update_ratio.judge.violations import SkippedGroup
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.render.wording import UNCHANGED, ZERO_START, Advice, advise, skipped_line


def _lines(ratios: dict[str, list[float]], **options: object) -> dict[str, str]:
    return {advice.kind: advice.line for advice in advise(made_report(ratios, **options).history)}


class TestAdvise:
    def test_nothing_is_advised_where_nothing_fired(self) -> None:
        assert advise(check_trial(RECORDED["pytorch_healthy"]).history) == []

    def test_too_large_from_the_start_asks_for_warm_up(self) -> None:
        assert "warm up" in _lines({"a": [20.0, 1e-3]})[LARGE]

    def test_too_large_later_asks_for_clipping_from_that_step_on(self) -> None:
        line = _lines({"a": [1e-3, 1e-3, 20.0]})[LARGE]
        assert line.startswith("from TRAIN step 3 on: clip gradients")

    def test_not_finite_names_the_step_and_the_tensor_that_were_first(self) -> None:
        line = _lines({"a": [1e-3, 1e-3, math.nan], "b": [1e-3, math.nan, math.nan]})[NOT_FINITE]
        assert line.startswith("it began at TRAIN step 2 in b: ")

    def test_not_finite_after_too_large_says_so(self) -> None:
        advice = advise(check_trial(RECORDED["pytorch_exploding"]).history)
        assert [entry.kind for entry in advice] == [NOT_FINITE, LARGE]
        assert advice[0].line == (
            "it began at TRAIN step 3 in TinyNet_conv1.weight, after updates that were too large from step 1 on: "
            "correct those first."
        )

    def test_frozen_tensor_is_told_from_one_that_rests(self) -> None:
        (frozen,) = advise(check_trial(RECORDED["pytorch_frozen"]).history)
        assert (frozen.kind, frozen.line.split()[0]) == (UNCHANGED, "frozen")
        assert _lines({"a": [0.0, 1e-3]})[UNCHANGED].startswith("some at some steps only")

    def test_too_small_is_told_from_not_changed(self) -> None:
        assert list(_lines({"a": [1e-9, 1e-9], "b": [0.0, 0.0]})) == [UNCHANGED, SMALL]

    def test_zero_reference_is_not_a_large_learning_rate(self) -> None:
        lines = _lines({"a": [1e9]}, weight_norm=0.0)
        assert list(lines) == [ZERO_START]
        assert "zero initialisation" in lines[ZERO_START]

    def test_every_kind_has_a_title_and_its_groups(self) -> None:
        ratios = {"a": [20.0], "b": [0.0], "c": [1e-9], "d": [math.inf]}
        advice = advise(made_report(ratios).history)
        assert all(isinstance(entry, Advice) and entry.title and entry.line.endswith(".") for entry in advice)
        assert [group.tensor for entry in advice for group in entry.groups] == ["d", "a", "b", "c"]

    def test_text_shows_a_line_for_each_kind(self) -> None:
        text = made_report({"a": [20.0], "b": [0.0]}).to_text()
        assert "Too large: from the first comparison on" in text
        assert "Not changed at all: frozen" in text


@pytest.mark.parametrize("rendering", ["text", "github", "markdown", "html"])
def test_what_was_skipped_of_a_whole_worker_begins_with_the_worker(rendering: str) -> None:
    """The entry has no tensor, and its reason names the steps."""
    report = made_report({"a": [1e-3]})
    report.history.skipped_wholes = [SkippedGroup(None, "worker_0", "saved again later: steps 5-7", 5, 7, 3)]
    assert [skipped_line(group) for group in report.skipped] == ["worker_0: saved again later: steps 5-7"]
    shown = getattr(report, f"to_{rendering}")().replace("\\_", "_")
    assert "worker_0: saved again later: steps 5-7" in shown
    assert "of worker_0: saved" not in shown


def test_hostile_names_reach_no_terminal_as_they_are() -> None:
    text = made_report({name: [20.0, math.nan] for name in HOSTILE}).to_text()
    assert "\x1b" not in text
    assert "\u2028" not in text


@pytest.mark.parametrize("ratio", [5.0, 1e-3])
def test_thresholds_of_the_report_decide(ratio: float) -> None:
    report = made_report({"a": [ratio]}, parameters=Parameters(large_threshold=1.0, small_threshold=1e-2))
    assert advise(report.history)[0].kind == (LARGE if ratio > 1 else SMALL)
