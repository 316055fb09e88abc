"""The rule in the service: its configuration, and its source as one file."""

from .configuration import rule_configuration
from .estimator import custom_rule
from .evaluator import EVALUATOR_ACCOUNTS, evaluator_image
from .single_file import rule_source

__all__ = ["EVALUATOR_ACCOUNTS", "custom_rule", "evaluator_image", "rule_configuration", "rule_source"]
