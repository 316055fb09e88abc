"""TrialRecorder: smdebug reads what was recorded, and check judges it as it judges a recording of smdebug's own."""

from __future__ import annotations

import functools
import json
import os
import shutil
import time
import weakref
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Callable, Iterator

import numpy as np
import pytest

from tests.conftest import (
    RECORDED,
    Saved,
    as_smdebug_reads,
    assert_same_comparisons,
    change_json,
    expected_comparisons,
    found_comparisons,
    index_file,
    needs_writing,
    write_whole_trial,
)
from tests.recorders import USUAL, as_entries, assert_same_saved, files_of, weights
from weight_update_ratio import TrialRecorder, check_trial, follow_trial
from weight_update_ratio.parameters import parse_parameters
from weight_update_ratio.storage.disk import DiskStorage
from weight_update_ratio.trial.collections import Collections
from weight_update_ratio.trial.folder import TrialFolder

TYPES = ["bool", "uint8", "int32", "int64", "float16", "float32", "float64", "complex128"]
WIDENED = ["int8", "int16", "uint16", "uint32", "complex64", ">f4", ">i2"]
END_OF_JOB = "training_job_end.ts"
COLLECTIONS = "collections/000000000/worker_0_collections.json"
ARRAY = np.arange(6, dtype=np.float32).reshape(2, 3)
OTHER_PROCESS = r"another process records as 'worker_0' into '.*'\n\nGive each process a worker's name of its own"


def record(
    path: Path,
    steps: int,
    tensors: Callable[[int], Any] = weights,
    modes: tuple[str, ...] = ("TRAIN",),
    worker: str = "worker_0",
    **options: Any,
) -> list[Saved]:
    """Record a run whose steps have these modes in turn, and return all of it, as where every step is saved."""
    numbers: Counter[str] = Counter()
    saved: list[Saved] = []
    with TrialRecorder(path, worker=worker, **options) as recorder:
        for call in range(steps):
            mode = modes[call % len(modes)]
            recorder.step(tensors(call), mode)
            saved += as_entries(tensors(call), mode, numbers[mode], call, worker)
            numbers[mode] += 1
    return saved


def assert_recorded(saved: list[Saved], path: Path, collection: str = USUAL) -> None:
    """Assert that smdebug reads these tensors bit for bit, and that check compares them."""
    assert_same_saved(saved, as_smdebug_reads(path, collection))
    report = check_trial(path, collection_names=collection)
    assert [] == report.unreadable
    assert_same_comparisons(expected_comparisons(saved), found_comparisons(report))


def steps_in(path: Path, worker: str = "worker_0") -> list[tuple[str, int, int]]:
    """Return (mode, number, global step) of the steps of a worker, as smdebug reads them."""
    actual = {saved[2:5] for saved in as_smdebug_reads(path) if saved.worker == worker}
    return sorted(actual, key=lambda step: step[2])


def record_worker(path: Path, rank: int) -> list[Saved]:
    return record(path, 25, functools.partial(weights, seed=rank), worker=f"worker_{rank}", num_workers=4)


