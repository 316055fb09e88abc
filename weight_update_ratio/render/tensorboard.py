"""A Report's comparisons as TensorBoard scalars.

    _overview/{median_log10_ratio, highest_log10_ratio, lowest_log10_ratio, violations}
    MODULE/REST/{log10_ratio, update_norm, weight_norm}, for each tensor

Steps are those of the judged mode. TensorBoard makes a group of the tags that are alike up to the first slash, and the
filter ``log10_ratio`` finds the ratios of all tensors. ``tensor_tags`` says what a tensor's module is.

The overview is over all tensors of a run. Zero ratios and those that are not finite are left out of the median, the
highest and the lowest; a step without any other has none of the three.

TensorBoard skips smdebug's own event files, whose payloads carry no real checksum. These carry one.

Source: TensorFlow's ``record_writer.cc``, ``event.proto``, ``summary.proto``; protobuf's "Encoding".
"""

from __future__ import annotations

import os
import re
import struct
import time
from collections import Counter
from typing import IO, Iterator, Sequence

import numpy as np

from ..compare.ratio import OK, VERDICTS
from ..compare.rows import Array
from ..files import whole_file
from ..findings.judgement import Judgement
from ..trial.event_file import record_header
from ..trial.wire_format import encoded_varint, masked_crc32c
from .words.names import SEPARATOR

FILE_NAME = "events.out.tfevents.0000000000.weight_update_ratio"
LONGEST_NAME = 200  # characters of a folder's name; file systems take 255
SCALARS = ("log10_ratio", "update_norm", "weight_norm")
LEVELS = ("median_log10_ratio", "highest_log10_ratio", "lowest_log10_ratio")
OVERVIEW = "_overview"  # first in TensorBoard's order of characters, if no group begins with one up to the underscore
NO_MODULE = "model"  # the group of tensors whose names have one part
MOST_OF_A_MODULE = 32  # tensors; a decoder layer of a transformer has up to 26


def write_tensorboard(report: Judgement, folder: str) -> None:
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


def tensor_tags(names: Sequence[str]) -> list[str]:
    """Return what the tags of each tensor begin with: MODULE/REST, no two of them the same.

    The module is the shortest part of the name that ends before a dot or slash and is shared by at most
    ``MOST_OF_A_MODULE`` tensors; where all are shared by more, the longest. Its slashes become dots. A tensor without a
    module is of NO_MODULE, and so is a module that TensorBoard would show before the overview: one that begins with a
    capital, a digit or a sign. A number tells tensors apart whose tags would be the same. A run of the same tensors has
    the same tags.

    >>> layers = [f"layers.{i}.{name}.weight" for i in range(9) for name in ("q", "k", "v", "o")]
    >>> tensor_tags([*layers, "fc/kernel:0", "Net_fc.weight", "scale"])[-4:]
    ['layers.8/o.weight', 'fc/kernel:0', 'model.Net_fc/weight', 'model/scale']
    """
    names = [name.encode("utf-8", "backslashreplace").decode() for name in names]
    modules = [[name[: found.start()] for found in SEPARATOR.finditer(name) if found.start()] for name in names]
    sizes = Counter(module for own in modules for module in own)
    tags: dict[str, None] = {}
    for name, own in zip(names, modules):
        module = next((module for module in own if sizes[module] <= MOST_OF_A_MODULE), own[-1] if own else "")
        rest = name[len(module) + 1 :] if module else name
        if module[:1] <= OVERVIEW[0]:
            module = f"{NO_MODULE}.{module}" if module else NO_MODULE
        tag = f"{module.replace('/', '.')}/{rest}"
        number, again = 1, tag
        while again in tags:
            number += 1
            again = f"{tag} ({number})"
        tags[again] = None
    return list(tags)


def _write_events(report: Judgement, rows: Array, file: IO[bytes]) -> None:
    """Write the comparisons of ``rows``: the event that gives the file's version, the overview, tensor by tensor."""
    now = struct.pack("<Bd", 0x09, time.time())  # field 1, wall_time: now, for a report does not know when a step was
    file.write(_record(now + _bytes_field(3, b"brain.Event:2")))
    columns = {name: np.asarray(column)[rows] for name, column in report.columns.items()}
    tensors, steps = columns["tensor"], columns["step"]
    with np.errstate(all="ignore"):
        logs = np.log10(columns["ratio"])
        values = np.stack([logs, columns["update_norm"], columns["weight_norm"]], axis=1).astype("<f4")
    for scalars, own_steps, own_values in _overview(steps, logs, columns["verdict"] != VERDICTS.index(OK)):
        _write_scalars(file, now, [f"{OVERVIEW}/{scalar}" for scalar in scalars], own_steps, own_values)
    order = np.lexsort((steps, tensors))
    found, starts = np.unique(tensors[order], return_index=True)
    tags = tensor_tags(list(report.tensors))
    for tensor, own in zip(found.tolist(), np.split(order, starts[1:])):
        _write_scalars(file, now, [f"{tags[tensor]}/{scalar}" for scalar in SCALARS], steps[own], values[own])


def _overview(steps: Array, logs: Array, violations: Array) -> Iterator[tuple[Sequence[str], Array, Array]]:
    """Yield (scalars, steps, values of shape (steps, scalars)) over all tensors: the levels, and the violations."""
    sound = np.isfinite(logs)
    if sound.any():
        order = np.lexsort((logs[sound], steps[sound]))
        ascending = logs[sound][order]
        found, starts, counts = np.unique(steps[sound][order], return_index=True, return_counts=True)
        median = (ascending[starts + (counts - 1) // 2] + ascending[starts + counts // 2]) / 2
        yield LEVELS, found, np.stack([median, ascending[starts + counts - 1], ascending[starts]], axis=1).astype("<f4")
    found, places = np.unique(steps, return_inverse=True)
    yield ["violations"], found, np.bincount(places, violations).astype("<f4").reshape(-1, 1)


def _write_scalars(file: IO[bytes], now: bytes, tags: list[str], steps: Array, values: Array) -> None:
    """Write one record a step, with a scalar for each of the tags.

    Event{1: wall_time, 2: step, 5: Summary{1: Value{1: tag, 2: simple_value}, ...}}
    """
    named = [_bytes_field(1, tag.encode("utf-8")) for tag in tags]
    for step, row in zip(steps.tolist(), values):
        scalars = (tag + b"\x15" + value.tobytes() for tag, value in zip(named, row))
        summary = b"".join(_bytes_field(1, scalar) for scalar in scalars)
        file.write(_record(now + b"\x10" + encoded_varint(step % 2**64) + _bytes_field(5, summary)))


def _record(payload: bytes) -> bytes:
    return record_header(len(payload)) + payload + struct.pack("<I", masked_crc32c(payload))


def _bytes_field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + encoded_varint(len(content)) + content
