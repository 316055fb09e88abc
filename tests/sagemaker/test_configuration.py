"""The configuration for SageMaker Debugger: against botocore's validator, and a real endpoint."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any, Callable

import pytest

from tests.conftest import REPOSITORY, run_python
from tests.reports import invoke_command
from tests.sagemaker.conftest import REGION, TRAINING_JOB
from weight_update_ratio.sagemaker import EVALUATOR_ACCOUNTS, rule_configuration, rule_source

SOURCE = "s3://bucket/rules/weight_update_ratio_rule.py"
OUTPUT_PATH = "s3://bucket/tensors"
REQUIRED = ("--source", SOURCE, "--output-path", OUTPUT_PATH)
IMAGE = "606966180310.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-debugger-rule-evaluator:latest"
RULE = {"source_s3_uri": SOURCE, "rule_to_invoke": "WeightUpdateRatio"}

# Every option that changes something, as the function takes it.
EVERYTHING: dict[str, Any] = {
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
GOLDEN = {
    "DebugRuleConfigurations": [
        {
            "RuleConfigurationName": "weights of the encoder",
            "RuleEvaluatorImage": IMAGE,
            "InstanceType": "ml.m5.xlarge",
            "VolumeSizeInGB": 50,
            "RuleParameters": {
                **RULE,
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
            },
        }
    ],
    "DebugHookConfig": {
        "S3OutputPath": OUTPUT_PATH,
        "CollectionConfigurations": [
            {"CollectionName": "weights", "CollectionParameters": {"save_interval": "2"}},
            {"CollectionName": "biases", "CollectionParameters": {"save_interval": "2"}},
        ],
    },
}
needs_sdk = pytest.mark.skipif(
    importlib.util.find_spec("sagemaker") is None, reason="the SageMaker Python SDK is not installed"
)


def configuration(**options: Any) -> dict[str, Any]:
    return rule_configuration(**{"source": SOURCE, "output_path": OUTPUT_PATH, "region": REGION, **options})


def rule_of(configuration: dict[str, Any]) -> dict[str, Any]:
    (rule,) = configuration["DebugRuleConfigurations"]
    return rule  # type: ignore[no-any-return]


def request_errors(configuration: dict[str, Any]) -> str:
    """Return what botocore's own validator says against the request of a training job."""
    from botocore.session import get_session
    from botocore.validate import ParamValidator

    shape = get_session().get_service_model("sagemaker").operation_model("CreateTrainingJob").input_shape
    request = {"TrainingJobName": "job", **TRAINING_JOB, **configuration}
    return str(ParamValidator().validate(request, shape).generate_report())


def test_a_whole_configuration(tmp_path: Path) -> None:
    """By the function and by the command, as the service's own model has it; test_readme.py has one of defaults."""
    assert configuration(**EVERYTHING) == GOLDEN
    assert request_errors(GOLDEN) == request_errors(configuration()) == ""
    options = [f"--{name.replace('_', '-')}={value}" for name, value in EVERYTHING.items()]
    done = invoke_command("rule-config", *REQUIRED, "--region", REGION, *options)
    assert (done.exit_code, done.stderr) == (0, "")
    assert json.loads(done.stdout) == GOLDEN
    saved = invoke_command("rule-config", *REQUIRED, "--region", REGION, *options, "--output", str(tmp_path / "file"))
    assert (saved.exit_code, saved.stdout, saved.stderr) == (0, "", "")
    assert (tmp_path / "file").read_text() == done.stdout


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ({"large_threshold": "10", "num_steps": "None", "epsilon": 1e-9, "collection_names": "weights"}, {}),
        ({"patience": None, "baseline": "", "baseline_factor": 3}, {}),
        ({"start_step": "0", "end_step": None}, {}),
        ({"start_step": " 5 ", "end_step": 6}, {"start_step": "5", "end_step": "6"}),
        ({"patience": "5", "baseline_factor": "2.0"}, {"patience": "5", "baseline_factor": "2.0"}),
        ({"baseline": ["s3://b/good.json", "s3://b/job"]}, {"baseline": "s3://b/good.json,s3://b/job"}),
        ({"baseline": "s3://b/good.json, s3://b/job"}, {"baseline": "s3://b/good.json,s3://b/job"}),
        ({"tensor_regex": ["fc.{1,2}", "conv"]}, {"tensor_regex": "fc.{1,2},conv"}),  # not split within a repeat
    ],
)
def test_what_differs_from_the_default_is_written(options: dict[str, Any], changed: dict[str, str]) -> None:
    """All as strings."""
    assert rule_of(configuration(**options))["RuleParameters"] == {**RULE, **changed}


