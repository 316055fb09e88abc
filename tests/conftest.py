"""What the tests share: recorded trials with their truth, trials that smdebug's own writer makes, and an oracle.

``write_trial`` makes a whole trial in one call; ``trial_writer`` gives a ``TrialWriter``, which writes a trial step by
step, as a live job does. Both keep what they wrote in ``saved``, from which ``expected_comparisons`` computes every
ratio naively, with Python's numbers and ``math.hypot``.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Mapping, NamedTuple, Sequence

import numpy as np
import pytest
from hypothesis import settings

# nohup ignores these signals, and the processes that tests signal would inherit that.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)

settings.register_profile("any machine", deadline=None)  # a busy one takes its time
settings.load_profile("any machine")

# smdebug reads these when it is imported: no INFO on stdout, and no sleep for a step of a trial that has ended.
os.environ["SMDEBUG_LOG_LEVEL"] = "warning"
os.environ["SMDEBUG_TRAINING_END_DELAY_REFRESH"] = "0"

REPOSITORY = Path(__file__).resolve().parent.parent
RECORDED = {
    folder.name: folder
    for parent in (REPOSITORY / "examples" / "trials", REPOSITORY / "tests" / "trials")
    for folder in sorted(parent.iterdir())
    if folder.is_dir() and folder.name not in ("truth", "hooks")
}
COMMAND = (sys.executable, "-m", "weight_update_ratio")
CAN_WRITE = hasattr(np.ndarray, "tostring")
WHY_NOT_WRITTEN = "smdebug writes trials with ndarray.tostring, which NumPy 2.3 took away"

collect_ignore_glob = ["fuzz/fuzz.py", "benchmarks/[!t]*.py"]  # programs, which need atheris and torch

needs_writing = pytest.mark.skipif(not CAN_WRITE, reason=WHY_NOT_WRITTEN)

EXIT_CODES = {
    "pytorch_healthy": 0,
    "pytorch_killed": 0,
    "pytorch_ddp_one": 0,
    "tf_keras": 0,
    "pytorch_frozen": 1,
    "pytorch_exploding": 1,
    "pytorch_reductions_only": 2,
    "xgboost": 2,
}
FROZEN_LAYER = {  # the one group of violations of pytorch_frozen
    "tensor": "TinyNet_conv1.weight",
    "worker": "worker_0",
    "verdict": "small",
    "first_step": 1,
    "last_step": 19,
    "count": 19,
    "worst_ratio": 0.0,
    "worst_step": 1,
    "lower": 1e-8,
    "upper": 10.0,
}


def recorded_truth(name: str) -> dict[tuple[str, str, int], tuple[str, int, float]]:
    """Return {(tensor, worker, step): (mode, reference step, ratio)} of a recorded trial, as smdebug reads it."""
    truth = REPOSITORY / "tests" / "trials" / "truth" / f"{name}.jsonl"
    rows = [json.loads(line) for line in truth.read_text().splitlines()]
    return {
        (row["tensor"], row["worker"], row["step"]): (row["mode"], row["ref_step"], float(row["ratio"])) for row in rows
    }


class Saved(NamedTuple):
    """One tensor as a trial's writer was given it."""

    tensor: str
    worker: str
    mode: str
    step: int
    global_step: int
    array: np.ndarray[Any, Any]


class TrialWriter:
    """Writes a trial folder with smdebug's FileWriter and CollectionManager, step by step."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.saved: list[Saved] = []  # so far
        self._next_steps: dict[tuple[str, str], int] = {}

    def collections(
        self,
        members: Mapping[str, Iterable[str]],
        include_regex: Mapping[str, list[str]] | None = None,
        workers: Sequence[str] = ("worker_0",),
        num_workers: int | None = None,
    ) -> TrialWriter:
        """Write every worker's collections file: {collection: tensor names}, {collection: patterns}."""
        from smdebug.core.collection_manager import CollectionManager

        for worker in workers:
            manager = CollectionManager()
            for name in [*members, *(include_regex or {})]:
                collection = manager.get(name)
                collection.tensor_names = set(members.get(name, ()))
                collection.include_regex = list((include_regex or {}).get(name, ()))
            manager.set_num_workers(num_workers or len(workers))
            manager.export(str(self.path), f"{worker}_collections.json")
        return self

    def save(
        self,
        global_step: int,
        tensors: Mapping[str, Any],
        mode: str = "TRAIN",
        mode_step: int | None = None,
        worker: str = "worker_0",
        checksum: bool = False,
    ) -> TrialWriter:
        """Save tensors of one worker at a global step; ``mode_step`` None: the worker's next in this mode.

        With ``checksum`` the payloads get real checksums, which smdebug leaves out by default.
        """
        from smdebug.core.modes import ModeKeys
        from smdebug.core.writer import FileWriter

        if mode_step is None:
            mode_step = self._next_steps.get((worker, mode), 0)
        self._next_steps[worker, mode] = mode_step + 1
        writer = FileWriter(trial_dir=str(self.path), step=global_step, worker=worker, write_checksum=checksum)
        for tensor, value in tensors.items():
            array = np.asarray(value)
            writer.write_tensor(tdata=array, tname=tensor, mode=ModeKeys[mode], mode_step=mode_step)
            self.saved.append(Saved(tensor, worker, mode, mode_step, global_step, array))
        writer.close()
        return self

    def end(self) -> TrialWriter:
        (self.path / "training_job_end.ts").touch()
        return self


