"""What the fuzzers run, and the tests replay: bytes in, a judged trial out; only the package's own error may come.

An input of the event file's harness is a byte that says how the rest becomes a record, a byte with the step, and the
rest. One of the index's harness is a collections file and two index files with ``SEPARATOR`` between them, over two
recorded event files.
"""

from __future__ import annotations

import functools
import json
import struct
import tempfile
from pathlib import Path
from typing import Any, Iterator

from smdebug.core.tfevent.proto.event_pb2 import Event
from smdebug.core.tfrecord.record_writer import CHECKSUM_MAGIC_BYTES, masked_crc32c

from weight_update_ratio import Report, TrialError, check_trial

RECORDED = Path(__file__).parents[2] / "examples" / "trials" / "pytorch_healthy"
TENSOR = "TinyNet_bn1.weight"
SEPARATOR = b"\n--\n"
AS_IT_IS, UNCHECKED_PAYLOAD, CHECKED_PAYLOAD = range(3)
COLLECTIONS = "collections/000000000/worker_0_collections.json"
INDEX = "index/000000000/{:012d}_worker_0.json"
EVENTS = "events/{0:012d}/{0:012d}_worker_0.tfevents"


def judge(files: dict[str, bytes], num_steps: int | None = None) -> Report | None:
    """Return the report of a trial of these files, which is rendered as well; None where it cannot be judged."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        try:
            report = check_trial(folder, num_steps=num_steps)
        except TrialError:
            return None
    report.to_json().encode("ascii")
    report.to_text(80).encode("utf-8")
    return report


def fuzz_record(data: bytes) -> None:
    """Fail where a record is read otherwise once the step before it is known, or changes what is read after it."""
    if len(data) < 2:
        return
    step = data[1]
    records = {other: recorded_record(other) for other in (step - 1, step + 1, step + 2) if other >= 0}
    records[step] = framed(data[0] % 3, data[2:])
    later = {other: record for other, record in records.items() if other >= step}
    assert read_from(judge(one_tensor(later)), step) == read_from(judge(one_tensor(records)), step)


def read_from(report: Report | None, step: int) -> Any:
    """Return what a report says of a step's record: why it is unreadable, and the norms of what follows it."""
    assert report is not None
    rows = [(row.step, row.reference_step, row.update_norm, row.weight_norm) for row in report if row.step > step]
    return repr(rows), [entry.reason for entry in report.unreadable]


def framed(kind: int, content: bytes) -> bytes:
    """Return a record: the content as it is, or as a payload, for a checksum is more than a fuzzer can guess."""
    if kind == AS_IT_IS:
        return content
    header = struct.pack("<Q", len(content))
    checksum = masked_crc32c(CHECKSUM_MAGIC_BYTES if kind == UNCHECKED_PAYLOAD else content)
    return header + struct.pack("<I", masked_crc32c(header)) + content + struct.pack("<I", checksum)


def one_tensor(records: dict[int, bytes]) -> dict[str, bytes]:
    """Return the files of a trial in which one tensor has these records by step."""
    weights = {"tensor_names": [TENSOR], "include_regex": []}
    files = {COLLECTIONS: json.dumps({"collections": {"weights": weights}}).encode()}
    for step, record in records.items():
        payload = [{"tensorname": TENSOR, "start_idx": 0, "length": len(record)}]
        index = {"meta": {"mode": "TRAIN", "mode_step": step}, "tensor_payload": payload}
        files[INDEX.format(step)] = json.dumps(index).encode()
        files[EVENTS.format(step)] = record
    return files


def fuzz_index(data: bytes) -> None:
    """Fail where an index leads to a row that is not the sound trial's."""
    assert judged_rows(data) <= sound_rows()


def judged_rows(data: bytes) -> set[Any]:
    """Return the rows of a trial with these collections and index files: tensor, global step and norms."""
    names = (COLLECTIONS, INDEX.format(0), INDEX.format(1))
    events = {EVENTS.format(step): (RECORDED / EVENTS.format(step)).read_bytes() for step in range(2)}
    files = {**events, **dict(zip(names, data.split(SEPARATOR, 2)))}
    report = judge(files, num_steps=2 if len(data) % 2 else None)
    return {(row.tensor, row.global_step, row.update_norm, row.weight_norm) for row in report or ()}


@functools.lru_cache(maxsize=None)
def sound_rows() -> set[Any]:
    """Return all rows that the recorded event files can give, whatever an index says of them."""
    indexes = next(index_seeds()).split(SEPARATOR)[1:]
    every_tensor = b'{"collections": {"weights": {"tensor_names": [], "include_regex": ["."]}}}'
    rows = judged_rows(SEPARATOR.join([every_tensor, *indexes]))
    assert {TENSOR, f"gradient/{TENSOR}"} < {tensor for tensor, *_ in rows}
    return rows


@functools.lru_cache(maxsize=None)
def recorded_record(step: int) -> bytes:
    """Return the tensor's recorded record of step 1, as of any step."""
    payload = json.loads((RECORDED / INDEX.format(1)).read_text())["tensor_payload"]
    entry = next(entry for entry in payload if entry["tensorname"] == TENSOR)
    content = (RECORDED / EVENTS.format(1)).read_bytes()[entry["start_idx"] :][: entry["length"]]
    event = Event.FromString(content[12:-4])
    event.step = step
    return framed(UNCHECKED_PAYLOAD, event.SerializeToString())


def record_seeds() -> Iterator[bytes]:
    for step in (0, 1, 14):
        record = recorded_record(step)
        yield bytes((AS_IT_IS, step)) + record
        yield bytes((UNCHECKED_PAYLOAD, step)) + record[12:-4]
        yield bytes((CHECKED_PAYLOAD, step)) + record[12:-4]


def index_seeds() -> Iterator[bytes]:
    """Yield the recorded collections and index files, whole and without what is not read."""
    parts = [(RECORDED / name).read_bytes() for name in (COLLECTIONS, INDEX.format(0), INDEX.format(1))]
    yield SEPARATOR.join(parts)
    short = b'{"collections": {"weights": {"tensor_names": ["w"], "include_regex": ["bn"]}}}'
    yield SEPARATOR.join([short, *parts[1:]])
    yield SEPARATOR.join([short, b'{"meta": {}}', b'{"tensor_payload": [{"tensorname": "w"}]}'])
