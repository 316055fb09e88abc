"""Which tensors are compared: members of the chosen collections that match a pattern, if there are patterns.

Source: smdebug 1.0.34, ``core/collection.py``, ``core/reductions.py``, ``trials/trial.py``.
"""

from __future__ import annotations

import re
import warnings
from typing import Callable

from ..parameters import Parameters
from .collections import Collections

REDUCTION_PREFIX = "smdebug/reductions/"
MOST_PATTERNS = 100  # of one collection


class Selection:
    """The tensors that are compared; each name is decided once."""

    def __init__(self, collections: Collections, parameters: Parameters) -> None:
        self.collections, self.parameters = collections, parameters
        self._members: set[str] = set()  # the names that the chosen collections list
        self.seen_members: set[str] = set()  # names of these collections that were asked for, whatever the patterns
        self.reduced: dict[str, str] = {}  # selected tensor without ``:0`` that was seen reduced -> reduction
        self.refused: list[str] = []  # what of the collections' patterns is not used, and why
        self.known: dict[str, bool] = {}  # each name that was asked for -> whether it is compared
        self._patterns: list[re.Pattern[str]] = []
        for name in parameters.collection_names:
            self._members |= collections.tensor_names.get(name, set())
            of_collection = collections.include_regex.get(name, [])
            for pattern in of_collection[:MOST_PATTERNS]:
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")  # Python's, of what is not a mistake
                        self._patterns.append(re.compile(pattern))
                except (re.error, OverflowError, RecursionError) as error:
                    self.refused.append(f"has an include_regex that does not compile ({pattern[:100]!r}: {error})")
            if len(of_collection) > MOST_PATTERNS:
                self.refused.append(
                    f"has {len(of_collection)} patterns in the collection {name[:50]!r}, more than {MOST_PATTERNS}"
                )
        self._bare_members = {without_output_number(name): name for name in sorted(self._members, reverse=True)}
        self.is_wanted = name_filter(parameters)

    def saved_collections(self) -> list[str]:
        """Return the collections of which a tensor was asked for."""
        members = self.collections.tensor_names
        return sorted(name for name in members if members[name] & self.known.keys())

    def __contains__(self, tensor: str) -> bool:
        if tensor not in self.known:
            self.known[tensor] = self._decide(tensor)
        return self.known[tensor]

    def _decide(self, tensor: str) -> bool:
        _, prefix, reduced = tensor.partition(REDUCTION_PREFIX)
        reduction, _, name = reduced.partition("/") if prefix else ("", "", tensor)
        name = self._bare_members.get(name, name) if prefix else name
        if name not in self._members and not any(pattern.search(name) for pattern in self._patterns):
            return False
        self.seen_members.add(name)
        if not self.is_wanted(name):
            return False
        if prefix:
            self.reduced[name] = reduction or "unnamed"
        return not prefix


def selection_of(members: dict[str, set[str]], parameters: Parameters) -> Selection:
    """Return the selection of tensors that are given by their collections, {collection: names}, all asked for."""
    selection = Selection(Collections(members, {}, 1, [], set(), False, {}, set()), parameters)
    for name in set().union(*members.values()):
        selection.known[name] = name in selection
    return selection


def name_filter(parameters: Parameters) -> Callable[[str], bool]:
    """Return a function that says whether the user's patterns choose a name; without patterns they choose all."""
    wanted, excluded = (list(map(re.compile, p)) for p in (parameters.tensor_regex, parameters.exclude_regex))

    def is_wanted(name: str) -> bool:
        is_chosen = not wanted or any(pattern.search(name) for pattern in wanted)
        return is_chosen and not any(pattern.search(name) for pattern in excluded)

    return is_wanted


def without_output_number(name: str) -> str:
    """Return a name without TensorFlow's ``:0``, which hooks leave out of a reduction's name."""
    return re.sub(r":[0-9]+", "", name)


def without_wrappers(name: str) -> str:
    """Return a PyTorch tensor's name without the parts that torch.compile, DDP, FSDP and checkpointing add."""
    inner = re.sub(r"(^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.", "", name)
    return re.sub(r"^(?:module\.)+", "", inner) or name
