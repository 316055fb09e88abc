"""TrialRecorder: what it records is what smdebug, the rule and ``check`` read, and what a plain count of steps says."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any, Callable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_st

from tests.conftest import (
    RECORDED,
    REPOSITORY,
    Saved,
    TrialWriter,
    as_smdebug_reads,
    assert_same_comparisons,
    expected_comparisons,
    found_comparisons,
    index_file,
    needs_writing,
    write_whole_trial,
)
from tests.recorders import Counts, as_entries, as_package_reads, assert_same_saved, expected_rows, files_of, weights
from weight_update_ratio import TrialError, TrialRecorder, check_trial, follow_trial

READ_BY_SMDEBUG = ["bool", "uint8", "int32", "int64", "float16", "float32", "float64", "complex128"]
WIDENED = ["int8", "int16", "uint16", "uint32", "complex64", ">f4", ">i2"]
MODES = ("TRAIN", "EVAL", "PREDICT", "GLOBAL")
END_OF_JOB = "training_job_end.ts"
ARRAY = np.arange(6, dtype=np.float32).reshape(2, 3)


def record(
    path: Path,
    steps: int,
    tensors: Callable[[int], Any] = weights,
    modes: str | tuple[str, ...] = "TRAIN",
    worker: str = "worker_0",
    **options: Any,
) -> list[Saved]:
    """Record a run whose steps have these modes in turn, and return what should have been saved."""
    modes = (modes,) if isinstance(modes, str) else modes
    counts = Counts(options.get("save_interval", 1), options.get("pairs", False))
    saved: list[Saved] = []
    with TrialRecorder(path, worker=worker, **options) as recorder:
        for call in range(steps):
            mode = modes[call % len(modes)]
            number, global_step, is_saved = counts.count(mode)
            content = tensors(call)
            assert is_saved is recorder.step(content, mode=mode)
            saved += as_entries(content, mode, number, global_step, worker) if is_saved else []
    return saved


def run_python(program: str, *arguments: Any) -> str:
    """Run a program in an interpreter of its own, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *map(str, arguments)],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        timeout=120,
    )
    assert (0, "") == (done.returncode, done.stderr)
    return done.stdout


class TestReadBySmdebug:
    @pytest.mark.parametrize("dtype", READ_BY_SMDEBUG + WIDENED, ids=lambda dtype: dtype.replace(">", "big-endian "))
    def test_values_of_every_type(self, tmp_path: Path, dtype: str) -> None:
        """Each value, mode, step and worker is the same, read by smdebug and without it."""

        def tensors(step: int) -> dict[str, Any]:
            content = np.random.default_rng(step).bytes(24 * np.dtype(dtype).itemsize)
            kind = np.dtype(dtype).kind
            array = np.frombuffer(content, "u1").astype(dtype) if kind == "b" else np.frombuffer(content, dtype)
            array = np.nan_to_num(array) if kind in "fc" else array
            return {"matrix": array[:12].reshape(3, 4), "vector": array[:5], "number": array[0], "block": array[:1]}

        saved = record(tmp_path / "trial", 6, tensors, modes=("TRAIN", "EVAL", "TRAIN"))
        assert_same_saved(saved, as_smdebug_reads(tmp_path / "trial"))
        assert_same_saved(saved, as_package_reads(tmp_path / "trial"))

    @pytest.mark.parametrize("pairs", [False, True])
    @pytest.mark.parametrize("interval", [1, 2, 3, 7])
    def test_every_interval(self, tmp_path: Path, interval: int, pairs: bool) -> None:
        """Each mode saves its own multiples, and those after them."""
        modes = ("EVAL", "TRAIN", "TRAIN", "PREDICT", "TRAIN", "GLOBAL")
        saved = record(tmp_path / "trial", 40, modes=modes, save_interval=interval, pairs=pairs)
        assert_same_saved(saved, as_smdebug_reads(tmp_path / "trial"))
        assert_same_saved(saved, as_package_reads(tmp_path / "trial"))
        assert_same_comparisons(expected_rows(saved), found_comparisons(check_trial(tmp_path / "trial")))

    def test_steps_by_mode_and_the_end(self, tmp_path: Path) -> None:
        """The Trial of smdebug lists them, has all collections, and knows that the job has ended."""
        from smdebug.core.modes import ModeKeys
        from smdebug.trials import create_trial

        record(tmp_path / "trial", 1500, modes=("TRAIN", "EVAL"), save_interval=250, pairs=True)
        trial = create_trial(str(tmp_path / "trial"))
        trial.maybe_refresh()
        numbers = [0, 1, 250, 251, 500, 501]
        assert [numbers] * 2 == [trial.steps(mode=ModeKeys[mode]) for mode in ("TRAIN", "EVAL")]
        assert sorted([2 * n for n in numbers] + [2 * n + 1 for n in numbers]) == trial.steps()
        assert (["worker_0"], True) == (list(trial.workers()), trial.loaded_all_steps)
        assert sorted(weights(0)) == sorted(trial.tensor_names(collection="weights"))
        assert ["index/000000000", "index/000000001"] == sorted(
            str(folder.relative_to(tmp_path / "trial")) for folder in (tmp_path / "trial" / "index").iterdir()
        )

    def test_several_workers(self, tmp_path: Path) -> None:
        """Each worker's values are its own."""
        saved: list[Saved] = []
        for rank in range(3):
            saved += record(tmp_path / "t", 3, lambda n, r=rank: weights(n, r), worker=f"worker_{rank}", num_workers=3)
        assert_same_saved(saved, as_smdebug_reads(tmp_path / "t"))
        assert_same_saved(saved, as_package_reads(tmp_path / "t"))
        assert check_trial(tmp_path / "t").complete

    @pytest.mark.parametrize("worker", ["worker_0", "0", "rank-3.a", "host1_worker_12", "A.b-c_d"])
    def test_names_of_workers(self, tmp_path: Path, worker: str) -> None:
        """Any that is accepted is read as it is."""
        saved = record(tmp_path / "t", 2, worker=worker)
        (tmp_path / "t" / END_OF_JOB).touch()  # worker_0 writes it, and smdebug waits for it
        assert_same_saved(saved, as_smdebug_reads(tmp_path / "t"))
        assert_same_saved(saved, as_package_reads(tmp_path / "t"))

    def test_names_of_tensors(self, tmp_path: Path) -> None:
        """Those of Keras, JAX and TensorFlow, of other scripts, and with quotes."""
        names = [
            "dense/kernel:0",
            "params['Dense_0']['kernel']",
            "Gewicht ß 重み 🎲",
            'a"b\\c',
            "a,b",
            "../w",
            " ",
            "w\n",
        ]
        saved = record(tmp_path / "t", 2, lambda step: {name: ARRAY + n + step for n, name in enumerate(names)})
        assert_same_saved(saved, as_smdebug_reads(tmp_path / "t"))
        assert_same_saved(saved, as_package_reads(tmp_path / "t"))

    def test_another_collection(self, tmp_path: Path) -> None:
        """It is judged where it is asked for."""
        saved = record(tmp_path / "t", 3, collection="optimizer state")
        assert_same_saved(saved, as_smdebug_reads(tmp_path / "t", "optimizer state"))
        assert 2 == check_trial(tmp_path / "t").exit_code
        report = check_trial(tmp_path / "t", collection_names="optimizer state")
        assert_same_comparisons(expected_comparisons(saved), found_comparisons(report))

    def test_uint64_is_read_by_this_package_alone(self, tmp_path: Path) -> None:
        """No wider type holds it, and smdebug has none for it."""
        saved = record(tmp_path / "t", 2, lambda step: {"w": np.array([2**64 - 1 - step, step], np.uint64)})
        assert_same_saved(saved, as_package_reads(tmp_path / "t"))


