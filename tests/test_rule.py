"""WeightUpdateRatio under smdebug's own invoke_rule, and invoked at single steps in any order."""

from __future__ import annotations

import contextlib
import inspect
import json
import logging
import math
import random
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Iterator

import numpy as np
import pytest
from smdebug.exceptions import InsufficientInformationForRuleInvocation, NoMoreData, RuleEvaluationConditionMet
from smdebug.rules import invoke_rule
from smdebug.trials import create_trial

from tests.conftest import (
    FROZEN_LAYER,
    RECORDED,
    REPOSITORY,
    assert_same_comparisons,
    change_json,
    event_file,
    expected_comparisons,
    found_comparisons,
    index_file,
    random_walk,
    recorded_truth,
)
from weight_update_ratio import TrialError, WeightUpdateRatio, check_trial
from weight_update_ratio.sagemaker.actions import parse_actions
from weight_update_ratio.verdict.document import run_document

JUDGED = sorted(set(RECORDED) - {"pytorch_reductions_only", "xgboost"})
ENDED = sorted(set(JUDGED) - {"pytorch_killed"})
STRINGS = {
    "num_steps": "None",
    "large_threshold": "10.0",
    "small_threshold": "0.00000001",
    "epsilon": "0.000000001",
    "collection_names": "weights",
    "tensor_regex": "",
    "action_str": "",
    "action_json": "",
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


def fired_steps(rule: Any, end_step: int | None = None) -> list[int]:
    """Return the global steps at which the rule fires, under invoke_rule, resumed after each until the trial ends."""
    fired: list[int] = []
    while end_step is None or not fired or fired[-1] + 1 < end_step:
        try:
            invoke_rule(rule, start_step=fired[-1] + 1 if fired else 0, end_step=end_step, raise_eval_cond=True)
        except RuleEvaluationConditionMet as met:
            fired.append(met.step)
        except NoMoreData:
            return fired
        else:
            return fired
    return fired


def true_steps(name: str) -> list[int]:
    """Return the global steps at which a recorded trial's truth has a violation."""
    trial = RECORDED[name]
    global_steps = {}
    for file in sorted((trial / "index").glob("*/*.json")):
        meta = json.loads(file.read_text())["meta"]
        global_steps[meta["mode"].strip(), meta["mode_step"]] = int(file.name.split("_")[0])
    violations = {
        global_steps[mode, step]
        for (_, _, step), (mode, _, ratio) in recorded_truth(name).items()
        if not math.isfinite(ratio) or ratio > 10 or ratio < 1e-8
    }
    return sorted(violations)


def last_step(name: str) -> int:
    return max(int(file.name.split("_")[0]) for file in (RECORDED[name] / "index").glob("*/*.json"))


class TestUnderInvokeRule:
    @pytest.mark.parametrize("name", JUDGED)
    def test_fires_at_exactly_the_true_steps(self, name: str) -> None:
        """Resumed after each firing, the rule has fired where the truth has violations, and found the whole truth."""
        rule = WeightUpdateRatio(create_trial(str(RECORDED[name])))
        assert true_steps(name) == fired_steps(rule, last_step(name) + 1 if name == "pytorch_killed" else None)
        truth = recorded_truth(name)
        assert_same_comparisons(truth, found_comparisons(rule.comparisons()))
        assert len(truth) == rule.report["Datapoints"]
        assert len(true_steps(name)) == rule.report["RuleTriggered"]

    @pytest.mark.parametrize("arguments", [STRINGS, {}, {"num_steps": None, "large_threshold": 10}])
    def test_parameters_as_strings_and_as_values(self, arguments: dict[str, Any]) -> None:
        """Strings, as the service passes them, mean what plain values mean."""
        rule = WeightUpdateRatio(create_trial(str(RECORDED["pytorch_frozen"])), **arguments)
        assert true_steps("pytorch_frozen") == fired_steps(rule)
        assert_same_comparisons(recorded_truth("pytorch_frozen"), found_comparisons(rule.comparisons()))

    @pytest.mark.parametrize("convert", [str, Path])
    def test_a_path_in_place_of_a_trial(self, convert: Any) -> None:
        """The rule opens the trial at a path itself."""
        rule = WeightUpdateRatio(convert(RECORDED["pytorch_exploding"]))
        assert true_steps("pytorch_exploding") == fired_steps(rule)

    @pytest.mark.parametrize("num_steps", ["1", "3", "5", "100"])
    def test_longer_lookbacks_agree_with_the_check(self, num_steps: str) -> None:
        """Rule and check share one computation."""
        rule = WeightUpdateRatio(str(RECORDED["tf_keras"]), num_steps)
        fired_steps(rule)
        checked = check_trial(RECORDED["tf_keras"], num_steps)
        assert found_comparisons(checked) == found_comparisons(rule.comparisons())

    def test_the_report_is_filled_as_other_rules_fill_it(self) -> None:
        """Counts are numbers, parameters are lines of name:value, details are JSON."""
        rule = WeightUpdateRatio(str(RECORDED["pytorch_frozen"]))
        fired_steps(rule)
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
        assert {
            "mode": "TRAIN",
            "steps": 20,
            "skipped": 0,
            "unreadable": 0,
            "violations": [FROZEN_LAYER],
        } == json.loads(json.dumps(details))

    def test_one_warning_a_firing_step(self, log: Any) -> None:
        """Each names its step, its worst tensor and the numbers; smdebug's filter of repeats drops none."""
        fired = fired_steps(WeightUpdateRatio(str(RECORDED["pytorch_exploding"])))
        warnings = [record.getMessage() for record in log if record.levelno == logging.WARNING]
        found = [re.match(r"WeightUpdateRatio fired at step (\d+) \(TRAIN step \d+\): ", text) for text in warnings]
        assert fired == [int(match.group(1)) for match in found if match]
        worst = max(
            (key for key in recorded_truth("pytorch_exploding") if key[2] == 1),
            key=lambda key: recorded_truth("pytorch_exploding")[key][2],
        )
        assert f"4 ratios; the worst is large: tensor {worst[0]!r} of worker_0, ratio" in warnings[0]
        assert "the worst is not_finite: tensor" in warnings[-1]

    def test_a_range_of_the_trial(self, write_trial: Any) -> None:
        """A Trial made with range_steps is judged in that range, and its first step there has no reference."""
        trial = write_trial({"w": random_walk()}, steps=9)
        rule = WeightUpdateRatio(create_trial(str(trial.path), range_steps=(3, 7)))
        fired_steps(rule, end_step=7)
        assert [(4, 3), (5, 4), (6, 5)] == [(r.step, r.reference_step) for r in rule.comparisons().itertuples()]

    def test_trials_with_several_workers(self, write_trial: Any) -> None:
        """Workers that miss steps are compared with themselves."""
        trial = write_trial(
            {"w": random_walk(), "v": [1.0, None, 2.0, 2.5, None, 3.0, 3.5]},
            steps=7,
            workers=("worker_0", "worker_1"),
            missing=[("worker_1", 2), ("worker_1", 3)],
        )
        rule = WeightUpdateRatio(str(trial.path))
        assert [] == fired_steps(rule)
        assert_same_comparisons(expected_comparisons(trial.saved), found_comparisons(rule.comparisons()))


class TestAnyOrderOfSteps:
    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize("name", ENDED)
    def test_the_verdict_of_a_step_does_not_depend_on_those_before(self, name: str, seed: int) -> None:
        """Shuffled, backwards or alone, and asked twice, a step fires if the truth says so."""
        rule = WeightUpdateRatio(str(RECORDED[name]))
        steps = list(range(last_step(name) + 1))
        random.Random(seed).shuffle(steps)
        fired = [step for step in [*steps, *steps] if rule.invoke_at_step(step)]
        assert 2 * len(true_steps(name)) == len(fired)
        assert true_steps(name) == sorted(set(fired))
        assert_same_comparisons(recorded_truth(name), found_comparisons(rule.comparisons()))
        assert len(true_steps(name)) == rule.report["RuleTriggered"]

    @pytest.mark.parametrize("num_steps", [None, 1, 3, 100])
    @pytest.mark.parametrize("order", ["backwards", "odd first", "shuffled"])
    def test_irregular_trials(self, write_trial: Any, order: str, num_steps: int | None) -> None:
        """Tensors of differing intervals have the same references in any order."""
        trial = write_trial(
            {"w": random_walk(), "v": random_walk(seed=1), "u": [1.0, *[None] * 9, 2.0]},
            steps=20,
            modes=["TRAIN", "TRAIN", "EVAL"],
            intervals={"v": 4},
        )
        steps = list(range(20))
        if order == "backwards":
            steps.reverse()
        elif order == "odd first":
            steps = steps[1::2] + steps[::2]
        else:
            random.Random(0).shuffle(steps)
        rule = WeightUpdateRatio(str(trial.path), num_steps)
        for step in steps:
            rule.invoke_at_step(step)
        expected = expected_comparisons(trial.saved, num_steps)
        assert_same_comparisons(expected, found_comparisons(rule.comparisons()))

    def test_a_step_that_was_not_saved_does_not_fire(self) -> None:
        """A step beyond the trial has nothing that could fire."""
        assert WeightUpdateRatio(str(RECORDED["pytorch_exploding"])).invoke_at_step(10**6) is False


class TestLiveJobs:
    def test_steps_are_found_as_they_are_written(self, trial_writer: Any) -> None:
        """A rule that was made before the first step judges each when it is there."""
        trial = trial_writer().collections({"weights": ["w"]})
        rule = WeightUpdateRatio(create_trial(str(trial.path)))
        values = [1.0, 1.1, 50.0, 50.5, 50.5]
        fired = []
        for step, value in enumerate(values):
            trial.save(step, {"w": np.float32(value)})
            fired.append(rule.invoke_at_step(step))
        assert [False, False, True, False, True] == fired
        assert_same_comparisons(expected_comparisons(trial.saved), found_comparisons(rule.comparisons()))

    def test_nothing_is_judged_before_the_first_train_step(self, trial_writer: Any) -> None:
        """A validation before training has unchanged weights, which are no violation."""
        trial = trial_writer().collections({"weights": ["w"]})
        rule = WeightUpdateRatio(create_trial(str(trial.path)))
        for step in range(3):
            trial.save(step, {"w": 1.0}, mode="EVAL")
            assert rule.invoke_at_step(step) is False
        for step, value in ((3, 1.0), (4, 1.5)):
            trial.save(step, {"w": value})
            assert rule.invoke_at_step(step) is False
        assert_same_comparisons(expected_comparisons(trial.saved), found_comparisons(rule.comparisons()))

    def test_steps_that_waited_are_judged_when_the_job_ends(self, trial_writer: Any) -> None:
        """A job that only evaluated is judged by its global steps once no TRAIN step can come."""
        trial = trial_writer().collections({"weights": ["w"]})
        rule = WeightUpdateRatio(create_trial(str(trial.path)))
        for step in range(3):
            trial.save(step, {"w": 1.0}, mode="EVAL")
            assert rule.invoke_at_step(step) is False
        assert rule.invoke_at_step(2) is False  # once more
        trial.save(3, {"w": 1.0}, mode="EVAL").end()
        assert rule.invoke_at_step(3) is True
        assert_same_comparisons(expected_comparisons(trial.saved), found_comparisons(rule.comparisons()))

    def test_global_steps_before_the_first_train_step_do_not_count(self, trial_writer: Any) -> None:
        """What was judged as GLOBAL is forgotten when training begins, as the finished trial's verdict has it."""
        trial = trial_writer().collections({"weights": ["w"]})
        rule = WeightUpdateRatio(create_trial(str(trial.path)))
        for step in range(2):
            trial.save(step, {"w": 1.0}, mode="GLOBAL")
            rule.invoke_at_step(step)
        for step, value in ((2, 1.0), (3, 1.5)):
            trial.save(step, {"w": value})
            assert rule.invoke_at_step(step) is False
        assert_same_comparisons(expected_comparisons(trial.saved), found_comparisons(rule.comparisons()))
        assert 1 == rule.report["Datapoints"]

    def test_a_second_worker_that_saves_later(self, trial_writer: Any) -> None:
        """A step is listed again until all workers have saved it."""
        workers = ("worker_0", "worker_1")
        trial = trial_writer().collections({"weights": ["w"]}, workers=workers)
        rule = WeightUpdateRatio(create_trial(str(trial.path)))
        for step, value in enumerate([1.0, 1.1, 1.2]):
            trial.save(step, {"w": value}, worker="worker_0")
            assert step < 1 or rule.base_trial.path
            trial.save(step, {"w": value + 1}, worker="worker_1")
            rule.invoke_at_step(step)
        assert_same_comparisons(expected_comparisons(trial.saved), found_comparisons(rule.comparisons()))


class TestTrialsThatCannotBeJudged:
    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("pytorch_reductions_only", "were saved only as reductions ('l2')"),
            ("xgboost", "no tensor of the collection 'weights' was saved"),
        ],
    )
    def test_ended_ones_raise(self, name: str, words: str) -> None:
        """The framework's exception says which it is, and what to save instead; asked again, it is raised again."""
        rule = WeightUpdateRatio(str(RECORDED[name]))
        for _ in range(2):
            with pytest.raises(InsufficientInformationForRuleInvocation) as caught:
                invoke_rule(rule)
            assert words in str(caught.value)
            assert "Save the" in str(caught.value)

    def test_a_start_in_the_middle_of_a_trial_without_event_files(self, write_trial: Any) -> None:
        """Nothing of it can be compared, wherever the judging begins."""
        trial = write_trial({"w": random_walk()}, steps=4)
        shutil.rmtree(trial.path / "events")
        with pytest.raises(InsufficientInformationForRuleInvocation, match="nothing could be read to compare"):
            invoke_rule(WeightUpdateRatio(str(trial.path)), start_step=2)

    def test_a_broken_index_is_named(self, write_trial: Any) -> None:
        """Where nothing but unreadable index files is left, the first of them is named."""
        trial = write_trial({"w": random_walk()}, steps=2)
        opened = create_trial(str(trial.path))  # before the damage: smdebug cannot open it after
        for step in range(2):
            index_file(trial.path, step).write_text("no JSON")
        rule = WeightUpdateRatio(opened)
        with pytest.raises(InsufficientInformationForRuleInvocation, match="is not JSON"):
            rule.invoke_at_step(1)

    def test_no_folder(self) -> None:
        """The error comes at once; smdebug alone would wait for ever."""
        with pytest.raises(TrialError, match="the trial folder '/no/such/trial' does not exist"):
            WeightUpdateRatio("/no/such/trial")

    def test_unreadable_records_are_logged_once(self, write_trial: Any, log: Any) -> None:
        """What could not be read is an error in the log, and counted; the rest is judged."""
        trial = write_trial({"w": random_walk(), "v": random_walk(seed=1)}, steps=4)
        event_file(trial.path, 2).write_bytes(b"")
        rule = WeightUpdateRatio(create_trial(str(trial.path)))
        for step in (0, 1, 2, 2, 3):
            rule.invoke_at_step(step)
        errors = [record.getMessage() for record in log if record.levelno == logging.ERROR]
        file = "events/000000000002/000000000002_worker_0.tfevents"
        start = f"the record of tensor 'w' at step 2 in '{file}' has 0 bytes, while the index names bytes 0 to "
        assert start in errors[0]
        assert ["w", "v"] == [error.split("'")[1] for error in errors[:2]]
        assert len(errors) == rule.report["Details"]["unreadable"]

    def test_an_index_file_of_no_json_is_logged(self, write_trial: Any, log: Any) -> None:
        """An unreadable index file belongs to no tensor."""
        trial = write_trial({"w": random_walk()}, steps=3)
        opened = create_trial(str(trial.path))
        index_file(trial.path, 2).write_text("[]")
        rule = WeightUpdateRatio(opened)
        assert rule.invoke_at_step(1) is False
        assert rule.invoke_at_step(2) is False
        errors = [record.getMessage() for record in log if record.levelno == logging.ERROR]
        name = "index/000000000/000000000002_worker_0.json"
        assert [f"the record at step 2 in '{name}' is not an index: it has no 'meta'"] == errors


