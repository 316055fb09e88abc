"""Records as smdebug's protobuf classes and checksum make them, events made field by field, and trials of records."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np
from google.protobuf.internal.encoder import _VarintBytes as varint
from smdebug.core.tfevent.proto.event_pb2 import Event
from smdebug.core.tfevent.proto.summary_pb2 import Summary, SummaryMetadata
from smdebug.core.tfevent.proto.tensor_pb2 import TensorProto
from smdebug.core.tfevent.proto.tensor_shape_pb2 import TensorShapeProto
from smdebug.core.tfrecord.record_writer import masked_crc32c as smdebugs_crc

from tests.conftest import event_file, index_file


def tensor_proto(array: np.ndarray[Any, Any], kind: int = 1, shape: Any = None) -> Any:
    dims = [TensorShapeProto.Dim(size=size) for size in (array.shape if shape is None else shape)]
    return TensorProto(dtype=kind, tensor_content=array.tobytes(), tensor_shape=TensorShapeProto(dim=dims))


def payload(tag: str = "w", step: int = 7, array: Any = (1, 2), **options: Any) -> bytes:
    """Return a serialized Event, made by smdebug's generated protobuf classes."""
    array = array if isinstance(array, np.ndarray) else np.float32(array)
    data = SummaryMetadata.PluginData(plugin_name="mode_step", content="3")
    metadata = SummaryMetadata(plugin_data=[data])
    value = Summary.Value(tag=tag, tensor=tensor_proto(array, **options), metadata=metadata)
    return bytes(Event(wall_time=1.5, step=step, summary=Summary(value=[value])).SerializeToString())


def record(content: bytes, crc: int | None = None) -> memoryview:
    """Return a TFRecord around ``content``, with smdebug's checksums."""
    header = struct.pack("<Q", len(content))
    header += struct.pack("<I", smdebugs_crc(header))
    footer = struct.pack("<I", smdebugs_crc(b"0x12345678") if crc is None else crc)
    return memoryview(header + content + footer)


def field(number: int, wire: int, content: bytes) -> bytes:
    """Return one protobuf field; content of wire type 2 gets its length."""
    return varint(number << 3 | wire) + (varint(len(content)) if wire == 2 else b"") + content


def event(tensor: bytes, tag: bytes = b"w", step: int = 7, before: bytes = b"", after: bytes = b"") -> bytes:
    """Return an Event around a TensorProto: ``before`` is ahead of its step, and ``after`` is behind the tensor."""
    value = field(1, 2, tag) + field(8, 2, tensor) + after
    return before + (field(2, 0, varint(step)) if step else b"") + field(5, 2, field(1, 2, value))


def write_trial_of_records(
    path: Path, tensors: Sequence[str], steps: Mapping[int, Sequence[bytes | memoryview]]
) -> Path:
    """Write a trial whose steps have these records, which the index places as those of the first step are placed."""
    collections = {"collections": {"weights": {"tensor_names": list(tensors), "include_regex": []}}}
    (path / "collections" / "000000000").mkdir(parents=True)
    (path / "collections" / "000000000" / "worker_0_collections.json").write_text(json.dumps(collections))
    lengths = [len(content) for content in next(iter(steps.values()))]
    for step, records in steps.items():
        file = event_file(path, step)
        file.parent.mkdir(parents=True)
        file.write_bytes(
            b"".join(bytes(content)[:length].ljust(length, b"\0") for content, length in zip(records, lengths))
        )
        meta = {"mode": "TRAIN", "mode_step": step, "event_file_name": str(file.relative_to(path))}
        payload = [
            {"tensorname": tensor, "start_idx": sum(lengths[:number]), "length": lengths[number]}
            for number, tensor in enumerate(tensors)
        ]
        index_file(path, step).parent.mkdir(parents=True, exist_ok=True)
        index_file(path, step).write_text(json.dumps({"meta": meta, "tensor_payload": payload}))
    (path / "training_job_end.ts").touch()
    return path
