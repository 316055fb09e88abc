"""Which mode is judged and which step is the reference, against the definition read naively."""

from __future__ import annotations

import random
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weight_update_ratio.judge.references import JudgedMode, References
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.trial.disk import DiskStorage
from weight_update_ratio.trial.folder import SavedStep, SavedTensor, TrialFolder
from weight_update_ratio.trial.selection import Collections

LAYOUTS = st.lists(
    st.tuples(
        st.sampled_from(["TRAIN", "EVAL"]),
        st.integers(1, 5),
        st.sets(st.tuples(st.sampled_from(["worker_0", "worker_1"]), st.sampled_from("abc")), min_size=1),
    ),
    min_size=1,
    max_size=15,
)


class SavedSteps(TrialFolder):
    """A trial folder whose steps come from a list instead of files."""

    def __init__(self, layout: Any) -> None:
        self.storage = DiskStorage(str(Path(__file__).parent))
        self.entries: dict[int, list[tuple[str, str, str, int]]] = {}
        counts = {"TRAIN": 0, "EVAL": 0, "GLOBAL": 0}
        global_step = 0
        for mode, gap, saved in layout:
            counts[mode] += gap
            global_step += gap
            self.entries[global_step] = [(worker, name, mode, counts[mode]) for worker, name in sorted(saved)]
        self.steps = sorted(self.entries)
        self.broken: dict[int, list[str]] = {}
        self.collections = Collections({}, {}, 1, [], set())
        self._files = {step: {"worker_0": "file"} for step in self.steps}
        self._parsed = OrderedDict()

    def saved(self, global_step: int) -> SavedStep:
        entries = self.entries.get(global_step, [])
        tensors = [SavedTensor(t, w, mode, step, global_step, "file", 0, 0) for w, t, mode, step in entries]
        broken = self.broken.get(global_step, [])
        return SavedStep(global_step, tensors, [], broken, {entry[2] for entry in entries}, set())

    def references(self, mode: str, num_steps: int | None) -> dict[tuple[str, str, int], int | None]:
        """Return {(worker, tensor, step): reference step} as the definition reads."""
        rows = [
            (worker, name, step if mode == "TRAIN" else global_step)
            for global_step, entries in self.entries.items()
            for worker, name, saved_mode, step in entries
            if mode == "GLOBAL" or saved_mode == mode
        ]
        found: dict[tuple[str, str, int], int | None] = {}
        for worker, name, step in rows:
            earlier = [row[2] for row in rows if row[:2] == (worker, name) and row[2] < step]
            if num_steps is not None:
                earlier = [each for each in earlier if each >= step - num_steps]
            found[worker, name, step] = (max if num_steps is None else min)(earlier) if earlier else None
        return found


def found_references(folder: Any, mode: str, num_steps: int | None, order: Any) -> dict[Any, int | None]:
    references = References(folder, mode, num_steps)
    return {
        (pair.saved.worker, pair.saved.tensor, pair.saved.step): pair.reference.step if pair.reference else None
        for step in order
        for pair in references.at(folder.saved(step))
    }


