"""Recorders that die: killed at any moment, or on a disk that is full. What they saved before is whole."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Iterator

import numpy as np
import pytest

from tests.conftest import REPOSITORY, Saved, as_smdebug_reads
from tests.recorders import as_entries, as_package_reads, assert_same_saved, files_of
from weight_update_ratio import TrialError, TrialRecorder, check_trial
from weight_update_ratio.trial.event_file import tensor_array, tensor_layout

END_OF_JOB = "training_job_end.ts"
KILLS = 100
# Each child records steps until it is killed: in the midst of one, a moment after it has said that it has recorded so
# many. A step is small, so that the moments fall on all that a recorder does, and every third has a name that is new to
# the collections file.
PROGRAM = f"""
import os, random, signal, sys, time
import numpy as np
from weight_update_ratio import TrialRecorder

def work(folder, resume, writing):
    recorder = TrialRecorder(folder, resume=resume)
    for step in range(10_000):
        tensors = {{"w": np.full(200, step + 1.0), "v": np.float32([step, 1])}}
        if step % 3 == 0:
            tensors[f"new{{step}}"] = np.ones(3)
        recorder.step(tensors)
        os.write(writing, b"x")

def killed(folder, resume, steps, seconds):
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            work(folder, resume, writing)
        finally:
            os._exit(1)
    os.close(writing)
    for _ in range(steps):
        os.read(reading, 1)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), status
    while os.read(reading, 1):
        steps += 1
    os.close(reading)
    return steps

moments = random.Random(0)
for number in range({KILLS}):
    folder = sys.argv[1] + (f"/{{number}}" if sys.argv[2] == "anew" else "")
    steps = number % (7 if sys.argv[2] == "anew" else 4)
    print(killed(folder, folder == sys.argv[1], steps, moments.uniform(0, 0.001)))
"""


def run(program: str, *arguments: Any) -> str:
    """Run a program in an interpreter of its own, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        timeout=120,
    )
    assert (0, "") == (done.returncode, done.stderr)
    return done.stdout


def assert_files_whole(folder: Path) -> None:
    """Assert that each file under its final name is whole: the index is JSON, and each record at its place is sound."""
    files = files_of(folder)
    for name, file in files.items():
        if name.endswith("_collections.json"):
            assert {"weights"} == set(json.loads(file.content)["collections"])
        elif name.endswith(".json"):
            index = json.loads(file.content)
            events = memoryview(files[index["meta"]["event_file_name"]].content)
            position = 0
            for entry in index["tensor_payload"]:
                assert position == entry["start_idx"]
                position += entry["length"]
                record = events[entry["start_idx"] : position]
                layout = tensor_layout(record, entry["tensorname"], int(Path(name).name[:12]))
                assert layout.size == tensor_array(record, layout).size
            assert position == len(events)
        else:
            assert name.endswith((".tfevents", ".tmp", END_OF_JOB)), name


def expected_tensors(step: int) -> dict[str, Any]:
    """Return what the program's children save at a step."""
    tensors = {"w": np.full(200, step + 1.0), "v": np.float32([step, 1])}
    return {**tensors, f"new{step}": np.ones(3)} if step % 3 == 0 else tensors


def exit_code(folder: Path) -> int:
    """Return the exit code of ``check``; what was saved is never unreadable."""
    try:
        report = check_trial(folder, large_threshold=1000)
    except TrialError:
        return 2
    assert [] == list(report.unreadable)
    return report.exit_code


@pytest.mark.slow
class TestKilled:
    def test_at_any_moment(self, tmp_path: Path) -> None:
        """No file is half written, no step is lost, ``check`` judges what was saved, and a resumed recorder goes on."""
        counts: Counter[str] = Counter()
        for number, said in enumerate(run(PROGRAM, tmp_path, "anew").split()):
            path = tmp_path / str(number)
            steps = self.assert_whole_steps(path)
            assert steps in (int(said), int(said) + 1)  # killed before it could say that it had recorded it
            code = exit_code(path)
            assert (0 if steps > 1 else 2) == code
            counts[f"exit code {code}"] += 1
            counts["unfinished files"] += any(name.endswith(".tmp") for name in files_of(path))
            with TrialRecorder(path, resume=True) as recorder:
                for step in range(steps, steps + 2):
                    recorder.step(expected_tensors(step))
            assert steps + 2 == self.assert_whole_steps(path)
            assert 0 == exit_code(path)
            assert [] == [name for name in files_of(path) if name.endswith(".tmp")]
            if number % 50 == 0:
                assert_same_saved(as_package_reads(path), as_smdebug_reads(path))
        print(dict(counts))
        assert KILLS == counts["exit code 0"] + counts["exit code 2"]
        assert counts["unfinished files"] > KILLS / 20, "few were killed while they wrote"

    def assert_whole_steps(self, path: Path) -> int:
        """Assert that a folder holds whole steps and nothing else, and return how many."""
        assert_files_whole(path)
        saved = as_package_reads(path) if path.exists() else []
        steps = len({entry.step for entry in saved})
        tensors = [expected_tensors(step) for step in range(steps)]
        assert_same_saved([e for step in range(steps) for e in as_entries(tensors[step], "TRAIN", step, step)], saved)
        return steps

    def test_again_and_again(self, tmp_path: Path) -> None:
        """A recorder that is resumed and killed in one folder a hundred times loses no step."""
        said = sum(map(int, run(PROGRAM, tmp_path, "resumed").split()))
        assert_files_whole(tmp_path)
        global_steps = sorted({entry.global_step for entry in as_package_reads(tmp_path)})
        assert [*range(len(global_steps))] == global_steps
        assert said <= len(global_steps) <= said + KILLS
        assert exit_code(tmp_path) in (0, 1)


