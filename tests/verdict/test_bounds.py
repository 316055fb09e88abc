"""Between which ratios a comparison is sound: from the words of the contract."""

from __future__ import annotations

from typing import Any, Dict, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.findings.made_runs import STEPS, exact_bin, exact_edge, made_baseline
from tests.made_rows import columns_report
from weight_update_ratio.parameters import Parameters

Extremes = Dict[int, Tuple[float, float]]  # {bin: (lowest, highest ratio)}
ENDS = st.tuples(st.floats(0, 1e100), st.floats(0, 1e100)).map(lambda ends: (min(ends), max(ends)))
EXTREMES = st.dictionaries(st.one_of(st.integers(0, 12), st.integers(0, 178)), ENDS, min_size=1, max_size=8)
BANDS = st.dictionaries(st.sampled_from("abc"), st.tuples(st.sampled_from([1, 2, 5]), EXTREMES))
EDGES = st.builds(lambda place, by: exact_edge(place) + by, st.integers(0, 120), st.sampled_from([-1, 0]))
COMPARED = st.tuples(st.sampled_from("abcd"), st.one_of(STEPS, EDGES), st.sampled_from([1, 2, 5]))
PARAMETERS = st.builds(
    lambda factor, small: Parameters(baseline_factor=factor, small_threshold=small, large_threshold=77.0),
    st.floats(1, 1e6),
    st.floats(0, 5),
)


def found_bounds(compared: list[tuple[str, int, int]], bands: Any, parameters: Parameters) -> list[Any]:
    """Return the bounds of comparisons (tensor, step, gap) in a report, whose rows are by step."""
    compared = sorted(compared, key=lambda row: row[1])
    ones = [1.0] * len(compared)
    columns = {
        "tensor": ["abcd".index(tensor) for tensor, _, _ in compared],
        "worker": [0] * len(compared),
        "step": [step for _, step, _ in compared],
        "reference_step": [step - gap for _, step, gap in compared],
        "global_step": [step for _, step, _ in compared],
        **dict.fromkeys(("update_norm", "weight_norm", "ratio"), ones),
    }
    report = columns_report("abcd", ["w"], columns, parameters, None if bands is None else made_baseline(bands))
    return [(row.tensor, row.step, row.step - row.reference_step, row.lower, row.upper) for row in report]


def expected_bounds(bands: Any, parameters: Parameters, tensor: str, step: int, gap: int) -> tuple[float, float]:
    """Return the extremes of the step's bin and the two beside it, made wider; past the last bin, as in the last."""
    band_gap, extremes = (bands or {}).get(tensor, (None, {}))
    if band_gap == gap and exact_bin(step) >= min(extremes):
        place = min(exact_bin(step), max(extremes))
        near = [ends for at, ends in extremes.items() if abs(at - place) <= 1]
        if near:
            lower = min(low for low, _ in near) / parameters.baseline_factor
            upper = max(high for _, high in near) * parameters.baseline_factor
            return lower, max(upper, parameters.small_threshold)
    return parameters.small_threshold, parameters.large_threshold


@given(st.one_of(st.none(), BANDS), st.lists(COMPARED, min_size=1, max_size=30), PARAMETERS)
def test_any_comparisons(bands: Any, compared: list[tuple[str, int, int]], parameters: Parameters) -> None:
    """A tensor, a gap and a step that the baseline has; all others are judged by the thresholds."""
    found = found_bounds(compared, bands, parameters)
    assert [(*row[:3], *expected_bounds(bands, parameters, *row[:3])) for row in found] == found


@pytest.mark.parametrize(
    ("extremes", "gap", "step", "expected"),
    [
        ({0: (2.0, 5.0), 1: (4.0, 7.5), 2: (6.0, 12.0)}, 1, 7, (1.0, 15.0)),  # the first bin and the next
        ({0: (2.0, 5.0), 1: (4.0, 7.5), 2: (6.0, 12.0)}, 1, 11, (2.0, 24.0)),  # the first bin is two away
        ({0: (2.0, 5.0), 1: (4.0, 7.5), 2: (6.0, 12.0)}, 1, 2**62, (2.0, 24.0)),  # past the last bin
        ({0: (2.0, 5.0), 3: (6.0, 9.0)}, 1, 10, (1.0, 10.0)),  # an empty bin beside the first
        ({0: (2.0, 5.0), 6: (6.0, 9.0)}, 1, 11, (1e-8, 10.0)),  # all three are empty
        ({0: (2.0, 5.0)}, 2, 5, (1e-8, 10.0)),  # another gap
        ({0: (0.0, 0.0)}, 1, 1, (0.0, 1e-8)),  # a frozen layer may rest, and not move
        ({0: (0.5, 3e8), 1: (0.5, 0.5), 2: (0.5, 0.5)}, 1, 1, (0.25, 6e8)),  # one that begins at zero
        ({0: (0.5, 3e8), 1: (0.5, 0.5), 2: (0.5, 0.5)}, 1, 11, (0.25, 1.0)),
    ],
)
def test_the_bounds_of_a_step(extremes: Extremes, gap: int, step: int, expected: tuple[float, float]) -> None:
    """Bins 0 to 3 begin at 0, 8, 11 and 13."""
    (found,) = found_bounds([("a", step, gap)], {"a": (1, extremes)}, Parameters(baseline_factor=2.0))
    assert expected == found[3:]
