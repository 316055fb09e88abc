"""History files: what is read, what is refused with one message and a remedy, and that nothing is lost silently."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import RECORDED
from tests.reports import HOSTILE, check
from tests.test_contract import RECORDINGS
from tests.test_record import Trained, Untrained
from weight_update_ratio import Report, TrialError, TrialRecorder, check_trial
from weight_update_ratio.render.data import write_history

REMEDY = "Pass a file that --history or RatioMonitor wrote; a run of one step has no update."
SOUND = {
    "tensor": "fc.weight",
    "worker": "worker_0",
    "mode": "TRAIN",
    "step": 1,
    "reference_step": 0,
    "global_step": 1,
    "update_norm": 0.01,
    "weight_norm": 1.0,
}
FORMATS = ("text", "json", "junit", "github", "markdown")


def line(step: int = 1, **changes: Any) -> str:
    """Return a sound row at a step, with changes."""
    return json.dumps({**SOUND, "step": step, "reference_step": step - 1, "global_step": step, **changes})


def raw(**texts: str) -> str:
    """Return a row with these values as they are written."""
    values = {**{name: json.dumps(value) for name, value in SOUND.items()}, **texts}
    return "{" + ", ".join(f'"{name}": {value}' for name, value in values.items()) + "}"


def write(path: Path, *lines: str | bytes, end: bytes = b"\n") -> Path:
    path.write_bytes(b"\n".join(text if isinstance(text, bytes) else text.encode() for text in lines) + end)
    return path


# Lines: one is changed between two that are sound

BROKEN = {
    "cut in the middle": (line()[:-9], "is not JSON ("),
    "5,000 digits of a step": (raw(step="9" * 5000), "is not a row: 'step' is not a whole number below 2**62"),
    "step 2**70": (line(step=2**70), "'step' is not a whole number below 2**62"),
    "step -2**62": (line(reference_step=-(2**62)), "'reference_step' is not a whole number below 2**62"),
    "step 1e400": (raw(step="1e400"), "'step' is not a whole number below 2**62"),
    "step NaN": (raw(step="NaN"), "'step' is not a whole number"),
    "step 1.5": (raw(step="1.5"), "'step' is not a whole number"),
    "step of text": (raw(step='"1"'), "'step' is not a whole number"),
    "step true": (raw(step="true"), "'step' is not a whole number"),
    "reference is the step": (line(reference_step=1), "'reference_step' is not below 'step'"),
    "reference above": (line(reference_step=7), "'reference_step' is not below 'step'"),
    "global step below 0": (line(global_step=-1), "'global_step' is below 0"),
    "norm below 0": (line(update_norm=-0.5), "'update_norm' is below 0"),
    "norm -inf": (line(weight_norm="-inf"), "'weight_norm' is below 0"),
    "norm of text": (line(update_norm="0.5"), "'update_norm' is not a number"),
    "norm false": (line(update_norm=False), "'update_norm' is not a number"),
    "norm null": (line(update_norm=None), "'update_norm' is not a number"),
    "norm of a list": (line(update_norm=[1.0]), "'update_norm' is not a number"),
    "unknown mode": (line(mode="train"), "'mode' is not one of TRAIN, EVAL, PREDICT, GLOBAL"),
    "mode of a list": (line(mode=["TRAIN"]), "'mode' is not a string"),
    "a name that is null": (line(tensor=None), "'tensor' is not a string"),
    "a worker that is a number": (line(worker=0), "'worker' is not a string"),
    "a lone surrogate": (line(tensor="w\ud800"), "a name has half a character"),
    "a lone surrogate of a worker": (line(worker="\udcff"), "a name has half a character"),
    "other metrics": ('{"loss": 0.5, "_step": 3}', "is not a row: it has no 'tensor'"),
    "no object": ("[1, 2]", "is not a row: it is not an object"),
    "a number": ("5", "it is not an object"),
    "text": ("hello", "is not JSON ("),
    "two objects": (line() + line(), "is not JSON ("),
    "nested deeply": ("[" * 100_000, "is not JSON (it is nested too deeply)"),
    "not UTF-8": (b'{"tensor": "caf\xe9"}', "is not JSON ('utf-8' codec can't decode byte 0xe9"),
    "50 MB": ('{"tensor": "' + "x" * 50_000_000, "is not JSON ("),
    **{f"no {name}": (line().replace(f'"{name}": ', '"other": '), f"it has no {name!r}") for name in SOUND},
}


@pytest.mark.parametrize(("broken", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_line_that_is_not_a_row_is_unreadable(tmp_path: Path, broken: str | bytes, reason: str) -> None:
    """It is named by its number; the others are judged, and the exit code is 2. As a baseline the file is refused."""
    path = write(tmp_path / "run.jsonl", line(1), "", broken, line(2), line(3))
    report = check_trial(path)
    assert [1, 2, 3] == report.comparisons()["step"].tolist()
    (entry,) = report.unreadable
    assert (str(path), 2) == (entry.file, report.exit_code)
    assert entry.reason.startswith("line 3 is not ")
    assert reason in entry.reason
    code, text, _ = check(path)
    assert (2, True) == (code, "line 3 is not " in " ".join(text.split()))
    code, _, said = check(write(tmp_path / "good.jsonl", line(1)), "--baseline", path)
    assert (2, True) == (code, "its records could not be read\n\nRestore its files" in said)


SOUND_LINES = {
    "5,000 digits of a norm": (raw(weight_norm="1" + "0" * 5000), "weight_norm", np.inf),
    "400 digits": (raw(weight_norm="1" + "0" * 400), "weight_norm", np.inf),
    "norm 1e400": (raw(update_norm="1e400"), "update_norm", np.inf),
    "norm NaN": (raw(update_norm="NaN"), "update_norm", np.nan),
    "norm nan": (line(update_norm="nan"), "update_norm", np.nan),
    "norm NaN of text": (line(update_norm="NaN"), "update_norm", np.nan),
    "norm Infinity of text": (line(update_norm="Infinity"), "update_norm", np.inf),
    "norm -0.0": (line(update_norm=-0.0), "update_norm", 0.0),
    "a whole norm": (line(update_norm=3), "update_norm", 3.0),
    "step 1.0": (line(1.0), "step", 1),
    "reference below 0": (line(0, global_step=1), "reference_step", -1),
    "other keys": (line(_step=7, _runtime=1.5, ratio="x", config={"a": [1, {}]}), "step", 1),
    "a type that is not text": (line(type=[32]), "type", ""),
    "a type": (line(type="bfloat16"), "type", "bfloat16"),
    "CRLF": (line() + "\r", "step", 1),
    "BOM": ("\ufeff" + line(), "step", 1),
}


@pytest.mark.parametrize(("text", "column", "value"), SOUND_LINES.values(), ids=SOUND_LINES)
def test_what_is_a_row(tmp_path: Path, text: str, column: str, value: Any) -> None:
    report = check_trial(write(tmp_path / "run.jsonl", text, line(2)))
    assert [] == report.unreadable
    assert report.comparisons()[column].tolist()[0] == pytest.approx(value, abs=0, nan_ok=True)
    assert (value == np.inf or value != value) == report.exit_code


NAMES = [*HOSTILE, "", "::error::x", "x" * 3000, "a\x00\x1b[31m\r\n\x7f", "=1+1", "../../etc"]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_hostile_names(tmp_path: Path, name: str) -> None:
    """They come through every format, and back from a history of the history."""
    path = write(tmp_path / "run.jsonl", *(line(step, tensor=name, worker=name, update_norm=99) for step in (1, 2, 3)))
    for style in FORMATS:
        code, text, said = check(path, "--format", style, "--history", tmp_path / "again.jsonl")
        assert (1, "") == (code, said)
        assert not {"\x1b", "\x00", "\r"} & set(text)
        assert not any(text_line.startswith("::error::x") for text_line in text.splitlines())
    assert check_trial(path).comparisons().equals(check_trial(tmp_path / "again.jsonl").comparisons())


def test_many_types(tmp_path: Path) -> None:
    path = write(tmp_path / "run.jsonl", *(line(step, type=f"type{step}") for step in range(1, 400)))
    assert [f"type{step}" for step in range(1, 400)] == check_trial(path).comparisons()["type"].tolist()


HUGE = [{"update_norm": 1e308}] * 3
INFINITE = [{}, *[{"weight_norm": norm} for norm in (1e21, "inf", "inf", "inf")]]
BACKWARDS = [  # steps do not rise with the global steps; a tensor of two workers is lost, one of them after a leap
    {"tensor": "a", "worker": "w1", "step": 21, "reference_step": 20, "global_step": 1},
    {"tensor": "a", "worker": "w1", "step": 2, "global_step": 2, "weight_norm": "nan"},
    {"tensor": "b", "worker": "w1", "step": 23, "reference_step": 22, "global_step": 2},
    {"tensor": "b", "worker": "w0", "step": 4, "reference_step": 3, "global_step": 4},
    {"tensor": "a", "worker": "w0", "step": 4, "reference_step": 3, "global_step": 4, "weight_norm": 1e-300},
    {"tensor": "a", "worker": "w0", "step": 2, "global_step": 5, "weight_norm": "nan"},
]
FAR = [{"step": 2**62 - 1}, {"step": 5, "reference_step": 1 - 2**62, "global_step": 2**62 - 1}]


@pytest.mark.parametrize("changes", [HUGE, INFINITE, BACKWARDS, FAR], ids=["huge", "infinite", "backwards", "far"])
def test_numbers_at_the_edge(tmp_path: Path, changes: list[dict[str, Any]]) -> None:
    """They come through every format without a warning."""
    path = write(tmp_path / "run.jsonl", *(line(**{"step": n, **row}) for n, row in enumerate(changes, 1)))
    for style in FORMATS:
        code, _, said = check(path, "--format", style, "--html", tmp_path / "p.html", "--tensorboard", tmp_path / "t")
        assert (True, "") == (code in (0, 1), said)
    assert check(path, "--verbose")[0] in (0, 1)
    assert len(changes) == len(check_trial(path, baseline=write(tmp_path / "good.jsonl", line(1), line(2))))


# Files

FILES = {
    "empty": (b"", "holds no rows\n"),
    "blank lines": (b"\n \n\r\n\t\n", "holds no rows\n"),
    "cut in its only line": (line()[:-5].encode(), "holds no rows\n"),
    "not a history": (b"\x89PNG\r\n\x1a\n\x00", "holds no rows: line 1 is not JSON ('utf-8' codec"),
    "UTF-16": (f"{line()}\n{line(2)}\n".encode("utf-16"), "holds no rows: line 1 is not JSON ('utf-8' codec"),
    "one document": (json.dumps([SOUND]).encode() + b"\n", "holds no rows: line 1 is not a row: it is not an object"),
    "other metrics": (b'{"loss": 1}\n', "holds no rows: line 1 is not a row: it has no 'tensor'"),
    "EVAL rows": (line(mode="EVAL").encode(), "has only rows of mode EVAL\n\nPass one that has rows of mode TRAIN or"),
}


@pytest.mark.parametrize(("content", "message"), FILES.values(), ids=FILES)
def test_a_file_without_rows(tmp_path: Path, content: bytes, message: str) -> None:
    """One message and a remedy, as the trial and as the baseline, and beside a worker that has some."""
    path, good = tmp_path / "run.jsonl", write(tmp_path / "good.jsonl", line(worker="worker_1"))
    path.write_bytes(content)
    for arguments in ([path], [good, path], [path, good], [good, "--baseline", path]):
        if "EVAL" in message and len(arguments) == 2:
            continue  # a mode beside another one
        code, text, said = check(*arguments)
        assert (2, "") == (code, text)
        assert message in said
        assert "EVAL" in message or REMEDY in said


READABLE = "Pass a file that exists and may be read."
ONE_WORKER = "the worker 'worker_0' is in two histories", "Pass the histories of one run, each worker once."
ONE_TRIAL = "several trials cannot be judged as one", "Pass one trial folder, or the histories (.jsonl)"


@pytest.mark.parametrize(
    ("given", "message", "remedy"),
    [
        ("none.jsonl", "cannot be read: No such file or directory", READABLE),
        pytest.param(
            "closed.jsonl",
            "cannot be read: Permission denied",
            READABLE,
            marks=pytest.mark.skipif(os.geteuid() == 0, reason="root may read all"),
        ),
        ("a.jsonl a.jsonl", *ONE_WORKER),
        ("a.jsonl b.jsonl", *ONE_WORKER),
        ("a.jsonl folder.jsonl", *ONE_TRIAL),
        (". .", *ONE_TRIAL),
        ("s3://bucket/run.jsonl", "is on S3", "Copy it to this machine: aws s3 cp."),
    ],
)
def test_files_that_cannot_be_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: Any, message: str, remedy: str
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkdir("folder.jsonl")
    write(Path("closed.jsonl"), line()).chmod(0)
    write(Path("a.jsonl"), line())
    write(Path("b.jsonl"), line(5), line(6, worker="worker_1"))
    given = given.split()
    code, text, said = check(*given)
    assert (2, "") == (code, text)
    first, blank, last, end = said.split("\n")
    assert (True, "", True, "") == (message in first, blank, last.startswith(remedy), end)
    assert {"problem"} <= set(json.loads(check(*given, "--format", "json")[1]))
    with pytest.raises(TrialError):
        check_trial(given if len(given) > 1 else given[0])


@pytest.mark.parametrize("option", ["--num-steps=5", "--collection-names=biases", "--follow", "--dask=127.0.0.1:1"])
def test_options_without_meaning(tmp_path: Path, option: str) -> None:
    code, text, said = check(write(tmp_path / "run.jsonl", line()), option)
    assert (2, "") == (code, text)
    assert "has no meaning for a history" in said


def test_a_trial_folder_that_is_named_as_a_history(tmp_path: Path) -> None:
    """It is a folder all the same, also with --follow and as a baseline."""
    trial = tmp_path / "trial.jsonl"
    trial.symlink_to(RECORDED["pytorch_frozen"])
    expected = check(RECORDED["pytorch_frozen"], "--format", "json")[1].replace(
        str(RECORDED["pytorch_frozen"]), str(trial)
    )
    for option in ([], ["--follow"]):
        assert (1, expected) == check(trial, "--format", "json", *option)[:2]
    good = tmp_path / "good.jsonl"
    good.symlink_to(RECORDED["pytorch_healthy"])
    assert check_trial(trial, baseline=good).fired


# Which rows count


def test_a_last_line_that_is_cut_off_is_noted(tmp_path: Path) -> None:
    """One that is whole is a row without its newline, or is unreadable."""
    for cut in (1, 40, len(line(3)) - 1):
        path = write(tmp_path / "run.jsonl", line(1), line(2), line(3)[:cut], end=b"")
        report = check_trial(path)
        assert (0, 2, []) == (report.exit_code, len(report), report.unreadable)
        assert [f"the last line of {str(path)!r} is cut off"] == [group.reason for group in report.skipped]
    assert 3 == len(check_trial(write(path, line(1), line(2), line(3), end=b"")))
    assert 2 == check_trial(write(path, line(1), line(2, update_norm=-1), end=b"")).exit_code


def test_of_two_rows_the_last_one_counts(tmp_path: Path) -> None:
    rows = [line(step, update_norm=step / 1000) for step in (3, 1, 2, 5, 4)]
    report = check_trial(write(tmp_path / "run.jsonl", *rows, line(2, update_norm=0.5), line(2, update_norm=0.25)))
    assert [1, 2, 3, 4, 5] == report.comparisons()["step"].tolist()
    assert [0.001, 0.25, 0.003, 0.004, 0.005] == report.comparisons()["update_norm"].tolist()


@pytest.mark.parametrize(
    ("modes", "judged", "notes"),
    [
        (["TRAIN", "EVAL", "GLOBAL", "PREDICT"], "TRAIN", ["EVAL", "GLOBAL", "PREDICT"]),
        (["GLOBAL", "EVAL"], "GLOBAL", ["EVAL"]),
        (["TRAIN"], "TRAIN", []),
    ],
)
def test_rows_of_one_mode_are_judged(tmp_path: Path, modes: list[str], judged: str, notes: list[str]) -> None:
    report = check_trial(write(tmp_path / "run.jsonl", *(line(mode=mode) for mode in modes)))
    assert [judged] == report.comparisons()["mode"].tolist()
    assert [f"rows of mode {mode} are not judged" for mode in notes] == [group.reason for group in report.skipped]


def test_nothing_is_chosen(tmp_path: Path) -> None:
    path = write(tmp_path / "run.jsonl", line(), "broken", line(2))
    nothing = "has no row of mode TRAIN there\n\nWiden start_step"
    for options, words in (
        (["--start-step", 9], nothing),
        (["--end-step", 1], nothing),
        (["--tensor-regex", "^none$"], "no saved tensor of 'weights' matches tensor_regex '^none$'; the collections'"),
        (["--tensor-regex", "w,^none$"], "matches tensor_regex '^none$'; the collections' tensors are 'fc.weight'"),
        (["--exclude-regex", "."], "exclude_regex leaves out every saved tensor"),
    ):
        code, text, said = check(path, *options)
        assert (2, True, True) == (code, "line 2 is not JSON" in text, words in said)


def test_what_ends_early(tmp_path: Path) -> None:
    """A worker, or a tensor of it, that others outlast."""
    rows = [line(step, tensor=tensor) for step in range(1, 20) for tensor in "ab" if step < 9 or tensor == "a"]
    first = write(tmp_path / "first.jsonl", *rows)
    second = write(tmp_path / "second.jsonl", *(line(step, tensor="a", worker="worker_1") for step in range(1, 6)))
    notes = [group[:3] for group in check_trial([first, second]).skipped]
    assert [
        ("b", "worker_0", "last compared at step 8, others to 19"),
        (None, "worker_1", "last compared at step 5, others to 19"),
    ] == notes


# A trial and its history


def history_of(report: Report, folder: Path) -> list[Path]:
    """Write the history of a report, a file for each worker, and return the files in the wrong order."""
    write_history(report, str(folder / "all.jsonl"))
    lines = (folder / "all.jsonl").read_text(encoding="utf-8").splitlines()
    files = []
    for index, worker in enumerate(sorted({json.loads(text)["worker"] for text in lines})):
        rows = [text for text in lines if json.loads(text)["worker"] == worker]
        files.append(write(folder / f"run_{index}.jsonl", *rows))
    return files[::-1]


SETTINGS: list[dict[str, Any]] = [
    {},
    {"strict": True, "large_threshold": 0.01, "patience": 2},
    {"start_step": 3, "end_step": 12, "exclude_regex": "bias"},
    {"baseline": RECORDED["pytorch_healthy"]},
    {"num_steps": 3},
    {"small_threshold": 1e-3, "epsilon": 1e-3, "tensor_regex": "weight"},
]
# What no row says: that a step was saved which is only a reference, what began late or was saved again, whether the job
# ended, and how references were chosen.
UNKNOWN = {"trial", "job_ended", "skipped", "counts.steps", "counts.tensors", "counts.skipped", "parameters.num_steps"}


def facts(report: Report) -> dict[str, Any]:
    document = json.loads(report.to_json())
    apart = {name: document.pop(name) for name in ("counts", "parameters")}
    return {**document, **{f"{name}.{key}": value for name, part in apart.items() for key, value in part.items()}}


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
@pytest.mark.parametrize("name", RECORDINGS)
def test_a_history_gives_the_report_of_its_trial(tmp_path: Path, name: str, setting: dict[str, Any]) -> None:
    """Rows, findings, fired steps, violations and exit code are the same; what no row says is not known."""
    try:
        expected = check_trial(RECORDINGS[name], **setting)
    except TrialError:
        pytest.skip("there is no trial to judge")
    files = history_of(expected, tmp_path)
    if not files:
        assert 2 == check(tmp_path / "all.jsonl")[0] == expected.exit_code
        return
    setting = {option: value for option, value in setting.items() if option != "num_steps"}
    for given in (tmp_path / "all.jsonl", files):
        report = check_trial(given, **setting)
        assert expected.comparisons().equals(report.comparisons())
        assert expected.exit_code == report.exit_code
        before, after = facts(expected), facts(report)
        assert {key for key in before if before[key] != after[key]} <= UNKNOWN
        assert after["job_ended"]
        assert after["counts.steps"] == len({row.global_step for row in expected})
        assert after["counts.tensors"] == len({row.tensor for row in expected})
        known = [entry for entry in before["skipped"] if "saved" not in entry["reason"]]
        assert known == [entry for entry in after["skipped"] if "compared" not in entry["reason"]]


def test_what_was_recorded_as_not_trained(tmp_path: Path) -> None:
    """In a trial its rest is a note. No row says so: there it is a fault, until it is left out."""
    with TrialRecorder(tmp_path / "trial") as recorder:
        for step in range(20):
            head = np.full((2, 2), 1 + step / 100)
            recorder.step({"base.weight": np.ones((2, 2)).view(Untrained), "head.weight": head.view(Trained)})
    report = check_trial(tmp_path / "trial")
    (path,) = history_of(report, tmp_path)
    assert (0, 1) == (report.exit_code, check_trial(path).exit_code)
    assert 0 == check_trial(path, exclude_regex="base").exit_code


# Cost


@pytest.mark.slow
def test_time_and_memory_grow_with_the_rows(tmp_path: Path) -> None:
    """Four times as many rows take about four times as long, also where every tenth line is broken or a repetition."""
    seconds, path = [], tmp_path / "run.jsonl"
    for steps in (200, 800):
        write(
            path,
            *(line(step // 3 * 3, tensor=f"t{t}") if step % 10 else "{" for step in range(steps) for t in range(50)),
        )
        begin = time.process_time()
        report = check_trial(path)
        seconds.append(time.process_time() - begin)
        assert (steps * 5, 2) == (len(report.unreadable), report.exit_code)
    assert seconds[1] < 8 * seconds[0]
