"""Processes that tests wait for, signal and kill, however slow the machine is."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Callable, Iterator

from tests.conftest import run_python

SECONDS = 120.0  # of waiting, after which a test fails
F_SETPIPE_SZ = 1031  # Linux's; fcntl names it from Python 3.10 on
SLEEPS = ("nanosleep", "select", "poll_schedule")  # what the kernel calls time.sleep; before Python 3.11 select


def wait_until(true: Callable[[], Any], what: str = "it never came", seconds: float = SECONDS) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def wait_until_asleep(process: subprocess.Popen[Any]) -> None:
    """Wait until a process is in time.sleep: a follower that has judged all files, and will look again."""

    def is_asleep() -> bool:
        assert process.poll() is None, "it ended"
        return any(sleep in Path(f"/proc/{process.pid}/wchan").read_text() for sleep in SLEEPS)

    wait_until(is_asleep, "it never slept")


@contextlib.contextmanager
def narrow_fifo(path: Path) -> Iterator[int]:
    """Make a FIFO of one page, and give its reading end: the writer of more than a page waits for a reader."""
    os.mkfifo(path)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reading, F_SETPIPE_SZ, 4096)
    try:
        yield reading
    finally:
        os.close(reading)


def wait_until_written(reading: int) -> None:
    """Wait until a pipe has content, which shows that its writer has begun."""
    assert select.select([reading], [], [], SECONDS)[0], "nothing was written"


def killed(work: Callable[[int], None], steps: int, seconds: float) -> int:
    """Fork a child that works, kill it a moment after it has written so many bytes, and return how many it wrote.

    Args:
        work: Called in the child with a descriptor, to which it writes a byte for each step that is done.
        steps: How many bytes are awaited.
        seconds: The moment from then on.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            work(writing)
        finally:
            os._exit(1)
    os.close(writing)
    for _ in range(steps):
        os.read(reading, 1)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), status
    while os.read(reading, 1):
        steps += 1
    os.close(reading)
    return steps


def printed_numbers(program: str, *arguments: object) -> list[int]:
    """Return the numbers that a program prints, a line each; it ends well and says nothing else."""
    done = run_python("-c", program, *arguments)
    assert (0, "") == (done.returncode, done.stderr)
    return [int(line) for line in done.stdout.split()]
