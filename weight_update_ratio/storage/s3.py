"""A trial folder on S3: one GET for what is needed of an object, several at a time, ahead of the steps that are judged.

An object stays in memory until others need its room, because its tensors are the next steps' references.
botocore repeats a request that fails before its answer's body; a body that breaks off is asked for again here.
"""

from __future__ import annotations

import contextlib
import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Callable, Iterable, Iterator, List, Tuple

from ..errors import TrialError, UnreadableError, needed_by
from .storage import COLLECTIONS_FOLDER, SMALL_FILE, FileStamp

# Ranges (first byte, end) of an object, and their contents; no ranges: the whole object, which is small.
_Fetched = Tuple[List[Tuple[int, int]], "Future[List[bytes]]"]

CACHE_BYTES = 256 << 20  # more if one step and its references need it
GAP = 1 << 20  # bytes; a longer stretch that nobody needs is not fetched
REQUESTS_AT_ONCE = 16
ATTEMPTS = 5
RETRY_SECONDS = 0.5  # before the second attempt at a body; so much more before each further one
CONNECT_SECONDS = 10
READ_SECONDS = 20  # without a byte
REASONS = {"NoSuchKey": "does not exist", "InvalidRange": "is shorter than the index says"}


class S3Storage:
    """A trial folder on S3, or on a server that speaks its protocol (AWS_ENDPOINT_URL)."""

    steps_ahead = 64

    def __init__(self, location: str) -> None:
        self.location = location
        self.unlisted: dict[str, str] = {}  # always empty: a LIST gives all names or none
        self._bucket, _, prefix = location[len("s3://") :].partition("/")
        # As smdebug joins: only one slash at the end may be left out. All others are part of the keys.
        self._prefix = prefix if not prefix or prefix.endswith("/") else prefix + "/"
        with needed_by("s3://"):
            import boto3  # noqa: F401  (whose botocore has the errors that are caught below)
        with self._trial_errors():
            self._client = _s3_client()
        self._threads = ThreadPoolExecutor(REQUESTS_AT_ONCE, "S3")
        self._objects: dict[str, _Fetched] = {}  # the oldest is first
        self._bytes = 0  # of their ranges
        self._stamps: dict[str, FileStamp] = {}

    def names(self, folder: str, start_after: str = "") -> list[str]:
        keys = self._keys(f"{self._prefix}{folder}/", self._prefix + start_after if start_after else "")
        return [key[len(self._prefix) :] for key in keys]

    def exists(self, name: str) -> bool:
        key = self._prefix + name  # which sorts before all longer ones
        return key in self._keys(key, is_one_page=True)

    def stamps(self, names: Iterable[str]) -> dict[str, FileStamp]:
        """Return the stamps of those objects that the last listings had."""
        return {name: self._stamps[name] for name in names if name in self._stamps}

    def trials_near(self) -> list[str]:
        """Return the locations of trials above and below this one; below, as far as one LIST sees."""
        parts = f"s3://{self._bucket}/{self._prefix}".rstrip("/").split("/")
        folders = (n for n, part in enumerate(parts) if n >= 4 and part in ("collections", "index", "events"))
        above = "/".join(parts[: next(folders, 0)])
        if above and S3Storage(above).names(COLLECTIONS_FOLDER):
            return [above]
        parts_of_keys = (key.partition(f"/{COLLECTIONS_FOLDER}/") for key in self._keys(self._prefix, is_one_page=True))
        return [f"s3://{self._bucket}/{name}" for name in dict.fromkeys(name for name, sep, _ in parts_of_keys if sep)]

    def read(self, name: str) -> bytes:
        _, contents = self._objects.pop(name, ([], None))
        return contents.result()[0] if contents else self._get(name)

    def prefetch(self, name: str, spans: Iterable[tuple[int, int] | None] | None = None) -> bool:
        """Begin to fetch a small object, or spans (first byte, length) of another; return whether it has no room."""
        ranges = joined_ranges(span for span in spans or () if span is not None)
        is_needed = name not in self._objects and (spans is None or bool(ranges))
        is_full = is_needed and self._bytes + _bytes_in(ranges) > CACHE_BYTES
        if is_needed and not is_full:
            self._fetch(name, ranges)
        return is_full

    def retain(self, files: dict[str, list[tuple[int, int]]]) -> None:
        """Begin to fetch what the judged step needs, and release the oldest other objects if there is no room."""
        for name, spans in files.items():
            ranges, _ = self._objects.get(name, ([], None))
            if not all(any(first <= start and start + size <= end for first, end in ranges) for start, size in spans):
                self._fetch(name, joined_ranges(spans))
        for name in list(self._objects):
            if self._bytes <= CACHE_BYTES:
                break
            if name not in files:
                self.discard(name)

    def discard(self, name: str) -> None:
        """Forget an object's bytes: a resumed job writes its last step again."""
        ranges, _ = self._objects.pop(name, ([], None))
        self._bytes -= _bytes_in(ranges)

    def span(self, name: str, start: int, length: int) -> memoryview:
        ranges, contents = self._objects[name]  # retain has asked for it
        number = next(number for number, (first, end) in enumerate(ranges) if first <= start < end)
        content, first = contents.result()[number], ranges[number][0]
        if first + len(content) < start + length:
            reached = first + len(content)
            raise UnreadableError(f"has {reached} bytes, while the index names bytes {start} to {start + length}")
        return memoryview(content)[start - first : start - first + length]

    def _fetch(self, name: str, ranges: list[tuple[int, int]]) -> None:
        self.discard(name)  # so that it is the newest
        parts: list[Any] = ranges or [None]
        self._objects[name] = ranges, self._threads.submit(lambda: [self._get(name, part) for part in parts])
        self._bytes += _bytes_in(ranges)

    def _get(self, name: str, ends: tuple[int, int] | None = None) -> Any:
        """Return a small object's bytes, or those of a range (first byte, end); fewer if the object ends before."""
        from botocore.exceptions import BotoCoreError, ClientError
        from urllib3.exceptions import HTTPError

        arguments = {"Bucket": self._bucket, "Key": self._prefix + name}
        if ends is not None:
            arguments["Range"] = f"bytes={ends[0]}-{ends[1] - 1}"

        def ask() -> Any:
            response = self._client.get_object(**arguments)
            with contextlib.closing(response["Body"]) as body:
                size = response["ContentLength"]
                if ends is None and size > SMALL_FILE:
                    raise UnreadableError(f"has {size} bytes, more than a file of its kind can have ({SMALL_FILE})")
                try:
                    return body.read()  # botocore compares it with its length
                except (BotoCoreError, HTTPError, OSError) as error:
                    raise _BrokenOffError(error) from None

        try:
            return _whole(ask)
        except ClientError as error:
            code, answer = _s3_answer(error)
            raise UnreadableError(REASONS.get(code, f"cannot be read ({answer})")) from None
        except (BotoCoreError, OSError) as error:
            raise UnreadableError(f"cannot be read: {error}") from None

    def _keys(self, prefix: str, start_after: str = "", is_one_page: bool = False) -> list[str]:
        """Return the keys that begin with ``prefix`` and sort after ``start_after``, sorted, and note their stamps."""
        arguments = {"Bucket": self._bucket, "Prefix": prefix}
        if start_after:
            arguments["StartAfter"] = start_after
        keys: list[str] = []

        def ask() -> Any:
            page = self._client.list_objects_v2(**arguments)
            if "IsTruncated" not in page:  # botocore takes a page whose body was cut off for a page without objects
                raise _BrokenOffError("its answer broke off")
            return page

        with self._trial_errors():
            while True:
                page = _whole(ask)
                for entry in page.get("Contents", ()):
                    keys.append(entry["Key"])
                    stamp = FileStamp(entry["Size"], (entry.get("ETag"), entry.get("LastModified")))
                    self._stamps[entry["Key"][len(self._prefix) :]] = stamp
                if is_one_page or not page["IsTruncated"]:
                    return keys
                arguments["ContinuationToken"] = page["NextContinuationToken"]

    @contextlib.contextmanager
    def _trial_errors(self) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (BotoCoreError, ClientError, OSError, ValueError) as error:
            message, remedy = _message_and_remedy(error, self._bucket)
            raise TrialError(f"the trial {self.location!r} cannot be read: {message}", remedy) from None


