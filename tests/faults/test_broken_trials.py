"""Broken trials: what could not be judged is said, by file, tensor and step; what could be is judged all the same."""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, NamedTuple

import numpy as np
import pytest

from tests.conftest import (
    RECORDED,
    Saved,
    TrialWriter,
    change_json,
    event_file,
    exact_norm,
    found_comparisons,
    index_file,
    needs_writing,
    random_walk,
    run_command,
    write_whole_trial,
)
from tests.reports import invoke_command
from weight_update_ratio import Report, TrialError, check_trial
from weight_update_ratio.compare.rows import Comparison
from weight_update_ratio.trial.wire_format import masked_crc32c

STEPS = 6
WORKERS = ("worker_0", "worker_1")
WEIGHTS = ("a/weight", "b/weight")
COLLECTIONS = "collections/000000000/{}_collections.json"
CERTAIN = "has no certain reference"

pytestmark = needs_writing


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a sound trial with payload checksums: two weights and a loss, two workers, six steps."""
    return write_sound(tmp_path_factory.mktemp("sound") / "trial")


def write_sound(path: Path, **options: Any) -> Path:
    return sound_writer(path, **options).path


def sound_writer(path: Path, **options: Any) -> TrialWriter:
    tensors = {
        "loss": lambda step: np.asarray([1.0 / (step + 1)], np.float32),
        WEIGHTS[0]: random_walk((3, 4), seed=1),
        WEIGHTS[1]: random_walk((5,), seed=2),
    }
    members = {"weights": WEIGHTS, "losses": ["loss"]}
    options = {"steps": STEPS, "workers": WORKERS, "checksum": True, **options}
    return write_whole_trial(path, tensors, collections=members, **options)


@pytest.fixture
def trial(sound: Path, tmp_path: Path) -> Path:
    """Give a copy of the sound trial, to be broken."""
    return Path(shutil.copytree(sound, tmp_path / "trial"))


def relative(path: Path, trial: Path) -> str:
    return path.relative_to(trial).as_posix()


def entry_of(trial: Path, step: int, tensor: str, worker: str = "worker_0") -> dict[str, Any]:
    payload = json.loads(index_file(trial, step, worker).read_text())["tensor_payload"]
    return next(entry for entry in payload if entry["tensorname"] == tensor)


def change_bytes(path: Path, change: Callable[[bytearray], Any]) -> None:
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)


def set_record(trial: Path, step: int, tensor: str, change: Callable[[bytearray], None]) -> None:
    """Change the payload of a record, and give it a checksum that holds; its length stays."""
    entry = entry_of(trial, step, tensor)
    start, length = entry["start_idx"], entry["length"]

    def rewrite(content: bytearray) -> None:
        payload = content[start + 12 : start + length - 4]
        change(payload)
        content[start + 12 : start + length - 4] = payload
        content[start + length - 4 : start + length] = struct.pack("<I", masked_crc32c(bytes(payload)))

    change_bytes(event_file(trial, step), rewrite)


def change_entry(trial: Path, step: int, tensor: str, **values: Any) -> None:
    change_json(
        index_file(trial, step),
        lambda index: [e.update(values) for e in index["tensor_payload"] if e["tensorname"] == tensor] and None,
    )


class TestFilesThatShrink:
    @pytest.mark.parametrize("which", [0, 1, 2])
    def test_while_the_trial_is_judged(self, trial: Path, which: int) -> None:
        """The file of the step before, of this step or of the next one, after each step: the process goes on.

        What was read counts, and what is read later is an unreadable record.
        """
        everything = found_comparisons(check_trial(trial))
        report = check_trial(trial, progress=lambda done, total: shrink(trial, done - 2 + which))
        lost = {row.global_step for row in report.unreadable}
        assert lost == (set(range(1, STEPS)) if which == 2 else set())
        assert ({} if lost else everything) == found_comparisons(report)

    def test_while_a_large_record_is_read(self, tmp_path: Path) -> None:
        """By another process, at any moment: exit code 0 or 2, or 1 where it fired; never a death by a signal."""
        writer = write_whole_trial(tmp_path / "trial", {"w": lambda step: np.full(4_000_000, 1 + step / 100)}, steps=3)
        program = "import os, sys, time\nfor cut in range(400):\n  for path in sys.argv[1:]:\n    "
        program += "os.truncate(path, 32_000_000 - cut * 70_000)\n  time.sleep(0.002)"
        files = [event_file(writer.path, step) for step in range(3)]
        with subprocess.Popen([sys.executable, "-c", program, *files]) as cutter:
            codes = set()
            while cutter.poll() is None:
                codes.add(run_command("check", writer.path, "--quiet").returncode)
        assert codes <= {0, 2}
        assert 2 == run_command("check", writer.path, "--quiet").returncode


def shrink(trial: Path, step: int) -> None:
    for worker in WORKERS:
        if event_file(trial, step, worker).exists():
            os.truncate(event_file(trial, step, worker), 100)


class Fault(NamedTuple):
    """A way to break step 2 of worker_0: ``tensors`` whose records are lost (None: the index file), and the reason."""

    name: str
    tensors: tuple[str, ...] | None
    reason: str
    make: Callable[[Path], Any]


def flip_type(payload: bytearray) -> None:
    at = payload.index(b"a/weight") + len("a/weight")
    assert payload[at] == 0x42  # the tensor, whose first field is its type
    payload[at + 3] = 7  # DT_STRING


def flip_shape(payload: bytearray) -> None:
    at = payload.index(b"\x08\x04")  # the size of the second dimension, 4
    payload[at + 1] = 5


EVENT, INDEX = (lambda trial: event_file(trial, 2)), (lambda trial: index_file(trial, 2))
FAULTS = [
    Fault("event file truncated", WEIGHTS, "has ", lambda t: os.truncate(EVENT(t), 70)),
    Fault(
        "event file cut in its last record", WEIGHTS[1:], "has ", lambda t: os.truncate(EVENT(t), -9 + size(EVENT(t)))
    ),
    Fault("event file empty", WEIGHTS, "has 0 bytes, while the index names bytes", lambda t: os.truncate(EVENT(t), 0)),
    Fault("event file missing", WEIGHTS, "does not exist", lambda t: EVENT(t).unlink()),
    Fault("event file of garbage", WEIGHTS, "is corrupt: the checksum of its length", lambda t: garbage(EVENT(t))),
    Fault("event file is a folder", WEIGHTS, "is not a regular file", lambda t: (EVENT(t).unlink(), EVENT(t).mkdir())),
    Fault(
        "wrong length checksum",
        WEIGHTS[:1],
        "is corrupt: the checksum of its length does not hold",
        lambda t: change_bytes(EVENT(t), lambda c: flip(c, entry_of(t, 2, WEIGHTS[0])["start_idx"] + 8)),
    ),
    Fault(
        "wrong payload checksum",
        WEIGHTS[:1],
        "is corrupt: the checksum of its content does not hold",
        lambda t: change_bytes(EVENT(t), lambda c: flip(c, entry_of(t, 2, WEIGHTS[0])["start_idx"] + 70)),
    ),
    Fault(
        "dims that do not fit the bytes",
        WEIGHTS[:1],
        "has 48 bytes of elements, while its shape (3, 5) of float32 needs 60",
        lambda t: set_record(t, 2, WEIGHTS[0], flip_shape),
    ),
    Fault(
        "a type that is not a number",
        WEIGHTS[:1],
        "holds no numbers (TensorFlow's data type 7)",
        lambda t: set_record(t, 2, WEIGHTS[0], flip_type),
    ),
    Fault(
        "another tensor's offset",
        WEIGHTS[:1],
        "holds the tensor 'b/weight' where the index names 'a/weight'",
        lambda t: change_entry(t, 2, WEIGHTS[0], **range_of(t, 2, WEIGHTS[1])),
    ),
    Fault(
        "a range too large",
        WEIGHTS[:1],
        "has ",
        lambda t: change_entry(t, 2, WEIGHTS[0], length=2**61),
    ),
    Fault("a negative range", WEIGHTS[:1], "names no range", lambda t: change_entry(t, 2, WEIGHTS[0], start_idx=-1)),
    Fault("a range of text", WEIGHTS[:1], "names no range", lambda t: change_entry(t, 2, WEIGHTS[0], length="9")),
    Fault(
        "the event file of another step",
        WEIGHTS,
        "is of step 1, while its index is of step 2",
        lambda t: shutil.copy(event_file(t, 1), EVENT(t)),
    ),
    Fault("no range", WEIGHTS[:1], "names no range", lambda t: change_entry(t, 2, WEIGHTS[0], length=None)),
    Fault("index file empty", None, "is empty", lambda t: os.truncate(INDEX(t), 0)),
    Fault("index file truncated", None, "is not JSON", lambda t: os.truncate(INDEX(t), 90)),
    Fault("index file of garbage", None, "is not JSON", lambda t: garbage(INDEX(t))),
    Fault("index file of other JSON", None, "is not an index", lambda t: INDEX(t).write_text('{"tensor_payload": []}')),
    Fault("index file is a folder", None, "does not exist, while", lambda t: (INDEX(t).unlink(), INDEX(t).mkdir())),
    Fault("an event file without its index file", None, "does not exist, while", lambda t: INDEX(t).unlink()),
    Fault(
        "an unknown mode",
        None,
        "has an unknown mode 'DREAM'",
        lambda t: change_json(INDEX(t), lambda index: index["meta"].update(mode="DREAM")),
    ),
    Fault(
        "a step that is not a number",
        None,
        "has a step that is not a whole number ('2')",
        lambda t: change_json(INDEX(t), lambda index: index["meta"].update(mode_step="2")),
    ),
    Fault(
        "the index file of another step",
        None,
        "names the event file of another step or worker",
        lambda t: shutil.copy(index_file(t, 1), INDEX(t)),
    ),
    Fault(
        "the index file of another worker",
        None,
        "names the event file of another step or worker",
        lambda t: shutil.copy(index_file(t, 2, "worker_1"), INDEX(t)),
    ),
    Fault(
        "an entry without a name",
        None,
        "has an entry without a tensor's name",
        lambda t: change_json(INDEX(t), lambda index: index["tensor_payload"][0].pop("tensorname") and None),
    ),
    Fault(
        "an index without its payload",
        None,
        "is not an index: its payload",
        lambda t: change_json(INDEX(t), lambda index: index.update(tensor_pay1oad=index.pop("tensor_payload"))),
    ),
]


def size(path: Path) -> int:
    return path.stat().st_size


def flip(content: bytearray, position: int) -> None:
    content[position] ^= 1


def garbage(path: Path) -> None:
    path.write_bytes(np.random.default_rng(3).bytes(size(path)))


def range_of(trial: Path, step: int, tensor: str) -> dict[str, int]:
    entry = entry_of(trial, step, tensor)
    return {"start_idx": entry["start_idx"], "length": entry["length"]}


def lost_rows(fault: Fault, num_steps: int | None) -> set[tuple[str, str, int]]:
    """Return the comparisons of worker_0 that need step 2, or that may."""
    if num_steps is None:
        return {(tensor, "worker_0", step) for tensor in fault.tensors or WEIGHTS for step in (2, 3)}
    if fault.tensors is None:  # step 3, with num_steps 2, has its certain reference: step 1
        return {(tensor, "worker_0", step) for tensor in WEIGHTS for step in (2, 4)}
    return {(tensor, "worker_0", step) for tensor in fault.tensors for step in (2, 4)}


class TestFaults:
    @pytest.mark.parametrize("num_steps", [None, 2])
    @pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
    def test_one_fault(self, fault: Fault, num_steps: int | None, trial: Path) -> None:
        """It is named by file, tensor and step, and all else is compared as in the sound trial."""
        expected = found_comparisons(check_trial(trial, num_steps=num_steps))
        fault.make(trial)
        report = check_trial(trial, num_steps=num_steps)
        file = relative(index_file(trial, 2) if fault.tensors is None else event_file(trial, 2), trial)
        first = next(entry for entry in report.unreadable if not entry.reason.startswith(CERTAIN))
        assert file == first.file or (first.file, first.reason[:15]) == (
            relative(INDEX(trial), trial),
            "names no range ",
        )
        assert (2, "worker_0") == (first.global_step, first.worker)
        assert first.reason.startswith(fault.reason)
        assert set(fault.tensors or [None]) == {
            entry.tensor for entry in report.unreadable if not entry.reason.startswith(CERTAIN)
        }
        found = found_comparisons(report)
        assert found.items() <= expected.items()
        lost = lost_rows(fault, num_steps)
        assert {key: row for key, row in expected.items() if key not in lost} == {
            key: row for key, row in found.items() if key not in lost
        }
        assert not lost & set(found)
        assert (2, False) == (report.exit_code, report.complete)

    @pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
    def test_what_is_sound_still_fires(self, fault: Fault, trial: Path) -> None:
        """A violation that was seen counts more than what was not."""
        fault.make(trial)
        result = invoke_command("check", str(trial), "--large-threshold", "1e-4")
        assert (1, "FIRED") == (result.exit_code, result.stdout[:5])
        assert "Unreadable" in result.stdout

    @pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
    def test_the_commands_words(self, fault: Fault, trial: Path) -> None:
        """File, tensor and step stand in one line; there is no traceback."""
        fault.make(trial)
        result = invoke_command("check", str(trial))
        assert 2 == result.exit_code
        assert isinstance(result.exception, SystemExit)
        assert "Traceback" not in result.stdout + result.stderr
        line = next(line for line in result.stdout.splitlines() if fault.reason in line)
        assert "000000000002_worker_0" in line
        assert "(global step 2)" in line
        assert all(tensor in result.stdout for tensor in (fault.tensors or ())[:1])

    @pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
    def test_the_rule_goes_on(self, fault: Fault, trial: Path, caplog: Any) -> None:
        """The same rows as the check, each unreadable record logged once as an error, and counted in the Details."""
        from smdebug.rules import invoke_rule
        from smdebug.trials import create_trial

        from weight_update_ratio import WeightUpdateRatio

        if fault.tensors is None:
            opened = create_trial(str(trial))  # smdebug itself cannot open a trial whose index is broken
            fault.make(trial)
        else:
            fault.make(trial)
            opened = create_trial(str(trial))
        rule = WeightUpdateRatio(opened, num_steps=3)
        for known in rule.logger.filters:
            known.msgs.clear()  # smdebug drops what was logged three times in a process
        rule.logger.handlers, handlers = [caplog.handler], rule.logger.handlers
        if fault.tensors is None:
            for step in range(STEPS):
                rule.invoke_at_step(step)
        else:
            invoke_rule(rule, end_step=STEPS)
        rule.logger.handlers = handlers
        report = check_trial(trial, num_steps=3)
        assert found_comparisons(report) == found_comparisons(rule.comparisons())
        errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
        assert len(report.unreadable) == len(set(errors)) == len(errors) == rule.report["Details"]["unreadable"]
        assert all(
            any(entry.reason in error and entry.file in error for error in errors) for entry in report.unreadable
        )


class TestUncertainReferences:
    @pytest.mark.parametrize("mode", ["TRAIN", "GLOBAL"])
    @pytest.mark.parametrize("workers", [1, 3])
    def test_never_another_reference(self, tmp_path: Path, mode: str, workers: int) -> None:
        """Whatever index files are broken, first, last or several in a row: no row is not the sound trial's."""
        names = [f"worker_{n}" for n in range(workers)]
        path = write_sound(
            tmp_path / "trial", steps=12, modes=["TRAIN", "EVAL"] if mode == "TRAIN" else "GLOBAL", workers=names,
            intervals={WEIGHTS[1]: 3 if mode == "GLOBAL" else 4},
        )  # fmt: skip
        for num_steps in (None, 1, 2, 3, 9):
            expected = found_comparisons(check_trial(path, num_steps=num_steps))
            chance = random.Random(f"{num_steps}{mode}{workers}")
            sets = [{0}, {2}, {0, 1, 2}, {10, 11}, {4, 6}, set(range(0, 12, 2)), set(range(11))]
            sets += [set(chance.sample(range(12), chance.randint(1, 6))) for _ in range(3)]
            for steps in sets:
                whole = {}
                for step in steps:
                    file = index_file(path, step, chance.choice(names))
                    whole[file] = file.read_text()
                    if chance.random() < 0.5:
                        file.unlink()
                    else:
                        file.write_text("{")
                report = check_trial(path, num_steps=num_steps)
                for file, content in whole.items():
                    file.write_text(content)
                assert found_comparisons(report).items() <= expected.items(), (num_steps, steps)
                said = {(entry.tensor, entry.worker, entry.global_step) for entry in report.unreadable}
                assert len(steps) <= len(said)
                assert report.exit_code == 2

    def test_a_window_heals(self, tmp_path: Path) -> None:
        """Once a sound step stands between a broken one and the window, the references are certain again."""
        path = write_sound(tmp_path / "trial", steps=30, workers=["worker_0"], intervals={WEIGHTS[1]: 3})
        expected = found_comparisons(check_trial(path, num_steps=4))
        index_file(path, 3).write_text("")
        found = found_comparisons(check_trial(path, num_steps=4))
        lost = {key for key in expected if key not in found}
        assert {step for _, _, step in lost} == {3, 4, 5, 6, 7} & {step for _, _, step in lost}
        assert {key: row for key, row in expected.items() if key[2] > 7} == {
            key: row for key, row in found.items() if key[2] > 7
        }

    def test_a_start_behind_a_broken_step(self, trial: Path) -> None:
        """What precedes the first judged step counts as well."""
        index_file(trial, 2).write_text("")
        report = check_trial(trial, start_step=3)
        assert {("a/weight", 3), ("b/weight", 3)} == {(e.tensor, e.global_step) for e in report.unreadable}
        shutil.rmtree(trial / "events" / f"{0:012d}")
        shutil.rmtree(trial / "events" / f"{1:012d}")
        for worker in WORKERS:
            for step in (0, 1):
                index_file(trial, step, worker).unlink()
        report = check_trial(trial, start_step=3)
        assert {("a/weight", 3), ("b/weight", 3)} == {(e.tensor, e.global_step) for e in report.unreadable}

    @pytest.mark.parametrize("num_steps", [None, 2])
    def test_index_files_that_changed_places(self, trial: Path, num_steps: int | None) -> None:
        """Each names the other's event file: both are broken, and no comparison is made across them."""
        expected = found_comparisons(check_trial(trial, num_steps=num_steps))
        second, third = index_file(trial, 2), index_file(trial, 3)
        content = second.read_text()
        second.write_text(third.read_text())
        third.write_text(content)
        report = check_trial(trial, num_steps=num_steps)
        found = found_comparisons(report)
        assert found.items() <= expected.items()
        lost = {2, 3, 4} if num_steps is None else {2, 3, 4, 5}
        assert {(tensor, "worker_0", step) for tensor in WEIGHTS for step in lost} == expected.keys() - found.keys()
        broken = [entry for entry in report.unreadable if entry.tensor is None]
        assert {2, 3} == {entry.global_step for entry in broken}
        assert all(entry.reason.startswith("names the event file of another step or worker (") for entry in broken)
        assert report.exit_code == 2

    def test_an_unreadable_step_may_have_been_the_one_of_training(self, tmp_path: Path) -> None:
        """Steps of EVAL are not compared in its place."""
        path = write_sound(tmp_path / "trial", modes=["EVAL"] * 5 + ["TRAIN"], workers=["worker_0"])
        index_file(path, 5).write_text("")
        report = check_trial(path)
        assert (0, "TRAIN", 2) == (len(report), report.mode, report.exit_code)


