"""A tensor's records are alike from step to step; one that is not is read for what it is, or reported.

The oracle reads each record by itself, and takes the norms of ``exact_norm``.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, Sequence

import numpy as np
import pytest

from tests.conftest import exact_norm
from tests.trial.made_records import event, field, payload, record, smdebugs_crc, tensor_proto, write_trial_of_records
from weight_update_ratio import check_trial
from weight_update_ratio.errors import UnreadableError
from weight_update_ratio.trial.event_file import tensor_layout

FIRST = 1000  # the global step of the first record; up to 16383 a step's number takes two bytes
ARRAY = np.float32([[1, 2, 3], [4, 5, 6]])
PROTO = bytes(tensor_proto(ARRAY).SerializeToString())
TURNED = bytes(tensor_proto(ARRAY, shape=(3, 2)).SerializeToString())
TIME = b"\x09" + bytes(8)


def at(step: int, tensor: bytes = PROTO, rest: bytes = b"abcdef", **options: Any) -> bytes:
    """Return the event that smdebug would write, but for what is given."""
    return event(tensor, step=step, **{"before": TIME, "after": field(9, 2, rest), **options})


def proto(array: Any, kind: int = 1, shape: Any = None) -> bytes:
    return bytes(tensor_proto(np.asarray(array), kind, shape).SerializeToString())


# What may follow a sound record at the next step, 1001; most are as long as that was.
CHANGED = {
    "elements": at(1001, proto(ARRAY + 9)),
    "wall time": at(1001, before=b"\x09" + b"\xff" * 8),
    "metadata that would be fields": at(1001, rest=field(8, 2, bytes(4))),
    "shorter metadata": at(1001, rest=b"abcde"),
    "the step before": at(1000),
    "a longer step": at(20_000, rest=b"abcde"),
    "no step": at(0),
    "a step of too many bytes": TIME + b"\x10\xe9\x87\x00" + at(1001, rest=b"abcde")[12:],
    "a step behind the summary": TIME + at(0)[9:] + field(2, 0, b"\xe9\x07"),
    "a second step": at(1001, rest=b"abcd") + field(2, 0, b"\x09"),
    "a second summary": at(1001, rest=b"abcd") + field(5, 2, b""),
    "another tag": at(1001, tag=b"v"),
    "a second tag": at(1001, after=field(9, 2, b"abc") + field(1, 2, b"v")),
    "another shape": at(1001, TURNED),
    "a type of the same size": at(1001, proto(ARRAY, 3)),
    "no number": at(1001, proto(ARRAY, 7)),
    "fewer elements": at(1001, proto(ARRAY[:1]), bytes(18)),
    "a second tensor": at(1001, after=field(8, 2, b"\x08\x03") + field(9, 2, b"ab")),
    "no wall time": at(1001, before=b"", rest=bytes(15)),
    "a wall time of another type": at(1001, before=field(1, 2, bytes(7))),
    "text": b"w" * len(at(1001)),
}
# What stands at step 1000, and at step 1001, as no writer writes it: the second differs where the first has what is
# free in records as smdebug writes them.
ODD = {
    "a step that is there twice": [at(step) + field(2, 0, b"\xe8\x07") for step in (1000, 1001)],
    "a wall time with a length": [at(1000, before=field(1, 2, bytes(7))), at(1001, before=b"\x0a\x09" + bytes(7))],
    "the tag last": [at(step, tag=b"", after=field(1, 2, tag)) for step, tag in ((1000, b"w"), (1001, b"v"))],
    "a tensor behind the one that counted": [at(1000, after=field(7, 2, PROTO)), at(1001, after=field(8, 2, TURNED))],
    "dims behind the elements": [
        at(step, shaped[:2] + shaped[12:] + shaped[2:12]) for step, shaped in ((1000, PROTO), (1001, TURNED))
    ],
    # Its length is 48, while the byte that would be the length, 0xb0, is that of all that follows.
    "metadata whose length has a byte too many": [
        at(step, after=b"\x4a\xb0\x00" + bytes(48) + field(number, 2, TURNED + field(15, 2, bytes(85))))
        for step, number in ((1000, 10), (1001, 8))
    ],
    "long fields beside the elements": [
        at(step, shaped + field(15, 2, bytes(70_000))) for step, shaped in ((1000, PROTO), (1001, TURNED))
    ],
    "long metadata": [at(1000, rest=bytes(200)), at(1001, rest=bytes(190) + field(8, 2, bytes(8)))],
    "no wall time": [at(step, before=b"") for step in (1000, 1001)],
}


def read_alone(content: bytes, tensor: str, step: int) -> np.ndarray[Any, Any] | str:
    view = memoryview(content)
    try:
        layout = tensor_layout(view, tensor, step)
    except UnreadableError as error:
        return str(error)
    return np.frombuffer(view, layout.dtype, layout.size, layout.offset).reshape(layout.shape)


def assert_each_is_read_for_itself(path: Path, tensors: str, steps: Sequence[Sequence[bytes | memoryview]]) -> int:
    """Assert that a check has the rows of the records that can be read, and reports the others; return how many."""
    lengths = [len(content) for content in steps[0]]
    records = {
        FIRST + number: [bytes(contents)[:length].ljust(length, b"\0") for contents, length in zip(step, lengths)]
        for number, step in enumerate(steps)
    }
    report = check_trial(write_trial_of_records(path, tensors, records))
    expected, reasons = {}, set()
    for number, tensor in enumerate(tensors):
        elements = {step: read_alone(contents[number], tensor, step) for step, contents in records.items()}
        reasons |= {(tensor, step, why) for step, why in elements.items() if isinstance(why, str)}
        for step in range(FIRST + 1, FIRST + len(steps)):
            before, after = elements[step - 1], elements[step]
            is_read = not isinstance(before, str) and not isinstance(after, str)
            if is_read and before.shape == after.shape and np.iscomplexobj(before) == np.iscomplexobj(after):
                expected[tensor, step] = exact_norm(after, before), exact_norm(before)
    rows = {(row.tensor, row.step): (row.update_norm, row.weight_norm) for row in report}
    assert sorted(expected) == sorted(rows)
    for key, norms in expected.items():
        assert norms == pytest.approx(rows[key], rel=1e-9, abs=0, nan_ok=True), key
    assert reasons == {(entry.tensor, entry.global_step, entry.reason) for entry in report.unreadable}
    return len(reasons)


def neighbour(step: int) -> memoryview:
    return record(payload("u", step, np.float64([1, 2, step]), kind=2))


@pytest.mark.parametrize("changed", CHANGED.values(), ids=CHANGED)
def test_one_record_is_another(tmp_path: Path, changed: bytes) -> None:
    before = smdebugs_crc(at(FIRST))
    for name, first_crc, crc in (
        ("none", None, None),
        ("right", before, smdebugs_crc(changed)),
        ("old", before, before),
    ):
        first = [record(at(FIRST), first_crc), neighbour(FIRST)]
        second = [record(changed, crc), neighbour(FIRST + 1)]
        later = [[record(at(step)), neighbour(step)] for step in (FIRST + 2, FIRST + 3)]
        assert_each_is_read_for_itself(tmp_path / name, "wu", [first, second, *later])
        assert_each_is_read_for_itself(tmp_path / f"{name} first", "wu", [second, second, *later])


@pytest.mark.parametrize("records", ODD.values(), ids=ODD)
def test_records_that_no_writer_writes(tmp_path: Path, records: list[bytes]) -> None:
    """They may be anything at the next step, also where they look as before."""
    assert len(records[0]) == len(records[1])
    assert_each_is_read_for_itself(tmp_path / "t", "w", [[record(content)] for content in records])


@pytest.mark.parametrize("bits", [1, pytest.param(8, marks=pytest.mark.rare)])
def test_any_damage(tmp_path: Path, bits: int) -> None:
    """A bit of every byte of two records, or each, and up to four bytes anywhere, each between steps that are sound."""
    chance = random.Random(0)
    size = len(at(FIRST)) + 16 + len(neighbour(FIRST))
    damages = [[(number, 1 << (number + bit) % 8)] for number in range(size) for bit in range(bits)]
    for _ in range(50 * bits):
        damages.append([(chance.randrange(size), chance.randrange(1, 256)) for _ in range(chance.randrange(1, 5))])
    steps: list[list[bytes]] = []
    for damage in damages:
        first, second = record(at(FIRST + len(steps))), neighbour(FIRST + len(steps))
        steps.append([bytes(first), bytes(second)])
        content = bytearray(record(at(FIRST + len(steps)))) + bytes(neighbour(FIRST + len(steps)))
        for number, change in damage:
            content[number] ^= change
        steps.append([bytes(content[: len(first)]), bytes(content[len(first) :])])
    assert len(damages) > assert_each_is_read_for_itself(tmp_path / "t", "wu", steps) > len(damages) / 3
