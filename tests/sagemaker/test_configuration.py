"""The configuration for SageMaker Debugger: against botocore's validator, and a real endpoint."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

from tests.conftest import REPOSITORY, run_command
from tests.sagemaker.server import REGION, running_server
from weight_update_ratio.cli import main
from weight_update_ratio.sagemaker.actions import parse_actions
from weight_update_ratio.sagemaker.configuration import rule_configuration, rule_source

SOURCE = "s3://bucket/rules/weight_update_ratio_rule.py"
OUTPUT_PATH = "s3://bucket/tensors"
REQUIRED = ("--source", SOURCE, "--output-path", OUTPUT_PATH)
IMAGE = "606966180310.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-debugger-rule-evaluator:latest"

# Every option that changes something, as the function takes it.
EVERYTHING = {
    "instance_type": "ml.m5.xlarge",
    "volume_size": 50,
    "name": "weights of the encoder",
    "save_interval": 2,
    "num_steps": 4,
    "large_threshold": 5,
    "small_threshold": 1e-6,
    "epsilon": "1e-12",
    "collection_names": "weights,biases",
    "tensor_regex": "conv,fc",
    "exclude_regex": "bias",
    "patience": 2,
    "baseline": "s3://my-bucket/good.json,s3://my-bucket/good/debug-output",
    "baseline_factor": "2.5",
    "start_step": 10,
    "end_step": "200",
    "report_dir": "/opt/ml/processing/output/rule",
    "stop_training": "My-Job",
    "email": "some.one@example.com",
    "sms": "+14155550100",
}

needs_sdk = pytest.mark.skipif(
    importlib.util.find_spec("sagemaker") is None, reason="the SageMaker Python SDK is not installed"
)


def configuration(**options: Any) -> dict[str, Any]:
    return rule_configuration(SOURCE, OUTPUT_PATH, **{"region": REGION, **options})


def rule_parameters(**options: Any) -> dict[str, str]:
    return configuration(**options)["DebugRuleConfigurations"][0]["RuleParameters"]


def training_job(**configuration: Any) -> dict[str, Any]:
    """Return what create_training_job needs, with a configuration."""
    return {
        "TrainingJobName": "job",
        "RoleArn": "arn:aws:iam::123456789012:role/SageMaker",
        "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/models"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        **configuration,
    }


def request_errors(request: dict[str, Any]) -> str:
    """Return what botocore's own validator, and the limits of its model that it leaves to the service, say against."""
    import boto3
    from botocore.validate import ParamValidator

    client = boto3.client("sagemaker", region_name=REGION)
    shape = client.meta.service_model.operation_model("CreateTrainingJob").input_shape
    errors = [ParamValidator().validate(request, shape).generate_report()]
    rule_shape = shape.members["DebugRuleConfigurations"].member
    for rule in request["DebugRuleConfigurations"]:
        assert rule["InstanceType"] in rule_shape.members["InstanceType"].enum
        for value in rule["RuleParameters"].values():
            if len(str(value)) > rule_shape.members["RuleParameters"].value.metadata["max"]:
                errors.append(f"too long: {value}")
    return "\n".join(filter(None, errors))


