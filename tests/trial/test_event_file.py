"""Records against smdebug's own writer and checksum, and against everything that can be wrong with one."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smdebug.core.tfevent.proto.event_pb2 import Event
from smdebug.core.tfevent.proto.summary_pb2 import Summary, SummaryMetadata
from smdebug.core.tfevent.proto.tensor_pb2 import TensorProto
from smdebug.core.tfevent.proto.tensor_shape_pb2 import TensorShapeProto
from smdebug.core.tfrecord.record_writer import masked_crc32c as smdebugs_crc

from weight_update_ratio.errors import UnreadableError
from weight_update_ratio.trial.checksum import masked_crc32c
from weight_update_ratio.trial.event_file import UNCHECKED, tensor_array, tensor_layout


def tensor_proto(array: np.ndarray[Any, Any], kind: int = 1, shape: Any = None) -> Any:
    dims = [TensorShapeProto.Dim(size=size) for size in (array.shape if shape is None else shape)]
    return TensorProto(dtype=kind, tensor_content=array.tobytes(), tensor_shape=TensorShapeProto(dim=dims))


def payload(tag: str = "w", step: int = 7, tensor: Any = None, array: Any = None, **options: Any) -> bytes:
    """Return a serialized Event, made by smdebug's generated protobuf classes."""
    proto = tensor_proto(np.float32([1, 2]) if array is None else array, **options) if tensor is None else tensor
    data = SummaryMetadata.PluginData(plugin_name="mode_step", content="3")
    value = Summary.Value(tag=tag, tensor=proto, metadata=SummaryMetadata(plugin_data=[data]))
    event = Event(wall_time=1.5, step=step, summary=Summary(value=[value]))
    return bytes(event.SerializeToString())


def record(content: bytes, crc: int | None = None) -> memoryview:
    """Return a TFRecord around ``content``, with smdebug's checksums."""
    header = struct.pack("<Q", len(content))
    header += struct.pack("<I", smdebugs_crc(header))
    footer = struct.pack("<I", smdebugs_crc(b"0x12345678") if crc is None else crc)
    return memoryview(header + content + footer)


def why_unreadable(view: memoryview, tensor: str = "w", step: int = 7) -> str:
    with pytest.raises(UnreadableError) as caught:
        tensor_array(view, tensor_layout(view, tensor, step))
    return str(caught.value)


def field(number: int, wire: int, content: bytes) -> bytes:
    """Return one protobuf field with a key of one byte; length-delimited content gets its length."""
    return bytes([number << 3 | wire]) + (varint(len(content)) if wire == 2 else b"") + content


def varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def event_of(tensor: bytes, tag: bytes = b"w", step: int = 7, extra: bytes = b"") -> bytes:
    """Return an Event whose TensorProto is given in bytes."""
    value = field(1, 2, tag) + field(8, 2, tensor)
    return extra + field(2, 0, varint(step)) + field(5, 2, field(1, 2, value))


class TestChecksum:
    def test_every_length_from_0_to_600(self) -> None:
        """Short content, and content around one, two and three lanes."""
        content = np.random.default_rng(0).integers(0, 256, 600, np.uint8).tobytes()
        for size in range(601):
            assert smdebugs_crc(content[:size]) == masked_crc32c(content[:size]), size

    @pytest.mark.parametrize("size", [1023, 1024, 1025, 5000, 8191, 8192, 65536, 100_003])
    def test_long_content(self, size: int) -> None:
        """Even and odd numbers of lanes, with and without a rest; bytes and views alike."""
        content = np.random.default_rng(size).integers(0, 256, size, np.uint8).tobytes()
        assert smdebugs_crc(content) == masked_crc32c(content)
        assert smdebugs_crc(content) == masked_crc32c(memoryview(content))

    @settings(max_examples=50, deadline=None)
    @given(st.binary(max_size=3000))
    def test_any_bytes(self, content: bytes) -> None:
        """Whatever the content."""
        assert smdebugs_crc(content) == masked_crc32c(content)

    def test_the_constant_in_place_of_a_checksum(self) -> None:
        """The checksum of these bytes stands where smdebug computes none."""
        assert smdebugs_crc(b"0x12345678") == UNCHECKED


