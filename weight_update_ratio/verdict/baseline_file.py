"""A baseline as a file, small enough to be committed: JSON, a line a tensor.

    {"format": "weight-update-ratio-baseline", "version": 2, "runs", "mode", "epsilon", "last_step", "tensors":
     {name: {"gap", "rest", "first_bin", "low": [...], "high": [...], "norm_low": [...], "norm_high": [...]}}}

The lists have the bins from ``first_bin`` on, null where a bin is empty; they are empty where the tensor never moved.
Floats keep their last digit, so that a file gives the verdicts of the run that it was made from.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import UnreadableError
from ..trial.index_file import MODES, excerpt, parse_json, whole_number
from .baseline import BINS, LIMITS, Band, Baseline

FORMAT = "weight-update-ratio-baseline"
FORMAT_VERSION = 2


def parse_baseline(content: bytes) -> Baseline:
    """Return the baseline that a file holds; every value is checked.

    Raises:
        UnreadableError: It is not a baseline, of another version, or broken; the message says where.
    """
    document = parse_json(content)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise UnreadableError(f"is not a baseline: it has no 'format' {FORMAT!r}")
    if whole_number(document.get("version")) != FORMAT_VERSION:
        raise UnreadableError(
            f"is a baseline of version {excerpt(document.get('version'))}, and this program reads {FORMAT_VERSION}"
        )
    _require(document, "runs", whole_number(document.get("runs")))
    _require(document, "mode", document.get("mode") in MODES if isinstance(document.get("mode"), str) else False)
    _require(document, "epsilon", _is_limit(document.get("epsilon")) and document["epsilon"] > 0)
    last = document.get("last_step")
    _require(document, "last_step", whole_number(last) is not None or last == -1)
    _require(document, "tensors", isinstance(document.get("tensors"), dict))
    bands = {tensor: _parse_band(tensor, entry) for tensor, entry in document["tensors"].items()}
    return Baseline(document["runs"], document["mode"], float(document["epsilon"]), document["last_step"], bands)


def _parse_band(tensor: str, entry: Any) -> Band:
    owner = f" of tensor {excerpt(tensor)}"
    if not isinstance(entry, dict):
        raise UnreadableError(f"is broken: the entry{owner} cannot be {excerpt(entry)}")
    _require(entry, "gap", whole_number(entry.get("gap")), owner)
    _require(entry, "rest", whole_number(entry.get("rest")) is not None, owner)
    first = whole_number(entry.get("first_bin"))
    _require(entry, "first_bin", first is not None and first < BINS, owner)
    limits = np.full((4, BINS), np.nan)
    lists: list[Any] = [entry.get(name) for name in LIMITS]
    if not all(isinstance(values, list) and len(values) == len(lists[0]) for values in lists):
        raise UnreadableError(f"is broken: {', '.join(map(repr, LIMITS))}{owner} are not lists of one length")
    for place, values in enumerate(zip(*lists), first or 0):
        for low, high in (values[:2], values[2:]):
            is_sound = (low is None and high is None) or (_is_limit(low) and _is_limit(high) and low <= high)
            if place >= BINS or not is_sound:
                raise UnreadableError(
                    f"is broken: bin {place}{owner} must be below {BINS} and have finite numbers, 0 <= low <= high "
                    f"(got {excerpt(low)} and {excerpt(high)})"
                )
        limits[:, place] = [math.nan if value is None else value for value in values]
    return Band(entry["gap"], entry["rest"], limits)


def _is_limit(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf


def _require(owner: dict[str, Any], name: str, is_valid: Any, where: str = "") -> None:
    if name not in owner:
        raise UnreadableError(f"is broken: it has no {name!r}{where}")
    if not is_valid:
        raise UnreadableError(f"is broken: {name!r}{where} cannot be {excerpt(owner[name])}")
