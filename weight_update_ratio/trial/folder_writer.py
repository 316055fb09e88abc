"""Writes a trial folder on a disk: the inverse of ``folder``.

The collections file is written first, if a name is new, then the step's event file, then its index file. Each name ends
in ``.tmp`` until the file is whole, as smdebug's do: a killed process leaves whole steps, and others unread.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from pathlib import Path
from typing import IO, Any, Iterable, Iterator

import numpy as np

from ..errors import UnreadableError
from ..storage.disk import DiskStorage
from ..storage.storage import COLLECTIONS_FOLDER
from .collections import COLLECTIONS_ENDING, RECORDER_NOTES, Collections, read_collections
from .event_writer import write_records
from .folder import END_OF_JOB, GLOBAL
from .index_file import read_meta
from .listing import event_file_name, index_file_name
from .saved_array import USUAL_COLLECTIONS, SavedTensor

UNFINISHED = ".tmp"


class FolderWriter:
    """Writes what one worker saves. Only one process may write as this worker."""

    def __init__(self, folder: str, worker: str, num_workers: int, collection: str | None, pairs: bool) -> None:
        try:
            os.makedirs(folder, exist_ok=True)
        except FileExistsError:
            raise NotADirectoryError(f"{folder!r} is a file\n\nPass the path of a folder.") from None
        self._folder = os.path.abspath(folder)  # a job may change its working folder
        self._worker = worker
        self._num_workers = num_workers
        self._collection = collection
        self._pairs = pairs
        self._file = re.compile(rf"(?:.*/)?([0-9]+)_{re.escape(worker)}\.(?:json|tfevents)(?:{re.escape(UNFINISHED)})?")
        self._storage = DiskStorage(folder)
        self._collections_file = f"{COLLECTIONS_FOLDER}/{worker}{COLLECTIONS_ENDING}"
        self._described = read_collections(self._storage, [])  # what the collections file says
        self._ends_job = worker == "worker_0"  # which writes and removes the end-of-job file

    def holds_trial(self) -> bool:
        """Return whether the folder has files of this worker, or of a trial that has no room for another worker."""
        saved = self._saved_files()  # listed first: a worker that begins now writes its collections file first
        described = [name for name in self._storage.names(COLLECTIONS_FOLDER) if name.endswith(COLLECTIONS_ENDING)]
        if self._collections_file in described or any(step is not None for step in saved.values()):
            return True
        if not described:
            return self._storage.exists(END_OF_JOB) or not all(name.endswith(UNFINISHED) for name in saved)
        announced = {read_collections(self._storage, [name]).num_workers for name in described}
        return announced != {self._num_workers} or len(described) >= self._num_workers

    def resume(self) -> dict[str, int]:
        """Remove the end-of-job file and what a killed process left; return {mode: last step that was saved in it}."""
        if self._storage.exists(self._collections_file):
            self._described = read_collections(self._storage, [self._collections_file])
        last_steps: dict[str, int] = {}
        saved = {name: step for name, step in self._saved_files().items() if step is not None}
        for name, global_step in saved.items():
            if name.endswith(".json"):
                with contextlib.suppress(UnreadableError):
                    event_file = event_file_name(global_step, self._worker)
                    mode, step = read_meta(self._storage.read(name), event_file)
                    last_steps[mode] = step
                last_steps[GLOBAL] = global_step
        self._remove(self._collections_file + UNFINISHED)
        for name, global_step in saved.items():
            if name.endswith(UNFINISHED) or global_step > last_steps.get(GLOBAL, -1):
                self._remove(name)
        if self._ends_job:
            self._remove(END_OF_JOB)
        return last_steps

    def write_step(self, tensors: Iterable[SavedTensor], global_step: int, mode: str, step: int) -> None:
        """Write the tensors of one step; if that fails, what readers see of the folder is as before."""
        index_file, event_file = index_file_name(global_step, self._worker), event_file_name(global_step, self._worker)
        written: list[SavedTensor] = []  # without their elements

        def pairs() -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
            for tensor in tensors:
                written.append(tensor._replace(array=np.empty(0, tensor.array.dtype)))
                yield tensor.name, tensor.array

        try:
            with self._whole_file(index_file) as index, self._whole_file(event_file) as file:  # the event file is first
                if self._storage.exists(event_file):
                    raise self._other_process()
                records = write_records(file, pairs(), global_step, mode, step)
                self._describe(written)
                spans = ({"tensorname": name, "start_idx": at, "length": size} for name, (at, size) in records.items())
                meta = {"mode": mode, "mode_step": step, "event_file_name": event_file}
                content = {"meta": meta, "tensor_payload": list(spans), "shape_payload": []}
                index.write(json.dumps(content).encode("ascii"))
        except BaseException as error:
            if not isinstance(error, FileExistsError) and not self._storage.exists(index_file):
                self._remove(event_file)  # else a check would report that its index file is lost
            raise

    def write_end(self) -> None:
        """Write the end-of-job file, unless another worker or another process of this worker is to write it."""
        if self._ends_job:
            Path(self._folder, END_OF_JOB).touch()

    def _describe(self, tensors: list[SavedTensor]) -> None:
        """Write the collections file if it does not yet describe these tensors."""
        before = self._described
        known: set[str] = set().union(*before.tensor_names.values())
        new = [tensor for tensor in tensors if tensor.name not in known]
        listed = [*before.tensor_names, *((self._collection,) if self._collection else USUAL_COLLECTIONS)]
        members = {name: set(before.tensor_names.get(name, ())) for name in listed}
        for tensor in tensors if self._collection else new:
            members[self._collection or tensor.collection].add(tensor.name)
        # If none of them says that it is trained, as in a state_dict, nothing is known of the others.
        trained = {tensor.name for tensor in tensors if tensor.is_trained}
        not_trained = {tensor.name for tensor in new if trained and tensor.is_trained is False}
        widened = {tensor.name: tensor.type for tensor in tensors if tensor.type != tensor.array.dtype.name}
        changed = before._replace(
            tensor_names=members,
            num_workers=self._num_workers,
            pairs=self._pairs and (before.pairs or not known),  # of the whole trial, also of its older steps
            types={**before.types, **widened},
            not_trained=(before.not_trained | not_trained) - trained,
        )
        if changed != before:
            with self._whole_file(self._collections_file) as file:
                file.write(_collections_content(changed))
            self._described = changed

    @contextlib.contextmanager
    def _whole_file(self, name: str) -> Iterator[IO[bytes]]:
        """Give a file that takes its name when it is whole; if that fails, nothing of it is left."""
        path = os.path.join(self._folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        is_open = False
        try:
            with open(path + UNFINISHED, "xb") as file:  # "x" fails if another process has it open
                is_open = True
                yield file
            os.replace(path + UNFINISHED, path)
        except BaseException as error:
            if isinstance(error, FileExistsError) and not is_open:
                raise self._other_process() from None
            self._remove(name + UNFINISHED)
            if isinstance(error, OSError) and error.errno is not None:
                error.filename = error.filename or path  # a full disk does not say where
            raise

    def _other_process(self) -> FileExistsError:
        self._ends_job = False
        return FileExistsError(
            f"another process records as {self._worker!r} into {self._folder!r}\n\n"
            "Give each process a worker's name of its own, and num_workers; or record in one of them only."
        )

    def _saved_files(self) -> dict[str, int | None]:
        """Return {index or event file, whole or not: its global step if it is of this worker}."""
        names = [name for folder in ("index", "events") for name in self._storage.names(folder)]
        matches = {name: self._file.fullmatch(name) for name in names}
        return {name: int(match.group(1)) if match else None for name, match in matches.items()}

    def _remove(self, name: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(self._folder, name))


def _collections_content(given: Collections) -> bytes:
    collections = {
        name: {"name": name, "include_regex": given.include_regex.get(name, []), "tensor_names": sorted(tensors)}
        for name, tensors in given.tensor_names.items()
    }
    notes = {"pairs": given.pairs, "types": given.types, "not_trained": sorted(given.not_trained)}
    meta = {"num_workers": given.num_workers, RECORDER_NOTES: notes}
    return json.dumps({"collections": collections, "_meta": meta}).encode("ascii")
