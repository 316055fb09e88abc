"""Between which bounds a comparison is sound, and its verdict: by the thresholds, and against what good runs did."""

from __future__ import annotations

import math
import random
from typing import Any, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verdict.oracle import EPSILON, Known, Row, drawn_run, judged, learnt, merged, report_of
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.verdict.baseline import BIN_EDGES, BINS

ENDS = st.tuples(*[st.floats(0, 1e100)] * 4).map(lambda ends: (*sorted(ends[:2]), *sorted(ends[2:])))
BINS_OF_ONE = st.dictionaries(st.one_of(st.integers(0, 12), st.integers(0, BINS - 1)), ENDS, max_size=8)
KNOWN = st.dictionaries(st.sampled_from("abc"), st.builds(Known, st.sampled_from([1, 2]), st.just(0), BINS_OF_ONE))
EDGES = st.builds(lambda edge, by: edge - by, st.sampled_from(BIN_EDGES[:120]), st.sampled_from([0, 1]))
STEPS = st.one_of(st.integers(-1, 70), st.integers(-1, 2**40), EDGES)
LEVEL = (1e-3, 1e-3, 2.0, 2.0)
STEADY = Known(1, 1, dict.fromkeys(range(4), LEVEL))
LATE = Known(1, 1, {5: LEVEL})  # from step 21 on
REST = Known(1, 4, {})
FIRST = {0: (2.0, 5.0, 1.0, 1.0)}
THREE = {**FIRST, 1: (4.0, 7.5, 1.0, 1.0), 2: (6.0, 12.0, 1.0, 1.0)}
TO_ZERO = {0: (0.5, 3e8, 1.0, 1.0), 1: (0.5, 0.5, 1.0, 1.0), 2: (0.5, 0.5, 1.0, 1.0)}


def row(step: int, ratio: float = 1.0, norm: float = 2.0, gap: int = 1, tensor: str = "a", worker: str = "w") -> Row:
    return Row(tensor, worker, step, step - gap, max(step, 0), ratio * (norm + EPSILON), norm)


def assert_judged_alike(rows: Sequence[Row], known: dict[str, Known], parameters: Parameters) -> None:
    thresholds = parameters.small_threshold, parameters.large_threshold
    expected = judged(rows, known, *thresholds, parameters.baseline_factor)
    report = report_of(rows, parameters, known)
    for name in ("lower", "upper"):
        assert report.columns[name].tolist() == pytest.approx(
            [getattr(each, name) for each in expected], rel=1e-15, abs=1e-320
        )
    assert [each.verdict for each in expected] == [each.verdict for each in report]
    assert [each.is_held for each in expected] == report.columns["held"].tolist()


@given(KNOWN, st.lists(st.tuples(STEPS, st.sampled_from("abcd"), st.sampled_from([1, 2]))), st.floats(1, 1e6))
def test_the_bounds_of_any_comparisons(known: dict[str, Known], compared: list[Any], factor: float) -> None:
    """A tensor, a gap and a step that the baseline has; all others are judged by the thresholds."""
    rows = [row(step, tensor=tensor, gap=gap) for step, tensor, gap in sorted(compared)]
    assert_judged_alike(rows, known, Parameters(baseline_factor=factor, small_threshold=0.5, large_threshold=77.0))


@given(st.integers(0, 2**32))
def test_the_verdicts_of_any_run(seed: int) -> None:
    chance = random.Random(seed)
    good = [learnt([row for row in drawn_run(chance, 1, is_good=True) if row.step - row.reference_step == 1])]
    good += [{name: Known(1, chance.randrange(4), {}) for name in "ab"}]
    known = merged(*chance.choice([[], good[:1], good]))
    parameters = Parameters(baseline_factor=chance.choice([1.0, 3.0, 9.0]), small_threshold=chance.choice([0.0, 1e-8]))
    assert_judged_alike(drawn_run(chance, chance.choice([1, 1, 2])), known, parameters)


@pytest.mark.parametrize(
    ("bins", "gap", "step", "expected"),
    [
        (THREE, 1, 7, (1.0, 15.0)),  # the first bin and the next
        (THREE, 1, 11, (2.0, 24.0)),  # the first bin is two away
        (THREE, 1, 2**61, (2.0, 24.0)),  # past the last bin
        ({**FIRST, 3: (6.0, 9.0, 1.0, 1.0)}, 1, 10, (1.0, 10.0)),  # an empty bin beside the first
        ({**FIRST, 6: (6.0, 9.0, 1.0, 1.0)}, 1, 11, (1e-8, 10.0)),  # all three are empty
        ({3: (6.0, 9.0, 1.0, 1.0)}, 1, 12, (1e-8, 10.0)),  # before the first bin
        ({3: (6.0, 9.0, 1.0, 1.0)}, 1, 13, (3.0, 18.0)),
        (FIRST, 2, 5, (1e-8, 10.0)),  # another gap
        ({}, 1, 1, (0.0, 1e-8)),  # a frozen layer may rest, and not move
        ({}, 1, 2**61, (0.0, 1e-8)),
        (TO_ZERO, 1, 1, (0.25, 6e8)),
        (TO_ZERO, 1, 11, (0.25, 1.0)),
        ({0: (0.0, 1e-20, 1.0, 1.0)}, 1, 1, (0.0, 1e-8)),  # never below small_threshold
    ],
)
def test_the_bounds_of_a_step(bins: Any, gap: int, step: int, expected: tuple[float, float]) -> None:
    """Bins 0 to 3 begin at 0, 8, 11 and 13."""
    (result,) = report_of([row(step, gap=gap)], Parameters(baseline_factor=2.0), {"a": Known(1, 0, bins)})
    assert expected == (result.lower, result.upper)


