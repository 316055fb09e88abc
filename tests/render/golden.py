"""Runs of all kinds as each format renders them: files that are compared exactly, one for a run and format.

    python -m tests.render.golden

writes them anew. What a person reads after a change is their diff.
"""

from __future__ import annotations

import functools
import json
import math
from pathlib import Path
from typing import Any, Callable

import numpy as np

from tests.conftest import RECORDED
from tests.findings.made_runs import LARGE, NAN, OK, at_steps, columns_report, faded, judged_report
from tests.render.advised import ADVISED, told_words
from tests.reports import HOSTILE, made_report, step_columns
from weight_update_ratio import check_trial
from weight_update_ratio.compare.rows import SkippedGroup
from weight_update_ratio.errors import TrialError, Unreadable
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.report import Report, unjudged_report
from weight_update_ratio.verdict.baseline import Baseline
from weight_update_ratio.verdict.good_runs import learn_baseline

FOLDER = Path(__file__).parent / "golden"
GOOD = {"moves": [0.001] * 20, "rests": [0.0] * 20, "spikes": [0.01] * 20, "grows": [0.001] * 20}
SPIKES = at_steps(20, 0.5, 5, 6, well=0.01)
SICK = {  # many kinds, and more findings than most formats show
    **{f"well.{number}": [OK * (1 + number)] * 60 for number in range(4)},
    **{f"spikes.{number}": at_steps(60, LARGE, 3 + 8 * number) for number in range(7)},
    **{f"rests.{number}": at_steps(60, 0, 3 + 8 * number) for number in range(4)},
    "forgotten.weight": [0] * 60,
    "fades.weight": [*faded(1e-3, 1e-10, 40), *[0] * 20],
    "explodes.weight": [OK] * 42 + [LARGE] * 5 + [NAN] * 13,
    "late.weight": [0] * 30 + [OK] * 30,
}


def recorded(name: str, **options: Any) -> Report:
    """Return the report of a recorded trial, by a path that is the same on every machine."""
    return check_trial(RECORDED[name], **options).with_facts(trial=f"trials/{name}")


def one_comparison() -> Report:
    """Return a run in which everything is one."""
    columns = step_columns(*(np.array([value]) for value in (0, 0, 1, 98.0, 1.0)))
    return columns_report(["w"], ["worker_0"], columns, mode="GLOBAL", steps=[0, 1])


def several_workers() -> Report:
    """Return a run whose faults are of some workers, one of which has a long name."""
    first, second = "worker_0", "job-worker-replica-0-task-1-device-GPU-0"
    late = {("late", worker): [0, OK, OK] for worker in (first, second)}
    zero = {("zero", first): [1e6, OK, OK], ("zero", second): [OK] * 3}
    large = {("large", first): [OK] * 3, ("large", second): [100.0, OK, OK]}
    return judged_report({**late, **zero, **large}, zero_weights=[("zero", 1)])


def lost_files(report: Report, count: int = 11) -> Report:
    """Return the report with files that could not be read, and tensors that were skipped, by all that lines say."""
    files = [Unreadable(f"index/{number}", None, None, number, "is empty") for number in range(count)]
    events = [Unreadable("events/7", name, "worker_0", 7, "is corrupt") for name in report.tensors]
    report.rows.add_unreadable(0, [*files, *events, Unreadable("w_collections.json", None, None, -1, "is no JSON")])
    report.rows.tensors.add("saved.once", -1)
    notes = [
        SkippedGroup("a", "worker_0", "shape changed from (2,) to (3,)", 5, 5, 1),
        SkippedGroup("empty", "worker_0", "no elements", 5, 9, 3),
        SkippedGroup("reduced", None, "saved only as a reduction (l2)", None, None, 1),
        *(SkippedGroup(None, "worker_0", f"saved again later: step {n}", n, n, 1) for n in range(count)),
    ]
    return report.with_facts(notes=notes)


def timed_out() -> Report:
    """Return a job that fired, and was not followed to its end."""
    report = lost_files(made_report({"a": [20.0, 20.0], "b": [OK, OK]}), 1)
    return report.with_facts(problem=TrialError("no new step came for 600 s", "Raise --timeout."), job_ended=False)


