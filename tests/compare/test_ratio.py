"""Norms against ``math.fsum`` and exact integers, whatever the magnitude, the type and the number of elements.

Most cases give one tensor alone; ``TestManyTensors`` holds many together against the same ones alone.
"""

from __future__ import annotations

import functools
import math
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import exact_norm, plain_verdict
from weight_update_ratio.compare.ratio import (
    BLOCK,
    JOINED,
    VERDICTS,
    update_norms,
    update_ratios,
    verdict_codes,
    weight_norms,
)

# At the ends of a row, of what OpenBLAS adds in one thread, of what is joined, and of a block.
SIZES = [
    0,
    1,
    2,
    255,
    256,
    257,
    1023,
    1024,
    1025,
    8191,
    8192,
    8193,
    JOINED - 1,
    JOINED,
    JOINED + 1,
    BLOCK - 1,
    BLOCK,
    BLOCK + 1,
    2 * BLOCK,
    2 * BLOCK + 1,
]
DTYPES = ["f2", "f4", "f8", "c8", "c16", "i1", "i4", "i8", "u1", "u8", "?"]
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
NORMS = st.one_of(st.floats(0, 1e300), st.floats(0, 20), st.sampled_from([0.0, math.inf, math.nan]))
BOUNDS = st.one_of(st.floats(0, 1e300), st.sampled_from([0.0, 1e-8, 10.0]))


def close(expected: float) -> Any:
    return pytest.approx(expected, rel=1e-9, abs=0, nan_ok=True)


def norm(weights: np.ndarray[Any, Any]) -> float:
    """Return the norm of one tensor."""
    found = weight_norms([weights])
    assert (np.float64, (1,)) == (found.dtype, found.shape)
    return float(found[0])


