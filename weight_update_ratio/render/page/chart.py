"""The picture as one bokeh layout: filter and sort, the heat map, and the line charts of the tensor that was chosen.

Tensor names reach the browser as data and are drawn as text, never as HTML or TeX.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...judge.history import History
from ...judge.ratio import VERDICTS
from .heat_map import (
    AROUND_PIXELS,
    LEAST_ROW_PIXELS,
    MOST_PIXELS,
    ROW_PIXELS,
    heat_map,
    legend_html,
    row_columns,
    violation_runs,
)
from .line_chart import EDGE_COLUMNS, LINE_COLUMNS, norm_chart, ratio_chart
from .reduction import Array, Picture, reduce_report

SCRIPT = Path(__file__).with_name("chart.js")


class MissingExtraError(ImportError):
    """A library that draws is not installed; the message says which.

    Attributes:
        remedy: How to install it.
    """

    remedy = "pip install 'weight-update-ratio[report]'"

    def __str__(self) -> str:
        return f"drawing needs {self.name}, which is not installed: {self.remedy}"


def report_chart(report: History, picture: Picture | None = None) -> Any:
    """Return the report's picture as a bokeh layout.

    Args:
        report: What is drawn.
        picture: What ``reduce_report`` returned for it; None: it is called here.

    Raises:
        MissingExtraError: bokeh is not installed.
        ValueError: The report has no comparison.
    """
    require_bokeh()
    if not len(report):
        raise ValueError(f"there is no comparison to draw: {report.problem}")
    return _layout(report, picture or reduce_report(report))


def require_bokeh() -> None:
    """Raise MissingExtraError where bokeh is not installed."""
    try:
        import bokeh  # noqa: F401
    except ImportError:
        raise MissingExtraError(name="bokeh") from None


def _layout(report: History, picture: Picture) -> Any:
    from bokeh.models import Column, ColumnDataSource, CustomJS, CustomJSHover, CustomJSTickFormatter, Div, Row

    script = SCRIPT.read_text(encoding="utf-8")
    rows = ColumnDataSource(row_columns(picture), name="rows")
    runs = violation_runs(picture)
    runs.update({name: [0.0] * len(runs["row"]) for name in ("y", "top", "bottom", "size", "stroke")})
    data = {
        "rows": rows,
        "runs": ColumnDataSource(runs),
        "points": ColumnDataSource(_point_columns(picture, report.bounds.baseline is not None)),
        "names": {"mode": report.mode, "verdicts": list(VERDICTS)},
        "layout": {"row": ROW_PIXELS, "least": LEAST_ROW_PIXELS, "most": MOST_PIXELS, "around": AROUND_PIXELS},
    }
    heat = heat_map(
        report,
        rows,
        data["runs"],
        CustomJSTickFormatter(args=data, code=script + "return row_name(tick);"),
        CustomJSHover(args=data, code=script + "return hover_field(value, format, special_vars);"),
    )
    lines = ColumnDataSource({name: [] for name in LINE_COLUMNS}, name="lines")
    edges = [ColumnDataSource({name: [] for name in EDGE_COLUMNS}, name=f"{kind}_edges") for kind in ("ratio", "norm")]
    ratio = ratio_chart(report, lines, edges[0], heat.x_range)
    norms = norm_chart(report.mode, lines, edges[1], heat.x_range)
    controls = _controls(rows.data["label"])
    texts = {name: Div(text="", name=name, disable_math=True, render_as_text=True) for name in ("shown", "cell")}
    texts["tensor_name"] = Div(
        text="", name="tensor_name", disable_math=True, render_as_text=True, styles={"font-weight": "600"}
    )
    everything = {
        **data,
        **controls,
        **texts,
        "chosen": _chosen(heat),
        "heat": heat,
        "row_ticker": heat.yaxis[0].ticker,
        "lines": lines,
        "ratio_edges": edges[0],
        "norm_edges": edges[1],
        "ratio_range": ratio.y_range,
        "norm_range": norms.y_range,
        "levels": [span.location for span in ratio.center if type(span).__name__ == "Span"],
        "worst_first": picture.worst_first,
    }
    callback = CustomJS(args=everything, code=script + "on_event(cb_obj);")
    heat.js_on_event("tap", callback)
    heat.js_on_change("inner_width", callback)  # first when it is laid out: no other event says that the page is ready
    controls["filter"].js_on_change("value_input", callback)
    for name in ("sort", "tensor"):
        controls[name].js_on_change("value", callback)
    return Column(
        Row(*controls.values(), sizing_mode="stretch_width", styles={"flex-wrap": "wrap"}),
        texts["shown"],
        heat,
        Div(text=legend_html(report), disable_math=True, sizing_mode="stretch_width"),
        texts["tensor_name"],
        texts["cell"],
        ratio,
        norms,
        sizing_mode="stretch_width",
    )


def _controls(labels: list[str]) -> dict[str, Any]:
    from bokeh.models import Select, TextInput

    sorts = [("worst", "worst first"), ("saved", "as saved"), ("name", "by name")]
    tensors = [(str(row), label) for row, label in enumerate(labels)]
    return {
        "filter": TextInput(title="Filter by name", placeholder="part of a name", name="filter", width=180),
        "sort": Select(title="Sort", value="worst", options=sorts, name="sort", width=120),
        "tensor": Select(title="Line chart of", value="", options=tensors, name="tensor", width=180),
    }


def _chosen(heat: Any) -> Any:
    """Return the frame around the row whose line charts are shown; the row is its only tag."""
    from bokeh.models import BoxAnnotation

    frame = BoxAnnotation(bottom=-9, top=-9, tags=[], fill_alpha=0, line_color="#0b57d0", line_alpha=1, line_width=2)
    heat.add_layout(frame)
    return frame


def _point_columns(picture: Picture, with_bounds: bool) -> dict[str, Array]:
    points = picture.points
    bounds = ("lower", "upper") if with_bounds else ()  # thresholds are the same everywhere
    return {
        "step": _whole(points["step"]),
        "reference": _whole(points["reference_step"]),
        "verdict": points["verdict"].astype(np.uint8),
        **{name: points[name] for name in ("update_norm", "weight_norm", "ratio", *bounds)},
    }


def _whole(numbers: Array) -> Array:
    """Return whole numbers in a type that a browser has: int32, or float64 where one is beyond it."""
    return numbers.astype(np.int32 if abs(numbers).max(initial=0) < 2**31 else np.float64)