def learnt() -> Baseline:
    return learn_baseline(made_report(GOOD))


def held(norms: Any = None, **ratios: Any) -> Report:
    """Return a run that is held against a good one, from which it differs in some tensors."""
    return judged_report({**GOOD, **ratios}, Parameters(baseline=("good.json",)), learnt(), norms=norms)


def unheld() -> Report:
    """Return a run of which nothing can be held against the baseline: only what is not finite fires."""
    ratios = {"other": [NAN] + [OK] * 19, "large": [20.0] * 20, "lost": [OK] * 20}
    report = made_report(ratios, Parameters(baseline=("good.json",)), baseline=learnt())
    report.rows.add_unreadable(0, [Unreadable("events/1", "lost", "worker_0", 1, "is corrupt")])
    return report.with_facts(problem=TrialError("the baseline is of another model", "Learn one of this model."))


def hostile() -> Report:
    """Return a run whose names are markup, commands, long, wide and blank."""
    names = [HOSTILE[1], HOSTILE[3], "\n::stop-commands::x,y%", "a|b`*_]]>\ud800\x00", "layer/" * 40, " "]
    report = made_report({name: [20.0] for name in names} | {"\u5c64" * 90: [OK]}, workers=("<i>w</i>", "##[error]w"))
    report.rows.add_unreadable(0, [Unreadable(name, name, name, 1, name) for name in names[:3]])
    notes = [SkippedGroup(name, None, "is gone", None, None, 1) for name in names[:3]]
    return report.with_facts(trial=f"runs/{names[0]}", notes=notes)


RUNS: dict[str, Callable[[], Report]] = {
    "healthy": lambda: recorded("pytorch_healthy"),
    "frozen": lambda: recorded("pytorch_frozen", tensor_regex="conv1,fc1"),
    "reductions": lambda: recorded("pytorch_reductions_only"),
    "no_trial": lambda: unjudged_report("no/such/trial", {}, TrialError("it does not exist", "Check the path.")),
    "one_comparison": one_comparison,
    "one_that_is_well": lambda: made_report({"a": [OK]}),
    "nothing_finite": lambda: made_report({"a": [math.inf]}),
    "sick": lambda: made_report(SICK),
    "several_workers": several_workers,
    "lost_files": lambda: lost_files(made_report({"a": [OK], "b": [OK]})),
    "timed_out": timed_out,
    "baseline": lambda: held({"grows": [2.0] * 8 + [5.0] * 12}, rests=[0.0] * 9 + [1e-5] * 11, spikes=SPIKES),
    "baseline_passes": lambda: held({"grows": [2.0] * 8 + [5.0] * 2 + [2.0] * 10}, spikes=SPIKES),
    "baseline_of_another_model": unheld,
    "hostile": hostile,
}


@functools.lru_cache(maxsize=None)
def run(name: str) -> Report:
    return RUNS[name]()


def json_lines(report: Report) -> str:
    """Return the JSON with a line for each of its values, without what differs between versions and machines."""
    document = {**json.loads(report.to_json(), parse_float=lambda text: float(f"{float(text):.9g}")), "version": "x"}
    lines = []
    for name, value in document.items():
        lines += [f"{name}: {json.dumps(item)}" for item in (value if isinstance(value, list) and value else [value])]
    return "\n".join(lines) + "\n"


FORMATS: dict[str, Callable[[Any], str]] = {
    "txt": lambda report: report.to_text(),
    "verbose.txt": lambda report: report.to_text(80, verbose=True),
    "json": json_lines,
    "xml": lambda report: report.to_junit(),
    "github": lambda report: report.to_github(),
    "md": lambda report: report.to_markdown(),
    "html": lambda report: report._repr_html_().replace("<p", "\n<p") + "\n",  # a notebook's
}


FILES = [f"{name}.{ending}" for name in RUNS for ending in FORMATS] + [f"{group}.words" for group in ADVISED]


def rendered(file: str) -> str:
    name, _, ending = file.partition(".")
    return told_words(name) if ending == "words" else FORMATS[ending](run(name))


if __name__ == "__main__":
    for old in FOLDER.iterdir():
        old.unlink()
    for new in FILES:
        (FOLDER / new).write_text(rendered(new), encoding="utf-8")
