"""Times the documented way to write a rule, this package's rule, its check, and ``cat``, side by side in one run.

Beside them is what nobody here can change: a rule that does nothing, and NumPy's own time for arrays in memory.

    python -m tests.benchmarks

Every figure is a whole process, started anew, except the norms of arrays in memory, which alone are timed. All take
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
from typing import Any, Iterable, NamedTuple

import click
import numpy as np

from tests.conftest import TrialWriter
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


def write_trial(folder: Path, shape: Shape) -> None:
    """Write a trial with smdebug's own writer: weights that take a step of 1e-3 of their size at each step."""
    random = np.random.default_rng(0)
    names = [f"layer_{number:03d}.weight" for number in range(shape.tensors)]
    weights = {name: random.standard_normal(shape.elements, np.float32) for name in names}
    update = random.standard_normal(shape.elements, np.float32) * np.float32(1e-3)
    writer = TrialWriter(folder).collections({"weights": names})
    for step in range(shape.steps):
        writer.save(step, weights)
        for weight in weights.values():
            weight += update
    writer.end()


def run(judge: str, location: Path | str) -> Run:
    """Return what a judge took for a trial; it must have compared something."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "tests.benchmarks.judges", judge, str(location)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    seconds = time.perf_counter() - started
    result = {name: value for line in output.splitlines() for name, value in json.loads(line).items()}
    assert judge == "cat" or result["compared"] > 0, f"{judge} compared nothing"
    return Run(result.get("seconds", seconds), result["memory"])


def medians(judges: Iterable[str], location: Path | str, rounds: int) -> dict[str, Run]:
    """Return the medians of judges that take turns; the first turn of each is not counted."""
    runs: dict[str, list[Run]] = {judge: [] for judge in judges}
    for turn in range(rounds + 1):
        for judge, done in runs.items():
            if turn == 0 and judge == "docs":
                continue  # a warm-up of the slow one would say nothing
            result = run(judge, location)
            done += [result] if turn else []
    return {
        judge: Run(statistics.median(r.seconds for r in done), max(r.memory for r in done))
        for judge, done in runs.items()
    }


def print_table(title: str, columns: list[str], rows: Iterable[Iterable[str]]) -> None:
    """Print a table in markdown, whose first column is of words and whose others are of numbers."""
    click.echo(f"\n**{title}**\n\n| {' | '.join(columns)} |\n|---|{'---:|' * (len(columns) - 1)}")
    for row in rows:
        click.echo(f"| {' | '.join(row)} |")


def speed_table(shape: Shape, folder: Path, rounds: int) -> None:
    runs = medians(JUDGES, folder, rounds)
    rows = []
    for judge, (seconds, memory) in runs.items():
        faster, megabytes = f"{runs['docs'].seconds / seconds:.1f}", f"{memory:.0f}"
        longer = f"{seconds / runs['cat'].seconds:.1f}" if judge != "cat" else ""
        cells = [faster, longer, megabytes] if judge in ("docs", "rule", "check") else ["", longer, ""]
        rows.append([JUDGES[judge], f"{seconds:.2f}", *cells])
    columns = ["", "seconds", "times faster than the first", "times as long as cat", "peak memory, MB"]
    print_table(str(shape), columns, rows)


def growth_table(folders: dict[Shape, Path], rounds: int) -> None:
    short, long = (medians(["check", "rule"], folders[shape], rounds) for shape in (SHORT, LONG))
    rows = []
    for judge in short:
        times, more = long[judge].seconds / short[judge].seconds, long[judge].memory - short[judge].memory
        seconds = [f"{runs[judge].seconds:.2f}" for runs in (short, long)]
        rows.append([JUDGES[judge], *seconds, f"{times:.1f}", f"{more:.0f}"])
    seconds = [f"seconds, {shape.steps:,} steps" for shape in (SHORT, LONG)]
    print_table("Ten times the steps", ["", *seconds, "times as long", "more memory, MB"], rows)


def remote_tables(folders: dict[Shape, Path], scratch: Path, rounds: int) -> None:
    """Print how many requests each makes of moto's server on loopback, and what they take where each takes a while."""
    server = S3Server(scratch)
    os.environ.update({**CREDENTIALS, "AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": server.endpoint})
    command = [sys.executable, "-m", "tests.benchmarks.latency", str(server.port), str(LATENCY)]
    proxy = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        uri = server.upload(folders[REMOTE], "near")
        rows = []
        for judge in ("docs", "rule", "check"):
            before = len(server.requests())
            run(judge, uri)
            requests = len(server.requests()) - before
            rows.append([JUDGES[judge], f"{requests:,}", f"{requests / REMOTE.steps:.1f}"])
        title = f"Requests to S3: {REMOTE}, {REMOTE.steps} event files"
        print_table(title, ["", "requests", "an event file"], rows)
        uri = server.upload(folders[FAR], "far")
        assert proxy.stdout is not None
        os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{int(proxy.stdout.readline())}"
        seconds = {judge: result.seconds for judge, result in medians(REMOTE_JUDGES, uri, rounds).items()}
        rows = [
            [name, f"{seconds[judge]:.2f}", f"{seconds[judge] / seconds['download']:.2f}"]
            for judge, name in REMOTE_JUDGES.items()
        ]
        title = f"S3 that takes {LATENCY} ms a request: {FAR}"
        print_table(title, ["", "seconds", "times as long as the download"], rows)
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

    alone = seconds(None)
    rows = [["check_trial, without workers", f"{alone:.2f}", "1.00", ""]]
    for workers in (1, 2, 4):
        with LocalCluster(workers, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
            taken = seconds(client.get_executor(pure=False))
        more = 1000 * (taken * min(workers, os.cpu_count() or 1) - alone) / MOST_RANGES
        rows.append([f"{workers} worker{'s' * (workers > 1)}", f"{taken:.2f}", f"{taken / alone:.2f}", f"{more:.0f}"])
    columns = ["", "seconds", "times as long as alone", "more a range, of a processor's ms"]
    print_table(f"Workers of Dask, on this machine: {LONG}", columns, rows)


def machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), {memory:.0f} GiB, {platform.system()}, "
        f"Python {platform.python_version()}, NumPy {np.__version__}"
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
                write_trial(folders[shape], shape)
        click.echo(machine())
        for shape in (LARGE, MANY):
            speed_table(shape, folders[shape], rounds)
        growth_table(folders, rounds)
        executor_table(folders[LONG], rounds)
        remote_tables(folders, Path(scratch), rounds)


if __name__ == "__main__":
    main()
