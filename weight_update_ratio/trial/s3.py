"""A trial folder on S3: one GET for what is wanted of an object, several objects at a time.

Threads fetch the next steps' objects while earlier steps are judged. An object is held until its room is needed, for
its tensors are the next steps' references. The bytes held are bounded by ``HELD_BYTES``, or by what one step and its
references need where that is more.

botocore's standard mode retries requests. It hands bodies over unread, so a body that breaks off is asked for again
here.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Iterable, Iterator

from ..errors import TrialError, UnreadableError
from .disk import DiskStorage
from .storage import SMALL_FILE, Storage

HELD_BYTES = 256 << 20
GAP = 1 << 20  # an unwanted stretch that is longer is not fetched
REQUESTS_AT_ONCE = 16
PAGE_KEYS = 1000  # of a LIST; S3 gives no more
ATTEMPTS = 5  # of a request, and of a body
CONNECT_SECONDS = 10
READ_SECONDS = 30


class S3Storage(Storage):
    """A trial folder on S3, or on a server that speaks its protocol (AWS_ENDPOINT_URL).

    ``unlisted`` stays empty: a LIST gives all names or none.
    """

    steps_ahead = 8
    index_ahead = 64

    def __init__(self, location: str) -> None:
        self.location = location
        self.unlisted: dict[str, str] = {}
        self.bucket, _, prefix = location[len("s3://") :].partition("/")
        prefix = prefix.strip("/")
        self._prefix = prefix + "/" if prefix else ""
        self._client = _s3_client(location)
        self._pool: ThreadPoolExecutor | None = None
        self._objects: OrderedDict[str, Future[Any]] = OrderedDict()  # name -> its segments; the oldest is first
        self._sizes: dict[str, int] = {}
        self._small: dict[str, Future[bytes]] = {}
        self._needed: set[str] = set()

    def names(self, folder: str, start_after: str = "") -> list[str]:
        """Return the names of the objects below ``folder`` that sort after ``start_after``, sorted."""
        keys = self._keys(f"{self._prefix}{folder}/", self._prefix + start_after if start_after else "")
        return [key[len(self._prefix) :] for key in keys]

    def exists(self, name: str) -> bool:
        """Return whether there is an object of this name."""
        return self._prefix + name in self._keys(self._prefix + name, "")

    def _keys(self, prefix: str, start_after: str) -> list[str]:
        arguments: dict[str, Any] = {"Bucket": self.bucket, "Prefix": prefix, "MaxKeys": PAGE_KEYS}
        if start_after:
            arguments["StartAfter"] = start_after
        keys: list[str] = []
        while True:
            with trial_errors(self.location, self.bucket):
                page = self._page(arguments)
            keys.extend(entry["Key"] for entry in page.get("Contents", ()))
            if not page["IsTruncated"]:
                return keys
            arguments["ContinuationToken"] = page["NextContinuationToken"]

    def _page(self, arguments: dict[str, Any]) -> Any:
        """Return a page of a LIST.

        botocore takes a page whose body was cut off for a page without objects. That page lacks ``IsTruncated``.
        """
        from botocore.parsers import ResponseParserError

        problem = ""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                page = self._client.list_objects_v2(**arguments)
                if "IsTruncated" in page:
                    return page
                problem = "its answer broke off"
            except ResponseParserError as error:  # pragma: no cover  (botocore 1.44 retries it, and then says 500)
                problem = str(error)
            _wait_before_retry(attempt)
        raise TrialError(
            f"the trial {self.location!r} cannot be listed: {ATTEMPTS} attempts failed, the last: {problem}",
            "Check it again when S3 can be reached.",
        )

    def read(self, name: str) -> bytes:
        """Return the content of a small object, for example of an index file.

        Raises:
            UnreadableError: The object is absent or larger than ``SMALL_FILE``, or S3 did not give it.
        """
        future = self._small.pop(name, None)
        return self._get(name, None) if future is None else future.result()

    def prefetch_small(self, names: Iterable[str]) -> None:
        """Begin to fetch small objects that will be read."""
        for name in names:
            if name not in self._small:
                self._small[name] = self._submit(self._get, name, None)

    def prefetch(self, name: str, spans: list[tuple[int, int]]) -> bool:
        """Begin to fetch the spans (first byte, length) of an object; return False where there is no room for them."""
        if name not in self._objects:
            if sum(self._sizes.values()) + _bytes_in_ranges(spans) > HELD_BYTES:
                return False
            self._fetch(name, spans)
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
        segments = self._objects[name].result()
        view = _segment_view(segments, start, length)
        if view is None:  # not prefetched, or beyond the object's end
            segments.append((start, self._get(name, (start, start + length))))
            self._sizes[name] += len(segments[-1][1])
            view = _segment_view(segments[-1:], start, length)
        if view is None:
            reached = start + len(segments.pop()[1])
            raise UnreadableError(f"has {reached} bytes, while the index names bytes {start} to {start + length}")
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
        self._objects[name] = self._submit(self._get_segments, name, spans)

    def _submit(self, function: Any, *arguments: Any) -> Future[Any]:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(REQUESTS_AT_ONCE, "s3")
        return self._pool.submit(function, *arguments)

    def _get_segments(self, name: str, spans: list[tuple[int, int]]) -> list[tuple[int, bytes]]:
        return [(first, self._get(name, (first, end))) for first, end in joined_ranges(spans)]

    def _get(self, name: str, span: tuple[int, int] | None) -> bytes:
        """Return an object's bytes, or those of ``span`` (first byte, end); fewer where the object ends before."""
        from botocore.exceptions import BotoCoreError, ClientError
        from urllib3.exceptions import HTTPError

        arguments = {"Bucket": self.bucket, "Key": self._prefix + name}
        if name.startswith("/") or ".." in name.split("/"):
            raise UnreadableError("leads out of the trial folder, and is not opened")
        if span is not None:
            arguments["Range"] = f"bytes={span[0]}-{span[1] - 1}"
        for attempt in range(1, ATTEMPTS + 1):
            try:
                response = self._client.get_object(**arguments)
            except ClientError as error:
                raise UnreadableError(_s3_error_reason(error)) from None
            except BotoCoreError as error:
                raise UnreadableError(f"cannot be read ({error})") from None
            size = response["ContentLength"]
            if span is None and size > SMALL_FILE:
                raise UnreadableError(f"has {size} bytes, more than a file of its kind can have ({SMALL_FILE})")
            try:
                return bytes(response["Body"].read())  # botocore compares its length with the header's
            except (BotoCoreError, HTTPError, OSError) as error:
                problem = str(error)
            _wait_before_retry(attempt)
        raise UnreadableError(f"cannot be read: {ATTEMPTS} attempts failed, the last: {problem}")


