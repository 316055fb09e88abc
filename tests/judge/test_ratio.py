"""Norms against ``math.fsum`` and exact integers, whatever the magnitude, the type and the number of elements."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import exact_norm
from weight_update_ratio.judge.ratio import BLOCK, ratio_verdict, update_norms, update_ratio, weight_norm

SIZES = [0, 1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 2 * BLOCK + 1]
FLOATS = st.floats(allow_nan=False, allow_infinity=False)


def close(expected: float) -> Any:
    return pytest.approx(expected, rel=1e-9, abs=0, nan_ok=True)


class TestMagnitudes:
    def test_float64_weights_of_1e200(self) -> None:
        """Squares of 1e400 would overflow; the norm is right."""
        before = np.random.default_rng(0).normal(0, 1e200, 1000)
        after = before * 1.01
        update, weights = update_norms(before, after)
        assert close(exact_norm(after, before)) == update
        assert close(exact_norm(after)) == weights
        assert close(exact_norm(before)) == weight_norm(before)

    def test_updates_of_1e190th_on_weights_of_1(self) -> None:
        """Squares of 1e-380 would vanish; the update's norm is right, beside a weight of 1 that does not change."""
        before = np.append(np.zeros(999), 1.0)
        after = before + np.append(np.random.default_rng(1).normal(0, 1e-190, 999), 0.0)
        update, weights = update_norms(before, after)
        assert close(exact_norm(after, before)) == update
        assert 0 < update < 1e-187
        assert close(1.0) == weights

    def test_float32_of_3e25(self) -> None:
        """Squares beyond float32 are within float64."""
        before = np.full(5000, 3e25, np.float32)
        after = before * np.float32(1.5)
        assert (close(exact_norm(after, before)), close(exact_norm(after))) == update_norms(before, after)

    def test_float16_of_6e4_in_70000_elements(self) -> None:
        """Sums far beyond float16's 65504 are right."""
        before = np.full(70_000, 6e4, np.float16)
        after = -before
        assert close(math.sqrt(70_000) * 6e4) == weight_norm(before)
        assert close(2 * math.sqrt(70_000) * 6e4) == update_norms(before, after)[0]

    @pytest.mark.parametrize(
        "value", [5e-324, 1e-320, 2.2e-308, 1e-160, 1e-135, 1e-134, 1e153, 1e154, 1.3e154, 1.7e308]
    )
    def test_float64_at_its_ends(self, value: float) -> None:
        """From the smallest subnormal to the largest number."""
        for count in (1, 3):
            weights = np.full(count, value)
            assert close(exact_norm(weights)) == weight_norm(weights)
            assert close(exact_norm(weights)) == update_norms(np.zeros(count), weights)[0]

    def test_a_norm_beyond_float64_is_infinite(self) -> None:
        """Four times the largest float64 has no float64 norm."""
        weights = np.full(16, 1.7e308)
        assert math.inf == weight_norm(weights)
        assert (math.inf, math.inf) == update_norms(-weights, weights)

    def test_small_and_large_elements_together(self) -> None:
        """Where the largest element alone is safe, the others still count."""
        weights = np.array([1e-200, 1e-200, 3e-136, 1e-190])
        assert close(exact_norm(weights)) == weight_norm(weights)

    def test_a_small_reference_type_under_a_wide_one(self) -> None:
        """A type that changed from float32 to float64 is compared in float64."""
        before, after = np.float32([1, 2, 3]), np.float64([1e200, 2, 3])
        assert (close(exact_norm(after, before)), close(exact_norm(after))) == update_norms(before, after)
        assert close(exact_norm(before, after)) == update_norms(after, before)[0]


