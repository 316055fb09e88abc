"""A trial folder: its collections, and which tensors each worker saved at which step.

    collections/000000000/{worker}_collections.json       collections with tensor_names and include_regex
    index/{step // 1000:09d}/{step:012d}_{worker}.json    meta {mode, mode_step, event_file_name}, tensor_payload
    events/{step:012d}/{step:012d}_{worker}.tfevents      the records that the index names
    training_job_end.ts                                   the job has ended

The index is believed, as smdebug believes it. Each index file is read once, and again if a live job writes it again.

Source: smdebug 1.0.34, ``core/locations.py``, ``core/index_reader.py``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import NamedTuple

from ..errors import Unreadable, UnreadableError
from ..parameters import Parameters
from ..storage.location import Storage
from ..storage.storage import COLLECTIONS_FOLDER, FileStamp
from .collections import COLLECTIONS_ENDING, read_collections
from .index_file import BEFORE_PAYLOAD, LARGEST_STEP, Records, read_meta, read_payload
from .listing import IndexListing, event_file_name, index_file_name
from .selection import Selection
from .timeline import Timeline, WorkerStep

END_OF_JOB = "training_job_end.ts"
GLOBAL, TRAIN = "GLOBAL", "TRAIN"
POLL_SECONDS = 1.0  # between two looks at a live job
LATE_STEPS = 100  # each look sees what came late or was written again in so many saved steps, the last ones; a guess
MOST_INCOMPLETE = 1000  # steps that wait for workers, as smdebug's INCOMPLETE_STEP_WAIT_WINDOW
PAYLOADS_KEPT = 1000  # distinct index payloads that are parsed once each; a trial of one save interval has a few


class SavedStep(NamedTuple):
    """What the index says of one global step: the index files that could be read, and those that could not."""

    workers: list[WorkerStep]
    unreadable: list[Unreadable]


class TrialFolder:
    """A trial folder as its index describes it; ``range_steps`` are the global steps that smdebug's Trial keeps to."""

    def __init__(
        self, storage: Storage, parameters: Parameters, range_steps: tuple[int | None, int | None] | None = None
    ) -> None:
        self.storage = storage
        self.parameters = self._given = parameters  # num_steps becomes 1 if it is None and the trial is in pairs
        first, end = range_steps or (None, None)
        self._listing = IndexListing(storage, first or 0, LARGEST_STEP if end is None else end)
        self.steps: list[int] = []  # the known global steps, ascending
        self.changes = 0  # how many looks saw something new
        self.ended = False  # whether the job had ended when the steps were last listed, so that no more will come
        self.broken: dict[str, list[int]] = {}  # worker -> global steps whose index file is lost or broken, ascending
        self._collections_seen: tuple[list[str], dict[str, FileStamp]] | None = None
        self._saved: dict[int, SavedStep] = {}
        self._timelines: dict[tuple[str, str], Timeline] = {}  # (worker, mode); a worker's GLOBAL one has all its steps
        self._payloads: dict[bytes, Records] = {}
        self.collections = read_collections(storage, [])
        self.selection = Selection(self.collections, parameters)
        self.refresh(0)

    def refresh(self, from_step: int = LARGEST_STEP) -> int | None:
        """Look at the steps from ``from_step`` on and at the last ``LATE_STEPS``; at all once the job has ended.

        Return the first global step of which a file came, changed or was lost since the last look, or None.
        """
        if self.ended:
            return None
        ended = self.storage.exists(END_OF_JOB)  # asked before listing: what comes before the end is listed too
        is_described_anew = self._refresh_collections()
        is_whole_look = ended or is_described_anew or not self.steps
        from_step = 0 if is_whole_look else min([from_step, *self.steps[-LATE_STEPS:]])
        changed = self._listing.look(from_step, ended)
        is_in_pairs = self._given.num_steps is None and self.collections.pairs
        parameters = self._given._replace(num_steps=1) if is_in_pairs else self._given
        if parameters != self.parameters:
            self.parameters = parameters
            changed |= set(self._listing.files)  # their references are others
        for global_step in changed:
            for step in self.saved(global_step).workers:
                self.storage.discard(step.event_file)
        if is_described_anew or (self._listing.is_rewritten and not from_step):
            # Select anew, which needs all index files again: only the selected tensors of each were kept.
            self.selection = Selection(self.collections, self.parameters)
            self._payloads.clear()
            self._listing.is_rewritten = False
            again = {*self._listing.files, *self._listing.lost}
        else:  # what could not be read may be there now
            again = set() if from_step else {step for step, saved in self._saved.items() if saved.unreadable}
        before = {step: self._saved.get(step) for step in again - changed}
        self._read_index(sorted(changed | again))
        changed |= {step for step, saved in before.items() if saved != self._saved.get(step)}
        self.ended = ended
        if changed:
            self.changes += 1
            self._put_in_order(min(changed))
        return min(changed, default=None)

    def judged_mode(self, finished: bool = True, expected: str | None = None) -> str | None:
        """Return TRAIN if a step was saved in it, else GLOBAL; None while an unfinished job may yet begin to train.

        ``expected`` is the mode of a baseline: GLOBAL steps of an unfinished job decide nothing if that is TRAIN.
        """
        if TRAIN in self.modes:
            return TRAIN
        if GLOBAL in self.modes and (finished or expected != TRAIN):
            return GLOBAL
        if not finished:
            return None
        return TRAIN if any(self.broken.values()) else GLOBAL  # a step that cannot be read may be one of training

    def look_once_more(self) -> int | None:
        """Refresh at all steps, also once the job has ended: workers may write their last step after that."""
        self.ended = False
        return self.refresh(0)

    def _refresh_collections(self) -> bool:
        names = [name for name in self.storage.names(COLLECTIONS_FOLDER) if name.endswith(COLLECTIONS_ENDING)]
        seen = names, self.storage.stamps(names)
        if seen == self._collections_seen:
            return False
        self._collections_seen = seen
        before, self.collections = self.collections, read_collections(self.storage, names)
        self.changes += before != self.collections
        return before != self.collections

    def _put_in_order(self, first: int) -> None:
        """Put the steps from ``first`` on, of which some are new or changed, in the order of global steps."""
        self.steps[bisect_left(self.steps, first) :] = sorted(step for step in self._saved if step >= first)
        for timeline in self._timelines.values():
            timeline.cut(first)
        self.broken = {worker: [step for step in steps if step < first] for worker, steps in self.broken.items()}
        for global_step in self.steps[bisect_left(self.steps, first) :]:
            for step in self._saved[global_step].workers:
                if step.mode != GLOBAL:
                    self.timeline(step.worker, step.mode).append(step)
                self.timeline(step.worker, GLOBAL).append(step._replace(mode=GLOBAL, step=step.global_step))
            for entry in self._saved[global_step].unreadable:
                self.broken.setdefault(entry.worker or "", []).append(global_step)

    def _read_index(self, steps: list[int]) -> None:
        for global_step in steps:
            self._saved.pop(global_step, None)
            for worker_in_name, event_file in sorted(self._listing.lost.get(global_step, {}).items()):
                reason = f"does not exist, while its event file '{event_file}' does"
                self._note(global_step, worker_in_name, index_file_name(global_step, worker_in_name), reason)
        files = [(step, *file) for step in steps for file in sorted(self._listing.files.get(step, {}).items())]
        for number, (global_step, worker_in_name, name) in enumerate(files):
            for _, _, ahead in files[number : number + self.storage.steps_ahead]:
                self.storage.prefetch(ahead)
            try:
                step = self._read_step(global_step, worker_in_name, name)
                self._saved.setdefault(global_step, SavedStep([], [])).workers.append(step)
            except UnreadableError as error:
                self._note(global_step, worker_in_name, name, str(error))

    def _note(self, global_step: int, worker_in_name: str, name: str, reason: str) -> None:
        entry = Unreadable(name, None, worker_name(worker_in_name), global_step, reason)
        self._saved.setdefault(global_step, SavedStep([], [])).unreadable.append(entry)

    def _read_step(self, global_step: int, worker_in_name: str, index_file: str) -> WorkerStep:
        event_file = event_file_name(global_step, worker_in_name)
        content = self.storage.read(index_file)
        head, separator, rest = content.partition(BEFORE_PAYLOAD)
        try:  # as smdebug's writer and ours write it
            (mode, step), records = read_meta(head + b"}", event_file), self._records(b"{" + separator[2:] + rest)
        except UnreadableError:
            (mode, step), records = read_meta(content, event_file), self._records(content)
        return WorkerStep(worker_name(worker_in_name), mode, step, global_step, index_file, event_file, records)

    def _records(self, payload: bytes) -> Records:
        if payload not in self._payloads:
            if len(self._payloads) >= PAYLOADS_KEPT:
                self._payloads.clear()
            named = read_payload(payload).items()
            self._payloads[payload] = {tensor: span for tensor, span in named if tensor in self.selection}
        return self._payloads[payload]

    @property
    def modes(self) -> set[str]:
        """The modes of which a step is known."""
        saved: Counter[str] = Counter()
        for (_, mode), timeline in self._timelines.items():
            saved[mode] += len(timeline.steps)
        saved[GLOBAL] -= sum(count for mode, count in saved.items() if mode != GLOBAL)
        return set(+saved)

    def timelines(self, mode: str) -> list[Timeline]:
        """Return the timeline of each worker that saved in a mode; every saved step is one of the mode GLOBAL."""
        return [timeline for (_, known), timeline in sorted(self._timelines.items()) if known == mode]

    def timeline(self, worker: str, mode: str) -> Timeline:
        return self._timelines.setdefault((worker, mode), Timeline())

    def saved(self, global_step: int) -> SavedStep:
        return self._saved.get(global_step) or SavedStep([], [])

    @property
    def unreadable(self) -> list[Unreadable]:
        refused = (Unreadable(COLLECTIONS_FOLDER, None, None, -1, why) for why in self.selection.refused)
        entries = [*self.collections.unreadable, *refused]
        entries += [Unreadable(name, None, None, -1, why) for name, why in self.storage.unlisted.items()]
        announced, described = self.collections.num_workers, self.collections.workers
        saving = self._listing.last_steps().keys()
        absent = announced - len(described | saving)
        if described and absent > 0:
            remedy = 'the hook\'s include_workers="one" records one alone'
            reason = f"{absent} of {announced} workers left no files; {remedy}"
            entries.append(Unreadable(COLLECTIONS_FOLDER, None, None, -1, reason))
        if len(described) < max(announced, len(saving)):
            for worker in sorted(saving - described):  # TensorFlow may name a device in one and the worker in the other
                file = f"{COLLECTIONS_FOLDER}/{worker}{COLLECTIONS_ENDING}"
                reason = "does not exist, while its worker saved steps"
                entries.append(Unreadable(file, None, worker_name(worker), -1, reason))
        return entries

    def workers_at(self, global_step: int) -> int:
        """Return how many workers are known to have saved at a step."""
        return len(self._listing.files.get(global_step, ()))

    @property
    def last_complete(self) -> int:
        """The last global step that no worker adds to, or -1; smdebug passes over incomplete ones before it."""
        if self.steps and self.ended:
            return self.steps[-1]
        given_up = self.steps[-MOST_INCOMPLETE - 1] if len(self.steps) > MOST_INCOMPLETE else -1
        waiting = reversed(self.steps[-MOST_INCOMPLETE:])
        return next((step for step in waiting if self.workers_at(step) >= self.collections.num_workers), given_up)

    def awaits_files(self, global_step: int) -> bool:
        """Return whether a live job may still write files of a step; False once its newest step's files are whole."""
        if self.ended or self._is_whole(global_step):
            return False
        newest = self.steps[-1] if self.steps else -1
        return newest <= global_step or not self._is_whole(newest)

    def _is_whole(self, global_step: int) -> bool:
        """Return whether a step's index files can be read, and its event files are as long as these say."""
        saved = self.saved(global_step)
        ends = {
            step.event_file: max((sum(span) for span in step.records.values() if span is not None), default=0)
            for step in saved.workers
            if step.records
        }
        stamps = self.storage.stamps(ends)
        return not saved.unreadable and all(file in stamps and stamps[file].size >= end for file, end in ends.items())

    def steps_between(self, first: int, end: int) -> list[int]:
        """Return the saved global steps from ``first`` to before ``end``."""
        return self.steps[bisect_left(self.steps, first) : bisect_left(self.steps, end)]

    def prefetch(self, global_step: int, end: int, mode: str) -> None:
        """Begin to fetch what judging the steps from ``global_step`` to before ``end`` needs, if that takes time."""
        for ahead in self.steps_between(global_step, end)[: self.storage.steps_ahead]:
            for step in self.saved(ahead).workers:
                is_judged = mode in (step.mode, GLOBAL)
                if is_judged and self.storage.prefetch(step.event_file, step.records.values()):
                    return


def worker_name(name: str) -> str:
    """Return a worker's name from that in a file's: "_job-worker_task-1" is TensorFlow's "/job:worker/task:1"."""
    return name.replace("_", "/").replace("-", ":") if name.startswith("_") else name
