"""Tells what the findings say first of sick runs whose cause and beginning are known, for a reader to score.

    python -m tests.benchmarks.verdict

Small nets are trained with one fault each, recorded, and judged by the default bounds and against one good run.
"""

from __future__ import annotations

import os
import sys
import tempfile
import textwrap
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import click


@click.command(context_settings={"show_default": True})
@click.option("--jobs", type=click.IntRange(1), default=2, help="Processes that train and judge.")
@click.option("--seeds", type=click.IntRange(1), default=1, help="Runs of each fault; each begins at another step.")
@click.option("--only", "chosen", metavar="CAUSE", multiple=True, help="A fault by a part of its cause; repeatable.")
@click.option("--table", is_flag=True, help="A line a run in place of a block with all words.")
@click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    help="A folder that keeps the trials (about 20 MB each), so that judging them again is quick. "
    "Empty it when nets, faults or training have changed.",
)
def main(jobs: int, seeds: int, chosen: tuple[str, ...], table: bool, cache: Path | None) -> None:
    """Print of each sick run the truth, what is found first, and how far its onset is from the truth.

    Labels are of the first finding: right; silent; misleading (words that send a reader to the wrong place); kind (not
    one that fits, or none of the faulty tensors); place (onset off by more than 3% of the run). They need a reader.
    """
    os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported here and in the processes that train
    from tests.benchmarks.verdict.recording import WAYS, Case, record_good, said
    from tests.benchmarks.verdict.sick import SICK

    numbers = [number for number, sick in enumerate(SICK) if not chosen or any(part in sick.cause for part in chosen)]
    cases = [Case(number, seed) for seed in range(seeds) for number in numbers]
    setups = dict.fromkeys(case.sick.setup for case in cases)
    with tempfile.TemporaryDirectory() as made:
        folder = cache or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            list(pool.map(partial(record_good, folder=folder), setups))
            judged = pool.map(partial(said, folder=folder), cases)
            with click.progressbar(judged, len(cases), "Runs", file=sys.stderr) as progress:
                results = list(progress)
    for case, ways in zip(cases, results):
        sick = case.sick
        click.echo(f"\n{case.number}. {sick.cause}: from step {case.at} of {case.steps}. {sick.setup}")
        for way in WAYS:
            told = ways[way]
            error = "" if told.error is None else f", onset off by {told.error:.1%}, faulty tensors {told.named}"
            click.echo(f"  {way}: {told.label.upper()}, exit {told.exit_code}{error}\n    [{told.head}]")
            if not table:
                for line in told.words.splitlines():
                    click.echo(textwrap.fill(line, 118, initial_indent="    ", subsequent_indent="      "))
                for line in told.rest[:4]:
                    click.echo(f"    then [{line}]")
                if len(told.rest) > 4:
                    click.echo(f"    then {len(told.rest) - 4} more")
    for way in WAYS:
        labels = Counter(ways[way].label for ways in results)
        errors = [ways[way].error for ways in results if ways[way].error is not None]
        click.echo(
            f"\n{way}: {', '.join(f'{label} {count}' for label, count in labels.most_common())}; onset within 3% of "
            f"the run in {sum(error <= 0.03 for error in errors)} of {len(errors)}"
        )


if __name__ == "__main__":
    main()
