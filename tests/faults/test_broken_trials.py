"""Broken trials: what could not be judged is said, by file, tensor and step; what could be is judged all the same."""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
from pathlib import Path
from typing import Any, Callable, NamedTuple

import numpy as np
import pytest

from tests.conftest import (
    RECORDED,
    change_json,
    event_file,
    found_comparisons,
    index_file,
    needs_writing,
    random_walk,
    run_command,
    write_whole_trial,
)
from tests.reports import invoke_command
from weight_update_ratio import Report, TrialError, check_trial
from weight_update_ratio.trial.checksum import masked_crc32c

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
    tensors = {
        "loss": lambda step: np.asarray([1.0 / (step + 1)], np.float32),
        WEIGHTS[0]: random_walk((3, 4), seed=1),
        WEIGHTS[1]: random_walk((5,), seed=2),
    }
    members = {"weights": WEIGHTS, "losses": ["loss"]}
    options = {"steps": STEPS, "workers": WORKERS, "checksum": True, **options}
    return write_whole_trial(path, tensors, collections=members, **options).path


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
        "a dtype that is no number",
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
    Fault(
        "another step in its mode",
        WEIGHTS,
        "is of TRAIN step 2, while its index is of step 4",
        lambda t: change_json(INDEX(t), lambda index: index["meta"].update(mode_step=4)),
    ),
    Fault("index file empty", None, "is empty", lambda t: os.truncate(INDEX(t), 0)),
    Fault("index file truncated", None, "is not JSON", lambda t: os.truncate(INDEX(t), 90)),
    Fault("index file of garbage", None, "is not JSON", lambda t: garbage(INDEX(t))),
    Fault("index file of other JSON", None, "is no index", lambda t: INDEX(t).write_text('{"tensor_payload": []}')),
    Fault("index file is a folder", None, "does not exist, while", lambda t: (INDEX(t).unlink(), INDEX(t).mkdir())),
    Fault("an event file without its index file", None, "does not exist, while", lambda t: INDEX(t).unlink()),
    Fault(
        "an unknown mode",
        None,
        "has an unknown mode 'DREAM'",
        lambda t: change_json(INDEX(t), lambda index: index["meta"].update(mode="DREAM")),
    ),
    Fault(
        "a negative step",
        None,
        "has a step that is no whole number",
        lambda t: change_json(INDEX(t), lambda index: index["meta"].update(mode_step=-3)),
    ),
    Fault(
        "an index without its payload",
        None,
        "is no index: its payload",
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
        if fault.name == "another step in its mode":  # which of the two index files is wrong is not known at first
            lost |= {key for key in expected if key[1] == "worker_0" and key not in found}
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

    @pytest.mark.parametrize("fault", FAULTS[::4], ids=lambda fault: fault.name)
    def test_the_commands_words(self, fault: Fault, trial: Path) -> None:
        """File, tensor and step stand in one line; there is no traceback."""
        fault.make(trial)
        result = run_command("check", trial)
        assert 2 == result.returncode
        assert "Traceback" not in result.stdout + result.stderr
        line = next(line for line in result.stdout.splitlines() if fault.reason in line)
        assert "000000000002_worker_0" in line
        assert "(global step 2)" in line
        assert all(tensor in result.stdout for tensor in (fault.tensors or ())[:1])

    @pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
    @pytest.mark.parametrize("num_steps", [None, 3])
    def test_the_rule_goes_on(self, fault: Fault, num_steps: int | None, trial: Path, caplog: Any) -> None:
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
        rule = WeightUpdateRatio(opened, num_steps=num_steps)
        for known in rule.logger.filters:
            known.msgs.clear()  # smdebug drops what was logged three times in a process
        rule.logger.handlers, handlers = [caplog.handler], rule.logger.handlers
        if fault.tensors is None:
            for step in range(STEPS):
                rule.invoke_at_step(step)
        else:
            invoke_rule(rule, end_step=STEPS)
        rule.logger.handlers = handlers
        report = check_trial(trial, num_steps=num_steps)
        assert found_comparisons(report) == found_comparisons(rule.comparisons())
        errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
        assert len(report.unreadable) == len(set(errors)) == len(errors) == rule.report["Details"]["unreadable"]
        assert all(
            any(entry.reason in error and entry.file in error for error in errors) for entry in report.unreadable
        )


class TestUncertainReferences:
    @pytest.mark.parametrize("num_steps", [None, 1, 2, 3, 9])
    @pytest.mark.parametrize("mode", ["TRAIN", "GLOBAL"])
    @pytest.mark.parametrize("workers", [1, 3])
    def test_never_another_reference(self, tmp_path: Path, num_steps: int | None, mode: str, workers: int) -> None:
        """Whatever index files are broken, first, last or several in a row: no row is not the sound trial's."""
        names = [f"worker_{n}" for n in range(workers)]
        path = write_sound(
            tmp_path / "trial", steps=12, modes=["TRAIN", "EVAL"] if mode == "TRAIN" else "GLOBAL", workers=names,
            intervals={WEIGHTS[1]: 3 if mode == "GLOBAL" else 4},
        )  # fmt: skip
        expected = found_comparisons(check_trial(path, num_steps=num_steps))
        chance = random.Random(f"{num_steps}{mode}{workers}")
        sets = [{0}, {2}, {0, 1, 2}, {10, 11}, {4, 6}, set(range(0, 12, 2)), set(range(11))]
        sets += [set(chance.sample(range(12), chance.randint(1, 6))) for _ in range(13)]
        for number, steps in enumerate(sets):
            broken = Path(shutil.copytree(path, tmp_path / str(number)))
            for step in steps:
                file = index_file(broken, step, chance.choice(names))
                if chance.random() < 0.5:
                    file.unlink()
                else:
                    file.write_text("{")
            report = check_trial(broken, num_steps=num_steps)
            found = found_comparisons(report)
            assert found.items() <= expected.items(), steps
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

    @pytest.mark.parametrize("num_steps", [None, 1, 2, 4])
    def test_a_step_number_that_is_wrong(self, tmp_path: Path, num_steps: Any) -> None:
        """Records say their step in the mode as well; a number that contradicts its neighbours shifts no reference."""
        path = write_sound(tmp_path / "trial", steps=9, workers=["worker_0"])
        sound_rows = {start: check_trial(path, num_steps=num_steps, start_step=start) for start in (0, 4)}
        for step in (5, 3, 8):
            for wrong in (0, 2, 3, 4, 6, 9):
                content = index_file(path, step).read_text()
                change_json(index_file(path, step), lambda index, to=wrong: index["meta"].update(mode_step=to))
                for start, expected in sound_rows.items():
                    report = check_trial(path, num_steps=num_steps, start_step=start)
                    found, rows = found_comparisons(report), found_comparisons(expected)
                    assert found.items() <= rows.items(), (step, wrong, start)
                    assert report.exit_code == (0 if found == rows and not report.unreadable else 2), (
                        step,
                        wrong,
                        start,
                    )
                    assert wrong == step or start > step or report.exit_code == 2, (step, wrong, start)
                index_file(path, step).write_text(content)

    def test_an_unreadable_step_may_have_been_the_one_of_training(self, tmp_path: Path) -> None:
        """Steps of EVAL are not compared in its place."""
        path = write_sound(tmp_path / "trial", modes=["EVAL"] * 5 + ["TRAIN"], workers=["worker_0"])
        index_file(path, 5).write_text("")
        report = check_trial(path)
        assert (0, "TRAIN", 2) == (len(report), report.mode, report.exit_code)


class TestNamesInTheIndex:
    """An index file has no checksum: a name that is wrong would make a tensor seem not to be saved."""

    @pytest.mark.parametrize("name", ["a/weighu", "b/weight", "loss", "c/weight"])
    def test_a_wrong_name(self, trial: Path, name: str) -> None:
        """It is found by looking into the record, and nothing is compared across it."""
        expected = found_comparisons(check_trial(trial))
        change_entry(trial, 2, "a/weight", tensorname=name)
        report = check_trial(trial)
        lost = {(tensor, "worker_0", step) for tensor in WEIGHTS for step in (2, 3)}
        found = found_comparisons(report)
        assert found.items() <= expected.items()
        assert {key for key in expected if key not in found} <= lost
        assert not {("a/weight", "worker_0", 2), ("a/weight", "worker_0", 3)} & set(found)
        reason = f"names the tensor {name!r} where '{relative(event_file(trial, 2), trial)}' holds 'a/weight'"
        assert reason in [entry.reason for entry in report.unreadable]
        assert report.exit_code == 2

    def test_a_name_of_no_collection_is_sound_where_the_record_has_it(self, tmp_path: Path) -> None:
        """Keras saves such tensors; each is looked up once."""
        writer = write_whole_trial(
            tmp_path / "trial", {"w": random_walk(), "val_loss": random_walk()}, steps=3, collections={"weights": ["w"]}
        )
        assert check_trial(writer.path).exit_code == 0

    @pytest.mark.parametrize("change", [{"start_idx": -1}, {"start_idx": 3}, {"length": None}])
    def test_a_name_of_no_collection_without_its_record(self, trial: Path, change: Any) -> None:
        """Nothing says whether the name is right."""
        change_entry(trial, 2, "a/weight", tensorname="c/weight", **change)
        report = check_trial(trial)
        assert (2, "index/000000000/000000000002_worker_0.json") == (report.exit_code, report.unreadable[0].file)

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
        """It is one of the trial's steps, and is reported for every worker; the rule says so at the next step."""
        from smdebug.trials import create_trial

        from weight_update_ratio import WeightUpdateRatio

        for worker in WORKERS:
            index_file(trial, 2, worker).unlink()
        report = check_trial(trial)
        assert {2} == {entry.global_step for entry in report.unreadable if entry.tensor is None}
        rule = WeightUpdateRatio(create_trial(str(trial)))
        for step in (0, 1, 3, 4, 5):
            rule.invoke_at_step(step)
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
        """A letter of its name that is wrong would leave the tensor out in silence."""
        trial = write_sound(tmp_path / "trial", workers=["worker_0"])
        change_json(
            trial / COLLECTIONS.format("worker_0"),
            lambda content: content["collections"]["weights"].update(tensor_names=["a/weight", "b/weighu"]),
        )
        report = check_trial(trial)
        assert [("b/weighu", "names it, and not 'b/weight', which was saved in its place")] == [
            (entry.tensor, entry.reason) for entry in report.unreadable
        ]
        assert (2, STEPS - 1) == (report.exit_code, len(report))

    def test_the_rule_says_it_too(self, trial: Path) -> None:
        """In its Details."""
        from smdebug.trials import create_trial

        from weight_update_ratio import WeightUpdateRatio

        opened = create_trial(str(trial))
        (trial / COLLECTIONS.format("worker_1")).write_bytes(b"")
        rule = WeightUpdateRatio(opened)
        rule.invoke_at_step(1)
        assert rule.report["Details"]["unreadable"] == 1

    def test_neither_index_nor_events(self, trial: Path) -> None:
        """A bfloat16 model leaves that; the message says so."""
        shutil.rmtree(trial / "index")
        shutil.rmtree(trial / "events")
        result = run_command("check", trial)
        assert 2 == result.returncode
        assert "has no saved steps" in result.stderr
        assert "bfloat16" in result.stderr

    def test_events_alone(self, trial: Path) -> None:
        """Every step of an ended job lost its index file."""
        shutil.rmtree(trial / "index")
        report = check_trial(trial)
        assert (2, STEPS * len(WORKERS)) == (report.exit_code, len(report.unreadable))
        assert report.problem is not None


def judged_rows(report: Report) -> dict[Any, Any]:
    return {(row.tensor, row.worker, row.global_step): row for row in report}


class TestChance:
    """200 flips of a byte and 200 truncations, anywhere in a trial with payload checksums."""

    def files(self, trial: Path) -> list[Path]:
        return sorted(path for path in trial.rglob("*") if path.is_file() and path.stat().st_size)

    def check(self, trial: Path, sound: Report, what: Any, num_steps: int | None) -> str:
        """Check a broken trial and tell how it ended; never with a row that is not the sound trial's."""
        output = trial.parent / "report.json"
        output.unlink(missing_ok=True)
        options = ["--num-steps", str(num_steps), "--format", "json", "--output", str(output)]
        result = invoke_command("check", str(trial), *options)
        assert isinstance(result.exception, (SystemExit, type(None))), (what, result.exception)
        assert "defect" not in result.stderr, (what, result.stderr)
        try:
            report = check_trial(trial, num_steps=num_steps)
        except TrialError:
            assert result.exit_code == 2, what
            return "not judged"
        rows, expected = judged_rows(report), judged_rows(sound)
        assert rows.items() <= expected.items(), what
        assert result.exit_code == report.exit_code == (0 if len(rows) == len(expected) and report.complete else 2), (
            what
        )
        return "whole" if report.exit_code == 0 else "unreadable"

    @pytest.mark.parametrize("kind", ["flip", "truncation"])
    @pytest.mark.parametrize("part", range(4))
    def test_200_of_each(self, kind: str, part: int, tmp_path: Path) -> None:
        """Never a traceback, and never exit code 0 with a wrong ratio or a missing one."""
        trial = write_sound(
            tmp_path / "trial", workers=WORKERS[: 1 + part % 2], include_regex={"weights": ["^(?!gradient).*weight"]}
        )
        num_steps = 2 if part // 2 else None
        expected = check_trial(trial, num_steps=num_steps)
        chance = random.Random(f"{kind} {part}")
        sizes = [size(path) for path in self.files(trial)]
        ends: dict[str, int] = {}
        for number in range(50):
            path = chance.choices(self.files(trial), sizes if number % 2 else None)[0]
            content = path.read_bytes()
            position = chance.randrange(len(content))
            if kind == "flip":
                broken = bytearray(content)
                broken[position] ^= 1 << chance.randrange(8) if number % 3 else chance.randrange(1, 256)
                path.write_bytes(broken)
            else:
                path.write_bytes(content[:position])
            end = self.check(trial, expected, (kind, path.name, position), num_steps)
            ends[end] = ends.get(end, 0) + 1
            path.write_bytes(content)
        print(kind, part, ends)
        assert ends["unreadable"] > 10


class TestTheRecordedTrials:
    @pytest.mark.parametrize("name", ["pytorch_healthy", "pytorch_killed", "tf_keras", "pytorch_ddp_one"])
    def test_are_sound(self, name: str) -> None:
        """None of all that is doubted here is a recorded trial's."""
        assert [] == check_trial(RECORDED[name]).unreadable
