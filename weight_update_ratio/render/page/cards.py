"""The findings as cards: what is wrong, and what to do; a click shows the tensors of one in the picture."""

from __future__ import annotations

from typing import Any

from ...findings.findings import Finding
from ..words.escapes import html_text
from ..words.titles import title_of
from ..words.wording import steps_text
from .reduction import Picture


def cards_html(findings: list[Finding], mode: str | None) -> str:
    """Return a card for each finding, in its words; a note's is lighter."""
    if not findings:
        return '<article class="card none"><h2>No finding</h2></article>'
    return "".join(
        f'<article class="card {finding.severity}"><h2><button type="button" data-finding="{place}">'
        f'{place + 1}. {title_of(finding.kind)}</button></h2><p class="onset">{finding.severity}, from {mode} '
        f"{steps_text(finding.onset_step, finding.onset_step)} on</p><p>{html_text(finding.text)}</p>"
        f'<p class="advice">{html_text(finding.advice)}</p></article>'
        for place, finding in enumerate(findings)
    )


def selected_rows(findings: list[Finding], picture: Picture) -> list[dict[str, Any]]:
    """Return what a click on each card shows: its rows, and the row and point of its worst comparison.

    Of a finding whose worst tensor is not drawn, it is the worst row that is; no row where none is.
    """
    places = {(row.tensor, row.worker): place for place, row in enumerate(picture.rows)}
    rank = {row: place for place, row in enumerate(picture.worst_first)}
    cards = []
    for finding in findings:
        rows = [places.get((tensor, worker), -1) for tensor in finding.tensors for worker in finding.workers]
        drawn = [row for row in rows if row >= 0]
        worst = places.get((finding.worst_tensor, finding.worst_worker), min(drawn, key=rank.__getitem__, default=-1))
        point = picture.point_of(worst, finding.worst_step) if worst >= 0 else -1
        cards.append({"rows": drawn, "row": worst, "point": point})
    return cards