def norms(before: np.ndarray[Any, Any], after: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Return the norms of one tensor's update, and of what it is after it."""
    found = update_norms([before], [after])
    assert [(np.float64, (1,))] * 2 == [(each.dtype, each.shape) for each in found]
    return float(found[0][0]), float(found[1][0])


def ratio(update: float, weights: float, epsilon: float) -> float:
    """Return one ratio."""
    (found,) = update_ratios(np.array([update]), np.array([weights]), epsilon).tolist()
    return float(found)


def verdict(value: float, lower: float, upper: float) -> str:
    """Return the verdict of one ratio."""
    codes = verdict_codes(np.array([value]), np.array([lower]), np.array([upper]))
    assert (np.int8, (1,)) == (codes.dtype, codes.shape)
    return VERDICTS[codes[0]]


class TestMagnitudes:
    def test_float64_weights_of_1e200(self) -> None:
        """Squares of 1e400 would overflow; the norm is right."""
        before = np.random.default_rng(0).normal(0, 1e200, 1000)
        after = before * 1.01
        update, weights = norms(before, after)
        assert close(exact_norm(after, before)) == update
        assert close(exact_norm(after)) == weights
        assert close(exact_norm(before)) == norm(before)

    def test_updates_of_1e190th_on_weights_of_1(self) -> None:
        """Squares of 1e-380 would vanish; the update's norm is right, beside a weight of 1 that does not change."""
        before = np.append(np.zeros(999), 1.0)
        after = before + np.append(np.random.default_rng(1).normal(0, 1e-190, 999), 0.0)
        update, weights = norms(before, after)
        assert close(exact_norm(after, before)) == update
        assert 0 < update < 1e-187
        assert close(1.0) == weights

    def test_float32_of_3e25(self) -> None:
        """Squares beyond float32 are within float64."""
        before = np.full(5000, 3e25, np.float32)
        after = before * np.float32(1.5)
        assert (close(exact_norm(after, before)), close(exact_norm(after))) == norms(before, after)

    def test_float16_of_6e4_in_70000_elements(self) -> None:
        """Sums far beyond float16's 65504 are right."""
        before = np.full(70_000, 6e4, np.float16)
        after = -before
        assert close(math.sqrt(70_000) * 6e4) == norm(before)
        assert close(2 * math.sqrt(70_000) * 6e4) == norms(before, after)[0]

    @pytest.mark.parametrize(
        "value", [5e-324, 1e-320, 2.2e-308, 1e-160, 1e-135, 1e-134, 1e153, 1e154, 1.3e154, 1.7e308]
    )
    def test_float64_at_its_ends(self, value: float) -> None:
        """From the smallest subnormal to the largest number."""
        for count in (1, 3):
            weights = np.full(count, value)
            assert close(exact_norm(weights)) == norm(weights)
            assert close(exact_norm(weights)) == norms(np.zeros(count), weights)[0]

    def test_a_norm_beyond_float64_is_infinite(self) -> None:
        """Four times the largest float64 has no float64 norm."""
        weights = np.full(16, 1.7e308)
        assert math.inf == norm(weights)
        assert (math.inf, math.inf) == norms(-weights, weights)

    def test_small_and_large_elements_together(self) -> None:
        """Where the largest element alone is safe, the others still count."""
        weights = np.array([1e-200, 1e-200, 3e-136, 1e-190])
        assert close(exact_norm(weights)) == norm(weights)

    def test_a_small_reference_type_under_a_wide_one(self) -> None:
        """A type that changed from float32 to float64 is compared in float64."""
        before, after = np.float32([1, 2, 3]), np.float64([1e200, 2, 3])
        assert (close(exact_norm(after, before)), close(exact_norm(after))) == norms(before, after)
        assert close(exact_norm(before, after)) == norms(after, before)[0]


class TestBlocks:
    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.parametrize("dtype", ["float32", "int64", "complex64"])
    def test_no_element_is_lost_or_counted_twice(self, size: int, dtype: str) -> None:
        """Tensors that end at, before and after the end of a block have the norms that they have in whole."""
        random = np.random.default_rng(size)
        before, after = (random.integers(0, 2, size).astype(dtype) for _ in range(2))
        assert (close(exact_norm(after, before)), close(exact_norm(after))) == norms(before, after)
        assert close(exact_norm(before)) == norm(before)

    @pytest.mark.parametrize("position", [0, BLOCK - 1, BLOCK, 2 * BLOCK])
    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
    def test_one_element_that_is_not_finite_shows(self, position: int, bad: float, dtype: str) -> None:
        """Wherever it is, and whichever it is."""
        before = np.ones(2 * BLOCK + 1, dtype)
        after = before.copy()
        after[position] = bad
        expected = math.nan if math.isnan(bad) else math.inf
        assert (close(expected), close(expected)) == norms(before, after)
        assert close(expected) == norms(after, before)[0]
        assert close(expected) == norm(after)

    def test_the_same_infinity_at_both_steps_is_no_number(self) -> None:
        """The difference is NaN, no update of 0."""
        weights = np.array([1.0, math.inf])
        assert (close(math.nan), math.inf) == norms(weights, weights)

    def test_nothing_is_written_into_the_tensors(self) -> None:
        """They may be read-only views of a mapped file."""
        before, after = np.arange(10.0), np.arange(10.0) ** 2
        before.flags.writeable = after.flags.writeable = False
        norms(before, after)
        assert np.arange(10.0).tolist() == before.tolist()


class TestIntegers:
    @pytest.mark.parametrize("pair", [("int64", "int64"), ("uint64", "uint64"), ("int64", "float32")])
    @given(data=st.data())
    def test_64_bits_are_taken_as_float64(self, pair: Any, data: Any) -> None:
        """Their differences are those of the nearest float64 numbers."""
        numbers = st.lists(st.one_of(st.integers(0, 2**63 - 1), st.integers(0, 9)), min_size=3, max_size=3)
        before, after = (np.array(data.draw(numbers)).astype(dtype) for dtype in pair)
        old, new = before.astype(np.float64), after.astype(np.float64)
        assert (close(exact_norm(new, old)), close(exact_norm(new))) == norms(before, after)

    @pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "uint8", "uint16", "uint32"])
    def test_extremes_do_not_wrap(self, dtype: str) -> None:
        """The difference of the ends of a type is beyond the type."""
        limits = np.iinfo(dtype)
        low, high = (np.full(3, value, dtype) for value in (limits.min, limits.max))
        assert close(exact_norm(high, low)) == norms(low, high)[0]
        assert close(exact_norm(low, high)) == norms(high, low)[0]

    def test_bool(self) -> None:
        """True is 1: two of three changed."""
        before, after = np.array([True, False, True]), np.array([False, True, True])
        assert (math.sqrt(2), math.sqrt(2)) == norms(before, after)


