"""Times recording with ``TrialRecorder`` against writing the same bytes otherwise, side by side in one run.

    python -m tests.benchmarks.recording

Every figure is the writing of some steps into a new folder. The four take turns, so that a disk whose speed drifts is
unfair to none of them, and the median of the rounds is shown. Each begins with a disk that has nothing left to write.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict

import click
import numpy as np

from tests.benchmarks.__main__ import Shape, machine

Tensors = Dict[str, np.ndarray[Any, Any]]
LARGE, SMALL = Shape(160, 160_000, 10), Shape(300, 1_024, 100)


def numpy_save(folder: Path, tensors: Tensors, steps: int) -> None:
    """Write a file a tensor and step, with numpy.save."""
    for step in range(steps):
        (folder / str(step)).mkdir(parents=True)
        for name, tensor in tensors.items():
            np.save(folder / str(step) / f"{name}.npy", tensor)


def safetensors(folder: Path, tensors: Tensors, steps: int) -> None:
    """Write a file a step, with safetensors."""
    from safetensors.numpy import save_file

    folder.mkdir()
    for step in range(steps):
        save_file(tensors, folder / f"{step}.safetensors")


def file_writer(folder: Path, tensors: Tensors, steps: int) -> None:
    """Write the event and index files of each step, with smdebug's FileWriter."""
    from smdebug.core.modes import ModeKeys
    from smdebug.core.writer import FileWriter

    for step in range(steps):
        writer = FileWriter(trial_dir=str(folder), step=step, worker="worker_0")
        for name, tensor in tensors.items():
            writer.write_tensor(tdata=tensor, tname=name, mode=ModeKeys.TRAIN, mode_step=step)
        writer.close()


def trial_recorder(folder: Path, tensors: Tensors, steps: int) -> None:
    """Write a trial folder, with this package's TrialRecorder."""
    from weight_update_ratio import TrialRecorder

    with TrialRecorder(folder) as recorder:
        for _ in range(steps):
            recorder.step(tensors)


WRITERS: dict[str, Callable[[Path, Tensors, int], None]] = {
    "numpy.save, a file a tensor": numpy_save,
    "safetensors, a file a step": safetensors,
    "smdebug's FileWriter": file_writer,
    "TrialRecorder": trial_recorder,
}


def seconds(write: Callable[[Path, Tensors, int], None], root: Path, tensors: Tensors, steps: int) -> float:
    """Return how long a writer takes."""
    folder = root / "written"
    os.sync()
    started = time.perf_counter()
    write(folder, tensors, steps)
    duration = time.perf_counter() - started
    shutil.rmtree(folder)
    return duration


@click.command()
@click.option("--rounds", default=5, show_default=True, help="Turns that are counted, after one that is not.")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="Where to write, on the disk to test.")
def main(rounds: int, folder: Path | None) -> None:
    """Print the table of recording that README.md, beside this file, shows."""
    random = np.random.default_rng(0)
    click.echo(machine())
    for shape in (LARGE, SMALL):
        tensors = {
            f"layer_{n:03d}.weight": random.standard_normal(shape.elements, np.float32) for n in range(shape.tensors)
        }
        taken: dict[str, list[float]] = {name: [] for name in WRITERS}
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            for _ in range(rounds + 1):
                for name, write in WRITERS.items():
                    taken[name].append(seconds(write, Path(scratch), tensors, shape.steps))
        click.echo(f"\n{shape}\n\n| | milliseconds a step | MB/s | of numpy.save's throughput |\n|---|---:|---:|---:|")
        medians = {name: statistics.median(times[1:]) for name, times in taken.items()}
        reference = next(iter(medians.values()))
        for name, duration in medians.items():
            speed = shape.tensors * shape.elements * 4 * shape.steps / duration / 1e6
            click.echo(f"| {name} | {duration / shape.steps * 1e3:.1f} | {speed:.0f} | {reference / duration:.0%} |")


if __name__ == "__main__":
    os.environ.setdefault("SMDEBUG_LOG_LEVEL", "error")
    main()
