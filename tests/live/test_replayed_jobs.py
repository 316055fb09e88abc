"""Jobs replayed in random order, with parts written again: a follower has the report of a check afterwards.

Nothing waits: each sleep of the follower writes the next few files of the job.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import threading
import time
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest

import weight_update_ratio.follow as follow_module
from tests.conftest import RECORDED, REPOSITORY, TrialWriter, index_file, needs_writing, write_whole_trial
from weight_update_ratio import Report, check_trial, follow_trial

pytestmark = pytest.mark.slow

JOBS = 200
STEPS = 12  # of the jobs that are written here
END = "training_job_end.ts"
REAL_SLEEP = time.sleep
COLLECTIONS = "collections/000000000/worker_0_collections.json"
HOOKS = REPOSITORY / "tests" / "trials" / "hooks"


def files_of(trial: Path) -> dict[str, bytes]:
    """Return {name: content} of a trial's files."""
    files = {path.relative_to(trial).as_posix(): path.read_bytes() for path in trial.rglob("*") if path.is_file()}
    files.pop(END, None)
    return files


def written_run(path: Path, seed: int) -> dict[str, bytes]:
    """Return a run of two workers: one weight becomes NaN at a step of the run's own, another one's shape changes."""
    walk = np.cumsum(np.random.default_rng(seed).normal(0, 0.01, (STEPS, 30)), axis=0) + 1
    walk[STEPS - 3 * seed :] = np.nan
    tensors = {"w": lambda step: walk[step], "late": lambda step: walk[step][:4] if step >= 4 else np.zeros(0)}
    modes = ["EVAL" if step % 5 == 4 else "TRAIN" for step in range(STEPS)]
    return files_of(write_whole_trial(path, tensors, STEPS, modes, workers=("worker_0", "worker_1")).path)


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> list[list[dict[str, bytes]]]:
    """Give families of runs: one run of a family can go on where another broke off."""
    recorded = [files_of(RECORDED[name]) for name in ("pytorch_healthy", "pytorch_frozen", "pytorch_exploding")]
    folder = tmp_path_factory.mktemp("runs")
    written = [written_run(folder / str(seed), seed) for seed in range(3)]
    hooks = [[files_of(folder / "trial")] for folder in sorted(HOOKS.iterdir()) if folder.is_dir()]
    return [recorded, recorded, written, written, *hooks]


def step_of(name: str) -> int:
    """Return the global step of an index or event file."""
    return int(name.rsplit("/", 1)[-1].split("_")[0])


def planned_writes(
    runs: list[dict[str, bytes]], chance: random.Random, growing: bool = True
) -> list[tuple[str, bytes]]:
    """Return what a job writes in turn: (name, content).

    It is a part of each of several runs, from the step on at which this one goes on; in some order, and with
    ``growing`` some files twice, the first time not whole.
    """
    collections = [(name, content) for name, content in runs[0].items() if name.startswith("collections")]
    fewer = [(name, json.dumps(with_fewer_names(json.loads(content))).encode()) for name, content in collections]
    steps = sorted({step_of(name) for name in runs[0] if name.startswith(("index", "events"))})
    writes = chance.choice([fewer, collections])[:]
    late_collections = chance.randrange(3)
    first, end = 0, chance.randrange(1, len(steps) + 1)
    parts = chance.sample(runs, chance.randrange(1, len(runs) + 1))
    for number, run in enumerate(parts):
        wanted = set(steps[first : end if number + 1 < len(parts) else None])
        disorder = chance.choice([0.0, 1.0, 4.0, 30.0])
        names = [name for name in run if name.startswith(("index", "events")) and step_of(name) in wanted]
        for name in sorted(names, key=lambda name: step_of(name) + disorder * chance.random()):
            if growing and chance.random() < 0.1:
                writes.append((name, run[name][: chance.randrange(len(run[name]) or 1)]))
            writes.append((name, run[name]))
        if number == late_collections:
            writes += collections
        first, end = chance.randrange(end), chance.randrange(end, len(steps) + 1)
    return [*writes, *collections]