class TestPatience:
    def test_what_a_tensor_can_just_reach(self) -> None:
        """The frozen layer violates 19 times in a row."""
        rule = WeightUpdateRatio(str(RECORDED["pytorch_frozen"]), patience="19")
        assert true_steps("pytorch_frozen")[-1:] == fired_steps(rule)

    def test_what_no_tensor_can_reach(self) -> None:
        """A check of the ended trial says the same."""
        rule = WeightUpdateRatio(str(RECORDED["pytorch_frozen"]), patience="20")
        checked = check_trial(RECORDED["pytorch_frozen"], patience=20)
        with pytest.raises(InsufficientInformationForRuleInvocation) as caught:
            fired_steps(rule)
        assert str(checked.problem) in str(caught.value)
        assert "patience asks for 20 violations in a row, and no tensor has more than 19" in str(checked.problem)
        assert 2 == checked.exit_code

    def test_only_steps_at_which_it_was_invoked_count(self) -> None:
        """In the order of global steps, whatever came between."""
        rule = WeightUpdateRatio(str(RECORDED["pytorch_frozen"]), patience="3")
        assert [False, False, True] == [rule.invoke_at_step(step) for step in true_steps("pytorch_frozen")[::6][:3]]
        assert 1 == rule.report["RuleTriggered"]


