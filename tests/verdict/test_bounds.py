"""Between which ratios a comparison is sound: by brute force, from the words of the contract."""

from __future__ import annotations

from typing import Any, Dict, Tuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.findings.made_runs import STEPS, bounds_at, exact_bin, exact_edge, made_baseline
from weight_update_ratio.errors import TrialError
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.verdict.bounds import Bounds

Extremes = Dict[int, Tuple[float, float]]
THRESHOLDS = (1e-8, 10.0, False)
ENDS = st.tuples(st.floats(0, 1e100), st.floats(0, 1e100)).map(lambda ends: (min(ends), max(ends)))
EXTREMES = st.dictionaries(st.one_of(st.integers(0, 12), st.integers(0, 178)), ENDS, min_size=1, max_size=8)
BANDS = st.dictionaries(st.sampled_from("abc"), st.tuples(st.sampled_from([1, 2, 5]), EXTREMES))


def has_ratio_near(extremes: Extremes, step: int) -> list[tuple[float, float]]:
    """Return what counts at a step: its bin and the two beside it; past the last bin, the last and the one before."""
    place = min(exact_bin(step), max(extremes))
    if place < min(extremes):
        return []
    return [ends for at, ends in extremes.items() if abs(at - place) <= 1]


def expected_bounds(
    extremes: Extremes, gap: int, step: int, reference_step: int, parameters: Parameters
) -> tuple[float, float, bool]:
    """Return the bounds of one comparison of a tensor that the baseline has, and whether they are the baseline's."""
    near = has_ratio_near(extremes, step)
    if step - reference_step != gap or not near:
        return parameters.small_threshold, parameters.large_threshold, False
    low, high = min(low for low, _ in near), max(high for _, high in near)
    upper = high * parameters.baseline_factor
    return low / parameters.baseline_factor, max(upper, parameters.small_threshold), True


def bounds_of(tensors: Any, **parameters: Any) -> Bounds:
    return Bounds(Parameters(**parameters), made_baseline(tensors))


class TestWithoutABaseline:
    @given(STEPS, st.integers(1, 5))
    def test_the_thresholds_are_the_bounds(self, step: int, gap: int) -> None:
        """Of every tensor at every step."""
        bounds = Bounds(Parameters(small_threshold=0.25, large_threshold=2.0))
        assert (0.25, 2.0, False) == bounds_at(bounds, "a", step, step - gap)


