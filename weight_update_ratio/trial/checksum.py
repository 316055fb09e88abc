"""The checksum of TFRecords: CRC-32C (Castagnoli), masked.

A plain loop is enough: smdebug's hooks checksum the 8 bytes of a record's length and never its content.

Source: RFC 3720, appendix B.4, for the polynomial; TensorFlow's ``crc32c.h`` for the mask.
"""

from __future__ import annotations


def _crc_table() -> tuple[int, ...]:
    """Return the CRC of each byte; Castagnoli's polynomial, bits reversed."""
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return tuple(table)


CRC_TABLE = _crc_table()


def masked_crc32c(content: bytes | memoryview) -> int:
    """Return the CRC-32C of ``content`` as TFRecord stores it: rotated right by 15 bits, plus a constant.

    >>> hex(masked_crc32c(b"0x12345678"))
    '0x62dc0b3'
    """
    crc = 0xFFFFFFFF
    for byte in content:
        crc = CRC_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
