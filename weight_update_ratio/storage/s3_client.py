"""Requests to S3: each has a deadline, is tried again within bounds, and fails with words that say what to do.

botocore's read timeout begins anew with each byte. So each attempt runs in a thread, which is left alone at its
deadline; it ends with the server's answer, or when that pauses for ``READ_SECONDS``. botocore itself tries nothing
again: it knows no deadline, and hands bodies over unread.

An object takes at most ``ATTEMPTS * (2 * REQUEST_SECONDS + bytes / LEAST_RATE)`` and the pauses between attempts
(7.5 s): three and a half minutes for a small one. A page of a LIST takes half of that.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from concurrent.futures import Future
from typing import Any, Callable, Iterator

from ..errors import TrialError, UnreadableError
from .daemon_threads import DaemonThreads, Result, awaited, within
from .storage import SMALL_FILE, FileStamp

REQUESTS_AT_ONCE = 16
PAGE_KEYS = 1000  # of a LIST; S3 gives no more
ATTEMPTS = 5  # of a request with its body
RETRY_SECONDS = 0.5  # before the second attempt; twice as long before each further one
CONNECT_SECONDS = 10
READ_SECONDS = 20  # without a byte
REQUEST_SECONDS = 20  # for a response's head and for a LIST's page; a body gets them and its size / LEAST_RATE
LEAST_RATE = 32 << 10  # bytes a second of a body: sixteen requests at once on a line of 4 Mbit/s
PASSING_STATUS = (429, 500, 502, 503, 504)


class S3Client:
    """Asks S3 for what is in a bucket."""

    def __init__(self, location: str, bucket: str) -> None:
        self._location = location
        self.bucket = bucket
        self._client = _s3_client(location)
        self._threads = DaemonThreads()

    def keys(self, prefix: str, start_after: str, most_pages: float = math.inf) -> dict[str, FileStamp]:
        """Return the keys that begin with ``prefix`` and sort after ``start_after``, sorted, with their stamps.

        Raises:
            TrialError: S3 does not list them.
        """
        arguments: dict[str, Any] = {"Bucket": self.bucket, "Prefix": prefix, "MaxKeys": PAGE_KEYS}
        if start_after:
            arguments["StartAfter"] = start_after
        keys: dict[str, FileStamp] = {}
        pages = 0
        with trial_errors(self._location, self.bucket):
            while True:
                page = _tried(self._page, arguments)
                for entry in page.get("Contents", ()):
                    keys[entry["Key"]] = FileStamp(entry["Size"], (entry.get("ETag"), entry.get("LastModified")))
                pages += 1
                if not page["IsTruncated"] or pages >= most_pages:
                    return keys
                arguments["ContinuationToken"] = page["NextContinuationToken"]

    def _page(self, arguments: dict[str, Any]) -> Any:
        page = within(REQUEST_SECONDS, lambda: self._client.list_objects_v2(**arguments))
        if "IsTruncated" not in page:  # botocore takes a page whose body was cut off for a page without objects
            raise OSError("its answer broke off")
        return page

    def get(self, key: str, span: tuple[int, int] | None) -> bytes:
        """Return an object's bytes, or those of ``span`` (first byte, end); fewer where the object ends before.

        Raises:
            UnreadableError: S3 does not give them, or a whole object is larger than ``SMALL_FILE``.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        arguments = {"Bucket": self.bucket, "Key": key}
        if span is not None:
            arguments["Range"] = f"bytes={span[0]}-{span[1] - 1}"
        try:
            return _tried(self._content, arguments)
        except ClientError as error:
            raise UnreadableError(_s3_error_reason(error)) from None
        except (BotoCoreError, OSError) as error:
            raise UnreadableError(f"cannot be read: {error}") from None

    def _content(self, arguments: dict[str, Any]) -> bytes:
        size: Future[int] = Future()
        abandoned = threading.Event()

        def ask() -> bytes:
            try:
                response = self._client.get_object(**arguments)
            except BaseException as error:
                size.set_exception(error)
                raise
            with contextlib.closing(response["Body"]) as body:
                if abandoned.is_set():  # pragma: no cover  (the tests' servers may end before such a head is whole)
                    return b""
                size.set_result(response["ContentLength"])
                if "Range" not in arguments and size.result() > SMALL_FILE:
                    raise UnreadableError(
                        f"has {size.result()} bytes, more than a file of its kind can have ({SMALL_FILE})"
                    )
                return bytes(body.read())  # botocore compares it with its length

        whole = self._threads.submit(ask)
        try:
            seconds = REQUEST_SECONDS + awaited(size, REQUEST_SECONDS) / LEAST_RATE
        except BaseException:
            abandoned.set()
            raise
        return awaited(whole, seconds)


def _tried(ask: Callable[..., Result], *arguments: Any) -> Result:
    """Return what a request gives; ask again after what may pass."""
    from botocore.exceptions import ClientError

    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(RETRY_SECONDS * 2 ** (attempt - 1))
        try:
            return ask(*arguments)
        except Exception as error:
            if not _may_pass(error):
                raise
            problem = error
    if isinstance(problem, ClientError):
        raise problem
    raise OSError(f"{ATTEMPTS} attempts failed, the last: {problem}")


def _may_pass(error: Exception) -> bool:
    from botocore import exceptions
    from botocore.parsers import ResponseParserError
    from urllib3.exceptions import HTTPError

    if isinstance(error, exceptions.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return status in PASSING_STATUS or _s3_error_code(error) in ("RequestTimeout", "SlowDown")
    botocores = (exceptions.ConnectionError, exceptions.HTTPClientError, exceptions.IncompleteReadError)
    return isinstance(error, (*botocores, ResponseParserError, HTTPError, OSError))


_s3_client_lock = threading.Lock()


def _s3_client(location: str) -> Any:
    with _s3_client_lock, trial_errors(location, ""):  # boto3 cannot make two clients at the same time
        import boto3
        from botocore.config import Config

        config = Config(
            retries={"mode": "standard", "total_max_attempts": 1},
            max_pool_connections=REQUESTS_AT_ONCE * ATTEMPTS,  # urllib3 warns where an abandoned one is one too many
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
        )
        region = os.environ.get("AWS_REGION", "").strip() or None  # as smdebug; boto3 reads AWS_DEFAULT_REGION only
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None
        return boto3.session.Session().client("s3", region_name=region, endpoint_url=endpoint, config=config)


@contextlib.contextmanager
def trial_errors(location: str, bucket: str) -> Iterator[None]:
    """Turn the errors of requests into a TrialError that says what a person can do."""
    try:
        yield
    except Exception as error:
        message, remedy = _message_and_remedy(error, bucket)
        if not remedy:
            raise
        raise TrialError(f"the trial {location!r} cannot be read: {message}", remedy) from None


def _message_and_remedy(error: Exception, bucket: str) -> tuple[str, str]:
    """Return what a request's error means and what to do; no remedy where the error is another one."""
    from botocore import exceptions

    missing = (exceptions.NoCredentialsError, exceptions.PartialCredentialsError)
    if isinstance(error, (*missing, exceptions.CredentialRetrievalError, exceptions.ProfileNotFound)):
        remedy = "Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use a role."
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
    if isinstance(error, OSError):
        return str(error), "See that AWS_ENDPOINT_URL is right, or check the trial again when S3 can be reached."
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
