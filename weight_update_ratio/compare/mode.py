"""Which mode of a trial is judged."""

from __future__ import annotations

from ..trial.folder import GLOBAL, TrialFolder

TRAIN = "TRAIN"


def judged_mode(folder: TrialFolder, finished: bool = True, expected: str | None = None) -> str | None:
    """Return TRAIN if a step was saved in it, else GLOBAL; None while an unfinished job may yet begin to train.

    ``expected`` is the mode of a baseline: GLOBAL steps of an unfinished job decide nothing if that is TRAIN.
    """
    if TRAIN in folder.modes:
        return TRAIN
    if GLOBAL in folder.modes and (finished or expected != TRAIN):
        return GLOBAL
    if not finished:
        return None
    return TRAIN if any(folder.broken.values()) else GLOBAL  # a step that cannot be read may be one of training
