"""A Report as text for a terminal, of at most ``MOST_LINES`` lines, so that it is read whole.

``verbose`` takes that bound away and adds a table of all tensors. No line is wider than the terminal, and no word is
broken: one that is too long loses its middle.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from ..compare.rows import Array
from ..errors import needed_by
from ..findings.findings import Finding
from ..findings.judgement import Judgement
from ..findings.kinds import NOTE
from ..findings.summary import tensor_summaries
from .words.escapes import printable
from .words.names import elided, first_lines
from .words.run import format_ratio, run_lines, skipped_lines, unreadable_lines, verdict_sentence, verdict_word
from .words.titles import finding_title, left_text, with_room

with needed_by("text"):
    from rich import box
    from rich.cells import cell_len
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

PLAIN_WIDTH = 100  # columns of a text that does not go to a terminal
LEAST_WIDTH = 40  # columns; a narrower terminal wraps the lines itself
MOST_LINES = 40
MOST_ENTRIES = 3  # lines of what was skipped, and of what was unreadable, the last of which counts the others
MOST_ENTRY_LINES = 2  # that one of them takes
GAP = 2  # columns between those of the table
LEAST_COURSE, MOST_COURSE = 8, 40  # columns
LEAST_NAME = 8  # columns
MOST_WORKER = 12  # columns of a worker's name
WIDE = 80  # columns from which on the table shows the extremes
MORE = "--verbose"
BARS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
ZERO, NOT_FINITE = "_", "x"
LEAST_SPAN = 2.0  # decades from the lowest bar to the highest: a sound ratio is nearly level


class _Page:
    def __init__(self, width: int, color: bool) -> None:
        self.width = max(width, LEAST_WIDTH)
        self._color = color

    def lines(self, part: Any) -> list[str]:
        file = io.StringIO()
        options: Any = {"force_terminal": self._color, "no_color": not self._color, "legacy_windows": False}
        console = Console(file=file, width=self.width, highlight=False, emoji=False, markup=False, **options)
        console.print(part)
        return [line.rstrip() for line in file.getvalue().splitlines()]

    def text_lines(self, text: str, style: str = "", indent: int = 0) -> list[str]:
        return self.lines(Padding(Text(fitted(text, self.width - indent), style), (0, 0, 0, indent)))


def fitted(text: str, width: int) -> str:
    """Return text of a trial in which no word is wider than ``width`` columns."""
    return " ".join(elided(word, width, cell_len) for word in printable(text).split(" "))


def render_text(
    report: Judgement, width: int | None = None, color: bool = False, problem: bool = True, verbose: bool = False
) -> str:
    """Return the report as text of ``width`` columns; without ``problem``, it does not say why nothing was judged."""
    page = _Page(width or PLAIN_WIDTH, color)
    verdict = page.lines(_verdict(page, report, problem))
    entries = _entries(page, "Skipped", skipped_lines(report), verbose)
    entries += _entries(page, "Unreadable", list(unreadable_lines(report.unreadable)), verbose)
    end = [line for text in run_lines(report) for line in page.text_lines(text)]
    table = ["", *_tensor_table(page, report)] if verbose and len(report) else []
    room = MOST_LINES - len(verdict) - len(entries) - len(end) - 2
    findings = _findings(page, report.findings, len(report.findings) * MOST_LINES if verbose else room)
    return "\n".join([*verdict, *findings, *table, *entries, "", *end]) + "\n"


def _verdict(page: _Page, report: Judgement, problem: bool) -> Text:
    word = verdict_word(report)
    style = {"FIRED": "bold red", "OK": "bold green"}.get(word, "bold yellow")
    is_said = problem or report.problem is None or report.fired
    line = Text.assemble((word, style), "  ", (fitted(report.trial, page.width - 1) + ":" * is_said, "bold"))
    return line.append(" " + fitted(verdict_sentence(report), page.width)) if is_said else line


def _findings(page: _Page, findings: list[Finding], room: int) -> list[str]:
    numbered = dict(enumerate(findings, 1))
    blocks = {number: _finding(page, number, finding) for number, finding in numbered.items()}
    shown = with_room(numbered, room, lambda number: len(blocks[number]))
    if len(shown) < len(findings):
        room -= len(page.text_lines(left_text(findings, {}, MORE)))
        shown = with_room(numbered, room, lambda number: len(blocks[number]))
    left = left_text(findings, shown, MORE)
    lines = [line for number in shown for line in blocks[number]] + (page.text_lines(left) if left else [])
    return ["", *lines] if lines else []


def _finding(page: _Page, number: int, finding: Finding) -> list[str]:
    indent, style = len(f"{number}. "), "dim" if finding.severity == NOTE else ""
    title = (f"{finding_title(finding)}: ", style or "bold")
    table = Table.grid()
    table.add_column(no_wrap=True)
    table.add_column()
    table.add_row(Text(f"{number}. ", style), Text.assemble(title, (fitted(finding.text, page.width - indent), style)))
    return page.lines(table) + page.text_lines(finding.advice, style, indent)


def _entries(page: _Page, title: str, entries: list[str], verbose: bool) -> list[str]:
    lines = ["", *page.lines(Text(title, "bold"))] if entries else []
    for entry in entries if verbose else first_lines(entries, MOST_ENTRIES, MORE):
        entry_lines, room = page.text_lines(entry, indent=2), MOST_ENTRY_LINES * page.width
        while len(entry_lines) > MOST_ENTRY_LINES and not verbose:
            room -= 4
            entry_lines = page.text_lines(elided(printable(entry), room, cell_len), indent=2)
        lines += entry_lines
    return lines


def _tensor_table(page: _Page, report: Judgement) -> list[str]:
    """Return the lines of a table of all tensors; a name that its column has no room for is above its numbers."""
    several = len(report.workers) > 1
    figures = ("median", *(("lowest", "highest") if page.width >= WIDE else ()), "last")
    summaries = list(tensor_summaries(report, report.courses))
    ratios = [[format_ratio(getattr(summary, figure)) for figure in figures] for summary in summaries]
    names = [printable(summary.tensor) for summary in summaries]
    workers = [elided(printable(summary.worker), MOST_WORKER, cell_len) for summary in summaries]
    taken = sum(max(map(len, column)) + GAP for column in zip(figures, *ratios)) + len("violations") + 2 * GAP
    rest = page.width - taken - several * (max(map(cell_len, ["worker", *workers])) + GAP)
    most = max(len(judged.steps) for judged in report.courses)
    room = max(rest - max(min(rest // 3, most), LEAST_COURSE), LEAST_NAME)
    widest = max([len("tensor"), *(cell_len(name) for name in names if cell_len(name) <= room)])
    course = min(max(rest - widest, LEAST_COURSE), MOST_COURSE)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for head in ("tensor", *(["worker"] if several else []), *figures, "violations", "course"):
        table.add_column(head, justify="right" if head in (*figures, "violations") else "left", no_wrap=True)
    for name, worker, numbers, summary, judged in zip(names, workers, ratios, summaries, report.courses):
        cells = [name if cell_len(name) <= room else "", *([worker] if several else []), *numbers]
        violations = Text(f"{summary.violations:,}", "red" if summary.violations else "")
        table.add_row(*map(Text, cells), violations, Text(sparkline(judged.ratios, course)))
    head, rule, *rows = page.lines(table)
    lines = [head, rule]
    for above, name, row in zip(["", *names], names, rows):
        lines += [elided(name, page.width, cell_len), row] if cell_len(name) > room and name != above else [row]
    return lines


def sparkline(ratios: Array, width: int) -> str:
    """Return the course of log10 of ratios in at most ``width`` characters, each of as many comparisons.

    A character is the median of its comparisons that are not zero; "x" if one is not finite, "_" if all are zero.

    >>> sparkline(np.array([1e-3, 1e-2, 0.0, float("nan")]), 4) == BARS[2] + BARS[6] + "_x"
    True
    """
    parts = np.array_split(ratios, min(width, len(ratios)))
    moves = [part[(part > 0) & np.isfinite(part)] for part in parts]
    levels = np.array([np.median(np.log10(move)) if len(move) else np.nan for move in moves])
    known = levels[~np.isnan(levels)].tolist() or [0.0]
    middle, span = (max(known) + min(known)) / 2, max(max(known) - min(known), LEAST_SPAN)
    heights = np.minimum(((levels - middle) / span + 0.5) * len(BARS) + 0.5, len(BARS) - 1)
    return "".join(
        NOT_FINITE if not np.isfinite(part).all() else ZERO if np.isnan(height) else BARS[int(height)]
        for part, height in zip(parts, heights)
    )
