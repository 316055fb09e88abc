"""WeightUpdateRatio beside what the contract test shows: steps in any order, live jobs, its report, log and errors."""

from __future__ import annotations

import html
import json
import logging
import random
import re
import shutil
import threading
from pathlib import Path
from typing import Any, Iterator

import pytest
from smdebug.exceptions import InsufficientInformationForRuleInvocation, NoMoreData
from smdebug.rules import invoke_rule
from smdebug.trials import create_trial

import weight_update_ratio.rule as rule_module
from tests.conftest import (
    FROZEN_LAYER,
    RECORDED,
    TrialWriter,
    event_file,
    random_walk,
    recorded_truth,
    run_python,
)
from tests.processes import wait_until
from tests.test_contract import HOOKS, Case, digits, fired_steps, invoked, judgement, oracle, rows_of
from tests.verdict.oracle import learnt
from weight_update_ratio import TrialError, WeightUpdateRatio, check_trial

HEALTHY, FROZEN, EXPLODING = (str(RECORDED[f"pytorch_{name}"]) for name in ("healthy", "frozen", "exploding"))
WAYS = {  # name: (trial, parameters)
    "exploding": (EXPLODING, {}),
    "frozen, patience": (FROZEN, {"patience": 3}),
    "frozen, baseline": (FROZEN, {"baseline": HEALTHY}),
    "keras, num_steps": (str(RECORDED["tf_keras"]), {"num_steps": 3}),
    **{name: (str(HOOKS / name / "trial"), {"small_threshold": 1e-3}) for name in ("pt_resume_spot", "mxs_dup_step")},
    "irregular": (None, {"num_steps": 3, "small_threshold": 1e-2}),
    "rests, baseline": (None, {"patience": 1, "baseline": "good"}),
}


