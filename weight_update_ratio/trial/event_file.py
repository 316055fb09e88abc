"""One tensor's record in an event file, to an array that views the bytes.

A record is a TFRecord around a serialized ``Event``:

    uint64 length | uint32 masked crc32c of it | payload | uint32 masked crc32c of the payload

    Event{2: step, 5: Summary{1: Value{1: tag, 8: TensorProto{1: dtype, 2: shape, 4: tensor_content}}}}

Only those fields are walked, in place: the framework's generated protobuf classes copy every tensor twice, and
are pure Python where protobuf 3.20 has no compiled wheel.

Source: TensorFlow's ``record_writer.cc``, ``event.proto``, ``summary.proto``, ``tensor.proto``, ``types.proto``;
protobuf's "Encoding"; smdebug's ``record_writer.py`` for the constant that stands in place of a payload's checksum.
"""

from __future__ import annotations

import functools
import struct
from typing import Any, NamedTuple

import numpy as np

from ..errors import UnreadableError
from .checksum import masked_crc32c
from .wire_format import encoded_varint, inner_message, last_fields, message_fields

UNCHECKED = 0x062DC0B3  # masked crc32c of the bytes "0x12345678": smdebug's "no checksum was computed"
HEADER = 12
FOOTER = 4
TIME_KEY = 1 << 3 | 1  # the event's first field, as smdebug writes it
TIMED = HEADER + 1 + 8  # where the wall time ends that this field has
STEP_KEY = 2 << 3
SUMMARY_KEY = 5 << 3 | 2
VALUE_KEY = 1 << 3 | 2
METADATA_KEY = 9 << 3 | 2  # the value's last field, as smdebug writes it
MOST_DIMENSIONS = 64  # as NumPy

LONGEST_RECORD = (1 << 31) + HEADER + FOOTER  # bytes; protobuf has no longer messages

# TensorFlow's DataType, all little-endian as smdebug writes them. smdebug itself reads DT_INT8 as uint8: its bug.
DTYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype("<f4"),
    2: np.dtype("<f8"),
    3: np.dtype("<i4"),
    4: np.dtype("u1"),
    5: np.dtype("<i2"),
    6: np.dtype("i1"),
    8: np.dtype("<c8"),
    9: np.dtype("<i8"),
    10: np.dtype("?"),
    17: np.dtype("<u2"),
    18: np.dtype("<c16"),
    19: np.dtype("<f2"),
    22: np.dtype("<u4"),
    23: np.dtype("<u8"),
}


class TensorLayout(NamedTuple):
    """Where in its record a tensor's elements are, and what they are.

    ``heading`` is what stands before the elements from the tag on: tag, type, shape and length. It is the same in
    every record of a tensor that keeps its shape, so that a record that has it need not be walked again.
    """

    offset: int
    size: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    heading: bytes


def tensor_layout(record: memoryview, tensor: str, step: int, like: TensorLayout | None = None) -> TensorLayout:
    """Return where the elements of ``tensor``, saved at global step ``step``, are in ``record``.

    Args:
        record: The bytes of one TFRecord, with header and footer; uint8, shape (n,).
        tensor: The name that the index gives the record.
        step: The global step of its index file.
        like: The layout of another record of this tensor, which this one probably shares; it is faster, not different.

    Raises:
        UnreadableError: The record is truncated or corrupt, is of another tensor or step, or holds no numbers.
    """
    payload_end = _check_frame(record)
    if like is not None:
        known = _same_layout(record, step, like, payload_end)
        if known is not None:
            return known
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
    return _tensor_proto(record, value[0], *inner_message(fields, 8, "value"))


def _same_layout(record: memoryview, step: int, like: TensorLayout, payload_end: int) -> TensorLayout | None:
    """Return the layout of a record that differs from one like it only in times, steps and elements, else None."""
    opening = _opening(step, payload_end - HEADER)
    if opening is None or record[HEADER] != TIME_KEY:
        return None
    offset = TIMED + len(opening) + len(like.heading)
    if record[TIMED:offset] != opening + like.heading:
        return None
    # Nothing but short metadata may follow: a later field of the same number counts in place of an earlier one.
    end = offset + like.size * like.dtype.itemsize
    rest = payload_end - end - 2
    if not 0 <= rest < 0x80 or record[end] != METADATA_KEY or record[end + 1] != rest:
        return None
    return like if offset == like.offset else like._replace(offset=offset)


@functools.lru_cache(maxsize=1024)
def _opening(step: int, payload: int) -> bytes | None:
    """Return what smdebug writes between the wall time and the tag in a payload of so many bytes, if it can be so long.

    It is the step, left out where it is 0, and the lengths of the summary and of the value that fill the rest.
    """
    before = bytes((STEP_KEY,)) + encoded_varint(step) if step else b""
    summary = _length_within(payload - (TIMED - HEADER) - len(before) - 1)
    value = _length_within(summary - 1)
    if min(summary, value) < 0:
        return None
    return before + bytes((SUMMARY_KEY,)) + encoded_varint(summary) + bytes((VALUE_KEY,)) + encoded_varint(value)


def _length_within(room: int) -> int:
    """Return the length of a message that fills ``room`` bytes together with that length before it, or -1."""
    sizes = ((room - digits, digits) for digits in range(1, 6) if room >= digits)
    fitting = (size for size, digits in sizes if len(encoded_varint(size)) == digits)
    return next(fitting, -1)


def tensor_array(record: memoryview, layout: TensorLayout) -> np.ndarray[Any, Any]:
    """Return the tensor's elements, in order: shape (layout.size,), read-only, a view of ``record``."""
    return np.frombuffer(record, layout.dtype, layout.size, layout.offset)


def _check_frame(record: memoryview) -> int:
    """Return where the payload ends, after its checksums held."""
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


def _tensor_proto(record: memoryview, heading: int, start: int, end: int) -> TensorLayout:
    fields = last_fields(record, start, end)
    kind = fields.get(1, (0, 0, 0))[1]
    dtype = DTYPES.get(kind)
    if dtype is None:
        raise UnreadableError(f"holds no numbers (TensorFlow's data type {kind})")
    shape: list[int] = []
    if 2 in fields:
        for number, wire, first, last in message_fields(record, *inner_message(fields, 2, "tensor")):
            if number == 2 and wire == 2:
                shape.append(last_fields(record, first, last).get(1, (0, 0, 0))[1])
                if len(shape) > MOST_DIMENSIONS:
                    raise UnreadableError(f"has more than {MOST_DIMENSIONS} dimensions")
    count = 1
    for size in shape:
        count *= size
    content, content_end = inner_message(fields, 4, "tensor") if 4 in fields else (end, end)
    if count * dtype.itemsize != content_end - content:
        raise UnreadableError(
            f"has {content_end - content} bytes of elements, while its shape {tuple(shape)} "
            f"of {dtype} needs {count * dtype.itemsize}"
        )
    return TensorLayout(content, count, dtype, tuple(shape), bytes(record[heading:content]))


@functools.lru_cache(maxsize=65536)
def record_header(length: int) -> bytes:
    """Return the header of a record whose payload has so many bytes; a tensor's records all have the same one."""
    header = struct.pack("<Q", length)
    return header + struct.pack("<I", masked_crc32c(header))
