"""What good runs did: bins, what is learnt from a run, and how several runs become one baseline."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.findings.made_runs import Row, exact_bin, exact_edge, found_bands, made_run, rows
from weight_update_ratio.errors import TrialError, Unreadable
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.verdict.baseline import (
    BIN_EDGES,
    LAST_BIN,
    Baseline,
    bin_of,
    first_step,
    merged_baselines,
)
from weight_update_ratio.verdict.learning import learn_baseline

EXACT = 2**47  # above it a float64 rounds an edge to a neighbour of the exact one


def expected_bands(made: list[Row]) -> dict[str, tuple[int, dict[int, tuple[float, float]]]]:
    """Return the lowest and highest ratio by tensor and bin, of the tensor's most frequent gap."""
    expected = {}
    for tensor in {row.tensor for row in made}:
        gaps = [row.gap for row in made if row.tensor == tensor]
        most = max(gaps.count(gap) for gap in gaps)
        gap = min(gap for gap in gaps if gaps.count(gap) == most)
        by_bin: dict[int, list[float]] = {}
        for row in made:
            if (row.tensor, row.gap) == (tensor, gap):
                by_bin.setdefault(exact_bin(row.step), []).append(row.ratio)
        expected[tensor] = gap, {place: (min(ratios), max(ratios)) for place, ratios in by_bin.items()}
    return expected


def facts(baseline: Baseline) -> tuple[Any, ...]:
    """Return all that a baseline says of its runs."""
    return baseline.runs, baseline.mode, baseline.num_steps, baseline.epsilon, found_bands(baseline)


def merge_of(*baselines: Baseline) -> Baseline:
    return merged_baselines((str(number), baseline) for number, baseline in enumerate(baselines))


class TestBins:
    def test_the_first_edges(self) -> None:
        """They are those that the contract spells out."""
        assert [8, 11, 13, 16, 21, 26, 32] == BIN_EDGES[:7]

    def test_every_edge_by_whole_numbers(self) -> None:
        """Each is the least whole number not below 8 * 2**(k / 3)."""
        exact = [exact_edge(number) for number in range(len(BIN_EDGES))]
        assert [edge for edge in exact if edge < EXACT] == [edge for edge in BIN_EDGES if edge < EXACT]
        assert BIN_EDGES == pytest.approx(exact, rel=1e-14, abs=0)

    @given(st.one_of(st.integers(-1, 100), st.integers(-1, EXACT)))
    def test_a_step_is_in_the_bin_of_the_last_edge_not_above_it(self, step: int) -> None:
        """Every step below 8 is in the first bin, -1 too."""
        assert exact_bin(step) == bin_of(step)

    @pytest.mark.parametrize("power", range(3, 63))
    def test_a_power_of_two_begins_a_bin(self, power: int) -> None:
        """Three bins as often as a step doubles, up to the largest step."""
        assert 3 * (power - 3) + 1 == bin_of(2**power)
        assert 3 * (power - 3) == bin_of(2**power - 1)

    def test_the_largest_step_is_in_the_last_bin(self) -> None:
        """No step has a bin beyond it."""
        assert (LAST_BIN, LAST_BIN) == (bin_of(2**62), bin_of(2**63))

    @pytest.mark.parametrize("place", range(1, LAST_BIN + 1))
    def test_the_first_step_of_a_bin_is_in_it_and_the_step_before_is_not(self, place: int) -> None:
        """A bin's first step is its edge."""
        assert (place, place - 1) == (bin_of(first_step(place)), bin_of(first_step(place) - 1))

    def test_the_first_bin_begins_at_zero(self) -> None:
        """Its edge is shown to people, who count from 0."""
        assert 0 == first_step(0)


class TestLearning:
    @given(rows())
    def test_any_history(self, made: list[Row]) -> None:
        """Lowest and highest ratio by bin, workers folded, of the most frequent gap and the smaller of equals."""
        assert expected_bands(made) == found_bands(learn_baseline(made_run(made)))

    def test_workers_are_folded_together(self) -> None:
        """The lowest may be one worker's, and the highest another's."""
        made = [Row("a", "w0", 1, 1, 0.25), Row("a", "w1", 1, 1, 0.5), Row("a", "w0", 9, 1, 2.0)]
        assert {"a": (1, {0: (0.25, 0.5), 1: (2.0, 2.0)})} == found_bands(learn_baseline(made_run(made)))

    def test_the_most_frequent_gap(self) -> None:
        """Rows of other gaps are left out, for each tensor by itself."""
        made = [Row("a", "w", 5, 5, 1.0), Row("a", "w", 10, 5, 2.0), Row("a", "w", 11, 1, 99.0)]
        made += [Row("b", "w", 1, 1, 3.0)]
        expected = {"a": (5, {0: (1.0, 1.0), 1: (2.0, 2.0)}), "b": (1, {0: (3.0, 3.0)})}
        assert expected == found_bands(learn_baseline(made_run(made)))

    def test_the_smaller_of_two_gaps_that_are_equally_frequent(self) -> None:
        """It does not matter which came first."""
        made = [Row("a", "w", 5, 5, 1.0), Row("a", "w", 6, 1, 2.0)]
        for order in (made, made[::-1]):
            assert {"a": (1, {0: (2.0, 2.0)})} == found_bands(learn_baseline(made_run(order)))

    def test_zero_is_a_ratio_like_any_other(self) -> None:
        """A frozen layer has a band of zeros."""
        made = [Row("a", "w", step, 1, 0.0) for step in range(1, 12)]
        assert {"a": (1, {0: (0.0, 0.0), 1: (0.0, 0.0), 2: (0.0, 0.0)})} == found_bands(learn_baseline(made_run(made)))

    def test_how_the_run_was_judged_is_kept(self) -> None:
        """It is one run of its mode, num_steps and epsilon."""
        run = made_run([Row("a", "w", 1, 1, 1.0)], "GLOBAL", Parameters(num_steps=4, epsilon=1e-6))
        assert (1, "GLOBAL", 4, 1e-6, {"a": (1, {0: (1.0, 1.0)})}) == facts(learn_baseline(run))

    def test_violations_of_the_thresholds_are_learnt_too(self) -> None:
        """A good run has them where it begins at zero, for one."""
        made = [Row("a", "w", 1, 1, 1e9), Row("a", "w", 2, 1, 0.0)]
        assert {"a": (1, {0: (0.0, 1e9)})} == found_bands(learn_baseline(made_run(made)))


