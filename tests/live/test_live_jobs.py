"""Jobs that are still writing: every step judged once, when it is complete; the same rows as a check afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.conftest import (
    RECORDED,
    REPOSITORY,
    TrialWriter,
    event_file,
    expected_comparisons,
    found_comparisons,
    index_file,
    needs_writing,
    random_walk,
)
from tests.processes import wait_until, wait_until_asleep
from tests.reports import invoke_command
from weight_update_ratio import Report, TrialError, WeightUpdateRatio, check_trial, follow_trial
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.storage.disk import DiskStorage
from weight_update_ratio.trial.folder import POLL_SECONDS, TrialFolder

pytestmark = [needs_writing, pytest.mark.slow]

POLL = 0.02
STEPS = 60
KILLED_AT = 31
COMMAND = [sys.executable, "-m", "weight_update_ratio"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY)}


def start(*arguments: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=ENVIRONMENT,
        cwd=REPOSITORY,
    )


def start_job(*arguments: Any) -> subprocess.Popen[str]:
    return start(sys.executable, "-m", "tests.live.live_job", *arguments)


def read_until(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdout is not None
    for read in process.stdout:
        if read.strip() == line:
            return
    raise AssertionError(f"{line!r} did not come: {process.stderr.read() if process.stderr else ''}")


class Followed(NamedTuple):
    """What the followers of a real job found, and the job's folder."""

    trial: Path
    output: dict[str, Any]
    history: list[dict[str, Any]]
    exit_code: int
    rule: Any
    fired_at: list[int]


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Followed:
    """Follow a job of 60 steps and two workers that is killed in the midst of a step and resumed: by both ways.

    The command is started before the folder is there; the rule runs under invoke_rule.
    """
    folder = tmp_path_factory.mktemp("live")
    trial = folder / "trial"
    options = ["--large-threshold", "0.09", "--format", "json", "--history", folder / "history.jsonl"]
    follower = start(*COMMAND, "check", trial, "--follow", "--timeout", "60", *options)
    job = start_job(trial, 0, KILLED_AT, "--hang", "--seconds", "0.05")
    rule_found: dict[str, Any] = {"asked": set()}
    thread = threading.Thread(target=run_rule, args=(trial, rule_found), daemon=True)
    try:
        read_until(job, "0")
        thread.start()
        read_until(job, "hangs")
        wait_until(lambda: KILLED_AT - 1 in rule_found["asked"])
        wait_until_asleep(follower)
        time.sleep(1.5 * POLL_SECONDS)  # both followers look again, and see what the dead job leaves
        job.send_signal(signal.SIGKILL)
        job.communicate(timeout=10)
        job = start_job(trial, KILLED_AT, STEPS, "--end-job", "--seconds", "0.02")
        output, errors = follower.communicate(timeout=60)
        thread.join(60)
        assert not thread.is_alive()
        lines = errors.splitlines()
        assert lines == [line for line in lines if re.match(r"TRAIN step \d+: too large: \S+ on worker_. only, ", line)]
        assert 1 <= len(lines) <= 4  # two tensors of two workers, each where it begins
    finally:
        for process in (follower, job):
            process.kill()
            process.communicate()
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return Followed(trial, json.loads(output), history, follower.returncode, rule_found["rule"], rule_found["fired"])


def run_rule(trial: Path, found: dict[str, Any]) -> None:
    from smdebug.exceptions import NoMoreData
    from smdebug.rules import invoke_rule
    from smdebug.trials import create_trial

    from weight_update_ratio import WeightUpdateRatio

    rule = WeightUpdateRatio(create_trial(str(trial)), large_threshold=0.09)
    judge, found["rule"], found["fired"] = rule.invoke_at_step, rule, []

    def note(step: int) -> bool:
        fired = judge(step)
        found["asked"].add(step)
        found["fired"] += [step] * fired
        return fired

    rule.invoke_at_step = note
    with contextlib.suppress(NoMoreData):
        invoke_rule(rule)