class TestBlocks:
    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.parametrize("dtype", ["float32", "int64", "complex64"])
    def test_no_element_is_lost_or_counted_twice(self, size: int, dtype: str) -> None:
        """Tensors that end at, before and after the end of a block have the norms that they have in whole."""
        random = np.random.default_rng(size)
        before, after = (random.integers(0, 2, size).astype(dtype) for _ in range(2))
        assert (close(exact_norm(after, before)), close(exact_norm(after))) == update_norms(before, after)
        assert close(exact_norm(before)) == weight_norm(before)

    @pytest.mark.parametrize("position", [0, BLOCK - 1, BLOCK, 2 * BLOCK])
    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
    def test_one_element_that_is_not_finite_shows(self, position: int, bad: float, dtype: str) -> None:
        """Wherever it is, and whichever it is."""
        before = np.ones(2 * BLOCK + 1, dtype)
        after = before.copy()
        after[position] = bad
        expected = math.nan if math.isnan(bad) else math.inf
        assert (close(expected), close(expected)) == update_norms(before, after)
        assert close(expected) == update_norms(after, before)[0]
        assert close(expected) == weight_norm(after)

    def test_the_same_infinity_at_both_steps_is_no_number(self) -> None:
        """The difference is NaN, no update of 0."""
        weights = np.array([1.0, math.inf])
        assert (close(math.nan), math.inf) == update_norms(weights, weights)

    def test_nothing_is_written_into_the_tensors(self) -> None:
        """They may be read-only views of a mapped file."""
        before, after = np.arange(10.0), np.arange(10.0) ** 2
        before.flags.writeable = after.flags.writeable = False
        update_norms(before, after)
        assert np.arange(10.0).tolist() == before.tolist()


class TestIntegers:
    @pytest.mark.parametrize(
        "pair", [("int64", "int64"), ("uint64", "uint64"), ("int64", "uint64"), ("uint64", "int64")]
    )
    @settings(max_examples=50, deadline=None)
    @given(data=st.data())
    def test_64_bits_to_the_last(self, pair: Any, data: Any) -> None:
        """Differences are those of whole numbers, which float64 does not resolve."""
        tensors = []
        for dtype in pair:
            limits = np.iinfo(dtype)
            values = st.one_of(
                st.integers(int(limits.min), int(limits.max)), st.integers(2**62 - 3, 2**62 + 3), st.integers(0, 9)
            )
            tensors.append(np.array(data.draw(st.lists(values, min_size=3, max_size=3)), dtype))
        before, after = tensors
        assert (close(exact_norm(after, before)), close(exact_norm(after))) == update_norms(before, after)

    @pytest.mark.parametrize("swapped", [False, True])
    @pytest.mark.parametrize("real", ["float32", "float64"])
    @pytest.mark.parametrize("whole", ["int64", "uint64"])
    @settings(max_examples=100, deadline=None)
    @given(data=st.data())
    def test_a_whole_number_and_a_float(self, whole: str, real: str, swapped: bool, data: Any) -> None:
        """Their difference is the true one, beyond 2**53 and near 0."""
        limits = np.iinfo(whole)
        integer = data.draw(st.one_of(st.integers(int(limits.min), int(limits.max)), st.integers(0, 2)))
        near = st.integers(-3, 3).map(lambda steps: float(np.dtype(real).type(integer)) * (1 + steps * 2.0**-52))
        width = 8 * np.dtype(real).itemsize
        number = data.draw(st.one_of(near, st.floats(-(2.0**66), 2.0**66, width=width), st.floats(-1, 1, width=width)))
        tensors = [np.array([integer], whole), np.array([number], real)]
        before, after = tensors[::-1] if swapped else tensors
        expected = abs(Fraction(int(integer)) - Fraction(float(tensors[1][0])))
        assert close(float(expected)) == update_norms(before, after)[0]

    @pytest.mark.parametrize(
        ("number", "expected"), [(math.inf, math.inf), (-math.inf, math.inf), (math.nan, math.nan)]
    )
    def test_a_whole_number_and_what_is_not_finite(self, number: float, expected: float) -> None:
        """It is infinitely far from it, or not a number."""
        assert close(expected) == update_norms(np.array([2**60]), np.array([number]))[0]

    @pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "uint8", "uint16", "uint32"])
    def test_extremes_do_not_wrap(self, dtype: str) -> None:
        """The difference of the ends of a type is beyond the type."""
        limits = np.iinfo(dtype)
        low, high = (np.full(3, value, dtype) for value in (limits.min, limits.max))
        assert close(exact_norm(high, low)) == update_norms(low, high)[0]
        assert close(exact_norm(low, high)) == update_norms(high, low)[0]

    def test_bool(self) -> None:
        """True is 1: two of three changed."""
        before, after = np.array([True, False, True]), np.array([False, True, True])
        assert (math.sqrt(2), math.sqrt(2)) == update_norms(before, after)