class TestJudged:
    """Runs that go wrong in their ways: the rule and ``check`` find what they find in smdebug's own recordings."""

    @staticmethod
    def sick(step: int) -> dict[str, Any]:
        """Return weights that rest, explode, and are lost, each in its layer."""
        frozen = np.float32([[1, 2], [3, 4]])
        exploding = np.float64([1.0, -2.0]) * (1000.0 ** max(0, step - 8))
        lost = np.float16([0.5, 1 + step / 64]) if step < 12 else np.float16([np.nan, 1])
        return {**weights(step), "frozen": frozen, "exploding": exploding, "lost": lost, "counter": np.int64(step + 9)}

    @pytest.mark.parametrize(("options", "modes"), [({}, "TRAIN"), ({"save_interval": 2}, ("EVAL", "TRAIN", "TRAIN"))])
    def test_the_rule_fires_at_the_same_steps(self, tmp_path: Path, options: Any, modes: Any) -> None:
        """Resumed after each firing, it has fired wherever a plain count of violations says so."""
        from smdebug.exceptions import NoMoreData, RuleEvaluationConditionMet
        from smdebug.rules import invoke_rule
        from smdebug.trials import create_trial

        from weight_update_ratio import WeightUpdateRatio

        saved = record(tmp_path / "t", 20, self.sick, modes, **options)
        rule = WeightUpdateRatio(create_trial(str(tmp_path / "t")))
        fired: list[int] = []
        with contextlib.suppress(NoMoreData):
            while True:
                try:
                    invoke_rule(rule, start_step=fired[-1] + 1 if fired else 0, raise_eval_cond=True)
                except RuleEvaluationConditionMet as met:
                    fired.append(met.step)
        expected = expected_comparisons(saved)
        global_steps = {entry.step: entry.global_step for entry in saved if entry.mode == "TRAIN"}
        violations = {step for (_, _, step), (_, _, ratio) in expected.items() if not 1e-8 <= ratio <= 10}
        assert sorted(global_steps[step] for step in violations) == fired
        assert_same_comparisons(expected, found_comparisons(rule.comparisons()))

    @needs_writing
    @pytest.mark.parametrize("num_steps", [None, 1, 4])
    @pytest.mark.parametrize("modes", ["TRAIN", "EVAL", ("EVAL", "TRAIN", "TRAIN")])
    def test_the_report_is_that_of_smdebugs_recording(self, tmp_path: Path, modes: Any, num_steps: int | None) -> None:
        """Every row and finding, and the exit code, are equal."""
        tensors = {name: (lambda step, name=name: self.sick(step)[name]) for name in self.sick(0)}
        write_whole_trial(tmp_path / "theirs", tensors, steps=20, modes=modes)
        record(tmp_path / "ours", 20, self.sick, modes)
        ours, theirs = (check_trial(tmp_path / name, num_steps=num_steps) for name in ("ours", "theirs"))
        assert repr(list(theirs.comparisons().itertuples())) == repr(list(ours.comparisons().itertuples()))
        expected, actual = (json.loads(report.to_json()) for report in (theirs, ours))
        assert {**expected, "trial": None} == {**actual, "trial": None}
        assert theirs.exit_code == ours.exit_code == 1

    @needs_writing
    def test_the_files_are_those_of_smdebugs_recording(self, tmp_path: Path) -> None:
        """They have the same names, and the index says the same of each step but for the places of records."""
        tensors = {name: (lambda step, name=name: weights(step)[name]) for name in weights(0)}
        write_whole_trial(tmp_path / "theirs", tensors, steps=4, modes=("TRAIN", "EVAL"))
        record(tmp_path / "ours", 4, modes=("TRAIN", "EVAL"))
        expected, actual = files_of(tmp_path / "theirs"), files_of(tmp_path / "ours")
        assert sorted(expected) == sorted(actual)
        for name in (name for name in expected if name.startswith("index")):
            before, after = json.loads(expected[name].content), json.loads(actual[name].content)
            assert list(before) == list(after)
            assert before["meta"] == after["meta"]
            assert [each["tensorname"] for each in before["tensor_payload"]] == [
                each["tensorname"] for each in after["tensor_payload"]
            ]
            assert before["tensor_payload"][0].keys() == after["tensor_payload"][0].keys()

    def test_followed_while_it_records(self, tmp_path: Path) -> None:
        """A report of a live job is that of the job when it has ended."""

        def train() -> None:
            with TrialRecorder(tmp_path / "t", save_interval=3, pairs=True) as recorder:
                for step in range(30):
                    recorder.step(self.sick(step), "EVAL" if step % 10 == 9 else "TRAIN")
                    time.sleep(0.005)

        (tmp_path / "t").mkdir()
        with ThreadPoolExecutor(1) as pool:
            training = pool.submit(train)
            live = follow_trial(tmp_path / "t", poll=0.01, timeout=30)
            training.result()
        ended = check_trial(tmp_path / "t")
        assert found_comparisons(ended)
        assert repr(list(ended.comparisons().itertuples())) == repr(list(live.comparisons().itertuples()))
        assert [] == list(live.unreadable)

    def test_no_elements(self, tmp_path: Path) -> None:
        """They are skipped, and no comparison is lost for them."""
        saved = record(tmp_path / "t", 3, lambda step: {**weights(step), "empty": np.zeros((0, 3)), "none": np.ones(0)})
        assert_same_saved(saved, as_package_reads(tmp_path / "t"))
        report = check_trial(tmp_path / "t")
        assert (0, {"empty", "none"}) == (report.exit_code, {entry.tensor for entry in report.skipped})


class TestPairs:
    def test_ratios_of_one_update(self, tmp_path: Path) -> None:
        """Pairs at every 50 steps have the ratios that saving every step finds there, to the last bit."""
        record(tmp_path / "every", 210)
        record(tmp_path / "pairs", 210, save_interval=50, pairs=True)
        every = found_comparisons(check_trial(tmp_path / "every", num_steps=1))
        pairs = found_comparisons(check_trial(tmp_path / "pairs", num_steps=1))
        assert {key: row for key, row in every.items() if key[2] % 50 == 1} == pairs
        assert 5 * 3 == len(pairs)
        assert 10 == len(list((tmp_path / "pairs" / "events").iterdir()))

    @pytest.mark.parametrize("interval", [1, 2])
    def test_every_step_is_in_a_pair(self, tmp_path: Path, interval: int) -> None:
        """With these intervals all steps are saved."""
        assert 5 * 3 == len(record(tmp_path / "t", 5, save_interval=interval, pairs=True))


