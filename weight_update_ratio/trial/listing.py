"""Which index files a trial folder has, and which of them came, changed or were lost since the last look.

    index/{step // 1000:09d}/{step:012d}_{worker}.json
    events/{step:012d}/{step:012d}_{worker}.tfevents

Source: smdebug 1.0.34, ``core/locations.py``.
"""

from __future__ import annotations

import re
from typing import Dict, Iterator

from ..storage.storage import FileStamp, Storage

Files = Dict[int, Dict[str, str]]  # global step -> worker as files name it -> file

_INDEX_FILE = re.compile(r"(?:.*/)?([0-9]{1,18})_([^/]+)\.json$", re.DOTALL)
_EVENT_FILE = re.compile(r"(?:.*/)?([0-9]{1,18})_([^/]+)\.tfevents$", re.DOTALL)


def index_file_name(global_step: int, worker: str) -> str:
    """Return the name of a worker's index file of a step."""
    return f"index/{global_step // 1000:09d}/{global_step:012d}_{worker}.json"


def event_file_name(global_step: int, worker: str) -> str:
    """Return the name of a worker's event file of a step."""
    return f"events/{global_step:012d}/{global_step:012d}_{worker}.tfevents"


class IndexListing:
    """The index files of the global steps from ``first`` to before ``end``.

    Attributes:
        files: The index files.
        lost: The event files whose index file is lost.
        is_rewritten: Whether an index file that was listed before has changed or is gone.
        last_steps: The last global step of each worker that has an index file.
    """

    def __init__(self, storage: Storage, first: int, end: int) -> None:
        self.files: Files = {}
        self.lost: Files = {}
        self.last_steps: dict[str, int] = {}
        self._storage = storage
        self._first = first
        self._end = end
        self._stamps: dict[str, FileStamp | None] = {}
        self.is_rewritten = False
        self._all_changed = False

    def look(self, from_step: int, ended: bool) -> list[int]:
        """List the steps from ``from_step`` on, and return those of which a file came, changed or was lost, ascending.

        While the job goes on, a worker may still be about to write the index file of its last event file.
        """
        files: Files = {}
        if not from_step:
            self.last_steps = {}
        after = f"/{from_step // 1000:09d}/{from_step:012d}" if from_step else ""
        for step, worker, name in self._listed("index", after, _INDEX_FILE):
            files.setdefault(step, {})[worker] = name
            self.last_steps[worker] = max(step, self.last_steps.get(worker, 0))
        stamps: dict[str, FileStamp] = {}
        if not ended or self._stamps:  # else this is the only look
            stamps = self._storage.stamps(name for workers in files.values() for name in workers.values())
        known = self._stamps
        again = {
            step
            for step, workers in files.items()
            if any(name in known and known[name] != stamps.get(name) for name in workers.values())
        }
        gone = {
            step
            for step in self.files
            if step >= from_step and not self.files[step].items() <= files.get(step, {}).items()
        }
        self.is_rewritten = self.is_rewritten or bool(again | gone)
        changed = again | gone | {step for step in files if self._all_changed or files[step] != self.files.get(step)}
        self._all_changed = False
        if stamps:
            known.update((name, stamps.get(name)) for workers in files.values() for name in workers.values())
        lost: Files = {}
        for step, worker, name in self._listed("events", f"/{from_step:012d}" if from_step else "", _EVENT_FILE):
            if worker not in files.get(step, ()) and (ended or step < self.last_steps.get(worker, 0)):
                lost.setdefault(step, {})[worker] = name
        changed |= {step for step in {*lost, *self.lost} if step >= from_step and lost.get(step) != self.lost.get(step)}
        self.files = {**{step: self.files[step] for step in self.files if step < from_step}, **files}
        self.lost = {**{step: self.lost[step] for step in self.lost if step < from_step}, **lost}
        return sorted(changed)

    def forget(self) -> None:
        """Let the next look, which is to be at all steps, return each of them."""
        self._all_changed = True
        self.is_rewritten = False

    def _listed(self, kind: str, after: str, pattern: re.Pattern[str]) -> Iterator[tuple[int, str, str]]:
        for name in self._storage.names(kind, f"{kind}{after}" if after else ""):
            match = pattern.match(name)
            if match is not None and self._first <= int(match.group(1)) < self._end:
                yield int(match.group(1)), match.group(2), name