class TestRuleConfiguration:
    def test_of_defaults_names_the_rule_and_saves_weights_at_every_step(self) -> None:
        assert configuration() == {
            "DebugRuleConfigurations": [
                {
                    "RuleConfigurationName": "WeightUpdateRatio",
                    "RuleEvaluatorImage": IMAGE,
                    "InstanceType": "ml.t3.medium",
                    "VolumeSizeInGB": 30,
                    "RuleParameters": {"source_s3_uri": SOURCE, "rule_to_invoke": "WeightUpdateRatio"},
                }
            ],
            "DebugHookConfig": {
                "S3OutputPath": OUTPUT_PATH,
                "CollectionConfigurations": [
                    {"CollectionName": "weights", "CollectionParameters": {"save_interval": "1"}}
                ],
            },
        }

    @pytest.mark.parametrize("options", [{}, EVERYTHING], ids=["defaults", "everything"])
    def test_is_what_botocore_and_the_services_limits_accept(self, options: dict[str, Any]) -> None:
        assert request_errors(training_job(**configuration(**options))) == ""

    def test_the_validator_does_refuse(self) -> None:
        request = training_job(**configuration())
        request["DebugRuleConfigurations"][0]["RuleParameters"]["num_steps"] = 3
        del request["DebugHookConfig"]["S3OutputPath"]
        assert "Invalid type for parameter" in request_errors(request)
        assert 'Missing required parameter in DebugHookConfig: "S3OutputPath"' in request_errors(request)

    def test_writes_what_differs_from_the_default_all_as_strings(self) -> None:
        assert rule_parameters(**EVERYTHING) == {
            "source_s3_uri": SOURCE,
            "rule_to_invoke": "WeightUpdateRatio",
            "num_steps": "4",
            "large_threshold": "5.0",
            "small_threshold": "1e-06",
            "epsilon": "1e-12",
            "collection_names": "weights,biases",
            "tensor_regex": "conv,fc",
            "exclude_regex": "bias",
            "patience": "2",
            "baseline": "s3://my-bucket/good.json,s3://my-bucket/good/debug-output",
            "baseline_factor": "2.5",
            "start_step": "10",
            "end_step": "200",
            "report_dir": "/opt/ml/processing/output/rule",
            "action_json": r"[{\"training_job_prefix\": \"My-Job\", \"name\": \"stoptraining\"}, "
            r"{\"endpoint\": \"some.one@example.com\", \"name\": \"email\"}, "
            r"{\"endpoint\": \"+14155550100\", \"name\": \"sms\"}]",
        }

    def test_the_rule_reads_the_strings_as_they_were_meant(self) -> None:
        from weight_update_ratio.parameters import parse_parameters

        given = {name: value for name, value in EVERYTHING.items() if name in parse_parameters().as_dict()}
        written = {name: value for name, value in rule_parameters(**EVERYTHING).items() if name in given}
        assert parse_parameters(**written) == parse_parameters(**given)

    @pytest.mark.parametrize(
        "default",
        [{"large_threshold": "10"}, {"num_steps": "None"}, {"epsilon": 1e-9}, {"collection_names": "weights"}]
        + [{"start_step": start, "end_step": end} for start, end in ((0, None), ("0", "None"), ("", " "))],
    )
    def test_a_default_that_is_given_is_not_written(self, default: dict[str, Any]) -> None:
        assert set(rule_parameters(**default)) == {"source_s3_uri", "rule_to_invoke"}

    def test_every_compared_collection_is_saved(self) -> None:
        saved = configuration(collection_names="weights,biases", save_interval=10)["DebugHookConfig"]
        assert saved["CollectionConfigurations"] == [
            {"CollectionName": "weights", "CollectionParameters": {"save_interval": "10"}},
            {"CollectionName": "biases", "CollectionParameters": {"save_interval": "10"}},
        ]

    def test_an_image_serves_where_the_region_is_not_known(self) -> None:
        rule = configuration(region="eu-central-2", image_uri="account/image:1")["DebugRuleConfigurations"][0]
        assert rule["RuleEvaluatorImage"] == "account/image:1"

    @pytest.mark.parametrize("name", ["w", "w" * 256, " weights "])
    def test_a_name_within_the_services_limits_is_taken(self, name: str) -> None:
        assert configuration(name=name)["DebugRuleConfigurations"][0]["RuleConfigurationName"] == name

    def test_the_limits_of_a_name_are_those_of_the_model(self) -> None:
        from botocore.session import get_session

        shape = get_session().get_service_model("sagemaker").shape_for("RuleConfigurationName")
        assert shape.metadata == {"min": 1, "max": 256, "pattern": ".*"}

    @pytest.mark.parametrize(
        ("given", "written"),
        [
            ({"start_step": 5}, {"start_step": "5"}),
            ({"end_step": 1}, {"end_step": "1"}),
            ({"start_step": " 5 ", "end_step": "6"}, {"start_step": "5", "end_step": "6"}),
        ],
    )
    def test_steps_are_written_where_they_are_not_all(self, given: dict[str, Any], written: dict[str, str]) -> None:
        required = {"source_s3_uri": SOURCE, "rule_to_invoke": "WeightUpdateRatio"}
        assert rule_parameters(**given) == {**required, **written}

    def test_a_list_of_patterns_may_hold_the_commas_of_repeats(self) -> None:
        assert rule_parameters(tensor_regex=["fc.{1,2}", "conv"])["tensor_regex"] == "fc.{1,2},conv"

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"region": "eu-central-2"}, r"'region' must be one whose evaluator is known, .* \(got 'eu-central-2'\); "),
            ({"region": None}, r"'region' or 'image_uri' must be given"),
            (
                {"region": "us-east-1", "image_uri": IMAGE},
                rf"'region' must be 'eu-west-1', the region of 'image_uri' '{IMAGE}' \(got 'us-east-1'\)",
            ),
            ({"name": ""}, r"'name' must be one line of at most 256 characters, not blank \(got ''\)"),
            ({"name": "  "}, r"'name' must be one line of at most 256 characters, not blank \(got '  '\)"),
            ({"name": "a\nb"}, "'name' must be one line"),
            ({"name": None}, "'name' must be one line"),
            ({"name": "w" * 257}, "'name' must be one line of at most 256 characters"),
            ({"start_step": -1}, r"'start_step' must be a whole number >= 0 \(got -1\)"),
            ({"start_step": "-1"}, r"'start_step' must be a whole number >= 0 \(got '-1'\)"),
            ({"start_step": 1.5}, r"'start_step' must be a whole number >= 0 \(got 1.5\)"),
            ({"start_step": False}, "'start_step' must be a whole number >= 0"),
            ({"end_step": 0}, r"'end_step' must be a whole number > 'start_step' 0 \(got 0\)"),
            ({"start_step": "5", "end_step": "5"}, r"'end_step' must be a whole number > 'start_step' 5 \(got 5\)"),
            ({"source": "rule.py"}, r"'source' must be an S3 URI, .* \(got 'rule.py'\)"),
            ({"source": "s3://bucket"}, "'source' must be an S3 URI"),
            ({"source": "s3://bucket/"}, "'source' must be an S3 URI"),
            ({"source": "s3://b/" + "r" * 250}, "'source_s3_uri' must have at most 256 characters for the service"),
            ({"output_path": "/tensors"}, "'output_path' must be an S3 URI"),
            ({"num_steps": 0}, "'num_steps' must be a whole number >= 1"),
            ({"num_steps": 3, "save_interval": 500}, "'num_steps' must be at least 'save_interval' 500"),
            ({"save_interval": 0}, r"'save_interval' must be a whole number >= 1 \(got 0\)"),
            ({"save_interval": "1"}, r"'save_interval' must be a whole number >= 1 \(got '1'\)"),
            ({"volume_size": True}, "'volume_size' must be a whole number >= 1"),
            ({"baseline": "good.json"}, "'baseline' must be S3 URIs"),
            (
                {"baseline": ["s3://my-bucket/a,b.json"]},
                "must not hold commas or outer spaces within a name, pattern or",
            ),
            ({"tensor_regex": ["fc,1"]}, "must not hold commas or outer spaces within a name, pattern or URI"),
            (
                {"tensor_regex": ["fc[1,2]"]},
                "must not hold commas .* the service passes one string, which is split at commas; in a pattern, write "
                r"'.' in place of the comma \(got {'tensor_regex': 'fc\[1,2\]'}\)",
            ),
            (
                {"tensor_regex": "w" * 257},
                r"'tensor_regex' must have at most 256 characters for the service \(has 257\)",
            ),
            ({"report_dir": "s3://bucket"}, "'report_dir' must be the path of a folder"),
            ({"stop_training": ""}, "'stop_training' must be a training job's name, or its first part"),
            ({"stop_training": 'job"'}, "'stop_training' must be"),
            ({"stop_training": True}, "'stop_training' must be"),
            ({"email": "someone"}, "'email' must be an e-mail address"),
            ({"email": 'some"one@example.com'}, "'email' must be an e-mail address"),
            ({"sms": "4155550100"}, "'sms' must be a telephone number"),
            ({"email": f"{'a' * 250}@example.com"}, "'action_json' must have at most 256 characters"),
        ],
    )
    def test_what_the_service_would_not_take_is_refused(self, options: dict[str, Any], message: str) -> None:
        given = {"source": SOURCE, "output_path": OUTPUT_PATH, "region": REGION, **options}
        with pytest.raises(ValueError, match=message):
            rule_configuration(**given)

    @pytest.mark.parametrize("pattern", [r"\.weight$", 'a"b', "it's", "a\nb"])
    def test_a_value_that_breaks_the_evaluators_template_is_warned_of(self, pattern: str) -> None:
        with pytest.warns(UserWarning, match="'tensor_regex' holds a quote, a backslash or a newline"):
            assert rule_parameters(tensor_regex=pattern)["tensor_regex"] == pattern

    def test_a_collection_that_the_hook_does_not_know_is_warned_of(self) -> None:
        with pytest.warns(UserWarning, match="'encoder' is not one of smdebug's own: add an 'include_regex'"):
            configuration(collection_names="encoder")


