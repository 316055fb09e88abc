"""What a finding is called, whether it fails a check, and which findings are shown if not all have room."""

from __future__ import annotations

from typing import Callable

from ...findings.findings import Finding
from ...findings.judgement import Judgement
from ...findings.kinds import CHANGED, DECAYED, FAULT, KINDS, NOTE
from .names import counted


def title_of(kind: str) -> str:
    return kind.replace("_", " ").capitalize()


def finding_title(finding: Finding) -> str:
    title = title_of(finding.kind)
    return f"Note: {title.lower()}" if finding.severity == NOTE else title


def is_failure(report: Judgement, finding: Finding) -> bool:
    """Return whether a finding ends a check with exit code 1: a fault does; if it is strict, all that fires."""
    return finding.severity == FAULT or (report.strict and finding.kind not in (DECAYED, CHANGED))


def with_room(
    findings: dict[int, Finding], room: int, size: Callable[[int], int] = lambda number: 1
) -> dict[int, Finding]:
    """Return the first finding and those that have room: one of each kind, the most urgent first, then the others."""
    firsts = {(each.severity, each.kind): number for number, each in reversed(list(findings.items()))}.values()

    def urgency(number: int) -> tuple[bool, bool, str, int]:
        severity, kind = findings[number].severity, findings[number].kind
        return number > min(findings), number not in firsts, severity, KINDS.index(kind)

    shown: set[int] = set()
    for number in sorted(findings, key=urgency):
        room -= size(number)
        if room < 0 and shown:
            break
        shown.add(number)
    return {number: findings[number] for number in sorted(shown)}


def left_text(findings: list[Finding], shown: dict[int, Finding], where: str) -> str:
    """Return how many findings are not shown, of which kinds, and what shows them; empty if all are shown."""
    left = [finding for number, finding in enumerate(findings, 1) if number not in shown]
    titles = ", ".join(dict.fromkeys(map(finding_title, left)))
    return f"and {counted(len(left), 'more finding')} ({titles}); {where} lists them all" if left else ""