class TestTheIndexIsBelieved:
    """As smdebug believes it: what it says of names, modes and steps is not held against the records."""

    def test_a_name_of_no_collection(self, trial: Path) -> None:
        """The tensor was not saved at that step; the step before is its next reference."""
        change_entry(trial, 2, "a/weight", tensorname="c/weight")
        report = check_trial(trial)
        found = found_comparisons(report)
        assert ("a/weight", "worker_0", 2) not in found
        assert 1 == found["a/weight", "worker_0", 3][1]
        assert (0, []) == (report.exit_code, report.unreadable)

    @pytest.mark.parametrize("change", [{"start_idx": -1}, {"start_idx": 3}, {"length": None}])
    def test_an_entry_that_is_not_selected(self, trial: Path, change: Any) -> None:
        """Its place is never looked at."""
        change_entry(trial, 2, "loss", **change)
        assert (0, 20) == (check_trial(trial).exit_code, len(check_trial(trial)))

    def test_another_mode_than_the_records(self, trial: Path) -> None:
        """Hooks of smdebug write records after the script has switched modes."""
        for worker in WORKERS:
            change_json(index_file(trial, 2, worker), lambda index: index["meta"].update(mode="EVAL"))
        report = check_trial(trial)
        steps = [
            (row.reference_step, row.step) for row in report if (row.tensor, row.worker) == (WEIGHTS[0], WORKERS[0])
        ]
        assert [(0, 1), (1, 3), (3, 4), (4, 5)] == steps
        assert report.exit_code == 0

    def test_another_step_than_the_records(self, trial: Path) -> None:
        """A step is numbered as its index says."""
        for worker in WORKERS:
            change_json(index_file(trial, 5, worker), lambda index: index["meta"].update(mode_step=9))
        report = check_trial(trial)
        assert (0, 9) == (report.exit_code, max(row.step for row in report))

    @pytest.mark.parametrize("num_steps", [None, 1, 2])
    def test_a_step_of_minus_one(self, trial: Path, num_steps: int | None) -> None:
        """It is a step like any other: hooks write it."""
        for worker in WORKERS:
            change_json(index_file(trial, 0, worker), lambda index: index["meta"].update(mode_step=-1))
        report = check_trial(trial, num_steps=num_steps)
        references = {row.step: row.reference_step for row in report}
        expected = {
            None: {1: -1, 2: 1, 3: 2, 4: 3, 5: 4},
            1: {2: 1, 3: 2, 4: 3, 5: 4},
            2: {1: -1, 2: 1, 3: 1, 4: 2, 5: 3},
        }
        assert expected[num_steps] == references
        assert report.exit_code == 0

    def test_a_tensor_that_was_saved_twice(self, trial_writer: Any) -> None:
        """Both records hold it: the last counts, as for smdebug."""
        writer = trial_writer().collections({"weights": ["w"]})
        for step in range(3):
            writer.save(step, {"w": np.float32([step + 1.0])})
        content = event_file(writer.path, 1).read_bytes()
        event_file(writer.path, 1).write_bytes(content + content)
        change_json(
            index_file(writer.path, 1),
            lambda index: index["tensor_payload"].append({**index["tensor_payload"][0], "start_idx": len(content)}),
        )
        report = check_trial(writer.end().path)
        assert (0, 2) == (report.exit_code, len(report))


