"""The course of a tensor's ratios as a strip of colours: a PNG a few pixels high, one column for each bin of its steps.

Colour is log10(ratio) about 1e-3. Violations do not rely on it: a black bar at the top is too large, one at the bottom
too small, both a weight norm that drifted; stripes of black and white are not finite.
"""

from __future__ import annotations

import base64
import io
from typing import Any, NamedTuple

import numpy as np

from ...compare.rows import Array
from ...findings.course import Course
from ...findings.judgement import Judgement
from ...verdict.bounds import DRIFTED, LARGE, NOT_FINITE, OK, SMALL, VERDICTS
from .reduction import MOST_BINS, bins_of

GOOD_RATIO = -3.0  # log10; cs231n's advice: "this ratio should be somewhere around 1e-3"
HALF_SCALE = 4.0  # decades of the colour scale on either side of it
LOW, HIGH = GOOD_RATIO - HALF_SCALE, GOOD_RATIO + HALF_SCALE
# ColorBrewer's RdYlBu, which colour-blind people can read: blue is too little, red too much.
ANCHORS = "313695 4575b4 74add1 abd9e9 e0f3f8 ffffbf fee090 fdae61 f46d43 d73027 a50026"
SHADES = 41
NOTHING, BLACK, WHITE, FIRST_SHADE = range(4)  # indices in the palette; white is a ratio of exactly 0
HEIGHT = 12  # pixels
STRIPES = np.tile([BLACK, BLACK, WHITE, WHITE], HEIGHT // 4)[:, np.newaxis]


class Strip(NamedTuple):
    """A strip from step ``left`` to step ``right``, where a bin of one step is centred on it."""

    left: float
    right: float
    image: str  # the address of its picture


def strip_of(course: Course) -> Strip:
    """Return the strip of a course by step; a bin has the colour of its worst comparison."""
    bin_of, bins, interval = bins_of(course.steps, MOST_BINS)
    pixels = _pixels(course.ratios, course.verdicts, course.decades, bin_of, bins)
    return Strip(float(course.steps[0] - interval / 2), float(course.steps[-1] + interval / 2), _png(pixels))


def legend(report: Judgement) -> list[tuple[str, str]]:
    """Return samples of what is in a strip, as the address of a picture, and what each means."""
    parameters, has_baseline = report.parameters, report.bounds.baseline is not None
    samples: list[tuple[str, Any, str]] = [
        (f"ratio \u2264 1e{LOW:.0f} to \u2265 1e+{HIGH:.0f}, yellow is 1e-3", np.linspace(LOW, HIGH, SHADES), OK),
        ("above its bounds" if has_baseline else f"above {parameters.large_threshold:g}", [HIGH], LARGE),
        ("below them" if has_baseline else f"below {parameters.small_threshold:g}", [LOW], SMALL),
        ("unchanged", [-np.inf], SMALL),
        ("not finite", [np.nan], NOT_FINITE),
        *([("weight norm drifted", [GOOD_RATIO], DRIFTED)] if has_baseline else []),
    ]
    pictures = [(_sample(np.asarray(levels), verdict), words) for words, levels, verdict in samples]
    return [*pictures, (_png(np.full((HEIGHT, 1), NOTHING)), "not compared")]


def _sample(levels: Array, verdict: str) -> str:
    bins, verdicts = np.arange(len(levels)), np.full(len(levels), VERDICTS.index(verdict))
    return _png(_pixels(10.0**levels, verdicts, bins, bins, len(levels)))


def _pixels(ratios: Array, verdicts: Array, decades: Array, bin_of: Array, bins: int) -> Array:
    """Return indices in the palette, shape (HEIGHT, bins).

    Of a bin in which some comparisons are not finite, the upper half says so, and the lower half has the others.
    """
    finite = np.flatnonzero(np.isfinite(ratios))
    worst = np.full(bins, -1)
    ascending = finite[np.lexsort((-finite, decades[finite], bin_of[finite]))]
    worst[bin_of[ascending]] = ascending  # of several the last one: the worst, and of equals the first
    with np.errstate(all="ignore"):
        level = np.nan_to_num((np.clip(np.log10(ratios), LOW, HIGH) - LOW) / (HIGH - LOW))
    codes = np.where(ratios == 0, WHITE, FIRST_SHADE + np.rint(level * (SHADES - 1)))
    pixels = np.tile(np.where(worst < 0, NOTHING, codes[worst]), (HEIGHT, 1)).astype(np.uint8)
    verdict = np.where(worst < 0, VERDICTS.index(OK), verdicts[worst])
    for edge, kind in ((np.arange(3), LARGE), (-1 - np.arange(3), SMALL)):
        marked = np.isin(verdict, [VERDICTS.index(kind), VERDICTS.index(DRIFTED)])
        pixels[np.ix_(edge, marked)] = np.array([[BLACK], [BLACK], [WHITE]])
    lost, half = np.isin(np.arange(bins), bin_of[~np.isfinite(ratios)]), HEIGHT // 2
    pixels[half:, lost] = np.where(worst[lost] < 0, STRIPES[half:], pixels[::2, lost])
    pixels[:half, lost] = STRIPES[:half]
    return pixels


def _png(pixels: Array) -> str:
    from PIL import Image  # bokeh brings it

    anchors = np.array([list(bytes.fromhex(color)) for color in ANCHORS.split()])
    at = np.linspace(0, len(anchors) - 1, SHADES)
    shades = np.transpose([np.interp(at, np.arange(len(anchors)), channel) for channel in anchors.T])
    palette = np.vstack([[[0] * 3, [0] * 3, [255] * 3], np.rint(shades)]).astype(np.uint8)
    codes, index = np.unique(pixels, return_inverse=True)
    picture, file = Image.fromarray(index.reshape(pixels.shape).astype(np.uint8)), io.BytesIO()
    picture.putpalette(palette[codes].tobytes())
    picture.save(file, "PNG", transparency=bytes(255 * (codes != NOTHING).astype(np.uint8)))
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
