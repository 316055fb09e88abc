"""record_plan and RecordGroup: what is read together, and that a later step's layouts are those of a walk."""

from __future__ import annotations

import io
import tracemalloc
from typing import Any, Iterable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import event_file
from tests.trial.made_records import event_of, field, payload, record, smdebugs_crc, tensor_proto, varint
from weight_update_ratio.errors import UnreadableError
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.storage.disk import DiskStorage
from weight_update_ratio.trial import record_group
from weight_update_ratio.trial.event_file import LONGEST_RECORD, tensor_array, tensor_layout
from weight_update_ratio.trial.event_writer import write_records
from weight_update_ratio.trial.folder import TrialFolder
from weight_update_ratio.trial.index_file import Records
from weight_update_ratio.trial.record_group import GROUP_BYTES, UNREAD_GAP, RecordGroup, record_plan

LAST = [("c", GROUP_BYTES, 1)]
STEPS = [0, 1, 5, 127, 128, 300, 2**40, 2**40 + 1]


def groups_of(records: Records, tensors: Iterable[str] | None = None) -> list[tuple[str, int, int]]:
    """Return (the tensors' names, first byte, length) of each group."""
    plan = record_plan(records, list(records if tensors is None else tensors))
    return [("".join(group.tensors), group.start, group.length) for group in plan.groups]


class TestPlan:
    @pytest.mark.parametrize(
        ("records", "expected"),
        [
            ({}, []),
            ({"a": (100, 50)}, [("a", 100, 50)]),
            ({"a": (0, 50), "b": (50, 70), "c": (120, 9)}, [("abc", 0, 129)]),  # neighbours
            ({"a": (7, 50), "b": (57 + UNREAD_GAP, 70)}, [("ab", 7, 120 + UNREAD_GAP)]),
            ({"a": (7, 50), "b": (58 + UNREAD_GAP, 70)}, [("a", 7, 50), ("b", 58 + UNREAD_GAP, 70)]),
            ({"c": (900, 9), "a": (100, 50), "b": (150, 50)}, [("abc", 100, 809)]),  # in another order than in the file
            ({"a": (0, 10), "b": (10, GROUP_BYTES - 10), "c": (GROUP_BYTES, 1)}, [("ab", 0, GROUP_BYTES)] + LAST),
            ({"a": (0, 10), "b": (10, GROUP_BYTES - 9)}, [("a", 0, 10), ("b", 10, GROUP_BYTES - 9)]),
            ({"a": (9, GROUP_BYTES), "b": (9 + GROUP_BYTES, 1)}, [("a", 9, GROUP_BYTES), ("b", 9 + GROUP_BYTES, 1)]),
            ({"a": (0, 4 * GROUP_BYTES), "b": (5, 10), "c": (20, 9)}, [("abc", 0, 4 * GROUP_BYTES)]),
            (
                {"a": (0, 500), "b": (100, 50), "c": (500 + UNREAD_GAP, 9)},
                [("abc", 0, 509 + UNREAD_GAP)],
            ),  # within another
            ({"a": (0, 100), "b": (50, 100), "c": (0, 100), "d": (0, 99)}, [("dacb", 0, 150)]),  # overlapping
            ({"a": (3, 0), "b": (3, 5), "c": (8, 0)}, [("abc", 3, 5)]),
            (dict.fromkeys("abc", (0, 4 * GROUP_BYTES)), [("abc", 0, 4 * GROUP_BYTES)]),  # read once
            ({"a": (0, LONGEST_RECORD)}, [("a", 0, LONGEST_RECORD)]),
            ({"a": (2**62 - 1, 5)}, [("a", 2**62 - 1, 5)]),
        ],
    )
    def test_groups(self, records: Records, expected: Any) -> None:
        """Records that lie next to each other are read together, up to a bound."""
        assert expected == groups_of(records)

    def test_places_are_those_among_the_tensors_that_are_asked_for(self) -> None:
        """In whatever order, and others of the index are not read."""
        records: Records = {
            "a": (0, 50),
            "b": (50, 50),
            "x": None,
            "c": (200, 50),
            "d": (UNREAD_GAP + 251, 9),
            "e": (100, 100),
        }
        plan = record_plan(records, ["d", "c", "x", "a"])
        assert [(["a", "c"], [3, 1]), (["d"], [0])] == [(group.tensors, group.places) for group in plan.groups]
        assert [("ac", 0, 250), ("d", UNREAD_GAP + 251, 9)] == groups_of(records, ["d", "c", "x", "a"])

    def test_what_cannot_be_read(self) -> None:
        """No range of bytes, or more than a record can have; the others are planned."""
        records: Records = {"a": None, "b": (0, LONGEST_RECORD + 1), "c": (5, 7), "d": None}
        plan = record_plan(records, ["d", "c", "b", "a"])
        no_range = "names no range of bytes for it"
        too_long = f"has {LONGEST_RECORD + 1} bytes, more than a record can have ({LONGEST_RECORD})"
        assert [("d", no_range), ("b", too_long), ("a", no_range)] == plan.refused
        assert [(["c"], [1], 5, 7)] == [(own.tensors, own.places, own.start, own.length) for own in plan.groups]

    def test_each_alone(self) -> None:
        """A group of each record, at its own place."""
        records: Records = {"c": (90, 9), "a": (10, 50), "b": (20, 0)}
        (group,) = record_plan(records, "cab").groups
        found = [(own.tensors, own.places, own.start, own.length) for own in group.alone()]
        assert [(["a"], [1], 10, 50), (["b"], [2], 20, 0), (["c"], [0], 90, 9)] == found

    @settings(max_examples=300, deadline=None)
    @given(
        st.lists(
            st.one_of(
                st.none(),
                st.tuples(st.integers(0, 20_000), st.integers(0, 9000)),
                st.tuples(st.integers(0, 3 * GROUP_BYTES), st.integers(0, 2 * GROUP_BYTES)),
                st.tuples(st.integers(0, 9), st.integers(LONGEST_RECORD - 1, LONGEST_RECORD + 1)),
            ),
            max_size=12,
        )
    )
    def test_any_places(self, spans: Any) -> None:
        """Every tensor is once in a group that holds its record, or refused; large ones are as large as a record."""
        records = {str(number): span for number, span in enumerate(spans)}
        plan = record_plan(records, list(records))
        names = [name for group in plan.groups for name in group.tensors] + [name for name, _ in plan.refused]
        assert sorted(records) == sorted(names)
        assert [name for name, span in records.items() if span is None or span[1] > LONGEST_RECORD] == [
            name for name, _ in plan.refused
        ]
        for group in plan.groups:
            own: list[Any] = [records[name] for name in group.tensors]
            assert [list(records)[place] for place in group.places] == group.tensors
            assert group.start == min(first for first, _ in own)
            assert group.start + group.length == max(first + length for first, length in own)
            assert group.length <= max(GROUP_BYTES, *(length for _, length in own), 0)
            assert own == sorted(own)
            ends = [max(first + length for first, length in own[:n]) for n in range(1, len(own))]
            assert all(first - end <= UNREAD_GAP for (first, _), end in zip(own[1:], ends))


