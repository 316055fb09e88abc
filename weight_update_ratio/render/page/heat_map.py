"""The heat map: tensors down, steps across, colour log10(ratio) about 1e-3, and the violations framed and marked.

Every row is an image of its own, so that sorting and filtering move rows and nothing else. The figure is a window on
the rows: its range is what is seen of them, each high enough for its label, and scrolling moves it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...compare.ratio import DRIFTED, LARGE, NOT_FINITE, SMALL, VERDICTS
from ...compare.rows import Array
from ...findings.judgement import Judgement
from ..words.escapes import printable
from ..words.labels import common_beginning, distinct_labels
from ..words.names import elided
from .reduction import GOOD_RATIO, MOST_COLUMNS, Picture

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
    DRIFTED: ("diamond", "\u25c7", "#000000"),
}
MOST_RUNS = 4_000  # frames of violations
ROW_PIXELS = 20  # the least that a row is high
OUT_OF_SIGHT = -1e6  # where rows are that are not shown, as all are at first
WIDE_LABEL, NARROW_LABEL = 44, 20  # characters that there is room for, in a large window and on a phone
WIDE_WORKER, NARROW_WORKER = 12, 4  # of them for the worker


def palette() -> list[str]:
    """Return the colours of the scale, from too small to too large, interpolated between ANCHORS."""
    anchors = np.array([[int(color[i : i + 2], 16) for i in (0, 2, 4)] for color in ANCHORS], float)
    places = np.linspace(0, len(anchors) - 1, SHADES)
    channels = [np.interp(places, np.arange(len(anchors)), anchors[:, channel]) for channel in range(3)]
    return ["#" + "".join(f"{round(value):02x}" for value in shade) for shade in zip(*channels)]


def row_labels(picture: Picture, most: int, most_worker: int) -> list[str]:
    """Return a label for each row, at most ``most`` characters: the tensor, and the worker where there are several."""
    tensors = list(dict.fromkeys(printable(row.tensor) for row in picture.rows))
    workers = list(dict.fromkeys(printable(row.worker) for row in picture.rows))
    begin = common_beginning(workers) if max(map(len, workers)) > most_worker else 0
    ends = {worker: elided(worker[begin:], most_worker) for worker in workers}
    room = max(map(len, ends.values())) + 1 if len(workers) > 1 else 0
    labels = dict(zip(tensors, distinct_labels(tensors, most - room)))
    return [labels[printable(row.tensor)] + (f" {ends[printable(row.worker)]}" if room else "") for row in picture.rows]


def row_columns(picture: Picture) -> dict[str, Any]:
    """Return the rows as a bokeh data source holds them: cells as colours, and where they are."""
    rows = picture.rows
    return {
        "image": cell_codes(picture),
        "x": [row.left for row in rows],
        "y": [OUT_OF_SIGHT] * len(rows),
        "dw": [len(row.cells) * float(row.width) for row in rows],
        "dh": [1.0] * len(rows),
        "width": [float(row.width) for row in rows],
        "start": [row.points.start for row in rows],
        "stop": [row.points.stop for row in rows],
        "first_cell": np.cumsum([0, *(len(row.cells) for row in rows)])[:-1].astype(np.int32),
        "worst": [row.worst for row in rows],
        "tensor": [printable(row.tensor) for row in rows],
        "worker": [printable(row.worker) for row in rows],
        "label": row_labels(picture, WIDE_LABEL, WIDE_WORKER),
        "short": row_labels(picture, NARROW_LABEL, NARROW_WORKER),
    }


def cell_points(picture: Picture) -> Array:
    """Return the point of each cell of each row in turn, counted from the row's first, -1 where there is none."""
    relative = [np.where(row.cells < 0, -1, row.cells - row.points.start) for row in picture.rows]
    points = np.concatenate(relative)
    return points.astype(np.int16 if points.max() < 2**15 else np.int32)


def cell_codes(picture: Picture) -> list[Array]:
    """Return each row's cells as places in ``cell_palette``: uint8, shape (1, bins); beyond the scale is its end."""
    ratios = picture.points["ratio"].astype(float)
    known = np.where(np.isfinite(ratios), ratios, LOW)
    shades = 1 + np.rint((np.clip(known, LOW, HIGH) - LOW) / (HIGH - LOW) * (SHADES - 1))
    codes = np.where(np.isneginf(ratios), 0, shades)
    codes = np.where(np.isnan(ratios) | np.isposinf(ratios), SHADES + 1, codes)
    return [np.where(row.cells < 0, SHADES + 2, codes[row.cells])[np.newaxis].astype(np.uint8) for row in picture.rows]


def cell_palette() -> list[str]:
    """Return the colours of cells: unchanged, the scale, not finite, not compared."""
    return [UNCHANGED_COLOR, *palette(), NOT_FINITE_COLOR, NOT_COMPARED_COLOR]


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
        **{name: np.full(len(runs), OUT_OF_SIGHT) for name in ("y", "top", "bottom")},
    }


