"""The rule for an Estimator: against the SageMaker SDK's own dictionaries."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.sagemaker.conftest import REGION
from tests.sagemaker.test_configuration import EVERYTHING, GOLDEN, OUTPUT_PATH, RULE, SOURCE, needs_sdk
from weight_update_ratio.sagemaker import custom_rule, rule_source

NAMES = (
    "num_steps, large_threshold, small_threshold, epsilon, collection_names, tensor_regex, exclude_regex, patience, "
    "baseline, baseline_factor, report_dir, start_step, end_step"
)
UNEXPECTED = "unexpected keyword argument '{}'"
STOP = {"training_job_prefix": "train-2026", "name": "stoptraining"}
SMS = {"endpoint": "+1415", "name": "sms"}


@needs_sdk
@pytest.mark.filterwarnings("ignore")  # the SDK's own
class TestCustomRule:
    @pytest.mark.parametrize("names", ["", NAMES, "epsilon, end_step"], ids=["no", "all", "some"])
    def test_gives_the_dictionary_of_the_configuration(self, names: str) -> None:
        """Each parameter may be a keyword or one of rule_parameters; a keyword of None is not given."""
        from sagemaker.debugger import DebuggerHookConfig, Rule

        given = {name: str(EVERYTHING[name]) for name in names.split(", ") if name}
        keywords = {name: value for name, value in EVERYTHING.items() if name not in given}
        rule = custom_rule(SOURCE, region=REGION, rule_parameters=given, **keywords, **dict.fromkeys(given))
        assert type(rule) is Rule
        rule.prepare_actions("job")  # as an Estimator does before it asks for the dictionary
        assert [rule.to_debugger_rule_config_dict()] == GOLDEN["DebugRuleConfigurations"]
        hook = DebuggerHookConfig(s3_output_path=OUTPUT_PATH, collection_configs=rule.collection_configs)
        assert hook._to_request_dict() == GOLDEN["DebugHookConfig"]

    def test_takes_what_the_built_in_rule_was_given(self) -> None:
        from sagemaker.debugger import Rule, rule_configs

        given = {"large_threshold": "5.0", "small_threshold": "1e-06", "num_steps": "100", "epsilon": "1e-10"}
        built_in = Rule.sagemaker(rule_configs.weight_update_ratio(), rule_parameters=given)
        ours = custom_rule(SOURCE, region=REGION, rule_parameters=given)
        assert ours.rule_parameters == {**built_in.rule_parameters, **RULE}

    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"rule_parameters": {"threshold": "5"}}, TypeError, UNEXPECTED.format("threshold")),
            ({"rule_parameters": {"source_s3_uri": SOURCE}}, TypeError, UNEXPECTED.format("source_s3_uri")),
            (
                {"rule_parameters": {"num_steps": "3"}, "num_steps": 4},
                TypeError,
                "weight_update_ratio.sagemaker.configuration.rule_configuration() got multiple values for keyword "
                "argument 'num_steps'",
            ),
            ({"email": "0"}, ValueError, "'email' must be an e-mail address (got '0')"),
            ({"output_path": "5"}, TypeError, "rule_configuration() got multiple values for argument 'output_path'"),
        ],
    )
    def test_what_is_refused(
        self, options: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
    ) -> None:
        """Then nothing is written."""
        with pytest.raises(error) as caught:
            custom_rule(tmp_path / "rule.py", region=REGION, **options)
        assert str(caught.value).startswith(message)
        assert os.listdir(tmp_path) == []

    @pytest.mark.parametrize(("stop_training", "expected"), [(True, [STOP, SMS]), (False, [SMS]), (None, [SMS])])
    def test_the_job_that_is_stopped_is_the_one_that_the_estimator_starts(
        self, stop_training: bool | None, expected: list[dict[str, str]]
    ) -> None:
        rule = custom_rule(SOURCE, stop_training=stop_training, sms="+1415", region=REGION)
        rule.prepare_actions("train-2026")
        assert json.loads(rule.rule_parameters["action_json"].replace('\\"', '"')) == expected

    def test_source_is_a_file_that_it_wrote(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        for source in (None, tmp_path / "here.py", str(tmp_path / "there.py")):
            rule = custom_rule(source, region=REGION)
            written = Path(rule.rule_parameters["source_s3_uri"])
            assert tmp_path in written.parents
            assert source is None or written == Path(source)
            assert written.read_bytes() == rule_source().encode("utf-8")


def test_without_the_sdk_custom_rule_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does version 3 do, whose package of this name has no module 'debugger'."""
    monkeypatch.setitem(sys.modules, "sagemaker", ModuleType("sagemaker"))
    monkeypatch.delitem(sys.modules, "sagemaker.debugger", raising=False)
    with pytest.raises(ImportError, match=r"pip install 'weight-update-ratio\[sagemaker\]'\); with version 3 pass the"):
        custom_rule(region=REGION)