def event_file_of(tensors: dict[str, Any], step: int, mode_step: int = 3) -> tuple[bytes, Records]:
    """Return an event file of this package's writer, and where its records are."""
    file = io.BytesIO()
    records = write_records(file, tensors.items(), step, "TRAIN", mode_step)
    return file.getvalue(), dict(records)


def joined(contents: Iterable[Any], gap: int = 0) -> tuple[bytes, list[tuple[int, int]]]:
    """Return records with gaps between them, and where they are."""
    whole, spans = b"", []
    for content in contents:
        whole += b"\xff" * (gap if whole else 0)
        spans.append((len(whole), len(content)))
        whole += bytes(content)
    return whole, spans


def walked(content: bytes, tensors: Sequence[str], spans: Iterable[tuple[int, int]], step: int) -> list[Any]:
    """Return what reading record by record says of each tensor: where its elements are, or why it is unreadable."""
    found: list[Any] = []
    for tensor, (first, length) in zip(tensors, spans):
        try:
            layout = tensor_layout(memoryview(content)[first : first + length], tensor, step)
        except UnreadableError as error:
            found.append(str(error))
        else:
            found.append(layout._replace(offset=first + layout.offset))
    return found


def at_places(records: Sequence[Any], spans: Iterable[tuple[int, int]]) -> bytes:
    """Return the bytes that are read where records of other lengths are expected: cut, or with what follows."""
    whole = bytearray()
    for content, (first, length) in zip(records, spans):
        whole += b"\xff" * (first - len(whole)) + bytes(content)[:length].ljust(length, b"\x00")
    return bytes(whole)


