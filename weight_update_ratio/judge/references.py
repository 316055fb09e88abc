"""Which earlier saved step each tensor is compared with.

A tensor's own saved steps count, for tensors may have different save intervals. The index alone decides, so that every
way of judging a trial finds the same references.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

from ..trial.folder import TrialFolder
from ..trial.timeline import SavedTensor, Timeline, WorkerStep


class Pair(NamedTuple):
    """A saved tensor and its reference; ``uncertain`` where an unreadable index file may have held another one."""

    saved: SavedTensor
    reference: SavedTensor | None
    uncertain: bool


def step_pairs(folder: TrialFolder, mode: str, global_step: int) -> list[Pair]:
    """Return the tensors of the judged mode that were saved at a global step, each with its reference.

    Tensors that a later global step saves again under the same number are left out: the later row counts.
    """
    pairs = []
    for saved in folder.saved(global_step).workers:
        timeline = folder.timeline(saved.worker, mode)
        position = timeline.position(global_step)
        if position is None:
            continue
        step = timeline.steps[position]
        broken = [lost for lost in folder.broken.get(saved.worker, ()) if lost < global_step]
        window = _Window(timeline, position, folder.parameters.num_steps)
        for tensor in step.records:
            if not timeline.is_saved_again(position, tensor):
                reference = window.reference(tensor)
                uncertain = bool(broken) and window.is_uncertain(reference, broken)
                pairs.append(Pair(step.saved_tensor(tensor), reference and reference.saved_tensor(tensor), uncertain))
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
        self._window: list[int] = []  # positions, the one that is preferred first
        if self._oldest is not None:
            found = timeline.between(self._oldest, self._number)
            self._window = [earlier for earlier in found if earlier < position]

    def reference(self, tensor: str) -> WorkerStep | None:
        """Return the reference step of a tensor, or None."""
        steps, numbers = self._timeline.steps, self._timeline.numbers
        if self._oldest is not None:
            return next((steps[earlier] for earlier in self._window if tensor in steps[earlier].records), None)
        for earlier in range(self._position - 1, -1, -1):
            if tensor in steps[earlier].records and numbers[earlier] < self._number:
                return steps[earlier]
        return None

    def is_uncertain(self, reference: WorkerStep | None, broken: list[int]) -> bool:
        """Return whether one of the worker's broken index files, all of earlier steps, may hold the right reference."""
        if self._oldest is None:
            return reference is None or broken[-1] > reference.global_step
        if reference is not None and reference.step == self._oldest:
            return False
        # The number of a broken step is not known, but it is below that of the next sound one.
        latest = self._timeline.global_steps[self._position] if reference is None else reference.global_step
        return any(self._number_after(lost) > self._oldest for lost in broken if lost < latest)

    def _number_after(self, global_step: int) -> int:
        return self._timeline.numbers[bisect_left(self._timeline.global_steps, global_step)]
