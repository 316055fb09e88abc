"""The rule for an Estimator of the SageMaker Python SDK, version 2, with the parameters of ``rule_configuration``."""

from __future__ import annotations

import os
import tempfile
from typing import Any, Mapping

from .configuration import rule_configuration, service_actions
from .single_file import ROOT_NAME, rule_source


def custom_rule(
    source: str | os.PathLike[str] | None = None,
    stop_training: str | bool | None = None,
    email: str | None = None,
    sms: str | None = None,
    rule_parameters: Mapping[str, Any] | None = None,
    **options: Any,
) -> Any:
    """Return a ``sagemaker.debugger.Rule`` for an Estimator's ``rules``, which uploads the rule's source itself.

    Args:
        source: Where the rule's source file is written, from where the Estimator uploads it; None: in a new temporary
            folder. An S3 URI is taken as it is, and nothing is written.
        stop_training: As ``rule_configuration``; True: the very job that the Estimator starts.
        email: As ``rule_configuration``.
        sms: As ``rule_configuration``.
        rule_parameters: The rule's parameters, as ``Rule.sagemaker`` takes them for the built-in rule; each may be a
            keyword instead.
        options: Other parameters of ``rule_configuration``, except ``output_path``, which the Estimator sets.

    Raises:
        ValueError: A value is not valid, or not one that the service takes.
        TypeError: A keyword is not known, or given twice.
        OSError: The source file cannot be written.
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
    given = {name: value for name, value in options.items() if value is not None}
    configuration = rule_configuration(
        "s3://uploaded/by-the-estimator", "s3://of-the-estimator", **given, **(rule_parameters or {})
    )
    rule = configuration["DebugRuleConfigurations"][0]
    reserved = ("source_s3_uri", "rule_to_invoke")  # which the SDK writes itself
    actions = [sdk.StopTraining()] if stop_training is True else []
    for settings in service_actions(None if stop_training is True else stop_training, email, sms):
        kind = settings.pop("name")
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


def _written_source(source: str | os.PathLike[str] | None) -> str:
    if isinstance(source, str) and source.startswith("s3://"):
        return source
    path = os.fspath(source or f"{tempfile.mkdtemp(prefix='weight-update-ratio-')}/weight_update_ratio_rule.py")
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write(rule_source())
    return path
