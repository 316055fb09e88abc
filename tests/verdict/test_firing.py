"""Which violations fire: against an oracle that counts rows by the words of the contract, whatever the order."""

from __future__ import annotations

import json
import math
import random
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Iterable, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import (
    RECORDED,
    Saved,
    TrialWriter,
    change_json,
    event_file,
    index_file,
    needs_writing,
    plain_verdict,
)
from tests.findings.made_runs import made_baseline
from tests.memory_trial import MemoryTrial
from weight_update_ratio import check, check_trial
from weight_update_ratio.compare.comparison import Comparison
from weight_update_ratio.compare.history import History
from weight_update_ratio.compare.loop import Judge
from weight_update_ratio.compare.mode import judged_mode
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.storage.disk import DiskStorage
from weight_update_ratio.trial.folder import TrialFolder
from weight_update_ratio.verdict.baseline_file import baseline_text
from weight_update_ratio.verdict.bounds import Bounds
from weight_update_ratio.verdict.firing import Fired, Firing

OK, SMALL, LARGE, NAN, RESHAPED, UNSAVED, LOST = "ok", "small", "large", "nan", "reshaped", "unsaved", "lost"
EVENTS = [OK, OK, SMALL, SMALL, SMALL, LARGE, LARGE, NAN, RESHAPED, UNSAVED, LOST]
WITHOUT_NAN = [event for event in EVENTS if event != NAN]
TENSORS, WORKERS = ("a", "b"), ("worker_0", "worker_1")

Key = Any  # (tensor, worker)


class Run(NamedTuple):
    """A written trial; ``lost`` are the records (tensor, worker, global step) that cannot be read."""

    path: Path
    saved: list[Saved]
    lost: set[tuple[str, str, int]]


class Judged(NamedTuple):
    """One comparison by the oracle."""

    tensor: str
    worker: str
    global_step: int
    verdict: str


def write_run(path: Path | str, events: dict[Key, list[str]], modes: Iterable[str] = ("TRAIN",)) -> Run:
    """Write a trial in which each tensor of a worker has these events at its steps; an EVAL step has none of them."""
    writer = TrialWriter(path)
    workers = sorted({worker for _, worker in events})
    writer.collections({"weights": sorted({tensor for tensor, _ in events})}, workers=workers)
    weights = {key: np.ones(2) for key in events}
    lost = set()
    cycle, global_step = list(modes), 0
    for step in range(max(map(len, events.values()))):
        while cycle[global_step % len(cycle)] != "TRAIN":
            for worker in workers:
                writer.save(global_step, {"a": np.full(2, 1e9)}, "EVAL", None, worker)
            global_step += 1
        for worker in workers:
            arrays = {}
            for (tensor, owner), found in events.items():
                event = found[step] if step < len(found) else UNSAVED
                if owner == worker and event != UNSAVED:
                    arrays[tensor] = weights[tensor, worker] = after(weights[tensor, worker], event)
                    if event == LOST:
                        lost.add((tensor, worker, global_step))
            if arrays:
                writer.save(global_step, arrays, "TRAIN", step, worker)
        global_step += 1
    for tensor, worker, at in lost:
        change_json(index_file(Path(path), at, worker), lambda index, tensor=tensor: without_place(index, tensor))
    return Run(Path(path), [saved for saved in writer.saved if saved.mode == "TRAIN"], lost)


def without_place(index: Any, tensor: str) -> None:
    for entry in index["tensor_payload"]:
        if entry["tensorname"] == tensor:
            entry["start_idx"] = None


def after(weights: Any, event: str) -> Any:
    """Return the weights that an event leaves."""
    if not np.isfinite(weights).all():
        weights = np.ones(weights.shape)
    if event == NAN:
        return np.full(weights.shape, math.nan)
    if event == RESHAPED:
        return weights.reshape((2,) if weights.ndim == 2 else (2, 1))
    return weights * {SMALL: 1.0, LARGE: 20.0}.get(event, 1.001)


