"""What a finding is called, whether it fails a check, and which findings are shown where not all have room."""

from __future__ import annotations

from typing import Callable

from ...findings.findings import Finding
from ...findings.judgement import Judgement
from ...findings.kinds import CHANGED, DECAYED, FAULT, KINDS, NOTE
from .names import counted


def title_of(kind: str) -> str:
    """Return what a kind is called.

    >>> title_of("not_finite")
    'Not finite'
    """
    return kind.replace("_", " ").capitalize()


def finding_title(finding: Finding) -> str:
    """Return what a finding is called: a note says that it is one."""
    title = title_of(finding.kind)
    return f"Note: {title[0].lower()}{title[1:]}" if finding.severity == NOTE else title


def is_failure(report: Judgement, finding: Finding) -> bool:
    """Return whether a finding ends a check with exit code 1: a fault does; where it is strict, all that fires."""
    return finding.severity == FAULT or (report.strict and finding.kind not in (DECAYED, CHANGED))


def with_room(
    findings: dict[int, Finding], room: int, size: Callable[[int], int] = lambda number: 1
) -> dict[int, Finding]:
    """Return the findings that have room, in their order: the first, then one of each kind, the most urgent first.

    Args:
        findings: By their numbers.
        room: What ``size`` gives, of all of them.
        size: How much the finding of a number takes.
    """
    firsts = {(each.severity, each.kind): number for number, each in reversed(list(findings.items()))}.values()

    def key(number: int) -> tuple[bool, bool, str, int]:
        severity, kind = findings[number].severity, findings[number].kind
        return number > min(findings), number not in firsts, severity, KINDS.index(kind)

    kept: set[int] = set()
    for number in sorted(findings, key=key):
        room -= size(number)
        if room < 0 and kept:
            break
        kept.add(number)
    return {number: findings[number] for number in sorted(kept)}


def left_text(findings: list[Finding], kept: dict[int, Finding], where: str) -> str:
    """Return how many findings are not shown, of which kinds, and what shows them; empty where all are."""
    left = [finding for number, finding in enumerate(findings, 1) if number not in kept]
    titles = ", ".join(dict.fromkeys(map(finding_title, left)))
    return f"and {counted(len(left), 'more finding')} ({titles}); {where} lists them all" if left else ""
