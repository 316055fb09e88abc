"""THE loop: saved steps to rows. Rule, check, follow and an executor's workers differ in which steps they ask for."""

from __future__ import annotations

from ..errors import Unreadable
from ..trial.folder import TrialFolder
from ..trial.index_file import LARGEST_STEP
from .comparer import Comparer
from .references import StepPairs, step_pairs
from .rows import Rows


class Loop:
    """Compares steps of a trial folder in one mode, each once and in any order.

    Attributes:
        mode: The mode whose steps are compared.
        rows: What was found so far.
        done: The global steps that were compared.
    """

    def __init__(self, folder: TrialFolder, mode: str) -> None:
        self.mode = mode
        self.rows = Rows()
        self.done: set[int] = set()
        self._folder = folder
        self._comparer = Comparer(folder.storage)

    def compare(self, global_step: int, end: int = LARGEST_STEP) -> None:
        """Add the rows of a saved step. Those after it and before ``end`` are fetched ahead, where that takes time."""
        self._folder.prefetch(global_step, end, self.mode)
        self._comparer.types = self._folder.collections.types
        add_rows(self.rows, self._comparer, global_step, *self.pairs(global_step))
        self.done.add(global_step)

    def pairs(self, global_step: int) -> tuple[list[StepPairs], list[Unreadable]]:
        """Return what the index says of a step: the pairs to compare, and the index files that could not be read."""
        return step_pairs(self._folder, self.mode, global_step), self._folder.saved(global_step).unreadable

    def cut(self, global_step: int) -> None:
        """Forget the steps from ``global_step`` on: their files, or those of their references, changed."""
        if any(step >= global_step for step in self.done):
            self.rows.cut(global_step)
            self.done = {step for step in self.done if step < global_step}
            self._comparer = Comparer(self._folder.storage)  # without the elements of changed files

    def first_doubtful(self) -> int:
        """Return the first compared step that may give other rows now, though its files did not change.

        Something could not be read, or a later step was saved again under its number.
        """
        again = [
            timeline.global_steps[position]
            for timeline in self._folder.timelines(self.mode)
            for position in timeline.saved_again()
        ]
        return min([*self.rows.unreadable.values(), *again], default=LARGEST_STEP)


def add_rows(
    rows: Rows, comparer: Comparer, global_step: int, pairs: list[StepPairs], unreadable: list[Unreadable]
) -> None:
    """Add what comparing the pairs of one step gives."""
    for part in comparer.compare(pairs):
        rows.append(part)
    rows.add_unreadable(global_step, unreadable)