class TestReadBack:
    def test_values_of_every_type(self, tmp_path: Path) -> None:
        def tensors(step: int) -> dict[str, Any]:
            actual = {}
            for dtype in TYPES + WIDENED:
                content = np.random.default_rng(step).bytes(12 * np.dtype(dtype).itemsize)
                array = np.nan_to_num(np.frombuffer(content, dtype if dtype != "bool" else "u1"))
                array = (array % 2).astype(dtype) if dtype == "bool" else array
                actual.update({dtype: array.reshape(3, 4), f"{dtype} vector": array[:5], f"{dtype} number": array[0]})
            return actual

        assert_recorded(record(tmp_path / "t", 6, tensors, modes=("TRAIN", "EVAL", "TRAIN")), tmp_path / "t")

    def test_what_smdebug_has_no_type_for(self, tmp_path: Path) -> None:
        """uint64 is compared all the same; tensors without elements are skipped."""
        arrays = [np.array([10**6 + step, step], np.uint64) for step in range(3)]
        saved = record(tmp_path / "t", 3, lambda step: {"w": arrays[step], "empty": np.zeros((0, 3)), "none": []})
        report = check_trial(tmp_path / "t", collection_names=USUAL)
        assert_same_comparisons(expected_comparisons(saved), found_comparisons(report))
        assert ({"empty", "none"}, True) == ({entry.tensor for entry in report.skipped}, report.complete)

    @pytest.mark.parametrize("worker", ["worker_0", "0", "rank-3.a", "host1_worker_12"])
    def test_names(self, tmp_path: Path, worker: str) -> None:
        """Tensors of Keras, JAX and TensorFlow, of other scripts, and with quotes; some come and go."""
        names = ["dense/kernel:0", "params['Dense_0']['kernel']", "Gewicht ß 重み", 'a"b\\c', "a,b", "../w", " ", "w\n"]
        options = {"worker": worker, "collection": "optimizer state"}
        saved = record(tmp_path / "t", 8, lambda step: dict.fromkeys(names[: step % 5 + 4], ARRAY + step), **options)
        (tmp_path / "t" / END_OF_JOB).touch()  # worker_0 writes it, and smdebug waits for it
        assert_recorded(saved, tmp_path / "t", "optimizer state")

    @needs_writing
    @pytest.mark.parametrize("modes", [("TRAIN",), ("EVAL",), ("EVAL", "TRAIN", "TRAIN")])
    def test_files_and_report_are_those_of_smdebugs_recording(self, tmp_path: Path, modes: tuple[str, ...]) -> None:
        """The files have the same names, and the index differs in the places of records alone."""

        def sick(step: int) -> dict[str, Any]:
            exploding = np.float64([1.0, -2.0]) * (1000.0 ** max(0, step - 8))
            lost = np.float16([0.5, 1 + step / 64]) if step < 12 else np.float16([np.nan, 1])
            return {**weights(step), "frozen": ARRAY, "exploding": exploding, "lost": lost}

        record(tmp_path / "ours", 20, sick, modes, collection="weights")
        tensors = {name: (lambda step, name=name: sick(step)[name]) for name in sick(0)}
        write_whole_trial(tmp_path / "theirs", tensors, steps=20, modes=modes)
        ours, theirs = (files_of(tmp_path / name) for name in ("ours", "theirs"))
        assert list(theirs) == list(ours)
        for name in (name for name in theirs if name.startswith("index")):
            expected, actual = (json.loads(files[name].content) for files in (theirs, ours))
            assert (list(expected), expected["meta"]) == (list(actual), actual["meta"])
            for before, after in zip(expected["tensor_payload"], actual["tensor_payload"]):
                assert (list(before), before["tensorname"]) == (list(after), after["tensorname"])
        expected, actual = (json.loads(check_trial(tmp_path / name).to_json()) for name in ("theirs", "ours"))
        assert expected["fired"]
        assert {**expected, "trial": None} == {**actual, "trial": None}

    def test_followed_while_it_records(self, tmp_path: Path) -> None:
        def train() -> None:
            with TrialRecorder(tmp_path / "t", save_interval=3, pairs=True) as recorder:
                for step in range(30):
                    recorder.step(weights(step), "EVAL" if step % 10 == 9 else "TRAIN")
                    time.sleep(0.005)

        (tmp_path / "t").mkdir()
        with ThreadPoolExecutor(1) as pool:
            training = pool.submit(train)
            live = follow_trial(tmp_path / "t", poll=0.01, timeout=60, collection_names=USUAL)
            training.result()
        assert (27, 1) == (len(live), live.parameters.num_steps)
        assert check_trial(tmp_path / "t", collection_names=USUAL).to_json() == live.to_json()

    def test_pairs_have_the_ratios_of_one_update(self, tmp_path: Path) -> None:
        """Pairs at every 50 steps have those that saving every step finds there, to the last bit, and it is said."""
        record(tmp_path / "every", 210)
        record(tmp_path / "pairs", 210, save_interval=50, pairs=True)
        every = found_comparisons(check_trial(tmp_path / "every", num_steps=1, collection_names=USUAL))
        report = check_trial(tmp_path / "pairs", collection_names=USUAL)
        pairs = found_comparisons(report)
        assert {key: row for key, row in every.items() if key[2] % 50 == 1} == pairs
        assert (15, 10) == (len(pairs), len(os.listdir(tmp_path / "pairs" / "events")))
        assert 1 == json.loads(report.to_json())["parameters"]["num_steps"]
        assert "15 comparisons in pairs (num_steps=1), " in report.to_text()
        assert 27 == len(check_trial(tmp_path / "pairs", num_steps=50, collection_names=USUAL))


def described(path: Path, worker: str = "worker_0") -> tuple[dict[str, list[str]], dict[str, Any]]:
    """Return {collection: tensors} and the recorder's notes, as smdebug loads a worker's collections file."""
    from smdebug.core.collection_manager import CollectionManager

    manager = CollectionManager.load(str(path / COLLECTIONS.replace("worker_0", worker)))
    collections = {name: sorted(one.tensor_names) for name, one in manager.get_collections().items()}
    return collections, manager._meta["weight_update_ratio"]


def read_notes(path: Path) -> Collections:
    return TrialFolder(DiskStorage(str(path)), parse_parameters()).collections


