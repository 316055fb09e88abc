"""Which tensors of a trial were saved when, by whom, and where: its collections and index files.

    collections/000000000/{worker}_collections.json       collections with tensor_names and include_regex
    index/{step // 1000:09d}/{step:012d}_{worker}.json    meta {mode, mode_step, event_file_name}, tensor_payload
    events/{step:012d}/{step:012d}_{worker}.tfevents      the records that the index names
    training_job_end.ts                                   the job has ended

Source: smdebug 1.0.34, ``core/locations.py``, ``core/index_reader.py``, ``core/collection.py``.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from typing import Any, Iterable, Iterator, NamedTuple

from ..errors import Unreadable, UnreadableError
from ..parameters import Parameters
from .disk import DiskStorage
from .event_file import TensorLayout, record_name
from .index_file import LARGEST_STEP, IndexFile, is_unicode, read_index, record_range
from .s3 import Storage
from .selection import (
    COLLECTIONS_ENDING,
    COLLECTIONS_FOLDER,
    MOST_PATTERNS,
    Selection,
    read_collections,
    reduction_and_name,
)

END_OF_JOB = "training_job_end.ts"
NO_RANGE = -1  # the start of a saved tensor whose index entry names no range of bytes
PARSED_STEPS = 16  # saved steps kept parsed, so that a rule invoked at steps out of order parses few twice

_INDEX_FILE = re.compile(r"(?:.*/)?([0-9]{1,18})_([^/]+)\.json$", re.DOTALL)
_EVENT_FILE = re.compile(r"(?:.*/)?([0-9]{1,18})_([^/]+)\.tfevents$", re.DOTALL)


class SavedTensor:
    """One tensor that one worker saved at one step: where its record is, and what was learnt of it since."""

    __slots__ = ("tensor", "worker", "mode", "step", "global_step", "file", "start", "length", "layout", "norm")

    def __init__(
        self, tensor: str, worker: str, mode: str, step: int, global_step: int, file: str, start: int, length: int
    ) -> None:
        self.tensor = tensor
        self.worker = worker
        self.mode = mode
        self.step = step  # counted in ``mode``
        self.global_step = global_step
        self.file = file
        self.start = start
        self.length = length
        self.layout: TensorLayout | None = None
        self.norm: float | None = None  # L2, float64; known once this step was judged


class SavedStep(NamedTuple):
    """What the index files of one global step say of the selected tensors."""

    global_step: int
    tensors: list[SavedTensor]
    unreadable: list[Unreadable]
    broken_workers: list[str]  # their index file is unreadable, so what they saved here is not known
    modes: set[str]
    event_files: set[str]  # that hold the tensors, or records of which it is not known whether they are what is named


class TrialFolder:
    """The index of a trial folder, read step by step as it is asked for.

    Attributes:
        storage: Where the bytes are.
        parameters: What is judged, and how.
        collections: The workers' collections.
        selection: The tensors that are compared.
        steps: The known global steps that have an index file, ascending.
        ended: Whether the job had ended when the steps were last listed, so that no more will come.
    """

    def __init__(
        self, storage: Storage, parameters: Parameters, range_steps: tuple[int | None, int | None] | None = None
    ) -> None:
        self.storage = storage
        self.parameters = parameters
        self.range_steps = range_steps  # global steps, end exclusive, as smdebug's create_trial takes them
        self._first, self._end = range_steps or (None, None)
        self.steps: list[int] = []
        self.ended = False
        self._files: dict[int, dict[str, str]] = {}  # global step -> worker -> index file
        self._last: dict[str, int] = {}  # worker -> the last global step of which it has an index file
        self._orphans: dict[int, dict[str, str]] = {}  # global step -> worker -> event file without an index file
        self._parsed: OrderedDict[int, SavedStep] = OrderedDict()
        self.collections = read_collections(storage)
        self.selection = Selection(self.collections, parameters)
        self._real_names = set().union(*self.collections.tensor_names.values())  # seen in an event file, or listed
        self.refresh()

    def refresh(self, from_step: int = 0) -> None:
        """List the index files from ``from_step`` on, which a live job may have added to."""
        if self.ended:
            return
        for step in self.steps[bisect_left(self.steps, from_step) :]:  # its files may be more now, or written anew
            for file in [*self._files.get(step, {}).values(), *self._event_files(step)]:
                self.storage.forget(file)
            self._parsed.pop(step, None)
        ended = self.storage.exists(END_OF_JOB)  # asked before listing: what comes after the end is listed too
        within = f"/{from_step // 1000:09d}/{from_step:012d}" if from_step else ""
        for step, worker, name in self._listed("index", within, _INDEX_FILE):
            self._files.setdefault(step, {})[worker] = name
            self._last[worker] = max(step, self._last.get(worker, 0))
        self._find_orphans(from_step, ended)
        self.steps = sorted({*self._files, *self._orphans})
        self.ended = ended

    def _event_files(self, global_step: int) -> set[str]:
        """Return the event files of a step that was read and is yet to be judged."""
        parsed = self._parsed.get(global_step)
        return {tensor.file for tensor in parsed.tensors if tensor.norm is None} if parsed is not None else set()

    def _listed(self, kind: str, within: str, pattern: re.Pattern[str]) -> Iterator[tuple[int, str, str]]:
        for name in self.storage.names(kind, f"{kind}{within}" if within else ""):
            match = pattern.match(name)
            step = int(match.group(1)) if match is not None else LARGEST_STEP
            if match is not None and (self._first or 0) <= step < (LARGEST_STEP if self._end is None else self._end):
                yield step, match.group(2), name

    def _find_orphans(self, from_step: int, ended: bool) -> None:
        """Find event files without an index file, which lost it, or which a job that goes on is about to index."""
        for step in [step for step in self._orphans if step >= from_step]:
            del self._orphans[step]
        for step, worker, name in self._listed("events", f"/{from_step:012d}" if from_step else "", _EVENT_FILE):
            indexed = worker in self._files.get(step, ())
            if not indexed and (ended or step < self._last.get(worker, 0)):
                self._orphans.setdefault(step, {})[worker] = name

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
                found.append(
                    Unreadable(file, None, worker_name(worker), -1, "does not exist, while its worker saved steps")
                )
        return found

    def misnamed_members(self) -> list[Unreadable]:
        """Return the members of the collections that no step has, where it has one of a name that differs in a bit.

        Such a trial is one of which a bit fell over, for smdebug saves no tensor of no collection. Known when all steps
        were read.
        """
        seen = {reduction_and_name(tensor)[1] for tensor in self.selection.seen()}
        strange = [name for name in seen if not any(name in names for names in self.collections.tensor_names.values())]
        missing = sorted(self.selection.members - seen)[:MOST_PATTERNS] if strange else []
        return [
            Unreadable(COLLECTIONS_FOLDER, name, None, -1, f"names it, and not {saved!r}, which was saved in its place")
            for name in missing
            for saved in sorted(strange)[:MOST_PATTERNS]
            if _is_one_bit_apart(name, saved)
        ]

    def missing_event_files(self, global_step: int) -> list[str]:
        """Return the event files that a step's index names and that are not there (yet)."""
        return sorted(file for file in self.saved(global_step).event_files if not self.storage.exists(file))

    def is_indexed(self, global_step: int) -> bool:
        """Return whether a step has an index file, rather than only an event file that lost it."""
        return global_step in self._files

    def workers_at(self, global_step: int) -> int:
        """Return how many workers are known to have saved at a step."""
        return len(self._files.get(global_step, ()))

    @property
    def last_complete(self) -> int:
        """The last known global step that all workers saved, or -1; smdebug passes over those before it."""
        whole = (step for step in reversed(self.steps) if self.workers_at(step) >= self.collections.num_workers)
        return next(whole, -1)

    @property
    def indexed(self) -> int:
        """How many index files are known."""
        return sum(map(len, self._files.values()))

    def step_before(self, global_step: int) -> int | None:
        """Return the saved global step before ``global_step``, or None."""
        position = bisect_left(self.steps, global_step)
        return self.steps[position - 1] if position else None

    def step_after(self, global_step: int) -> int | None:
        """Return the saved global step after ``global_step``, or None."""
        position = bisect_right(self.steps, global_step)
        return self.steps[position] if position < len(self.steps) else None

    def saved_collections(self) -> list[str]:
        """Return the collections of which a tensor was seen in the index so far."""
        seen = self.selection.seen()
        return sorted(name for name, members in self.collections.tensor_names.items() if members & seen)

    def saved(self, global_step: int) -> SavedStep:
        """Return what was saved at a global step; empty where nothing was."""
        parsed = self._parsed.get(global_step)
        if parsed is None:
            parsed = self._parsed[global_step] = self._parse(global_step)
            if len(self._parsed) > PARSED_STEPS:
                self._parsed.popitem(last=False)
        return parsed

    def parse_again(self) -> None:
        """Let go of what was learnt of the saved tensors so far."""
        self._parsed.clear()

    def fetch_ahead(self, global_step: int, end: int, mode: str) -> None:
        """Begin to fetch what judging the steps from ``global_step`` to before ``end`` needs, where that takes time."""
        if isinstance(self.storage, DiskStorage):
            return
        self.read_ahead(global_step, end)
        first = bisect_left(self.steps, global_step)
        for step in self.steps[first : bisect_left(self.steps, end)][: self.storage.steps_ahead]:
            for file, spans in spans_by_file(self.saved(step).tensors, mode).items():
                if not self.storage.fetch_soon(file, spans):
                    return

    def read_ahead(self, global_step: int, end: int) -> None:
        """Begin to read the index files of the steps from ``global_step`` to before ``end``, where that takes time."""
        if isinstance(self.storage, DiskStorage):
            return
        first = bisect_left(self.steps, global_step)
        for step in self.steps[first : bisect_left(self.steps, end)][: self.storage.index_ahead]:
            if step not in self._parsed:
                self.storage.read_soon(self._files.get(step, {}).values())

    def _parse(self, global_step: int) -> SavedStep:
        step = SavedStep(global_step, [], [], [], set(), set())
        for worker_in_name, event_file in sorted(self._orphans.get(global_step, {}).items()):
            name = f"index/{global_step // 1000:09d}/{global_step:012d}_{worker_in_name}.json"
            reason = f"does not exist, while its event file '{event_file}' does"
            self._add_broken(step, name, worker_name(worker_in_name), reason)
        for worker_in_name, name in sorted(self._files.get(global_step, {}).items()):
            worker = worker_name(worker_in_name)
            try:
                index = read_index(self.storage.read(name))
            except UnreadableError as error:
                self._add_broken(step, name, worker, str(error))
                continue
            step.modes.add(index.mode)
            self._add_tensors(step, name, worker, index)
        return step

    def _add_broken(self, step: SavedStep, index_file: str, worker: str, reason: str) -> None:
        step.unreadable.append(Unreadable(index_file, None, worker, step.global_step, reason))
        if worker not in step.broken_workers:
            step.broken_workers.append(worker)

    def _add_tensors(self, step: SavedStep, index_file: str, worker: str, index: IndexFile) -> None:
        """Add the selected tensors of an index file; where a name proves wrong, what else it hides is not known."""
        named: dict[str, list[dict[str, Any]]] = {}
        for entry in index.payload:
            tensor = entry.get("tensorname") if isinstance(entry, dict) else None
            if isinstance(tensor, str) and is_unicode(tensor):
                named.setdefault(tensor, []).append(entry)
            else:
                self._add_broken(step, index_file, worker, "has an entry without a tensor's name")
        doubtful = {tensor for tensor, same in named.items() if len(same) > 1 or not self._is_real(tensor)}
        if doubtful:
            self._fetch_records(named, doubtful, index.event_file)
        entries: dict[str, dict[str, Any]] = {}
        for tensor, same in named.items():
            for entry in same:
                reason = self._why_not_real(index.event_file, entry) if tensor in doubtful else ""
                if reason:
                    self._add_broken(step, index_file, worker, reason)
                else:
                    entries[tensor] = entry  # of several the last counts, as for smdebug
        self.selection.decide(entries)
        selected = [(tensor, entry) for tensor, entry in entries.items() if tensor in self.selection]
        if selected or doubtful:
            step.event_files.add(index.event_file)
        for tensor, entry in selected:
            named_range = record_range(entry)
            file = index.event_file if named_range else index_file
            start, length = named_range or (NO_RANGE, 0)  # without one it was saved all the same: compared, in vain
            step.tensors.append(
                SavedTensor(tensor, worker, index.mode, index.step, step.global_step, file, start, length)
            )

    def _is_real(self, tensor: str) -> bool:
        return tensor in self._real_names or reduction_and_name(tensor)[1] in self._real_names

    def _fetch_records(self, named: dict[str, list[dict[str, Any]]], doubtful: set[str], event_file: str) -> None:
        """Fetch the records of doubtful names and of selected tensors at once, where that takes time."""
        if isinstance(self.storage, DiskStorage):
            return
        self.selection.decide(named.keys() - doubtful)
        wanted = [entry for name, same in named.items() if name in doubtful or name in self.selection for entry in same]
        self.storage.fetch_soon(event_file, list(filter(None, map(record_range, wanted))))

    def _why_not_real(self, event_file: str, entry: dict[str, Any]) -> str:
        """Return why an entry's name is not that of its record, or nothing.

        Read is a name that is in no collection, or twice in an index file. smdebug writes such, and so does one bit
        that fell over: the tensor would seem not to be saved, and the next step be compared with an older one.
        """
        tensor, named_range = entry["tensorname"], record_range(entry)
        try:
            name = record_name(self.storage.span(event_file, *named_range)) if named_range else None
        except UnreadableError as error:
            return f"names the tensor {tensor[:200]!r}, whose record in '{event_file}' {error}"
        if name != tensor:
            return f"names the tensor {tensor[:200]!r} where '{event_file}' holds {name!r}"
        self._real_names.add(tensor)
        return ""


def _is_one_bit_apart(name: str, other: str) -> bool:
    """Return whether names differ in one bit; not in that of a digit, for names are numbered."""
    differing = [(a, b) for a, b in zip(name, other) if a != b] if len(name) == len(other) else []
    if len(differing) != 1 or all(char.isdigit() for char in differing[0]):
        return False
    bits = ord(differing[0][0]) ^ ord(differing[0][1])
    return bits & (bits - 1) == 0


def worker_name(name: str) -> str:
    """Return a worker's name from that in a file's: "_job-worker_task-1" is TensorFlow's "/job:worker/task:1"."""
    name = name.encode("utf-8", "backslashreplace").decode("utf-8")  # a file's name may be of any bytes
    return name.replace("_", "/").replace("-", ":") if name.startswith("_") else name


def spans_by_file(tensors: Iterable[SavedTensor], mode: str) -> dict[str, list[tuple[int, int]]]:
    """Return where the records of a mode's tensors are: {event file: [(first byte, length)]}."""
    files: dict[str, list[tuple[int, int]]] = {}
    for saved in tensors:
        if saved.start != NO_RANGE and (mode == saved.mode or mode == "GLOBAL"):
            files.setdefault(saved.file, []).append((saved.start, saved.length))
    return files
