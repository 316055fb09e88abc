"""What the storages on disk and on S3 share; both have the same methods, so that no caller asks which one it has."""

from __future__ import annotations

from typing import Any, NamedTuple

COLLECTIONS_FOLDER = "collections/000000000"
SMALL_FILE = 1 << 25  # 32 MiB, some 350,000 tensors; a larger index or collections file is refused


class FileStamp(NamedTuple):
    """A file's size in bytes, and what differs once it is written again."""

    size: int
    version: Any
