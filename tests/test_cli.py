"""The command, mostly in processes of its own: what it prints, writes and imports, and its exit codes."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import io
import json
import math
import os
import pty
import re
import shutil
import signal
import stat
import struct
import subprocess
import sys
import termios
import threading
import time
import traceback
from pathlib import Path
from typing import Any, Callable, Iterator

import numpy as np
import pytest
from click.testing import CliRunner

import weight_update_ratio
from tests.conftest import (
    EXIT_CODES,
    RECORDED,
    REPOSITORY,
    assert_same_comparisons,
    event_file,
    needs_writing,
    random_walk,
    recorded_truth,
    run_command,
)
from tests.processes import narrow_fifo, wait_until, wait_until_written
from tests.reports import invoke_command, made_report
from tests.sick_runs import resnet_names
from weight_update_ratio import check_trial
from weight_update_ratio.cli import main
from weight_update_ratio.render.history_files import write_csv
from weight_update_ratio.render.tensorboard import FILE_NAME

HEALTHY, FROZEN = RECORDED["pytorch_healthy"], RECORDED["pytorch_frozen"]


def functions_of(thread: int) -> set[str]:
    """Return the names of the functions that a thread is in."""
    return {frame.f_code.co_name for frame, _ in traceback.walk_stack(sys._current_frames()[thread])}


def run_here(*arguments: Any) -> Any:
    """Run the command in this process."""
    return CliRunner().invoke(main, list(map(str, arguments)))


class TestExitCodes:
    @pytest.mark.parametrize(("name", "code"), EXIT_CODES.items())
    def test_recorded_trials(self, name: str, code: int) -> None:
        """0 nothing fired, 1 the rule fired, 2 it could not be judged: a verdict on stdout, an error on stderr."""
        done = run_command("check", RECORDED[name])
        assert code == done.returncode
        assert done.stdout.startswith(("OK ", "FIRED ", "NOT JUDGED ")[code])
        assert_message_and_remedy(done.stderr) if code == 2 else assert_nothing(done.stderr)

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--num-steps", "0"], "'num_steps' must be a whole number >= 1 or None (got '0')"),
            (["--large-threshold", "abc"], "'large_threshold' must be a finite number (got 'abc')"),
            (["--small-threshold", "11"], "'large_threshold' must be greater than 'small_threshold'"),
            (["--epsilon", "0"], "'epsilon' must be > 0 (got '0')"),
            (["--tensor-regex", "("], "'tensor_regex' must hold patterns that compile (got '('"),
            (["--start-step", "5", "--end-step", "5"], "'end_step' must be a whole number > 'start_step' 5"),
            (["--history", "rows.txt"], "'--history' must end in .jsonl, .csv, .parquet (got 'rows.txt')"),
            (["--output", "/no/such/folder/report"], "'/no/such/folder/report' cannot be written: No such file"),
            (["--history", "/no/such/folder/rows.csv"], "'/no/such/folder/rows.csv' cannot be written: No such file"),
            (["--output", "/dev/full"], "'/dev/full' cannot be written: No space left on device"),
            (["--quiet", "--collection-names", "nothing"], "no tensor of the collection 'nothing' was saved"),
            (["--quiet", "--end-step", "1"], "there is nothing to compare"),
            (["--timeout", "5"], "'--timeout' needs '--follow'"),
            (["--fail-fast"], "'--fail-fast' needs '--follow'"),
            (["--verbose", "--quiet"], "'--verbose' and '--quiet' exclude each other"),
            (["--verbose", "--format", "json"], "'--verbose' and '--format json' exclude each other"),
        ],
    )
    def test_what_cannot_be_judged(self, arguments: list[str], words: str) -> None:
        """Bad arguments, files that cannot be written, nothing to compare: 2, and said."""
        done = run_command("check", HEALTHY, *arguments)
        assert (2, True) == (done.returncode, words in done.stderr)
        assert_message_and_remedy(done.stderr)

    @pytest.mark.parametrize("arguments", [["--format", "xml"], ["--start-step", "-1"], ["--no-such"], ["a", "b"], []])
    def test_what_click_refuses(self, arguments: list[str]) -> None:
        """Usage errors end with 2 as well."""
        done = run_command("check", *arguments)
        assert 2 == done.returncode
        assert re.search(r"^Try 'weight-update-ratio check (--help|-h)' for help\.$", done.stderr, re.MULTILINE)

    def test_no_trial(self, tmp_path: Path) -> None:
        """An empty folder, a path that is not there, a file."""
        for path, words in (
            (tmp_path, "is not a trial: it has neither 'collections' nor 'index'"),
            (tmp_path / "nowhere", "does not exist"),
            (__file__, "is a file, not a trial folder"),
            ("", "the trial folder '' does not exist"),
        ):
            done = run_command("check", path)
            assert (2, "", True) == (done.returncode, done.stdout, words in done.stderr)
            assert_message_and_remedy(done.stderr)

    def test_unreadable_and_nothing_fired(self, write_trial: Any) -> None:
        """What could not be read does not pass, and a violation elsewhere still counts."""
        trial = write_trial({"w": random_walk()}, steps=4)
        event_file(trial.path, 3).write_bytes(b"")
        done = run_command("check", trial.path)
        assert 2 == done.returncode
        assert done.stdout.startswith("NOT JUDGED")
        assert "1 record could not be read" in done.stdout
        assert 1 == run_command("check", trial.path, "--large-threshold", "0.000001").returncode

    def test_a_reader_that_goes_away_changes_no_verdict(self) -> None:
        """A closed pipe is not a violation, and gives no traceback."""
        read, write = os.pipe()
        os.close(read)
        command = [sys.executable, "-m", "weight_update_ratio", "check", str(HEALTHY)]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, env=environment, timeout=60)
        os.close(write)
        assert done.returncode != 1
        assert b"Traceback" not in done.stderr

    def test_a_full_disk_is_no_violation(self) -> None:
        """The report was not written, so nothing was judged."""
        with open("/dev/full", "w") as full:
            command = [sys.executable, "-m", "weight_update_ratio", "check", str(HEALTHY)]
            environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env=environment, timeout=60)
        assert 2 == done.returncode
        assert_message_and_remedy(done.stderr.decode())

    def test_an_interrupt_is_no_violation(self, tmp_path: Path) -> None:
        """Ctrl-C ends it with 2: it was not judged."""
        fifo = tmp_path / "history.csv"  # the history is larger: the command waits until somebody reads it
        command = [sys.executable, "-m", "weight_update_ratio", "check", str(HEALTHY), "--history", str(fifo)]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        with narrow_fifo(fifo) as reading:
            process = subprocess.Popen(command, stderr=subprocess.PIPE, env=environment, encoding="utf-8")
            try:
                wait_until_written(reading)
                process.send_signal(signal.SIGINT)
                _, errors = process.communicate(timeout=60)
            finally:
                process.kill()
        assert 2 == process.returncode
        assert "interrupted before the trial was judged" in errors

    @pytest.mark.parametrize("name", ["xgboost", "pytorch_reductions_only"])
    @pytest.mark.parametrize("more", [[], ["--quiet"], ["--output", "r"], ["--format", "json"], ["--format", "github"]])
    def test_a_problem_is_said_once(self, tmp_path: Path, name: str, more: list[str]) -> None:
        """On stderr, with the remedy; text on stdout has the verdict and the counts."""
        done = run_command("check", RECORDED[name], *more, cwd=tmp_path)
        problem = check_trial(RECORDED[name]).problem
        assert problem is not None
        assert 2 == done.returncode
        assert f"Error: {problem}\n" == done.stderr
        if not more:
            assert done.stdout.startswith(f"NOT JUDGED  {RECORDED[name]}\n")
            assert problem.message not in done.stdout


@pytest.mark.parametrize("name", ["pytorch_killed", "pytorch_healthy"])
def test_a_job_that_has_not_ended(name: str) -> None:
    """Every format says so, and the exit code is as it would be; of a job that has ended none does."""
    killed = name == "pytorch_killed"
    for style in ("text", "markdown", "junit", "github"):
        done = run_command("check", RECORDED[name], "--format", style)
        assert (0, killed) == (done.returncode, "the job has not ended" in done.stdout), style
    assert killed != json.loads(run_command("check", RECORDED[name], "--format", "json").stdout)["job_ended"]
    assert killed == ("the job has not ended" in check_trial(RECORDED[name])._repr_html_())


def test_a_folder_that_is_not_there_is_found_before_the_trial_is_judged() -> None:
    """A job is not followed for hours to find that."""
    for option in ("--output", "--history", "--html"):
        done = invoke_command("check", "nowhere", option, "/no/such/folder/file.csv", "--follow")
        assert 2 == done.exit_code
        assert "Error: '/no/such/folder/file.csv' cannot be written: No such file or directory\n\n" in done.stderr


def test_exclude_regex() -> None:
    """As an option."""
    done = run_command("check", RECORDED["pytorch_frozen"], "--exclude-regex", "conv,bn", "--format", "json")
    assert (0, 38) == (done.returncode, json.loads(done.stdout)["counts"]["comparisons"])


@pytest.mark.parametrize("more", [["--quiet"], ["--output", "r"], []])
def test_records_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[str]) -> None:
    """Where the report is not on stdout, stderr says how many they are, and which is the first."""
    trial = Path(shutil.copytree(RECORDED["pytorch_healthy"], tmp_path / "trial"))
    file = event_file(trial, 3)
    os.truncate(file, 100)
    monkeypatch.chdir(tmp_path)
    done = invoke_command("check", str(trial), *more)
    assert 2 == done.exit_code
    message = (
        "Error: 4 records could not be read; of the rest, all 68 update-to-weight ratios are within 1e-08 to 10; "
        "the first: tensor"
    )
    assert done.stderr.startswith(message if more else "")
    assert ("\n\nRestore the trial's files" in done.stderr) == bool(more) == (not done.stdout)


def assert_message_and_remedy(errors: str) -> None:
    message, empty, remedy, end = errors.split("\n")
    assert message.startswith("Error: ")
    assert ("", "") == (empty, end)
    assert remedy.endswith((".", "takes.", "written."))


def assert_nothing(errors: str) -> None:
    assert "" == errors


class TestOutput:
    def test_text(self) -> None:
        """The whole text of a trial with a frozen layer."""
        done = run_command("check", os.path.relpath(FROZEN, REPOSITORY), cwd=REPOSITORY)
        expected = """\
