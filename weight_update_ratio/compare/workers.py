"""Entries about a worker or a tensor as a whole: numbers that were saved again, and what began late or ended early."""

from __future__ import annotations

from typing import Iterator

import numpy as np

from ..trial.folder import TrialFolder
from .rows import Array, SkippedGroup


def whole_notes(folder: TrialFolder, mode: str) -> list[SkippedGroup]:
    """Return the entries about each worker, whose tensor is None, and about each of its tensors, in the judged mode."""
    timelines = folder.timelines(mode)
    notes = []
    for timeline in timelines:
        numbers = sorted({timeline.steps[position].step for position in timeline.saved_again()})
        if numbers:
            reason = f"saved again later: {_step_ranges(numbers)}"
            notes.append(SkippedGroup(None, timeline.steps[0].worker, reason, numbers[0], numbers[-1], len(numbers)))
    saved = [steps for steps in ([step for step in timeline.steps if step.records] for timeline in timelines) if steps]
    every = sorted((step for steps in saved for step in (steps[0], steps[-1])), key=lambda step: step.global_step)
    for steps in saved:
        worker, numbers = steps[0].worker, [step.step for step in steps]
        notes += late_or_early(None, worker, numbers, [step.step for step in every], folder.ended)
        distinct = {id(step.records): step.records for step in steps}  # steps that save the same tensors share them
        always = set.intersection(*map(set, distinct.values()))
        for tensor in dict.fromkeys(tensor for records in distinct.values() for tensor in records):
            if tensor not in always:
                with_it = [step.step for step in steps if tensor in step.records]
                notes += late_or_early(tensor, worker, with_it, numbers, folder.ended)
    return notes


def late_or_early(
    tensor: str | None, worker: str, saved: Array, others: Array, ended: bool, what: str = "saved"
) -> Iterator[SkippedGroup]:
    """Yield what is missing at either end by more than its own interval; in a live job twice of it at the last."""
    interval = np.diff(saved).max(initial=1)
    if saved[0] - interval >= others[0]:
        yield SkippedGroup(tensor, worker, f"first {what} at step {saved[0]}")
    if saved[-1] + interval * (1 if ended else 2) <= others[-1]:
        yield SkippedGroup(tensor, worker, f"last {what} at step {saved[-1]}, others to {others[-1]}")


def _step_ranges(numbers: list[int]) -> str:
    """Return ascending numbers as a person writes them.

    >>> _step_ranges([5, 6, 7, 12])
    'steps 5-7, 12'
    """
    known = set(numbers)
    begins = [number for number in numbers if number - 1 not in known]
    ends = [number for number in numbers if number + 1 not in known]
    texts = [f"{first}" if first == last else f"{first}-{last}" for first, last in zip(begins, ends)]
    return f"step{'s' * (len(numbers) > 1)} {', '.join(texts)}"
