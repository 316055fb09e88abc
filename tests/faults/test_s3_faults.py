"""Faults of S3 and of the way to it: retried within bounds, then reported; no wrong number, and no command hangs."""

from __future__ import annotations

import itertools
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RECORDED, run_command
from tests.faults.conftest import FaultyProxy
from tests.processes import wait_until
from tests.s3_server import S3Server
from weight_update_ratio import TrialError, check_trial

pytestmark = pytest.mark.slow

HEALTHY = RECORDED["pytorch_healthy"]
EVENTS, INDEX = "/events/000000000007", "/index/000000000/000000000004"
SLOW_DOWN = (503, "SlowDown", "Please reduce your request rate.")
INTERNAL = (500, "InternalError", "We encountered an internal error.")
NO_KEY = (404, "NoSuchKey", "The specified key does not exist.")
DENIED = (403, "AccessDenied", "Access Denied")
HUNG_UP, CUT_AT_ONCE, CUT, STALLED, SILENT = ("hang up", 0), ("cut", 0), ("cut", 900), ("pause", 3), ("silent", 3)
TRANSIENT = [SLOW_DOWN, INTERNAL, HUNG_UP, CUT_AT_ONCE, CUT, STALLED, SILENT]
ATTEMPTS = 5


@pytest.mark.parametrize(("what", "fault"), [*itertools.product(("LIST", EVENTS), TRANSIENT), (INDEX, CUT)])
def test_what_fails_once_is_asked_for_again(proxy: FaultyProxy, uploaded: str, what: str, fault: Any) -> None:
    proxy.plan = lambda path, attempt: fault if what in path and attempt == 1 else None
    report = check_trial(uploaded)
    assert (True, list(check_trial(HEALTHY))) == (report.complete, list(report))
    assert proxy.most_attempts(what) >= 2


def test_a_slow_body_is_waited_for(proxy: FaultyProxy, uploaded: str) -> None:
    proxy.plan = lambda path, attempt: ("pause", 0.5) if EVENTS in path else None
    assert list(check_trial(uploaded)) == list(check_trial(HEALTHY))
    assert 1 == proxy.most_attempts(EVENTS)


@pytest.mark.parametrize(
    ("what", "step", "fault", "reason"),
    [
        (EVENTS, 7, SLOW_DOWN, "cannot be read (S3 answered SlowDown: Please reduce your request rate.)"),
        (EVENTS, 7, DENIED, "cannot be read (S3 answered AccessDenied: Access Denied)"),
        (EVENTS, 7, NO_KEY, "does not exist"),
        (EVENTS, 7, HUNG_UP, "cannot be read: Connection was closed before we received a valid response"),
        (EVENTS, 7, CUT, "cannot be read: 5 attempts failed, the last: "),
        (EVENTS, 7, STALLED, "cannot be read: 5 attempts failed, the last: Read timeout on endpoint URL: "),
        (INDEX, 4, NO_KEY, "does not exist"),
    ],
)
def test_what_fails_without_end_is_reported(
    proxy: FaultyProxy, uploaded: str, what: str, step: int, fault: Any, reason: str
) -> None:
    """What cannot be had, or vanished after the LIST, is unreadable; all else is compared."""
    proxy.plan = lambda path, attempt: fault if what in path else None
    report = check_trial(uploaded)
    assert list(report) == [row for row in check_trial(HEALTHY) if step not in (row.step, row.reference_step)]
    broken = [entry for entry in report.unreadable if what[1:] in entry.file]
    assert {step} == {entry.global_step for entry in broken}
    assert all(entry.reason.startswith(reason) for entry in broken)
    assert 2 == report.exit_code
    assert proxy.most_attempts(what) == (1 if fault in (NO_KEY, DENIED) else ATTEMPTS)


@pytest.mark.parametrize(
    ("fault", "message", "remedy"),
    [
        (SLOW_DOWN, "S3 answered SlowDown: Please reduce your request rate.", ""),
        (DENIED, "S3 answered AccessDenied: Access Denied", "Allow s3:ListBucket"),
        (CUT_AT_ONCE, "5 attempts failed, the last: ", "See that AWS_ENDPOINT_URL"),
        (("cut", 200), "S3 answered 500: Internal Server Error", ""),
        (SILENT, "Read timeout on endpoint URL: ", "See that AWS_ENDPOINT_URL"),
    ],
)
def test_without_a_list_nothing_is_judged(
    proxy: FaultyProxy, uploaded: str, fault: Any, message: str, remedy: str
) -> None:
    """Neither an empty answer nor half of one is taken for a folder without files."""
    proxy.plan = lambda path, attempt: fault if path == "LIST" else None
    with pytest.raises(TrialError) as caught:
        check_trial(uploaded)
    assert caught.value.message.startswith(f"the trial {uploaded!r} cannot be read: {message}")
    assert caught.value.remedy.startswith(remedy)
    assert proxy.most_attempts("LIST") == (1 if fault == DENIED else ATTEMPTS)


# S3 that hangs


@pytest.mark.parametrize(
    ("numbers", "what", "faults", "options"),
    [
        ([signal.SIGINT], "LIST", [("silent", 60)], []),
        ([signal.SIGINT], EVENTS, [INTERNAL, ("silent", 60)], []),
        ([signal.SIGTERM], INDEX, [("pause", 60)], []),
        ([signal.SIGINT] * 2, EVENTS, [("pause", 60)], ["--follow"]),
        ([signal.SIGTERM], EVENTS, [("silent", 60)], ["--follow"]),
    ],
)
def test_a_signal_ends_the_command_whatever_s3_does(
    start: Any, proxy: FaultyProxy, uploaded: str, tmp_path: Path, numbers: Any, what: str, faults: Any, options: Any
) -> None:
    """At once, with the exit code of an interruption, and nothing is left. Following only notes the first Ctrl-C."""
    proxy.plan = lambda path, attempt: faults[min(attempt, len(faults)) - 1] if what in path else None
    file = tmp_path / "history.csv"
    file.write_text("before")
    process = start("check", uploaded, *options, "--history", file)
    wait_until(lambda: proxy.most_attempts(what) >= len(faults))
    for number in numbers:
        time.sleep(0.3)
        assert process.poll() is None
        process.send_signal(number)
    output, errors = process.communicate(timeout=15)
    if numbers[-1] == signal.SIGINT:
        assert (2, True) == (process.returncode, "Error: interrupted before" in errors)
    else:
        assert (143, "") == (process.returncode, errors)
    assert "Traceback" not in output + errors
    assert ("before", ["history.csv"]) == (file.read_text(), os.listdir(tmp_path))


def test_a_verdict_does_not_wait_for_what_was_fetched_ahead(proxy: FaultyProxy, s3_server: S3Server) -> None:
    """The rule fires at step 1, and S3 is silent from step 3 on: the command ends, before a request times out."""
    uri = s3_server.upload(RECORDED["pytorch_frozen"], "frozen")
    proxy.plan = lambda path, attempt: (
        ("silent", 60) if "/events/" in path and int(path.partition("/events/")[2][:12]) > 2 else None
    )
    started = time.monotonic()
    done = run_command("check", uri, "--follow", "--fail-fast", "--strict", "--format", "json")
    assert (1, True) == (done.returncode, json.loads(done.stdout)["fired"])
    assert time.monotonic() - started < 20
