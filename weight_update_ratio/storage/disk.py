"""A trial folder on disk. Records are read, not mapped: a file that shrinks would end the process (SIGBUS)."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import weakref
from typing import Any, Iterable

import numpy as np

from ..errors import TrialError, UnreadableError
from .storage import SMALL_FILE, FileStamp

TRIAL_REMEDY = "Pass the folder that the training job wrote to: the one that holds 'collections' and 'index'."
FOLDERS_BELOW = 1000  # a search for trials below a folder ends after so many
PAGE = 4096  # a byte has the same offset in a page of the file and of memory; with another, reading takes 4 x as long
SPARE_BYTES = 256 << 20  # of memory that records were read into, and that is not in use
DEEPEST = 2  # folders below index or events; a link may lead back to one above


class DiskStorage:
    """A trial folder on a local disk. ``span`` may be called by several threads at once."""

    steps_ahead = 0

    def __init__(self, location: str) -> None:
        self.location = location
        self.unlisted: dict[str, str] = {}  # folder -> why it cannot be listed
        path = os.path.expanduser(location)
        if not os.path.exists(path):
            raise TrialError(f"the trial folder {location!r} does not exist", TRIAL_REMEDY)
        if not os.path.isdir(path):
            remedy = "".join(f"Pass {near!r}." for near in _trials_above(path)) or TRIAL_REMEDY
            raise TrialError(f"the trial folder {location!r} is a file, not a trial folder", remedy)
        self._root = os.path.abspath(path)  # a job may change its working folder
        self._unused: dict[int, list[Any]] = {}  # number of bytes -> arrays of so many
        self._lock = threading.Lock()

    def names(self, folder: str, start_after: str = "") -> list[str]:
        """Return the sorted names of the files below ``folder`` that sort after ``start_after``; links are followed."""
        names: list[str] = []
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
                    names += [name] if name > start_after else []
                elif name + "0" > start_after and name.count("/") <= DEEPEST:  # "0" follows the separator
                    pending.append(name)
        return sorted(names)

    def exists(self, name: str) -> bool:
        return os.path.exists(os.path.join(self._root, name))

    def trials_near(self) -> list[str]:
        """Return the paths of trials above and below this folder."""
        path = os.path.expanduser(self.location)
        trials = _trials_above(path)
        folders = [] if trials else [path]
        for folder in folders:  # which grows
            if _is_trial(folder):
                trials.append(folder)
            elif len(folders) < FOLDERS_BELOW:
                with contextlib.suppress(OSError):
                    folders += sorted(entry.path for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False))
        return trials

    def stamps(self, names: Iterable[str]) -> dict[str, FileStamp]:
        """Return the stamps of those files that exist."""
        stamps = {}
        for name in names:
            with contextlib.suppress(OSError, UnreadableError):
                status = self._status(name)
                stamps[name] = FileStamp(status.st_size, (status.st_ino, status.st_mtime_ns))
        return stamps

    def read(self, name: str) -> bytes:
        """Return the content of a small file, for example of an index file."""
        try:
            size = self._status(name).st_size
            if size > SMALL_FILE:
                raise UnreadableError(f"has {size} bytes, more than a file of its kind can have ({SMALL_FILE})")
            with open(os.path.join(self._root, name), "rb", buffering=0) as file:
                return file.read()
        except OSError as error:
            raise UnreadableError(_os_error_reason(error)) from None

    def span(self, name: str, start: int, length: int) -> memoryview:
        end = start + length
        try:
            self._status(name)
            with open(os.path.join(self._root, name), "rb") as file:
                reached = os.fstat(file.fileno()).st_size
                if end <= reached:  # else the index may ask for more memory than there is
                    record = self._memory(start, length)
                    file.seek(start)
                    reached = start + file.readinto(record)  # which repeats what the system cuts off at 2 GiB
        except OSError as error:
            raise UnreadableError(_os_error_reason(error)) from None
        if reached < end:
            raise UnreadableError(f"has {reached} bytes, while the index names bytes {start} to {end}")
        return record

    def _memory(self, start: int, length: int) -> memoryview:
        """Return memory for a record, reused from records that nobody refers to: new pages cost time."""
        size = (-(-length // PAGE) + 1) * PAGE
        with self._lock:
            if not self._unused.get(size):
                if sum(each * len(memory) for each, memory in self._unused.items()) > SPARE_BYTES:
                    self._unused = {}
                self._unused.setdefault(size, []).append(np.empty(size, np.uint8))
            unused = self._unused[size]
            memory = unused.pop()
        view = memory[:]
        weakref.finalize(view, unused.append, memory).atexit = False
        offset = (start - memory.ctypes.data) % PAGE
        return memoryview(view)[offset : offset + length]

    def prefetch(self, *arguments: Any) -> Any:
        """Do nothing: a file on disk needs no fetching, and is read anew each time."""

    retain = discard = prefetch

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
