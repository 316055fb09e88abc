"""Which mode is judged, and which step is a tensor's reference.

A tensor's own saved steps count, for tensors may have different save intervals. So references are found by walking the
index: forwards while steps are judged in order, and backwards from the first one judged until its references are
found. Nothing else is kept than what a later reference may need.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from ..trial.folder import SavedStep, SavedTensor, TrialFolder
from ..trial.index_file import LARGEST_STEP

TRAIN = "TRAIN"
GLOBAL = "GLOBAL"
UNKNOWN = LARGEST_STEP  # the number of a step that is not known


MOST_PARTIAL = 1000  # steps that wait for workers, as smdebug's INCOMPLETE_STEP_WAIT_WINDOW


class JudgedMode:
    """Finds which mode is judged from the steps that are known so far, each of them looked at once.

    A job may begin with EVAL steps, a sanity validation: until the job ends or saves a step of another mode, those say
    nothing of what will be judged.
    """

    def __init__(self, folder: TrialFolder) -> None:
        self._folder = folder
        self._known: set[str] = set()
        self._broken = False
        self._last = -1
        self._partial: dict[int, int] = {}  # steps looked at before all workers had saved -> how many had

    def now(self, finished: bool) -> str | None:
        """Return TRAIN if a step was saved in it, else GLOBAL; None while an unfinished job may yet begin to train."""
        for partial in [step for step, workers in self._partial.items() if self._folder.workers_at(step) > workers]:
            del self._partial[partial]
            self._look(partial)
        while TRAIN not in self._known:
            step = self._folder.step_after(self._last)
            if step is None:
                if GLOBAL in self._known:
                    return GLOBAL
                if not finished:
                    return None
                return TRAIN if self._broken else GLOBAL  # a step that cannot be read may have been the one of training
            if self._last >= 0:
                self._folder.read_ahead(step, LARGEST_STEP)
            self._look(step)
            self._last = step
        return TRAIN

    def _look(self, step: int) -> None:
        saved = self._folder.saved(step)
        self._known |= saved.modes
        self._broken |= bool(saved.broken_workers)
        workers = self._folder.workers_at(step)
        if workers < self._folder.collections.num_workers:
            self._partial[step] = workers
            if len(self._partial) > MOST_PARTIAL:
                del self._partial[min(self._partial)]

    def of_finished_job(self) -> str:
        """Return what is judged if no more steps come."""
        return self.now(finished=True) or GLOBAL


class Pair(NamedTuple):
    """A saved tensor and its reference; ``uncertain`` where an unreadable index file may have held another one."""

    saved: SavedTensor
    reference: SavedTensor | None
    uncertain: bool


class References:
    """Finds the reference of every tensor saved at a step.

    The immediately previous saved step where ``num_steps`` is None, else the oldest saved step r with
    s - num_steps <= r < s. It knows all saved steps from ``_low`` to ``_high``: judging the next step extends that
    stretch forwards, a reference not yet found extends it backwards, and a step elsewhere begins a new one.
    """

    def __init__(self, folder: TrialFolder, mode: str, num_steps: int | None) -> None:
        folder.parse_again()  # a judgement in mode GLOBAL numbered its steps otherwise
        self._folder = folder
        self._mode = mode
        self._num_steps = num_steps
        self._low = self._high = -1
        self._histories: dict[tuple[str, str], deque[SavedTensor]] = {}
        self._first_steps: dict[str, int] = {}  # worker -> its first step, in the mode, of the stretch
        self._second_steps: dict[str, int] = {}  # worker -> the one after that
        self._last_steps: dict[str, int] = {}  # worker -> its last step, in the mode, of the stretch
        # worker -> [global step whose index file is unreadable, the worker's next sound step in the mode]; global step
        # -1 where two steps contradict each other
        self._broken: dict[str, list[list[int]]] = {}

    def at(self, step: SavedStep) -> list[Pair]:
        """Return the step's selected tensors of the judged mode, each with its reference."""
        if self._high < 0 or self._folder.step_after(self._high) != step.global_step:
            self._histories.clear()
            self._first_steps.clear()
            self._second_steps.clear()
            self._last_steps.clear()
            self._broken.clear()
            self._first_steps.update(self._numbers(step))
            self._low = step.global_step
        self._note_contradictions(step)
        pairs = []
        for saved in self._of_mode(step):
            reference = self._find(saved)
            pairs.append(Pair(saved, reference, self._is_uncertain(reference, saved)))
        self._high = step.global_step
        self._note_later(step)
        for pair in pairs:
            self._append(pair.saved)
        return pairs

    def _of_mode(self, step: SavedStep) -> list[SavedTensor]:
        if self._mode != GLOBAL:
            return [saved for saved in step.tensors if saved.mode == self._mode]
        for saved in step.tensors:
            saved.mode, saved.step = GLOBAL, saved.global_step  # every saved step is a GLOBAL one
        return step.tensors

    def _find(self, saved: SavedTensor) -> SavedTensor | None:
        key = (saved.worker, saved.tensor)
        while True:
            reference = self._candidate(self._histories.get(key, ()), saved)
            if self._is_settled(reference, saved) or not self._extend_backwards():
                return reference

    def _candidate(self, history: deque[SavedTensor] | tuple[()], saved: SavedTensor) -> SavedTensor | None:
        if self._num_steps is None:
            return history[-1] if history else None
        oldest = saved.step - self._num_steps
        return next((earlier for earlier in history if oldest <= earlier.step < saved.step), None)

    def _is_settled(self, reference: SavedTensor | None, saved: SavedTensor) -> bool:
        """Return whether steps before the stretch cannot change what the reference is."""
        if self._num_steps is None:
            return reference is not None
        oldest = saved.step - self._num_steps
        if reference is not None and reference.step == oldest:
            return True
        # Two steps before the window, for one alone may have a wrong number, which the other contradicts.
        return self._second_steps.get(saved.worker, UNKNOWN) <= oldest

    def _extend_backwards(self) -> bool:
        global_step = self._folder.step_before(self._low)
        if global_step is None:
            return False
        step = self._folder.saved(global_step)
        for earlier in self._of_mode(step):
            history = self._histories.setdefault((earlier.worker, earlier.tensor), deque())
            if self._num_steps is not None or not history:
                history.appendleft(earlier)
        self._low = global_step
        self._note_earlier(step)
        return True

    def _append(self, saved: SavedTensor) -> None:
        history = self._histories.setdefault((saved.worker, saved.tensor), deque())
        history.append(saved)
        oldest = saved.step if self._num_steps is None else saved.step - self._num_steps + 1
        while history[0].step < oldest:
            history.popleft()

    def _note_contradictions(self, step: SavedStep) -> None:
        for worker, number in self._numbers(step).items():
            last = self._last_steps.get(worker, -1)
            if number <= last:
                self._contradict(worker, max(number, last) + 1)
                self._broken[worker].append([step.global_step, UNKNOWN])

    def _contradict(self, worker: str, following: int) -> None:
        """Doubt every window that begins before ``following``: until then, two steps follow each other and do not rise.

        One of their index files is wrong, and what was taken for too old to be a reference may not have been.
        """
        self._broken.setdefault(worker, []).append([-1, following])

    def _note_later(self, step: SavedStep) -> None:
        """Extend what is known of the workers by the step after the stretch."""
        for worker, number in self._numbers(step).items():
            if self._first_steps.setdefault(worker, number) != number:
                self._second_steps.setdefault(worker, number)
            if worker in self._broken:
                self._broken[worker] = self._still_of_use(self._broken[worker], step.global_step, number)
            self._last_steps[worker] = number
        for worker in step.broken_workers:
            self._broken.setdefault(worker, []).append([step.global_step, UNKNOWN])

    def _still_of_use(self, broken: list[list[int]], global_step: int, number: int) -> list[list[int]]:
        """Return those of a worker's broken steps that a later reference may be behind, after its step ``number``."""
        if self._num_steps is None:
            return [max(broken)]
        for entry in broken:
            if entry[1] == UNKNOWN and entry[0] < global_step:
                entry[1] = number
        return [entry for entry in broken if entry[1] > number - self._num_steps]

    def _note_earlier(self, step: SavedStep) -> None:
        """Extend what is known of the workers by the step before the stretch."""
        for worker in step.broken_workers:
            self._broken.setdefault(worker, []).append([step.global_step, self._first_steps.get(worker, UNKNOWN)])
        for worker, number in self._numbers(step).items():
            first = self._first_steps.get(worker, UNKNOWN)
            if number >= first:
                second = self._second_steps.get(worker, UNKNOWN)
                self._contradict(worker, max(number, first, second if second < UNKNOWN else 0) + 1)
            self._first_steps[worker], self._second_steps[worker] = number, first
            self._last_steps.setdefault(worker, number)

    def _numbers(self, step: SavedStep) -> dict[str, int]:
        return {saved.worker: saved.step for saved in self._of_mode(step)}

    def _is_uncertain(self, reference: SavedTensor | None, saved: SavedTensor) -> bool:
        """Return whether the reference may be another one, in an index file that could not be read."""
        if reference is not None and reference.step >= saved.step:
            return True  # one of the two index files is wrong
        broken = self._broken.get(saved.worker, ())
        if self._num_steps is None:
            nearest = -1 if reference is None else reference.global_step
            return any(nearest < step < saved.global_step for step, _ in broken)
        # The oldest of the window is sought. What a broken step's number in the mode is, is not known, but it is less
        # than that of the next sound one: where that stands at the window's edge or before, the broken one is outside.
        oldest = saved.step - self._num_steps
        if reference is not None and reference.step == oldest:
            return False
        latest = saved.global_step if reference is None else reference.global_step
        return any(step < latest and following > oldest for step, following in broken)
