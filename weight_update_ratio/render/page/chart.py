"""The picture in bokeh's models: the heat map, and the line charts of the tensor that was chosen.

Three data sources of one row are its state: ``arrangement`` says which rows are asked for, ``selection`` which row and
comparison, and ``shown`` what is shown. A page, or a notebook's controls, write the first two and read the last. Tensor
names reach the browser as data and are drawn as text, never as HTML or TeX.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...compare.ratio import VERDICTS
from ...compare.rows import Array
from ...findings.judgement import Judgement
from ..words.escapes import printable
from .heat_map import OUT_OF_SIGHT, ROW_PIXELS, cell_points, heat_map, legend_html, row_columns, violation_runs
from .line_chart import EDGE_COLUMNS, LINE_COLUMNS, norm_chart, ratio_chart
from .reduction import Picture, reduce_report

CELLS, ALL = (
    "\n".join((Path(__file__).with_name("scripts") / f"{name}.js").read_text(encoding="utf-8") for name in names)
    for names in (("numbers", "cells"), ("numbers", "cells", "rows", "lines", "events"))
)
NOTEBOOK_HEIGHTS = (420, 200, 220)  # pixels of heat map, ratios and norms


class MissingExtraError(ImportError):
    """A library that draws is not installed; the message says which.

    Attributes:
        remedy: How to install it.
    """

    remedy = "pip install 'weight-update-ratio[report]'"

    def __str__(self) -> str:
        return f"drawing needs {self.name}, which is not installed: {self.remedy}"


class Chart(NamedTuple):
    """The figures, and the sources that are their state."""

    heat: Any
    ratio: Any
    norm: Any
    arrangement: Any
    selection: Any
    shown: Any


def require_bokeh() -> None:
    """Raise MissingExtraError where bokeh is not installed."""
    try:
        import bokeh  # noqa: F401
    except ImportError:
        raise MissingExtraError(name="bokeh") from None


def report_chart(report: Judgement) -> Any:
    """Return the report's picture as a bokeh layout, for a notebook.

    Raises:
        MissingExtraError: bokeh is not installed.
        ValueError: The report has no comparison.
    """
    require_bokeh()
    if not len(report):
        raise ValueError(f"there is no comparison to draw: {report.problem}")
    from bokeh.models import Column, CustomJS, Div, Row, WheelPanTool

    chart = linked_charts(report, reduce_report(report))
    for figure, height in zip((chart.heat, chart.ratio, chart.norm), NOTEBOOK_HEIGHTS):
        figure.height, figure.sizing_mode = height, "stretch_width"
    wheel = WheelPanTool(dimension="height")
    chart.heat.add_tools(wheel)
    chart.heat.toolbar.active_scroll = wheel
    controls = _controls(len(report.workers) > 1)
    asking = CustomJS(
        args={**controls, "arrangement": chart.arrangement},
        code="""
        const split = worker === null ? false : worker.active.length > 0;
        arrangement.data = {part: [part.value_input || ""], sort: [sort.value], split: [split], only: [null]};
        """,
    )
    controls["part"].js_on_change("value_input", asking)
    controls["sort"].js_on_change("value", asking)
    if controls["worker"] is not None:
        controls["worker"].js_on_change("active", asking)
    tensor, cell = (Div(text="", name=name, disable_math=True, render_as_text=True) for name in ("tensor", "cell"))
    tensor.styles = {"font-weight": "600"}
    telling = CustomJS(
        args={"tensor": tensor, "cell": cell, "rows": chart.heat.renderers[0].data_source},
        code="""
        const [row] = cb_obj.data.row;
        if (row < 0) return;
        tensor.text = `${rows.data.tensor[row]} (${rows.data.worker[row]})`;
        cell.text = cb_obj.data.text[0];
        """,
    )
    chart.shown.js_on_change("data", telling)
    return Column(
        Row(*filter(None, controls.values()), sizing_mode="stretch_width", styles={"flex-wrap": "wrap"}),
        chart.heat,
        Div(text=legend_html(report), disable_math=True, sizing_mode="stretch_width"),
        tensor,
        cell,
        chart.ratio,
        chart.norm,
        sizing_mode="stretch_width",
    )


def _controls(several_workers: bool) -> dict[str, Any]:
    from bokeh.models import CheckboxGroup, Select, TextInput

    sorts = [("worst", "worst first"), ("saved", "as saved"), ("name", "by name")]
    return {
        "part": TextInput(title="Filter by name", placeholder="part of a name", width=180),
        "sort": Select(title="Sort", value="worst", options=sorts, width=120),
        "worker": CheckboxGroup(labels=["a row for each worker"]) if several_workers else None,
    }


def linked_charts(report: Judgement, picture: Picture, selected: tuple[int, int] | None = None) -> Chart:
    """Return the figures of the picture, which show what is selected.

    Args:
        report: What is drawn.
        picture: What ``reduce_report`` returned for it; it has rows.
        selected: Row and point that are shown first; None: the worst.
    """
    from bokeh.models import BoxAnnotation, ColumnDataSource, CustomJS, CustomJSHover, CustomJSTickFormatter, Span

    rows = ColumnDataSource(row_columns(picture), name="rows")
    first = picture.worst_first[0]
    row, point = selected or (first, picture.rows[first].worst)
    state = {
        "arrangement": {"part": [""], "sort": ["worst"], "split": [False], "only": [None]},
        "selection": {"row": [row], "point": [point]},
        "shown": {"rows": [[]], "row": [-1], "point": [-1], "step": [-1], "text": [""]},
    }
    sources = {name: ColumnDataSource(data, name=name) for name, data in state.items()}
    data = {
        "rows": rows,
        "cells": ColumnDataSource({"point": cell_points(picture)}),
        "points": ColumnDataSource(_point_columns(picture, report.bounds.baseline is not None), name="points"),
        "names": {"mode": report.mode, "verdicts": list(VERDICTS)},
    }
    runs = ColumnDataSource(violation_runs(picture))
    heat = heat_map(
        report,
        rows,
        runs,
        CustomJSTickFormatter(args=data, code=CELLS + "return row_label(tick);"),
        CustomJSHover(args=data, code=CELLS + "return hover_field(value, format, special_vars);"),
        file_name(report.trial),
    )
    lines = ColumnDataSource({name: [] for name in LINE_COLUMNS}, name="lines")
    edges = {f"{kind}_edges": ColumnDataSource({n: [] for n in EDGE_COLUMNS}) for kind in ("ratio", "norm")}
    for name, source in edges.items():
        source.name = name
    ratio = ratio_chart(report, lines, edges["ratio_edges"], heat.x_range)
    norm = norm_chart(report.mode, lines, edges["norm_edges"], heat.x_range)
    # The frame around the row, and the lines at the step, of what is selected.
    chosen = BoxAnnotation(bottom=-9, top=-9, fill_alpha=0, line_color="#0b57d0", line_alpha=1, line_width=2)
    heat.add_layout(chosen)
    marks = [Span(dimension="height", location=-1, line_color="#0b57d0", line_width=1) for _ in range(3)]
    for figure, mark in zip((heat, ratio, norm), marks):
        figure.add_layout(mark)
        figure.min_border_left = max(
            72, 14 + 6 * max(map(len, rows.data["label"]))
        )  # as rows.js has it in a wide window
    everything = {
        **data,
        **sources,
        **edges,
        "runs": runs,
        "heat": heat,
        "chosen": chosen,
        "lines": lines,
        "marks": marks,
        "layout": {"row": ROW_PIXELS, "out_of_sight": OUT_OF_SIGHT},
        "ratio": ratio,
        "norm": norm,
        "levels": [mark for mark in ratio.center if "level" in mark.tags],  # each a line and a label
        "worst_first": picture.worst_first,
    }
    callback = CustomJS(args=everything, code=ALL + "on_event(cb_obj);")
    heat.js_on_event("tap", callback)
    for figure in (heat, ratio, norm):  # first when it is laid out: no other event says that it is ready
        figure.js_on_change("inner_height", callback)
    sources["arrangement"].js_on_change("data", callback)
    sources["selection"].js_on_change("data", callback)
    return Chart(heat, ratio, norm, **sources)


def file_name(trial: str) -> str:
    """Return what a page or picture of a trial is saved as, without an ending.

    >>> file_name("s3://bucket/jobs/resnet 50/")
    's3-bucket-jobs-resnet-50-weight-update-ratio'
    """
    words = re.sub(r"[^\w.-]+", "-", printable(trial)).strip("-.")
    return f"{words[-100:]}-weight-update-ratio".lstrip("-.")


def _point_columns(picture: Picture, with_bounds: bool) -> dict[str, Array]:
    points = picture.points
    bounds = ("lower", "upper") if with_bounds else ()  # thresholds are the same everywhere
    return {
        "step": _whole(points["step"]),
        "back": _whole(points["step"] - points["reference_step"]),
        "verdict": points["verdict"].astype(np.uint8),
        "gap": points["gap"].astype(np.uint8),
        **{name: points[name] for name in ("update_norm", "weight_norm", "ratio", *bounds)},
    }


def _whole(numbers: Array) -> Array:
    """Return whole numbers in the smallest type that a browser has for them; float64 beyond int32."""
    least, most = numbers.min(initial=0), numbers.max(initial=0)
    for kind in (np.uint8, np.uint16, np.int32):
        if np.iinfo(kind).min <= least and most <= np.iinfo(kind).max:
            return numbers.astype(kind)
    return numbers.astype(np.float64)
