"""Records against smdebug's own writer and checksum, and against everything that can be wrong with one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trial.made_records import event, field, payload, record, smdebugs_crc, varint
from weight_update_ratio.errors import UnreadableError
from weight_update_ratio.trial.event_file import tensor_layout
from weight_update_ratio.trial.wire_format import masked_crc32c

TYPES = {  # by their numbers in TensorFlow's types.proto
    1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 5: "<i2", 6: "i1", 8: "<c8", 9: "<i8", 10: "?", 17: "<u2", 18: "<c16",
    19: "<f2", 22: "<u4", 23: "<u8",
}  # fmt: skip
FLOAT = field(1, 0, b"\x01")
OF_ONE = FLOAT + field(4, 2, bytes(4))  # a tensor of one element


def elements(view: memoryview, tensor: str = "w", step: int = 7) -> np.ndarray[Any, Any]:
    layout = tensor_layout(view, tensor, step)
    return np.frombuffer(view, layout.dtype, layout.size, layout.offset).reshape(layout.shape)


def why_unreadable(view: memoryview) -> str:
    with pytest.raises(UnreadableError) as caught:
        elements(view)
    return str(caught.value)


@given(st.binary(max_size=300))
def test_the_checksum_is_smdebugs(content: bytes) -> None:
    assert smdebugs_crc(content) == masked_crc32c(content)


class TestTensors:
    @pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 0, 2), (2, 3), (200,), (1,) * 32])
    def test_shapes(self, shape: tuple[int, ...]) -> None:
        """Elements and shape are those that were written; nobody can change them."""
        array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        actual = elements(record(payload(array=array)))
        assert (array.shape, array.dtype, array.tolist()) == (actual.shape, actual.dtype, actual.tolist())
        assert not actual.flags.writeable

    @pytest.mark.parametrize(("kind", "dtype"), TYPES.items())
    def test_types(self, kind: int, dtype: str) -> None:
        array = np.array([0, 1, 1, 0], dtype)
        actual = elements(record(payload(array=array, kind=kind)))
        assert (array.dtype, array.tolist()) == (actual.dtype, actual.tolist())

    @pytest.mark.parametrize("tag", ["", "a/b:0", "größe", "x" * 20_000, "\ud800"])
    def test_names(self, tag: str) -> None:
        """Of any length and alphabet; a lone surrogate, which JSON can hold, is no crash."""
        content = event(OF_ONE, tag.encode("utf-8", "surrogatepass"))
        assert 1 == elements(record(content), tag).size

    @pytest.mark.parametrize("step", [0, 1, 127, 128, 2**40])
    @pytest.mark.parametrize("checksum", [False, True])
    def test_steps(self, step: int, checksum: bool) -> None:
        """Also 0, which protobuf leaves out, and where smdebug was told to compute a checksum of the content."""
        content = payload(step=step)
        assert [1, 2] == elements(record(content, smdebugs_crc(content) if checksum else None), step=step).tolist()

    def test_fields_that_are_not_known_are_passed_over(self) -> None:
        unknown = field(9, 0, b"\x81\x01") + field(9, 1, bytes(8)) + field(9, 2, b"abc") + field(500, 5, bytes(4))
        dims = field(2, 2, unknown + field(2, 2, field(1, 0, b"\x01") + unknown))
        tensor = unknown + FLOAT + dims + field(4, 2, bytes(4))
        assert (1,) == elements(record(event(tensor, before=unknown))).shape


class TestUnreadable:
    @pytest.mark.parametrize(
        ("view", "reason"),
        [
            (memoryview(bytes(15)), "is truncated: 15 bytes, less than an empty record has"),
            (memoryview(bytes(record(payload())) + bytes(3)), "has 72 bytes, while the index says 75"),
            (record(payload("v")), "holds the tensor 'v' where the index names 'w'"),
            (record(payload(step=8)), "is of step 8, while its index is of step 7"),
            (record(payload(shape=(3,))), "has 8 bytes of elements, while its shape (3,) of float32 needs 12"),
            (record(payload(shape=())), "has 8 bytes of elements, while its shape () of float32 needs 4"),
            (record(payload(shape=(0,))), "has 8 bytes of elements, while its shape (0,) of float32 needs 0"),
            (record(payload(array=(), shape=(2,))), "has 0 bytes of elements, while its shape (2,) of float32 needs 8"),
            (record(payload(shape=(2**62,) * 3)), f" {(2**62,) * 3} of float32 needs {2**188}"),
            (record(payload(shape=(2**32,) * 2)), f" {(2**32,) * 2} of float32 needs {2**66}"),
            (record(payload(shape=(-1,))), f" (18446744073709551615,) of float32 needs {2**66 - 4}"),
        ],
    )
    def test_another_record_than_the_index_says(self, view: memoryview, reason: str) -> None:
        assert reason in why_unreadable(view)

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"", "holds no tensor: its event lacks field 5"),
            (field(5, 0, b"\x01"), "holds no tensor: its event lacks field 5"),
            (field(5, 2, b""), "holds no tensor: its summary lacks field 1"),
            (field(5, 2, field(1, 2, b"")), "holds no tensor: its value lacks field 1"),
            (field(5, 2, field(1, 2, field(1, 2, b"w"))), "is of step 0, while its index is of step 7"),
            (field(2, 0, b"\x07") + field(5, 2, field(1, 2, field(1, 2, b"w"))), "its value lacks field 8"),
            (event(FLOAT + field(2, 5, bytes(4))), "holds no tensor: its tensor lacks field 2"),
            (event(FLOAT + field(4, 0, b"\x01")), "holds no tensor: its tensor lacks field 4"),
            (event(field(4, 2, bytes(4))), "holds no numbers (TensorFlow's data type 0)"),
            (event(field(1, 0, b"\x07")), "holds no numbers (TensorFlow's data type 7)"),  # strings
            (event(field(1, 0, b"\x0e")), "holds no numbers (TensorFlow's data type 14)"),  # bfloat16
            (event(field(1, 0, varint(101))), "holds no numbers (TensorFlow's data type 101)"),  # a reference
            (b"\x2b", "is corrupt: wire type 3 at byte 13"),
            (field(9, 1, bytes(7)), "is corrupt: a field at byte 13 is longer than what holds it"),
            (field(5, 2, bytes(9))[:-1], "is corrupt: a field at byte 14 is longer than what holds it"),
            (b"\x10" + b"\xff" * 11, "is corrupt: a number that does not end at byte 23"),
            (b"\x10\x80", "is corrupt: a number that does not end at byte 14"),
        ],
    )
    def test_what_is_no_event_of_numbers(self, content: bytes, reason: str) -> None:
        assert reason in why_unreadable(record(content))

    def test_every_flipped_bit_and_every_cut_shows(self) -> None:
        """Of a record with checksums nothing changes unseen, not even to the value that means unchecked."""
        sound = bytes(record(payload(), smdebugs_crc(payload())))
        for bit in range(8 * len(sound)):
            damaged = bytearray(sound)
            damaged[bit // 8] ^= 1 << bit % 8
            assert why_unreadable(memoryview(damaged)).startswith(("is corrupt: the checksum of its ", "has "))
        for size in range(len(sound)):
            assert why_unreadable(memoryview(sound[:size])).startswith(("is truncated", "has "))