COMMAS = (
    "'collection_names', 'tensor_regex', 'exclude_regex' and 'baseline' must not hold commas or outer spaces within a "
    "name, pattern or URI: the service passes one string, which is split at commas; in a pattern, write '.' in place "
    "of the comma (got {})"
)
STEPS = "steps must be 0 <= 'start_step' < 'end_step' (got {} and {})"
JOB = "'stop_training' must be a training job's name, or its first part (got {!r})"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"region": None},
            "'region' or 'image_uri' must be given (--region, --image-uri): they tell the evaluator's image",
        ),
        (
            {"region": "us-west-3"},
            "'region' must be one whose evaluator is known, such as us-west-2, us-west-1, eu-west-3 (got 'us-west-3'); "
            "for another, pass its evaluator's image as 'image_uri' (--image-uri): AWS lists them as 'image URIs for "
            "custom rule evaluators'",
        ),
        (
            {"region": "us-east-1", "image_uri": IMAGE},
            f"'region' must be 'eu-west-1', the region of 'image_uri' '{IMAGE}' (got 'us-east-1')",
        ),
        ({"start_step": "-1"}, STEPS.format("'-1'", None)),
        ({"start_step": "5", "end_step": "5"}, STEPS.format("'5'", "'5'")),
        (
            {"source": "s3://bucket/"},
            "'source' must be an S3 URI, s3://bucket/key of the rule's source file (got 's3://bucket/')",
        ),
        ({"num_steps": 0}, "'num_steps' must be a whole number >= 1 or None (got 0)"),
        (
            {"num_steps": 3, "save_interval": 500},
            "'num_steps' must be at least 'save_interval' 500, or no step has a reference (got 3)",
        ),
        ({"save_interval": 0}, "'save_interval' must be a whole number >= 1 (got 0)"),
        (
            {"baseline": "good.json"},
            "'baseline' must be S3 URIs, s3://bucket/key: the evaluator has no other files (got 'good.json')",
        ),
        ({"baseline": ["s3://b/a,b.json"]}, COMMAS.format({"baseline": "s3://b/a,b.json"})),
        ({"tensor_regex": ["fc[1,2]"]}, COMMAS.format({"tensor_regex": "fc[1,2]"})),  # half of it does not compile
        ({"report_dir": "s3://b"}, "'report_dir' must be the path of a folder on this machine (got 's3://b')"),
        ({"stop_training": 'job"'}, JOB.format('job"')),
        ({"stop_training": True}, JOB.format(True)),
        ({"email": 'some"one@example.com'}, "'email' must be an e-mail address (got 'some\"one@example.com')"),
        ({"sms": "4155"}, "'sms' must be a telephone number with '+' and the country's code (got '4155')"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_what_the_service_would_not_take_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        configuration(**options)
    assert str(caught.value) == message


BREAKS = "which breaks the Python source that the service's evaluator pastes it into: leave it out"
UNKNOWN = "the collection 'encoder' is not one of smdebug's own: add an 'include_regex'"


@pytest.mark.parametrize(
    ("option", "value", "warning"),
    [
        *(
            ("tensor_regex", value, f"'tensor_regex' holds a quote, a backslash or a newline ({value!r}), {BREAKS}")
            for value in (r"\.weight$", 'a"b', "it's", "a\nb")
        ),
        ("collection_names", "encoder", UNKNOWN),
    ],
)
def test_what_breaks_in_the_service_is_warned_of(option: str, value: str, warning: str) -> None:
    """The command warns on stderr, and prints JSON alone on stdout."""
    with pytest.warns(UserWarning, match=re.escape(warning)):
        expected = configuration(**{option: value})
    assert rule_of(expected)["RuleParameters"][option] == value
    done = invoke_command("rule-config", *REQUIRED, "--region", REGION, f"--{option.replace('_', '-')}", value)
    assert done.stderr.startswith(f"Warning: {warning}")
    assert json.loads(done.stdout) == expected


def test_the_image_is_of_the_regions_account() -> None:
    """Of regions that there are, those of China with another domain; one that names no region serves in any."""
    from botocore.session import get_session

    for region, account in EVALUATOR_ACCOUNTS.items():
        domain = "amazonaws.com.cn" if get_session().get_partition_for_region(region) == "aws-cn" else "amazonaws.com"
        image = f"{account}.dkr.ecr.{region}.{domain}/sagemaker-debugger-rule-evaluator:latest"
        assert re.fullmatch("[0-9]{12}", account)
        for given in ({"region": region}, {"region": region, "image_uri": image}, {"region": None, "image_uri": image}):
            assert rule_of(configuration(**given))["RuleEvaluatorImage"] == image
    assert len(set(EVALUATOR_ACCOUNTS.values())) == 20
    own = rule_of(configuration(region="eu-central-2", image_uri="account/image:1"))
    assert own["RuleEvaluatorImage"] == "account/image:1"


@pytest.mark.parametrize(("name", "value"), [("region", "us-west-3"), ("save_interval", 0), ("sms", "1")])
def test_errors_of_the_command_are_the_functions_and_a_remedy(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="must be") as caught:
        configuration(**{name: value})
    option = f"--{name.replace('_', '-')}={value}"
    done = invoke_command("rule-config", *REQUIRED, "--region", REGION, option)
    remedy = "'weight-update-ratio rule-config --help' lists what each option takes."
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", f"Error: {caught.value}\n\n{remedy}\n")


@pytest.mark.slow
@pytest.mark.parametrize("script", ["boto3_job.py", pytest.param("estimator_job.py", marks=needs_sdk)])
def test_an_example_starts_a_job_with_the_rule(
    script: str, endpoint: dict[str, str], clients: Callable[[str], Any]
) -> None:
    """At a real endpoint, which then has the configuration and the rule's file."""
    job, s3 = script.split(".")[0].replace("_", "-"), clients("s3")
    s3.create_bucket(Bucket=job, CreateBucketConfiguration={"LocationConstraint": REGION})
    arguments = ["--role", "arn:aws:iam::123456789012:role/SageMaker", "--image", "image", "--region", REGION]
    arguments += ["--job", job, "--bucket", job]
    result = run_python("-W", "ignore", REPOSITORY / "examples" / "sagemaker" / script, *arguments, env=endpoint)
    assert result.returncode == 0, result.stderr + result.stdout
    assert f"started {job}" in result.stdout

    started = clients("sagemaker").describe_training_job(TrainingJobName=job)
    parameters = rule_of(started)["RuleParameters"]
    bucket, key = parameters["source_s3_uri"][len("s3://") :].split("/", 1)
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == rule_source().encode("utf-8")
    expected = configuration(
        source=parameters["source_s3_uri"],
        output_path=f"s3://{job}/tensors",
        large_threshold=5,
        report_dir="/opt/ml/processing/output/rule",
        stop_training=job,
    )
    for found in (started, expected):  # an action's keys have no order
        own = rule_of(found)["RuleParameters"]
        own["action_json"] = json.loads(own["action_json"].replace('\\"', '"'))
    assert {name: started[name] for name in expected} == expected
