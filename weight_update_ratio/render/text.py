"""A Report as text for a terminal: the verdict, the violations, what was not judged and why, the counts."""

from __future__ import annotations

import io

from rich.console import Console
from rich.text import Text

from ..judge.history import History
from .advice import TITLES, told_findings
from .escapes import printable
from .wording import (
    baseline_line,
    count_line,
    skipped_line,
    unreadable_lines,
    verdict_sentence,
    verdict_word,
)

PLAIN_WIDTH = 160  # columns where the text does not go to a terminal
LEAST_FOLDED = 20  # columns that a name is folded to at least; a terminal too narrow for that wraps the lines itself
MOST_LINES = 20  # of what was skipped, and of what was unreadable; JSON has them all


def render_text(report: History, width: int | None = None, color: bool = False, problem: bool = True) -> str:
    """Return the report as text: ``width`` columns at most (160), with colour codes where asked for.

    Without ``problem`` it does not say why nothing was judged, for a reader who gets that as an error.
    """
    file = io.StringIO()
    console = Console(
        file=file,
        width=width or PLAIN_WIDTH,
        force_terminal=color,
        no_color=not color,
        highlight=False,
        emoji=False,
        markup=False,
        legacy_windows=False,
    )
    console.print(_verdict(report, problem), soft_wrap=True)
    for number, finding in enumerate(told_findings(report), 1):
        console.print(Text(f"{number}. {TITLES[finding.kind]}: {printable(finding.text)} {printable(finding.advice)}"))
    _print_lines(console, "Skipped", [skipped_line(group) for group in report.skipped])
    _print_lines(console, "Unreadable", list(unreadable_lines(report.unreadable)))
    if report.bounds.baseline is not None:
        console.print(Text(printable(baseline_line(report))), soft_wrap=True)
    console.print(Text(count_line(report)), soft_wrap=True)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def _verdict(report: History, problem: bool) -> Text:
    word = verdict_word(report)
    style = {"FIRED": "bold red", "OK": "bold green"}.get(word, "bold yellow")
    line = Text.assemble((word, style), "  ", (printable(report.trial), "bold"))
    if problem or report.problem is None or report.fired:
        line.append(f": {printable(verdict_sentence(report))}")
    return line


def _print_lines(console: Console, title: str, lines: list[str]) -> None:
    if not lines:
        return
    console.print(Text(title, "bold"))
    for line in lines[:MOST_LINES]:
        console.print(Text("  " + printable(line)), soft_wrap=True)
    if len(lines) > MOST_LINES:
        console.print(Text(f"  and {len(lines) - MOST_LINES} more; --format json lists them all"))
    console.print()
