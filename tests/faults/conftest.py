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

SLOW_DOWN = (503, b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>")
INTERNAL = (500, b"<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>")
NO_KEY = (404, b"<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>")
DENIED = (403, b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>")
Plan = Callable[[str, int], Any]


class FaultyProxy(ThreadingHTTPServer):
    """Forwards requests to moto, but for what ``plan(path, attempt)`` says of them.

    A plan returns None to forward; (status, body) to answer so; "reset" to hang up; ("cut", n) to break off after n
    bytes of the body; ("stall", seconds) to send half of it and wait; ("slow", seconds) to send it in ten parts;
    ("silent", seconds) to wait before the first byte.
    """

    daemon_threads = True

    def __init__(self, target: S3Server) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = target
        self.plan: Plan = lambda path, attempt: None
        self.attempts: Counter[str] = Counter()
        self.lock = threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that hung up: the plan asks for that."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyProxy

    def do_GET(self) -> None:
        proxy = self.server
        path = self.path.partition("?")[0] if "list-type" not in self.path else "LIST"
        with proxy.lock:
            proxy.attempts[path] += 1
            attempt = proxy.attempts[path]
        fault = proxy.plan(path, attempt)
        if fault == "reset":
            self.close_connection = True
            return
        if isinstance(fault, tuple) and isinstance(fault[0], int):
            self._answer(fault[0], [("Content-Type", "application/xml")], fault[1], None)
            return
        connection = http.client.HTTPConnection("127.0.0.1", proxy.target.port, timeout=30)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
        connection.request("GET", self.path, headers=headers)
        response = connection.getresponse()
        body = response.read()
        passed = [
            (name, value)
            for name, value in response.getheaders()
            if name.lower() not in ("content-length", "connection", "transfer-encoding", "date", "server")
        ]
        connection.close()
        self._answer(response.status, passed, body, fault)

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes, fault: Any) -> None:
        kind, amount = fault or (None, 0)
        if kind == "silent":
            time.sleep(amount)
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if kind == "cut":
            self.wfile.write(body[:amount])
            self.close_connection = True
        elif kind == "stall":
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            time.sleep(amount)
            self.close_connection = True
        elif kind == "slow":
            for start in range(0, len(body), len(body) // 10 + 1):
                self.wfile.write(body[start : start + len(body) // 10 + 1])
                self.wfile.flush()
                time.sleep(amount / 10)
        else:
            self.wfile.write(body)

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
    """Give the URI of a recorded trial."""
    return s3_server.upload(RECORDED["pytorch_healthy"], "faults")


def first_attempts(what: str, fault: Any, often: int = 2) -> Plan:
    return lambda path, attempt: fault if what in path and attempt <= often else None
