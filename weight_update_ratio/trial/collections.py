"""The collections of a trial: which tensors the training job's hook calls weights, and how many workers save.

    collections/000000000/{worker}_collections.json    {"collections": {name: {tensor_names, include_regex}}, "_meta"}

``TrialRecorder`` writes into ``_meta``, which smdebug keeps and ignores, what smdebug's format has no field for:

    "weight_update_ratio": {"pairs": bool, "types": {name: type before it was widened}, "not_trained": [names]}

Source: smdebug 1.0.34, ``core/collection.py``, ``core/collection_manager.py``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..errors import Unreadable, UnreadableError
from ..storage.location import Storage
from ..storage.storage import COLLECTIONS_FOLDER
from .index_file import excerpt, parse_json, whole_number

COLLECTIONS_ENDING = "_collections.json"
RECORDER_NOTES = "weight_update_ratio"


class Collections(NamedTuple):
    """The collections of all workers, joined by name, and what ``TrialRecorder`` noted beside them."""

    tensor_names: dict[str, set[str]]  # collection -> the tensors that it lists
    include_regex: dict[str, list[str]]  # collection -> patterns of its other tensors
    num_workers: int
    unreadable: list[Unreadable]
    workers: set[str]  # as the files name them, readable or not
    pairs: bool  # whether all workers saved each step of their interval and the one after it
    types: dict[str, str]  # tensor -> its type before it was widened
    not_trained: set[str]


def read_collections(storage: Storage, names: list[str]) -> Collections:
    """Return the collections of all workers' files; a tensor is in one if any of them says so."""
    joined = Collections({}, {}, 1, [], set(), False, {}, set())
    num_workers, in_pairs = [1], 0
    for name in names:
        joined.workers.add(name[len(COLLECTIONS_FOLDER) + 1 : -len(COLLECTIONS_ENDING)])
        try:
            content = parse_json(storage.read(name))
            collections = content.get("collections") if isinstance(content, dict) else None
            if not isinstance(collections, dict):
                raise UnreadableError("holds no collections")
            meta = _dictionary(content.get("_meta"))
            num_workers.append(whole_number(meta.get("num_workers")) or 1)
            notes = _dictionary(meta.get(RECORDER_NOTES))
            in_pairs += notes.get("pairs") is True
            types, not_trained = _dictionary(notes.get("types")), notes.get("not_trained")
            joined.types.update((tensor, old) for tensor, old in types.items() if isinstance(old, str))
            joined.not_trained.update(not_trained or [] if _is_strings(not_trained) else [])
            for key, collection in collections.items():
                tensors, patterns = (_dictionary(collection).get(of, 0) for of in ("tensor_names", "include_regex"))
                if not _is_strings(tensors) or not _is_strings(patterns):
                    raise UnreadableError(f"has a collection {excerpt(key)} without lists of names and patterns")
                joined.tensor_names.setdefault(key, set()).update(tensors or [])
                known = joined.include_regex.setdefault(key, [])
                known += [pattern for pattern in dict.fromkeys(patterns or []) if pattern not in known]
        except UnreadableError as error:
            joined.unreadable.append(Unreadable(name, None, None, -1, str(error)))
    return joined._replace(num_workers=max(num_workers), pairs=0 < in_pairs == len(names))


def _dictionary(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_strings(value: Any) -> bool:
    """Return whether a value of JSON is a list of strings, or null, which smdebug writes for an empty one."""
    return value is None or (isinstance(value, list) and all(isinstance(item, str) for item in value))
