"""What a finding is called, whether it fails a check, and which findings are shown where not all have room."""

from __future__ import annotations

from typing import Callable

from ...findings.findings import FAULT, NOTE, Finding
from ...findings.judgement import Judgement
from .advice import TITLES
from .names import counted


def finding_title(finding: Finding) -> str:
    """Return what a finding is called: a note says that it is one."""
    title = TITLES[finding.kind]
    return f"Note: {title[0].lower()}{title[1:]}" if finding.severity == NOTE else title


def is_failure(report: Judgement, finding: Finding) -> bool:
    """Return whether a finding ends a check with exit code 1: a fault does; where it is strict, all that fires."""
    return finding.severity == FAULT or (report.strict and finding.count > 0)


def with_room(findings: list[Finding], room: int, size: Callable[[Finding], int] = lambda finding: 1) -> list[Finding]:
    """Return the findings that have room, in their order: one at least, and of each kind one before a second of any."""
    firsts = {(finding.severity, finding.kind): finding for finding in reversed(findings)}.values()
    kept: set[int] = set()
    for finding in sorted(findings, key=lambda finding: all(finding is not first for first in firsts)):
        room -= size(finding)
        if room < 0 and kept:
            break
        kept.add(id(finding))
    return [finding for finding in findings if id(finding) in kept]


def left_text(findings: list[Finding], kept: list[Finding], where: str) -> str:
    """Return how many findings are not shown, of which kinds, and what shows them; empty where all are."""
    left = [finding for finding in findings if all(finding is not shown for shown in kept)]
    titles = ", ".join(dict.fromkeys(map(finding_title, left)))
    return f"and {counted(len(left), 'more finding')} ({titles}); {where} lists them all" if left else ""
