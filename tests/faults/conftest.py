"""A small proxy in front of moto's server does to each request what a test's plan says."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, Iterator

import pytest

import weight_update_ratio.storage.s3 as s3_storage
from tests.conftest import RECORDED
from tests.s3_server import S3Server

PASSED_ON = ("content-type", "content-range", "etag", "last-modified")


class FaultyProxy(ThreadingHTTPServer):
    """Forwards requests to moto, but for what ``plan(path, attempt)`` says of them; a LIST has the path "LIST".

    A plan returns None to forward; (status, code, message) to answer so; ("hang up", 0); ("cut", n) to break off after
    n bytes of the body; ("pause", seconds) in the middle of it; ("silent", seconds) to wait, and hang up.
    """

    daemon_threads = True

    def __init__(self, target: S3Server) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = target
        self.plan: Callable[[str, int], Any] = lambda path, attempt: None
        self.attempts: Counter[str] = Counter()
        self.lock = threading.Lock()

    def most_attempts(self, what: str) -> int:
        """Return how often an object was asked for, at most, whose path has ``what`` in it."""
        return max((count for path, count in list(self.attempts.items()) if what in path), default=0)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that hung up: the plan asks for that."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyProxy

    def do_GET(self) -> None:
        proxy = self.server
        path = "LIST" if "list-type" in self.path else self.path.partition("?")[0]
        with proxy.lock:
            proxy.attempts[path] += 1
            fault = proxy.plan(path, proxy.attempts[path]) or ("nothing", 0)
        if fault[0] in ("hang up", "silent"):
            time.sleep(fault[1])
            self.close_connection = True
        elif len(fault) == 3:
            status, code, message = fault
            body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
            self._answer(status, {"Content-Type": "application/xml"}, body.encode(), ("nothing", 0))
        else:
            connection = http.client.HTTPConnection("127.0.0.1", proxy.target.port, timeout=30)
            headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
            connection.request("GET", self.path, headers=headers)
            response = connection.getresponse()
            passed = {name: value for name, value in response.getheaders() if name.lower() in PASSED_ON}
            self._answer(response.status, passed, response.read(), fault)
            connection.close()

    def _answer(self, status: int, headers: dict[str, str], body: bytes, fault: tuple[str, Any]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        kind, amount = fault
        if kind == "cut":
            self.wfile.write(body[:amount])
            self.close_connection = True
            return
        half = len(body) // 2
        self.wfile.write(body[:half])
        self.wfile.flush()
        time.sleep(amount)
        self.wfile.write(body[half:])

    def log_message(self, *arguments: Any) -> None:
        """Print nothing: pytest shows what failed."""


@pytest.fixture
def proxy(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """Give the proxy, with an environment that leads to it; clients wait a second for bytes, and pause less."""
    server = FaultyProxy(s3)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setattr(s3_storage, "READ_SECONDS", 1)
    monkeypatch.setattr(s3_storage, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda self, context: 0.02)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def uploaded(s3_server: S3Server) -> str:
    return s3_server.upload(RECORDED["pytorch_healthy"], "faults")
