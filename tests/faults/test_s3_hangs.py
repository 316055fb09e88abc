"""S3 that hangs: Ctrl-C or SIGTERM end the command at once whatever S3 does, and so does its verdict."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable

import pytest

from tests.conftest import RECORDED, run_command
from tests.faults.conftest import INTERNAL, FaultyProxy
from tests.processes import wait_until
from tests.s3_server import S3Server

pytestmark = pytest.mark.slow  # servers, browsers, processes

PLACES = {"LIST": "LIST", "index": "/index/000000000/000000000004", "events": "/events/000000000007"}
FAULTS = {"silent": ("silent", 60), "silent in the middle": ("stall", 60), "fails, then is silent": INTERNAL}


def assert_interrupted(numbers: list[int], hangs: Callable[[], bool], folder: Path, *arguments: str) -> None:
    """Run the command, send it signals once ``hangs()``, and assert that it ends soon and leaves nothing."""
    file = folder / "history.csv"
    file.write_text("before")
    command = [sys.executable, "-m", "weight_update_ratio", "check", *arguments, "--history", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8") as process:
        try:
            wait_until(hangs)
            for number in numbers:
                time.sleep(0.3)
                assert process.poll() is None
                process.send_signal(number)
            sent = time.monotonic()
            output, errors = process.communicate(timeout=20)
            assert time.monotonic() - sent < 3
        finally:
            process.kill()
    if numbers[-1] == signal.SIGINT:
        assert 2 == process.returncode
        assert "Error: interrupted before" in errors
    else:
        assert (143, "") == (process.returncode, errors)
    assert "Traceback" not in output + errors
    assert ["history.csv"] == os.listdir(folder)


class TestSignals:
    @pytest.mark.parametrize(
        ("numbers", "place", "fault", "options"),
        [
            ([signal.SIGINT], "LIST", "silent", []),
            ([signal.SIGINT], "LIST", "fails, then is silent", []),
            ([signal.SIGINT], "index", "silent in the middle", []),
            ([signal.SIGINT], "events", "silent", []),
            ([signal.SIGINT], "events", "fails, then is silent", []),
            ([signal.SIGTERM], "LIST", "silent", []),
            ([signal.SIGTERM], "events", "silent in the middle", []),
            ([signal.SIGINT] * 2, "LIST", "silent", ["--follow"]),
            ([signal.SIGINT] * 2, "events", "silent in the middle", ["--follow"]),
            ([signal.SIGTERM], "events", "silent", ["--follow"]),
        ],
    )
    def test_end_the_command(
        self,
        proxy: FaultyProxy,
        uploaded: str,
        tmp_path: Path,
        numbers: list[int],
        place: str,
        fault: str,
        options: list[str],
    ) -> None:
        """Within three seconds, with the exit code of an interruption. Following only notes the first Ctrl-C."""
        attempts = 2 if fault == "fails, then is silent" else 1
        faults = [FAULTS[fault], FAULTS["silent"]]  # the second try does not end before the signal
        proxy.plan = lambda path, attempt: faults[attempt >= attempts > 1] if PLACES[place] in path else None

        def hangs() -> bool:
            return any(proxy.attempts[path] >= attempts for path in list(proxy.attempts) if PLACES[place] in path)

        assert_interrupted(numbers, hangs, tmp_path, uploaded, *options)

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_end_a_connect_that_hangs(
        self, s3: Any, tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
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
            assert_interrupted([number], lambda: connecting() > before, tmp_path, "s3://trials/x")
            for filler in fillers:
                filler.close()


def test_a_verdict_does_not_wait_for_what_was_fetched_ahead(proxy: FaultyProxy, s3_server: S3Server) -> None:
    """The rule fires at step 1, and S3 is silent from step 3 on: the command ends."""
    uri = s3_server.upload(RECORDED["pytorch_frozen"], "frozen")
    proxy.plan = lambda path, attempt: (
        ("silent", 60) if "/events/" in path and int(path.partition("/events/")[2][:12]) > 2 else None
    )
    started = time.monotonic()
    done = run_command("check", uri, "--follow", "--fail-fast", "--format", "json")
    assert 1 == done.returncode
    assert json.loads(done.stdout)["fired"]
    assert time.monotonic() - started < 10
