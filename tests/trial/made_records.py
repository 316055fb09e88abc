"""Records as smdebug's generated protobuf classes and checksum make them, and events written field by field."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from smdebug.core.tfevent.proto.event_pb2 import Event
from smdebug.core.tfevent.proto.summary_pb2 import Summary, SummaryMetadata
from smdebug.core.tfevent.proto.tensor_pb2 import TensorProto
from smdebug.core.tfevent.proto.tensor_shape_pb2 import TensorShapeProto
from smdebug.core.tfrecord.record_writer import masked_crc32c as smdebugs_crc


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
