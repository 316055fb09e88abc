"""Bytes of a trial folder on disk: knows names and ranges, not what they mean.

Names are relative to the folder and use ``/``. They come from files that anybody may have written, so
nothing outside the folder is opened, whether by ``..``, an absolute name or a symbolic link.
"""

from __future__ import annotations

import mmap
import os
import stat
from collections import OrderedDict

from ..errors import TrialError, UnreadableError

MAPPED_FILES = 32  # each mapping holds a file descriptor, and processes often have but 1024
SMALL_FILE = 1 << 25  # 32 MiB, some 350,000 tensors; a larger index or collections file is not one


class DiskStorage:
    """A trial folder on a local disk; files are mapped, so that no tensor is copied.

    Attributes:
        location: The folder as the user named it.
        unlisted: Folders that the last listings could not list, and why.
    """

    def __init__(self, location: str) -> None:
        self.location = location
        self.unlisted: dict[str, str] = {}
        path = os.path.expanduser(location)
        if not os.path.isdir(path):
            what = "is a file, not a trial folder" if os.path.exists(path) else "does not exist"
            raise TrialError(
                f"the trial folder {location!r} {what}",
                "Pass the folder that the training job's hook wrote to: the one that holds 'collections' and 'index'.",
            )
        self._root = os.path.realpath(path)
        self._mapped: OrderedDict[str, memoryview] = OrderedDict()

    def names(self, folder: str, start_after: str = "") -> list[str]:
        """Return the names of the files below ``folder`` that sort after ``start_after``, sorted.

        A folder that cannot be listed is noted in ``unlisted``. Links to folders are not followed, and noted as well:
        smdebug neither writes nor follows them, and a few that lead to each other would be listed without end.
        """
        found: list[str] = []
        pending = [folder]
        while pending:
            parent = pending.pop()
            self.unlisted.pop(parent, None)
            try:
                entries = list(os.scandir(self._path(parent)))
            except FileNotFoundError:
                continue
            except (OSError, UnreadableError) as error:
                self.unlisted[parent] = str(error) if isinstance(error, UnreadableError) else _reason(error)
                continue
            for entry in entries:
                name = f"{parent}/{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    if name + "0" > start_after:  # "0" follows the separator, so it ends the names below this folder
                        pending.append(name)
                elif entry.is_symlink() and os.path.isdir(entry.path):
                    self.unlisted[name] = "is a symbolic link to a folder, and is not followed"
                elif name > start_after:
                    found.append(name)
        return sorted(found)

    def exists(self, name: str) -> bool:
        """Return whether there is a file of this name."""
        return os.path.exists(os.path.join(self._root, name))

    def read(self, name: str) -> bytes:
        """Return the content of a small file, such as an index file.

        Raises:
            UnreadableError: It is absent, no file, too large, or outside the trial folder.
        """
        path = self._path(name)
        try:
            size = _file_size(path)
            if size > SMALL_FILE:
                raise UnreadableError(f"has {size} bytes, more than a file of its kind can have ({SMALL_FILE})")
            with open(path, "rb") as file:
                return file.read(SMALL_FILE)
        except (OSError, ValueError) as error:  # a NUL in the name, before Python 3.10
            raise UnreadableError(_reason(error)) from None

    def span(self, name: str, start: int, length: int) -> memoryview:
        """Return a view of ``length`` bytes from ``start`` of a file, without a copy.

        Raises:
            UnreadableError: The file is absent or outside the folder, or has no such range.
        """
        content = self._mapped.get(name)
        if content is None:
            content = self._map(name)
        else:
            self._mapped.move_to_end(name)
        end = start + length
        if end > len(content):
            raise UnreadableError(f"has {len(content)} bytes, while the index names bytes {start} to {end}")
        return content[start:end]

    def need(self, files: dict[str, list[tuple[int, int]]]) -> None:
        """Let go of the files that are not among those of the judged step and its references."""
        for name in [name for name in self._mapped if name not in files]:
            del self._mapped[name]  # closed by its last view

    def forget(self, name: str) -> None:
        """Read a file anew when it is next asked for: a resumed job writes the step again at which it was killed."""
        self._mapped.pop(name, None)

    def _map(self, name: str) -> memoryview:
        path = self._path(name)
        try:
            size = _file_size(path)
            with open(path, "rb") as file:
                content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b"")
        except (OSError, ValueError) as error:
            raise UnreadableError(_reason(error)) from None
        self._mapped[name] = content
        if len(self._mapped) > MAPPED_FILES:
            self._mapped.popitem(last=False)  # closed by its last view
        return content

    def _path(self, name: str) -> str:
        try:
            path = os.path.realpath(os.path.join(self._root, name))
            inside = os.path.commonpath([self._root, path]) == self._root
        except (OSError, ValueError):  # a loop of links; a NUL character
            inside = False
        if not inside or os.path.isabs(name):
            raise UnreadableError("leads out of the trial folder, and is not opened")
        return path


def _file_size(path: str) -> int:
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):  # opening a named pipe would wait for ever
        raise UnreadableError("is not a regular file")
    return status.st_size


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "does not exist"
    return f"cannot be read ({getattr(error, 'strerror', None) or error})"
