"""Records against smdebug's own writer and checksum, and against everything that can be wrong with one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smdebug.core.tfevent.proto.event_pb2 import Event
from smdebug.core.tfrecord.record_writer import masked_crc32c as smdebugs_crc

from tests.trial.made_records import event_of, field, payload, record, tensor_proto, varint
from weight_update_ratio.errors import UnreadableError
from weight_update_ratio.trial.event_file import (
    UNCHECKED,
    encoded_step,
    parts_of_every_step,
    tensor_array,
    tensor_layout,
)
from weight_update_ratio.trial.wire_format import masked_crc32c


def why_unreadable(view: memoryview, tensor: str = "w", step: int = 7) -> str:
    with pytest.raises(UnreadableError) as caught:
        tensor_array(view, tensor_layout(view, tensor, step))
    return str(caught.value)


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


class TestPartsOfEveryStep:
    """What a tensor's record has at every step, so that a later one need not be walked."""

    @pytest.mark.parametrize("step", [0, 1, 127, 128, 16383, 16384, 2**40, 2**62])
    def test_the_step(self, step: int) -> None:
        """As protobuf writes it."""
        assert Event(step=step).SerializeToString() == encoded_step(step)

    @pytest.mark.parametrize("step", [0, 1, 127, 128, 2**40])
    @pytest.mark.parametrize("size", [0, 1, 90, 5000])
    def test_they_are_all_but_time_elements_and_metadata(self, step: int, size: int) -> None:
        """Each byte is in one part or in one of these."""
        array = np.arange(size, dtype=np.float32)
        view = record(payload(step=step, array=array))
        layout = tensor_layout(view, "w", step)
        parts = parts_of_every_step(view, layout, step)
        assert parts is not None
        assert encoded_step(step) == bytes(view[parts.step])
        rest = set(range(len(view)))
        for part in [*parts.same, parts.step]:
            places = set(range(part.start, part.stop))
            assert places <= rest, "two parts have one byte"
            rest -= places
        elements = set(range(layout.offset, layout.offset + array.nbytes))
        metadata = Event.FromString(bytes(view[12:-4])).summary.value[0].metadata.ByteSize()
        assert rest == {*range(13, 21), *elements, *range(len(view) - 4 - metadata, len(view) - 4)}

    @settings(max_examples=200, deadline=None)
    @given(st.sampled_from([0, 1, 300]), st.integers(0, 9), st.booleans(), st.data())
    def test_nothing_beside_them_changes_the_layout(self, step: int, size: int, has_metadata: bool, data: Any) -> None:
        """Whatever stands there."""
        array = np.arange(size, dtype=np.float32)
        proto = bytes(tensor_proto(array).SerializeToString())
        time = b"\x09" + bytes(8)
        content = payload(step=step, array=array) if has_metadata else time + event_of(proto, step=step)
        view = record(content)
        layout = tensor_layout(view, "w", step)
        parts = parts_of_every_step(view, layout, step)
        assert (parts is None) == (step == 0 and not has_metadata)  # a step of 0 that is written
        if parts is None:
            return
        changed = bytearray(data.draw(st.binary(min_size=len(view), max_size=len(view))))
        for part in [*parts.same, parts.step]:
            changed[part] = view[part]
        assert layout == tensor_layout(memoryview(bytes(changed)), "w", step)

    @pytest.mark.parametrize(
        "content",
        [
            payload()[9:],  # no wall time
            payload()[9:11] + payload()[:9] + payload()[11:],  # the step comes first
            payload() + field(2, 0, b"\x07"),  # the step twice
            payload() + field(5, 2, b"") + payload()[11:],  # two summaries
            payload() + field(1, 1, bytes(8)),  # the time twice
            payload() + field(9, 2, b"abc"),  # a field that is not known
            payload()[:9] + b"\x10\x87\x00" + payload()[11:],  # a step of two bytes where one is enough
            payload()[:9] + payload()[11:] + payload()[9:11],  # the step comes last
        ],
    )
    def test_what_smdebug_does_not_write(self, content: bytes) -> None:
        """It is a record, and is walked at every step."""
        view = record(content)
        assert parts_of_every_step(view, tensor_layout(view, "w", 7), 7) is None

    def test_a_step_of_zero_that_is_written(self) -> None:
        """Protobuf would leave it out."""
        view = record(payload(step=0)[:9] + b"\x10\x00" + payload(step=0)[9:])
        assert parts_of_every_step(view, tensor_layout(view, "w", 0), 0) is None

    def test_content_with_a_checksum(self) -> None:
        """It is compared at every step."""
        view = record(payload(), smdebugs_crc(payload()))
        assert parts_of_every_step(view, tensor_layout(view, "w", 7), 7) is None

    @pytest.mark.parametrize("size", [0, 1, 127, 128])
    def test_metadata(self, size: int) -> None:
        """What is in it does not count where it is short and ends the record; else it is the same at every step."""
        proto = field(8, 2, bytes(tensor_proto(np.float32([1, 2])).SerializeToString()))
        for last, free in [(b"", size < 0x80), (field(9, 2, b""), False), (field(10, 2, b"x"), False)]:
            value = field(1, 2, b"w") + proto + field(9, 2, bytes(size)) + last
            view = record(b"\x09" + bytes(8) + b"\x10\x07" + field(5, 2, field(1, 2, value)))
            parts = parts_of_every_step(view, tensor_layout(view, "w", 7), 7)
            assert parts is not None
            in_it = len(view) - 4 - len(last) - size
            compared = {place for part in parts.same for place in range(part.start, part.stop)}
            assert free == compared.isdisjoint(range(in_it, in_it + size)) or not size
            assert set(range(in_it + size, len(view))) <= compared
