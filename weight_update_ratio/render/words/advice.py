"""The words of a finding, one sentence of what happened and what to do, from lines of ``texts.txt`` and ``advice.txt``.

The first line of the finding's kind whose condition holds gives the words. Conditions and the fields of the words are
those of ``Case``: a cause is named only where the data show it.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from ...findings.findings import Finding, numbers_of
from ...findings.judgement import Judgement
from ...findings.kinds import CHANGED, FAULT, LOST, NOTE
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


def told_findings(report: Judgement, found: list[Finding]) -> list[Finding]:
    """Return findings with their words; names in them are as the trial has them."""
    told: dict[str, int] = {}
    findings, is_told = [], False
    rises = [each for each in found if each.kind == CHANGED and each.entries[0].factor > 1]
    for number, finding in enumerate(found, 1):
        advice = _advice(report, finding)
        before = Case(report, finding).rise_before(rises) if finding.severity == FAULT and not is_told else ""
        is_told, advice = is_told or bool(before), advice + before
        first = told.setdefault(advice, number)
        if first != number:
            advice = f"As for finding {first}."
        findings.append(finding._replace(text=_text(report, finding), advice=advice))
    return findings


def _text(report: Judgement, finding: Finding) -> str:
    """Return what happened, in one sentence with numbers; what others did with it is at its end."""
    own = [entry for entry in finding.entries if finding.severity == NOTE or entry.kind == finding.kind]
    others: dict[str, list[str]] = {}
    told = {entry.course.tensor for entry in own}
    for entry in finding.entries:
        if entry.course.tensor not in told:
            others.setdefault(entry.kind, []).append(list(report.tensors)[entry.course.tensor])
    named = [f"{tensors_text(names, report.tensors)} ({kind.replace('_', ' ')})" for kind, names in others.items()]
    text = words(
        "texts",
        Case(report, finding._replace(**numbers_of(report, own)) if len(own) < len(finding.entries) else finding),
    )
    return f"{text}; with it {', '.join(named)}." if others else f"{text}."


def _advice(report: Judgement, finding: Finding) -> str:
    """Return what to do; where the baseline is shorter, that comes first."""
    baseline, advice = report.bounds.baseline, words("advice", Case(report, finding))
    if baseline is None or finding.last_step <= baseline.last_step:
        return advice
    shorter = f"The baseline ends at step {baseline.last_step}: judge against a good run that is as long as this one."
    is_past = finding.first_step > baseline.last_step and finding.kind not in LOST
    return shorter if is_past else f"{shorter} {advice}"
