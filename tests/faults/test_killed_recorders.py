"""Recorders that die: killed at any moment, or on a disk that is full. What they saved before is whole."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import Saved, as_smdebug_reads
from tests.processes import printed_numbers
from tests.recorders import USUAL, as_entries, as_package_reads, assert_same_saved, files_of
from weight_update_ratio import TrialError, TrialRecorder, check_trial

KILLS = [20, pytest.param(200, marks=pytest.mark.rare)]
# Each child records steps until it is killed: in the midst of one, a moment after it has said that it has recorded so
# many.
PROGRAM = """
import functools, os, random, sys
from tests.faults.test_killed_recorders import program_tensors
from tests.processes import killed
from weight_update_ratio import TrialRecorder

def work(folder, resume, writing):
    recorder = TrialRecorder(folder, resume=resume)
    for step in range(10_000):
        recorder.step(program_tensors(step))
        os.write(writing, b"x")

moments = random.Random(0)
for number in range(int(sys.argv[3])):
    folder = sys.argv[1] + (f"/{number}" if sys.argv[2] == "anew" else "")
    steps = number % (7 if sys.argv[2] == "anew" else 4)
    work_here = functools.partial(work, folder, folder == sys.argv[1])
    print(killed(work_here, steps, moments.uniform(0, 0.001)))
"""


def assert_files_whole(folder: Path) -> None:
    """Assert that each file under its final name is whole: it is JSON, or has the bytes that its index says."""
    files = files_of(folder)
    for name, file in files.items():
        if name.endswith("_collections.json"):
            assert {"weights", "biases", "vectors"} == set(json.loads(file.content)["collections"])
        elif name.endswith(".json"):
            index = json.loads(file.content)
            lengths = [entry["length"] for entry in index["tensor_payload"]]
            assert sum(lengths) == len(files[index["meta"]["event_file_name"]].content)
        else:
            assert name.endswith((".tfevents", ".tmp", "training_job_end.ts")), name


def assert_whole_steps(folder: Path) -> int:
    assert_files_whole(folder)
    saved = as_package_reads(folder) if folder.exists() else []
    steps = len({entry.step for entry in saved})
    expected = [as_entries(program_tensors(step), "TRAIN", step, step) for step in range(steps)]
    assert_same_saved([entry for entries in expected for entry in entries], saved)
    return steps


def program_tensors(step: int) -> dict[str, Any]:
    """Return what the program's children save at a step: little, and every third time a name that is new."""
    tensors = {"w": np.full(200, step + 1.0), "v": np.float32([step, 1])}
    return {**tensors, f"new{step}": np.ones(3)} if step % 3 == 0 else tensors


def unfinished(folder: Path) -> list[str]:
    return [name for name in files_of(folder) if name.endswith(".tmp")]


def exit_code(folder: Path) -> int:
    """Return the exit code of ``check``; what was saved is never unreadable."""
    try:
        report = check_trial(folder, large_threshold=1000, collection_names=USUAL)
    except TrialError:
        return 2
    assert [] == list(report.unreadable)
    return report.exit_code


@pytest.mark.slow
@pytest.mark.parametrize("count", KILLS)
def test_killed_at_any_moment(tmp_path: Path, count: int) -> None:
    """No file is half written, no step is lost, ``check`` judges what was saved, and a resumed recorder goes on."""
    left = 0
    for number, said in enumerate(printed_numbers(PROGRAM, tmp_path, "anew", count)):
        folder = tmp_path / str(number)
        steps = assert_whole_steps(folder)
        assert steps in (said, said + 1)  # killed before it could say that it had recorded it
        assert (0 if steps > 1 else 2) == exit_code(folder)
        left += bool(unfinished(folder))
        with TrialRecorder(folder, resume=True) as recorder:
            for step in range(steps, steps + 2):
                recorder.step(program_tensors(step))
        assert steps + 2 == assert_whole_steps(folder)
        assert (0, []) == (exit_code(folder), unfinished(folder))
        if number % 50 == 0:
            assert_same_saved(as_package_reads(folder), as_smdebug_reads(folder, USUAL))
    assert left >= count / 20, "few were killed while they wrote"


@pytest.mark.slow
@pytest.mark.parametrize("count", KILLS)
def test_killed_again_and_again(tmp_path: Path, count: int) -> None:
    said = sum(printed_numbers(PROGRAM, tmp_path, "resumed", count))
    assert_files_whole(tmp_path)
    global_steps = sorted({entry.global_step for entry in as_package_reads(tmp_path)})
    assert [*range(len(global_steps))] == global_steps
    assert said <= len(global_steps) <= said + count
    assert exit_code(tmp_path) in (0, 1)


def large(step: int) -> dict[str, Any]:
    return {"w": 1 + np.random.default_rng(step).normal(0, 0.01, 256), "v": 2 + np.random.default_rng(step).random(256)}


def test_a_disk_that_fills_up(tmp_path: Path) -> None:
    """The error names the file; the folder is judged up to the last whole step, and goes on when there is room."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root may mount a disk")
    folder, ballast = tmp_path / "trial", tmp_path / "ballast"
    ballast.write_bytes(bytes(20_000))
    errors: list[OSError] = []
    saved: list[Saved] = []
    try:
        with TrialRecorder(folder) as recorder:
            for step in range(30):
                try:
                    recorder.step(large(step))
                except OSError as error:
                    errors.append(error)
                    assert_files_whole(folder)
                    assert_same_saved(saved, as_package_reads(folder))
                    assert [] == unfinished(folder)
                    if len(errors) == 3:
                        ballast.unlink()
                else:
                    saved += as_entries(large(step), "TRAIN", step, step)
        assert len(errors) > 3
        for error in errors:
            assert (28, True) == (error.errno, str(error.filename).startswith(f"{folder}/"))
            assert str(error.filename) in str(error)
        assert_files_whole(folder)
        assert_same_saved(saved, as_package_reads(folder))
        assert 0 == exit_code(folder)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