class TestProperties:
    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.tuples(FLOATS, FLOATS), max_size=20))
    def test_any_floats(self, pairs: Any) -> None:
        """Whatever the elements, the norms are those of fsum."""
        before, after = (np.array([pair[n] for pair in pairs]) for n in (0, 1))
        with np.errstate(all="ignore"):
            difference = after - before
        expected = exact_norm(difference)
        assert (close(expected), close(exact_norm(after))) == update_norms(before, after)

    @settings(max_examples=50, deadline=None)
    @given(st.integers(-900, 900), st.integers(0, 99))
    def test_scale_invariance(self, exponent: int, seed: int) -> None:
        """Norms scale with the weights, exactly, from 2**-900 to 2**900."""
        before, after = np.random.default_rng(seed).normal(size=(2, 50))
        update, weights = update_norms(before, after)
        scaled = update_norms(np.ldexp(before, exponent), np.ldexp(after, exponent))
        assert (close(math.ldexp(update, exponent)), close(math.ldexp(weights, exponent))) == scaled

    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, 99))
    def test_the_order_of_elements_does_not_matter(self, seed: int) -> None:
        """A permutation of both has the same norms."""
        random = np.random.default_rng(seed)
        before, after = random.normal(size=(2, 3000))
        order = random.permutation(3000)
        assert tuple(map(close, update_norms(before, after))) == update_norms(before[order], after[order])


class TestRatio:
    def test_the_formula(self) -> None:
        """Epsilon is added to the norm of the weights before the update."""
        assert 3 / (4 + 2) == update_ratio(3.0, 4.0, 2.0)

    def test_zero_reference_weights_follow_it(self) -> None:
        """An update of weights that are zero is huge."""
        assert close(1e9) == update_ratio(1.0, 0.0, 1e-9)

    @pytest.mark.parametrize(
        ("update", "weights", "expected"),
        [
            (math.nan, 1.0, math.nan),
            (math.inf, 1.0, math.inf),
            (1.0, math.nan, math.nan),
            (1.0, math.inf, math.nan),
            (math.inf, math.inf, math.nan),
            (1e308, 1e-9, math.inf),
        ],
    )
    def test_what_is_not_finite(self, update: float, weights: float, expected: float) -> None:
        """Nothing that is not finite becomes a ratio that is."""
        assert close(expected) == update_ratio(update, weights, 1e-9)

    def test_shapes_must_agree(self) -> None:
        """The error names both shapes."""
        with pytest.raises(
            ValueError, match=r"weights of shape \(3,\) cannot be compared with weights of shape \(2,\)"
        ):
            update_norms(np.zeros(2), np.zeros(3))


class TestVerdict:
    @pytest.mark.parametrize(
        ("ratio", "expected"),
        [
            (math.nextafter(10.0, 11.0) if hasattr(math, "nextafter") else 10.000001, "large"),
            (10.0, "ok"),
            (1e-8, "ok"),
            (0.99e-8, "small"),
            (0.0, "small"),
            (math.nan, "not_finite"),
            (math.inf, "not_finite"),
        ],
    )
    def test_thresholds_are_strict(self, ratio: float, expected: str) -> None:
        """A ratio at a threshold is within; NaN and inf are neither large nor small."""
        assert expected == ratio_verdict(ratio, 1e-8, 10.0)

    def test_a_small_threshold_of_zero_fires_never(self) -> None:
        """No ratio is below zero."""
        assert "ok" == ratio_verdict(0.0, 0.0, 10.0)
