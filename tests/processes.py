"""Waits until a process has come to the point at which a test signals it, however slow the machine is."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import subprocess
import time
from pathlib import Path
from typing import Any, Callable, Iterator

SECONDS = 120.0  # of waiting, after which a test fails
F_SETPIPE_SZ = 1031  # Linux's; fcntl names it from Python 3.10 on
SLEEPS = ("nanosleep", "select", "poll_schedule")  # what the kernel calls time.sleep; before Python 3.11 select


def wait_until(true: Callable[[], Any], what: str = "it never came", seconds: float = SECONDS) -> None:
    """Wait until ``true()`` is true."""
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
