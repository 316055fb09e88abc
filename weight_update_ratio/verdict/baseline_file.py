"""A baseline as a file, small enough to be committed: JSON, a line a tensor.

    {"format": "weight-update-ratio-baseline", "version": 1, "runs", "mode", "num_steps", "epsilon",
     "tensors": {name: {"gap", "first_bin", "low": [...], "high": [...]}}}

``low`` and ``high`` are the extremes of the bins from ``first_bin`` on, null where a bin is empty. Floats keep their
last digit, so that a file gives the verdicts of the run that it was made from.
"""

from __future__ import annotations

import math
from typing import Any

from ..errors import UnreadableError
from ..trial.index_file import MODES, excerpt, parse_json, whole_number
from .baseline import LAST_BIN, Band, Baseline, first_step

FORMAT = "weight-update-ratio-baseline"
FORMAT_VERSION = 1


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
    absent = [name for name in ("runs", "mode", "num_steps", "epsilon", "tensors") if name not in document]
    if absent:
        raise UnreadableError(f"is broken: it has no {absent[0]!r}")
    runs, mode = whole_number(document["runs"]), document["mode"]
    num_steps, tensors = document["num_steps"], document["tensors"]
    epsilon: Any = document["epsilon"]
    if not runs:
        raise _broken("runs", document["runs"])
    if not isinstance(mode, str) or mode not in MODES:
        raise _broken("mode", mode)
    if num_steps is not None and not whole_number(num_steps):
        raise _broken("num_steps", num_steps)
    if not _is_ratio(epsilon) or not epsilon > 0:
        raise _broken("epsilon", epsilon)
    if not isinstance(tensors, dict):
        raise _broken("tensors", tensors)
    bands = {tensor: _read_bands(tensor, entry, runs) for tensor, entry in tensors.items()}
    return Baseline(runs, mode, num_steps, float(epsilon), {tensor: found for tensor, found in bands.items() if found})


def _read_bands(tensor: str, entry: Any, runs: int) -> dict[int, Band]:
    """Return {gap: band} of one tensor, empty where all its bins are."""
    owner = f"of tensor {excerpt(tensor)}"
    if not isinstance(entry, dict):
        raise UnreadableError(f"is broken: the entry {owner} cannot be {excerpt(entry)}")
    gap, first = whole_number(entry.get("gap")), whole_number(entry.get("first_bin"))
    low, high = entry.get("low"), entry.get("high")
    if not gap:
        raise _broken("gap", entry.get("gap"), owner)
    if first is None or first > LAST_BIN:
        raise _broken("first_bin", entry.get("first_bin"), owner)
    if not isinstance(low, list) or not isinstance(high, list) or len(low) != len(high):
        raise UnreadableError(f"is broken: 'low' and 'high' {owner} are not lists of one length")
    if first + len(low) > LAST_BIN + 1:
        raise UnreadableError(f"is broken: 'low' {owner} goes on beyond the last bin, {LAST_BIN}")
    extremes = {}
    for place, ends in enumerate(zip(low, high), first):
        if ends != (None, None):
            if not all(_is_ratio(end) for end in ends) or ends[0] > ends[1]:
                raise UnreadableError(
                    f"is broken: bin {place} {owner} must have finite ratios, 0 <= low <= high "
                    f"(got {excerpt(ends[0])} and {excerpt(ends[1])})"
                )
            extremes[place] = float(ends[0]), float(ends[1])
    # How many comparisons there were is not in the file; at each step of its bins there was one.
    widths = (first_step(place + 1) - first_step(place) for place in extremes if place < LAST_BIN)
    comparisons = runs * sum(max(1, width // gap) for width in widths)
    return {gap: Band(comparisons, extremes)} if extremes else {}


def _is_ratio(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf


def _broken(name: str, value: Any, owner: str = "") -> UnreadableError:
    return UnreadableError(f"is broken: {name!r} {owner + ' ' if owner else ''}cannot be {excerpt(value)}")
