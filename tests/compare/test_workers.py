"""Workers and tensors as a whole: those that left no files, and those that begin late or end early."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import TrialWriter, change_json, needs_writing
from tests.reports import invoke_command
from tests.test_contract import RECORDINGS
from weight_update_ratio import check_trial


def saved(path: Path, steps: dict[str, Any], ended: bool = True) -> Path:
    """Write a trial of workers that save a weight at these steps, and a loss at others: {worker: steps}."""
    workers = [worker for worker in steps if worker != "loss"]
    trial = TrialWriter(path).collections({"weights": ["w"]}, workers=workers)
    for step in sorted({step for numbers in steps.values() for step in numbers}):
        for worker in workers:
            if step in steps[worker]:
                trial.save(step, {"w": np.float32([1, step / 100])}, "TRAIN", step, worker)
            elif step in steps.get("loss", ()):
                trial.save(step, {"loss": np.float32([1])}, "TRAIN", step, worker)
    return trial.end().path if ended else path


@needs_writing
class TestAnnouncedWorkers:
    @pytest.mark.parametrize(
        ("meta", "there", "absent"),
        [
            ({"num_workers": 4}, 1, 3),
            ({"num_workers": 4}, 3, 1),
            ({"num_workers": 1}, 2, 0),
            ({"num_workers": "x"}, 1, 0),
            (None, 1, 0),
        ],
    )
    def test_those_that_left_no_files(self, tmp_path: Path, meta: Any, there: int, absent: int) -> None:
        """The trial is not complete; what is there is compared. More workers than are announced are no fault."""
        trial = saved(tmp_path / "trial", {f"worker_{number}": range(4) for number in range(there)})
        for file in trial.glob("collections/*/*.json"):
            change_json(file, lambda content: content.update(_meta=meta))
        report = check_trial(trial)
        reason = f'{absent} of 4 workers left no files; the hook\'s include_workers="one" records one alone'
        assert [("collections/000000000", None, None, -1, reason)] * (absent > 0) == report.unreadable
        assert (3 * there, 2 if absent else 0) == (len(report), report.exit_code)
        if absent:
            assert 1 == check_trial(trial, large_threshold=1e-6).exit_code
            assert f"collections/000000000: {reason}" in " ".join(invoke_command("check", str(trial)).stdout.split())


@needs_writing
class TestLateAndEarly:
    @pytest.mark.parametrize(
        ("steps", "ended", "said"),
        [
            ({"u": range(8), "v": range(5), "w": range(8)}, True, ["last saved at step 4, others to 7"]),
            ({"u": range(8), "v": range(7)}, True, ["last saved at step 6, others to 7"]),
            ({"u": range(8), "v": range(7)}, False, []),  # which it may yet save
            ({"u": range(8), "v": range(6)}, False, ["last saved at step 5, others to 7"]),
            ({"u": range(8), "v": range(8)}, True, []),
            ({"u": range(8), "v": range(3, 8)}, True, ["first saved at step 3"]),
            ({"u": range(9), "v": range(3, 6)}, True, ["first saved at step 3", "last saved at step 5, others to 8"]),
            ({"u": range(20), "v": range(0, 20, 3)}, True, []),  # of another save interval
            ({"u": range(20), "v": range(4, 20, 5)}, True, []),
            ({"u": range(14), "v": [0, 1, 5, 6, 10, 11]}, True, []),  # of pairs
            ({"u": range(17), "v": [0, 1, 5, 6, 10, 11]}, True, ["last saved at step 11, others to 16"]),
            ({"u": range(4), "v": [0]}, True, ["last saved at step 0, others to 3"]),  # whose interval is not known
            ({"u": range(8), "v": range(5), "loss": range(5, 8)}, True, ["last saved at step 4, others to 7"]),
        ],
    )
    def test_the_steps_of_a_worker_and_of_a_tensor(
        self, tmp_path: Path, steps: dict[str, Any], ended: bool, said: list[str]
    ) -> None:
        """And those of the others; the exit code stays. A loss that goes on is no weight."""
        report = check_trial(saved(tmp_path / "workers", steps, ended), large_threshold=1000)
        assert [(None, "v", reason) for reason in said] == [group[:3] for group in report.skipped]
        assert all(f"  v: {reason}\n" in report.to_text() for reason in said)
        assert 0 == report.exit_code
        trial = TrialWriter(tmp_path / "tensors").collections({"weights": ["u", "v", "w"]})
        for step in sorted({step for numbers in steps.values() for step in numbers}):
            trial.save(step, {name: np.float32([1, step / 99]) for name in steps if step in steps[name]})
        report = check_trial(trial.end().path if ended else trial.path, large_threshold=1000)
        assert [("v", "worker_0", reason) for reason in said] == [group[:3] for group in report.skipped]
        assert all(f"  v: {reason}\n" in report.to_text() for reason in said)

    def test_eval_steps_in_between_do_not_count(self, tmp_path: Path) -> None:
        """The interval is one of the judged mode's steps."""
        trial = TrialWriter(tmp_path / "t").collections({"weights": ["w"]}, workers=("u", "v"))
        weights = {"w": np.float32([1, 2])}
        for number, step in enumerate([*range(10), 20, 21]):
            for worker in ("u", "v") if number % 3 == 0 else ("u",):
                trial.save(step, weights, "TRAIN", number, worker)
        for step in range(10, 20):
            trial.save(step, weights, "EVAL", step - 10, "u")
        assert [] == check_trial(trial.end().path).skipped


@pytest.mark.parametrize("trial", RECORDINGS.values(), ids=lambda trial: f"{trial.parent.name}-{trial.name}")
def test_sound_recordings(trial: Path) -> None:
    """No worker of a real recording is said to have begun late, ended early or left no files, and one tensor is."""
    report = check_trial(trial)
    said = [group.reason for group in report.skipped] + [entry.reason for entry in report.unreadable]
    begins = 3 if trial.parent.name == "weighted_loss" else 0
    assert ["first saved at step 7"] * begins == [
        text for text in said if text.startswith(("first saved", "last saved"))
    ]
    assert not [reason for reason in said if "left no files" in reason]
