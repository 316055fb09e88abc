"""A Report as GitHub's markdown, for a pull request's comment or a job's summary."""

from __future__ import annotations

from ..judge.findings import Finding
from ..judge.history import History
from .advice import TITLES, told_findings
from .escapes import markdown_code, markdown_text, shortened
from .wording import (
    baseline_line,
    count_line,
    skipped_line,
    unreadable_lines,
    verdict_sentence,
    verdict_word,
)

MOST_LINES = 10
SIGNS = {"FIRED": "\u274c", "OK": "\u2705", "NOT JUDGED": "\u26a0\ufe0f"}


def render_markdown(report: History) -> str:
    """Return the report as markdown; names of the trial are only text in it."""
    word = verdict_word(report)
    parts = [
        f"### {SIGNS[word]} Weight update ratio: {word}",
        f"{markdown_code(report.trial)}: {markdown_text(verdict_sentence(report))}",
        *(_finding(finding) for finding in told_findings(report)),
        *_lines("Skipped", [skipped_line(group) for group in report.skipped]),
        *_lines("Unreadable", list(unreadable_lines(report.unreadable))),
        *([markdown_text(shortened(baseline_line(report)))] if report.bounds.baseline is not None else []),
        count_line(report),
    ]
    return "\n\n".join(parts) + "\n"


def _finding(finding: Finding) -> str:
    return f"**{TITLES[finding.kind]}**: {markdown_text(finding.text)} {markdown_text(finding.advice)}"


def _lines(title: str, lines: list[str]) -> list[str]:
    if not lines:
        return []
    listed = [f"- {markdown_text(shortened(line))}" for line in lines[:MOST_LINES]]
    left_out = len(lines) - MOST_LINES
    more = [f"- and {left_out} more"] if left_out > 0 else []
    return [f"**{title}**", "\n".join(listed + more)]