def write_whole_trial(
    path: Path | str,
    tensors: Mapping[str, Callable[[int], Any] | Sequence[Any]],
    steps: int | None = None,
    modes: Sequence[str] | str = "TRAIN",
    intervals: Mapping[str, int] | None = None,
    workers: Sequence[str] = ("worker_0",),
    missing: Iterable[tuple[str, int]] = (),
    dtype: Any = None,
    collections: Mapping[str, Iterable[str]] | None = None,
    include_regex: Mapping[str, list[str]] | None = None,
    checksum: bool = False,
    ended: bool = True,
) -> TrialWriter:
    """Write a whole trial and return its writer.

    ``tensors`` are {name: values}: a sequence by global step, None where the tensor is not saved, or a function of the
    global step. Of several workers, the n-th saves n more than the values (arrays only). ``modes`` are of each global
    step, repeated as often as needed, ``intervals`` {name: saved at every so many global steps}, ``missing`` (worker,
    global step) that were not saved. Without ``collections``, {name: tensor names}, all tensors are weights.
    """
    if steps is None:
        steps = max(len(values) for values in tensors.values() if not callable(values))
    modes = [modes] if isinstance(modes, str) else list(modes)
    writer = TrialWriter(path)
    members = {"weights": list(tensors)} if collections is None else collections
    writer.collections(members, include_regex, workers)
    counts = dict.fromkeys(modes, 0)
    for global_step in range(steps):
        mode = modes[global_step % len(modes)]
        for offset, worker in enumerate(workers):
            arrays = {}
            for name, values in tensors.items():
                value = values(global_step) if callable(values) else dict(enumerate(values)).get(global_step)
                if value is not None and global_step % (intervals or {}).get(name, 1) == 0:
                    array = np.asarray(value, dtype)
                    shifted = offset and array.dtype.kind != "U"  # texts have no numbers to add to
                    arrays[name] = array + array.dtype.type(offset) if shifted else array
            if arrays and (worker, global_step) not in set(missing):
                writer.save(global_step, arrays, mode, counts[mode], worker, checksum)
        counts[mode] += 1
    return writer.end() if ended else writer


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Count no lines in properties: that doubles their time, and a line that only they reach lacks an example."""
    for item in items:
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker("no_cover")


@pytest.fixture
def trial_writer(tmp_path: Path) -> Callable[..., TrialWriter]:
    """Give a function that returns a ``TrialWriter`` for a new folder below the test's own."""
    if not CAN_WRITE:
        pytest.skip(WHY_NOT_WRITTEN)
    return lambda name="trial": TrialWriter(tmp_path / name)


@pytest.fixture
def write_trial(tmp_path: Path, trial_writer: Any) -> Callable[..., TrialWriter]:
    """Give ``write_whole_trial`` for a new folder below the test's own."""
    return lambda tensors, name="trial", **options: write_whole_trial(tmp_path / name, tensors, **options)


def random_walk(
    shape: Any = (3, 4), size: float = 0.01, seed: int = 0, dtype: Any = np.float32
) -> Callable[[int], Any]:
    """Return a function of the step: weights around 1, each step's update about ``size`` of them."""

    def weights(step: int) -> np.ndarray[Any, Any]:
        initial = np.random.default_rng(seed).normal(1.0, 0.5, shape)
        update = sum(
            (np.random.default_rng([seed, n + 1]).normal(0, size, shape) for n in range(step)), np.zeros(shape)
        )
        return np.asarray(initial + update, dtype)

    return weights


def exact_norm(array: Any, reference: Any = None) -> float:
    """Return the L2 norm of ``array``, or of ``array - reference``, by Python's numbers; integers of any size."""
    new = np.asarray(array).ravel().tolist()
    old = [0] * len(new) if reference is None else np.asarray(reference).ravel().tolist()
    parts = [complex(after - before) for after, before in zip(new, old)]
    numbers = [part.real for part in parts] + [part.imag for part in parts]
    return math.nan if any(map(math.isnan, numbers)) else math.hypot(*numbers)


