"""A trial folder: its collections, and which tensors were saved when, by whom, and where.

    collections/000000000/{worker}_collections.json       collections with tensor_names and include_regex
    index/{step // 1000:09d}/{step:012d}_{worker}.json    meta {mode, mode_step, event_file_name}, tensor_payload
    events/{step:012d}/{step:012d}_{worker}.tfevents      the records that the index names
    training_job_end.ts                                   the job has ended

The index is believed, as smdebug believes it. Each index file is read once; a live job's are read again while they may
still change.

Source: smdebug 1.0.34, ``core/locations.py``, ``core/index_reader.py``.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from typing import Iterable, Iterator, NamedTuple

from ..errors import Unreadable, UnreadableError
from ..parameters import Parameters
from .collections import COLLECTIONS_ENDING, COLLECTIONS_FOLDER, read_collections
from .index_file import LARGEST_STEP, Records, index_parts, read_meta, read_payload
from .selection import Selection
from .storage import Storage
from .timeline import NO_RANGE, SavedTensor, Timeline, WorkerStep

END_OF_JOB = "training_job_end.ts"
GLOBAL = "GLOBAL"
POLL_SECONDS = 1.0  # between two looks at a live job
MOST_INCOMPLETE = 1000  # steps that wait for workers, as smdebug's INCOMPLETE_STEP_WAIT_WINDOW
PAYLOADS_KEPT = 1000  # distinct index payloads that are parsed once each; a trial of one save interval has a few

_INDEX_FILE = re.compile(r"(?:.*/)?([0-9]{1,18})_([^/]+)\.json$", re.DOTALL)
_EVENT_FILE = re.compile(r"(?:.*/)?([0-9]{1,18})_([^/]+)\.tfevents$", re.DOTALL)


class SavedStep(NamedTuple):
    """What the index says of one global step: the index files that could be read, and those that could not."""

    global_step: int
    workers: list[WorkerStep]
    unreadable: list[Unreadable]


class TrialFolder:
    """A trial folder as its index describes it.

    Attributes:
        storage: Where its bytes are.
        parameters: What is judged, and how.
        range_steps: The global steps, end exclusive, that smdebug's Trial keeps to; None: all.
        collections: The collections of all workers.
        selection: The tensors that are compared.
        steps: The known global steps, ascending.
        ended: Whether the job had ended when the steps were last listed, so that no more will come.
        modes: The modes of which a step is known.
        broken: {worker: global steps whose index file is lost or broken, ascending}.
    """

    def __init__(
        self, storage: Storage, parameters: Parameters, range_steps: tuple[int | None, int | None] | None = None
    ) -> None:
        self.storage = storage
        self.parameters = parameters
        self.range_steps = range_steps
        first, end = range_steps or (None, None)
        self._range = (first or 0, LARGEST_STEP if end is None else end)
        self.steps: list[int] = []
        self.ended = False
        self.modes: set[str] = set()
        self.broken: dict[str, list[int]] = {}
        self._files: dict[int, dict[str, str]] = {}  # global step -> worker as files name it -> index file
        self._last: dict[str, int] = {}  # worker as files name it -> its last global step that has an index file
        self._saved: dict[int, SavedStep] = {}
        self._timelines: dict[tuple[str, str], Timeline] = {}
        self._payloads: dict[bytes, Records] = {}
        self.collections = read_collections(storage)
        self.selection = Selection(self.collections, parameters)
        self.refresh()

    def refresh(self, from_step: int = 0) -> None:
        """List and read the index files from ``from_step`` on: a live job may add to them, and write some again."""
        if self.ended:
            return
        self._discard(from_step)
        ended = self.storage.exists(END_OF_JOB)  # asked before listing: what comes before the end is listed too
        within = f"/{from_step // 1000:09d}/{from_step:012d}" if from_step else ""
        for step, worker, name in self._listed("index", within, _INDEX_FILE):
            self._files.setdefault(step, {})[worker] = name
            self._last[worker] = max(step, self._last.get(worker, 0))
        lost = self._lost_index_files(from_step, ended)
        new = sorted({*lost, *(step for step in self._files if step >= from_step)})
        self._read_index(new, lost)
        self.steps[bisect_left(self.steps, from_step) :] = new
        self.ended = ended

    def _discard(self, from_step: int) -> None:
        """Remove what is known of the steps from ``from_step`` on, so that their files are read anew."""
        for global_step in self.steps[bisect_left(self.steps, from_step) :]:
            for step in self._saved.pop(global_step).workers:
                self.storage.discard(step.event_file)
            for name in self._files.get(global_step, {}).values():
                self.storage.discard(name)
        for timeline in self._timelines.values():
            timeline.cut(from_step)
        self.broken = {worker: [step for step in steps if step < from_step] for worker, steps in self.broken.items()}

    def _listed(self, kind: str, within: str, pattern: re.Pattern[str]) -> Iterator[tuple[int, str, str]]:
        first, end = self._range
        for name in self.storage.names(kind, f"{kind}{within}" if within else ""):
            match = pattern.match(name)
            if match is not None and first <= int(match.group(1)) < end:
                yield int(match.group(1)), match.group(2), name

    def _lost_index_files(self, from_step: int, ended: bool) -> dict[int, dict[str, str]]:
        """Return {global step: {worker: event file}} of event files whose index file is lost.

        While the job goes on, it may still be about to write the index file of its last one.
        """
        lost: dict[int, dict[str, str]] = {}
        for step, worker, name in self._listed("events", f"/{from_step:012d}" if from_step else "", _EVENT_FILE):
            indexed = worker in self._files.get(step, ())
            if not indexed and (ended or step < self._last.get(worker, 0)):
                lost.setdefault(step, {})[worker] = name
        return lost

    def _read_index(self, steps: list[int], lost: dict[int, dict[str, str]]) -> None:
        names = [name for step in steps for _, name in sorted(self._files.get(step, {}).items())]
        done = 0
        for global_step in steps:
            saved = self._saved[global_step] = SavedStep(global_step, [], [])
            for worker_in_name, event_file in sorted(lost.get(global_step, {}).items()):
                name = f"index/{global_step // 1000:09d}/{global_step:012d}_{worker_in_name}.json"
                reason = f"does not exist, while its event file '{event_file}' does"
                self._add_broken(saved, name, worker_name(worker_in_name), reason)
            for worker_in_name, name in sorted(self._files.get(global_step, {}).items()):
                self.storage.prefetch_small(names[done : done + self.storage.index_ahead])
                done += 1
                worker = worker_name(worker_in_name)
                try:
                    step = self._read_step(worker, global_step, name)
                except UnreadableError as error:
                    self._add_broken(saved, name, worker, str(error))
                else:
                    saved.workers.append(step)
                    self._append(step)

    def _read_step(self, worker: str, global_step: int, index_file: str) -> WorkerStep:
        content = self.storage.read(index_file)
        try:
            meta_part, payload_part = index_parts(content)
            meta, records = read_meta(meta_part, index_file), self._records(payload_part)
        except UnreadableError:
            meta, records = read_meta(content, index_file), self._records(content)
        return WorkerStep(worker, meta.mode, meta.step, global_step, index_file, meta.event_file, records)

    def _records(self, payload: bytes) -> Records:
        """Return the selected tensors of an index file's payload."""
        records = self._payloads.get(payload)
        if records is None:
            named = read_payload(payload)
            records = {tensor: place for tensor, place in named.items() if tensor in self.selection}
            if len(self._payloads) >= PAYLOADS_KEPT:
                self._payloads.clear()
            self._payloads[payload] = records
        return records

    def _add_broken(self, saved: SavedStep, index_file: str, worker: str, reason: str) -> None:
        saved.unreadable.append(Unreadable(index_file, None, worker, saved.global_step, reason))
        self.broken.setdefault(worker, []).append(saved.global_step)

    def _append(self, step: WorkerStep) -> None:
        self.modes.add(step.mode)
        if step.mode != GLOBAL:
            self._timelines.setdefault((step.worker, step.mode), Timeline()).append(step)
        everything = self._timelines.setdefault((step.worker, GLOBAL), Timeline())
        everything.append(step._replace(mode=GLOBAL, step=step.global_step))

    def timelines(self, mode: str) -> list[Timeline]:
        """Return the timeline of each worker that saved in a mode; every saved step is one of the mode GLOBAL."""
        return [timeline for (_, known), timeline in sorted(self._timelines.items()) if known == mode]

    def timeline(self, worker: str, mode: str) -> Timeline:
        """Return the timeline of a worker in a mode."""
        return self._timelines.get((worker, mode)) or Timeline()

    def saved(self, global_step: int) -> SavedStep:
        """Return what was saved at a global step; empty where nothing was."""
        return self._saved.get(global_step) or SavedStep(global_step, [], [])

    @property
    def unreadable(self) -> list[Unreadable]:
        """What of the folder itself could not be read."""
        found = [*self.collections.unreadable, *self.selection.unreadable]
        found += [Unreadable(name, None, None, -1, why) for name, why in self.storage.unlisted.items()]
        described = self.collections.workers
        missing = sorted(worker for worker in self._last if worker not in described)
        if missing and len(described) < max(self.collections.num_workers, len(self._last)):
            for worker in missing:  # TensorFlow may name a device in one place and the worker in the other
                file = f"{COLLECTIONS_FOLDER}/{worker}{COLLECTIONS_ENDING}"
                reason = "does not exist, while its worker saved steps"
                found.append(Unreadable(file, None, worker_name(worker), -1, reason))
        return found

    def workers_at(self, global_step: int) -> int:
        """Return how many workers are known to have saved at a step."""
        return len(self._files.get(global_step, ()))

    @property
    def last_complete(self) -> int:
        """The last global step that no worker adds to, or -1: smdebug passes over those before it.

        All workers have saved it, or more than ``MOST_INCOMPLETE`` steps follow it, or the job has ended.
        """
        if not self.steps or self.ended:
            return self.steps[-1] if self.steps else -1
        waiting = self.steps[-MOST_INCOMPLETE:]
        given_up = self.steps[-MOST_INCOMPLETE - 1] if len(self.steps) > MOST_INCOMPLETE else -1
        whole = (step for step in reversed(waiting) if self.workers_at(step) >= self.collections.num_workers)
        return next(whole, given_up)

    def awaits_event_files(self, global_step: int) -> bool:
        """Return whether a live job may be about to write event files that its index names at a step.

        It is not where the files of its newest step are there.
        """
        newest = self.steps[-1] if self.steps else -1
        if self.ended or self._has_event_files(global_step):
            return False
        return newest <= global_step or not self._has_event_files(newest)

    def _has_event_files(self, global_step: int) -> bool:
        files = {step.event_file for step in self.saved(global_step).workers if step.records}
        return all(self.storage.exists(file) for file in files)

    @property
    def index_files(self) -> int:
        """How many index files are known."""
        return sum(map(len, self._files.values()))

    def step_after(self, global_step: int) -> int | None:
        """Return the saved global step after ``global_step``, or None."""
        position = bisect_right(self.steps, global_step)
        return self.steps[position] if position < len(self.steps) else None

    def steps_between(self, first: int, end: int) -> list[int]:
        """Return the saved global steps from ``first`` to before ``end``."""
        return self.steps[bisect_left(self.steps, first) : bisect_left(self.steps, end)]

    def saved_collections(self) -> list[str]:
        """Return the collections of which the index names a tensor."""
        seen = self.selection.seen()
        return sorted(name for name, members in self.collections.tensor_names.items() if members & seen)

    def prefetch(self, global_step: int, end: int, mode: str) -> None:
        """Begin to fetch what judging the steps from ``global_step`` to before ``end`` needs, where that takes time."""
        if not self.storage.steps_ahead:
            return
        for ahead in self.steps_between(global_step, end)[: self.storage.steps_ahead]:
            steps = [step for step in self.saved(ahead).workers if mode in (step.mode, GLOBAL)]
            tensors = [step.saved_tensor(tensor) for step in steps for tensor in step.records]
            for file, spans in spans_by_file(tensors).items():
                if not self.storage.prefetch(file, spans):
                    return


def worker_name(name: str) -> str:
    """Return a worker's name from that in a file's: "_job-worker_task-1" is TensorFlow's "/job:worker/task:1"."""
    name = name.encode("utf-8", "backslashreplace").decode("utf-8")  # a file's name may be of any bytes
    return name.replace("_", "/").replace("-", ":") if name.startswith("_") else name


def spans_by_file(tensors: Iterable[SavedTensor]) -> dict[str, list[tuple[int, int]]]:
    """Return where the records of tensors are: {event file: [(first byte, length)]}."""
    files: dict[str, list[tuple[int, int]]] = {}
    for saved in tensors:
        if saved.start != NO_RANGE:
            files.setdefault(saved.file, []).append((saved.start, saved.length))
    return files
