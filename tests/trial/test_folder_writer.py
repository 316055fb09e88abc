"""FolderWriter: what is under a final name is whole, whatever interrupts or fails, and whose files a folder holds."""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path
from types import FrameType
from typing import Any, Iterator

import numpy as np
import pytest

from tests.conftest import event_file, index_file
from tests.recorders import as_entries, as_package_reads, assert_same_saved, files_of
from weight_update_ratio import check_trial
from weight_update_ratio.trial import folder_writer
from weight_update_ratio.trial.folder_writer import FolderWriter

COLLECTIONS = "collections/000000000/worker_0_collections.json"
END_OF_JOB = "training_job_end.ts"


def tensors(step: int) -> dict[str, Any]:
    """Return what a step saves; every second one has a new name."""
    return {"w": np.arange(50.0) + step, f"new{step // 2}": np.float32([step, 1])}


def write(writer: FolderWriter, step: int, mode: str = "TRAIN") -> None:
    writer.write_step(iter(tensors(step).items()), "weights", step, mode, step)


def opened(path: Path, worker: str = "worker_0", num_workers: int = 1) -> FolderWriter:
    writer = FolderWriter(str(path), worker, num_workers)
    writer.resume()
    return writer


def assert_whole(path: Path, steps: Any) -> None:
    """Assert that the folder of a job that has ended would hold these steps, and nothing broken."""
    expected = [entry for step in steps for entry in as_entries(tensors(step), "TRAIN", step, step)]
    (path / END_OF_JOB).touch()
    assert_same_saved(expected, as_package_reads(path))
    assert not expected or [] == list(check_trial(path).unreadable)
    os.unlink(path / END_OF_JOB)


class Interrupter:
    """Raises KeyboardInterrupt before a line of the package's writers, as a signal that arrives there does."""

    def __init__(self, line: int) -> None:
        self.remaining = line
        self.where = ""

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        name = os.path.basename(frame.f_code.co_filename)
        if name not in ("folder_writer.py", "event_writer.py"):
            return None
        if event == "line" and self.remaining >= 0:
            self.remaining -= 1
            if self.remaining < 0:
                self.where = f"{name}:{frame.f_lineno}"
                raise KeyboardInterrupt
        return self


class TestInterruptions:
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a file that it left to be closed
    @pytest.mark.parametrize("before", [0, 1, 2], ids=["first step", "known names", "a new name"])
    def test_before_any_line(self, tmp_path: Path, before: int) -> None:
        """The step is whole or nothing of it is left, and the next one is saved."""
        for line in range(1000):
            path = tmp_path / str(line)
            writer = opened(path)
            for step in range(before):
                write(writer, step)
            interrupter, previous = Interrupter(line), sys.gettrace()
            sys.settrace(interrupter)
            try:
                write(writer, before)
            except KeyboardInterrupt:
                pass
            finally:
                sys.settrace(previous)
            is_saved = index_file(path, before).exists()
            try:
                assert_whole(path, range(before + is_saved))
                write(writer, before + 1)
                assert_whole(path, [*range(before + is_saved), before + 1])
            except Exception as error:
                raise AssertionError(f"interrupted before {interrupter.where}: {error}") from error
            if not interrupter.where:
                break
        assert 30 < line < 999
        gc.collect()

    @pytest.mark.parametrize("before", [0, 1, 2], ids=["first step", "known names", "a new name"])
    @pytest.mark.parametrize("renamed", range(3))
    def test_while_a_file_is_renamed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renamed: int, before: int
    ) -> None:
        """A signal is handled when the system has renamed it."""
        if before == 1 and renamed == 2:
            pytest.skip("with known names two files are written")
        writer = opened(tmp_path)
        for step in range(before):
            write(writer, step)
        replace, calls = os.replace, []

        def interrupted(source: str, target: str) -> None:
            replace(source, target)
            calls.append(target)
            if len(calls) == renamed + 1:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(folder_writer.os, "replace", interrupted)
            with pytest.raises(KeyboardInterrupt):
                write(writer, before)
        is_saved = index_file(tmp_path, before).exists()
        assert_whole(tmp_path, range(before + is_saved))
        write(writer, before + 1)
        assert_whole(tmp_path, [*range(before + is_saved), before + 1])

    @pytest.mark.parametrize("raised", [KeyboardInterrupt, ZeroDivisionError])
    def test_while_a_tensor_is_made(self, tmp_path: Path, raised: type[BaseException]) -> None:
        """The folder is as it was, and nothing unfinished lies about."""

        def interrupted() -> Iterator[tuple[str, Any]]:
            yield "w", np.ones(10)
            yield "large", np.ones(100_000)
            raise raised

        writer = opened(tmp_path)
        write(writer, 0)
        before = files_of(tmp_path)
        with pytest.raises(raised):
            writer.write_step(interrupted(), "weights", 1, "TRAIN", 1)
        assert before == files_of(tmp_path)


