"""The examples that record or watch a training, in the frameworks themselves: what is recorded, and its verdict.

Each framework is one process (recordings.py), because importing it takes seconds. A test whose framework is not there
skips itself; nothing else is needed except the package and pytest.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Callable, Iterable

import numpy as np
import pandas
import pytest

from tests.conftest import (
    REPOSITORY,
    Saved,
    as_smdebug_reads,
    assert_same_comparisons,
    expected_comparisons,
    found_comparisons,
)
from tests.documents import text_of
from tests.recorders import USUAL
from weight_update_ratio import check_trial

pytestmark = pytest.mark.slow

SECONDS = 300  # that a framework may take


def needs(*packages: str) -> pytest.MarkDecorator:
    """Return the mark of a test that needs frameworks."""
    return pytest.mark.skipif(not all(map(find_spec, packages)), reason=f"needs {' and '.join(packages)}")


def start(program: str, folder: Path, **environment: str) -> subprocess.Popen[str]:
    """Start one of the programs of recordings.py."""
    settings = {
        "OMP_NUM_THREADS": "1",
        "XLA_FLAGS": "--xla_backend_optimization_level=0",  # compiles in half of the time
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "tests.examples.recordings", program, str(folder)],
        cwd=REPOSITORY,
        env={**os.environ, **settings, "PYTHONPATH": str(REPOSITORY), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )


def finish(*processes: subprocess.Popen[str]) -> None:
    """Wait until processes have ended well; none is left."""
    try:
        printed = [process.communicate(timeout=SECONDS)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [0] * len(processes) == [process.returncode for process in processes], "\n".join(printed)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Give a function that runs a program once, and returns the folder that it wrote."""
    folders: dict[str, Path] = {}

    def run(program: str, **environment: str) -> Path:
        key = "_".join([program, *environment.values()])
        if key not in folders:
            folder = tmp_path_factory.mktemp(key)
            finish(start(program, folder, **environment))
            folders[key] = folder
        return folders[key]

    return run


def truth(file: Path) -> dict[tuple[str, int], Any]:
    """Return {(tensor, step): array} as a program wrote it."""
    arrays = np.load(file)
    parts = ((key, key.partition("/")) for key in arrays.files)
    return {(name, int(step)): arrays[key] for key, (step, _, name) in parts}


def training_steps(trial: Path) -> dict[tuple[str, int], Any]:
    """Return {(tensor, step): array} of the training steps, as smdebug reads them."""
    return {
        (saved.tensor, saved.step): saved.array for saved in as_smdebug_reads(trial, USUAL) if saved.mode == "TRAIN"
    }


def assert_recorded(file: Path, trial: Path, tolerance: float = 0.0) -> None:
    """Assert that the training steps are what a program wrote: the same tensors, steps, shapes and numbers."""
    expected, actual = truth(file), training_steps(trial)
    assert expected
    assert sorted(expected) == sorted(actual)
    for key, array in expected.items():
        assert array.shape == actual[key].shape, key
        np.testing.assert_allclose(actual[key], array, rtol=tolerance, atol=tolerance, err_msg=str(key))


def assert_watched(folder: Path, names: Iterable[str]) -> None:
    """Assert that a monitor's rows are those of check on what was recorded beside it, to the last bit.

    And that it raised at a fault, and that the document's block wrote a history that is judged like a trial.
    """
    assert sorted(names) == sorted(str(file.parent.relative_to(folder)) for file in folder.rglob("watched.pickle"))
    for name in names:
        recorded = check_trial(folder / name / "trial")
        watched = pandas.read_pickle(folder / name / "watched.pickle")  # noqa: S301  (recordings.py wrote it)
        assert len(watched), name
        rows = recorded.comparisons().assign(global_step=watched.global_step)  # with step=, a trial's counts the calls
        assert rows.equals(watched), name
        assert check_trial(folder / name / "run.jsonl").comparisons().equals(watched), name
        assert recorded.job_ended
    text, code, rows = json.loads((folder / "fault.json").read_text())
    assert text.startswith(("All ", "The ")) or " moved too much" in text
    assert 1 == code
    assert rows
    history = check_trial(folder / "document" / "run.jsonl")
    assert (0, {1, 51}) == (history.exit_code, {row.step for row in history} & {1, 51, 2, 52})