class TestProperties:
    @settings(deadline=None, max_examples=40)
    @given(
        calls=st.lists(
            st.tuples(
                st.sampled_from([*MODES, "TRAIN", "TRAIN"]),
                st.one_of(st.none(), st.none(), st.integers(0, 12), st.just(2**40)),
                st.sets(st.sampled_from("abc"), min_size=1),
                st.integers(0, 9).map(lambda n: n == 0),
            ),
            max_size=25,
        ),
        interval=st.integers(1, 5),
        pairs=st.booleans(),
    )
    def test_any_calls(self, tmp_path_factory: Any, calls: Any, interval: int, pairs: bool) -> None:
        """What is saved, and what check compares, is what a plain count says; also where recorders take turns."""
        path = tmp_path_factory.mktemp("calls") / "trial"
        counts = Counts(interval, pairs)
        recorder = TrialRecorder(path, interval, pairs)
        saved: list[Saved] = []
        for position, (mode, step, names, resumes) in enumerate(calls):
            if resumes:
                recorder.close()
                recorder = TrialRecorder(path, interval, pairs, resume=True)
                counts.resume(saved)
            step = None if mode == "GLOBAL" else step
            tensors = {name: np.float64([position + 1, ord(name)]) for name in sorted(names)}
            number, global_step, is_saved = counts.count(mode, step)
            assert is_saved == recorder.step(tensors, mode=mode, step=step)
            saved += as_entries(tensors, mode, number, global_step) if is_saved else []
        recorder.close()
        assert_same_saved(saved, as_package_reads(path))
        if saved:
            report = check_trial(path)
            assert [] == list(report.unreadable)
            assert_same_comparisons(expected_rows(saved), found_comparisons(report))

    @settings(deadline=None, max_examples=40)
    @given(st.data())
    def test_any_names_and_arrays(self, tmp_path_factory: Any, data: st.DataObject) -> None:
        """Names of any Unicode, shapes and types come back bit for bit."""
        dtypes = st.one_of(
            np_st.boolean_dtypes(),
            np_st.integer_dtypes(),
            np_st.unsigned_integer_dtypes(),
            np_st.floating_dtypes(sizes=(16, 32, 64)),
            np_st.complex_number_dtypes(sizes=(64, 128)),
        )
        arrays = np_st.arrays(dtypes, np_st.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4))
        tensors = data.draw(st.dictionaries(st.text(max_size=9), arrays, min_size=1, max_size=4))
        path = tmp_path_factory.mktemp("arrays") / "trial"
        with TrialRecorder(path) as recorder:
            assert recorder.step(tensors)
        assert_same_saved(as_entries(tensors, "TRAIN", 0, 0), as_package_reads(path))


class TestWhatIsPassed:
    @pytest.mark.parametrize(
        "passed",
        [
            {"w": ARRAY},
            OrderedDict(w=ARRAY),
            MappingProxyType({"w": ARRAY}),
            {"w": ARRAY}.items(),
            [("w", ARRAY)],
            (("w", ARRAY),),
            [["w", ARRAY]],
            {"w": ARRAY}.items,
            lambda: {"w": ARRAY},
            lambda: iter([("w", ARRAY)]),
            lambda: (pair for pair in [("w", ARRAY)]),
            {"w": ARRAY.tolist()},
        ],
    )
    def test_forms(self, tmp_path: Path, passed: Any) -> None:
        """A mapping, pairs, or a function that returns either."""
        with TrialRecorder(tmp_path / "t") as recorder:
            assert recorder.step(passed) is True
        found = as_package_reads(tmp_path / "t")
        assert [("w", ARRAY.tolist())] == [(saved.tensor, saved.array.tolist()) for saved in found]

    def test_generators(self, tmp_path: Path) -> None:
        """One, or one within another, is asked for one tensor at a time, so that two need never be held."""
        alive = 0

        class Held:
            def __init__(self) -> None:
                nonlocal alive
                alive += 1
                assert alive <= 2  # this one, and the last one's name in the caller

            def __del__(self) -> None:
                nonlocal alive
                alive -= 1

            def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
                return np.ones(3)

        def layer(name: str) -> Iterator[tuple[str, Any]]:
            for part in ("weight", "bias"):
                yield f"{name}.{part}", Held()

        def net() -> Iterator[tuple[str, Any]]:
            for name in ("a", "b", "c"):
                yield from layer(name)

        with TrialRecorder(tmp_path / "t") as recorder:
            recorder.step(net())
        assert 6 == len(as_package_reads(tmp_path / "t"))

    def test_numbers(self, tmp_path: Path) -> None:
        """Scalars of Python and NumPy are tensors without dimensions."""
        tensors = {"a": 1.5, "b": np.float32(2.5), "c": 3, "d": True, "e": [1, 2], "f": 1j}
        with TrialRecorder(tmp_path / "t") as recorder:
            recorder.step(tensors)
        found = {saved.tensor: saved.array for saved in as_package_reads(tmp_path / "t")}
        assert tensors == {name: array.tolist() for name, array in found.items()}

    def test_functions_are_called_only_where_the_step_is_saved(self, tmp_path: Path) -> None:
        """Unsaved steps cost nothing, and what they pass is not looked into either."""
        calls: list[int] = []

        def passed(step: int) -> Callable[[], Any]:
            return lambda: calls.append(step) or {"w": ARRAY}

        class Untouched:
            def __iter__(self) -> Any:
                raise AssertionError

        with TrialRecorder(tmp_path / "t", save_interval=10, pairs=True) as recorder:
            returned = [recorder.step(passed(step)) for step in range(25)]
            assert recorder.step(Untouched()) is False  # type: ignore[arg-type]
        assert [0, 1, 10, 11, 20, 21] == calls == [step for step, saved in enumerate(returned) if saved is True]
        assert {True, False} == set(returned)

    def test_arrays_that_change_afterwards(self, tmp_path: Path) -> None:
        """What was saved is what they held when step() was called."""
        array = np.zeros(4)
        with TrialRecorder(tmp_path / "t") as recorder:
            for _ in range(3):
                recorder.step({"w": array})
                array += 1
        assert [0, 1, 2] == [saved.array[0] for saved in as_package_reads(tmp_path / "t")]

    def test_tensors_that_come_and_go(self, tmp_path: Path) -> None:
        """Each step saves those that it was given, and the collection has all of them."""
        with TrialRecorder(tmp_path / "t") as recorder:
            for names in ("a", "ab", "c", "abc"):
                recorder.step(dict.fromkeys(names, ARRAY))
        assert_same_saved(as_package_reads(tmp_path / "t"), as_smdebug_reads(tmp_path / "t"))
        assert ["a", "ab", "c", "abc"] == [
            "".join(saved.tensor for saved in as_package_reads(tmp_path / "t") if saved.step == step)
            for step in range(4)
        ]

    @pytest.mark.parametrize("as_mapping", [False, True])
    def test_modules_that_can_be_called_and_have_items(self, tmp_path: Path, as_mapping: bool) -> None:
        """A mapping that can be called as well is a mapping."""

        class Layers(dict):  # type: ignore[type-arg]
            def __call__(self) -> Any:
                raise AssertionError

        with TrialRecorder(tmp_path / "t") as recorder:
            assert recorder.step(Layers(w=ARRAY))

    @pytest.mark.parametrize("framework", ["torch", "jax", "keras"])
    def test_frameworks(self, tmp_path: Path, framework: str) -> None:
        """Their tensors are passed as they are."""
        module = pytest.importorskip(framework)
        if framework == "torch":
            net = module.nn.Sequential(module.nn.Linear(3, 2), module.nn.Linear(2, 1).to(module.bfloat16))
            passed: Any = net.named_parameters
            expected = {name: tensor.float().numpy() for name, tensor in net.state_dict().items()}
        elif framework == "jax":
            passed = {"w": module.numpy.ones((2, 3)), "b": module.numpy.arange(3).astype(module.numpy.bfloat16)}
            expected = {"w": np.ones((2, 3), np.float32), "b": np.float32([0, 1, 2])}
        else:
            net = module.Sequential([module.layers.Input((3,)), module.layers.Dense(2)])
            passed = [(variable.path, variable) for variable in net.weights]
            expected = {variable.path: module.ops.convert_to_numpy(variable) for variable in net.weights}
        with TrialRecorder(tmp_path / "t") as recorder:
            recorder.step(passed)
        assert_same_saved(as_entries(expected, "TRAIN", 0, 0), as_package_reads(tmp_path / "t"))


