"""S3 that hangs: a request ends at its deadline, and Ctrl-C or SIGTERM end the command at once whatever S3 does."""

from __future__ import annotations

import gc
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import pytest

import weight_update_ratio.storage.s3_client as s3_client
from tests.conftest import RECORDED
from tests.faults.conftest import INTERNAL, FaultyProxy, first_attempts
from tests.processes import wait_until
from weight_update_ratio import TrialError, check_trial
from weight_update_ratio.storage.daemon_threads import DaemonThreads, InterruptedWait, awaited, within

pytestmark = pytest.mark.slow  # servers, browsers, processes

HEALTHY = RECORDED["pytorch_healthy"]
DRIPS = {"body": ("drip", 0.2), "head": ("drip head", 0.2)}
PLACES = {"LIST": "LIST", "index": "/index/000000000/000000000004", "events": "/events/000000000007"}


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a request half a second and then half a second for its body."""
    monkeypatch.setattr(s3_client, "REQUEST_SECONDS", 0.5)
    monkeypatch.setattr(s3_client, "LEAST_RATE", 1 << 30)
    monkeypatch.setattr(s3_client, "RETRY_SECONDS", 0)


@pytest.mark.usefixtures("short")
class TestDeadlines:
    @pytest.mark.parametrize("drip", DRIPS)
    @pytest.mark.parametrize("place", PLACES)
    def test_what_drips_once_is_asked_for_again(self, proxy: FaultyProxy, uploaded: str, place: str, drip: str) -> None:
        """The report is that of the disk."""
        proxy.plan = first_attempts(PLACES[place], DRIPS[drip], often=1)
        started = time.monotonic()
        assert list(check_trial(HEALTHY)) == list(check_trial(uploaded))
        assert time.monotonic() - started < 10
        assert max(proxy.attempts[path] for path in proxy.attempts if PLACES[place] in path) >= 2

    @pytest.mark.parametrize("drip", DRIPS)
    def test_a_record_that_drips_for_ever(self, proxy: FaultyProxy, uploaded: str, drip: str) -> None:
        """It is unreadable after ATTEMPTS, and the rest is compared."""
        proxy.plan = lambda path, attempt: DRIPS[drip] if PLACES["events"] in path else None
        started = time.monotonic()
        report = check_trial(uploaded)
        assert time.monotonic() - started < 10
        assert [row for row in check_trial(HEALTHY) if 7 not in (row.step, row.reference_step)] == list(report)
        assert {"cannot be read: 5 attempts failed, the last: no whole answer within 0.5 s"} == {
            re.sub(r"0\.5\d* s", "0.5 s", entry.reason) for entry in report.unreadable
        }
        assert [7] * 4 == [entry.global_step for entry in report.unreadable]
        assert 5 == max(proxy.attempts[path] for path in proxy.attempts if PLACES["events"] in path)

    def test_an_index_file_that_drips_for_ever(self, proxy: FaultyProxy, uploaded: str) -> None:
        """It is unreadable, and so is what would have been compared with its step."""
        proxy.plan = lambda path, attempt: DRIPS["body"] if PLACES["index"] in path else None
        report = check_trial(uploaded)
        assert [row for row in check_trial(HEALTHY) if 4 not in (row.step, row.reference_step)] == list(report)
        assert report.unreadable[0].reason.startswith("cannot be read: 5 attempts failed")
        assert 2 == report.exit_code

    def test_a_list_that_drips_for_ever(self, proxy: FaultyProxy, uploaded: str) -> None:
        """The trial cannot be judged."""
        proxy.plan = lambda path, attempt: DRIPS["body"] if path == "LIST" else None
        with pytest.raises(TrialError, match=r"5 attempts failed, the last: no whole answer within 0\.5 s") as caught:
            check_trial(uploaded)
        assert caught.value.remedy.endswith("when S3 can be reached.")

    def test_a_body_has_the_time_of_its_bytes(
        self, proxy: FaultyProxy, uploaded: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A large object may take longer than a small one: here 1.5 s for some 3 KB."""
        monkeypatch.setattr(s3_client, "LEAST_RATE", 1000)
        proxy.plan = lambda path, attempt: ("slow", 1.5) if PLACES["events"] in path else None
        assert list(check_trial(HEALTHY)) == list(check_trial(uploaded))
        assert 1 == max(proxy.attempts[path] for path in proxy.attempts if PLACES["events"] in path)


