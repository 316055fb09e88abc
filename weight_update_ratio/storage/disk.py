"""A trial folder on disk.

Records are read into memory that is used again. Mapping them would save a copy, but a file that shrinks would end the
process (SIGBUS).
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import weakref
from typing import IO, Any, Iterable

import numpy as np

from ..errors import TrialError, UnreadableError
from .storage import SMALL_FILE, FileStamp

TRIAL_REMEDY = "Pass the folder that the training job wrote to: the one that holds 'collections' and 'index'."
FOLDERS_BELOW = 1000  # that are looked at where a folder is not a trial
PAGE = 4096  # a byte has the same place in a page of the file and of memory; a little behind, reading takes 4 x as long
SPARE_BYTES = 256 << 20  # of memory that records were read into, and that is not used at the moment
DEEPEST = 2  # folders below index or events; a link may lead back to one above


class DiskStorage:
    """A trial folder on a local disk. ``span`` may be called by several threads at once."""

    steps_ahead = 0

    def __init__(self, location: str) -> None:
        self.location = location
        self.unlisted: dict[str, str] = {}
        path = os.path.expanduser(location)
        if not os.path.isdir(path):
            what = "is a file, not a trial folder" if os.path.exists(path) else "does not exist"
            near = _trials_above(path) if os.path.exists(path) else []
            remedy = f"Pass {near[0]!r}." if near else TRIAL_REMEDY
            raise TrialError(f"the trial folder {location!r} {what}", remedy)
        self._root = os.path.abspath(path)  # a job may change its working folder
        self._unused: dict[int, list[Any]] = {}  # number of bytes -> arrays of so many
        self._lock = threading.Lock()

    def names(self, folder: str, start_after: str = "") -> list[str]:
        """Return the names of the files below ``folder`` that sort after ``start_after``, sorted; links are followed.

        A folder that cannot be listed is noted in ``unlisted``.
        """
        found: list[str] = []
        pending = [folder]
        for parent in pending:  # which grows
            self.unlisted.pop(parent, None)
            try:
                entries = list(os.scandir(os.path.join(self._root, parent)))
            except FileNotFoundError:
                continue
            except OSError as error:
                self.unlisted[parent] = _os_error_reason(error)
                continue
            for entry in entries:
                name = f"{parent}/{entry.name}"
                if not (os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()):  # a link may be a loop
                    found += [name] if name > start_after else []
                elif name + "0" > start_after and name.count("/") <= DEEPEST:  # "0" follows the separator
                    pending.append(name)
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
                status = self._status(name)
                found[name] = FileStamp(status.st_size, (status.st_ino, status.st_mtime_ns))
        return found

    def read(self, name: str) -> bytes:
        """Return the content of a small file, for example of an index file.

        Raises:
            UnreadableError: The file is absent, not regular or larger than ``SMALL_FILE``.
        """
        try:
            status = self._status(name)
            if status.st_size > SMALL_FILE:
                raise UnreadableError(
                    f"has {status.st_size} bytes, more than a file of its kind can have ({SMALL_FILE})"
                )
            with open(os.path.join(self._root, name), "rb", buffering=0) as file:
                return file.read()
        except OSError as error:
            raise UnreadableError(_os_error_reason(error)) from None

    def span(self, name: str, start: int, length: int) -> memoryview:
        """Return ``length`` bytes from ``start`` of a file.

        Raises:
            UnreadableError: The file is absent or shorter than the range, or there is not so
                much memory.
        """
        end = start + length
        try:
            with self._opened(name) as file:
                reached = os.fstat(file.fileno()).st_size
                if end <= reached:  # before as much memory is asked for
                    with self._lock:
                        memory = self._memory((-(-length // PAGE) + 1) * PAGE)
                    place = (start - memory.ctypes.data) % PAGE
                    record = memoryview(memory)[place : place + length]
                    reached = start
                    while reached < end:  # a call reads no more than 2 GiB
                        count = os.preadv(file.fileno(), [record[reached - start :]], reached)
                        if not count:
                            break
                        reached += count
        except MemoryError:
            raise UnreadableError(f"needs {length} bytes of memory, more than there are") from None
        except (OSError, OverflowError) as error:
            raise UnreadableError(_os_error_reason(error)) from None
        if reached < end:
            raise UnreadableError(f"has {reached} bytes, while the index names bytes {start} to {end}")
        return record

    def _memory(self, size: int) -> Any:
        """Return so many bytes, uint8; memory of records that nobody refers to is used again: new pages cost time."""
        if not self._unused.get(size):
            if sum(each * len(memory) for each, memory in self._unused.items()) > SPARE_BYTES:
                self._unused = {}
            self._unused.setdefault(size, []).append(np.empty(size, np.uint8))
        unused = self._unused[size]
        memory = unused.pop()
        view = memory[:]
        weakref.finalize(view, unused.append, memory).atexit = False
        return view

    def prefetch_small(self, names: Iterable[str]) -> None:
        """Do nothing: a file on disk is at hand."""

    def prefetch(self, name: str, spans: Iterable[tuple[int, int] | None]) -> bool | None:
        """Do nothing: a file on disk is at hand."""

    def retain(self, files: dict[str, list[tuple[int, int]]]) -> None:
        """Do nothing: a file on disk is at hand."""

    def discard(self, name: str) -> None:
        """Do nothing: a file on disk is read anew each time."""

    def _opened(self, name: str) -> IO[bytes]:
        self._status(name)
        return open(os.path.join(self._root, name), "rb", buffering=0)

    def _status(self, name: str) -> os.stat_result:
        status = os.stat(os.path.join(self._root, name))
        if not stat.S_ISREG(status.st_mode):  # opening a named pipe would wait for ever
            raise UnreadableError("is not a regular file")
        return status


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
