"""Which tensors are compared: members of the chosen collections that match a pattern, where there are patterns.

Collections and patterns come from files that anybody may have written, and patterns from users: Python's ``re`` may
backtrack for ever, and cannot be ended but with its process.

Source: smdebug 1.0.34, ``core/collection.py``, ``core/reductions.py``, ``trials/trial.py``.
"""

from __future__ import annotations

import json
import re
import subprocess  # only to end a search that backtracks for ever
import sys
import time
from typing import Any, Callable, Iterable, NamedTuple

from ..errors import Unreadable, UnreadableError
from ..parameters import Parameters
from .index_file import excerpt, parse_json, whole_number
from .s3 import Storage

COLLECTIONS_FOLDER = "collections/000000000"
COLLECTIONS_ENDING = "_collections.json"
REDUCTION_PREFIX = "smdebug/reductions/"
PATTERN_SECONDS = 10.0  # for all searches of a trial's names; those of a sound one take milliseconds
LONGEST_PATTERN = 10_000  # characters; compiling takes time as well
MOST_PATTERNS = 1000  # of one collection
EASY_STEPS = 1_000_000  # of a search, at most; some 50 ms
STARTING_SECONDS = 0.2  # of another process, that are not counted as a search

_QUANTIFIER = re.compile(r"(?<!\()[*+?{]")
_SEARCH = (
    "import json, re, sys; pattern, names = json.load(sys.stdin); search = re.compile(pattern).search;"
    "json.dump([search(name) is not None for name in names], sys.stdout)"
)


class Collections(NamedTuple):
    """The collections of all workers, joined by name."""

    tensor_names: dict[str, set[str]]
    include_regex: dict[str, list[str]]
    num_workers: int
    unreadable: list[Unreadable]
    workers: set[str]  # as their files name them, readable or not


class Selection:
    """The tensors that are compared: members of the collections that match a pattern, where there are patterns.

    Names seen only with reductions are kept apart, to tell a person what was saved instead of weights. Patterns and
    names may come from files that anybody wrote, so that the time of all searches is bounded: what is not found
    within it is refused, a pattern of the collections for the tensors of ``unreadable``, one of the user's for all.
    """

    def __init__(self, collections: Collections, parameters: Parameters) -> None:
        chosen = parameters.collection_names
        self.members = {name for key in chosen for name in collections.tensor_names.get(key, ())}
        self._members = [_Pattern(pattern) for key in chosen for pattern in collections.include_regex.get(key, ())]
        self._wanted = [_Pattern(pattern) for pattern in parameters.tensor_regex]
        self._known: dict[str, bool] = {}
        self._seconds = PATTERN_SECONDS
        self.reduced: dict[str, str] = {}
        self.unreadable: list[Unreadable] = []

    def __contains__(self, tensor: str) -> bool:
        if tensor not in self._known:
            self.decide([tensor])
        return self._known[tensor]

    def decide(self, tensors: Iterable[str]) -> None:
        """Find which of the tensors are compared; many at once, for some patterns are searched by another process.

        Raises:
            ValueError: A pattern of the user's takes longer than all may take together.
        """
        new = [tensor for tensor in tensors if tensor not in self._known]
        if not new:
            return
        names = {tensor: reduction_and_name(tensor) for tensor in new}
        distinct = {name for _, name in names.values()}
        members = self.members & distinct
        for pattern in self._members:
            members |= self._search(pattern, distinct - members, self._refuse_member)
        wanted = set() if self._wanted else members
        for pattern in self._wanted:
            wanted |= self._search(pattern, members - wanted, _refuse_wanted)
        for tensor, (reduction, name) in names.items():
            self._known[tensor] = not reduction and name in wanted
            if reduction and name in wanted:
                self.reduced[name] = reduction

    def learn(self, reduced: dict[str, str], seen: set[str]) -> None:
        """Take over what was seen of the same trial elsewhere."""
        self.reduced.update(reduced)
        self.decide(seen)

    def seen(self) -> set[str]:
        """Return the names that were asked for, of whatever collection."""
        return set(self._known)

    def _search(self, pattern: _Pattern, names: set[str], refuse: Callable[[str], None]) -> set[str]:
        end = time.monotonic() + self._seconds
        found, hard = set(), []
        try:
            for name in names:
                if not pattern.is_easy(name):
                    hard.append(name)
                elif pattern.search(name):
                    found.add(name)
                if time.monotonic() > end:
                    raise subprocess.TimeoutExpired(pattern.text, self._seconds)
            if hard:
                end += STARTING_SECONDS
                found |= pattern.search_apart(hard, end - time.monotonic())
        except (OSError, subprocess.SubprocessError):
            refuse(pattern.text)
        self._seconds = min(self._seconds, end - time.monotonic())
        return found

    def _refuse_member(self, pattern: str) -> None:
        reason = f"has an include_regex that takes too long, more than {PATTERN_SECONDS:g} s ({pattern[:100]!r})"
        entry = Unreadable(COLLECTIONS_FOLDER, None, None, -1, reason)
        if entry not in self.unreadable:
            self.unreadable.append(entry)


