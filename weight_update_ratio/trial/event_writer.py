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

from .event_file import DTYPES, FOOTER, HEADER, TIME_KEY, UNCHECKED_FOOTER, encoded_step, record_header
from .wire_format import encoded_varint

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
    metadata = encoded_field(9, _plugin(b"mode_step", b"%d" % step) + _plugin(b"mode", _MODES[mode]))
    records: dict[str, tuple[int, int]] = {}
    position = 0
    for name, array in tensors:
        after = array.nbytes + len(metadata)  # bytes that follow each heading
        tensor = _tensor_heading(array)
        value = encoded_field(1, name.encode("utf-8")) + _heading(8, len(tensor) + array.nbytes) + tensor
        summary = _heading(1, len(value) + after) + value
        before = event + _heading(5, len(summary) + after) + summary
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
    shape = b"".join(encoded_field(2, dim) for dim in dims)
    heading = bytes((1 << 3, _KINDS[array.dtype])) + encoded_field(2, shape)
    return heading + _heading(4, array.nbytes) if array.nbytes else heading


def _plugin(name: bytes, content: bytes) -> bytes:
    return encoded_field(1, encoded_field(1, name) + encoded_field(2, content))


def _heading(number: int, length: int) -> bytes:
    return bytes((number << 3 | 2,)) + encoded_varint(length)


def encoded_field(number: int, content: bytes) -> bytes:
    """Return a field of protobuf that holds a message, a string or bytes."""
    return _heading(number, len(content)) + content
