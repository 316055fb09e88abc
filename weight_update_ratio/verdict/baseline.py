"""What good runs did: of every tensor the lowest and highest ratio and weight norm, by bins of the step, and its rests.

Ratios change over a run by decades, early steps most. So bins grow with the step: every step below 8 is the first bin,
and the others begin at 8, 11, 13, 16, 21, 26, 32, ... = ceil(8 * 2**(k / 3)): three each time that the step doubles.

As a file it is JSON, a line a tensor, small enough to be committed:

    {"format": "weight-update-ratio-baseline", "version": 2, "runs", "mode", "epsilon", "last_step", "tensors":
     {name: {"gap", "rest", "first_bin", "low": [...], "high": [...], "norm_low": [...], "norm_high": [...]}}}

The lists have the bins from ``first_bin`` on, null where a bin is empty; they are empty where the tensor never moved.
Floats keep their last digit, so that a file gives the verdicts of the run that it was made from.
"""

from __future__ import annotations

import json
import math
from typing import Any, Callable, Iterable, NamedTuple

import numpy as np

from ..compare.rows import Array
from ..errors import TrialError, UnreadableError
from ..trial.index_file import LARGEST_STEP, MODES, excerpt, parse_json, whole_number

FORMAT = "weight-update-ratio-baseline"
FORMAT_VERSION = 2
BIN_EDGES = [math.ceil(8 * 2 ** (k / 3)) for k in range(3 * (LARGEST_STEP.bit_length() - 4) + 1)]
BINS = len(BIN_EDGES) + 1
LIMITS = ("low", "high", "norm_low", "norm_high")


class Band(NamedTuple):
    """What one tensor did."""

    gap: int  # how many steps before each comparison its reference is
    rest: int  # the most comparisons in a row whose ratio was 0
    limits: Array  # LIMITS by bin; NaN where a bin has no move; float64, shape (4, BINS)

    @property
    def moves(self) -> bool:
        return not bool(np.isnan(self.limits[0]).all())


class Baseline(NamedTuple):
    """The bands of one or more good runs; all their workers are folded together."""

    runs: int  # how many
    mode: str  # that was judged; steps count in it
    epsilon: float
    last_step: int  # of the longest run
    bands: dict[str, Band]  # by tensor

    @property
    def width(self) -> float:
        """How many times its lowest ratio a tensor's highest is, the median over the tensors; NaN where none moves."""
        moving = [band.limits for band in self.bands.values() if band.moves]
        with np.errstate(divide="ignore", over="ignore"):  # a file may have 0 for the lowest
            return float(np.median([np.nanmax(high) / np.nanmin(low) for low, high, *_ in moving] or [np.nan]))


def merged_baselines(named: Iterable[tuple[str, Baseline]]) -> Baseline:
    """Return the baseline of the runs of all, in any order the same; each comes with its name in a message."""
    (first_name, result), *others = named
    for name, other in others:
        both = f"the baselines {first_name!r} and {name!r} cannot be merged:"
        if result.mode != other.mode:
            remedy = "Merge baselines that were judged with the same mode."
            raise TrialError(f"{both} their mode is {result.mode} and {other.mode}", remedy)
        bands = dict(result.bands)
        for tensor, band in other.bands.items():
            known = bands.setdefault(tensor, band)
            if known.gap != band.gap:
                raise TrialError(
                    f"{both} the ratios of {tensor!r} are over {gap_text(known.gap)} and over {gap_text(band.gap)}",
                    "Merge baselines of runs that were saved at the same interval and judged with the same num_steps.",
                )
            lows, highs = np.fmin(known.limits, band.limits), np.fmax(known.limits, band.limits)
            limits = np.stack([lows[0], highs[1], lows[2], highs[3]])
            bands[tensor] = Band(band.gap, max(known.rest, band.rest), limits)
        last_step = max(result.last_step, other.last_step)
        result = Baseline(result.runs + other.runs, result.mode, result.epsilon, last_step, bands)
    return result


