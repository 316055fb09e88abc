"""Which step is the reference where numbers repeat, and where an index file that is broken may name the right one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.conftest import index_file
from weight_update_ratio import check_trial

UNCERTAIN = "has no certain reference: the index file of a step before it is lost or broken"
SIX = [(step, "a") for step in range(6)]
IN_TURN = [(step, "ab" if step % 2 == 0 else "a") for step in range(7)]

# What is saved, (number in the mode, tensors) by global step; num_steps; the global steps of which the index file is
# broken; the references that are found, as {tensor: {global step: number of the reference}}; what has no certain one.
CASES: dict[str, tuple[Any, int | None, list[int], Any, Any]] = {
    "a resumed job: the later rows count, and pass over what they repeat": (
        [(step, "a") for step in (0, 1, 2, 3, 4, 3, 4, 5)],
        None, [], {"a": {1: 0, 2: 1, 5: 2, 6: 3, 7: 4}}, [],
    ),
    "and in a window of two": (
        [(step, "a") for step in (0, 1, 2, 3, 4, 3, 4, 5)],
        2, [], {"a": {1: 0, 2: 0, 5: 1, 6: 2, 7: 3}}, [],
    ),
    "a number that two index files share: they do not replace each other": (
        [(5, "ab"), (6, "b"), (6, "a")], None, [], {"a": {2: 5}, "b": {1: 5}}, [],
    ),
    "a step that is saved again as a whole": ([(4, "a"), (5, "ab"), (5, "ab")], None, [], {"a": {2: 4}}, []),
    "a number of -1, which a hook writes after a switch of modes": (
        [(-1, "a"), (0, "a"), (1, "a")], None, [], {"a": {1: -1, 2: 0}}, [],
    ),
    "tensors of several save intervals": (IN_TURN, 1, [], {"a": {step: step - 1 for step in range(1, 7)}}, []),
    "a broken step before": (SIX, None, [3], {"a": {1: 0, 2: 1, 5: 4}}, [("a", 4)]),
    "in a window that is certain of its oldest step": (SIX, 2, [3], {"a": {1: 0, 2: 0, 4: 2}}, [("a", 5)]),
    "a broken first step": (SIX, 3, [0], {"a": {4: 1, 5: 2}}, [("a", 1), ("a", 2), ("a", 3)]),
    "a broken second step": (SIX, 3, [1], {"a": {2: 0, 3: 0, 5: 2}}, [("a", 4)]),
    "in a window, of tensors of several save intervals": (
        IN_TURN, 3, [1], {"a": {2: 0, 3: 0, 5: 2, 6: 3}, "b": {2: 0, 6: 4}}, [("a", 4), ("b", 4)],
    ),
    "of each tensor for itself": (
        IN_TURN, None, [4], {"a": {1: 0, 2: 1, 3: 2, 6: 5}, "b": {2: 0}}, [("a", 5), ("b", 6)],
    ),
    "two that are broken": (
        IN_TURN, None, [3, 4], {"a": {1: 0, 2: 1, 6: 5}, "b": {2: 0}}, [("a", 5), ("b", 6)],
    ),
    "where no window reaches": (IN_TURN, 1, [4], {"a": {1: 0, 2: 1, 3: 2, 6: 5}}, [("a", 5)]),
}  # fmt: skip


@pytest.mark.parametrize("is_lost", [False, True])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_references(trial_writer: Any, case: Any, is_lost: bool) -> None:
    """Where the index file is lost, its event file says that there was one."""
    saves, num_steps, broken, references, uncertain = case
    trial = trial_writer().collections({"weights": "ab"})
    for global_step, (number, tensors) in enumerate(saves):
        trial.save(global_step, {tensor: np.float32([1, global_step]) for tensor in tensors}, "TRAIN", number)
    trial.end()
    for step in broken:
        if is_lost:
            index_file(trial.path, step).unlink()
        else:
            index_file(trial.path, step).write_text("{")
    report = check_trial(trial.path, num_steps=num_steps)
    by_tensor: dict[str, dict[int, int]] = {}
    for row in report:
        by_tensor.setdefault(row.tensor, {})[row.global_step] = row.reference_step
    assert references == by_tensor
    assert sorted(uncertain) == sorted((e.tensor, e.global_step) for e in report.unreadable if e.reason == UNCERTAIN)
    assert broken == [entry.global_step for entry in report.unreadable if entry.tensor is None]