class TestCollections:
    def test_by_dimensions_and_names(self, tmp_path: Path) -> None:
        """Those that have no tensor are listed too, as smdebug reads them; a name is decided once."""
        members = {
            "weights": {"a.weight": ARRAY, "b/bias": ARRAY, "empty": [], "table_bias": np.zeros((0, 2))},
            "biases": {"a.bias": [1.0], "rnn.bias_hh_l0": [1.0], "n/beta:0": [1.0], "['d']['bias']": [], "BIAS": 1.0},
            "vectors": {"n.weight": [1.0], "bias.scale": [1.0], "beta/gamma": [1.0], "['beta']['g']": [1.0], "s": 1.0},
        }
        tensors = {name: array for named in members.values() for name, array in named.items()}
        others = {name: ARRAY if np.ndim(array) < 2 else [1.0] for name, array in tensors.items()}
        record(tmp_path, 1, lambda step: {"a.weight": ARRAY})
        assert ({"weights": ["a.weight"], "biases": [], "vectors": []}, []) == (
            described(tmp_path)[0],
            as_smdebug_reads(tmp_path, "biases"),
        )
        record(tmp_path, 2, lambda step: others if step else tensors, resume=True)
        record(tmp_path, 1, lambda step: others, resume=True)
        assert {name: sorted(named) for name, named in members.items()} == described(tmp_path)[0]

    def test_one_for_all(self, tmp_path: Path) -> None:
        record(tmp_path, 1)
        record(tmp_path, 1, collection="x", resume=True)
        names = ["conv.bias", "conv.weight", "fc.weight"]
        usual = {"weights": names[1:], "biases": names[:1], "vectors": []}
        assert {**usual, "x": names} == described(tmp_path)[0]
        record(tmp_path / "x", 1, collection=" x ")
        assert {"x": names} == described(tmp_path / "x")[0]

    def test_that_are_empty(self, tmp_path: Path) -> None:
        """One command serves all models; where all that were asked for are empty, the others are named."""
        record(tmp_path / "t", 3, lambda step: {"w": ARRAY + step, "v.bias": [step], "v": [step]})
        assert (2, None) == (len(report := check_trial(tmp_path / "t")), report.problem)
        record(tmp_path / "few", 3, lambda step: {"v.bias": [1.0 + step], "v": [1.0 + step]})
        assert (4, 0) == (len(report := check_trial(tmp_path / "few", collection_names=USUAL)), report.exit_code)
        problem = check_trial(tmp_path / "few").problem
        assert "the collection 'weights' is empty; saved were 'biases', 'vectors'" == problem.message
        assert "Judge those that were saved: --collection-names biases,vectors (in Python, coll" in problem.remedy
        report = check_trial(tmp_path / "few", collection_names=f"{USUAL},gradients")
        assert (2, "no tensor of the collection 'gradients' was ") == (report.exit_code, report.problem.message[:44])


class Trained(np.ndarray):  # type: ignore[type-arg]
    """What a Keras variable is to the recorder; PyTorch's has requires_grad."""

    trainable = True


class Untrained(np.ndarray):  # type: ignore[type-arg]
    trainable = False


class TestNotes:
    def test_types(self, tmp_path: Path) -> None:
        record(tmp_path, 2, lambda step: {"w": ARRAY, "a": np.int8([1])}, num_workers=2)
        record(tmp_path, 2, lambda step: {"b": np.complex64([1])}, worker="worker_1", num_workers=2)
        record(tmp_path, 2, lambda step: {"c": np.int16([1])}, num_workers=2, resume=True)
        assert {"pairs": False, "types": {"a": "int8", "c": "int16"}, "not_trained": []} == described(tmp_path)[1]
        assert {"a": "int8", "b": "complex64", "c": "int16"} == read_notes(tmp_path).types

    @pytest.mark.parametrize(
        ("steps", "expected"),
        [
            (["a b-", "a b-"], {"b"}),
            (["a b-", "a b"], set()),  # unfrozen later
            (["a b", "a b-"], set()),  # frozen later
            (["a- b-"], set()),  # a state_dict says it of all
            (["a b-", "resume", "a b- c-"], {"b", "c"}),
            (["a? b-"], set()),
        ],
    )
    def test_what_is_not_trained(self, tmp_path: Path, steps: list[str], expected: set[str]) -> None:
        kinds = {"": Trained, "-": Untrained, "?": np.ndarray}
        recorder = TrialRecorder(tmp_path)
        for step in steps:
            if step == "resume":
                recorder = TrialRecorder(tmp_path, resume=True)
                continue
            recorder.step({name[0]: ARRAY.view(kinds[name[1:]]) for name in step.split()})
        assert expected == read_notes(tmp_path).not_trained == set(described(tmp_path)[1]["not_trained"])

    def test_notes_reach_the_findings(self, tmp_path: Path) -> None:
        """What is not trained, and a type whose resolution hides small updates."""

        class Half:
            """What a tensor of bfloat16 is to the recorder."""

            dtype, trainable = "torch.bfloat16", True

            def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
                return ARRAY

        said = {}
        for name, still in (("base", ARRAY.view(Untrained)), ("half", Half())):
            record(
                tmp_path / name, 12, lambda step, still=still: {"still": still, "lora": (ARRAY + step).view(Trained)}
            )
            said[name] = check_trial(tmp_path / name).to_text(1000)
        assert "(11 comparisons), recorded as not trained." in said["base"]
        assert "Nothing to do where that is meant: trained_only=True" in said["base"]
        assert "(11 comparisons), of type bfloat16." in said["half"]
        assert "bfloat16 cannot hold a change below 1/256 of a weight" in said["half"]

    def test_trained_only(self, tmp_path: Path) -> None:
        record(tmp_path, 3, lambda step: {"base": ARRAY.view(Untrained), "lora": ARRAY + step}, trained_only=True)
        assert ["lora"] == described(tmp_path)[0]["weights"]

    @pytest.mark.parametrize(
        ("first", "then", "expected"),
        [(True, None, True), (True, True, True), (True, False, False), (False, True, False)],
    )
    def test_pairs(self, tmp_path: Path, first: bool, then: bool | None, expected: bool) -> None:
        record(tmp_path, 4, pairs=first)
        if then is not None:
            record(tmp_path, 4, pairs=then, resume=True)
        assert expected is read_notes(tmp_path).pairs is described(tmp_path)[1]["pairs"]

    def test_pairs_at_every_door(self, tmp_path: Path) -> None:
        """The same comparisons by check, an executor and the rule, and against good runs that were saved in pairs."""
        from weight_update_ratio.rule import WeightUpdateRatio

        for name, seed in (("run", 0), ("good", 1)):
            record(tmp_path / name, 105, functools.partial(weights, seed=seed), save_interval=10, pairs=True)
        expected = [10 * k + 1 for k in range(11) for _ in range(2)]
        (tmp_path / "good.json").write_text(check_trial(tmp_path / "good").to_baseline())
        for baseline in (None, str(tmp_path / "good"), str(tmp_path / "good.json")):
            report = check_trial(tmp_path / "run", baseline=baseline)
            assert (expected, 1) == ([row.step for row in report], report.parameters.num_steps)
            assert report.problem is None
            with ThreadPoolExecutor(2) as pool:
                assert report.to_json() == check_trial(tmp_path / "run", baseline=baseline, executor=pool).to_json()
            if baseline is not None and baseline.endswith(".json"):
                continue  # its num_steps is compared before the trial is opened
            rule = WeightUpdateRatio(str(tmp_path / "run"), baseline=baseline)
            for step in range(105):
                rule.invoke_at_step(step)
            assert expected == rule.comparisons().step.tolist()
            assert "num_steps:1\n" in rule.report["RuleParameters"]

    def test_pairs_of_some_workers(self, tmp_path: Path) -> None:
        """A live job of which another worker turns out not to save pairs is compared as its ended trial is."""
        recorders = [
            TrialRecorder(tmp_path, 5, pairs, f"worker_{rank}", num_workers=2)
            for rank, pairs in ((1, True), (0, False))
        ]
        for step in range(12):
            recorders[0].step(weights(step))
        folder = TrialFolder(DiskStorage(str(tmp_path)), parse_parameters())
        assert (1, False) == (folder.parameters.num_steps, folder.ended)
        for step in range(12):
            recorders[1].step(weights(step))
        assert (0, None) == (folder.refresh(), folder.parameters.num_steps)