class TestSignature:
    def test_the_service_finds_the_parameters(self) -> None:
        """Plain positional-or-keyword parameters with defaults: the service reads them by getfullargspec."""
        spec = inspect.getfullargspec(WeightUpdateRatio.__init__)
        expected = (
            "self base_trial num_steps large_threshold small_threshold epsilon collection_names tensor_regex "
            "action_str action_json report_dir exclude_regex patience baseline baseline_factor"
        )
        assert expected.split() == spec.args
        assert (None, 10.0, 1e-8, 1e-9, "weights", None, "", "", "", None, None, None, 3.0) == spec.defaults
        assert (None, None, []) == (spec.varargs, spec.varkw, spec.kwonlyargs)

    def test_a_bad_value(self) -> None:
        """The error names the parameter, what is valid, and what came."""
        with pytest.raises(ValueError, match=r"^'num_steps' must be a whole number >= 1 or None \(got '1.5'\)$"):
            WeightUpdateRatio(str(RECORDED["pytorch_healthy"]), num_steps="1.5")


class TestActions:
    SMS = '{"name": "sms", "endpoint": "+1"}'

    @pytest.mark.parametrize("none", ["", "None", " ", None, [], {}])
    def test_none(self, none: Any) -> None:
        """No action in any of the ways in which it may be said."""
        assert "" == parse_actions(none, none)

    @pytest.mark.parametrize(
        "given",
        [
            SMS,
            f"[{SMS}]",
            SMS.replace('"', '\\"'),
            f"[{SMS}]".replace('"', '\\"'),
            {"name": "sms", "endpoint": "+1"},
            [{"name": "sms", "endpoint": "+1"}],
        ],
    )
    def test_forms(self, given: Any) -> None:
        """Plain or escaped, one or several, text or objects, under either name."""
        assert [json.loads(self.SMS)] == json.loads(parse_actions(given))
        assert [json.loads(self.SMS)] == json.loads(parse_actions("", given))

    def test_the_framework_takes_them(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """The framework registers the action that it is given; without credentials it cannot look for the job."""
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
            monkeypatch.delenv(name, raising=False)
        for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
            monkeypatch.setenv(name, str(tmp_path / "none"))
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        action = '{\\"name\\": \\"StopTraining\\", \\"training_job_prefix\\": \\"job-1\\"}'
        rule = WeightUpdateRatio(str(RECORDED["pytorch_healthy"]), action_json=action)
        assert ["job-1"] == [action._training_job_prefix for action in rule._actions._actions]

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ("{", "'action_str' must be JSON (got '{')"),
            ("[" * 100_000, "'action_str' must be JSON"),
            ('{"name": "fax"}', "'action_str' must name actions of stoptraining, sms, email (got {'name': 'fax'})"),
            ("3", "'action_str' must name actions of"),
            ('{"name": 3}', "'action_str' must name actions of"),
            ('{"name": "sms"}', "'action_str' must give 'endpoint' for the action 'sms' (got {'name': 'sms'})"),
            ('{"name": "stoptraining", "training_job_prefix": ""}', "must give 'training_job_prefix' for the action"),
        ],
    )
    def test_bad_ones(self, given: str, words: str) -> None:
        """What smdebug would silently ignore is an error here."""
        with pytest.raises(ValueError, match=r"^'action_str' must") as caught:
            parse_actions(given)
        assert words in str(caught.value)


