"""A Report as text for a terminal: the verdict, the findings, the size of all ratios, what was not judged, the counts.

It has at most ``MOST_LINES`` lines, so that it is read whole; ``verbose`` takes that bound away and adds a table of all
tensors. No line is wider than the terminal, and no word is broken: one that is too long loses its middle.
"""

from __future__ import annotations

import io
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..findings.findings import Finding
from ..findings.judgement import Judgement
from ..findings.summary import tensor_summaries
from .words.advice import TITLES, kinds_first
from .words.escapes import printable
from .words.labels import distinct_labels
from .words.names import elided
from .words.sparkline import sparkline
from .words.wording import (
    baseline_line,
    count_line,
    short_ratio,
    skipped_lines,
    summary_line,
    unreadable_lines,
    verdict_sentence,
    verdict_word,
)

PLAIN_WIDTH = 100  # columns where the text does not go to a terminal
WHOLE_LINE = 100_000
LEAST_WIDTH = 40  # columns; a narrower terminal wraps the lines itself
MOST_LINES = 40
MOST_ENTRIES = 3  # of what was skipped, and of what was unreadable
MOST_ENTRY_LINES = 2  # that one of them takes
GAP = 2  # columns between those of the table
RATIO_WIDTH = 7  # columns of a ratio to two digits
MOST_COURSE = 40  # columns
MOST_WORKER = 12  # columns of a worker's name
WIDE = 80  # columns from which on the table shows the extremes
MORE = "--verbose lists them all"


class _Page:
    """Gives what is to be printed as lines of a width."""

    def __init__(self, width: int, color: bool) -> None:
        self.width = max(width, LEAST_WIDTH)
        self._color = color

    def lines(self, *parts: Any) -> list[str]:
        """Return the lines of texts and tables, one below the other."""
        file = io.StringIO()
        console = Console(
            file=file,
            width=self.width,
            force_terminal=self._color,
            no_color=not self._color,
            highlight=False,
            emoji=False,
            markup=False,
            legacy_windows=False,
        )
        for part in parts:
            console.print(part)
        return [line.rstrip() for line in file.getvalue().splitlines()]

    def text(self, text: str, style: str = "", indent: int = 0) -> Any:
        """Return text of a trial whose words fit into a line."""
        fitted = " ".join(fitted_word(word, self.width - indent) for word in printable(text).split(" "))
        return Padding(Text(fitted, style), (0, 0, 0, indent))


def fitted_word(word: str, width: int) -> str:
    r"""Return a word of at most ``width`` columns; the middle of a wider one is left out.

    >>> ascii(fitted_word("encoder/layer/11/weight", 11))
    "'encod\\u2026eight'"
    """
    most = width
    while cell_len(word) > width:
        word = elided(word, most)
        most -= 1
    return word


def render_text(
    report: Judgement, width: int | None = None, color: bool = False, problem: bool = True, verbose: bool = False
) -> str:
    """Return the report as text.

    Args:
        report: What is shown.
        width: Columns; None: that of a file, whose findings have lines of 100 and all else is a line each.
        color: Whether to add a terminal's codes for colours.
        problem: Whether it says why nothing was judged, which a reader may get as an error.
        verbose: Whether it has all findings and entries, and a row a tensor and worker.
    """
    page = _Page(width or PLAIN_WIDTH, color)
    whole = _Page(width or WHOLE_LINE, color)  # a file's lines are searched: what is one line there stays one
    verdict = whole.lines(_verdict(whole, report, problem))
    entries = [
        *_entries(whole, "Skipped", skipped_lines(report), verbose),
        *_entries(whole, "Unreadable", list(unreadable_lines(report.unreadable)), verbose),
    ]
    ends = [whole.text(line) for line in (summary_line(report), baseline_line(report), count_line(report)) if line]
    end = whole.lines(*ends)
    table = ["", *page.lines(_tensor_table(page, report))] if verbose and len(report) else []
    room = MOST_LINES - len(verdict) - len(entries) - len(end) - 2
    findings = _findings(page, report.findings, None if verbose else room)
    return "\n".join([*verdict, *findings, *table, *entries, "", *end]) + "\n"


def _verdict(page: _Page, report: Judgement, problem: bool) -> Text:
    word = verdict_word(report)
    style = {"FIRED": "bold red", "OK": "bold green"}.get(word, "bold yellow")
    told = problem or report.problem is None or report.fired
    trial = fitted_word(printable(report.trial), page.width - 1) + ":" * told
    line = Text.assemble((word, style), "  ", (trial, "bold"))
    if told:
        words = printable(verdict_sentence(report)).split(" ")
        line.append(" " + " ".join(fitted_word(part, page.width) for part in words))
    return line