class TestARealJobKilledAndResumed:
    def test_the_command_has_the_rows_of_a_check_afterwards(self, followed: Followed) -> None:
        """And its exit code."""
        report = check_trial(followed.trial, large_threshold=0.09)
        rows = [row._asdict() for row in report]
        assert rows == followed.history
        assert {**followed.output, "trial": ""} == {**json.loads(report.to_json()), "trial": ""}
        assert report.exit_code == followed.exit_code == 1

    def test_the_rule_has_them_too(self, followed: Followed) -> None:
        """And fires at the same steps, each once."""
        report = check_trial(followed.trial, large_threshold=0.09)
        assert found_comparisons(report) == found_comparisons(followed.rule.comparisons())
        fired = sorted({row.global_step for row in report if row.verdict != "ok"})
        assert fired == followed.fired_at
        assert len(fired) == followed.rule.report["RuleTriggered"]
        assert followed.rule.report["Details"]["unreadable"] == 0

    def test_they_are_right(self, followed: Followed) -> None:
        """Against what was saved, by exact sums; the EVAL steps at the start and between are compared with nothing."""
        from tests.conftest import as_smdebug_reads

        expected = expected_comparisons(as_smdebug_reads(followed.trial))
        found = found_comparisons(check_trial(followed.trial))
        assert expected.keys() == found.keys()
        assert all(abs(found[key][2] / expected[key][2] - 1) < 1e-9 for key in expected)
        assert {"TRAIN"} == {row["mode"] for row in followed.history}
        assert 2 * 2 * (STEPS - 3 - 6 - 1) == len(found)


@pytest.fixture
def live(tmp_path: Path) -> TrialWriter:
    """Give a job that has begun: its collections are written."""
    return TrialWriter(tmp_path / "trial").collections({"weights": ["w"]}, workers=["worker_0", "worker_1"])


def save(live: TrialWriter, step: int, workers: int = 2, mode: str = "TRAIN", mode_step: int | None = None) -> None:
    for number in range(workers):
        live.save(step, {"w": random_walk(seed=number)(step)}, mode, mode_step, f"worker_{number}")


def follow(live: TrialWriter, **options: Any) -> Report:
    return follow_trial(live.path, **{"timeout": 0.3, "poll": POLL, **options})


class Background:
    """A follower in a thread, whose progress can be waited for."""

    def __init__(self, live: TrialWriter, **options: Any) -> None:
        self.done = 0
        self.report: Report | None = None
        self._thread = threading.Thread(target=self._run, args=(live, options), daemon=True)
        self._thread.start()

    def _run(self, live: TrialWriter, options: Any) -> None:
        self.report = follow(live, progress=self._note, **{"timeout": 20, **options})

    def _note(self, done: int, total: int) -> None:
        self.done = done

    def wait_for(self, done: int) -> None:
        deadline = time.monotonic() + 10
        while self.done < done:
            assert time.monotonic() < deadline, f"{self.done} steps"
            time.sleep(POLL / 2)

    def stays_at(self, done: int) -> None:
        time.sleep(6 * POLL)
        assert done == self.done

    def result(self) -> Report:
        self._thread.join(20)
        assert self.report is not None
        return self.report


