"""A report as strict JSON: what programs read, and what the rule writes in the service."""

from __future__ import annotations

import json
import math
from typing import Any

from ..compare.history import History
from ..findings.course import courses
from ..findings.summary import run_summary
from ..verdict.held import held_ratios
from ..version import __version__
from .words.advice import told_findings

RULE_NAME = "WeightUpdateRatio"


def render_json(history: History) -> str:
    """Return a report as strict JSON: numbers that are not finite are the strings "nan", "inf" and "-inf"."""
    return json.dumps(finite_numbers(report_document(history)), indent=2, allow_nan=False)


def report_document(history: History) -> dict[str, Any]:
    """Return a report by the names of the JSON format; numbers are as they are, also NaN."""
    problem, found = history.problem, courses(history)
    return {
        "trial": history.trial,
        "rule": RULE_NAME,
        "version": __version__,
        "fired": history.fired,
        "complete": history.complete,
        "mode": history.mode,
        "parameters": history.parameters.as_dict(),
        "counts": history.counts,
        "summary": run_summary(history, found).as_dict(),
        "problem": None if problem is None else {"text": problem.message, "remedy": problem.remedy},
        "job_ended": history.job_ended,
        "baseline": _baseline_facts(history),
        "findings": [finding.as_dict() for finding in told_findings(history, found)],
        "violations": [group.as_dict() for group in history.violations],
        "skipped": [group._asdict() for group in history.skipped],
        "unreadable": [entry._asdict() for entry in history.unreadable],
    }


def _baseline_facts(history: History) -> dict[str, Any] | None:
    """Return what the run was held against; ``held`` is how many of its comparisons were."""
    baseline, parameters = history.bounds.baseline, history.parameters
    if baseline is None:
        return None
    return {
        "runs": baseline.runs,
        "factor": parameters.baseline_factor,
        "patience": parameters.violations_to_fire,
        "held": sum(held_ratios(history).values()),
    }


def finite_numbers(value: Any) -> Any:
    """Return ``value`` with every number that is not finite as the string "nan", "inf" or "-inf"."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: finite_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite_numbers(item) for item in value]
    return value
