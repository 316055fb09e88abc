"""Following jobs as people do: a real writing process, patience that ends, Ctrl-C, and what is seen on the way."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest

from tests.conftest import (
    RECORDED,
    TrialWriter,
    as_smdebug_reads,
    assert_same_comparisons,
    expected_comparisons,
    found_comparisons,
    needs_writing,
)
from tests.live.test_replayed_jobs import at_each_sleep, save
from tests.processes import wait_until, wait_until_asleep
from tests.reports import invoke_command
from weight_update_ratio import Report, TrialError, WeightUpdateRatio, check_trial, follow_trial
from weight_update_ratio.follow import POLL_SECONDS

pytestmark = [needs_writing, pytest.mark.slow]

STEPS = 60
KILLED_AT = 31
JOB = (sys.executable, "-m", "tests.live.live_job")


@pytest.fixture
def live(tmp_path: Path) -> TrialWriter:
    """Give a job of three steps that goes on."""
    job = TrialWriter(tmp_path / "trial").collections({"weights": ["a"]}, workers=["worker_0", "worker_1"])
    save(job, "0 1 2")
    return job


class NotedRule(WeightUpdateRatio):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.answers: dict[int, bool] = {}

    def invoke_at_step(self, step: int) -> bool:
        self.answers[step] = super().invoke_at_step(step)
        return self.answers[step]


def test_a_real_job_that_is_killed_and_resumed(tmp_path: Path, start: Callable[..., subprocess.Popen[str]]) -> None:
    """The command, begun before the folder is there, and the rule have the rows of a check afterwards.

    The job has two workers, and is killed in the midst of a step.
    """
    from smdebug.exceptions import NoMoreData
    from smdebug.rules import invoke_rule

    trial, history, large = tmp_path / "trial", tmp_path / "history.jsonl", 0.09
    options = ["--large-threshold", large, "--format", "json", "--history", history]
    follower = start("check", trial, "--follow", *options)
    job = start(trial, 0, KILLED_AT, "--hang", "--seconds", "0.05", program=JOB)
    assert "0\n" == job.stdout.readline()
    rule = NotedRule(trial, large_threshold=large)

    def run_rule() -> None:
        with contextlib.suppress(NoMoreData):
            invoke_rule(rule)

    thread = threading.Thread(target=run_rule, daemon=True)
    thread.start()
    assert "hangs\n" in job.stdout
    wait_until(lambda: KILLED_AT - 1 in rule.answers)
    wait_until_asleep(follower)
    time.sleep(1.5 * POLL_SECONDS)  # both look again, and see what the dead job leaves
    job.send_signal(signal.SIGKILL)
    job.wait(60)
    start(trial, KILLED_AT, STEPS, "--end-job", "--seconds", "0.02", program=JOB)
    output, errors = follower.communicate(timeout=120)
    thread.join(120)
    assert not thread.is_alive()

    report = check_trial(trial, large_threshold=large)
    assert_same_comparisons(expected_comparisons(as_smdebug_reads(trial)), found_comparisons(report))
    assert {"TRAIN"} == {row.mode for row in report}  # EVAL steps at the start and between are compared with nothing
    assert 2 * 2 * (STEPS - 3 - 6 - 1) == len(report)
    assert [row._asdict() for row in report] == [json.loads(line) for line in history.read_text().splitlines()]
    assert json.loads(report.to_json()) == json.loads(output)
    assert report.exit_code == follower.returncode == 1
    lines = errors.splitlines()
    assert lines == [line for line in lines if re.match(r"TRAIN step \d+: too large: \S+ on worker_., ", line)]
    assert 1 <= len(lines) <= 4  # two tensors of two workers, each where it begins
    assert found_comparisons(report) == found_comparisons(rule.comparisons())
    assert report.fired_steps == sorted(step for step, fires in rule.answers.items() if fires)
    counts = rule.report["RuleTriggered"], rule.report["Details"]["unreadable"]
    assert (len(report.fired_steps), 0) == counts


class TestTheEndOfPatience:
    @pytest.mark.parametrize(("threshold", "code"), [("10", 2), ("1e-6", 1)])
    def test_no_new_step(self, live: TrialWriter, threshold: str, code: int) -> None:
        """What was found stands and why it ended is said; what there is of the last step is judged, as a check does."""
        save(live, "3a")
        options = ["--timeout", "0.2", "--large-threshold", threshold, "--format", "json", "--strict"]
        done = invoke_command("check", str(live.path), "--follow", *options)
        assert code == done.exit_code
        assert len(check_trial(live.path)) == json.loads(done.stdout)["counts"]["comparisons"] == 5
        message = "Error: the job wrote no new step for 0.2 s, and no end-of-job file\n\n"
        remedy = "See whether the training job still runs; --timeout waits longer.\n"
        assert done.stderr.endswith(message + remedy)
        assert done.stderr.count("TRAIN step") == (1 if code == 1 else 0)  # where it begins to fire

    @pytest.mark.parametrize(
        ("made", "timeout", "words"),
        [
            ([], 0.1, "' does not exist"),  # it may yet come
            (["trial/"], 0.1, "' is not a trial"),
            (["trial/", "trial/training_job_end.ts"], 600, "' is not a trial"),  # nothing is waited for
        ],
    )
    def test_no_trial(self, tmp_path: Path, made: list[str], timeout: float, words: str) -> None:
        for name in made:
            (tmp_path / name).mkdir() if name.endswith("/") else (tmp_path / name).touch()
        with pytest.raises(TrialError, match=words):
            follow_trial(tmp_path / "trial", timeout=timeout, poll=0.02)

    def test_collections_of_a_worker_that_never_come(self, tmp_path: Path) -> None:
        """What is there is judged, and the rest is said."""
        job = TrialWriter(tmp_path / "trial").collections({"weights": ["a"]}, num_workers=2)
        save(job, "0 1 2")
        report = follow_trial(job.path, timeout=0.2, poll=0.02)
        assert (4, 2) == (len(report), report.exit_code)
        assert ["collections/000000000/worker_1_collections.json"] == [entry.file for entry in report.unreadable]

    def test_steps_of_eval_alone_fire_nothing(self, tmp_path: Path) -> None:
        """Their weights do not change: a check of an ended job says so, a job that goes on may yet train."""
        job = TrialWriter(tmp_path / "trial").collections({"weights": ["w"]})
        for step in range(3):
            job.save(step, {"w": np.ones(3)}, "EVAL")
        report = follow_trial(job.path, timeout=0.2, poll=0.02)
        assert (2, 0, None) == (report.exit_code, len(report), report.mode)
        job.end()
        assert 1 == follow_trial(job.path).exit_code == check_trial(job.path).exit_code

    @pytest.mark.parametrize("name", ["timeout", "poll"])
    @pytest.mark.parametrize("value", [0, -1, float("nan"), "5"])
    def test_times_are_seconds(self, name: str, value: Any) -> None:
        with pytest.raises(ValueError, match=rf"^'{name}' must be a number of seconds > 0 \(got "):
            follow_trial(RECORDED["pytorch_healthy"], **{name: value})


class TestWatch:
    def test_it_is_called_after_each_step_with_what_is_new(self, live: TrialWriter) -> None:
        """With ``strict``, all that fires; each once."""
        live.end()
        seen = []

        def watch(report: Report, firing: Any) -> bool:
            seen.append((len(report), [(row.tensor, row.worker, row.step) for row in firing]))
            return False

        follow_trial(live.path, large_threshold=1e-7, small_threshold=1e-9, strict=True, watch=watch)
        assert [(0, []), (2, [("a", "worker_0", 1), ("a", "worker_1", 1)]), (4, [])] == seen

    def test_the_page_grows_with_the_job(
        self, live: TrialWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is there before the job ends, and is written anew at the end."""
        page = tmp_path / "page.html"
        pages = []
        deeds = iter([lambda: pages.append(page.read_text("utf-8")), lambda: save(live, "3"), live.end])
        at_each_sleep(monkeypatch, lambda: next(deeds, lambda: None)())
        done = invoke_command("check", str(live.path), "--follow", "--quiet", "--html", str(page))
        assert (0, "", "") == (done.exit_code, done.stdout, done.stderr)
        assert pages != [page.read_text("utf-8")]

    def test_a_page_that_cannot_be_written(self, live: TrialWriter) -> None:
        done = invoke_command("check", str(live.path), "--follow", "--html", "/dev/full")
        assert 2 == done.exit_code
        assert done.stderr.startswith("Error: '/dev/full' cannot be written: No space left on device\n\n")


