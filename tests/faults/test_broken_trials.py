"""Broken and hostile trials: what could not be judged is said, by file, tensor and step; all else is judged the same.

Nothing hangs on a file that is no file, and no size in a file decides how much memory is taken.
"""

from __future__ import annotations

import json
import math
import os
import random
import resource
import shutil
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator

import numpy as np
import pytest

from tests.conftest import (
    TrialWriter,
    change_json,
    event_file,
    found_comparisons,
    index_file,
    needs_writing,
    random_walk,
    write_whole_trial,
)
from tests.reports import invoke_command
from weight_update_ratio import Report, TrialError, WeightUpdateRatio, check_trial

STEPS = 6
WORKERS = ("worker_0", "worker_1")
A, B = WEIGHTS = ("a/weight", "b/weight")
EVENTS = "events/000000000002/000000000002_worker_0.tfevents"
INDEX = "index/000000000/000000000002_worker_0.json"
COLLECTIONS = "collections/000000000/worker_0_collections.json"
OTHER_COLLECTIONS = COLLECTIONS.replace("worker_0", "worker_1")
TERABYTE = 1 << 40
TOO_LARGE = f"has {TERABYTE} bytes, more than a file of its kind can have (33554432)"

pytestmark = needs_writing


def write_sound(path: Path, **options: Any) -> TrialWriter:
    """Write a sound trial with payload checksums: two weights and a loss, two workers, six steps."""
    tensors = {
        "loss": lambda step: np.asarray([1.0 / (step + 1)], np.float32),
        A: random_walk((3, 4), seed=1),
        B: random_walk((5,), seed=2),
    }
    members = {"weights": WEIGHTS, "losses": ["loss"]}
    options = {"steps": STEPS, "workers": WORKERS, "checksum": True, **options}
    return write_whole_trial(path, tensors, collections=members, **options)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sound(tmp_path_factory.mktemp("sound") / "trial").path


@pytest.fixture
def trial(sound: Path, tmp_path: Path) -> Path:
    """Give a copy of the sound trial, to be broken."""
    return Path(shutil.copytree(sound, tmp_path / "trial"))


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Let the test have no more than 400 MB of addresses; mappings of files count as well, and are not copies."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + (400 << 20), limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)


# Ways to break a trial


def of_step(name: str, step: int) -> str:
    return name.replace(f"{2:012d}", f"{step:012d}")


def cut(trial: Path, name: str, size: int) -> None:
    """Give a file another size: less than its own, from its end where negative, or more."""
    os.truncate(trial / name, size if size >= 0 else (trial / name).stat().st_size + size)


def write(trial: Path, name: str, content: str | bytes) -> None:
    (trial / name).write_bytes(content.encode() if isinstance(content, str) else content)


def remove(trial: Path, *names: str) -> None:
    for name in names:
        shutil.rmtree(trial / name) if (trial / name).is_dir() else (trial / name).unlink()


def copy(trial: Path, source: str, target: str) -> None:
    shutil.copy(trial / source, trial / target)


def make_instead(trial: Path, name: str, make: Callable[[Path], Any]) -> None:
    (trial / name).unlink()
    make(trial / name)


def flip(trial: Path, name: str, tensor: str, offset: int) -> None:
    """Flip a bit so many bytes behind the start of a tensor's record."""
    content = bytearray((trial / name).read_bytes())
    content[entry_of(trial, tensor, name)["start_idx"] + offset] ^= 1
    write(trial, name, content)


def entry_of(trial: Path, tensor: str, events: str = EVENTS) -> Any:
    step, _, worker = Path(events).stem.partition("_")
    payload = json.loads(index_file(trial, int(step), worker).read_text())["tensor_payload"]
    return next(entry for entry in payload if entry["tensorname"] == tensor)


def set_entry(trial: Path, tensor: str, values: dict[str, Any]) -> None:
    def change(index: Any) -> None:
        next(entry for entry in index["tensor_payload"] if entry["tensorname"] == tensor).update(values)

    change_json(trial / INDEX, change)


def set_span_of_another(trial: Path) -> None:
    other = entry_of(trial, B)
    set_entry(trial, A, {"start_idx": other["start_idx"], "length": other["length"]})