class TestProperties:
    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.tuples(FLOATS, FLOATS), max_size=20))
    def test_any_floats(self, pairs: Any) -> None:
        """Whatever the elements, the norms are those of fsum."""
        before, after = (np.array([pair[n] for pair in pairs]) for n in (0, 1))
        with np.errstate(all="ignore"):
            difference = after - before
        expected = exact_norm(difference)
        assert (close(expected), close(exact_norm(after))) == norms(before, after)

    @settings(max_examples=50, deadline=None)
    @given(st.integers(-900, 900), st.integers(0, 99))
    def test_scale_invariance(self, exponent: int, seed: int) -> None:
        """Norms scale with the weights, exactly, from 2**-900 to 2**900."""
        before, after = np.random.default_rng(seed).normal(size=(2, 50))
        update, weights = norms(before, after)
        scaled = norms(np.ldexp(before, exponent), np.ldexp(after, exponent))
        assert (close(math.ldexp(update, exponent)), close(math.ldexp(weights, exponent))) == scaled

    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, 99))
    def test_the_order_of_elements_does_not_matter(self, seed: int) -> None:
        """A permutation of both has the same norms."""
        random = np.random.default_rng(seed)
        before, after = random.normal(size=(2, 3000))
        order = random.permutation(3000)
        assert tuple(map(close, norms(before, after))) == norms(before[order], after[order])


@functools.lru_cache(maxsize=32)
def some_weights(size: int, dtype: str, seed: int) -> np.ndarray[Any, Any]:
    """Return a tensor of any type, read-only and at an odd address, as the views of a record are."""
    kind = np.dtype(dtype)
    random = np.random.default_rng([size, seed])
    numbers = random.normal(0, 40, size) + 1j * random.normal(0, 40, size) * (kind.kind == "c")
    numbers = numbers if kind.kind == "c" else numbers.real
    numbers = np.abs(numbers) if kind.kind == "u" else numbers
    large = random.integers(2**62, 2**63 - 1, size)  # which float64 does not resolve
    array = large.astype(kind) if kind.kind in "iu" and kind.itemsize == 8 else numbers.astype(kind)
    return np.frombuffer(b"\0" + array.tobytes(), kind, size, 1)


def alone(before: list[Any], after: list[Any]) -> list[tuple[float, float, float]]:
    """Return (update norm, norm after, norm before) of each tensor, given one by one."""
    return [(*norms(old, new), norm(old)) for old, new in zip(before, after)]


def together(before: list[Any], after: list[Any]) -> list[tuple[float, float, float]]:
    """Return the same of each tensor, given all at once."""
    columns = (*update_norms(before, after), weight_norms(before))
    return list(zip(*(column.tolist() for column in columns)))


