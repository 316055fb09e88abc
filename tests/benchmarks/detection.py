"""Measures whether a band learnt from good runs catches sick training runs, and how often it is wrong.

    python -m tests.benchmarks.detection

Small nets are trained well with several seeds, and with faults. Each sick run is judged by the default bounds, by one
good run (each in turn), and by three.
"""

from __future__ import annotations

import sys
import time

import click
from joblib import Parallel, delayed

from tests.benchmarks.__main__ import machine, print_table
from tests.benchmarks.nets import SETUPS
from tests.benchmarks.score import DEFAULT, ONE, THREE, WAYS, Score, plans, scored, total, trained

FACTOR, PATIENCE = 3.0, 3  # the rule's defaults where it has a baseline


def print_scores(scores: list[Score]) -> None:
    """Print what each way of judging caught and called sick wrongly, a row a set-up, and totals."""
    whole = total("total", scores)
    silent = [score for score in scores if not any(score.alarms[DEFAULT])]
    totals = [whole, total(f"total where the {DEFAULT} pass all good runs", silent)] if silent else [whole]
    rows = []
    for score in [*scores, *totals]:
        harmful = sum(verdict.harmful for verdict in score.verdicts)
        caught = [f"{score.firing(way, harmful=True):.4g} of {harmful}" for way in WAYS]
        alarms = [f"{sum(score.alarms[way])} of {len(score.alarms[way])}" for way in WAYS]
        rows.append([score.name, f"{score.accuracy:.3f}", *caught, *alarms])
    title = "Caught: harmful faults that fire. False alarms: good runs that fire against other good ones."
    columns = [f"{what}, {way}" for what in ("caught", "false alarms") for way in WAYS]
    print_table(title, ["set-up", "accuracy", *columns], rows)
    harmless = sum(not verdict.harmful for verdict in whole.verdicts)
    firing = ", ".join(f"{whole.firing(way, harmful=False):.4g} ({way})" for way in WAYS)
    click.echo(f"\nOf {harmless} runs whose fault did no harm fire: {firing}.")


def print_missed(scores: list[Score]) -> None:
    """Print what was missed, a row a fault, the most missed by one good run first."""
    rows = []
    verdicts = [verdict for score in scores for verdict in score.verdicts]
    for fault in dict.fromkeys(verdict.fault for verdict in verdicts):
        harmful = [verdict for verdict in verdicts if verdict.fault == fault and verdict.harmful]
        missed = {way: sum(1 - verdict.firing[way] for verdict in harmful) for way in WAYS}
        setups = [
            f"{verdict.setup} ({1 - verdict.firing[ONE]:.0%} / {1 - verdict.firing[THREE]:.0%})"
            for verdict in harmful
            if min(verdict.firing[ONE], verdict.firing[THREE]) < 1
        ]
        if any(missed.values()):
            order = missed[ONE], missed[THREE], missed[DEFAULT]
            cells = [f"{missed[way]:.4g}" for way in WAYS]
            rows.append((order, [fault, str(len(harmful)), *cells, "; ".join(setups)]))
    rows.sort(key=lambda pair: pair[0], reverse=True)
    title = "Missed: harmful runs that do not fire, by fault; set-ups with the share of baselines that miss."
    print_table(title, ["fault", "harmful in", *WAYS, f"set-ups, {ONE} / {THREE}"], [row for _, row in rows])


@click.command(context_settings={"show_default": True})
@click.option("--jobs", type=click.IntRange(1), default=1, help="Processes that train.")
@click.option("--seeds", type=click.IntRange(4), default=8, help="Good runs of each set-up.")
@click.option("--steps", type=click.IntRange(20), default=300, help="Steps of each run.")
@click.option("--factor", type=click.FloatRange(1), default=FACTOR, help="How far outside of the band a ratio may be.")
@click.option("--patience", type=click.IntRange(1), default=PATIENCE, help="Ratios in a row that must be outside.")
@click.option("--only", "chosen", metavar="SETUP", multiple=True, help="A set-up by a part of its name; repeatable.")
def main(jobs: int, seeds: int, steps: int, factor: float, patience: int, chosen: tuple[str, ...]) -> None:
    """Train small nets well and with faults, and print which faults are caught, and the false alarms, as markdown.

    A fault is harmful in a run if it costs 5 points of test accuracy against the mean of the good runs, or if a tensor
    that all good runs train to the end rests from the first half of the run on. With one good run as the baseline each
    of them is tried; a count is then a sum of shares.
    """
    setups = [setup for name, setup in SETUPS.items() if not chosen or any(part in name for part in chosen)]
    if not setups:
        raise click.BadParameter(f"no set-up has that in its name; they are: {'; '.join(SETUPS)}", param_hint="--only")
    started = time.perf_counter()
    wanted = [plan for setup in setups for plan in plans(setup, seeds, steps)]
    recorded = Parallel(jobs, return_as="generator")(delayed(trained)(plan) for plan in wanted)
    with click.progressbar(recorded, len(wanted), "Runs", file=sys.stderr) as progress:
        runs = list(progress)
    judged = time.perf_counter()
    scores = [
        scored(setup.name, [run for run in runs if run.plan.setup == setup.name], factor, patience) for setup in setups
    ]
    print_scores(scores)
    print_missed(scores)
    click.echo(
        f"\n{len(runs)} runs of {steps} steps, factor {factor:g}, patience {patience}. "
        f"{machine()}, --jobs {jobs}: "
        f"{judged - started:.0f} s for the runs, {time.perf_counter() - judged:.0f} s to judge them."
    )


if __name__ == "__main__":
    main()
