"""A Report as one HTML file that needs nothing else: verdict, findings, all tensors, charts, and parameters.

Everything is in the file. Its Content-Security-Policy lets a browser fetch nothing, and run only the page's own
scripts, known by their SHA-256. So a name of a trial that gets past the escaping is still only text. What needs scripts
is hidden until they run. A notebook shows the same page in a frame.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
import platform
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ...compare.ratio import VERDICTS
from ...findings.judgement import Judgement
from ...version import __version__
from ..words.escapes import printable
from ..words.names import counted, elided, first_lines, workers_text
from ..words.titles import title_of
from ..words.wording import (
    format_ratio,
    run_lines,
    skipped_lines,
    unreadable_lines,
    verdict_sentence,
    verdict_word,
)
from .charts import chart_document, file_name
from .reduction import MOST_ROWS, Row, worst_rows
from .strips import legend, strip_of

FOLDER = Path(__file__).parent
NUMBERS = ("median", "lowest", "highest", "last")
MOST_PRINTED = 40  # tensors
MOST_LINES = 501  # of what was skipped, and of what was unreadable; JSON has them all
LONGEST_NAME = 44  # characters of a tensor or worker in the table


class NotebookPage:
    """A page in a frame, as a notebook shows it."""

    def __init__(self, page: str) -> None:
        self.page = page

    def _repr_html_(self) -> str:
        from markupsafe import Markup

        return Markup(
            '<iframe srcdoc="{}" title="weight update ratios" sandbox="allow-scripts allow-downloads" '
            'style="width: 100%; height: 900px; border: 0"></iframe>'
        ).format(self.page)


def notebook_page(report: Judgement) -> NotebookPage:
    """Return the report's page for a notebook.

    Raises:
        ImportError: bokeh or jinja2 is not installed.
        ValueError: The report has no comparison.
    """
    _require_libraries()
    if not len(report):
        raise ValueError(f"there is no comparison to draw: {report.problem}")
    return NotebookPage(render_html(report))


def render_html(report: Judgement) -> str:
    """Return the report as one self-contained HTML page.

    Raises:
        ImportError: bokeh or jinja2 is not installed.
    """
    _require_libraries()
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        autoescape=True,
        finalize=lambda value: printable(value) if type(value) is str else value,  # markup is of another type
        loader=FileSystemLoader(FOLDER),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    return environment.get_template("page.html").render(
        title=file_name(report.trial),  # what a browser saves the page as
        word=verdict_word(report),
        sentence=f"{report.trial}: {verdict_sentence(report)}",
        remedy=None if report.problem is None else report.problem.remedy,
        run_lines=run_lines(report),
        lists=_lists(report),
        facts=_facts(report),
        several=len(report.workers) > 1,
        mode=report.mode,
        cards=_cards(report),
        **_drawn(report),
    )


def _require_libraries() -> None:
    for name in ("bokeh", "jinja2"):
        try:
            importlib.import_module(name)
        except ImportError:
            message = f"drawing needs {name}, which is not installed: pip install 'weight-update-ratio[report]'"
            raise ImportError(message, name=name) from None


def _drawn(report: Judgement) -> dict[str, Any]:
    """Return what the template needs of the table, the charts and the scripts."""
    from markupsafe import Markup

    style = Markup((FOLDER / "page.css").read_text("utf-8"))
    if not len(report):
        return {"style": style, "scripts": [], "rows": [], "notes": []}
    from bokeh.resources import Resources

    asked = [(f.worst_tensor, f.worst_worker, step) for f in report.findings for step in (f.worst_step, f.onset_step)]
    rows = worst_rows(report, asked)
    strips = [strip_of(row.course) for row in rows]
    left = min(strip.left for strip in strips)
    width = max(strip.left + strip.width for strip in strips) - left
    columns = [
        {"left": 100 * (strip.left - left) / width, "width": 100 * strip.width / width, "image": Markup(strip.image)}
        for strip in strips
    ]
    steps = report.columns["step"]
    first, last = int(steps.min()), int(steps.max())
    starts = [0]
    for row in rows:
        starts.append(starts[-1] + len(row.kept))
    state = {"starts": starts, "left": left, "width": width, "mode": report.mode, "verdicts": VERDICTS, "cards": _selections(report, rows)}
    page_script = (FOLDER / "page.js").read_text("utf-8")
    scripts = [*Resources(mode="inline", components=["bokeh"], minified=True).js_raw, page_script]
    return {
        "style": style,
        "scripts": [(Markup(script), _digest(script)) for script in scripts],
        "state": _for_script(f'{{"document":{chart_document(report, rows)},{json.dumps(state)[1:]}'),
        "rows": [{**_row(row, len(report.workers) > 1), **strip} for row, strip in zip(rows, columns)],
        "ticks": sorted({first, (first + last) // 2, last}),
        "legend": [(Markup(image), words) for image, words in legend(report)],
        "printed": _printed(rows),
        "notes": _notes(report, rows),
        "tensors": len(report.tensors),
    }


def _row(row: Row, several: bool) -> dict[str, Any]:
    summary = row.summary
    step = str(row.course.steps[row.worst])
    names = {"tensor": summary.tensor, **({"worker": summary.worker} if several else {}), "step": step}
    return {
        "number": row.course.tensor + 1,
        "tensor": summary.tensor,
        "worker": summary.worker,
        "name": elided(printable(summary.tensor), LONGEST_NAME),
        "link": "&".join(f"{name}={quote(printable(value), safe='')}" for name, value in names.items()),
        "numbers": [format_ratio(getattr(summary, name)) for name in NUMBERS],
        "violations": summary.violations,
    }


def _printed(rows: list[Row]) -> set[int]:
    """Return which rows are printed: one of each of the worst tensors."""
    first = {row.course.tensor: number for number, row in reversed(list(enumerate(rows)))}
    return set(sorted(first.values())[:MOST_PRINTED])


def _cards(report: Judgement) -> list[dict[str, Any]]:
    return [
        {
            "finding": finding,
            "title": title_of(finding.kind),
            "where": counted(len(finding.tensors), "tensor") + workers_text(finding.workers, report.workers),
        }
        for finding in report.findings
    ]


def _selections(report: Judgement, rows: list[Row]) -> list[dict[str, Any]]:
    """Return what a click on each card selects: its rows, and of its worst one the comparison of its onset.

    If the worst tensor is not drawn, that is the worst row that is; -1 if none is.
    """
    index = {(row.summary.tensor, row.summary.worker): number for number, row in enumerate(rows)}
    selections = []
    for finding in report.findings:
        pairs = ((tensor, worker) for tensor in finding.tensors for worker in finding.workers)
        drawn = sorted(index[pair] for pair in pairs if pair in index)
        row = index.get((finding.worst_tensor, finding.worst_worker), min(drawn, default=-1))
        nearest = rows[row].nearest(finding.onset_step) if drawn else -1
        selections.append({"rows": drawn, "row": row, "comparison": nearest})
    return selections


def _notes(report: Judgement, rows: list[Row]) -> list[str]:
    notes = []
    if any(len(row.kept) < len(row.course.steps) for row in rows):
        notes.append(
            f"{len(report):,} comparisons are more than the charts hold: of each few steps they show the lowest ratio, "
            "the highest and the first that is not finite. Strips are of all."
        )
    if len(report.courses) > len(rows):
        notes.append(f"The {MOST_ROWS:,} worst rows are drawn; {len(report.courses) - len(rows):,} are left out.")
    return notes


def _for_script(document: str) -> Any:
    """Return JSON so that nothing in it ends the script element."""
    from markupsafe import Markup

    for char in "<>&":
        document = document.replace(char, f"\\u{ord(char):04x}")
    return Markup(document)


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode()


def _lists(report: Judgement) -> dict[str, list[str]]:
    lists = {"Skipped": skipped_lines(report), "Unreadable": list(unreadable_lines(report.unreadable))}
    return {title: first_lines(lines, MOST_LINES, "--format json") for title, lines in lists.items() if lines}


def _facts(report: Judgement) -> dict[str, str]:
    import bokeh
    import numpy

    versions = {"weight-update-ratio": __version__, "Python": platform.python_version()}
    versions.update({"NumPy": numpy.__version__, "bokeh": bokeh.__version__})
    facts = {**report.parameters.as_dict(), "judged mode": report.mode, **versions}
    return {name: str(value) for name, value in facts.items()}
