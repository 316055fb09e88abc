"""Comparer: saved tensors against their references, with records that smdebug wrote."""

from __future__ import annotations

import math
import os
import weakref
from typing import Any

import numpy as np
import pytest

from tests.conftest import change_json, event_file, exact_norm, index_file, random_walk
from weight_update_ratio import check_trial
from weight_update_ratio.compare import comparer
from weight_update_ratio.compare.comparer import UNCERTAIN, Comparer
from weight_update_ratio.compare.loop import Loop
from weight_update_ratio.compare.references import StepPairs, step_pairs
from weight_update_ratio.compare.rows import Comparison, Rows, SkippedGroup
from weight_update_ratio.errors import Unreadable
from weight_update_ratio.parameters import Parameters, parse_parameters
from weight_update_ratio.storage.disk import DiskStorage
from weight_update_ratio.trial import record_group
from weight_update_ratio.trial.event_file import LONGEST_RECORD
from weight_update_ratio.trial.folder import TrialFolder
from weight_update_ratio.verdict.bounds import Bounds
from weight_update_ratio.verdict.judged_run import JudgedRun


def opened(trial: Any, parameters: Parameters | None = None) -> TrialFolder:
    return TrialFolder(DiskStorage(str(trial.path)), parameters or Parameters())


def compared(folder: TrialFolder, pairs: list[StepPairs], over_all: Comparer | None = None) -> JudgedRun:
    """Return what a comparer finds of the pairs of one step; None: a new one."""
    rows = Rows()
    for part in (over_all or Comparer(folder.storage)).compare(pairs):
        rows.append(part)
    return JudgedRun("trial", rows, Bounds(folder.parameters), "TRAIN")


def judged(trial: Any, parameters: Parameters | None = None) -> JudgedRun:
    """Return what is found of the tensors at step 1, against those at step 0."""
    folder = opened(trial, parameters)
    return compared(folder, step_pairs(folder, "TRAIN", 1))


def facts(found: JudgedRun) -> Any:
    """Return all that was found; rows that have NaN in them compare as text."""
    return list(map(repr, found)), found.skipped, found.unreadable, found.types


def with_place(pairs: StepPairs, tensor: str, place: tuple[int, int] | None) -> StepPairs:
    """Return pairs whose index has a tensor at another place."""
    return pairs._replace(saved=pairs.saved._replace(records={**pairs.saved.records, tensor: place}))