def oracle(run: Run, num_steps: int | None = None) -> list[Judged]:
    """Return every comparison that can be made, by global step, with its verdict by the default thresholds."""
    found = []
    for entry in sorted(run.saved, key=lambda saved: saved.global_step):
        own = [other for other in run.saved if (other.tensor, other.worker) == (entry.tensor, entry.worker)]
        earlier = [other for other in own if other.step < entry.step]
        if num_steps is not None:
            earlier = [other for other in earlier if other.step >= entry.step - num_steps]
        if not earlier:
            continue
        reference = (max if num_steps is None else min)(earlier, key=lambda other: other.step)
        if {(part.tensor, part.worker, part.global_step) for part in (entry, reference)} & run.lost:
            continue
        if entry.array.shape != reference.array.shape:
            continue
        old, new = (list(map(float, part.array.ravel())) for part in (reference, entry))
        update = math.sqrt(math.fsum((b - a) ** 2 for a, b in zip(old, new)))
        ratio = update / (math.sqrt(math.fsum(a * a for a in old)) + 1e-9)
        verdict = "not_finite" if math.isnan(ratio) else LARGE if ratio > 10 else SMALL if ratio < 1e-8 else OK
        found.append(Judged(entry.tensor, entry.worker, entry.global_step, verdict))
    return found


def expected_firing(judged: list[Judged], patience: int) -> list[Judged]:
    """Return the violations that fire: at once where not finite, else from the patience-th in a row on."""
    in_a_row: dict[Key, int] = {}
    firing = []
    for row in judged:
        key = row.tensor, row.worker
        in_a_row[key] = 0 if row.verdict == OK else in_a_row.get(key, 0) + 1
        if row.verdict == "not_finite" or in_a_row[key] >= patience:
            firing.append(row)
    return firing


def expected_groups(judged: list[Judged], patience: int) -> set[tuple[str, str, str]]:
    """Return (tensor, worker, verdict) of what fires, and of what leads up to it in a row of ``patience``."""
    rows: dict[Key, list[str]] = {}
    groups = set()
    for row in judged:
        key = row.tensor, row.worker
        rows[key] = [] if row.verdict == OK else [*rows.get(key, []), row.verdict]
        if row.verdict == "not_finite":
            groups.add((*key, row.verdict))
        if len(rows[key]) >= patience:
            groups |= {(*key, verdict) for verdict in rows[key]}
    return groups


def rows_of(firing: Iterable[Fired]) -> list[Comparison]:
    return [fired.row for fired in firing]


def steps_of(firing: Iterable[Any]) -> set[int]:
    return {row.global_step for row in firing}


def judge_of(path: Path, **parameters: Any) -> tuple[Judge, list[int]]:
    """Return a judge of a trial, and the trial's global steps."""
    chosen = Parameters(**parameters)
    folder = TrialFolder(DiskStorage(str(path)), chosen)
    history = History(str(path), chosen)
    history.mode = judged_mode(folder)
    return Judge(folder, history), list(folder.steps)


def facts(row: Any) -> Judged:
    return Judged(row.tensor, row.worker, row.global_step, row.verdict)


def fired(report: Any) -> set[int]:
    return report.history.fired_steps