class TestFilesWithoutTheirOther:
    def test_the_last_event_file_of_a_job_that_goes_on(self, trial: Path) -> None:
        """Its index file is about to come."""
        (trial / "training_job_end.ts").unlink()
        index_file(trial, 5).unlink()
        assert check_trial(trial).exit_code == 0

    def test_the_last_event_file_of_an_ended_job(self, trial: Path) -> None:
        """Its index file is lost."""
        index_file(trial, 5).unlink()
        report = check_trial(trial)
        assert (2, 5) == (report.exit_code, report.unreadable[0].global_step)

    def test_a_worker_that_missed_a_step(self, trial: Path) -> None:
        """Neither file is there, and nothing is wrong."""
        index_file(trial, 2, "worker_1").unlink()
        event_file(trial, 2, "worker_1").unlink()
        report = check_trial(trial)
        assert (0, 1) == (report.exit_code, found_comparisons(report)["a/weight", "worker_1", 3][1])

    def test_a_step_of_which_no_worker_has_an_index_file(self, trial: Path) -> None:
        """It is one of the trial's steps, and is reported for every worker, by the rule too."""
        from smdebug.exceptions import NoMoreData
        from smdebug.rules import invoke_rule
        from smdebug.trials import create_trial

        from weight_update_ratio import WeightUpdateRatio

        for worker in WORKERS:
            index_file(trial, 2, worker).unlink()
        report = check_trial(trial)
        assert {2} == {entry.global_step for entry in report.unreadable if entry.tensor is None}
        rule = WeightUpdateRatio(create_trial(str(trial)))
        with pytest.raises(NoMoreData):
            invoke_rule(rule)
        assert found_comparisons(report) == found_comparisons(rule.comparisons())
        assert len(report.unreadable) == rule.report["Details"]["unreadable"] == 6


