"""The heat map: tensors down, steps across, colour log10(ratio) about 1e-3, and the violations framed and marked.

Every row is an image of its own, so that sorting and filtering move rows and nothing else.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...judge.history import History
from ...judge.ratio import LARGE, NOT_FINITE, SMALL, VERDICTS
from ..escapes import printable
from .reduction import GOOD_RATIO, MOST_COLUMNS, Array, Picture

UNCHANGED = "unchanged"  # a ratio of exactly zero
HALF_SCALE = 4.0  # decades of the colour scale on either side of 1e-3
LOW, HIGH = GOOD_RATIO - HALF_SCALE, GOOD_RATIO + HALF_SCALE
# ColorBrewer's RdYlBu, which colour-blind people can read: blue is too little, red too much, and its middle is
# neither the white of the page nor the grey of what was not compared.
ANCHORS = ("313695", "4575b4", "74add1", "abd9e9", "e0f3f8", "ffffbf", "fee090", "fdae61", "f46d43", "d73027", "a50026")
SHADES = 81
UNCHANGED_COLOR = "#ffffff"
NOT_FINITE_COLOR = "#1a1a1a"
NOT_COMPARED_COLOR = "#dcdcdc"
MARKS = {  # kind of violation: (bokeh's marker, the same as a character, the marker's line)
    LARGE: ("triangle", "\u25b2", "#000000"),
    SMALL: ("inverted_triangle", "\u25bc", "#000000"),
    UNCHANGED: ("circle", "\u25cb", "#000000"),
    NOT_FINITE: ("x", "\u2715", "#ffffff"),
}
MOST_RUNS = 4_000  # frames of violations
ROW_PIXELS = 26
LEAST_ROW_PIXELS = 3
MOST_PIXELS = 900  # of all rows together, unless each had less than LEAST_ROW_PIXELS then
AROUND_PIXELS = 120  # axis, colour bar and tools


def palette() -> list[str]:
    """Return the colours of the scale, from too small to too large, interpolated between ANCHORS."""
    anchors = np.array([[int(color[i : i + 2], 16) for i in (0, 2, 4)] for color in ANCHORS], float)
    places = np.linspace(0, len(anchors) - 1, SHADES)
    channels = [np.interp(places, np.arange(len(anchors)), anchors[:, channel]) for channel in range(3)]
    return ["#" + "".join(f"{round(value):02x}" for value in shade) for shade in zip(*channels)]


def row_labels(picture: Picture) -> list[str]:
    """Return each row's name: the tensor, and the worker where there are several."""
    several = len({row.worker for row in picture.rows}) > 1
    return [printable(f"{row.tensor} ({row.worker})" if several else row.tensor) for row in picture.rows]


def row_columns(picture: Picture) -> dict[str, Any]:
    """Return the rows as a bokeh data source holds them: cells as colours, and where they are."""
    rows = picture.rows
    return {
        "image": cell_values(picture),
        "x": [row.left for row in rows],
        "y": [place - 0.5 for place in range(len(rows))],
        "dw": [len(row.cells) * float(row.width) for row in rows],
        "dh": [1] * len(rows),
        "width": [float(row.width) for row in rows],
        "start": [row.points.start for row in rows],
        "stop": [row.points.stop for row in rows],
        "cells": [row.cells.astype(np.int32) for row in rows],
        "worst": [row.worst for row in rows],
        "label": row_labels(picture),
    }


def cell_values(picture: Picture) -> list[Array]:
    """Return each row's cells as log10 ratio within the scale: float32, shape (1, bins).

    What is beyond the scale is clipped to it; zero lies one below it, not finite one above, not compared is NaN.
    """
    ratios = picture.points["ratio"]
    values = np.clip(ratios, LOW, HIGH)
    values = np.where(np.isneginf(ratios), LOW - 1, values)
    values = np.where(np.isnan(ratios) | np.isposinf(ratios), HIGH + 1, values).astype(np.float32)
    return [np.where(row.cells < 0, np.float32(np.nan), values[row.cells])[np.newaxis] for row in picture.rows]


def violation_runs(picture: Picture) -> dict[str, Any]:
    """Return columns of the frames: one for each run of bins that hold a violation of a kind.

    A run is unbroken; of more than MOST_RUNS, those a few bins apart are joined, as many bins as it takes.
    """
    gap = 1
    runs = _runs(picture, gap)
    while len(runs) > MOST_RUNS and gap < MOST_COLUMNS:
        gap *= 2
        runs = _runs(picture, gap)
    kinds = [kind for _, kind, _, _ in runs]
    rows = [picture.rows[row] for row, _, _, _ in runs]
    left = np.array([row.left + first * row.width for row, (_, _, first, _) in zip(rows, runs)], float)
    right = np.array([row.left + (last + 1) * row.width for row, (_, _, _, last) in zip(rows, runs)], float)
    return {
        "row": np.array([row for row, _, _, _ in runs], np.int32),
        "kind": kinds,
        "marker": [MARKS[kind][0] for kind in kinds],
        "line": [MARKS[kind][2] for kind in kinds],
        "left": left,
        "right": right,
        "at": left + np.array([row.width / 2 for row in rows], float),
    }