def set_meta(trial: Path, values: dict[str, Any], name: str = INDEX) -> None:
    change_json(trial / name, lambda index: index["meta"].update(values))


def set_event_file(trial: Path, name: str) -> None:
    """Name a sound event file outside of the trial in the index."""
    copy(trial, EVENTS, "../secret")
    set_meta(trial, {"event_file_name": name.format(trial.parent)})


def set_payload(trial: Path, payload: dict[str, Any]) -> None:
    change_json(trial / INDEX, lambda index: {"meta": index["meta"], **payload})


def set_collection(trial: Path, collection: str, values: dict[str, Any]) -> None:
    change_json(trial / COLLECTIONS, lambda content: content["collections"][collection].update(values))


# Faults at step 2 of worker_0: the tensors whose records are lost (None: the index file is), what the reason begins
# with, and how it is made

GARBAGE = np.random.default_rng(3).bytes(700)
NO_FILE = "is not a regular file"
CORRUPT = "is corrupt: the checksum of its {} does not hold"
OTHER_STEP = "names the event file of another step or worker ("
NO_RANGE = "names no range of bytes for it"
NO_META = "is not an index: it has no 'meta'"
NO_LIST = "is not an index: its payload is not a list of tensors"
NO_STEP = "has a step that is not a whole number ("
NO_NAME = "has an entry without a tensor's name"
NO_JSON = "is not JSON ("
LOST = f"does not exist, while its event file '{EVENTS}' does"
LOOP = "cannot be read (Too many levels of symbolic links)"
MANY_DIGITS = '{"meta": {"mode": "TRAIN", "mode_step": STEP}, "tensor_payload": []}'.replace("STEP", "9" * 5_000_000)
FAULTS: dict[str, tuple[Any, ...]] = {
    "events truncated": (WEIGHTS, "has 70 bytes, while the index names bytes", cut, EVENTS, 70),
    "events cut in the last record": ((B,), "has ", cut, EVENTS, -9),
    "events empty": (WEIGHTS, "has 0 bytes, while the index names bytes", cut, EVENTS, 0),
    "events missing": (WEIGHTS, "does not exist", remove, EVENTS),
    "events garbage": (WEIGHTS, CORRUPT.format("length"), write, EVENTS, GARBAGE),
    "events a folder": (WEIGHTS, NO_FILE, make_instead, EVENTS, os.mkdir),
    "events a pipe": (WEIGHTS, NO_FILE, make_instead, EVENTS, os.mkfifo),
    "events of another step": (WEIGHTS, "is of step 1, while its index is of step 2", copy, of_step(EVENTS, 1), EVENTS),
    "a wrong checksum of a length": ((A,), CORRUPT.format("length"), flip, EVENTS, A, 8),
    "a wrong checksum of a payload": ((A,), CORRUPT.format("content"), flip, EVENTS, A, 70),
    "another's bytes": ((A,), "holds the tensor 'b/weight' where the index names 'a/weight'", set_span_of_another),
    "a long record": ((A,), "has 363 bytes, while the index names bytes", set_entry, A, {"length": 2**61}),
    "a record from 10^9": ((A,), "has 363 bytes, while the index names", set_entry, A, {"start_idx": 10**9}),
    "a record without a length": ((A,), NO_RANGE, set_entry, A, {"length": None}),
    "a record from -1": ((A,), NO_RANGE, set_entry, A, {"start_idx": -1}),
    "a record from a text": ((A,), NO_RANGE, set_entry, A, {"start_idx": "9"}),
    "a record from 10^4000": ((A,), NO_RANGE, set_entry, A, {"start_idx": 10**4000}),
    "index empty": (None, "is empty", cut, INDEX, 0),
    "index truncated": (None, NO_JSON, cut, INDEX, 90),
    "index garbage": (None, NO_JSON, write, INDEX, GARBAGE),
    "index of bytes": (None, NO_JSON + "'utf-8' codec can't decode byte 0xff in position 0", write, INDEX, b"\xff"),
    "index of deep lists": (None, NO_JSON + "it is nested too deeply)", write, INDEX, "[" * 5_000_000),
    "index of a list": (None, NO_META, write, INDEX, "[]"),
    "index whose meta is a list": (None, NO_META, write, INDEX, '{"meta": []}'),
    "index without its payload": (None, NO_LIST, set_payload, {}),
    "index whose payload is a number": (None, NO_LIST, set_payload, {"tensor_payload": 3}),
    "index missing": (None, LOST, remove, INDEX),
    "index a folder": (None, LOST, make_instead, INDEX, os.mkdir),
    "index a pipe": (None, NO_FILE, make_instead, INDEX, os.mkfifo),
    "index a device": (None, NO_FILE, make_instead, INDEX, lambda path: path.symlink_to("/dev/zero")),
    "index a link to itself": (None, LOOP, make_instead, INDEX, lambda path: path.symlink_to(path.name)),
    "index a terabyte of nothing": (None, TOO_LARGE, cut, INDEX, TERABYTE),
    "index of another step": (None, OTHER_STEP, copy, of_step(INDEX, 1), INDEX),
    "index of another worker": (None, OTHER_STEP, copy, INDEX.replace("worker_0", "worker_1"), INDEX),
    "a relative event file": (None, OTHER_STEP, set_event_file, "../secret"),
    "an absolute event file": (None, OTHER_STEP, set_event_file, "{}/secret"),
    "an event file that is a number": (None, OTHER_STEP + "'3')", set_meta, {"event_file_name": 3}),
    "an unknown mode": (None, "has an unknown mode 'DREAM'", set_meta, {"mode": "DREAM"}),
    "a mode of lists": (None, "has an unknown mode 'a list or object'", set_meta, {"mode": ["TRAIN"]}),
    "a long mode": (None, f"has an unknown mode '{'x' * 50}'", set_meta, {"mode": "x" * 99}),
    "a step of text": (None, NO_STEP + "'2')", set_meta, {"mode_step": "2"}),
    "a step of truth": (None, NO_STEP + "'True')", set_meta, {"mode_step": True}),
    "a step of NaN": (None, NO_STEP + "'nan')", set_meta, {"mode_step": math.nan}),
    "a step of 63 bits": (None, NO_STEP + "'4611686018427387904')", set_meta, {"mode_step": 2**62}),
    "a step of many digits": (None, NO_STEP + "'inf')", write, INDEX, MANY_DIGITS),
    "an entry without a name": (None, NO_NAME, set_entry, "loss", {"tensorname": None}),
    "a name of a lone surrogate": (None, NO_NAME, set_entry, "loss", {"tensorname": "a\udfffb"}),
}
THROUGH_EVERY_DOOR = [
    "events truncated",
    "events missing",
    "a wrong checksum of a payload",
    "another's bytes",
    "a record without a length",
    "index empty",
    "index missing",
    "index of another step",
    "an unknown mode",
    "index a pipe",
]
FOR_THE_RULE = {
    **{name: FAULTS[name] for name in THROUGH_EVERY_DOOR},
    "collections empty": (None, "", cut, COLLECTIONS, 0),
}


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_and_all_else_is_compared(name: str, sound: Path, trial: Path) -> None:
    """By file, tensor and step; no comparison is made against an older step instead."""
    tensors, reason, make, *arguments = FAULTS[name]
    make(trial, *arguments)
    file = INDEX if tensors is None or reason == NO_RANGE else EVENTS
    for num_steps in (None, 2):
        report = check_trial(trial, num_steps=num_steps)
        broken = [entry for entry in report.unreadable if not entry.reason.startswith("has no certain reference")]
        assert [(file, tensor, "worker_0", 2) for tensor in tensors or [None]] == [entry[:4] for entry in broken]
        assert [] == [entry.reason for entry in broken if not entry.reason.startswith(reason)]
        expected = found_comparisons(check_trial(sound, num_steps=num_steps))
        for tensor in tensors or WEIGHTS:  # step 3, with num_steps 2, has its certain reference: step 1
            for step in (2, 3) if num_steps is None else (2, 4):
                del expected[tensor, "worker_0", step]
        assert expected == found_comparisons(report)
        assert (2, False) == (report.exit_code, report.complete)


