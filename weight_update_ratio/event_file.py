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

import re
import struct
from typing import Any, Iterator, NamedTuple

import numpy as np

from .checksum import masked_crc32c
from .storage import UnreadableError

UNCHECKED = 0x062DC0B3  # masked crc32c of the bytes "0x12345678": smdebug's "no checksum was computed"
HEADER = 12
FOOTER = 4
METADATA_KEY = 9 << 3 | 2  # the value's last field, as smdebug writes it
MOST_FIELDS = 1000  # of one message; a tensor's have a few
MOST_DIMENSIONS = 64  # as NumPy

LONGEST_METADATA = 1024  # bytes; smdebug's own are about 40
MODE_NUMBERS = {b"1": "TRAIN", b"2": "EVAL", b"3": "PREDICT", b"4": "GLOBAL"}
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


# A record as smdebug writes it, up to its tag: wall time, step (left out where it is 0), length of summary and value.
_OPENING = re.compile(
    rb"\x09.{8}(?:\x10([\x80-\xff]{0,9}[\x00-\x7f]))?\x2a([\x80-\xff]{0,9}[\x00-\x7f])\x0a([\x80-\xff]{0,9}[\x00-\x7f])",
    re.DOTALL,
)


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
    event = _last_fields(record, HEADER, payload_end)
    summary = _message(event, 5, "event")
    value = _message(_last_fields(record, *summary), 1, "summary")
    fields = _last_fields(record, *value)
    tag = bytes(record[slice(*_message(fields, 1, "value"))])
    if tag != tensor.encode("utf-8", "surrogatepass"):
        raise UnreadableError(f"holds the tensor {tag.decode('utf-8', 'replace')!r} where the index names {tensor!r}")
    recorded = event.get(2, (0, 0, 0))[1]
    if recorded != step:
        raise UnreadableError(f"is of step {recorded}, while its index is of step {step}")
    return _tensor_proto(record, value[0], *_message(fields, 8, "value"))


def _same_layout(record: memoryview, step: int, like: TensorLayout, payload_end: int) -> TensorLayout | None:
    """Return the layout of a record that differs from one like it only in times, steps and elements, else None."""
    opening = _OPENING.match(record, HEADER, payload_end)
    if opening is None:
        return None
    start = opening.end()
    offset = start + len(like.heading)
    if record[start:offset] != like.heading:
        return None
    elements_end = offset + like.size * like.dtype.itemsize
    # Nothing but the metadata may follow, for a later field of the same number would stand in place of an earlier one.
    if elements_end >= payload_end or record[elements_end] != METADATA_KEY:
        return None
    metadata, metadata_start = _varint(record, elements_end + 1, payload_end)
    recorded, summary, value = (_varint(group, 0, len(group))[0] if group else 0 for group in opening.groups())
    same = (
        recorded == step
        and summary == payload_end - opening.end(2)
        and value == payload_end - start
        and metadata == payload_end - metadata_start
    )
    return like._replace(offset=offset) if same else None


def tensor_array(record: memoryview, layout: TensorLayout) -> np.ndarray[Any, Any]:
    """Return the tensor's elements, in order: shape (layout.size,), read-only, a view of ``record``."""
    return np.frombuffer(record, layout.dtype, layout.size, layout.offset)


def record_name(record: memoryview) -> str:
    """Return the name of the tensor in a record, whatever its type.

    Raises:
        UnreadableError: The record is truncated or corrupt, or holds no tensor.
    """
    payload_end = _check_frame(record, check_payload=False)
    summary = _message(_last_fields(record, HEADER, payload_end), 5, "event")
    value = _message(_last_fields(record, *summary), 1, "summary")
    tag = record[slice(*_message(_last_fields(record, *value), 1, "value"))]
    return bytes(tag).decode("utf-8", "replace")


def record_mode_step(record: memoryview, layout: TensorLayout) -> tuple[str, int] | None:
    """Return (mode, step in it) as smdebug notes them behind a tensor's elements, or None where it did not.

    An index file has no checksum, and this is the only place that says again what it says.
    """
    end = layout.offset + layout.size * layout.dtype.itemsize
    tail = bytes(record[end : min(len(record) - FOOTER, end + LONGEST_METADATA)])
    known = _mode_steps.get(tail)
    if known is None:
        if len(_mode_steps) > 64:  # the records of a step all have the same
            _mode_steps.clear()  # another thread may, too: what is returned is not looked up again
        known = _mode_steps[tail] = (_parse_mode_step(memoryview(tail)),)
    return known[0]


