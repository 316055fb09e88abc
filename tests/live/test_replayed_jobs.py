"""Jobs replayed in random order, with parts written again or deleted: a follower has the report of a check afterwards.

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
from typing import Any, Callable, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import pytest

import weight_update_ratio.follow as follow_module
from tests.conftest import RECORDED, REPOSITORY, TrialWriter, index_file, needs_writing, write_whole_trial
from weight_update_ratio import Report, TrialError, check_trial, follow_trial

pytestmark = pytest.mark.slow

JOBS = int(os.environ.get("LIVE_JOBS", "200"))
STEPS = 12  # of the jobs that are written here
END = "training_job_end.ts"
REAL_SLEEP = time.sleep
HOOKS = REPOSITORY / "tests" / "trials" / "hooks"
MODES = {
    "train": ["TRAIN", "TRAIN", "TRAIN", "TRAIN", "EVAL"] * 3,
    "global_first": ["GLOBAL", "EVAL", "GLOBAL", *["TRAIN", "TRAIN", "GLOBAL"] * 3],
    "eval_first": ["EVAL", "PREDICT", "EVAL", *["TRAIN"] * 9],
    "eval": ["EVAL", "EVAL", "PREDICT"] * 4,
}

Writes = List[Tuple[str, Optional[bytes]]]  # (name, content, or None where the file is deleted)


class Family(NamedTuple):
    """Runs of which one can go on where another broke off, and one that trains well."""

    runs: list[dict[str, bytes]]
    baseline: Path


def files_of(trial: Path) -> dict[str, bytes]:
    """Return {name: content} of a trial's files."""
    files = {path.relative_to(trial).as_posix(): path.read_bytes() for path in trial.rglob("*") if path.is_file()}
    files.pop(END, None)
    return files


def written_run(path: Path, seed: int, modes: Sequence[str]) -> Path:
    """Write a run of two workers: with a seed above 0 a weight becomes NaN; another one's shape changes."""
    walk = np.cumsum(np.random.default_rng(seed).normal(0, 0.01, (STEPS, 30)), axis=0) + 1
    walk[STEPS - 3 * seed :] = np.nan
    tensors = {"w": lambda step: walk[step], "late": lambda step: walk[step][:4] if step >= 4 else np.zeros(0)}
    return write_whole_trial(path, tensors, STEPS, modes, workers=("worker_0", "worker_1")).path


def written_family(folder: Path, modes: Sequence[str]) -> Family:
    runs = [written_run(folder / str(seed), seed, modes) for seed in range(3)]
    return Family(list(map(files_of, runs)), runs[0])


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> list[Family]:
    """Give families of recorded, written and hooks' runs."""
    names = ("pytorch_healthy", "pytorch_frozen", "pytorch_exploding")
    recorded = Family([files_of(RECORDED[name]) for name in names], RECORDED[names[0]])
    written = [written_family(tmp_path_factory.mktemp(name), modes) for name, modes in MODES.items()]
    trials = [folder / "trial" for folder in sorted(HOOKS.iterdir()) if folder.is_dir()]
    return [recorded, recorded, *written, *written, *(Family([files_of(trial)], trial) for trial in trials)]


def step_of(name: str) -> int:
    """Return the global step of an index or event file."""
    return int(name.rsplit("/", 1)[-1].split("_")[0])


def planned_writes(
    runs: list[dict[str, bytes]], chance: random.Random, growing: bool = True, untidy: bool = False
) -> Writes:
    """Return what a job writes in turn.

    It is a part of each of several runs, from the step on at which this one goes on; in some order. With ``growing``
    some files are not whole at first. With ``untidy`` some are deleted and perhaps written again, and the last few come
    after the end-of-job file.
    """
    collections = [(name, content) for name, content in runs[0].items() if name.startswith("collections")]
    steps = sorted({step_of(name) for name in runs[0] if name.startswith(("index", "events"))})
    stages = [[(name, with_fewer_names(content, fewer)) for name, content in collections] for fewer in (2, 1, 0)]
    writes: Writes = list(chance.choice(stages))
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
        if chance.random() < 0.5:
            writes += chance.choice(stages)
        first, end = chance.randrange(end), chance.randrange(end, len(steps) + 1)
    if not untidy:
        return [*writes, *collections, (END, b"")]
    of_steps = [write for write in writes if not write[0].startswith("collections")]
    for name, content in chance.sample(of_steps, chance.randrange(4)):
        at = chance.randrange(writes.index((name, content)), len(writes)) + 1
        writes[at:at] = [(name, None)]
        if chance.random() < 0.5:
            writes.insert(chance.randrange(at, len(writes)) + 1, (name, content))
    late = [at for at, (name, _) in enumerate(writes) if not name.startswith("collections")]
    late = late[len(late) - chance.choice([0, 0, 1, 2, 5]) :]
    before = [write for at, write in enumerate(writes) if at not in late]
    return [*before, *collections, (END, b""), *(writes[at] for at in late)]


