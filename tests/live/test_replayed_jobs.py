"""Jobs replayed while a follower sleeps, in random order, with parts written again or deleted: nothing waits.

Its report is that of a check afterwards, and a step is compared when it is complete.
"""

from __future__ import annotations

import itertools
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

from tests.conftest import RECORDED, REPOSITORY, TrialWriter, event_file, index_file, needs_writing, write_whole_trial
from weight_update_ratio import Report, TrialError, WeightUpdateRatio, check_trial, follow_trial

pytestmark = pytest.mark.slow

JOBS = int(os.environ.get("LIVE_JOBS", "200"))
OFTEN = 50  # of them run whenever the tests do
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
    files = {path.relative_to(trial).as_posix(): path.read_bytes() for path in trial.rglob("*") if path.is_file()}
    files.pop(END, None)
    return files


def written_family(folder: Path, modes: Sequence[str]) -> Family:
    """Write runs of two workers: a weight of the second and third becomes NaN; another one's shape changes."""
    paths = []
    for seed in range(3):
        walk = np.cumsum(np.random.default_rng(seed).normal(0, 0.01, (STEPS, 30)), axis=0) + 1
        walk[STEPS - 3 * seed :] = np.nan
        late = [np.zeros(0)] * 4 + [row[:4] for row in walk[4:]]
        tensors = {"w": list(walk), "late": late}
        write_whole_trial(folder / str(seed), tensors, STEPS, modes, workers=("worker_0", "worker_1"))
        paths.append(folder / str(seed))
    return Family(list(map(files_of, paths)), paths[0])


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> list[Family]:
    names = ("pytorch_healthy", "pytorch_frozen", "pytorch_exploding")
    recorded = Family([files_of(RECORDED[name]) for name in names], RECORDED[names[0]])
    written = [written_family(tmp_path_factory.mktemp(name), modes) for name, modes in MODES.items()]
    trials = [folder / "trial" for folder in sorted(HOOKS.iterdir()) if folder.is_dir()]
    return [recorded, recorded, *written, *written, *(Family([files_of(trial)], trial) for trial in trials)]


def step_of(name: str) -> int:
    return int(name.rsplit("/", 1)[-1].split("_")[0])


