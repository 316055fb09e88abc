r"""The configuration that makes SageMaker Debugger run the rule beside a training job.

``rule_configuration`` is what boto3's ``create_training_job`` takes; ``custom_rule`` is what the SageMaker Python SDK's
estimators take. Both say the same thing. The service passes parameters as strings of at most 256 characters. Its
evaluator pastes them between double quotes into Python source that it then runs. Quotes and newlines in a value break
that source, and a backslash begins an escape. So the action JSON has its quotes escaped (``\\"``), as the SDK does it.

Source: the SageMaker API's CreateTrainingJob (DebugRuleConfiguration, DebugHookConfig); the SageMaker Python SDK 2.257,
``sagemaker/debugger/debugger.py``; smdebug_rulesconfig 1.0.1, ``actions/actions.py``.
"""

from __future__ import annotations

import os
import re
import tempfile
import warnings
from typing import Any

from ..parameters import Parameters, parse_parameters, parse_report_dir
from .single_file import ROOT_NAME, rule_source

__all__ = ["EVALUATOR_ACCOUNTS", "custom_rule", "evaluator_image", "rule_configuration", "rule_source"]

# The accounts that own the image for custom rules.
EVALUATOR_ACCOUNTS = {
    "ap-south-1": "552407032007",
    "eu-west-1": "606966180310",
    "us-east-1": "864354269164",
    "us-east-2": "840043622174",
    "us-west-2": "759209512951",
}
LONGEST_VALUE = 256  # characters of a rule parameter, CreateTrainingJob's limit
SOURCE_FILE = "weight_update_ratio_rule.py"

# The collections that smdebug's hooks know without a pattern, of all frameworks.
HOOK_COLLECTIONS = frozenset(
    (
        *("all", "biases", "default", "gradients", "inputs", "layers", "losses", "metrics", "optimizer_variables"),
        *("outputs", "sm_metrics", "tensorflow_summaries", "weights"),
        *("average_shap", "feature_importance", "full_shap", "hyperparameters", "labels", "predictions", "trees"),
    )
)


def rule_configuration(
    source: str,
    output_path: str,
    region: str | None = None,
    image_uri: str | None = None,
    instance_type: str = "ml.t3.medium",
    volume_size: int = 30,
    name: str = ROOT_NAME,
    save_interval: int = 1,
    num_steps: Any = None,
    large_threshold: Any = None,
    small_threshold: Any = None,
    epsilon: Any = None,
    collection_names: Any = None,
    tensor_regex: Any = None,
    exclude_regex: Any = None,
    report_dir: Any = None,
    stop_training: str | None = None,
    email: str | None = None,
    sms: str | None = None,
) -> dict[str, Any]:
    """Return DebugRuleConfigurations and DebugHookConfig for ``create_training_job``.

    Args:
        source: S3 URI of the rule's source file, which ``rule_source`` makes.
        output_path: S3 URI below which the training job saves its tensors.
        region: The region of the job, which decides the evaluator's image; not needed with ``image_uri``.
        image_uri: The evaluator's image, for a region that ``EVALUATOR_ACCOUNTS`` lacks.
        instance_type: Where the rule runs. It holds two steps' weights in memory.
        volume_size: The size of that instance's disk; GB.
        name: Name of the rule configuration.
        save_interval: Steps from one saved step to the next; the ratio of a training step's update needs 1.
        num_steps: As the rule's parameter, and so are the next six.
        large_threshold: A ratio above it fires.
        small_threshold: A ratio below it fires.
        epsilon: Added to the norm of the weights.
        collection_names: Collections that are saved and compared.
        tensor_regex: Patterns of the tensors that are compared; best without backslashes.
        exclude_regex: Patterns of the tensors that are left out.
        report_dir: Folder in the evaluator's container, such as "/opt/ml/processing/output/rule", which is uploaded.
        stop_training: When the rule fires, stop the training job whose name begins so; the job's role must allow it.
        email: Address that gets a message when the rule fires.
        sms: Telephone number that gets one: "+", the country's code, and digits.

    Raises:
        ValueError: A value is not valid, or not one that the service takes.

    Warns:
        UserWarning: A value breaks the evaluator's template, or a collection is unknown to the hook.
    """
    if not re.match(r"s3://[^/]+/.", source):
        raise ValueError(f"'source' must be an S3 URI, s3://bucket/key of the rule's source file (got {source!r})")
    if not re.match(r"s3://[^/]+", output_path):
        raise ValueError(f"'output_path' must be an S3 URI, s3://bucket/prefix (got {output_path!r})")
    parameters = parse_parameters(
        num_steps, large_threshold, small_threshold, epsilon, collection_names, tensor_regex, exclude_regex
    )
    rule_parameters = {"source_s3_uri": source, "rule_to_invoke": ROOT_NAME}
    rule_parameters.update(_changed_parameters(parameters, report_dir))
    _check_values(rule_parameters)
    actions = _actions(stop_training, email, sms)
    if actions:
        rule_parameters["action_json"] = "[" + ", ".join(map(_serialized, actions)) + "]"
        _check_length("action_json", rule_parameters["action_json"])
    return {
        "DebugRuleConfigurations": [
            {
                "RuleConfigurationName": name,
                "RuleEvaluatorImage": image_uri or evaluator_image(region),
                "InstanceType": instance_type,
                "VolumeSizeInGB": _whole_number("volume_size", volume_size),
                "RuleParameters": rule_parameters,
            }
        ],
        "DebugHookConfig": {
            "S3OutputPath": output_path,
            "CollectionConfigurations": [
                {"CollectionName": collection, "CollectionParameters": settings}
                for collection, settings in _saved_collections(parameters, save_interval)
            ],
        },
    }


