"""The rule in the service: its configuration, and its source as one file."""

from .configuration import EVALUATOR_ACCOUNTS, custom_rule, evaluator_image, rule_configuration
from .single_file import rule_source

__all__ = ["EVALUATOR_ACCOUNTS", "custom_rule", "evaluator_image", "rule_configuration", "rule_source"]