class TestFailures:
    @pytest.mark.parametrize("before", [0, 1, 2], ids=["first step", "known names", "a new name"])
    @pytest.mark.parametrize(("function", "failing"), [(name, n) for name in ("open", "replace") for n in range(3)])
    def test_of_any_call(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, failing: int, before: int
    ) -> None:
        """The error names a file of the trial, what readers see is as before, and the next step is saved."""
        if before == 1 and failing == 2:
            pytest.skip("with known names two files are written")
        writer = opened(tmp_path)
        for step in range(before):
            write(writer, step)
        seen = {name: file for name, file in files_of(tmp_path).items() if name != COLLECTIONS}
        calls: list[Any] = []

        def failing_at(original: Any) -> Any:
            def call(name: Any, *arguments: Any, **options: Any) -> Any:
                calls.extend([name] * isinstance(name, str))  # not a descriptor, which was opened before
                if len(calls) == failing + 1:
                    raise OSError(28, "No space left on device", name)
                return original(name, *arguments, **options)

            return call

        with monkeypatch.context() as patch:
            patch.setattr(folder_writer.os, function, failing_at(getattr(os, function)))
            if function == "open":
                patch.setattr(folder_writer, "open", failing_at(open), raising=False)
            with pytest.raises(OSError, match=str(tmp_path)):
                write(writer, before)
        assert seen == {name: file for name, file in files_of(tmp_path).items() if name != COLLECTIONS}
        assert_whole(tmp_path, range(before))
        write(writer, before + 1)
        assert_whole(tmp_path, [*range(before), before + 1])

    def test_a_collections_file_that_was_not_written(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is written with the next step, so that no tensor is saved that is in no collection."""
        writer = opened(tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr(folder_writer, "collections_content", lambda *arguments: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                write(writer, 0)
        assert {} == files_of(tmp_path)
        write(writer, 1)
        assert_whole(tmp_path, [1])


class TestFiles:
    def test_are_unfinished_until_they_are_whole(self, tmp_path: Path) -> None:
        """While a step's tensors are written, a reader sees the steps before it, and none of its files."""
        writer = opened(tmp_path)
        write(writer, 0)
        seen: list[list[str]] = []

        def watched() -> Iterator[tuple[str, Any]]:
            before = set(files_of(tmp_path))
            for name, array in tensors(1).items():
                yield name, array
                seen.append(sorted(set(files_of(tmp_path)) - before))

        before = set(files_of(tmp_path))
        writer.write_step(watched(), "weights", 1, "TRAIN", 1)
        assert {True} == {name.endswith(".tmp") for names in seen for name in names} | {True}
        names = {str(file(tmp_path, 1).relative_to(tmp_path)) for file in (event_file, index_file)}
        assert before | names == set(files_of(tmp_path))

    def test_the_index_is_smdebugs(self, tmp_path: Path) -> None:
        """Its members, and where each record is."""
        write(opened(tmp_path), 1)
        size = event_file(tmp_path, 1).stat().st_size
        index = json.loads(index_file(tmp_path, 1).read_text())
        assert {
            "mode": "TRAIN",
            "mode_step": 1,
            "event_file_name": "events/000000000001/000000000001_worker_0.tfevents",
        } == index["meta"]
        places = [(entry["tensorname"], entry["start_idx"], entry["length"]) for entry in index["tensor_payload"]]
        assert [("w", 0), ("new0", places[0][2])] == [place[:2] for place in places]
        assert size == sum(length for _, _, length in places)

    def test_the_collections_file_is_written_again_for_a_new_name_only(self, tmp_path: Path) -> None:
        """And it is a new file then, which takes the old one's place."""
        writer = opened(tmp_path)
        inodes = []
        for step in range(4):
            write(writer, step)
            inodes.append(files_of(tmp_path)[COLLECTIONS].modified)
        assert inodes[0] == inodes[1] != inodes[2] == inodes[3]
        content = json.loads((tmp_path / COLLECTIONS).read_text())
        assert {"num_workers": 1} == content["_meta"]
        assert ["new0", "new1", "w"] == sorted(content["collections"]["weights"]["tensor_names"])

    def test_the_collections_file_comes_first(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its names are known to every reader that finds the step."""
        order: list[str] = []
        replace = os.replace

        def watched(source: str, target: str) -> None:
            order.append(os.path.relpath(target, tmp_path).split("/")[0])
            replace(source, target)

        monkeypatch.setattr(folder_writer.os, "replace", watched)
        write(opened(tmp_path), 0)
        assert ["collections", "events", "index"] == order

    def test_permissions(self, tmp_path: Path) -> None:
        """The umask decides who may read them, as for any file that a job writes."""
        before = os.umask(0o027)
        try:
            writer = opened(tmp_path / "t")
            write(writer, 0)
            writer.write_end()
        finally:
            os.umask(before)
        assert {0o640} == {path.stat().st_mode & 0o777 for path in (tmp_path / "t").rglob("*") if path.is_file()}


class TestHoldsTrial:
    def test_an_empty_folder(self, tmp_path: Path) -> None:
        """It does not, also where it did not exist."""
        assert not FolderWriter(str(tmp_path / "new"), "worker_0", 1).holds_trial()
        (tmp_path / "index" / "000000000").mkdir(parents=True)
        assert not FolderWriter(str(tmp_path), "worker_0", 1).holds_trial()

    @pytest.mark.parametrize(
        ("num_workers", "holds"), [(2, {"worker_0": True, "worker_1": False}), (3, dict.fromkeys("ab", True))]
    )
    def test_other_workers_of_this_trial(self, tmp_path: Path, num_workers: int, holds: dict[str, bool]) -> None:
        """They announce as many workers as this one."""
        write(opened(tmp_path, num_workers=2), 0)
        assert holds == {name: FolderWriter(str(tmp_path), name, num_workers).holds_trial() for name in holds}

    def test_collections_that_cannot_be_read(self, tmp_path: Path) -> None:
        """Nobody knows whose they are."""
        (tmp_path / COLLECTIONS).parent.mkdir(parents=True)
        (tmp_path / COLLECTIONS).write_text("{")
        assert FolderWriter(str(tmp_path), "worker_0", 1).holds_trial()
        assert FolderWriter(str(tmp_path), "worker_1", 2).holds_trial()


class TestResume:
    def test_last_steps(self, tmp_path: Path) -> None:
        """Those of this worker, by mode, in the order of global steps."""
        writers = {worker: opened(tmp_path, worker, 2) for worker in ("worker_0", "worker_1")}
        for global_step, (worker, mode, step) in enumerate(
            [
                ("worker_0", "TRAIN", 5),
                ("worker_1", "TRAIN", 99),
                ("worker_0", "EVAL", 7),
                ("worker_0", "TRAIN", 3),
                ("worker_1", "PREDICT", 9),
            ]
        ):
            writers[worker].write_step([("w", np.ones(2))], "weights", 997 + global_step, mode, step)
        assert {"TRAIN": 3, "EVAL": 7, "GLOBAL": 1000} == FolderWriter(str(tmp_path), "worker_0", 2).resume()
        assert {"TRAIN": 99, "PREDICT": 9, "GLOBAL": 1001} == FolderWriter(str(tmp_path), "worker_1", 2).resume()
        assert {} == FolderWriter(str(tmp_path), "worker_2", 2).resume()

    def test_a_worker_whose_name_begins_as_anothers(self, tmp_path: Path) -> None:
        """worker_1 is not worker_11, and 1 is not worker_1."""
        write(opened(tmp_path, "worker_11", 3), 4)
        before = files_of(tmp_path)
        for worker in ("worker_1", "11", "worker", "1"):
            assert {} == FolderWriter(str(tmp_path), worker, 3).resume()
        assert before == files_of(tmp_path)

    def test_files_of_other_names_stay(self, tmp_path: Path) -> None:
        """Also beside the trial's own."""
        write(opened(tmp_path), 0)
        for name in (
            "index/readme",
            "index/000000000/a_worker_0.json",
            "events/notes.tmp",
            "events/x_worker_0.tfevents",
        ):
            (tmp_path / name).write_text("x")
        before = files_of(tmp_path)
        FolderWriter(str(tmp_path), "worker_0", 1).resume()
        assert before == files_of(tmp_path)
