"""Interruptions: an output file is written whole or not at all, and no end that came early looks like 0 or 1."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Iterator

import numpy as np
import pytest
from click.testing import CliRunner

from tests.conftest import RECORDED, REPOSITORY, needs_writing, run_command, write_whole_trial
from tests.processes import wait_until_asleep, wait_until_computing
from tests.s3_server import CREDENTIALS
from weight_update_ratio.cli import main

pytestmark = pytest.mark.slow  # servers, browsers, processes

HEALTHY = RECORDED["pytorch_healthy"]
EXPLODING = RECORDED["pytorch_exploding"]
COMMAND = [sys.executable, "-m", "weight_update_ratio"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="only Linux has a device that is always full")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a trial whose history does not fit on the small disk, and takes a moment to write."""
    weights = np.ones(3000, np.float32)
    names = [f"w{n}" for n in range(40)]
    tensors = {name: (lambda step: weights * np.float32(1 + step / 1000)) for name in names}
    return write_whole_trial(tmp_path_factory.mktemp("large") / "trial", tensors, steps=150).path


@pytest.fixture
def silent_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Give a server in the place of S3 that never answers: a check of a trial there waits."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        monkeypatch.setitem(ENVIRONMENT, "AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        for name, value in CREDENTIALS.items():
            monkeypatch.setitem(ENVIRONMENT, name, value)
        yield server


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a folder on a disk of 16 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root may mount a disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


class TestFullDisks:
    @needs_full
    @pytest.mark.parametrize("option", ["--output", "--history"])
    def test_an_output_file(self, option: str, tmp_path: Path) -> None:
        """The error names the file and a remedy."""
        link = tmp_path / "full.csv"
        link.symlink_to(FULL)
        result = run_command("check", HEALTHY, option, link)
        assert 2 == result.returncode
        assert f"Error: '{link}' cannot be written: No space left on device\n\nName a file" in result.stderr
        assert "Traceback" not in result.stderr
        assert FULL.is_char_device()

    @pytest.mark.parametrize("option", ["--output", "--history"])
    def test_a_disk_that_fills_up(self, option: str, small_disk: Path, large: Path) -> None:
        """What was there before is there and whole, and nothing else is in the folder."""
        file = small_disk / "out.csv"
        file.write_text("before")
        result = run_command("check", large, option, file, "--small-threshold", "0.5", "--format", "json")
        if option == "--output" and result.returncode == 1:
            assert file.read_text().endswith("}")
        else:
            assert 2 == result.returncode
            assert "No space left on device" in result.stderr
            assert "before" == file.read_text()
        assert ["out.csv"] == os.listdir(small_disk)

    @needs_full
    @pytest.mark.parametrize(("trial", "style"), [(HEALTHY, "text"), (EXPLODING, "json")])
    def test_stdout(self, trial: Path, style: str) -> None:
        """The report was not delivered: exit code 2, without a message of Python's own."""
        with FULL.open("w") as full:
            result = subprocess.run(
                [*COMMAND, "check", trial, "--format", style],
                stdout=full,
                stderr=subprocess.PIPE,
                env=ENVIRONMENT,
                encoding="utf-8",
                timeout=60,
            )
        assert 2 == result.returncode
        assert result.stderr.startswith("Error: the report cannot be written to stdout: No space left on device\n\n")
        assert "Exception ignored" not in result.stderr


class TestClosedPipes:
    @pytest.mark.parametrize(("trial", "expected"), [(HEALTHY, 0), (EXPLODING, 1)])
    @pytest.mark.parametrize("style", ["text", "json"])
    def test_head(self, trial: Path, expected: int, style: str) -> None:
        """The exit code is that of the verdict, also in a pipeline: the reader was there."""
        line = f"set -o pipefail; {sys.executable} -m weight_update_ratio check {trial} --format {style} | head -c 1"
        result = subprocess.run(
            ["bash", "-c", line], capture_output=True, env=ENVIRONMENT, encoding="utf-8", timeout=60
        )
        assert (expected, "") == (result.returncode, result.stderr)

    @pytest.mark.parametrize("trial", [HEALTHY, EXPLODING])
    def test_a_reader_that_was_never_there(self, trial: Path) -> None:
        """One message and no verdict."""
        reading, writing = os.pipe()
        os.close(reading)
        with open(writing, "w") as pipe:
            result = subprocess.run(
                [*COMMAND, "check", trial], stdout=pipe, stderr=subprocess.PIPE, env=ENVIRONMENT, timeout=60
            )
        assert result.returncode in (2, 120)
        assert b"Traceback" not in result.stderr


@needs_writing
class TestSignals:
    def start(self, *arguments: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            encoding="utf-8",
        )

    @pytest.mark.parametrize("moment", ["judging", "writing"])
    @pytest.mark.parametrize(("number", "expected"), [(signal.SIGTERM, 143), (signal.SIGINT, 2)])
    def test_ends_the_command(
        self,
        large: Path,
        silent_server: socket.socket,
        tmp_path: Path,
        moment: str,
        number: signal.Signals,
        expected: int,
    ) -> None:
        """What was there before is there, nothing else is in the folder, and there is no traceback."""
        file = tmp_path / "history.csv"
        file.write_text("before")
        process = self.start("check", large if moment == "writing" else "s3://trials/x", "--history", file)
        with contextlib.ExitStack() as stack:
            if moment == "judging":
                stack.enter_context(silent_server.accept()[0])
            deadline = time.monotonic() + 30
            while moment == "writing" and len(os.listdir(tmp_path)) < 2 and time.monotonic() < deadline:
                time.sleep(0.001)
            process.send_signal(number)
            output, errors = process.communicate(timeout=5)
        assert (expected, "") == (process.returncode, output)
        assert "Traceback" not in errors
        assert ["history.csv"] == os.listdir(tmp_path)
        assert "before" == file.read_text()

    def test_a_pattern_that_takes_for_ever(self, tmp_path: Path) -> None:
        """A user's own pattern is searched as it is, and Ctrl-C ends it."""
        trial = write_whole_trial(tmp_path / "trial", {"a" * 60 + "!": lambda step: np.ones(3)}, steps=2).path
        process = self.start("check", trial, "--tensor-regex", "(a+)+$")
        wait_until_computing(process)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=3)
        assert (2, "") == (process.returncode, output)
        assert errors.startswith("Error: interrupted before the trial was judged\n\n")

    def test_a_job_that_is_followed(self, large: Path, tmp_path: Path) -> None:
        """SIGTERM ends that too, and nothing is printed."""
        process = self.start("check", tmp_path / "none", "--follow")
        wait_until_asleep(process)
        process.terminate()
        assert ("", "") == process.communicate(timeout=30)
        assert 143 == process.returncode

    def test_handlers_are_given_back(self) -> None:
        """A program that calls the command in its own process keeps its handlers; a thread cannot set any."""
        before = signal.getsignal(signal.SIGTERM)
        assert 0 == CliRunner().invoke(main, ["check", str(HEALTHY)]).exit_code
        assert before is signal.getsignal(signal.SIGTERM)
        codes: list[int] = []

        def judge() -> None:
            codes.extend(
                CliRunner().invoke(main, ["check", str(HEALTHY), *more]).exit_code for more in ([], ["--follow"])
            )

        thread = threading.Thread(target=judge)
        thread.start()
        thread.join()
        assert [0, 0] == codes
