"""write_records: each byte is what smdebug's protobuf classes write, and is read by this package's reader."""

from __future__ import annotations

import io
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_st
from smdebug.core.tfevent.proto.event_pb2 import Event
from smdebug.core.tfrecord.record_writer import CHECKSUM_MAGIC_BYTES
from smdebug.core.tfrecord.record_writer import masked_crc32c as smdebugs_crc

from tests.conftest import TrialWriter, event_file, needs_writing
from weight_update_ratio.trial.event_file import DTYPES, tensor_layout
from weight_update_ratio.trial.event_writer import write_records

TYPES = sorted(DTYPES.values(), key=str)
ARRAYS = np_st.arrays(st.sampled_from(TYPES), np_st.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4))


def written(
    tensors: dict[str, Any], global_step: int, mode: str = "TRAIN", step: int = 3
) -> tuple[bytes, dict[str, tuple[int, int]]]:
    file = io.BytesIO()
    records = write_records(file, tensors.items(), global_step, mode, step)
    return file.getvalue(), records


def payloads(content: bytes) -> list[bytes]:
    """Return the payloads of an event file, whose checksums hold as smdebug computes them."""
    contents, position = [], 0
    while position < len(content):
        (length,) = struct.unpack_from("<Q", content, position)
        length_crc = struct.pack("<I", smdebugs_crc(content[position : position + 8]))
        assert length_crc == content[position + 8 : position + 12]
        end = position + 12 + length
        assert struct.pack("<I", smdebugs_crc(CHECKSUM_MAGIC_BYTES)) == content[end : end + 4]
        contents.append(content[position + 12 : end])
        position = end + 4
    return contents


def without_names(payload: bytes) -> bytes:
    """Return an event of smdebug's classes without what may differ: the wall time, and the dimensions' names."""
    event = Event.FromString(payload)
    event.wall_time = 0
    for value in event.summary.value:
        for dim in value.tensor.tensor_shape.dim:
            dim.name = ""
    return bytes(event.SerializeToString())


@needs_writing
@pytest.mark.parametrize(
    ("mode", "global_step", "step"), [("TRAIN", 0, 0), ("EVAL", 7, 3), ("PREDICT", 300, 12), ("GLOBAL", 2**40, 2**40)]
)
def test_records_are_those_of_smdebugs_file_writer(tmp_path: Path, mode: str, global_step: int, step: int) -> None:
    """Of every type, but for the wall time and the dimensions' names."""
    shapes = {"w": (2, 3), "Gewicht ß": (), "long": (300,), "empty": (0, 3)}
    tensors = {f"{name}.{dtype}": np.ones(shape, dtype) for dtype in TYPES for name, shape in shapes.items()}
    writer = TrialWriter(tmp_path / "t").save(global_step, tensors, mode, step)
    theirs = payloads(event_file(writer.path, global_step).read_bytes())
    ours = payloads(written(tensors, global_step, mode, step)[0])
    assert list(map(without_names, theirs)) == list(map(without_names, ours))


@settings(max_examples=50)
@given(st.dictionaries(st.text(min_size=1, max_size=140), ARRAYS, max_size=4), st.integers(0, 2**62))
def test_any_tensors(tensors: Any, global_step: int) -> None:
    """Protobuf's classes read each and would write the very same bytes; the reader finds it where it is said to be."""
    content, records = written(tensors, global_step)
    contents = payloads(content)
    assert contents == [Event.FromString(payload).SerializeToString() for payload in contents]
    assert list(tensors) == list(records)
    position = 0
    for payload, (name, (start, length)) in zip(contents, records.items()):
        array, event = tensors[name], Event.FromString(payload)
        (value,) = event.summary.value
        assert (global_step, name) == (event.step, value.tag)
        assert abs(time.time() - event.wall_time) < 3600
        assert (array.dtype, array.tobytes()) == (DTYPES[value.tensor.dtype], value.tensor.tensor_content)
        assert array.shape == tuple(dim.size for dim in value.tensor.tensor_shape.dim)
        view = memoryview(content)[start : start + length]
        layout = tensor_layout(view, name, global_step)
        assert (position, array.dtype, array.shape) == (start, layout.dtype, layout.shape)
        assert array.tobytes() == np.frombuffer(view, layout.dtype, layout.size, layout.offset).tobytes()
        position += length
    assert position == len(content)


@pytest.mark.parametrize("size", [100, 115, 116, 117, 118, 127, 128, 16300, 16384, 2**21])
def test_lengths_of_one_byte_to_four(size: int) -> None:
    """Of the messages in each other, which do not grow by a byte at the same size."""
    content, records = written({"w": np.full(size, 3, np.uint8)}, 200)
    (payload,) = payloads(content)
    assert payload == Event.FromString(payload).SerializeToString()
    layout = tensor_layout(memoryview(content), "w", 200)
    assert [3] * size == np.frombuffer(content, layout.dtype, layout.size, layout.offset).tolist()
    assert {"w": (0, len(content))} == records
