"""Prints what the findings say first of sick runs whose cause and beginning are known, for a reader to score.

    python -m tests.benchmarks.verdict

Small nets are trained with one fault each, recorded, and judged by the default bounds and against one good run.
"""

from __future__ import annotations

import re
import sys
import tempfile
import textwrap
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import click
from joblib import Parallel, delayed

from tests.benchmarks.job import prepared
from tests.benchmarks.nets import SETUPS
from tests.benchmarks.sick import SICK, Sick
from weight_update_ratio import Report, TrialRecorder, check_trial

GOOD_SEED, CLOSE = 1, 0.03  # share of the run that an onset may be wrong by
WAYS = DEFAULT, BASELINE = ("default bounds", "one good run")
HIDE = r"start_step=|patience=|num_steps=|small_threshold|large_threshold|is healthy"  # asks to let it pass


@dataclass(frozen=True)
class Said:
    """What one way of judging says of a sick run."""

    exit_code: int  # of the command
    label: str  # what is wrong with the first finding, or "right"
    error: float | None  # of its onset, in shares of the run; None without a finding
    head: str  # its kind, severity and steps
    words: str  # its text and advice
    named: str  # how many of the faulty tensors it has, of how many, and how many others
    rest: list[str]  # heads of the other findings


def record(folder: Path, setup: str, steps: int, seed: int, sick: Sick | None = None, at: int = 1) -> None:
    """Train and record a sick run or a good one, unless the folder has it already."""
    if (folder / "training_job_end.ts").exists():
        return
    job = prepared(SETUPS[setup], seed, steps)
    if sick:
        sick.start(job, at)
    with TrialRecorder(folder) as recorder:
        for step in job.train():
            if step or not sick or sick.has_step_0:
                recorder.step(job.model, step=step)


def said(number: int, seed: int, folder: Path) -> dict[str, Said]:
    """Return what each way of judging says of a sick run; runs are trained if the folder lacks them."""
    sick = SICK[number]
    run = folder / f"{_file_name(f'{sick.cause} in {sick.setup}')}-{seed}"
    record(run, sick.setup, sick.steps, 1000 + 1000 * seed + len(run.name), sick, sick.begins_at(seed))
    baselines = {DEFAULT: None, BASELINE: folder / f"good-{_file_name(sick.setup)}.json"}
    return {way: _said(sick, seed, way, check_trial(run, baseline=baselines[way])) for way in WAYS}


def record_good(setup: str, steps: int, folder: Path) -> None:
    """Train a good run of a set-up, and save its baseline."""
    good = folder / f"good-{_file_name(setup)}"
    record(good, setup, steps, GOOD_SEED)
    Path(f"{good}.json").write_text(check_trial(good).to_baseline())


def _file_name(words: str) -> str:
    return re.sub("[^A-Za-z0-9]+", "-", words)


def _said(sick: Sick, seed: int, way: str, report: Report) -> Said:
    findings = report.findings
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
    notes = [f for f in findings if expects == "note" and f.kind in kinds and faulty & set(f.tensors)]
    first = (notes or findings)[0]  # a note may come after others
    words = f"{first.text}\n{first.advice}"
    error = abs(first.onset_step - sick.onset(seed)) / sick.steps
    named = faulty & set(first.tensors)
    label = "right"
    if re.search(sick.misleading, words, re.IGNORECASE):
        label = "misleading"
    elif not named or first.kind not in kinds:
        label = "kind"
    elif error > CLOSE:
        label = "onset"
    if re.search(HIDE, words, re.IGNORECASE) and first.kind not in ("not_yet", "resting"):
        label += ", lets it pass"
    if expects != "nothing" and report.fired != (expects == "fault"):
        label += ", exit code"
    counts = f"{len(named)} of {len(faulty)} and {len(first.tensors) - len(named)} others"
    head = heads.pop(findings.index(first))
    return Said(report.exit_code, label, error, head, words, counts, heads)


def print_said(result: Said, way: str) -> None:
    error = "" if result.error is None else f", onset off by {result.error:.1%}, faulty tensors {result.named}"
    click.echo(f"  {way}: {result.label.upper()}, exit {result.exit_code}{error}\n    [{result.head}]")
    for line in result.words.splitlines():
        click.echo(textwrap.fill(line, 118, initial_indent="    ", subsequent_indent="      "))
    for line in result.rest[:4]:
        click.echo(f"    then [{line}]")
    if len(result.rest) > 4:
        click.echo(f"    then {len(result.rest) - 4} more")


@click.command(context_settings={"show_default": True})
@click.option("--jobs", type=click.IntRange(1), default=2, help="Processes that train and judge.")
@click.option("--seeds", type=click.IntRange(1), default=1, help="Runs of each fault; each begins at another step.")
@click.option("--only", "chosen", metavar="CAUSE", multiple=True, help="A fault by a part of its cause; repeatable.")
@click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    help="A folder that keeps the trials (about 20 MB each), so that judging them again is quick. "
    "Empty it when nets, faults or training have changed.",
)
def main(jobs: int, seeds: int, chosen: tuple[str, ...], cache: Path | None) -> None:
    """Print of each sick run the truth, the first finding, and how far its onset is from the truth.

    Labels are of the first finding: right; silent; misleading (its words would mislead a reader); kind (not one that
    fits, or none of the faulty tensors); onset (off by more than 3% of the run). They need a reader.
    """
    numbers = [number for number, sick in enumerate(SICK) if not chosen or any(part in sick.cause for part in chosen)]
    cases = [(number, seed) for seed in range(seeds) for number in numbers]
    steps = {SICK[number].setup: SICK[number].steps for number in numbers}
    with tempfile.TemporaryDirectory() as scratch, Parallel(jobs, return_as="generator") as parallel:
        folder = cache or Path(scratch)
        list(parallel(delayed(record_good)(setup, count, folder) for setup, count in steps.items()))
        judged = parallel(delayed(said)(*case, folder) for case in cases)
        with click.progressbar(judged, len(cases), "Runs", file=sys.stderr) as progress:
            results = list(progress)
    for (number, seed), ways in zip(cases, results):
        sick = SICK[number]
        click.echo(f"\n{number}. {sick.cause}: from step {sick.begins_at(seed)} of {sick.steps}. {sick.setup}")
        for way in WAYS:
            print_said(ways[way], way)
    for way in WAYS:
        labels = Counter(ways[way].label for ways in results)
        errors = [ways[way].error for ways in results if ways[way].error is not None]
        click.echo(
            f"\n{way}: {', '.join(f'{label} {count}' for label, count in labels.most_common())}; onset within 3% of "
            f"the run in {sum(error <= CLOSE for error in errors)} of {len(errors)}"
        )


if __name__ == "__main__":
    main()
