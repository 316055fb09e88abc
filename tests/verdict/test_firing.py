"""Which violations fire, and how they are grouped: against a plain count by the words of the contract."""

from __future__ import annotations

import math
from typing import Any, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import needs_writing
from tests.findings.made_runs import judged_report, made_baseline
from weight_update_ratio import check_trial
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.report import Report

RATIOS = {"o": 1e-3, "s": 0.0, "l": 50.0, "n": math.nan, ".": None}  # sound, small, large, not finite, not compared
STEPS = st.lists(
    st.dictionaries(
        st.tuples(st.sampled_from("ab"), st.sampled_from(["w0", "w1"])),
        st.sampled_from([1e-3, 1e-3, 0.0, 1e-10, 1e-10, 50.0, 700.0, math.nan, math.inf]),
    ),
    min_size=1,
    max_size=40,
)
BANDS = st.sampled_from(
    [
        None,
        {"a": (1, {0: (1e-3, 1e-3)}), "b": (1, {0: (1e-3, 1e-3)})},
        {"a": (1, {1: (1e-3, 1e-3), 2: (0.0, 30.0)})},  # from step 8 on
        {"a": (2, {0: (1e-3, 1e-3)})},  # of another gap: nothing is held
    ]
)


def counted(rows: Sequence[Any], patience: int) -> tuple[list[bool], list[bool]]:
    """Return which rows fire, and which do or lead up to one that does, counted one by one."""
    in_a_row: dict[Any, list[int]] = {}
    fires = [row.verdict == "not_finite" for row in rows]
    leads = list(fires)
    for place, row in enumerate(rows):
        course = in_a_row.setdefault((row.tensor, row.worker), [])
        if row.verdict == "ok":
            course.clear()
            continue
        course.append(place)
        if len(course) >= patience:
            fires[place] = True
            for before in course:
                leads[before] = True
    return fires, leads


def decades_outside(row: Any) -> float:
    """Return how many decades a violation is outside of its bounds; a bound of 0 and a ratio of 0 have no distance."""
    if row.verdict == "not_finite":
        return math.inf
    if row.verdict == "large":
        return math.log10(row.ratio) - math.log10(row.upper)
    return math.log10(row.lower) - math.log10(row.ratio) if row.ratio else 1000.0


def is_held(report: Report) -> bool:
    return any((row.lower, row.upper) != (1e-8, 10.0) for row in report)


@given(STEPS, st.sampled_from([1, 1, 2, 3, 4, 10**6]), BANDS)
def test_any_rows(steps: list[dict[Any, float]], patience: int, bands: Any) -> None:
    """At once where not finite, and alone so where nothing is held; else from the patience-th violation in a row on."""
    keys = sorted({key for ratios in steps for key in ratios}) or [("a", "w0")]
    ratios = {key: [at_step.get(key) for at_step in steps] for key in keys}
    report = judged_report(ratios, Parameters(patience=patience), bands and made_baseline(bands))
    rows = list(report)
    fires, leads = counted(rows, patience if bands is None or is_held(report) else 10**6)
    assert sorted({row.global_step for row, own in zip(rows, fires) if own}) == report.fired_steps
    groups: dict[Any, list[Any]] = {}
    for row in rows:
        if row.verdict != "ok":
            groups.setdefault((row.tensor, row.worker, row.verdict), []).append(row)
    leading = {(row.tensor, row.worker, row.verdict) for row, own in zip(rows, leads) if own}
    assert sorted(groups) == sorted(group[:3] for group in report.violations)
    assert sorted(leading) == sorted(group[:3] for group in report.violations if group.fires)
    for group in report.violations:
        own = groups[group[:3]]
        worst = max(own, key=lambda row: round(decades_outside(row), 6))  # the first of equals
        assert (own[0].step, own[-1].step, len(own)) == (group.first_step, group.last_step, group.count)
        assert (worst.step, worst.lower, worst.upper) == (group.worst_step, group.lower, group.upper)


@pytest.mark.parametrize(
    ("rows", "patience", "baseline", "fired"),
    [
        ("osssoso", None, False, [2, 3, 4, 6]),
        ("ossssos", 3, False, [4, 5]),
        ("ossosso", 3, False, []),
        ("oslso", 3, False, [4]),  # of any verdict
        ("os.s..s", 3, False, [7]),  # what is not compared neither counts nor breaks a row
        ("osnoo", 4, False, [3]),  # what is not finite fires at once
        ("snssn", 3, False, [2, 3, 4, 5]),  # and counts
        ("ossssso", None, True, [4, 5, 6]),  # with a baseline patience is 3
    ],
)
def test_rows_of_one_tensor(rows: str, patience: int | None, baseline: bool, fired: list[int]) -> None:
    """What counts, and what breaks a row; the first comparison is at step 1."""
    parameters = Parameters(patience=patience, baseline=("good.json",) if baseline else ())
    bands = made_baseline({"a": (1, {0: (1e-3, 1e-3)})}) if baseline else None
    report = judged_report({"a": [RATIOS[row] for row in rows]}, parameters, bands)
    assert fired == report.fired_steps


@needs_writing
class TestAPatienceThatNothingCanReach:
    def test_it_is_a_problem(self, write_trial: Any) -> None:
        """No tensor of a worker has as many comparisons, though all together have; the remedy helps."""
        rests = [[1.0]] * 3
        trial = write_trial({"a": rests, "b": rests[:2]}, workers=("u", "v")).path
        report = check_trial(trial, patience=3)
        assert (2, [], False) == (report.exit_code, report.fired_steps, report.is_judged)
        assert (
            "patience asks for 3 violations in a row, and no tensor has more than 2 comparisons: "
            "nothing but a value that is not finite could fire",
            "Save more steps, or set patience=2.",
        ) == (report.problem.message, report.problem.remedy)
        assert report.to_text().startswith(f"NOT JUDGED  {trial}: patience asks for 3 violations")
        advised = check_trial(trial, patience=2)
        assert (1, [2], None, True) == (advised.exit_code, advised.fired_steps, advised.problem, advised.is_judged)

    def test_that_of_a_baseline_is_named(self, write_trial: Any) -> None:
        """Nobody gave it."""
        trial = write_trial({"a": [[1.0], [1.1]]}).path
        report = check_trial(trial, baseline=trial)
        assert 2 == report.exit_code
        assert report.problem.message.startswith(
            "patience, with a baseline 3 where it is not given, asks for 3 violations in a row, and no tensor has more "
            "than 1 comparison: "
        )
        assert 0 == check_trial(trial, baseline=trial, patience=1).exit_code
