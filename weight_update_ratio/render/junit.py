"""A Report as JUnit XML, which CI systems show as tests: a suite a worker, a test case a tensor.

A failure is a violation that fires, told by the findings that it is in. An error is what could not be read or judged.
Failures exist exactly where the exit code is 1, and errors wherever it is 2: a CI system that reads only this file
never shows a failed check as passed. What was compared and not judged is skipped.

A class name is the trial, a dot and the worker. GitLab shows it as the suite, and of two tests of one class and name in
a job it keeps the first; a job may judge several trials, so the trial is in it. Jenkins splits it at its last dot: the
trial becomes the package, and the worker the class. GitLab shows a failure's content and not its message, GitHub's
reporters mostly the message, Jenkins both: both hold all words.

Source: GitLab's "Unit test reports", and its ``junit.rb``; Jenkins' ``CaseResult.java``.
"""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import numpy as np

from ..compare.ratio import DRIFTED, LARGE, NOT_FINITE, SMALL
from ..findings.findings import Finding
from ..findings.judgement import Judgement
from ..findings.kinds import DRIFTED_KIND, NOT_FINITE_KIND, SPIKE, TOO_LARGE, ZERO_START
from .words.advice import TITLES
from .words.escapes import printable, xml_text
from .words.wording import baseline_line, format_ratio, skipped_line, unreadable_lines, violation_text

WHOLE_TRIAL = "the whole trial"
NO_WORKER = "all workers"
NO_REFERENCE = "no earlier saved step to compare with"
VERDICT_OF_KIND = {  # else small
    NOT_FINITE_KIND: NOT_FINITE,
    TOO_LARGE: LARGE,
    SPIKE: LARGE,
    ZERO_START: LARGE,
    DRIFTED_KIND: DRIFTED,
}


def render_junit(report: Judgement) -> str:
    """Return the report as JUnit XML."""
    root = ElementTree.Element("testsuites", name="weight_update_ratio")
    cases, properties = _cases(report), _properties(report)
    for worker in dict.fromkeys(worker for worker, _ in cases):
        name = f"{_name(report.trial)} {_name(worker)}".strip()
        suite = ElementTree.SubElement(root, "testsuite", name=name)
        if properties:
            listed = ElementTree.SubElement(suite, "properties")
            for key, value in properties.items():
                ElementTree.SubElement(listed, "property", name=key, value=value)
        suite.extend(case for (owner, _), case in cases.items() if owner == worker)
        _count(suite)
    _count(root)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _name(text: str) -> str:
    return xml_text(printable(text))


def _properties(report: Judgement) -> dict[str, str]:
    summary = report.ratios
    figures = {"median": summary.median, "p05": summary.p05, "p95": summary.p95}
    properties = {name: format_ratio(figure) for name, figure in figures.items() if figure is not None}
    if report.bounds.baseline is not None:
        properties["baseline"] = _name(baseline_line(report))
    return properties


def _class_name(report: Judgement, worker: str) -> str:
    return _name(f"{report.trial}.{worker or NO_WORKER}")


def _cases(report: Judgement) -> dict[tuple[str, str], Any]:
    """Return the test case of each (worker, tensor), and of the trial as a whole where it or a file has an error."""
    cases: dict[tuple[str, str], Any] = {}

    def case(worker: str | None, tensor: str | None) -> Any:
        key = (worker or "", tensor if tensor is not None else WHOLE_TRIAL)
        if key not in cases:
            cases[key] = ElementTree.Element("testcase", classname=_class_name(report, key[0]), name=_name(key[1]))
        return cases[key]

    compared = _compared(report)
    for worker, tensor in compared:
        case(worker, tensor)
    for (worker, tensor), findings in _findings(report).items():
        lines = [f"{TITLES[finding.kind]}: {finding.text} {finding.advice}" for finding in findings]
        _add(case(worker, tensor), "failure", "\n".join(map(printable, lines)), findings[0].kind)
    for group in report.violations:
        if not group.fires:
            _add(case(group.worker, group.tensor), "system-out", f"{violation_text(report, group)}: does not fire")
    for skipped in report.skipped:
        kind = "system-out" if (skipped.worker, skipped.tensor) in compared else "skipped"
        _add(case(skipped.worker, skipped.tensor), kind, skipped_line(skipped))
    for entry in report.unreadable:
        whole_file = entry.tensor is None
        owner = case(None, entry.file) if whole_file else case(entry.worker, entry.tensor)
        _add(owner, "error", "\n".join(unreadable_lines([entry])), "unreadable")
    seen = {tensor for _, tensor in cases}
    for tensor in report.tensors:
        if tensor not in seen:
            _add(case(None, tensor), "skipped", NO_REFERENCE)
    if len(report) and not report.job_ended:
        _add(case(None, None), "skipped", "the job has not ended")
    if report.problem is not None:
        _add(case(None, None), "error", f"{report.problem.message}.\n{report.problem.remedy}", "not judged")
        for key in compared if report.is_unheld else ():
            if cases[key].find("failure") is None and cases[key].find("error") is None:
                _add(cases[key], "skipped", f"not judged: {report.problem.message}")
    return cases


def _findings(report: Judgement) -> dict[tuple[str, str], list[Finding]]:
    """Return the findings that each (worker, tensor) is in, the most urgent first.

    A finding that holds the rest of its kind has tensors that are not sick on each of its workers.
    """
    verdicts: dict[tuple[str, str], set[str]] = {}
    for group in report.violations:
        if group.fires:
            verdicts.setdefault((group.worker, group.tensor), set()).add(group.verdict)
    told: dict[tuple[str, str], list[Finding]] = {}
    for finding in report.findings:
        verdict = VERDICT_OF_KIND.get(finding.kind, SMALL)
        for worker in finding.workers:
            for tensor in finding.tensors:
                if verdict in verdicts.get((worker, tensor), ()):
                    told.setdefault((worker, tensor), []).append(finding)
    return told


def _compared(report: Judgement) -> dict[tuple[str, str], None]:
    tensors, workers = list(report.tensors), list(report.workers)
    keys = np.asarray(report.columns["worker"]).astype(np.int64) * max(len(tensors), 1)
    keys = np.unique(keys + np.asarray(report.columns["tensor"]))
    return {(workers[key // len(tensors)], tensors[key % len(tensors)]): None for key in keys.tolist()}


def _add(case: Any, kind: str, text: str, type_: str = "") -> None:
    """Add a result of a kind to a test case; a second one of its kind is added to the first's text."""
    text = "\n".join(map(printable, text.split("\n"))) if kind != "skipped" else printable(text)
    message = xml_text(text.replace("\n", " "))
    element = case.find(kind)
    if element is None:
        element = ElementTree.SubElement(case, kind)
        element.text = ""
        if kind != "system-out":
            element.set("message", message)
        if type_:
            element.set("type", type_)
    element.text = (element.text + "\n" + xml_text(text)).strip()


def _count(owner: Any) -> None:
    cases = list(owner.iter("testcase"))
    owner.set("tests", str(len(cases)))
    for name, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        owner.set(name, str(sum(case.find(kind) is not None for case in cases)))
    owner.set("time", "0")
