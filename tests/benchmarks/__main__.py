"""Times the documented way to write a rule, this package's rule, its check, and ``cat``, side by side in one run.

Beside them stand what nobody here can change: a rule that does nothing, and NumPy's own time for arrays in memory.

    python -m tests.benchmarks

Every figure is a whole process, started anew, but for the norms of arrays in memory, which alone are timed. All take
turns, so that a machine whose speed drifts is unfair to none of them, and the median of the rounds is shown. Files are
in the page cache: the trials were just written.
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
from typing import Any, NamedTuple

import click

from tests.benchmarks.trials import write_trial
from tests.s3_server import CREDENTIALS, S3Server

JUDGES = {
    "docs": "rule as the documentation teaches",
    "rule": "WeightUpdateRatio under invoke_rule",
    "empty": "rule that does nothing under invoke_rule",
    "check": "weight-update-ratio check",
    "cat": "cat of the event files",
    "memory": "NumPy's norms of arrays in memory",
}
REMOTE_JUDGES = {"download": "download of the same objects, by as many connections", "check": JUDGES["check"]}
LATENCY = 20  # milliseconds


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
REMOTE, FAR = Shape(5, 4_096, 30), Shape(20, 4_096, 200)


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
    result = {name: value for line in output.splitlines() for name, value in json.loads(line).items()}
    assert judge == "cat" or result["compared"] > 0, f"{judge} compared nothing"
    return Run(result.get("seconds", seconds), result["memory"])


def medians(judges: list[str], folder: Path | str, rounds: int) -> dict[str, Run]:
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
    """Print seconds and ratios of all for one trial."""
    found = medians(list(JUDGES), folder, rounds)
    click.echo(f"\n**{shape}**\n")
    click.echo("| | seconds | times faster than the first | times as long as cat | peak memory, MB |")
    click.echo("|---|---:|---:|---:|---:|")
    for judge, name in JUDGES.items():
        seconds, memory = found[judge]
        judges = judge in ("docs", "rule", "check")
        faster = f"{found['docs'].seconds / seconds:.1f}" if judges else ""
        longer = f"{seconds / found['cat'].seconds:.1f}" if judge != "cat" else ""
        click.echo(f"| {name} | {seconds:.2f} | {faster} | {longer} | {f'{memory:.0f}' if judges else ''} |")


def growth_table(folders: dict[Shape, Path], rounds: int) -> None:
    """Print how check and rule grow with ten times the steps."""
    click.echo("\n**Ten times the steps**\n")
    click.echo(
        f"| | seconds, {SHORT.steps:,} steps | seconds, {LONG.steps:,} steps | times as long | more memory, MB |"
    )
    click.echo("|---|---:|---:|---:|---:|")
    short, long = (medians(["check", "rule"], folders[shape], rounds) for shape in (SHORT, LONG))
    for judge in ("check", "rule"):
        times = long[judge].seconds / short[judge].seconds
        more = long[judge].memory - short[judge].memory
        click.echo(
            f"| {JUDGES[judge]} | {short[judge].seconds:.2f} | {long[judge].seconds:.2f} | {times:.1f} | {more:.0f} |"
        )


def remote_tables(folders: dict[Shape, Path], scratch: Path, rounds: int) -> None:
    """Print how many requests each makes of moto's server on loopback, and what they take where each takes a while."""
    server = S3Server(scratch)
    os.environ.update({**CREDENTIALS, "AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": server.endpoint})
    command = [sys.executable, "-m", "tests.benchmarks.latency", str(server.port), str(LATENCY)]
    proxy = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        uri = server.upload(folders[REMOTE], "near")
        click.echo(f"\n**Requests to S3: {REMOTE}, {REMOTE.steps} event files**\n")
        click.echo("| | requests | an event file |\n|---|---:|---:|")
        for judge in ("docs", "rule", "check"):
            before = len(server.requests())
            run(judge, uri)
            requests = len(server.requests()) - before
            click.echo(f"| {JUDGES[judge]} | {requests:,} | {requests / REMOTE.steps:.1f} |")
        uri = server.upload(folders[FAR], "far")
        assert proxy.stdout is not None
        os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{int(proxy.stdout.readline())}"
        found = medians(["download", "check"], uri, rounds)
        click.echo(f"\n**S3 that takes {LATENCY} ms a request: {FAR}**\n")
        click.echo("| | seconds | times as long as the download |\n|---|---:|---:|")
        for judge in ("download", "check"):
            seconds = found[judge].seconds
            click.echo(f"| {REMOTE_JUDGES[judge]} | {seconds:.2f} | {seconds / found['download'].seconds:.2f} |")
    finally:
        proxy.terminate()
        server.stop()


def executor_table(folder: Path, rounds: int) -> None:
    """Print what check takes on the workers of Dask, each a process of this machine."""
    from distributed import Client, LocalCluster

    from weight_update_ratio import check_trial
    from weight_update_ratio.check import MOST_RANGES

    def seconds(executor: Any) -> float:
        times = []
        for _ in range(rounds + 1):
            started = time.perf_counter()
            check_trial(folder, executor=executor)
            times.append(time.perf_counter() - started)
        return statistics.median(times[1:])

    click.echo(f"\n**Workers of Dask, on this machine: {LONG}**\n")
    click.echo("| | seconds | times as long as alone | more a range, of a processor's ms |\n|---|---:|---:|---:|")
    alone = seconds(None)
    click.echo(f"| check_trial, without workers | {alone:.2f} | 1.00 | |")
    for workers in (1, 2, 4):
        with LocalCluster(workers, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
            taken = seconds(client.get_executor(pure=False))
        more = 1000 * (taken * min(workers, os.cpu_count() or 1) - alone) / MOST_RANGES
        click.echo(f"| {workers} worker{'s' * (workers > 1)} | {taken:.2f} | {taken / alone:.2f} | {more:.0f} |")


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
@click.option("--folder", type=click.Path(path_type=Path), help="Where the trials are written, 4.3 GB, and kept.")
def main(rounds: int, folder: Path | None) -> None:
    """Print the tables of speed that README.md, beside this file, shows."""
    with tempfile.TemporaryDirectory() as scratch:
        # Programs start compiled, as pip installs them, whatever this machine's settings are.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = f"{scratch}/bytecode"
        root = folder or Path(scratch)
        folders = {}
        for shape in (LARGE, MANY, SHORT, LONG, REMOTE, FAR):
            folders[shape] = root / f"{shape.tensors}x{shape.elements}x{shape.steps}"
            if not folders[shape].exists():
                write_trial(folders[shape], *shape)
        click.echo(machine())
        for shape in (LARGE, MANY):
            speed_table(shape, folders[shape], rounds)
        growth_table(folders, rounds)
        executor_table(folders[LONG], rounds)
        remote_tables(folders, Path(scratch), rounds)


if __name__ == "__main__":
    os.environ.setdefault("SMDEBUG_LOG_LEVEL", "error")
    main()