def custom_rule(
    source: str | os.PathLike[str] | None = None,
    stop_training: str | bool | None = None,
    email: str | None = None,
    sms: str | None = None,
    **options: Any,
) -> Any:
    """Return a ``sagemaker.debugger.Rule`` for an Estimator's ``rules``, which uploads the rule's source itself.

    Args:
        source: Where the rule's source file is written, from where the Estimator uploads it; None: in a new temporary
            folder. An S3 URI is taken as it is, and nothing is written.
        stop_training: As ``rule_configuration``; True: the very job that the Estimator starts.
        email: As ``rule_configuration``.
        sms: As ``rule_configuration``.
        options: What else ``rule_configuration`` takes, but ``output_path``, which the Estimator sets.

    Raises:
        ValueError: A value is not valid, or not one that the service takes.
        ImportError: The SageMaker Python SDK is not installed, or is not version 2.
    """
    try:
        from sagemaker.debugger import CollectionConfig, Rule
        from smdebug_rulesconfig.actions import actions as sdk
    except ImportError as error:
        raise ImportError(
            "custom_rule needs the SageMaker Python SDK, version 2 (pip install 'weight-update-ratio[sagemaker]'); "
            "with version 3 pass the dictionary of rule_configuration to create_training_job"
        ) from error
    configuration = rule_configuration("s3://uploaded/by-the-estimator", "s3://of-the-estimator", **options)
    rule = configuration["DebugRuleConfigurations"][0]
    reserved = ("source_s3_uri", "rule_to_invoke")  # which the SDK writes itself
    actions = [sdk.StopTraining()] if stop_training is True else []
    for kind, settings in _actions(None if stop_training is True else stop_training, email, sms):
        # Not the SDK's own Email: it takes no dot or hyphen in an address. An action's name is that of its class.
        action = sdk.StopTraining if kind == "stoptraining" else type(kind, (sdk.Action,), {})
        actions.append(action(**settings))
    return Rule.custom(
        name=rule["RuleConfigurationName"],
        image_uri=rule["RuleEvaluatorImage"],
        instance_type=rule["InstanceType"],
        volume_size_in_gb=rule["VolumeSizeInGB"],
        source=_written_source(source),
        rule_to_invoke=ROOT_NAME,
        rule_parameters={name: value for name, value in rule["RuleParameters"].items() if name not in reserved},
        collections_to_save=[
            CollectionConfig(collection["CollectionName"], collection["CollectionParameters"])
            for collection in configuration["DebugHookConfig"]["CollectionConfigurations"]
        ],
        actions=sdk.ActionList(*actions) if actions else None,
    )