def _parse_mode_step(tail: memoryview) -> tuple[str, int] | None:
    noted: dict[bytes, bytes] = {}
    try:
        metadata = _message(_last_fields(tail, 0, len(tail)), 9, "value")
        for number, wire, start, end in _fields(tail, *metadata):
            if number == 1 and wire == 2:
                plugin = _last_fields(tail, start, end)
                name, content = (bytes(tail[slice(*_message(plugin, field, "plugin"))]) for field in (1, 2))
                noted[name] = content
        mode = MODE_NUMBERS.get(noted.get(b"mode", b""))
        return None if mode is None else (mode, int(noted.get(b"mode_step", b"")))
    except (UnreadableError, ValueError):
        return None


def _check_frame(record: memoryview, check_payload: bool = True) -> int:
    """Return where the payload ends, after its checksums held."""
    size = len(record)
    if size < HEADER + FOOTER:
        raise UnreadableError(f"is truncated: {size} bytes, less than an empty record has")
    length, length_crc = struct.unpack_from("<QI", record)
    if length_crc != _length_crc(length):
        raise UnreadableError("is corrupt: the checksum of its length does not hold")
    if length + HEADER + FOOTER != size:
        raise UnreadableError(f"has {length + HEADER + FOOTER} bytes, while the index says {size}")
    payload_end = size - FOOTER
    (payload_crc,) = struct.unpack_from("<I", record, payload_end)
    if size > LONGEST_RECORD:
        raise UnreadableError(f"has {size} bytes, more than a record can have ({LONGEST_RECORD})")
    if check_payload and payload_crc != UNCHECKED and payload_crc != masked_crc32c(record[HEADER:payload_end]):
        raise UnreadableError("is corrupt: the checksum of its content does not hold")
    return payload_end


def _tensor_proto(record: memoryview, heading: int, start: int, end: int) -> TensorLayout:
    fields = _last_fields(record, start, end)
    kind = fields.get(1, (0, 0, 0))[1]
    dtype = DTYPES.get(kind)
    if dtype is None:
        raise UnreadableError(f"holds no numbers (TensorFlow's data type {kind})")
    shape: list[int] = []
    if 2 in fields:
        for number, wire, first, last in _fields(record, *_message(fields, 2, "tensor")):
            if number == 2 and wire == 2:
                shape.append(_last_fields(record, first, last).get(1, (0, 0, 0))[1])
                if len(shape) > MOST_DIMENSIONS:
                    raise UnreadableError(f"has more than {MOST_DIMENSIONS} dimensions")
    count = 1
    for size in shape:
        count *= size
    content, content_end = _message(fields, 4, "tensor") if 4 in fields else (end, end)
    if count * dtype.itemsize != content_end - content:
        raise UnreadableError(
            f"has {content_end - content} bytes of elements, while its shape {tuple(shape)} "
            f"of {dtype} needs {count * dtype.itemsize}"
        )
    return TensorLayout(content, count, dtype, tuple(shape), bytes(record[heading:content]))


def _last_fields(record: memoryview, start: int, end: int) -> dict[int, tuple[int, int, int]]:
    """Return {field number: (wire type, value or first byte, last byte)}; of a repeated field the last, as protobuf."""
    return {number: (wire, first, last) for number, wire, first, last in _fields(record, start, end)}


def _message(fields: dict[int, tuple[int, int, int]], number: int, owner: str) -> tuple[int, int]:
    wire, start, end = fields.get(number, (-1, 0, 0))
    if wire != 2:
        raise UnreadableError(f"holds no tensor: its {owner} lacks field {number}")
    return start, end


def _fields(record: memoryview, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (field number, wire type, value or first byte, last byte) of one protobuf message."""
    position = start
    for _ in range(MOST_FIELDS):
        if position >= end:
            return
        key = record[position]
        position += 1
        if key >= 0x80:
            key, position = _varint(record, position - 1, end)
        wire = key & 7
        if wire == 0:
            value, position = _varint(record, position, end)
            yield key >> 3, wire, value, position
            continue
        if wire == 2:
            length, position = _varint(record, position, end)
        elif wire == 1:
            length = 8
        elif wire == 5:
            length = 4
        else:
            raise UnreadableError(f"is corrupt: wire type {wire} at byte {position}")
        if length > end - position:
            raise UnreadableError(f"is corrupt: a field at byte {position} is longer than what holds it")
        yield key >> 3, wire, position, position + length
        position += length
    raise UnreadableError(f"is corrupt: it has a message of more than {MOST_FIELDS} fields")


def _varint(record: memoryview | bytes, position: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            break
        byte = record[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise UnreadableError(f"is corrupt: a number that does not end at byte {position}")


_length_crcs: dict[int, int] = {}
_mode_steps: dict[bytes, tuple[tuple[str, int] | None]] = {}


def _length_crc(length: int) -> int:
    """Return the masked checksum of a record's length; a tensor's records all have the same one."""
    crc = _length_crcs.get(length)
    if crc is None:
        if len(_length_crcs) > 65536:
            _length_crcs.clear()
        crc = _length_crcs[length] = masked_crc32c(struct.pack("<Q", length))
    return crc
