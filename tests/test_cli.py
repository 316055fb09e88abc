"""The command: options, messages, exit codes, files, and what it imports; test_readme.py has whole outputs."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import io
import json
import os
import pty
import re
import shutil
import stat
import struct
import sys
import termios
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

import weight_update_ratio
from tests.conftest import EXIT_CODES, RECORDED, event_file, random_walk, run_python
from tests.reports import check, invoke_command
from weight_update_ratio import WeightUpdateRatio, check_trial
from weight_update_ratio.cli import main

HEALTHY, FROZEN, XGBOOST = (str(RECORDED[name]) for name in ("pytorch_healthy", "pytorch_frozen", "xgboost"))
OPTIONS = "'weight-update-ratio check --help' lists what each option takes."
FILE = "Name a file in a folder that exists and may be written to."
FOLDER = "Pass the folder that the training job wrote to"
ENDINGS = ".jsonl, .csv, .parquet"
ENDING = f"Name a file that ends in {ENDINGS}."
LEAVE = "Leave one of them out."
LONG = "x" * 300


@pytest.mark.parametrize(("name", "code"), EXIT_CODES.items())
def test_exit_codes(name: str, code: int) -> None:
    """A verdict on stdout; where it could not be judged, the reason on stderr; of JSON one strict document."""
    problem = check_trial(RECORDED[name]).problem
    errors = f"Error: {problem}\n" if code == 2 else ""
    done, text, said = check(RECORDED[name])
    assert (code, errors) == (done, said)
    assert text.startswith(("OK ", "FIRED ", "NOT JUDGED ")[code])
    assert problem is None or problem.message not in text
    done, text, said = check(RECORDED[name], "--format", "json")
    assert (code, errors) == (done, said)
    document = json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is not JSON"))
    assert (code == 1, code != 2) == (document["fired"], document["complete"])


@pytest.mark.parametrize(
    ("arguments", "message", "remedy"),
    [
        ("trial --num-steps 0", "'num_steps' must be a whole number >= 1 or None (got '0')", OPTIONS),
        ("trial --end-step 5 --start-step 5", "'end_step' must be a whole number > 'start_step' 5 or None", ""),
        ("trial --history rows.txt", f"'--history' must end in {ENDINGS} (got 'rows.txt')", ENDING),
        ("trial --output /dev/full", "'/dev/full' cannot be written: No space left on device", FILE),
        ("trial --history full.csv", "'full.csv' cannot be written: No space left on device", FILE),
        ("trial --output /proc/report", "'/proc/report' cannot be written: No such file or directory", FILE),
        (f"trial --output {LONG}", f"'{LONG}' cannot be written: File name too long", FILE),
        ("trial --tensorboard file/logs", "'file/logs' cannot be written: Not a directory", "Name a folder that may"),
        ("trial --timeout 5", "'--timeout' needs '--follow'", "Add --follow, or leave --timeout out."),
        ("trial --fail-fast", "'--fail-fast' needs '--follow'", "Add --follow, or leave --fail-fast out."),
        ("trial --follow --dask tcp://localhost:1", "'--follow' and '--dask' exclude each other", LEAVE),
        ("trial --verbose --quiet", "'--verbose' and '--quiet' exclude each other", LEAVE),
        ("trial --verbose --format json", "'--verbose' and '--format json' exclude each other", LEAVE),
        # A link to a file is that file; a folder that is not there is found before a job is followed for hours.
        ("trial --output a --save-baseline link", "'--output' and '--save-baseline' name the same file ('link')", ""),
        ("run.jsonl --history run.jsonl", "'TRIAL' and '--history' name the same file ('run.jsonl')", ""),
        ("trial --baseline b.jsonl --output b.jsonl", "'--baseline' and '--output' name the same file", ""),
        ("trial --save-baseline good.jsonl", "'--save-baseline' must not end in .jsonl", "Name a file that ends in"),
        ("nowhere --follow --timeout 1 --html /x/y", "'/x/y' cannot be written: No such file or directory", FILE),
        (".", "the folder '.' is not a trial: it has neither 'collections' nor 'index'", FOLDER),
        ("file", "the trial folder 'file' is a file, not a trial folder", FOLDER),
        ("a\x1b[31mb", "the trial folder 'a\\x1b[31mb' does not exist", FOLDER),  # is shown, not obeyed
    ],
)
def test_messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: str, message: str, remedy: str) -> None:
    """What is wrong and one remedy, exit code 2, nothing on stdout and no new file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "full.csv").symlink_to("/dev/full")
    (tmp_path / "trial").symlink_to(HEALTHY)
    code, text, said = check(*arguments.split())
    assert (2, "") == (code, text)
    wrong, empty, right, end = said.split("\n")
    assert wrong.startswith(f"Error: {message}")
    assert right.startswith(remedy)
    assert ("", ".", "") == (empty, right[-1:], end)
    assert ["file", "full.csv", "link", "trial"] == sorted(os.listdir(tmp_path))


