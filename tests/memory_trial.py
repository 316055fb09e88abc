"""A trial folder in memory: index and collections files without events, for what the index alone decides."""

from __future__ import annotations

import json
from typing import Any, Iterable

from weight_update_ratio.parameters import Parameters
from weight_update_ratio.storage.storage import FileStamp
from weight_update_ratio.trial.folder import TrialFolder


class MemoryStorage:
    """Files in a dictionary, by name."""

    steps_ahead = 0

    def __init__(self, files: dict[str, bytes]) -> None:
        self.location = "memory"
        self.unlisted: dict[str, str] = {}
        self.files = files

    def names(self, folder: str, start_after: str = "") -> list[str]:
        return sorted(name for name in self.files if name.startswith(f"{folder}/") and name > start_after)

    def exists(self, name: str) -> bool:
        return name in self.files

    def trials_near(self) -> list[str]:
        return []

    def stamps(self, names: Iterable[str]) -> dict[str, FileStamp]:
        return {name: FileStamp(len(self.files[name]), self.files[name]) for name in names if name in self.files}

    def read(self, name: str) -> bytes:
        return self.files[name]

    def span(self, name: str, start: int, length: int) -> memoryview:
        return memoryview(self.files[name])[start : start + length]

    def prefetch_small(self, names: Iterable[str]) -> None:
        pass

    def prefetch(self, name: str, spans: list[tuple[int, int]]) -> bool:
        return True

    def retain(self, files: dict[str, list[tuple[int, int]]]) -> None:
        pass

    def discard(self, name: str) -> None:
        pass


class MemoryTrial:
    """Index files, written step by step."""

    def __init__(self, members: Iterable[str] = "abc", num_workers: int = 1) -> None:
        collections = {"weights": {"tensor_names": list(members), "include_regex": []}}
        content = {"collections": collections, "_meta": {"num_workers": num_workers}}
        self.files = {"collections/000000000/worker_0_collections.json": json.dumps(content).encode()}

    def save(
        self, global_step: int, tensors: Iterable[str], mode: str = "TRAIN", step: int | None = None, worker: str = "w"
    ) -> None:
        """Write the index file of a worker's step."""
        name = f"events/{global_step:012d}/{global_step:012d}_{worker}.tfevents"
        meta = {"mode": mode, "mode_step": global_step if step is None else step, "event_file_name": name}
        payload = [{"tensorname": tensor, "start_idx": 0, "length": 1} for tensor in tensors]
        self.files[self.index_name(global_step, worker)] = json.dumps(
            {"meta": meta, "tensor_payload": payload, "shape_payload": []}
        ).encode()

    def break_index(self, global_step: int, worker: str = "w") -> None:
        """Break the index file of a worker's step."""
        self.files[self.index_name(global_step, worker)] = b"{"

    def end(self) -> None:
        """Write the end-of-job file."""
        self.files["training_job_end.ts"] = b""

    @staticmethod
    def index_name(global_step: int, worker: str) -> str:
        return f"index/{global_step // 1000:09d}/{global_step:012d}_{worker}.json"

    def folder(self, **parameters: Any) -> TrialFolder:
        """Return the trial folder."""
        return TrialFolder(MemoryStorage(self.files), Parameters(**parameters))
