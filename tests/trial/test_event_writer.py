"""write_records: each byte is what smdebug's protobuf classes write, and is read by this package's reader."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_st
from smdebug.core.modes import ModeKeys
from smdebug.core.tfevent.proto.event_pb2 import Event
from smdebug.core.tfrecord.record_writer import CHECKSUM_MAGIC_BYTES
from smdebug.core.tfrecord.record_writer import masked_crc32c as smdebugs_crc

from tests.conftest import TrialWriter, event_file, needs_writing
from weight_update_ratio.trial import event_writer, record_group
from weight_update_ratio.trial.event_file import DTYPES, tensor_array, tensor_layout
from weight_update_ratio.trial.event_writer import write_records
from weight_update_ratio.trial.record_group import RecordGroup

ARRAY = np.arange(6, dtype=np.float32).reshape(2, 3)


def written(
    tensors: Any, global_step: int = 7, mode: str = "TRAIN", step: int = 3
) -> tuple[bytes, dict[str, tuple[int, int]]]:
    """Return an event file, and where its records are."""
    file = io.BytesIO()
    records = write_records(file, tensors.items() if isinstance(tensors, dict) else tensors, global_step, mode, step)
    return file.getvalue(), records


def payloads(content: bytes) -> list[bytes]:
    """Return the payloads of an event file, whose checksums hold as smdebug computes them."""
    found, position = [], 0
    while position < len(content):
        (length,) = struct.unpack_from("<Q", content, position)
        assert (
            struct.pack("<I", smdebugs_crc(content[position : position + 8])) == content[position + 8 : position + 12]
        )
        end = position + 12 + length
        assert struct.pack("<I", smdebugs_crc(CHECKSUM_MAGIC_BYTES)) == content[end : end + 4]
        found.append(content[position + 12 : end])
        position = end + 4
    return found


def compared(payload: bytes) -> Any:
    """Return an Event of smdebug's classes without what may differ: the wall time, and the dimensions' names."""
    event = Event.FromString(payload)
    event.wall_time = 0
    for value in event.summary.value:
        for dim in value.tensor.tensor_shape.dim:
            dim.name = ""
    return event


def any_arrays(max_side: int = 4) -> st.SearchStrategy[Any]:
    """Give arrays of every type that a record may have."""
    dtypes = st.sampled_from(sorted(DTYPES.values(), key=str))
    shapes = np_st.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=max_side)
    return dtypes.flatmap(lambda dtype: np_st.arrays(dtype, shapes))


class TestAgainstSmdebug:
    @needs_writing
    @pytest.mark.parametrize(
        ("mode", "global_step", "step"), [("TRAIN", 0, 0), ("EVAL", 7, 3), ("GLOBAL", 2**40, 2**40)]
    )
    @pytest.mark.parametrize("dtype", sorted(DTYPES.values(), key=str), ids=str)
    def test_its_file_writer(self, tmp_path: Path, dtype: Any, mode: str, global_step: int, step: int) -> None:
        """The same tensor has the same record, but for the wall time and the dimensions' names."""
        tensors = {
            "w": np.arange(6).astype(dtype).reshape(2, 3),
            "Gewicht ß": np.ones((), dtype),
            "long": np.ones(300, dtype),
            "empty": np.ones((0, 3), dtype),
        }
        writer = TrialWriter(tmp_path / "t").save(global_step, tensors, mode, step)
        theirs = payloads(event_file(writer.path, global_step).read_bytes())
        ours = payloads(written(tensors, global_step, mode, step)[0])
        assert [compared(payload) for payload in theirs] == [compared(payload) for payload in ours]
        assert [compared(payload).SerializeToString() for payload in theirs] == [
            compared(payload).SerializeToString() for payload in ours
        ]

    @pytest.mark.parametrize("mode", ["TRAIN", "EVAL", "PREDICT", "GLOBAL"])
    def test_its_modes(self, mode: str) -> None:
        """The record's own note of mode and step is as smdebug writes it."""
        (payload,) = payloads(written({"w": ARRAY}, mode=mode, step=12)[0])
        (value,) = Event.FromString(payload).summary.value
        notes = {data.plugin_name: data.content for data in value.metadata.plugin_data}
        assert {"mode": str(ModeKeys[mode].value), "mode_step": "12"} == notes

    @settings(deadline=None, max_examples=30)
    @given(st.dictionaries(st.text(min_size=1, max_size=140), any_arrays(), min_size=1), st.integers(0, 2**62))
    def test_its_protobuf_classes(self, tensors: Any, global_step: int) -> None:
        """They read each tensor, and would write the very same bytes."""
        content, _ = written(tensors, global_step)
        found = payloads(content)
        assert found == [Event.FromString(payload).SerializeToString() for payload in found]
        for payload, (name, array) in zip(found, tensors.items()):
            event = Event.FromString(payload)
            (value,) = event.summary.value
            assert (global_step, name) == (event.step, value.tag)
            assert array.dtype == DTYPES[value.tensor.dtype]
            assert array.shape == tuple(dim.size for dim in value.tensor.tensor_shape.dim)
            assert array.tobytes() == value.tensor.tensor_content