def _refuse_wanted(pattern: str) -> None:
    raise ValueError(
        f"'tensor_regex' must hold patterns that are searched within {PATTERN_SECONDS:g} s "
        f"(got {pattern[:100]!r}, which does not end on a tensor's name)"
    )


class _Pattern:
    """A pattern, and how long it may backtrack: for ever, where a group is repeated."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.search = re.compile(text).search
        parts = _QUANTIFIER.split(text)
        self._quantifiers = len(parts) - 1
        self._alternatives = min(text.count("|"), 64)
        self._repeats_a_group = any(part.endswith(")") for part in parts[:-1])

    def is_easy(self, name: str) -> bool:
        """Return whether a search takes no more steps than are done in a moment.

        Each alternative may double them, and each repeated character try every length of the name.
        """
        steps = 2**self._alternatives * max(len(name), 2) ** min(self._quantifiers + 1, 32)
        return not self._repeats_a_group and steps <= EASY_STEPS

    def search_apart(self, names: list[str], seconds: float) -> set[str]:
        """Return the names that match, found by another process: Python's own search cannot be ended.

        Raises:
            subprocess.TimeoutExpired: It took more than ``seconds``.
        """
        if seconds <= 0 or not sys.executable:
            raise subprocess.TimeoutExpired(self.text, seconds)
        result = subprocess.run(  # noqa: S603  (this Python, and a program that is written above)
            [sys.executable, "-I", "-S", "-c", _SEARCH],
            input=json.dumps([self.text, names]).encode("ascii"),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=seconds,
            check=True,
        )
        return {name for name, matches in zip(names, json.loads(result.stdout.decode("ascii"))) if matches}


def reduction_and_name(tensor: str) -> tuple[str, str]:
    """Return the reduction that a tensor holds, or an empty string, and the name of the tensor that was reduced."""
    if REDUCTION_PREFIX not in tensor:
        return "", tensor
    reduction, _, name = tensor.split(REDUCTION_PREFIX, 1)[1].partition("/")
    return reduction or "unnamed", name


def read_collections(storage: Storage) -> Collections:
    """Return the collections of all workers; a tensor is in one where any worker's file says so."""
    found = Collections({}, {}, 1, [], set())
    num_workers = []
    for name in storage.names(COLLECTIONS_FOLDER):
        if not name.endswith(COLLECTIONS_ENDING):
            continue
        found.workers.add(name[len(COLLECTIONS_FOLDER) + 1 : -len(COLLECTIONS_ENDING)])
        try:
            content = parse_json(storage.read(name))
            collections = content.get("collections") if isinstance(content, dict) else None
            if not isinstance(collections, dict):
                raise UnreadableError("holds no collections")
            meta = content.get("_meta")
            num_workers.append(whole_number(meta.get("num_workers")) or 1 if isinstance(meta, dict) else 1)
            for key, collection in collections.items():
                _add_collection(found, name, key, collection)
        except UnreadableError as error:
            found.unreadable.append(Unreadable(name, None, None, -1, str(error)))
    return found._replace(num_workers=max(num_workers, default=1))


def _add_collection(found: Collections, file: str, key: str, collection: Any) -> None:
    tensors = collection.get("tensor_names", False) if isinstance(collection, dict) else None
    patterns = collection.get("include_regex", False) if isinstance(collection, dict) else None
    if tensors is False or patterns is False or not _is_strings(tensors or []) or not _is_strings(patterns or []):
        raise UnreadableError(f"has a collection {excerpt(key)} without lists of names and patterns")
    found.tensor_names.setdefault(key, set()).update(tensors or [])
    known = found.include_regex.setdefault(key, [])
    new = [pattern for pattern in dict.fromkeys(patterns or []) if pattern not in set(known)]
    if len(known) + len(new) > MOST_PATTERNS:
        raise UnreadableError(f"has a collection {excerpt(key)} with more than {MOST_PATTERNS} patterns")
    known.extend(pattern for pattern in new if _compiles(pattern, file, found.unreadable))


def _compiles(pattern: str, file: str, unreadable: list[Unreadable]) -> bool:
    try:
        if len(pattern) > LONGEST_PATTERN:
            raise ValueError(f"it is longer than {LONGEST_PATTERN} characters")
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError, ValueError) as error:
        reason = f"has an include_regex that does not compile ({pattern[:100]!r}: {error})"
        unreadable.append(Unreadable(file, None, None, -1, reason))
        return False
    return True


def _is_strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
