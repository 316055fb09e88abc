"""Protobuf's wire format, as its "Encoding" has it: fields of a message, and varints; and the checksum of TFRecords."""

from __future__ import annotations

from typing import Iterator

from ..errors import UnreadableError

FIXED_LENGTHS = {1: 8, 5: 4}  # wire type -> bytes


def last_fields(record: memoryview, start: int, end: int) -> dict[int, tuple[int, int, int]]:
    """Return {field number: (wire type, value or first byte, end)}; of a repeated field the last, as protobuf."""
    return {number: (wire, first, last) for number, wire, first, last in message_fields(record, start, end)}


def inner_message(fields: dict[int, tuple[int, int, int]], number: int, owner: str) -> tuple[int, int]:
    """Return the (first byte, end) of the message, string or bytes in a field of ``owner``."""
    wire, start, end = fields.get(number, (-1, 0, 0))
    if wire != 2:
        raise UnreadableError(f"holds no tensor: its {owner} lacks field {number}")
    return start, end


def message_fields(record: memoryview, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (field number, wire type, value or first byte, end) of the message from ``start`` to before ``end``."""
    position = start
    while position < end:
        key, position = _read_varint(record, position, end)
        wire = key & 7
        if wire in (0, 2):
            value, position = _read_varint(record, position, end)
        elif wire not in FIXED_LENGTHS:
            raise UnreadableError(f"is corrupt: wire type {wire} at byte {position}")
        if wire == 0:
            yield key >> 3, wire, value, position
            continue
        length = value if wire == 2 else FIXED_LENGTHS[wire]
        if length > end - position:
            raise UnreadableError(f"is corrupt: a field at byte {position} is longer than what holds it")
        yield key >> 3, wire, position, position + length
        position += length


def _read_varint(record: memoryview, position: int, end: int) -> tuple[int, int]:
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


def encoded_varint(number: int) -> bytes:
    digits = bytearray()
    while number >= 0x80:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)


CRC_TABLE = list(range(256))  # the CRC of each byte; Castagnoli's polynomial, bits reversed
for _ in range(8):
    CRC_TABLE = [(crc >> 1) ^ (0x82F63B78 if crc & 1 else 0) for crc in CRC_TABLE]


def masked_crc32c(content: bytes | memoryview) -> int:
    """Return the CRC-32C of ``content`` as TFRecord stores it: rotated right by 15 bits, plus a constant.

    A plain loop is enough: smdebug's hooks checksum the 8 bytes of a record's length and never its content.

    Source: RFC 3720, appendix B.4, for the polynomial; TensorFlow's ``crc32c.h`` for the mask.
    """
    crc = 0xFFFFFFFF
    for byte in content:
        crc = CRC_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