ARRAY = np.float32([[1, 2, 3], [4, 5, 6]])
PROTO = bytes(tensor_proto(ARRAY).SerializeToString())
TIME = b"\x09" + bytes(8)


def value_of(proto: bytes, tag: bytes = b"w", metadata: bytes = b"abcdef", rest: bytes = b"") -> bytes:
    return field(1, 2, tag) + field(8, 2, proto) + field(9, 2, metadata) + rest


def event(value: bytes, step: int = 8, time: bytes = TIME, rest: bytes = b"") -> bytes:
    """Return an event as smdebug writes it, around a value."""
    return time + (field(2, 0, varint(step)) if step else b"") + field(5, 2, field(1, 2, value)) + rest


def proto_of(array: Any, kind: int = 1, shape: Any = None) -> bytes:
    return bytes(tensor_proto(array, kind, shape).SerializeToString())


# What may stand at a later step, 8, where a record of "w" and of ``ARRAY`` was at step 7; most are as long as that was.
CHANGED = {
    "nothing": record(event(value_of(PROTO))),
    "wall time": record(event(value_of(PROTO), time=b"\x09" + b"\xff" * 8)),
    "elements": record(event(value_of(proto_of(ARRAY + 9)))),
    "metadata": record(event(value_of(PROTO, metadata=b"ABCDEF"))),
    "metadata that would be fields": record(event(value_of(PROTO, metadata=field(8, 2, bytes(4))))),
    "step before": record(event(value_of(PROTO), 7)),
    "step after": record(event(value_of(PROTO), 9)),
    "longer step": record(event(value_of(PROTO, metadata=b"abcde"), 200)),
    "step 0": record(event(value_of(PROTO, metadata=b"abcdefgh"), 0)),
    "no step": record(event(value_of(PROTO), 0)),
    "tag": record(event(value_of(PROTO, tag=b"v"))),
    "longer tag": record(event(value_of(PROTO, tag=b"ww", metadata=b"abcde"))),
    "shorter tag": record(event(value_of(PROTO, tag=b"", metadata=b"abcdefg"))),
    "dims": record(event(value_of(proto_of(ARRAY, shape=(3, 2))))),
    "dims that need more": record(event(value_of(proto_of(ARRAY, shape=(3, 3))))),
    "fewer dims": record(event(value_of(proto_of(ARRAY, shape=(6,)), metadata=b"abcdefghij"))),
    "type of the same size": record(event(value_of(proto_of(ARRAY, kind=3)))),
    "type of another size": record(event(value_of(proto_of(ARRAY, kind=2)))),
    "no number": record(event(value_of(proto_of(ARRAY, kind=7)))),
    "fewer elements, longer metadata": record(event(value_of(proto_of(ARRAY[:1]), metadata=bytes(18)))),
    "more elements, shorter metadata": record(event(value_of(proto_of(np.zeros((2, 4), np.int16), 5), metadata=b""))),
    "longer metadata": record(event(value_of(PROTO, metadata=b"abcdefg"))),
    "shorter metadata": record(event(value_of(PROTO, metadata=b"abcde"))),
    "a second tensor in its place": record(
        event(field(1, 2, b"w") + field(8, 2, PROTO) + field(8, 2, b"\x08\x03") + field(9, 2, b"ab"))
    ),
    "a second tag in its place": record(event(value_of(PROTO, metadata=b"abc", rest=field(1, 2, b"v")))),
    "a second summary in its place": record(event(value_of(PROTO, metadata=b"abcd"), rest=field(5, 2, b""))),
    "a second step behind the summary": record(event(value_of(PROTO, metadata=b"abcd"), rest=field(2, 0, b"\x09"))),
    "a step behind the summary": record(TIME + event(value_of(PROTO), 0)[9:] + field(2, 0, b"\x08")),
    "another field than the metadata": record(event(field(1, 2, b"w") + field(8, 2, PROTO) + field(7, 2, b"abcdef"))),
    "a step of too many bytes": record(TIME + b"\x10\x88\x00" + event(value_of(PROTO, metadata=b"abcde"))[11:]),
    "no wall time": record(event(value_of(PROTO, metadata=bytes(15)), time=b"")),
    "a wall time of another type": record(event(value_of(PROTO), time=field(1, 2, bytes(7)))),
    "a checksum that holds": record(event(value_of(PROTO)), smdebugs_crc(event(value_of(PROTO)))),
    "a checksum that does not hold": record(event(value_of(PROTO)), 5),
    "zeros": memoryview(bytes(len(event(value_of(PROTO))) + 16)),
    "text": memoryview(b"w" * (len(event(value_of(PROTO))) + 16)),
}
BEFORE = record(event(value_of(PROTO), 7))
OTHER = proto_of(ARRAY, shape=(3, 2))
# What stands at step 7, and at step 8, as no writer writes it: the second differs where the first has what is free in
# records as smdebug writes them.
ODD = {
    "a step that is there twice": (
        event(value_of(PROTO), 7, rest=field(2, 0, b"\x07")),
        event(value_of(PROTO), 8, rest=field(2, 0, b"\x07")),
    ),
    "a wall time with a length": (
        event(value_of(PROTO), 7, time=field(1, 2, bytes(7))),
        event(value_of(PROTO), 8, time=b"\x0a\x09" + bytes(7)),
    ),
    "the tag last": (
        event(field(8, 2, PROTO) + field(1, 2, b"w"), 7),
        event(field(8, 2, PROTO) + field(1, 2, b"v"), 8),
    ),
    "a tensor behind the one that counted": (
        event(field(1, 2, b"w") + field(8, 2, PROTO) + field(7, 2, PROTO), 7),
        event(field(1, 2, b"w") + field(8, 2, PROTO) + field(8, 2, proto_of(ARRAY, shape=(3, 2))), 8),
    ),
    "dims behind the elements": tuple(
        event(field(8, 2, proto[:2] + proto[12:] + proto[2:12]) + field(1, 2, b"w"), step)
        for proto, step in ((PROTO, 7), (proto_of(ARRAY, shape=(3, 2)), 8))
    ),
    # Its length is 48, while the byte that would be the length, 0xb0, is that of all that follows.
    "metadata whose length has a byte too many": tuple(
        event(
            value_of(PROTO)[:-8] + b"\x4a\xb0\x00" + bytes(48) + field(number, 2, OTHER + field(15, 2, bytes(85))), step
        )
        for number, step in ((10, 7), (8, 8))
    ),
}
NEIGHBOURS = [record(payload("u", step, array=np.float64([1, 2, 3]), kind=2)) for step in (7, 8)]