class TestCollections:
    def test_missing_for_all(self, trial: Path) -> None:
        """Nothing says which tensors are weights."""
        shutil.rmtree(trial / "collections")
        with pytest.raises(TrialError, match=r"cannot be judged: 'collections/.*does not exist, while its"):
            check_trial(trial)

    def test_missing_for_one(self, trial: Path) -> None:
        """It is said, and the other worker's are used."""
        expected = found_comparisons(check_trial(trial))
        (trial / COLLECTIONS.format("worker_1")).unlink()
        report = check_trial(trial)
        assert [(COLLECTIONS.format("worker_1"), "worker_1")] == [(e.file, e.worker) for e in report.unreadable]
        assert (2, expected) == (report.exit_code, found_comparisons(report))

    @pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b'{"collections": []}', b"\xef\xbb\xbf{}"])
    def test_broken_for_one(self, trial: Path, content: bytes) -> None:
        """It is said, and the other worker's are used."""
        expected = found_comparisons(check_trial(trial))
        (trial / COLLECTIONS.format("worker_0")).write_bytes(content)
        report = check_trial(trial)
        assert [COLLECTIONS.format("worker_0")] == [entry.file for entry in report.unreadable]
        assert (2, expected) == (report.exit_code, found_comparisons(report))

    def test_broken_for_all(self, trial: Path) -> None:
        """The first is named."""
        for worker in WORKERS:
            (trial / COLLECTIONS.format(worker)).write_bytes(b"")
        with pytest.raises(
            TrialError, match=r"cannot be judged: 'collections/000000000/worker_0_collections.json' is empt"
        ):
            check_trial(trial)

    def test_a_member_that_was_never_saved(self, tmp_path: Path) -> None:
        """Hooks list tensors that they saw and did not save."""
        trial = write_sound(tmp_path / "trial", workers=["worker_0"])
        change_json(
            trial / COLLECTIONS.format("worker_0"),
            lambda content: content["collections"]["weights"].update(tensor_names=["a/weight", "c/weight"]),
        )
        report = check_trial(trial)
        assert (0, STEPS - 1, []) == (report.exit_code, len(report), report.unreadable)

    def test_the_rule_says_it_too(self, trial: Path) -> None:
        """In its Details, once the trial has ended."""
        from smdebug.trials import create_trial

        from weight_update_ratio import WeightUpdateRatio

        opened = create_trial(str(trial))
        (trial / COLLECTIONS.format("worker_1")).write_bytes(b"")
        rule = WeightUpdateRatio(opened)
        for step in range(STEPS):
            rule.invoke_at_step(step)
        assert rule.report["Details"]["unreadable"] == 1

    def test_neither_index_nor_events(self, trial: Path) -> None:
        """A bfloat16 model leaves that; the message says so."""
        shutil.rmtree(trial / "index")
        shutil.rmtree(trial / "events")
        result = invoke_command("check", str(trial))
        assert 2 == result.exit_code
        assert "has no saved steps" in result.stderr
        assert "bfloat16" in result.stderr

    def test_events_alone(self, trial: Path) -> None:
        """Every step of an ended job lost its index file."""
        shutil.rmtree(trial / "index")
        report = check_trial(trial)
        assert (2, STEPS * len(WORKERS)) == (report.exit_code, len(report.unreadable))
        assert report.problem is not None


