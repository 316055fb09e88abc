"""The collections of a trial: which tensors the training job's hook calls weights, and how many workers save.

    collections/000000000/{worker}_collections.json    {"collections": {name: {tensor_names, include_regex}}, "_meta"}

Source: smdebug 1.0.34, ``core/collection.py``, ``core/collection_manager.py``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..errors import Unreadable, UnreadableError
from ..storage.location import Storage
from ..storage.storage import COLLECTIONS_FOLDER
from .index_file import excerpt, parse_json, whole_number

COLLECTIONS_ENDING = "_collections.json"


class Collections(NamedTuple):
    """The collections of all workers, joined by name."""

    tensor_names: dict[str, set[str]]
    include_regex: dict[str, list[str]]
    num_workers: int
    unreadable: list[Unreadable]
    workers: set[str]  # as their files name them, readable or not


def read_collections(storage: Storage, names: list[str]) -> Collections:
    """Return the collections of all workers' files; a tensor is in one where any of them says so."""
    found = Collections({}, {}, 1, [], set())
    num_workers = []
    for name in names:
        found.workers.add(name[len(COLLECTIONS_FOLDER) + 1 : -len(COLLECTIONS_ENDING)])
        try:
            content = parse_json(storage.read(name))
            collections = content.get("collections") if isinstance(content, dict) else None
            if not isinstance(collections, dict):
                raise UnreadableError("holds no collections")
            meta = content.get("_meta")
            num_workers.append(whole_number(meta.get("num_workers")) or 1 if isinstance(meta, dict) else 1)
            for key, collection in collections.items():
                _add_collection(found, key, collection)
        except UnreadableError as error:
            found.unreadable.append(Unreadable(name, None, None, -1, str(error)))
    return found._replace(num_workers=max(num_workers, default=1))


def _add_collection(found: Collections, key: str, collection: Any) -> None:
    given = collection if isinstance(collection, dict) else {}
    tensors, patterns = given.get("tensor_names", False), given.get("include_regex", False)
    if not _is_strings(tensors) or not _is_strings(patterns):
        raise UnreadableError(f"has a collection {excerpt(key)} without lists of names and patterns")
    found.tensor_names.setdefault(key, set()).update(tensors or [])
    known = found.include_regex.setdefault(key, [])
    known += [pattern for pattern in dict.fromkeys(patterns or []) if pattern not in known]


def _is_strings(value: Any) -> bool:
    """Return whether a value of JSON is a list of strings, or null, which smdebug writes for an empty one."""
    return value is None or (isinstance(value, list) and all(isinstance(item, str) for item in value))