SEQUENCES = st.fixed_dictionaries(
    {
        (tensor, worker): st.lists(st.sampled_from(EVENTS), min_size=1, max_size=20)
        for tensor in TENSORS
        for worker in WORKERS
    }
)
WRITTEN = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@needs_writing
class TestPatience:
    @WRITTEN
    @given(
        events=SEQUENCES,
        patience=st.integers(1, 5),
        num_steps=st.sampled_from([None, None, 1, 3]),
        modes=st.sampled_from([["TRAIN"], ["EVAL", "TRAIN", "TRAIN"]]),
        chance=st.randoms(use_true_random=False),
    )
    def test_any_run_judged_in_any_way(
        self, events: Any, patience: int, num_steps: int | None, modes: list[str], chance: random.Random
    ) -> None:
        """From any start_step, in any order and by ranges on an executor, the same rows fire."""
        with tempfile.TemporaryDirectory() as folder:
            run = write_run(folder, events, modes)
            judged = oracle(run, num_steps)
            firing = expected_firing(judged, patience)

            report = check_trial(folder, num_steps, patience=patience)
            assert judged == sorted(map(facts, report), key=lambda row: judged.index(row))
            assert steps_of(firing) == fired(report)
            assert bool(firing) == report.fired
            groups = {(group.tensor, group.worker, group.verdict) for group in report.history.firing}
            assert expected_groups(judged, patience) == groups

            judge, steps = judge_of(report.trial, num_steps=num_steps, patience=patience)
            start = chance.choice(steps)
            later = {step for step in steps_of(firing) if step >= start}
            assert later == fired(check_trial(folder, num_steps, patience=patience, start_step=start))
            end = chance.choice(steps) + 1
            earlier = {step for step in steps_of(firing) if step < end}
            assert earlier == fired(check_trial(folder, num_steps, patience=patience, end_step=end))

            given_steps: dict[int, list[Judged]] = {}
            for step in chance.sample(steps, len(steps)):
                given_steps[step] = sorted(map(facts, judge.judge_step(step).firing))
            assert [] == judge.end()
            assert {step: sorted(row for row in firing if row.global_step == step) for step in steps} == given_steps
            assert steps_of(firing) == judge.history.fired_steps

            some, _ = judge_of(report.trial, num_steps=num_steps, patience=patience)
            invoked = chance.sample(steps, chance.randint(1, len(steps)))
            for step in invoked:
                some.judge_step(step)
            assert steps_of(firing) & set(invoked) == some.history.fired_steps

            with pytest.MonkeyPatch.context() as patched, ThreadPoolExecutor(2) as executor:
                patched.setattr(check, "LEAST_STEPS", 3)
                for first in (0, start):
                    by_ranges = check_trial(folder, num_steps, patience=patience, start_step=first, executor=executor)
                    assert {step for step in steps_of(firing) if step >= first} == fired(by_ranges)
                    alone = check_trial(folder, num_steps, patience=patience, start_step=first)
                    assert alone.history.firing != [] or not by_ranges.fired
                    assert [repr(group.as_dict()) for group in alone.history.firing] == [
                        repr(group.as_dict()) for group in by_ranges.history.firing
                    ]

    @pytest.mark.parametrize(
        ("events", "patience", "expected"),
        [
            ([OK, SMALL, SMALL, SMALL, SMALL, OK, SMALL], 1, [1, 2, 3, 4, 6]),
            ([OK, SMALL, SMALL, SMALL, SMALL, OK, SMALL], 3, [3, 4]),
            ([OK, SMALL, SMALL, OK, SMALL, SMALL, OK], 3, []),
            ([OK, SMALL, LARGE, SMALL, OK], 3, [3]),  # of any verdict
            ([OK, SMALL, RESHAPED, SMALL, SMALL], 3, [4]),  # skipped
            ([OK, SMALL, UNSAVED, SMALL, UNSAVED, UNSAVED, SMALL], 3, [6]),
            ([OK, SMALL, LOST, OK, SMALL, SMALL], 3, [5]),  # at 2 and 3 there is no comparison
            ([OK, NAN, OK, OK], 3, [1, 2]),  # at once, and again where the reference is not finite
            ([OK, NAN, NAN, LARGE, LARGE, OK], 3, [1, 2, 3, 4]),  # 4 is the first that fires by patience alone
            ([OK, SMALL, NAN, OK, OK], 4, [2, 3]),
            ([OK, OK, SMALL, LARGE, RESHAPED, RESHAPED, LARGE, LARGE], 3, [6, 7]),
            ([OK, SMALL, SMALL], 10**6, []),
            ([OK], 1, []),
        ],
    )
    def test_rows_of_one_tensor(self, tmp_path: Path, events: list[str], patience: int, expected: list[int]) -> None:
        """What counts, what breaks a row, and what does neither."""
        run = write_run(tmp_path / "trial", {("a", "worker_0"): events})
        assert set(expected) == steps_of(expected_firing(oracle(run), patience)), "the oracle errs"
        assert set(expected) == fired(check_trial(run.path, patience=patience))

    def test_tensors_and_workers_count_for_themselves(self, tmp_path: Path) -> None:
        """Violations of two tensors, or of one tensor of two workers, do not add up."""
        events = {
            ("a", "worker_0"): [OK, SMALL, OK, SMALL, OK, SMALL],
            ("b", "worker_0"): [OK, OK, SMALL, OK, SMALL, OK],
            ("a", "worker_1"): [OK, OK, LARGE, OK, LARGE, OK],
        }
        run = write_run(tmp_path / "trial", events)
        assert set() == fired(check_trial(run.path, patience=2))
        assert {1, 2, 3, 4, 5} == fired(check_trial(run.path, patience=1))

    def test_only_groups_that_last_fire(self, tmp_path: Path) -> None:
        """All violations are counted, and those that did not last are no firing ones."""
        events = {("a", "worker_0"): [OK, SMALL, SMALL, SMALL], ("b", "worker_0"): [OK, LARGE, OK, OK]}
        report = check_trial(write_run(tmp_path / "trial", events).path, patience=3)
        history = report.history
        assert [("a", SMALL, 3)] == [(group.tensor, group.verdict, group.count) for group in history.firing]
        assert [("b", LARGE, 1)] == [(group.tensor, group.verdict, group.count) for group in history.passing]
        assert (4, 1, {3}) == (report.counts["violations"], report.exit_code, fired(report))

    def test_violations_that_do_not_last_fire_nothing(self, tmp_path: Path) -> None:
        """The run is judged, and passes."""
        report = check_trial(write_run(tmp_path / "trial", {("a", "w"): [OK, SMALL, SMALL, OK]}).path, patience=3)
        assert (0, False, 2) == (report.exit_code, report.fired, report.counts["violations"])

    @pytest.mark.parametrize(("start", "expected"), [(0, {3, 4, 5}), (3, {3, 4, 5}), (5, {5}), (6, set())])
    def test_what_came_before_start_step_counts(self, tmp_path: Path, start: int, expected: set[int]) -> None:
        """Firing depends on the trial alone."""
        run = write_run(tmp_path / "trial", {("a", "w"): [OK, SMALL, SMALL, SMALL, SMALL, SMALL, OK, OK]})
        report = check_trial(run.path, patience=3, start_step=start)
        assert (expected, min([*range(1, 8)][max(start - 1, 0) :])) == (fired(report), min(r.step for r in report))

    def test_a_lost_event_file_neither_counts_nor_breaks_a_row(self, tmp_path: Path) -> None:
        """It is reported, and the row goes on after it."""
        run = write_run(tmp_path / "trial", {("a", "w"): [OK, SMALL, SMALL, SMALL, SMALL]})
        event_file(run.path, 2, "w").unlink()
        report = check_trial(run.path, patience=2)
        assert ({4}, [1, 4]) == (fired(report), [row.step for row in report])
        assert {4} == fired(check_trial(run.path, patience=2, start_step=4))

    @pytest.mark.parametrize("start", [0, 3, 4])
    def test_a_lost_index_file_neither_counts_nor_breaks_a_row(self, tmp_path: Path, start: int) -> None:
        """The comparison after it has no certain reference, and is not made."""
        run = write_run(tmp_path / "trial", {("a", "w"): [OK, SMALL, SMALL, SMALL, SMALL]})
        index_file(run.path, 2, "w").write_text("{")
        assert {4} == fired(check_trial(run.path, patience=2, start_step=start))

    def test_a_number_that_is_saved_again_counts_once(self, trial_writer: Any) -> None:
        """The later row counts, in the order of global steps."""
        trial = trial_writer().collections({"weights": ["w"]})
        # Mode steps 0 1 2, then the job resumes and repeats 2 and goes on: the row of global step 2 does not count.
        for global_step, (step, value) in enumerate([(0, 1.0), (1, 1.0), (2, 1.0), (2, 1.0), (3, 2.0), (4, 2.0)]):
            trial.save(global_step, {"w": np.float64([value])}, "TRAIN", step)
        trial.end()
        for patience, expected in ((1, {1, 3, 5}), (2, {3}), (3, set())):
            assert expected == fired(check_trial(trial.path, patience=patience)), patience
            judge, steps = judge_of(trial.path, patience=patience)
            for step in reversed(steps):
                judge.judge_step(step)
            assert expected == judge.history.fired_steps

    def test_steps_that_were_saved_at_an_interval_are_in_a_row(self, trial_writer: Any) -> None:
        """Steps that were not saved neither count nor break it."""
        trial = trial_writer().collections({"weights": ["w"]})
        for step in (0, 500, 501, 1700, 1701):
            trial.save(step, {"w": np.ones(2)}, "TRAIN", step)
        assert {1700, 1701} == fired(check_trial(trial.end().path, patience=3))
        assert {1701} == fired(check_trial(trial.path, patience=3, start_step=1701))

    @pytest.mark.parametrize("baseline", [False, True])
    def test_patience_by_default(self, tmp_path: Path, baseline: bool) -> None:
        """1, and with a baseline 3."""
        run = write_run(tmp_path / "trial", {("a", "w"): [OK, *[OK] * 3, *[LARGE] * 4, OK]})
        good = tmp_path / "good.json"
        good.write_text(baseline_text(made_baseline({"a": (1, {0: (0.001, 0.001)})})))
        report = check_trial(run.path, baseline=good if baseline else None)
        assert ({6, 7} if baseline else {4, 5, 6, 7}) == fired(report)