class TestManyTensors:
    """What else is given along with a tensor does not change its norms by a bit."""

    SMALL = st.one_of(st.integers(0, 200), st.integers(960, 1100), st.integers(8185, 8200))
    LARGE = st.one_of(
        st.integers(BLOCK - 300, BLOCK + 300),
        st.integers(JOINED - 300, JOINED + 300),
        st.integers(0, 2 * BLOCK + 300),
    )
    PAIRS = st.sampled_from([(old, new) for old in DTYPES for new in DTYPES if old == new or "c" not in old + new])

    @settings(max_examples=150, deadline=None)
    @given(
        st.lists(st.tuples(SMALL, PAIRS), max_size=12),
        st.lists(st.tuples(LARGE, PAIRS), max_size=2),
        st.randoms(use_true_random=False),
    )
    def test_any_sizes_and_types_in_any_order(self, small: Any, large: Any, chance: Any) -> None:
        """To the last bit; tensors that change their type between the two steps too."""
        drawn = [*small, *large]
        for _ in range(2):
            before, after = ([some_weights(size, kinds[n], n) for size, kinds in drawn] for n in (0, 1))
            assert alone(before, after) == together(before, after)
            chance.shuffle(drawn)

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_all_sizes_of_a_type(self, dtype: str) -> None:
        """As alone to the last bit, forwards and backwards; ``TestBlocks`` has that they are right."""
        before, after = ([some_weights(size, dtype, seed) for size in SIZES] for seed in range(2))
        found = together(before, after)
        assert alone(before, after) == found
        assert found[::-1] == together(before[::-1], after[::-1])

    @pytest.mark.parametrize("seed", range(3))
    def test_types_beside_each_other(self, seed: int) -> None:
        """Sizes and types in any order, each right: whole numbers of 64 bits do not change how others are taken."""
        chance = np.random.default_rng(seed)
        sizes = chance.permutation([size for size in SIZES if size < 9000] * 3).tolist()
        dtypes = chance.choice(DTYPES, len(sizes)).tolist()
        before, after = ([some_weights(*at, at_step) for at in zip(sizes, dtypes)] for at_step in (seed, seed + 1))
        found = together(before, after)
        assert alone(before, after) == found
        expected = [(exact_norm(new, old), exact_norm(new), exact_norm(old)) for old, new in zip(before, after)]
        assert [tuple(map(close, row)) for row in expected] == found

    @pytest.mark.parametrize("size", [1, 64, 100, 8200, BLOCK + 5])
    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e200, 1e-190, 1.7e308, 5e-324, 0.0])
    def test_what_one_tensor_holds_does_not_touch_its_neighbours(self, bad: float, size: int) -> None:
        """Squares that overflow or vanish, NaN and infinity stay where they are, wherever in the list."""
        before = [some_weights(other, dtype, 0) for other, dtype in [(3, "f8"), (64, "f4"), (9000, "f8"), (5, "i8")]]
        after = [some_weights(weights.size, weights.dtype.str, 1) for weights in before]
        expected = alone(before, after)
        spoilt, zero = np.zeros(size), np.zeros(size)
        spoilt[[0, -1]] = bad
        wrong = close(exact_norm(spoilt[[0, -1]] if size > 1 else spoilt))
        for place in range(5):
            for old, new, right in [(zero, spoilt, (wrong, wrong, 0.0)), (spoilt, zero, (wrong, 0.0, wrong))]:
                found = together([*before[:place], old, *before[place:]], [*after[:place], new, *after[place:]])
                assert expected == found[:place] + found[place + 1 :]
                assert right == found[place]

    def test_infinities_that_meet_beside_sound_tensors(self) -> None:
        """The difference of one tensor is NaN, those of the others are what they are."""
        bad, good = np.array([1.0, math.inf]), np.array([3.0, 4.0])
        updates, weights = update_norms([good, bad, good], [2 * good, bad, 3 * good])
        assert [5.0, close(math.nan), 10.0] == updates.tolist()
        assert [10.0, math.inf, 15.0] == weights.tolist()

    def test_no_tensors(self) -> None:
        """They have no norms, no ratios and no verdicts."""
        none = np.zeros(0)
        found = [
            weight_norms([]),
            *update_norms([], []),
            update_ratios(none, none, 1e-9),
            verdict_codes(none, none, none),
        ]
        assert [(0,)] * 5 == [each.shape for each in found]

    def test_threads_do_not_share_what_they_compute_in(self) -> None:
        """Several at once give what one gives."""
        lists = [
            tuple(
                [some_weights(size, "f4", seed + 2 * n) for size in (100, BLOCK, 2 * BLOCK + 9, 7)] for seed in (0, 1)
            )
            for n in range(8)
        ]
        expected = [together(*pair) for pair in lists]
        with ThreadPoolExecutor(4) as pool:
            for _ in range(5):
                assert expected == list(pool.map(lambda pair: together(*pair), lists))


