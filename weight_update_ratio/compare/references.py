"""Which earlier saved step each tensor is compared with.

A tensor's own saved steps count, because tensors may have different save intervals. The index alone decides, so that
every way of judging a trial comes to the same references.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Iterator, NamedTuple, Sequence

from ..trial.folder import TrialFolder
from ..trial.timeline import Timeline, WorkerStep


class StepPairs(NamedTuple):
    """The tensors that one worker saved at one step and that are compared, each with its reference."""

    saved: WorkerStep  # with its number in the judged mode
    tensors: tuple[str, ...]  # in the order of the index
    references: list[WorkerStep | None]  # None: there is none
    uncertain: frozenset[str]  # the tensors of which an unreadable index file may have had another reference


def step_pairs(folder: TrialFolder, mode: str, global_step: int) -> list[StepPairs]:
    """Return the tensors of the judged mode that each worker saved at a global step, with their references.

    Tensors that a later global step saves again under the same number are left out: the later row counts.
    """
    pairs = []
    for saved in folder.saved(global_step).workers:
        timeline = folder.timeline(saved.worker, mode)
        position = timeline.position(global_step)
        tensors = () if position is None else timeline.counted(position)
        if position is None or not tensors:
            continue
        broken = [lost for lost in folder.broken.get(saved.worker, ()) if lost < global_step]
        window = _Window(timeline, position, folder.parameters.num_steps)
        references = window.references(tensors)
        named = zip(tensors, references) if broken else ()
        uncertain = frozenset(tensor for tensor, reference in named if window.is_uncertain(reference, broken))
        pairs.append(StepPairs(timeline.steps[position], tensors, references, uncertain))
    return pairs


class _Window:
    """The steps of a worker that may be the reference of what it saved at one step.

    The immediately previous saved step where ``num_steps`` is None, else the oldest saved step r with
    s - num_steps <= r < s. Steps that have the number s or a higher one are passed over, as those of a run that a
    resumed job repeats.
    """

    def __init__(self, timeline: Timeline, position: int, num_steps: int | None) -> None:
        self._timeline = timeline
        self._position = position
        self._number = timeline.numbers[position]
        self._oldest = None if num_steps is None else self._number - num_steps

    def _positions(self) -> Iterator[int]:
        """Yield the positions of these steps, the preferred one first."""
        if self._oldest is None:
            numbers = self._timeline.numbers
            yield from (at for at in range(self._position - 1, -1, -1) if numbers[at] < self._number)
        else:
            yield from (at for at in self._timeline.between(self._oldest, self._number) if at < self._position)

    def references(self, tensors: Sequence[str]) -> list[WorkerStep | None]:
        references: dict[str, WorkerStep] = {}
        missing = set(tensors)
        for position in self._positions():
            step = self._timeline.steps[position]
            here = {tensor for tensor in missing if tensor in step.records}
            references.update(dict.fromkeys(here, step))
            missing -= here
            if not missing:
                break
        return [references.get(tensor) for tensor in tensors]

    def is_uncertain(self, reference: WorkerStep | None, broken: list[int]) -> bool:
        """Return whether one of the broken index files, all of earlier steps, may be that of the right reference."""
        if self._oldest is None:
            return reference is None or broken[-1] > reference.global_step
        if reference is not None and reference.step == self._oldest:
            return False
        # The number of a broken step is not known, but it is below that of the next sound one.
        numbers, global_steps = self._timeline.numbers, self._timeline.global_steps
        latest = global_steps[self._position] if reference is None else reference.global_step
        return any(numbers[bisect_left(global_steps, lost)] > self._oldest for lost in broken if lost < latest)
