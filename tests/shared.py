"""Files and folders that one process makes for all processes of a run of the tests; the others wait for them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from pathlib import Path
from typing import Callable, Iterator

import pytest


def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the temporary folder of all processes of the run."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@contextlib.contextmanager
def locked(path: str) -> Iterator[None]:
    """Let one process at a time into the block."""
    with open(path, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def made_once(path: Path, text: Callable[[], str]) -> Path:
    """Return a file, written with ``text()`` by the first that asks for it."""
    with locked(f"{path}.lock"):
        if not path.exists():
            unfinished = Path(f"{path}.unfinished")
            unfinished.write_text(text(), encoding="utf-8")
            unfinished.rename(path)
    return path


@contextlib.contextmanager
def shared(folder: Path, make: Callable[[], None]) -> Iterator[None]:
    """Let the first process that comes make a folder, the others wait for it, and the last that goes remove it."""
    made = Path(f"{folder}.made")
    with open(f"{folder}.users", "w") as users:
        with locked(f"{folder}.lock"):
            if not made.exists():
                make()
                made.touch()
            fcntl.flock(users, fcntl.LOCK_SH)
        try:
            yield
        finally:
            with locked(f"{folder}.lock"), contextlib.suppress(BlockingIOError):  # another uses it
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                made.unlink()
                shutil.rmtree(folder)
