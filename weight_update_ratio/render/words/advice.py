"""The words of a finding, one sentence of what happened and what to do, from lines of ``texts.txt`` and ``advice.txt``.

The first line of the finding's kind whose condition holds gives the words. Conditions and the fields of the words are
those of ``Case``: a cause is named only where the data show it.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from ...findings.findings import Finding, find_findings, numbers_of
from ...findings.judgement import Judgement
from ...findings.kinds import CHANGED, FAULT
from .case import Case
from .names import tensors_text


@lru_cache(maxsize=None)
def lines(name: str) -> list[tuple[list[str], str, str]]:
    """Return (kinds, condition, words) of each line of a file."""
    found = []
    for line in (Path(__file__).parent / f"{name}.txt").read_text("utf-8").splitlines()[1:]:
        head, _, words = line.partition(": ")
        kinds, _, condition = head.partition(" ? ")
        found.append((kinds.split(", "), condition, words))
    return found


def words(name: str, case: Case) -> str:
    """Return the words that a file has for a case."""
    fitting = (text for kinds, condition, text in lines(name) if case.finding.kind in kinds and case.holds(condition))
    return next(fitting).format_map(case)


def told_findings(report: Judgement) -> list[Finding]:
    """Return the findings with their words; names in them are as the trial has them."""
    told: dict[str, int] = {}
    found, findings = find_findings(report, report.courses), []
    rises = [each for each in found if each.kind == CHANGED and each.entries[0].factor > 1]
    for number, finding in enumerate(found, 1):
        advice = _advice(report, finding)
        if finding.severity == FAULT:
            advice += Case(report, finding).rise_before(rises)
        first = told.setdefault(advice, number)
        if first != number:
            advice = f"As for finding {first}."
        findings.append(finding._replace(text=_text(report, finding), advice=advice))
    return findings


def _text(report: Judgement, finding: Finding) -> str:
    """Return what happened, in one sentence with numbers; what others did with it is at its end."""
    own = [entry for entry in finding.entries if entry.kind == finding.kind]
    others: dict[str, list[str]] = {}
    for entry in finding.entries:
        if entry.kind != finding.kind:
            others.setdefault(entry.kind, []).append(list(report.tensors)[entry.course.tensor])
    named = [f"{tensors_text(names, report.tensors)} ({kind.replace('_', ' ')})" for kind, names in others.items()]
    text = words("texts", Case(report, finding._replace(**numbers_of(report, own)) if others else finding))
    return f"{text}; with it {', '.join(named)}." if others else f"{text}."


def _advice(report: Judgement, finding: Finding) -> str:
    """Return what to do; where the baseline is shorter, that comes first."""
    baseline, advice = report.bounds.baseline, words("advice", Case(report, finding))
    if baseline is None or finding.last_step <= baseline.last_step:
        return advice
    shorter = f"The baseline ends at step {baseline.last_step}: judge against a good run that is as long as this one."
    return shorter if finding.first_step > baseline.last_step else f"{shorter} {advice}"
