"""The verdict and the grouped violations as plain HTML: what a notebook shows, and the top of a page."""

from __future__ import annotations

from typing import Any, Callable

from ..judge.history import History
from ..judge.violations import ViolationGroup
from .escapes import html_text
from .wording import (
    Advice,
    advise,
    baseline_line,
    count_line,
    format_ratio,
    group_expected,
    verdict_sentence,
    verdict_word,
)

COLORS = {"FIRED": "#a50026", "OK": "#1a6b2f", "NOT JUDGED": "#8a5a00"}
MOST_GROUPS = 20  # of one kind, in a notebook; a page shows all


def report_html(report: History) -> str:
    """Return the verdict, the counts and the grouped violations, for a notebook's cell."""
    if not len(report) and report.problem is None:
        return f"<p>{html_text(report.trial)}: nothing is compared yet</p>"
    parts = [verdict_html(report), counts_html(report)]
    parts += [advice_html(report, advice, MOST_GROUPS) for advice in advise(report)]
    return '<div class="weight-update-ratio">' + "".join(parts) + "</div>"


def counts_html(report: History) -> str:
    """Return what the run was held against, where it was, and how much was judged."""
    lines = filter(None, [baseline_line(report), count_line(report)])
    return "".join(f'<p class="counts">{html_text(line)}</p>' for line in lines)


def verdict_html(report: History) -> str:
    """Return the verdict in one sentence."""
    word = verdict_word(report)
    sentence = html_text(f"{report.trial}: {verdict_sentence(report)}")
    return f'<p class="verdict"><strong style="color: {COLORS[word]}">{word}</strong> {sentence}</p>'


def advice_html(
    report: History, advice: Advice, most: int | None = None, name_html: Callable[[ViolationGroup], str] | None = None
) -> str:
    """Return the violations of one kind: its title, what to do about it, and a table.

    Args:
        report: Whose violations they are.
        advice: One of ``advise(report)``.
        most: Groups in the table; None: all.
        name_html: Gives the HTML of a group's tensor, where it is more than its name.
    """
    several = len(report.workers) > 1
    noted = any(group.note for group in advice.groups)
    expected = report.bounds.baseline is not None
    numbers = [f"{report.mode} steps", "count", "worst ratio", "at step", *(["expected"] if expected else [])]
    head = ["tensor", *(["worker"] if several else []), *numbers, *(["note"] if noted else [])]
    rows = []
    for group in advice.groups[:most]:
        first, last = group.first_step, group.last_step
        cells: list[Any] = [f"{first}" if first == last else f"{first}\u2013{last}", f"{group.count:,}"]
        cells += [format_ratio(group.worst_ratio), group.worst_step]
        cells += [group_expected(group)] if expected else []
        name = name_html(group) if name_html else f"<code>{html_text(group.tensor)}</code>"
        row = f'<td style="text-align: left">{name}</td>'
        row += f'<td style="text-align: left">{html_text(group.worker)}</td>' if several else ""
        row += "".join(f"<td>{cell}</td>" for cell in cells)
        row += f'<td style="text-align: left">{html_text(group.note)}</td>' if noted else ""
        rows.append(f"<tr>{row}</tr>")
    left_out = len(advice.groups) - len(rows)
    more = f"<p>and {left_out} more</p>" if left_out else ""
    count = len(advice.groups)
    return (
        f"<h3>{advice.title} <small>({count:,} tensor{'s' * (count != 1)})</small></h3>"
        f'<p class="advice">{html_text(advice.line[0].upper() + advice.line[1:])}</p>'
        f'<div class="scroll"><table><thead><tr>{"".join(f"<th>{html_text(name)}</th>" for name in head)}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>{more}"
    )