def evaluator_image(region: str | None) -> str:
    """Return the URI of the image that runs custom rules in a region.

    >>> evaluator_image("eu-west-1")
    '606966180310.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-debugger-rule-evaluator:latest'
    """
    account = EVALUATOR_ACCOUNTS.get(region or "")
    if account is None:
        raise ValueError(
            f"'region' must be one of {', '.join(EVALUATOR_ACCOUNTS)} (got {region!r}); for another, pass its "
            "evaluator's image as 'image_uri' (--image-uri): AWS lists them as 'image URIs for custom rule evaluators'"
        )
    return f"{account}.dkr.ecr.{region}.amazonaws.com/sagemaker-debugger-rule-evaluator:latest"


def _changed_parameters(parameters: Parameters, report_dir: Any) -> dict[str, str]:
    """Return the rule's parameters that differ from their defaults, as the strings that say the same to the rule."""
    defaults = Parameters().as_dict()
    changed = {name: str(value) for name, value in parameters.as_dict().items() if value != defaults[name]}
    if parse_parameters(**changed) != parameters:
        raise ValueError(
            "'collection_names', 'tensor_regex' and 'exclude_regex' must not hold commas or outer spaces within a name "
            f"or pattern: the service passes one string, split at commas (got {changed!r})"
        )
    folder = parse_report_dir(report_dir)
    if folder:
        changed["report_dir"] = folder
    return changed


def _check_values(rule_parameters: dict[str, str]) -> None:
    for name, value in rule_parameters.items():
        _check_length(name, value)
        if re.search(r"[\"'\\\r\n]", value):
            warnings.warn(
                f"'{name}' holds a quote, a backslash or a newline ({value!r}), which breaks the Python source that "
                "the service's evaluator pastes it into: leave it out; in a pattern, write '.' or a class like '[0-9]'",
                stacklevel=3,
            )


def _check_length(name: str, value: str) -> None:
    if len(value) > LONGEST_VALUE:
        raise ValueError(f"'{name}' must have at most {LONGEST_VALUE} characters for the service (has {len(value)})")


def _whole_number(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"'{name}' must be a whole number >= 1 (got {value!r})")
    return value


def _saved_collections(parameters: Parameters, save_interval: Any) -> list[tuple[str, dict[str, str]]]:
    """Return each collection's name and settings for the hook."""
    interval = _whole_number("save_interval", save_interval)
    if parameters.num_steps is not None and parameters.num_steps < interval:
        raise ValueError(
            f"'num_steps' must be at least 'save_interval' {interval}, or no step has a reference "
            f"(got {parameters.num_steps})"
        )
    for collection in parameters.collection_names:
        if collection not in HOOK_COLLECTIONS:
            warnings.warn(
                f"the collection {collection!r} is not one of smdebug's own: add an 'include_regex' to its "
                "CollectionParameters, or the hook refuses it",
                stacklevel=3,
            )
    return [(collection, {"save_interval": str(interval)}) for collection in parameters.collection_names]


def _actions(stop_training: str | bool | None, email: str | None, sms: str | None) -> list[tuple[str, dict[str, str]]]:
    """Return each action's name and settings; no value holds a character that would have to be escaped."""
    actions = []
    if stop_training is not None and stop_training is not False:
        _check_form(
            "stop_training", stop_training, r"[A-Za-z0-9][A-Za-z0-9-]{0,62}", "a training job's name, or its first part"
        )
        actions.append(("stoptraining", {"training_job_prefix": str(stop_training)}))
    if email is not None:
        _check_form("email", email, r"[^\s\"'\\@]+@[^\s\"'\\@]+", "an e-mail address")
        actions.append(("email", {"endpoint": email}))
    if sms is not None:
        _check_form("sms", sms, r"\+[0-9]{1,15}", "a telephone number with '+' and the country's code")
        actions.append(("sms", {"endpoint": sms}))
    return actions


def _check_form(name: str, value: Any, pattern: str, valid: str) -> None:
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise ValueError(f"'{name}' must be {valid} (got {value!r})")


def _serialized(action: tuple[str, dict[str, str]]) -> str:
    """Return an action as the SDK writes it: JSON with its quotes escaped, the name last."""
    kind, settings = action
    return "{" + ", ".join(f'\\"{key}\\": \\"{value}\\"' for key, value in [*settings.items(), ("name", kind)]) + "}"


def _written_source(source: str | os.PathLike[str] | None) -> str:
    if isinstance(source, str) and source.startswith("s3://"):
        return source
    path = os.fspath(source or os.path.join(tempfile.mkdtemp(prefix="weight-update-ratio-"), SOURCE_FILE))
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write(rule_source())
    return path
