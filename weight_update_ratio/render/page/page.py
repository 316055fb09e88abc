"""A Report as one HTML file that needs nothing else: verdict, findings, all tensors, charts, and parameters.

Everything is in the file. Its Content-Security-Policy lets a browser fetch nothing, and run only the page's own
scripts, known by their SHA-256. So a name of a trial that gets past the escaping is still only text. What needs scripts
is hidden until they run.
"""

from __future__ import annotations

import base64
import hashlib
import platform
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from ...errors import needed_by
from ...findings.findings import Finding, worst_of
from ...findings.judgement import Judgement
from ...verdict.bounds import VERDICTS
from ...version import __version__
from ..words import names, run, titles
from ..words.escapes import printable
from .reduction import Row, worst_rows
from .strips import legend, strip_of

FOLDER = Path(__file__).parent
MOST_PRINTED = 40  # tensors
MOST_LINES = 501  # of what was skipped, and of what was unreadable; JSON has them all
LONGEST_NAME = 44  # characters of a tensor in the table


class NotebookPage:
    """A report's page as a notebook shows it, in a frame."""

    def __init__(self, report: Judgement) -> None:
        self.page = render_page(report)
        if not len(report):
            raise ValueError(f"there is no comparison to draw: {report.problem}")

    def _repr_html_(self) -> str:
        from markupsafe import Markup

        return Markup(
            '<iframe srcdoc="{}" title="weight update ratios" sandbox="allow-scripts allow-downloads" '
            'style="width: 100%; height: 900px; border: 0"></iframe>'
        ).format(self.page)


def render_page(report: Judgement) -> str:
    """Return the report as one self-contained HTML page; an ImportError says which library is not installed."""
    with needed_by("drawing"):
        import bokeh
        import jinja2
    environment = jinja2.Environment(
        autoescape=True,
        finalize=lambda value: printable(value) if type(value) is str else value,  # what is markup has another type
        loader=jinja2.FileSystemLoader(FOLDER),
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    versions = {"weight-update-ratio": __version__, "Python": platform.python_version()}
    versions.update({"NumPy": np.__version__, "bokeh": bokeh.__version__})
    rows = worst_rows(report)
    lists = {"Skipped": run.skipped_lines(report), "Unreadable": list(run.unreadable_lines(report.unreadable))}
    return environment.get_template("page.html").render(
        report=report,
        title=file_name(report.trial),  # what a browser saves the page as
        style=(FOLDER / "page.css").read_text("utf-8"),
        names=names,
        titles=titles,
        run=run,
        left_out=len(report.courses) - len(rows),
        is_reduced=any(len(row.kept) < len(row.course.steps) for row in rows),
        lists={title: names.first_lines(lines, MOST_LINES, "--format json") for title, lines in lists.items()},
        facts={**report.parameters.as_dict(), "judged mode": report.mode, **versions},
        **(_drawn(report, rows) if rows else {"rows": [], "scripts": []}),
    )


def file_name(trial: str) -> str:
    """Return what a page or picture of a trial is saved as, without an ending.

    >>> file_name("s3://bucket/jobs/resnet 50/")
    's3-bucket-jobs-resnet-50-weight-update-ratio'
    """
    words = re.sub(r"[^\w.-]+", "-", printable(trial)).strip("-.")
    return f"{words[-100:]}-weight-update-ratio".lstrip("-.")


def _drawn(report: Judgement, rows: list[Row]) -> dict[str, Any]:
    from bokeh.core.json_encoder import serialize_json
    from bokeh.resources import Resources
    from jinja2.utils import htmlsafe_json_dumps

    from .charts import chart_document

    strips = [strip_of(row.course) for row in rows]
    left, right = min(strip.left for strip in strips), max(strip.right for strip in strips)
    starts = np.cumsum([0, *(len(row.kept) for row in rows)]).tolist()
    state = {
        "charts": chart_document(report, rows, (left, right), file_name(report.trial)),
        "starts": starts,
        "worst": [start + int(np.searchsorted(row.kept, row.worst)) for start, row in zip(starts, rows)],
        "left": left,
        "width": right - left,
        "mode": report.mode,
        "verdicts": VERDICTS,
        "cards": [_selection(finding, rows, starts) for finding in report.findings],
    }
    script = (FOLDER / "page.js").read_text("utf-8")
    scripts = [*Resources(mode="inline", components=["bokeh"], minified=True).js_raw, script]
    firsts = {row.course.tensor: number for number, row in reversed(list(enumerate(rows)))}.values()
    steps = report.columns["step"]
    return {
        "scripts": [
            (script, base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()) for script in scripts
        ],
        "state": htmlsafe_json_dumps(state, dumps=serialize_json),
        "rows": list(zip(rows, strips)),
        "numbers": ("median", "lowest", "highest", "last"),
        "elided": lambda name: names.elided(printable(name), LONGEST_NAME),
        "quoted": lambda name: quote(printable(name), safe=""),
        "percent": lambda width: f"{100 * width / (right - left):.3f}%",
        "left": left,
        "ticks": sorted({int(steps.min()), int(steps.min() + steps.max()) // 2, int(steps.max())}),
        "legend": legend(report),
        "firsts": set(firsts),
        "printed": set(sorted(firsts)[:MOST_PRINTED]),
    }


def _selection(finding: Finding, rows: list[Row], starts: list[int]) -> dict[str, Any]:
    """Return what a click on a finding's card selects: its rows, and of the worst that began it the onset.

    If that is not drawn, it is the worst row that is; -1 if none is.
    """
    index = {(row.course.tensor, row.course.worker): number for number, row in enumerate(rows)}
    numbers = {index.get((entry.course.tensor, entry.course.worker), -1) for entry in finding.entries}
    drawn = sorted(numbers - {-1})
    root = worst_of(finding.first).course
    row = index.get((root.tensor, root.worker), min(drawn, default=-1))
    away = abs(rows[row].course.steps[rows[row].kept] - finding.onset_step)
    return {"rows": drawn, "row": row, "point": starts[row] + int(away.argmin())}