class TestReferences:
    @settings(max_examples=300, deadline=None)
    @given(LAYOUTS, st.one_of(st.none(), st.integers(1, 30)), st.sampled_from(["TRAIN", "GLOBAL"]), st.integers(0, 9))
    def test_any_layout_in_any_order(self, layout: Any, num_steps: int | None, mode: str, seed: int) -> None:
        """Forwards, backwards or shuffled, references are those of the definition."""
        folder = SavedSteps(layout)
        expected = folder.references(mode, num_steps)
        order = folder.steps[:]
        for _ in range(2):
            assert expected == found_references(folder, mode, num_steps, order)
            random.Random(seed).shuffle(order)

    @settings(max_examples=100, deadline=None)
    @given(LAYOUTS, st.one_of(st.none(), st.integers(1, 30)), st.integers(0, 40))
    def test_a_walk_that_begins_in_the_middle(self, layout: Any, num_steps: int | None, first: int) -> None:
        """References before the first judged step are found."""
        folder = SavedSteps(layout)
        steps = [step for step in folder.steps if step >= first]
        found = found_references(folder, "GLOBAL", num_steps, steps)
        whole = folder.references("GLOBAL", num_steps)
        assert {key: value for key, value in whole.items() if key[2] >= first} == found

    def test_a_step_asked_for_twice(self) -> None:
        """A step is never its own reference."""
        folder = SavedSteps([("TRAIN", 1, {("w", "a")})] * 3)
        assert folder.references("TRAIN", None) == found_references(folder, "TRAIN", None, [1, 2, 2, 1, 3, 3])

    def test_mode_steps_that_do_not_rise(self) -> None:
        """Where they fall back, an index file is wrong, and references across it are not certain."""
        folder = SavedSteps([("TRAIN", 1, {("w", "a")})] * 4)
        for global_step, step in zip(folder.steps, (5, 6, 1, 2)):
            folder.entries[global_step] = [("w", "a", "TRAIN", step)]
        references = References(folder, "TRAIN", None)
        pairs = [pair for step in folder.steps for pair in references.at(folder.saved(step))]
        certain = {pair.saved.step: pair.reference.step for pair in pairs if pair.reference and not pair.uncertain}
        assert {6: 5, 2: 1}.items() >= certain.items()
        assert certain[6] == 5

    def test_the_walk_keeps_what_may_be_a_reference_and_no_more(self) -> None:
        """Memory is bounded by the window, not by the steps."""
        folder = SavedSteps([("TRAIN", 1, {("w", "a")})] * 200)
        for num_steps, most in ((None, 1), (7, 7)):
            references = References(folder, "TRAIN", num_steps)
            for step in folder.steps:
                references.at(folder.saved(step))
            assert most == max(len(history) for history in references._histories.values())

    @pytest.mark.parametrize(
        ("num_steps", "broken", "expected"),
        [
            (None, {3: ["w"]}, [4]),
            (None, {3: ["v"]}, []),
            (2, {3: ["w"]}, [5]),
            (3, {1: ["w"]}, [2, 3, 4]),
        ],
    )
    def test_uncertain_references(self, num_steps: int | None, broken: Any, expected: list[int]) -> None:
        """A reference is uncertain where a step that could not be read may have held the right one."""
        folder = SavedSteps([("TRAIN", 1, {("w", "a")})] * 6)
        folder.broken = broken
        for step, workers in broken.items():
            folder.entries[step] = [entry for entry in folder.entries[step] if entry[0] not in workers]
        references = References(folder, "TRAIN", num_steps)
        pairs = [pair for step in folder.steps for pair in references.at(folder.saved(step))]
        assert expected == [pair.saved.step for pair in pairs if pair.uncertain]


class TestJudgedMode:
    @pytest.mark.parametrize(
        ("modes", "live", "ended"),
        [
            ([], None, "GLOBAL"),
            (["EVAL", "EVAL"], None, "GLOBAL"),
            (["PREDICT"], None, "GLOBAL"),
            (["GLOBAL"], "GLOBAL", "GLOBAL"),
            (["EVAL", "TRAIN"], "TRAIN", "TRAIN"),
            (["GLOBAL", "TRAIN"], "TRAIN", "TRAIN"),
        ],
    )
    def test_mode(self, modes: list[str], live: str | None, ended: str) -> None:
        """TRAIN if any step is; else GLOBAL, once the job has ended or saved a step outside of all modes."""
        folder = SavedSteps([])
        for step, mode in enumerate(modes):
            folder.entries[step] = [("w", "a", mode, step)]
        folder.steps = sorted(folder.entries)
        judged = JudgedMode(folder)
        assert (live, ended, ended) == (judged.now(False), judged.now(True), judged.of_finished_job())

    def test_a_recorded_trial(self) -> None:
        """TRAIN and EVAL interleaved are judged in TRAIN mode."""
        path = Path(__file__).parent / "trials" / "tf_keras"
        assert JudgedMode(TrialFolder(DiskStorage(str(path)), Parameters())).of_finished_job() == "TRAIN"