def assert_examples(folder: Path, frozen: str) -> None:
    """Assert that a healthy run is OK, a frozen layer is seen, a high rate explodes, and a second run is refused."""
    ends = json.loads((folder / "ends.json").read_text())
    trials = [end["trial"] for end in ends]
    assert ["healthy", "healthy", "frozen", "exploding"] == trials[:4]
    assert [0, 2, *[0] * (len(ends) - 2)] == [end["code"] for end in ends]
    for end in ends[:1] + ends[2:]:
        assert end["out"].endswith(f"judge it with: weight-update-ratio check {folder / end['trial']}\n")
    refused = f"Error: the folder {str(folder / 'healthy')!r} holds a trial already\n\nRecord into another folder, or "
    assert ends[1]["err"].startswith(refused)
    reports = {trial: check_trial(folder / trial) for trial in trials}
    assert all(report.complete for report in reports.values())
    verdicts = {trial: sorted({group.verdict for group in report.violations}) for trial, report in reports.items()}
    sick = {"frozen": ["small"], "exploding": ["large", "not_finite"]}
    assert {**{trial: [] for trial in trials}, **sick} == verdicts
    assert {frozen} == {group.tensor for group in reports["frozen"].violations}


def modes(trial: Path) -> dict[str, int]:
    """Return how many steps there are of each mode."""
    steps = {(saved.mode, saved.step) for saved in as_smdebug_reads(trial)}
    return dict(Counter(mode for mode, _ in steps))


@needs("torch")
def test_pytorch_example(recorded: Callable[..., Path]) -> None:
    """Each command line has its verdict; what is recorded is what the optimizer's own hook sees."""
    folder = recorded("pytorch")
    assert_examples(folder, "conv.weight")
    assert_recorded(folder / "healthy.npz", folder / "healthy")
    assert {"EVAL": 6, "TRAIN": 20} == modes(folder / "healthy")
    # Of the frozen layer the document shows the finding and the counts; losses and ratios may differ with the version.
    shown = textwrap.dedent("\n".join(re.findall(r"^ {4}.*|^$", text_of("examples/README.md"), re.MULTILINE)))
    printed = check_trial(folder / "frozen").to_text()
    assert printed[printed.index("1. Note: frozen: conv.weight ") : printed.index("Median ratio")] in shown
    assert printed[printed.index("20 TRAIN steps") :] in shown


@needs("torch")
def test_pytorch_is_watched(recorded: Callable[..., Path]) -> None:
    """In float32, under autocast, and where a scaler skips the first updates; what is frozen is not measured."""
    folder = recorded("pytorch")
    assert_watched(
        folder, [f"{name}/{part}" for name in ("float32", "autocast", "scaler") for part in ("every", "pairs")]
    )
    assert {"1.weight", "3.weight"} == {row.tensor for row in check_trial(folder / "float32/every/run.jsonl")}
    rested = [row.step for row in check_trial(folder / "scaler/every/run.jsonl") if row.ratio == 0]
    assert {1, 2, 3} <= set(rested)


@pytest.mark.parametrize("backend", [pytest.param(name, marks=needs("keras", name)) for name in ("jax", "torch")])
def test_keras_example(recorded: Callable[..., Path], backend: str) -> None:
    """Each command line has its verdict; what is recorded in the middle of fit is what train_on_batch makes.

    A callback's monitor sees the same; batches whose gradients are only accumulated are no steps, a second fit goes on,
    and an exception ends the recording.
    """
    folder = recorded("keras", KERAS_BACKEND=backend)
    assert_examples(folder, "network/conv/kernel")
    assert {"TRAIN": 20} == modes(folder / "healthy")
    for policy in "float32", "mixed_bfloat16":
        assert_recorded(folder / f"{policy}.npz", folder / policy / "trial", tolerance=1e-6)
    assert_watched(folder, ["float32", "mixed_bfloat16", "accumulated"])
    assert {"TRAIN": 4 + 4 + 2} == modes(folder / "accumulated" / "trial")


