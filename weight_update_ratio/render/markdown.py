"""A Report as GitHub's markdown, for a pull request's comment or a job's summary."""

from __future__ import annotations

import re

from ..judge.history import History
from .text import count_line, format_ratio, printable, skipped_line, unreadable_lines, verdict_sentence, verdict_word
from .wording import Advice, advise

MOST_GROUPS = 25  # rows of a table; a comment holds 65,536 characters
MOST_LINES = 10
MOST_NAME = 200  # characters of a name
_MARKUP = re.compile(r"[\\`*_{}\[\]()#+!|~$&<>@]")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;"}
SIGNS = {"FIRED": "\u274c", "OK": "\u2705", "NOT JUDGED": "\u26a0\ufe0f"}


def render_markdown(report: History) -> str:
    """Return the report as markdown; names of the trial are text in it, whatever they hold."""
    word = verdict_word(report)
    parts = [
        f"### {SIGNS[word]} Weight update ratio: {word}",
        f"{code(report.trial)}: {escaped(verdict_sentence(report))}",
        *(_kind(report, advice) for advice in advise(report)),
        *_lines("Skipped", [skipped_line(group) for group in report.skipped]),
        *_lines("Unreadable", list(unreadable_lines(report.unreadable))),
        count_line(report),
    ]
    return "\n\n".join(parts) + "\n"


def code(name: str) -> str:
    r"""Return a name as a code span that holds in a table: fenced by more backticks than it has in a row.

    >>> print(code("a`b|c"))
    `` a`b\|c ``
    """
    name = _short(printable(name))
    if not name.strip():
        return f"<code>{name.replace(' ', '&nbsp;')}</code>"
    ticks = "`" * (max(map(len, re.findall("`+", name)), default=0) + 1)
    space = " " if len(ticks) > 1 else ""
    return f"{ticks}{space}{name}{space}{ticks}".replace("|", r"\|")


def escaped(text: str) -> str:
    r"""Return text of one line in which nothing is markup, a mention or a reference.

    >>> escaped("<b> *x* @me")
    '&lt;b&gt; \\*x\\* &#64;me'
    """
    text = _MARKUP.sub(lambda found: _ENTITIES.get(found.group(), "\\" + found.group()), printable(text))
    return text.replace("://", ":&#47;/").replace("www.", "www&#46;")


def _short(name: str) -> str:
    half = MOST_NAME // 2
    return name if len(name) <= MOST_NAME else f"{name[:half]}\u2026{name[-half:]}"


def _kind(report: History, advice: Advice) -> str:
    several = len(report.workers) > 1
    noted = any(group.note for group in advice.groups)
    head = ["tensor", *(["worker"] if several else []), f"{report.mode} steps", "count", "worst ratio", "at step"]
    align = [":--", *([":--"] if several else []), "--:", "--:", "--:", "--:"]
    rows = [head + ["note"] * noted, align + [":--"] * noted]
    for group in advice.groups[:MOST_GROUPS]:
        first, last = group.first_step, group.last_step
        cells = [code(group.tensor), *([code(group.worker)] if several else [])]
        cells += [f"{first}" if first == last else f"{first}-{last}", f"{group.count}"]
        cells += [format_ratio(group.worst_ratio), f"{group.worst_step}"]
        rows.append(cells + [group.note] * noted)
    left_out = len(advice.groups) - MOST_GROUPS
    more = f"\n\nand {left_out} more" if left_out > 0 else ""
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
    return f"**{advice.title}**: {escaped(advice.line)}\n\n{table}{more}"


def _lines(title: str, lines: list[str]) -> list[str]:
    if not lines:
        return []
    listed = [f"- {escaped(_short(line))}" for line in lines[:MOST_LINES]]
    left_out = len(lines) - MOST_LINES
    more = [f"- and {left_out} more"] if left_out > 0 else []
    return [f"**{title}**", "\n".join(listed + more)]
