"""The rule for an Estimator: against the SageMaker SDK's own dictionaries."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.sagemaker.server import REGION
from tests.sagemaker.test_configuration import (
    EVERYTHING,
    OUTPUT_PATH,
    SOURCE,
    configuration,
    needs_sdk,
    rule_parameters,
)
from weight_update_ratio.sagemaker.actions import parse_actions
from weight_update_ratio.sagemaker.estimator import RULE_PARAMETERS, custom_rule
from weight_update_ratio.sagemaker.single_file import rule_source


@needs_sdk
@pytest.mark.filterwarnings("ignore")  # the SDK's own
class TestCustomRule:
    @pytest.mark.parametrize("options", [{}, EVERYTHING], ids=["defaults", "everything"])
    def test_gives_the_same_dictionary(self, options: dict[str, Any]) -> None:
        from sagemaker.debugger import DebuggerHookConfig, Rule

        expected = configuration(**options)
        rule = custom_rule(SOURCE, region=REGION, **options)
        assert type(rule) is Rule
        rule.prepare_actions("job")  # as an Estimator does before it asks for the dictionary
        assert [rule.to_debugger_rule_config_dict()] == expected["DebugRuleConfigurations"]
        hook = DebuggerHookConfig(s3_output_path=OUTPUT_PATH, collection_configs=rule.collection_configs)
        assert hook._to_request_dict() == expected["DebugHookConfig"]

    def test_takes_what_the_built_in_rule_was_given(self) -> None:
        from sagemaker.debugger import Rule, rule_configs

        given = {"large_threshold": "5", "small_threshold": "1e-06", "num_steps": "100", "epsilon": "1e-10"}
        built_in = Rule.sagemaker(rule_configs.weight_update_ratio(), rule_parameters=given)
        ours = custom_rule(SOURCE, region=REGION, rule_parameters=given)
        required = {"source_s3_uri": SOURCE, "rule_to_invoke": "WeightUpdateRatio"}
        assert ours.rule_parameters == {**built_in.rule_parameters, **required, "large_threshold": "5.0"}

    def test_every_parameter_may_be_a_keyword_or_one_of_rule_parameters(self) -> None:
        given = {name: value for name, value in EVERYTHING.items() if name in RULE_PARAMETERS}
        assert set(given) == set(RULE_PARAMETERS)
        by_keyword = custom_rule(SOURCE, region=REGION, **given)
        for name, value in given.items():
            rest = {other: kept for other, kept in given.items() if other != name}
            mixed = custom_rule(SOURCE, region=REGION, rule_parameters={name: str(value)}, **rest)
            assert mixed.rule_parameters == by_keyword.rule_parameters

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            (
                {"threshold": "5"},
                "'rule_parameters' must hold only num_steps, large_threshold, small_threshold, epsilon, "
                "collection_names, tensor_regex, exclude_regex, patience, baseline, baseline_factor, "
                "report_dir, start_step, end_step (got 'threshold')",
            ),
            (
                {"source_s3_uri": SOURCE, "rule_to_invoke": "Mine"},
                "(got 'source_s3_uri', 'rule_to_invoke'): custom_rule itself writes 'source_s3_uri', 'rule_to_invoke'",
            ),
            (
                {"epsilon": "1e-10", "num_steps": "3"},
                "'num_steps' must be a keyword or one of 'rule_parameters', not both (got 4 and '3')",
            ),
            ({"large_threshold": "high"}, "'large_threshold' must be a finite number (got 'high')"),
        ],
    )
    def test_what_rule_parameters_may_not_hold(self, given: dict[str, str], message: str, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=re.escape(message)):
            custom_rule(tmp_path / "rule.py", region=REGION, rule_parameters=given, num_steps=4)
        assert os.listdir(tmp_path) == []

    @pytest.mark.parametrize("given", [[1], "large_threshold=5", 3])
    def test_rule_parameters_of_another_type(self, given: Any) -> None:
        with pytest.raises(ValueError, match=r"^'rule_parameters' must be a dictionary \(got "):
            custom_rule(region=REGION, rule_parameters=given)

    @pytest.mark.parametrize("name", ["large_treshold", "output_path"])
    def test_a_keyword_that_is_not_known(self, name: str) -> None:
        with pytest.raises(TypeError, match=rf"^custom_rule\(\) got an unexpected keyword argument '{name}'$"):
            custom_rule(region=REGION, **{name: "5"})

    def test_a_keyword_that_is_none_is_not_given(self) -> None:
        rule = custom_rule(SOURCE, region=REGION, rule_parameters={"num_steps": "3"}, num_steps=None)
        assert rule.rule_parameters["num_steps"] == "3"

    def test_the_actions_are_what_the_sdks_own_serialize_to(self) -> None:
        from sagemaker.debugger import rule_configs

        actions = rule_configs.ActionList(
            rule_configs.StopTraining("My-Job"), rule_configs.Email("someone@example.com"), rule_configs.SMS("+1415")
        )
        ours = rule_parameters(stop_training="My-Job", email="someone@example.com", sms="+1415")
        assert ours["action_json"] == actions.serialize()

    def test_stop_training_true_is_the_job_that_the_estimator_starts(self) -> None:
        rule = custom_rule(SOURCE, stop_training=True, sms="+1415", region=REGION)
        rule.prepare_actions("train-2026")
        expected = rule_parameters(stop_training="train-2026", sms="+1415")["action_json"]
        assert json.loads(parse_actions(rule.rule_parameters["action_json"])) == json.loads(parse_actions(expected))

    @pytest.mark.parametrize("off", [None, False])
    def test_stop_training_false_is_no_action(self, off: Any) -> None:
        rule = custom_rule(SOURCE, stop_training=off, region=REGION)
        rule.prepare_actions("train-2026")
        assert set(rule.rule_parameters) == {"source_s3_uri", "rule_to_invoke"}

    def test_source_is_a_file_that_it_wrote(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        for source in (None, tmp_path / "here.py", str(tmp_path / "there.py")):
            rule = custom_rule(source, region=REGION)
            written = Path(rule.rule_parameters["source_s3_uri"])
            assert tmp_path in written.parents
            assert source is None or written == Path(source)
            assert written.read_bytes() == rule_source().encode("utf-8")

    def test_nothing_is_written_for_a_rule_that_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="'num_steps' must be"):
            custom_rule(tmp_path / "rule.py", region=REGION, num_steps=0)
        with pytest.raises(ValueError, match="'sms' must be"):
            custom_rule(tmp_path / "rule.py", region=REGION, sms="0")
        assert os.listdir(tmp_path) == []


def test_without_the_sdk_custom_rule_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does version 3 do, whose package of this name has no module 'debugger'."""
    monkeypatch.setitem(sys.modules, "sagemaker", ModuleType("sagemaker"))
    monkeypatch.delitem(sys.modules, "sagemaker.debugger", raising=False)
    with pytest.raises(ImportError, match=r"pip install 'weight-update-ratio\[sagemaker\]'\); with version 3 pass the"):
        custom_rule(region=REGION)