FIRED  examples/trials/pytorch_frozen: 19 of 76 update-to-weight ratios are violations

1. Frozen: TinyNet_conv1.weight never moved, while others did: ratio 0 at TRAIN steps 1-19 (19
   comparisons).
   Give it to the optimizer, with requires_grad (trainable) on, and look whether a gradient reaches
   it (dead units, detach, not used); where this tensor is frozen on purpose, leave it out by
   exclude_regex or judge against a baseline.

Median ratio 6.2e-03, 90% are within 0 to 2.3e-02
20 TRAIN steps, 4 tensors, 1 worker, 76 comparisons, 19 violations, 0 skipped, 0 unreadable
"""
        assert expected == done.stdout

    @pytest.mark.parametrize("name", sorted(RECORDED))
    def test_json_alone_on_stdout(self, name: str) -> None:
        """Whatever the verdict, stdout is one strict JSON document."""
        done = run_command("check", RECORDED[name], "--format", "json")
        document = json.loads(done.stdout, parse_constant=lambda constant: pytest.fail(f"{constant} is not JSON"))
        assert len(recorded_truth(name)) == document["counts"]["comparisons"]
        assert {0: (False, True), 1: (True, True), 2: (False, False)}[done.returncode] == (
            document["fired"],
            document["complete"],
        )

    def test_verbose(self, tmp_path: Path) -> None:
        """A row a tensor, on stdout and in a file."""
        done = run_command("check", HEALTHY, "--verbose")
        assert 4 == sum(line.startswith("TinyNet_") for line in done.stdout.splitlines())
        run_command("check", HEALTHY, "--verbose", "--output", tmp_path / "report.txt")
        assert done.stdout == (tmp_path / "report.txt").read_text("utf-8")
        for option in (["--quiet"], ["--format", "markdown"]):
            assert "exclude each other" in invoke_command("check", str(HEALTHY), "--verbose", *option).stderr

    def test_quiet(self) -> None:
        """The exit code tells; errors are still said."""
        assert (1, "", "") == (lambda d: (d.returncode, d.stdout, d.stderr))(run_command("check", FROZEN, "--quiet"))
        done = run_command("check", RECORDED["xgboost"], "--quiet")
        assert (2, "") == (done.returncode, done.stdout)
        assert_message_and_remedy(done.stderr)

    @pytest.mark.parametrize("style", ["text", "json"])
    def test_output_to_a_file(self, tmp_path: Path, style: str) -> None:
        """The file holds what stdout would have, and stdout nothing."""
        printed = run_command("check", FROZEN, "--format", style)
        written = run_command("check", FROZEN, "--format", style, "--output", tmp_path / "report")
        assert (1, "") == (written.returncode, written.stdout)
        assert printed.stdout.rstrip("\n") == (tmp_path / "report").read_text("utf-8").rstrip("\n")
        assert ["report"] == os.listdir(tmp_path)

    def test_text_where_only_ascii_can_be_printed(self) -> None:
        """Lines become dashes, bars their heights, names escapes, and nothing fails."""
        done = run_command("check", FROZEN, "--verbose", env={"PYTHONIOENCODING": "ascii"})
        assert (1, True) == (done.returncode, done.stdout.isascii())
        assert "\n-----" in done.stdout
        assert re.search(r"TinyNet_fc1.weight +.* [1-8]{19}\n", done.stdout)

    def test_names_from_a_trial_cannot_command_the_terminal(self, write_trial: Any) -> None:
        """Control characters and markup are shown, not obeyed."""
        trial = write_trial({"\x1b[2J[red]w[/red]\x07": [1.0, 100.0]})
        done = run_command("check", trial.path)
        assert "\\x1b[2J[red]w[/red]\\x07" in done.stdout
        assert "\x1b" not in done.stdout

    def test_an_error_with_control_characters(self) -> None:
        """A path is shown, not obeyed."""
        assert "'a\\x1b[31mb' does not exist" in run_command("check", "a\x1b[31mb").stderr.replace("\\\\", "\\")


class TestFiles:
    def test_a_link_stays_a_link(self, tmp_path: Path) -> None:
        """The file that it leads to is replaced."""
        (tmp_path / "link").symlink_to("target")
        (tmp_path / "target").write_text("old")
        run_command("check", HEALTHY, "--output", tmp_path / "link")
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "target").read_text().startswith("OK ")

    def test_a_pipe_is_written_to(self, tmp_path: Path) -> None:
        """A named pipe is not replaced by a file."""
        os.mkfifo(tmp_path / "pipe")
        read: list[str] = []
        reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_text()))
        reader.start()
        done = run_here("check", HEALTHY, "--output", tmp_path / "pipe")
        reader.join(30)
        assert 0 == done.exit_code
        assert read[0].startswith("OK ")
        assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)

    def test_permissions_are_those_of_any_new_file(self, tmp_path: Path) -> None:
        """The umask gives them."""
        run_here("check", HEALTHY, "--output", tmp_path / "report")
        (tmp_path / "other").touch()
        assert (tmp_path / "other").stat().st_mode == (tmp_path / "report").stat().st_mode

    @pytest.mark.parametrize("permissions", [0o600, 0o666, 0o444])
    def test_a_file_keeps_its_permissions(self, tmp_path: Path, permissions: int) -> None:
        """A file that is replaced stays as private, or as public, as it was."""
        (tmp_path / "report").touch()
        (tmp_path / "report").chmod(permissions)
        assert 0 == run_here("check", HEALTHY, "--output", tmp_path / "report").exit_code
        assert (tmp_path / "report").read_text().startswith("OK ")
        assert permissions == stat.S_IMODE((tmp_path / "report").stat().st_mode)

    def test_a_failure_leaves_no_half_file(self, tmp_path: Path) -> None:
        """Neither under its name nor under a temporary one."""
        (tmp_path / "folder").mkdir()
        done = run_here("check", HEALTHY, "--history", tmp_path / "folder" / ("x" * 300 + ".csv"))
        assert (2, []) == (done.exit_code, os.listdir(tmp_path / "folder"))

    @pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
    def test_history(self, tmp_path: Path, ending: str) -> None:
        """Every comparison, and every digit of it, in each format."""
        name = "pytorch_exploding"
        done = run_command("check", RECORDED[name], "--history", tmp_path / f"rows.{ending}", "--quiet")
        assert (1, "", "") == (done.returncode, done.stdout, done.stderr)
        rows = list(read_history(tmp_path / f"rows.{ending}"))
        expected = [tuple(row) for row in check_trial(RECORDED[name])]
        assert [tuple(map(str, row)) for row in expected] == [tuple(map(str, row.values())) for row in rows]
        found = {(r["tensor"], r["worker"], int(r["step"])): r for r in rows}
        triples = {k: (r["mode"], int(r["reference_step"]), float(r["ratio"])) for k, r in found.items()}
        assert_same_comparisons(recorded_truth(name), triples)

    def test_parquet_without_pyarrow(self, tmp_path: Path) -> None:
        """The error says what to install."""
        blocked = "import sys; sys.modules['pyarrow'] = None; from weight_update_ratio.cli import main; main()"
        command = [sys.executable, "-c", blocked, "check", str(HEALTHY), "--history", str(tmp_path / "rows.parquet")]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        done = subprocess.run(command, capture_output=True, encoding="utf-8", env=environment, timeout=60)
        expected = (
            "Error: '--history' needs pyarrow, which is not installed\n\npip install 'weight-update-ratio[parquet]'\n"
        )
        assert (2, expected) == (done.returncode, done.stderr)

    def test_history_and_output_together(self, tmp_path: Path) -> None:
        """Both are written, and the verdict is the exit code."""
        done = run_here(
            "check", FROZEN, "--history", tmp_path / "h.csv", "--output", tmp_path / "o", "--format", "json"
        )
        assert (1, ["h.csv", "o"]) == (done.exit_code, sorted(os.listdir(tmp_path)))


def read_history(path: Path) -> Iterator[dict[str, Any]]:
    if path.suffix == ".jsonl":
        yield from map(json.loads, path.read_text().splitlines())
    elif path.suffix == ".csv":
        with path.open(newline="") as file:
            yield from csv.DictReader(file)
    else:
        import pandas

        yield from pandas.read_parquet(path).to_dict("records")


class TestOptions:
    def test_every_option_reaches_the_check(self, write_trial: Any) -> None:
        """Each changes what is judged as check_trial's argument does."""
        trial = write_trial(
            {"a/w": random_walk(), "b/w": random_walk(seed=1), "c": random_walk(seed=2)},
            steps=12,
            collections={"weights": ["a/w"], "others": ["b/w", "c"]},
        )
        arguments = {
            "num_steps": 3,
            "large_threshold": 0.02,
            "small_threshold": 0.001,
            "epsilon": 0.5,
            "collection_names": "weights,others",
            "tensor_regex": "/w",
            "exclude_regex": None,
            "start_step": 4,
            "end_step": 9,
        }
        options = [part for name, value in arguments.items() for part in ("--" + name.replace("_", "-"), value)]
        done = run_here("check", trial.path, "--format", "json", *options)
        expected = check_trial(trial.path, **arguments)  # type: ignore[arg-type]
        assert json.loads(expected.to_json()) == {**json.loads(done.stdout), "trial": str(trial.path)}
        assert 10 == expected.counts["comparisons"]

    def test_version(self) -> None:
        """The package's."""
        assert f"weight-update-ratio, version {weight_update_ratio.__version__}\n" == run_here("--version").output

    @pytest.mark.parametrize("option", ["-h", "--help"])
    def test_help(self, option: str) -> None:
        """Both commands explain themselves."""
        assert "check Judge the recorded trial folder TRIAL: a path," in " ".join(run_here(option).output.split())
        assert "--large-threshold X" in run_here("check", option).output
        assert "an S3 URI such as s3://bucket/job/trial." in " ".join(run_here("check", option).output.split())