@pytest.mark.parametrize("name", THROUGH_EVERY_DOOR)
def test_the_command_names_a_fault(name: str, trial: Path) -> None:
    """File, tensor and step are said, without a traceback; a violation that was seen counts more."""
    tensors, reason, make, *arguments = FAULTS[name]
    make(trial, *arguments)
    result = invoke_command("check", str(trial))
    assert (2, "") == (result.exit_code, result.stderr)
    text = " ".join(result.stdout.split())
    assert [] == [part for part in (reason, "000000000002_worker_0", "(global step 2)") if part not in text]
    assert tensors is None or tensors[0] in text
    fired = invoke_command("check", str(trial), "--large-threshold", "1e-4")
    assert (1, "FIRED", True) == (fired.exit_code, fired.stdout[:5], "Unreadable" in fired.stdout)


@pytest.mark.parametrize("name", FOR_THE_RULE)
def test_the_rule_goes_on(name: str, trial: Path, caplog: Any) -> None:
    """The same rows as the check, each unreadable record logged once as an error, and counted in the Details."""
    from smdebug.rules import invoke_rule
    from smdebug.trials import create_trial

    tensors, _, make, *arguments = FOR_THE_RULE[name]
    opened = create_trial(str(trial))  # where the index is broken, smdebug itself cannot open a trial
    make(trial, *arguments)
    rule = WeightUpdateRatio(create_trial(str(trial)) if tensors else opened, num_steps=3)
    for known in rule.logger.filters:
        known.msgs.clear()  # smdebug drops what was logged three times in a process
    rule.logger.handlers, handlers = [caplog.handler], rule.logger.handlers
    if tensors:
        invoke_rule(rule, end_step=STEPS)
    else:
        for step in (0, 1, 2, 2, 3, 4, 5):
            rule.invoke_at_step(step)
    rule.logger.handlers = handlers
    report = check_trial(trial, num_steps=3)
    assert found_comparisons(report) == found_comparisons(rule.comparisons())
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(report.unreadable) == len(set(errors)) == len(errors) == rule.report["Details"]["unreadable"]
    for entry in report.unreadable:
        tensor = f" of tensor {entry.tensor!r}" if entry.tensor else ""
        step = f" at step {entry.global_step}" if entry.global_step >= 0 else ""
        assert f"the record{tensor}{step} in {entry.file!r} {entry.reason}" in errors


