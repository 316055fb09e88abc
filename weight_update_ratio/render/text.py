"""A Report as text for a terminal: the verdict, the violations, what was not judged and why, the counts."""

from __future__ import annotations

import io
from typing import Iterable

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..errors import Unreadable
from ..judge.history import History, SkippedGroup
from .wording import advise

PLAIN_WIDTH = 160  # columns where the text does not go to a terminal
LEAST_FOLDED = 20  # columns that a name is folded to at least; a terminal too narrow for that wraps the lines itself
MOST_LINES = 20  # of what was skipped, and of what was unreadable; JSON has them all


def render_text(report: History, width: int | None = None, color: bool = False) -> str:
    """Return the report as text: ``width`` columns at most (160), with colour codes where asked for."""
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
    console.print(_verdict(report), soft_wrap=True)
    if report.violations:
        table = _violations(report)
        console.width = max(console.width, _least_width(table))
        console.print(table)
        for advice in advise(report):
            console.print(Text.assemble((f"{advice.title}: ", "bold"), printable(advice.line)), soft_wrap=True)
        console.print()
    _print_lines(console, "Skipped", [skipped_line(group) for group in report.skipped])
    _print_lines(console, "Unreadable", list(unreadable_lines(report.unreadable)))
    console.print(Text(count_line(report)), soft_wrap=True)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def printable(name: str) -> str:
    r"""Return a name that comes from a trial with control characters and lone surrogates as escapes.

    >>> printable("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in name)


def format_ratio(ratio: float) -> str:
    """Return a ratio, or a norm, to four digits.

    >>> [format_ratio(ratio) for ratio in (0.0012345, 26504.720005, float("nan"))]
    ['0.001234', '2.65e+04', 'nan']
    """
    return f"{ratio:.4g}" if 1e-4 <= abs(ratio) < 1e4 else f"{ratio:.3g}"


def verdict_sentence(report: History) -> str:
    """Return the report's verdict in one sentence."""
    counts = report.counts
    compared = f"{counts['comparisons']:,} update-to-weight ratios"
    if report.fired:
        verb = "is a violation" if counts["violations"] == 1 else "are violations"
        sentence = f"{counts['violations']:,} of {compared} {verb}"
    elif report.problem is not None:
        return str(report.problem)
    else:
        sentence = (
            f"all {compared} are within {report.parameters.small_threshold:g} to {report.parameters.large_threshold:g}"
        )
    lost = counts["unreadable"]
    return sentence + (f"; {lost:,} record{'s' * (lost != 1)} could not be read" if lost else "")


def verdict_word(report: History) -> str:
    """Return FIRED, OK or NOT JUDGED."""
    return "FIRED" if report.fired else "OK" if report.complete else "NOT JUDGED"


def _verdict(report: History) -> Text:
    word = verdict_word(report)
    style = {"FIRED": "bold red", "OK": "bold green"}.get(word, "bold yellow")
    return Text.assemble(
        (word, style), "  ", (printable(report.trial), "bold"), ": ", printable(verdict_sentence(report))
    )


def _violations(report: History) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    several = len(report.workers) > 1
    noted = any(group.note for group in report.violations)
    table.add_column("verdict", no_wrap=True)
    table.add_column("tensor", overflow="fold")
    if several:
        table.add_column("worker", overflow="fold")
    for name in (f"{report.mode} steps", "count", "worst ratio", "at step"):
        table.add_column(name, justify="right", no_wrap=True)
    if noted:
        table.add_column("note")
    for group in report.violations:
        first, last = group.first_step, group.last_step
        cells = [Text(group.verdict, "red"), Text(printable(group.tensor))]
        cells += [Text(printable(group.worker))] if several else []
        cells += [Text(str(first) if first == last else f"{first}-{last}"), Text(str(group.count))]
        cells += [Text(format_ratio(group.worst_ratio)), Text(str(group.worst_step))]
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


def skipped_line(group: SkippedGroup) -> str:
    """Return a line that tells what was skipped, why and when."""
    first, last = group.first_step, group.last_step
    steps = "" if first is None else f" at step {first}" if first == last else f" at steps {first}-{last}"
    times = f" ({group.count} times)" if group.count > 1 else ""
    return f"{group.tensor}{f' of {group.worker}' if group.worker else ''}: {group.reason}{steps}{times}"


def unreadable_lines(entries: Iterable[Unreadable]) -> Iterable[str]:
    """Yield a line for each file and reason; a missing file takes all its tensors with it."""
    groups: dict[tuple[str, str], list[Unreadable]] = {}
    for entry in entries:
        groups.setdefault((entry.file, entry.reason), []).append(entry)
    for (file, reason), group in groups.items():
        first = group[0]
        what = f"tensor {first.tensor} in " if first.tensor else ""
        more = f" and {len(group) - 1} more" if len(group) > 1 else ""
        step = f" (global step {first.global_step})" if first.global_step >= 0 else ""
        yield f"{what}{file}{step}: {reason}{more}"


def count_line(report: History) -> str:
    """Return how much was judged and found, in one line."""
    counts = report.counts
    parts = [
        f"{counts['steps']:,} {report.mode or 'saved'} step{'s' * (counts['steps'] != 1)}",
        *(
            f"{counts[name]:,} {name[:-1] if counts[name] == 1 else name}"
            for name in ("tensors", "workers", "comparisons", "violations")
        ),
        *(f"{counts[name]:,} {name}" for name in ("skipped", "unreadable")),
    ]
    return ", ".join(parts)
