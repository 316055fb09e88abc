"""Records that are next to each other in an event file: read together, and checked together.

While a tensor keeps its shape, its records differ from step to step in wall time, step, elements and metadata alone. So
a group's records are parsed once. At a later step all other bytes of the group are compared at once with those of the
step that was parsed, and the steps with the one that the index names.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Sequence

import numpy as np

from ..errors import UnreadableError
from .event_file import (
    FOOTER,
    HEADER,
    METADATA_KEY,
    TIME_KEY,
    UNCHECKED_FOOTER,
    TensorLayout,
    encoded_step,
    tensor_layout,
)
from .index_file import Records
from .wire_format import message_fields

GROUP_BYTES = 2 << 20  # of records that are read at once; a longer record is read alone
UNREAD_GAP = 4096  # bytes; a longer stretch that nobody needs is not read
TIMED = HEADER + 1 + 8  # where the wall time ends, which smdebug writes first

_Positions = Any  # an array of int64: bytes of a group or a record


class RecordGroup:
    """Some records of an event file, which other steps' event files have at the same bytes.

    Args:
        tensors: All tensors that are read of the event file.
        spans: (first byte, length, position in ``tensors``) of each record of the group.
    """

    def __init__(self, tensors: Sequence[str], spans: list[tuple[int, int, int]]) -> None:
        self.positions = [position for _, _, position in spans]
        self.tensors = [tensors[position] for position in self.positions]
        self.start = spans[0][0]  # the first byte in the file
        self.length = max(first + length for first, length, _ in spans) - self.start
        self._parts = [(first - self.start, first - self.start + length) for first, length, _ in spans]
        self._parsed: _Parsed | None = None
        self._given = tensors, spans

    def alone(self) -> list[RecordGroup]:
        """Return a group for each record."""
        tensors, spans = self._given
        return [RecordGroup(tensors, [span]) for span in spans]

    def layouts(self, content: memoryview, step: int) -> list[TensorLayout | str]:
        """Return where in the group's bytes each tensor's elements are, or why its record cannot be read."""
        parsed = self._parsed  # another thread may replace it: workers share their plans
        if parsed is not None and parsed.is_like(content, step):
            return parsed.layouts
        layouts: list[TensorLayout | str] = []
        for tensor, (first, end) in zip(self.tensors, self._parts):
            try:
                layout = tensor_layout(content[first:end], tensor, step)
                layouts.append(layout._replace(offset=first + layout.offset))
            except UnreadableError as error:
                layouts.append(str(error))
        self._parsed = self._remembered(content, layouts, step)
        return layouts

    def _remembered(self, content: memoryview, layouts: list[TensorLayout | str], step: int) -> _Parsed | None:
        """Return what the records share with those of other steps; None: not all are as smdebug writes them."""
        same: list[_Positions] = []
        steps: list[_Positions] = []
        for layout, (first, end) in zip(layouts, self._parts):
            if isinstance(layout, str):
                return None
            parts = _parts_of_every_step(content[first:end], layout._replace(offset=layout.offset - first), step)
            if parts is None:
                return None
            same.append(first + parts[0])
            steps.append(first + parts[1])
        positions = np.concatenate(same)
        return _Parsed(layouts, positions, np.frombuffer(content, np.uint8)[positions].tobytes(), np.concatenate(steps))


class _Parsed(NamedTuple):
    layouts: list[TensorLayout | str]
    same: _Positions  # the bytes that are the same at every step
    octets: bytes  # and these bytes
    steps: _Positions

    def is_like(self, content: memoryview, step: int) -> bool:
        octets = np.frombuffer(content, np.uint8)
        steps = encoded_step(step) * len(self.layouts)
        return bool(octets[self.steps].tobytes() == steps and octets[self.same].tobytes() == self.octets)


def _parts_of_every_step(record: memoryview, layout: TensorLayout, step: int) -> tuple[_Positions, _Positions] | None:
    """Return the bytes that a tensor's record has at every step, and those of its step.

    The others are the wall time, the elements and the metadata. None: smdebug writes its records in another way.
    """
    payload_end = len(record) - FOOTER
    number = encoded_step(step)
    step_end = TIMED + len(number)
    fields = [field for field, *_ in message_fields(record, HEADER, payload_end)]
    is_timed = record[HEADER] == TIME_KEY and record[TIMED:step_end] == number
    if not is_timed or fields != ([1, 2, 5] if number else [1, 5]) or record[payload_end:] != UNCHECKED_FOOTER:
        return None  # a checksum of the content is compared at every step
    elements_end = layout.offset + layout.size * layout.dtype.itemsize
    metadata = record[elements_end:payload_end]
    is_metadata = len(metadata) > 1 and metadata[0] == METADATA_KEY and metadata[1] == len(metadata) - 2 < 0x80
    same_end = elements_end + 2 if is_metadata else payload_end
    same = np.r_[0 : HEADER + 1, step_end : layout.offset, elements_end:same_end, payload_end : len(record)]
    return same, np.arange(TIMED, step_end)


def record_plan(records: Records, tensors: Sequence[str]) -> tuple[list[RecordGroup], list[tuple[str, str]]]:
    """Return in which groups the records of tensors are read, and (tensor, reason) of those that cannot be."""
    refused: list[tuple[str, str]] = []
    spans: list[tuple[int, int, int]] = []
    for position, tensor in enumerate(tensors):
        span = records[tensor]
        if span is None:
            refused.append((tensor, "names no range of bytes for it"))
        else:
            spans.append((*span, position))
    groups: list[list[tuple[int, int, int]]] = []
    end = 0
    for first, length, position in sorted(spans):
        if not groups or first > end + UNREAD_GAP or first + length > max(end, groups[-1][0][0] + GROUP_BYTES):
            groups.append([])
            end = 0
        groups[-1].append((first, length, position))
        end = max(end, first + length)
    return [RecordGroup(tensors, group) for group in groups], refused
