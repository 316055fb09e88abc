"""Norms against ``math.fsum`` and exact integers, whatever the magnitude, the type and the number of elements.

Most cases give one tensor alone; ``TestManyTensors`` holds many together against the same ones alone.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import exact_norm
from weight_update_ratio.compare.ratio import BLOCK, UNTHREADED, update_norms, weight_norms

# At the ends of a row, of what is squared at once, and of a block; and two that are between them.
SIZES = [0, 1, 2, 255, 256, 257, 1024, *(end + by for end in (UNTHREADED, BLOCK) for by in (-1, 0, 1)), 2 * BLOCK + 1]
DTYPES = ["f2", "f4", "f8", "c8", "c16", "i1", "i4", "i8", "u1", "u8", "?"]
FLOATS = st.floats(-1e308, 1e308)  # a norm within half a unit of the largest float64 may be rounded to infinity


def close(expected: float) -> Any:
    return pytest.approx(expected, rel=1e-9, abs=0, nan_ok=True)


def norms(before: np.ndarray[Any, Any], after: np.ndarray[Any, Any]) -> tuple[float, float, float]:
    """Return one tensor's (update norm, norm after, norm before)."""
    values = (*update_norms([before], [after]), weight_norms([before]))
    assert [(np.float64, (1,))] * 3 == [(each.dtype, each.shape) for each in values]
    return float(values[0][0]), float(values[1][0]), float(values[2][0])


def exact(before: np.ndarray[Any, Any], after: np.ndarray[Any, Any]) -> tuple[Any, Any, Any]:
    return close(exact_norm(after, before)), close(exact_norm(after)), close(exact_norm(before))


class TestMagnitudes:
    @pytest.mark.parametrize(
        ("before", "after"),
        [
            (np.linspace(-1e200, 1e200, 1000), np.linspace(-1e200, 1.01e200, 1000)),  # squares would overflow
            (np.append(np.zeros(999), 1.0), np.append(np.linspace(0, 1e-190, 999), 1.0)),  # or vanish
            (np.float32([3e25] * 5000), np.float32([4e25] * 5000)),  # squares beyond float32
            (np.float16([6e4] * 70_000), np.float16([-6e4] * 70_000)),  # sums beyond float16
            (np.float32([1, 2, 3]), np.float64([1e200, 2, 3])),  # a type that changed
            (np.float64([1e200, 2, 3]), np.float32([1, 2, 3])),
            (np.zeros(4), np.float64([1e-200, 1e-200, 3e-136, 1e-190])),  # small beside what is safe alone
            (np.full(BLOCK + 9, 1e200), np.full(BLOCK + 9, 2e200)),  # in several blocks
            (np.int8([-128] * 3), np.int8([127] * 3)),  # what would wrap around
            (np.int32([-(2**31)]), np.int32([2**31 - 1])),
            (np.uint8([0, 255]), np.uint8([255, 0])),
            (np.uint32([2**32 - 1, 0]), np.uint32([0, 2**32 - 1])),
            (np.array([True, False, True]), np.array([False, True, True])),  # True is 1
            (np.complex128([1e200 + 1e200j]), np.complex128([1e200 - 1e200j])),
        ],
        ids=range(14),
    )
    def test_norms_are_exact(self, before: np.ndarray[Any, Any], after: np.ndarray[Any, Any]) -> None:
        """To the precision of float64; nothing is written into the tensors."""
        before.flags.writeable = after.flags.writeable = False
        assert exact(before, after) == norms(before, after)

    @pytest.mark.parametrize("value", [5e-324, 1e-320, 2.2e-308, 1e-160, 1e-135, 1e-134, 1e153, 1.3e154, 1.7e308])
    @pytest.mark.parametrize("count", [1, 3])
    def test_float64_at_its_ends(self, value: float, count: int) -> None:
        """From the smallest subnormal to the largest number; a norm beyond it is infinite."""
        assert exact(np.zeros(count), np.full(count, value)) == norms(np.zeros(count), np.full(count, value))

    @pytest.mark.parametrize("position", [0, BLOCK, 2 * BLOCK])
    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
    def test_one_element_that_is_not_finite_shows(self, position: int, bad: float, dtype: str) -> None:
        before = np.ones(2 * BLOCK + 1, dtype)
        after = before.copy()
        after[position] = bad
        wrong, right = close(abs(bad)), close(math.sqrt(2 * BLOCK + 1))
        assert (wrong, wrong, right) == norms(before, after)
        assert (wrong, right, wrong) == norms(after, before)

    def test_the_same_infinity_at_both_steps_is_no_number(self) -> None:
        """The difference is NaN, no update of 0; those of tensors beside it are what they are."""
        bad, good = np.array([1.0, math.inf]), np.array([3.0, 4.0])
        updates, weights = update_norms([good, bad, good], [2 * good, bad, 3 * good])
        assert [5.0, close(math.nan), 10.0] == updates.tolist()
        assert [10.0, math.inf, 15.0] == weights.tolist()

    @pytest.mark.parametrize("pair", [("i8", "i8"), ("u8", "u8"), ("i8", "f4")])
    @given(data=st.data())
    def test_64_bits_are_taken_as_float64(self, pair: Any, data: Any) -> None:
        """Their differences are those of the nearest float64 numbers."""
        numbers = st.lists(st.one_of(st.integers(0, 2**63 - 1), st.integers(0, 9)), min_size=3, max_size=3)
        before, after = (np.array(data.draw(numbers)).astype(dtype) for dtype in pair)
        assert exact(before.astype("f8"), after.astype("f8")) == norms(before, after)

    @settings(max_examples=200)
    @given(st.lists(st.tuples(FLOATS, FLOATS), max_size=20))
    def test_any_floats(self, pairs: Any) -> None:
        before, after = (np.array([pair[n] for pair in pairs]) for n in (0, 1))
        with np.errstate(all="ignore"):
            difference = after - before
        assert (close(exact_norm(difference)), *exact(before, after)[1:]) == norms(before, after)


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
    """Return what ``norms`` does of each tensor, given one by one."""
    return [norms(old, new) for old, new in zip(before, after)]


