"""Which step is the reference, against the definition read naively."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.memory_trial import MemoryTrial
from weight_update_ratio.compare.references import step_pairs

WORKERS_AND_TENSORS = st.sets(st.tuples(st.sampled_from(["v", "w"]), st.sampled_from("abc")), min_size=1)
GAPS = st.tuples(st.integers(1, 4), st.one_of(st.integers(1, 5), st.integers(-6, 5)))
LAYOUTS = st.lists(st.tuples(st.sampled_from(["TRAIN", "EVAL"]), GAPS, WORKERS_AND_TENSORS), min_size=1, max_size=15)


def layout_rows(layout: Any) -> list[tuple[str, str, str, int, int]]:
    """Return (worker, tensor, mode, step, global step) of all that a layout saves; numbers may fall."""
    rows = []
    numbers = {"TRAIN": 0, "EVAL": 0}
    global_step = 0
    for mode, (gap, rise), saved in layout:
        numbers[mode] += rise
        global_step += gap
        rows += [(worker, tensor, mode, numbers[mode], global_step) for worker, tensor in sorted(saved)]
    return rows


def written(rows: Any) -> MemoryTrial:
    """Return the trial that holds the rows."""
    trial = MemoryTrial()
    for worker, mode, step, global_step in dict.fromkeys((row[0], *row[2:]) for row in rows):
        tensors = [row[1] for row in rows if (row[0], row[4]) == (worker, global_step)]
        trial.save(global_step, tensors, mode, step, worker)
    return trial


def expected_references(rows: Any, mode: str, num_steps: int | None) -> dict[Any, int | None]:
    """Return {(worker, tensor, global step): global step of the reference} as the definition reads."""
    own = [
        (row[0], row[1], row[3] if mode == "TRAIN" else row[4], row[4]) for row in rows if mode in (row[2], "GLOBAL")
    ]
    found: dict[Any, int | None] = {}
    for worker, tensor, step, global_step in own:
        same = [row[2:] for row in own if row[:2] == (worker, tensor)]
        if any(number == step and later > global_step for number, later in same):
            continue
        earlier = [(number, other) for number, other in same if other < global_step and number < step]
        if num_steps is None:
            found[worker, tensor, global_step] = max((other for _, other in earlier), default=None)
        else:
            window = [(number, -other) for number, other in earlier if number >= step - num_steps]
            found[worker, tensor, global_step] = -min(window)[1] if window else None
    return found


def found_references(folder: Any, mode: str, steps: Any) -> dict[Any, int | None]:
    """Return the references of all tensors; a worker has them together, in the order of its index file."""
    found = {}
    for step in steps:
        pairs = step_pairs(folder, mode, step)
        assert [own.saved.worker for own in pairs] == sorted({own.saved.worker for own in pairs})
        for own in pairs:
            assert (mode, step) == (own.saved.mode, own.saved.global_step)
            assert own.tensors == tuple(tensor for tensor in own.saved.records if tensor in own.tensors) != ()
            assert len(own.tensors) == len(own.references)
            for tensor, reference in zip(own.tensors, own.references):
                assert reference is None or (mode, own.saved.worker) == (reference.mode, reference.worker)
                found[own.saved.worker, tensor, step] = None if reference is None else reference.global_step
    return found


def uncertain_tensors(folder: Any) -> list[tuple[int, str]]:
    """Return (step, tensor) of all that has no certain reference."""
    pairs = [own for step in folder.steps for own in step_pairs(folder, "TRAIN", step)]
    return [(own.saved.step, tensor) for own in pairs for tensor in own.tensors if tensor in own.uncertain]


class TestReferences:
    @settings(max_examples=400, deadline=None)
    @given(LAYOUTS, st.one_of(st.none(), st.integers(1, 30)), st.sampled_from(["TRAIN", "GLOBAL"]), st.integers(0, 9))
    def test_any_layout_in_any_order(self, layout: Any, num_steps: int | None, mode: str, seed: int) -> None:
        """Forwards, backwards or shuffled, with numbers that rise or fall, references are those of the definition."""
        rows = layout_rows(layout)
        folder = written(rows).folder(num_steps=num_steps)
        order = folder.steps[:]
        random.Random(seed).shuffle(order)
        assert found_references(folder, mode, order) == expected_references(rows, mode, num_steps)

    @settings(max_examples=100, deadline=None)
    @given(LAYOUTS, st.one_of(st.none(), st.integers(1, 30)), st.integers(1, 14))
    def test_a_job_that_goes_on(self, layout: Any, num_steps: int | None, known: int) -> None:
        """Steps that are listed later give the references of a folder that is opened afterwards."""
        rows = layout_rows(layout)
        folder = written(rows[:known]).folder(num_steps=num_steps)
        folder.storage.files.update(written(rows).files)
        folder.refresh(folder.steps[-1])
        assert found_references(folder, "TRAIN", folder.steps) == expected_references(rows, "TRAIN", num_steps)

    def test_a_resumed_job(self) -> None:
        """Numbers 0 to 4, then 3 to 5 again: the later rows count, and their references pass over 3 and 4."""
        trial = MemoryTrial()
        for global_step, step in enumerate([0, 1, 2, 3, 4, 3, 4, 5]):
            trial.save(global_step, "a", step=step)
        references = found_references(trial.folder(), "TRAIN", range(8))
        steps = {global_step: reference for (_, _, global_step), reference in references.items()}
        assert steps == {0: None, 1: 0, 2: 1, 5: 2, 6: 5, 7: 6}

    def test_a_number_that_two_index_files_share(self) -> None:
        """Losses and weights of one step, written at two global steps, do not replace each other."""
        trial = MemoryTrial("ab")
        trial.save(0, "ab", step=5)
        trial.save(1, "b", step=6)
        trial.save(2, "a", step=6)
        assert found_references(trial.folder(), "TRAIN", range(3)) == {
            ("w", "a", 0): None,
            ("w", "b", 0): None,
            ("w", "b", 1): 0,
            ("w", "a", 2): 0,
        }

    def test_a_step_that_is_saved_again_as_a_whole(self) -> None:
        """The worker has no pairs there, and another worker has."""
        trial = MemoryTrial()
        for global_step in (0, 1):
            trial.save(global_step, "a", step=5)
        trial.save(0, "a", step=4, worker="v")
        folder = trial.folder()
        found = [[own.saved.worker for own in step_pairs(folder, "TRAIN", step)] for step in range(3)]
        assert [["v"], ["w"], []] == found

    def test_a_number_of_minus_one(self) -> None:
        """A hook writes it after a switch of modes, and it is a step like any other."""
        trial = MemoryTrial()
        for global_step, step in enumerate([-1, 0, 1]):
            trial.save(global_step, "a", step=step)
        assert found_references(trial.folder(), "TRAIN", range(3)) == {
            ("w", "a", 0): None,
            ("w", "a", 1): 0,
            ("w", "a", 2): 1,
        }


class TestUncertainReferences:
    @pytest.mark.parametrize(
        ("num_steps", "broken", "expected"),
        [(None, (3, "w"), [4]), (None, (3, "v"), []), (2, (3, "w"), [5]), (3, (0, "w"), [1, 2, 3]), (3, (1, "w"), [4])],
    )
    def test_a_broken_index_file(self, num_steps: int | None, broken: Any, expected: list[int]) -> None:
        """A reference is uncertain where an index file that could not be read may name the right one."""
        trial = MemoryTrial()
        for step in range(6):
            trial.save(step, "a")
        trial.break_index(*broken)
        folder = trial.folder(num_steps=num_steps)
        assert [(step, "a") for step in expected] == uncertain_tensors(folder)

    def test_each_tensor_for_itself(self) -> None:
        """Of those that one index file holds, where they have different save intervals."""
        trial = MemoryTrial()
        for step in range(7):
            trial.save(step, "ab" if step % 2 == 0 else "a")
        trial.break_index(3)
        assert [(4, "a"), (4, "b")] == uncertain_tensors(trial.folder())
        trial.save(3, "a")
        trial.break_index(4)
        assert [(5, "a"), (6, "b")] == uncertain_tensors(trial.folder())
        assert [(5, "a")] == uncertain_tensors(trial.folder(num_steps=1))

    def test_a_lost_index_file(self) -> None:
        """An event file without its index file says that there was one."""
        trial = MemoryTrial()
        for step in range(4):
            trial.save(step, "a")
            trial.files[f"events/{step:012d}/{step:012d}_w.tfevents"] = b""
        del trial.files[trial.index_name(1, "w")]
        folder = trial.folder()
        assert [(2, "a")] == uncertain_tensors(folder)
        assert ["does not exist, while its event file 'events/000000000001/000000000001_w.tfevents' does"] == [
            entry.reason for entry in folder.saved(1).unreadable
        ]