class TestMerging:
    @given(st.lists(rows(12), min_size=1, max_size=4), st.randoms(use_true_random=False))
    def test_runs_give_what_all_their_rows_together_give(self, runs: list[list[Row]], chance: random.Random) -> None:
        """In any order, and the most frequent gap is that of all runs together."""
        together = expected_bands([row for run in runs for row in run])
        shuffled = chance.sample(runs, len(runs))
        baseline = merge_of(*(learn_baseline(made_run(run)) for run in shuffled))
        assert (len(runs), "TRAIN", None, 1e-9, together) == facts(baseline)

    @given(rows(12), rows(12), rows(12))
    def test_in_groups_or_one_after_the_other(self, a: list[Row], b: list[Row], c: list[Row]) -> None:
        """It does not matter which are merged first."""
        first, second, third = (learn_baseline(made_run(run)) for run in (a, b, c))
        assert facts(merge_of(merge_of(first, second), third)) == facts(merge_of(first, merge_of(second, third)))

    def test_merging_leaves_its_parts_as_they_were(self) -> None:
        """The baseline is a new one."""
        one = learn_baseline(made_run([Row("a", "w", 1, 1, 1.0)]))
        other = learn_baseline(made_run([Row("a", "w", 1, 1, 5.0), Row("b", "w", 1, 1, 2.0)]))
        assert (1.0, 5.0) == merge_of(one, other).bands["a"].band.extremes[0]
        assert [{"a": (1, {0: (1.0, 1.0)})}, {"a": (1, {0: (5.0, 5.0)}), "b": (1, {0: (2.0, 2.0)})}] == [
            found_bands(one),
            found_bands(other),
        ]

    def test_one_alone(self) -> None:
        """It stays what it is."""
        one = learn_baseline(made_run([Row("a", "w", 1, 1, 1.0)]))
        assert facts(one) == facts(merge_of(one))

    @pytest.mark.parametrize(
        ("mode", "parameters", "what", "values"),
        [
            ("GLOBAL", Parameters(), "mode", "TRAIN and GLOBAL"),
            ("TRAIN", Parameters(num_steps=3), "num_steps", "None and 3"),
            ("TRAIN", Parameters(epsilon=1e-6), "epsilon", "1e-09 and 1e-06"),
        ],
    )
    def test_runs_that_were_not_judged_alike_are_refused(
        self, mode: str, parameters: Parameters, what: str, values: str
    ) -> None:
        """The message names both baselines and both values."""
        row = [Row("a", "w", 1, 1, 1.0)]
        good, other = learn_baseline(made_run(row)), learn_baseline(made_run(row, mode, parameters))
        with pytest.raises(TrialError) as caught:
            merged_baselines([("good.json", good), ("fine", good), ("other.json", other)])
        assert (
            f"the baselines 'good.json' and 'other.json' cannot be merged: their {what} is {values}",
            f"Merge baselines that were judged with the same {what}.",
        ) == (caught.value.message, caught.value.remedy)


class TestRefusals:
    @pytest.mark.parametrize("ratio", [math.nan, math.inf])
    def test_a_ratio_that_is_not_finite(self, ratio: float) -> None:
        """The first one is named: a run that has one is not a good one."""
        made = [Row("a", "w", 1, 1, 1.0), Row("b", "w", 2, 1, ratio), Row("a", "w", 3, 1, ratio)]
        with pytest.raises(TrialError) as caught:
            learn_baseline(made_run(made))
        assert (
            f"the ratio of 'b' at TRAIN step 2 is {ratio}",
            "Take a run that trains well.",
        ) == (caught.value.message, caught.value.remedy)

    def test_a_run_with_records_that_could_not_be_read(self) -> None:
        """Its lowest and highest ratios may be among them."""
        run = made_run([Row("a", "w", 1, 1, 1.0)])
        run.rows.add_unreadable(0, [Unreadable("file", "a", "w", step, "is truncated") for step in (2, 3)])
        with pytest.raises(TrialError) as caught:
            learn_baseline(run)
        assert (
            "2 of its records could not be read",
            "Restore its files, or take another run that trains well.",
        ) == (caught.value.message, caught.value.remedy)

    def test_a_run_that_was_not_judged_as_a_whole(self) -> None:
        """The problem and its remedy are those of the run."""
        run = made_run([Row("a", "w", 1, 1, 1.0)])
        run.problem = TrialError("no step came for 600 seconds", "Follow it again.")
        with pytest.raises(TrialError) as caught:
            learn_baseline(run)
        assert ("no step came for 600 seconds", "Follow it again.") == (
            caught.value.message,
            caught.value.remedy,
        )

    def test_a_run_without_any_comparison(self) -> None:
        """There is nothing to learn."""
        run = made_run([])
        run.problem = TrialError("there is nothing to compare", "Save more steps.")
        with pytest.raises(TrialError, match="there is nothing to compare"):
            learn_baseline(run)
