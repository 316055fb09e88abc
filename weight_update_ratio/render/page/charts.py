"""The line charts of one tensor: its ratio with its bounds and advice above, its norms below; a script gives them data.

Norms have the unit of the weights and the ratio has none: in one chart a norm above 10 would look like a violation.
All are drawn as log10. What has no logarithm is drawn at the edge: zero at the bottom, not finite at the top.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from ...compare.rows import Array
from ...findings.judgement import Judgement
from ..words.escapes import printable
from ..words.wording import baseline_name
from .reduction import Row, gaps_before
from .strips import GOOD_RATIO

RATIO_COLOR = "#222222"
UPDATE_COLOR = "#c25100"
WEIGHT_COLOR = "#1b6ca8"
ADVICE_COLOR = "#4d7a00"
THRESHOLD_COLOR = "#a50026"
MARK_COLOR = "#0b57d0"
TEXTS = {"step": "steps", "ratio": "ratio", "update norm": "update", "weight norm": "weight"}  # of the tooltips
COLUMNS = ("step", "ratio", "lower", "upper", "update", "weight", "size")
EDGE_COLUMNS = ("step", "y", "marker", "text")
SMALL_TEXT = "11px"


def chart_document(report: Judgement, rows: list[Row]) -> str:
    """Return the charts and the comparisons of all rows as the JSON of a bokeh document.

    Its roots are the figures "ratio" and "norm", and "points", a data source of ``point_columns``.
    """
    from bokeh.core.json_encoder import serialize_json
    from bokeh.document import Document
    from bokeh.models import ColumnDataSource, Range1d

    points = point_columns(rows, report.bounds.baseline is not None)
    names = (*COLUMNS, *(f"{name}_text" for name in (*TEXTS.values(), "expected")))
    lines = ColumnDataSource({name: [] for name in names}, name="lines")
    steps = Range1d(int(points["step"].min()), int(points["step"].max()))
    document = Document()
    for root in (
        _ratio_chart(report, lines, steps),
        _norm_chart(report.mode, lines, steps),
        ColumnDataSource(points, name="points"),
    ):
        document.add_root(root)
    return str(serialize_json(document.to_json(deferred=False)))


def point_columns(rows: list[Row], with_bounds: bool) -> dict[str, Array]:
    """Return the comparisons that are kept, by row, then by step.

    Norms and ratio are log10 in float32, and so are ``lower`` and ``upper``: -inf for zero; ``back`` is how many steps
    before it the reference is, and ``gap`` whether steps before it were not compared.
    """

    def column(name: str) -> Array:
        return np.concatenate([getattr(row.course, name)[row.kept] for row in rows])

    logs = ("ratios", "updates", "norms", *(("lower", "upper") if with_bounds else ()))
    with np.errstate(all="ignore"):
        columns = {name: np.log10(column(name)).astype(np.float32) for name in logs}
    step, gaps = column("steps"), np.concatenate([gaps_before(row.course.steps, row.kept) for row in rows])
    whole = {"step": _whole(step), "back": _whole(step - column("references"))}
    return {**columns, **whole, "verdict": column("verdicts").astype(np.uint8), "gap": gaps.astype(np.uint8)}


def file_name(trial: str) -> str:
    """Return what a page or picture of a trial is saved as, without an ending.

    >>> file_name("s3://bucket/jobs/resnet 50/")
    's3-bucket-jobs-resnet-50-weight-update-ratio'
    """
    words = re.sub(r"[^\w.-]+", "-", printable(trial)).strip("-.")
    return f"{words[-100:]}-weight-update-ratio".lstrip("-.")


def _whole(numbers: Array) -> Array:
    """Return whole numbers in the smallest type that a browser has for them; float64 beyond int32."""
    for kind in (np.uint8, np.uint16, np.int32):
        if np.iinfo(kind).min <= numbers.min() and numbers.max() <= np.iinfo(kind).max:
            return numbers.astype(kind)
    return numbers.astype(np.float64)


def _ratio_chart(report: Judgement, lines: Any, steps: Any) -> Any:
    from bokeh.models import BoxZoomTool, ResetTool, SaveTool

    save = SaveTool(filename=file_name(report.trial))
    plot = _figure("ratio", steps, [BoxZoomTool(dimensions="width"), ResetTool(), save])
    plot.toolbar.logo = None  # a link to bokeh's site
    plot.xaxis.visible = False  # the norms below have the same
    if report.bounds.baseline is not None:
        plot.varea("step", "lower", "upper", source=lines, fill_color=ADVICE_COLOR, fill_alpha=0.15, name="band")
        plot.title.text = f"shaded: expected by the {baseline_name(report)}"
        plot.title.text_color, plot.title.text_font_size, plot.title.text_font_style = ADVICE_COLOR, "11px", "normal"
    else:
        _level(plot, GOOD_RATIO, "advice", "1e-3: advice, never a verdict", ADVICE_COLOR, "dotted")
        for kind, name in (("upper", "large_threshold"), ("lower", "small_threshold")):
            threshold = getattr(report.parameters, name)
            if threshold > 0:
                _level(plot, math.log10(threshold), kind, f"{name} {threshold:g}", THRESHOLD_COLOR, "dashed")
    more = {} if report.bounds.baseline is None else {"expected": "expected"}
    _line(plot, "ratio", RATIO_COLOR, "circle", lines, TEXTS | more)
    plot.legend.visible = False
    return plot


def _norm_chart(mode: str | None, lines: Any, steps: Any) -> Any:
    plot = _figure("norm", steps, [])
    plot.xaxis.axis_label = f"{mode} step"
    _line(plot, "update", UPDATE_COLOR, "square", lines, TEXTS)
    _line(plot, "weight", WEIGHT_COLOR, "diamond", lines, TEXTS)
    legend = plot.legend[0]
    legend.orientation, legend.border_line_alpha, legend.margin, legend.padding = "horizontal", 0, 0, 0
    legend.glyph_height = legend.label_height = 12
    legend.label_text_font_size = SMALL_TEXT
    plot.add_layout(legend, "above")
    return plot


def _figure(name: str, steps: Any, tools: list[Any]) -> Any:
    from bokeh.models import AdaptiveTicker, ColumnDataSource, FixedTicker, HoverTool, Range1d, Span
    from bokeh.plotting import figure

    plot = figure(
        x_range=steps,
        y_range=Range1d(-9, 2),
        tools=tools,
        active_drag=None,  # on a phone it would take the finger that scrolls
        toolbar_location="right" if tools else None,
        min_border_left=64,
        min_border_right=44,
        y_axis_label=name,
        name=name,
        sizing_mode="stretch_both",
    )
    plot.yaxis.ticker = FixedTicker(ticks=[])
    plot.xaxis.ticker = AdaptiveTicker(base=10, mantissas=[1, 2, 5], min_interval=1, num_minor_ticks=0)
    plot.add_layout(Span(dimension="height", location=0, line_color=MARK_COLOR, name=f"{name}_mark"))
    edges = ColumnDataSource({column: [] for column in EDGE_COLUMNS}, name=f"{name}_edges")
    beyond = plot.scatter(
        "step", "y", marker="marker", source=edges, size=9, fill_color="#ffffff", line_color="#000000", level="overlay"
    )
    plot.add_tools(HoverTool(renderers=[beyond], tooltips=[("at the edge", "@text")]))
    return plot


def _line(plot: Any, name: str, color: str, marker: str, lines: Any, texts: dict[str, str]) -> None:
    from bokeh.models import HoverTool

    words = name if name == "ratio" else f"{name} norm"
    plot.line("step", name, source=lines, color=color, line_width=2, legend_label=words)
    dots = plot.scatter("step", name, source=lines, color=color, marker=marker, size="size", legend_label=words)
    plot.add_tools(HoverTool(renderers=[dots], tooltips=[(text, f"@{column}_text") for text, column in texts.items()]))


def _level(plot: Any, location: float, kind: str, text: str, color: str, dash: str) -> None:
    from bokeh.models import Label, Span

    label = Label(x=4, x_units="screen", y=location, y_offset=1, text=text, text_color=color, level="overlay")
    label.text_font_size, label.background_fill_color, label.background_fill_alpha = SMALL_TEXT, "#ffffff", 0.8
    line = Span(dimension="width", location=location, line_color=color, line_dash=dash, line_width=1.5)
    for drawn in (line, label):
        drawn.tags = ["level", kind]
        plot.add_layout(drawn)