def _runs(picture: Picture, gap: int) -> list[tuple[int, str, int, int]]:
    """Return (row, kind, first bin, last bin) of runs in which no two violations are more than ``gap`` bins apart."""
    runs = []
    points = picture.points
    unchanged = (points["verdict"] == VERDICTS.index(SMALL)) & np.isneginf(points["ratio"])
    hits = {kind: (points["verdict"] == VERDICTS.index(kind)) & ~unchanged for kind in MARKS if kind != UNCHANGED}
    hits[UNCHANGED] = unchanged
    for place, row in enumerate(picture.rows):
        bins = row.bins_of(points["step"][row.points])
        for kind in MARKS:
            found = np.unique(bins[hits[kind][row.points]])
            for run in np.split(found, np.flatnonzero(np.diff(found) > gap) + 1) if len(found) else []:
                runs.append((place, kind, int(run[0]), int(run[-1])))
    return runs


def legend_html(report: Judgement) -> str:
    """Return what the colours and marks of the heat map mean, as HTML."""
    low, high = report.parameters.small_threshold, report.parameters.large_threshold
    above, below = f"above {high:g}", f"below {low:g}"
    if report.bounds.baseline is not None:
        above, below = "above its bounds", "below them"
    drifted = "" if report.bounds.baseline is None else f"{_sign(MARKS[DRIFTED][1], 'weight norm drifted')} &ensp; "
    sign = {kind: character for kind, (_, character, _) in MARKS.items()}
    scale = ", ".join(f"#{color}" for color in ANCHORS)
    return (
        f'<span style="white-space: nowrap">ratio \u2264 1e{LOW:.0f} <span style="display: inline-block; width: 7em; '
        f'height: .7em; background: linear-gradient(to right, {scale})"></span> \u2265 1e+{HIGH:.0f}, 1e-3 in its '
        f"middle</span> &ensp; {_sign(sign[LARGE], above)} &ensp; {_sign(sign[SMALL], below)} &ensp; "
        f"{_sign(sign[UNCHANGED], 'ratio 0 (white)')} &ensp; {_sign(sign[NOT_FINITE], 'not finite (black)')} &ensp; "
        f"{drifted}"
        "Violations are marked where they begin and framed as long as they last. Grey: not compared."
    )


def _sign(character: str, meaning: str) -> str:
    return f'<span style="white-space: nowrap"><b>{character}</b> {meaning}</span>'


def heat_map(
    report: Judgement, rows: Any, runs: Any, label_formatter: Any, hover_formatter: Any, file_name: str
) -> Any:
    """Return the figure of the heat map.

    Args:
        report: What is drawn.
        rows: The data source of ``row_columns``.
        runs: The data source of ``violation_runs``.
        label_formatter: Gives the label of a row for its place.
        hover_formatter: Gives a field of a cell; the field's name is its format.
        file_name: What the picture is saved as.
    """
    from bokeh.models import (
        BoxZoomTool,
        HoverTool,
        LinearColorMapper,
        Range1d,
        ResetTool,
        SaveTool,
        SingleIntervalTicker,
    )
    from bokeh.plotting import figure

    left = min(rows.data["x"])
    right = max(x + width for x, width in zip(rows.data["x"], rows.data["dw"]))
    plot = figure(
        x_range=Range1d(left, right),
        y_range=Range1d(0.5, -0.5),
        tools=[BoxZoomTool(dimensions="width"), ResetTool(), SaveTool(filename=file_name)],
        active_drag=None,
        min_border_right=30,  # room for half of the last label
        toolbar_location="above",
        background_fill_color=NOT_COMPARED_COLOR,
        name="heat",
    )
    colors = cell_palette()
    mapper = LinearColorMapper(palette=colors, low=0, high=len(colors))
    image = plot.image("image", "x", "y", "dw", "dh", source=rows, color_mapper=mapper)
    plot.quad("left", "right", "top", "bottom", source=runs, fill_alpha=0, line_color="#000000", line_width=1.5)
    plot.scatter(
        "at", "y", marker="marker", size=9, source=runs, fill_color="#ffffff", line_color="line", line_width=1.5
    )
    fields = ("tensor", "worker", "step", "against step", "ratio", "update norm", "weight norm", "verdict", "cell")
    plot.add_tools(
        HoverTool(
            renderers=[image],
            tooltips=[(field, "$x{%s}" % field) for field in fields],  # noqa: UP031  (braces are bokeh's here)
            formatters={"$x": hover_formatter},
            point_policy="follow_mouse",
        )
    )
    plot.yaxis.ticker = SingleIntervalTicker(interval=1, num_minor_ticks=0)
    plot.yaxis.formatter = label_formatter
    plot.yaxis.major_label_text_font_size = "10.5px"
    plot.xaxis.ticker = step_ticker()
    plot.grid.visible = False
    plot.toolbar.logo = None  # a link to bokeh's site
    return plot


def step_ticker() -> Any:
    """Return the ticker of an axis of steps: whole numbers only."""
    from bokeh.models import AdaptiveTicker

    return AdaptiveTicker(base=10, mantissas=[1, 2, 5], min_interval=1, num_minor_ticks=0)