class TestCounting:
    def test_unsaved_steps_count(self, tmp_path: Path) -> None:
        """The global step is that of every call."""
        with TrialRecorder(tmp_path / "t", save_interval=3) as recorder:
            for mode in ("TRAIN",) * 4 + ("EVAL",) * 2 + ("TRAIN",) * 3:
                recorder.step({"w": ARRAY}, mode)
        assert [("TRAIN", 0, 0), ("TRAIN", 3, 3), ("EVAL", 0, 4), ("TRAIN", 6, 8)] == [
            saved[2:5] for saved in as_package_reads(tmp_path / "t")
        ]

    def test_a_number_that_is_set(self, tmp_path: Path) -> None:
        """Its mode counts on from there; the other modes and the global step do not change."""
        with TrialRecorder(tmp_path / "t", save_interval=100) as recorder:
            assert recorder.step({"w": ARRAY})
            assert not recorder.step({"w": ARRAY}, step=99)
            assert recorder.step({"w": ARRAY})
            assert recorder.step({"w": ARRAY}, "EVAL")
            assert recorder.step({"w": ARRAY}, step=np.int64(700))
            assert not recorder.step({"w": ARRAY})
        assert [("TRAIN", 0, 0), ("TRAIN", 100, 2), ("EVAL", 0, 3), ("TRAIN", 700, 4)] == [
            saved[2:5] for saved in as_package_reads(tmp_path / "t")
        ]

    def test_numbers_that_are_saved_again(self, tmp_path: Path) -> None:
        """The report says so, and the later ones count."""
        with TrialRecorder(tmp_path / "t") as recorder:
            for call, step in enumerate((None, None, None, 1, None, None)):
                recorder.step(weights(call), step=step)
        report = check_trial(tmp_path / "t")
        assert {(1, 2, 2)} == {(group.first_step, group.last_step, group.count) for group in report.skipped}
        assert all("saved again later" in group.reason for group in report.skipped)
        assert (0, [1, 2, 3]) == (report.exit_code, sorted({row.step for row in report.comparisons().itertuples()}))

    def test_steps_of_all_modes(self, tmp_path: Path) -> None:
        """In mode GLOBAL a step's number is its global step."""
        with TrialRecorder(tmp_path / "t", save_interval=2) as recorder:
            returned = [recorder.step({"w": ARRAY}, mode) for mode in ("GLOBAL", "TRAIN", "GLOBAL", "GLOBAL", "GLOBAL")]
        assert [True, True, True, False, True] == returned
        assert [("GLOBAL", 0, 0), ("TRAIN", 0, 1), ("GLOBAL", 2, 2), ("GLOBAL", 4, 4)] == [
            saved[2:5] for saved in as_package_reads(tmp_path / "t")
        ]

    def test_a_step_that_failed_is_counted(self, tmp_path: Path) -> None:
        """It is not recorded, and the next one is."""
        with TrialRecorder(tmp_path / "t") as recorder:
            recorder.step(weights(0))
            with pytest.raises(ZeroDivisionError):
                recorder.step(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
            recorder.step(weights(2))
        report = check_trial(tmp_path / "t")
        assert (0, []) == (report.exit_code, list(report.unreadable))
        assert {(2, 0)} == {(row.step, row.reference_step) for row in report.comparisons().itertuples()}


class TestArguments:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            *(("save_interval", value) for value in (0, -1, 1.5, "2", None, True, 2**70, np.float64(2))),
            *(("num_workers", value) for value in (0, -1, 1.5, "2", None, True)),
            *(("worker", value) for value in ("", "a/b", "a__b", "_x", "x_", 3, None, "a b", "..", "w\n", "wörker")),
            *(("collection", value) for value in ("", "  ", "a,b", 3, None)),
            *(("path", value) for value in ("", "  ", "s3://bucket/trial", "file:///x", 3, None, b"x", "a\0b")),
        ],
    )
    def test_bad_ones(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: Any) -> None:
        """A ValueError names the argument and the value, and no folder is made."""
        monkeypatch.chdir(tmp_path)
        arguments: dict[str, Any] = {"path": tmp_path / "t", name: value}
        with pytest.raises(ValueError) as caught:
            TrialRecorder(**arguments)
        assert f"'{name}'" in str(caught.value)
        assert repr(value) in str(caught.value)
        assert [] == os.listdir(tmp_path)

    @pytest.mark.parametrize("value", [np.int64(3), np.uint8(3)])
    def test_whole_numbers_of_numpy(self, tmp_path: Path, value: Any) -> None:
        """They count as Python's do."""
        with TrialRecorder(tmp_path / "t", save_interval=value, num_workers=value) as recorder:
            assert [True, False, False, True] == [recorder.step({"w": ARRAY}) for _ in range(4)]
        content = json.loads((tmp_path / "t/collections/000000000/worker_0_collections.json").read_text())
        assert {"num_workers": 3} == content["_meta"]

    def test_paths(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A string, a Path, one with blanks around it, and one in the home folder; folders are made."""
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        monkeypatch.chdir(tmp_path)
        for path in ("a", Path("b"), " c ", tmp_path / "d" / "e" / "f", "~/g"):
            with TrialRecorder(path) as recorder:
                recorder.step({"w": ARRAY})
        for folder in ("a", "b", "c", "d/e/f", "home/g"):
            assert 1 == len(as_package_reads(tmp_path / folder))

    def test_a_job_that_changes_its_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A relative path means what it meant when the recorder was made."""
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path)
        with TrialRecorder("t") as recorder:
            recorder.step(weights(0))
            monkeypatch.chdir(tmp_path / "elsewhere")
            recorder.step(weights(1))
        assert [] == os.listdir(tmp_path / "elsewhere")
        assert (tmp_path / "t" / END_OF_JOB).exists()
        assert {0, 1} == {saved.step for saved in as_package_reads(tmp_path / "t")}

    def test_a_file_in_the_folders_place(self, tmp_path: Path) -> None:
        """An OSError names it, and it stays."""
        (tmp_path / "file").write_text("text")
        for path in (tmp_path / "file", tmp_path / "file" / "below"):
            with pytest.raises(OSError, match="file"):
                TrialRecorder(path)
        assert "text" == (tmp_path / "file").read_text()

    @pytest.mark.parametrize("mode", ["train", "", None, 1, [], "MODE", ("TRAIN",)])
    def test_bad_modes(self, tmp_path: Path, mode: Any) -> None:
        """The step is not counted."""
        with TrialRecorder(tmp_path / "t", save_interval=2) as recorder:
            with pytest.raises(ValueError, match="'mode' must be one of 'TRAIN'"):
                recorder.step({"w": ARRAY}, mode)
            assert recorder.step({"w": ARRAY})

    def test_a_step_after_the_largest(self, tmp_path: Path) -> None:
        """What no reader takes is not written."""
        with TrialRecorder(tmp_path / "t") as recorder:
            assert recorder.step({"w": ARRAY}, step=2**62 - 1)
            with pytest.raises(ValueError, match="'step' must be a whole number >= 0 and < 2"):
                recorder.step({"w": ARRAY})
        assert 1 == check_trial(tmp_path / "t").counts["steps"]

    @pytest.mark.parametrize("step", [-1, 1.0, "1", True, 2**70])
    def test_bad_steps(self, tmp_path: Path, step: Any) -> None:
        """The step is not counted."""
        with TrialRecorder(tmp_path / "t", save_interval=2) as recorder:
            with pytest.raises(ValueError, match="'step' must be a whole number >= 0"):
                recorder.step({"w": ARRAY}, step=step)
            with pytest.raises(ValueError, match=r"'step'.*'GLOBAL'"):
                recorder.step({"w": ARRAY}, "GLOBAL", step=0)
            assert recorder.step({"w": ARRAY})


