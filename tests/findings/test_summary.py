"""How large the ratios of a run are, and which tensors moved away from the others."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.findings.made_runs import judged_report
from weight_update_ratio.findings.summary import Summary, run_summary

SCHEDULE = np.geomspace(1, 1e-3, 60)
NONE: tuple[str, ...] = ()


def summary(ratios: Any, **options: Any) -> Summary:
    return run_summary(judged_report(ratios, **options))


def well(steps: int = 60, schedule: Any = 1.0) -> dict[Any, Any]:
    """Return ratios of five tensors at levels of their own, 1e-3 to 5e-3."""
    return {f"h{at}": ((at + 1) * 1e-3 * np.ones(steps) * schedule).tolist() for at in range(5)}


def drifted(decades: float, steps: int = 60, schedule: Any = 1.0) -> list[float]:
    return (2e-3 * np.logspace(0, decades, steps) * schedule).tolist()


def at_rest_between(ratios: list[float]) -> list[float]:
    """Return ratios of a run that accumulates gradients over four steps."""
    return [ratio * (step % 4 == 0) for step, ratio in enumerate(ratios)]


@given(st.lists(st.floats(0, 1e300), min_size=1, max_size=40))
def test_median_and_quantiles_are_numpys(ratios: list[float]) -> None:
    """Of all tensors and workers together; zeros count, and what is not finite does not."""
    halves = {("a", "w0"): [*ratios[::2], math.nan], ("a", "w1"): [math.inf, *ratios[1::2]]}
    assert pytest.approx(np.quantile(ratios, [0.5, 0.05, 0.95]).tolist()) == list(summary(halves)[:3])


@pytest.mark.parametrize("ratios", [[None], [math.nan] * 3])
def test_nothing_is_finite(ratios: Any) -> None:
    assert {"median": None, "p05": None, "p95": None, "outliers": []} == summary({"a": ratios}).as_dict()


BOTH = {(name, worker): own for name, own in well().items() for worker in ("w0", "w1")}
OUTLIERS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "drifts up by more than a decade": ({**well(), "a": drifted(1.6)}, ("a",)),
    "drifts down by more than a decade": ({**well(), "a": drifted(-1.6)}, ("a",)),
    "drifts against a schedule": ({**well(schedule=SCHEDULE), "a": drifted(1.6, schedule=SCHEDULE)}, ("a",)),
    "drifts by less": ({**well(), "a": drifted(-0.8)}, NONE),
    "a schedule does not count": (well(schedule=SCHEDULE), NONE),
    "a schedule that ends at 0 does not count": (well(schedule=np.linspace(1, 0, 60)), NONE),
    "does not follow the schedule": ({**well(schedule=SCHEDULE), "a": [1e-3] * 60}, ("a",)),
    "steps away": ({**well(), "a": [1e-3] * 30 + [5e-5] * 30}, ("a",)),
    "was far from the start": ({**well(), "a": [1.0] * 60}, NONE),
    "comes nearer": ({**well(), "a": drifted(-2, schedule=100.0)}, NONE),
    "one spike is no move": ({**well(), "a": [1e-3] * 30 + [1.0] + [1e-3] * 29}, NONE),
    "zeros and NaN have no level": (
        {**well(), "a": [0] * 60, "b": [1e-3] * 30 + [0] * 30, "c": [1e-3] * 30 + [math.nan] * 30},
        NONE,
    ),
    "steps at which all rest do not count": (
        {name: at_rest_between(own) for name, own in {**well(80), "a": drifted(-2, 80)}.items()},
        ("a",),
    ),
    "on one worker of two, named once": ({**BOTH, ("a", "w0"): [1e-3] * 60, ("a", "w1"): drifted(-2)}, ("a",)),
    "in the order of the trial": ({"z": drifted(2), **well(), "a": drifted(-2)}, ("z", "a")),
    "too few comparisons for a level": ({**well(9), "a": drifted(3, 9)}, NONE),
    "one tensor has no others": ({"a": drifted(-5)}, NONE),
}


@pytest.mark.parametrize("name", OUTLIERS)
def test_tensors_that_moved_away_from_the_others(name: str) -> None:
    ratios, expected = OUTLIERS[name]
    assert expected == summary(ratios).outliers


def test_a_zero_start_is_no_move() -> None:
    ratios = {**well(), "a": [1e6] * 2 + [1e-3] * 58}
    assert NONE == summary(ratios, zero_weights=[("a", 1), ("a", 2)]).outliers


def test_the_frame_has_a_row_a_tensor_and_worker_in_the_trials_order() -> None:
    """Median, lowest and highest are of the finite ratios; of an empty run it has the same columns."""
    ratios = {("b", "w0"): [1e-3, 3e-3, 50.0, math.nan], ("a", "w0"): [0, 2e-3], ("b", "w1"): [math.inf, math.inf]}
    frame = judged_report(ratios).summary()
    names = ["tensor", "worker", "median", "lowest", "highest", "last", "violations"]
    nan = math.nan
    expected = [
        ("b", "w0", 3e-3, 1e-3, 50.0, nan, 2),
        ("b", "w1", nan, nan, nan, math.inf, 2),
        ("a", "w0", 1e-3, 0.0, 2e-3, 2e-3, 1),
    ]
    assert repr(expected) == repr([tuple(row) for row in frame.itertuples(index=False)])
    assert ["float64"] * 4 + ["int64"] == [str(frame[name].dtype) for name in names[2:]]
    empty = judged_report({"a": [None]}).summary()
    assert (names, names, 0) == (list(frame.columns), list(empty.columns), len(empty))