class TestComparison:
    def test_norms_ratio_and_verdict(self, write_trial: Any) -> None:
        """Everything of one row, by exact arithmetic."""
        before, after = np.float32([1, 2, 3]), np.float32([1, 2, 3.5])
        (row,) = judged(write_trial({"w": [before, after]}))
        update, weights = exact_norm(after, before), exact_norm(before)
        assert ("w", "worker_0", "TRAIN", 1, 0, 1) == row[:6]
        assert (update, weights) == pytest.approx((row.update_norm, row.weight_norm), rel=1e-12)
        assert row.ratio == pytest.approx(update / (weights + 1e-9), rel=1e-12)
        assert row.verdict == "ok"

    def test_threads_give_the_same(self, write_trial: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """A large step is judged by several threads, in the order of the index."""
        tensors = {f"w{n}": random_walk((300,), seed=n) for n in range(20)}
        trial = write_trial({**tensors, "nan": [1.0, math.nan], "text": [np.array(["a"])] * 2}, steps=2)
        expected = facts(judged(trial))
        assert [(21, 0), ("text", 0), ("text", 1)] == [
            (len(expected[0]), len(expected[1])),
            *((entry.tensor, entry.global_step) for entry in expected[2]),
        ]
        monkeypatch.setattr(record_group, "GROUP_BYTES", 3000)  # of two records
        monkeypatch.setattr(comparer, "THREADED_BYTES", 0)
        for count in (1, 3, 100, None):
            monkeypatch.setattr(comparer.os, "cpu_count", lambda count=count: count)
            assert expected == facts(judged(trial))

    @pytest.mark.parametrize(("group_bytes", "threads"), [(1 << 20, 1), (1, 1), (1, 3)])
    def test_all_is_in_the_order_of_the_index(
        self, write_trial: Any, monkeypatch: pytest.MonkeyPatch, group_bytes: int, threads: int
    ) -> None:
        """Whatever the order of the records in the file, and of what is done first."""
        arrays = {"row": np.ones(3), "empty": np.ones(0), "text": np.array(["a"])}
        names = [f"{kind}{n}" for n in range(4) for kind in arrays]
        trial = write_trial({name: [arrays[name[:-1]]] * 2 for name in names}, workers=("a", "b"))
        chosen = {"a": names[::-1], "b": names[5:] + names[:5]}
        for worker, order in chosen.items():
            change_json(
                index_file(trial.path, 1, worker),
                lambda index, order=order: index["tensor_payload"].sort(
                    key=lambda entry: order.index(entry["tensorname"])
                ),
            )
        monkeypatch.setattr(record_group, "GROUP_BYTES", group_bytes)
        monkeypatch.setattr(comparer, "THREADED_BYTES", 0 if threads > 1 else 1 << 40)
        monkeypatch.setattr(os, "cpu_count", lambda: threads)
        found = judged(trial)
        orders = [(worker, name) for worker in "ab" for name in chosen[worker]]
        for kind, entries in (("row", list(found)), ("empty", found.skipped)):
            assert [own for own in orders if own[1][:-1] == kind] == [(entry.worker, entry.tensor) for entry in entries]
        unreadable = [(own, step) for own in orders if own[1][:-1] == "text" for step in (0, 1)]  # the reference first
        assert unreadable == [((entry.worker, entry.tensor), entry.global_step) for entry in found.unreadable]

    @pytest.mark.parametrize(
        ("after", "verdict"), [(30.0, "large"), (1.0, "small"), (math.nan, "not_finite"), (math.inf, "not_finite")]
    )
    def test_verdicts(self, write_trial: Any, after: float, verdict: str) -> None:
        """Each by its own ratio."""
        found = judged(write_trial({"w": [1.0, after], "v": [1.0, 2.0]}))
        assert [("w", verdict), ("v", "ok")] == [(row.tensor, row.verdict) for row in found]

    def test_epsilon_and_thresholds(self, write_trial: Any) -> None:
        """They are the parameters'."""
        parameters = parse_parameters(large_threshold=0.4, epsilon=1.0)
        (row,) = judged(write_trial({"w": [1.0, 2.0]}), parameters)
        assert (0.5, "large") == (row.ratio, row.verdict)

    def test_without_a_reference_there_is_none(self, write_trial: Any) -> None:
        """A first saved step is neither compared, skipped nor unreadable."""
        found = judged(write_trial({"w": [1.0, 2.0], "late": [None, 2.0]}))
        assert ["w"] == [row.tensor for row in found]
        assert ([], []) == (found.skipped, found.unreadable)

    def test_its_fields_are_the_historys_columns(self) -> None:
        """The names that every history has."""
        expected = (
            "tensor worker mode step reference_step global_step update_norm weight_norm ratio lower upper verdict"
        )
        assert tuple(expected.split()) == Comparison._fields


class TestNotCompared:
    @pytest.mark.parametrize(
        ("before", "after", "reason"),
        [
            (np.zeros(3), np.zeros((3, 1)), "shape changed from (3,) to (3, 1)"),
            (np.zeros(0), np.zeros(3), "shape changed from (0,) to (3,)"),
            (np.zeros((2, 0)), np.zeros((2, 0)), "no elements"),
            (np.zeros(2), np.zeros(2, complex), "type changed from float64 to complex128"),
        ],
    )
    def test_skipped(self, write_trial: Any, before: Any, after: Any, reason: str) -> None:
        """What was read and has no ratio is skipped, with the reason."""
        found = judged(write_trial({"w": [before, after]}))
        assert [SkippedGroup("w", "worker_0", reason, 1, 1, 1)] == found.skipped
        assert ([], []) == (list(found), found.unreadable)

    def test_tensors_without_elements_of_every_type(self, write_trial: Any) -> None:
        """They are skipped, at a first step too, and those beside them are compared."""
        kinds = ["f2", "f4", "f8", "c8", "c16", "i4", "i8", "u8", "?"]
        empty = {kind: [np.zeros((0, 3), kind)] * 2 for kind in kinds}
        trial = write_trial({**empty, "w": [1.0, 2.0]})
        found = check_trial(trial.path)
        assert [(kind, "no elements") for kind in kinds] == [(entry.tensor, entry.reason) for entry in found.skipped]
        assert ["w"] == [row.tensor for row in found]

    def test_an_uncertain_reference(self, write_trial: Any) -> None:
        """A ratio against a step that may be the wrong one is not given; that of another tensor is."""
        folder = opened(write_trial({"w": [1.0, 2.0], "v": [1.0, 2.0]}))
        (pairs,) = step_pairs(folder, "TRAIN", 1)
        found = compared(folder, [pairs._replace(uncertain=frozenset("w"))])
        assert [Unreadable(pairs.saved.event_file, "w", "worker_0", 1, UNCERTAIN)] == found.unreadable
        assert UNCERTAIN == "has no certain reference: the index file of a step before it is lost or broken"
        assert ["v"] == [row.tensor for row in found]

    def test_an_uncertain_reference_of_a_tensor_without_a_place(self, write_trial: Any) -> None:
        """Both are said, in the order of the index."""
        folder = opened(write_trial({name: [1.0, 2.0] for name in "uwv"}))
        (pairs,) = step_pairs(folder, "TRAIN", 1)
        saved = pairs.saved._replace(records={**pairs.saved.records, "w": None})
        found = compared(folder, [pairs._replace(saved=saved, uncertain=frozenset("vw"))])
        no_range = "names no range of bytes for it"
        assert [("w", UNCERTAIN), ("w", no_range), ("v", UNCERTAIN)] == [
            (entry.tensor, entry.reason) for entry in found.unreadable
        ]
        assert ["u"] == [row.tensor for row in found]

    @pytest.mark.parametrize("is_reference", [False, True])
    def test_no_range_of_bytes(self, write_trial: Any, is_reference: bool) -> None:
        """An index entry without a range was saved all the same: the index file is named."""
        folder = opened(write_trial({"u": [1.0, 2.0], "w": [1.0, 2.0], "v": [1.0, 2.0]}))
        (pairs,) = step_pairs(folder, "TRAIN", 1)
        saved, reference = pairs.saved, pairs.references[0]
        assert reference is not None
        at = reference if is_reference else saved
        without = at._replace(records={**at.records, "w": None})
        changed = pairs._replace(references=[without] * 3) if is_reference else pairs._replace(saved=without)
        found = compared(folder, [changed])
        assert [Unreadable(at.index_file, "w", "worker_0", at.global_step, "names no range of bytes for it")] == (
            found.unreadable
        )
        assert ["u", "v"] == [row.tensor for row in found]

    def test_a_record_that_is_too_long(self, write_trial: Any) -> None:
        """It is not read; the event file is named."""
        folder = opened(write_trial({"w": [1.0, 2.0], "v": [1.0, 2.0]}))
        (pairs,) = step_pairs(folder, "TRAIN", 1)
        found = compared(folder, [with_place(pairs, "w", (0, LONGEST_RECORD + 1))])
        reason = f"has {LONGEST_RECORD + 1} bytes, more than a record can have ({LONGEST_RECORD})"
        assert [Unreadable(pairs.saved.event_file, "w", "worker_0", 1, reason)] == found.unreadable
        assert ["v"] == [row.tensor for row in found]

    def test_an_unreadable_reference(self, write_trial: Any) -> None:
        """The record that is unreadable is named: the reference's, not the judged one's."""
        trial = write_trial({"w": [np.array(["text"]), np.zeros(1)]})
        (entry,) = judged(trial).unreadable
        assert ("w", 0) == (entry.tensor, entry.global_step)


NAMES = "abcde"


def spoil(trial: Any, step: int, change: Any) -> list[str]:
    """Change the event file of a step, and return the tensors whose records are unreadable then."""
    file = event_file(trial.path, step)
    content = bytearray(file.read_bytes())
    (saved,) = opened(trial).saved(step).workers
    lost = change(content, {tensor: place or (0, 0) for tensor, place in saved.records.items()})
    file.write_bytes(content)
    return list(lost)


def corrupt_c(content: bytearray, places: dict[str, tuple[int, int]]) -> str:
    content[places["c"][0]] ^= 1
    return "c"


def rename_c(content: bytearray, places: dict[str, tuple[int, int]]) -> str:
    start, length = places["c"]
    content[start : start + length] = content[start : start + length].replace(b"c/weight", b"x/weight")
    return "c"


def cut_the_end(content: bytearray, places: dict[str, tuple[int, int]]) -> str:
    del content[-10:]
    return "e"


def cut_within_c(content: bytearray, places: dict[str, tuple[int, int]]) -> str:
    del content[places["c"][0] + 5 :]
    return "cde"


def empty_the_file(content: bytearray, places: dict[str, tuple[int, int]]) -> str:
    content.clear()
    return "abcde"


def corrupt_all_but_d(content: bytearray, places: dict[str, tuple[int, int]]) -> str:
    for name in "abce":
        content[places[name][0] + 12] ^= 0xFF
    return "abce"


class TestGroupsWithUnreadableRecords:
    """Of records that are read together each is judged for itself."""

    @pytest.fixture
    def trial(self, write_trial: Any) -> Any:
        """Give a trial of five tensors, which are read together, and four steps."""
        return write_trial({f"{name}/weight": random_walk((5, 4), seed=n) for n, name in enumerate(NAMES)}, steps=4)

    @pytest.mark.parametrize("num_steps", [None, 2])
    @pytest.mark.parametrize("kept_bytes", [0, 1 << 28])
    @pytest.mark.parametrize("at", [0, 1, 3])
    @pytest.mark.parametrize(
        "change", [corrupt_c, rename_c, cut_the_end, cut_within_c, empty_the_file, corrupt_all_but_d]
    )
    def test_the_others_are_compared(
        self,
        trial: Any,
        monkeypatch: pytest.MonkeyPatch,
        change: Any,
        at: int,
        kept_bytes: int,
        num_steps: int | None,
    ) -> None:
        """The rows are those of the sound trial but for what needs an unreadable record, which is named."""
        monkeypatch.setattr(comparer, "KEPT_BYTES", kept_bytes)
        chosen = Parameters(num_steps=num_steps)

        def judge() -> list[JudgedRun]:
            folder = opened(trial, chosen)
            over_all = Comparer(folder.storage)
            return [compared(folder, step_pairs(folder, "TRAIN", step), over_all) for step in folder.steps]

        sound = [row for found in judge() for row in found]
        assert len(NAMES) * 3 == len(sound)

        def changed(content: bytearray, places: dict[str, tuple[int, int]]) -> str:
            return str(change(content, {tensor[0]: place for tensor, place in places.items()}))

        lost = [f"{name}/weight" for name in spoil(trial, at, changed)]
        found = judge()
        assert [row for row in sound if row.tensor not in lost or at not in (row.step, row.reference_step)] == [
            row for each in found for row in each
        ]
        users = {step for step in range(4) for row in sound if row.step == step and row.reference_step == at} | {at}
        for step, each in enumerate(found):
            named = [(entry.tensor, entry.global_step, entry.file) for entry in each.unreadable]
            expected = [(tensor, at, f"events/{at:012d}/{at:012d}_worker_0.tfevents") for tensor in lost]
            assert (expected if step in users else []) == named
            assert [] == each.skipped


class CountedStorage(DiskStorage):
    """A folder on disk that notes what is read, and how many of the results are in memory at once."""

    def __init__(self, location: str) -> None:
        super().__init__(location)
        self.spans: list[tuple[str, int, int]] = []
        self.most_kept = 0
        self._octets: list[weakref.ref[Any]] = []

    def span(self, name: str, start: int, length: int) -> memoryview:
        octets = np.array(super().span(name, start, length))
        self.spans.append((name, start, length))
        self._octets.append(weakref.ref(octets))
        self.most_kept = max(self.most_kept, self.kept())
        return memoryview(octets)

    def kept(self) -> int:
        return sum(octets() is not None for octets in self._octets)


class TestSteps:
    @pytest.mark.parametrize("num_steps", [None, 1, 3])
    @pytest.mark.parametrize("kept_bytes", [0, 1 << 20])
    def test_what_is_kept_from_the_step_before_changes_nothing(
        self, write_trial: Any, monkeypatch: pytest.MonkeyPatch, num_steps: int | None, kept_bytes: int
    ) -> None:
        """Steps in order, which keep elements and norms, give the rows of a comparer that is new at each step."""
        tensors = {"every": random_walk(), "third": random_walk(seed=1), "grows": lambda step: np.ones(step // 4 + 1)}
        trial = write_trial(tensors, steps=12, intervals={"third": 3}, workers=("a", "b"))
        monkeypatch.setattr(comparer, "KEPT_BYTES", kept_bytes)
        assert_like_new_comparers(trial, Parameters(num_steps=num_steps))

    @pytest.mark.parametrize("num_steps", [None, 1, 3])
    @pytest.mark.parametrize("kept_bytes", [0, 1 << 28])
    @pytest.mark.parametrize(("group_bytes", "threads"), [(1 << 20, 1), (5000, 1), (5000, 2), (1, 3)])
    def test_groups_of_several_records_and_large_ones(
        self,
        write_trial: Any,
        monkeypatch: pytest.MonkeyPatch,
        num_steps: int | None,
        kept_bytes: int,
        group_bytes: int,
        threads: int,
    ) -> None:
        """Of several workers, types and save intervals: the rows of a comparer that is new at each step."""
        shapes = [(3,), (40,), (70_000,), (), (8, 8), (300,), (2, 9000), (1,), (90,)]
        kinds = ["f4", "f8", "f4", "i8", "f2", "c8", "f4", "?", "f8"]
        tensors: dict[str, Any] = {
            f"w{n}": lambda step, n=n: (random_walk(shapes[n], seed=n, dtype="f8")(step) * 3).astype(kinds[n])
            for n in range(9)
        }
        tensors["rarely"] = [np.ones(50) * step if step in (0, 5) else None for step in range(7)]
        tensors["empty"] = lambda step: np.zeros((0, 4))
        trial = write_trial(
            tensors, steps=7, intervals={"w1": 2, "w4": 3, "w6": 2}, workers=("a", "b"), missing=[("b", 3)]
        )
        monkeypatch.setattr(comparer, "KEPT_BYTES", kept_bytes)
        monkeypatch.setattr(record_group, "GROUP_BYTES", group_bytes)
        monkeypatch.setattr(comparer, "THREADED_BYTES", 0 if threads > 1 else 1 << 40)
        monkeypatch.setattr(os, "cpu_count", lambda: threads)
        rows = assert_like_new_comparers(trial, Parameters(num_steps=num_steps))
        found = {(row.tensor, row.worker) for row in rows}
        assert found >= {(f"w{n}", worker) for n in (0, 2, 3, 5, 7, 8) for worker in "ab"}
        assert num_steps is not None or found == {(name, worker) for name in {*tensors} - {"empty"} for worker in "ab"}

    def test_steps_in_any_order(self, write_trial: Any) -> None:
        """As a rule may be invoked: forwards, backwards, and twice in a row."""
        trial = write_trial({"a": random_walk(), "b": random_walk((300,), seed=1)}, steps=6)
        for num_steps in (None, 2):
            assert_like_new_comparers(trial, Parameters(num_steps=num_steps), [5, 4, 4, 0, 1, 2, 5, 3, 3, 2, 4, 1])

    def test_records_that_are_elsewhere_at_each_step(self, write_trial: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of how records are read no more is remembered than of a few steps."""
        monkeypatch.setattr(comparer, "PLANNED", 2)
        trial = write_trial({"a": random_walk(), "b": lambda step: np.ones(3 + step)}, steps=6)
        assert_like_new_comparers(trial, Parameters())


def assert_like_new_comparers(trial: Any, parameters: Parameters, steps: list[int] | None = None) -> list[Comparison]:
    """Assert that steps that are compared one after the other are as those that are compared alone, and return rows."""
    folder = opened(trial, parameters)
    over_all = Comparer(folder.storage)
    rows: list[Comparison] = []
    for step in folder.steps if steps is None else steps:
        pairs = step_pairs(folder, "TRAIN", step)
        found = compared(folder, pairs, over_all)
        assert facts(compared(folder, pairs)) == facts(found)
        rows += found
    assert rows
    return rows


class TestMemory:
    """Each byte is read once where a step's records are kept for the next one; larger ones are read again."""

    def compared(self, trial: Any) -> CountedStorage:
        """Return the storage of a trial whose steps were compared one after the other."""
        storage = CountedStorage(str(trial.path))
        loop = Loop(TrialFolder(storage, Parameters()), "TRAIN")
        for step in range(4):
            loop.compare(step)
        assert 3 * 12 == len(loop.rows.compared)
        return storage

    @pytest.fixture
    def trial(self, write_trial: Any) -> Any:
        return write_trial({f"w{n}": random_walk((50,), seed=n) for n in range(12)}, steps=4)

    def bytes_of(self, trial: Any, step: int) -> int:
        return sum(length for _, length in opened(trial).saved(step).workers[0].records.values())

    @pytest.mark.parametrize("group_bytes", [1 << 20, 1000, 1])
    def test_each_byte_is_read_once(self, trial: Any, monkeypatch: pytest.MonkeyPatch, group_bytes: int) -> None:
        """And only the bytes of records."""
        monkeypatch.setattr(record_group, "GROUP_BYTES", group_bytes)
        spans = self.compared(trial).spans
        assert len(spans) == len(set(spans))
        assert sum(self.bytes_of(trial, step) for step in range(4)) == sum(length for _, _, length in spans)

    def test_a_step_as_large_as_what_is_kept(self, trial: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its records are not read again; those of one that is larger by a byte are."""
        sizes = [self.bytes_of(trial, step) for step in range(4)]
        assert sizes[0] < sizes[1] == sizes[2]
        for kept, again in [(sizes[1], 0), (sizes[1] - 1, sizes[1] + sizes[2])]:
            monkeypatch.setattr(comparer, "KEPT_BYTES", kept)
            assert sum(sizes) + again == sum(length for _, _, length in self.compared(trial).spans)

    def test_the_records_of_two_steps_are_in_memory(self, trial: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """However many steps there are."""
        monkeypatch.setattr(record_group, "GROUP_BYTES", 1)
        assert 12 < self.compared(trial).most_kept <= 2 * 12

    @pytest.mark.parametrize(("threads", "at_once", "most"), [(1, 1 << 40, 2), (2, 1 << 40, 4), (2, 1, 2)])
    def test_little_is_in_memory_where_nothing_is_kept(
        self, trial: Any, monkeypatch: pytest.MonkeyPatch, threads: int, at_once: int, most: int
    ) -> None:
        """Each thread holds a group and its reference; one thread alone works where these would be too large."""
        monkeypatch.setattr(comparer, "KEPT_BYTES", 0)
        monkeypatch.setattr(comparer, "THREADED_BYTES", 0)
        monkeypatch.setattr(comparer, "BYTES_AT_ONCE", at_once)
        monkeypatch.setattr(record_group, "GROUP_BYTES", 1)
        monkeypatch.setattr(os, "cpu_count", lambda: threads)
        storage = self.compared(trial)
        assert 2 <= storage.most_kept <= most
        assert 0 == storage.kept()

    def test_the_storage_is_prepared(self, write_trial: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """It gets the files and spans of the step and of its references before they are read."""
        folder = opened(write_trial({name: random_walk((50,)) for name in "abc"}, steps=3))
        told: list[Any] = []
        monkeypatch.setattr(folder.storage, "retain", told.append)
        compared(folder, step_pairs(folder, "TRAIN", 2))
        ends = [sum(length for _, length in folder.saved(step).workers[0].records.values()) for step in (1, 2)]
        names = [folder.saved(step).workers[0].event_file for step in (1, 2)]
        assert [{names[1]: [(0, ends[1])], names[0]: [(0, ends[0])]}] == told


def test_types(write_trial: Any) -> None:
    """Each compared tensor's is that of its first comparison."""
    trial = write_trial(
        {"w": [np.float32(1), np.float64(2), np.float32(3)], "v": [None, np.int8(1), np.int8(2)], "x": [np.int8(1)]}
    )
    assert {"w": "float64", "v": "int8"} == check_trial(trial.path).types


def test_an_error_in_a_thread_is_raised(write_trial: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not lost."""
    folder = opened(write_trial({name: random_walk((50,)) for name in "abc"}, steps=2))
    monkeypatch.setattr(record_group, "GROUP_BYTES", 1)
    monkeypatch.setattr(comparer, "THREADED_BYTES", 0)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(folder.storage, "span", lambda name, start, length: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        compared(folder, step_pairs(folder, "TRAIN", 1))
