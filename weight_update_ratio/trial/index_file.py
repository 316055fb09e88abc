"""One index file of a trial, from JSON that anybody may have written to checked values.

    {"meta": {"mode", "mode_step", "event_file_name"}, "tensor_payload": [{"tensorname", "start_idx", "length"}, ...]}

Source: smdebug 1.0.34, ``core/tfevent/index_file_writer.py`` and ``core/index_reader.py``.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from ..errors import UnreadableError

MODES = ("TRAIN", "EVAL", "PREDICT", "GLOBAL")
LARGEST_STEP = 2**62  # steps are kept as int64


class IndexFile(NamedTuple):
    """What an index file says: ``step`` counts in ``mode``."""

    mode: str
    step: int
    event_file: str
    payload: list[Any]


def read_index(content: bytes) -> IndexFile:
    """Return what an index file says.

    Raises:
        UnreadableError: It is no index file; the message says why.
    """
    index = parse_json(content)
    meta = index.get("meta") if isinstance(index, dict) else None
    if not isinstance(meta, dict):
        raise UnreadableError("is no index: it has no 'meta'")
    mode = meta.get("mode")
    mode = mode.strip() if isinstance(mode, str) else mode
    if not isinstance(mode, str) or mode not in MODES:
        raise UnreadableError(f"has an unknown mode {excerpt(mode)}")
    step = whole_number(meta.get("mode_step"))
    if step is None:
        raise UnreadableError(f"has a step that is no whole number >= 0 ({excerpt(meta.get('mode_step'))})")
    payload = index.get("tensor_payload", False)  # a key that is missing is no empty list
    payload = [] if payload is None else payload
    event_file = meta.get("event_file_name") if payload else ""
    if not isinstance(payload, list) or not isinstance(event_file, str):
        raise UnreadableError("is no index: its payload is not a list of tensors in an event file")
    return IndexFile(mode, step, event_file, payload)


def parse_json(content: bytes) -> Any:
    """Return the value of a JSON file.

    Raises:
        UnreadableError: It is not JSON, or nested without bound.
    """
    try:
        return json.loads(content.decode("utf-8"), parse_int=_parse_int)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise UnreadableError(f"is not JSON ({reason[:100]})" if content else "is empty") from None


def _parse_int(digits: str) -> int | None:
    """Return a number of JSON; not one of a million digits, whose value takes minutes and counts nothing."""
    return int(digits) if len(digits) < 32 else None


def excerpt(value: Any) -> str:
    """Return the beginning of a value of JSON in quotes, for a message; what is nested may be so without bound."""
    nested = isinstance(value, (list, dict)) and bool(value)
    return repr("a list or object" if nested else str(value)[:50])


def is_unicode(name: str) -> bool:
    """Return whether a name has no lone surrogates, which JSON can spell and nothing else can write."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def whole_number(value: Any) -> int | None:
    """Return a whole number of JSON that can count steps or bytes, or None."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < LARGEST_STEP else None


def record_range(entry: Any) -> tuple[int, int] | None:
    """Return (first byte, length) of the record that an entry of the payload names, or None where it names none."""
    start, length = whole_number(entry.get("start_idx")), whole_number(entry.get("length"))
    return None if start is None or length is None else (start, length)
