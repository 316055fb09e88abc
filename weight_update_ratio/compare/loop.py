"""THE loop: one function judges a step, one ends a trial; rule, check and follow call them.

The folder gives a step's pairs of saved tensors and references, a Comparer compares them, a History keeps the rows.
"""

from __future__ import annotations

import itertools
from typing import Iterable

from ..errors import TrialError, Unreadable
from ..storage.storage import FileStamp
from ..trial.folder import GLOBAL, TrialFolder
from ..trial.index_file import LARGEST_STEP
from ..verdict.firing import Firing
from ..verdict.held import HeldSteps, held_ratios, nothing_held, skipped_tensors
from .comparer import Comparer
from .comparison import Comparison, JudgedStep
from .diagnosis import nothing_compared, unmatched_choice
from .history import History
from .mode import TRAIN
from .references import StepPairs, step_pairs
from .workers import skipped_workers


class Judge:
    """Judges the steps of a trial folder, each once and in any order.

    Attributes:
        history: What was found so far.
        is_live: Whether the job goes on, so that what a step was judged from is noted.
    """

    def __init__(self, folder: TrialFolder, history: History, live: bool = False) -> None:
        self.history = history
        self._folder = folder
        self._mode = history.mode or TRAIN
        self._comparer = Comparer(folder.storage, history.bounds)
        self._firing = Firing(folder, history)
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
        return judged._replace(firing=tuple(self._fire(judged.violations)))

    def merge(self, later: History) -> None:
        """Add what was found elsewhere at the steps that follow."""
        self._fire(self.history.merge(later))

    def _fire(self, violations: Iterable[Comparison]) -> list[Comparison]:
        """Return what fires now that these violations were added to the history, and add it."""
        firing = self._firing.add(violations)
        self.history.add_firing(firing)
        return [fired.row for fired in firing]

    def found(self, global_step: int) -> tuple[list[StepPairs], list[Unreadable]]:
        """Return what the index says of a step: the pairs to compare, and the index files that could not be read."""
        pairs = step_pairs(self._folder, self._mode, global_step)
        return pairs, self._folder.saved(global_step).unreadable

    def judge_again(self, steps: list[int]) -> list[Comparison]:
        """Judge again the steps of a live job that changed, came late or could not be read.

        The history is then that of a check of these steps.

        Args:
            steps: All global steps that count, ascending.

        Returns:
            The violations that fire at steps that did not fire before.
        """
        if not self.is_live:
            return []
        fired_before = self.history.fired_steps
        changed = {step for step in steps if self._has_changed(step)}
        if changed or not self._is_in_order or not self._fingerprints.keys() <= set(steps):
            self._judge_changed(steps, changed)
        elif self._firing.is_simple:
            return []
        # What came late before the first judged step may lead up to its violations, or be held against the baseline.
        self.history.forget_firing()
        self._firing = Firing(self._folder, self.history)
        by_step = itertools.groupby(self.history.violating(), key=lambda row: row.global_step)
        firing = (row for _, rows in by_step for row in self._fire(rows))
        return [row for row in firing if row.global_step not in fired_before]

    def _judge_changed(self, steps: list[int], changed: set[int]) -> None:
        """Make the history anew, in the order of the steps; those that did not change keep their comparisons."""
        self._stamps = {}
        before = self.history.found_at()
        self.history = self.history.emptied()
        self._comparer = Comparer(self._folder.storage, self.history.bounds)
        for step in steps:
            pairs, unreadable = self.found(step)
            if step not in changed:
                self.history.add(pairs, before(step))
                continue
            for file in _files(pairs):
                self._folder.storage.discard(file)
            self._folder.prefetch(step, step + 1, self._mode)
            fingerprint = self._fingerprint(pairs, self._stamps)
            judged = judge_pairs(self._comparer, self.history, pairs, unreadable)
            self._fingerprints[step] = None if judged.unreadable or unreadable else fingerprint

    def end(self) -> list[Comparison]:
        """Add to the history what concerns the trial as a whole, once all steps that are asked for are judged.

        Returns:
            The violations that fire only now: they waited for a step that can be held against the baseline.
        """
        end_trial(self.history, self._folder)
        return self._fire([])

    def _has_changed(self, step: int) -> bool:
        pairs, unreadable = self.found(step)
        fingerprint = self._fingerprints.get(step, self._fingerprint([], {}))
        return bool(unreadable) or fingerprint is None or fingerprint != self._fingerprint(pairs, {})

    def _fingerprint(self, pairs: list[StepPairs], known: dict[str, FileStamp]) -> int:
        """Return a hash of a step's pairs and of their files' stamps.

        ``known`` are stamps that count in place of the present ones; those of new files are added.
        """
        files = _files(pairs)
        known.update(self._folder.storage.stamps(files - known.keys()))
        found = tuple(own.identity for own in pairs)
        return hash((found, frozenset((file, known[file]) for file in files if file in known)))


def _files(pairs: list[StepPairs]) -> set[str]:
    """Return the files that the records and their places are in."""
    steps = [step for own in pairs for step in (own.saved, *own.references) if step is not None]
    return {file for step in steps for file in (step.event_file, step.index_file)}


def judge_pairs(
    comparer: Comparer, history: History, pairs: list[StepPairs], unreadable: list[Unreadable]
) -> JudgedStep:
    """Return what comparing the pairs of one step finds, and add it to the history."""
    judged = comparer.compare(pairs)
    violations = history.add(pairs, judged)
    history.add_unreadable(unreadable)
    history.dtypes.update(comparer.dtypes)
    return judged._replace(violations=violations)


def end_trial(history: History, folder: TrialFolder) -> None:
    """Add to a history what concerns the trial as a whole; ``Judge.end`` does it for the history of a judge."""
    mode = history.mode or TRAIN
    history.job_ended = folder.ended
    history.skipped_wholes = [*skipped_workers(folder, mode), *skipped_tensors(history, folder)]
    history.add_unreadable(folder.unreadable)
    history.add_reduced(folder.selection.reduced)
    history.only_evaluated = mode == GLOBAL and bool(folder.modes) and GLOBAL not in folder.modes
    history.is_unheld = not HeldSteps(folder, mode, history.bounds).any()
    if history.problem is None:
        if not len(history):
            history.problem = nothing_compared(history, folder)
        elif history.bounds.baseline is not None and not any(held_ratios(history).values()):
            history.problem = nothing_held(history)
        else:
            history.problem = unmatched_choice(folder)


def refused_trial(folder: TrialFolder, history: History) -> History | None:
    """Return the history of a trial that cannot be judged, which says why; None where it can be.

    It cannot be where the baseline was not judged alike; and of an ended job, where no tensor has a reference, or
    nothing can be held against the baseline and all ratios are finite.

    Args:
        folder: The trial.
        history: Without comparisons yet; its mode is known.
    """
    refused = history.emptied()
    try:
        history.bounds.require_alike(history.mode)
    except TrialError as error:
        refused.problem = error
        return refused
    if not folder.ended:
        return None
    mode = history.mode or ""
    for step in folder.steps:
        pairs = step_pairs(folder, mode, step)
        if any(reference is not None for own in pairs for reference in own.references):
            break
        refused.add(pairs, JudgedStep([], [], folder.saved(step).unreadable))
    else:
        end_trial(refused, folder)
        return refused
    if HeldSteps(folder, mode, history.bounds).any():
        return None
    judge = Judge(folder, history.emptied())
    for step in folder.steps:
        judge.judge_step(step)
    judge.end()
    return None if judge.history.fired else judge.history
