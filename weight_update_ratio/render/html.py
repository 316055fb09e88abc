"""The verdict and the grouped violations as plain HTML: what a notebook shows, and the top of a page."""

from __future__ import annotations

from ..judge.history import History
from .advice import TITLES, told_findings
from .escapes import html_text
from .wording import (
    baseline_line,
    count_line,
    verdict_sentence,
    verdict_word,
)

COLORS = {"FIRED": "#a50026", "OK": "#1a6b2f", "NOT JUDGED": "#8a5a00"}


def report_html(report: History) -> str:
    """Return the verdict, the counts and the grouped violations, for a notebook's cell."""
    if not len(report) and report.problem is None:
        return f"<p>{html_text(report.trial)}: nothing is compared yet</p>"
    parts = [verdict_html(report), counts_html(report)]
    parts.append(findings_html(report))
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


def findings_html(report: History) -> str:
    """Return what is wrong and what to do about it, a paragraph a finding."""
    return "".join(
        f'<h3>{TITLES[finding.kind]}</h3><p>{html_text(finding.text)}</p><p class="advice">{html_text(finding.advice)}</p>'
        for finding in told_findings(report)
    )