def with_fewer_names(content: bytes, fewer: int) -> bytes:
    """Return a collections file as before the last of its weights had been seen."""
    changed = json.loads(content)
    weights = changed["collections"]["weights"]
    weights["tensor_names"] = sorted(weights["tensor_names"] or [])
    del weights["tensor_names"][len(weights["tensor_names"]) - fewer :]
    return json.dumps(changed).encode() if fewer else content


class Job:
    """A job that writes when somebody sleeps, and at the next sleep after its end all that comes too late.

    Args:
        trial: The trial folder, which is there.
        writes: What it writes; without an end-of-job file that comes last.
        chance: How many files it writes at a time.
    """

    def __init__(self, trial: Path, writes: Writes, chance: random.Random) -> None:
        self._trial = trial
        self._writes = [*writes] if (END, b"") in writes else [*writes, (END, b"")]
        self._chance = chance
        self._time = 10**18
        self._thread = threading.current_thread()
        self._idle_sleeps = 0

    def sleep(self, seconds: float) -> None:
        """Write the next few files, each at another moment, up to the end-of-job file."""
        if threading.current_thread() is not self._thread:
            REAL_SLEEP(seconds)  # of something else in this process, which must not write at the same time
            return
        self._idle_sleeps = 0 if self._writes else self._idle_sleeps + 1
        assert self._idle_sleeps < 1000, "the job has ended, and is waited for"
        if (END, b"") not in self._writes:
            self.finish()
        for _ in range(self._chance.randrange(1, 12)):
            if self._writes and self._write(*self._writes.pop(0)) == END:
                return

    def finish(self) -> None:
        """Write all that is left."""
        while self._writes:
            self._write(*self._writes.pop(0))

    def _write(self, name: str, content: bytes | None) -> str:
        file, new = self._trial / name, self._trial / "new"
        if content is None:
            file.unlink(missing_ok=True)
            return name
        self._time += 10**7
        new.write_bytes(content)
        os.utime(new, ns=(self._time, self._time))
        file.parent.mkdir(parents=True, exist_ok=True)
        new.replace(file)
        return name


def assert_same(checked: Report, followed: Report) -> None:
    """Assert that two reports say the same, and have the same rows in the same order, to the last digit."""
    assert checked.to_json() == followed.to_json()
    assert checked.comparisons().to_csv() == followed.comparisons().to_csv()
    assert (checked.fired_steps, checked.exit_code) == (followed.fired_steps, followed.exit_code)


def report_or_error(judge: Callable[..., Report], *arguments: Any, **options: Any) -> Report | str:
    try:
        return judge(*arguments, **options)
    except TrialError as error:
        return str(error)