def test_collections_written_by_several_workers_are_joined(write_trial: Any) -> None:
    """A tensor is a weight if any worker's collections say so."""
    trial = write_trial({"w": random_walk(), "v": random_walk(seed=1)}, steps=2, workers=("worker_0", "worker_1"))
    file = trial.path / "collections" / "000000000" / "worker_1_collections.json"
    change_json(file, lambda content: content["collections"]["weights"].update(tensor_names=["v"]))
    rule = WeightUpdateRatio(str(trial.path))
    rule.invoke_at_step(1)
    assert 4 == rule.report["Datapoints"]


def test_exclude_regex_as_a_string() -> None:
    """As the service passes it: what it matches is not judged, so that the frozen layer does not fire."""
    rule = WeightUpdateRatio(str(RECORDED["pytorch_frozen"]), exclude_regex="conv,bn")
    assert [] == fired_steps(rule)
    assert {"TinyNet_fc1.weight", "TinyNet_fc2.weight"} == set(rule.comparisons().tensor)


class TestTheReportFile:
    def report_of(self, rule: WeightUpdateRatio, folder: Path) -> dict[str, Any]:
        rule._report_file.close()  # as at the end of the process
        report: dict[str, Any] = json.loads((folder / "WeightUpdateRatio.json").read_text())
        return report

    @pytest.mark.parametrize("order", [(5, 4, 3, 2, 1, 0, 5), (5, 3, 1, 0, 2, 4, 4, 3), (0, 1, 2, 3, 4, 5)])
    def test_in_any_order(self, write_trial: Any, tmp_path: Path, order: tuple[int, ...]) -> None:
        """Once all steps are judged it is that of a check; the last step, which holds no rows, may come first."""
        modes = ["TRAIN"] * 5 + ["EVAL"]
        trial = write_trial({"w": random_walk()}, steps=6, modes=modes).path
        rule = WeightUpdateRatio(create_trial(str(trial)), report_dir=str(tmp_path / "out"))
        for step in order:
            rule.invoke_at_step(step)
        found, expected = self.report_of(rule, tmp_path / "out"), json.loads(check_trial(trial).to_json())
        for name in ("findings", "summary"):  # which only the check has
            del expected[name]
        for report in (found, expected):
            report.pop("violations")
        assert expected == found
        assert (4, None) == (rule.report["Datapoints"], rule._run.problem)

    @pytest.mark.parametrize("options", [{"start_step": 4}, {"end_step": 5}, {"start_step": 2, "end_step": 6}])
    def test_a_range_of_steps(self, write_trial: Any, tmp_path: Path, options: dict[str, int]) -> None:
        """It is that of a check of these steps, whatever is missing before them."""
        trial = write_trial({"w": random_walk()}, steps=8).path
        index_file(trial, 1).unlink()
        event_file(trial, 1).unlink()
        rule = WeightUpdateRatio(create_trial(str(trial)), report_dir=str(tmp_path / "out"))
        with contextlib.suppress(NoMoreData):
            invoke_rule(rule, **options)
        found, expected = self.report_of(rule, tmp_path / "out"), json.loads(check_trial(trial, **options).to_json())
        assert expected["counts"] == found["counts"]
        assert expected["complete"] == found["complete"]

    def test_broken_index_files_before_the_first_step(self, write_trial: Any, tmp_path: Path) -> None:
        """They concern no step that is judged."""
        trial = write_trial({"w": random_walk()}, steps=8).path
        opened = create_trial(str(trial))
        index_file(trial, 1).unlink()
        rule = WeightUpdateRatio(opened, report_dir=str(tmp_path / "out"))
        with pytest.raises(NoMoreData):
            invoke_rule(rule, start_step=4)
        found, expected = self.report_of(rule, tmp_path / "out"), json.loads(check_trial(trial, start_step=4).to_json())
        assert (expected["counts"], True) == (found["counts"], found["complete"])

    def test_the_end_of_the_process(self, tmp_path: Path) -> None:
        """A rule of some steps, none of which fires, leaves its report as well."""
        program = (
            "import sys; from smdebug.rules import invoke_rule; from smdebug.trials import create_trial; "
            "from weight_update_ratio import WeightUpdateRatio; "
            "invoke_rule(WeightUpdateRatio(create_trial(sys.argv[1]), report_dir=sys.argv[2]), end_step=5)"
        )
        command = [sys.executable, "-c", program, RECORDED["pytorch_healthy"], tmp_path / "out"]
        subprocess.run(command, check=True, capture_output=True, cwd=REPOSITORY, timeout=60)
        report = json.loads((tmp_path / "out" / "WeightUpdateRatio.json").read_text())
        assert (False, 16) == (report["fired"], report["counts"]["comparisons"])

    def test_a_slow_disk(self, write_trial: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Reports of firing steps take a tenth of the time at most; the last one is written."""
        trial = write_trial({"w": random_walk()}, steps=30).path
        written: list[int] = []

        def slow(run: Any) -> dict[str, Any]:
            time.sleep(0.05)
            written.append(len(run))
            return run_document(run)

        monkeypatch.setattr("weight_update_ratio.sagemaker.report_file.run_document", slow)
        monkeypatch.setattr("weight_update_ratio.sagemaker.report_file.FREE_SECONDS", 0.1)
        rule = WeightUpdateRatio(create_trial(str(trial)), large_threshold=1e-6, report_dir=str(tmp_path / "out"))
        for step in range(30):
            rule.invoke_at_step(step)
        assert len(written) < 8
        assert 29 == written[-1]


class TestStepsThatAreNotThereYet:
    def test_are_judged_when_they_come(self, write_trial: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """A live job may be asked for a step too early: that says nothing."""
        monkeypatch.setattr("weight_update_ratio.rule.POLL_SECONDS", 0.0)
        trial = write_trial({"w": lambda step: np.ones(3) * (1 + step / 100)}, steps=2, ended=False)
        rule = WeightUpdateRatio(create_trial(str(trial.path)))
        assert [False] * 3 == [rule.invoke_at_step(step) for step in (0, 1, 2)]
        trial.save(2, {"w": np.ones(3) * 1.01})
        assert (True, True) == (rule.invoke_at_step(2), check_trial(trial.path).fired)


class TestWhatMatchesNothing:
    def test_it_is_said_once(self, log: Any) -> None:
        """As an error, when the trial has ended; the rule judges what matches, and fires as without."""
        rule = WeightUpdateRatio(str(RECORDED["pytorch_healthy"]), tensor_regex="conv,nowhere")
        for _ in range(2):
            with pytest.raises(NoMoreData):
                invoke_rule(rule)
        errors = [record.getMessage() for record in log if record.levelno == logging.ERROR]
        assert 1 == len(errors)
        assert "matches tensor_regex 'nowhere'; the collections' tensors are" in errors[0]
        assert 19 == rule.report["Datapoints"]


class TestAFolderThatIsNotATrial:
    def test_what_it_waits_for_is_said_once(self, tmp_path: Path, log: Any) -> None:
        """It goes on waiting, for a job may be about to write there; the trial below is named."""
        shutil.copytree(RECORDED["pytorch_healthy"], tmp_path / "job" / "debug-output")
        made: list[WeightUpdateRatio] = []
        path = f" {tmp_path / 'job'}\n"
        thread = threading.Thread(target=lambda: made.append(WeightUpdateRatio(path)), daemon=True)
        thread.start()
        deadline = time.monotonic() + 30
        while not log and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.5)
        assert thread.is_alive()
        shutil.copytree(RECORDED["pytorch_healthy"], tmp_path / "job", dirs_exist_ok=True)
        thread.join(30)
        assert ["TRAIN"] == [check_trial(rule.base_trial.path).mode for rule in made]
        said = [record.getMessage() for record in log if "waiting" in record.getMessage()]
        below = str(tmp_path / "job" / "debug-output")
        where = f"the folder {str(tmp_path / 'job')!r} is not a trial, but {below!r} is"
        assert [f"waiting for the trial: {where}; Pass {below!r}."] == said
