"""RatioMonitor: its rows are those of check on a recording of the same run; faults, histories, and what is refused."""

from __future__ import annotations

import json
import pickle
import warnings
from pathlib import Path
from typing import Any, Callable, Iterator

import numpy as np
import pytest

from weight_update_ratio import RatioMonitor, Report, TrainingFault, TrialError, TrialRecorder, check_trial

Weights = dict[str, np.ndarray[Any, Any]]
LEARNING_RATE = 3e-3


def training(steps: int, change: Callable[[int, Weights], Any] = lambda step, weights: None) -> Iterator[Weights]:
    """Yield the weights of a made training after each step: of several types, a bias, and one without elements."""
    generator = np.random.default_rng(5)
    shapes = {"in.weight": (30, 20), "mid.weight": (20, 20), "out.weight": (4, 20), "out.bias": (4,)}
    weights: Weights = {name: generator.normal(0, 0.3, shape).astype("f4") for name, shape in shapes.items()}
    weights["half.weight"] = generator.normal(0, 0.3, (5, 5)).astype("f2")
    weights["wave.weight"] = (generator.normal(size=(3, 3)) + 1j).astype("c8")
    weights["none.weight"] = np.zeros((0, 4))
    for step in range(steps):
        for array in weights.values():
            array += (LEARNING_RATE * generator.normal(size=array.shape)).astype(array.real.dtype)
        change(step, weights)
        yield weights


def both(folder: Path, steps: int, every: int, *change: Any, **options: Any) -> tuple[Report, Report]:
    """Return the reports of one training that is recorded and checked, and that a monitor watches."""
    folder.mkdir(exist_ok=True)
    monitor = RatioMonitor(every, history=folder / "run.jsonl", on_fault=lambda *_: None, **options)
    with TrialRecorder(folder / "trial", save_interval=every, pairs=every > 1) as recorder:
        for weights in training(steps, *change):
            recorder.step(weights)
            monitor.step(weights)
    return check_trial(folder / "trial", **options), monitor.report()


def facts(report: Report) -> dict[str, Any]:
    document = json.loads(report.to_json())
    del document["trial"]
    return document


def explode(step: int, weights: Weights) -> None:
    if 120 < step < 135:
        weights["mid.weight"] *= 20


def freeze(step: int, weights: Weights, kept: Weights = {}) -> None:  # noqa: B006  (what it froze)
    if step == 0:
        kept["in.weight"] = weights["in.weight"].copy()
    weights["in.weight"][:] = kept["in.weight"]


def reshape(step: int, weights: Weights) -> None:
    if step == 51:
        weights["out.weight"] = weights["out.weight"].reshape(20, 4).copy()
    if step == 60:
        weights["late.weight"] = np.ones((2, 2))


class TestSameAsCheck:
    @pytest.mark.parametrize("every", [1, 2, 7, 50])
    @pytest.mark.parametrize(
        "change", [lambda step, weights: None, explode, freeze], ids=["well", "explodes", "frozen"]
    )
    def test_rows_findings_and_exit_code(self, tmp_path: Path, every: int, change: Any) -> None:
        """To the last bit."""
        steps = 400 if every == 50 else 160
        checked, watched = both(tmp_path, steps, every, change)
        if every == 2:  # a recording of pairs of every second step has the updates between them as well
            rows = checked.comparisons()
            expected = rows[rows["step"] % 2 == 1].reset_index(drop=True)
            assert expected.drop(columns="verdict").equals(watched.comparisons().drop(columns="verdict"))
            return
        assert len(checked)
        assert checked.comparisons().equals(watched.comparisons())
        assert facts(checked) == facts(watched)

    @pytest.mark.parametrize(
        "options",
        [
            {"tensor_regex": "in,out", "exclude_regex": "bias"},
            {"collection_names": "weights,biases,vectors"},
            {"large_threshold": 0.01, "patience": 3},
            {"epsilon": "1e-3", "small_threshold": 0.005, "strict": True},
        ],
        ids=str,
    )
    def test_parameters(self, tmp_path: Path, options: dict[str, Any]) -> None:
        checked, watched = both(tmp_path, 30, 1, **options)
        assert facts(checked) == facts(watched)

    def test_what_is_skipped(self, tmp_path: Path) -> None:
        """A shape that changes is said, and a tensor may begin late."""
        checked, watched = both(tmp_path, 120, 1, reshape)
        assert checked.comparisons().equals(watched.comparisons())
        said = {(group.tensor, group.reason, group.first_step) for group in watched.skipped}
        assert ("out.weight", "shape changed from (4, 20) to (20, 4)", 51) in said
        assert ("none.weight", "no elements", 1) in said

    @pytest.mark.parametrize("good", ["trial", "run.jsonl"])
    def test_a_baseline_from_either(self, tmp_path: Path, good: str) -> None:
        both(tmp_path / "good", 160, 1)

        checked, watched = both(tmp_path / "bad", 160, 1, explode, baseline=tmp_path / "good" / good)
        assert checked.fired
        assert facts(checked) == facts(watched)