class TestBounds:
    @given(EXTREMES, st.sampled_from([1, 2, 5]), st.lists(STEPS, min_size=1), st.floats(1, 1e6), st.floats(0, 5))
    def test_any_band_at_any_step(
        self, extremes: Extremes, gap: int, steps: list[int], factor: float, small_threshold: float
    ) -> None:
        """The bin of the step and its two neighbours, made wider by the factor; else the thresholds."""
        parameters = Parameters(baseline_factor=factor, small_threshold=small_threshold, large_threshold=77.0)
        bounds = Bounds(parameters, made_baseline({"a": (gap, extremes)}))
        edges = [exact_edge(place - 1) + by for place in extremes if 0 < place < 120 for by in (-1, 0)]
        for step in [*steps, *edges]:
            for back in (1, 2, 5):
                expected = expected_bounds(extremes, gap, step, step - back, parameters)
                assert expected == bounds_at(bounds, "a", step, step - back), (step, back)

    @pytest.mark.parametrize(
        ("step", "expected"),
        [
            (7, (1.0, 15.0)),  # the first bin and the next
            (8, (1.0, 24.0)),
            (11, (2.0, 24.0)),  # the first bin is two away
            (13, (3.0, 24.0)),
            (16, (3.0, 24.0)),  # past the last bin
            (1000, (3.0, 24.0)),
            (2**62, (3.0, 24.0)),
        ],
    )
    def test_a_band_without_holes(self, step: int, expected: tuple[float, float]) -> None:
        """Bins 0 to 3 begin at 0, 8, 11 and 13."""
        extremes = {0: (2.0, 5.0), 1: (4.0, 7.5), 2: (6.0, 12.0), 3: (8.0, 9.0)}
        bounds = bounds_of({"a": (1, extremes)}, baseline_factor=2.0)
        assert (*expected, True) == bounds_at(bounds, "a", step, step - 1)

    def test_an_empty_bin_between_two(self) -> None:
        """Its neighbours count; of two empty bins each has one neighbour."""
        bounds = bounds_of({"a": (1, {0: (3.0, 3.0), 2: (6.0, 6.0), 5: (9.0, 9.0)})})
        found = [bounds_at(bounds, "a", step, step - 1) for step in (7, 8, 11, 13, 16, 21)]
        assert [(1.0, 9.0), (1.0, 18.0), (2.0, 18.0), (2.0, 18.0), (3.0, 27.0), (3.0, 27.0)] == [
            (lower, upper) for lower, upper, held in found if held
        ]

    def test_where_all_three_are_empty_the_thresholds_are_the_bounds(self) -> None:
        """A sparse baseline says nothing there; it is not stretched over the hole."""
        bounds = bounds_of({"a": (1, {0: (3.0, 3.0), 6: (9.0, 9.0)})})
        found = {step: bounds_at(bounds, "a", step, step - 1) for step in (8, 11, 13, 16, 20, 21, 26)}
        assert {8, 21, 26} == {step for step, (*_, held) in found.items() if held}
        assert {8, 21, 26} == {step for step, ends in found.items() if ends != THRESHOLDS}

    @pytest.mark.parametrize(("step", "held"), [(-1, False), (7, False), (10, False), (11, True), (12, True)])
    def test_before_the_first_bin_the_thresholds_are_the_bounds(self, step: int, held: bool) -> None:
        """Also in the bin beside it."""
        bounds = bounds_of({"a": (1, {2: (3.0, 3.0)})})
        assert ((1.0, 9.0, True) if held else THRESHOLDS) == bounds_at(bounds, "a", step, step - 1)

    @pytest.mark.parametrize("back", [1, 3, 4, 2**61])
    def test_another_gap_is_judged_by_the_thresholds(self, back: int) -> None:
        """Only comparisons over the same number of steps are held against each other."""
        bounds = bounds_of({"a": (2, {0: (3.0, 3.0)})})
        assert THRESHOLDS == bounds_at(bounds, "a", 5, 5 - back)
        assert (1.0, 9.0, True) == bounds_at(bounds, "a", 5, 3)

    def test_a_tensor_that_the_baseline_does_not_know(self) -> None:
        """The thresholds are its bounds."""
        bounds = bounds_of({"a": (1, {0: (3.0, 3.0)})})
        assert THRESHOLDS == bounds_at(bounds, "b", 5, 4)

    @pytest.mark.parametrize("factor", [1.0, 3.0, 100.0])
    def test_the_factor_makes_them_wider_on_both_sides(self, factor: float) -> None:
        """1 leaves the band as it is."""
        bounds = bounds_of({"a": (1, {0: (2.0, 8.0)})}, baseline_factor=factor)
        assert (2.0 / factor, 8.0 * factor, True) == bounds_at(bounds, "a", 1, 0)

    def test_a_frozen_layer_may_rest_and_not_move(self) -> None:
        """What moves less than small_threshold rests."""
        bounds = bounds_of({"a": (1, {0: (0.0, 0.0)})}, small_threshold=1e-6)
        assert (0.0, 1e-6, True) == bounds_at(bounds, "a", 1, 0)

    def test_the_upper_bound_is_never_below_small_threshold(self) -> None:
        """And the lower one may be."""
        bounds = bounds_of({"a": (1, {0: (3e-12, 6e-12)})})
        assert (pytest.approx(1e-12, rel=1e-15), 1e-8, True) == bounds_at(bounds, "a", 1, 0)

    def test_a_layer_that_begins_at_zero_passes_at_its_first_step(self) -> None:
        """Its first ratio in the baseline is as huge; some bins later it is not allowed any more."""
        bounds = bounds_of({"a": (1, {0: (0.001, 3e8), 1: (0.001, 0.01), 2: (0.001, 0.01)})})
        assert 9e8 == bounds_at(bounds, "a", 1, 0)[1]
        assert 0.03 == bounds_at(bounds, "a", 11, 10)[1]

    def test_a_baseline_of_nothing(self) -> None:
        """The thresholds are the bounds."""
        bounds = bounds_of({})
        assert THRESHOLDS == bounds_at(bounds, "a", 1, 0)


