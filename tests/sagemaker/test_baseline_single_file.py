"""The single file with a baseline on S3, as the service has it: parameters are strings, and Python is 3.7."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RECORDED
from tests.s3_server import CREDENTIALS
from tests.sagemaker.test_configuration import needs_sdk
from tests.sagemaker.test_single_file import (
    EVALUATOR,
    invoke_until_end,
    load,
    source,  # noqa: F401  (a fixture)
    source_file,  # noqa: F401  (a fixture)
)
from weight_update_ratio import Report, check_trial
from weight_update_ratio.sagemaker import custom_rule, rule_configuration

SOURCE, OUTPUT_PATH = "s3://bucket/rules/rule.py", "s3://bucket/tensors"

# What the evaluator does with the file, and then the rows of the rule and the steps at which it fired.
PROGRAM = """
import importlib.util, json, sys

evaluator, source, trial, parameters = sys.argv[1:]
spec = importlib.util.spec_from_file_location("evaluator", evaluator)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
rule = module.make(module.load(source), module.create_trial(trial), json.loads(parameters))
fired = module.fired_steps(rule, 0, None)
print(json.dumps([sys.version_info[:2], fired, [list(map(str, row)) for row in rule._run]]))
"""


def strings(**options: Any) -> dict[str, str]:
    """Return the rule's parameters as the configuration passes them on."""
    configuration = rule_configuration(SOURCE, OUTPUT_PATH, region="eu-west-1", **options)
    parameters: dict[str, str] = configuration["DebugRuleConfigurations"][0]["RuleParameters"]
    assert all(isinstance(value, str) for value in parameters.values())
    return {name: value for name, value in parameters.items() if name not in ("source_s3_uri", "rule_to_invoke")}


def facts(report: Report) -> tuple[list[int], list[list[str]]]:
    """Return the steps that fire and the rows with their bounds and verdicts, every digit of them."""
    return report.fired_steps, [list(map(str, row)) for row in report]


TEMPLATE = "rule = WeightUpdateRatio(base_trial=trial{arguments})"


def without_numbers(row: list[str]) -> list[str]:
    """Return what and when a row is of, and its verdict."""
    return row[:6] + row[-1:]


def numbers(row: list[str]) -> list[float]:
    """Return the norms, the ratio and the bounds; another NumPy adds in another order."""
    return list(map(float, row[6:-1]))


def made(names: dict[str, Any], trial: Path, parameters: dict[str, str]) -> Any:
    """Return the rule as the evaluator's template makes it: parameters stand between double quotes."""
    from smdebug.trials import create_trial

    names["trial"] = create_trial(str(trial))
    arguments = "".join(f', {name}="{value}"' for name, value in parameters.items())
    exec(TEMPLATE.format(arguments=arguments), names)  # noqa: S102  as the service does it
    return names["rule"]


def run_program(python: str, *arguments: Any, settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a program of a few lines in the evaluator's environment, which has not this package."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [python, "-c", PROGRAM, *map(str, arguments)],
        capture_output=True,
        encoding="utf-8",
        env={**environment, **settings, "SMDEBUG_LOG_LEVEL": "error"},
        cwd=Path(python).parent,
        timeout=120,
        check=False,
    )


class TestConfiguration:
    """The service passes strings: what was given means the same to the rule."""

    GIVEN = (
        {"patience": 5, "baseline": "s3://my-bucket/good.json", "baseline_factor": 2},
        {"patience": "5", "baseline": ["s3://my-bucket/good.json"], "baseline_factor": "2.0"},
    )
    WRITTEN = {"patience": "5", "baseline": "s3://my-bucket/good.json", "baseline_factor": "2.0"}  # noqa: RUF012

    @pytest.mark.parametrize("given", GIVEN)
    def test_of_boto3(self, given: dict[str, Any]) -> None:
        assert strings(**given) == self.WRITTEN

    @needs_sdk
    @pytest.mark.filterwarnings("ignore")  # the SDK's own
    @pytest.mark.parametrize("given", GIVEN)
    def test_of_the_sdk(self, given: dict[str, Any]) -> None:
        written = custom_rule(SOURCE, region="eu-west-1", rule_parameters=given).rule_parameters
        assert {name: written[name] for name in self.WRITTEN} == self.WRITTEN

    def test_defaults_are_not_written(self) -> None:
        assert strings(patience=None, baseline="", baseline_factor=3) == {}

    def test_several_baselines_are_one_string(self) -> None:
        uris = ["s3://my-bucket/good.json", "s3://my-bucket/job/debug-output"]
        assert strings(baseline=uris) == strings(baseline=", ".join(uris)) == {"baseline": ",".join(uris)}