class TestCommand:
    @pytest.fixture
    def run(self, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
        """Give a function that runs the command in this process and returns exit code, stdout and stderr."""

        def run(*arguments: Any) -> tuple[int, str, str]:
            with pytest.raises(SystemExit) as ended:
                main([str(argument) for argument in arguments])
            return (int(ended.value.code or 0), *capsys.readouterr())

        return run

    def test_prints_the_functions_dictionary(self, run: Callable[..., tuple[int, str, str]]) -> None:
        options = [f"--{name.replace('_', '-')}={value}" for name, value in EVERYTHING.items()]
        result = run_command("rule-config", *REQUIRED, "--region", REGION, *options)
        assert (result.returncode, result.stderr) == (0, "")
        assert json.loads(result.stdout) == configuration(**EVERYTHING)
        assert run("rule-config", *REQUIRED, "--region", REGION, *options) == (0, result.stdout, "")

    def test_output_is_the_file_that_stdout_would_be(
        self, run: Callable[..., tuple[int, str, str]], tmp_path: Path
    ) -> None:
        _, printed, _ = run("rule-config", *REQUIRED, "--image-uri", "image")
        written = run("rule-config", *REQUIRED, "--image-uri", "image", "--output", tmp_path / "rule.json")
        assert written == (0, "", "")
        assert (tmp_path / "rule.json").read_text() == printed
        assert os.listdir(tmp_path) == ["rule.json"]

    def test_warns_on_stderr_and_prints_json_alone_on_stdout(self, run: Callable[..., tuple[int, str, str]]) -> None:
        code, printed, said = run("rule-config", *REQUIRED, "--region", REGION, "--tensor-regex", r"\.weight$")
        assert code == 0
        assert said.startswith("Warning: 'tensor_regex' holds a quote, a backslash or a newline")
        parameters = json.loads(printed)["DebugRuleConfigurations"][0]["RuleParameters"]
        assert parameters["tensor_regex"] == r"\.weight$"

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--region", "eu-west-4"], "Error: 'region' must be one whose evaluator is known, such as eu-west-3, "),
            (["--region", "us-east-1", "--image-uri", IMAGE], "Error: 'region' must be 'eu-west-1'"),
            (["--region", REGION, "--name", ""], "Error: 'name' must be one line"),
            (["--region", REGION, "--end-step", "0"], "Error: 'end_step' must be a whole number > 'start_step' 0"),
            (["--region", REGION, "--source", "rule.py"], "Error: 'source' must be an S3 URI"),
            (["--region", REGION, "--num-steps", "0"], "Error: 'num_steps' must be a whole number >= 1"),
            ([], "Error: 'region' or 'image_uri' must be given"),
        ],
    )
    def test_errors_are_a_message_and_a_remedy(
        self, run: Callable[..., tuple[int, str, str]], options: list[str], message: str
    ) -> None:
        code, printed, said = run("rule-config", *REQUIRED, *options)
        assert (code, printed) == (2, "")
        assert said.startswith(message)
        assert said.endswith("\n\n'weight-update-ratio rule-config --help' lists what each option takes.\n")

    def test_rule_source_prints_the_functions_text(self, run: Callable[..., tuple[int, str, str]]) -> None:
        assert run("rule-source") == (0, rule_source(), "")

    def test_does_not_import_the_sdk_or_smdebug(self) -> None:
        code = (
            "import sys; from weight_update_ratio.cli import main\n"
            f"main({[*('rule-config', *REQUIRED, '--region', REGION)]}, standalone_mode=False)\n"
            "main(['rule-source'], standalone_mode=False)\n"
            "assert not {'sagemaker', 'smdebug', 'numpy', 'boto3'} & set(sys.modules)"
        )
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        result = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
        )
        assert (result.returncode, result.stderr) == (0, "")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[dict[str, str]]:
    with running_server() as environment:
        yield environment


