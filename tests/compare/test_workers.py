"""Workers as a whole: those that left no files, those that stop before the others, and what they saved again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RECORDED, needs_writing, random_walk, write_whole_trial
from tests.memory_trial import MemoryTrial
from tests.reports import invoke_command
from weight_update_ratio import check_trial
from weight_update_ratio.compare.workers import skipped_workers

HOOKS = Path(__file__).resolve().parent.parent / "trials" / "hooks"


def announced(path: Path, num_workers: int, workers: int, **options: Any) -> Path:
    """Write a trial whose collections announce more workers than there are."""
    names = [f"worker_{number}" for number in range(workers)]
    trial = write_whole_trial(path, {"w": random_walk()}, 4, workers=names, **options).path
    for file in (trial / "collections").rglob("*.json"):
        content = json.loads(file.read_text())
        content["_meta"]["num_workers"] = num_workers
        file.write_text(json.dumps(content))
    return trial


@needs_writing
class TestAnnouncedWorkers:
    @pytest.mark.parametrize(("there", "absent"), [(1, 3), (2, 2), (3, 1)])
    def test_workers_that_left_no_files(self, tmp_path: Path, there: int, absent: int) -> None:
        """The trial is not complete; what is there is compared. smdebug refuses it as a whole."""
        from smdebug.exceptions import MissingCollectionFiles
        from smdebug.trials import create_trial

        trial = announced(tmp_path / "trial", 4, there)
        report = check_trial(trial)
        assert [f"{absent} of 4 workers left no files"] == [
            entry.reason.partition(";")[0] for entry in report.unreadable
        ]
        assert 'include_workers="one"' in report.unreadable[0].reason
        assert (3 * there, 2) == (len(report), report.exit_code)
        assert 1 == check_trial(trial, large_threshold=1e-6).exit_code
        with pytest.raises(MissingCollectionFiles):
            create_trial(str(trial))

    def test_the_command(self, tmp_path: Path) -> None:
        """Exit code 2, and the line says how many and what to do."""
        result = invoke_command("check", str(announced(tmp_path / "trial", 4, 1)))
        assert 2 == result.exit_code
        assert "collections/000000000: 3 of 4 workers left no files; the hook's include_workers" in result.stdout

    @pytest.mark.parametrize("num_workers", [0, 1, 2])
    def test_all_that_are_announced(self, tmp_path: Path, num_workers: int) -> None:
        """As many or more are no fault."""
        assert 0 == check_trial(announced(tmp_path / "trial", num_workers, 2)).exit_code

    @pytest.mark.parametrize("name", ["pytorch_ddp_one", "tf_keras"])
    def test_recordings_of_one_worker(self, name: str) -> None:
        """Their collections announce one."""
        assert [] == check_trial(RECORDED[name]).unreadable


class TestStoppedWorkers:
    def skipped(self, trial: MemoryTrial) -> list[str]:
        return [f"{group.worker}: {group.reason}" for group in skipped_workers(trial.folder(), "TRAIN")]

    def trial(self, steps: dict[str, Any], ended: bool = True) -> MemoryTrial:
        trial = MemoryTrial(num_workers=len(steps))
        for worker, saved in steps.items():
            for step in saved:
                trial.save(step, "a", worker=worker)
        if ended:
            trial.end()
        return trial

    def test_a_worker_that_stops_early(self) -> None:
        """With its last step and that of the others."""
        trial = self.trial({"u": range(8), "v": range(5), "w": range(8)})
        assert ["v: stopped early: its last step is 4, that of the others 7"] == self.skipped(trial)

    @pytest.mark.parametrize(
        ("behind", "ended", "expected"), [(1, True, 1), (1, False, 0), (2, False, 1), (0, True, 0)]
    )
    def test_a_job_that_goes_on(self, behind: int, ended: bool, expected: int) -> None:
        """One step behind is not early while the job may go on."""
        assert expected == len(self.skipped(self.trial({"u": range(8), "v": range(8 - behind)}, ended)))

    @pytest.mark.parametrize("interval", [2, 3, 5])
    def test_other_save_intervals(self, interval: int) -> None:
        """A worker that has saved its last turn has not stopped."""
        assert [] == self.skipped(self.trial({"u": range(0, 20), "v": range(0, 20, interval)}))

    def test_eval_steps_in_between_do_not_count(self) -> None:
        """The interval is one of the judged mode's steps."""
        trial = MemoryTrial(num_workers=2)
        train = [*range(10), *range(20, 22)]
        for number, step in enumerate(train):
            trial.save(step, "a", "TRAIN", number, "u")
            if number % 3 == 0:
                trial.save(step, "b", "TRAIN", number, "v")
        for step in range(10, 20):
            trial.save(step, "a", "EVAL", step - 10, "u")
        trial.end()
        assert [] == self.skipped(trial)

    def test_steps_saved_in_pairs(self) -> None:
        """The longest of the last intervals counts."""
        pairs = [step for step in range(12) if step % 5 < 2]
        assert [] == self.skipped(self.trial({"u": range(14), "v": pairs}))
        assert 1 == len(self.skipped(self.trial({"u": range(17), "v": pairs})))

    def test_a_worker_of_one_step(self) -> None:
        """Its interval is not known."""
        assert ["v: stopped early: its last step is 0, that of the others 3"] == self.skipped(
            self.trial({"u": range(4), "v": [0]})
        )

    def test_steps_without_a_selected_tensor(self) -> None:
        """They do not count: the worker goes on with other tensors alone."""
        trial = self.trial({"u": range(8), "v": range(5)})
        for step in range(5, 8):
            trial.save(step, ["loss"], worker="v")
        assert ["v: stopped early: its last step is 4, that of the others 7"] == self.skipped(trial)

    @needs_writing
    def test_the_exit_code_stays(self, tmp_path: Path) -> None:
        """It is listed as skipped, once."""
        workers = ("worker_0", "worker_1")
        missing = [("worker_1", step) for step in range(3, 6)]
        trial = write_whole_trial(tmp_path / "trial", {"w": random_walk()}, 6, workers=workers, missing=missing).path
        result = invoke_command("check", str(trial))
        assert 0 == result.exit_code
        assert "  worker_1: stopped early: its last step is 2, that of the others 5\n" in result.stdout

    @pytest.mark.parametrize("trial", [*RECORDED.values(), *(folder / "trial" for folder in HOOKS.glob("[!R]*"))])
    def test_sound_recordings(self, trial: Path) -> None:
        """No worker of a real recording is said to have stopped."""
        assert not [group for group in check_trial(trial).skipped if "stopped early" in group.reason]