class TestColumns:
    @given(BANDS, st.lists(st.tuples(st.sampled_from("abcd"), STEPS, st.integers(1, 6)), max_size=30), st.booleans())
    def test_all_rows_at_once(self, bands: Any, rows: list[tuple[str, int, int]], has_baseline: bool) -> None:
        """They give what each gives by itself, and what the words say."""
        parameters = Parameters(small_threshold=0.25, large_threshold=2.0)
        bounds = Bounds(parameters, made_baseline(bands) if has_baseline else None)
        tensors = sorted({tensor for tensor, _, _ in rows}, reverse=True)
        codes = np.array([tensors.index(tensor) for tensor, _, _ in rows], np.int32)
        steps, backs = np.array([row[1:] for row in rows], np.int64).reshape(-1, 2).T
        columns = bounds.columns(tensors, codes, steps, steps - backs)
        assert [(kind, (len(rows),)) for kind in (np.float64, np.float64, bool)] == [
            (column.dtype, column.shape) for column in columns
        ]
        found = list(zip(*(column.tolist() for column in columns)))
        assert [bounds_at(bounds, tensor, step, step - back) for tensor, step, back in rows] == found
        assert [
            expected_bounds(bands[tensor][1], bands[tensor][0], step, step - back, parameters)
            if has_baseline and tensor in bands
            else (0.25, 2.0, False)
            for tensor, step, back in rows
        ] == found


class TestRequireAlike:
    @pytest.mark.parametrize(
        ("mode", "parameters", "message", "remedy"),
        [
            (
                "GLOBAL",
                {"num_steps": 2},
                "its mode is GLOBAL, the baseline's TRAIN",
                "Save the baseline anew, from a run whose steps are of mode GLOBAL.",
            ),
            (
                "TRAIN",
                {},
                "its num_steps is None, the baseline's 2",
                "Judge both with the same num_steps, or save the baseline anew.",
            ),
            (
                None,
                {"num_steps": 2, "epsilon": 1e-6},
                "its epsilon is 1e-06, the baseline's 1e-09",
                "Judge both with the same epsilon, or save the baseline anew.",
            ),
        ],
    )
    def test_what_differs_is_refused_with_both_values(
        self, mode: str | None, parameters: Any, message: str, remedy: str
    ) -> None:
        """The mode, num_steps or epsilon; thresholds may differ."""
        bounds = Bounds(Parameters(**parameters, baseline=("good.json", "fine")), made_baseline({}, num_steps=2))
        with pytest.raises(TrialError) as caught:
            bounds.require_alike(mode)
        assert f"the run cannot be held against the baseline 'good.json', 'fine': {message}" == caught.value.message
        assert remedy == caught.value.remedy

    @pytest.mark.parametrize("mode", ["TRAIN", None])
    def test_what_was_judged_alike_is_not(self, mode: str | None) -> None:
        """A mode that is not known yet may be any; thresholds and patterns are the run's own."""
        parameters = Parameters(num_steps=2, large_threshold=5.0, tensor_regex=("a",), patience=4)
        bounds = Bounds(parameters, made_baseline({}, num_steps=2))
        assert bounds.require_alike(mode) is None, "it raises where they differ"

    def test_without_a_baseline_any_run_is(self) -> None:
        """There is nothing to differ from."""
        assert Bounds(Parameters(num_steps=7)).require_alike("GLOBAL") is None, "it raises where they differ"
