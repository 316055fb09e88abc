"""Records that are next to each other in an event file: read together, and checked together.

While a tensor keeps its shape, its records differ in wall time, step, elements and metadata alone. So a group's records
are parsed once, and at later steps all other bytes are compared with those, and the steps with the index's.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Sequence, Tuple

import numpy as np

from ..errors import UnreadableError
from .event_file import TensorLayout, encoded_step, parts_of_every_step, tensor_layout
from .index_file import Records

Span = Tuple[int, int, int, str]  # first byte, length, position of the tensor among others, tensor

GROUP_BYTES = 2 << 20  # of records that are read at once; a longer record is read alone
UNREAD_GAP = 4096  # bytes; a longer stretch that nobody needs is not read


class RecordGroup:
    """Some records of an event file, by their spans."""

    def __init__(self, spans: list[Span]) -> None:
        self.positions = [position for _, _, position, _ in spans]
        self.tensors = [tensor for _, _, _, tensor in spans]
        self.start = spans[0][0]  # the first byte in the file
        self.length = max(first + length for first, length, _, _ in spans) - self.start
        self._parts = [(first - self.start, first - self.start + length) for first, length, _, _ in spans]
        self._parsed: _Parsed | None = None
        self._spans = spans

    def alone(self) -> list[RecordGroup]:
        return [RecordGroup([span]) for span in self._spans]

    def layouts(self, content: memoryview, step: int) -> list[TensorLayout | str]:
        """Return where in the group's bytes each tensor's elements are, or why its record cannot be read."""
        parsed = self._parsed  # another thread may replace it: workers share their plans
        if parsed is not None and parsed.is_like(content, step):
            return parsed.layouts
        layouts: list[TensorLayout | str] = []
        parts: list[list[Any]] = []  # of the records that are as smdebug writes them
        for tensor, (first, end) in zip(self.tensors, self._parts):
            record = content[first:end]
            try:
                layout = tensor_layout(record, tensor, step)
            except UnreadableError as error:
                layouts.append(str(error))
                continue
            layouts.append(layout._replace(offset=first + layout.offset))
            alone = parts_of_every_step(record, layout, step)
            if alone is not None:
                parts.append([first + each for each in alone])
        self._parsed = None
        if len(parts) == len(layouts):
            same, steps = map(np.concatenate, zip(*parts))
            self._parsed = _Parsed(layouts, same, np.frombuffer(content, np.uint8)[same].tobytes(), steps)
        return layouts


class _Parsed(NamedTuple):
    layouts: list[TensorLayout | str]
    same: np.ndarray[Any, Any]  # the bytes that are the same at every step
    octets: bytes  # and these bytes
    steps: np.ndarray[Any, Any]

    def is_like(self, content: memoryview, step: int) -> bool:
        octets = np.frombuffer(content, np.uint8)
        steps = encoded_step(step) * len(self.layouts)
        return bool(octets[self.steps].tobytes() == steps and octets[self.same].tobytes() == self.octets)


def record_plan(records: Records, tensors: Sequence[str]) -> tuple[list[RecordGroup], list[str]]:
    """Return in which groups the records of tensors are read, and the tensors of which the index names no bytes."""
    ranges = [(position, tensor, records[tensor]) for position, tensor in enumerate(tensors)]
    spans: list[Span] = [(*span, position, tensor) for position, tensor, span in ranges if span is not None]
    groups: list[list[Span]] = []
    end = 0
    for span in sorted(spans):
        first, length, *_ = span
        if not groups or first > end + UNREAD_GAP or first + length > max(end, groups[-1][0][0] + GROUP_BYTES):
            groups.append([])
            end = 0
        groups[-1].append(span)
        end = max(end, first + length)
    return [RecordGroup(group) for group in groups], [tensor for _, tensor, span in ranges if span is None]