def _findings(page: _Page, found: list[Finding], room: int | None) -> list[str]:
    """Return the findings, of each kind one before a second of any where not all have room."""
    blocks = [_finding(page, number, finding, set()) for number, finding in enumerate(found, 1)]
    if room is None or sum(map(len, blocks)) + 1 <= room:
        return ["", *(line for block in blocks for line in block)] if blocks else []
    lines: list[str] = [""]
    told: set[str] = set()
    waiting = kinds_first(found)
    while waiting:
        block = _finding(page, len(found) - len(waiting) + 1, waiting[0], told)
        if told and len(lines) + len(block) + 1 > room:
            break
        lines += block
        told.add(waiting.pop(0).advice)
    left = len(waiting)
    return [*lines, *page.lines(page.text(f"and {left:,} more finding{'s' * (left != 1)}; {MORE}"))] if left else lines


def _finding(page: _Page, number: int, finding: Finding, told: set[str]) -> list[str]:
    """Return the lines of a finding; advice that was given before is not given again."""
    title = f"{number}. {TITLES[finding.kind]}: "
    indent = len(f"{number}. ")
    text = " ".join(fitted_word(word, page.width - indent) for word in printable(finding.text).split(" "))
    table = Table.grid()
    table.add_column(no_wrap=True)
    table.add_column()
    table.add_row(f"{number}. ", Text.assemble((title[indent:], "bold"), text))
    advice = [] if finding.advice in told else [page.text(finding.advice, "", indent)]
    return page.lines(table, *advice)


def _entries(page: _Page, title: str, entries: list[str], verbose: bool) -> list[str]:
    if not entries:
        return []
    most = len(entries) if verbose else MOST_ENTRIES
    lines = ["", *page.lines(Text(title, "bold"))]
    for entry in entries[:most]:
        own = page.lines(page.text(entry, "", 2))
        short = verbose or len(own) <= MOST_ENTRY_LINES
        lines += own if short else page.lines(page.text(_shortened(entry, page.width - 2), "", 2))
    if len(entries) > most:
        lines += page.lines(page.text(f"and {len(entries) - most:,} more; {MORE}", "", 2))
    return lines


def _shortened(entry: str, width: int) -> str:
    """Return as many words of an entry's beginning and end as fit into its lines."""
    words = [fitted_word(word, width // 2) for word in printable(entry).split(" ")]
    head: list[str] = []
    tail: list[str] = []
    room = MOST_ENTRY_LINES * width - width // 2 - 4  # what is left free where a line ends before a long word
    while words:
        taken = head if len(head) <= len(tail) else tail
        word = words.pop(0) if taken is head else words.pop()
        if sum(map(cell_len, head + tail)) + len(head + tail) + cell_len(word) > room:
            return " ".join([*head, "\u2026", *tail[::-1]])
        taken.append(word)
    return " ".join([*head, *tail[::-1]])


def _tensor_table(page: _Page, report: Judgement) -> Table:
    several = len(report.workers) > 1
    names = ("median", *(("lowest", "highest") if page.width >= WIDE else ()), "last")
    worker = max(len("worker"), *(cell_len(printable(name)) for name in report.workers)) if several else 0
    taken = len(names) * (RATIO_WIDTH + GAP) + len("violations") + 2 * GAP + several * (min(worker, MOST_WORKER) + GAP)
    longest = max(cell_len(printable(name)) for name in report.tensors)
    course = min(max((page.width - taken) // 3, page.width - taken - longest, 8), MOST_COURSE)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("tensor", no_wrap=True)
    if several:
        table.add_column("worker", no_wrap=True)
    for name in (*names, "violations"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("course", no_wrap=True)
    room = max(page.width - taken - course, 8)
    names_shown = [printable(name) for name in report.tensors]
    labels = dict(zip(report.tensors, names_shown if longest <= room else distinct_labels(names_shown, room)))
    for row, own in zip(tensor_summaries(report, report.courses), report.courses):
        cells = [Text(fitted_word(labels[row.tensor], room))]
        cells += [Text(fitted_word(printable(row.worker), MOST_WORKER))] if several else []
        cells += [Text(short_ratio(getattr(row, name))) for name in names]
        cells += [Text(f"{row.violations:,}", "red" if row.violations else ""), Text(sparkline(own.ratios, course))]
        table.add_row(*cells)
    return table
