"""What one worker saved in one mode, in the order of global steps. References are looked up here.

Numbers normally rise with the global step. A resumed job repeats some, and the MXNet hook can number a step twice.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import NamedTuple

from .index_file import Records


class WorkerStep(NamedTuple):
    """What one worker saved at one global step: one index file and its selected tensors."""

    worker: str
    mode: str
    step: int
    global_step: int
    index_file: str
    event_file: str
    records: Records


class Timeline:
    """The saved steps of one worker in one mode."""

    def __init__(self) -> None:
        self.steps: list[WorkerStep] = []  # ascending by global step
        self.global_steps: list[int] = []
        self._by_number: list[tuple[int, int]] = []  # (number, -position), ascending

    def append(self, step: WorkerStep) -> None:
        """Add a step, which is after all others."""
        insort(self._by_number, (step.step, -len(self.steps)))
        self.steps.append(step)
        self.global_steps.append(step.global_step)

    def cut(self, global_step: int) -> None:
        """Remove the steps from ``global_step`` on, which are read again."""
        end = bisect_left(self.global_steps, global_step)
        if end < len(self.steps):
            del self.steps[end:], self.global_steps[end:]
            self._by_number = [entry for entry in self._by_number if -entry[1] < end]

    def position(self, global_step: int) -> int | None:
        position = bisect_left(self.global_steps, global_step)
        return position if self.global_steps[position : position + 1] == [global_step] else None

    def between(self, lowest: int, end: int) -> list[int]:
        """Return the positions of the numbers from ``lowest`` to before ``end``, sorted by number, the latest first."""
        first, last = (bisect_left(self._by_number, (number, -len(self.steps))) for number in (lowest, end))
        return [-negative for _, negative in self._by_number[first:last]]

    def saved_again(self) -> list[int]:
        """Return the positions of steps of which a later global step saves a tensor again under the same number."""
        return [at for at, step in enumerate(self.steps) if len(self.counted(at)) < len(step.records)]

    def counted(self, position: int) -> tuple[str, ...]:
        """Return the tensors of a step whose rows count: no later step saves them again under the same number."""
        number, records = self.steps[position].step, self.steps[position].records
        later = [self.steps[other].records for other in self.between(number, number + 1) if other > position]
        return tuple(t for t in records if not any(t in other for other in later)) if later else tuple(records)
