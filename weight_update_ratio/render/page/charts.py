"""The line charts of one tensor: its ratio with its bounds and advice above, its norms below; a script gives them data.

Norms have the unit of the weights and the ratio has none: in one chart a norm above 10 would look like a violation.
All are drawn as log10. What has no logarithm is drawn at the edge: zero at the bottom, not finite at the top.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from bokeh import models
from bokeh.document import Document
from bokeh.plotting import figure

from ...compare.rows import Array
from ...findings.judgement import Judgement
from ..words.run import baseline_name
from .reduction import Row, gaps_before
from .strips import GOOD_RATIO

ADVICE_COLOR, THRESHOLD_COLOR = "#4d7a00", "#a50026"
SMALL_TEXT = "11px"
MOST_LARGE_DOTS = 80  # on a line


def chart_document(report: Judgement, rows: list[Row], span: tuple[float, float], file_name: str) -> dict[str, Any]:
    """Return the charts over a span of steps as bokeh's JSON, with two roots: the figures "ratio" and "norm".

    A data source "points" has the ``point_columns`` of all rows.
    """
    points = point_columns(rows, report.bounds.baseline is not None)
    lines = models.ColumnDataSource({name: [] for name in (*points, "text")}, name="lines")
    size = 2 if max(len(row.kept) for row in rows) > MOST_LARGE_DOTS else 6
    zoom = [models.BoxZoomTool(dimensions="width"), models.ResetTool(), models.SaveTool(filename=file_name)]
    steps = models.Range1d(*span)
    ratio, norm = _figure("ratio", steps, zoom), _figure("norm", steps, [])
    ratio.tags = [models.ColumnDataSource(points, name="points")]
    _draw_bounds(ratio, report, lines)
    _draw_line(ratio, lines, size, "ratios", "ratio", "#222222", "circle")
    ratio.xaxis.visible = ratio.legend.visible = False  # the norms below have the same steps
    norm.xaxis.axis_label = f"{report.mode} step"
    _draw_line(norm, lines, size, "updates", "update norm", "#c25100", "square")
    _draw_line(norm, lines, size, "norms", "weight norm", "#1b6ca8", "diamond")
    norm.legend.update(
        orientation="horizontal", border_line_alpha=0, margin=0, padding=0, label_text_font_size=SMALL_TEXT
    )
    norm.add_layout(norm.legend[0], "above")
    document = Document()
    document.add_root(ratio)
    document.add_root(norm)
    return dict(document.to_json(deferred=False))


def point_columns(rows: list[Row], with_bounds: bool) -> dict[str, Array]:
    """Return the comparisons that are kept, by row, then by step: ratio, norms and bounds as log10, -inf for zero.

    ``back`` is how many steps before it the reference is, and ``gap`` whether steps before it were not compared.
    """

    def column(name: str) -> Array:
        return np.concatenate([getattr(row.course, name)[row.kept] for row in rows])

    logs = ("ratios", "updates", "norms", *(("lower", "upper") if with_bounds else ()))
    with np.errstate(all="ignore"):
        columns = {name: np.log10(column(name)).astype(np.float32) for name in logs}
    step = column("steps")
    whole = np.int32 if abs(step).max() < 2**31 else np.float64  # a browser has no int64
    gap = np.concatenate([gaps_before(row.course.steps, row.kept) for row in rows])
    columns.update(step=step.astype(whole), back=(step - column("references")).astype(whole))
    return {**columns, "verdict": column("verdicts").astype(np.uint8), "gap": gap.astype(np.uint8)}


def _figure(name: str, steps: Any, tools: list[Any]) -> Any:
    plot = figure(
        x_range=steps,
        y_range=models.Range1d(),
        tools=[models.HoverTool(renderers=[], tooltips=[("", "@text")], visible=False), *tools],
        active_drag=None,  # on a phone it would take the finger that scrolls
        toolbar_location="right" if tools else None,
        min_border_left=72,
        min_border_right=44,
        y_axis_label=name,
        name=name,
        sizing_mode="stretch_both",
    )
    plot.toolbar.logo = None  # a link to bokeh's site
    plot.yaxis.ticker = models.FixedTicker(ticks=[])
    plot.xaxis.ticker = models.AdaptiveTicker(base=10, mantissas=[1, 2, 5], min_interval=1, num_minor_ticks=0)
    plot.add_layout(models.Span(dimension="height", location=0, line_color="#0b57d0", name=f"{name}_mark"))
    edges = models.ColumnDataSource({column: [] for column in ("step", "y", "marker", "text")}, name=f"{name}_edges")
    look = {"size": 7, "fill_color": "#ffffff", "line_color": "#000000", "level": "overlay"}
    plot.hover[0].renderers.append(plot.scatter("step", "y", marker="marker", source=edges, **look))
    return plot


def _draw_line(plot: Any, lines: Any, size: int, column: str, words: str, color: str, marker: str) -> None:
    look = {"source": lines, "color": color, "legend_label": words}
    plot.line("step", column, line_width=1.5, **look)
    plot.hover[0].renderers.append(plot.scatter("step", column, marker=marker, size=size, **look))


def _draw_bounds(plot: Any, report: Judgement, lines: Any) -> None:
    if report.bounds.baseline is not None:
        plot.varea("step", "lower", "upper", source=lines, fill_color=ADVICE_COLOR, fill_alpha=0.15)
        plot.title.update(text=f"shaded: expected by the {baseline_name(report)}", text_color=ADVICE_COLOR)
        plot.title.update(text_font_size=SMALL_TEXT, text_font_style="normal")
        return
    levels = [(10**GOOD_RATIO, "1e-3: advice, never a verdict", ADVICE_COLOR, ["level"])]
    thresholds = {name: getattr(report.parameters, name) for name in ("large_threshold", "small_threshold")}
    levels += [(at, f"{name} {at:g}", THRESHOLD_COLOR, ["level", "bound"]) for name, at in thresholds.items()]
    for value, text, color, tags in levels:
        if value > 0:
            at = math.log10(value)
            plot.add_layout(
                models.Span(dimension="width", location=at, line_color=color, line_dash="dashed", tags=tags)
            )
            label = models.Label(x=4, x_units="screen", y=at, text=text, text_color=color, text_font_size=SMALL_TEXT)
            label.update(background_fill_color="#ffffff", background_fill_alpha=0.8, tags=tags)
            plot.add_layout(label)