def with_fewer_names(content: Any) -> Any:
    """Return a collections file as before the last of its weights had been seen."""
    weights = content["collections"]["weights"]
    weights["tensor_names"] = sorted(weights["tensor_names"] or [])[:-1]
    return content


class Job:
    """A job that writes when somebody sleeps."""

    def __init__(self, trial: Path, writes: list[tuple[str, bytes]], chance: random.Random) -> None:
        self._trial = trial
        self._writes = iter(writes)
        self._chance = chance
        self._time = 10**18
        self._thread = threading.current_thread()

    def sleep(self, seconds: float) -> None:
        """Write the next few files, each at a moment of its own, and the end-of-job file as the last."""
        if threading.current_thread() is not self._thread:
            REAL_SLEEP(seconds)  # of something else in this process, which must not write at the same time
            return
        for _ in range(self._chance.randrange(1, 12)):
            name, content = next(self._writes, (END, b""))
            self._time += 10**7
            new = self._trial / "new"
            new.write_bytes(content)
            os.utime(new, ns=(self._time, self._time))
            (self._trial / name).parent.mkdir(parents=True, exist_ok=True)
            new.replace(self._trial / name)


@needs_writing
@pytest.mark.parametrize("seed", range(JOBS))
def test_a_follower_has_the_report_of_a_check_afterwards(
    families: list[list[dict[str, bytes]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Whatever came late, out of order, in parts or again: the same JSON, and the same rows in the same order."""
    chance = random.Random(seed)
    trial = tmp_path / "trial"
    trial.mkdir()
    job = Job(trial, planned_writes(chance.choice(families), chance), chance)
    monkeypatch.setattr(follow_module.time, "sleep", job.sleep)
    options = {"num_steps": chance.choice([None, 1, 3]), "start_step": chance.choice([0, 0, 3])}
    report = follow_trial(trial, **options)
    afterwards = check_trial(trial, **options)
    assert afterwards.to_json() == report.to_json()
    assert list(map(repr, afterwards)) == list(map(repr, report))


@needs_writing
@pytest.mark.parametrize("seed", range(JOBS // 4))
def test_the_rule_has_the_rows_of_a_check_afterwards(
    families: list[list[dict[str, bytes]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Under invoke_rule, which passes over late steps; it has fired if the check does."""
    from smdebug.exceptions import (
        InsufficientInformationForRuleInvocation,
        NoMoreData,
        RuleEvaluationConditionMet,
    )
    from smdebug.rules import invoke_rule
    from smdebug.trials import create_trial

    from weight_update_ratio import WeightUpdateRatio

    chance = random.Random(seed)
    trial = tmp_path / "trial"
    trial.mkdir()
    family = chance.choice(
        [runs for runs in families if not any(b'"mode_step": -1' in text for text in runs[0].values())]
    )
    job = Job(trial, planned_writes(family, chance, growing=False), chance)
    monkeypatch.setattr(time, "sleep", job.sleep)
    rule = WeightUpdateRatio(create_trial(str(trial)))
    step, fired = 0, False
    try:
        while True:
            try:
                invoke_rule(rule, start_step=step, raise_eval_cond=True)
            except RuleEvaluationConditionMet as condition:
                step, fired = condition.step + 1, True
    except NoMoreData:
        afterwards = check_trial(trial)
        assert list(map(repr, afterwards)) == list(map(repr, rule._history))
        assert fired or not afterwards.fired
    except InsufficientInformationForRuleInvocation:
        assert not len(check_trial(trial))


@needs_writing
class TestAFileBeforeStartStep:
    """What comes late before the first judged step counts too: violations in a row, and what can be held."""

    def followed(self, run: Path, late: int, live: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Report:
        """Return the report of a follower from step 10 on, to whom one index file comes last."""
        files = files_of(run)
        name = index_file(run, late).relative_to(run).as_posix()
        live.mkdir()
        writes = sorted(files.items(), key=lambda item: (not item[0].startswith("collections"), item[0] == name))
        monkeypatch.setattr(follow_module.time, "sleep", Job(live, writes, random.Random(0)).sleep)
        report = follow_trial(live, start_step=10, **options)
        afterwards = check_trial(live, start_step=10, **options)
        assert afterwards.to_json() == report.to_json()
        assert afterwards.history.fired_steps == report.history.fired_steps
        return report

    def grown(self, bad: set[int]) -> list[Any]:
        """Return weights whose ratio is about 100 at some steps, and 0.01 at the others."""
        sizes = np.cumprod([101.0 if step in bad else 1.01 for step in range(14)]) * 1e-20
        return [np.array([size]) for size in sizes]

    def test_a_step_that_is_sound(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without it two violations at 7 and 9 and one at 10 are three in a row."""
        run = write_whole_trial(tmp_path / "run", {"w": self.grown({6, 7, 9, 10})}).path
        options = {"patience": 3, "epsilon": 1e-30}
        report = self.followed(run, 8, tmp_path / "live", monkeypatch, **options)
        assert (set(), 0) == (report.history.fired_steps, report.exit_code)

    def test_the_step_that_can_be_held(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Only then the thresholds count: until it is there the violations wait."""
        good = write_whole_trial(tmp_path / "good", {"held": self.grown(set())}).path
        tensors = {"w": self.grown(set(range(6, 14))), "held": [None] * 7 + self.grown(set())[:2] + [None] * 5}
        run = write_whole_trial(tmp_path / "run", tensors, steps=14).path
        report = self.followed(run, 8, tmp_path / "live", monkeypatch, baseline=good, epsilon=1e-30)
        assert ({10, 11, 12, 13}, 1) == (report.history.fired_steps, report.exit_code)


@needs_writing
class TestOneJobOfAKind:
    """Each is a list of what the job does while the follower sleeps; the end-of-job file comes last."""

    ONE = np.ones(4)

    @pytest.fixture
    def job(self, tmp_path: Path) -> TrialWriter:
        return TrialWriter(tmp_path / "trial").collections({"weights": ["a", "b"]})

    def save(self, job: TrialWriter, step: int, mode: str = "TRAIN", **tensors: Any) -> None:
        job.save(step, tensors or {"a": self.ONE * (1 + step / 100)}, mode, step)

    def followed(
        self, monkeypatch: pytest.MonkeyPatch, trial: Path, *deeds: Callable[[], Any], **options: Any
    ) -> tuple[Report, Report]:
        """Return the reports of a follower and of a check afterwards."""
        writes = iter([*deeds, (trial / END).touch])
        own = threading.current_thread()

        def sleep(seconds: float) -> None:
            if threading.current_thread() is own:
                next(writes, lambda: None)()
            else:
                REAL_SLEEP(seconds)  # of something else in this process, which must not write at the same time

        monkeypatch.setattr(follow_module.time, "sleep", sleep)
        return follow_trial(trial, **options), check_trial(trial, **options)

    def assert_same(self, reports: tuple[Report, Report]) -> None:
        followed, checked = reports
        assert checked.to_json() == followed.to_json()
        assert list(map(repr, checked)) == list(map(repr, followed))

    def test_a_late_step_that_changes_no_other_one(self, job: TrialWriter, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its row comes where it belongs, and the worst step is the earliest."""
        self.save(job, 2, a=self.ONE)
        late = [lambda: self.save(job, 5, a=self.ONE), lambda: self.save(job, 4, a=self.ONE)]
        reports = self.followed(monkeypatch, job.path, *late, num_steps=3)
        self.assert_same(reports)
        assert [4, 5] == [row.step for row in reports[0]]

    @pytest.mark.parametrize("lost", [False, True])
    def test_a_job_that_begins_anew(self, job: TrialWriter, monkeypatch: pytest.MonkeyPatch, lost: bool) -> None:
        """In the emptied folder, with other collections and fewer steps; nothing of the old run is left."""
        for step in range(6):
            self.save(job, step)

        def restart() -> None:
            shutil.rmtree(job.path)
            again = TrialWriter(job.path).collections({"weights": ["a", "b", "c"]})
            for step in range(3):
                self.save(again, step, a=self.ONE * step, b=self.ONE)
            if lost:
                index_file(job.path, 2).unlink()

        reports = self.followed(monkeypatch, job.path, lambda: None, restart)
        self.assert_same(reports)
        assert reports[0].counts["steps"] == (2 if lost else 3)

    def test_a_mode_that_was_overwritten(self, job: TrialWriter, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of the TRAIN steps none is left, so GLOBAL is judged."""
        for step in range(3):
            self.save(job, step)
        again = lambda: [self.save(job, step, "GLOBAL") for step in range(5)]  # noqa: E731
        reports = self.followed(monkeypatch, job.path, lambda: None, again)
        self.assert_same(reports)
        assert ("GLOBAL", 4) == (reports[0].mode, len(reports[0]))

    def test_a_name_that_was_overwritten(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A pattern that matched only it matches nothing in the end."""
        job = TrialWriter(tmp_path / "trial").collections({"weights": []}, {"weights": ["."]})
        for step in range(2):
            self.save(job, step, a=self.ONE * step, old=self.ONE)
        again = lambda: [self.save(job, step, a=self.ONE * step, new=self.ONE) for step in range(3)]  # noqa: E731
        reports = self.followed(monkeypatch, job.path, lambda: None, again, exclude_regex="old")
        self.assert_same(reports)
        assert "matches exclude_regex 'old'" in str(reports[0].problem)

    def test_a_worker_that_writes_after_the_end(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """worker_0 writes the end-of-job file while worker_1 still saves its last step."""
        job = TrialWriter(tmp_path / "trial").collections({"weights": ["a"]}, workers=("worker_0", "worker_1"))
        for step in range(4):
            for worker in ("worker_0", "worker_1")[: 1 if step == 3 else 2]:
                job.save(step, {"a": self.ONE * (1 + step)}, worker=worker)
        last = lambda: job.save(3, {"a": self.ONE * 4}, worker="worker_1")  # noqa: E731
        reports = self.followed(monkeypatch, job.path, (job.path / END).touch, last)
        self.assert_same(reports)
        assert (6, []) == (len(reports[0]), reports[0].skipped)

    def test_the_end_comes_while_the_rest_is_judged(self, tmp_path: Path) -> None:
        """The job seemed dead, and was not."""
        job = TrialWriter(tmp_path / "trial").collections({"weights": ["a"]}, workers=("worker_0", "worker_1"))
        for step in range(4):
            job.save(step, {"a": self.ONE * (1 + step)})

        def write_the_rest(done: int, total: int) -> None:
            if not (job.path / END).exists():
                for step in range(4):
                    job.save(step, {"a": self.ONE * (1 + step)}, worker="worker_1")
                job.end()

        report = follow_trial(job.path, timeout=0.2, poll=0.02, progress=write_the_rest)
        self.assert_same((report, check_trial(job.path)))
        assert (None, 6) == (report.problem, len(report))

    def test_a_collections_file_that_never_comes(self, tmp_path: Path) -> None:
        """The job is not dead while it writes."""
        job = TrialWriter(tmp_path / "trial").collections({"weights": ["a"]}, num_workers=2)

        def write() -> None:
            for step in range(30):
                self.save(job, step)
                time.sleep(0.03)
            job.end()

        thread = threading.Thread(target=write)
        thread.start()
        report = follow_trial(job.path, timeout=0.5, poll=0.02)
        thread.join()
        self.assert_same((report, check_trial(job.path)))
        assert 29 == len(report)
