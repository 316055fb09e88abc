"""THE loop: one function judges a step, one ends a trial; rule, check and follow call them.

The folder gives a step's pairs of saved tensors and references, a Comparer compares them, a History keeps the rows.
"""

from __future__ import annotations

from ..errors import Unreadable
from ..trial.folder import TrialFolder
from ..trial.index_file import LARGEST_STEP
from ..trial.storage import FileStamp
from .comparison import Comparer, JudgedStep
from .diagnosis import nothing_compared, unmatched_choice
from .history import History
from .mode import TRAIN
from .references import Pair, step_pairs
from .workers import skipped_of_workers


class Judge:
    """Judges the steps of a trial folder, in any order and each as often as it is asked to.

    Attributes:
        history: What was found so far.
        is_live: Whether the job goes on, so that what a step was judged from is noted.
    """

    def __init__(self, folder: TrialFolder, history: History, live: bool = False) -> None:
        self.history = history
        self._folder = folder
        self._mode = history.mode or TRAIN
        self._comparer = Comparer(folder.storage, folder.parameters)
        self.is_live = live
        self._last_judged = -1
        self._is_in_order = True  # so that the rows are
        self._stamps: dict[str, FileStamp] = {}  # of files when they were first read: the Comparer keeps what it read
        self._fingerprints: dict[int, int | None] = {}  # of a live job: by global step

    def judge_step(self, global_step: int, end: int = LARGEST_STEP) -> JudgedStep:
        """Return what is found at a saved global step, and add it to the history.

        Steps after it and before ``end`` are fetched ahead of their turn, where that takes time.
        """
        self._is_in_order = self._is_in_order and global_step > self._last_judged
        self._last_judged = global_step
        self._folder.prefetch(global_step, end, self._mode)
        pairs, unreadable = self.found(global_step)
        fingerprint = self._fingerprint(pairs, self._stamps) if self.is_live else None
        judged = judge_pairs(self._comparer, self.history, pairs, unreadable)
        if pairs or unreadable:
            self._fingerprints[global_step] = None if judged.unreadable or unreadable else fingerprint
        return judged

    def found(self, global_step: int) -> tuple[list[Pair], list[Unreadable]]:
        """Return what the index says of a step: the pairs to compare, and the index files that could not be read."""
        pairs = step_pairs(self._folder, self._mode, global_step)
        return pairs, self._folder.saved(global_step).unreadable

    def judge_again(self, steps: list[int]) -> dict[int, JudgedStep]:
        """Judge again the steps of a live job that changed, came late or could not be read.

        The history is then that of a check of these steps.

        Args:
            steps: All global steps that count, ascending.

        Returns:
            What is found at those steps that were judged anew.
        """
        if not self.is_live:
            return {}
        new: dict[int, JudgedStep] = {}
        changed = {step for step in steps if self._has_changed(step)}
        if not changed and self._is_in_order and self._fingerprints.keys() <= set(steps):
            return new
        self._stamps = {}
        before = self.history.found_at()
        history = self.history.emptied()
        self._comparer = Comparer(self._folder.storage, self._folder.parameters)
        for step in steps:
            pairs, unreadable = self.found(step)
            if step in changed:
                for file in _files(pairs):
                    self._folder.storage.discard(file)
                self._folder.prefetch(step, step + 1, self._mode)
                fingerprint = self._fingerprint(pairs, self._stamps)
                new[step] = judge_pairs(self._comparer, history, pairs, unreadable)
                self._fingerprints[step] = None if new[step].unreadable or unreadable else fingerprint
            else:
                history.add(pairs, before(step))
        self.history = history
        return new

    def _has_changed(self, step: int) -> bool:
        pairs, unreadable = self.found(step)
        fingerprint = self._fingerprints.get(step, self._fingerprint([], {}))
        return bool(unreadable) or fingerprint is None or fingerprint != self._fingerprint(pairs, {})

    def _fingerprint(self, pairs: list[Pair], known: dict[str, FileStamp]) -> int:
        """Return a hash of a step's pairs and of their files' stamps.

        ``known`` are stamps that count in place of the present ones; those of new files are added.
        """
        files = _files(pairs)
        known.update(self._folder.storage.stamps(files - known.keys()))
        return hash((tuple(pairs), frozenset((file, known[file]) for file in files if file in known)))


def _files(pairs: list[Pair]) -> set[str]:
    return {saved.file for pair in pairs for saved in (pair.saved, pair.reference) if saved is not None}


def judge_pairs(comparer: Comparer, history: History, pairs: list[Pair], unreadable: list[Unreadable]) -> JudgedStep:
    """Return what comparing the pairs of one step finds, and add it to the history."""
    judged = comparer.compare(pairs)
    history.add(pairs, judged)
    history.add_unreadable(unreadable)
    return judged


def end_trial(history: History, folder: TrialFolder) -> None:
    """Add to a history what concerns the trial as a whole, once all steps that are asked for are judged."""
    mode = history.mode or TRAIN
    history.skipped_workers = skipped_of_workers(folder, mode)
    history.job_ended = folder.ended
    history.add_unreadable(folder.unreadable)
    history.add_reduced(folder.selection.reduced)
    if history.problem is None:
        history.problem = unmatched_choice(folder) if len(history) else nothing_compared(history, folder)