class TestComplete:
    def test_a_step_that_one_worker_has_yet_to_write(self, live: TrialWriter) -> None:
        """It is judged when it is complete, or when a later step is, as smdebug passes over it."""
        follower = Background(live)
        for step in range(3):
            save(live, step)
        follower.wait_for(3)
        save(live, 3, workers=1)
        follower.stays_at(3)
        live.save(3, {"w": random_walk(seed=1)(3)}, "TRAIN", worker="worker_1")
        follower.wait_for(4)
        save(live, 4, workers=1)
        follower.stays_at(4)
        save(live, 5)
        follower.wait_for(6)
        live.end()
        report = follower.result()
        assert found_comparisons(check_trial(live.path)) == found_comparisons(report)
        assert (0, True, None) == (report.exit_code, report.complete, report.problem)

    def test_the_end_of_the_job_completes_what_there_is(self, live: TrialWriter) -> None:
        """A worker that died leaves its last steps to the other."""
        follower = Background(live)
        for step in range(4):
            save(live, step, workers=2 if step < 2 else 1)
        follower.wait_for(2)
        follower.stays_at(2)
        live.end()
        assert found_comparisons(check_trial(live.path)) == found_comparisons(follower.result())

    def test_more_incomplete_steps_than_are_waited_for(
        self, live: TrialWriter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A worker that never writes again holds up the other so many steps."""
        from weight_update_ratio.trial import folder

        monkeypatch.setattr(folder, "MOST_INCOMPLETE", 3)
        follower = Background(live)
        for step in range(8):
            save(live, step, workers=1)
        follower.wait_for(5)
        follower.stays_at(5)
        live.end()
        assert found_comparisons(check_trial(live.path)) == found_comparisons(follower.result())

    @pytest.mark.parametrize("num_steps", [None, 3])
    def test_steps_of_no_mode_before_the_first_of_training(self, live: TrialWriter, num_steps: int | None) -> None:
        """They are not training: what was judged of them does not count."""
        follower = Background(live, num_steps=num_steps)
        for step in range(3):
            save(live, step, mode="GLOBAL")
        follower.wait_for(3)
        for step in range(3, 6):
            save(live, step)
        time.sleep(6 * POLL)
        live.end()
        report = follower.result()
        assert found_comparisons(check_trial(live.path, num_steps=num_steps)) == found_comparisons(report)
        assert report.mode == "TRAIN"

    def test_numbers_that_a_resumed_job_repeats(self, live: TrialWriter) -> None:
        """Rows that were judged and are saved again later do not count at the end."""
        follower = Background(live, large_threshold=1e-6)
        for step in range(5):
            save(live, step)
        follower.wait_for(5)
        for step in range(5, 9):
            save(live, step, mode_step=step - 2)
        live.end()
        report = follower.result()
        expected = check_trial(live.path, large_threshold=1e-6)
        assert [repr(row) for row in report] == [repr(row) for row in expected]
        assert report.to_json() == expected.to_json()
        assert {"saved again later: steps 3-4"} == {group.reason for group in report.skipped}

    def test_a_range_of_steps(self, live: TrialWriter) -> None:
        """The following ends at its end, while the job goes on."""
        follower = Background(live, start_step=2, end_step=5)
        for step in range(7):
            save(live, step)
        report = follower.result()
        assert {2, 3, 4} == {row.global_step for row in report}
        assert (0, None) == (report.exit_code, report.problem)

    @pytest.mark.parametrize("step", [0, 2])
    @pytest.mark.parametrize("listed", [True, False])
    def test_an_event_file_that_comes_late(self, live: TrialWriter, step: int, listed: bool) -> None:
        """Its index file may be seen first; it is waited for, also where a pattern alone says what a weight is."""
        if not listed:
            live.collections({}, {"weights": ["^w$"]}, workers=["worker_0", "worker_1"])
        follower = Background(live)
        for sound in range(step):
            save(live, sound)
        follower.wait_for(step)
        later = TrialWriter(live.path.parent / "later")
        save(later, step, mode_step=step)
        live.path.joinpath("events", f"{step:012d}").mkdir(parents=True)
        index_file(live.path, step).parent.mkdir(parents=True, exist_ok=True)
        for number in range(2):
            os.rename(event_file(later.path, step, f"worker_{number}"), later.path / f"{number}")
            os.rename(index_file(later.path, step, f"worker_{number}"), index_file(live.path, step, f"worker_{number}"))
        follower.stays_at(step)
        for number in range(2):
            os.rename(later.path / f"{number}", event_file(live.path, step, f"worker_{number}"))
        follower.wait_for(step + 1)
        save(live, step + 1, mode_step=step + 1)
        live.end()
        report = follower.result()
        assert ([], 2 * (step + 1)) == (report.unreadable, len(report))

    def test_an_index_file_that_comes_late(self, live: TrialWriter) -> None:
        """While a later one of its worker is there and it is not, its event file has lost it."""
        for step in range(3):
            save(live, step)
        os.rename(index_file(live.path, 1), live.path / "hidden")
        folder = TrialFolder(DiskStorage(str(live.path)), Parameters())
        assert {"worker_0": [1]} == folder.broken
        os.rename(live.path / "hidden", index_file(live.path, 1))
        folder.refresh()
        assert {"worker_0": []} == folder.broken
        live.end()
        folder.refresh()
        assert folder.ended
        folder.refresh()
        assert [0, 1, 2] == folder.steps

    def test_an_event_file_that_never_comes(self, live: TrialWriter) -> None:
        """When a later step has its own, it is missing."""
        follower = Background(live)
        for step in range(2):
            save(live, step)
        follower.wait_for(2)
        hidden = TrialWriter(live.path.parent / "hidden")
        save(hidden, 2, mode_step=2)
        for number in range(2):
            os.rename(index_file(hidden.path, 2, f"worker_{number}"), index_file(live.path, 2, f"worker_{number}"))
        follower.stays_at(2)
        save(live, 3, mode_step=3)
        follower.wait_for(4)
        live.end()
        report = follower.result()
        assert (2, 2) == (report.exit_code, len(report.unreadable))
        assert found_comparisons(check_trial(live.path)) == found_comparisons(report)


class TestTheEndOfPatience:
    def test_no_folder(self, tmp_path: Path) -> None:
        """It may yet come, and then it does not."""
        with pytest.raises(TrialError, match="does not exist"):
            follow_trial(tmp_path / "none", timeout=0.1, poll=POLL)

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        """As for a check."""
        with pytest.raises(TrialError, match="is not a trial"):
            follow_trial(tmp_path, timeout=0.1, poll=POLL)

    def test_an_ended_job_without_collections(self, tmp_path: Path) -> None:
        """Nothing is waited for."""
        (tmp_path / "training_job_end.ts").touch()
        with pytest.raises(TrialError, match="is not a trial"):
            follow_trial(tmp_path, timeout=60)

    def test_collections_that_come_late(self, tmp_path: Path) -> None:
        """Those of all workers are waited for, and no longer than a job of which nothing is new."""
        writer = TrialWriter(tmp_path / "trial")
        follower = Background(writer)
        time.sleep(3 * POLL)
        writer.collections({"weights": ["w"]}, num_workers=2)
        time.sleep(3 * POLL)
        assert follower.report is None
        writer.collections({"weights": ["w"]}, workers=["worker_1"], num_workers=2)
        for step in range(2):
            save(writer, step)
        follower.wait_for(2)
        writer.end()
        assert 2 == len(follower.result())

    def test_collections_of_a_worker_that_never_come(self, tmp_path: Path) -> None:
        """What is there is judged, and the rest is said."""
        writer = TrialWriter(tmp_path / "trial").collections({"weights": ["w"]}, num_workers=2)
        for step in range(3):
            save(writer, step)
        report = follow(writer)
        assert (4, 2) == (len(report), report.exit_code)
        assert ["collections/000000000/worker_1_collections.json"] == [entry.file for entry in report.unreadable]

    @pytest.mark.parametrize(("threshold", "exit_code"), [(10.0, 2), (1e-6, 1)])
    def test_no_new_step(self, live: TrialWriter, threshold: float, exit_code: int) -> None:
        """What was found stands; what is there of the last step is judged, as a check does."""
        for step in range(4):
            save(live, step, workers=2 if step < 3 else 1)
        report = follow(live, large_threshold=threshold)
        assert (exit_code, False) == (report.exit_code, report.complete)
        assert "the job wrote no new step for 0.3 s, and no end-of-job file" == report.problem.message
        assert found_comparisons(check_trial(live.path)) == found_comparisons(report)

    def test_steps_of_eval_alone_fire_nothing(self, live: TrialWriter) -> None:
        """Their weights do not change: a check of an ended job says so, a job that goes on may yet train."""
        for step in range(3):
            live.save(step, {"w": np.ones(3)}, "EVAL")
        report = follow(live)
        assert (2, 0, None) == (report.exit_code, len(report), report.mode)
        live.end()
        assert 1 == follow(live).exit_code == check_trial(live.path).exit_code

    @pytest.mark.parametrize("name", ["timeout", "poll"])
    @pytest.mark.parametrize("value", [0, -1, float("nan"), "5"])
    def test_times(self, live: TrialWriter, name: str, value: Any) -> None:
        """Both are seconds."""
        with pytest.raises(ValueError, match=rf"^'{name}' must be a number of seconds > 0 \(got "):
            follow(live, **{name: value})

    def test_the_command(self, live: TrialWriter) -> None:
        """What was found is printed, and why it ended."""
        for step in range(3):
            save(live, step)
        result = invoke_command("check", str(live.path), "--follow", "--timeout", "0.1")
        assert result.exit_code == 2
        assert "4 comparisons" in result.stdout
        assert "Error: the job wrote no new step for 0.1 s" in result.stderr

    def test_an_ended_trial(self) -> None:
        """It is judged at once."""
        report = follow_trial(RECORDED["pytorch_healthy"], timeout=60)
        assert report.to_json() == check_trial(RECORDED["pytorch_healthy"]).to_json()


class TestWatch:
    def test_it_is_called_after_each_step_with_what_fires_there(self, live: TrialWriter) -> None:
        """The report grows."""
        for step in range(4):
            save(live, step)
        live.end()
        seen = []

        def watch(report: Report, firing: Any) -> bool:
            seen.append((len(report), [(row.tensor, row.worker, row.step) for row in firing]))
            return False

        report = follow(live, large_threshold=1e-7, small_threshold=1e-9, watch=watch)
        assert report.exit_code == 1
        assert [0, 2, 4, 6] == [rows for rows, _ in seen]
        assert [] == seen[0][1]
        assert [("w", "worker_0", 3), ("w", "worker_1", 3)] == seen[3][1]

    def test_the_following_ends_where_it_returns_true(self, live: TrialWriter) -> None:
        """At once: the job goes on."""
        for step in range(3):
            save(live, step)
        began = time.monotonic()
        report = follow(live, large_threshold=1e-7, small_threshold=1e-9, watch=lambda report, firing: report.fired)
        assert time.monotonic() - began < 5
        assert (1, 2, None, False) == (report.exit_code, len(report), report.problem, report.job_ended)

    def test_fail_fast(self, live: TrialWriter, tmp_path: Path) -> None:
        """The command ends with 1, says on stderr what began, and its page is there."""
        for step in range(3):
            save(live, step)
        page = tmp_path / "page.html"
        options = ["--large-threshold", "1e-7", "--small-threshold", "1e-9", "--html", page]
        follower = start(*COMMAND, "check", live.path, "--follow", "--fail-fast", *options)
        output, errors = follower.communicate(timeout=60)
        assert (1, "FIRED") == (follower.returncode, output[:5])
        assert re.fullmatch(r"TRAIN step 1: too large: w on all 2 workers, ratio \S+ in w\n", errors)
        assert page.read_text("utf-8").startswith("<!DOCTYPE html>")

    def test_the_page_grows_with_the_job(self, live: TrialWriter, tmp_path: Path) -> None:
        """It is there before the job ends, and is written anew at the end."""
        save(live, 0)
        save(live, 1)
        page = tmp_path / "page.html"
        follower = start(*COMMAND, "check", live.path, "--follow", "--quiet", "--html", page)
        try:
            deadline = time.monotonic() + 30
            while not page.exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            first = page.read_text("utf-8")
            save(live, 2)
            live.end()
            assert ("", "") == follower.communicate(timeout=60)
        finally:
            follower.kill()
            follower.communicate()
        assert first != page.read_text("utf-8")

    def test_a_page_that_cannot_be_written(self, live: TrialWriter) -> None:
        """It ends the following with a message, not with a traceback."""
        save(live, 0)
        save(live, 1)
        follower = start(*COMMAND, "check", live.path, "--follow", "--html", "/dev/full")
        _, errors = follower.communicate(timeout=60)
        assert 2 == follower.returncode
        assert errors.startswith("Error: '/dev/full' cannot be written: No space left on device\n\n")


class TestCtrlC:
    @pytest.mark.parametrize(("threshold", "exit_code"), [("10", 2), ("1e-6", 1)])
    def test_prints_what_was_found(self, live: TrialWriter, threshold: str, exit_code: int) -> None:
        """Without a traceback."""
        for step in range(3):
            save(live, step)
        arguments = ["--follow", "--format", "json", "--large-threshold", threshold]
        process = start(*COMMAND, "check", live.path, *arguments)
        wait_until_asleep(process)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=20)
        assert exit_code == process.returncode
        assert 4 == json.loads(output)["counts"]["comparisons"]
        assert "Error: interrupted before the job ended\n" in errors
        assert "Traceback" not in errors

    def test_before_there_is_a_trial(self, tmp_path: Path) -> None:
        """Nothing was found."""
        process = start(*COMMAND, "check", tmp_path / "none", "--follow")
        wait_until_asleep(process)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=20)
        assert (2, "") == (process.returncode, output)
        assert "does not exist" in errors
        assert "Traceback" not in errors

    def test_twice(self, live: TrialWriter) -> None:
        """The second is raised, and the handler is what it was before."""
        save(live, 0)
        before = signal.getsignal(signal.SIGINT)

        def interrupt(done: int, total: int) -> None:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            follow(live, progress=interrupt)
        assert before is signal.getsignal(signal.SIGINT)

    def test_once(self, live: TrialWriter) -> None:
        """The step in hand is the last."""
        for step in range(5):
            save(live, step)
        report = follow(live, progress=lambda done, total: signal.raise_signal(signal.SIGINT) if done == 2 else None)
        assert (2, "interrupted before the job ended") == (len(report), report.problem.message)


class TestTheRule:
    @pytest.fixture
    def quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let the rule look often for an event file that is not there."""
        from weight_update_ratio import rule

        monkeypatch.setattr(rule, "POLL_SECONDS", POLL)
        monkeypatch.setattr(rule, "EVENT_FILE_LOOKS", 30)

    @pytest.mark.usefixtures("quick")
    @pytest.mark.parametrize("comes", ["late", "never", "passed over"])
    def test_an_event_file_that_is_not_there(self, live: TrialWriter, comes: str) -> None:
        """It is waited for while that may help, and is unreadable then."""
        from smdebug.trials import create_trial

        from weight_update_ratio import WeightUpdateRatio

        for step in range(3):
            save(live, step)
        rule = WeightUpdateRatio(create_trial(str(live.path)))
        rule.invoke_at_step(0)
        rule.invoke_at_step(1)
        hidden = live.path.parent / "hidden"
        os.rename(event_file(live.path, 2), hidden)
        if comes == "passed over":
            save(live, 3)
            rule.invoke_at_step(3)
        timer = threading.Timer(4 * POLL, lambda: os.rename(hidden, event_file(live.path, 2)))
        if comes == "late":
            timer.start()
        started = time.monotonic()
        rule.invoke_at_step(2)
        seconds = time.monotonic() - started
        timer.join() if comes == "late" else None
        assert (0 if comes == "late" else 1) == rule.report["Details"]["unreadable"]
        assert seconds < POLL if comes == "passed over" else seconds > 3 * POLL


class TestTheFirstTrainStep:
    def test_the_rule_takes_back_what_it_judged_before_the_job_began_to_train(self, trial_writer: Any) -> None:
        """The rows and firings of GLOBAL steps go when the first TRAIN step comes."""
        writer = trial_writer().collections({"weights": ["w"]})
        for step, value in enumerate((0.0, 0.0)):
            writer.save(step, {"w": [value]}, mode="GLOBAL", mode_step=step)
        rule = WeightUpdateRatio(str(writer.path))
        assert [rule.invoke_at_step(step) for step in (0, 1)] == [False, True]
        for step, value in enumerate((1.0, 1.01, 1.02), 2):
            writer.save(step, {"w": [value]}, mode="TRAIN", mode_step=step - 2)
        writer.end()
        time.sleep(POLL_SECONDS)  # it lists the index again
        assert [rule.invoke_at_step(step) for step in (2, 3, 4, 1)] == [False] * 4
        assert (rule.report["RuleTriggered"], rule.report["Datapoints"]) == (0, 2)
        assert found_comparisons(rule.comparisons()) == found_comparisons(check_trial(writer.path))
