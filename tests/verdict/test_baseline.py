"""What good runs did: what a run teaches, and how several runs become one baseline."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import RECORDED
from tests.verdict.oracle import EPSILON, Known, Row, drawn_run, exact_bin, known_of, learnt, merged, report_of
from weight_update_ratio import TrialError, check_trial
from weight_update_ratio.verdict.baseline import BIN_EDGES, baseline_text, merged_baselines, parse_baseline
from weight_update_ratio.verdict.good_runs import learn_baseline

SEEDS = st.integers(0, 2**32)


def course(ratios: Any, weights: Any = (2.0,), gap: int = 1, worker: str = "w0", first: int = 1) -> list[Row]:
    """Return the rows of one tensor of a worker, from a step on; the last weight norm goes on."""
    norms = itertools.chain(weights, itertools.repeat(weights[-1]))
    steps = itertools.count(first)
    return [
        Row("a", worker, step, step - gap, step, ratio * (norm + EPSILON), norm)
        for step, ratio, norm in zip(steps, ratios, norms)
    ]


def taught(rows: list[Row]) -> dict[str, Known]:
    return known_of(json.loads(report_of(sorted(rows, key=lambda row: row.global_step)).to_baseline()))


def merged_text(baselines: Any) -> str:
    return baseline_text(merged_baselines((str(number), baseline) for number, baseline in enumerate(baselines)))


def test_bins_begin_at_edges_that_double_in_three() -> None:
    """Each edge is the first step of its bin, by exact integers."""
    assert [8, 11, 13, 16, 21, 26, 32] == BIN_EDGES[:7]
    edges = BIN_EDGES[: 3 * 44]  # beyond, a float64 rounds an edge to its neighbour
    assert [(number, number + 1) for number in range(len(edges))] == [(exact_bin(e - 1), exact_bin(e)) for e in edges]


@given(SEEDS)
def test_what_a_run_teaches(seed: int) -> None:
    """The order within a step changes no byte; a file keeps every digit; how the run was judged is kept."""
    chance = random.Random(seed)
    rows = drawn_run(chance, chance.choice([1, 2]), is_good=True)
    mode = chance.choice(["TRAIN", "GLOBAL"])
    text = report_of(rows, mode=mode).to_baseline()
    document = json.loads(text)
    assert learnt(rows) == known_of(document)
    head = {"runs": 1, "mode": mode, "epsilon": EPSILON, "last_step": max(row.step for row in rows)}
    assert head.items() <= document.items()
    shuffled = sorted(chance.sample(rows, len(rows)), key=lambda row: row.global_step)
    assert text == report_of(shuffled, mode=mode).to_baseline()
    assert text == baseline_text(parse_baseline(text.encode()))


@pytest.mark.parametrize(
    ("rows", "rest", "low", "high"),
    [
        (course([1, 2, 90, 3, 1]), 0, 1, 3),  # a spike of one comparison in between opens nothing
        (course([1, 1, 90, 80, 1]), 0, 1, 80),  # one of two does
        (course([1, 1, 0.01, 1, 1]), 0, 1, 1),  # nor does a dip
        (course([90, 1, 1, 0.01]), 0, 0.01, 90),  # the first and the last stay as they are
        (course([90, 1]), 0, 1, 90),
        (course([1, 0, 90, 0, 0, 1, 0]), 2, 1, 1),  # rests stand in nobody's neighbourhood, and are counted
        (course([0, 0, 0, 1]), 3, 1, 1),
        (course([1, 0]) + course([0, 1], first=3), 2, 1, 1),
        (course([1, 0]) + course([0, 5], first=3, worker="w1"), 1, 1, 5),  # each worker has a course of its own
        (course([1, 2, 1]) + course([7, 90, 7], worker="w1"), 0, 1, 7),
        (course([4e8, 4e8, 1, 1], weights=(0, 0, 2)), 0, 1, 1),  # from weights that were all zero
        (course([1, 1]) + course([90], gap=2, first=3), 0, 1, 1),  # of another gap than the most frequent one
        (course([1, 0], gap=2) + course([0, 1, 5], gap=3, first=3), 2, 1, 5),  # but its rests count
        (course([1, 5], gap=5) + course([7, 9], gap=2, first=3), 0, 7, 9),  # of equals the smaller
    ],
)
def test_only_moves_teach(rows: list[Row], rest: int, low: float, high: float) -> None:
    """All are in the first bin; the norms are those of the moves."""
    (known,) = taught(rows).values()
    assert rest == known.rest
    assert pytest.approx([low, high, 2, 2]) == known.bins[0]


def test_a_tensor_that_never_moves() -> None:
    """It has a rest and no bins; weights that were all zero are no move."""
    assert {"a": Known(1, 3, {})} == taught(course([0, 0, 0, 1], weights=(2, 2, 2, 0)))


def test_norms_are_no_medians() -> None:
    """The lowest and highest weight norm of the moves by bins; an empty bin has none."""
    known = taught(course([1, 1, 0, 1], weights=(2, 9, 90, 3)) + course([1], weights=(5,), first=13))["a"]
    assert {0: (2, 9), 3: (5, 5)} == {number: ends[2:] for number, ends in known.bins.items()}


@given(SEEDS)
def test_merged_runs(seed: int) -> None:
    """In any order and any groups the same text, of what all of them teach; the parts stay as they were."""
    chance = random.Random(seed)
    runs = [drawn_run(chance, 2, is_good=True) for _ in range(chance.randrange(2, 5))]
    runs = [[row for row in run if row.step - row.reference_step == 2] for run in runs]
    learned = [learn_baseline(report_of(run)) for run in runs]
    before, at = list(map(baseline_text, learned)), chance.randrange(1, len(runs))
    text = merged_text(learned)
    document = json.loads(text)
    assert merged(*map(learnt, runs)) == known_of(document)
    assert (len(runs), max(row.step for run in runs for row in run)) == (document["runs"], document["last_step"])
    assert text == merged_text(chance.sample(learned, len(learned)))
    groups = [merged_text(group) for group in (learned[:at], learned[at:])]
    assert text == merged_text(parse_baseline(group.encode()) for group in groups)
    assert before == list(map(baseline_text, learned))


@pytest.mark.parametrize(
    ("other", "message", "remedy"),
    [
        (
            report_of(course([1], gap=3)),
            "the ratios of 'a' are over 1 step and over 3 steps",
            "Merge baselines of runs that were saved at the same interval and judged with the same num_steps.",
        ),
        (
            report_of(course([1]), mode="GLOBAL"),
            "their mode is TRAIN and GLOBAL",
            "Merge baselines that were judged with the same mode.",
        ),
    ],
)
def test_good_runs_that_were_not_judged_alike(tmp_path: Path, other: Any, message: str, remedy: str) -> None:
    files = [str(tmp_path / "one.json"), str(tmp_path / "other.json")]
    for file, report in zip(files, (report_of(course([1])), other)):
        Path(file).write_text(report.to_baseline())
    with pytest.raises(TrialError) as caught:
        check_trial(RECORDED["pytorch_healthy"], baseline=files)
    assert f"the baselines {files[0]!r} and {files[1]!r} cannot be merged: {message}" == caught.value.message
    assert remedy == caught.value.remedy


def test_a_pattern_that_matches_nothing_of_the_good_run() -> None:
    """It may match something of the run; what the others match is learnt."""
    options: Any = {"tensor_regex": "conv,nowhere", "baseline": RECORDED["pytorch_healthy"]}
    report = check_trial(RECORDED["pytorch_frozen"], **options)
    assert {"TinyNet_conv1.weight"} == {group.tensor for group in report.violations if group.fires}
    assert 19 == json.loads(report.to_json())["baseline"]["held"]


def test_a_good_run_of_which_nothing_can_be_compared() -> None:
    """That is said as of a run."""
    nothing = RECORDED["xgboost"]
    with pytest.raises(TrialError) as caught:
        check_trial(RECORDED["pytorch_healthy"], baseline=nothing)
    problem = check_trial(nothing).problem
    assert f"the baseline {str(nothing)!r} cannot be used: {problem.message}" == caught.value.message
    assert problem.remedy == caught.value.remedy
