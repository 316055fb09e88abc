"""What the tests of TrialRecorder share: what a folder holds, read without smdebug, and what it should hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterable, Mapping, NamedTuple

import numpy as np

from tests.conftest import Saved, exact_norm
from weight_update_ratio.parameters import parse_parameters
from weight_update_ratio.storage.disk import DiskStorage
from weight_update_ratio.trial.event_file import tensor_array, tensor_layout
from weight_update_ratio.trial.folder import TrialFolder

WIDENED = {"int8": "int32", "int16": "int32", "uint16": "int32", "uint32": "int64", "complex64": "complex128"}


class File(NamedTuple):
    """All that shows whether a file was touched."""

    content: bytes
    modified: int
    inode: int


def files_of(folder: Path) -> dict[str, File]:
    """Return {name: file} of all files below a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if not path.is_dir():
            status = path.stat()
            found[str(path.relative_to(folder))] = File(path.read_bytes(), status.st_mtime_ns, status.st_ino)
    return found


def as_package_reads(path: Path | str, collection: str = "weights") -> list[Saved]:
    """Return all that this package's own reader finds of a collection's tensors; every record of them is sound."""
    storage = DiskStorage(str(path))
    folder = TrialFolder(storage, parse_parameters(collection_names=[collection]))
    assert [] == folder.unreadable
    saved = []
    for global_step in folder.steps:
        assert [] == folder.saved(global_step).unreadable
        for step in folder.saved(global_step).workers:
            for tensor, place in step.records.items():
                assert place is not None
                record = storage.span(step.event_file, *place)
                layout = tensor_layout(record, tensor, global_step)
                array = tensor_array(record, layout).reshape(layout.shape).copy()
                saved.append(Saved(tensor, step.worker, step.mode, step.step, global_step, array))
    return saved


def as_saved(array: Any) -> np.ndarray[Any, Any]:
    """Return an array of NumPy in the type that it is saved in."""
    array = np.asarray(array)
    native = array.dtype.newbyteorder("=")
    return np.ascontiguousarray(array, WIDENED.get(native.name, native)).reshape(array.shape)


def assert_same_saved(expected: Iterable[Saved], actual: Iterable[Saved]) -> None:
    """Assert that the same tensors were saved at the same steps, in the same type, bit for bit."""

    def described(saved: Saved) -> tuple[Any, ...]:
        array = as_saved(saved.array)
        return (*saved[:5], array.dtype.str, array.shape, array.tobytes())

    assert sorted(map(described, expected)) == sorted(map(described, actual))


class Counts:
    """How steps are counted, and which of them are saved, as the documentation says it."""

    def __init__(self, save_interval: int = 1, pairs: bool = False) -> None:
        self.save_interval = save_interval
        self.pairs = pairs
        self.next_numbers: dict[str, int] = {}
        self.next_global_step = 0

    def count(self, mode: str = "TRAIN", step: int | None = None) -> tuple[int, int, bool]:
        """Return a step's number in its mode, its global step, and whether it is saved."""
        global_step = self.next_global_step
        number = self.next_numbers.get(mode, 0) if step is None else step
        if mode == "GLOBAL":
            number = global_step
        self.next_numbers[mode] = number + 1
        self.next_global_step += 1
        saved_at = {0, 1 % self.save_interval} if self.pairs else {0}
        return number, global_step, number % self.save_interval in saved_at

    def resume(self, saved: Iterable[Saved]) -> None:
        """Go on after the last step of each mode that was saved."""
        self.next_numbers, self.next_global_step = {}, 0
        for entry in sorted(saved, key=lambda entry: entry.global_step):
            self.next_numbers[entry.mode] = entry.step + 1
            self.next_global_step = entry.global_step + 1


def expected_rows(saved: Iterable[Saved]) -> dict[tuple[str, str, int], tuple[str, int, float]]:
    """Return the comparisons of what was saved, also where numbers of steps were saved again: the later row stands.

    Its reference is found by walking back in the order of saving to the first step with a lower number.
    """
    entries = sorted(saved, key=lambda entry: entry.global_step)
    mode = "TRAIN" if any(entry.mode == "TRAIN" for entry in entries) else "GLOBAL"
    courses: dict[tuple[str, str], list[Saved]] = {}
    for entry in entries:
        if mode == "GLOBAL" or entry.mode == mode:
            counted = entry._replace(step=entry.global_step) if mode == "GLOBAL" else entry
            courses.setdefault((entry.tensor, entry.worker), []).append(counted)
    rows: dict[tuple[str, str, int], tuple[str, int, float]] = {}
    for (tensor, worker), course in courses.items():
        for position, entry in enumerate(course):
            rows.pop((tensor, worker, entry.step), None)
            earlier = [other for other in course[:position] if other.step < entry.step]
            if earlier and earlier[-1].array.shape == entry.array.shape and entry.array.size:
                before, after = as_saved(earlier[-1].array), as_saved(entry.array)
                ratio = exact_norm(after, before) / (exact_norm(before) + 1e-9)
                rows[tensor, worker, entry.step] = mode, earlier[-1].step, ratio
    return rows


def weights(step: int, seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    """Return the weights of a small net after so many updates, each of about a hundredth of them."""
    updates = np.random.default_rng(seed).normal(0, 0.01, (step + 1, 11)).cumsum(axis=0)[step]
    net = np.asarray(1 + updates, np.float32)
    return {"conv.weight": net[:6].reshape(2, 3), "conv.bias": net[6:8], "fc.weight": net[8:].reshape(3, 1)}


def as_entries(
    tensors: Mapping[str, Any], mode: str, step: int, global_step: int, worker: str = "worker_0"
) -> list[Saved]:
    """Return the tensors of one step as ``Saved`` entries."""
    return [Saved(name, worker, mode, step, global_step, np.asarray(array)) for name, array in tensors.items()]
