"""A Report as one HTML file that needs nothing else: verdict, violations, the picture, parameters and versions.

Everything is in the file. Its Content-Security-Policy lets a browser fetch nothing, and run only the page's own
scripts, known by their SHA-256. So a name of a trial that gets past the escaping is still only text.
"""

from __future__ import annotations

import base64
import hashlib
import platform
from pathlib import Path
from typing import Any, Iterable

from ...judge.history import History
from ..escapes import html_text
from ..html import counts_html, findings_html, verdict_html
from ..wording import skipped_line, unreadable_lines
from .chart import report_chart, require_bokeh
from .reduction import MOST_ROWS, Picture, reduce_report

STYLE = Path(__file__).with_name("page.css")
SCRIPT = Path(__file__).with_name("page.js")
MOST_LINES = 500  # of what was skipped, and of what was unreadable; JSON has them all


def render_html(report: History) -> str:
    """Return the report as one self-contained HTML page.

    Raises:
        MissingExtraError: bokeh is not installed.
    """
    require_bokeh()
    scripts, picture = ([], "<p>There is no comparison to draw.</p>")
    if len(report):
        drawn = reduce_report(report)
        scripts = [*_bokeh_scripts(), SCRIPT.read_text(encoding="utf-8")]
        picture = _picture_html(report, drawn)
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    policy = (
        f"default-src 'none'; script-src 'unsafe-eval' {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'"
    )
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{html_text(report.trial)}: weight update ratio</title>",
            '<link rel="icon" href="data:,">',
            f"<style>{STYLE.read_text(encoding='utf-8')}</style>",
            "</head>",
            "<body>",
            "<h1>Weight update ratio</h1>",
            verdict_html(report),
            counts_html(report),
            findings_html(report),
            '<h2 id="picture">All ratios</h2>',
            picture,
            _details_html(report),
            *(f"<script>{script}</script>" for script in scripts),
            "</body>",
            "</html>",
            "",
        ]
    )


def _picture_html(report: History, drawn: Picture) -> str:
    from bokeh.core.json_encoder import serialize_json
    from bokeh.embed import json_item

    item = serialize_json(json_item(report_chart(report, drawn), "chart"))
    notes = []
    if drawn.reduced:
        notes.append(
            f"{len(report):,} comparisons are more than a picture holds: each cell keeps its lowest ratio, its highest "
            "and its first that is not finite, and the line charts show those."
        )
    if drawn.left_out:
        notes.append(f"The {MOST_ROWS:,} worst rows are drawn; {drawn.left_out:,} are left out.")
    return (
        '<div id="chart"></div>'
        + "".join(f'<p class="note">{note}</p>' for note in notes)
        + f'<script type="application/json" id="chart-data">{_for_script(item)}</script>'
    )


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

    return list(Resources(mode="inline", components=["bokeh", "bokeh-widgets"], minified=True).js_raw)


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode()


def _details_html(report: History) -> str:
    """Return parameters, what was skipped or unreadable, and versions."""
    parameters = [(name, "None" if value is None else value) for name, value in report.parameters.as_dict().items()]
    return "\n".join(
        [
            "<h2>Parameters</h2>",
            _table([*parameters, ("judged mode", report.mode)]),
            _list("Skipped", [skipped_line(group) for group in report.skipped]),
            _list("Unreadable", list(unreadable_lines(report.unreadable))),
            "<h2>Versions</h2>",
            _table(_versions()),
            '<p class="note">ratio = ||w<sub>s</sub> - w<sub>r</sub>|| / (||w<sub>r</sub>|| + epsilon): '
            "the L2 norm of a tensor's update from the reference step r to step s, relative to its weights before.</p>",
        ]
    )


def _table(rows: Iterable[tuple[str, Any]]) -> str:
    lines = "".join(f"<tr><th>{html_text(name)}</th><td>{html_text(str(value))}</td></tr>" for name, value in rows)
    return f'<div class="scroll"><table class="facts">{lines}</table></div>'


def _list(title: str, lines: list[str]) -> str:
    if not lines:
        return f"<h2>{title}</h2><p>nothing</p>"
    left_out = len(lines) - MOST_LINES
    items = "".join(f"<li>{html_text(line)}</li>" for line in lines[:MOST_LINES])
    more = f"<li>and {left_out:,} more; --format json lists them all</li>" if left_out > 0 else ""
    return f"<h2>{title}</h2><ul>{items}{more}</ul>"


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