def _runs(picture: Picture, gap: int) -> list[tuple[int, str, int, int]]:
    """Return (row, kind, first bin, last bin) of runs in which no two violations are more than ``gap`` bins apart."""
    runs = []
    points = picture.points
    unchanged = (points["verdict"] == VERDICTS.index(SMALL)) & np.isneginf(points["ratio"])
    hits = {kind: (points["verdict"] == VERDICTS.index(kind)) & ~unchanged for kind in (LARGE, SMALL, NOT_FINITE)}
    hits[UNCHANGED] = unchanged
    for place, row in enumerate(picture.rows):
        bins = row.bins_of(points["step"][row.points])
        for kind in MARKS:
            found = np.unique(bins[hits[kind][row.points]])
            for run in np.split(found, np.flatnonzero(np.diff(found) > gap) + 1) if len(found) else []:
                runs.append((place, kind, int(run[0]), int(run[-1])))
    return runs


def legend_html(report: History) -> str:
    """Return what the marks and colours of the heat map mean, as HTML."""
    low, high = report.parameters.small_threshold, report.parameters.large_threshold
    above, below = f"above {high:g}", f"below {low:g}"
    if report.bounds.baseline is not None:
        above, below = "above its bounds", "below them"
    sign = {kind: character for kind, (_, character, _) in MARKS.items()}
    return (
        f"<b>{sign[LARGE]}</b>&nbsp;{_unbroken(above)} &ensp; <b>{sign[SMALL]}</b>&nbsp;{_unbroken(below)} &ensp; "
        f"<b>{sign[UNCHANGED]}</b>&nbsp;unchanged (ratio&nbsp;0, white) &ensp; "
        f"<b>{sign[NOT_FINITE]}</b>&nbsp;not&nbsp;finite (black): violations, marked where they begin and framed as "
        "long as they last. Grey: not compared. 1e-3 is advice, never a verdict."
    )


def _unbroken(words: str) -> str:
    return words.replace(" ", "&nbsp;")


def heat_height(rows: int) -> int:
    """Return the figure's height in pixels for so many rows."""
    return AROUND_PIXELS + max(min(ROW_PIXELS * max(rows, 2), MOST_PIXELS), LEAST_ROW_PIXELS * rows)


def heat_map(report: History, rows: Any, runs: Any, label_formatter: Any, hover_formatter: Any) -> Any:
    """Return the figure of the heat map.

    Args:
        report: What is drawn.
        rows: The data source of ``row_columns``.
        runs: The data source of ``violation_runs``, with columns y, top, bottom, size and stroke.
        label_formatter: Gives the name of a row for its place.
        hover_formatter: Gives a field of a cell; the field's name is its format.
    """
    from bokeh.models import AdaptiveTicker, BoxZoomTool, HoverTool, Range1d, ResetTool, SaveTool
    from bokeh.plotting import figure

    count = len(rows.data["y"])
    left = min(rows.data["x"])
    right = max(x + width for x, width in zip(rows.data["x"], rows.data["dw"]))
    plot = figure(
        height=heat_height(count),
        sizing_mode="stretch_width",
        x_range=Range1d(left, right),
        y_range=Range1d(count - 0.5, -0.5),
        tools=[BoxZoomTool(), ResetTool(), SaveTool()],
        active_drag=None,
        min_border_right=30,  # room for half of the last label
        toolbar_location="above",
        x_axis_label=f"{report.mode} step",
        background_fill_color=NOT_COMPARED_COLOR,
        name="heat",
    )
    mapper = _color_mapper()
    image = plot.image("image", "x", "y", "dw", "dh", source=rows, color_mapper=mapper)
    plot.quad("left", "right", "top", "bottom", source=runs, fill_alpha=0, line_color="#000000", line_width="stroke")
    plot.scatter(
        "at",
        "y",
        marker="marker",
        size="size",
        source=runs,
        fill_color="#ffffff",
        line_color="line",
        line_width="stroke",
    )
    plot.add_layout(_color_bar(mapper), "above")
    fields = ("tensor", "step", "against step", "ratio", "update norm", "weight norm", "verdict", "cell")
    plot.add_tools(
        HoverTool(
            renderers=[image],
            tooltips=[(field, "$x{%s}" % field) for field in fields],  # noqa: UP031  (braces are bokeh's here)
            formatters={"$x": hover_formatter},
            point_policy="follow_mouse",
        )
    )
    plot.yaxis.ticker = AdaptiveTicker(
        base=10, mantissas=[1, 2, 5], min_interval=1, num_minor_ticks=0, desired_num_ticks=min(count, 45)
    )
    plot.yaxis.formatter = label_formatter
    plot.xaxis.ticker = _step_ticker()
    plot.grid.visible = False
    plot.toolbar.logo = None  # a link to bokeh's site
    return plot


def _step_ticker() -> Any:
    from bokeh.models import AdaptiveTicker

    return AdaptiveTicker(base=10, mantissas=[1, 2, 5], min_interval=1, num_minor_ticks=0)


def _color_mapper() -> Any:
    from bokeh.models import LinearColorMapper

    return LinearColorMapper(
        palette=palette(),
        low=LOW,
        high=HIGH,
        low_color=UNCHANGED_COLOR,
        high_color=NOT_FINITE_COLOR,
        nan_color=NOT_COMPARED_COLOR,
    )


def _color_bar(mapper: Any) -> Any:
    from bokeh.models import ColorBar, FixedTicker

    ticks = [LOW, LOW + 2, GOOD_RATIO, HIGH - 2, HIGH]
    labels = {tick: f"1e{tick:+.0f}" for tick in ticks}
    labels.update({LOW: f"\u2264 1e{LOW:+.0f}", HIGH: f"\u2265 1e{HIGH:+.0f}", GOOD_RATIO: "1e-3: advice"})
    return ColorBar(
        color_mapper=mapper,
        ticker=FixedTicker(ticks=ticks),
        major_label_overrides=labels,
        height=10,
        padding=4,
        title="ratio",
    )