def test_the_rule_judges_a_step_that_smdebug_passes_over(trial: Path) -> None:
    from smdebug.exceptions import NoMoreData
    from smdebug.rules import invoke_rule
    from smdebug.trials import create_trial

    remove(trial, INDEX, INDEX.replace("worker_0", "worker_1"))
    report, rule = check_trial(trial), WeightUpdateRatio(create_trial(str(trial)))
    with pytest.raises(NoMoreData):
        invoke_rule(rule)
    assert found_comparisons(report) == found_comparisons(rule.comparisons())
    assert len(report.unreadable) == rule.report["Details"]["unreadable"] == 6


# What is no fault: the references of A's steps of worker_0, and how it is made


def save_twice(trial: Path) -> None:
    """Save the tensors of step 2 twice in one event file; the last counts, as for smdebug."""
    content = (trial / EVENTS).read_bytes()
    write(trial, EVENTS, content + content)
    payload = json.loads((trial / INDEX).read_text())["tensor_payload"]
    again = [{**entry, "start_idx": entry["start_idx"] + len(content)} for entry in payload]
    change_json(trial / INDEX, lambda index: index["tensor_payload"].extend(again))


def name_twice(trial: Path) -> None:
    write(trial, INDEX, (trial / INDEX).read_text().replace('{"tensorname"', '{"tensorname": "x", "tensorname"'))


def link_in_circles(trial: Path) -> None:
    """Two links to the folder that they are in have 2^40 names."""
    (trial / "index" / "a").symlink_to(".")
    (trial / "index" / "b").symlink_to(".")


def link_elsewhere(trial: Path, name: str) -> None:
    (trial / name).rename(trial.parent / "moved")
    (trial / name).symlink_to(trial.parent / "moved")