def planned_writes(runs: list[dict[str, bytes]], chance: random.Random, is_tidy: bool) -> Writes:
    """Return what a job writes in turn: a part of each of several runs, from where this one goes on, in some order.

    Of one that is not tidy some files are not whole at first, some are deleted and perhaps written again, and the last
    few come after the end-of-job file.
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
            if not is_tidy and chance.random() < 0.1:
                writes.append((name, run[name][: chance.randrange(len(run[name]) or 1)]))
            writes.append((name, run[name]))
        if chance.random() < 0.5:
            writes += chance.choice(stages)
        first, end = chance.randrange(end), chance.randrange(end, len(steps) + 1)
    if is_tidy:
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
    """A job that writes when somebody sleeps, and at the next sleep after its end all that comes too late."""

    def __init__(self, trial: Path, writes: Writes, chance: random.Random) -> None:
        self._trial = trial
        self._writes = [*writes] if (END, b"") in writes else [*writes, (END, b"")]
        self._chance = chance
        self._time = 10**18
        self._idle_sleeps = 0

    def go_on(self) -> None:
        """Write the next few files, each at another moment, up to the end-of-job file."""
        self._idle_sleeps = 0 if self._writes else self._idle_sleeps + 1
        assert self._idle_sleeps < 1000, "the job has ended, and is waited for"
        if (END, b"") not in self._writes:
            self.finish()
        for _ in range(self._chance.randrange(1, 12)):
            if self._writes and self._write(*self._writes.pop(0)) == END:
                return

    def finish(self) -> None:
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


def at_each_sleep(monkeypatch: pytest.MonkeyPatch, go_on: Callable[[], Any]) -> None:
    """Let a job go on whenever this thread sleeps; others sleep as they do, and must not write at the same time."""
    thread = threading.current_thread()
    monkeypatch.setattr(
        time, "sleep", lambda seconds: go_on() if threading.current_thread() is thread else REAL_SLEEP(seconds)
    )


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


def jobs(count: int, often: int) -> list[Any]:
    """Return the seeds of so many jobs, of which the first run often."""
    return [pytest.param(seed, marks=[pytest.mark.rare] if seed >= often else []) for seed in range(count)]


@needs_writing
@pytest.mark.parametrize("seed", jobs(JOBS, OFTEN))
def test_a_follower_has_the_report_of_a_check_afterwards(
    families: list[Family], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Whatever came late, out of order, in parts, again, or was deleted: the same JSON, rows, or error."""
    chance = random.Random(seed)
    family = families[seed % len(families)]
    trial = tmp_path / "trial"
    trial.mkdir()
    job = Job(trial, planned_writes(family.runs, chance, is_tidy=False), chance)
    at_each_sleep(monkeypatch, job.go_on)
    options: dict[str, Any] = {"num_steps": chance.choice([None, 1, 3]), "start_step": chance.choice([0, 0, 3])}
    options.update(chance.choice([{"baseline": family.baseline}, {"patience": chance.choice([None, None, 2, 3])}]))
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
@pytest.mark.parametrize("seed", jobs(JOBS // 4, OFTEN // 4))
def test_the_rule_has_the_rows_of_a_check_afterwards(
    families: list[Family], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Under invoke_rule, which passes over late steps; it has fired if the check does."""
    from smdebug.exceptions import InsufficientInformationForRuleInvocation, NoMoreData, RuleEvaluationConditionMet
    from smdebug.rules import invoke_rule
    from smdebug.trials import create_trial

    chance = random.Random(seed)
    trial = tmp_path / "trial"
    trial.mkdir()
    family = chance.choice([each for each in families if b'"mode_step": -1' not in b"".join(each.runs[0].values())])
    job = Job(trial, planned_writes(family.runs, chance, is_tidy=True), chance)
    at_each_sleep(monkeypatch, job.go_on)
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


def followed(
    monkeypatch: pytest.MonkeyPatch, trial: Path, *deeds: Callable[[], Any], timeout: float = 600.0, **options: Any
) -> tuple[Report, list[int]]:
    """Follow a job that ends after its deeds, to the report of a check afterwards.

    Return that, and how many steps had been compared before each deed and before the end.
    """
    done, before = [0], []

    def noted(deed: Callable[[], Any]) -> Callable[[], Any]:
        return lambda: (before.append(done[-1]), deed())

    left = map(noted, [*deeds, (trial / END).touch])
    at_each_sleep(monkeypatch, lambda: next(left, lambda: None)())
    report = follow_trial(trial, timeout=timeout, progress=lambda count, known: done.append(count), **options)
    assert_same(check_trial(trial, **options), report)
    return report, before


def save(job: TrialWriter, steps: str, mode: str = "TRAIN", **tensors: Any) -> None:
    """Save steps, each by both workers, or by the first (5a) or the second (5b)."""
    for name in steps.split():
        step = int(name.rstrip("ab"))
        for worker in [f"worker_{'ab'.index(name[-1])}"] if name[-1] in "ab" else ["worker_0", "worker_1"]:
            job.save(step, tensors or {"a": np.ones(4) * (1 + step / 100)}, mode, step, worker)


@pytest.fixture
def job(tmp_path: Path) -> TrialWriter:
    return TrialWriter(tmp_path / "trial").collections({"weights": ["a"]}, workers=["worker_0", "worker_1"])


@needs_writing
class TestWhenAStepIsCompared:
    @pytest.mark.parametrize(
        ("writes", "before"),
        [
            (["0 1 2", "3a", "3b", "4a", "5"], [0, 3, 3, 4, 4, 6]),  # when it is complete, or a later one is
            (["0 1", "2a 3a", ""], [0, 2, 2, 2]),  # when the job has ended
            (["0a 1a 2a 3a 4a 5a 6a 7a", ""], [0, 5, 5]),  # when more steps follow than smdebug waits for, here 3
        ],
    )
    def test_by_workers(
        self, job: TrialWriter, monkeypatch: pytest.MonkeyPatch, writes: list[str], before: list[int]
    ) -> None:
        monkeypatch.setattr("weight_update_ratio.trial.folder.MOST_INCOMPLETE", 3)
        report, counts = followed(monkeypatch, job.path, *(lambda steps=steps: save(job, steps) for steps in writes))
        assert before == counts
        assert (0, True, None) == (report.exit_code, report.complete, report.problem)

    @pytest.mark.parametrize(("step", "is_listed"), [(0, False), (2, True)])
    @pytest.mark.parametrize("comes", [True, False])
    def test_by_event_files(
        self, job: TrialWriter, monkeypatch: pytest.MonkeyPatch, step: int, is_listed: bool, comes: bool
    ) -> None:
        """An index file may come first: its event file is waited for, until a later step has its own."""
        if not is_listed:  # a pattern alone says what a weight is
            job.collections({}, {"weights": ["^a$"]}, workers=["worker_0", "worker_1"])
        hidden = job.path / "hidden"

        def save_index() -> None:
            save(job, f"{step}")
            event_file(job.path, step).parent.rename(hidden)

        def save_events() -> None:
            hidden.rename(event_file(job.path, step).parent)

        deeds = [lambda: save(job, "0 1" if step else ""), save_index, lambda: None]
        if comes:
            deeds += [save_events, lambda: None]
        report, before = followed(monkeypatch, job.path, *deeds, lambda: save(job, f"{step + 1}"))
        assert [0, step, step, step, *([step + 1] * 2 if comes else []), step + 2] == before
        assert (0 if comes else 2) == len(report.unreadable)

    def test_by_collections(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """No step before all workers have described theirs."""
        job = TrialWriter(tmp_path / "trial")
        deeds = [
            lambda: job.collections({"weights": ["a"]}, num_workers=2),
            lambda: save(job, "0 1"),
            lambda: job.collections({"weights": ["a"]}, workers=["worker_1"], num_workers=2),
        ]
        assert [0, 0, 0, 2] == followed(monkeypatch, job.path, *deeds)[1]

    def test_though_collections_never_come(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The job is not dead while it writes: each look takes a second here, and 20 are waited for."""
        job = TrialWriter(tmp_path / "trial").collections({"weights": ["a"]}, num_workers=2)
        seconds = itertools.count()
        monkeypatch.setattr(time, "monotonic", lambda: next(seconds))
        deeds = [lambda step=step: save(job, f"{step}a") for step in range(30)]
        report, _ = followed(monkeypatch, job.path, *deeds, timeout=20)
        assert (29, True) == (len(report), report.job_ended)


@needs_writing
class TestWhatIsWrittenAgain:
    @pytest.mark.parametrize("is_lost", [False, True])
    def test_a_job_that_begins_anew(self, job: TrialWriter, monkeypatch: pytest.MonkeyPatch, is_lost: bool) -> None:
        """In the emptied folder, with other collections and fewer steps; nothing of the old run is left."""
        save(job, "0 1 2 3 4 5")

        def restart() -> None:
            shutil.rmtree(job.path)
            again = TrialWriter(job.path).collections({"weights": ["a", "b", "c"]})
            for step in range(3):
                save(again, f"{step}a", a=np.ones(4) * step, b=np.ones(4))
            if is_lost:
                index_file(job.path, 2).unlink()

        report, before = followed(monkeypatch, job.path, lambda: None, restart)
        assert (2 if is_lost else 3) == report.counts["steps"]
        assert [6, 6] == before[:2]

    def test_a_mode(self, job: TrialWriter, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of the TRAIN steps none is left, so GLOBAL is judged."""
        save(job, "0 1 2")
        report, _ = followed(monkeypatch, job.path, lambda: None, lambda: save(job, "0 1 2 3 4", "GLOBAL"))
        assert ("GLOBAL", 8) == (report.mode, len(report))

    def test_a_job_that_seemed_dead(self, job: TrialWriter) -> None:
        """Its end comes while the rest is judged."""
        save(job, "0a 1a 2a 3a")

        def write_the_rest(done: int, total: int) -> None:
            if not (job.path / END).exists():
                save(job, "0b 1b 2b 3b")
                job.end()

        report = follow_trial(job.path, timeout=0.2, poll=0.02, progress=write_the_rest)
        assert_same(check_trial(job.path), report)
        assert (None, 6) == (report.problem, len(report))