class TestTerminal:
    def run_in_terminal(self, *arguments: Any, columns: int = 70, **environment: str) -> tuple[int, str, str]:
        """Return the exit code, and what stdout and stderr showed as terminals of their own."""
        ends = [pty.openpty() for _ in range(2)]
        for _, slave in ends:
            fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        command = [sys.executable, "-m", "weight_update_ratio", *map(str, arguments)]
        variables = {**os.environ, "PYTHONPATH": str(REPOSITORY), "TERM": "xterm", **environment}
        variables.pop("COLUMNS", None)
        process = subprocess.Popen(command, stdout=ends[0][1], stderr=ends[1][1], env=variables)
        shown: list[bytes] = [b"", b""]

        def read(number: int) -> None:
            with contextlib.suppress(OSError):  # so Linux says that nobody has the terminal any more
                while True:
                    shown[number] += os.read(ends[number][0], 65536)

        readers = [threading.Thread(target=read, args=(number,)) for number in range(2)]
        for _, slave in ends:
            os.close(slave)
        for reader in readers:
            reader.start()
        code = process.wait(60)
        for reader in readers:
            reader.join(10)
        for master, _ in ends:
            os.close(master)
        return code, shown[0].decode(), shown[1].decode()

    def test_colours_width_and_a_progress_bar(self) -> None:
        """A terminal gets the verdict in colour, a table of its width, and a bar on stderr that goes when done."""
        code, out, errors = self.run_in_terminal("check", FROZEN)
        assert 1 == code
        assert "\x1b[1;31mFIRED\x1b[0m" in out
        assert "checking" in errors
        assert errors.rstrip("\r\n").endswith("\x1b[2K")

    @needs_writing
    @pytest.mark.parametrize("columns", [60, 80, 140])
    def test_a_sick_run_fits_into_the_terminal(self, write_trial: Any, columns: int) -> None:
        """161 tensors with six faults: at most 40 lines, none wider than the terminal."""

        def values(name: str) -> Any:
            def at(step: int) -> Any:
                if name.startswith("layer1.1."):
                    return np.ones(3)
                if name.startswith("layer3.0.") and step >= 6:
                    return np.full(3, 100.0) * 1.001**step
                if name.startswith("fc.") and step >= 9:
                    return np.full(3, np.nan)
                late = min(step, 8) if name.startswith("layer4.") else max(step, 2) if "bn" in name else step
                return np.full(3, 1.001**late)

            return at

        trial = write_trial({name: values(name) for name in resnet_names()}, steps=14)
        code, out, _ = self.run_in_terminal("check", trial.path, columns=columns, NO_COLOR="1")
        lines = out.replace("\r", "").rstrip("\n").split("\n")
        assert 1 == code
        assert len(lines) <= 40
        assert max(map(len, lines)) <= columns
        titles = re.findall(r"^\d\. ([A-Z][a-z ]+):", "\n".join(lines), re.MULTILINE)
        assert ["Not finite", "Stopped", "Frozen", "Spike", "Not moving yet"] == list(dict.fromkeys(titles))
        assert "layer1.1.* (9 tensors) never moved" in " ".join(" ".join(lines).split())

    def test_no_color(self) -> None:
        """NO_COLOR is heeded."""
        _, out, _ = self.run_in_terminal("check", FROZEN, NO_COLOR="1")
        assert "\x1b" not in out
        assert "FIRED" in out

    def test_quiet_shows_nothing(self) -> None:
        """Neither report nor bar."""
        assert (1, "", "") == self.run_in_terminal("check", FROZEN, "--quiet")

    def test_in_this_process(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The same with a terminal as this process's stdout and stderr."""
        master, slave = pty.openpty()
        shown: list[bytes] = []

        def read() -> None:
            with contextlib.suppress(OSError):
                while True:
                    shown.append(os.read(master, 65536))

        reader = threading.Thread(target=read)
        reader.start()
        with open(slave, "w", encoding="utf-8") as terminal:
            monkeypatch.setattr(sys, "stdout", terminal)
            monkeypatch.setattr(sys, "stderr", terminal)
            with pytest.raises(SystemExit) as caught:
                main(["check", str(FROZEN)])
        reader.join(10)
        os.close(master)
        assert 1 == caught.value.code
        assert b"FIRED" in b"".join(shown)


class TestInThisProcess:
    def test_stdout_that_fails(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The report was not written, so nothing was judged."""
        full = open("/dev/full", "w")  # noqa: SIM115  (what is left in its buffer fails again when it is closed)
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(SystemExit) as caught:
            main(["check", str(HEALTHY)])
        assert 2 == caught.value.code
        with contextlib.suppress(OSError):
            full.close()

    def test_ascii(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What the encoding cannot say is escaped."""
        raw = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
        with pytest.raises(SystemExit):
            main(["check", str(FROZEN), "--verbose"])
        assert b"\n------" in raw.getvalue()

    def test_an_interrupt(self, tmp_path: Path) -> None:
        """As Ctrl-C sends it to this process."""
        os.mkfifo(tmp_path / "h.csv")
        own = threading.get_ident()

        def interrupt() -> None:
            wait_until(lambda: "write_history" in functions_of(own))
            os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        done = run_here("check", HEALTHY, "--history", tmp_path / "h.csv")
        thread.join()
        assert (2, True) == (done.exit_code, "interrupted before the trial was judged" in done.output)

    def test_output_without_a_report(self, tmp_path: Path) -> None:
        """``--output`` and ``--quiet`` together write the file and print nothing."""
        done = run_here("check", FROZEN, "--quiet", "--output", tmp_path / "report")
        assert (1, "") == (done.exit_code, done.output)
        assert (tmp_path / "report").read_text().startswith("FIRED")

    def test_quiet(self) -> None:
        """The exit code tells."""
        assert (1, "") == (lambda done: (done.exit_code, done.output))(run_here("check", FROZEN, "--quiet"))

    def test_parquet_without_pyarrow(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """The error says what to install."""
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        done = run_here("check", HEALTHY, "--history", tmp_path / "rows.parquet")
        assert (2, True) == (done.exit_code, "pip install 'weight-update-ratio[parquet]'" in done.output)

    def test_parquet(self, tmp_path: Path) -> None:
        """The frame is written."""
        assert 0 == run_here("check", HEALTHY, "--history", tmp_path / "rows.parquet").exit_code
        assert 76 == len(list(read_history(tmp_path / "rows.parquet")))

    @pytest.mark.parametrize("ending", ["csv", "jsonl"])
    def test_other_histories(self, tmp_path: Path, ending: str) -> None:
        """A row a comparison."""
        assert 0 == run_here("check", HEALTHY, "--history", tmp_path / f"rows.{ending}").exit_code
        assert 76 == len(list(read_history(tmp_path / f"rows.{ending}")))

    @pytest.mark.parametrize(
        ("arguments", "code"),
        [
            (["check", HEALTHY], 0),
            (["check", HEALTHY, "--num-steps", "0"], 2),
            (["check", "/no/such/trial"], 2),
            (["check", HEALTHY, "--history", "x"], 2),
            (["check", HEALTHY, "--timeout", "5"], 2),
            (["check", RECORDED["xgboost"]], 2),
        ],
    )
    def test_codes(self, arguments: list[Any], code: int) -> None:
        """As in a process of its own."""
        assert code == run_here(*arguments).exit_code


class TestCost:
    HEAVY = ("smdebug", "torch", "tensorflow", "pandas", "boto3", "botocore", "pyarrow", "numpy", "rich")

    def imported(self, *arguments: Any) -> set[str]:
        """Return which of the heavy packages a command imports."""
        command = [sys.executable, "-X", "importtime", "-m", "weight_update_ratio", *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        done = subprocess.run(command, capture_output=True, encoding="utf-8", env=environment, timeout=60)
        modules = {
            line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")
        }
        return modules & set(self.HEAVY)

    def test_help_imports_nothing_heavy(self) -> None:
        """It answers at once."""
        assert set() == self.imported("--help") | self.imported("check", "--help")

    def test_a_check_imports_only_what_it_needs(self) -> None:
        """Neither smdebug, which takes seconds, nor pandas or boto3."""
        assert {"numpy", "rich"} == self.imported("check", HEALTHY)
        assert {"numpy"} == self.imported("check", HEALTHY, "--format", "json")

    @pytest.mark.parametrize(("arguments", "times"), [(["--help"], 4), (["check", HEALTHY], 12)])
    def test_time(self, arguments: list[Any], times: float) -> None:
        """As often as Python takes to import NumPy, 0.1 s where nothing else runs; each is the best of three."""

        def measured(run: Callable[[], object]) -> float:
            start = time.perf_counter()
            run()
            return time.perf_counter() - start

        numpy = [sys.executable, "-c", "import numpy"]
        shortest = min(measured(lambda: subprocess.run(numpy, check=True)) for _ in range(3))
        assert min(measured(lambda: run_command(*arguments)) for _ in range(3)) < times * shortest


class TestNotInTheMainThread:
    def test_check(self) -> None:
        """No signal reaches another thread; the command runs there too."""
        found: list[int] = []
        thread = threading.Thread(target=lambda: found.append(run_here("check", FROZEN, "--quiet").exit_code))
        thread.start()
        thread.join(60)
        assert [1] == found


class TestOptionsThatExcludeEachOther:
    def test_two_outputs_into_one_file(self, tmp_path: Path) -> None:
        """The second would replace the first; a link to a file is that file."""
        (tmp_path / "link").symlink_to(tmp_path / "out")
        done = run_here("check", FROZEN, "--output", tmp_path / "out", "--save-baseline", tmp_path / "link")
        assert (2, True) == (done.exit_code, "'--output' and '--save-baseline' name the same file" in done.output)
        assert ["link"] == os.listdir(tmp_path)

    def test_follow_and_dask(self) -> None:
        """A job that is still writing is not split into ranges."""
        done = run_here("check", FROZEN, "--follow", "--dask", "tcp://127.0.0.1:1")
        assert (2, True) == (done.exit_code, "'--follow' and '--dask' exclude each other" in done.output)

    def test_a_tensorboard_folder_that_cannot_be_made(self, tmp_path: Path) -> None:
        """One message, and exit code 2."""
        (tmp_path / "file").touch()
        done = run_here("check", FROZEN, "--tensorboard", tmp_path / "file" / "logs")
        assert (2, True) == (done.exit_code, "cannot be written" in done.output)


class TestNoTrial:
    @pytest.mark.parametrize("to_file", [False, True])
    def test_json(self, tmp_path: Path, to_file: bool) -> None:
        """The keys of any other report, empty, with the problem; the message is on stderr too."""
        output = ["--output", tmp_path / "r.json"] if to_file else []
        done = run_command("check", "nosuch", "--format", "json", "--num-steps", "3", *output)
        document = json.loads((tmp_path / "r.json").read_text() if to_file else done.stdout)
        sound = json.loads(run_here("check", HEALTHY, "--format", "json").stdout)
        assert list(sound) == list(document)
        assert {"fired": False, "complete": False, "mode": None, "violations": []}.items() <= document.items()
        assert {0} == set(document["counts"].values())
        assert 3 == document["parameters"]["num_steps"]
        assert {"text", "remedy"} == set(document["problem"])
        assert "the trial folder 'nosuch' does not exist" == document["problem"]["text"]
        assert (2, f"Error: {document['problem']['text']}\n\n{document['problem']['remedy']}\n") == (
            done.returncode,
            done.stderr,
        )

    def test_text(self) -> None:
        """Stdout has nothing, and stderr the message."""
        done = run_command("check", "nosuch")
        assert (2, "") == (done.returncode, done.stdout)
        assert_message_and_remedy(done.stderr)


class TestEndings:
    @pytest.mark.parametrize(
        ("name", "note"),
        [
            ("r.json", "'--format json' writes JSON"),
            ("r.XML", "'--format junit' writes XML"),
            ("r.md", "'--format markdown' writes MD"),
            ("r.html", "'--html FILE' writes HTML"),
        ],
    )
    def test_text_by_the_name_of_another_format(self, tmp_path: Path, name: str, note: str) -> None:
        """It is said, and the exit code stays."""
        done = run_command("check", FROZEN, "--output", name, cwd=tmp_path)
        assert (1, "", f"Note: '{name}' holds text; {note}.\n") == (done.returncode, done.stdout, done.stderr)
        assert (tmp_path / name).read_text().startswith("FIRED")

    @pytest.mark.parametrize("more", [["r.json", "--quiet"], ["r.json", "--format", "json"], ["r.txt"], ["r"]])
    def test_nothing_to_note(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[str]) -> None:
        """A note is not an error, so that --quiet leaves it out."""
        monkeypatch.chdir(tmp_path)
        done = run_here("check", FROZEN, "--output", *more)
        assert (1, "") == (done.exit_code, done.output)

    def test_note_in_this_process(self, tmp_path: Path) -> None:
        """The same."""
        assert "holds text; '--format json'" in run_here("check", FROZEN, "--output", tmp_path / "r.json").output


def write_report_of_the_rule(path: Path) -> None:
    from smdebug.trials import create_trial

    rule = weight_update_ratio.WeightUpdateRatio(create_trial(str(FROZEN)), report_dir=str(path.parent))
    assert rule.invoke_at_step(1)


WRITERS: dict[str, Callable[[Path], Any]] = {
    "report.txt": lambda path: run_here("check", FROZEN, "--quiet", "--output", path),
    "rows.csv": lambda path: run_here("check", FROZEN, "--quiet", "--history", path),
    "rows.jsonl": lambda path: run_here("check", FROZEN, "--quiet", "--history", path),
    "rows.parquet": lambda path: run_here("check", FROZEN, "--quiet", "--history", path),
    "page.html": lambda path: run_here("check", FROZEN, "--quiet", "--html", path),
    "rule.py": lambda path: run_here("rule-source", "--output", path),
    FILE_NAME: lambda path: run_here("check", FROZEN, "--quiet", "--tensorboard", path.parent),
    "WeightUpdateRatio.json": write_report_of_the_rule,
}


@pytest.mark.parametrize("name", WRITERS)
class TestEveryFile:
    @pytest.fixture
    def umask(self) -> Iterator[None]:
        """Let new files be the owner's to write, the group's to read, and nobody else's."""
        before = os.umask(0o027)
        yield
        os.umask(before)

    @pytest.mark.usefixtures("umask")
    def test_its_permissions(self, tmp_path: Path, name: str) -> None:
        """What the umask leaves; those that it had where it is replaced."""
        path = tmp_path / name
        for permissions in (0o640, 0o604):
            WRITERS[name](path)
            assert path.stat().st_size > 100
            assert [name] == os.listdir(tmp_path)
            assert permissions == stat.S_IMODE(path.stat().st_mode)
            path.write_text("")
            path.chmod(0o604)

    def test_its_temporary_name(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        """Nobody can foretell its 64 bits; a link that has it nevertheless is not followed."""
        asked: list[int] = []

        def foretold(count: int) -> bytes:
            asked.append(count)
            return bytes(count)

        (tmp_path / "victim").write_text("safe")
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / f".writing.{bytes(8).hex()}").symlink_to(tmp_path / "victim")
        monkeypatch.setattr("weight_update_ratio.files.os.urandom", foretold)
        done = WRITERS[name](tmp_path / "folder" / name)
        monkeypatch.undo()
        assert 8 in asked
        assert "safe" == (tmp_path / "victim").read_text()
        assert not (tmp_path / "folder" / name).exists()
        assert done is None or (2, True) == (done.exit_code, "cannot be written: File exists" in done.output)


def test_the_summary_keeps_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its permissions, its place behind a link, and what other steps wrote; the report comes after it."""
    (tmp_path / "summary").write_text("before\n")
    (tmp_path / "summary").chmod(0o604)
    (tmp_path / "link").symlink_to("summary")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "link"))
    assert 1 == run_here("check", FROZEN, "--format", "github").exit_code
    assert re.match(r"before\n.*FIRED", (tmp_path / "summary").read_text(), re.DOTALL)
    assert (0o604, ["link", "summary"]) == (
        stat.S_IMODE((tmp_path / "summary").stat().st_mode),
        sorted(os.listdir(tmp_path)),
    )


def test_csv_without_formulas(tmp_path: Path) -> None:
    """A name that a spreadsheet would run gets an apostrophe; numbers, and other names, stay as they are."""
    names = ["=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "\n=1", "a=1", "'b"]
    report = made_report({name: [1e-3, math.inf] for name in names}, workers=("=w", "w"))
    report.columns["step"][0] = -1  # as smdebug's hooks write it
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        write_csv(report, file)
    with (tmp_path / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {*(f"'{name}" for name in names[:7]), *names[7:]} == {row["tensor"] for row in rows}
    assert {"'=w", "w"} == {row["worker"] for row in rows}
    for row, expected in zip(rows, report):
        assert (expected.step, expected.ratio) == (int(row["step"]), float(row["ratio"]))
    assert "-1" == rows[0]["step"]
