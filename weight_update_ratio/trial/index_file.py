"""One index file of a trial, from JSON to checked values: what one worker saved at one global step.

    {"meta": {"mode", "mode_step", "event_file_name"}, "tensor_payload": [{"tensorname", "start_idx", "length"}, ...]}

Most steps of a trial save the same tensors at the same bytes, and their index files differ in ``meta`` alone. So the
payload is parsed by itself, once for all files with the same one.

Source: smdebug 1.0.34, ``core/tfevent/index_file_writer.py`` and ``core/index_reader.py``.
"""

from __future__ import annotations

import json
from typing import Any, Dict, Optional, Tuple

from ..errors import UnreadableError

MODES = ("TRAIN", "EVAL", "PREDICT", "GLOBAL")
LARGEST_STEP = 2**62  # steps are kept as int64

# Tensor -> (first byte, length) of its record; None: the index names no range of bytes.
Records = Dict[str, Optional[Tuple[int, int]]]

BEFORE_PAYLOAD = b', "tensor_payload": '


def read_meta(part: bytes, event_file: str) -> tuple[str, int]:
    """Return the mode and the step in it; ``event_file`` follows from the file's name: no name in a file is opened."""
    index = parse_json(part)
    meta = index.get("meta") if isinstance(index, dict) else None
    if not isinstance(meta, dict):
        raise UnreadableError("is not an index: it has no 'meta'")
    mode = meta.get("mode")
    mode = mode.strip() if isinstance(mode, str) else mode  # as smdebug does
    if mode not in MODES:
        raise UnreadableError(f"has an unknown mode {excerpt(mode)}")
    step = meta.get("mode_step")
    if not isinstance(step, int) or isinstance(step, bool) or abs(step) >= LARGEST_STEP:
        raise UnreadableError(f"has a step that is not a whole number ({excerpt(meta.get('mode_step'))})")
    named = meta.get("event_file_name", event_file)
    if named != event_file:
        raise UnreadableError(f"names the event file of another step or worker ({excerpt(named)})")
    return mode, step


def read_payload(part: bytes) -> Records:
    """Return the tensors that an index file names; of several of one name the last counts, as for smdebug."""
    index = parse_json(part)
    payload: Any = index.get("tensor_payload", False) if isinstance(index, dict) else False
    payload = [] if payload is None else payload  # null: only shapes were saved
    if not isinstance(payload, list):
        raise UnreadableError("is not an index: its payload is not a list of tensors")
    records: Records = {}
    for entry in payload:
        tensor = entry.get("tensorname") if isinstance(entry, dict) else None
        # JSON can spell a lone surrogate, and nothing else can write it.
        if not isinstance(tensor, str) or tensor != tensor.encode("utf-8", "ignore").decode("utf-8"):
            raise UnreadableError("has an entry without a tensor's name")
        start, length = whole_number(entry.get("start_idx")), whole_number(entry.get("length"))
        records[tensor] = None if start is None or length is None else (start, length)
    return records


def parse_json(content: bytes) -> Any:
    """Return the value of a JSON file, or raise an UnreadableError."""
    try:
        parse_int: Any = lambda digits: int(digits) if len(digits) < 32 else float(digits)  # noqa: E731  (float overflows)
        return json.loads(content.decode("utf-8-sig"), parse_int=parse_int)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise UnreadableError(f"is not JSON ({reason[:100]})" if content else "is empty") from None


def excerpt(value: Any) -> str:
    """Return the beginning of a value of JSON in quotes, for a message."""
    nested = isinstance(value, (list, dict)) and bool(value)
    return repr("a list or object" if nested else str(value)[:50])


def whole_number(value: Any) -> int | None:
    """Return a whole number of JSON that can count bytes or workers, or None."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < LARGEST_STEP else None
