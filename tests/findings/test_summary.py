"""How large the ratios of a run are, and how far its weights can have moved."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.findings.made_runs import judged_report
from weight_update_ratio.findings.summary import Summary


@given(st.lists(st.floats(0, 1e300), min_size=1, max_size=40))
def test_median_and_quantiles_are_numpys(ratios: list[float]) -> None:
    """Of all tensors and workers together; zeros count, and what is not finite does not."""
    halves = {("a", "w0"): [*ratios[::2], math.nan], ("a", "w1"): [math.inf, *ratios[1::2]]}
    assert pytest.approx(np.quantile(ratios, [0.5, 0.05, 0.95]).tolist()) == list(judged_report(halves).ratios[:3])


@pytest.mark.parametrize("ratios", [[None], [math.nan] * 3])
def test_nothing_is_finite(ratios: Any) -> None:
    assert Summary(None, None, None, None) == judged_report({"a": ratios}).ratios


def test_the_path_is_the_median_over_tensors_of_the_sum_of_their_finite_ratios() -> None:
    ratios = {("a", "w0"): [0.1] * 3, ("b", "w0"): [1e-3] * 5 + [math.nan], ("b", "w1"): [0.02, 0.03]}
    assert pytest.approx(0.05) == judged_report(ratios).ratios.path


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