def expected_comparisons(
    saved: Iterable[Saved], num_steps: int | None = None, epsilon: float = 1e-9
) -> dict[tuple[str, str, int], tuple[str, int, float]]:
    """Return {(tensor, worker, step): (mode, reference step, ratio)} as the definition reads, and no cleverer."""
    saved = list(saved)
    mode, judged = "TRAIN", [entry for entry in saved if entry.mode == "TRAIN"]
    if not judged:
        mode, judged = "GLOBAL", [entry._replace(step=entry.global_step) for entry in saved]
    expected = {}
    for entry in judged:
        lowest = -1 if num_steps is None else entry.step - num_steps
        earlier = [
            other
            for other in judged
            if (other.tensor, other.worker) == (entry.tensor, entry.worker) and lowest <= other.step < entry.step
        ]
        if not earlier:
            continue
        reference = (max if num_steps is None else min)(earlier, key=lambda other: other.step)
        if reference.array.shape != entry.array.shape or not entry.array.size:
            continue
        weights = exact_norm(reference.array)
        ratio = exact_norm(entry.array, reference.array) / (weights + epsilon) if weights < math.inf else math.nan
        expected[entry.tensor, entry.worker, entry.step] = (mode, reference.step, ratio)
    return expected


def as_smdebug_reads(path: Path | str, collection: str = "weights") -> list[Saved]:
    """Return all that smdebug's own Trial reads of collections, with commas between: arrays are ``Tensor.value``'s."""
    from smdebug.core.modes import ModeKeys
    from smdebug.exceptions import InvalidWorker, TensorUnavailableForStep
    from smdebug.trials import create_trial

    trial = create_trial(str(path))
    trial.maybe_refresh()  # create_trial alone lists no steps
    saved = []
    for name in (name for one in collection.split(",") for name in trial.tensor_names(collection=one)):
        tensor = trial.tensor(name)
        for global_step in tensor.steps(mode=ModeKeys.GLOBAL):
            for worker in trial.workers():
                try:
                    array = tensor.value(global_step, mode=ModeKeys.GLOBAL, worker=worker)
                except (InvalidWorker, TensorUnavailableForStep):
                    continue
                mode = trial.mode(global_step).name
                saved.append(Saved(name, worker, mode, trial.mode_step(global_step), global_step, np.asarray(array)))
    return saved


def index_file(trial: Path, global_step: int, worker: str = "worker_0") -> Path:
    return trial / "index" / f"{global_step // 1000:09d}" / f"{global_step:012d}_{worker}.json"


def event_file(trial: Path, global_step: int, worker: str = "worker_0") -> Path:
    return trial / "events" / f"{global_step:012d}" / f"{global_step:012d}_{worker}.tfevents"


def change_json(path: Path, change: Callable[[Any], Any]) -> None:
    """Rewrite a JSON file as ``change`` leaves, or returns, its content."""
    content = json.loads(path.read_text())
    returned = change(content)
    path.write_text(json.dumps(content if returned is None else returned))


def found_comparisons(comparisons: Iterable[Any]) -> dict[tuple[str, str, int], tuple[str, int, float]]:
    """Return the comparisons of a Report, or of ``rule.comparisons()``, in the form of ``expected_comparisons``."""
    rows = list(comparisons.itertuples() if hasattr(comparisons, "itertuples") else comparisons)
    reported = {(row.tensor, row.worker, row.step): (row.mode, row.reference_step, row.ratio) for row in rows}
    assert len(rows) == len(reported), "a comparison is there twice"
    return reported


def assert_same_comparisons(expected: Mapping[Any, tuple[str, int, float]], actual: Mapping[Any, Any]) -> None:
    """Assert that nothing is missing, nothing is too much, and every ratio is the same to a relative 1e-9."""
    assert sorted(expected) == sorted(actual)
    for key, (mode, reference, ratio) in expected.items():
        assert (mode, reference) == tuple(actual[key][:2]), key
        assert actual[key][2] == pytest.approx(ratio, rel=1e-9, abs=0, nan_ok=True), key


def run_python(*arguments: Any, env: Mapping[str, str] | None = None, **options: Any) -> Any:
    """Run Python in a new process, with more variables, and return what it printed and its exit code."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), **(env or {})}
    options = {"capture_output": True, "encoding": "utf-8", "env": environment, "timeout": 300, **options}
    return subprocess.run([sys.executable, *map(str, arguments)], **options)


def run_command(*arguments: Any, **options: Any) -> Any:
    """Run the command in a new process."""
    return run_python("-m", "weight_update_ratio", *arguments, **options)


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Give a function that starts the command, or another program; what runs in the end is killed."""
    started = []

    def run(*arguments: Any, program: Sequence[str] = COMMAND) -> subprocess.Popen[str]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"}
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        started.append(subprocess.Popen([*program, *map(str, arguments)], env=environment, **pipes))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


from tests.s3_server import s3, s3_server  # noqa: E402, F401  (fixtures)
