"""What the command prints and saves: an error is one message and one remedy."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import os
import sys
from typing import Iterator

from ..errors import TrialError
from ..files import whole_file
from .words.escapes import printable

FILE_REMEDY = "Name a file in a folder that exists and may be written to."
PLAIN = {0x2500: "-", 0x2026: "~", **{0x2581 + height: str(height + 1) for height in range(8)}}  # lines, "...", bars


def print_error(error: TrialError) -> None:
    print(f"Error: {printable(error.message)}\n\n{printable(error.remedy)}", file=sys.stderr, flush=True)


def print_note(text: str) -> None:
    print(f"Note: {printable(text)}", file=sys.stderr, flush=True)


def print_text(text: str, end: str) -> None:
    """Print to stdout, with escapes for what its encoding cannot say."""
    remedy = "Write it elsewhere with --output."
    if sys.stdout is None:  # pragma: no cover  (test_streams runs it in a process of its own)
        raise TrialError("the report cannot be written to stdout: it is closed", remedy)
    encoding = sys.stdout.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(PLAIN).encode(encoding, "backslashreplace").decode(encoding)
    try:
        sys.stdout.write(text + end)
        sys.stdout.flush()
    except OSError as error:
        raise TrialError(f"the report cannot be written to stdout: {error.strerror}", remedy) from None


@contextlib.contextmanager
def writing(path: str | None, remedy: str = FILE_REMEDY) -> Iterator[None]:
    """Turn an error of writing a file into TrialError."""
    try:
        yield
    except OSError as error:
        raise TrialError(f"{path!r} cannot be written: {error.strerror}", remedy) from None


def save_text(text: str, path: str) -> None:
    with writing(path), whole_file(path) as file:
        file.write(text)


def require_folder(path: str | None) -> None:
    folder = os.path.dirname(os.path.abspath(path or "file"))
    if not os.path.isdir(folder):
        raise TrialError(f"{path!r} cannot be written: {os.strerror(errno.ENOENT)}", FILE_REMEDY)


def require(package: str, option: str, extra: str) -> None:
    if importlib.util.find_spec(package) is None:
        remedy = f"pip install 'weight-update-ratio[{extra}]'"
        raise TrialError(f"{option!r} needs {package}, which is not installed", remedy)
