"""A trial folder on S3: one GET for what is wanted of an object, several objects at a time.

Threads fetch the next steps' objects while earlier steps are judged. An object is held until its room is needed, for
its tensors are the next steps' references. The bytes held are bounded by ``HELD_BYTES``, or by what one step and its
references need where that is more.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from concurrent.futures import Future
from typing import Any, Iterable

from ..errors import UnreadableError
from .daemon_threads import DaemonThreads, awaited, within
from .s3_client import REQUESTS_AT_ONCE, S3Client
from .storage import COLLECTIONS_FOLDER, FOLDERS, FileStamp, Storage

HELD_BYTES = 256 << 20
GAP = 1 << 20  # an unwanted stretch that is longer is not fetched


class S3Storage(Storage):
    """A trial folder on S3, or on a server that speaks its protocol (AWS_ENDPOINT_URL).

    ``unlisted`` stays empty: a LIST gives all names or none.
    """

    steps_ahead = 64

    def __init__(self, location: str) -> None:
        self.location = location
        self.unlisted: dict[str, str] = {}
        bucket, _, prefix = location[len("s3://") :].partition("/")
        # As smdebug joins: only one slash at the end may be left out. All others are part of the keys.
        self._prefix = prefix if not prefix or prefix.endswith("/") else prefix + "/"
        self._client = S3Client(location, bucket)
        self._threads = DaemonThreads(REQUESTS_AT_ONCE)
        self._objects: OrderedDict[str, Future[Any]] = OrderedDict()  # name -> its segments; the oldest is first
        self._sizes: dict[str, int] = {}
        self._small: dict[str, Future[bytes]] = {}
        self._needed: set[str] = set()
        self._stamps: dict[str, FileStamp] = {}

    def names(self, folder: str, start_after: str = "") -> list[str]:
        """Return the names of the objects below ``folder`` that sort after ``start_after``, sorted."""
        keys = self._keys(f"{self._prefix}{folder}/", self._prefix + start_after if start_after else "")
        return [key[len(self._prefix) :] for key in keys]

    def exists(self, name: str) -> bool:
        """Return whether there is an object of this name."""
        return self._prefix + name in self._keys(self._prefix + name, "", 1)  # of all that begin so it is the first

    def stamps(self, names: Iterable[str]) -> dict[str, FileStamp]:
        """Return the stamps of those objects that the last listings had."""
        return {name: self._stamps[name] for name in names if name in self._stamps}

    def _keys(self, prefix: str, start_after: str, most_pages: float = math.inf) -> Iterable[str]:
        keys = within(math.inf, self._client.keys, prefix, start_after, most_pages)
        self._stamps.update((key[len(self._prefix) :], stamp) for key, stamp in keys.items())
        return keys

    def trials_near(self) -> list[str]:
        """Return the locations of trials above and below this one; below, as far as one LIST sees."""
        parts = f"s3://{self._client.bucket}/{self._prefix}".rstrip("/").split("/")
        above = "/".join(parts[: next((at for at in range(4, len(parts)) if parts[at] in FOLDERS), 0)])
        if above and S3Storage(above).names(COLLECTIONS_FOLDER):
            return [above]
        keys = within(math.inf, self._client.keys, self._prefix, "", 1)
        found = (key.partition(f"/{COLLECTIONS_FOLDER}/") for key in keys)
        return [f"s3://{self._client.bucket}/{name}" for name in dict.fromkeys(name for name, sep, _ in found if sep)]

    def read(self, name: str) -> bytes:
        """Return the content of a small object, for example of an index file.

        Raises:
            UnreadableError: The object is absent or larger than ``SMALL_FILE``, or S3 did not give it.
        """
        future = self._small.pop(name, None)
        return within(math.inf, self._get, name, None) if future is None else awaited(future)

    def prefetch_small(self, names: Iterable[str]) -> None:
        """Begin to fetch small objects that will be read."""
        for name in names:
            if name not in self._small:
                self._small[name] = self._threads.submit(self._get, name, None)

    def prefetch(self, name: str, spans: Iterable[tuple[int, int] | None]) -> bool:
        """Begin to fetch the spans (first byte, length) of an object; return False where there is no room for them."""
        wanted = [] if name in self._objects else [span for span in spans if span is not None]
        if wanted:
            if sum(self._sizes.values()) + _bytes_in_ranges(wanted) > HELD_BYTES:
                return False
            self._fetch(name, wanted)
        return True

    def retain(self, files: dict[str, list[tuple[int, int]]]) -> None:
        """Begin to fetch what the judged step needs, and release older objects where room is needed."""
        self._needed = set(files)
        for name, spans in files.items():
            held = self._objects.get(name)
            if held is None or (held.done() and not _segments_cover(held, spans)):
                self._release(_bytes_in_ranges(spans))
                self._fetch(name, spans)
        self._release(0)

    def discard(self, name: str) -> None:
        """Fetch an object anew when it is next asked for: a resumed job writes its last step again."""
        self._objects.pop(name, None)
        self._sizes.pop(name, None)
        self._small.pop(name, None)

    def span(self, name: str, start: int, length: int) -> memoryview:
        """Return a view of ``length`` bytes from ``start`` of an object.

        Raises:
            UnreadableError: The object is absent or shorter than the range, or S3 did not give it.
        """
        if name not in self._objects:
            self._fetch(name, [(start, length)])
        segments = awaited(self._objects[name])
        view = _segment_view(segments, start, length)
        if view is None:  # not prefetched, or beyond the object's end
            content = within(math.inf, self._get, name, (start, start + length))
            view = _segment_view([(start, content)], start, length)
            if view is None:
                reached = start + len(content)
                raise UnreadableError(f"has {reached} bytes, while the index names bytes {start} to {start + length}")
            segments.append((start, content))
            self._sizes[name] += len(content)
        return view

    def _release(self, coming: int) -> None:
        """Drop objects that the judged step does not need, the oldest first, until ``coming`` more bytes have room."""
        for name in [name for name in self._objects if name not in self._needed]:
            if sum(self._sizes.values()) + coming <= HELD_BYTES:
                return
            del self._objects[name], self._sizes[name]

    def _fetch(self, name: str, spans: list[tuple[int, int]]) -> None:
        self._sizes[name] = _bytes_in_ranges(spans)
        self._objects.pop(name, None)
        self._objects[name] = self._threads.submit(self._get_segments, name, spans)

    def _get_segments(self, name: str, spans: list[tuple[int, int]]) -> list[tuple[int, bytes]]:
        return [(first, self._get(name, (first, end))) for first, end in joined_ranges(spans)]

    def _get(self, name: str, span: tuple[int, int] | None) -> bytes:
        """Return an object's bytes, or those of ``span`` (first byte, end); fewer where the object ends before."""
        if name.startswith("/") or ".." in name.split("/"):
            raise UnreadableError("leads out of the trial folder, and is not opened")
        return self._client.get(self._prefix + name, span)


def joined_ranges(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return ranges (first byte, end) that cover the spans (first byte, length), joined over gaps of up to ``GAP``."""
    joined: list[tuple[int, int]] = []
    for first, length in sorted(spans):
        if joined and first - joined[-1][1] <= GAP:
            joined[-1] = (joined[-1][0], max(joined[-1][1], first + length))
        else:
            joined.append((first, first + length))
    return joined


def _bytes_in_ranges(spans: list[tuple[int, int]]) -> int:
    return sum(end - first for first, end in joined_ranges(spans))


def _segment_view(segments: list[tuple[int, bytes]], start: int, length: int) -> memoryview | None:
    for first, content in segments:
        if first <= start and start + length <= first + len(content):
            return memoryview(content)[start - first : start - first + length]
    return None


def _segments_cover(held: Future[Any], spans: list[tuple[int, int]]) -> bool:
    if held.exception() is not None:
        return True  # S3 did not give it, and is not asked again
    return all(_segment_view(held.result(), *span) is not None for span in spans)