WHOLE = {1: 0, 2: 1, 3: 2, 4: 3, 5: 4}
WITHOUT_2 = {1: 0, 3: 1, 4: 3, 5: 4}
WITHOUT_5 = {1: 0, 2: 1, 3: 2, 4: 3}
SOUND: dict[str, tuple[Any, ...]] = {
    "a name of no collection": (WITHOUT_2, set_entry, A, {"tensorname": "c/weight"}),
    "another mode than the record's": (WITHOUT_2, set_meta, {"mode": "EVAL"}),
    "another step than the record's": ({**WITHOUT_5, 9: 4}, set_meta, {"mode_step": 9}, of_step(INDEX, 5)),
    "a step of -1, as hooks write it": ({**WHOLE, 1: -1}, set_meta, {"mode_step": -1}, of_step(INDEX, 0)),
    "the last index file of a job that goes on": (WITHOUT_5, remove, "training_job_end.ts", of_step(INDEX, 5)),
    "no bytes of a tensor that is not compared": (WHOLE, set_entry, "loss", {"start_idx": -1}),
    "a tensor that was saved twice": (WHOLE, save_twice),
    "keys that come twice": (WHOLE, name_twice),
    "an event file with a terabyte of nothing behind it": (WHOLE, cut, EVENTS, TERABYTE),
    "a member that was never saved": (WHOLE, set_collection, "weights", {"tensor_names": [A, B, "c/weight"]}),
    "patterns of a collection that is not chosen": (WHOLE, set_collection, "losses", {"include_regex": ["("]}),
    "another file among the collections": (WHOLE, write, COLLECTIONS + ".tmp", "{"),
    "links to themselves": (WHOLE, link_in_circles),
    "a link to an index elsewhere": (WHOLE, link_elsewhere, "index"),
    "a link to event files elsewhere": (WHOLE, link_elsewhere, "events/000000000002"),
    "a link to a collections file elsewhere": (WHOLE, link_elsewhere, COLLECTIONS),
}


@pytest.mark.parametrize("name", SOUND)
def test_what_is_no_fault(name: str, trial: Path) -> None:
    """The index is believed, as smdebug believes it, and links are the user's own."""
    references, make, *arguments = SOUND[name]
    make(trial, *arguments)
    report = check_trial(trial)
    assert (0, []) == (report.exit_code, report.unreadable)
    actual = [row for row in report if (row.tensor, row.worker) == (A, "worker_0")]
    assert references == {row.step: row.reference_step for row in actual}


# Faults of the collections files, and of the trial as a whole

IN_ANY = "collections/000000000"
REFUSED = "has an include_regex that does not compile ('"
TOO_MANY = [rf"^{number}$" for number in range(101)]
NO_LISTS = "has a collection 'weights' without lists of names and patterns"
COLLECTIONS_FAULTS: dict[str, tuple[Any, ...]] = {
    "missing": (OTHER_COLLECTIONS, "does not exist, while its worker saved steps", remove, OTHER_COLLECTIONS),
    "empty": (COLLECTIONS, "is empty", cut, COLLECTIONS, 0),
    "not UTF-8": (COLLECTIONS, NO_JSON, write, COLLECTIONS, b"\xff"),
    "a list": (COLLECTIONS, "holds no collections", write, COLLECTIONS, "[]"),
    "no collections": (COLLECTIONS, "holds no collections", write, COLLECTIONS, '{"collections": []}'),
    "a number": (COLLECTIONS, NO_LISTS, write, COLLECTIONS, '{"collections": {"weights": 3}}'),
    "names that are a number": (COLLECTIONS, NO_LISTS, set_collection, "weights", {"tensor_names": 3}),
    "patterns that are numbers": (COLLECTIONS, NO_LISTS, set_collection, "weights", {"include_regex": [3]}),
    "a pipe": (COLLECTIONS, NO_FILE, make_instead, COLLECTIONS, os.mkfifo),
    "a terabyte of nothing": (COLLECTIONS, TOO_LARGE, cut, COLLECTIONS, TERABYTE),
    "a group": (IN_ANY, REFUSED + "(", set_collection, "weights", {"include_regex": ["("]}),
    "a large count": (IN_ANY, REFUSED + "a{9", set_collection, "weights", {"include_regex": ["a{9999999999999}"]}),
    "a hundred patterns": (IN_ANY, "has 101 patterns in", set_collection, "weights", {"include_regex": TOO_MANY}),
}


