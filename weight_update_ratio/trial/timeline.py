"""What one worker saved in one mode, in the order of global steps: where references are looked up.

Numbers normally rise with the global step. A resumed job repeats some, and the MXNet hook can number a step twice.
"""

from __future__ import annotations

from bisect import bisect_left
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
        self.numbers: list[int] = []  # in the mode
        self.rises = True  # each number is above the one before, so that no number is saved twice
        self._by_number: list[tuple[int, int]] = []  # (number, -position), ascending; made when it is asked for

    def append(self, step: WorkerStep) -> None:
        """Add a step, which is after all others."""
        self.rises = self.rises and (not self.numbers or step.step > self.numbers[-1])
        self.steps.append(step)
        self.global_steps.append(step.global_step)
        self.numbers.append(step.step)
        self._by_number = []

    def cut(self, global_step: int) -> None:
        """Remove the steps from ``global_step`` on, which are read again."""
        position = bisect_left(self.global_steps, global_step)
        del self.steps[position:], self.global_steps[position:], self.numbers[position:]
        self.rises = self.rises or all(before < after for before, after in zip(self.numbers, self.numbers[1:]))
        self._by_number = []

    def position(self, global_step: int) -> int | None:
        """Return the position of a global step in the timeline, or None."""
        position = bisect_left(self.global_steps, global_step)
        return position if self.global_steps[position : position + 1] == [global_step] else None

    def between(self, lowest: int, end: int) -> list[int]:
        """Return the positions of the numbers from ``lowest`` to before ``end``, sorted by number, the latest first."""
        if self.rises:
            return list(range(bisect_left(self.numbers, lowest), bisect_left(self.numbers, end)))
        if not self._by_number:
            self._by_number = sorted((number, -position) for position, number in enumerate(self.numbers))
        first, last = (bisect_left(self._by_number, (number, -len(self.numbers))) for number in (lowest, end))
        return [-negative for _, negative in self._by_number[first:last]]

    def saved_again(self) -> list[tuple[int, str]]:
        """Return (position, tensor) of all that a later global step saves again under the same number."""
        steps = () if self.rises else enumerate(self.steps)
        return [(at, tensor) for at, step in steps for tensor in step.records if self.is_saved_again(at, tensor)]

    def counted(self, position: int) -> tuple[str, ...]:
        """Return the tensors of a step whose rows count: no later step saves them again under the same number."""
        records = self.steps[position].records
        return tuple(records if self.rises else (t for t in records if not self.is_saved_again(position, t)))

    def is_saved_again(self, position: int, tensor: str) -> bool:
        """Return whether a later global step saves the same tensor under the same number, so that its row counts."""
        number = self.numbers[position]
        later = (other for other in self.between(number, number + 1) if other > position)
        return any(tensor in self.steps[other].records for other in later)
