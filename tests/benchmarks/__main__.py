"""Times the documented way to write a rule, this package's rule, its check, and ``cat``, side by side in one run.

    python -m tests.benchmarks

Every figure is a whole process, started anew; the four take turns, so that a machine whose speed drifts is unfair to
none of them, and the median of the rounds is shown. Files are in the page cache: the trials were just written.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import click

from tests.benchmarks.trials import write_trial
from tests.s3_server import CREDENTIALS, S3Server

JUDGES = {
    "docs": "rule as the documentation teaches",
    "rule": "WeightUpdateRatio under invoke_rule",
    "check": "weight-update-ratio check",
    "cat": "cat of the event files",
}


class Shape(NamedTuple):
    """How large a trial is: float32 tensors of so many elements, saved at so many steps."""

    tensors: int
    elements: int
    steps: int

    def __str__(self) -> str:
        size = self.tensors * self.elements * self.steps * 4
        amount = f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
        return f"{self.tensors} tensors x {self.elements:,} x {self.steps:,} steps ({amount})"


LARGE, MANY = Shape(160, 160_000, 20), Shape(200, 4_096, 200)
SHORT, LONG = Shape(20, 4_096, 400), Shape(20, 4_096, 4_000)
REMOTE = Shape(5, 4_096, 30)


class Run(NamedTuple):
    """One process: wall seconds and peak memory in MB."""

    seconds: float
    memory: float


def run(judge: str, location: str) -> Run:
    """Return what a judge took for a trial; it must have compared something."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "tests.benchmarks.judges", judge, location]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    seconds = time.perf_counter() - started
    result = json.loads(output.splitlines()[-1])
    assert judge == "cat" or result["compared"] > 0, f"{judge} compared nothing"
    return Run(seconds, result["memory"])


def medians(judges: list[str], folder: Path, rounds: int) -> dict[str, Run]:
    """Return the medians of judges that take turns; the first turn of each is not counted."""
    runs: dict[str, list[Run]] = {judge: [] for judge in judges}
    for turn in range(rounds + 1):
        for judge in judges:
            if turn or judge != "docs":  # a warm-up of the slow one would say nothing
                runs[judge].append(run(judge, str(folder)))
    counted = {judge: done if judge == "docs" else done[1:] for judge, done in runs.items()}
    return {
        judge: Run(statistics.median(r.seconds for r in done), max(r.memory for r in done))
        for judge, done in counted.items()
    }


def speed_table(shape: Shape, folder: Path, rounds: int) -> None:
    """Print seconds and ratios of all four for one trial."""
    found = medians(list(JUDGES), folder, rounds)
    click.echo(f"\n{shape}\n")
    click.echo("| | seconds | times faster than the first | times as long as cat | peak memory, MB |")
    click.echo("|---|---:|---:|---:|---:|")
    for judge, name in JUDGES.items():
        seconds, memory = found[judge]
        faster = f"{found['docs'].seconds / seconds:.1f}" if judge != "cat" else ""
        longer = f"{seconds / found['cat'].seconds:.1f}" if judge != "cat" else ""
        click.echo(f"| {name} | {seconds:.2f} | {faster} | {longer} | {'' if judge == 'cat' else f'{memory:.0f}'} |")


def growth_table(folders: dict[Shape, Path], rounds: int) -> None:
    """Print how check and rule grow with ten times the steps."""
    click.echo("\nTen times the steps\n")
    click.echo("| | seconds | | times as long | more memory, MB |")
    click.echo("|---|---:|---:|---:|---:|")
    short, long = (medians(["check", "rule"], folders[shape], rounds) for shape in (SHORT, LONG))
    for judge in ("check", "rule"):
        times = long[judge].seconds / short[judge].seconds
        more = long[judge].memory - short[judge].memory
        click.echo(
            f"| {JUDGES[judge]} | {short[judge].seconds:.2f} | {long[judge].seconds:.2f} | {times:.1f} | {more:.0f} |"
        )


def request_table(folder: Path, scratch: Path) -> None:
    """Print how many requests each makes of S3: moto's server on loopback, counted from its log."""
    server = S3Server(scratch)
    os.environ.update({**CREDENTIALS, "AWS_ENDPOINT_URL": server.endpoint})
    try:
        uri = server.upload(folder, "benchmark")
        click.echo(f"\nRequests to S3: {REMOTE}, {REMOTE.steps} event files\n")
        click.echo("| | requests | an event file |\n|---|---:|---:|")
        for judge in ("docs", "rule", "check"):
            before = len(server.requests())
            run(judge, uri)
            requests = len(server.requests()) - before
            click.echo(f"| {JUDGES[judge]} | {requests:,} | {requests / REMOTE.steps:.1f} |")
    finally:
        server.stop()


def machine() -> str:
    """Return what a reader must know of the machine."""
    import numpy

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), {memory:.0f} GiB, {platform.system()}, "
        f"Python {platform.python_version()}, NumPy {numpy.__version__}"
    )


@click.command()
@click.option("--rounds", default=3, show_default=True, help="Turns that are counted; the docs rule takes as many.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where the trials are written, 4.2 GB, and kept.")
def main(rounds: int, folder: Path | None) -> None:
    """Print the tables of speed that README.md, beside this file, shows."""
    with tempfile.TemporaryDirectory() as scratch:
        root = folder or Path(scratch)
        folders = {}
        for shape in (LARGE, MANY, SHORT, LONG, REMOTE):
            folders[shape] = root / f"{shape.tensors}x{shape.elements}x{shape.steps}"
            if not folders[shape].exists():
                write_trial(folders[shape], *shape)
        click.echo(machine())
        for shape in (LARGE, MANY):
            speed_table(shape, folders[shape], rounds)
        growth_table(folders, rounds)
        request_table(folders[REMOTE], Path(scratch))


if __name__ == "__main__":
    os.environ.setdefault("SMDEBUG_LOG_LEVEL", "error")
    main()
