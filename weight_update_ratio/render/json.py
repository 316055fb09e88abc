"""A report as strict JSON, which programs read."""

from __future__ import annotations

import json

from ..findings.judgement import Judgement
from ..verdict.document import finite_numbers, run_document


def render_json(report: Judgement) -> str:
    document = run_document(report)
    lists = {name: document.pop(name) for name in ("violations", "skipped", "unreadable")}
    findings = [finding.as_dict() for finding in report.findings]
    whole = {**document, "summary": report.ratios._asdict(), "findings": findings, **lists}
    return json.dumps(finite_numbers(whole), indent=2, allow_nan=False)