class TestRecordedTrials:
    @pytest.mark.parametrize("name", ["pytorch_frozen", "pytorch_exploding"])
    @pytest.mark.parametrize("patience", [1, 3, 10])
    def test_by_its_own_rows(self, name: str, patience: int) -> None:
        """Counting the rows of the history gives the steps that fire, from any start_step."""
        report = check_trial(RECORDED[name], patience=patience)
        expected = steps_of(expected_firing(list(map(facts, report)), patience))
        assert expected
        assert expected == fired(report)
        for start in (4, 15, 27):
            later = check_trial(RECORDED[name], patience=patience, start_step=start)
            assert {step for step in expected if step >= start} == fired(later)


def made_row(step: int, ratio: float, tensor: str = "a", back: int = 1) -> Comparison:
    """Return a row of a worker "w" that is judged by the default thresholds."""
    verdict = plain_verdict(ratio, 1e-8, 10.0)
    return Comparison(tensor, "w", "TRAIN", step, step - back, step, ratio, 1.0, ratio, 1e-8, 10.0, verdict)


class TestWaitingForTheBaseline:
    """While nothing of a live job can be held against its baseline, what the thresholds say waits."""

    @pytest.fixture
    def trial(self) -> MemoryTrial:
        """Give a live trial of a tensor "a" that was saved at steps 0 to 5."""
        trial = MemoryTrial()
        for step in range(6):
            trial.save(step, "a")
        return trial

    @staticmethod
    def firing(folder: TrialFolder, bands: Any) -> Firing:
        parameters = Parameters(baseline=("good",), patience=1)
        history = History("memory", parameters, Bounds(parameters, made_baseline(bands)))
        history.mode = "TRAIN"
        return Firing(folder, history)

    def test_violations_wait_and_fire_with_the_first_row_that_can_be_held(self, trial: MemoryTrial) -> None:
        """In their order, before those of that step; what is not finite does not wait."""
        folder = trial.folder()
        firing = self.firing(folder, {"a": (1, {1: (0.5, 0.5)})})  # it begins at step 8
        early, broken, late = made_row(1, 99.0), made_row(2, math.nan), made_row(4, 0.0)
        assert [] == rows_of(firing.add([early]))
        assert [broken] == rows_of(firing.add([broken]))
        assert [] == rows_of(firing.add([late]))
        assert [] == rows_of(firing.add([]))
        for step in (6, 7, 8):
            trial.save(step, "a")
            folder.refresh(step)
            if step < 8:
                assert [] == rows_of(firing.add([]))
        held = made_row(8, 77.0)
        assert [early, late, held] == rows_of(firing.add([held]))
        assert [] == rows_of(firing.add([]))

    def test_once_something_can_be_held_nothing_waits(self, trial: MemoryTrial) -> None:
        """Also violations of another tensor, by the thresholds."""
        firing = self.firing(trial.folder(), {"a": (1, {0: (0.5, 0.5)})})
        other = made_row(3, 99.0, "b")
        assert [other] == rows_of(firing.add([other]))

    def test_without_a_baseline_nothing_waits(self, trial: MemoryTrial) -> None:
        """The thresholds are all that there is."""
        history = History("memory", Parameters())
        history.mode = "TRAIN"
        row = made_row(3, 99.0)
        assert [row] == rows_of(Firing(trial.folder(), history).add([row]))

    @pytest.mark.parametrize(
        "bands", [{}, {"b": (1, {0: (0.5, 0.5)})}, {"a": (2, {0: (0.5, 0.5)})}, {"a": (1, {1: (0.5, 0.5)})}]
    )
    def test_a_baseline_that_nothing_can_be_held_against(self, trial: MemoryTrial, bands: Any) -> None:
        """It is empty, of other tensors, over another gap, or begins later: only what is not finite fires."""
        firing = self.firing(trial.folder(), bands)
        large, infinite, nan = made_row(1, 99.0), made_row(2, math.inf), made_row(3, math.nan)
        assert [infinite, nan] == rows_of(firing.add([large, infinite, nan]))
        assert [] == rows_of(firing.add([]))