@pytest.mark.parametrize(
    ("known", "rows", "verdicts"),
    [
        (STEADY, [row(1, 3e-3), row(2, 3.1e-3), row(3, 3.4e-4), row(4, 3e-4)], "ok large ok small"),
        (STEADY, [row(n, 1e-3, norm) for n, norm in enumerate((2.9, 3.1, 1.4, 1.3))], "ok drifted ok drifted"),
        (STEADY, [row(1, 1e-2, 9.0), row(2, 1e-5, 9.0)], "large small"),  # the ratio comes first
        (STEADY, [row(1, 1e-3, 0.0), row(2, 0.0, 9.0)], "ok ok"),  # weights that are all zero, and rests
        (STEADY, [row(1, math.inf, 9.0), row(2, 1.0, math.inf)], "not_finite not_finite"),
        (STEADY, [row(1, 1e-3, 9.0, gap=2), row(2, 1e-3, 9.0, tensor="b")], "ok ok"),  # by the thresholds
        (Known(1, 0, {0: (1e-3, 1e-3, math.nan, math.nan)}), [row(1, 1e-3, 9.0)], "ok"),  # a bin without a norm
        (STEADY, [row(n, 0.0) for n in range(4)], "ok ok small small"),  # a rest of one is known
        (Known(1, 0, STEADY.bins), [row(1, 0.0), row(2, 1e-3)], "small ok"),  # none is
        (STEADY, [row(n, ratio) for n, ratio in enumerate((0, 0, 1e-3, 0, 0, 1e-9, 0))], "ok ok ok ok ok small ok"),
        (STEADY, [row(n // 2, 0.0, worker=f"w{n % 2}") for n in range(4)], "ok ok ok ok"),  # each worker's own
        (STEADY, [row(n // 2, 0.0, tensor="ab"[n % 2]) for n in range(4)], "ok small ok small"),  # b is not known
        (STEADY, [row(1, 0.0), row(2, 0.0, gap=2), row(3, 0.0)], "ok small small"),  # another gap counts all the same
        (LATE, [row(n, 0.0) for n in range(3)], "ok ok small"),  # before the first bin too
        (LATE, [row(1, 1.0, 99.0), row(2, 11.0), row(3, 1e-9)], "ok large small"),
        (REST, [row(n, 0.0) for n in range(20)], "ok " * 20),  # what never moves may rest for ever
        (REST, [row(1, 1e-9), row(2, 1.1e-8), row(3, 1e-9, 99.0), row(4, 0.0, gap=2)], "ok large ok small"),
    ],
)
def test_verdicts(known: Known, rows: list[Row], verdicts: str) -> None:
    """The factor is 3, and 1.5 that of the norm; ratios are 1e-3 and norms 2 in the good run."""
    assert verdicts.split() == [each.verdict for each in report_of(rows, None, {"a": known})]


@pytest.mark.parametrize(
    ("factor", "ratio", "norm", "ends"),
    [
        (1.0, 1e-3, 2.0, ("ok", "large", "small", "drifted", "drifted")),
        (5.0, 5e-3, 4.0, ("ok", "large", "ok", "drifted", "ok")),  # 1 + (5 - 1) / 4 = 2
        (5.0, 2e-4, 1.0, ("ok", "ok", "small", "ok", "drifted")),
    ],
)
def test_bounds_are_strict(factor: float, ratio: float, norm: float, ends: tuple[str, ...]) -> None:
    """At both bounds; with a ratio next above, next below; and with a norm next above, next below."""
    ratios = [ratio, math.nextafter(ratio, 1), math.nextafter(ratio, 0)]
    norms = [math.nextafter(norm, 9), math.nextafter(norm, 0)]
    cases = [*((each, norm, LEVEL) for each in ratios), *((1e-3, each, (1e-4, 1e-2, 2.0, 2.0)) for each in norms)]
    parameters = Parameters(baseline_factor=factor, epsilon=1e-300)
    for (size, weight, level), verdict in zip(cases, ends):
        rows = [Row("a", "w", 1, 0, 1, size * weight, weight)]
        assert [verdict] == [row.verdict for row in report_of(rows, parameters, {"a": Known(1, 0, {0: level})})]