class TestRatio:
    def test_the_formula(self) -> None:
        """Epsilon is added to the norm of the weights before the update."""
        assert 3 / (4 + 2) == ratio(3.0, 4.0, 2.0)

    def test_zero_reference_weights_follow_it(self) -> None:
        """An update of weights that are zero is huge."""
        assert close(1e9) == ratio(1.0, 0.0, 1e-9)

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
        assert close(expected) == ratio(update, weights, 1e-9)

    def test_shapes_must_agree(self) -> None:
        """The error names both shapes, of the one tensor among others whose shapes differ."""
        with pytest.raises(ValueError, match=r"weights of .*cannot be compared") as caught:
            norms(np.zeros(2), np.zeros(3))
        assert {"(2,)", "(3,)"} == set(re.findall(r"\(\d+,\)", str(caught.value)))
        with pytest.raises(ValueError, match=r"weights of .*cannot be compared") as caught:
            update_norms([np.zeros(1), np.zeros(5), np.zeros(9)], [np.zeros(1), np.zeros(6), np.zeros(9)])
        assert {"(5,)", "(6,)"} == set(re.findall(r"\(\d+,\)", str(caught.value)))


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
        assert expected == verdict(ratio, 1e-8, 10.0)

    def test_a_small_threshold_of_zero_fires_never(self) -> None:
        """No ratio is below zero."""
        assert "ok" == verdict(0.0, 0.0, 10.0)

    @settings(max_examples=300, deadline=None)
    @given(st.lists(st.tuples(NORMS, BOUNDS, BOUNDS, st.integers(-2, 2)), max_size=12))
    def test_each_by_its_own_bounds(self, rows: Any) -> None:
        """Every ratio has the verdict of the definition, also at its bound and next to it."""
        ratios, lower, upper = [], [], []
        for value, low, high, near in rows:
            low, high = min(low, high), max(low, high)
            at = [None, low, np.nextafter(low, 0), np.nextafter(high, math.inf), high][near]
            ratios.append(value if at is None else float(at))
            lower.append(low)
            upper.append(high)
        codes = verdict_codes(*(np.array(column, np.float64) for column in (ratios, lower, upper)))
        assert list(map(plain_verdict, ratios, lower, upper)) == [VERDICTS[code] for code in codes]

    def test_both_bounds_are_strict_in_a_column(self) -> None:
        """At a bound, a bit within it and a bit beyond it."""
        ends = [(1e-8, 0.0), (1e-8, 1e-8), (1e-8, 1.0), (10.0, 1.0), (10.0, 10.0), (10.0, 11.0)]
        ratios = np.array([at if at == to else np.nextafter(at, to) for at, to in ends])
        codes = verdict_codes(ratios, np.full(6, 1e-8), np.full(6, 10.0))
        assert ["small", "ok", "ok", "ok", "ok", "large"] == [VERDICTS[code] for code in codes]


class TestRatiosInAColumn:
    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.tuples(NORMS, NORMS), max_size=9), st.floats(1e-300, 1e3))
    def test_each_follows_the_formula(self, rows: Any, epsilon: float) -> None:
        """Of whatever norms: what is not finite in one does not touch the others."""
        updates, weights = (np.array([row[n] for row in rows], np.float64) for n in (0, 1))
        found = update_ratios(updates, weights, epsilon)
        for update, weight, value in zip(updates.tolist(), weights.tolist(), found.tolist()):
            if math.isfinite(update) and math.isfinite(weight) and math.isfinite(weight + epsilon):
                expected = update / (weight + epsilon)
            else:
                is_nan = math.isnan(update) or not math.isfinite(weight)
                expected = math.nan if is_nan else math.inf if math.isinf(update) else 0.0
            assert close(expected) == value
