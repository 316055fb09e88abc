"""The sick runs, each made once in a process: nobody changes them."""

from __future__ import annotations

import functools

from tests.sick_runs import sick_resnet, sick_transformer
from weight_update_ratio.findings.findings import Finding
from weight_update_ratio.report import Report


@functools.lru_cache(maxsize=None)
def sick_run(name: str) -> Report:
    """Return the run of 161 tensors, "resnet", or that of 300 tensors on 4 workers, "transformer"."""
    return {"resnet": sick_resnet, "transformer": sick_transformer}[name]()


@functools.lru_cache(maxsize=None)
def sick_findings(name: str) -> list[Finding]:
    """Return what is found in one of them."""
    return sick_run(name).findings