@needs("jax", "optax")
def test_jax_example(recorded: Callable[..., Path]) -> None:
    """Each command line has its verdict; the first epoch's weights are those of a descent in NumPy."""
    folder = recorded("jax")
    assert_examples(folder, "hidden/kernel")
    expected, actual = truth(folder / "healthy.npz"), training_steps(folder / "healthy")
    for key, array in expected.items():
        np.testing.assert_allclose(actual[key], array, rtol=1e-5, atol=1e-6, err_msg=str(key))
    for array in training_steps(folder / "bfloat16").values():
        assert np.float32 == array.dtype
        assert not np.any(array.view(np.uint32) & 0xFFFF), "more digits than bfloat16 has"
    assert_watched(folder, [f"{part}/{dtype}" for part in ("watched", "pairs") for dtype in ("float32", "bfloat16")])


def assert_updates(folder: Path, steps: int) -> None:
    """Assert that a callback recorded each update once, as the optimizer's hook saw it, and ended the trial."""
    assert_recorded(folder / "out.npz", folder / "trial")
    assert {"TRAIN": steps} == modes(folder / "trial")
    assert check_trial(folder / "trial").job_ended


@needs("lightning")
def test_lightning_callback(recorded: Callable[..., Path]) -> None:
    """It counts updates over two fits, and from a checkpoint's; an exception ends the recording, a fault the fit."""
    folder = recorded("lightning")
    assert_updates(folder / "accumulated", 12)
    assert_updates(folder / "failing", 10)
    assert_watched(folder, ["accumulated", "resumed"])
    assert {"TRAIN": 3} == modes(folder / "resumed" / "trial")  # the checkpoint's updates are no steps, but count
    assert {7, 8} == set(check_trial(folder / "resumed" / "trial").comparisons().step)


@needs("transformers", "peft")
def test_hugging_face_callback(recorded: Callable[..., Path]) -> None:
    """It counts updates over two trainings, goes on where smaller batches begin anew, and leaves a LoRA's base out."""
    folder = recorded("transformers")
    assert_updates(folder / "accumulated", 4)
    assert_updates(folder / "bfloat16", 8)
    assert_watched(folder, ["accumulated", "bfloat16", "lora", "smaller"])
    assert {"TRAIN": 4 * 3 + 8} == modes(folder / "smaller" / "trial")
    tensors = {row.tensor for row in check_trial(folder / "lora" / "run.jsonl")}
    assert 8 == len(tensors)
    assert all("lora_" in tensor for tensor in tensors)
    judged = check_trial(folder / "bfloat16" / "trial", collection_names=USUAL)
    assert judged.fired  # norms of bfloat16 do not move by 1e-3
    assert all("norm" in group.tensor and group.worst_ratio == 0 for group in judged.violations)


@needs("torch")
def test_two_processes_of_fsdp(tmp_path: Path) -> None:
    """Each records and watches its rows of the weights, and skips a tensor without one; under DDP it has the whole."""
    finish(*(start("distributed", tmp_path, RANK=str(rank)) for rank in range(2)))
    saved = [
        Saved(name, f"worker_{rank}", "TRAIN", step, step, array)
        for rank in range(2)
        for (name, step), array in truth(tmp_path / f"fsdp_{rank}.npz").items()
    ]
    shapes = {entry.tensor: entry.array.shape for entry in saved if entry.worker == "worker_1"}
    assert {"0.weight": (3, 5), "0.bias": (3,), "2.weight": (0, 7), "2.bias": (0,)} == shapes
    report = check_trial(tmp_path / "fsdp", collection_names=USUAL)
    assert_same_comparisons(expected_comparisons(saved), found_comparisons(report.comparisons()))
    assert (4 * 5 + 2 * 5, 2 * 5) == (report.counts["comparisons"], report.counts["skipped"])
    for name, tensors in [("fsdp", 3), ("ddp", 4)]:
        recorded = check_trial(tmp_path / name).comparisons()
        watched = check_trial([tmp_path / f"{name}_{rank}.jsonl" for rank in range(2)]).comparisons()
        assert recorded.equals(watched)
        assert 5 * tensors == len(watched)
    for rank in range(2):
        refused = (tmp_path / f"refused_{rank}.txt").read_text()
        assert "it is one of 2 shards, and num_workers is 1: record in all 2 processes with num_workers=2" in refused
