"""Records that are next to each other in an event file: read together, and checked together.

While a tensor keeps its shape, its records differ in wall time, step, elements and metadata alone. So a group's records
are parsed once, and at later steps all other bytes are compared with those, and the steps with the index's.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Sequence

import numpy as np

from ..errors import UnreadableError
from .event_file import TensorLayout, encoded_step, parts_of_every_step, tensor_layout
from .index_file import Records

GROUP_BYTES = 2 << 20  # of records that are read at once; a longer record is read alone
UNREAD_GAP = 4096  # bytes; a longer stretch that nobody needs is not read


class RecordGroup:
    """Some records of an event file; ``spans`` are their (first byte, length, position in ``tensors``)."""

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
        parts: list[Any] = []
        for layout, (first, end) in zip(layouts, self._parts):
            if isinstance(layout, str):
                return None
            alone = parts_of_every_step(content[first:end], layout._replace(offset=layout.offset - first), step)
            if alone is None:
                return None
            parts.append((first + alone[0], first + alone[1]))
        same, steps = map(np.concatenate, zip(*parts))
        return _Parsed(layouts, same, np.frombuffer(content, np.uint8)[same].tobytes(), steps)


class _Parsed(NamedTuple):
    layouts: list[TensorLayout | str]
    same: np.ndarray[Any, Any]  # the bytes that are the same at every step
    octets: bytes  # and these bytes
    steps: np.ndarray[Any, Any]

    def is_like(self, content: memoryview, step: int) -> bool:
        octets = np.frombuffer(content, np.uint8)
        steps = encoded_step(step) * len(self.layouts)
        return bool(octets[self.steps].tobytes() == steps and octets[self.same].tobytes() == self.octets)


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
