"""The table of tensors: the page without scripts, for screen readers, and on paper."""

from __future__ import annotations

from urllib.parse import quote

import numpy as np

from ...findings.judgement import Judgement
from ...findings.summary import TensorSummary, tensor_summaries
from ..words.escapes import html_text, printable
from ..words.wording import format_ratio
from .reduction import Picture, Row

MOST_TABLE_ROWS = 1_000  # the worst of more
MOST_PRINTED = 40  # tensors
SPARK_PLACES = 48
SPARK_HEIGHT = 14
COLUMNS = ("median", "lowest", "highest", "last", "violations")


def table_html(report: Judgement, picture: Picture) -> str:
    """Return the table of tensors, worst first, with a line of what it leaves out; the worst are also printed."""
    summaries = {(row.tensor, row.worker): row for row in tensor_summaries(report, report.courses)}
    several = len(report.workers) > 1
    rows: list[str] = []
    printed: set[str] = set()
    for place in picture.worst_first[:MOST_TABLE_ROWS]:
        row = picture.rows[place]
        is_printed = row.tensor not in printed and len(printed) < MOST_PRINTED
        printed |= {row.tensor} if is_printed else set()
        rows.append(_row_html(picture, row, summaries[row.tensor, row.worker], several, is_printed))
    heads = "".join(
        f'<th scope="col"><button type="button">{name}</button></th>'
        for name in ("tensor", *(["worker"] if several else []), *COLUMNS)
    )
    left_out = len(picture.rows) + picture.left_out - len(rows)
    notes = [f'<p class="note on-paper">The {len(printed):,} worst of {len(report.tensors):,} tensors.</p>']
    if left_out:
        notes.insert(0, f'<p class="note">The {len(rows):,} worst rows; {left_out:,} are left out.</p>')
    return (
        f'{"".join(notes)}<div class="scroll" tabindex="0" role="region" aria-label="Tensors"><table id="tensors">'
        '<caption class="unseen">Update-to-weight ratios of each tensor, worst first</caption>'
        f'<thead><tr>{heads}<th scope="col">course</th></tr></thead><tbody>'
        + "\n".join(rows)
        + "</tbody></table></div>"
    )


def _row_html(picture: Picture, row: Row, summary: TensorSummary, several: bool, is_printed: bool) -> str:
    step = str(picture.points["step"][row.worst])
    names = {"tensor": row.tensor, **({"worker": row.worker} if several else {}), "step": step}
    link = "&amp;".join(f"{name}={quote(printable(value), safe='')}" for name, value in names.items())
    worker = f"<td>{html_text(row.worker)}" if several else ""
    numbers = "".join(f"<td>{format_ratio(getattr(summary, name))}" for name in COLUMNS[:-1])
    return (
        f'<tr{" class=printed" if is_printed else ""}><th scope="row"><a href="#{link}">{html_text(row.tensor)}</a>'
        f"{worker}{numbers}<td>{summary.violations:,}<td>{sparkline(picture, row)}"
    )


def sparkline(picture: Picture, row: Row) -> str:
    """Return the course of a row's ratios, in log10, as a small picture; it breaks at what is zero or not finite.

    Steps are those of the trial, and the scale is the row's own, of at least half a decade. Of several ratios in one
    place it has the lowest and the highest by turns, so that a spike stays visible.
    """
    ratios, gaps = picture.points["ratio"][row.points].astype(float), picture.points["gap"][row.points]
    finite = ratios[np.isfinite(ratios)]
    if not len(finite):
        return ""
    steps = picture.points["step"]
    places = (steps[row.points] - steps.min()) * (SPARK_PLACES - 1) // max(int(steps.max() - steps.min()), 1)
    begins = np.flatnonzero(np.append(True, np.diff(places) > 0))
    top, scale = finite.max(), SPARK_HEIGHT / max(finite.max() - finite.min(), 0.5)
    path = ""
    joined = False
    for turn, (begin, end) in enumerate(zip(begins, np.append(begins[1:], len(places)))):
        own = ratios[begin:end]
        own = own[np.isfinite(own)]
        joined = joined and not gaps[begin]
        if len(own):
            height = round((top - (own.max() if turn % 2 else own.min())) * scale)
            path += f"L{2 * places[begin]} {height}" if joined else f"M{2 * places[begin]} {height}h1"
        joined = len(own) > 0
    return f'<svg viewBox="0 -1 {2 * SPARK_PLACES} {SPARK_HEIGHT + 2}" aria-hidden="true"><path d="{path}"/></svg>'