@pytest.mark.parametrize(
    ("rank", "worker"), [(None, "worker_7"), ("", "worker_7"), ("3", "worker_3"), ("x", "worker_0")]
)
def test_the_worker_of_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: str | None, worker: str
) -> None:
    """Torchrun gives each process a RANK, Lightning a LOCAL_RANK alone; a name that is given counts."""
    monkeypatch.delenv("RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("LOCAL_RANK", "7")
    for name, options in ((worker, {}), ("chief", {"worker": "chief"})):
        TrialRecorder(tmp_path / name, **options).step({"w": ARRAY})
        assert [f"{name}_collections.json"] == os.listdir(tmp_path / name / "collections" / "000000000")


@pytest.mark.parametrize(
    ("options", "calls", "saved"),
    [
        ({"save_interval": np.int64(3)}, "T T T T E E T T T", "T0@0 T3@3 E0@4 T6@8"),
        ({"save_interval": 10, "pairs": True}, "T " * 22, "T0@0 T1@1 T10@10 T11@11 T20@20 T21@21"),
        ({"save_interval": 2, "pairs": True}, "T T T T T", "T0@0 T1@1 T2@2 T3@3 T4@4"),
        ({"save_interval": 1000}, "T " * 2001, "T0@0 T1000@1000 T2000@2000"),  # a folder of the index each
        ({"save_interval": 2}, "G T G G G P", "G0@0 T0@1 G2@2 G4@4 P0@5"),  # G has the step of all modes
        ({"save_interval": 100}, "T T99 T E T700 T", "T0@0 T100@2 E0@3 T700@4"),
        ({"save_interval": 2}, "T E T T E T T resume T E E T G", "T0@0 E0@1 T2@3 T4@6 E2@9 T6@10"),
    ],
    ids=["unsaved steps", "pairs", "all in pairs", "many", "modes", "numbers that are set", "resumed"],
)
def test_which_steps_are_saved(tmp_path: Path, options: Any, calls: str, saved: str) -> None:
    """A mode's letter and the step's number in it @ its global step; only those that are saved are asked for."""
    modes = {"T": "TRAIN", "E": "EVAL", "P": "PREDICT", "G": "GLOBAL"}
    asked: list[str] = []
    recorder = TrialRecorder(tmp_path / "t", **options)
    for call in calls.split():
        if call == "resume":
            recorder.close()
            recorder = TrialRecorder(tmp_path / "t", **options, resume=True)
        else:
            before = len(asked)
            number = np.int64(call[1:]) if call[1:] else None
            is_saved = recorder.step(lambda: asked.append("once") or {"w": ARRAY}, modes[call[0]], number)
            assert is_saved is (len(asked) == before + 1)
    recorder.close()
    assert saved == " ".join(f"{mode[0]}{number}@{step}" for mode, number, step in steps_in(tmp_path / "t"))


class Layers(dict):  # type: ignore[type-arg]
    def __call__(self) -> Any:
        raise AssertionError


class Deleted:
    """A tensor as JAX has it of a buffer that was given away."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise RuntimeError("Array has been deleted")


def raising(error: BaseException) -> Iterator[tuple[str, Any]]:
    """Yield some tensors, and raise an error after them."""
    yield "w", ARRAY
    yield "new", np.ones(100_000)
    raise error


PAIRS = (
    "step() takes {name: array}, pairs (name, array), a PyTorch module, a Keras model, or a function that returns one "
    "of these (got "
)
NONE = (
    "step() was given no tensors\n\n"
    "Pass a function, such as model.named_parameters: an iterator that was passed before has nothing left."
)
REFUSED = "the tensor 'w' cannot be recorded: "
OTHERS = (
    "\n\nName each by where it is: in Keras by its path (or pass the model itself), in JAX by the pairs of "
    "jax.tree_util.tree_flatten_with_path."
)


NO_OBJECTS = "a trial folder cannot hold elements of type object: pass "


class TestTensors:
    @pytest.mark.parametrize(
        "passed",
        [
            {"w": ARRAY},
            Layers(w=ARRAY),
            {"w": ARRAY}.items(),
            [["w", ARRAY]],
            (("w", ARRAY),),
            {"w": ARRAY}.items,
            lambda: {"w": ARRAY},
            lambda: iter([("w", ARRAY)]),
            {"w": ARRAY.tolist()},
        ],
        ids=lambda passed: type(passed).__name__,  # smdebug reads nothing below a folder that has __ in its name twice
    )
    def test_forms(self, tmp_path: Path, passed: Any) -> None:
        with TrialRecorder(tmp_path / "t") as recorder:
            assert recorder.step(passed) is True
        (saved,) = as_smdebug_reads(tmp_path / "t")
        assert ("w", ARRAY.tolist()) == (saved.tensor, saved.array.tolist())

    def test_a_generator_is_asked_for_one_tensor_at_a_time(self, tmp_path: Path) -> None:
        """So that no more than two are held: the last one, for a name of the caller's, and the next."""
        made = []

        def tensors() -> Iterator[tuple[str, Any]]:
            for name in "abcdef":
                array = np.ones(3)
                made.append(weakref.ref(array))
                assert sum(reference() is not None for reference in made) <= 2
                yield name, array

        with TrialRecorder(tmp_path / "t") as recorder:
            recorder.step(tensors())
        assert 6 == len(as_smdebug_reads(tmp_path / "t", USUAL))

    @pytest.mark.parametrize(
        ("passed", "error", "message"),
        [
            (3.5, TypeError, f"{PAIRS}3.5)"),
            (ARRAY, TypeError, f"{PAIRS}array([0., 1."),
            ([("new", ARRAY), ("w", ARRAY, 1)], TypeError, f"{PAIRS}('w', array("),
            ([("new", ARRAY), (1, ARRAY)], TypeError, f"{PAIRS}(1, array("),
            (lambda: None, TypeError, f"{PAIRS}None)"),
            ({"new": ARRAY, "w": {"v": ARRAY}}, TypeError, REFUSED + NO_OBJECTS + "the pairs of its leaves"),
            ({"w": None}, TypeError, REFUSED + NO_OBJECTS + "an array of numbers of NumPy's types"),
            ({"w": [[1, 2], [3]]}, TypeError, REFUSED),
            ({"w": Deleted()}, TypeError, f"{REFUSED}Array has been deleted"),
            ({}, ValueError, NONE),
            (iter(()), ValueError, NONE),
            ([("w", ARRAY), ("v", ARRAY), ("w", ARRAY)], ValueError, f"two tensors of one step are named 'w'{OTHERS}"),
            ([("module.w", ARRAY)] * 2, ValueError, f"two tensors of one step are named 'module.w'{OTHERS}"),
            ({"": ARRAY}, ValueError, f"a tensor has the empty name ''{OTHERS}"),
            ({"w\ud800": ARRAY}, ValueError, "'utf-8' codec can't encode"),
            (lambda: 1 / 0, ZeroDivisionError, "division by zero"),
            (raising(KeyboardInterrupt("here")), KeyboardInterrupt, "here"),
            (raising(OSError("here")), OSError, "here"),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_refusals(self, tmp_path: Path, passed: Any, error: type[BaseException], message: str) -> None:
        """The error names what is wrong, or is the caller's own; nothing of the step is left, and it is counted."""
        with TrialRecorder(tmp_path / "t") as recorder:
            recorder.step({"w": ARRAY})
            before = files_of(tmp_path / "t")
            with pytest.raises(error) as caught:
                recorder.step(passed)
            assert str(caught.value).startswith(message)
            assert before == files_of(tmp_path / "t")
            recorder.step({"w": ARRAY})
        assert [("TRAIN", 0, 0), ("TRAIN", 2, 2)] == steps_in(tmp_path / "t")
        assert [] == check_trial(tmp_path / "t").unreadable

    def test_a_tensor_of_two_gibibytes(self, tmp_path: Path) -> None:
        with (tmp_path / "file").open("wb") as file:
            file.truncate(2**31)
        large = np.memmap(tmp_path / "file", np.uint8, "r")
        with TrialRecorder(tmp_path / "t") as recorder:
            with pytest.raises(ValueError, match="'large' has 2,147,483,648 bytes, and a record holds less than 2 GiB"):
                recorder.step({"w": ARRAY, "large": large})
            assert {} == files_of(tmp_path / "t")


class TestArguments:
    @pytest.mark.parametrize(
        ("name", "message", "values"),
        [
            ("save_interval", "must be a whole number >= 1 and < 2**62", [0, 1.5, "2", None, True, 2**70]),
            ("num_workers", "must be a whole number >= 1 and < 2**62", [0, "2"]),
            ("worker", "must be a name like 'worker_0'", ["", "a/b", "a__b", "_x", "x_", 3, "a b", "..", "w\n", "ö"]),
            ("collection", "must be a name without commas, or None", ["", "  ", "a,b", 3]),
            ("path", "must be the path of a folder on this machine", ["", "s3://bucket/t", 3, b"x", "a\0b"]),
        ],
    )
    def test_of_the_recorder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str, values: list[Any]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        for value in values:
            with pytest.raises(ValueError) as caught:
                TrialRecorder(**{"path": tmp_path / "t", name: value})
            assert f"'{name}' {message} (got {value!r})" == str(caught.value)
        assert [] == os.listdir(tmp_path)

    def test_of_a_step(self, tmp_path: Path) -> None:
        """A step that is refused is not counted; a number that no reader takes is not written."""
        with TrialRecorder(tmp_path / "t", save_interval=2) as recorder:
            for step in (-1, 1.0, "1", True, 2**70):
                with pytest.raises(ValueError, match=r"^'step' must be a whole number >= 0 and < 2\*\*62 \(got "):
                    recorder.step({"w": ARRAY}, step=step)  # type: ignore[arg-type]
            for mode in ("train", "", None, 1, [], ("TRAIN",)):
                with pytest.raises(ValueError, match=r"^'mode' must be one of 'TRAIN', 'EVAL', 'PREDICT', 'GLOBAL' "):
                    recorder.step({"w": ARRAY}, mode)  # type: ignore[arg-type]
            with pytest.raises(ValueError, match=r"^'step' cannot be set in mode 'GLOBAL', which counts the steps of "):
                recorder.step({"w": ARRAY}, "GLOBAL", 0)
            assert recorder.step({"w": ARRAY})
            assert not recorder.step({"w": ARRAY}, step=2**62 - 1)
            with pytest.raises(ValueError, match=r"^'step' must be a whole number"):
                recorder.step({"w": ARRAY})
        assert [("TRAIN", 0, 0)] == steps_in(tmp_path / "t")

    def test_paths(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A string, a Path, one with blanks around it, and one in the home folder; a job may change its folder."""
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        (tmp_path / "elsewhere").mkdir()
        for path in ("a", Path("b"), " c ", tmp_path / "d" / "e", "~/f"):
            monkeypatch.chdir(tmp_path)
            with TrialRecorder(path) as recorder:
                recorder.step(weights(0))
                monkeypatch.chdir(tmp_path / "elsewhere")
                recorder.step(weights(1))
        for folder in ("a", "b", "c", "d/e", "home/f"):
            assert check_trial(tmp_path / folder).job_ended
            assert [("TRAIN", 0, 0), ("TRAIN", 1, 1)] == steps_in(tmp_path / folder)
        assert [] == os.listdir(tmp_path / "elsewhere")

    def test_a_file_in_the_folders_place(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("text")
        for path in (tmp_path / "file", tmp_path / "file" / "below"):
            with pytest.raises(OSError, match="file"):
                TrialRecorder(path)
        assert "text" == (tmp_path / "file").read_text()


class TestTheEnd:
    def test_an_exception_in_the_block(self, tmp_path: Path) -> None:
        """It goes through, and the end-of-job file is there, which was not before."""
        recorder = TrialRecorder(tmp_path / "t")
        for step in range(2):
            recorder.step(weights(step))
        assert not check_trial(tmp_path / "t").job_ended
        with pytest.raises(KeyboardInterrupt), recorder:
            raise KeyboardInterrupt
        report = check_trial(tmp_path / "t")
        assert (0, True) == (report.exit_code, report.job_ended)

    def test_closing(self, tmp_path: Path) -> None:
        recorder = TrialRecorder(tmp_path / "t")
        recorder.step(weights(0))
        recorder.close()
        before = files_of(tmp_path / "t")
        recorder.close()
        with recorder, pytest.raises(ValueError, match=r"^step\(\) of a recorder that is closed$"):
            recorder.step(weights(1))
        assert before == files_of(tmp_path / "t")

    def test_one_that_was_closed_is_opened_again(self, tmp_path: Path) -> None:
        """The count goes on, and while it does the trial has not ended."""
        recorder = TrialRecorder(tmp_path)
        for step in range(2):
            recorder.reopen()  # at first it is open
            recorder.step({"w": ARRAY + step})
            assert not check_trial(tmp_path).job_ended
            recorder.close()
        report = check_trial(tmp_path)
        assert ([1], True) == ([row.step for row in report], report.job_ended)


class TestFoldersThatHoldATrial:
    def assert_refused(self, folder: Path, **options: Any) -> None:
        """Assert that nobody records there who does not ask for it, and that nothing of it is touched."""
        before, actual = files_of(folder), sorted(folder.rglob("*"))
        with pytest.raises(FileExistsError) as caught:
            TrialRecorder(folder, **options)
        assert str(caught.value) == (
            f"the folder {str(folder)!r} holds a trial already\n\n"
            "Record into another folder, or pass resume=True to continue this one."
        )
        assert (before, actual) == (files_of(folder), sorted(folder.rglob("*")))

    @pytest.mark.parametrize("name", ["pytorch_ddp_one", "xgboost"])
    def test_recordings_of_smdebugs_hooks(self, name: str) -> None:
        self.assert_refused(RECORDED[name])

    @pytest.mark.parametrize(
        ("recorded", "num_workers", "options"),
        [
            (["worker_0"], 1, {}),
            (["worker_0"], 1, {"worker": "worker_1"}),
            (["worker_1"], 2, {"num_workers": 3}),
            (["worker_0", "worker_1"], 2, {"worker": "worker_2", "num_workers": 2}),
        ],
        ids=["its own", "of one worker", "of another number of workers", "of all its workers"],
    )
    def test_recordings_without_room_for_a_worker(
        self, tmp_path: Path, recorded: list[str], num_workers: int, options: Any
    ) -> None:
        for worker in recorded:
            record(tmp_path / "t", 2, worker=worker, num_workers=num_workers)
        self.assert_refused(tmp_path / "t", **options)

    @pytest.mark.parametrize(
        "name",
        [
            END_OF_JOB,
            COLLECTIONS,
            "collections/000000000/worker_1_collections.json",
            "index/000000000/000000000000_worker_0.json",
            "index/000000000/000000000000_worker_1.json",
            "events/000000000007/000000000007_worker_1.tfevents",
            "events/000000000000/000000000000_worker_0.tfevents.tmp",
        ],
    )
    def test_one_file_of_a_trial(self, tmp_path: Path, name: str) -> None:
        """Any is enough, also one that cannot be read, and of this worker also one that is not whole."""
        file = tmp_path / "t" / name
        file.parent.mkdir(parents=True)
        file.write_text("")
        self.assert_refused(tmp_path / "t")

    def test_other_files_are_not_a_trial(self, tmp_path: Path) -> None:
        """Checkpoints, logs, and what another worker is writing as its first step, stay."""
        events = "events/000000000000/000000000000_worker_1.tfevents.tmp"
        for name in ("checkpoint.pt", "logs/events.out.tfevents.1", "index.html", "tensors/a.npy", events):
            (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
            (tmp_path / name).write_text("x")
        before = files_of(tmp_path)
        saved = record(tmp_path, 2, num_workers=2)
        assert before.items() <= files_of(tmp_path).items()
        report = check_trial(tmp_path, collection_names=USUAL)
        assert_same_comparisons(expected_comparisons(saved), found_comparisons(report))


class TestResume:
    def test_nothing_to_resume(self, tmp_path: Path) -> None:
        for folder in (tmp_path / "new", tmp_path):
            assert_recorded(record(folder, 3, resume=True), folder)

    @pytest.mark.parametrize("name", ["pytorch_healthy", "pytorch_killed", "tf_keras"])
    def test_recordings_of_smdebugs_hooks(self, tmp_path: Path, name: str) -> None:
        """They go on with names of their own and a new one, also one whose job was killed."""
        path = Path(shutil.copytree(RECORDED[name], tmp_path / "t"))
        saved = as_smdebug_reads(path)
        last = {entry.tensor: entry for entry in saved}
        number = max(entry.step for entry in saved if entry.mode == "TRAIN") + 1
        global_step = max(entry.global_step for entry in saved) + 1
        with TrialRecorder(path, resume=True) as recorder:
            assert not (path / END_OF_JOB).exists()
            for call in range(2):
                tensors = {name: entry.array * np.float32(1.01 + call / 100) for name, entry in last.items()}
                recorder.step({"new": ARRAY, **tensors})
                saved += as_entries({"new": ARRAY, **tensors}, "TRAIN", number + call, global_step + call)
        assert_recorded(saved, path, "weights")
        assert check_trial(path).job_ended

    def test_collections_keep_what_they_had(self, tmp_path: Path) -> None:
        record(tmp_path, 2, lambda step: {"old": ARRAY})
        record(tmp_path, 2, lambda step: {"state": ARRAY}, collection="optimizer", resume=True)
        biases = {"name": "biases", "tensor_names": None, "include_regex": ["bias$"]}
        change_json(tmp_path / COLLECTIONS, lambda content: content["collections"].update(biases=biases))
        record(tmp_path, 2, lambda step: {f"new{step}": ARRAY}, resume=True)
        actual = json.loads((tmp_path / COLLECTIONS).read_text())["collections"]
        members = {"weights": ["new0", "new1", "old"], "biases": [], "vectors": [], "optimizer": ["state"]}
        assert members == {name: collection["tensor_names"] for name, collection in actual.items()}
        assert ["bias$"] == actual["biases"]["include_regex"]

    def test_workers_resume_their_own(self, tmp_path: Path) -> None:
        """Each after its own last step, and worker_0 alone removes and writes the end-of-job file."""
        end = tmp_path / "t" / END_OF_JOB
        for rank, steps in ((1, 4), (0, 6)):
            assert not end.exists()
            record(tmp_path / "t", steps, worker=f"worker_{rank}", num_workers=2)
        before = {name: file for name, file in files_of(tmp_path / "t").items() if "worker_0" in name}
        second = TrialRecorder(tmp_path / "t", worker="worker_1", num_workers=2, resume=True)
        assert end.exists()
        first = TrialRecorder(tmp_path / "t", worker="worker_0", num_workers=2, resume=True)
        assert not end.exists()
        for step, recorder in enumerate((first, second, second, second)):
            recorder.step(weights(9 + step))
        second.close()
        assert not end.exists()
        first.close()
        for worker in ("worker_0", "worker_1"):
            assert [("TRAIN", n, n) for n in range(7)] == steps_in(tmp_path / "t", worker)
        assert before.items() <= files_of(tmp_path / "t").items()

    @pytest.mark.parametrize("steps", [0, 3])
    def test_files_that_a_killed_process_left(self, tmp_path: Path, steps: int) -> None:
        """Those of this worker are removed, those of others are not, also where their names begin alike."""
        record(tmp_path, steps, worker="worker_1", num_workers=3)
        event, index = f"events/{steps:012d}/{steps:012d}", f"index/000000000/{steps:012d}"
        left = [
            f"{event}_worker_1.tfevents.tmp",
            f"{event}_worker_1.tfevents",  # whole, and killed before the index file was
            f"{index}_worker_1.json.tmp",
            "collections/000000000/worker_1_collections.json.tmp",
        ]
        others = [f"{event}_worker_0.tfevents.tmp", f"{event}_worker_11.tfevents", f"{index}_1.json", "index/readme"]
        for name in left + others:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("half")
        with TrialRecorder(tmp_path, worker="worker_1", num_workers=3, resume=True) as recorder:
            actual = files_of(tmp_path)
            assert others == [name for name in left + others if name in actual]
            recorder.step(weights(steps))
        actual = {name for name in files_of(tmp_path) if "worker_1_" in name or "worker_1." in name}
        assert {f"{event}_worker_1.tfevents", f"{index}_worker_1.json"} <= actual
        assert 1 + 2 * (steps + 1) == len(actual)

    @pytest.mark.parametrize(("broken", "number"), [(1, 4), (3, 3)])
    def test_an_index_file_that_is_broken(self, tmp_path: Path, broken: int, number: int) -> None:
        """It stays, and is reported as unreadable; the recorder goes on after the last step that it can read."""
        record(tmp_path / "t", 4)
        index_file(tmp_path / "t", broken).write_text("{")
        before = {name: file for name, file in files_of(tmp_path / "t").items() if name != END_OF_JOB}
        record(tmp_path / "t", 1, resume=True)
        assert before.items() <= files_of(tmp_path / "t").items()
        report = check_trial(tmp_path / "t")
        assert {broken} == {entry.global_step for entry in report.unreadable if entry.file.endswith(".json")}
        assert number == json.loads(index_file(tmp_path / "t", 4).read_text())["meta"]["mode_step"]


def recording_while(path: Path, meanwhile: Callable[[], Any]) -> list[Saved]:
    """Record a step that calls a function between its two tensors, and return what should have been saved."""

    def tensors() -> Iterator[tuple[str, Any]]:
        yield "w", ARRAY
        meanwhile()
        yield "v", ARRAY

    with TrialRecorder(path) as recorder:
        recorder.step(tensors())
    return as_entries({"w": ARRAY, "v": ARRAY}, "TRAIN", 0, 0)


class TestProcesses:
    @pytest.mark.parametrize("resume", [False, True])
    def test_two_that_forgot_their_workers(self, tmp_path: Path, resume: bool) -> None:
        """The second fails however often it tries; the files of the first stay, and it alone ends the job."""
        saved = record(tmp_path / "t", 2) if resume else []
        first, second = (TrialRecorder(tmp_path / "t", resume=resume) for _ in range(2))
        for step in range(len(saved) // 3, 4):
            first.step(weights(step))
            saved += as_entries(weights(step), "TRAIN", step, step)
            before = files_of(tmp_path / "t")
            with pytest.raises(FileExistsError, match=OTHER_PROCESS):
                second.step(weights(step, seed=1))
            assert before == files_of(tmp_path / "t")
        second.close()
        assert not (tmp_path / "t" / END_OF_JOB).exists()
        first.close()
        assert_recorded(saved, tmp_path / "t")

    @pytest.mark.parametrize("is_new", [False, True])
    def test_one_is_refused_while_the_other_is_writing(self, tmp_path: Path, is_new: bool) -> None:
        """Whether it began before or begins now; the first one's step is whole."""
        second = TrialRecorder(tmp_path / "t")

        def interfere() -> None:
            with pytest.raises(FileExistsError):
                (TrialRecorder(tmp_path / "t") if is_new else second).step({"w": ARRAY + 1})

        assert_same_saved(recording_while(tmp_path / "t", interfere), as_smdebug_reads(tmp_path / "t"))

    def test_one_resumes_while_the_other_is_writing(self, tmp_path: Path) -> None:
        """It takes the other one for dead, and removes what that one is writing; the other one fails."""

        def interfere() -> None:
            with TrialRecorder(tmp_path / "t", resume=True) as recorder:
                recorder.step({"w": ARRAY + 1})

        with pytest.raises(OSError, match=r"another process|No such file"):
            recording_while(tmp_path / "t", interfere)
        assert_same_saved(as_entries({"w": ARRAY + 1}, "TRAIN", 0, 0), as_smdebug_reads(tmp_path / "t"))

    @pytest.mark.slow
    def test_several_workers_at_once(self, tmp_path: Path) -> None:
        with ProcessPoolExecutor(4, get_context("spawn")) as pool:
            saved = [entry for part in pool.map(record_worker, [tmp_path / "t"] * 4, range(4)) for entry in part]
        assert_recorded(saved, tmp_path / "t")
        assert check_trial(tmp_path / "t").complete