class TestRecords:
    @settings(deadline=None, max_examples=40)
    @given(st.dictionaries(st.text(max_size=9), any_arrays(), max_size=4), st.integers(0, 2**62))
    def test_places(self, tensors: Any, global_step: int) -> None:
        """Each record is where it is said to be, follows the one before, and is read as the tensor that it is of."""
        content, records = written(tensors, global_step)
        assert list(tensors) == list(records)
        position = 0
        for name, (start, length) in records.items():
            assert position == start
            position += length
            view = memoryview(content)[start : start + length]
            layout = tensor_layout(view, name, global_step)
            assert (tensors[name].dtype, tensors[name].shape) == (layout.dtype, layout.shape)
            assert tensors[name].tobytes() == tensor_array(view, layout).tobytes()
        assert position == len(content)

    @pytest.mark.parametrize("size", [*range(20), 100, 115, 116, 117, 118, 127, 128, 16300, 16384, 2**21])
    def test_lengths(self, size: int) -> None:
        """Lengths of one byte to four; the shortcut that the reader takes finds what a walk finds."""
        content, records = written([(name, np.full(size, 3, np.uint8)) for name in "ab"], global_step=200)
        first, second = (memoryview(content)[start : start + length] for start, length in records.values())
        layout = tensor_layout(first, "a", 200)
        assert layout == tensor_layout(second, "b", 200)
        assert [3] * size == tensor_array(first, layout).tolist()
        later, places = written([(name, np.full(size, 4, np.uint8)) for name in "ab"], global_step=300)
        assert records == places
        group = RecordGroup(["a", "b"], [0, 1], list(records.values()))
        expected = [layout, layout._replace(offset=len(first) + layout.offset)]
        assert expected == group.layouts(memoryview(content), 200)
        with pytest.MonkeyPatch.context() as patch:
            patch.delattr(record_group, "tensor_layout")
            assert expected == group.layouts(memoryview(later), 300)
        assert [4] * size == tensor_array(memoryview(later), expected[1]).tolist()

    def test_the_wall_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is the time at which the step is written."""
        monkeypatch.setattr(event_writer.time, "time", lambda: 1234.5)
        assert [1234.5] * 2 == [
            Event.FromString(payload).wall_time for payload in payloads(written({"a": 1.0 * ARRAY, "b": ARRAY})[0])
        ]

    def test_most_dimensions(self) -> None:
        """As many as NumPy has."""
        shape = (1,) * (64 if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else 32)
        content, _ = written({"w": np.ones(shape, np.float16)})
        assert shape == tensor_layout(memoryview(content), "w", 7).shape

    def test_nothing(self) -> None:
        """No tensors make an empty file."""
        assert (b"", {}) == written({})


class TestRefusals:
    def test_two_of_one_name(self) -> None:
        """The error names it."""
        with pytest.raises(ValueError, match="'w'"):
            written([("w", ARRAY), ("v", ARRAY), ("w", ARRAY)])

    @pytest.mark.parametrize("name", ["\ud800", "w\udfff"])
    def test_lone_surrogates(self, name: str) -> None:
        """They are not Unicode."""
        with pytest.raises(ValueError):
            written({name: ARRAY})

    def test_two_gibibytes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A record is refused from the length on that the reader's bound has; not a byte of it is written."""
        (length,) = (length for _, length in written({"w": ARRAY})[1].values())
        monkeypatch.setattr(event_writer, "LONGEST_RECORD", length + 1)
        assert length == len(written({"w": ARRAY})[0])
        monkeypatch.setattr(event_writer, "LONGEST_RECORD", length)
        file = io.BytesIO()
        with pytest.raises(ValueError, match="'w' has 24 bytes, and a record holds less than 2 GiB"):
            write_records(file, [("w", ARRAY)], 7, "TRAIN", 3)
        assert b"" == file.getvalue()
