"""Which index files a trial folder has, and which of them came, changed or were lost since the last look."""

from __future__ import annotations

import re
from typing import Dict, Iterator

from ..storage.location import Storage
from ..storage.storage import FileStamp

Files = Dict[int, Dict[str, str]]  # global step -> worker as files name it -> file

_FILE = re.compile(r"(?:.*/)?([0-9]{1,18})_([^/]+)\.(json|tfevents)$", re.DOTALL)


def index_file_name(global_step: int, worker: str) -> str:
    return f"index/{global_step // 1000:09d}/{global_step:012d}_{worker}.json"


def event_file_name(global_step: int, worker: str) -> str:
    return f"events/{global_step:012d}/{global_step:012d}_{worker}.tfevents"


class IndexListing:
    """The index files of the global steps from ``first`` to before ``end``."""

    def __init__(self, storage: Storage, first: int, end: int) -> None:
        self.files: Files = {}  # the index files
        self.lost: Files = {}  # the event files whose index file is lost
        self.is_rewritten = False  # whether an index file that was listed before has changed or is gone
        self._storage = storage
        self._first = first
        self._end = end
        self._known: dict[str, tuple[int, FileStamp | None]] = {}  # index and event files

    def look(self, from_step: int, ended: bool) -> set[int]:
        """List the steps from ``from_step`` on, and return those of which a file came, changed or was lost."""
        index = list(self._listed("index", "json", f"{from_step // 1000:09d}/{from_step:012d}" if from_step else ""))
        events = list(self._listed("events", "tfevents", f"{from_step:012d}" if from_step else ""))
        is_only_look = ended and not self._known
        stamps = {} if is_only_look else self._storage.stamps(name for _, _, name in (*index, *events))
        now = {name: (step, stamps.get(name)) for step, _, name in (*index, *events)}
        before = {name: known for name, known in self._known.items() if known[0] >= from_step}
        changed = {step for _, (step, _) in before.items() ^ now.items()}
        self.is_rewritten |= any(name.startswith("index") and now.get(name) != known for name, known in before.items())
        if not is_only_look:
            self._known = {**{name: known for name, known in self._known.items() if known[0] < from_step}, **now}
        self.files = {step: workers for step, workers in self.files.items() if step < from_step}
        for step, worker, name in index:
            self.files.setdefault(step, {})[worker] = name
        last_steps = self.last_steps()
        lost_before = self.lost
        self.lost = {step: workers for step, workers in lost_before.items() if step < from_step}
        for step, worker, name in events:
            # While the job goes on, a worker may be about to write the index file of its last event file.
            if worker not in self.files.get(step, ()) and (ended or step < last_steps.get(worker, 0)):
                self.lost.setdefault(step, {})[worker] = name
        return changed | {step for step in {*self.lost, *lost_before} if self.lost.get(step) != lost_before.get(step)}

    def last_steps(self) -> dict[str, int]:
        """Return the last global step of each worker that has an index file."""
        return {worker: step for step in sorted(self.files) for worker in self.files[step]}

    def _listed(self, folder: str, ending: str, after: str) -> Iterator[tuple[int, str, str]]:
        for name in self._storage.names(folder, f"{folder}/{after}" if after else ""):
            match = _FILE.match(name)
            if match is not None and match.group(3) == ending and self._first <= int(match.group(1)) < self._end:
                yield int(match.group(1)), match.group(2), name