def gap_text(gap: int) -> str:
    return f"{gap} step{'s' * (gap != 1)}"


def baseline_text(baseline: Baseline) -> str:
    head = {"format": FORMAT, "version": FORMAT_VERSION, **baseline._asdict()}
    bands = head.pop("bands")
    lines = [f"    {json.dumps(tensor)}: {_band_text(band)}" for tensor, band in sorted(bands.items())]
    members = [f"  {json.dumps(name)}: {json.dumps(value)},\n" for name, value in head.items()]
    return "{\n" + "".join(members) + '  "tensors": {\n' + ",\n".join(lines) + "\n  }\n}\n"


def _band_text(band: Band) -> str:
    bins = np.flatnonzero(~np.isnan(band.limits[0]))
    first, end = (int(bins[0]), int(bins[-1]) + 1) if len(bins) else (0, 0)
    lists = [[None if np.isnan(value) else value for value in limits[first:end].tolist()] for limits in band.limits]
    entry = {"gap": band.gap, "rest": band.rest, "first_bin": first, **dict(zip(LIMITS, lists))}
    return json.dumps(entry, separators=(",", ":"), allow_nan=False)


def parse_baseline(content: bytes) -> Baseline:
    """Return the baseline of a file; UnreadableError says what of it is wrong, and where."""
    document = parse_json(content)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise UnreadableError(f"is not a baseline: it has no 'format' {FORMAT!r}")
    if whole_number(document.get("version")) != FORMAT_VERSION:
        version = excerpt(document.get("version"))
        raise UnreadableError(f"is a baseline of version {version}, and this program reads {FORMAT_VERSION}")
    runs = _member(document, "runs", whole_number)
    mode = _member(document, "mode", MODES.__contains__)
    epsilon = _member(document, "epsilon", lambda value: _is_limit(value) and value > 0)
    last_step = _member(document, "last_step", lambda step: step == -1 or whole_number(step) is not None)
    tensors = _member(document, "tensors", lambda entries: isinstance(entries, dict))
    bands = {tensor: _parse_band(entry, f" of tensor {excerpt(tensor)}") for tensor, entry in tensors.items()}
    return Baseline(runs, mode, float(epsilon), last_step, bands)


def _parse_band(entry: Any, of_tensor: str) -> Band:
    if not isinstance(entry, dict):
        raise UnreadableError(f"is broken: the entry{of_tensor} cannot be {excerpt(entry)}")
    gap = _member(entry, "gap", whole_number, of_tensor)
    rest = _member(entry, "rest", lambda number: whole_number(number) is not None, of_tensor)
    first = _member(entry, "first_bin", lambda number: whole_number(number) is not None and number < BINS, of_tensor)
    lists: list[Any] = [entry.get(name) for name in LIMITS]
    if not all(isinstance(values, list) and len(values) == len(lists[0]) for values in lists):
        raise UnreadableError(f"is broken: {', '.join(map(repr, LIMITS))}{of_tensor} are not lists of one length")
    limits = np.full((4, BINS), np.nan)
    for index, values in enumerate(zip(*lists), first):
        for low, high in (values[:2], values[2:]):
            is_sound = (low is None and high is None) or (_is_limit(low) and _is_limit(high) and low <= high)
            if index >= BINS or not is_sound:
                raise UnreadableError(
                    f"is broken: bin {index}{of_tensor} must be below {BINS} and have finite numbers, "
                    f"0 <= low <= high (got {excerpt(low)} and {excerpt(high)})"
                )
        limits[:, index] = np.array(values, np.float64)  # None becomes NaN
    return Band(gap, rest, limits)


def _member(members: dict[str, Any], name: str, is_valid: Callable[[Any], Any], of_what: str = "") -> Any:
    if name not in members:
        raise UnreadableError(f"is broken: it has no {name!r}{of_what}")
    if not is_valid(members[name]):
        raise UnreadableError(f"is broken: {name!r}{of_what} cannot be {excerpt(members[name])}")
    return members[name]


def _is_limit(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf
