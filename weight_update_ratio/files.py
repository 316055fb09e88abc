"""A file is written whole or not at all."""

from __future__ import annotations

import contextlib
import os
from typing import IO, Any, Iterator

UNFINISHED: set[str] = set()  # temporary names in use, for a handler of signals that ends the process


@contextlib.contextmanager
def whole_file(path: str, mode: str = "w") -> Iterator[IO[Any]]:
    """Give a file that takes its name when it is whole; if writing fails, nothing is left of it.

    A symbolic link stays a link. A pipe or a device is written to directly. Mode "w" is text, as UTF-8.
    """
    text: dict[str, Any] = {} if "b" in mode else {"encoding": "utf-8", "errors": "backslashreplace", "newline": ""}
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, mode, **text) as file:
            yield file
        return
    target = os.path.realpath(path)
    # The name is known before the file is made, so that a signal at any moment leaves no file; ``tempfile`` can.
    temporary = os.path.join(os.path.dirname(target), f".writing.{os.urandom(8).hex()}")
    UNFINISHED.add(temporary)
    try:
        with open(temporary, mode.replace("w", "x"), **text) as file:
            yield file
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    finally:
        UNFINISHED.discard(temporary)