def large(step: int) -> dict[str, Any]:
    """Return 4 KiB of weights."""
    return {"w": 1 + np.random.default_rng(step).normal(0, 0.01, 256), "v": 2 + np.random.default_rng(step).random(256)}


class TestFullDisks:
    @pytest.fixture
    def small_disk(self, tmp_path: Path) -> Iterator[Path]:
        """Give a folder on a disk of 128 KiB."""
        folder = tmp_path / "disk"
        folder.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)], capture_output=True)
        if mounted.returncode:
            pytest.skip("only root may mount a disk")
        yield folder
        subprocess.run(["umount", str(folder)], check=True)

    def test_a_disk_that_fills_up(self, small_disk: Path) -> None:
        """The error names the file; the folder is judged up to the last whole step, and goes on when there is room."""
        folder, ballast = small_disk / "trial", small_disk / "ballast"
        ballast.write_bytes(bytes(20_000))
        errors: list[OSError] = []
        saved: list[Saved] = []
        with TrialRecorder(folder) as recorder:
            for step in range(30):
                try:
                    recorder.step(large(step))
                except OSError as error:
                    errors.append(error)
                    assert_files_whole(folder)
                    assert_same_saved(saved, as_package_reads(folder))
                    assert [] == [name for name in files_of(folder) if name.endswith(".tmp")]
                    if len(errors) == 3:
                        ballast.unlink()
                else:
                    saved += as_entries(large(step), "TRAIN", step, step)
        assert len(errors) > 3
        for error in errors:
            assert 28 == error.errno
            assert str(error.filename).startswith(f"{folder}/")
            assert str(error.filename) in str(error)
        assert_files_whole(folder)
        assert_same_saved(saved, as_package_reads(folder))
        assert 0 == exit_code(folder)

    def test_the_first_step_does_not_fit(self, small_disk: Path) -> None:
        """Nothing of it is left, and the next recorder begins in the folder as in a new one."""
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(110_000))
        recorder = TrialRecorder(small_disk / "trial")
        with pytest.raises(OSError, match="No space left on device"):
            recorder.step({"w": np.ones(10_000)})
        assert {} == files_of(small_disk / "trial")
        ballast.unlink()
        recorder.step(large(0))
        recorder.step(large(1))
        recorder.close()
        assert [0, 0, 1, 1] == sorted(entry.step - 1 for entry in as_package_reads(small_disk / "trial"))
        assert 0 == exit_code(small_disk / "trial")

    def test_no_room_for_the_end(self, small_disk: Path) -> None:
        """Whether or not the end-of-job file can be written, the folder is judged."""
        recorder = TrialRecorder(small_disk / "trial")
        recorder.step(large(0))
        recorder.step(large(1))
        descriptor = os.open(small_disk / "ballast", os.O_WRONLY | os.O_CREAT)
        with contextlib.suppress(OSError):
            while os.write(descriptor, bytes(1000)):
                pass
        os.close(descriptor)
        with contextlib.suppress(OSError):
            recorder.close()
        assert 0 == exit_code(small_disk / "trial")

    @contextlib.contextmanager
    def limited(self, size: int) -> Iterator[None]:
        """Let no file of this process be larger."""
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    def test_an_event_file_that_cannot_be_written(self, tmp_path: Path) -> None:
        """Nothing of the step is left, and the next one is recorded."""
        with TrialRecorder(tmp_path / "t") as recorder:
            recorder.step(large(0))
            before = files_of(tmp_path / "t")
            with self.limited(20_000), pytest.raises(OSError, match=r"File too large.*_worker_0.tfevents"):
                recorder.step({**large(1), "new": np.ones(10_000)})
            assert before == files_of(tmp_path / "t")
            recorder.step({**large(2), "new": np.ones(10_000)})
            recorder.step({**large(3), "new": np.ones(10_000) + 1})
        assert [("new", 2), ("new", 3)] == [s[0:4:3] for s in as_package_reads(tmp_path / "t") if s.tensor == "new"]
        assert 0 == exit_code(tmp_path / "t")

    def test_a_collections_file_that_cannot_be_written(self, tmp_path: Path) -> None:
        """Nothing of the step is left, and its names are in the file where a later step has them."""

        def named(step: int) -> dict[str, Any]:
            return {f"{'name' * 50}{step}.{number}": np.ones(1) for number in range(20)}

        saved: list[Saved] = []
        with TrialRecorder(tmp_path / "t") as recorder:
            with self.limited(20_000):
                for step in range(3):
                    recorder.step(named(step))
                    saved += as_entries(named(step), "TRAIN", step, step)
                before = files_of(tmp_path / "t")
                for _ in range(3, 10):
                    with pytest.raises(OSError, match=r"File too large.*_collections.json"):
                        recorder.step({**named(9), **named(10)})
                    assert before == files_of(tmp_path / "t")
            recorder.step(named(9))
            saved += as_entries(named(9), "TRAIN", 10, 10)
        assert_same_saved(saved, as_package_reads(tmp_path / "t"))

    def test_a_folder_that_may_not_be_written(self, tmp_path: Path) -> None:
        """An OSError names it; the job may go on without being recorded."""
        blocked = tmp_path / "t"
        recorder = TrialRecorder(blocked)
        recorder.step(large(0))
        (blocked / "events" / f"{1:012d}").write_text("a file where a folder is to be")
        with pytest.raises(OSError, match=f"{1:012d}"):
            recorder.step(large(1))
        recorder.step(large(2))
        recorder.close()
        assert {0, 2} == {entry.step for entry in as_package_reads(blocked)}
