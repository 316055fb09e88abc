"""A Report's comparisons as TensorBoard scalars.

    {log10_ratio, update_norm, weight_norm}/TENSOR, by the judged mode's step

TensorBoard skips smdebug's own event files, whose payloads carry no real checksum. These carry one. There is a small
record for each comparison, so the records of one tensor are made side by side, as the rows of an array.

Source: TensorFlow's ``record_writer.cc``, ``event.proto``, ``summary.proto``; protobuf's "Encoding".
"""

from __future__ import annotations

import os
import re
import struct
import time
from typing import IO, Any

import numpy as np

from ..files import whole_file
from ..judge.history import History
from ..trial.checksum import CRC_TABLE, masked_crc32c
from ..trial.event_file import record_header
from ..trial.wire_format import encoded_varint

Array = Any  # a NumPy array; Python 3.8 cannot subscript its type
FILE_NAME = "events.out.tfevents.0000000000.weight_update_ratio"
LONGEST_NAME = 200  # characters of a folder's name; file systems take 255
SCALARS = ("log10_ratio", "update_norm", "weight_norm")


def write_tensorboard(report: History, folder: str) -> None:
    """Write a TensorBoard log folder. Each of several workers gets a run of its own, in a folder of its name.

    Values are float32, as TensorBoard's scalars are: a norm beyond 3.4e38 is inf. Values that are not finite stay as
    they are; log10 of a zero ratio is -inf. A file replaces one from an earlier call when it is whole.

    Raises:
        OSError: The folder cannot be made or written to.
    """
    workers = np.asarray(report.columns["worker"])
    names = list(report.workers)
    for number in np.unique(workers).tolist():
        run = os.path.join(folder, run_name(names, number)) if len(names) > 1 else folder
        os.makedirs(run, exist_ok=True)
        with whole_file(os.path.join(run, FILE_NAME), "wb") as file:
            _write_events(report, np.flatnonzero(workers == number), file)


def run_name(workers: list[str], number: int) -> str:
    """Return the name of the folder for a worker's run, which no other worker's run has, in capitals or not.

    Where it would be the same, a dot and the worker's number follow. No name has a dot otherwise.

    >>> run_name(["/job:worker/task:0", "..", "/Job:worker.task:0"], 2)
    'Job-worker-task-0.2'
    """
    names = [re.sub(r"[^A-Za-z0-9_]+", "-", worker).strip("-")[:LONGEST_NAME] or "worker" for worker in workers]
    alone = [name.lower() for name in names].count(names[number].lower()) == 1
    return names[number] if alone else f"{names[number]}.{number}"


def _write_events(report: History, rows: Array, file: IO[bytes]) -> None:
    """Write the comparisons of ``rows``: first the event that gives the file's version, then tensor by tensor."""
    now = struct.pack("<Bd", 0x09, time.time())  # field 1, wall_time: now, for a report does not know when a step was
    file.write(_record(now + _bytes_field(3, b"brain.Event:2")))
    tensors = np.asarray(report.columns["tensor"])[rows]
    steps = np.asarray(report.columns["step"])[rows]
    with np.errstate(all="ignore"):
        values = np.stack(
            [
                np.log10(np.asarray(report.columns["ratio"])[rows]),
                np.asarray(report.columns["update_norm"])[rows],
                np.asarray(report.columns["weight_norm"])[rows],
            ],
            axis=1,
        ).astype("<f4")
    order = np.lexsort((steps, tensors))
    found, starts = np.unique(tensors[order], return_index=True)
    names = list(report.tensors)
    for tensor, own in zip(found.tolist(), np.split(order, starts[1:])):
        for part in _by_varint_length(steps[own]):
            file.write(_scalar_records(now, names[tensor], steps[own][part], values[own][part]).tobytes())


def _by_varint_length(steps: Array) -> list[Array]:
    """Return the indices of steps, ascending, in parts whose steps take the same number of bytes."""
    lengths = np.searchsorted(2 ** (7 * np.arange(1, 9, dtype=np.int64)), steps, side="right")
    parts: list[Array] = np.split(np.arange(len(steps)), np.flatnonzero(np.diff(lengths)) + 1)
    return parts


def _scalar_records(now: bytes, tensor: str, steps: Array, values: Array) -> Array:
    """Return one record a step, with a scalar for each of SCALARS: uint8, shape (steps, bytes).

    Event{1: wall_time, 2: step, 5: Summary{1: Value{1: tag, 2: simple_value}, ...}}
    """
    summary = b""
    places = []
    for name in SCALARS:
        tag = _bytes_field(1, f"{name}/{tensor}".encode("utf-8", "backslashreplace"))
        value = tag + struct.pack("<Bf", 0x15, 0.0)
        summary += _bytes_field(1, value)
        places.append(len(summary) - 4)
    step = encoded_varint(int(steps[0]))
    head = now + b"\x10" + step
    payload = head + _bytes_field(5, summary)
    records = np.tile(np.frombuffer(_record(payload), np.uint8), (len(steps), 1))
    first = 12 + len(now) + 1
    for byte in range(len(step)):
        more = 0x80 if byte + 1 < len(step) else 0
        records[:, first + byte] = (steps >> (7 * byte)) & 0x7F | more
    summary_start = 12 + len(payload) - len(summary)
    for place, column in zip(places, values.T):
        start = summary_start + place
        records[:, start : start + 4] = np.ascontiguousarray(column).view(np.uint8).reshape(-1, 4)
    records[:, -4:] = masked_crcs(records[:, 12:-4]).astype("<u4").view(np.uint8).reshape(-1, 4)
    return records


def masked_crcs(payloads: Array) -> Array:
    """Return the masked CRC-32C of each row: uint32, shape (rows,)."""
    table = np.array(CRC_TABLE, np.uint32)
    crcs = np.full(len(payloads), 0xFFFFFFFF, np.uint32)
    for byte in np.ascontiguousarray(payloads.T):
        crcs = table[(crcs ^ byte) & 0xFF] ^ (crcs >> np.uint32(8))
    crcs = ~crcs
    return ((crcs >> np.uint32(15)) | (crcs << np.uint32(17))) + np.uint32(0xA282EAD8)


def _record(payload: bytes) -> bytes:
    return record_header(len(payload)) + payload + struct.pack("<I", masked_crc32c(payload))


def _bytes_field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + encoded_varint(len(content)) + content
