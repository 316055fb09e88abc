"""The command's process: closed streams, signals, no memory. Exit code 1 is the rule's and nothing else's."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Iterator

import pytest

from tests.conftest import RECORDED, REPOSITORY
from tests.processes import narrow_fifo, wait_until_written
from weight_update_ratio import __main__ as entry
from weight_update_ratio import cli, files

HEALTHY, FROZEN = RECORDED["pytorch_healthy"], RECORDED["pytorch_frozen"]
COMMAND = [sys.executable, "-m", "weight_update_ratio"]
# The letter comes before the package's first line; what a signal does before main() is Python's own.
BEGUN = """
import sys
sys.stdout.write("x")
sys.stdout.flush()
from weight_update_ratio.__main__ import main
sys.exit(main())
"""
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY)}


def shell(line: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which CHECK is the command's check."""
    line = line.replace("CHECK", " ".join(COMMAND) + " check")
    return subprocess.run(
        ["bash", "-c", line], capture_output=True, encoding="utf-8", env=ENVIRONMENT, timeout=120, **options
    )


class TestStreams:
    @pytest.mark.parametrize(("trial", "code"), [(HEALTHY, 0), (FROZEN, 1), (RECORDED["xgboost"], 2), ("nosuch", 2)])
    @pytest.mark.parametrize(
        "redirection", ["2>&1 | head -n 1", "2>&1 | true", "2> >(true)", "2>/dev/full", "2>&- | true"]
    )
    def test_nobody_reads(self, trial: Path | str, code: int, redirection: str) -> None:
        """The exit code is what it would have been, or 2; Python's own is 120 where it cannot write what is left."""
        done = shell(f"CHECK {trial} {redirection}; exit ${{PIPESTATUS[0]}}")
        assert done.returncode in (code, 2, 120)
        assert "Traceback" not in done.stdout + done.stderr

    @pytest.mark.parametrize("redirection", ["| true", "2>&1 | true", ">&-", "2>&-"])
    def test_nobody_reads_the_help(self, redirection: str) -> None:
        """Click's own code for that is 1."""
        assert shell(f"CHECK --help {redirection}; exit ${{PIPESTATUS[0]}}").returncode in (0, 2, 120)
        assert shell(f"CHECK --nosuch {redirection}; exit ${{PIPESTATUS[0]}}").returncode in (2, 120)

    @pytest.mark.parametrize("closed", list(itertools.product(("", "<&-"), ("", ">&-"), ("", "2>&-"))))
    def test_closed_streams(self, tmp_path: Path, closed: tuple[str, ...]) -> None:
        """Every file is written and holds what it should; a report that stdout was to get is an error."""
        closing = " ".join(closed)
        options = "--history h.csv --html p.html --tensorboard logs"
        plain = shell(f"CHECK {FROZEN} {options} {closing}", cwd=tmp_path)
        assert (2 if closed[1] else 1) == plain.returncode
        assert ("stdout: it is closed" in plain.stderr) == bool(closed[1] and not closed[2])
        assert 77 == len((tmp_path / "h.csv").read_text().splitlines())
        assert (tmp_path / "p.html").read_text().rstrip().endswith("</html>")
        assert 1 == len(list((tmp_path / "logs").rglob("*tfevents*")))
        saved = shell(f"CHECK {HEALTHY} --output r.json --format json {closing}", cwd=tmp_path)
        assert (0, "", "") == (saved.returncode, saved.stdout, saved.stderr)
        assert not json.loads((tmp_path / "r.json").read_text())["fired"]
        assert [] == [path.name for path in tmp_path.rglob(".writing*")]
        lost = shell(f"CHECK nosuch {closing}", cwd=tmp_path)
        assert (2, False) == (lost.returncode, "Traceback" in lost.stdout + lost.stderr)

    @pytest.mark.parametrize("arguments", [["check", HEALTHY], ["--help"]])
    def test_a_full_disk(self, arguments: list[Any]) -> None:
        """What was asked for was not written: 2, and one message."""
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [*COMMAND, *map(str, arguments)], stdout=full, stderr=subprocess.PIPE, env=ENVIRONMENT, timeout=60
            )
        assert (2, 1) == (done.returncode, done.stderr.count(b"Error: "))
        assert b"No space left on device" in done.stderr
        assert b"Traceback" not in done.stderr