class TestCtrlC:
    @pytest.mark.parametrize(("threshold", "code"), [("10", 2), ("1e-6", 1)])
    def test_prints_what_was_found(
        self, live: TrialWriter, start: Callable[..., subprocess.Popen[str]], threshold: str, code: int
    ) -> None:
        options = ["--follow", "--format", "json", "--large-threshold", threshold]
        process = start("check", live.path, *options)
        wait_until_asleep(process)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
        assert (code, 4) == (process.returncode, json.loads(output)["counts"]["comparisons"])
        remedy = "What was judged is in the report; follow the job again for the rest."
        assert errors.endswith(f"Error: interrupted before the job ended\n\n{remedy}\n")
        assert "Traceback" not in errors

    def test_before_there_is_a_trial(self, tmp_path: Path, start: Callable[..., subprocess.Popen[str]]) -> None:
        process = start("check", tmp_path / "none", "--follow")
        wait_until_asleep(process)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
        assert (2, "") == (process.returncode, output)
        assert errors.startswith(f"Error: the trial folder '{tmp_path / 'none'}' does not exist\n\n")
        assert "Traceback" not in errors

    def test_does_not_reach_another_thread(self, live: TrialWriter) -> None:
        live.end()
        with ThreadPoolExecutor(1) as thread:
            report = thread.submit(follow_trial, live.path).result()
        assert check_trial(live.path).to_json() == report.to_json()

    def test_once_and_twice(self, live: TrialWriter) -> None:
        """The step in hand is the last; the second is raised, and the handler is what it was before."""
        before = signal.getsignal(signal.SIGINT)

        def interrupt(done: int, times: int) -> None:
            for _ in range(times if done == 2 else 0):
                signal.raise_signal(signal.SIGINT)

        report = follow_trial(live.path, progress=lambda done, known: interrupt(done, 1))
        assert (2, "interrupted before the job ended") == (len(report), report.problem.message)
        assert before is signal.getsignal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            follow_trial(live.path, progress=lambda done, known: interrupt(done, 2))
        assert before is signal.getsignal(signal.SIGINT)
