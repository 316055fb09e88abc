"""Which earlier saved step each tensor is compared with; the index alone decides."""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple, Sequence

from ..trial.folder import TrialFolder
from ..trial.timeline import Timeline, WorkerStep


class StepPairs(NamedTuple):
    """The tensors that one worker saved at one step and that are compared, each with its reference."""

    saved: WorkerStep  # with its number in the judged mode
    tensors: tuple[str, ...]  # in the order of the index
    references: list[WorkerStep | None]  # None: there is none
    uncertain: frozenset[str]  # the tensors of which an unreadable index file may have had another reference


def step_pairs(folder: TrialFolder, mode: str, global_step: int) -> list[StepPairs]:
    """Return the tensors of the judged mode that each worker saved at a global step, with their references."""
    pairs = []
    for saved in folder.saved(global_step).workers:
        timeline = folder.timeline(saved.worker, mode)
        position = timeline.position(global_step)
        tensors = () if position is None else timeline.counted(position)
        if position is None or not tensors:
            continue
        num_steps = folder.parameters.num_steps
        oldest = None if num_steps is None else timeline.steps[position].step - num_steps
        references = _references(timeline, position, oldest, tensors)
        broken = [lost for lost in folder.broken.get(saved.worker, ()) if lost < global_step]
        uncertain = frozenset(
            tensor
            for tensor, reference in zip(tensors, references)
            if broken and _is_uncertain(timeline, position, oldest, reference, broken)
        )
        pairs.append(StepPairs(timeline.steps[position], tensors, references, uncertain))
    return pairs


def _references(
    timeline: Timeline, position: int, oldest: int | None, tensors: Sequence[str]
) -> list[WorkerStep | None]:
    """Return each tensor's previous saved step, or the one with the oldest number from ``oldest`` on.

    Steps that have the number of the step itself or a higher one are those of a run that a resumed job repeats.
    """
    number = timeline.steps[position].step
    in_order = range(position - 1, -1, -1) if oldest is None else timeline.between(oldest, number)
    references: dict[str, WorkerStep] = {}
    missing = set(tensors)
    for step in (timeline.steps[at] for at in in_order if at < position and timeline.steps[at].step < number):
        here = {tensor for tensor in missing if tensor in step.records}
        references.update(dict.fromkeys(here, step))
        missing -= here
        if not missing:
            break
    return [references.get(tensor) for tensor in tensors]


def _is_uncertain(
    timeline: Timeline, position: int, oldest: int | None, reference: WorkerStep | None, broken: list[int]
) -> bool:
    """Return whether one of the broken index files, all of earlier steps, may be that of the right reference."""
    if oldest is None:
        return reference is None or broken[-1] > reference.global_step
    if reference is not None and reference.step == oldest:
        return False
    # The number of a broken step is not known, but it is below that of the next sound one.
    latest = timeline.global_steps[position] if reference is None else reference.global_step
    after = (bisect_left(timeline.global_steps, lost) for lost in broken if lost < latest)
    return any(timeline.steps[at].step > oldest for at in after)
