"""What a recorder leaves under a final name is whole, whatever interrupts it or fails."""

from __future__ import annotations

import builtins
import contextlib
import gc
import os
import sys
from pathlib import Path
from types import FrameType
from typing import Any, Iterator

import numpy as np
import pytest

import weight_update_ratio
from tests.conftest import index_file
from tests.recorders import as_entries, as_package_reads, assert_same_saved, files_of
from weight_update_ratio import TrialRecorder, check_trial

PACKAGE = os.path.dirname(weight_update_ratio.__file__)
COLLECTIONS = "collections/000000000/worker_0_collections.json"
END_OF_JOB = "training_job_end.ts"

pytestmark = pytest.mark.parametrize("before", [0, 1, 2], ids=["first step", "known names", "a new name"])


def tensors(step: int) -> dict[str, Any]:
    return {"w": np.arange(50.0) + step, f"new{step // 2}": np.float32([step, 1])}


def recorder_of(path: Path, steps: int) -> TrialRecorder:
    recorder = TrialRecorder(path)
    for step in range(steps):
        recorder.step(tensors(step))
    return recorder


def seen(path: Path) -> dict[str, Any]:
    """Return all files; a collections file may name a tensor that is not saved."""
    return {name: file for name, file in files_of(path).items() if name != COLLECTIONS}


def assert_whole(path: Path, steps: list[int]) -> None:
    """Assert that the folder of a job that has ended would hold these steps, and nothing broken."""
    expected = [entry for step in steps for entry in as_entries(tensors(step), "TRAIN", step, step)]
    (path / END_OF_JOB).touch()
    saved = as_package_reads(path)  # a step that was interrupted before it was counted has left its global step free
    assert_same_saved(expected, [entry._replace(global_step=entry.step) for entry in saved])
    assert not expected or [] == list(check_trial(path).unreadable)
    os.unlink(path / END_OF_JOB)


def assert_whole_and_goes_on(recorder: TrialRecorder, path: Path, before: int) -> None:
    """Assert that the interrupted step is saved as a whole or not at all, and that the next one is saved."""
    steps = list(range(before + index_file(path, before).exists()))
    assert_whole(path, steps)
    assert recorder.step(tensors(before + 1), step=before + 1)
    assert_whole(path, [*steps, before + 1])


class Interrupter:
    """Raises KeyboardInterrupt before a line of the package, as a signal that arrives there does."""

    def __init__(self, line: int) -> None:
        self.remaining = line
        self.where = ""

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if event == "line" and self.remaining >= 0:
            self.remaining -= 1
            if self.remaining < 0:
                self.where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                raise KeyboardInterrupt
        return self


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a file that it left to be closed
@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.rare)])
def test_interrupted_before_any_line(tmp_path: Path, before: int, every: int) -> None:
    for line in range(before, 100_000, every):
        path = tmp_path / str(line)
        recorder = recorder_of(path, before)
        interrupter, previous = Interrupter(line), sys.gettrace()
        sys.settrace(interrupter)
        try:
            recorder.step(tensors(before))
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(previous)
        if not interrupter.where:
            break
        try:
            assert_whole_and_goes_on(recorder, path, before)
        except Exception as error:
            raise AssertionError(f"interrupted before {interrupter.where}: {error}") from error
    assert line > 30
    gc.collect()


@pytest.mark.parametrize("renamed", range(3))
def test_interrupted_while_a_file_is_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renamed: int, before: int
) -> None:
    """A signal is handled when the system has renamed it."""
    recorder, replace, calls = recorder_of(tmp_path / "t", before), os.replace, []

    def interrupted(source: str, target: str) -> None:
        replace(source, target)
        calls.append(target)
        if len(calls) == renamed + 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupted)
        with contextlib.suppress(KeyboardInterrupt):
            recorder.step(tensors(before))
    assert calls
    assert_whole_and_goes_on(recorder, tmp_path / "t", before)


@pytest.mark.parametrize(("function", "failing"), [(name, n) for name in ("open", "replace") for n in range(3)])
def test_a_call_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, failing: int, before: int
) -> None:
    """The error names a file of the trial, what readers see is as before, and the next step is saved."""
    path = tmp_path / "t"
    recorder, files, calls = recorder_of(path, before), seen(path), []
    failing = min(failing, 1 if before == 1 else 2)  # with known names two files are written
    owner, original = (builtins, open) if function == "open" else (os, os.replace)

    def failing_call(name: Any, *arguments: Any, **options: Any) -> Any:
        calls.extend([name] * str(name).endswith(".tmp"))
        if len(calls) == failing + 1:
            raise OSError(28, "No space left on device")
        return original(name, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(owner, function, failing_call)
        with pytest.raises(OSError, match=str(path)):
            recorder.step(tensors(before))
    assert files == seen(path)
    assert_whole_and_goes_on(recorder, path, before)


def test_files_are_unfinished_until_they_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    """While tensors are written a reader sees none of the step; the collections file comes first, the index last."""
    recorder, files, order = recorder_of(tmp_path, before), files_of(tmp_path), []
    replace = os.replace

    def watched_replace(source: str, target: str) -> None:
        order.append(os.path.relpath(target, tmp_path).split("/")[0])
        replace(source, target)

    def watched() -> Iterator[tuple[str, Any]]:
        for tensor in tensors(before).items():
            yield tensor
            new = {name: file for name, file in files_of(tmp_path).items() if not name.endswith(".tmp")}
            assert files == new

    monkeypatch.setattr(os, "replace", watched_replace)
    recorder.step(watched)
    assert (["events", "index"] if before == 1 else ["collections", "events", "index"]) == order