def joined_ranges(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return ranges (first byte, end) that cover the spans (first byte, length), joined over gaps of up to ``GAP``."""
    joined: list[tuple[int, int]] = []
    for first, length in sorted(spans):
        if joined and first - joined[-1][1] <= GAP:
            joined[-1] = (joined[-1][0], max(joined[-1][1], first + length))
        else:
            joined.append((first, first + length))
    return joined


def _bytes_in(ranges: list[tuple[int, int]]) -> int:
    return sum(end - first for first, end in ranges)


class _BrokenOffError(Exception):
    """The body of an answer did not come whole."""


def _whole(ask: Callable[[], Any]) -> Any:
    """Return what a request gives; ask again if its body breaks off."""
    from botocore.parsers import ResponseParserError

    for attempt in range(ATTEMPTS):
        time.sleep(attempt * RETRY_SECONDS)
        try:
            return ask()
        except (_BrokenOffError, ResponseParserError) as error:
            problem = error
    raise OSError(f"{ATTEMPTS} attempts failed, the last: {problem}")


def _s3_client() -> Any:
    import boto3
    from botocore.config import Config

    config = Config(
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        max_pool_connections=2 * REQUESTS_AT_ONCE,  # callers ask beside the threads; urllib3 warns of one too many
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
    )
    region = os.environ.get("AWS_REGION", "").strip() or None  # as smdebug; boto3 reads AWS_DEFAULT_REGION only
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None
    return boto3.session.Session().client("s3", region_name=region, endpoint_url=endpoint, config=config)


def _message_and_remedy(error: Exception, bucket: str) -> tuple[str, str]:
    from botocore import exceptions

    missing = (exceptions.NoCredentialsError, exceptions.PartialCredentialsError)
    if isinstance(error, (*missing, exceptions.CredentialRetrievalError, exceptions.ProfileNotFound)):
        return str(error), "Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use a role."
    message = _s3_answer(error)[1] if isinstance(error, exceptions.ClientError) else str(error)
    if message.startswith(("S3 answered NoSuchBucket", "S3 answered 404")):
        remedy = "Name the S3OutputPath of the job's DebugHookConfig, and check AWS_REGION and AWS_ENDPOINT_URL."
        return f"there is no bucket {bucket!r}", remedy
    if message.startswith(("S3 answered AccessDenied", "S3 answered 403")):
        return message, "Allow s3:ListBucket on the bucket and s3:GetObject on the trial to the credentials in use."
    if isinstance(error, exceptions.ParamValidationError):
        message = f"{bucket!r} is not a bucket's name"
    return message, "See that AWS_ENDPOINT_URL and s3://bucket/prefix are right, or check it again when S3 answers."


def _s3_answer(error: Any) -> tuple[str, str]:
    answer = error.response.get("Error", {})
    code = str(answer.get("Code", "an error"))
    return code, f"S3 answered {code}: {answer.get('Message', '')}"
