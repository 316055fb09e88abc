"""What may be wrong with a trial: errors that end a judgement, and entries that a report lists."""

from __future__ import annotations

import contextlib
from typing import Iterator, NamedTuple


class TrialError(Exception):
    """A trial that cannot be judged, or a file that cannot be written: what is wrong and where, and one remedy.

    As a string it is the message, an empty line and the remedy: what a traceback shows, and a cell of a notebook.

    Attributes:
        message: What is wrong, and in which trial or file.
        remedy: What the reader can do about it, one sentence.
    """

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message, remedy)  # both, so that the error survives pickling between processes
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n\n{self.remedy}"


@contextlib.contextmanager
def needed_by(feature: str) -> Iterator[None]:
    """Name a package that is not installed, and its remedy: ``pip install --no-deps`` brings none."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        words = f"{feature} needs {package}, which is not installed: pip install {package}"
        raise ImportError(words, name=package) from None


class UnreadableError(Exception):
    """Bytes of a trial that are absent, or not what its format says; the message says which."""


class Unreadable(NamedTuple):
    """Something of a trial that should be readable and is not; ``global_step`` is -1 if it belongs to none."""

    file: str
    tensor: str | None
    worker: str | None
    global_step: int
    reason: str
