"""Which mode is judged."""

from __future__ import annotations

import pytest

from tests.conftest import RECORDED
from tests.memory_trial import MemoryTrial
from weight_update_ratio.compare.mode import judged_mode
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.storage.disk import DiskStorage
from weight_update_ratio.trial.folder import TrialFolder


@pytest.mark.parametrize(
    ("modes", "live", "ended"),
    [
        ([], None, "GLOBAL"),
        (["EVAL", "EVAL"], None, "GLOBAL"),
        (["PREDICT"], None, "GLOBAL"),
        (["GLOBAL"], "GLOBAL", "GLOBAL"),
        (["EVAL", "TRAIN"], "TRAIN", "TRAIN"),
        (["GLOBAL", "TRAIN"], "TRAIN", "TRAIN"),
    ],
)
def test_mode(modes: list[str], live: str | None, ended: str) -> None:
    """TRAIN if any step is; else GLOBAL, once the job has ended or saved a step outside of all modes."""
    trial = MemoryTrial()
    for step, mode in enumerate(modes):
        trial.save(step, "a", mode)
    assert (live, ended) == (judged_mode(trial.folder(), finished=False), judged_mode(trial.folder()))


def test_a_step_that_cannot_be_read_may_be_one_of_training() -> None:
    """EVAL steps are then not judged as GLOBAL ones."""
    trial = MemoryTrial()
    trial.save(0, "a", "EVAL")
    trial.break_index(1)
    assert judged_mode(trial.folder()) == "TRAIN"


def test_a_recorded_trial() -> None:
    """TRAIN and EVAL interleaved are judged in TRAIN mode."""
    assert judged_mode(TrialFolder(DiskStorage(str(RECORDED["tf_keras"])), Parameters())) == "TRAIN"


def test_a_mode_that_a_late_index_file_brings() -> None:
    """What is listed anew counts."""
    trial = MemoryTrial()
    trial.save(0, "a", "EVAL")
    folder = trial.folder()
    trial.save(1, "a", "TRAIN")
    folder.refresh()
    assert judged_mode(folder, finished=False) == "TRAIN"
