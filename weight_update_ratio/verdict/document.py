"""A judged run as the values of strict JSON, without findings: what the rule writes in the service."""

from __future__ import annotations

import math
from typing import Any

from ..version import __version__
from .judged_run import JudgedRun


def run_document(run: JudgedRun) -> dict[str, Any]:
    """Return a run by the names of the JSON format, without findings; numbers are as they are, also NaN."""
    problem, baseline, parameters = run.problem, run.bounds.baseline, run.parameters
    return {
        "trial": run.trial,
        "rule": "WeightUpdateRatio",
        "version": __version__,
        "fired": run.fired,
        "complete": run.complete,
        "mode": run.mode,
        "parameters": parameters.as_dict(),
        "counts": run.counts,
        "fired_steps": {"count": len(run.fired_steps), "first": run.fired_steps[0] if run.fired_steps else None},
        "problem": None if problem is None else {"text": problem.message, "remedy": problem.remedy},
        "job_ended": run.job_ended,
        "baseline": baseline
        and {
            "runs": baseline.runs,
            "factor": parameters.baseline_factor,
            "patience": parameters.violations_to_fire,
            "held": int(run.columns["held"].sum()),
        },
        "violations": [group.as_dict() for group in run.violations],
        "skipped": [group._asdict() for group in run.skipped],
        "unreadable": [entry._asdict() for entry in run.unreadable],
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
