"""Entries about a worker or a tensor as a whole: numbers that were saved again, and what began late or ended early."""

from __future__ import annotations

from typing import Iterator, Sequence

from ..trial.folder import TrialFolder
from ..trial.timeline import Timeline, WorkerStep
from .rows import SkippedGroup


def whole_notes(folder: TrialFolder, mode: str) -> list[SkippedGroup]:
    """Return the entries about each worker, whose tensor is None, and about each of its tensors, in the judged mode."""
    timelines = folder.timelines(mode)
    notes = [note for timeline in timelines for note in _saved_again(timeline)]
    saved = [steps for steps in ([step for step in timeline.steps if step.records] for timeline in timelines) if steps]
    every = sorted((step for steps in saved for step in (steps[0], steps[-1])), key=lambda step: step.global_step)
    for steps in saved:
        notes += _late_or_early(None, steps, every, folder.ended)
        distinct = {id(step.records): step.records for step in steps}  # steps that save alike share them
        always = set.intersection(*map(set, distinct.values()))
        for tensor in dict.fromkeys(tensor for records in distinct.values() for tensor in records):
            if tensor not in always:
                own = [step for step in steps if tensor in step.records]
                notes += _late_or_early(tensor, own, steps, folder.ended)
    return notes


def _saved_again(timeline: Timeline) -> Iterator[SkippedGroup]:
    numbers = sorted({timeline.numbers[position] for position in timeline.saved_again()})
    if numbers:
        reason = f"saved again later: {_step_ranges(numbers)}"
        yield SkippedGroup(None, timeline.steps[0].worker, reason, numbers[0], numbers[-1], len(numbers))


def _late_or_early(
    tensor: str | None, own: list[WorkerStep], others: Sequence[WorkerStep], ended: bool
) -> Iterator[SkippedGroup]:
    """Yield what is missing at either end by more than the own interval; in a live job twice of it at the last."""
    interval = max([1, *(after.step - before.step for before, after in zip(own, own[1:]))])
    first, last = own[0], own[-1]
    if first.step - interval >= others[0].step:
        yield SkippedGroup(tensor, own[0].worker, f"first saved at step {first.step}", None, None, 1)
    if last.step + interval * (1 if ended else 2) <= others[-1].step:
        reason = f"last saved at step {last.step}, others to {others[-1].step}"
        yield SkippedGroup(tensor, own[0].worker, reason, None, None, 1)


def _step_ranges(numbers: list[int]) -> str:
    """Return ascending numbers as a person writes them.

    >>> _step_ranges([5, 6, 7, 12])
    'steps 5-7, 12'
    """
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    texts = [f"{first}" if first == last else f"{first}-{last}" for first, last in ranges]
    return f"step{'s' * (len(numbers) > 1)} {', '.join(texts)}"
