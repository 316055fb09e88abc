"""Which violations fire: against a plain count by the words of the contract."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import RECORDED, TrialWriter, change_json, event_file, index_file, needs_writing, plain_verdict
from tests.findings.made_runs import judged_report, made_baseline
from weight_update_ratio import check_trial
from weight_update_ratio.compare.ratio import VERDICTS
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.verdict.baseline_file import baseline_text
from weight_update_ratio.verdict.firing import decades_outside, firing, longest_course
from weight_update_ratio.verdict.judged_run import firing_at

OK, SMALL, LARGE, NOT_FINITE = "ok", "small", "large", "not_finite"
NAN, RESHAPED, UNSAVED, LOST = "nan", "reshaped", "unsaved", "lost"


class Row(NamedTuple):
    tensor: int
    worker: int
    verdict: str


def plain_firing(rows: list[Any], patience: int) -> tuple[list[bool], list[bool]]:
    """Return which rows fire, and which do or lead up to one that does, counted one by one."""
    in_a_row: dict[Any, list[int]] = {}
    fires, leads = [row.verdict == NOT_FINITE for row in rows], [row.verdict == NOT_FINITE for row in rows]
    for place, row in enumerate(rows):
        course = in_a_row.setdefault((row.tensor, row.worker), [])
        if row.verdict == OK:
            course.clear()
            continue
        course.append(place)
        if len(course) >= patience:
            fires[place] = True
            for before in course:
                leads[before] = True
    return fires, leads


def columns_of(rows: list[Row]) -> dict[str, Any]:
    numbers = [(row.tensor, row.worker, VERDICTS.index(row.verdict)) for row in rows]
    return dict(zip(("tensor", "worker", "verdict"), np.array(numbers, np.int32).reshape(-1, 3).T))


def one_tensor(verdicts: str) -> list[Row]:
    return [Row(0, 0, {"o": OK, "s": SMALL, "l": LARGE, "n": NOT_FINITE}[verdict]) for verdict in verdicts]


ROWS = st.lists(
    st.builds(Row, st.integers(0, 2), st.integers(0, 2), st.sampled_from([OK, SMALL, SMALL, LARGE, NOT_FINITE])),
    max_size=60,
)


class TestFiring:
    @given(ROWS, st.one_of(st.integers(1, 5), st.just(10**6)))
    def test_any_rows(self, rows: list[Row], patience: int) -> None:
        """At once where not finite, else from the patience-th violation in a row on."""
        found = firing(columns_of(rows), patience)
        assert plain_firing(rows, patience) == (found.fires.tolist(), found.leads.tolist())

    @pytest.mark.parametrize(
        ("verdicts", "patience", "fires", "leads"),
        [
            ("osssoso", 1, [1, 2, 3, 5], [1, 2, 3, 5]),
            ("ossssos", 3, [3, 4], [1, 2, 3, 4]),
            ("ossosso", 3, [], []),
            ("oslso", 3, [3], [1, 2, 3]),  # of any verdict
            ("onoo", 3, [1], [1]),
            ("osnoo", 4, [2], [2]),
            ("snssn", 3, [1, 2, 3, 4], [0, 1, 2, 3, 4]),
            ("", 3, [], []),
        ],
    )
    def test_rows_of_one_tensor(self, verdicts: str, patience: int, fires: list[int], leads: list[int]) -> None:
        """What counts, and what breaks a row."""
        found = firing(columns_of(one_tensor(verdicts)), patience)
        assert (fires, leads) == tuple(np.flatnonzero(each).tolist() for each in found)

    def test_tensors_and_workers_count_for_themselves(self) -> None:
        """Violations of two tensors, or of one tensor of two workers, do not add up."""
        rows = [Row(tensor, worker, SMALL) for tensor, worker in ((0, 0), (1, 0), (0, 1))]
        assert not firing(columns_of(rows), 2).fires.any()
        assert firing(columns_of(rows), 1).fires.all()


class TestLongestCourse:
    @given(ROWS)
    def test_any_rows(self, rows: list[Row]) -> None:
        """How many rows the tensor and worker that has most of them has."""
        counts = Counter((row.tensor, row.worker) for row in rows)
        assert max(counts.values(), default=0) == longest_course(columns_of(rows))


def plain_decades(ratio: float, lower: float, upper: float) -> float:
    """Return how many decades a ratio is outside of its bounds; a bound of 0 has no distance."""
    if not math.isfinite(ratio):
        return math.inf
    above = -math.inf if ratio == 0 else 1000.0 if upper == 0 else math.log10(ratio) - math.log10(upper)
    below = -math.inf if lower == 0 else 1000.0 if ratio == 0 else math.log10(lower) - math.log10(ratio)
    return max(above, below)


class TestDecadesOutside:
    @given(
        st.one_of(st.sampled_from([0.0, math.nan, math.inf, 5e-324, 1e308]), st.floats(0, 1e300)),
        st.one_of(st.just(0.0), st.floats(1e-300, 1.0)),
        st.floats(1.0, 1e300),
    )
    def test_any_ratio(self, ratio: float, lower: float, upper: float) -> None:
        """Infinite for what is not finite; no violation is inside of its bounds, and nothing else outside."""
        verdict = plain_verdict(ratio, lower, upper)
        columns = {"ratio": ratio, "lower": lower, "upper": upper, "verdict": VERDICTS.index(verdict)}
        (found,) = decades_outside({name: np.array([value]) for name, value in columns.items()}).tolist()
        assert found == pytest.approx(plain_decades(ratio, lower, upper), rel=1e-9, abs=1e-9)
        assert found >= 0 if verdict != OK else found <= 0


STEPS = st.lists(
    st.dictionaries(
        st.tuples(st.sampled_from("ab"), st.sampled_from(["w0", "w1"])),
        st.sampled_from([1e-3, 1e-3, 0.0, 1e-10, 1e-10, 50.0, 700.0, math.nan]),
    ),
    min_size=1,
    max_size=40,
)
BANDS = st.sampled_from(
    [
        None,
        {"a": (1, {0: (1e-3, 1e-3)}), "b": (1, {0: (1e-3, 1e-3)})},
        {"a": (1, {1: (1e-3, 1e-3), 2: (1e-3, 30.0)})},  # from step 8 on
        {"a": (2, {0: (1e-3, 1e-3)})},
    ]
)


class TestFiringAt:
    @given(STEPS, st.integers(1, 4), BANDS)
    def test_any_rows(self, steps: list[dict[Any, float]], patience: int, bands: Any) -> None:
        """At each step it is what fires there of the rows up to it, the worst first."""
        keys = sorted({key for ratios in steps for key in ratios}) or [("a", "w0")]
        values = {key: [ratios.get(key) for ratios in steps] for key in keys}
        report = judged_report(values, Parameters(patience=patience), bands and made_baseline(bands))
        rows = list(report)
        for step in range(1, len(steps) + 1):
            known = [row for row in rows if row.global_step <= step]
            fires = plain_firing(known, patience)[0]
            expected = [row for row, own in zip(known, fires) if own and row.global_step == step]
            found = firing_at(report.rows, report.bounds, "TRAIN", step)
            assert {row[:6] for row in expected} == {row[:6] for row in found}
            assert len(expected) == len(found)
            assert [row.verdict for row in sorted(expected)] == [row.verdict for row in sorted(found)]
            decades = [plain_decades(row.ratio, row.lower, row.upper) for row in found]
            assert sorted(decades, reverse=True) == decades

    def test_a_step_that_was_not_compared(self) -> None:
        """Nothing fires there."""
        report = judged_report({"a": [50.0, None, 50.0]})
        assert [] == firing_at(report.rows, report.bounds, "TRAIN", 2)
        assert [] == firing_at(report.rows, report.bounds, "TRAIN", 7)


def write_run(path: Path | str, events: dict[Any, list[str]]) -> Path:
    """Write a trial in which each (tensor, worker) has these events at its steps."""
    writer = TrialWriter(path)
    workers = sorted({worker for _, worker in events})
    writer.collections({"weights": sorted({tensor for tensor, _ in events})}, workers=workers)
    weights = {key: np.ones(2) for key in events}
    for step in range(max(map(len, events.values()))):
        for worker in workers:
            arrays = {}
            for (tensor, owner), found in events.items():
                event = found[step] if step < len(found) else UNSAVED
                if owner == worker and event != UNSAVED:
                    arrays[tensor] = weights[tensor, worker] = after(weights[tensor, worker], event)
            if arrays:
                writer.save(step, arrays, "TRAIN", step, worker)
    for (tensor, worker), found in events.items():
        for step in (step for step, event in enumerate(found) if event == LOST):
            change_json(index_file(Path(path), step, worker), lambda index, tensor=tensor: without_place(index, tensor))
    return Path(path)


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


@needs_writing
class TestWrittenTrials:
    @pytest.mark.parametrize(
        ("events", "patience", "expected"),
        [
            ([OK, SMALL, SMALL, SMALL, SMALL, OK, SMALL], 1, [1, 2, 3, 4, 6]),
            ([OK, SMALL, SMALL, SMALL, SMALL, OK, SMALL], 3, [3, 4]),
            ([OK, SMALL, RESHAPED, SMALL, SMALL], 3, [4]),  # skipped
            ([OK, SMALL, UNSAVED, SMALL, UNSAVED, UNSAVED, SMALL], 3, [6]),
            ([OK, SMALL, LOST, OK, SMALL, SMALL], 3, [5]),  # at 2 and 3 there is no comparison
            ([OK, NAN, OK, OK], 3, [1, 2]),  # at once, and again where the reference is not finite
            ([OK, NAN, NAN, LARGE, LARGE, OK], 3, [1, 2, 3, 4]),  # 4 is the first that fires by patience alone
            ([OK, OK, SMALL, LARGE, RESHAPED, RESHAPED, LARGE, LARGE], 3, [6, 7]),
            ([OK], 1, []),
        ],
    )
    def test_rows_of_one_tensor(self, tmp_path: Path, events: list[str], patience: int, expected: list[int]) -> None:
        """What counts, what breaks a row, and what does neither."""
        trial = write_run(tmp_path / "trial", {("a", "worker_0"): events})
        assert expected == check_trial(trial, patience=patience).fired_steps

    def test_only_groups_that_last_fire(self, tmp_path: Path) -> None:
        """All violations are counted, and those that did not last are no firing ones."""
        events = {("a", "worker_0"): [OK, SMALL, SMALL, SMALL], ("b", "worker_0"): [OK, LARGE, OK, OK]}
        report = check_trial(write_run(tmp_path / "trial", events), patience=3)
        assert [("a", SMALL, 3)] == [(group.tensor, group.verdict, group.count) for group in report.firing]
        assert [("b", LARGE, 1)] == [(group.tensor, group.verdict, group.count) for group in report.passing]
        assert (4, 1, [3]) == (report.counts["violations"], report.exit_code, report.fired_steps)

    def test_violations_that_do_not_last_fire_nothing(self, tmp_path: Path) -> None:
        """The run is judged, and passes."""
        report = check_trial(write_run(tmp_path / "trial", {("a", "w"): [OK, SMALL, SMALL, OK]}), patience=3)
        assert (0, False, 2) == (report.exit_code, report.fired, report.counts["violations"])

    @pytest.mark.parametrize(("start", "expected"), [(0, [3, 4, 5]), (2, [4, 5]), (3, [5]), (4, []), (5, [])])
    def test_what_came_before_start_step_does_not_count(self, tmp_path: Path, start: int, expected: list[int]) -> None:
        """Its first comparison is the first that does."""
        trial = write_run(tmp_path / "trial", {("a", "w"): [OK, SMALL, SMALL, SMALL, SMALL, SMALL, OK, OK]})
        report = check_trial(trial, patience=3, start_step=start)
        assert (expected, max(start, 1)) == (report.fired_steps, min(row.step for row in report))
        assert int(bool(expected)) == report.exit_code

    def test_a_lost_event_file_neither_counts_nor_breaks_a_row(self, tmp_path: Path) -> None:
        """It is reported, and the row goes on after it."""
        trial = write_run(tmp_path / "trial", {("a", "w"): [OK, SMALL, SMALL, SMALL, SMALL]})
        event_file(trial, 2, "w").unlink()
        report = check_trial(trial, patience=2)
        assert ([4], [1, 4]) == (report.fired_steps, [row.step for row in report])

    def test_a_lost_index_file_neither_counts_nor_breaks_a_row(self, tmp_path: Path) -> None:
        """The comparison after it has no certain reference, and is not made."""
        trial = write_run(tmp_path / "trial", {("a", "w"): [OK, SMALL, SMALL, SMALL, SMALL]})
        index_file(trial, 2, "w").write_text("{")
        assert [4] == check_trial(trial, patience=2).fired_steps

    def test_a_number_that_is_saved_again_counts_once(self, trial_writer: Any) -> None:
        """The later row counts, in the order of global steps."""
        trial = trial_writer().collections({"weights": ["w"]})
        # Mode steps 0 1 2, then the job resumes and repeats 2 and goes on: the row of global step 2 does not count.
        for global_step, (step, value) in enumerate([(0, 1.0), (1, 1.0), (2, 1.0), (2, 1.0), (3, 2.0), (4, 2.0)]):
            trial.save(global_step, {"w": np.float64([value])}, "TRAIN", step)
        trial.end()
        for patience, expected in ((1, [1, 3, 5]), (2, [3]), (3, [])):
            assert expected == check_trial(trial.path, patience=patience).fired_steps, patience

    def test_steps_that_were_saved_at_an_interval_are_in_a_row(self, trial_writer: Any) -> None:
        """Steps that were not saved neither count nor break it."""
        trial = trial_writer().collections({"weights": ["w"]})
        for step in (0, 500, 501, 1700, 1701):
            trial.save(step, {"w": np.ones(2)}, "TRAIN", step)
        assert [1700, 1701] == check_trial(trial.end().path, patience=3).fired_steps

    @pytest.mark.parametrize("baseline", [False, True])
    def test_patience_by_default(self, tmp_path: Path, baseline: bool) -> None:
        """1, and with a baseline 3."""
        trial = write_run(tmp_path / "trial", {("a", "w"): [OK, *[OK] * 3, *[LARGE] * 4, OK]})
        good = tmp_path / "good.json"
        good.write_text(baseline_text(made_baseline({"a": (1, {0: (0.001, 0.001)})})))
        report = check_trial(trial, baseline=good if baseline else None)
        assert ([6, 7] if baseline else [4, 5, 6, 7]) == report.fired_steps


class TestRecordedTrials:
    @pytest.mark.parametrize("name", ["pytorch_frozen", "pytorch_exploding"])
    @pytest.mark.parametrize("patience", [1, 3, 10])
    @pytest.mark.parametrize("start", [0, 4, 9])
    def test_by_its_own_rows(self, name: str, patience: int, start: int) -> None:
        """Counting the rows of the report gives the steps that fire."""
        report = check_trial(RECORDED[name], patience=patience, start_step=start)
        rows = list(report)
        fires, leads = plain_firing(rows, patience)
        assert sorted({row.global_step for row, own in zip(rows, fires) if own}) == report.fired_steps != []
        assert {(row.tensor, row.worker, row.verdict) for row, own in zip(rows, leads) if own} == {
            (group.tensor, group.worker, group.verdict) for group in report.firing
        }


@needs_writing
class TestPatienceThatNothingCanReach:
    def test_it_is_a_problem(self, tmp_path: Path) -> None:
        """No tensor of a worker has as many comparisons, though all together have."""
        events = {("a", "u"): [OK, SMALL, SMALL], ("b", "u"): [OK, SMALL], ("a", "v"): [OK, SMALL, SMALL]}
        trial = write_run(tmp_path / "trial", events)
        report = check_trial(trial, patience=3)
        assert (2, [], False) == (report.exit_code, report.fired_steps, report.is_judged)
        assert (
            "patience asks for 3 violations in a row, and no tensor has more than 2 comparisons: "
            "nothing but a value that is not finite could fire",
            "Save more steps, or set patience=2.",
        ) == (report.problem.message, report.problem.remedy)
        assert report.to_text().startswith(f"NOT JUDGED  {trial}: patience asks for 3 violations")
        advised = check_trial(trial, patience=2)
        assert (1, [2], None, True) == (advised.exit_code, advised.fired_steps, advised.problem, advised.is_judged)

    def test_also_where_nothing_violates(self, tmp_path: Path) -> None:
        """One comparison is one."""
        report = check_trial(write_run(tmp_path / "trial", {("a", "w"): [OK, OK]}), patience=2)
        assert 2 == report.exit_code
        assert "no tensor has more than 1 comparison:" in report.problem.message

    def test_what_is_not_finite_fires(self, tmp_path: Path) -> None:
        """It waits for no other."""
        report = check_trial(write_run(tmp_path / "trial", {("a", "w"): [OK, SMALL, NAN]}), patience=3)
        assert (1, [2]) == (report.exit_code, report.fired_steps)

    def test_that_of_a_baseline_is_named(self, tmp_path: Path) -> None:
        """Nobody gave it."""
        good = tmp_path / "good.json"
        good.write_text(baseline_text(made_baseline({"a": (1, {0: (0.001, 0.001)})})))
        trial = write_run(tmp_path / "trial", {("a", "w"): [OK, OK, OK]})
        report = check_trial(trial, baseline=good)
        assert 2 == report.exit_code
        assert report.problem.message.startswith(
            "patience, with a baseline 3 where it is not given, asks for 3 violations in a row, and no tensor has more "
        )
        assert 0 == check_trial(trial, baseline=good, patience=2).exit_code


@needs_writing
class TestARunThatCannotBeHeld:
    @pytest.mark.parametrize(
        "bands",
        [{}, {"other": (1, {0: (0.5, 0.5)})}, {"a": (2, {0: (0.5, 0.5)})}, {"a": (1, {2: (0.5, 0.5)})}],
    )
    @pytest.mark.parametrize(("last", "code", "fired"), [(LARGE, 2, []), (NAN, 1, [4])])
    def test_only_what_is_not_finite_fires(
        self, tmp_path: Path, bands: Any, last: str, code: int, fired: list[int]
    ) -> None:
        """The baseline is empty, of other tensors, over another gap, or begins later; the violations are listed."""
        good = tmp_path / "good.json"
        good.write_text(baseline_text(made_baseline(bands)))
        trial = write_run(tmp_path / "trial", {("a", "w"): [OK, LARGE, LARGE, LARGE, last]})
        report = check_trial(trial, baseline=good)
        assert (code, fired, 4, False) == (
            report.exit_code,
            report.fired_steps,
            report.counts["violations"],
            report.is_judged,
        )
        assert str(good) in report.problem.message

    def test_one_row_that_is_held_lets_the_thresholds_fire(self, tmp_path: Path) -> None:
        """Also at steps before it; where the judged steps end before it, the run is not judged."""
        good = tmp_path / "good.json"
        good.write_text(baseline_text(made_baseline({"a": (1, {1: (0.001, 0.001)})})))
        trial = write_run(tmp_path / "trial", {("a", "w"): [OK, *[LARGE] * 4, *[OK] * 6]})
        assert [3, 4] == check_trial(trial, baseline=good).fired_steps
        short = check_trial(trial, baseline=good, end_step=6)
        assert ([], 2) == (short.fired_steps, short.exit_code)

    def test_a_layer_that_is_frozen_in_the_good_run(self, tmp_path: Path) -> None:
        """It passes while it rests, and fires when it moves for the third time in a row."""
        good = tmp_path / "good.json"
        good.write_text(baseline_text(made_baseline({"a": (1, {0: (0.0, 0.0)})})))
        report = check_trial(write_run(tmp_path / "trial", {("a", "w"): [SMALL] * 5 + [OK] * 4}), baseline=good)
        assert [7, 8] == report.fired_steps
        assert [(LARGE, 4, 0.0, 1e-8)] == [
            (group.verdict, group.count, group.lower, group.upper) for group in report.violations
        ]
