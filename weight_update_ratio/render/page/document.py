"""A Report as one HTML file that needs nothing else: verdict, findings, picture, table of tensors, and parameters.

Everything is in the file. Its Content-Security-Policy lets a browser fetch nothing, and run only the page's own
scripts, known by their SHA-256. So a name of a trial that gets past the escaping is still only text. What needs scripts
is hidden until they run.
"""

from __future__ import annotations

import base64
import hashlib
import json
import platform
from pathlib import Path
from typing import Any, Iterable

from ...findings.findings import Finding
from ...findings.judgement import Judgement
from ..html import figures_html, verdict_html
from ..words.escapes import html_text
from ..words.names import first_lines
from ..words.wording import skipped_lines, unreadable_lines
from .cards import cards_html, selected_rows
from .chart import file_name, linked_charts, require_bokeh
from .heat_map import ROW_PIXELS, legend_html
from .reduction import MOST_ROWS, Picture, reduce_report
from .table import table_html

FOLDER = Path(__file__).parent
SCRIPTS = ("page", "map_window", "address", "sorting", "dark")
FIGURES = ("heat", "ratio", "norm")
MOST_LINES = 501  # of what was skipped, and of what was unreadable; JSON has them all


def render_html(report: Judgement) -> str:
    """Return the report as one self-contained HTML page.

    Raises:
        MissingExtraError: bokeh is not installed.
    """
    require_bokeh()
    findings = report.findings
    scripts: list[str] = []
    cards = f'<section id="cards" aria-label="Findings">{cards_html(findings, report.mode)}</section>'
    workbench, table = "<p>There is no comparison to draw.</p>", ""
    if len(report):
        worst = [(finding.worst_tensor, finding.worst_worker, finding.worst_step) for finding in findings]
        picture = reduce_report(report, keep=worst)
        scripts = [
            *_bokeh_scripts(),
            "\n".join((FOLDER / "scripts" / f"{name}.js").read_text("utf-8") for name in SCRIPTS),
        ]
        kind = "" if findings else " class=calm"
        workbench = f'<div id="workbench"{kind}>{cards}{_picture_html(report, picture, findings)}</div>'
        table = f"<h2>Tensors</h2>{_notes(report, picture)}{table_html(report, picture)}"
    return "\n".join(
        [
            *_head(report, scripts),
            "<body>",
            "<main>",
            '<div class="screen"><header>',
            verdict_html(report, "h1"),
            figures_html(report),
            f"</header>{workbench}</div>",
            table,
            _details_html(report),
            "</main>",
            *(f"<script>{script}</script>" for script in scripts),
            "</body>",
            "</html>",
            "",
        ]
    )


def _head(report: Judgement, scripts: list[str]) -> list[str]:
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    policy = (
        f"default-src 'none'; script-src 'unsafe-eval' {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'"
    )
    return [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{html_text(file_name(report.trial))}</title>",  # what a browser saves the page as
        '<link rel="icon" href="data:,">',
        f"<style>{(FOLDER / 'page.css').read_text(encoding='utf-8')}</style>",
        "</head>",
    ]


def _picture_html(report: Judgement, picture: Picture, findings: list[Finding]) -> str:
    several = len(report.workers) > 1
    sorts = (("worst", "worst first"), ("saved", "as saved"), ("name", "by name"))
    return "\n".join(
        [
            '<section id="picture" aria-label="All ratios" hidden><div id="controls">',
            '<input type="search" id="part" placeholder="part of a name" aria-label="Filter by name">',
            '<select id="sort" aria-label="Sort">',
            *(f'<option value="{value}">{label}</option>' for value, label in sorts),
            "</select>",
            '<label><input type="checkbox" id="split"> a row for each worker</label>' if several else "",
            '<span id="count" role="status"></span> <button type="button" id="all" hidden>show all</button></div>',
            '<div id="map" tabindex="0" role="region" aria-label="Map of all ratios: tensors down, steps across">',
            '<div id="rows"><div id="heat"></div></div></div>',
            f'<p class="note" id="legend">{legend_html(report)}</p>',
            '<div id="charts"><p id="told" role="status"><b id="tensor"></b> <span id="cell"></span></p>',
            '<div id="ratio"></div><div id="norm"></div></div></section>',
            f'<script type="application/json" id="chart-data">{_chart_data(report, picture, findings)}</script>',
        ]
    )


