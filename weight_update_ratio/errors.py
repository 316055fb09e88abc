"""What may be wrong with a trial: errors that end a judgement, and entries that a report lists."""

from __future__ import annotations

from typing import NamedTuple


class TrialError(Exception):
    """A trial that cannot be judged: what is wrong and where, and one remedy.

    Attributes:
        remedy: What the reader can do about it, one sentence.
    """

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message, remedy)  # both, so that the error survives pickling between processes
        self.remedy = remedy
        self.__notes__ = [f"\n{remedy}"]  # a traceback shows it, from Python 3.11 on

    def __str__(self) -> str:
        return str(self.args[0])


class UnreadableError(Exception):
    """Bytes of a trial that are absent, or not what its format says; the message says which."""


class Unreadable(NamedTuple):
    """Something of a trial that should be readable and is not; ``global_step`` is -1 where it belongs to none."""

    file: str
    tensor: str | None
    worker: str | None
    global_step: int
    reason: str