def lose_event_files(trial: Path) -> None:
    shutil.rmtree(trial / "events")


def lose_steps(trial: Path) -> None:
    shutil.rmtree(trial / "events")
    shutil.rmtree(trial / "index")


def corrupt_weights(trial: Path) -> None:
    for worker in WORKERS:
        for step in range(STEPS):
            content = bytearray(event_file(trial, step, worker).read_bytes())
            for tensor in WEIGHTS:
                flip(content, entry_of(trial, step, tensor, worker)["start_idx"] + 70)
            event_file(trial, step, worker).write_bytes(content)


UNREAD = (
    "nothing could be read to compare; the first of 24: the record of tensor 'a/weight' at global step 0 in "
    "'events/000000000000/000000000000_worker_0.tfevents' {}"
)


class TestNothingToJudge:
    """The rule raises on an ended trial of which nothing can be compared, and says why; the check says the same."""

    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            (lose_event_files, UNREAD.format("does not exist")),
            (lose_steps, "has no saved steps: it holds collections, but no index files"),
            (corrupt_weights, UNREAD.format("is corrupt: the checksum of its content does not hold")),
        ],
        ids=["no event files", "collections and end-of-job file alone", "all weights unreadable"],
    )
    @pytest.mark.parametrize("end_step", [None, STEPS])
    def test_the_rule_raises(
        self, trial: Path, tmp_path: Path, spoil: Callable[[Path], None], message: str, end_step: int | None
    ) -> None:
        """Also where smdebug alone would end with NoMoreData."""
        from smdebug.exceptions import InsufficientInformationForRuleInvocation
        from smdebug.rules import invoke_rule
        from smdebug.trials import create_trial

        from weight_update_ratio import WeightUpdateRatio

        spoil(trial)
        assert message in check_trial(trial).problem.message
        reports = tmp_path / "reports"
        rule = WeightUpdateRatio(create_trial(str(trial)), report_dir=str(reports))
        with pytest.raises(InsufficientInformationForRuleInvocation) as raised:
            invoke_rule(rule, end_step=end_step)
        assert message in str(raised.value)
        assert message in json.loads((reports / "WeightUpdateRatio.json").read_text())["problem"]["text"]