class TestInThisProcess:
    @pytest.mark.parametrize(
        ("run", "good"),
        [
            ("pytorch_frozen", "pytorch_healthy"),
            ("pytorch_healthy", "pytorch_frozen"),
            ("pytorch_exploding", "pytorch_healthy"),
            ("tf_keras", "tf_keras"),
        ],
    )
    def test_has_the_rows_and_firing_steps_of_the_check(
        self,
        source_file: Path,  # noqa: F811
        run: str,
        good: str,
        tmp_path: Path,
    ) -> None:
        (tmp_path / "good.json").write_text(check_trial(RECORDED[good]).to_baseline())
        for baseline in (str(RECORDED[good]), f"{tmp_path / 'good.json'}"):
            names = {"WeightUpdateRatio": load(source_file).WeightUpdateRatio}
            rule = made(names, RECORDED[run], {"baseline": baseline, "patience": "2", "baseline_factor": "1.5"})
            found = invoke_until_end(rule), [list(map(str, row)) for row in rule._run]
            assert found == facts(check_trial(RECORDED[run], baseline=baseline, patience=2, baseline_factor=1.5))

    def test_the_report_in_report_dir_is_that_of_the_check_without_findings(
        self,
        source_file: Path,  # noqa: F811
        tmp_path: Path,
    ) -> None:
        run, good = RECORDED["pytorch_frozen"], RECORDED["pytorch_healthy"]
        names = {"WeightUpdateRatio": load(source_file).WeightUpdateRatio}
        invoke_until_end(made(names, run, {"baseline": str(good), "report_dir": str(tmp_path)}))
        report = json.loads((tmp_path / "WeightUpdateRatio.json").read_text())
        expected = json.loads(check_trial(run, baseline=good).to_json())
        assert expected == {**report, "findings": expected["findings"], "summary": expected["summary"]}

    def test_what_cannot_be_held_is_insufficient(self, source_file: Path) -> None:  # noqa: F811
        from smdebug.exceptions import InsufficientInformationForRuleInvocation

        run, good = RECORDED["pytorch_frozen"], RECORDED["tf_keras"]
        names = {"WeightUpdateRatio": load(source_file).WeightUpdateRatio}
        with pytest.raises(InsufficientInformationForRuleInvocation) as caught:
            invoke_until_end(made(names, run, {"baseline": str(good)}))
        assert check_trial(run, baseline=good).problem.message in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("evaluator_python", ["3.7"], indirect=True)
def test_on_python_37_with_the_baseline_on_s3(
    evaluator_python: str,
    source_file: Path,  # noqa: F811
    s3: Any,
    tmp_path: Path,
) -> None:
    """Of a folder and a file in one string, and of a file: the rows and firing steps of the check."""
    (tmp_path / "good.json").write_text(check_trial(RECORDED["pytorch_killed"]).to_baseline())
    folder, files = s3.upload(RECORDED["pytorch_healthy"], "single/healthy"), s3.upload(tmp_path, "single")
    settings = {**CREDENTIALS, "AWS_ENDPOINT_URL": s3.endpoint}
    for name, given in (
        ("pytorch_frozen", {"baseline": [folder, f"{files}/good.json"], "patience": 2, "baseline_factor": 1}),
        ("pytorch_exploding", {"baseline": [f"{files}/good.json"]}),
    ):
        parameters = json.dumps(strings(**given))
        done = run_program(evaluator_python, EVALUATOR, source_file, RECORDED[name], parameters, settings=settings)
        assert done.returncode == 0, done.stderr
        version, fired, found = json.loads(done.stdout.splitlines()[-1])
        expected_fired, expected = facts(check_trial(RECORDED[name], **given))
        assert (version, fired) == ([3, 7], expected_fired)
        assert list(map(without_numbers, found)) == list(map(without_numbers, expected))
        for row, same in zip(found, expected):
            assert numbers(row) == pytest.approx(numbers(same), rel=1e-9, abs=0, nan_ok=True)

    uri = f"{files}/nowhere.json"
    absent = json.dumps({"baseline": uri})
    done = run_program(evaluator_python, EVALUATOR, source_file, RECORDED["tf_keras"], absent, settings=settings)
    assert done.returncode == 1
    assert f"the baseline {uri!r} cannot be used: " in done.stderr
