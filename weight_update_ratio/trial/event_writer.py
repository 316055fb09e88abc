"""Tensors to the records of an event file: the inverse of ``event_file``.

The payload's checksum says "not computed", as smdebug's does, and metadata follows the tensor:

    9: SummaryMetadata{1: PluginData{1: "mode_step", 2: step in its mode}, 1: PluginData{1: "mode", 2: mode}}

Source: as ``event_file``, and smdebug 1.0.34, ``core/writer.py`` and ``core/modes.py``, for the metadata.
"""

from __future__ import annotations

import struct
import time
from typing import IO, Any, Iterable

import numpy as np

from .event_file import DTYPES, FOOTER, HEADER, METADATA_KEY, TIME_KEY, UNCHECKED_FOOTER, encoded_step, record_header
from .wire_format import encoded_varint

SUMMARY_KEY = 5 << 3 | 2
VALUE_KEY = 1 << 3 | 2
TAG_KEY = 1 << 3 | 2
TENSOR_KEY = 8 << 3 | 2
CONTENT_KEY = 4 << 3 | 2
LONGEST_RECORD = (1 << 31) + HEADER + FOOTER  # bytes; protobuf has no longer messages

_KINDS = {dtype: kind for kind, dtype in DTYPES.items()}
_MODES = {"TRAIN": b"1", "EVAL": b"2", "PREDICT": b"3", "GLOBAL": b"4"}  # smdebug's ModeKeys, as text


def write_records(
    file: IO[bytes], tensors: Iterable[tuple[str, np.ndarray[Any, Any]]], global_step: int, mode: str, step: int
) -> dict[str, tuple[int, int]]:
    """Write a record a tensor, from the first byte of a new file on, and return {name: (first byte, length)}.

    The arrays are C-contiguous, of the types in ``DTYPES``, and asked for one at a time.
    """
    event = bytes((TIME_KEY,)) + struct.pack("<d", time.time()) + encoded_step(global_step)
    metadata = _field(METADATA_KEY, _plugin(b"mode_step", b"%d" % step) + _plugin(b"mode", _MODES[mode]))
    records: dict[str, tuple[int, int]] = {}
    position = 0
    for name, array in tensors:
        after = array.nbytes + len(metadata)  # bytes that follow each heading
        tensor = _tensor_heading(array)
        value = _field(TAG_KEY, name.encode("utf-8")) + _heading(TENSOR_KEY, len(tensor) + array.nbytes) + tensor
        summary = _heading(VALUE_KEY, len(value) + after) + value
        before = event + _heading(SUMMARY_KEY, len(summary) + after) + summary
        payload = len(before) + after
        length = HEADER + payload + FOOTER
        if length >= LONGEST_RECORD:
            raise ValueError(f"the tensor {name!r} has {array.nbytes:,} bytes, and a record holds less than 2 GiB")
        file.write(record_header(payload) + before)
        file.write(array.data)
        file.write(metadata + UNCHECKED_FOOTER)
        records[name] = position, length
        position += length
    return records


def _tensor_heading(array: np.ndarray[Any, Any]) -> bytes:
    """Return a TensorProto up to its elements; protobuf leaves out what is empty, and a dimension of 0."""
    dims = (bytes((1 << 3,)) + encoded_varint(size) if size else b"" for size in array.shape)
    shape = b"".join(_field(2 << 3 | 2, dim) for dim in dims)
    heading = bytes((1 << 3, _KINDS[array.dtype])) + _field(2 << 3 | 2, shape)
    return heading + _heading(CONTENT_KEY, array.nbytes) if array.nbytes else heading


def _plugin(name: bytes, content: bytes) -> bytes:
    return _field(1 << 3 | 2, _field(1 << 3 | 2, name) + _field(2 << 3 | 2, content))


def _heading(key: int, length: int) -> bytes:
    return bytes((key,)) + encoded_varint(length)


def _field(key: int, content: bytes) -> bytes:
    return _heading(key, len(content)) + content
