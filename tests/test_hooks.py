"""Recordings of real hooks: every way of judging gives exactly the rows of the truth, and the same exit code."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY, assert_same_comparisons, found_comparisons
from weight_update_ratio import check as check_module
from weight_update_ratio import check_trial

HOOKS = REPOSITORY / "tests" / "trials" / "hooks"
NAMES = sorted(folder.name for folder in HOOKS.iterdir() if folder.is_dir())
FIRED = {"tf_tape_eval", "two_same_models"}  # by their truth: ratios of 0 and above 10
MINUS_ONE = "pt_scalar_minus1"  # smdebug itself refuses a mode step of -1


def trial_of(name: str) -> Path:
    return HOOKS / name / "trial"


def truth_of(name: str) -> dict[Any, tuple[str, int, float]]:
    """Return the rows as smdebug reads them."""
    rows = [json.loads(line) for line in (HOOKS / name / "truth.jsonl").read_text().splitlines()]
    return {
        (row["tensor"], row["worker"], row["step"]): (row["mode"], row["ref_step"], float(row["ratio"])) for row in rows
    }


def said(report: Any) -> tuple[Any, ...]:
    """Return all that a judgement says of a trial, NaN included."""
    return report.exit_code, report.to_json(), [repr(row) for row in report]


def from_step(report: Any, first: int) -> list[str]:
    return [repr(row) for row in report if row.global_step >= first]


@pytest.mark.parametrize("name", NAMES)
def test_the_rows_of_the_truth(name: str) -> None:
    """All of them, to 1e-9, and nothing more; the exit code is 1 where a true ratio is out of its bounds."""
    report = check_trial(trial_of(name))
    truth = truth_of(name)
    assert_same_comparisons(truth, found_comparisons(report))
    fired = any(not 1e-8 <= ratio <= 10 for _, _, ratio in truth.values())
    assert (report.exit_code, fired) == (int(name in FIRED), name in FIRED)
    assert report.unreadable == []


@pytest.mark.parametrize("num_steps", [None, 3])
@pytest.mark.parametrize("name", NAMES)
def test_an_executor_split_at_every_position(name: str, num_steps: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges of one step, of two, ... give the same report."""
    expected = said(check_trial(trial_of(name), num_steps=num_steps))
    with ThreadPoolExecutor(2) as executor:
        for size in range(1, 9):
            monkeypatch.setattr(check_module, "LEAST_STEPS", size)
            assert said(check_trial(trial_of(name), num_steps=num_steps, executor=executor)) == expected


@pytest.mark.parametrize("num_steps", [None, 3])
@pytest.mark.parametrize("name", NAMES)
def test_a_start_at_every_step(name: str, num_steps: int | None) -> None:
    """The rows of later steps do not depend on where judging begins or ends."""
    whole = check_trial(trial_of(name), num_steps=num_steps)
    for first in range(len(list((trial_of(name) / "index").rglob("*.json"))) + 1):
        assert from_step(check_trial(trial_of(name), num_steps=num_steps, start_step=first), first) == from_step(
            whole, first
        )
        before = [repr(row) for row in check_trial(trial_of(name), num_steps=num_steps, end_step=first + 1)]
        assert before == [repr(row) for row in whole if row.global_step <= first]


class TestTheRule:
    @pytest.mark.parametrize("name", [name for name in NAMES if name != MINUS_ONE])
    def test_under_invoke_rule(self, name: str) -> None:
        """Its rows are those of the check, and it fires where the check has a violation."""
        from smdebug.exceptions import NoMoreData, RuleEvaluationConditionMet
        from smdebug.rules import invoke_rule
        from smdebug.trials import create_trial

        from weight_update_ratio import WeightUpdateRatio

        report = check_trial(trial_of(name))
        rule = WeightUpdateRatio(create_trial(str(trial_of(name))))
        fired: list[int] = []
        step = 0
        while True:
            try:
                invoke_rule(rule, start_step=step, raise_eval_cond=True)
            except RuleEvaluationConditionMet as met:
                fired.append(met.step)
                step = met.step + 1
            except NoMoreData:
                break
        assert_same_comparisons(found_comparisons(report), found_comparisons(rule.comparisons()))
        assert fired == sorted({row.global_step for row in report if row.verdict != "ok"})

    @pytest.mark.parametrize("seed", range(3))
    def test_a_resumed_job_in_any_order(self, seed: int) -> None:
        """One trial, one set of rows."""
        from weight_update_ratio import WeightUpdateRatio

        report = check_trial(trial_of("pt_resume_spot"))
        rule = WeightUpdateRatio(str(trial_of("pt_resume_spot")))
        steps = list(range(40))
        random.Random(seed).shuffle(steps)
        for step in steps:
            rule.invoke_at_step(step)
        assert found_comparisons(rule.comparisons()) == found_comparisons(report)


class TestSavedTwice:
    def test_the_report_names_the_numbers_once(self) -> None:
        """They are skipped, and the exit code is that of the rows."""
        report = check_trial(trial_of("pt_resume_spot"))
        (again,) = [group for group in report.skipped if group.reason.startswith("saved again later")]
        assert (None, "worker_0", "saved again later: steps 7-8", 2) == (
            again.tensor,
            again.worker,
            again.reason,
            again.count,
        )
        assert report.exit_code == 0
        assert "worker_0: saved again later: steps 7-8" in report.to_text()

    def test_every_rendering_copes(self) -> None:
        """An entry of no tensor has a line in each."""
        report = check_trial(trial_of("pt_resume_spot"))
        for rendered in (report.to_json(), report.to_junit(), report.to_github(), report.to_markdown()):
            assert "saved again later" in rendered