def together(before: list[Any], after: list[Any]) -> list[tuple[float, float, float]]:
    columns = (*update_norms(before, after), weight_norms(before))
    return list(zip(*(column.tolist() for column in columns)))


class TestManyTensors:
    """What else is given along with a tensor does not change its norms by a bit."""

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_all_sizes_of_a_type(self, dtype: str) -> None:
        """As alone to the last bit, forwards and backwards, and right: no element is lost or counted twice."""
        before, after = ([some_weights(size, dtype, seed) for size in SIZES] for seed in range(2))
        rows = together(before, after)
        assert alone(before, after) == rows
        assert rows[::-1] == together(before[::-1], after[::-1])
        for old, new, row in zip(before, after, rows):
            wide = "c16" if old.dtype.kind == "c" else "f8"
            updates = new.astype(wide) - old.astype(wide)
            right = [math.sqrt(math.fsum(np.abs(each.astype(wide)) ** 2)) for each in (updates, new, old)]
            assert tuple(map(close, right)) == row

    SMALL = st.one_of(st.integers(0, 200), st.integers(960, 1100), st.integers(8185, 8200))
    LARGE = st.one_of(st.integers(UNTHREADED - 300, UNTHREADED + 300), st.integers(0, 2 * BLOCK + 300))
    PAIRS = st.sampled_from([(old, new) for old in DTYPES for new in DTYPES if old == new or "c" not in old + new])

    @settings(max_examples=60)
    @given(
        st.lists(st.tuples(SMALL, PAIRS), max_size=12),
        st.lists(st.tuples(LARGE, PAIRS), max_size=2),
        st.randoms(use_true_random=False),
    )
    def test_any_sizes_and_types_in_any_order(self, small: Any, large: Any, chance: Any) -> None:
        """To the last bit; tensors that change their type between the two steps too."""
        drawn = [*small, *large]
        chance.shuffle(drawn)
        before, after = ([some_weights(size, kinds[n], n) for size, kinds in drawn] for n in (0, 1))
        assert alone(before, after) == together(before, after)

    @pytest.mark.parametrize("size", [1, 100, BLOCK + 5])
    @pytest.mark.parametrize("bad", [math.nan, -math.inf, 1e200, 1e-190, 1.7e308, 5e-324])
    def test_what_one_tensor_holds_does_not_touch_its_neighbours(self, bad: float, size: int) -> None:
        """Squares that overflow or vanish, NaN and infinity stay where they are, wherever in the list."""
        before = [some_weights(other, dtype, 0) for other, dtype in [(3, "f8"), (64, "f4"), (9000, "f8"), (5, "i8")]]
        after = [some_weights(weights.size, weights.dtype.str, 1) for weights in before]
        expected = alone(before, after)
        spoilt, zero = np.zeros(size), np.zeros(size)
        spoilt[[0, -1]] = bad
        wrong = close(exact_norm(spoilt[[0, -1]] if size > 1 else spoilt))
        for index in range(5):
            for old, new, right in [(zero, spoilt, (wrong, wrong, 0.0)), (spoilt, zero, (wrong, 0.0, wrong))]:
                rows = together([*before[:index], old, *before[index:]], [*after[:index], new, *after[index:]])
                assert expected == rows[:index] + rows[index + 1 :]
                assert right == rows[index]