@pytest.mark.parametrize("more", [["--quiet"], ["--output", "r"], ["--format", "json"], ["--format", "github"]])
def test_a_problem_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, said = check(XGBOOST, *more)
    assert (2, f"Error: {check_trial(XGBOOST).problem}\n") == (code, said)


@pytest.mark.parametrize("arguments", [["--format", "xml"], ["--start-step", "-1"], ["--no-such"], []])
def test_what_click_refuses(arguments: list[str]) -> None:
    code, _, said = check(*arguments)
    assert 2 == code
    assert re.search(r"^Try 'main check (--help|-h)' for help\.$", said, re.MULTILINE)


@pytest.mark.parametrize("more", [["--quiet"], ["--output", "r"], []])
def test_records_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[str]) -> None:
    """Where the report is not on stdout, stderr says how many they are, and which is the first."""
    trial = Path(shutil.copytree(HEALTHY, tmp_path / "trial"))
    os.truncate(event_file(trial, 3), 100)
    monkeypatch.chdir(tmp_path)
    code, text, said = check(trial, *more)
    assert (2, bool(more)) == (code, not text)
    message = (
        "Error: 4 records could not be read; of the rest, all 68 update-to-weight ratios are within 1e-08 to 10; "
        "the first: tensor"
    )
    assert said.startswith(message if more else "")
    assert ("\n\nRestore the trial's files" in said) == bool(more)


@pytest.mark.parametrize("name", ["pytorch_killed", "pytorch_healthy"])
def test_a_job_that_has_not_ended(name: str) -> None:
    """Every format says so, and the exit code is as it would be; of a job that has ended none does."""
    killed = name == "pytorch_killed"
    for style in ("text", "markdown", "junit", "github"):
        code, text, _ = check(RECORDED[name], "--format", style)
        assert (0, killed) == (code, "the job has not ended" in " ".join(text.split())), style
    assert killed != json.loads(check(RECORDED[name], "--format", "json")[1])["job_ended"]
    assert killed == ("the job has not ended" in check_trial(RECORDED[name])._repr_html_())


def test_json_where_there_is_no_trial() -> None:
    """The keys of any other report, empty, with the problem; the message is on stderr too."""
    code, text, said = check("nosuch", "--format", "json", "--num-steps", "3")
    document = json.loads(text)
    assert list(json.loads(check_trial(HEALTHY).to_json())) == list(document)
    assert {"fired": False, "complete": False, "mode": None, "violations": []}.items() <= document.items()
    assert ({0}, 3) == (set(document["counts"].values()), document["parameters"]["num_steps"])
    assert "the trial folder 'nosuch' does not exist" == document["problem"]["text"]
    assert (2, f"Error: {document['problem']['text']}\n\n{document['problem']['remedy']}\n") == (code, said)


def test_strict_counts_what_is_only_a_note(write_trial: Any) -> None:
    """A tensor that begins at zero is no fault."""
    weights = {"walks": random_walk(seed=1), "begins": lambda step: random_walk()(step) * (step > 0)}
    trial = write_trial(weights, steps=12).path
    for strict, expected in ((False, 0), (True, 1)):
        code, document, _ = check(trial, "--format", "json", *["--strict"] * strict)
        found = json.loads(document)
        assert (expected, "note", 1) == (code, found["findings"][0]["severity"], found["fired_steps"]["count"])


def test_every_option_reaches_the_check(write_trial: Any) -> None:
    """Each changes what is judged as check_trial's argument does."""
    names = ("a/w", "b/w", "b/bias", "c/w", "d")
    walks = {
        name: (lambda step, seed=seed: 1 + np.random.default_rng(seed).normal(0, 0.01, (12, 3)).cumsum(0)[step])
        for seed, name in enumerate(names)
    }
    trial = write_trial(walks, steps=12, collections={"weights": ["a/w"], "others": names[1:]})
    arguments: dict[str, Any] = {
        "num_steps": 3,
        "large_threshold": 0.02,
        "small_threshold": 0.001,
        "epsilon": 0.5,
        "collection_names": "weights,others",
        "tensor_regex": "/w,/bias",
        "exclude_regex": "bias,c",
        "patience": 2,
        "baseline_factor": 1.5,
        "start_step": 4,
        "end_step": 9,
    }
    options = [part for name, value in arguments.items() for part in ("--" + name.replace("_", "-"), value)]
    expected = check_trial(trial.path, **arguments)
    assert expected.to_json() + "\n" == check(trial.path, "--format", "json", *options)[1]
    assert ({"a/w", "b/w"}, 10) == (set(expected.tensors), len(expected))


