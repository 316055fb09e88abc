"""A trial folder in memory, for the fuzzers."""

from __future__ import annotations

from typing import Iterable

from weight_update_ratio.storage.storage import FileStamp


class MemoryStorage:
    """Files in a dictionary, by name."""

    steps_ahead = 0

    def __init__(self, files: dict[str, bytes]) -> None:
        self.location = "memory"
        self.unlisted: dict[str, str] = {}
        self.files = files

    def names(self, folder: str, start_after: str = "") -> list[str]:
        return sorted(name for name in self.files if name.startswith(f"{folder}/") and name > start_after)

    def exists(self, name: str) -> bool:
        return name in self.files

    def trials_near(self) -> list[str]:
        return []

    def stamps(self, names: Iterable[str]) -> dict[str, FileStamp]:
        return {name: FileStamp(len(self.files[name]), self.files[name]) for name in names if name in self.files}

    def read(self, name: str) -> bytes:
        return self.files[name]

    def span(self, name: str, start: int, length: int) -> memoryview:
        return memoryview(self.files[name])[start : start + length]

    def prefetch_small(self, names: Iterable[str]) -> None:
        pass

    def prefetch(self, name: str, spans: list[tuple[int, int]]) -> bool:
        return True

    def retain(self, files: dict[str, list[tuple[int, int]]]) -> None:
        pass

    def discard(self, name: str) -> None:
        pass
