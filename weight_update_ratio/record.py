"""Records a training run as a trial folder, from any framework and without smdebug."""

from __future__ import annotations

import operator
import os
import re
from typing import Any, Callable, Iterable, Mapping, Tuple, Union

from .parameters import local_folder
from .trial.folder import GLOBAL
from .trial.folder_writer import FolderWriter
from .trial.index_file import LARGEST_STEP, MODES
from .trial.saved_array import saved_tensors

Tensors = Union[Mapping[str, Any], Iterable[Tuple[str, Any]], Any]  # Any: a module of PyTorch, a model of Keras

_WORKER = re.compile(r"[A-Za-z0-9]+(?:[_.-][A-Za-z0-9]+)*")  # smdebug takes "__" for a device of TensorFlow


class TrialRecorder:
    """Records a training run's weights, step by step, as a trial folder that the rule, ``check`` and smdebug read.

        with TrialRecorder("out") as recorder:
            for batch in batches:
                ...  # one training step
                recorder.step(model)

    A step is recorded whole or not at all, and its files are whole when ``step`` returns: a killed process loses no
    earlier step. Leaving the block writes the end-of-job file, also if an exception ends the training.

    Args:
        path: Folder on this machine, made if it does not exist.
        save_interval: Save the steps 0, n, 2n, ... of each mode; >= 1.
        pairs: Save the step after each of them too, so that a ratio is that of one update (``num_steps=1``).
        worker: The name of this process, as in ``f"worker_{rank}"``; no two processes may have the same one. worker_0
            writes the end-of-job file. None: worker_RANK if the environment has a RANK (torchrun) or a LOCAL_RANK
            (Lightning), else worker_0.
        num_workers: How many processes record into this folder; >= 1.
        collection: The collection of all tensors. None: those of two or more dimensions are in "weights", which is what
            the rule judges by default; of the others those whose name says bias or beta are in "biases", and the rest
            in "vectors". A name keeps its first collection.
        trained_only: Leave out what is not trained (``requires_grad`` is False), for example the base of a LoRA.
        resume: Continue the trial in the folder, if there is one: each count goes on after the last step that was
            saved. Files that a killed process left unfinished are removed, and so is the end-of-job file.

    Raises:
        FileExistsError: The folder has a trial, and ``resume`` is False. Nothing in it was changed.
        OSError: The folder cannot be made or read.
        ValueError: An argument is not valid.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        save_interval: int = 1,
        pairs: bool = False,
        worker: str | None = None,
        num_workers: int = 1,
        collection: str | None = None,
        trained_only: bool = False,
        resume: bool = False,
    ) -> None:
        folder = os.path.expanduser(local_folder("path", path))
        self._save_interval = whole_number("save_interval", save_interval, 1)
        self._pairs = bool(pairs)
        if collection is not None:
            if not isinstance(collection, str) or not collection.strip() or "," in collection:
                raise ValueError(f"'collection' must be a name without commas, or None (got {collection!r})")
            collection = collection.strip()
        self._num_workers = whole_number("num_workers", num_workers, 1)
        self._trained_only = bool(trained_only)
        self._writer = FolderWriter(folder, worker_name(worker), self._num_workers, collection, self._pairs)
        if not resume and self._writer.holds_trial():
            raise FileExistsError(
                f"the folder {folder!r} holds a trial already\n\n"
                "Record into another folder, or pass resume=True to continue this one."
            )
        last_steps = self._writer.resume() if resume else {}
        self._counts = {mode: step + 1 for mode, step in last_steps.items()}
        self._is_closed = False

    def step(self, tensors: Tensors | Callable[[], Tensors], mode: str = "TRAIN", step: int | None = None) -> bool:
        """Count one step, and record it if it is one of those that are saved. Call it once a step, after the update.

        Args:
            tensors: {name: array}, pairs (name, array), a PyTorch module (its named parameters), a Keras model (its
                weights by path), or a function that returns one of these. It is only called, and only read, if the step
                is saved. Arrays of NumPy, PyTorch (on any device), JAX, TensorFlow, Keras, or anything with
                ``__array__``; of any shape. bfloat16 and float8 are widened to float32. Of a DTensor (FSDP2) it is this
                process's shard. Names are those of the plain model: what ``torch.compile``, DDP, FSDP and checkpoint
                wrappers add is taken off.
            mode: "TRAIN", "EVAL" or "PREDICT"; or "GLOBAL", whose steps are numbered over all modes.
            step: The number of this step in its mode, >= 0, from which it counts on; None: one more than the last.
                It is for a job that goes on from an older checkpoint.

        Returns:
            Whether the step was saved: its number in its mode is a multiple of ``save_interval`` or, with ``pairs``,
            one more.

        Raises:
            TypeError: ``tensors`` are not what is described above, or one of them gives no numbers, or is one of more
                shards than ``num_workers``.
            ValueError: An argument is not valid, there is no tensor, one has no name, two have the same, one has 2 GiB
                or more, or the recorder is closed.
            OSError: The step cannot be written.

        The step is counted, but not recorded, if this raises after ``tensors`` were asked for.
        """
        if self._is_closed:
            raise ValueError("step() of a recorder that is closed")
        if mode not in MODES:
            raise ValueError(f"'mode' must be one of {', '.join(map(repr, MODES))} (got {mode!r})")
        if step is not None and mode == GLOBAL:
            raise ValueError("'step' cannot be set in mode 'GLOBAL', which counts the steps of all modes")
        number = whole_number("step", self._counts.get(mode, 0) if step is None else step, 0)
        global_step = self._counts.get(GLOBAL, 0)
        self._counts[mode] = number + 1
        self._counts[GLOBAL] = global_step + 1
        if number % self._save_interval > int(self._pairs):
            return False
        saved = saved_tensors(tensors, self._num_workers, self._trained_only)
        self._writer.write_step(saved, global_step, mode, number)
        return True

    def close(self) -> None:
        """Write the end-of-job file (as worker_0); the end of a ``with`` block does it. More often it does nothing."""
        if not self._is_closed:
            self._is_closed = True
            self._writer.write_end()

    def reopen(self) -> None:
        """Continue after ``close``: the end-of-job file is removed, and the counts go on."""
        if self._is_closed:
            self._writer.resume()
            self._is_closed = False

    def __enter__(self) -> TrialRecorder:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def whole_number(name: str, value: Any, least: int) -> int:
    """Return a whole number that is checked, or raise ValueError that names it."""
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or not least <= number < LARGEST_STEP:
        raise ValueError(f"{name!r} must be a whole number >= {least} and < 2**62 (got {value!r})")
    return number


def worker_name(worker: str | None) -> str:
    """Return the name of this process: the given one, or by the RANK of torchrun or the LOCAL_RANK of Lightning."""
    if worker is None:
        rank = os.environ.get("RANK") or os.environ.get("LOCAL_RANK", "")
        return f"worker_{int(rank) if rank.isdecimal() else 0}"
    if not isinstance(worker, str) or not _WORKER.fullmatch(worker):
        raise ValueError(f"'worker' must be a name like 'worker_0' (got {worker!r})")
    return worker
