"""Jobs replayed in random order, with parts written again: a follower has the report of a check afterwards.

Nothing waits: each sleep of the follower writes the next few files of the job.
"""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import weight_update_ratio.follow as follow_module
from tests.conftest import RECORDED, REPOSITORY, needs_writing, write_whole_trial
from weight_update_ratio import check_trial, follow_trial

pytestmark = pytest.mark.slow

JOBS = 200
STEPS = 12  # of the jobs that are written here
END = "training_job_end.ts"
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

    def sleep(self, seconds: float) -> None:
        """Write the next few files, each at a moment of its own, and the end-of-job file as the last."""
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
