"""What the command prints and saves, and how it ends.

An error is one message and one remedy, stdout may fail, and a signal leaves no temporary file.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, Iterator

from ..errors import TrialError
from ..files import whole_file

if TYPE_CHECKING:
    from ..judge.history import History


FILE_REMEDY = "Name a file in a folder that exists and may be written to."


class CommandError(Exception):
    """The command cannot do what was asked; exit code 2, as for all that could not be judged.

    Attributes:
        remedy: What the user can do about it, one sentence.
    """

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


def print_error(error: CommandError | TrialError) -> None:
    """Print one message, an empty line and one remedy to stderr."""
    from .escapes import printable

    print(f"Error: {printable(str(error))}\n\n{printable(error.remedy)}", file=sys.stderr, flush=True)


def print_text(text: str, end: str) -> None:
    """Print to stdout, with escapes for what its encoding cannot say.

    A reader that went away does not change the exit code.

    Raises:
        CommandError: Another error keeps the text from being written.
    """
    encoding = sys.stdout.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.replace("\u2500", "-").encode(encoding, "backslashreplace").decode(encoding)  # the tables' lines
    try:
        sys.stdout.write(text + end)
        sys.stdout.flush()
    except OSError as error:
        # Python writes the rest of its buffer when it ends. That would fail again and change the exit code.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise CommandError(
                f"the report cannot be written to stdout: {error.strerror}", "Write it elsewhere with --output."
            ) from None


@contextlib.contextmanager
def tidy_termination() -> Iterator[None]:
    """Make SIGTERM an exception, so that no temporary file stays; the exit code is 143."""

    def end(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():  # Python handles signals in the main thread only
        yield
    else:
        before = signal.signal(signal.SIGTERM, end)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _write_errors(path: str, remedy: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CommandError(f"{path!r} cannot be written: {error.strerror}", remedy) from None


def save_text(text: str, path: str) -> None:
    """Write a text file whole, or raise CommandError."""
    with _write_errors(path, FILE_REMEDY), whole_file(path) as file:
        file.write(text)


def save_history(history: History, path: str) -> None:
    """Write every comparison in the format of the file's ending, or raise CommandError."""
    from .history_files import MissingParquetError, write_history

    try:
        with _write_errors(path, FILE_REMEDY):
            write_history(history, path)
    except MissingParquetError as error:
        raise CommandError(str(error), error.remedy) from None


def save_tensorboard(history: History, folder: str) -> None:
    """Write TensorBoard's event files, or raise CommandError."""
    from .tensorboard import write_tensorboard

    with _write_errors(folder, "Name a folder that may be made and written to."):
        write_tensorboard(history, folder)


def save_summary(history: History) -> None:
    """Append the report to the summary of GitHub's job, or raise CommandError."""
    from .github import SUMMARY, append_summary

    try:
        append_summary(history)
    except OSError as error:
        raise CommandError(
            f"the summary {os.environ.get(SUMMARY)!r} cannot be written: {error.strerror}",
            f"{SUMMARY} must name a file that may be written to; GitHub's runner sets it.",
        ) from None


def require_bokeh() -> None:
    """Raise CommandError where bokeh, which draws the page, is not installed."""
    from .page import chart

    try:
        chart.require_bokeh()
    except chart.MissingExtraError as error:
        raise CommandError(f"'--html' needs {error.name}, which is not installed", error.remedy) from None
