"""What a storage can do: it gives names and bytes of a trial folder, and does not know what they mean.

The folder is on disk or on S3. Both have the same methods, so that no caller asks which of them it has.
"""

from __future__ import annotations

import abc
from typing import Any, Iterable, NamedTuple

COLLECTIONS_FOLDER = "collections/000000000"
FOLDERS = ("collections", "index", "events")  # of a trial
SMALL_FILE = 1 << 25  # 32 MiB, some 350,000 tensors; a larger index or collections file is refused


class FileStamp(NamedTuple):
    """A file's size in bytes, and what differs once it is written again."""

    size: int
    version: Any


class Storage(abc.ABC):
    """A trial folder. Names of files are relative to it and use ``/``.

    Names come from files that anybody may have written. A storage opens nothing outside of its folder.

    Attributes:
        location: The folder as the user named it.
        unlisted: Folders that the last listings could not list, and why.
        steps_ahead: Saved steps whose files are worth fetching before they are read.
    """

    location: str
    unlisted: dict[str, str]
    steps_ahead: int

    @abc.abstractmethod
    def names(self, folder: str, start_after: str = "") -> list[str]:
        """Return the names of the files below ``folder`` that sort after ``start_after``, sorted."""

    @abc.abstractmethod
    def exists(self, name: str) -> bool:
        """Return whether there is a file of this name."""

    @abc.abstractmethod
    def trials_near(self) -> list[str]:
        """Return the locations of trials above and below this folder, for a message where it is not one."""

    @abc.abstractmethod
    def stamps(self, names: Iterable[str]) -> dict[str, FileStamp]:
        """Return the stamps of those files that are there; on S3 as the last listings had them."""

    @abc.abstractmethod
    def read(self, name: str) -> bytes:
        """Return the content of a small file, for example of an index file.

        Raises:
            UnreadableError: The file is absent, larger than ``SMALL_FILE`` or outside of the folder, or reading fails.
        """

    @abc.abstractmethod
    def span(self, name: str, start: int, length: int) -> memoryview:
        """Return ``length`` bytes from ``start`` of a file. Several threads may ask at once.

        Raises:
            UnreadableError: The file is absent, outside of the folder or shorter than the range, or reading fails.
        """

    def recycle(self, record: memoryview) -> None:  # noqa: B027  (where memory is not used again, it does nothing)
        """Take back bytes that ``span`` gave; nobody may look at them any more, for their memory is used again."""

    @abc.abstractmethod
    def prefetch_small(self, names: Iterable[str]) -> None:
        """Begin to fetch small files that will be read."""

    @abc.abstractmethod
    def prefetch(self, name: str, spans: Iterable[tuple[int, int] | None]) -> bool:
        """Begin to fetch the spans (first byte, length) of a file; return False where there is no room for them."""

    @abc.abstractmethod
    def retain(self, files: dict[str, list[tuple[int, int]]]) -> None:
        """Prepare the files and spans that the judged step needs, and release others where room is needed."""

    @abc.abstractmethod
    def discard(self, name: str) -> None:
        """Read a file anew when it is next asked for: a resumed job writes its last step again."""