class TestOnFault:
    def watch(self, steps: int = 130, change: Any = explode, **options: Any) -> RatioMonitor:
        monitor = RatioMonitor(1, **options)
        for weights in training(steps, change):
            monitor.step(weights)
        return monitor

    def test_warns_once_of_a_fault(self) -> None:
        """In each training of a process, though Python shows equal words of a line only once."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")
            for _ in range(2):
                self.watch()
        assert [("RatioMonitor", True)] * 2 == [(w.filename, "mid.weight" in str(w.message)) for w in caught]

    def test_warns_of_a_fault_and_not_of_others(self) -> None:
        """An old spike, and what is only a note, are in the report."""

        def change(step: int, weights: Weights) -> None:
            weights["mid.weight"] *= {20: 50, 50: np.nan}.get(step, 1)

        with pytest.warns(UserWarning, match="mid.weight") as caught:
            self.watch(60, change)
        assert [("moment" in str(w.message), "NaN" in str(w.message)) for w in caught] == [(True, False), (False, True)]

    def test_with_strict_all_that_fires_is_a_fault_once(self) -> None:
        """Also after a step back."""
        said: list[str] = []
        monitor = self.watch(change=freeze, strict=True, on_fault=lambda report, rows: said.append(rows[0].tensor))
        for step, weights in zip(range(100, 110), training(20, freeze)):
            monitor.step({"in.weight": weights["in.weight"]}, step=step)
        assert ["in.weight"] == said

    def test_raises(self) -> None:
        """With the report of what was measured until then."""
        with pytest.raises(TrainingFault, match=r"mid\.weight .* step") as caught:
            self.watch(on_fault="raise")
        assert caught.value.report.fired
        copied = pickle.loads(pickle.dumps(caught.value))  # noqa: S301  (between processes)
        assert (str(copied), copied.report.exit_code) == (str(caught.value), 1)
        assert 120 < max(caught.value.report.comparisons()["step"]) < 140

    def test_calls_a_function(self) -> None:
        calls: list[Any] = []
        self.watch(on_fault=lambda report, violations: calls.append((report.fired, violations[0].tensor)))
        assert calls == [(True, "mid.weight")]

    def test_is_silent_of_what_is_well(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert self.watch(change=lambda step, weights: None).report().exit_code == 0

    def test_is_silent_where_no_update_is_measured(self) -> None:
        """Gradients of 8 batches, counted by batch: the weights change, but in none of the measured calls."""
        monitor, weights = RatioMonitor(8, on_fault="raise"), np.ones((2, 2))
        for batch in range(400):
            weights += (batch % 8 == 7) * 0.01
            monitor.step({"w": weights})
        (finding,) = monitor.report().findings
        assert ("nothing_moved", 50) == (finding.kind, finding.count)
        assert finding.advice.startswith("Weights change between")


def test_an_advice_is_one_that_a_monitor_can_follow() -> None:
    """NaN began between two measured updates, or in one; num_steps is not a parameter here."""

    def advice(every: int, lost: int, moves: int) -> str:
        monitor, weights = RatioMonitor(every, on_fault=lambda *_: None), np.ones((2, 2))
        for step in range(300):
            weights += (step % moves == 0) * (np.nan if step >= lost else 0.01)
            monitor.step({"w": weights})
        return monitor.report().findings[0].advice

    assert advice(50, 230, 1).startswith("Look at steps 202 to 250 for NaN")
    assert advice(50, 251, 1).startswith("Look at step 251 for NaN")
    assert advice(1, 230, 1).startswith("Look at step 230 for NaN")
    assert advice(1, 300, 4).endswith("to judge whole updates, record once an update.")


class TestHistory:
    def test_lines_are_checked_as_the_run(self, tmp_path: Path) -> None:
        _, watched = both(tmp_path, 160, 1, explode)
        again = check_trial(tmp_path / "run.jsonl")
        assert watched.comparisons().equals(again.comparisons())
        assert [f.text for f in watched.findings] == [f.text for f in again.findings]

    def test_goes_on_after_a_kill(self, tmp_path: Path) -> None:
        """The line that was cut off is measured anew; without ``resume`` nothing is touched."""
        path = tmp_path / "run.jsonl"
        first, whole = RatioMonitor(1, history=path), []
        for step, weights in enumerate(training(20)):
            if step < 10:
                first.step(weights)
            elif step == 10:
                content = path.read_bytes()
                path.write_bytes(content[:-7])
                with pytest.raises(FileExistsError, match="resume=True"):
                    RatioMonitor(1, history=path)
                assert path.read_bytes() == content[:-7]
                second = RatioMonitor(1, history=path, resume=True)
            if step >= 10:
                second.step(weights)
            whole.append(weights)
        rows = check_trial(path).comparisons()
        assert sorted(set(rows["step"])) == [*range(1, 10), *range(11, 20)]
        assert rows.equals(second.report().comparisons())

    def test_goes_on_without_the_faults_of_before(self, tmp_path: Path) -> None:
        """What was said, and what the patterns leave out now, is not new; counting goes on after the last line."""

        def frozen_and_wild(step: int, weights: Weights) -> None:
            freeze(step, weights)
            if step == 20:
                weights["mid.weight"] *= 50

        path = tmp_path / "run.jsonl"
        steps = training(60, frozen_and_wild)
        first = RatioMonitor(1, history=path, on_fault=lambda *_: None)
        for number, weights in zip([*range(40), *range(25, 30)], steps):
            first.step(weights, step=number)
        second = RatioMonitor(
            1, history=path, resume=True, on_fault="raise", exclude_regex="in", tensor_regex="out,mid"
        )
        assert second.report().problem is None
        for weights in steps:
            second.step(weights)
        assert [("spike", 20)] == [(f.kind, f.onset_step) for f in second.report().findings]
        assert max(second.report().comparisons()["step"]) == 44

    def test_goes_on_after_a_last_line_without_a_newline(self, tmp_path: Path) -> None:
        """A row that is whole stays."""
        both(tmp_path, 10, 1)
        path = tmp_path / "run.jsonl"
        path.write_bytes(path.read_bytes()[:-1])
        monitor = RatioMonitor(1, history=path, resume=True)
        for weights in training(3):
            monitor.step(weights)
        assert sorted({*range(1, 10), 11, 12}) == sorted(set(check_trial(path).comparisons()["step"]))
        assert check_trial(path).comparisons().equals(monitor.report().comparisons())

    @pytest.mark.parametrize("kept", [0, 1, 15])
    def test_begins_anew_where_no_line_is_whole(self, tmp_path: Path, kept: int) -> None:
        both(tmp_path, 2, 1)
        path = tmp_path / "run.jsonl"
        content = path.read_bytes()
        path.write_bytes(content[:kept])
        monitor = RatioMonitor(1, history=path, resume=True)
        for weights in training(2):
            monitor.step(weights)
        assert content == path.read_bytes()

    @pytest.mark.parametrize("content", [b"weights of a month", b"\x80\x02}q\x00\n\x00", b'{"loss": 1}\n{"lo'])
    def test_another_file_stays_as_it_is(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "model.jsonl"
        path.write_bytes(content)
        with pytest.raises(TrialError, match="holds no rows"):
            RatioMonitor(history=path, resume=True)
        assert content == path.read_bytes()

    def test_says_what_it_cannot_read(self, tmp_path: Path) -> None:
        """As ``check`` does."""
        both(tmp_path, 10, 1)
        path = tmp_path / "run.jsonl"
        path.write_bytes(b"broken\n" + path.read_bytes())
        report = RatioMonitor(1, history=path, resume=True).report()
        assert (2, check_trial(path).unreadable) == (report.exit_code, report.unreadable)

    @pytest.mark.parametrize("again", [8, 0])
    def test_steps_that_are_measured_again(self, tmp_path: Path, again: int) -> None:
        """A job that goes on from an older checkpoint: of each row the last counts, in the history and here."""
        path = tmp_path / "run.jsonl"
        monitor = RatioMonitor(1, history=path)
        for count, (step, weights) in enumerate(zip([*range(20), *range(again, 14)], training(34))):
            chosen = [name for name in weights if count < 20 or name != "out.weight"]
            monitor.step({name: weights[name] for name in chosen}, step=step)
        rows = monitor.report().comparisons()
        assert [*range(1, 20)] == sorted(set(rows["step"]))
        assert not rows.duplicated(["tensor", "step"]).any()
        assert rows.equals(check_trial(path).comparisons())


def test_a_report_is_that_of_its_moment() -> None:
    monitor, steps = RatioMonitor(1), training(20)
    for _, weights in zip(range(10), steps):
        monitor.step(weights)
    report = monitor.report()
    for weights in steps:
        monitor.step(weights)
    assert (9, 10) == (max(report.comparisons()["step"]), report.counts["steps"])


def test_a_layer_that_is_frozen_later_is_no_longer_measured() -> None:
    class Parameter(np.ndarray):  # type: ignore[type-arg]
        requires_grad = True

    monitor, weights = RatioMonitor(1), {name: np.ones((2, 2)).view(Parameter) for name in "abc"}
    weights["c"].requires_grad = False
    for step in range(60):
        weights["a"].requires_grad = step < 30
        for name in "ab"[step >= 30 :]:
            weights[name] *= 1.01
        monitor.step(weights)
    (note,) = monitor.report().skipped
    assert ("a", "worker_0", "last compared at step 29, others to 59") == note[:3]
    assert {"a", "b"} == set(monitor.report().comparisons()["tensor"])


@pytest.mark.parametrize("seen", [32, 60], ids=["ended by the fault", "went on"])
def test_a_step_back_to_a_checkpoint(seen: int) -> None:
    """What came after the checkpoint the first time is not the second training's; a fault of its own is new."""
    faults: list[int] = []
    monitor = RatioMonitor(1, on_fault=lambda report, rows: faults.append(rows[0].step))
    monitor.step({"w": np.ones((20, 20))}, step=5)  # there is nothing yet to go back from
    for numbers, lost in ((range(seen), range(30, 60)), (range(20, 70), range(40, 42))):
        for number, weights in zip(numbers, training(70)):
            monitor.step({"w": weights["mid.weight"] * (np.nan if number in lost else 1)}, step=number)
    assert [30, 40] == faults


