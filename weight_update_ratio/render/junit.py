"""A Report as JUnit XML, which CI systems show as tests: a suite a worker, a test case a tensor.

Failures exist exactly if the exit code is 1, and errors whenever it is 2: a CI system that reads only this file never
shows a failed check as passed. Notes, and what does not fire, are output of their cases.

A class name is the trial, a dot and the worker. GitLab keeps the first of two tests of one class and name in a job, and
a job may judge several trials. Jenkins splits the name at its last dot into package and class. GitLab shows a failure's
content, GitHub's reporters mostly its message, Jenkins both: both are all words.

Source: GitLab's "Unit test reports", and its ``junit.rb``; Jenkins' ``CaseResult.java``.
"""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from ..findings.judgement import Judgement
from .words.escapes import printable
from .words.run import baseline_line, format_ratio, skipped_line, unreadable_lines, violation_text
from .words.titles import finding_title, is_failure


def render_junit(report: Judgement) -> str:
    root = ElementTree.Element("testsuites", name="weight_update_ratio")
    cases = _cases(report)
    for worker in dict.fromkeys(worker for worker, _ in cases):
        suite = ElementTree.SubElement(root, "testsuite", name=f"{printable(report.trial)} {printable(worker)}".strip())
        figures = {name: format_ratio(figure) for name, figure in report.ratios._asdict().items() if figure is not None}
        if report.bounds.baseline is not None:
            figures["baseline"] = printable(baseline_line(report))
        properties = ElementTree.SubElement(suite, "properties") if figures else suite
        for name, value in figures.items():
            ElementTree.SubElement(properties, "property", name=name, value=value)
        suite.extend(case for (owner, _), case in cases.items() if owner == worker)
        _count(suite)
    _count(root)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _cases(report: Judgement) -> dict[tuple[str, str], Any]:
    """Return the test case of each (worker, tensor), and of the trial as a whole if it or a file has an error."""
    cases: dict[tuple[str, str], Any] = {}

    def case(worker: str | None, tensor: str | None) -> Any:
        key = (worker or "", "the whole trial" if tensor is None else tensor)
        if key not in cases:
            class_name = printable(f"{report.trial}.{worker or 'all workers'}")
            cases[key] = ElementTree.Element("testcase", classname=class_name, name=printable(key[1]))
        return cases[key]

    tensors, workers = list(report.tensors), list(report.workers)
    compared = {(workers[course.worker], tensors[course.tensor]): None for course in report.courses}
    for worker, tensor in compared:
        case(worker, tensor)
    for number, finding in enumerate(report.findings, 1):
        kind, type_ = ("failure", finding.kind) if is_failure(report, finding) else ("system-out", "")
        text = f"{number}. {finding_title(finding)}: {finding.text} {finding.advice}"
        for entry in finding.entries:
            _add(case(workers[entry.course.worker], tensors[entry.course.tensor]), kind, printable(text), type_)
    for group in report.violations:
        if not group.fires:
            _add(case(group.worker, group.tensor), "system-out", f"{violation_text(report, group)}: does not fire")
    for skipped in report.skipped:
        kind = "system-out" if (skipped.worker, skipped.tensor) in compared else "skipped"
        _add(case(skipped.worker, skipped.tensor), kind, skipped_line(skipped))
    for lost in report.unreadable:
        owner = case(None, lost.file) if lost.tensor is None else case(lost.worker, lost.tensor)
        _add(owner, "error", "\n".join(unreadable_lines([lost])), "unreadable")
    listed = {tensor for _, tensor in cases}
    for tensor in (tensor for tensor in report.tensors if tensor not in listed):
        _add(case(None, tensor), "skipped", "no earlier saved step to compare with")
    if len(report) and not report.job_ended:
        _add(case(None, None), "skipped", "the job has not ended")
    if report.problem is not None:
        _add(case(None, None), "error", f"{report.problem.message}.\n{report.problem.remedy}", "not judged")
        for key in compared if report.is_unheld else ():
            if cases[key].find("failure") is None and cases[key].find("error") is None:
                _add(cases[key], "skipped", f"not judged: {report.problem.message}")
    return cases


def _add(case: Any, kind: str, text: str, type_: str = "") -> None:
    """Add a result of a kind to a test case; a second one of its kind is added to the first's text."""
    lines = [text] if kind == "skipped" else text.split("\n")
    element = case.find(kind)
    if element is None:
        element = ElementTree.SubElement(case, kind, {"type": type_} if type_ else {})
    element.text = "\n".join([element.text or "", *map(printable, lines)]).strip()
    if kind != "system-out":
        element.set("message", element.text.replace("\n", " "))


def _count(parent: Any) -> None:
    cases = list(parent.iter("testcase"))
    parent.set("tests", str(len(cases)))
    for name, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        parent.set(name, str(sum(case.find(kind) is not None for case in cases)))
    parent.set("time", "0")