def test_version_and_help() -> None:
    assert f"weight-update-ratio, version {weight_update_ratio.__version__}\n" == invoke_command("--version").stdout
    for arguments in (["-h"], ["check", "--help"]):
        assert "Judge the recorded trial folder TRIAL: a path," in " ".join(invoke_command(*arguments).stdout.split())


@pytest.mark.parametrize(
    "more", [[], ["--format", "json"], ["--verbose"], ["--quiet"], ["--quiet", "--format", "json"]], ids=" ".join
)
def test_output_is_the_file_that_stdout_would_be(tmp_path: Path, more: list[str]) -> None:
    """With --quiet there is nothing on stdout either way."""
    printed = check(FROZEN, *more)
    written = check(FROZEN, *more, "--output", tmp_path / "report")
    assert ((1, "" if "--quiet" in more else printed[1], ""), (1, "", "")) == (printed, written)
    expected = check(FROZEN, *(option for option in more if option != "--quiet"))[1]
    assert expected.rstrip("\n") == (tmp_path / "report").read_text("utf-8").rstrip("\n") != ""
    assert ["report"] == os.listdir(tmp_path)


class TestFiles:
    @pytest.mark.parametrize(
        ("option", "file"),
        [
            ("--output", "report.txt"),
            ("--history", "rows.csv"),
            ("--history", "rows.jsonl"),
            ("--history", "rows.parquet"),
            ("--html", "page.html"),
            ("--save-baseline", "baseline.json"),
            ("--tensorboard", "."),
            ("the rule's report_dir", "."),
        ],
    )
    def test_permissions(self, request: pytest.FixtureRequest, tmp_path: Path, option: str, file: str) -> None:
        """What the umask leaves."""
        before = os.umask(0o027)
        request.addfinalizer(lambda: os.umask(before))
        if option.startswith("--"):
            assert (0, "", "") == check(HEALTHY, "--quiet", option, tmp_path / file)
        else:
            assert WeightUpdateRatio(FROZEN, report_dir=tmp_path).invoke_at_step(1)
        (path,) = tmp_path.iterdir()
        assert path.stat().st_size > 100
        assert 0o640 == stat.S_IMODE(path.stat().st_mode)

    def test_a_link_stays_a_link(self, tmp_path: Path) -> None:
        """The file that it leads to is replaced."""
        (tmp_path / "link").symlink_to("target")
        (tmp_path / "target").write_text("old")
        check(HEALTHY, "--output", tmp_path / "link")
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "target").read_text().startswith("OK ")

    def test_a_pipe_is_written_to(self, tmp_path: Path) -> None:
        """A named pipe is not replaced by a file."""
        os.mkfifo(tmp_path / "pipe")
        with open(os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)) as reading:
            assert 0 == check(HEALTHY, "--output", tmp_path / "pipe")[0]
            assert reading.read().startswith("OK ")

    @pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
    def test_history(self, tmp_path: Path, ending: str) -> None:
        """Every comparison, and every digit of it, in each format."""
        file = tmp_path / f"rows.{ending}"
        trial = RECORDED["pytorch_exploding"]
        assert (1, "", "") == check(trial, "--history", file, "--quiet")
        if ending == "parquet":
            rows = pandas.read_parquet(file).to_dict("records")
        else:
            lines = file.read_text().splitlines()
            rows = list(map(json.loads, lines) if ending == "jsonl" else csv.DictReader(lines))
        expected = check_trial(trial).comparisons()
        assert {tuple(expected.columns)} == {tuple(row) for row in rows}
        expected_rows = expected.itertuples(index=False, name=None)
        assert [tuple(map(str, row)) for row in expected_rows] == [tuple(map(str, row.values())) for row in rows]

    def test_csv_without_formulas(self, tmp_path: Path, trial_writer: Any) -> None:
        """A name that a spreadsheet would run gets an apostrophe; numbers, and other names, stay as they are."""
        names = ["=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "\n=1", "a=1", "'b"]
        writer = trial_writer().collections({"weights": names}, workers=["=w", "w"])
        for step in (-1, 0):  # smdebug's hooks begin with -1
            for worker in ("=w", "w"):
                writer.save(step + 1, {name: [5.0 + step] for name in names}, "TRAIN", step, worker)
        check(writer.path, "--history", tmp_path / "rows.csv")
        rows = list(csv.DictReader(io.StringIO((tmp_path / "rows.csv").read_bytes().decode(), newline="")))
        assert [f"'{name}" for name in names[:7]] + names[7:] == [row["tensor"] for row in rows[: len(names)]]
        assert {"'=w", "w"} == {row["worker"] for row in rows}
        assert {("0", "-1")} == {(row["step"], row["reference_step"]) for row in rows}


def in_terminal(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str, str]:
    """Return the exit code, and what stdout and stderr showed as terminals of their own, of 70 columns."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("COLUMNS", raising=False)
    ends = [pty.openpty() for _ in range(2)]
    with contextlib.ExitStack() as stack:
        for name, (_, slave) in zip(("stdout", "stderr"), ends):
            fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 70, 0, 0))
            monkeypatch.setattr(sys, name, stack.enter_context(open(slave, "w", encoding="utf-8")))
        with pytest.raises(SystemExit) as caught:
            main(arguments)
    shown = [b"", b""]
    for number, (master, _) in enumerate(ends):
        with contextlib.suppress(OSError):  # so Linux says that nobody has the terminal any more
            while True:
                shown[number] += os.read(master, 65536)
        os.close(master)
    return int(caught.value.code or 0), shown[0].decode(), shown[1].decode()


class TestTerminal:
    def test_colours_width_and_a_progress_bar(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A terminal gets the verdict in colour, lines of its width, and a bar on stderr that goes when done."""
        monkeypatch.delenv("NO_COLOR", raising=False)
        code, out, errors = in_terminal(monkeypatch, "check", FROZEN)
        assert 1 == code
        assert "\x1b[1;31mFIRED\x1b[0m" in out
        lines = re.sub(r"\x1b\[[0-9;]*m|\r", "", out).split("\n")
        assert 60 < max(map(len, lines[2:])) <= 70
        assert "checking" in errors
        assert errors.rstrip("\r\n").endswith("\x1b[2K")

    def test_no_color(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NO_COLOR", "1")
        out = in_terminal(monkeypatch, "check", FROZEN)[1]
        assert out.startswith("FIRED")
        assert "\x1b" not in out

    def test_quiet_shows_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert (1, "", "") == in_terminal(monkeypatch, "check", FROZEN, "--quiet")

    def test_what_the_encoding_cannot_say(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Lines become dashes, bars their heights, names escapes, and nothing fails."""
        raw = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
        with pytest.raises(SystemExit):
            main(["check", FROZEN, "--verbose"])
        text = raw.getvalue().decode("ascii")
        assert "\n------" in text
        assert re.search(r"TinyNet_fc1.weight +.* [1-8]{19}\n", text)

    def test_stdout_that_fails(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        """The report was not written, so nothing was judged."""
        full = open("/dev/full", "w")  # noqa: SIM115  (what is left in its buffer fails again when it is closed)
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(SystemExit) as caught:
            main(["check", HEALTHY])
        with contextlib.suppress(OSError):
            full.close()
        assert 2 == caught.value.code
        expected = (
            "Error: the report cannot be written to stdout: No space left on device\n\n"
            "Write it elsewhere with --output.\n"
        )
        assert expected == capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["--help"], set()),
        (["check", "--help"], set()),
        (["rule-source"], set()),
        (["rule-config", "--source", "s3://b/rule.py", "--output-path", "s3://b/t", "--image-uri", "image"], set()),
        (["check", HEALTHY], {"numpy", "rich"}),
        (["check", HEALTHY, "--format", "json"], {"numpy"}),
    ],
    ids=["--help", "check --help", "rule-source", "rule-config", "check", "check --format json"],
)
def test_it_imports_only_what_it_needs(arguments: list[str], heavy: set[str]) -> None:
    """Help answers at once; a check loads neither smdebug, which takes seconds, nor pandas or boto3."""
    done = run_python("-X", "importtime", "-m", "weight_update_ratio", *arguments)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    known = {"smdebug", "torch", "tensorflow", "pandas", "boto3", "botocore", "pyarrow", "numpy", "rich", "sagemaker"}
    assert heavy == loaded & known
