"""Records that lie next to each other in an event file: read together, and checked together.

While a tensor keeps its shape, its records differ from step to step in wall time, step, elements and metadata alone. So
a group's records are walked once. At a later step all other bytes of the group are compared at once with those of the
step that was walked, and the steps with the one that the index names.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Sequence

import numpy as np

from ..errors import UnreadableError
from .event_file import TensorLayout, encoded_step, parts_of_every_step, tensor_layout
from .index_file import Records

GROUP_BYTES = 2 << 20  # of records that are read at once; a longer record is read alone
UNREAD_GAP = 4096  # bytes; an unwanted stretch that is longer is not read


class RecordGroup:
    """Some records of an event file, which other steps' event files have at the same place.

    Attributes:
        tensors: Whose records they are, in the order of the file.
        places: Where these are among the tensors of the plan.
        start: The first byte in the file.
        length: How many bytes there are, up to the end of the last record.
    """

    def __init__(self, tensors: list[str], places: list[int], spans: list[tuple[int, int]]) -> None:
        self.tensors = tensors
        self.places = places
        self.start = spans[0][0]
        self.length = max(first + length for first, length in spans) - self.start
        self._records = [(first - self.start, first - self.start + length) for first, length in spans]
        self._walked: _Walked | None = None

    def alone(self) -> list[RecordGroup]:
        """Return a group for each record."""
        spans = [(self.start + first, end - first) for first, end in self._records]
        return [RecordGroup([self.tensors[n]], [self.places[n]], [span]) for n, span in enumerate(spans)]

    def layouts(self, content: memoryview, step: int) -> list[TensorLayout | str]:
        """Return where in the group's bytes each tensor's elements are, or why its record cannot be read.

        Args:
            content: The bytes; uint8, shape (length,).
            step: The global step that they were saved at.
        """
        walked = self._walked  # another thread may replace it, for workers share their plans
        if walked is not None and walked.is_like(content, step):
            return walked.layouts
        layouts: list[TensorLayout | str] = []
        for tensor, (first, end) in zip(self.tensors, self._records):
            try:
                layout = tensor_layout(content[first:end], tensor, step)
                layouts.append(layout._replace(offset=first + layout.offset))
            except UnreadableError as error:
                layouts.append(str(error))
        self._walked = self._remembered(content, layouts, step)
        return layouts

    def _remembered(self, content: memoryview, layouts: list[TensorLayout | str], step: int) -> _Walked | None:
        """Return what the records have in common with those of other steps, where all are as smdebug writes them."""
        same: list[np.ndarray[Any, Any]] = []
        steps: list[np.ndarray[Any, Any]] = []
        for layout, (first, end) in zip(layouts, self._records):
            if isinstance(layout, str):
                return None
            parts = parts_of_every_step(content[first:end], layout._replace(offset=layout.offset - first), step)
            if parts is None:
                return None
            same += [np.arange(first + part.start, first + part.stop) for part in parts[0]]
            steps.append(np.arange(first + parts[1].start, first + parts[1].stop))
        places, step_places = np.concatenate(same), np.concatenate(steps)
        octets = np.frombuffer(content, np.uint8)
        return _Walked(layouts, places, octets[places].tobytes(), step_places)


class _Walked(NamedTuple):
    """What a group's records have in common: the layouts, and which bytes are where; and where their steps are."""

    layouts: list[TensorLayout | str]
    places: np.ndarray[Any, Any]
    octets: bytes
    step_places: np.ndarray[Any, Any]

    def is_like(self, content: memoryview, step: int) -> bool:
        """Return whether the records in these bytes, saved at a global step, need not be walked."""
        octets = np.frombuffer(content, np.uint8)
        steps = encoded_step(step) * len(self.layouts)
        return bool(octets[self.step_places].tobytes() == steps and octets[self.places].tobytes() == self.octets)


def record_plan(records: Records, tensors: Sequence[str]) -> tuple[list[RecordGroup], list[tuple[str, str]]]:
    """Return in which groups the records of tensors are read, and (tensor, reason) of those that cannot be."""
    refused: list[tuple[str, str]] = []
    spans: list[tuple[int, int, int]] = []  # first byte, length, place
    for place, tensor in enumerate(tensors):
        span = records[tensor]
        if span is None:
            refused.append((tensor, "names no range of bytes for it"))
        else:
            spans.append((*span, place))
    groups: list[list[tuple[int, int, int]]] = []
    end = 0
    for first, length, place in sorted(spans):
        if not groups or first > end + UNREAD_GAP or first + length > max(end, groups[-1][0][0] + GROUP_BYTES):
            groups.append([])
            end = 0
        groups[-1].append((first, length, place))
        end = max(end, first + length)
    return [_group(tensors, group) for group in groups], refused


def _group(tensors: Sequence[str], spans: list[tuple[int, int, int]]) -> RecordGroup:
    places = [place for _, _, place in spans]
    return RecordGroup([tensors[place] for place in places], places, [span[:2] for span in spans])
