"""A trial folder on disk.

Nothing outside of the folder is opened, whether a name leads there by ``..``, by being absolute or by a symbolic link.

Records are read into memory that is used again. Mapping them would save a copy, but a file that shrinks would end the
process (SIGBUS).
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections import OrderedDict
from typing import Any, Iterable

import numpy as np

from ..errors import TrialError, UnreadableError
from .storage import SMALL_FILE, FileStamp, Storage

TRIAL_REMEDY = "Pass the folder that the training job wrote to: the one that holds 'collections' and 'index'."
ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip", ".tar.bz2", ".tar.xz")
FOLDERS_BELOW = 1000  # that are looked at where a folder is not a trial
OPEN_FILES = 32  # many processes may have only 1024
PAGE = 4096  # a byte has the same place in a page of the file and of memory; a little behind, reading takes 4 x as long
SPARE_BYTES = 256 << 20  # of memory that records were read into, and that is not used at the moment
CHECKED_FOLDERS = 64  # folders that are known to be inside; an index has a folder for each 1000 steps


class DiskStorage(Storage):
    """A trial folder on a local disk. ``span`` and ``recycle`` may be called by several threads at once."""

    steps_ahead = 0

    def __init__(self, location: str) -> None:
        self.location = location
        self.unlisted: dict[str, str] = {}
        path = os.path.expanduser(location)
        if not os.path.isdir(path):
            what = "is a file, not a trial folder" if os.path.exists(path) else "does not exist"
            near = _trials_above(path) if os.path.exists(path) else []
            remedy = f"Pass {near[0]!r}." if near else TRIAL_REMEDY
            if path.endswith(ARCHIVES) and os.path.exists(path):
                what, remedy = "is an archive", "Extract it first, and pass the folder."
            raise TrialError(f"the trial folder {location!r} {what}", remedy)
        self._root = os.path.realpath(path)
        self._open: OrderedDict[str, _OpenFile] = OrderedDict()
        self._spare: dict[int, list[Any]] = {}  # number of bytes -> arrays of so many
        self._spare_bytes = 0
        self._lock = threading.Lock()
        self._checked: dict[str, tuple[str, tuple[int, int]]] = {}  # folder -> its real path, (device, inode)

    def names(self, folder: str, start_after: str = "") -> list[str]:
        """Return the names of the files below ``folder`` that sort after ``start_after``, sorted.

        A folder that cannot be listed is noted in ``unlisted``, and so is a link to a folder, which is not followed.
        smdebug neither writes nor follows them, and two that lead to each other would be listed without end.
        """
        found: list[str] = []
        pending = [folder]
        while pending:
            parent = pending.pop()
            self.unlisted.pop(parent, None)
            try:
                entries = list(os.scandir(self._real_path(parent)))
            except FileNotFoundError:
                continue
            except (OSError, UnreadableError) as error:
                self.unlisted[parent] = str(error) if isinstance(error, UnreadableError) else _os_error_reason(error)
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

    def trials_near(self) -> list[str]:
        """Return the paths of trials above and below this folder."""
        path = os.path.expanduser(self.location)
        found = _trials_above(path)
        folders = [] if found else [path]
        for folder in folders:  # which grows
            if _is_trial(folder):
                found.append(folder)
            elif len(folders) < FOLDERS_BELOW:
                with contextlib.suppress(OSError):
                    folders += sorted(entry.path for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False))
        return found

    def stamps(self, names: Iterable[str]) -> dict[str, FileStamp]:
        """Return the stamps of those files that are there."""
        found = {}
        for name in names:
            with contextlib.suppress(OSError, UnreadableError):
                _, status = self._file(name)
                found[name] = FileStamp(status.st_size, (status.st_ino, status.st_mtime_ns))
        return found

    def read(self, name: str) -> bytes:
        """Return the content of a small file, for example of an index file.

        Raises:
            UnreadableError: The file is absent, not regular, larger than ``SMALL_FILE`` or outside of the folder.
        """
        try:
            path, status = self._file(name)
            if status.st_size > SMALL_FILE:
                raise UnreadableError(
                    f"has {status.st_size} bytes, more than a file of its kind can have ({SMALL_FILE})"
                )
            with open(path, "rb", buffering=0) as file:
                return file.read()
        except OSError as error:
            raise UnreadableError(_os_error_reason(error)) from None

    def span(self, name: str, start: int, length: int) -> memoryview:
        """Return ``length`` bytes from ``start`` of a file.

        Raises:
            UnreadableError: The file is absent, outside of the folder or shorter than the range, or there is not so
                much memory.
        """
        end = start + length
        room = (-(-length // PAGE) + 1) * PAGE
        try:
            with self._lock:
                file = self._open.get(name) or self._opened(name)
                spare = self._spare.get(room)
                memory: Any = spare.pop() if spare else None
                if memory is not None:
                    self._spare_bytes -= room
            if memory is None:
                if end > file.size():  # before as much memory is asked for
                    raise UnreadableError(f"has {file.size()} bytes, while the index names bytes {start} to {end}")
                memory = np.empty(room, np.uint8)
            place = (start - memory.ctypes.data) % PAGE
            record = memoryview(memory)[place : place + length]
            done = os.preadv(file.descriptor, [record], start)
            while done < length:  # it ends there, or a call reads no more than 2 GiB
                more = os.preadv(file.descriptor, [record[done:]], start + done)
                if not more:
                    raise UnreadableError(f"has {file.size()} bytes, while the index names bytes {start} to {end}")
                done += more
        except MemoryError:
            raise UnreadableError(f"needs {length} bytes of memory, more than there are") from None
        except (OSError, OverflowError) as error:
            raise UnreadableError(_os_error_reason(error)) from None
        return record

    def recycle(self, record: memoryview) -> None:
        """Take back bytes that ``span`` gave and that nobody needs any more; the next record is read into them."""
        with self._lock:
            memory: Any = record.obj
            if self._spare_bytes + memory.nbytes <= SPARE_BYTES:
                self._spare_bytes += memory.nbytes
                self._spare.setdefault(memory.nbytes, []).append(memory)

    def prefetch_small(self, names: Iterable[str]) -> None:
        """Do nothing: a file on disk is at hand."""

    def prefetch(self, name: str, spans: Iterable[tuple[int, int] | None]) -> bool:
        """Return True: a file on disk is at hand."""
        return True

    def retain(self, files: dict[str, list[tuple[int, int]]]) -> None:
        """Keep the files of the judged step and its references open, and close the others."""
        for name in [name for name in self._open if name not in files]:
            del self._open[name]

    def discard(self, name: str) -> None:
        """Read a file anew when it is next asked for: a resumed job writes its last step again."""
        self._open.pop(name, None)

    def _opened(self, name: str) -> _OpenFile:
        path, _ = self._file(name)
        file = self._open[name] = _OpenFile(os.open(path, os.O_RDONLY))
        if len(self._open) > OPEN_FILES:
            self._open.popitem(last=False)
        return file

    def _file(self, name: str) -> tuple[str, os.stat_result]:
        """Return the path and the status of a regular file inside of the folder.

        ``os.path.realpath`` looks at every folder on the way, and an index has thousands of files in one folder. So it
        checks the folder once, and each file is only looked at itself.
        """
        parent, _, own = name.rpartition("/")
        plain = own not in ("", ".", "..") and not {os.sep, "\0"} & set(own) and not name.startswith("/")
        path = f"{self._checked_folder(parent)}/{own}" if plain else self._real_path(name)
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            path = self._real_path(name)
            status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # opening a named pipe would wait for ever
            raise UnreadableError("is not a regular file")
        return path, status

    def _checked_folder(self, folder: str) -> str:
        """Return the real path of a folder inside of the trial folder."""
        known = self._checked.get(folder)
        if known is not None:
            status = os.stat(known[0])
            if (status.st_dev, status.st_ino) == known[1]:  # no link has taken the folder's place
                return known[0]
        path = self._real_path(folder)
        status = os.stat(path)
        if len(self._checked) >= CHECKED_FOLDERS:
            self._checked.clear()
        self._checked[folder] = path, (status.st_dev, status.st_ino)
        return path

    def _real_path(self, name: str) -> str:
        """Return the path of a file or folder without links, or raise UnreadableError where it leads outside."""
        try:
            path = os.path.realpath(os.path.join(self._root, name))
            inside = os.path.commonpath([self._root, path]) == self._root and "\0" not in name
        except (OSError, ValueError):  # a loop of links; a NUL character, on some Pythons
            inside = False
        if not inside or os.path.isabs(name):
            raise UnreadableError("leads out of the trial folder, and is not opened")
        return path


class _OpenFile:
    """A file that closes when nobody reads it any more."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def size(self) -> int:
        """Return how many bytes it has now."""
        return os.fstat(self.descriptor).st_size

    def __del__(self) -> None:
        os.close(self.descriptor)


def _is_trial(path: str) -> bool:
    return all(os.path.isdir(os.path.join(path, folder)) for folder in ("collections", "index"))


def _trials_above(path: str) -> list[str]:
    """Return a list with the trial that a path is within, or an empty one."""
    above = os.path.abspath(path)
    for _ in range(3):
        above = os.path.dirname(above)
        if _is_trial(above):
            return [above if os.path.isabs(path) else os.path.relpath(above)]
    return []


def _os_error_reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "does not exist"
    return f"cannot be read ({getattr(error, 'strerror', None) or error})"