@pytest.mark.slow
def test_too_little_memory() -> None:
    """From a little more than Python needs to import the package to enough: never 1. OpenBLAS may wait for ever."""

    def limited(kibibytes: float, program: str) -> int:
        line = f"ulimit -v {kibibytes:.0f}; timeout -k 1 10 {sys.executable} -c '{program}' check {HEALTHY}"
        return shell(line).returncode

    load = "from weight_update_ratio.__main__ import main"
    least = next(size for size in range(8000, 10**6, 250) if not limited(size, load))
    codes = [limited(least * factor, f"{load}; main()") for factor in (1.1, 1.2, 1.7, 3, 8, 40)]
    print(f"from {least} KiB on", codes)
    assert 1 not in codes
    assert 0 == codes[-1]


def interrupted(moment: float, numbers: list[signal.Signals], folder: Path) -> tuple[int, str, float]:
    """Run a check that gets signals so long after the package's first line.

    Returns:
        The exit code, the errors, and the seconds from that line to the end.
    """
    arguments = ["check", HEALTHY, "--history", folder / "h.csv", "--output", folder / "r"]
    process = subprocess.Popen(
        [sys.executable, "-c", BEGUN, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    assert process.stdout is not None
    assert b"x" == process.stdout.read(1)
    began = time.monotonic()
    time.sleep(moment)
    for number in numbers:
        process.send_signal(number)
        time.sleep(0.0005)
    errors = process.communicate(timeout=60)[1].decode()
    return process.returncode, errors, time.monotonic() - began


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> float:
    """Give the seconds of a check that nothing interrupts, two at once as below: the shorter of both."""
    folders = [tmp_path_factory.mktemp("whole") for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda folder: interrupted(0, [], folder), folders))
    assert [(0, "")] * 2 == [each[:2] for each in found]
    return min(seconds for _, _, seconds in found)


@pytest.mark.slow
class TestSignals:
    @pytest.mark.parametrize(
        ("numbers", "codes", "count"),
        [
            ([signal.SIGINT], {2, -signal.SIGINT}, 32),
            ([signal.SIGINT] * 3, {2, -signal.SIGINT}, 10),
            ([signal.SIGTERM], {143, -signal.SIGTERM}, 10),
        ],
        ids=["Ctrl-C", "three times", "SIGTERM"],
    )
    def test_at_any_moment(
        self, tmp_path: Path, whole: float, numbers: list[signal.Signals], codes: set[int], count: int
    ) -> None:
        """Never 1, and no half file; from main's first line to the last no traceback. 0 where it had ended.

        The time is cut into as many parts as there are moments, and each has one, so that none is left out.
        """
        within = random.Random(count)
        moments = [(part + within.random()) / count * 1.3 * whole for part in range(count)]
        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(lambda moment: interrupted(moment, numbers, tmp_path)[:2], moments))
        counts = {code: sum(code == each for each, _ in found) for code, _ in found}
        traced = [errors for _, errors in found if "Traceback" in errors]
        print(f"{whole:.2f} s a check, {counts}, {len(traced)} before main()")
        assert set(counts) <= {0, *codes}, found
        assert sum(counts.get(code, 0) for code in codes) > count / 4, counts
        assert [] == [errors for errors in traced if re.search("in (main|end)$", errors, re.MULTILINE)]
        assert [] == [errors for _, errors in found if "Exception ignored" in errors]
        assert {"h.csv", "r"} >= set(os.listdir(tmp_path))

    def test_an_ignored_signal(self, tmp_path: Path) -> None:
        """A shell ignores Ctrl-C for what it runs in the background, and it stays so."""
        fifo = tmp_path / "h.csv"
        line = f"trap '' INT; exec {' '.join(COMMAND)} check {HEALTHY} --quiet --history {fifo}"
        with narrow_fifo(fifo) as reading, subprocess.Popen(["bash", "-c", line], env=ENVIRONMENT) as process:
            wait_until_written(reading)
            process.send_signal(signal.SIGINT)
            os.set_blocking(reading, True)
            with open(reading, closefd=False) as history:
                assert 77 == len(history.readlines())
            assert 0 == process.wait(60)


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Run the entry here: give back the streams, the handlers and the environment that it changes."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = {number: signal.getsignal(number) for number in numbers}
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, getattr(sys, name))
    yield monkeypatch
    for number, handler in handlers.items():
        signal.signal(number, handler)


