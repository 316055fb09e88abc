"""The checksum of TFRecords: CRC-32C (Castagnoli), masked.

Source: RFC 3720, appendix B.4, for the polynomial; TensorFlow's ``crc32c.h`` for the mask.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def masked_crc32c(content: bytes | memoryview) -> int:
    """Return the CRC-32C of ``content`` as TFRecord stores it: rotated right by 15 bits, plus a constant.

    >>> hex(masked_crc32c(b"0x12345678"))
    '0x62dc0b3'
    """
    crc = _crc32c(content)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _crc_table() -> np.ndarray[Any, Any]:
    """Return the CRC of each byte: uint32, shape (256,); Castagnoli's polynomial, bits reversed."""
    table: np.ndarray[Any, Any] = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(0x82F63B78), table >> 1)
    return table


CRC_TABLE = _crc_table()
CRC_TABLE_LIST = [int(entry) for entry in CRC_TABLE]
PIECE = 1 << 22  # bytes whose lanes are advanced together: what is needed beside them does not grow with the content
LANE = 256  # bytes that one lane of the parallel checksum takes, one after the other


def _crc32c(content: bytes | memoryview) -> int:
    """Return the CRC-32C (Castagnoli) of ``content``."""
    crc = 0xFFFFFFFF
    for start in range(0, len(content), PIECE):
        crc = _advanced(crc, content[start : start + PIECE])
    return crc ^ 0xFFFFFFFF


def _crc32c_serial(content: bytes | memoryview, crc: int) -> int:
    for byte in content:
        crc = CRC_TABLE_LIST[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc


def _shift_table(size: int) -> np.ndarray[Any, Any]:
    """Return what ``size`` zero bytes make of each byte of a CRC: uint32, shape (4, 256), lowest byte first."""
    table = np.arange(256, dtype=np.uint32) << np.arange(0, 32, 8, dtype=np.uint32)[:, np.newaxis]
    for _ in range(size):
        table = CRC_TABLE[table & 0xFF] ^ (table >> 8)
    return table


def _shifted(table: np.ndarray[Any, Any], crcs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    low = table[0][crcs & 0xFF] ^ table[1][(crcs >> 8) & 0xFF]
    shifted: np.ndarray[Any, Any] = low ^ table[2][(crcs >> 16) & 0xFF] ^ table[3][crcs >> 24]
    return shifted


def _advanced(crc: int, content: bytes | memoryview) -> int:
    """Return the remainder after ``content``, where ``crc`` is that before it.

    Long content is cut into lanes that NumPy advances side by side; a CRC is linear over GF(2), so that the lanes'
    remainders are joined by shifting each over the bytes that follow it.
    """
    lanes = len(content) // LANE
    if lanes < 2:
        return _crc32c_serial(content, crc)
    columns = np.frombuffer(content, np.uint8, lanes * LANE).reshape(lanes, LANE)
    remainders: np.ndarray[Any, Any] = np.zeros(lanes, np.uint32)
    remainders[0] = crc
    for column in range(LANE):
        remainders = CRC_TABLE[(remainders ^ columns[:, column]) & 0xFF] ^ (remainders >> 8)
    shift = _shift_table(LANE)
    while len(remainders) > 1:
        odd = len(remainders) % 2  # an odd one out is paired with nothing before it
        if odd:
            remainders = np.concatenate([np.zeros(1, np.uint32), remainders])
        remainders = _shifted(shift, remainders[0::2]) ^ remainders[1::2]
        shift = np.stack([_shifted(shift, entry) for entry in shift])
    return _crc32c_serial(content[lanes * LANE :], int(remainders[0]))