def _wait_before_retry(attempt: int) -> None:
    time.sleep(min(0.1 * 2.0**attempt, 2.0))


_s3_client_lock = threading.Lock()


def _s3_client(location: str) -> Any:
    with _s3_client_lock, trial_errors(location, ""):  # boto3 cannot make two clients at the same time
        import boto3
        from botocore.config import Config

        config = Config(
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            max_pool_connections=REQUESTS_AT_ONCE,
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
        )
        region = (
            os.environ.get("AWS_REGION", "").strip() or None
        )  # smdebug reads it too; boto3 reads AWS_DEFAULT_REGION only
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None
        return boto3.session.Session().client("s3", region_name=region, endpoint_url=endpoint, config=config)


@contextlib.contextmanager
def trial_errors(location: str, bucket: str) -> Iterator[None]:
    """Turn botocore's errors into a TrialError that says what a person can do."""
    try:
        yield
    except Exception as error:
        message, remedy = _message_and_remedy(error, bucket)
        if not remedy:
            raise
        raise TrialError(f"the trial {location!r} cannot be read: {message}", remedy) from None


def _message_and_remedy(error: Exception, bucket: str) -> tuple[str, str]:
    """Return what botocore's error means and what to do; no remedy where the error is not botocore's."""
    from botocore import exceptions

    missing = (exceptions.NoCredentialsError, exceptions.PartialCredentialsError)
    if isinstance(error, (*missing, exceptions.CredentialRetrievalError, exceptions.ProfileNotFound)):
        remedy = "Give AWS credentials, by AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role."
        return str(error), remedy
    if isinstance(error, exceptions.ClientError):
        code = _s3_error_code(error)
        if code in ("NoSuchBucket", "404"):
            remedy = "Name the S3OutputPath of the job's DebugHookConfig, and check AWS_REGION and AWS_ENDPOINT_URL."
            return f"there is no bucket {bucket!r}", remedy
        remedy = "Allow s3:ListBucket on the bucket and s3:GetObject on the trial to the credentials in use."
        return f"S3 answered {code}: {error.response.get('Error', {}).get('Message', '')}", remedy
    if isinstance(error, exceptions.ParamValidationError):
        return f"{bucket!r} is not a bucket's name", "Name it as s3://bucket/prefix."
    if isinstance(error, (exceptions.BotoCoreError, ValueError)):
        return str(error), "Name it as s3://bucket/prefix, and see that AWS_REGION and AWS_ENDPOINT_URL are right."
    return "", ""


def _s3_error_reason(error: Any) -> str:
    code = _s3_error_code(error)
    if code in ("NoSuchKey", "404"):
        return "does not exist"
    if code in ("InvalidRange", "416"):
        return "is shorter than the index says"
    return f"cannot be read (S3 answered {code}: {error.response.get('Error', {}).get('Message', '')})"


def _s3_error_code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", "an error"))


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


def open_storage(location: str) -> Storage:
    """Return the storage of a trial folder: a path on disk, or s3://bucket/prefix.

    Raises:
        TrialError: The folder does not exist, or S3 does not let it be read.
    """
    return S3Storage(location) if location.startswith("s3://") else DiskStorage(location)