class TestTheEntry:
    def run(self, monkeypatch: pytest.MonkeyPatch, *arguments: Any) -> Any:
        monkeypatch.setattr(sys, "argv", ["weight-update-ratio", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            entry.main()
        return caught.value.code

    def test_is_the_console_script(self) -> None:
        """That is what pip makes a script of."""
        project = (REPOSITORY / "pyproject.toml").read_text()
        assert 'weight-update-ratio = "weight_update_ratio.__main__:main"' in project

    @pytest.mark.parametrize(("arguments", "code"), [(["check", FROZEN, "--quiet"], 1), (["--version"], 0), (["x"], 2)])
    def test_codes(self, in_this_process: pytest.MonkeyPatch, arguments: list[Any], code: int) -> None:
        """Those of the command."""
        assert code == self.run(in_this_process, *arguments)

    @pytest.mark.parametrize(
        "error",
        [MemoryError(), ImportError("failed to map segment"), RecursionError(), SystemError("x"), KeyError("a\x1b")],
    )
    def test_whatever_is_raised(
        self, in_this_process: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], error: BaseException
    ) -> None:
        """One message, one remedy, 2."""

        def fail(**options: Any) -> None:
            raise error

        in_this_process.setattr(cli, "main", fail)
        assert 2 == self.run(in_this_process, "check", HEALTHY)
        message, empty, remedy, end = capfd.readouterr().err.split("\n")
        assert re.fullmatch(rf"Error: [a-z ]+: {re.escape(repr(error))}", message)
        assert ("", "", True) == (empty, end, remedy.endswith("."))

    def test_what_cannot_even_be_said(
        self, in_this_process: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Where the message fails as well: 2, without one."""

        class UnsayableError(Exception):
            def __repr__(self) -> str:
                raise MemoryError

        def fail(**options: Any) -> None:
            raise UnsayableError

        in_this_process.setattr(cli, "main", fail)
        assert 2 == self.run(in_this_process, "check", HEALTHY)
        assert "" == capfd.readouterr().err

    @pytest.mark.parametrize("terminal", [False, True])
    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 2), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
    def test_signals(
        self,
        in_this_process: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
        tmp_path: Path,
        number: signal.Signals,
        code: int,
        terminal: bool,
    ) -> None:
        """The files that are being written go, a terminal's cursor is shown again, and the process ends."""
        ended: list[int] = []

        def send(**options: Any) -> None:
            with files.whole_file(str(tmp_path / "file")):
                files.UNFINISHED.add(str(tmp_path / "gone"))
                assert 1 == len(os.listdir(tmp_path))
                os.kill(os.getpid(), number)
                assert [] == os.listdir(tmp_path)
                raise MemoryError

        in_this_process.setattr(cli, "main", send)
        in_this_process.setattr(os, "_exit", ended.append)
        in_this_process.setattr(os, "isatty", lambda descriptor: terminal and descriptor == 2)
        self.run(in_this_process, "check", HEALTHY)
        files.UNFINISHED.clear()
        errors = capfd.readouterr().err
        assert ([code], terminal) == (ended, errors.startswith("\r\x1b[2K\x1b[?25h"))
        assert (number == signal.SIGINT) == ("Error: interrupted before the trial was judged\n\nRun" in errors)

    def test_ignored_signals_stay_ignored(self, in_this_process: pytest.MonkeyPatch) -> None:
        """As nohup asks for."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        assert 0 == self.run(in_this_process, "check", HEALTHY, "--quiet")
        assert signal.SIG_IGN == signal.getsignal(signal.SIGHUP)
