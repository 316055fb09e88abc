"""Which violations fire, and how they are grouped: against a plain count by the words of the contract."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.conftest import needs_writing
from tests.verdict.oracle import EPSILON, Known, Row, drawn_run, fires, judged, leading, learnt, report_of
from weight_update_ratio import check_trial
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.verdict.judged_run import firing_at

RATIOS = {"o": 1e-3, "s": 0.0, "l": 50.0, "n": math.nan, ".": None}  # sound, small, large, not finite, not compared
LEVEL = (1e-3, 1e-3, 2.0, 2.0)
SEEDS = st.integers(0, 2**32)
NORM_BOUNDS = ("norm_lower", "norm_upper")


def drawn(chance: random.Random, stride: int) -> dict[str, Known] | None:
    """Return what good runs teach: None, of another gap, nearly of the run's steps, with rests from 0 to 5 of them."""
    good = learnt(drawn_run(chance, chance.choice([stride, stride, 5]), is_good=True))
    return chance.choice([None, *[{name: band._replace(rest=chance.randrange(6)) for name, band in good.items()}] * 3])


def decades_outside(row: Any, norms: tuple[float, float]) -> float:
    """Return how many decades a violation is outside of its bounds; a ratio of 0 has no distance."""
    if row.verdict == "not_finite":
        return math.inf
    value, low, high = (row.weight_norm, *norms) if row.verdict == "drifted" else (row.ratio, row.lower, row.upper)
    return max(math.log10(value / high), math.log10(low / value) if low else -math.inf) if value else 1000.0


@given(SEEDS, st.sampled_from([1, 1, 2, 3, 4, 10**6]))
def test_any_run(seed: int, patience: int) -> None:
    """At once where not finite, and alone so where nothing is held; else from the patience-th violation in a row on."""
    chance = random.Random(seed)
    stride = chance.choice([1, 2])
    known, rows = drawn(chance, stride), drawn_run(chance, stride)
    report, expected = report_of(rows, Parameters(patience=patience), known), judged(rows, known or {})
    is_judged = known is None or any(each.is_held for each in expected)
    verdicts = [each.verdict for each in expected]
    fired = fires(rows, verdicts, patience if is_judged else 10**6)
    assert sorted({row.global_step for row, is_fired in zip(rows, fired) if is_fired}) == report.fired_steps
    groups: dict[Any, list[Any]] = {}
    for row in report:
        if row.verdict != "ok":
            groups.setdefault((row.tensor, row.worker, row.verdict), []).append(row)
    assert sorted(groups) == sorted(group[:3] for group in report.violations)
    leads = leading(rows, verdicts, patience if is_judged else 10**6)
    assert {(*row[:2], verdict) for row, verdict in leads} == {group[:3] for group in report.violations if group.fires}
    norms = {tuple(row[:6]): ends for row, ends in zip(report, zip(*(report.columns[n] for n in NORM_BOUNDS)))}
    for group in report.violations:
        members = groups[group[:3]]
        away = [decades_outside(row, norms[tuple(row[:6])]) for row in members]
        worst = [row for row, decades in zip(members, away) if decades >= max(away) - 1e-6]  # within rounding
        assert (members[0].step, members[-1].step, len(members)) == (group.first_step, group.last_step, group.count)
        assert (group.worst_step, group.lower, group.upper) in [(row.step, row.lower, row.upper) for row in worst]


@given(SEEDS, st.sampled_from([1, 2, 3, 5]))
@example(464, 2)
def test_step_by_step(seed: int, patience: int) -> None:
    """What fires at a step is what fires there of all rows up to it, though only some of them are looked at."""
    chance = random.Random(seed)
    stride = chance.choice([1, 2])
    known, rows = drawn(chance, stride), drawn_run(chance, stride)
    report = report_of(rows, Parameters(patience=patience), known)
    fired = fires(rows, [each.verdict for each in judged(rows, known or {})], patience)
    for step in sorted({row.global_step for row in rows}):
        expected = {row[:2] for row, is_fired in zip(rows, fired) if is_fired and row.global_step == step}
        actual = [(row.tensor, row.worker) for row in firing_at(report.rows, report.bounds, "TRAIN", step)]
        assert (expected, len(expected)) == (set(actual), len(actual))


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
    known = {"a": Known(1, 0, {0: LEVEL})} if baseline else None
    ratios = [(step, RATIOS[row]) for step, row in enumerate(rows, 1)]
    made = [
        Row("a", "w", step, step - 1, step, ratio * (2 + EPSILON), 2.0) for step, ratio in ratios if ratio is not None
    ]
    assert fired == report_of(made, parameters, known).fired_steps


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
        assert " ".join(report.to_text().split()).startswith(f"NOT JUDGED {trial}: patience asks for 3 violations")
        advised = check_trial(trial, patience=2)
        assert (1, [2], None, True) == (advised.exit_code, advised.fired_steps, advised.problem, advised.is_judged)

    def test_that_of_a_baseline_is_named(self, write_trial: Any) -> None:
        trial = write_trial({"a": [[1.0], [1.1]]}).path
        report = check_trial(trial, baseline=trial)
        assert 2 == report.exit_code
        assert report.problem.message.startswith(
            "patience, with a baseline 3 where it is not given, asks for 3 violations in a row, and no tensor has more "
            "than 1 comparison: "
        )
        assert 0 == check_trial(trial, baseline=trial, patience=1).exit_code
