"""Faults of S3 and of the way to it: retried within bounds, then reported; never a wrong number."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

import weight_update_ratio.storage.s3 as s3_storage
from tests.conftest import RECORDED
from tests.faults.conftest import DENIED, INTERNAL, NO_KEY, SLOW_DOWN, FaultyProxy, first_attempts
from weight_update_ratio import TrialError, check_trial

pytestmark = pytest.mark.slow  # servers, browsers, processes

TRANSIENT = {
    "throttled": SLOW_DOWN,
    "internal error": INTERNAL,
    "hung up": "reset",
    "cut at the first byte": ("cut", 0),
    "cut in the middle": ("cut", 900),
    "stalled": ("stall", 3),
    "silent": ("silent", 3),
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
        faults = list(TRANSIENT.values())[:-2]
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
            ("reset", "cannot be read: Connection was closed before we received a valid response"),
            (("cut", 900), "cannot be read: 5 attempts failed, the last: "),
            (("stall", 3), "cannot be read: 5 attempts failed, the last: Read timeout on endpoint URL: "),
            (("silent", 3), "cannot be read: Read timeout on endpoint URL: "),
        ],
    )
    def test_a_record_is_reported(self, proxy: FaultyProxy, uploaded: str, fault: Any, reason: str) -> None:
        """An event file that cannot be had, or vanished after the LIST, is unreadable; all else is compared."""
        proxy.plan = lambda path, attempt: fault if "/events/000000000007" in path else None
        report = check_trial(uploaded)
        sound = [row for row in check_trial(RECORDED["pytorch_healthy"]) if 7 not in (row.step, row.reference_step)]
        assert list(report) == sound
        assert [entry.global_step for entry in report.unreadable] == [7] * 4
        assert all(entry.reason.startswith(reason) for entry in report.unreadable)
        assert report.exit_code == 2
        assert max(proxy.attempts[path] for path in proxy.attempts if "/events/000000000007" in path) == (
            1 if fault is NO_KEY else s3_storage.ATTEMPTS
        )

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

    def test_a_list_that_never_comes_whole(self, proxy: FaultyProxy, uploaded: str) -> None:
        """Neither an empty answer nor half of one is taken for a folder without files."""
        for fault in (("cut", 0), ("cut", 200), (200, b"<not XML"), ("stall", 3), ("silent", 3)):
            proxy.attempts.clear()
            proxy.plan = lambda path, attempt, fault=fault: fault if path == "LIST" else None
            with pytest.raises(TrialError, match=r"cannot be (listed|read): ") as caught:
                check_trial(uploaded)
            assert proxy.attempts["LIST"] == s3_storage.ATTEMPTS
            assert caught.value.remedy

    def test_a_list_that_is_throttled_for_ever(self, proxy: FaultyProxy, uploaded: str) -> None:
        """Where S3 does not even list, the trial cannot be judged, and S3's words are shown."""
        proxy.plan = lambda path, attempt: SLOW_DOWN if path == "LIST" else None
        with pytest.raises(TrialError, match="S3 answered SlowDown"):
            check_trial(uploaded)
        assert proxy.attempts["LIST"] == s3_storage.ATTEMPTS