@pytest.fixture
def endpoint_settings(endpoint: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Point boto3 in this process to the endpoint."""
    for name, value in endpoint.items():
        monkeypatch.setenv(name, value)


@pytest.mark.slow
class TestExamples:
    """The scripts start a job at a real endpoint, which then has the configuration and the rule's file."""

    def start(self, environment: dict[str, str], script: str, job: str) -> dict[str, Any]:
        """Run an example, check that the rule's file was uploaded, and return what the endpoint says of the job."""
        import boto3

        place = {"LocationConstraint": REGION}
        boto3.client("s3").create_bucket(Bucket=job, CreateBucketConfiguration=place)
        arguments = ["--role", "arn:aws:iam::123456789012:role/SageMaker", "--image", "image", "--region", REGION]
        result = subprocess.run(
            [
                sys.executable,
                "-W",
                "ignore",
                REPOSITORY / "examples" / "sagemaker" / script,
                *arguments,
                "--job",
                job,
                "--bucket",
                job,
            ],
            env={**os.environ, **environment, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr + result.stdout
        assert f"started {job}" in result.stdout
        started: dict[str, Any] = boto3.client("sagemaker").describe_training_job(TrainingJobName=job)
        source = started["DebugRuleConfigurations"][0]["RuleParameters"]["source_s3_uri"]
        bucket, key = source[len("s3://") :].split("/", 1)
        uploaded = boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        assert uploaded == rule_source().encode("utf-8")
        return started

    def expected(self, job: dict[str, Any], output_path: str) -> dict[str, Any]:
        """Return the configuration that the examples ask for, with the source where it was uploaded to."""
        parameters = job["DebugRuleConfigurations"][0]["RuleParameters"]
        expected = rule_configuration(
            parameters["source_s3_uri"],
            output_path,
            REGION,
            large_threshold=5,
            report_dir="/opt/ml/processing/output/rule",
            stop_training=job["TrainingJobName"],
        )
        expected_parameters = expected["DebugRuleConfigurations"][0]["RuleParameters"]
        for values in (parameters, expected_parameters):
            values["action_json"] = parse_actions(values["action_json"])  # keys of an action have no order
            values["action_json"] = [sorted(action.items()) for action in json.loads(values["action_json"])]
        return expected

    @pytest.mark.usefixtures("endpoint_settings")
    @pytest.mark.parametrize("script", ["boto3_job.py", pytest.param("estimator_job.py", marks=needs_sdk)])
    def test_starts_a_job_with_the_rule(self, endpoint: dict[str, str], script: str) -> None:
        name = script.split(".")[0].replace("_", "-")
        job = self.start(endpoint, script, name)
        expected = self.expected(job, f"s3://{name}/tensors")
        assert {key: job[key] for key in expected} == expected
