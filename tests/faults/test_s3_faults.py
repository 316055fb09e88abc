"""Faults of S3 and of the way to it: retried within bounds, then reported; never a wrong number.

A small proxy in front of moto's server does to each request what the test's plan says.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, Iterator

import pytest

import weight_update_ratio.trial.s3_client as s3_client
from tests.conftest import RECORDED
from tests.s3_server import S3Server
from weight_update_ratio import TrialError, check_trial

pytestmark = pytest.mark.slow  # servers, browsers, processes

SLOW_DOWN = (503, b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>")
INTERNAL = (500, b"<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>")
NO_KEY = (404, b"<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>")
DENIED = (403, b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>")
Plan = Callable[[str, int], Any]


class FaultyProxy(ThreadingHTTPServer):
    """Forwards requests to moto, but for what ``plan(path, attempt)`` says of them.

    A plan returns None to forward; (status, body) to answer so; "reset" to hang up; ("cut", n) to break off after n
    bytes of the body; ("stall", seconds) to send half of it and wait; ("slow", seconds) to send it in ten parts.
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
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        kind, amount = fault or (None, 0)
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
    """Give the proxy, with an environment that leads to it, and clients that wait a second for bytes, not thirty."""
    server = FaultyProxy(s3)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setattr(s3_client, "READ_SECONDS", 1)
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


TRANSIENT = {
    "throttled": SLOW_DOWN,
    "internal error": INTERNAL,
    "hung up": "reset",
    "cut at the first byte": ("cut", 0),
    "cut in the middle": ("cut", 900),
    "stalled": ("stall", 3),
}


class TestTransientFaults:
    @pytest.mark.parametrize("what", ["LIST", "/index/", "/events/", "/collections/"])
    @pytest.mark.parametrize("fault", TRANSIENT)
    def test_is_retried(self, proxy: FaultyProxy, uploaded: str, what: str, fault: str) -> None:
        """What fails once is asked for again, and the report is that of the disk."""
        chosen = {"/index/": "/index/000000000/000000000004", "/events/": "/events/000000000007"}.get(what, what)
        proxy.plan = first_attempts(chosen, TRANSIENT[fault], often=1)
        report = check_trial(uploaded)
        assert list(report) == list(check_trial(RECORDED["pytorch_healthy"]))
        assert report.complete
        assert max(proxy.attempts[path] for path in proxy.attempts if chosen in path) >= 2

    def test_every_third_request_fails(self, proxy: FaultyProxy, uploaded: str) -> None:
        """A third of all requests failing, each in another way, changes no row."""
        faults = list(TRANSIENT.values())[:-1]
        count = Counter[str]()

        def plan(path: str, attempt: int) -> Any:
            count["all"] += 1
            return faults[count["all"] // 3 % len(faults)] if count["all"] % 3 == 0 else None

        proxy.plan = plan
        report = check_trial(uploaded)
        assert list(report) == list(check_trial(RECORDED["pytorch_healthy"]))
        assert count["all"] > 60

    def test_a_slow_body_is_waited_for(self, proxy: FaultyProxy, uploaded: str) -> None:
        """A body that comes slowly is not a fault."""
        proxy.plan = lambda path, attempt: ("slow", 2) if "/events/000000000003" in path else None
        assert list(check_trial(uploaded)) == list(check_trial(RECORDED["pytorch_healthy"]))
        assert max(proxy.attempts[path] for path in proxy.attempts if "/events/000000000003" in path) == 1


class TestLastingFaults:
    @pytest.mark.parametrize(
        ("fault", "reason"),
        [
            (SLOW_DOWN, "cannot be read (S3 answered SlowDown: Please reduce your request rate.)"),
            (INTERNAL, "cannot be read (S3 answered InternalError: We encountered an internal error.)"),
            (NO_KEY, "does not exist"),
            ("reset", "cannot be read: 5 attempts failed, the last: Connection was closed before we received a valid"),
            (("cut", 900), "cannot be read: 5 attempts failed, the last: "),
        ],
    )
    def test_a_record_is_reported(
        self, proxy: FaultyProxy, uploaded: str, monkeypatch: pytest.MonkeyPatch, fault: Any, reason: str
    ) -> None:
        """An event file that cannot be had, or vanished after the LIST, is unreadable; all else is compared."""
        monkeypatch.setattr(s3_client, "RETRY_SECONDS", 0)
        proxy.plan = lambda path, attempt: fault if "/events/000000000007" in path else None
        report = check_trial(uploaded)
        sound = [row for row in check_trial(RECORDED["pytorch_healthy"]) if 7 not in (row.step, row.reference_step)]
        assert list(report) == sound
        assert [entry.global_step for entry in report.unreadable] == [7] * 4
        assert all(entry.reason.startswith(reason) for entry in report.unreadable)
        assert report.exit_code == 2

    def test_an_index_file_that_vanished(self, proxy: FaultyProxy, uploaded: str) -> None:
        """Without a step's index file, nothing is compared across that step, and it is said."""
        proxy.plan = lambda path, attempt: NO_KEY if "/index/000000000/000000000005" in path else None
        report = check_trial(uploaded)
        sound = [row for row in check_trial(RECORDED["pytorch_healthy"]) if 5 not in (row.step, row.reference_step)]
        assert list(report) == sound
        assert report.unreadable[0].file.endswith("index/000000000/000000000005_worker_0.json")
        assert report.exit_code == 2

    def test_denied_access(self, proxy: FaultyProxy, uploaded: str) -> None:
        """Where S3 denies the LIST, its code and the permissions to give are named; a denied GET is unreadable."""
        proxy.plan = lambda path, attempt: DENIED if path == "LIST" else None
        with pytest.raises(TrialError, match="S3 answered AccessDenied: Access Denied") as caught:
            check_trial(uploaded)
        assert caught.value.remedy.startswith("Allow s3:ListBucket")
        proxy.plan = lambda path, attempt: DENIED if "/events/" in path else None
        report = check_trial(uploaded)
        assert (len(report), report.exit_code) == (0, 2)
        assert {entry.reason for entry in report.unreadable} == {
            "cannot be read (S3 answered AccessDenied: Access Denied)"
        }

    def test_a_list_that_never_comes_whole(
        self, proxy: FaultyProxy, uploaded: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Neither an empty answer nor half of one is taken for a folder without files."""
        monkeypatch.setattr(s3_client, "RETRY_SECONDS", 0)
        for fault in (("cut", 0), ("cut", 200), (200, b"<not XML")):
            proxy.attempts.clear()
            proxy.plan = lambda path, attempt, fault=fault: fault if path == "LIST" else None
            with pytest.raises(TrialError, match=r"cannot be (listed|read): ") as caught:
                check_trial(uploaded)
            assert proxy.attempts["LIST"] >= s3_client.ATTEMPTS
            assert caught.value.remedy

    def test_a_list_that_is_throttled_for_ever(
        self, proxy: FaultyProxy, uploaded: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where S3 does not even list, the trial cannot be judged, and S3's words are shown."""
        monkeypatch.setattr(s3_client, "RETRY_SECONDS", 0)
        proxy.plan = lambda path, attempt: SLOW_DOWN if path == "LIST" else None
        with pytest.raises(TrialError, match="S3 answered SlowDown"):
            check_trial(uploaded)
        assert proxy.attempts["LIST"] == s3_client.ATTEMPTS
