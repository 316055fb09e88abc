"""Times recording with ``TrialRecorder`` against writing the same bytes otherwise, side by side in one run.

    python -m tests.benchmarks.recording

Every figure is the writing of some steps into a new folder. The four take turns, so that a disk whose speed drifts is
unfair to none of them, and the median of the rounds is shown. Each begins with a disk that has nothing left to write.
A last table shows what nets of known sizes cost, every 50 steps in pairs.
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

from tests.benchmarks.__main__ import Shape, machine, print_table
from tests.conftest import TrialWriter
from weight_update_ratio import TrialRecorder

Tensors = Dict[str, np.ndarray[Any, Any]]
LARGE, SMALL = Shape(160, 160_000, 10), Shape(300, 1_024, 100)
TRANSFORMERS = ((6, 384, 65, 256), (12, 768, 50_257, 1_024))  # layers, width, vocabulary, context; the second is GPT-2
INTERVAL, PAIRS, TRAINING = 50, 2, 10_000  # steps; pairs that are timed; steps of a training


def numpy_save(folder: Path, tensors: Tensors, steps: int) -> None:
    for step in range(steps):
        (folder / str(step)).mkdir(parents=True)
        for name, tensor in tensors.items():
            np.save(folder / str(step) / f"{name}.npy", tensor)


def safetensors(folder: Path, tensors: Tensors, steps: int) -> None:
    from safetensors.numpy import save_file

    folder.mkdir()
    for step in range(steps):
        save_file(tensors, folder / f"{step}.safetensors")


def file_writer(folder: Path, tensors: Tensors, steps: int) -> None:
    writer = TrialWriter(folder)
    for step in range(steps):
        writer.save(step, tensors)


def trial_recorder(folder: Path, tensors: Tensors, steps: int) -> None:
    with TrialRecorder(folder) as recorder:
        for _ in range(steps):
            recorder.step(tensors)


Writer = Callable[[Path, Tensors, int], None]
WRITERS: dict[str, Writer] = {
    "numpy.save, a file a tensor": numpy_save,
    "safetensors, a file a step": safetensors,
    "smdebug's FileWriter": file_writer,
    "TrialRecorder": trial_recorder,
}


def seconds(write: Writer, folder: Path, tensors: Tensors, steps: int) -> float:
    os.sync()
    started = time.perf_counter()
    write(folder, tensors, steps)
    duration = time.perf_counter() - started
    shutil.rmtree(folder)
    return duration


def transformer(layers: int, width: int, vocabulary: int, context: int) -> Tensors:
    """Return float32 weights of the shapes of GPT-2."""
    shapes: dict[str, tuple[int, ...]] = {"wte": (vocabulary, width), "wpe": (context, width)}
    for layer in range(layers):
        for name, rows, columns in (("attn", 1, 3), ("proj", 1, 1), ("fc", 1, 4), ("out", 4, 1)):
            shapes[f"{layer}.{name}.weight"] = (rows * width, columns * width)
            shapes[f"{layer}.{name}.bias"] = (columns * width,)
    for name in ("ln_f", *(f"{layer}.ln_{number}" for layer in range(layers) for number in (1, 2))):
        shapes.update({f"{name}.weight": (width,), f"{name}.bias": (width,)})
    random = np.random.default_rng(0)
    return {name: random.standard_normal(shape, np.float32) for name, shape in shapes.items()}


def cost(folder: Path, tensors: Tensors) -> tuple[float, float, int]:
    """Return the seconds of a saved step into the page cache, and until it is on the disk, and its bytes."""
    os.sync()
    started = time.perf_counter()
    with TrialRecorder(folder, save_interval=INTERVAL, pairs=True) as recorder:
        saved = sum(recorder.step(tensors) for _ in range(PAIRS * INTERVAL))
    cached = time.perf_counter() - started
    os.sync()
    synced = time.perf_counter() - started
    written = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    shutil.rmtree(folder)
    return cached / saved, synced / saved, written // saved


def print_costs(rounds: int, scratch: Path) -> None:
    """Print what a recorder costs where it saves pairs of steps of two transformers."""
    rows = []
    for shape in TRANSFORMERS:
        tensors = transformer(*shape)
        measured = [cost(scratch / "written", tensors) for _ in range(rounds + 1)][1:]
        cached, synced, size = (statistics.median(column) for column in zip(*measured))
        parameters, total = sum(tensor.size for tensor in tensors.values()), size * 2 * TRAINING / INTERVAL
        seconds = [f"{cached:.3f}", f"{synced:.3f}"]
        rows.append(
            [f"{parameters / 1e6:.1f} M", str(len(tensors)), f"{size / 1e6:.1f}", *seconds, f"{total / 1e9:.1f}"]
        )
    seconds = ["seconds a saved step", "the same until it is on the disk"]
    columns = ["parameters", "tensors", "MB a saved step", *seconds, f"GB of {TRAINING:,} steps"]
    print_table(f"Every {INTERVAL} steps in pairs, float32", columns, rows)


def print_throughput(shape: Shape, rounds: int, scratch: Path) -> None:
    random = np.random.default_rng(0)
    names = [f"layer_{number:03d}.weight" for number in range(shape.tensors)]
    tensors = {name: random.standard_normal(shape.elements, np.float32) for name in names}
    taken: dict[str, list[float]] = {name: [] for name in WRITERS}
    for _ in range(rounds + 1):
        for name, write in WRITERS.items():
            taken[name].append(seconds(write, scratch / "written", tensors, shape.steps))
    medians = {name: statistics.median(times[1:]) for name, times in taken.items()}
    reference = next(iter(medians.values()))
    size = shape.tensors * shape.elements * 4 * shape.steps / 1e6
    rows = [
        [name, f"{time / shape.steps * 1e3:.1f}", f"{size / time:.0f}", f"{reference / time:.0%}"]
        for name, time in medians.items()
    ]
    print_table(str(shape), ["", "milliseconds a step", "MB/s", "of numpy.save's throughput"], rows)


@click.command()
@click.option("--rounds", default=5, show_default=True, help="Turns that are counted, after one that is not.")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="Where to write, on the disk to test.")
def main(rounds: int, folder: Path | None) -> None:
    """Print the tables of recording that README.md, beside this file, shows."""
    click.echo(machine())
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        for shape in (LARGE, SMALL):
            print_throughput(shape, rounds, Path(scratch))
        print_costs(rounds, Path(scratch))


if __name__ == "__main__":
    main()