def test_log_gets_the_ratios() -> None:
    """A function of ratios and step, or an object that takes scalars one by one."""

    class Writer:
        def __init__(self) -> None:
            self.scalars: dict[tuple[str, int], float] = {}

        def add_scalar(self, tag: str, value: float, step: int) -> None:
            self.scalars[tag, step] = value

    logged: dict[int, dict[str, float]] = {}
    writer = Writer()
    first, second = RatioMonitor(3, log=lambda ratios, step: logged.update({step: ratios})), RatioMonitor(3, log=writer)
    for weights in training(8):
        first.step(weights)
        second.step(weights)
    expected = {(row.tensor, row.step): row.ratio for row in first.report()}
    assert {(tensor, step): ratio for step, ratios in logged.items() for tensor, ratio in ratios.items()} == expected
    assert writer.scalars == {(f"update_ratio/{tensor}", step): ratio for (tensor, step), ratio in expected.items()}
    assert sorted(logged) == [1, 4, 7]


def test_tensors_are_asked_for_only_where_they_are_measured() -> None:
    asked = []

    def tensors() -> Weights:
        asked.append(len(done))
        return {"w": np.full((2, 2), 1.0 + len(done))}

    monitor, done = RatioMonitor(5), []
    for _ in range(12):
        done.append(monitor.step(tensors))
    assert asked == [0, 1, 5, 6, 10, 11]
    assert [step for step, measured in enumerate(done) if measured] == [1, 6, 11]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "'every' must be a whole number >= 1"),
        ({"on_fault": "stop"}, "'on_fault' must be 'warn', 'raise' or a function (got 'stop')"),
        ({"num_steps": 5}, "'num_steps' has no meaning here"),
        ({"patience": "x"}, "'patience' must be a whole number >= 1 or None (got 'x')"),
        ({"history": "run.csv"}, "'history' must end in .jsonl, by which check knows it (got 'run.csv')"),
        ({"worker": "a b"}, "'worker' must be a name like 'worker_0' (got 'a b')"),
    ],
)
def test_what_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        RatioMonitor(**options)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("options", "steps", "problem"),
    [
        ({}, 0, "no update was measured before step 0"),
        ({"every": 5}, 1, "no update was measured before step 1"),
        (
            {"collection_names": "biasses"},
            3,
            "no tensor of the collection 'biasses' was saved; saved were 'biases', 'w",
        ),
        ({"collection_names": "vectors"}, 3, "the collection 'vectors' is empty; saved were 'biases', 'weights'"),
        ({"tensor_regex": "in,nope"}, 3, "no saved tensor of 'weights' matches tensor_regex 'nope'"),
        (
            {"tensor_regex": "nope"},
            3,
            "no saved tensor of 'weights' matches tensor_regex 'nope'; the collections' tens",
        ),
        ({"exclude_regex": "."}, 3, "exclude_regex leaves out every saved tensor of 'weights'"),
        ({"tensor_regex": "none"}, 3, "nothing can be compared: every tensor is empty ('none.weight' has no elements)"),
    ],
)
def test_what_was_not_measured_is_not_ok(options: dict[str, Any], steps: int, problem: str) -> None:
    monitor = RatioMonitor(**{"every": 1, **options})
    for weights in training(steps):
        monitor.step(weights)
    assert 2 == monitor.report().exit_code
    assert monitor.report().problem.message.startswith(problem)
