"""A Report as text for a terminal: the verdict, the violations, what was not judged and why, the counts."""

from __future__ import annotations

import io

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..judge.history import History
from .escapes import printable
from .wording import (
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
    if report.firing:
        table = _violations(report)
        console.width = max(console.width, _least_width(table))
        console.print(table)
        for advice in advise(report):
            console.print(Text.assemble((f"{advice.title}: ", "bold"), printable(advice.line)), soft_wrap=True)
        console.print()
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


def _violations(report: History) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    several = len(report.workers) > 1
    noted = any(group.note for group in report.firing)
    expected = report.bounds.baseline is not None
    table.add_column("verdict", no_wrap=True)
    table.add_column("tensor", overflow="fold")
    if several:
        table.add_column("worker", overflow="fold")
    for name in (f"{report.mode} steps", "count", "worst ratio", "at step"):
        table.add_column(name, justify="right", no_wrap=True)
    if expected:
        table.add_column("expected", no_wrap=True)
    if noted:
        table.add_column("note")
    for group in report.firing:
        first, last = group.first_step, group.last_step
        cells = [Text(group.verdict, "red"), Text(printable(group.tensor))]
        cells += [Text(printable(group.worker))] if several else []
        cells += [Text(str(first) if first == last else f"{first}-{last}"), Text(str(group.count))]
        cells += [Text(format_ratio(group.worst_ratio)), Text(str(group.worst_step))]
        cells += [Text(group_expected(group))] if expected else []
        cells += [Text(group.note)] if noted else []
        table.add_row(*cells)
    return table


def _least_width(table: Table) -> int:
    """Return how wide the table must be to show its numbers whole and its names not a letter a line."""
    least = 1 + 3 * len(table.columns)  # the edge, and the space between them
    for column in table.columns:
        widest = max(cell_len(str(cell)) for cell in (column.header, *column.cells))
        least += widest if column.no_wrap else min(widest, LEAST_FOLDED)
    return least


def _print_lines(console: Console, title: str, lines: list[str]) -> None:
    if not lines:
        return
    console.print(Text(title, "bold"))
    for line in lines[:MOST_LINES]:
        console.print(Text("  " + printable(line)), soft_wrap=True)
    if len(lines) > MOST_LINES:
        console.print(Text(f"  and {len(lines) - MOST_LINES} more; --format json lists them all"))
    console.print()
