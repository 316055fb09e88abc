"""Where a trial folder is: a path on disk, or s3://bucket/prefix."""

from __future__ import annotations

import os
import re
from typing import Any, Union

from ..errors import TrialError
from .disk import DiskStorage
from .s3 import S3Storage

Storage = Union[DiskStorage, S3Storage]
_OTHER_FORM = re.compile(r"(?:s3[an]?|arn|file):|[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def trial_location(trial: Any) -> str:
    """Return the path or S3 URI of a trial's folder: of smdebug's Trial, or as it was passed, without outer blanks."""
    location = os.fspath(trial) if isinstance(trial, os.PathLike) else getattr(trial, "path", trial)
    if not isinstance(location, str):
        raise ValueError(f"'trial' must be a path, an S3 URI or smdebug's Trial (got {trial!r})")
    location = location.strip()
    is_uri = location.startswith("s3://") and not location.startswith("s3:///")
    if not is_uri and _OTHER_FORM.match(location) and not os.path.exists(location):
        remedy = "Pass a path, or the S3 URI below which the job saved: s3://bucket/prefix."
        raise TrialError(f"the trial {location!r} is neither a path nor an S3 URI", remedy)
    return location


def open_storage(location: str) -> Storage:
    return S3Storage(location) if location.startswith("s3://") else DiskStorage(location)


def file_content(location: str) -> bytes | None:
    """Return the content of a small file on disk or on S3; None: it is not a file, but perhaps a folder."""
    is_remote = location.startswith("s3://")
    path = location if is_remote else os.path.realpath(os.path.expanduser(location))
    folder, _, name = path.rpartition("/")
    if not name or folder == "s3:/" or not (is_remote or os.path.isfile(path)):
        return None
    storage = open_storage(folder or "/")
    return storage.read(name) if storage.exists(name) else None