class TestTensors:
    @pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 0, 2), (2, 3), (1, 1, 1, 2), (200,), (1,) * 32])
    def test_shapes(self, shape: tuple[int, ...]) -> None:
        """Elements and shape are those that were written."""
        array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        view = record(payload(array=array))
        layout = tensor_layout(view, "w", 7)
        assert (array.shape, array.size, array.dtype) == (layout.shape, layout.size, layout.dtype)
        assert array.ravel().tolist() == tensor_array(view, layout).tolist()

    @pytest.mark.parametrize(
        ("kind", "dtype"),
        [
            (1, "<f4"), (2, "<f8"), (3, "<i4"), (4, "u1"), (5, "<i2"), (6, "i1"), (8, "<c8"), (9, "<i8"), (10, "?"),
            (17, "<u2"), (18, "<c16"), (19, "<f2"), (22, "<u4"), (23, "<u8"),
        ],
    )  # fmt: skip
    def test_types(self, kind: int, dtype: str) -> None:
        """Every type by its number in TensorFlow's types.proto."""
        array = np.array([0, 1, 1, 0], dtype)
        view = record(payload(array=array, kind=kind))
        found = tensor_array(view, tensor_layout(view, "w", 7))
        assert (array.dtype, array.tolist()) == (found.dtype, found.tolist())

    def test_it_is_a_view(self) -> None:
        """No element is copied, and none can be changed."""
        view = record(payload())
        array = tensor_array(view, tensor_layout(view, "w", 7))
        assert np.shares_memory(array, np.frombuffer(view, np.uint8))
        assert not array.flags.writeable

    @pytest.mark.parametrize("tag", ["", "a/b:0", "größe", "x" * 20_000, "\ud800"])
    def test_tags(self, tag: str) -> None:
        """Names of any length and alphabet; a lone surrogate, which JSON can hold, is no crash."""
        content = event_of(field(1, 0, b"\x01") + field(4, 2, bytes(4)), tag.encode("utf-8", "surrogatepass"))
        assert 1 == tensor_layout(record(content), tag, 7).size

    def test_a_real_checksum_that_holds(self) -> None:
        """Where smdebug was told to compute one."""
        content = payload()
        assert 2 == tensor_layout(record(content, smdebugs_crc(content)), "w", 7).size

    def test_fields_that_are_not_known_are_passed_over(self) -> None:
        """Of every wire type, with keys of one byte and of two."""
        unknown = b"".join(
            [field(9, 0, b"\x81\x01"), field(9, 1, bytes(8)), field(9, 2, b"abc"), field(9, 5, bytes(4))]
            + [varint(500 << 3 | 5) + bytes(4)]
        )
        tensor = unknown + field(1, 0, b"\x01") + field(2, 2, unknown + field(2, 2, field(1, 0, b"\x01") + unknown))
        assert (1,) == tensor_layout(record(event_of(tensor + field(4, 2, bytes(4)), extra=unknown)), "w", 7).shape

    def test_a_step_beyond_32_bits(self) -> None:
        """Steps are int64."""
        assert 2 == tensor_layout(record(payload(step=2**40)), "w", 2**40).size

    def test_step_zero_is_not_written(self) -> None:
        """Protobuf leaves zeros out."""
        assert 2 == tensor_layout(record(payload(step=0)), "w", 0).size


class TestUnreadable:
    @pytest.mark.parametrize("size", [0, 1, 15])
    def test_less_than_a_record(self, size: int) -> None:
        """A record has at least its header and footer."""
        assert f"is truncated: {size} bytes, less than an empty record has" == why_unreadable(memoryview(bytes(size)))

    def test_every_flipped_bit_of_a_checked_record_shows(self) -> None:
        """Nothing of a record with checksums can change unseen, not even to the value that means unchecked."""
        content = payload()
        sound = bytes(record(content, smdebugs_crc(content)))
        for bit in range(8 * len(sound)):
            damaged = bytearray(sound)
            damaged[bit // 8] ^= 1 << bit % 8
            assert why_unreadable(memoryview(bytes(damaged))).startswith(("is corrupt", "has "))

    def test_every_cut_shows(self) -> None:
        """A record without its last bytes is never read."""
        sound = record(payload())
        for size in range(len(sound)):
            assert why_unreadable(sound[:size]).startswith(("is truncated", "has "))

    def test_a_flipped_bit_of_the_length(self) -> None:
        """The length has its own checksum, always."""
        damaged = bytearray(record(payload()))
        damaged[1] ^= 1
        assert "is corrupt: the checksum of its length does not hold" == why_unreadable(memoryview(bytes(damaged)))

    def test_another_length_than_the_index_says(self) -> None:
        """Both lengths are named."""
        view = memoryview(bytes(record(payload())) + bytes(3))
        assert f"has {len(view) - 3} bytes, while the index says {len(view)}" == why_unreadable(view)

    def test_another_tensor(self) -> None:
        """Both names are given."""
        assert "holds the tensor 'v' where the index names 'w'" == why_unreadable(record(payload("v")))

    def test_another_step(self) -> None:
        """A record of another step would give another ratio."""
        assert "is of step 8, while its index is of step 7" == why_unreadable(record(payload(step=8)))

    @pytest.mark.parametrize("kind", [0, 7, 11, 14, 101])
    def test_types_that_are_no_numbers(self, kind: int) -> None:
        """Strings, quantized types, bfloat16, references and none."""
        tensor = field(1, 0, bytes([kind])) + field(4, 2, bytes(4))
        assert f"holds no numbers (TensorFlow's data type {kind})" == why_unreadable(record(event_of(tensor)))

    @pytest.mark.parametrize(("shape", "size"), [((3,), 2), ((), 2), ((2**40, 2**40), 2), ((0,), 1), ((2,), 0)])
    def test_elements_that_are_not_as_many_as_the_shape_says(self, shape: tuple[int, ...], size: int) -> None:
        """Shape and bytes are named."""
        reason = why_unreadable(record(payload(array=np.zeros(size, np.float32), shape=shape)))
        assert f"has {4 * size} bytes of elements, while its shape {shape} of float32 needs " in reason

    def test_a_negative_dimension(self) -> None:
        """TensorFlow's unknown dimension, -1, is a huge number on the wire."""
        assert "while its shape" in why_unreadable(record(payload(shape=(-1,))))

    def test_too_many_dimensions(self) -> None:
        """No more than NumPy has."""
        assert "has more than 64 dimensions" == why_unreadable(record(payload(shape=(1,) * 65)))

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"", "holds no tensor: its event lacks field 5"),
            (field(5, 2, b""), "holds no tensor: its summary lacks field 1"),
            (field(5, 2, field(1, 2, b"")), "holds no tensor: its value lacks field 1"),
            (field(5, 2, field(1, 2, field(1, 2, b"w"))), "is of step 0, while its index is of step 7"),
            (field(2, 0, b"\x07") + field(5, 2, field(1, 2, field(1, 2, b"w"))), "its value lacks field 8"),
            (field(5, 0, b"\x01"), "holds no tensor: its event lacks field 5"),
            (b"\x2b", "is corrupt: wire type 3 at byte "),
            (field(5, 2, bytes(9))[:-1], "is longer than what holds it"),
            (field(9, 1, bytes(7)), "is longer than what holds it"),
            (b"\x10" + b"\xff" * 11, "is corrupt: a number that does not end at byte "),
            (b"\x10\x80", "is corrupt: a number that does not end at byte "),
            (event_of(field(1, 0, b"\x01") + field(2, 5, bytes(4))), "holds no tensor: its tensor lacks field 2"),
            (event_of(field(1, 0, b"\x01") + field(4, 0, b"\x01")), "holds no tensor: its tensor lacks field 4"),
        ],
    )
    def test_what_is_no_event(self, content: bytes, reason: str) -> None:
        """Each says what is missing or broken."""
        assert reason in why_unreadable(record(content))

    @settings(max_examples=300, deadline=None)
    @given(st.data())
    def test_damage_without_a_checksum_never_crashes(self, data: Any) -> None:
        """Any bytes changed: either a tensor of the right size or an UnreadableError, nothing else."""
        content = bytearray(payload(array=np.float32([[1, 2], [3, 4]])))
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        view = record(bytes(content))
        try:
            layout = tensor_layout(view, "w", 7)
        except UnreadableError:
            return
        assert layout.size == tensor_array(view, layout).size


