"""What the tests of TrialRecorder share: what a folder holds, read without smdebug, and what it should hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterable, Mapping, NamedTuple

import numpy as np

from tests.conftest import Saved
from weight_update_ratio.parameters import parse_parameters
from weight_update_ratio.storage.disk import DiskStorage
from weight_update_ratio.trial.event_file import tensor_layout
from weight_update_ratio.trial.folder import TrialFolder

USUAL = "weights,biases,vectors"  # the collections of a recorder that is given none
WIDENED = {"int8": "int32", "int16": "int32", "uint16": "int32", "uint32": "int64", "complex64": "complex128"}


class File(NamedTuple):
    """All that shows whether a file was touched."""

    content: bytes
    modified: int
    inode: int


def files_of(folder: Path) -> dict[str, File]:
    files = {}
    for path in sorted(folder.rglob("*")):
        if not path.is_dir():
            status = path.stat()
            files[str(path.relative_to(folder))] = File(path.read_bytes(), status.st_mtime_ns, status.st_ino)
    return files


def as_package_reads(path: Path | str) -> list[Saved]:
    """Return all that this package's own reader finds of the recorder's tensors; every record of them is sound."""
    storage = DiskStorage(str(path))
    folder = TrialFolder(storage, parse_parameters(collection_names=USUAL))
    assert [] == folder.unreadable
    saved = []
    for global_step in folder.steps:
        assert [] == folder.saved(global_step).unreadable
        for step in folder.saved(global_step).workers:
            for tensor, span in step.records.items():
                assert span is not None
                record = storage.span(step.event_file, *span)
                layout = tensor_layout(record, tensor, global_step)
                array = np.frombuffer(record, layout.dtype, layout.size, layout.offset).reshape(layout.shape).copy()
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


def weights(step: int, seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    """Return the weights of a small net after so many updates, each of about a hundredth of them."""
    updates = np.random.default_rng(seed).normal(0, 0.01, (step + 1, 11)).cumsum(axis=0)[step]
    net = np.asarray(1 + updates, np.float32)
    return {"conv.weight": net[:6].reshape(2, 3), "conv.bias": net[6:8], "fc.weight": net[8:].reshape(3, 1)}


def as_entries(
    tensors: Mapping[str, Any], mode: str, step: int, global_step: int, worker: str = "worker_0"
) -> list[Saved]:
    return [Saved(name, worker, mode, step, global_step, np.asarray(array)) for name, array in tensors.items()]
