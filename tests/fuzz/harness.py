"""What the fuzzers run, and the tests replay: bytes in, and only the package's own errors may come out.

An input of the event file's harness is a byte that says how the rest becomes a record, a byte with the step, and the
rest. One of the index's harness is a collections file and two index files with ``SEPARATOR`` between them, over a
recorded event file.
"""

from __future__ import annotations

import functools
import struct
from pathlib import Path
from typing import Iterator, Tuple

from tests.memory_trial import MemoryStorage
from weight_update_ratio.compare.diagnosis import missing_trial
from weight_update_ratio.compare.loop import Loop
from weight_update_ratio.compare.mode import TRAIN, judged_mode
from weight_update_ratio.compare.ratio import update_norms, weight_norms
from weight_update_ratio.errors import UnreadableError
from weight_update_ratio.parameters import parse_parameters
from weight_update_ratio.report import Report
from weight_update_ratio.trial.event_file import (
    UNCHECKED,
    TensorLayout,
    parts_of_every_step,
    tensor_array,
    tensor_layout,
)
from weight_update_ratio.trial.folder import TrialFolder
from weight_update_ratio.trial.record_group import RecordGroup
from weight_update_ratio.trial.wire_format import masked_crc32c
from weight_update_ratio.verdict.bounds import Bounds
from weight_update_ratio.verdict.facts import concluded

RECORDED = Path(__file__).parents[2] / "examples" / "trials" / "pytorch_healthy"
TENSOR = "TinyNet_bn1.weight"
SEPARATOR = b"\n--\n"
AS_IT_IS, UNCHECKED_PAYLOAD, CHECKED_PAYLOAD = range(3)
COLLECTIONS = "collections/000000000/worker_0_collections.json"
INDEX = "index/000000000/{:012d}_worker_0.json"
Row = Tuple[str, int, float, float]  # tensor, global step, update norm, norm of the weights before
EVENTS = "events/{0:012d}/{0:012d}_worker_0.tfevents"


def read_record(data: bytes) -> int:
    """Read one record as a judgement does, and return how many bytes of elements it gave: none where it is refused."""
    if len(data) < 2:
        return 0
    kind, step, content = data[0] % 3, data[1], data[2:]
    if kind != AS_IT_IS:  # a checksum is more than a fuzzer can guess
        header = struct.pack("<Q", len(content))
        crc = UNCHECKED if kind == UNCHECKED_PAYLOAD else masked_crc32c(content)
        content = header + struct.pack("<I", masked_crc32c(header)) + content + struct.pack("<I", crc)
    record = memoryview(content)
    layout = _layout_or_reason(record, step)
    for seed, at in _recorded().get(len(record), ()):
        group = RecordGroup([TENSOR], [0], [(0, len(record))])
        group.layouts(seed, at)
        assert group.layouts(record, step) == [layout], "a record that is known already changes what is read"
        assert group.layouts(seed, at) == [_layout_or_reason(seed, at)], "and what is read after it"
    if isinstance(layout, str):
        return 0
    parts = parts_of_every_step(record, layout, step)
    if parts is not None:
        for filling in (b"\x00", b"\x0a", b"\xff"):
            other = bytearray(filling * len(record))
            for part in (*parts.same, parts.step):
                other[part] = record[part]
            assert _layout_or_reason(memoryview(other), step) == layout, "it is not the same at every step"
    array = tensor_array(record, layout)
    weight_norms([array])
    update_norms([array], [array[::-1].copy()])
    return array.nbytes


def _layout_or_reason(record: memoryview, step: int) -> TensorLayout | str:
    try:
        return tensor_layout(record, TENSOR, step)
    except UnreadableError as error:
        return str(error)