def _chart_data(report: Judgement, picture: Picture, findings: list[Finding]) -> str:
    from bokeh.core.json_encoder import serialize_json
    from bokeh.document import Document

    cards = selected_rows(findings, picture)
    first = next(((card["row"], card["point"]) for card in cards if card["row"] >= 0), None)
    chart = linked_charts(report, picture, first)
    document = Document()
    roots = {}
    for name in FIGURES:
        figure = getattr(chart, name)
        figure.sizing_mode = "stretch_both"
        document.add_root(figure)
        roots[figure.id] = name
    item = serialize_json({"document": document.to_json(deferred=False), "roots": roots})
    more = json.dumps({"cards": cards, "worst_first": picture.worst_first, "row_pixels": ROW_PIXELS})
    return _for_script(f'{{"chart":{item},{more[1:]}')


def _notes(report: Judgement, picture: Picture) -> str:
    notes = []
    if picture.reduced:
        notes.append(
            f"{len(report):,} comparisons are more than a picture holds: each cell keeps its lowest ratio, its highest "
            "and its first that is not finite, and the line charts show those."
        )
    if picture.left_out:
        notes.append(f"The {MOST_ROWS:,} worst rows are drawn; {picture.left_out:,} are left out.")
    return "".join(f'<p class="note">{note}</p>' for note in notes)


def _for_script(document: str) -> str:
    r"""Return JSON so that nothing in it ends the script element, or a line of JavaScript.

    >>> _for_script('["</script>"]')
    '["\\u003c/script\\u003e"]'
    """
    for char in "<>&\u2028\u2029":
        document = document.replace(char, f"\\u{ord(char):04x}")
    return document


def _bokeh_scripts() -> list[str]:
    from bokeh.resources import Resources

    return list(Resources(mode="inline", components=["bokeh"], minified=True).js_raw)


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode()


def _details_html(report: Judgement) -> str:
    """Return what was skipped or unreadable, parameters and versions."""
    parameters = [(name, "None" if value is None else value) for name, value in report.parameters.as_dict().items()]
    return "\n".join(
        [
            _list("Skipped", skipped_lines(report)),
            _list("Unreadable", list(unreadable_lines(report.unreadable))),
            "<h2>Parameters and versions</h2>",
            _facts([*parameters, ("judged mode", report.mode), *_versions()]),
            '<p class="note">ratio = ||w<sub>s</sub> - w<sub>r</sub>|| / (||w<sub>r</sub>|| + epsilon): '
            "the L2 norm of a tensor's update from the reference step r to step s, relative to its weights before.</p>",
        ]
    )


def _facts(rows: Iterable[tuple[str, Any]]) -> str:
    pairs = "".join(f"<div><dt>{html_text(name)}</dt><dd>{html_text(str(value))}</dd></div>" for name, value in rows)
    return f'<dl class="facts">{pairs}</dl>'


def _list(title: str, lines: list[str]) -> str:
    if not lines:
        return ""
    items = "".join(f"<li>{html_text(line)}</li>" for line in first_lines(lines, MOST_LINES, "--format json"))
    return f'<h2>{title}</h2><ul class="scroll">{items}</ul>'


def _versions() -> list[tuple[str, str]]:
    import bokeh
    import numpy as np

    from ...version import __version__

    return [
        ("weight-update-ratio", __version__),
        ("Python", platform.python_version()),
        ("NumPy", np.__version__),
        ("bokeh", bokeh.__version__),
    ]
