"""The command's process: closed streams, full disks, little memory. Exit code 1 is the rule's and nothing else's."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

from tests.conftest import RECORDED, REPOSITORY
from weight_update_ratio import __main__ as entry
from weight_update_ratio import cli, files

HEALTHY, FROZEN = RECORDED["pytorch_healthy"], RECORDED["pytorch_frozen"]
COMMAND = f"{sys.executable} -m weight_update_ratio"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
FULL = Path("/dev/full")  # a device that is always full

pytestmark = pytest.mark.slow


def shell(line: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which COMMAND is the command."""
    line = line.replace("COMMAND", COMMAND)
    return subprocess.run(
        ["bash", "-c", line], capture_output=True, encoding="utf-8", env=ENVIRONMENT, timeout=120, **options
    )


@pytest.mark.parametrize("style", ["text", "json"])
@pytest.mark.parametrize(("trial", "code"), [(HEALTHY, 0), (FROZEN, 1)])
def test_a_reader_that_goes_away_changes_no_verdict(trial: Path, code: int, style: str) -> None:
    done = shell(f"set -o pipefail; COMMAND check {trial} --format {style} | head -c 1")
    assert (code, "") == (done.returncode, done.stderr)


@pytest.mark.parametrize(("arguments", "code"), [(f"check {FROZEN}", 1), ("check nosuch", 2), ("check --help", 0)])
@pytest.mark.parametrize("redirection", ["2>&1 | true", "2>&- | true", "2>/dev/full", ">&-"])
def test_what_nobody_reads(arguments: str, code: int, redirection: str) -> None:
    """The exit code is what it would have been, or 2; Python's own is 120 where it cannot write what is left."""
    done = shell(f"COMMAND {arguments} {redirection}; exit ${{PIPESTATUS[0]}}")
    assert done.returncode in (code, 2, 120)
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(tmp_path: Path, closed: str) -> None:
    """Every file is written and holds what it should; a report that stdout was to get is an error."""
    done = shell(f"COMMAND check {FROZEN} --history h.csv --html p.html --tensorboard logs {closed}", cwd=tmp_path)
    assert (2 if ">&-" in closed.split() else 1) == done.returncode
    assert ("stdout: it is closed" in done.stderr) == (closed == ">&-")
    assert 77 == len((tmp_path / "h.csv").read_text().splitlines())
    assert (tmp_path / "p.html").read_text().rstrip().endswith("</html>")
    assert 1 == len(list((tmp_path / "logs").rglob("*tfevents*")))
    done = shell(f"COMMAND check {HEALTHY} --output r.json --format json {closed}", cwd=tmp_path)
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)
    assert not json.loads((tmp_path / "r.json").read_text())["fired"]
    assert {"h.csv", "p.html", "logs", "r.json"} == set(os.listdir(tmp_path))


@pytest.mark.parametrize("arguments", [f"check {HEALTHY}", f"check {FROZEN} --format json", "--help"])
def test_a_full_disk_behind_stdout(arguments: str) -> None:
    """What was asked for was not written: 2, and one message."""
    done = shell(f"COMMAND {arguments} >{FULL}")
    assert (2, 1, 1) == (done.returncode, done.stderr.count("Error: "), done.stderr.count("No space left on device"))
    assert not re.search("Traceback|Exception ignored", done.stderr)


@pytest.mark.parametrize("option", ["--output", "--history"])
def test_a_file_that_cannot_be_written_to_its_end(option: str, tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("before")
    done = shell(f"ulimit -f 1; COMMAND check {FROZEN} {option} out.csv --format json", cwd=tmp_path)
    assert (2, True) == (done.returncode, "Error: 'out.csv' cannot be written: File too large" in done.stderr)
    assert ("before", ["out.csv"]) == ((tmp_path / "out.csv").read_text(), os.listdir(tmp_path))


@pytest.mark.parametrize(
    ("stride", "factors"),
    [(8000, (1.2, 3, 40)), pytest.param(250, (1.1, 1.2, 1.7, 3, 8, 40), marks=pytest.mark.rare)],
)
def test_too_little_memory(stride: int, factors: tuple[float, ...]) -> None:
    """From a little more than Python needs to import the package to enough: never 1. OpenBLAS may wait for ever."""

    def limited(kibibytes: float, program: str) -> int:
        line = f"ulimit -v {kibibytes:.0f}; timeout -k 1 10 {sys.executable} -c '{program}' check {HEALTHY}"
        return shell(line).returncode

    load = "from weight_update_ratio.__main__ import main"
    least = next(size for size in range(8000, 10**6, stride) if not limited(size, load))
    codes = [limited(least * factor, f"{load}; main()") for factor in factors]
    assert 1 not in codes
    assert 0 == codes[-1]


# The entry of the process, in this one


@pytest.fixture
def run_here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Give a function that runs the entry; give back the streams, the handlers and the environment that it changes."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, getattr(sys, name))

    def run(*arguments: Any) -> Any:
        monkeypatch.setattr(sys, "argv", ["weight-update-ratio", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            entry.main()
        return caught.value.code

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


class UnsayableError(Exception):
    def __repr__(self) -> str:
        raise MemoryError


@pytest.mark.parametrize(
    "error", [MemoryError(), ImportError("failed to map segment"), KeyError("a\x1b"), UnsayableError()], ids=range(4)
)
def test_whatever_is_raised(
    run_here: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, capfd: Any, error: BaseException
) -> None:
    """One message, one remedy, 2; without them where the message fails as well."""

    def fail(**options: Any) -> None:
        raise error

    monkeypatch.setattr(cli, "main", fail)
    assert 2 == run_here("check", HEALTHY)
    said = capfd.readouterr().err
    if isinstance(error, UnsayableError):
        assert "" == said
    else:
        expected = f"Error: the command cannot be loaded or run: {error!r}\n\nInstall it again, or report it; "
        assert (True, 3) == (said.startswith(expected), said.count("\n"))


@pytest.mark.parametrize(
    ("number", "code", "terminal"), [(signal.SIGINT, 2, True), (signal.SIGTERM, 143, False), (signal.SIGHUP, 129, True)]
)
def test_signals_end_the_process(
    run_here: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    capfd: Any,
    tmp_path: Path,
    number: signal.Signals,
    code: int,
    terminal: bool,
) -> None:
    """The files that are being written go, and a terminal's cursor is shown again."""
    ended: list[int] = []

    def send(**options: Any) -> None:
        with files.whole_file(str(tmp_path / "file")):
            files.UNFINISHED.add(str(tmp_path / "gone"))
            assert 1 == len(os.listdir(tmp_path))
            os.kill(os.getpid(), number)
            assert [] == os.listdir(tmp_path)
            raise MemoryError

    monkeypatch.setattr(cli, "main", send)
    monkeypatch.setattr(os, "_exit", ended.append)
    monkeypatch.setattr(os, "isatty", lambda descriptor: terminal and descriptor == 2)
    run_here("check", HEALTHY)
    files.UNFINISHED.clear()
    errors = capfd.readouterr().err
    assert ([code], terminal) == (ended, errors.startswith("\r\x1b[2K\x1b[?25h"))
    assert (number == signal.SIGINT) == ("Error: interrupted before the trial was judged\n\nRun" in errors)


def test_ignored_signals_stay_ignored(run_here: Callable[..., Any]) -> None:
    """As nohup asks for."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert 0 == run_here("check", HEALTHY, "--quiet")
    assert signal.SIG_IGN == signal.getsignal(signal.SIGHUP)