@pytest.mark.parametrize("name", COLLECTIONS_FAULTS)
def test_a_broken_collections_file_is_named_and_the_other_workers_is_used(name: str, sound: Path, trial: Path) -> None:
    file, reason, make, *arguments = COLLECTIONS_FAULTS[name]
    make(trial, *arguments)
    report = check_trial(trial)
    assert [(file, None, -1)] == [(entry.file, entry.tensor, entry.global_step) for entry in report.unreadable]
    assert report.unreadable[0].reason.startswith(reason)
    assert (2, found_comparisons(check_trial(sound))) == (report.exit_code, found_comparisons(report))


def test_the_first_hundred_patterns_of_a_collection_are_searched(trial: Path) -> None:
    remove(trial, OTHER_COLLECTIONS)
    set_collection(trial, "weights", {"tensor_names": [], "include_regex": [*TOO_MANY[:99], f"^{A}$", f"^{B}$"]})
    assert {A} == {row.tensor for row in check_trial(trial)}


@pytest.mark.parametrize(("fault", "size"), [("is empty", [0]), ("does not exist, while its worker saved steps", [])])
def test_without_any_collections_nothing_is_judged(trial: Path, fault: str, size: list[int]) -> None:
    for name in (COLLECTIONS, OTHER_COLLECTIONS):
        (cut if size else remove)(trial, name, *size)
    with pytest.raises(TrialError) as caught:
        check_trial(trial)
    assert f"the trial {str(trial)!r} cannot be judged: '{COLLECTIONS}' {fault}" == caught.value.message
    assert caught.value.remedy.startswith("Restore the collections files")
    done = invoke_command("check", str(trial), "--format", "json")
    assert (2, caught.value.message) == (done.exit_code, json.loads(done.stdout)["problem"]["text"])


def break_all_weights(trial: Path) -> None:
    for events in sorted(trial.glob("events/*/*")):
        for tensor in WEIGHTS:
            flip(trial, str(events.relative_to(trial)), tensor, 70)


UNREAD = (
    "nothing could be read to compare; the first of 24: the record of tensor 'a/weight' at global step 0 in "
    "'events/000000000000/000000000000_worker_0.tfevents' "
)


@pytest.mark.parametrize("end_step", [None, STEPS])
@pytest.mark.parametrize(
    ("message", "make", "arguments"),
    [
        (UNREAD + "does not exist", remove, ["events"]),
        (UNREAD + CORRUPT.format("content"), break_all_weights, []),
        ("has no saved steps: it holds collections, but no index files", remove, ["events", "index"]),
    ],
    ids=["no event files", "all weights broken", "collections alone"],
)
def test_where_nothing_could_be_compared_each_says_why(
    trial: Path, tmp_path: Path, message: str, make: Any, arguments: list[str], end_step: int | None
) -> None:
    """The rule raises, also where smdebug alone would end with NoMoreData; the check and the command say the same."""
    from smdebug.exceptions import InsufficientInformationForRuleInvocation
    from smdebug.rules import invoke_rule
    from smdebug.trials import create_trial

    make(trial, *arguments)
    assert message in check_trial(trial).problem.message
    result = invoke_command("check", str(trial))
    assert (2, True) == (result.exit_code, message in result.stderr)
    rule = WeightUpdateRatio(create_trial(str(trial)), report_dir=str(tmp_path))
    with pytest.raises(InsufficientInformationForRuleInvocation) as raised:
        invoke_rule(rule, end_step=end_step)
    assert message in str(raised.value)
    assert message in json.loads((tmp_path / "WeightUpdateRatio.json").read_text())["problem"]["text"]


@pytest.mark.parametrize(("name", "lost"), [(of_step(INDEX, 5), [5]), ("index", [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5])])
def test_an_ended_job_has_lost_the_index_files_that_are_not_there(trial: Path, name: str, lost: list[int]) -> None:
    """While it goes on, the last may be about to come."""
    remove(trial, name)
    report = check_trial(trial)
    assert (2, lost) == (report.exit_code, [entry.global_step for entry in report.unreadable if entry.tensor is None])


# Uncertain references


