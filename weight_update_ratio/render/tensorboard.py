"""A Report's comparisons as TensorBoard scalars, as float32: a norm beyond 3.4e38 is inf, and log10 of 0 is -inf.

    _overview/{median_log10_ratio, highest_log10_ratio, lowest_log10_ratio, violations}
    MODULE/REST/{log10_ratio, update_norm, weight_norm} of each tensor

Steps are those of the judged mode. TensorBoard makes a group of the tags that are equal up to the first slash. It skips
smdebug's event files, whose payloads have no real checksum; these have one.

Source: TensorFlow's ``record_writer.cc``, ``event.proto``, ``summary.proto``; protobuf's "Encoding".
"""

from __future__ import annotations

import itertools
import os
import re
import struct
import time
from collections import Counter
from typing import Iterator, Sequence

import numpy as np

from ..compare.rows import Array
from ..files import whole_file
from ..findings.judgement import Judgement
from ..trial.event_file import TIME_KEY, encoded_step, record_header
from ..trial.event_writer import encoded_field
from ..trial.wire_format import masked_crc32c
from ..verdict.bounds import OK, VERDICTS
from ..verdict.firing import rows_by_key
from .words.names import SEPARATOR

FILE_NAME = "events.out.tfevents.0000000000.weight_update_ratio"
LONGEST_NAME = 200  # characters of a folder's name; file systems take 255
SCALARS = ("log10_ratio", "update_norm", "weight_norm")
LEVELS = ("median_log10_ratio", "highest_log10_ratio", "lowest_log10_ratio")
OVERVIEW = "_overview"  # first in TensorBoard's order of characters, if no group begins with one up to the underscore
NO_MODULE = "model"  # the group of tensors whose names have one part
MOST_OF_A_MODULE = 32  # tensors; a decoder layer of a transformer has up to 26


def write_tensorboard(report: Judgement, folder: str) -> None:
    """Write a TensorBoard log folder; each of several workers gets a run in a folder of its name."""
    workers, tags = list(report.workers), tensor_tags(list(report.tensors))
    for worker in np.unique(report.columns["worker"]).tolist():
        run = os.path.join(folder, run_name(workers, worker)) if len(workers) > 1 else folder
        os.makedirs(run, exist_ok=True)
        rows = report.columns["worker"] == worker
        columns = {name: column[rows] for name, column in report.columns.items()}
        with whole_file(os.path.join(run, FILE_NAME), "wb") as file:
            file.write(_record(encoded_field(3, b"brain.Event:2")))
            for step, scalars in _scalars(columns, tags):
                pairs = ((encoded_field(1, tag.encode()), struct.pack("<f", value)) for tag, value in scalars.items())
                summary = b"".join(encoded_field(1, tag + b"\x15" + value) for tag, value in pairs)
                file.write(_record(encoded_step(step % 2**64) + encoded_field(5, summary)))


def run_name(workers: list[str], number: int) -> str:
    """Return the folder for a worker's run; names that differ in capitals alone end with a dot and their number.

    >>> run_name(["/job:worker/task:0", "..", "/Job:worker.task:0"], 2)
    'Job-worker-task-0.2'
    """
    names = [re.sub(r"[^A-Za-z0-9_]+", "-", worker).strip("-")[:LONGEST_NAME] or "worker" for worker in workers]
    alone = [name.lower() for name in names].count(names[number].lower()) == 1
    return names[number] if alone else f"{names[number]}.{number}"


def tensor_tags(names: Sequence[str]) -> list[str]:
    """Return what the tags of each tensor begin with: MODULE/REST, no two of them the same.

    The module is the shortest one with at most ``MOST_OF_A_MODULE`` tensors, else the longest; its slashes become dots.
    What TensorBoard would show before the overview (a capital, a digit or a sign) is put into NO_MODULE.

    >>> layers = [f"layers.{i}.{name}.weight" for i in range(9) for name in ("q", "k", "v", "o")]
    >>> tensor_tags([*layers, "fc/kernel:0", "Net_fc.weight", "scale"])[-4:]
    ['layers.8/o.weight', 'fc/kernel:0', 'model.Net_fc/weight', 'model/scale']
    """
    names = [name.encode("utf-8", "backslashreplace").decode() for name in names]
    modules = [[name[: dot.start()] for dot in SEPARATOR.finditer(name) if dot.start()] for name in names]
    sizes = Counter(module for nested in modules for module in nested)
    tags: dict[str, None] = {}
    for name, nested in zip(names, modules):
        module = next((module for module in nested if sizes[module] <= MOST_OF_A_MODULE), ["", *nested][-1])
        rest = name[len(module) + 1 :] if module else name
        if module[:1] <= OVERVIEW[0]:
            module = f"{NO_MODULE}.{module}" if module else NO_MODULE
        tag = f"{module.replace('/', '.')}/{rest}"
        endings = itertools.chain([""], (f" ({number})" for number in itertools.count(2)))
        tags[next(tag + ending for ending in endings if tag + ending not in tags)] = None
    return list(tags)


def _scalars(columns: dict[str, Array], tags: list[str]) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield each step of a worker with {tag: value}: the overview, and then tensor by tensor."""
    with np.errstate(all="ignore"):
        logs = np.log10(columns["ratio"])
        series = np.stack([logs, columns["update_norm"], columns["weight_norm"]]).astype(np.float32).tolist()
    for rows in rows_by_key(columns["step"]):
        scalars = {f"{OVERVIEW}/violations": float((columns["verdict"][rows] != VERDICTS.index(OK)).sum())}
        finite = logs[rows][np.isfinite(logs[rows])]
        if len(finite):
            for name, level in zip(LEVELS, (np.median(finite), finite.max(), finite.min())):
                scalars[f"{OVERVIEW}/{name}"] = level
        for row in rows.tolist():
            for name, values in zip(SCALARS, series):
                scalars[f"{tags[columns['tensor'][row]]}/{name}"] = values[row]
        yield int(columns["step"][rows[0]]), scalars


def _record(fields: bytes) -> bytes:
    """Return an event of now, because a report does not know when a step was, as a record with its checksum."""
    event = struct.pack("<Bd", TIME_KEY, time.time()) + fields
    return record_header(len(event)) + event + struct.pack("<I", masked_crc32c(event))