class TestLikeAnother:
    """A layout that is known already is faster, not different."""

    LIKE = tensor_layout(record(payload(step=6)), "w", 6)

    @pytest.mark.parametrize(
        "content",
        [
            payload(),
            payload(step=1 << 40),
            payload(array=np.float32([3, 4])),
            payload(array=np.float32([3, 4, 5])),
            payload(kind=19, array=np.float16([1, 2])),
            payload(tag="v"),
            payload() + field(2, 0, varint(9)),
            payload() + field(5, 2, b""),
            payload()[:-3],
            event_of(bytes(tensor_proto(np.float32([1, 2])).SerializeToString())),
            b"\x09" + bytes(8) + event_of(bytes(tensor_proto(np.float32([1, 2])).SerializeToString())),
            b"\x09" + bytes(8) + event_of(bytes(tensor_proto(np.float32([1, 2])).SerializeToString())) + b"\x4a\x05",
            b"",
        ],
    )
    def test_same_layout_and_same_refusal(self, content: bytes) -> None:
        """Whatever the record, the walk without it says the same."""

        def read(like: Any) -> Any:
            try:
                return tensor_layout(record(content), "w", 7, like)
            except UnreadableError as error:
                return str(error)

        assert read(None) == read(self.LIKE)

    @pytest.mark.parametrize("step", [0, 1, 127, 128, 2**40])
    def test_the_walk_is_spared(self, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
        """Also where the lengths before the tag begin to take one more byte."""
        records, expected = [], []
        for size in (*range(90), *range(4010, 4090), 524_200, 524_250):
            weights = np.arange(size, dtype=np.float32)
            like = tensor_layout(record(payload(step=3, array=weights)), "w", 3)
            records.append((record(payload(step=step, array=weights)), like))
            expected.append(tensor_layout(records[-1][0], "w", step))
        monkeypatch.delattr("weight_update_ratio.trial.event_file._tensor_proto")  # which the walk ends in
        assert expected == [tensor_layout(view, "w", step, like) for view, like in records]

    @pytest.mark.parametrize("follows", [b"", field(10, 2, b"x"), field(9, 2, b"")])
    def test_metadata_as_long_as_is_looked_at(self, follows: bytes) -> None:
        """What follows behind it may be another tensor, which would be the one that counts."""
        proto = field(8, 2, bytes(tensor_proto(np.float32([1, 2])).SerializeToString()))
        value = field(1, 2, b"w") + proto + field(9, 2, bytes(1021)) + follows + proto
        content = b"\x09" + bytes(8) + b"\x10\x07" + field(5, 2, field(1, 2, value))
        assert tensor_layout(record(content), "w", 7) == tensor_layout(record(content), "w", 7, self.LIKE)
