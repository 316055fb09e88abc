"""The line charts of one tensor: its ratio with its bounds and advice above, its norms below.

Norms have the unit of the weights and the ratio has none: in one chart a norm above 10 would look like a violation.
All are drawn as log10. What has no logarithm is drawn at the edge: zero at the bottom, not finite at the top. A chart
reaches as far as its data; bounds are seen where they are near.
"""

from __future__ import annotations

import math
from typing import Any

from ...findings.judgement import Judgement
from ..words.wording import baseline_name
from .heat_map import step_ticker
from .reduction import GOOD_RATIO

RATIO_COLOR = "#222222"
UPDATE_COLOR = "#c25100"
WEIGHT_COLOR = "#1b6ca8"
ADVICE_COLOR = "#4d7a00"
THRESHOLD_COLOR = "#a50026"
LINE_COLUMNS = (
    *("step", "ratio", "lower", "upper", "update", "weight", "size"),
    *("steps_text", "ratio_text", "expected_text", "update_text", "weight_text"),
)
EDGE_COLUMNS = ("step", "y", "marker", "text")
HOVER = [
    ("step", "@steps_text"),
    ("ratio", "@ratio_text"),
    ("update norm", "@update_text"),
    ("weight norm", "@weight_text"),
]


def ratio_chart(report: Judgement, lines: Any, edges: Any, steps: Any) -> Any:
    """Return the figure of a tensor's ratio, with the band of the baseline, or with the thresholds and a line of 1e-3.

    Args:
        report: Its mode, thresholds and baseline are shown.
        lines: Data source with LINE_COLUMNS, log10; NaN where there is nothing to draw.
        edges: Data source with EDGE_COLUMNS, for what has no logarithm.
        steps: The range of steps, shared with the heat map so that zooming one zooms all.
    """
    plot = _figure("ratio", steps)
    plot.xaxis.visible = False  # the norms below have the same
    if report.bounds.baseline is not None:
        plot.varea("step", "lower", "upper", source=lines, fill_color=ADVICE_COLOR, fill_alpha=0.15, name="band")
        plot.title.text = f"shaded: expected by the {baseline_name(report)}"
        plot.title.text_color, plot.title.text_font_size, plot.title.text_font_style = ADVICE_COLOR, "11px", "normal"
        _line(plot, "ratio", RATIO_COLOR, "circle", "ratio", lines, edges, ("expected", "@expected_text"))
    else:
        _level(plot, GOOD_RATIO, "advice", "1e-3: advice, never a verdict", ADVICE_COLOR, "dotted")
        for kind, name in (("upper", "large_threshold"), ("lower", "small_threshold")):
            threshold = getattr(report.parameters, name)
            if threshold > 0:
                _level(plot, math.log10(threshold), kind, f"{name} {threshold:g}", THRESHOLD_COLOR, "dashed")
        _line(plot, "ratio", RATIO_COLOR, "circle", "ratio", lines, edges)
    plot.legend.visible = False
    return plot


def norm_chart(mode: str | None, lines: Any, edges: Any, steps: Any) -> Any:
    """Return the figure of a tensor's update norm and weight norm; see ``ratio_chart`` for the sources."""
    plot = _figure("norm", steps)
    plot.xaxis.axis_label = f"{mode} step"
    _line(plot, "update", UPDATE_COLOR, "square", "update norm", lines, edges)
    _line(plot, "weight", WEIGHT_COLOR, "diamond", "weight norm", lines, None)
    plot.legend.orientation = "horizontal"
    plot.legend.border_line_alpha = 0
    plot.legend.margin = 0
    plot.legend.padding = 0
    plot.legend.glyph_height = 12
    plot.legend.label_height = 12
    plot.legend.label_text_font_size = "11px"
    plot.add_layout(plot.legend[0], "above")
    return plot


def _figure(label: str, steps: Any) -> Any:
    from bokeh.models import CustomJSTickFormatter, FixedTicker, Range1d
    from bokeh.plotting import figure

    plot = figure(
        x_range=steps,
        y_range=Range1d(-9, 2),
        tools=[],
        toolbar_location=None,  # the heat map's zoom is its zoom
        min_border_right=30,
        y_axis_label=label,
        name=label,
    )
    plot.yaxis.ticker = FixedTicker(ticks=[])
    plot.yaxis.formatter = CustomJSTickFormatter(
        code="""
        const exponent = Math.floor(tick + 1e-6);
        return `${Math.round(10 ** (tick - exponent))}e${exponent < 0 ? "" : "+"}${exponent}`;
        """
    )
    plot.xaxis.ticker = step_ticker()
    return plot


def _line(
    plot: Any, name: str, color: str, marker: str, legend: str, lines: Any, edges: Any, *more: tuple[str, str]
) -> None:
    from bokeh.models import HoverTool

    plot.line("step", name, source=lines, color=color, line_width=2, legend_label=legend)
    dots = plot.scatter("step", name, source=lines, color=color, marker=marker, size="size", legend_label=legend)
    plot.add_tools(HoverTool(renderers=[dots], tooltips=[*HOVER, *more]))
    if edges is not None:
        beyond = plot.scatter(
            "step", "y", marker="marker", source=edges, size=9, fill_color="#ffffff", line_color="#000000"
        )
        plot.add_tools(HoverTool(renderers=[beyond], tooltips=[("at the edge", "@text")]))


def _level(plot: Any, location: float, kind: str, text: str, color: str, dash: str) -> None:
    from bokeh.models import Label, Span

    line = Span(
        dimension="width", location=location, line_color=color, line_dash=dash, line_width=1.5, tags=["level", kind]
    )
    label = Label(
        x=4,
        x_units="screen",
        y=location,
        y_offset=1,
        text=text,
        text_color=color,
        text_font_size="11px",
        background_fill_color="#ffffff",
        background_fill_alpha=0.8,
        level="overlay",
        tags=["level", kind],
    )
    plot.add_layout(line)
    plot.add_layout(label)
