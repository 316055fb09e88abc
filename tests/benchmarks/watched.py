"""Watches healthy and sick trainings with monitors, and prints which raise a fault, and after how many updates.

    python -m tests.benchmarks.watched

Healthy ones are those of ``healthy``, each watched at every update and at every 50th; sick ones those of ``verdict``.
"""

from __future__ import annotations

import os
import sys

import click

from tests.benchmarks.__main__ import print_table
from tests.benchmarks.job import prepared
from tests.benchmarks.nets import SETUPS
from tests.benchmarks.sick import SICK, Sick
from tests.benchmarks.variants import train, trainings
from weight_update_ratio import RatioMonitor, TrainingFault


def first_fault(sick: Sick) -> tuple[int, str]:
    """Return the updates from the fault's first one until a monitor raises, and the first finding; "never"."""
    at = sick.begins_at(0)
    first = 1 if sick.from_start else at
    job, monitor = prepared(SETUPS[sick.setup], 0, sick.steps), RatioMonitor(every=1, on_fault="raise")
    sick.start(job, at)
    for step in job.train():
        try:
            monitor.step(job.model, step=step)
        except TrainingFault as fault:
            return step - first + 1, next(f.kind for f in fault.report.findings if f.severity == "fault")
    return 0, "never"


@click.command()
@click.option("--only", multiple=True, help="A part of 'net / optimiser / variant'; repeatable: all of them.")
@click.option("--sick", default="", help="A part of the cause of sick trainings.")
def main(only: tuple[str, ...], sick: str) -> None:
    """Watch healthy and sick trainings, and print which raise a fault."""
    os.environ["KERAS_BACKEND"] = "torch"  # before it is imported
    raised, count = [], 0
    for plans in trainings(only):
        faults: dict[int, list[str]] = {1: [], 50: []}
        train(
            plans[0],
            [
                RatioMonitor(every, on_fault=lambda report, _, said=said: said.append(report.findings[0].text))
                for every, said in faults.items()
            ],
        )
        count += len(faults)
        raised += [f"{' / '.join(plans[0][:3])}, every={every}: {said[0]}" for every, said in faults.items() if said]
    click.echo("\n".join([f"healthy trainings watched: {count}, of which {len(raised)} raise", *raised]))
    rows = [(each.cause, each.setup, each.default, *map(str, first_fault(each))) for each in SICK if sick in each.cause]
    print_table("sick trainings", ["fault", "training", "by the default bounds", "updates", "first fault"], rows)
    sys.exit(bool(raised))


if __name__ == "__main__":
    main()
