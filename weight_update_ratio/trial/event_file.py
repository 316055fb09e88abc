"""One tensor's record in an event file, to an array that views its bytes.

A record is a TFRecord around a serialized ``Event``:

    uint64 length | uint32 masked crc32c of it | payload | uint32 masked crc32c of the payload

    Event{2: step, 5: Summary{1: Value{1: tag, 8: TensorProto{1: dtype, 2: shape, 4: tensor_content}}}}

Only those fields are read: the framework's generated protobuf classes copy every tensor twice, and are pure Python if
protobuf 3.20 has no compiled wheel.

Source: TensorFlow's ``record_writer.cc``, ``event.proto``, ``summary.proto``, ``tensor.proto``, ``types.proto``;
protobuf's "Encoding"; smdebug's ``record_writer.py`` for the constant that replaces a payload's checksum.
"""

from __future__ import annotations

import functools
import struct
from typing import Any, NamedTuple

import numpy as np

from ..errors import UnreadableError
from .wire_format import encoded_varint, inner_message, last_fields, masked_crc32c, message_fields

UNCHECKED = 0x062DC0B3  # masked crc32c of the bytes "0x12345678": smdebug's "no checksum was computed"
UNCHECKED_FOOTER = struct.pack("<I", UNCHECKED)
HEADER = 12
FOOTER = 4
TIME_KEY = 1 << 3 | 1  # the event's first field, as smdebug writes it
TIMED = HEADER + 1 + 8  # where the wall time ends
STEP_KEY = 2 << 3
METADATA_KEY = 9 << 3 | 2  # the value's last field, as smdebug writes it

# TensorFlow's DataType, all little-endian as smdebug writes them. smdebug itself reads DT_INT8 as uint8: its bug.
_FLOATS = {1: "<f4", 2: "<f8", 8: "<c8", 18: "<c16", 19: "<f2"}
_INTEGERS = {3: "<i4", 4: "u1", 5: "<i2", 6: "i1", 9: "<i8", 10: "?", 17: "<u2", 22: "<u4", 23: "<u8"}
DTYPES: dict[int, np.dtype[Any]] = {kind: np.dtype(name) for kind, name in {**_FLOATS, **_INTEGERS}.items()}


class TensorLayout(NamedTuple):
    """Where a tensor's elements are in its record, and what they are."""

    offset: int  # bytes
    size: int  # elements
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


def tensor_layout(record: memoryview, tensor: str, step: int) -> TensorLayout:
    """Return where the elements of ``tensor``, saved at global step ``step``, are in the TFRecord ``record``."""
    payload_end = _check_frame(record)
    event = last_fields(record, HEADER, payload_end)
    summary = inner_message(event, 5, "event")
    value = inner_message(last_fields(record, *summary), 1, "summary")
    fields = last_fields(record, *value)
    tag = bytes(record[slice(*inner_message(fields, 1, "value"))])
    if tag != tensor.encode("utf-8", "surrogatepass"):
        raise UnreadableError(f"holds the tensor {tag.decode('utf-8', 'replace')!r} where the index names {tensor!r}")
    recorded = event.get(2, (0, 0, 0))[1]
    if recorded != step:
        raise UnreadableError(f"is of step {recorded}, while its index is of step {step}")
    return _tensor_proto(record, *inner_message(fields, 8, "value"))


def parts_of_every_step(
    record: memoryview, layout: TensorLayout, step: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]] | None:
    """Return the positions of the bytes that a tensor's record has at every step, and of those of its step.

    The others are the wall time, the elements and the metadata. None: smdebug writes its records in another way.
    """
    payload_end = len(record) - FOOTER
    number = encoded_step(step)
    step_end = TIMED + len(number)
    fields = [field for field, *_ in message_fields(record, HEADER, payload_end)]
    is_timed = record[HEADER] == TIME_KEY and record[TIMED:step_end] == number
    if not is_timed or fields != ([1, 2, 5] if number else [1, 5]) or record[payload_end:] != UNCHECKED_FOOTER:
        return None  # a checksum of the content is compared at every step
    elements_end = layout.offset + layout.size * layout.dtype.itemsize
    metadata = record[elements_end:payload_end]
    is_metadata = len(metadata) > 1 and metadata[0] == METADATA_KEY and metadata[1] == len(metadata) - 2 < 0x80
    same_end = elements_end + 2 if is_metadata else payload_end
    same = np.r_[0 : HEADER + 1, step_end : layout.offset, elements_end:same_end, payload_end : len(record)]
    return same, np.arange(TIMED, step_end)


def encoded_step(step: int) -> bytes:
    """Return an event's field with the step, which protobuf leaves out if it is 0."""
    return bytes((STEP_KEY,)) + encoded_varint(step) if step else b""


def _check_frame(record: memoryview) -> int:
    """Return where the payload ends; its checksums are right."""
    size = len(record)
    if size < HEADER + FOOTER:
        raise UnreadableError(f"is truncated: {size} bytes, less than an empty record has")
    if record[:HEADER] != record_header(size - HEADER - FOOTER):
        length, length_crc = struct.unpack_from("<QI", record)
        if length_crc != masked_crc32c(struct.pack("<Q", length)):
            raise UnreadableError("is corrupt: the checksum of its length does not hold")
        raise UnreadableError(f"has {length + HEADER + FOOTER} bytes, while the index says {size}")
    payload_end = size - FOOTER
    (payload_crc,) = struct.unpack_from("<I", record, payload_end)
    if payload_crc != UNCHECKED and payload_crc != masked_crc32c(record[HEADER:payload_end]):
        raise UnreadableError("is corrupt: the checksum of its content does not hold")
    return payload_end


def _tensor_proto(record: memoryview, start: int, end: int) -> TensorLayout:
    fields = last_fields(record, start, end)
    kind = fields.get(1, (0, 0, 0))[1]
    dtype = DTYPES.get(kind)
    if dtype is None:
        raise UnreadableError(f"holds no numbers (TensorFlow's data type {kind})")
    dims = message_fields(record, *inner_message(fields, 2, "tensor")) if 2 in fields else ()
    sizes = (last_fields(record, first, last) for number, wire, first, last in dims if (number, wire) == (2, 2))
    shape = tuple(size.get(1, (0, 0, 0))[1] for size in sizes)
    count = 1
    for size in shape:
        count *= size
    content, content_end = inner_message(fields, 4, "tensor") if 4 in fields else (end, end)
    if count * dtype.itemsize != content_end - content:
        needs = f"its shape {shape} of {dtype} needs {count * dtype.itemsize}"
        raise UnreadableError(f"has {content_end - content} bytes of elements, while {needs}")
    return TensorLayout(content, count, dtype, shape)


@functools.lru_cache(maxsize=65536)
def record_header(length: int) -> bytes:
    """Return the header of a record whose payload has ``length`` bytes; all records of a tensor have the same one."""
    header = struct.pack("<Q", length)
    return header + struct.pack("<I", masked_crc32c(header))
