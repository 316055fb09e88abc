"""THE loop: one function judges a step, one ends a trial; rule, check and follow call them.

The folder gives a step's pairs of saved tensors and references, a Comparer compares them, a History keeps the rows.
"""

from __future__ import annotations

from ..errors import Unreadable
from ..trial.folder import TrialFolder
from ..trial.index_file import LARGEST_STEP
from .comparison import Comparer, Comparison, JudgedStep
from .diagnosis import nothing_compared
from .history import History
from .mode import TRAIN
from .references import Pair, step_pairs


class Judge:
    """Judges the steps of a trial folder, in any order and each as often as it is asked to.

    Attributes:
        history: What was found so far.
    """

    def __init__(self, folder: TrialFolder, history: History) -> None:
        self.history = history
        self._folder = folder
        self._mode = history.mode or TRAIN
        self._comparer = Comparer(folder.storage, folder.parameters)

    def judge_step(self, global_step: int, end: int = LARGEST_STEP) -> JudgedStep:
        """Return what is found at a saved global step, and add it to the history.

        Steps after it and before ``end`` are fetched ahead of their turn, where that takes time.
        """
        self._folder.prefetch(global_step, end, self._mode)
        return judge_pairs(self._comparer, self.history, *self.found(global_step))

    def found(self, global_step: int) -> tuple[list[Pair], list[Unreadable]]:
        """Return what the index says of a step: the pairs to compare, and the index files that could not be read."""
        pairs = step_pairs(self._folder, self._mode, global_step)
        return pairs, self._folder.saved(global_step).unreadable


def judge_pairs(comparer: Comparer, history: History, pairs: list[Pair], unreadable: list[Unreadable]) -> JudgedStep:
    """Return what comparing the pairs of one step finds, and add it to the history."""
    judged = comparer.compare(pairs)
    history.add(pairs, judged)
    history.add_unreadable(unreadable)
    return judged


def end_trial(history: History, folder: TrialFolder) -> None:
    """Add to a history what concerns the trial as a whole, once all steps that are asked for are judged."""
    mode = history.mode or TRAIN
    again = {}
    for timeline in folder.timelines(mode):
        numbers = sorted({timeline.numbers[position] for position, _ in timeline.saved_again()})
        if numbers:
            again[timeline.steps[0].worker] = numbers
    if again:
        history.drop(lambda row: _is_saved_again(folder, row))
        history.judged_steps = {step for step in history.judged_steps if step_pairs(folder, mode, step)}
    history.set_saved_again(again)
    history.add_unreadable(folder.unreadable)
    history.add_reduced(folder.selection.reduced)
    if not len(history) and history.problem is None:
        history.problem = nothing_compared(history, folder)


def _is_saved_again(folder: TrialFolder, row: Comparison) -> bool:
    timeline = folder.timeline(row.worker, row.mode)
    position = timeline.position(row.global_step)
    return position is not None and timeline.is_saved_again(position, row.tensor)
