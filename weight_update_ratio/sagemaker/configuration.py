r"""The configuration that makes SageMaker Debugger run the rule beside a training job.

It is what boto3's ``create_training_job`` takes. The service passes parameters as strings, and
its evaluator pastes them between double quotes into Python source that it runs. Quotes and newlines in a value break
that source, and a backslash begins an escape. So the action JSON has its quotes escaped (``\\"``), as the SDK does it.

Source: the SageMaker API's CreateTrainingJob (DebugRuleConfiguration, DebugHookConfig); the SageMaker Python SDK 2.257,
``sagemaker/debugger/debugger.py``; smdebug_rulesconfig 1.0.1, ``actions/actions.py``.
"""

from __future__ import annotations

import contextlib
import json
import re
import warnings
from typing import TYPE_CHECKING, Any, Sequence

from ..parameters import Parameters, baseline_list, parse_parameters, parse_report_dir
from .evaluator import chosen_image
from .single_file import ROOT_NAME

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..parameters import GivenParameters

# The collections that smdebug's hooks know without a pattern, of all frameworks.
HOOK_COLLECTIONS = (
    *("all", "biases", "default", "gradients", "inputs", "layers", "losses", "metrics", "optimizer_variables"),
    *("outputs", "sm_metrics", "tensorflow_summaries", "weights"),
    *("average_shap", "feature_importance", "full_shap", "hyperparameters", "labels", "predictions", "trees"),
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
    start_step: Any = None,
    end_step: Any = None,
    report_dir: Any = None,
    stop_training: str | None = None,
    email: str | None = None,
    sms: str | None = None,
    **parameters: Unpack[GivenParameters],
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
        start_step: First global step that the evaluator asks the rule about; None: 0.
        end_step: Global step before which the evaluator ends; None: with the job.
        report_dir: Folder in the evaluator's container, such as "/opt/ml/processing/output/rule", which is uploaded.
        stop_training: When the rule fires, stop the training job whose name begins so; the job's role must allow it.
        email: Address that gets a message when the rule fires.
        sms: Telephone number that gets one: "+", the country's code, and digits.
        **parameters: Those of the rule, by name. The collections are saved, too; patterns are best without backslashes;
            ``baseline`` are S3 URIs, and a string is split at commas.

    Raises:
        ValueError: A value is not valid, or not one that the service takes.

    Warns:
        UserWarning: A value breaks the evaluator's template, or a collection is unknown to the hook.
    """
    _check_form("source", source, r"s3://[^/]+/.+", "an S3 URI, s3://bucket/key of the rule's source file")
    checked = parse_parameters(**{**parameters, "baseline": baseline_list(parameters.get("baseline"))})
    changed, folder = _changed_parameters(checked), parse_report_dir(report_dir)
    start, end = int(start_step or 0), None if end_step is None else int(end_step)
    if start < 0 or (end is not None and end <= start):
        raise ValueError(f"steps must be 0 <= 'start_step' < 'end_step' (got {start_step!r} and {end_step!r})")
    others = {"report_dir": folder, "start_step": start, "end_step": end}
    changed.update({name: str(value) for name, value in others.items() if value})
    rule_parameters = {"source_s3_uri": source, "rule_to_invoke": ROOT_NAME, **changed}
    valid = "S3 URIs, s3://bucket/key: the evaluator has no other files"
    for location in checked.baseline:
        _check_form("baseline", location, r"s3://[^/]+/.+", valid)
    interval = int(save_interval)
    if interval < 1:
        raise ValueError(f"'save_interval' must be a whole number >= 1 (got {save_interval!r})")
    if checked.num_steps is not None and checked.num_steps < interval:
        valid = f"at least 'save_interval' {interval}, or no step has a reference"
        raise ValueError(f"'num_steps' must be {valid} (got {checked.num_steps})")
    actions = service_actions(stop_training, email, sms)
    _warn_of_what_breaks(rule_parameters, checked.collection_names)
    if actions:
        rule_parameters["action_json"] = json.dumps(actions, ensure_ascii=False).replace('"', '\\"')
    return {
        "DebugRuleConfigurations": [
            {
                "RuleConfigurationName": name,
                "RuleEvaluatorImage": chosen_image(region, image_uri),
                "InstanceType": instance_type,
                "VolumeSizeInGB": volume_size,
                "RuleParameters": rule_parameters,
            }
        ],
        "DebugHookConfig": {
            "S3OutputPath": output_path,
            "CollectionConfigurations": [
                {"CollectionName": collection, "CollectionParameters": {"save_interval": str(interval)}}
                for collection in checked.collection_names
            ],
        },
    }


def _changed_parameters(parameters: Parameters) -> dict[str, str]:
    """Return the rule's parameters that differ from their defaults, as the strings that say the same to the rule."""
    defaults = Parameters().as_dict()
    changed = {name: str(value) for name, value in parameters.as_dict().items() if value != defaults[name]}
    with contextlib.suppress(ValueError):  # half a pattern does not compile
        if parameters == parse_parameters(**{**changed, "baseline": baseline_list(changed.get("baseline"))}):
            return changed
    raise ValueError(
        "'collection_names', 'tensor_regex', 'exclude_regex' and 'baseline' must not hold commas or outer spaces "
        "within a name, pattern or URI: the service passes one string, which is split at commas; in a pattern, "
        f"write '.' in place of the comma (got {changed!r})"
    )


def _warn_of_what_breaks(rule_parameters: dict[str, str], collections: Sequence[str]) -> None:
    for name, value in rule_parameters.items():
        if re.search(r"[\"'\\\r\n]", value):
            warnings.warn(
                f"'{name}' holds a quote, a backslash or a newline ({value!r}), which breaks the Python source that "
                "the service's evaluator pastes it into: leave it out; in a pattern, write '.' or a class like '[0-9]'",
                stacklevel=3,
            )
    for collection in collections:
        if collection not in HOOK_COLLECTIONS:
            warnings.warn(
                f"the collection {collection!r} is not one of smdebug's own: add an 'include_regex' to its "
                "CollectionParameters, or the hook refuses it",
                stacklevel=3,
            )


def service_actions(stop_training: str | bool | None, email: str | None, sms: str | None) -> list[dict[str, str]]:
    """Return the actions as the SDK orders them, the name last; no value needs an escape."""
    actions = []
    if stop_training is not None and stop_training is not False:
        valid = "a training job's name, or its first part"
        _check_form("stop_training", stop_training, r"[A-Za-z0-9][A-Za-z0-9-]{0,62}", valid)
        actions.append({"training_job_prefix": str(stop_training), "name": "stoptraining"})
    if email is not None:
        _check_form("email", email, r"[^\s\"'\\@]+@[^\s\"'\\@]+", "an e-mail address")
        actions.append({"endpoint": email, "name": "email"})
    if sms is not None:
        _check_form("sms", sms, r"\+[0-9]{1,15}", "a telephone number with '+' and the country's code")
        actions.append({"endpoint": sms, "name": "sms"})
    return actions


def _check_form(name: str, value: Any, pattern: str, valid: str) -> None:
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise ValueError(f"'{name}' must be {valid} (got {value!r})")
