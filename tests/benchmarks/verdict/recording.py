"""Trains and records sick runs and good ones, and says what the package finds in them."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from tests.benchmarks.detection.faults import HEALTHY
from tests.benchmarks.detection.nets import SETUPS
from tests.benchmarks.detection.runs import _prepare, _train_step
from tests.benchmarks.verdict.sick import HIDE, SICK, Sick, steps_of
from weight_update_ratio import Report, TrialRecorder, check_trial

GOOD_SEED, CLOSE = 1, 0.03  # share of the run that an onset may be wrong by
DEFAULT, BASELINE = "default bounds", "one good run"
WAYS = (DEFAULT, BASELINE)


@dataclass(frozen=True)
class Case:
    """A sick run of a seed; ``at`` is the step at which its fault begins."""

    number: int
    seed: int

    @property
    def sick(self) -> Sick:
        """What is wrong with it."""
        return SICK[self.number]

    @property
    def steps(self) -> int:
        """How many it takes."""
        return steps_of(self.sick.setup)

    @property
    def at(self) -> int:
        """The step whose update the fault is the first to change; one that begins late begins to move there."""
        chosen = random.Random(f"{self.sick.cause} {self.sick.setup} {self.seed}").uniform(0.2, 0.8)
        if self.sick.cause.startswith("schedule"):
            chosen = 0.5
        return 1 if self.sick.from_start and "begins late" not in self.sick.cause else round(chosen * self.steps)

    @property
    def before_first(self) -> bool:
        """Whether the initial weights are recorded as well, as step 0."""
        return len(self.sick.cause) % 2 == 1

    @property
    def onset(self) -> int:
        """The first comparison that shows the fault."""
        return max(1 if self.before_first else 2, 1 if self.sick.from_start else self.at)


@dataclass(frozen=True)
class Said:
    """What one way of judging says of a case."""

    exit_code: int  # of the command
    label: str  # what is wrong with the first finding, or "right"
    error: float | None  # of its onset, in shares of the run; None where there is no finding
    head: str  # its kind, severity and steps
    words: str  # its text and advice
    named: str  # how many of the faulty tensors it has, of how many, and how many others
    rest: list[str]  # heads of the other findings


def record(folder: Path, setup: str, seed: int, case: Case | None) -> None:
    """Train and record a case, or a good run, unless the folder holds it."""
    if (folder / "training_job_end.ts").exists():
        return
    fault = case.sick.make(case.at) if case else HEALTHY
    job = _prepare(SETUPS[setup], seed, steps_of(setup))
    fault.start(job)
    job.model.train()
    with TrialRecorder(folder) as recorder:
        if not case or case.before_first:
            recorder.step(job.model, step=0)
        for step in range(1, job.steps + 1):
            _train_step(job, step, fault)
            recorder.step(job.model, step=step)


def said(case: Case, folder: Path) -> dict[str, Said]:
    """Return what each way of judging says of a case; runs are trained where the folder lacks them."""
    torch.set_num_threads(1)
    own = folder / f"{_file_name(f'{case.sick.cause} in {case.sick.setup}')}-{case.seed}"
    record(own, case.sick.setup, 1000 + 1000 * case.seed + len(own.name), case)
    saved = folder / f"good-{_file_name(case.sick.setup)}.json"
    return {way: _said(case, way, check_trial(own, baseline=None if way == DEFAULT else saved)) for way in WAYS}


def record_good(setup: str, folder: Path) -> None:
    """Train a good run of a set-up, and save its baseline."""
    torch.set_num_threads(1)
    good = folder / f"good-{_file_name(setup)}"
    record(good, setup, GOOD_SEED, None)
    Path(f"{good}.json").write_text(check_trial(good).to_baseline())


def _file_name(words: str) -> str:
    return re.sub("[^A-Za-z0-9]+", "-", words)


def _said(case: Case, way: str, report: Report) -> Said:
    sick, findings = case.sick, report.findings
    heads = [
        f"{f.kind} ({f.severity}) from {f.onset_step}; violations "
        f"{f.first_step}-{f.last_step}; {len(f.tensors)} tensors: {', '.join(f.tensors[:4])}"
        for f in findings
    ]
    faulty = {name for name in report.tensors if any(part in name for part in sick.parts)}
    expects = sick.default if way == DEFAULT else "fault"
    if not findings or (expects == "nothing" and not report.fired):
        label = "as expected" if expects == "nothing" else "silent"
        return Said(report.exit_code, label, None, heads[0] if heads else "no finding", "", "", heads[1:])
    kinds = (*sick.kinds, *(("too_small", "drifted") if way == BASELINE else ()))
    told = [f for f in findings if expects == "note" and f.kind in kinds and faulty & set(f.tensors)]
    first = (told or findings)[0]  # a note is looked for among all of them
    words = f"{first.text}\n{first.advice}"
    error = abs(first.onset_step - case.onset) / case.steps
    own = faulty & set(first.tensors)
    label = "right"
    if re.search(sick.misleading, words, re.IGNORECASE):
        label = "misleading"
    elif not own or first.kind not in kinds:
        label = "kind"
    elif error > CLOSE:
        label = "place"
    if re.search(HIDE, words, re.IGNORECASE) and first.kind not in ("not_yet", "resting"):
        label += ", lets it pass"
    if expects != "nothing" and report.fired != (expects == "fault"):
        label += ", exit code"
    named = f"{len(own)} of {len(faulty)} and {len(first.tensors) - len(own)} others"
    return Said(report.exit_code, label, error, heads[findings.index(first)], words, named, heads[1:])
