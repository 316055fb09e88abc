"""A report as strict JSON, which programs read."""

from __future__ import annotations

import json

from ..findings.summary import run_summary
from ..verdict.document import finite_numbers, run_document
from ..verdict.judged_run import JudgedRun
from .words.advice import told_findings


def render_json(report: JudgedRun) -> str:
    """Return a report as strict JSON: numbers that are not finite are the strings "nan", "inf" and "-inf"."""
    document = run_document(report)
    lists = {name: document.pop(name) for name in ("violations", "skipped", "unreadable")}
    findings = [finding.as_dict() for finding in told_findings(report)]
    whole = {**document, "summary": run_summary(report).as_dict(), "findings": findings, **lists}
    return json.dumps(finite_numbers(whole), indent=2, allow_nan=False)