@pytest.fixture
def log() -> Iterator[list[logging.LogRecord]]:
    """Give what smdebug's logger emits while the test runs; it does not propagate, so that caplog sees none of it."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    logger = logging.getLogger("smdebug")
    filters = logger.filters[:]
    logger.filters = [type(each)() for each in filters]  # a new one of repeats, as in a process of its own
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)
    logger.filters = filters


def said(log: list[logging.LogRecord], level: int) -> list[str]:
    return [record.getMessage() for record in log if record.levelno == level]


def as_they_are_all(case: Case, rows: list[Any]) -> list[Any]:
    """Return rows with their verdicts where no others are judged: rests are counted among them."""
    return [row._replace(verdict=each.verdict) for row, each in zip(rows, judgement(case, rows))]


class TestAnyOrderOfSteps:
    @pytest.mark.parametrize("order", ["shuffled", "backwards", "every third"])
    @pytest.mark.parametrize("way", WAYS)
    def test_a_step_fires_by_the_steps_at_which_the_rule_was_invoked(
        self, request: pytest.FixtureRequest, way: str, order: str, tmp_path: Path
    ) -> None:
        """Each has the row of a check; asked again, the rule says the same; with all of them its report is the check's.

        A number that was saved twice counts by its last save, which may come later.
        """
        path, parameters = WAYS[way]
        if path is None:
            walk, write_trial = random_walk(), request.getfixturevalue("write_trial")
            options = {"steps": 20, "modes": ["TRAIN", "TRAIN", "EVAL"], "intervals": {"v": 4}}
            tensors = {"w": walk, "v": random_walk(seed=1), "u": [1.0, *[None] * 9, 2.0]}
            if "baseline" in parameters:
                good = write_trial({**tensors, "w": lambda step: walk(step // 2)}, "good", **options).path
                tensors["w"], parameters = lambda step: walk(step // 12), {**parameters, "baseline": str(good)}
            path = str(write_trial(tensors, **options).path)
        good = Path(parameters.get("baseline", path))
        known = learnt(oracle(Case(good, good, {}))) if "baseline" in parameters else {}
        case = Case(Path(path), Path(path), parameters, known=known)
        report = check_trial(path, **parameters)
        steps = case.global_steps
        if order == "shuffled":
            random.Random(1).shuffle(steps)
        else:
            steps = steps[::-1] if order == "backwards" else steps[::3]
        rule = WeightUpdateRatio(path, report_dir=str(tmp_path / "report"), **parameters)
        fired = []
        for number, step in enumerate(steps, 1):
            rows = [row for row in rows_of(report) if row.global_step in steps[:number] and row.global_step <= step]
            fired.append(rule.invoke_at_step(step))
            assert fired[-1] == (step in fired_steps(case, as_they_are_all(case, rows)))
        assert fired == [rule.invoke_at_step(step) for step in steps]
        assert rule.invoke_at_step(10**6) is False  # it was not saved
        judged = [row for row in rows_of(report) if row.global_step in steps]
        assert digits(as_they_are_all(case, judged)) == digits(rows_of(rule))
        if order != "every third":
            assert len(report.fired_steps) == rule.report["RuleTriggered"]
            written = json.loads((tmp_path / "report" / "WeightUpdateRatio.json").read_text())
            expected = json.loads(report.to_json())
            for name in ("counts", "complete", "problem", "violations"):
                assert expected[name] == written[name]


class TestLiveJobs:
    @pytest.mark.parametrize(
        ("saved", "ends_before", "fired", "rows"),
        [
            ([("TRAIN", value) for value in (1.0, 1.1, 50.0, 50.5, 50.5)], 9, [2, 4], 4),
            ([("EVAL", 1.0), ("EVAL", 1.0), ("EVAL", 1.0), ("TRAIN", 1.0), ("TRAIN", 1.5)], 9, [], 1),
            ([("EVAL", 1.0), ("EVAL", 1.0), ("EVAL", 1.0)], 2, [2], 2),
            ([("GLOBAL", 0.0), ("GLOBAL", 0.0), ("TRAIN", 1.0), ("TRAIN", 1.01), ("TRAIN", 1.02)], 9, [1], 2),
        ],
        ids=["as they come", "EVAL before TRAIN", "EVAL alone, once it has ended", "GLOBAL before TRAIN is taken back"],
    )
    def test_steps_are_judged_as_they_are_written(
        self,
        trial_writer: Any,
        monkeypatch: pytest.MonkeyPatch,
        saved: list[tuple[str, float]],
        ends_before: int,
        fired: list[int],
        rows: int,
    ) -> None:
        """The rule is asked for each step too early, when it is there, and once more."""
        monkeypatch.setattr(rule_module, "POLL_SECONDS", 0.0)
        trial = trial_writer().collections({"weights": ["w"]})
        rule = WeightUpdateRatio(create_trial(str(trial.path)))
        answers = []
        for step, (mode, value) in enumerate(saved):
            assert rule.invoke_at_step(step) is False
            trial.save(step, {"w": [value]}, mode)
            if step == ends_before:
                trial.end()
            answers.append(rule.invoke_at_step(step))
            assert answers[-1] == rule.invoke_at_step(step)
        assert fired == [step for step, fires in enumerate(answers) if fires]
        report = check_trial(trial.path)
        assert rows == len(report)
        assert digits(rows_of(report)) == digits(rows_of(rule))
        assert len(report.fired_steps) == rule.report["RuleTriggered"]

    @pytest.mark.parametrize("comes", ["late", "never", "when a later step is there"])
    def test_an_event_file_that_is_not_there(
        self, write_trial: Any, monkeypatch: pytest.MonkeyPatch, comes: str
    ) -> None:
        trial: TrialWriter = write_trial({"w": random_walk()}, steps=4, ended=False)
        steps = [0, 1, 2, 3] if comes == "when a later step is there" else [0, 1, 3]
        missing, hidden = event_file(trial.path, 3), trial.path / "hidden"
        if comes == "when a later step is there":
            missing = event_file(trial.path, 2)
        missing.rename(hidden)
        sleeps = []

        def sleep(seconds: float) -> None:
            sleeps.append(seconds)
            if comes == "late" and len(sleeps) == 3:
                hidden.rename(missing)

        monkeypatch.setattr(rule_module.time, "sleep", sleep)
        rule = WeightUpdateRatio(create_trial(str(trial.path)))
        for step in steps:
            rule.invoke_at_step(step)
        assert (0 if comes == "late" else 1) == min(1, rule.report["Details"]["unreadable"])
        assert (comes == "when a later step is there") == (not sleeps)


def test_the_report_is_filled_as_other_rules_fill_it() -> None:
    """Strings, as the service passes them, mean what plain values mean; counts are numbers, details are JSON."""
    strings = {
        "num_steps": "None",
        "large_threshold": "10.0",
        "small_threshold": "0.00000001",
        "epsilon": "0.000000001",
        "collection_names": "weights",
        **dict.fromkeys(("tensor_regex", "exclude_regex", "action_str", "action_json"), ""),
    }
    rule = WeightUpdateRatio(Path(FROZEN), **strings)
    assert check_trial(FROZEN).fired_steps == invoked(rule, Case(Path(FROZEN), Path(FROZEN), {}))[0]
    report = rule.report
    details = report.pop("Details")
    assert {
        "RuleTriggered": 19,
        "Violations": 19,
        "Datapoints": 76,
        "RuleParameters": "num_steps:None\nlarge_threshold:10.0\nsmall_threshold:1e-08\nepsilon:1e-09\n"
        "collection_names:weights\ntensor_regex:None\nexclude_regex:None\npatience:None\nbaseline:None\n"
        "baseline_factor:3.0",
    } == report
    expected = {"mode": "TRAIN", "steps": 20, "skipped": 0, "unreadable": 0, "violations": [FROZEN_LAYER]}
    assert expected == json.loads(json.dumps(details))


def test_a_range_of_the_trial(write_trial: Any) -> None:
    """A Trial made with range_steps is judged in that range, by the check too; its first step has no reference."""
    trial = write_trial({"w": random_walk()}, steps=9)
    rule = WeightUpdateRatio(create_trial(str(trial.path), range_steps=(3, 7)))
    invoke_rule(rule, end_step=7)
    report = check_trial(create_trial(str(trial.path), range_steps=(3, 7)))
    assert [(4, 3), (5, 4), (6, 5)] == [(row.step, row.reference_step) for row in rows_of(rule)]
    assert digits(rows_of(rule)) == digits(rows_of(report))


def test_patience_that_nothing_can_reach() -> None:
    """The frozen layer violates 19 times in a row; with 20 the rule says what the check says."""
    rule = WeightUpdateRatio(FROZEN, patience="19")
    assert check_trial(FROZEN).fired_steps[-1:] == invoked(rule, Case(Path(FROZEN), Path(FROZEN), {}))[0]
    with pytest.raises(InsufficientInformationForRuleInvocation) as caught:
        invoke_rule(WeightUpdateRatio(FROZEN, patience="20"))
    assert str(check_trial(FROZEN, patience=20).problem) in str(caught.value)


class TestErrors:
    @pytest.mark.parametrize("name", ["pytorch_reductions_only", "xgboost"])
    def test_an_ended_trial_that_cannot_be_judged(self, name: str) -> None:
        """The framework's exception has the check's message and remedy, asked again too; a notebook shows it."""
        rule, problem = WeightUpdateRatio(str(RECORDED[name])), check_trial(RECORDED[name]).problem
        for _ in range(2):
            with pytest.raises(InsufficientInformationForRuleInvocation) as caught:
                invoke_rule(rule)
            assert str(problem) in str(caught.value)
        assert html.escape(problem.message) in rule._repr_html_()

    def test_no_folder(self) -> None:
        with pytest.raises(TrialError, match="the trial folder '/no/such/trial' does not exist"):
            WeightUpdateRatio("/no/such/trial")


class TestLog:
    def test_one_warning_a_firing_step(self, log: list[logging.LogRecord]) -> None:
        """Each names its step, its worst tensor and the numbers; smdebug's filter of repeats drops none."""
        fired, _ = invoked(WeightUpdateRatio(EXPLODING), Case(Path(EXPLODING), Path(EXPLODING), {}))
        warnings = said(log, logging.WARNING)
        matches = [re.match(r"WeightUpdateRatio fired at step (\d+) \(TRAIN step \d+\): ", text) for text in warnings]
        assert fired == [int(match.group(1)) for match in matches if match]
        truth = {key: ratio for key, (_, _, ratio) in recorded_truth("pytorch_exploding").items() if key[2] == 1}
        worst = max(truth, key=truth.__getitem__)[0]
        assert f"4 ratios; the worst is large: tensor {worst!r} of worker_0, ratio" in warnings[0]
        assert "the worst is not_finite: tensor" in warnings[-1]

    def test_what_matches_nothing(self, log: list[logging.LogRecord]) -> None:
        """It is said once, as an error, when the trial has ended; the rule judges what matches."""
        rule = WeightUpdateRatio(HEALTHY, tensor_regex="conv,nowhere")
        for _ in range(2):
            with pytest.raises(NoMoreData):
                invoke_rule(rule)
        (error,) = said(log, logging.ERROR)
        assert "matches tensor_regex 'nowhere'; the collections' tensors are" in error
        assert 19 == rule.report["Datapoints"]

    def test_a_folder_that_is_not_a_trial_yet(self, tmp_path: Path, log: list[logging.LogRecord]) -> None:
        """What the rule waits for is said once, for a job may be about to write there; the trial below is named."""
        job, below = tmp_path / "job", str(tmp_path / "job" / "debug-output")
        shutil.copytree(HEALTHY, below)
        made: list[WeightUpdateRatio] = []
        thread = threading.Thread(target=lambda: made.append(WeightUpdateRatio(f" {job}\n")), daemon=True)
        thread.start()
        wait_until(lambda: log, "nothing was said")
        assert thread.is_alive()
        shutil.copytree(HEALTHY, job, dirs_exist_ok=True)
        thread.join(60)
        assert [str(job)] == [rule.base_trial.path for rule in made]
        where = f"the folder {str(job)!r} is not a trial, but {below!r} is"
        expected = [f"waiting for the trial: {where}; Pass {below!r}."]
        assert expected == [text for text in said(log, logging.WARNING) if "waiting" in text]


def test_the_end_of_the_process_leaves_the_report(tmp_path: Path) -> None:
    """Of a rule of some steps, none of which fires."""
    program = (
        "import sys; from smdebug.rules import invoke_rule; from smdebug.trials import create_trial; "
        "from weight_update_ratio import WeightUpdateRatio; "
        "invoke_rule(WeightUpdateRatio(create_trial(sys.argv[1]), report_dir=sys.argv[2]), end_step=5)"
    )
    run_python("-c", program, HEALTHY, tmp_path / "out", check=True)
    written = json.loads((tmp_path / "out" / "WeightUpdateRatio.json").read_text())
    expected = json.loads(check_trial(HEALTHY, end_step=5).to_json())
    assert (expected["counts"], False) == (written["counts"], written["fired"])