@functools.lru_cache(maxsize=None)
def _recorded() -> dict[int, list[tuple[memoryview, int]]]:
    """Return the tensor's recorded records and their steps by length, as a judgement has them of a step before."""
    found: dict[int, list[tuple[memoryview, int]]] = {}
    for seed in record_seeds():
        if seed[0] == AS_IT_IS and not isinstance(_layout_or_reason(memoryview(seed[2:]), seed[1]), str):
            found.setdefault(len(seed) - 2, []).append((memoryview(seed[2:]), seed[1]))
    assert found
    return found


class FuzzedStorage(MemoryStorage):
    """A trial of two steps whose index and collections files are the fuzzer's; the event files are recorded ones."""

    def __init__(self, files: dict[str, bytes]) -> None:
        events = {EVENTS.format(step): (RECORDED / EVENTS.format(step)).read_bytes() for step in range(2)}
        super().__init__({**events, **files})

    def span(self, name: str, start: int, length: int) -> memoryview:
        if start + length > len(self.files.get(name, b"")):
            raise UnreadableError("has no such range")
        return super().span(name, start, length)


def judge_index(data: bytes) -> set[Row]:
    """Judge a trial with these collections and index files, through to the report's renderings; return its rows."""
    parts = data.split(SEPARATOR, 2)
    names = (COLLECTIONS, INDEX.format(0), INDEX.format(1))
    parameters = parse_parameters(num_steps=2 if len(data) % 2 else None)
    folder = TrialFolder(FuzzedStorage(dict(zip(names, parts))), parameters)
    missing_trial(folder)
    loop = Loop(folder, judged_mode(folder) or TRAIN)
    for step in folder.steps:
        loop.compare(step)
    report = concluded(Report("fuzzed", loop.rows, Bounds(parameters), loop.mode), folder)
    report.to_json().encode("ascii")
    report.to_text(80).encode("utf-8")
    return {(row.tensor, row.global_step, row.update_norm, row.weight_norm) for row in report}


@functools.lru_cache(maxsize=None)
def sound_rows() -> set[Row]:
    """Return all rows that the recorded event files can give, whatever an index says of them."""
    indexes = next(index_seeds()).split(SEPARATOR)[1:]
    every_tensor = b'{"collections": {"weights": {"tensor_names": [], "include_regex": ["."]}}}'
    rows = judge_index(SEPARATOR.join([every_tensor, *indexes]))
    assert {TENSOR, f"gradient/{TENSOR}"} < {tensor for tensor, *_ in rows}
    return rows


def fuzz_record(data: bytes) -> None:
    """Fail where a record gives more elements than it has bytes."""
    assert read_record(data) <= len(data)


def fuzz_index(data: bytes) -> None:
    """Fail where an index leads to a row that is not the sound trial's."""
    assert judge_index(data) <= sound_rows()


def record_seeds() -> Iterator[bytes]:
    """Yield the recorded records of one tensor, as they are and as payloads."""
    for step in (0, 1, 14):
        content = (RECORDED / EVENTS.format(step)).read_bytes()
        start = 480 if step else 478
        while start < len(content):  # the whole file's records: other tensors' names end in an error, as they should
            (length,) = struct.unpack_from("<Q", content, start)
            record = content[start : start + length + 16]
            if length < 500:
                yield bytes((AS_IT_IS, step)) + record
                yield bytes((UNCHECKED_PAYLOAD, step)) + record[12:-4]
                yield bytes((CHECKED_PAYLOAD, step)) + record[12:-4]
            start += length + 16


def index_seeds() -> Iterator[bytes]:
    """Yield the recorded collections and index files, whole and without what is not read."""
    parts = [(RECORDED / name).read_bytes() for name in (COLLECTIONS, INDEX.format(0), INDEX.format(1))]
    yield SEPARATOR.join(parts)
    short = (
        b'{"collections": {"weights": {"tensor_names": ["%s"], "include_regex": ["bn"]}}, "_meta": {"num_workers": 1}}'
    )
    yield SEPARATOR.join([short % TENSOR.encode(), *parts[1:]])
    yield SEPARATOR.join([short % b"w", b'{"meta": {}}', b'{"tensor_payload": [{"tensorname": "w"}]}'])