@needs_writing
class TestARunThatCannotBeHeld:
    @pytest.fixture
    def other(self, tmp_path: Path) -> Path:
        """Give a baseline of another tensor."""
        (tmp_path / "other.json").write_text(baseline_text(made_baseline({"other": (1, {0: (0.5, 0.5)})})))
        return tmp_path / "other.json"

    def test_the_thresholds_fire_nothing(self, tmp_path: Path, other: Path) -> None:
        """Exit code 2, and the violations are in the report."""
        run = write_run(tmp_path / "trial", {("a", "w"): [OK, LARGE, LARGE, LARGE, LARGE]})
        report = check_trial(run.path, baseline=other)
        assert (2, set(), 4) == (report.exit_code, fired(report), report.counts["violations"])
        assert "has none of the run's tensors ('a'): it holds 'other'" in report.problem.message

    def test_what_is_not_finite_fires(self, tmp_path: Path, other: Path) -> None:
        """Exit code 1: no baseline is needed to see that."""
        run = write_run(tmp_path / "trial", {("a", "w"): [OK, LARGE, LARGE, LARGE, NAN]})
        report = check_trial(run.path, baseline=other)
        assert (1, {4}) == (report.exit_code, fired(report))

    def test_by_ranges_too(self, tmp_path: Path, other: Path) -> None:
        """An executor's ranges give the same report."""
        run = write_run(tmp_path / "trial", {("a", "w"): [OK, *[LARGE] * 20, NAN]})
        with ThreadPoolExecutor(2) as executor:
            report = check_trial(run.path, baseline=other, executor=executor)
        assert (1, {21}) == (report.exit_code, fired(report))
        assert json.loads(report.to_json()) == json.loads(check_trial(run.path, baseline=other).to_json())

    def test_one_row_that_can_be_held_lets_the_thresholds_fire(self, tmp_path: Path) -> None:
        """Also at steps before it, and where the judged steps end before it: the trial alone decides."""
        good = tmp_path / "good.json"
        good.write_text(baseline_text(made_baseline({"a": (1, {1: (0.001, 0.001)})})))
        run = write_run(tmp_path / "trial", {("a", "w"): [OK, *[LARGE] * 4, *[OK] * 6]})
        assert {3, 4} == fired(check_trial(run.path, baseline=good))
        assert {3, 4} == fired(check_trial(run.path, baseline=good, end_step=6))

    def test_a_layer_that_is_frozen_in_the_good_run(self, tmp_path: Path) -> None:
        """It passes while it rests, and fires when it moves for the third time in a row."""
        good = tmp_path / "good.json"
        good.write_text(baseline_text(made_baseline({"a": (1, {0: (0.0, 0.0)})})))
        run = write_run(tmp_path / "trial", {("a", "w"): [SMALL] * 5 + [OK] * 4})
        report = check_trial(run.path, baseline=good)
        assert {7, 8} == fired(report)
        assert [(LARGE, 4, 0.0, 1e-8)] == [
            (group.verdict, group.count, group.lower, group.upper) for group in report.violations
        ]