class Truth:
    """The norms of every pair of saved steps, computed from what was written."""

    def __init__(self, saved: list[Saved]) -> None:
        self._arrays: dict[tuple[str, str], dict[int, Any]] = {}
        for entry in saved:
            self._arrays.setdefault((entry.tensor, entry.worker), {})[entry.global_step] = entry.array

    def has(self, row: Comparison) -> bool:
        """Return whether a comparison's norms are those of its step against an earlier one."""
        arrays = self._arrays[row.tensor, row.worker]
        return any(
            row.update_norm == pytest.approx(exact_norm(arrays[row.global_step], before), rel=1e-9)
            and row.weight_norm == pytest.approx(exact_norm(before), rel=1e-9)
            for global_step, before in arrays.items()
            if global_step < row.global_step
        )


def judged_rows(report: Report) -> dict[Any, Any]:
    return {(row.tensor, row.worker, row.global_step): row for row in report}


class TestChance:
    """A file cut, a byte flipped in an event file with payload checksums, or in another file: 100 of each."""

    def check(self, trial: Path, what: Any, num_steps: int | None) -> Report | None:
        """Return the report of a broken trial, None where it is not judged; the command ends without a traceback."""
        result = invoke_command("check", str(trial), "--num-steps", str(num_steps), "--format", "json")
        assert isinstance(result.exception, (SystemExit, type(None))), (what, result.exception)
        assert "defect" not in result.stderr, (what, result.stderr)
        try:
            report = check_trial(trial, num_steps=num_steps)
        except TrialError:
            assert result.exit_code == 2, what
            return None
        assert result.exit_code == report.exit_code, what
        return report

    @pytest.mark.parametrize("kind", ["truncation", "flip in events", "flip elsewhere"])
    @pytest.mark.parametrize("part", range(4))
    def test_100_of_each(self, kind: str, part: int, tmp_path: Path) -> None:
        """What has a checksum or is cut is never exit code 0 with a row that is wrong or missing.

        The index is believed: a flip there may leave a row out, or choose another reference. No ratio is wrong.
        """
        writer = sound_writer(
            tmp_path / "trial", workers=WORKERS[: 1 + part % 2], include_regex={"weights": ["^(?!gradient).*weight"]}
        )
        trial, truth = writer.path, Truth(writer.saved)
        num_steps = 2 if part // 2 else None
        expected = judged_rows(check_trial(trial, num_steps=num_steps))
        assert all(map(truth.has, expected.values()))
        files = sorted(path for path in trial.rglob("*") if path.is_file() and path.stat().st_size)
        if kind != "truncation":
            files = [path for path in files if (path.suffix == ".tfevents") == (kind == "flip in events")]
        chance = random.Random(f"{kind} {part}")
        ends = dict.fromkeys(("all rows", "unreadable", "not judged"), 0)
        for number in range(25):
            path = chance.choice(files)
            content = path.read_bytes()
            position = chance.randrange(len(content))
            if kind == "truncation":
                path.write_bytes(content[:position])
            else:
                flipped = content[position] ^ (1 << chance.randrange(8) if number % 3 else chance.randrange(1, 256))
                path.write_bytes(content[:position] + bytes([flipped]) + content[position + 1 :])
            what = (kind, path.name, position)
            report = self.check(trial, what, num_steps)
            path.write_bytes(content)
            rows = {} if report is None else judged_rows(report)
            if kind == "flip elsewhere":
                assert all(map(truth.has, rows.values())), what
            else:
                assert rows.items() <= expected.items(), what
                whole = report is not None and len(rows) == len(expected) and not report.unreadable
                assert report is None or whole == (report.exit_code == 0), what
            ends["not judged" if report is None else "unreadable" if report.unreadable else "all rows"] += 1
        print(kind, part, ends)
        assert ends["unreadable"] > 5


class TestTheRecordedTrials:
    @pytest.mark.parametrize("name", ["pytorch_healthy", "pytorch_killed", "tf_keras", "pytorch_ddp_one"])
    def test_are_sound(self, name: str) -> None:
        """Recordings of real jobs have none of these faults."""
        assert [] == check_trial(RECORDED[name]).unreadable
