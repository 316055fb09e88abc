"""A Report as GitHub's markdown, for a pull request's comment or a job's summary."""

from __future__ import annotations

from ..judge.history import History
from .escapes import markdown_code, markdown_text, shortened
from .wording import (
    Advice,
    advise,
    baseline_line,
    count_line,
    format_ratio,
    group_expected,
    skipped_line,
    unreadable_lines,
    verdict_sentence,
    verdict_word,
)

MOST_GROUPS = 25  # rows of a table; a comment holds 65,536 characters
MOST_LINES = 10
SIGNS = {"FIRED": "\u274c", "OK": "\u2705", "NOT JUDGED": "\u26a0\ufe0f"}


def render_markdown(report: History) -> str:
    """Return the report as markdown; names of the trial are only text in it."""
    word = verdict_word(report)
    parts = [
        f"### {SIGNS[word]} Weight update ratio: {word}",
        f"{markdown_code(report.trial)}: {markdown_text(verdict_sentence(report))}",
        *(_kind(report, advice) for advice in advise(report)),
        *_lines("Skipped", [skipped_line(group) for group in report.skipped]),
        *_lines("Unreadable", list(unreadable_lines(report.unreadable))),
        *([markdown_text(shortened(baseline_line(report)))] if report.bounds.baseline is not None else []),
        count_line(report),
    ]
    return "\n\n".join(parts) + "\n"


def _kind(report: History, advice: Advice) -> str:
    several = len(report.workers) > 1
    noted = any(group.note for group in advice.groups)
    expected = report.bounds.baseline is not None
    head = ["tensor", *(["worker"] if several else []), f"{report.mode} steps", "count", "worst ratio", "at step"]
    align = [":--", *([":--"] if several else []), "--:", "--:", "--:", "--:"]
    rows = [head + ["expected"] * expected + ["note"] * noted, align + ["--:"] * expected + [":--"] * noted]
    for group in advice.groups[:MOST_GROUPS]:
        first, last = group.first_step, group.last_step
        cells = [markdown_code(group.tensor), *([markdown_code(group.worker)] if several else [])]
        cells += [f"{first}" if first == last else f"{first}-{last}", f"{group.count}"]
        cells += [format_ratio(group.worst_ratio), f"{group.worst_step}"]
        rows.append(cells + [group_expected(group)] * expected + [group.note] * noted)
    left_out = len(advice.groups) - MOST_GROUPS
    more = f"\n\nand {left_out} more" if left_out > 0 else ""
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
    return f"**{advice.title}**: {markdown_text(advice.line)}\n\n{table}{more}"


def _lines(title: str, lines: list[str]) -> list[str]:
    if not lines:
        return []
    listed = [f"- {markdown_text(shortened(line))}" for line in lines[:MOST_LINES]]
    left_out = len(lines) - MOST_LINES
    more = [f"- and {left_out} more"] if left_out > 0 else []
    return [f"**{title}**", "\n".join(listed + more)]