class TestLayouts:
    """A walk, and what is known from one at an earlier step, say the same."""

    @pytest.mark.parametrize("order", ["w", "wu", "uw", "uwu"])
    @pytest.mark.parametrize("change", CHANGED)
    def test_a_record_that_changed(self, change: str, order: str) -> None:
        """It alone is another; and the group is none the wiser, or the less, at the step after."""
        before = [BEFORE if tensor == "w" else NEIGHBOURS[0] for tensor in order]
        content, spans = joined(before, gap=5)
        group = RecordGroup(list(order), list(range(len(order))), spans)
        assert walked(content, order, spans, 7) == group.layouts(memoryview(content), 7)
        later = at_places([CHANGED[change] if tensor == "w" else NEIGHBOURS[1] for tensor in order], spans)
        expected = walked(later, order, spans, 8)
        assert expected == group.layouts(memoryview(later), 8)
        assert expected == group.layouts(memoryview(later), 8)
        assert walked(later, order, spans, 7) == group.layouts(memoryview(later), 7)
        sound = at_places([CHANGED["nothing"] if tensor == "w" else NEIGHBOURS[1] for tensor in order], spans)
        assert walked(sound, order, spans, 8) == group.layouts(memoryview(sound), 8)
        assert walked(content, order, spans, 7) == group.layouts(memoryview(content), 7)

    @pytest.mark.parametrize("change", CHANGED)
    def test_a_record_that_is_as_it_was(self, change: str) -> None:
        """Whatever is walked first, a sound record after it, and it again, are what they are."""
        content = bytes(CHANGED[change])
        spans = [(0, len(content))]
        group = RecordGroup(["w"], [0], spans)
        sound = at_places([CHANGED["nothing"]], spans)
        for later in (content, content, sound, sound, content):
            for step in (8, 7, 200, 0):
                assert walked(later, "w", spans, step) == group.layouts(memoryview(later), step)

    @pytest.mark.parametrize("odd", ODD)
    def test_what_no_writer_writes(self, odd: str) -> None:
        """It may be anything at the next step, also where it looks as before."""
        first, second = (bytes(record(content)) for content in ODD[odd])
        assert len(first) == len(second)
        spans = [(0, len(first))]
        before, after = walked(first, "w", spans, 7), walked(second, "w", spans, 8)
        assert before != after
        assert not isinstance(before[0], str)
        group = RecordGroup(["w"], [0], spans)
        assert before == group.layouts(memoryview(first), 7)
        assert after == group.layouts(memoryview(second), 8)

    def test_every_flipped_bit(self) -> None:
        """Of a group of two, in turn."""
        content, spans = joined([NEIGHBOURS[0], BEFORE])
        later = joined([NEIGHBOURS[1], CHANGED["nothing"]])[0]
        for bit in range(8 * len(later)):
            group = RecordGroup(["u", "w"], [0, 1], spans)
            group.layouts(memoryview(content), 7)
            damaged = bytearray(later)
            damaged[bit // 8] ^= 1 << bit % 8
            assert walked(bytes(damaged), "uw", spans, 8) == group.layouts(memoryview(bytes(damaged)), 8), bit

    @settings(max_examples=300, deadline=None)
    @given(st.data())
    def test_any_group_and_any_change(self, data: Any) -> None:
        """Records of both writers, at any steps, with anything changed: as a new group, and record by record."""
        tensors = data.draw(
            st.lists(st.sampled_from(["u", "v", "größe", "w" * 130]), min_size=1, max_size=4, unique=True)
        )
        sizes = [data.draw(st.sampled_from([0, 1, 2, 7, 40])) for _ in tensors]
        first, second = (data.draw(st.sampled_from(STEPS)) for _ in range(2))
        ours = data.draw(st.booleans())
        crc = data.draw(st.booleans()) and not ours

        def content_at(step: int, add: int) -> list[bytes]:
            arrays = {tensor: np.arange(size, dtype=np.float32) + add for tensor, size in zip(tensors, sizes)}
            if ours:
                content, places = event_file_of(arrays, step)
                return [content[start : start + length] for start, length in filter(None, places.values())]
            events = [payload(tensor, step, array=array) for tensor, array in arrays.items()]
            return [bytes(record(content, smdebugs_crc(content) if crc else None)) for content in events]

        content, spans = joined(content_at(first, 0), data.draw(st.sampled_from([0, 3])))
        group = RecordGroup(tensors, list(range(len(tensors))), spans)
        assert walked(content, tensors, spans, first) == group.layouts(memoryview(content), first)
        for _ in range(3):
            later = bytearray(at_places(content_at(second, 1), spans))
            for _ in range(data.draw(st.integers(0, 2))):
                later[data.draw(st.integers(0, len(later) - 1))] = data.draw(st.integers(0, 255))
            view = memoryview(bytes(later))
            new = RecordGroup(tensors, list(range(len(tensors))), spans).layouts(view, second)
            assert new == walked(bytes(later), tensors, spans, second)
            assert new == group.layouts(view, second)

    def test_records_that_overlap(self) -> None:
        """An index may say that two tensors are at one place: one of them is another's."""
        content = bytes(BEFORE)
        span = (0, len(content))
        group = RecordGroup(["w", "v", "w"], [0, 1, 2], [span, span, (0, len(content) - 1)])
        expected = walked(content, "wvw", [span, span, (0, len(content) - 1)], 7)
        assert [True, False, False] == [not isinstance(layout, str) for layout in expected]
        for _ in range(2):
            assert expected == group.layouts(memoryview(content), 7)
        twice = RecordGroup(["w", "w"], [0, 1], [span, span])
        for record_of, step in ((BEFORE, 7), (CHANGED["nothing"], 8), (CHANGED["dims"], 8)):
            found = walked(bytes(record_of), "ww", [span, span], step)
            assert found == twice.layouts(record_of, step)

    @pytest.mark.parametrize("other", ["nothing", "dims", "tag", "zeros"])
    def test_workers_that_share_a_group(self, monkeypatch: pytest.MonkeyPatch, other: str) -> None:
        """Their index files have one plan, and several threads read it: here another one comes at the worst moment."""
        spans = [(0, len(BEFORE))]
        group = RecordGroup(["w"], [0], spans)
        group.layouts(BEFORE, 7)
        theirs = CHANGED[other]
        encoded, found = record_group.encoded_step, []

        def interrupted(step: int) -> bytes:
            monkeypatch.setattr(record_group, "encoded_step", encoded)
            found.append(group.layouts(theirs, 8))
            return encoded(step)

        monkeypatch.setattr(record_group, "encoded_step", interrupted)
        own = group.layouts(CHANGED["elements"], 8)
        assert walked(bytes(CHANGED["elements"]), "w", spans, 8) == own
        assert [walked(bytes(theirs), "w", spans, 8)] == found

    def test_one_that_cannot_be_read(self) -> None:
        """Its reason stands in its place, at every step; the others have their layouts."""
        content, spans = joined([BEFORE, NEIGHBOURS[0], BEFORE])
        damaged = bytearray(content)
        damaged[spans[1][0]] ^= 1
        group = RecordGroup(["w", "u", "x"], [0, 1, 2], spans)
        for _ in range(2):
            first, second, third = group.layouts(memoryview(bytes(damaged)), 7)
            assert ARRAY.ravel().tolist() == tensor_array(memoryview(content), first).tolist()
            assert "is corrupt: the checksum of its length does not hold" == second
            assert "holds the tensor 'w' where the index names 'x'" == third

    def test_bytes_between_the_records_do_not_count(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """They are of tensors that are not compared."""
        content, spans = joined([BEFORE, NEIGHBOURS[0]], gap=50)
        group = RecordGroup(["w", "u"], [0, 1], spans)
        expected = group.layouts(memoryview(content), 7)
        monkeypatch.delattr(record_group, "tensor_layout")
        later = at_places([CHANGED["elements"], NEIGHBOURS[1]], spans).replace(b"\xff" * 50, bytes(50))
        assert expected == group.layouts(memoryview(later), 8)


def test_long_headings_are_walked_and_not_kept() -> None:
    """What a group keeps of a record is bounded, however much stands beside the elements in it."""
    array = np.float32([1, 2])
    tensor = bytes(tensor_proto(array).SerializeToString()) + field(15, 2, bytes(20 << 20))
    content = bytes(record(event_of(tensor, extra=b"\x09" + bytes(8))))
    group = RecordGroup(["w"], [0], [(0, len(content))])
    tracemalloc.start()
    try:
        found = [group.layouts(memoryview(content), 7) for _ in range(2)]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == [walked(content, "w", [(0, len(content))], 7)] * 2
    assert peak < 1 << 20


class TestTheWalkIsSpared:
    """Where records are as the writers write them, a later step is not walked."""

    @pytest.mark.parametrize("steps", [(0, 0), (1, 2), (126, 127), (128, 129), (300, 16383), (2**40, 2**40 + 5)])
    @pytest.mark.parametrize("is_ours", [False, True])
    def test_for_elements_of_any_length(self, monkeypatch: pytest.MonkeyPatch, steps: Any, is_ours: bool) -> None:
        """Also where the lengths before the tag begin to take one more byte."""
        sizes = (*range(90), *range(4010, 4090), 524_200, 524_250)
        found, expected = [], []
        for size in sizes:
            contents = []
            for step in steps:
                array = np.full(size, step, np.float32)
                content = event_file_of({"w": array}, step)[0] if is_ours else record(payload(step=step, array=array))
                contents.append(bytes(content))
            assert len(contents[0]) == len(contents[1])
            group = RecordGroup(["w"], [0], [(0, len(contents[0]))])
            group.layouts(memoryview(contents[0]), steps[0])
            found.append((group, contents[1]))
            expected.append(walked(contents[1], "w", [(0, len(contents[1]))], steps[1]))
        monkeypatch.delattr(record_group, "tensor_layout")
        assert expected == [group.layouts(memoryview(content), steps[1]) for group, content in found]

    @pytest.mark.parametrize("mode_step", [None, 9, 99])
    def test_for_the_files_of_smdebug(self, trial_writer: Any, monkeypatch: pytest.MonkeyPatch, mode_step: Any) -> None:
        """Steps are new groups where a number begins to take more bytes, and share one until then."""
        trial = trial_writer().collections({"weights": ["a", "b/weight", "c"]})
        steps = [0, 1, 2, 9, 10, 99, 126, 127, 128, 129, 300, 2**40, 2**40 + 1]
        for step in steps:
            arrays = {
                "a": np.float32(step),
                "b/weight": np.full((30, 40), step, np.float64),
                "c": np.full(9, step, "?"),
            }
            trial.save(step, arrays, "TRAIN", step if mode_step is None else mode_step)
        folder = TrialFolder(DiskStorage(str(trial.path)), Parameters())
        plans: dict[int, Any] = {}
        calls: list[int] = []

        def counted(view: memoryview, tensor: str, step: int) -> Any:
            calls.append(step)
            return tensor_layout(view, tensor, step)

        monkeypatch.setattr(record_group, "tensor_layout", counted)
        for step in steps:
            (saved,) = folder.saved(step).workers
            plan = plans.setdefault(id(saved.records), record_plan(saved.records, list(saved.records)))
            (group,) = plan.groups
            content = event_file(trial.path, step).read_bytes()
            content = content[group.start : group.start + group.length]
            spans = [(first - group.start, length) for first, length in filter(None, saved.records.values())]
            assert walked(content, list(saved.records), spans, step) == group.layouts(memoryview(content), step)
        digits = [[0], [1, 2, 9], [10, 99], [126, 127], [128, 129, 300], [2**40, 2**40 + 1]]
        if mode_step is not None:
            digits = [[0], [1, 2, 9, 10, 99, 126, 127], [128, 129, 300], [2**40, 2**40 + 1]]
        assert [first for first, *_ in digits for _ in range(3)] == calls

    def test_for_the_files_of_this_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of many tensors of many types, whatever the elements and the time."""
        random = np.random.default_rng(0)
        arrays = {f"layer{n}": random.normal(0, 100, size) for n, size in enumerate([(), 0, 1, 200, (3, 0), (20, 30)])}
        typed = {f"{name}.{kind}": array.astype(kind) for name, array in arrays.items() for kind in ("f2", "i8", "c8")}
        content, places = event_file_of(typed, 5, 4)
        (group,) = record_plan(places, list(typed)).groups
        first = group.layouts(memoryview(content), 5)
        monkeypatch.delattr(record_group, "tensor_layout")
        monkeypatch.setattr("weight_update_ratio.trial.event_writer.time.time", lambda: 1.0)
        for step in (6, 100):
            later, _ = event_file_of({name: array + array for name, array in typed.items()}, step, 9)
            layouts = group.layouts(memoryview(later), step)
            assert first == layouts
            for layout, array in zip(layouts, typed.values()):
                assert (array + array).ravel().tolist() == tensor_array(memoryview(later), layout).tolist()

    @pytest.mark.parametrize("follows", [b"", field(10, 2, b"x"), field(9, 2, b"")])
    @pytest.mark.parametrize("size", [0, 1, 127, 128, 1021])
    def test_for_metadata_that_does_not_change(
        self, monkeypatch: pytest.MonkeyPatch, size: int, follows: bytes
    ) -> None:
        """Of any length; short metadata at the end may change, and what follows behind it may not."""
        spans: list[tuple[int, int]] = []
        found = []
        for metadata, rest in [(b"a", follows), (b"b", follows), (b"a", follows[:-1] + b"\x09" if follows else b"")]:
            content = bytes(record(event(value_of(PROTO, metadata=metadata * size, rest=rest), 7)))
            spans = [(0, len(content))]
            found.append((content, walked(content, "w", spans, 7)))
        group = RecordGroup(["w"], [0], spans)
        for content, expected in found:
            assert expected == group.layouts(memoryview(content), 7)
        group.layouts(memoryview(found[0][0]), 7)
        monkeypatch.delattr(record_group, "tensor_layout")
        assert found[0][1] == group.layouts(memoryview(found[0][0]), 7)
        if size < 128 and not follows:
            assert found[1][1] == group.layouts(memoryview(found[1][0]), 7)

    def test_not_for_content_with_checksums(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each step's are computed."""
        content = event_of(PROTO)
        view = record(TIME + content, smdebugs_crc(TIME + content))
        group = RecordGroup(["w"], [0], [(0, len(view))])
        assert walked(bytes(view), "w", [(0, len(view))], 7) == group.layouts(view, 7)
        damaged = bytearray(view)
        damaged[-6] ^= 1  # of the last element
        assert ["is corrupt: the checksum of its content does not hold"] == group.layouts(memoryview(bytes(damaged)), 7)
