"""What the command writes: errors in a form of their own, stdout that may fail, and files whole or not at all."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from typing import IO, Any, Iterator

import click


class CommandError(click.ClickException):
    """One message, an empty line and one remedy; exit code 2, as for all that could not be judged."""

    exit_code = 2

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the message and the remedy to stderr."""
        from .render.text import printable

        click.echo(f"Error: {printable(self.message)}\n\n{printable(self.remedy)}", file=file, err=True)


def print_text(text: str, end: str) -> None:
    """Print to stdout what its encoding can say; a reader that went away leaves the verdict as it is."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.replace("\u2500", "-").encode(encoding, "backslashreplace").decode(encoding)  # the tables' lines
    try:
        sys.stdout.write(text + end)
        sys.stdout.flush()
    except OSError as error:
        # What Python still holds of it would fail once more, and change the exit code, when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise CommandError(
                f"the report cannot be written to stdout: {error.strerror}", "Write it elsewhere with --output."
            ) from None


@contextlib.contextmanager
def whole_file(path: str, mode: str = "w") -> Iterator[IO[Any]]:
    """Give a file that takes its name when it is whole, so that no reader ever finds half of one."""
    text: dict[str, Any] = {} if "b" in mode else {"encoding": "utf-8", "errors": "backslashreplace", "newline": ""}
    temporary = None
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # a pipe or a device is written to, not replaced
            with open(path, mode, **text) as file:
                yield file
            return
        target = os.path.realpath(path)  # a link stays one
        folder, name = os.path.split(target)
        with tempfile.NamedTemporaryFile(mode, dir=folder, prefix=f".{name[:100]}.", delete=False, **text) as file:
            temporary = file.name
            yield file
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    except OSError as error:
        raise CommandError(
            f"{path!r} cannot be written: {error.strerror}",
            "Name a file in a folder that exists and may be written to.",
        ) from None
    finally:
        if temporary is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