class TestBadTensors:
    @pytest.mark.parametrize(
        ("passed", "error", "words"),
        [
            (ARRAY, TypeError, "pairs"),
            (np.float32(1), TypeError, "pairs"),
            (3.5, TypeError, "pairs"),
            (None, TypeError, "pairs"),
            ("text", TypeError, "pairs"),
            ([ARRAY, ARRAY], TypeError, "pairs"),
            ([("w", ARRAY, 1)], TypeError, "pairs"),
            ([(1, ARRAY)], TypeError, "pairs"),
            ({b"w": ARRAY}, TypeError, "pairs"),
            ({"w"}, TypeError, "pairs"),
            (lambda: ARRAY, TypeError, "pairs"),
            ({"layer": {"w": ARRAY}}, TypeError, "'layer'"),
            ({"w": "text"}, TypeError, "'w'"),
            ({"w": None}, TypeError, "'w'"),
            ({"w": np.array([object()])}, TypeError, "'w'.*object"),
            ({"w": np.array(["2024-01-01"], "M8[D]")}, TypeError, "'w'.*datetime64"),
            ({"w": np.ones(2, np.longdouble)}, TypeError, "'w'.*float128"),
            ({"w": [[1, 2], [3]]}, TypeError, "'w'"),
            ({}, ValueError, "no tensors"),
            ([], ValueError, "no tensors"),
            (iter(()), ValueError, "no tensors\n\n.*function"),
            (lambda: None, TypeError, "pairs"),
            ([("w", ARRAY), ("v", ARRAY), ("w", ARRAY)], ValueError, "'w'"),
            ({"w\ud800": ARRAY}, ValueError, "."),
        ],
    )
    def test_nothing_of_the_step_is_left(self, tmp_path: Path, passed: Any, error: type[Exception], words: str) -> None:
        """The error names what is wrong, and the folder is as it was; the recorder goes on."""
        if error is TypeError and "float128" in words and np.dtype(np.longdouble).itemsize == 8:
            pytest.skip("long doubles are doubles here")
        with TrialRecorder(tmp_path / "t") as recorder:
            recorder.step({"w": ARRAY})
            before = files_of(tmp_path / "t")
            with pytest.raises(error, match=f"(?s){words}"):
                recorder.step([("new", ARRAY), *passed] if isinstance(passed, list) and passed else passed)
            assert before == files_of(tmp_path / "t")
            recorder.step({"w": ARRAY})
        assert [0, 2] == [saved.step for saved in as_package_reads(tmp_path / "t")]
        assert [] == list(check_trial(tmp_path / "t").unreadable)

    def test_a_used_iterator(self, tmp_path: Path) -> None:
        """The remedy is to pass the function."""
        parameters = iter({"w": ARRAY}.items())
        with TrialRecorder(tmp_path / "t") as recorder:
            recorder.step(parameters)
            with pytest.raises(ValueError, match=r"no tensors\n\nPass a function.*nothing left"):
                recorder.step(parameters)

    def test_a_tensor_of_two_gibibytes(self, tmp_path: Path) -> None:
        """It is refused before a byte of it is read."""
        with (tmp_path / "file").open("wb") as file:
            file.truncate(2**31)
        large = np.memmap(tmp_path / "file", np.uint8, "r")
        with TrialRecorder(tmp_path / "t") as recorder:
            with pytest.raises(ValueError, match=r"'large'.*2,147,483,648 bytes.*2 GiB"):
                recorder.step({"w": ARRAY, "large": large})
            assert [] == list(files_of(tmp_path / "t"))

    @pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError, OSError])
    def test_what_an_iterator_raises_goes_through(self, tmp_path: Path, raised: type[BaseException]) -> None:
        """Ctrl-C, or whatever it is, after some tensors were written: nothing of the step is left."""

        def tensors() -> Iterator[tuple[str, Any]]:
            yield "w", ARRAY
            yield "new", np.ones(100_000)
            raise raised("here")

        with TrialRecorder(tmp_path / "t") as recorder:
            recorder.step({"w": ARRAY})
            before = files_of(tmp_path / "t")
            with pytest.raises(raised, match="here"):
                recorder.step(tensors())
            assert before == files_of(tmp_path / "t")

    def test_what_a_framework_raises_is_told_with_the_tensors_name(self, tmp_path: Path) -> None:
        """As for a buffer that JAX gave away."""

        class Deleted:
            def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
                raise RuntimeError("Array has been deleted")

        with TrialRecorder(tmp_path / "t") as recorder, pytest.raises(TypeError, match=r"'kernel'.*has been deleted"):
            recorder.step({"kernel": Deleted()})


class TestTheEnd:
    def test_the_block_writes_it(self, tmp_path: Path) -> None:
        """Not before, and the folder is judged before as well."""
        with TrialRecorder(tmp_path / "t") as recorder:
            recorder.step(weights(0))
            recorder.step(weights(1))
            assert not (tmp_path / "t" / END_OF_JOB).exists()
            assert 0 == check_trial(tmp_path / "t").exit_code
        assert b"" == (tmp_path / "t" / END_OF_JOB).read_bytes()
        assert 0 == check_trial(tmp_path / "t").exit_code

    @pytest.mark.parametrize("raised", [ValueError, KeyboardInterrupt])
    def test_an_exception_in_the_block(self, tmp_path: Path, raised: type[BaseException]) -> None:
        """It goes through, and the end-of-job file is there."""

        def train() -> None:
            with TrialRecorder(tmp_path / "t") as recorder:
                recorder.step(weights(0))
                raise raised("diverged")

        with pytest.raises(raised, match="diverged"):
            train()
        assert 3 == len(as_package_reads(tmp_path / "t"))
        assert (tmp_path / "t" / END_OF_JOB).exists()

    def test_closing(self, tmp_path: Path) -> None:
        """Twice is once; what was closed records no more."""
        recorder = TrialRecorder(tmp_path / "t")
        recorder.step(weights(0))
        recorder.close()
        before = files_of(tmp_path / "t")
        recorder.close()
        with recorder:
            pass
        with pytest.raises(ValueError, match="closed"):
            recorder.step(weights(1))
        assert before == files_of(tmp_path / "t")

    def test_is_worker_0s(self, tmp_path: Path) -> None:
        """The others neither write nor remove it."""
        with TrialRecorder(tmp_path / "t", worker="worker_1", num_workers=2) as recorder:
            recorder.step(weights(0))
        assert not (tmp_path / "t" / END_OF_JOB).exists()
        with TrialRecorder(tmp_path / "t", worker="worker_0", num_workers=2) as recorder:
            recorder.step(weights(0))
        for resume in (False, True):
            TrialRecorder(tmp_path / "t", worker="worker_1" if resume else "worker_2", num_workers=3, resume=True)
            assert (tmp_path / "t" / END_OF_JOB).exists()

    def test_nothing_recorded(self, tmp_path: Path) -> None:
        """A run without steps is not judged, and is not taken for another's folder."""
        with TrialRecorder(tmp_path / "t"):
            pass
        assert [END_OF_JOB] == list(files_of(tmp_path / "t"))
        with pytest.raises(TrialError, match="is not a trial"):
            check_trial(tmp_path / "t")