def assert_interrupted(number: signal.Signals, hangs: Any, folder: Path, *arguments: str) -> None:
    """Run the command, send it a signal when ``hangs()``, and assert that it ends soon and leaves nothing."""
    file = folder / "history.csv"
    file.write_text("before")
    command = [sys.executable, "-m", "weight_update_ratio", "check", *arguments, "--history", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8") as process:
        try:
            wait_until(hangs)
            time.sleep(0.3)
            assert process.poll() is None
            sent = time.monotonic()
            process.send_signal(number)
            output, errors = process.communicate(timeout=20)
            assert time.monotonic() - sent < 3
        finally:
            process.kill()
    if number == signal.SIGINT:
        assert 2 == process.returncode
        assert "Error: interrupted before" in errors
    else:
        assert (143, "") == (process.returncode, errors)
    assert "Traceback" not in output + errors
    assert ["history.csv"] == os.listdir(folder)


FAULTS = {
    "silent": ("stall", 60),
    "drips": ("drip", 1),
    "drips its head": ("drip head", 1),
    "fails again and again": INTERNAL,
}


class TestSignals:
    @pytest.mark.parametrize("follow", [[], ["--follow"]])
    @pytest.mark.parametrize(
        ("number", "place", "fault"),
        [
            (signal.SIGINT, "LIST", "silent"),
            (signal.SIGINT, "LIST", "drips its head"),
            (signal.SIGINT, "LIST", "fails again and again"),
            (signal.SIGINT, "index", "drips"),
            (signal.SIGINT, "events", "silent"),
            (signal.SIGINT, "events", "drips"),
            (signal.SIGINT, "events", "fails again and again"),
            (signal.SIGTERM, "LIST", "drips"),
            (signal.SIGTERM, "events", "silent"),
            (signal.SIGTERM, "events", "drips its head"),
        ],
    )
    def test_end_the_command(
        self,
        proxy: FaultyProxy,
        uploaded: str,
        tmp_path: Path,
        number: signal.Signals,
        place: str,
        fault: str,
        follow: list[str],
    ) -> None:
        """Within three seconds, with the exit code of an interruption."""
        proxy.plan = lambda path, attempt: FAULTS[fault] if PLACES[place] in path else None
        attempts = 2 if fault == "fails again and again" else 1

        def hangs() -> bool:
            return any(proxy.attempts[path] >= attempts for path in list(proxy.attempts) if PLACES[place] in path)

        assert_interrupted(number, hangs, tmp_path, uploaded, *follow)

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_end_a_connect_that_hangs(
        self, s3: Any, tmp_path: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A server whose queue is full takes no connection."""
        with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
            port = server.getsockname()[1]
            fillers = [socket.socket() for _ in range(4)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
            waiting = f":{port:04X} 02 "  # the remote port, and SYN_SENT

            def connecting() -> int:
                return Path("/proc/net/tcp").read_text().count(waiting)

            time.sleep(0.2)
            before = connecting()
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
            assert_interrupted(number, lambda: connecting() > before, tmp_path, "s3://trials/x")
            for filler in fillers:
                filler.close()


class TestDaemonThreads:
    def test_as_many_as_allowed_and_none_that_idles(self) -> None:
        """Calls run in their order, several at once, and threads end a while after the last call."""
        threads = DaemonThreads(2)
        both = threading.Barrier(2, timeout=10)
        started: list[int] = []
        before = set(threading.enumerate())

        def call(number: int) -> int:
            started.append(number)
            both.wait()
            return number

        futures = [threads.submit(call, number) for number in range(4)]
        assert [0, 1, 2, 3] == [awaited(future) for future in futures]
        assert [0, 1, 2, 3] == sorted(started)
        wait_until(lambda: before.issuperset(threading.enumerate()))

    def test_one_thread_for_calls_one_after_the_other(self) -> None:
        """A thread that waits takes the next call; where it is busy, another begins."""
        threads = DaemonThreads()
        first = awaited(threads.submit(threading.get_ident))
        for _ in range(5):
            wait_until(lambda: threads._idle == 1)
            assert first == awaited(threads.submit(threading.get_ident))
        wait_until(lambda: threads._idle == 1)
        ended = threading.Event()
        busy = threads.submit(lambda: ended.wait(10) and threading.get_ident())
        other = awaited(threads.submit(threading.get_ident))
        ended.set()
        assert other != awaited(busy)

    @pytest.mark.parametrize("fails", [False, True])
    def test_a_thread_that_waits_keeps_nothing(self, fails: bool) -> None:
        """Neither what a call was given nor what it gave, which may be an object of S3, nor what it raised."""

        class Content:
            pass

        def call(given: Content) -> Content:
            if fails:
                raise ValueError(given)
            return given

        threads = DaemonThreads()
        content = Content()
        kept = weakref.ref(content)
        future = threads.submit(call, content)
        wait_until(lambda: threads._idle == 1)
        assert future.done()
        del future, content
        gc.collect()
        assert (1, None) == (threads._idle, kept())

    def test_an_error_is_raised_where_the_result_is_asked_for(self) -> None:
        with pytest.raises(ZeroDivisionError):
            within(10, lambda: 1 / 0)

    def test_a_deadline(self) -> None:
        """The wait ends, the call does not."""
        called = threading.Event()
        with pytest.raises(OSError, match=r"no whole answer within 0\.1 s"):
            within(0.1, called.wait)
        called.set()

    def test_an_interrupt_that_is_only_noted(self) -> None:
        """A wait of the main thread ends where the handler gave its place back."""
        called = threading.Event()
        before = signal.getsignal(signal.SIGINT)
        signal.signal(signal.SIGINT, lambda number, frame: signal.signal(signal.SIGINT, before))
        timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(InterruptedWait):
            within(10, called.wait)
        timer.join()
        called.set()
        assert before is signal.getsignal(signal.SIGINT)
