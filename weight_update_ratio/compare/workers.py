"""Entries about a worker as a whole: the numbers that it saved again, and that it stopped before the others."""

from __future__ import annotations

import itertools

from ..trial.folder import TrialFolder
from ..trial.timeline import Timeline, WorkerStep
from .rows import SkippedGroup


def skipped_workers(folder: TrialFolder, mode: str) -> list[SkippedGroup]:
    """Return the entries about each worker as a whole, by its saved steps of the judged mode; their tensor is None."""
    timelines = folder.timelines(mode)
    notes = [_saved_again(timeline) for timeline in timelines]
    return [note for note in [*notes, *_stopped_early(timelines, folder.ended)] if note is not None]


def _saved_again(timeline: Timeline) -> SkippedGroup | None:
    numbers = sorted({timeline.numbers[position] for position, _ in timeline.saved_again()})
    if not numbers:
        return None
    worker = timeline.steps[0].worker
    return SkippedGroup(
        None, worker, f"saved again later: {_step_ranges(numbers)}", numbers[0], numbers[-1], len(numbers)
    )


def _stopped_early(timelines: list[Timeline], ended: bool) -> list[SkippedGroup]:
    """Return the workers that have missed a step by their own interval, or two where the job goes on."""
    saved = [steps for steps in (_last_steps(timeline) for timeline in timelines) if steps]
    last = max((steps[-1] for steps in saved), key=lambda step: step.global_step, default=None)
    notes = []
    for steps in saved:
        own = steps[-1]
        interval = max([1, *(later.step - earlier.step for earlier, later in zip(steps, steps[1:]))])
        if last is not None and own.step + interval * (1 if ended else 2) <= last.step:
            reason = f"stopped early: its last step is {own.step}, that of the others {last.step}"
            notes.append(SkippedGroup(None, own.worker, reason, own.step, last.step, 1))
    return notes


def _last_steps(timeline: Timeline, most: int = 10) -> list[WorkerStep]:
    """Return the last few steps that hold a selected tensor, in their order: they show the worker's save interval."""
    holding = (step for step in reversed(timeline.steps) if step.records)
    return list(itertools.islice(holding, most))[::-1]


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