@pytest.mark.parametrize("is_first", [False, True])
def test_a_broken_step_before_the_first_that_is_judged(trial: Path, is_first: bool) -> None:
    write(trial, INDEX, "")
    for worker in WORKERS if is_first else ():
        for step in (0, 1):
            index_file(trial, step, worker).unlink()
            event_file(trial, step, worker).unlink()
    unreadable = check_trial(trial, start_step=3).unreadable
    assert [(A, 3), (B, 3)] == [(entry.tensor, entry.global_step) for entry in unreadable]


def test_an_unreadable_step_may_have_been_the_one_of_training(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "trial", modes=["EVAL"] * 5 + ["TRAIN"], workers=["worker_0"]).path
    index_file(path, 5).write_text("")
    report = check_trial(path)
    assert (0, "TRAIN", 2) == (len(report), report.mode, report.exit_code)


# Chance


def judged(trial: Path, num_steps: int | None) -> Report | None:
    """Return the report of a broken trial, None where it is not judged; the command ends with its code."""
    result = invoke_command("check", str(trial), "--num-steps", str(num_steps), "--format", "json")
    assert isinstance(result.exception, (SystemExit, type(None)))
    try:
        report = check_trial(trial, num_steps=num_steps)
    except TrialError:
        assert result.exit_code == 2
        return None
    assert result.exit_code == report.exit_code
    return report


def norms(report: Iterable[Any]) -> set[Any]:
    return {(row.tensor, row.worker, row.global_step, row.update_norm, row.weight_norm) for row in report}


@pytest.mark.parametrize("count", [10, pytest.param(100, marks=pytest.mark.rare)])
@pytest.mark.parametrize("num_steps", [None, 2])
@pytest.mark.parametrize("kind", ["a cut", "a flip in events", "a flip elsewhere"])
def test_a_cut_or_a_flipped_byte_anywhere(kind: str, num_steps: int | None, count: int, tmp_path: Path) -> None:
    """What has a checksum or is cut is never exit code 0 with a row that is wrong or missing.

    The index is believed: a flip there may leave a row out, or choose another reference. No ratio is wrong.
    """
    trial = write_sound(tmp_path / "trial", include_regex={"weights": ["^(?!gradient).*weight"]}).path
    expected = set(check_trial(trial, num_steps=num_steps))
    of_any_reference = set().union(*(norms(check_trial(trial, num_steps=distance)) for distance in range(1, STEPS)))
    files = sorted(path for path in trial.rglob("*") if path.is_file() and path.stat().st_size)
    if kind != "a cut":
        files = [path for path in files if (path.suffix == ".tfevents") == (kind == "a flip in events")]
    chance = random.Random(f"{kind} {num_steps}")
    unreadable = 0
    for _ in range(count):
        path = chance.choice(files)
        content = path.read_bytes()
        position = chance.randrange(len(content))
        changed = bytes([content[position] ^ 1 << chance.randrange(8)]) + content[position + 1 :]
        path.write_bytes(content[:position] + (b"" if kind == "a cut" else changed))
        report = judged(trial, num_steps)
        path.write_bytes(content)
        unreadable += report is not None and bool(report.unreadable)
        assert norms(report or ()) <= of_any_reference, (path, position)
        if kind != "a flip elsewhere" and report is not None:
            assert set(report) <= expected, (path, position)
            is_whole = set(report) == expected and not report.unreadable
            assert is_whole == (report.exit_code == 0), (path, position)
    assert unreadable > count / 20


# Event files that shrink while they are read


@pytest.mark.parametrize(("which", "lost"), [(-2, set()), (-1, set()), (0, {1, 2, 3, 4, 5})])
def test_an_event_file_that_shrinks_between_two_steps(trial: Path, which: int, lost: set[int]) -> None:
    """Of the step before, of this step or of the next one: what was read counts, what is read later is unreadable."""
    everything = found_comparisons(check_trial(trial))

    def shrink(done: int, total: int) -> None:
        for file in trial.glob(f"events/{done + which:012d}/*"):
            os.truncate(file, 100)

    report = check_trial(trial, progress=shrink)
    assert lost == {entry.global_step for entry in report.unreadable}
    assert ({} if lost else everything) == found_comparisons(report)
