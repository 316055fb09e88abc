"""The loop from saved steps to rows. Rule, check, follow and an executor's workers differ in the steps they ask for."""

from __future__ import annotations

from ..trial.folder import TrialFolder
from ..trial.index_file import LARGEST_STEP
from .comparer import Comparer
from .references import StepPairs, step_pairs
from .rows import Rows, StepRows


class Loop:
    """Compares steps of a trial folder in one mode, each once and in any order."""

    def __init__(self, folder: TrialFolder, mode: str) -> None:
        self.mode = mode
        self.rows = Rows()
        self.done: set[int] = set()  # the global steps that were compared
        self._folder = folder
        self._comparer = Comparer(folder.storage)

    def compare(self, global_step: int, end: int = LARGEST_STEP) -> None:
        """Add the rows of a saved step. Those after it and before ``end`` are fetched ahead, if that takes time."""
        self._folder.prefetch(global_step, end, self.mode)
        self._comparer.types = self._folder.collections.types
        self.add(global_step, self._comparer.compare(self.pairs(global_step)))

    def pairs(self, global_step: int) -> list[StepPairs]:
        return step_pairs(self._folder, self.mode, global_step)

    def add(self, global_step: int, parts: list[StepRows]) -> None:
        """Add what comparing the pairs of a step gives, and the index files of it that could not be read."""
        for part in parts:
            self.rows.append(part)
        self.rows.add_unreadable(global_step, self._folder.saved(global_step).unreadable)
        self.done.add(global_step)

    def cut(self, global_step: int) -> None:
        """Forget the steps from ``global_step`` on: their files, or those of their references, changed."""
        if any(step >= global_step for step in self.done):
            self.rows.cut(global_step)
            self.done = {step for step in self.done if step < global_step}
            self._comparer = Comparer(self._folder.storage)  # without the elements of changed files

    def first_doubtful(self) -> int:
        """Return the first step that was compared and may give other rows now, though its files did not change."""
        timelines = self._folder.timelines(self.mode)
        again = [timeline.global_steps[at] for timeline in timelines for at in timeline.saved_again()]
        return min([*self.rows.unreadable.values(), *again], default=LARGEST_STEP)
