"""A Report as JUnit XML, which CI systems show as tests: a suite a worker, a test case a tensor.

A failure is a violation. An error is what could not be read or judged. Failures exist exactly where the exit code is 1,
and errors wherever it is 2: a CI system that reads only this file never shows a failed check as passed.
"""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import numpy as np

from ..judge.history import History
from .escapes import printable, xml_text
from .wording import baseline_line, skipped_line, unreadable_lines, violation_text

WHOLE_TRIAL = "the whole trial"
NO_REFERENCE = "no earlier saved step to compare with"


def render_junit(report: History) -> str:
    """Return the report as JUnit XML."""
    root = ElementTree.Element("testsuites", name="weight_update_ratio")
    cases = _cases(report)
    for worker in dict.fromkeys(worker for worker, _ in cases):
        name = f"{_name(report.trial)} {_name(worker)}".strip()
        suite = ElementTree.SubElement(root, "testsuite", name=name)
        if report.bounds.baseline is not None:
            properties = ElementTree.SubElement(suite, "properties")
            ElementTree.SubElement(properties, "property", name="baseline", value=_name(baseline_line(report)))
        suite.extend(case for (owner, _), case in cases.items() if owner == worker)
        _count(suite)
    _count(root)
    _indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _name(text: str) -> str:
    return xml_text(printable(text))


def _cases(report: History) -> dict[tuple[str, str], Any]:
    """Return the test case of each (worker, tensor), and of the trial as a whole where it or a file has an error."""
    found: dict[tuple[str, str], Any] = {}

    def case(worker: str | None, tensor: str | None) -> Any:
        key = (worker or "", tensor if tensor is not None else WHOLE_TRIAL)
        if key not in found:
            found[key] = ElementTree.Element("testcase", classname=_name(key[0] or report.trial), name=_name(key[1]))
        return found[key]

    compared = _compared(report)
    for worker, tensor in compared:
        case(worker, tensor)
    for group in report.firing:
        text = violation_text(report, group)
        _add(case(group.worker, group.tensor), "failure", text, group.verdict)
    for group in report.passing:
        _add(case(group.worker, group.tensor), "system-out", f"{violation_text(report, group)}: does not fire")
    for skipped in report.skipped:
        kind = "system-out" if (skipped.worker, skipped.tensor) in compared else "skipped"
        _add(case(skipped.worker, skipped.tensor), kind, skipped_line(skipped))
    for entry in report.unreadable:
        whole_file = entry.tensor is None
        owner = case(None, entry.file) if whole_file else case(entry.worker, entry.tensor)
        _add(owner, "error", "\n".join(unreadable_lines([entry])), "unreadable")
    seen = {tensor for _, tensor in found}
    for tensor in report.tensors:
        if tensor not in seen:
            _add(case(None, tensor), "skipped", NO_REFERENCE)
    if len(report) and not report.job_ended:
        _add(case(None, None), "skipped", "the job has not ended")
    if report.problem is not None:
        _add(case(None, None), "error", f"{report.problem}\n{report.problem.remedy}", "not judged")
    return found


def _compared(report: History) -> dict[tuple[str, str], None]:
    """Return the (worker, tensor) that were compared, in the trial's order."""
    tensors, workers = list(report.tensors), list(report.workers)
    keys = np.asarray(report.columns["worker"]).astype(np.int64) * max(len(tensors), 1)
    keys = np.unique(keys + np.asarray(report.columns["tensor"]))
    return {(workers[key // len(tensors)], tensors[key % len(tensors)]): None for key in keys.tolist()}


def _add(case: Any, kind: str, text: str, type_: str = "") -> None:
    """Add a result of a kind to a test case; a second one of its kind is added to the first's text."""
    text = "\n".join(map(printable, text.split("\n"))) if kind != "skipped" else printable(text)
    message = xml_text(text.split("\n")[0])
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


def _indent(element: Any, depth: int = 0) -> None:
    """Put each element on a line of its own; ElementTree's own indent came with Python 3.9."""
    for child in element:
        _indent(child, depth + 1)
        child.tail = "\n" + "  " * (depth + 1)
    if len(element):
        element.text = "\n" + "  " * (depth + 1)
        element[-1].tail = "\n" + "  " * depth
