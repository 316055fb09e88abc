"""How large the ratios of a run are, and which tensors moved away from the others."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.findings.made_runs import judged_report
from weight_update_ratio.findings.summary import Summary, run_summary

SCHEDULE = np.geomspace(1, 1e-3, 60)


def summary(ratios: Any, **options: Any) -> Summary:
    return run_summary(judged_report(ratios, **options))


def well(steps: int = 60, tensors: int = 5, schedule: Any = 1.0) -> dict[Any, Any]:
    """Return ratios of tensors at levels of their own, 1e-3 to 5e-3."""
    return {f"h{at}": [float(r) for r in (at + 1) * 1e-3 * np.ones(steps) * schedule] for at in range(tensors)}


def drifted(decades: float, steps: int = 60, schedule: Any = 1.0) -> list[float]:
    return [float(ratio) for ratio in 2e-3 * np.logspace(0, decades, steps) * schedule]


class TestRatios:
    def test_median_and_quantiles_of_all_finite_ratios(self) -> None:
        """Of all tensors and workers together; zeros count, and what is not finite does not."""
        ratios = {
            ("a", "w0"): [float(number) for number in range(51)] + [math.nan],
            ("a", "w1"): [float(number) for number in range(51, 101)] + [math.inf],
        }
        assert (50.0, 5.0, 95.0) == summary(ratios)[:3]

    @given(st.lists(st.floats(0, 1e300), min_size=1, max_size=40))
    def test_against_numpy(self, ratios: list[float]) -> None:
        expected = np.quantile(ratios, [0.5, 0.05, 0.95])
        assert pytest.approx(list(expected)) == summary({"a": ratios})[:3]

    def test_of_one_ratio(self) -> None:
        assert (0.25, 0.25, 0.25, ()) == summary({"a": [0.25]})

    @pytest.mark.parametrize("ratios", [[None], [math.nan] * 3])
    def test_where_none_is_finite(self, ratios: Any) -> None:
        assert (None, None, None, ()) == summary({"a": ratios})

    def test_by_name(self) -> None:
        assert {"median": 1.0, "p05": 1.0, "p95": 1.0, "outliers": []} == summary({"a": [1.0]}).as_dict()


class TestOutliers:
    @pytest.mark.parametrize("decades", [1.6, -1.6, 3.0, -3.0])
    @pytest.mark.parametrize("schedule", [1.0, SCHEDULE], ids=["constant", "schedule"])
    def test_a_tensor_that_drifts_by_more_than_a_decade(self, decades: float, schedule: Any) -> None:
        """Against the others at the same step."""
        assert ("a",) == summary({**well(schedule=schedule), "a": drifted(decades, schedule=schedule)}).outliers

    @pytest.mark.parametrize("decades", [0.8, -0.8])
    def test_a_tensor_that_drifts_by_less(self, decades: float) -> None:
        assert () == summary({**well(), "a": drifted(decades)}).outliers

    def test_a_schedule_does_not_count(self) -> None:
        assert () == summary(well(schedule=SCHEDULE)).outliers
        assert () == summary(well(schedule=np.linspace(1, 0, 60))).outliers

    def test_a_tensor_that_does_not_follow_the_schedule(self) -> None:
        assert ("a",) == summary({**well(schedule=SCHEDULE), "a": [1e-3] * 60}).outliers

    def test_a_tensor_that_steps_away(self) -> None:
        assert ("a",) == summary({**well(), "a": [1e-3] * 30 + [5e-5] * 30}).outliers

    def test_a_tensor_that_was_far_from_the_start(self) -> None:
        """It did not move away."""
        assert () == summary({**well(), "a": [1.0] * 60}).outliers

    def test_a_tensor_that_comes_nearer(self) -> None:
        assert () == summary({**well(), "a": drifted(-2, schedule=100.0)}).outliers

    def test_one_spike_is_no_move(self) -> None:
        assert () == summary({**well(), "a": [1e-3] * 30 + [1.0] + [1e-3] * 29}).outliers

    def test_a_zero_start_is_no_move(self) -> None:
        ratios = {**well(), "a": [1e6] * 2 + [1e-3] * 58}
        assert () == summary(ratios, zero_weights=[("a", 1), ("a", 2)]).outliers

    def test_zeros_and_what_is_not_finite_have_no_level(self) -> None:
        ratios = {**well(), "a": [0] * 60, "b": [1e-3] * 30 + [0] * 30, "c": [1e-3] * 30 + [math.nan] * 30}
        assert () == summary(ratios).outliers

    def test_of_accumulated_steps(self) -> None:
        """Steps at which all rest do not count."""
        rest = [float(step % 4 == 0) for step in range(80)]
        ratios = {name: [r * own for r, own in zip(rest, values)] for name, values in well(80).items()}
        ratios["a"] = [r * own for r, own in zip(rest, drifted(-2, 80))]
        assert ("a",) == summary(ratios).outliers

    def test_on_one_worker_of_two(self) -> None:
        """It is named once; the other worker's tensors are not what it is held against."""
        ratios = {(name, worker): own for name, own in well().items() for worker in ("w0", "w1")}
        assert ("a",) == summary({**ratios, ("a", "w0"): [1e-3] * 60, ("a", "w1"): drifted(-2)}).outliers

    def test_in_the_order_of_the_trial(self) -> None:
        assert ("z", "a") == summary({"z": drifted(2), **well(), "a": drifted(-2)}).outliers

    def test_too_few_comparisons_for_a_level(self) -> None:
        assert () == summary({**well(9), "a": drifted(3, 9)}).outliers

    def test_one_tensor_has_no_others(self) -> None:
        assert () == summary({"a": drifted(-5)}).outliers

    @given(st.randoms(use_true_random=False))
    def test_the_order_of_judging_does_not_matter(self, random: Any) -> None:
        ratios = {**well(12), "a": drifted(-3, 12)}
        assert summary(ratios) == summary(ratios, shuffle=random)


class TestFrames:
    RATIOS: ClassVar[Any] = {
        ("b", "w0"): [1e-3, 3e-3, 50.0, math.nan],
        ("a", "w0"): [0, 2e-3, None, None],
        ("b", "w1"): [math.inf, math.inf],
    }

    def test_a_row_a_tensor_and_worker(self) -> None:
        """Median, lowest and highest are of the finite ratios, in the trial's order."""
        frame = judged_report(self.RATIOS).summary()
        names = ["tensor", "worker", "median", "lowest", "highest", "last", "violations"]
        assert names == list(frame.columns)
        nan = math.nan
        expected = [
            ("b", "w0", 3e-3, 1e-3, 50.0, nan, 2),
            ("b", "w1", nan, nan, nan, math.inf, 2),
            ("a", "w0", 1e-3, 0.0, 2e-3, 2e-3, 1),
        ]
        assert repr(expected) == repr([tuple(row) for row in frame.itertuples(index=False)])
        assert ["float64"] * 4 + ["int64"] == [str(frame[name].dtype) for name in names[2:]]

    def test_of_an_empty_run(self) -> None:
        frame = judged_report({"a": [None]}).summary()
        assert (0, 7) == frame.shape

    def test_the_history(self) -> None:
        """A row a comparison, with its bounds and verdict in words."""
        report = judged_report(self.RATIOS)
        frame = report.comparisons()
        assert next(tuple(row) for row in report) == tuple(frame.iloc[0])
        assert repr(list(map(tuple, report))) == repr([tuple(row) for row in frame.itertuples(index=False)])