class TestFoldersThatHoldATrial:
    def assert_refused(self, folder: Path, **options: Any) -> None:
        before = files_of(folder)
        folders = sorted(path for path in folder.rglob("*") if path.is_dir())
        with pytest.raises(FileExistsError, match=r"(?s)t'? .*\n\n.*resume=True"):
            TrialRecorder(folder, **options)
        assert before == files_of(folder)
        assert folders == sorted(path for path in folder.rglob("*") if path.is_dir())

    @pytest.mark.parametrize("ended", [False, True])
    def test_one_of_a_recorder(self, tmp_path: Path, ended: bool) -> None:
        """Nothing of it is touched, whether or not it has ended."""
        recorder = TrialRecorder(tmp_path / "t")
        recorder.step(weights(0))
        if ended:
            recorder.close()
        self.assert_refused(tmp_path / "t")

    @needs_writing
    @pytest.mark.parametrize("collections", [False, True])
    @pytest.mark.parametrize("worker", ["worker_0", "worker_1"])
    def test_one_of_smdebug(self, tmp_path: Path, worker: str, collections: bool) -> None:
        """With or without its collections, of the same or of another worker."""
        writer = TrialWriter(tmp_path / "t").save(0, {"w": ARRAY}, worker=worker)
        if collections:
            writer.collections({"weights": ["w"]}, workers=[worker], num_workers=2)
        self.assert_refused(tmp_path / "t")

    @pytest.mark.parametrize("name", ["pytorch_healthy", "tf_keras", "pytorch_killed", "pytorch_ddp_one", "xgboost"])
    def test_recorded_ones(self, name: str) -> None:
        """Those of smdebug's hooks."""
        self.assert_refused_in_place(RECORDED[name])

    def assert_refused_in_place(self, folder: Path) -> None:
        before = files_of(folder)
        with pytest.raises(FileExistsError, match="resume=True"):
            TrialRecorder(folder)
        assert before == files_of(folder)

    @pytest.mark.parametrize(
        "name",
        [
            END_OF_JOB,
            "collections/000000000/worker_0_collections.json",
            "collections/000000000/worker_1_collections.json",
            "index/000000000/000000000000_worker_0.json",
            "index/000000000/000000000000_worker_1.json",
            "events/000000000000/000000000000_worker_0.tfevents",
            "events/000000000007/000000000007_worker_1.tfevents",
            "events/000000000000/000000000000_worker_0.tfevents.tmp",
        ],
    )
    def test_one_file_of_one(self, tmp_path: Path, name: str) -> None:
        """Any of a trial's files is enough, and of this worker's also one that is not whole."""
        file = tmp_path / "t" / name
        file.parent.mkdir(parents=True)
        file.write_text('{"collections": {}, "_meta": {"num_workers": 4}}' if "collections" in name else "")
        self.assert_refused(tmp_path / "t")

    def test_one_of_another_number_of_workers(self, tmp_path: Path) -> None:
        """Its workers are not this one's."""
        record(tmp_path / "t", 2, worker="worker_1", num_workers=2)
        self.assert_refused(tmp_path / "t", worker="worker_0", num_workers=3)

    def test_one_whose_only_worker_was_another(self, tmp_path: Path) -> None:
        """A trial of one worker has no room for a second."""
        record(tmp_path / "t", 2, worker="worker_0")
        self.assert_refused(tmp_path / "t", worker="worker_1")

    def test_one_that_all_its_workers_wrote(self, tmp_path: Path) -> None:
        """A trial of two workers has no room for a third."""
        for worker in ("worker_0", "worker_1"):
            record(tmp_path / "t", 2, worker=worker, num_workers=2)
        self.assert_refused(tmp_path / "t", worker="worker_2", num_workers=2)

    def test_another_worker_that_is_writing_its_first_step(self, tmp_path: Path) -> None:
        """Its unfinished file is not a trial yet, and stays."""
        file = tmp_path / "t/events/000000000000/000000000000_worker_1.tfevents.tmp"
        file.parent.mkdir(parents=True)
        file.write_text("half")
        record(tmp_path / "t", 2, num_workers=2)
        assert "half" == file.read_text()

    def test_other_files_are_not_a_trial(self, tmp_path: Path) -> None:
        """Checkpoints and logs may lie beside it, and stay."""
        for name in ("checkpoint.pt", "logs/events.out.tfevents.1", "index.html", "tensors/a.npy"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("x")
        before = files_of(tmp_path)
        saved = record(tmp_path, 2)
        assert before.items() <= files_of(tmp_path).items()
        assert_same_saved(saved, as_package_reads(tmp_path))


class TestResume:
    @pytest.mark.parametrize("exists", [False, True])
    def test_nothing_to_resume(self, tmp_path: Path, exists: bool) -> None:
        """It begins at 0."""
        if exists:
            (tmp_path / "t").mkdir()
        saved = record(tmp_path / "t", 3, resume=True)
        assert_same_saved(saved, as_package_reads(tmp_path / "t"))

    def test_each_count_goes_on(self, tmp_path: Path) -> None:
        """After the last saved step of each mode and of all; the end-of-job file goes until the end."""
        modes = ("TRAIN", "TRAIN", "EVAL")
        saved = record(tmp_path / "t", 10, modes=modes, save_interval=2)  # TRAIN 0 to 6, EVAL 0 to 2
        counts = Counts(2)
        counts.resume(saved)
        with TrialRecorder(tmp_path / "t", save_interval=2, resume=True) as recorder:
            assert not (tmp_path / "t" / END_OF_JOB).exists()
            for call in range(10):
                number, global_step, is_saved = counts.count(modes[call % 3])
                assert is_saved == recorder.step(weights(call), modes[call % 3])
                saved += as_entries(weights(call), modes[call % 3], number, global_step) if is_saved else []
        assert_same_saved(saved, as_package_reads(tmp_path / "t"))
        assert_same_saved(saved, as_smdebug_reads(tmp_path / "t"))
        assert (tmp_path / "t" / END_OF_JOB).exists()

    def test_an_older_checkpoint(self, tmp_path: Path) -> None:
        """Its first step is told, the numbers that were saved again are named, and the later rows count."""
        saved = record(tmp_path / "t", 10)
        with TrialRecorder(tmp_path / "t", resume=True) as recorder:
            for step in range(6, 12):
                recorder.step(weights(step, seed=1), step=step if step == 6 else None)
                saved += as_entries(weights(step, seed=1), "TRAIN", step, step + 4)
        assert_same_saved(saved, as_package_reads(tmp_path / "t"))
        report = check_trial(tmp_path / "t")
        assert_same_comparisons(expected_rows(saved), found_comparisons(report))
        assert {(6, 9, 4)} == {(group.first_step, group.last_step, group.count) for group in report.skipped}
        assert all("saved again later" in group.reason for group in report.skipped)

    def test_collections_keep_what_they_had(self, tmp_path: Path) -> None:
        """Names that were known, and other collections with their patterns."""
        record(tmp_path / "t", 2, lambda step: {"old": ARRAY})
        record(tmp_path / "t", 2, lambda step: {"state": ARRAY}, collection="optimizer", resume=True)
        file = tmp_path / "t/collections/000000000/worker_0_collections.json"
        content = json.loads(file.read_text())
        content["collections"]["biases"] = {"name": "biases", "tensor_names": None, "include_regex": ["bias$"]}
        file.write_text(json.dumps(content))
        record(tmp_path / "t", 2, lambda step: {f"new{step}": ARRAY}, resume=True)
        content = json.loads(file.read_text())["collections"]
        assert {"weights": ["new0", "new1", "old"], "optimizer": ["state"], "biases": []} == {
            name: sorted(collection["tensor_names"] or []) for name, collection in content.items()
        }
        assert ["bias$"] == content["biases"]["include_regex"]
        assert {"old", "new0", "new1"} == {saved.tensor for saved in as_smdebug_reads(tmp_path / "t")}

    @needs_writing
    def test_one_of_smdebug(self, tmp_path: Path) -> None:
        """A trial of smdebug's writer goes on, and smdebug reads all of it."""
        tensors = {name: (lambda step, name=name: weights(step)[name]) for name in weights(0)}
        writer = write_whole_trial(tmp_path / "t", tensors, steps=5)
        with TrialRecorder(tmp_path / "t", resume=True) as recorder:
            for step in range(5, 8):
                recorder.step({**weights(step), "new": ARRAY})
                writer.saved += as_entries({**weights(step), "new": ARRAY}, "TRAIN", step, step)
        assert_same_saved(writer.saved, as_smdebug_reads(tmp_path / "t"))
        assert_same_saved(writer.saved, as_package_reads(tmp_path / "t"))

    @pytest.mark.parametrize("name", ["pytorch_healthy", "pytorch_killed", "tf_keras"])
    def test_recorded_ones(self, tmp_path: Path, name: str) -> None:
        """Trials of smdebug's hooks go on, also one whose job was killed."""
        shutil.copytree(RECORDED[name], tmp_path / "t")
        saved = as_package_reads(tmp_path / "t")
        counts = Counts()
        counts.resume(saved)
        last = {entry.tensor: entry.array for entry in saved}
        with TrialRecorder(tmp_path / "t", resume=True) as recorder:
            for factor in (1.01, 1.02):
                tensors = {name: array * np.float32(factor) for name, array in last.items()}
                recorder.step(tensors)
                number, global_step, _ = counts.count()
                saved += as_entries(tensors, "TRAIN", number, global_step)
        assert_same_saved(saved, as_package_reads(tmp_path / "t"))
        assert_same_saved(saved, as_smdebug_reads(tmp_path / "t"))
        assert 0 == check_trial(tmp_path / "t").exit_code

    def test_workers_resume_their_own(self, tmp_path: Path) -> None:
        """Each after its own last step, and worker_0 alone removes the end-of-job file."""
        for rank, steps in enumerate((6, 4)):
            record(tmp_path / "t", steps, worker=f"worker_{rank}", num_workers=2)
        others = {name: file for name, file in files_of(tmp_path / "t").items() if "worker_0" in name}
        second = TrialRecorder(tmp_path / "t", worker="worker_1", num_workers=2, resume=True)
        assert (tmp_path / "t" / END_OF_JOB).exists()
        first = TrialRecorder(tmp_path / "t", worker="worker_0", num_workers=2, resume=True)
        assert not (tmp_path / "t" / END_OF_JOB).exists()
        for step, recorder in enumerate((first, second, second, second)):
            recorder.step(weights(9 + step))
        for recorder in (second, first):
            recorder.close()
        found = {
            worker: sorted({saved[3:5] for saved in as_package_reads(tmp_path / "t") if saved.worker == worker})
            for worker in ("worker_0", "worker_1")
        }
        assert {worker: [(n, n) for n in range(7)] for worker in found} == found
        assert others.items() <= files_of(tmp_path / "t").items()
        assert 0 == check_trial(tmp_path / "t").exit_code

    @pytest.mark.parametrize("steps", [0, 3])
    def test_files_that_a_killed_process_left(self, tmp_path: Path, steps: int) -> None:
        """Those of this worker are removed, those of others are not."""
        saved = record(tmp_path / "t", steps, worker="worker_1", num_workers=2)
        left = [
            f"events/{steps:012d}/{steps:012d}_worker_1.tfevents.tmp",
            f"events/{steps:012d}/{steps:012d}_worker_1.tfevents",  # whole, and killed before the index file was
            f"index/000000000/{steps:012d}_worker_1.json.tmp",
            "collections/000000000/worker_1_collections.json.tmp",
        ]
        others = [f"events/{steps:012d}/{steps:012d}_worker_{n}.tfevents.tmp" for n in (0, 11)]
        for name in left + others:
            (tmp_path / "t" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "t" / name).write_text("half")
        with TrialRecorder(tmp_path / "t", worker="worker_1", num_workers=2, resume=True) as recorder:
            assert [] == [name for name in left if (tmp_path / "t" / name).exists()]
            assert [True, True] == [(tmp_path / "t" / name).exists() for name in others]
            recorder.step(weights(steps))
            saved += as_entries(weights(steps), "TRAIN", steps, steps, "worker_1")
        assert steps + 1 == len({entry.step for entry in saved})
        found = [name for name in files_of(tmp_path / "t") if "worker_1_" in name or "worker_1." in name]
        assert 1 + 2 * (steps + 1) == len(found)

    @pytest.mark.parametrize("broken", [1, 3])
    def test_an_index_file_that_is_broken(self, tmp_path: Path, broken: int) -> None:
        """It stays, and is reported as unreadable; the recorder goes on after the last step."""
        record(tmp_path / "t", 4)
        file = tmp_path / f"t/index/000000000/{broken:012d}_worker_0.json"
        file.write_text("{")
        before = {name: each for name, each in files_of(tmp_path / "t").items() if name != END_OF_JOB}
        with TrialRecorder(tmp_path / "t", resume=True) as recorder:
            recorder.step(weights(9))
        assert before.items() <= files_of(tmp_path / "t").items()
        report = check_trial(tmp_path / "t")
        assert {broken} == {entry.global_step for entry in report.unreadable if entry.file.endswith(".json")}
        meta = json.loads(index_file(tmp_path / "t", 4).read_text())["meta"]
        assert (4 if broken == 1 else 3) == meta["mode_step"]


class TestProcesses:
    def test_recorders_that_forgot_their_workers(self, tmp_path: Path) -> None:
        """The second fails however often it tries, and the first one's files stay as they are."""
        first, second = TrialRecorder(tmp_path / "t"), TrialRecorder(tmp_path / "t")
        saved: list[Saved] = []
        for step in range(3):
            first.step(weights(step))
            saved += as_entries(weights(step), "TRAIN", step, step)
            before = files_of(tmp_path / "t")
            with pytest.raises(FileExistsError, match=r"another process.*'worker_0'.*\n\n.*num_workers"):
                second.step(weights(step, seed=1))
            assert before == files_of(tmp_path / "t")
        first.close()
        assert_same_saved(saved, as_package_reads(tmp_path / "t"))
        with pytest.raises(FileExistsError):
            TrialRecorder(tmp_path / "t")

    def test_both_write_at_once(self, tmp_path: Path) -> None:
        """The second one fails at the file that the first one is writing, and the first one's step is whole."""
        first, second = TrialRecorder(tmp_path / "t"), TrialRecorder(tmp_path / "t")

        def tensors() -> Iterator[tuple[str, Any]]:
            yield "w", ARRAY
            with pytest.raises(FileExistsError, match=r"another process.*'worker_0'"):
                second.step({"w": ARRAY + 1})
            yield "v", ARRAY

        first.step(tensors())
        assert_same_saved(as_entries({"w": ARRAY, "v": ARRAY}, "TRAIN", 0, 0), as_package_reads(tmp_path / "t"))

    def test_one_that_was_refused_does_not_end_the_others_job(self, tmp_path: Path) -> None:
        """The end-of-job file is written when the process that records has ended."""
        first, second = TrialRecorder(tmp_path / "t"), TrialRecorder(tmp_path / "t")
        first.step(weights(0))
        with pytest.raises(FileExistsError), second:
            second.step(weights(0))
        assert not (tmp_path / "t" / END_OF_JOB).exists()
        first.close()
        assert (tmp_path / "t" / END_OF_JOB).exists()

    def test_one_begins_while_the_other_is_writing(self, tmp_path: Path) -> None:
        """What the first one is writing is not removed; the second one fails."""

        def tensors() -> Iterator[tuple[str, Any]]:
            yield "w", ARRAY
            with pytest.raises(FileExistsError):
                TrialRecorder(tmp_path / "t").step({"w": ARRAY + 1})
            yield "v", ARRAY

        first = TrialRecorder(tmp_path / "t")
        first.step(tensors())
        assert_same_saved(as_entries({"w": ARRAY, "v": ARRAY}, "TRAIN", 0, 0), as_package_reads(tmp_path / "t"))

    def test_one_resumes_while_the_other_is_writing(self, tmp_path: Path) -> None:
        """It takes the other one for dead, and removes what that one is writing; the other one fails."""

        def tensors() -> Iterator[tuple[str, Any]]:
            yield "w", ARRAY
            TrialRecorder(tmp_path / "t", resume=True).step({"w": ARRAY + 1})
            yield "v", ARRAY

        first = TrialRecorder(tmp_path / "t")
        with pytest.raises(OSError, match=r"another process|No such file"):
            first.step(tensors())
        assert_same_saved(as_entries({"w": ARRAY + 1}, "TRAIN", 0, 0), as_package_reads(tmp_path / "t"))

    def test_both_resume(self, tmp_path: Path) -> None:
        """The second one fails at the step that the first one has saved, and its files stay."""
        record(tmp_path / "t", 2)
        first, second = (TrialRecorder(tmp_path / "t", resume=True) for _ in range(2))
        first.step(weights(2))
        before = files_of(tmp_path / "t")
        with pytest.raises(FileExistsError, match="another process"):
            second.step(weights(2, seed=1))
        assert before == files_of(tmp_path / "t")

    def test_a_worker_begins_while_another_saves_its_first_step(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is not refused, whatever it has listed when the other one's files appear."""
        from weight_update_ratio.storage.disk import DiskStorage

        first = TrialRecorder(tmp_path / "t", num_workers=2)
        names, calls = DiskStorage.names, []

        def listed(storage: DiskStorage, folder: str, start_after: str = "") -> list[str]:
            found = names(storage, folder, start_after)
            if not calls:
                calls.append(folder)
                first.step(weights(0))
            return found

        monkeypatch.setattr(DiskStorage, "names", listed)
        second = TrialRecorder(tmp_path / "t", worker="worker_1", num_workers=2)
        second.step(weights(0))
        assert {"worker_0", "worker_1"} == {saved.worker for saved in as_package_reads(tmp_path / "t")}

    @pytest.mark.slow
    def test_several_workers_at_once(self, tmp_path: Path) -> None:
        """Four processes record into one folder, and nothing of any is lost."""
        program = """
import os, sys
import numpy as np
from weight_update_ratio import TrialRecorder

def work(rank):
    with TrialRecorder(sys.argv[1], worker=f"worker_{rank}", num_workers=4) as recorder:
        for step in range(25):
            recorder.step({"w": np.full(100, rank + step / 100), "v": np.float32([rank, step])})

children = []
for rank in range(4):
    child = os.fork()
    if not child:
        try:
            work(rank)
        except BaseException as error:
            print(rank, repr(error), flush=True)
        os._exit(0)
    children.append(child)
for child in children:
    os.waitpid(child, 0)
"""
        assert "" == run_python(program, tmp_path / "t")
        saved = [
            entry
            for rank in range(4)
            for step in range(25)
            for entry in as_entries(
                {"w": np.full(100, rank + step / 100), "v": np.float32([rank, step])},
                "TRAIN",
                step,
                step,
                f"worker_{rank}",
            )
        ]
        assert_same_saved(saved, as_package_reads(tmp_path / "t"))
        assert_same_saved(saved, as_smdebug_reads(tmp_path / "t"))
        assert check_trial(tmp_path / "t").complete

    @pytest.mark.slow
    def test_two_processes_at_once_that_forgot_their_workers(self, tmp_path: Path) -> None:
        """In each of many folders one of them records all of its steps, and the other gets FileExistsError."""
        program = """
import os, sys, time
import numpy as np
from weight_update_ratio import TrialRecorder

def work(folder, rank, pause):
    time.sleep(pause)
    try:
        with TrialRecorder(folder) as recorder:
            for step in range(8):
                recorder.step({"w": np.full(5000, float(rank))})
    except FileExistsError:
        return "refused"
    return "recorded"

generator = np.random.default_rng(0)
for run in range(60):
    children = {}
    for rank in (0, 1):
        reading, writing = os.pipe()
        pause = generator.uniform(0, 0.003)
        child = os.fork()
        if not child:
            try:
                said = work(f"{sys.argv[1]}/{run}", rank, pause)
            except BaseException as error:
                said = repr(error)
            os.write(writing, said.encode())
            os._exit(0)
        os.close(writing)
        children[child] = reading
    for child, reading in children.items():
        os.waitpid(child, 0)
        print(os.read(reading, 1000).decode(), end=";")
        os.close(reading)
    print()
"""
        (tmp_path / "runs").mkdir()
        for run, line in enumerate(run_python(program, tmp_path / "runs").splitlines()):
            said = line.split(";")[:2]
            assert ["recorded", "refused"] == sorted(said)
            found = as_package_reads(tmp_path / "runs" / str(run))
            assert [said.index("recorded")] * 8 == [saved.array[0] for saved in found]
            assert {5000} == {int((saved.array == saved.array[0]).sum()) for saved in found}


class TestImports:
    def test_neither_smdebug_nor_a_framework(self, tmp_path: Path) -> None:
        """Importing and recording need NumPy and the standard library only."""
        program = """
import sys
before = {*sys.modules, *getattr(sys, "stdlib_module_names", ())}
from weight_update_ratio import TrialRecorder
with TrialRecorder(sys.argv[1]) as recorder:
    recorder.step({"w": [1.0, 2.0]})
    recorder.step({"w": [1.0, 2.5]})
print(*sorted({name.split(".")[0] for name in sys.modules} - before))
"""
        loaded = set(run_python(program, tmp_path / "t").split())
        heavy = {"smdebug", "torch", "tensorflow", "jax", "keras", "mxnet", "ml_dtypes", "pandas", "boto3", "botocore"}
        assert set() == heavy & loaded
        assert {"numpy", "weight_update_ratio"} <= loaded
        if hasattr(sys, "stdlib_module_names"):
            assert {"numpy", "weight_update_ratio"} == {name for name in loaded if not name.startswith("_")}

    def test_is_listed(self) -> None:
        """The package names it, and keeps its docstring."""
        import weight_update_ratio

        assert "TrialRecorder" in weight_update_ratio.__all__
        assert "TrialRecorder" in dir(weight_update_ratio)
        assert "smdebug" in (TrialRecorder.__doc__ or "")