@needs_writing
@pytest.mark.parametrize("seed", range(JOBS))
def test_a_follower_has_the_report_of_a_check_afterwards(
    families: list[Family], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Whatever came late, out of order, in parts, again, or was deleted: the same JSON, rows, or error."""
    chance = random.Random(seed)
    family = families[seed % len(families)]
    trial = tmp_path / "trial"
    trial.mkdir()
    job = Job(trial, planned_writes(family.runs, chance, untidy=True), chance)
    monkeypatch.setattr(follow_module.time, "sleep", job.sleep)
    options: dict[str, Any] = {"num_steps": chance.choice([None, 1, 3]), "start_step": chance.choice([0, 0, 3])}
    if seed // len(families) % 2:
        options["baseline"] = family.baseline
    else:
        options["patience"] = chance.choice([None, None, 2, 3])
    seen: list[tuple[int, int]] = []
    followed = report_or_error(follow_trial, trial, progress=lambda done, known: seen.append((done, known)), **options)
    assert all(done <= known for done, known in seen)
    job.finish()  # where the follower left before the end
    checked = report_or_error(check_trial, trial, **options)
    if isinstance(checked, str) or isinstance(followed, str):
        assert checked == followed
    else:
        assert_same(checked, followed)


@needs_writing
@pytest.mark.parametrize("seed", range(JOBS // 4))
def test_the_rule_has_the_rows_of_a_check_afterwards(
    families: list[Family], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
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
    family = chance.choice([each for each in families if b'"mode_step": -1' not in b"".join(each.runs[0].values())])
    job = Job(trial, planned_writes(family.runs, chance, growing=False), chance)
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
        assert afterwards.comparisons().to_csv() == rule.comparisons().to_csv()
        assert fired or not afterwards.fired
    except InsufficientInformationForRuleInvocation:
        assert not len(check_trial(trial))


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
        """Return the reports of a check afterwards and of a follower."""
        writes = iter([*deeds, (trial / END).touch])
        thread = threading.current_thread()

        def sleep(seconds: float) -> None:
            if threading.current_thread() is thread:
                next(writes, lambda: None)()
            else:
                REAL_SLEEP(seconds)  # of something else in this process, which must not write at the same time

        monkeypatch.setattr(follow_module.time, "sleep", sleep)
        report = follow_trial(trial, **options)
        return check_trial(trial, **options), report

    def test_a_late_step_that_changes_no_other_one(self, job: TrialWriter, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its row comes where it belongs, and the worst step is the earliest."""
        self.save(job, 2, a=self.ONE)
        late = [lambda: self.save(job, 5, a=self.ONE), lambda: self.save(job, 4, a=self.ONE)]
        reports = self.followed(monkeypatch, job.path, *late, num_steps=3)
        assert_same(*reports)
        assert [4, 5] == reports[0].comparisons()["step"].tolist()

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
        assert_same(*reports)
        assert reports[0].counts["steps"] == (2 if lost else 3)

    def test_a_mode_that_was_overwritten(self, job: TrialWriter, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of the TRAIN steps none is left, so GLOBAL is judged."""
        for step in range(3):
            self.save(job, step)
        again = lambda: [self.save(job, step, "GLOBAL") for step in range(5)]  # noqa: E731
        reports = self.followed(monkeypatch, job.path, lambda: None, again)
        assert_same(*reports)
        assert ("GLOBAL", 4) == (reports[0].mode, len(reports[0]))

    def test_a_name_that_was_overwritten(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A pattern that matched only it matches nothing in the end."""
        job = TrialWriter(tmp_path / "trial").collections({"weights": []}, {"weights": ["."]})
        for step in range(2):
            self.save(job, step, a=self.ONE * step, old=self.ONE)
        again = lambda: [self.save(job, step, a=self.ONE * step, new=self.ONE) for step in range(3)]  # noqa: E731
        reports = self.followed(monkeypatch, job.path, lambda: None, again, exclude_regex="old")
        assert_same(*reports)
        assert "matches exclude_regex 'old'" in str(reports[0].problem)

    def test_a_worker_that_writes_after_the_end(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """worker_0 writes the end-of-job file while worker_1 still saves its last step."""
        job = TrialWriter(tmp_path / "trial").collections({"weights": ["a"]}, workers=("worker_0", "worker_1"))
        for step in range(4):
            for worker in ("worker_0", "worker_1")[: 1 if step == 3 else 2]:
                job.save(step, {"a": self.ONE * (1 + step)}, worker=worker)
        last = lambda: job.save(3, {"a": self.ONE * 4}, worker="worker_1")  # noqa: E731
        reports = self.followed(monkeypatch, job.path, (job.path / END).touch, last)
        assert_same(*reports)
        assert (6, []) == (len(reports[0]), reports[0].skipped)

    def test_eval_steps_whose_last_one_comes_after_the_end(
        self, job: TrialWriter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Only when the job has ended it is known that they are what is judged."""
        for step in range(3):
            self.save(job, step, "EVAL")
        last = lambda: self.save(job, 3, "EVAL")  # noqa: E731
        reports = self.followed(monkeypatch, job.path, (job.path / END).touch, last)
        assert_same(*reports)
        assert ("GLOBAL", 3) == (reports[0].mode, len(reports[0]))

    def test_global_steps_before_training_against_a_baseline_of_training(
        self, job: TrialWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The mode of the baseline counts when the job trains."""
        good = TrialWriter(tmp_path / "good").collections({"weights": ["a", "b"]})
        for step in range(9):
            self.save(good, step)
        self.save(job, 0, "GLOBAL")
        later = [lambda step=step: self.save(job, step) for step in range(1, 9)]
        reports = self.followed(monkeypatch, job.path, *later, baseline=good.end().path)
        assert_same(*reports)
        assert ("TRAIN", 7, 0) == (reports[0].mode, len(reports[0]), reports[0].exit_code)

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
        assert_same(check_trial(job.path), report)
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
        assert_same(check_trial(job.path), report)
        assert 29 == len(report)
