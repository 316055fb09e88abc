"""What good runs did: the bins of steps, what a run teaches, and how several runs become one baseline."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, Dict, Iterable, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import RECORDED
from tests.findings.made_runs import Row, exact_bin, exact_edge, found_bands, made_run, rows
from weight_update_ratio import TrialError, check_trial
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.verdict.baseline import Baseline, merged_baselines
from weight_update_ratio.verdict.baseline_file import parse_baseline
from weight_update_ratio.verdict.learning import learn_baseline

Bands = Dict[str, Tuple[int, Dict[int, Tuple[float, float]]]]  # {tensor: (gap, {bin: (lowest, highest ratio)})}


def expected_bands(made: Iterable[Row]) -> Bands:
    """Return the extremes of every tensor's most frequent gap, the smaller of equals."""
    made, expected = list(made), {}
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


def bands_in(text: str) -> Bands:
    """Return the extremes that the text of a file holds."""
    found = {}
    for tensor, entry in json.loads(text)["tensors"].items():
        bins = enumerate(zip(entry["low"], entry["high"]), entry["first_bin"])
        found[tensor] = entry["gap"], {place: ends for place, ends in bins if ends != (None, None)}
    return found


def merged(*baselines: Baseline) -> Baseline:
    return merged_baselines((str(number), baseline) for number, baseline in enumerate(baselines))


def test_bins_begin_at_edges_that_double_in_three() -> None:
    """At 8, 11, 13, 16, ..., ceil(8 * 2**(k / 3)), up to where a float64 rounds an edge to its neighbour."""
    assert [8, 11, 13, 16, 21, 26, 32] == [exact_edge(number) for number in range(7)]
    edges = [exact_edge(number) for number in range(3 * (47 - 3))]
    made = [Row("w", "w", step, 1, float(step)) for edge in edges for step in (edge - 1, edge)]
    assert expected_bands(made) == bands_in(made_run(made).to_baseline())


@given(rows(), st.randoms(use_true_random=False))
def test_what_a_run_teaches(made: list[Row], chance: random.Random) -> None:
    """Its workers are folded; the order of rows changes no byte; a file keeps every digit."""
    text = made_run(made).to_baseline()
    assert expected_bands(made) == bands_in(text)
    assert text == made_run(chance.sample(made, len(made))).to_baseline()
    assert expected_bands(made) == found_bands(parse_baseline(text.encode()))


def test_how_the_run_was_judged_is_kept() -> None:
    made = [Row("w", "w", 1, 1, 0.1)]
    document = json.loads(made_run(made, "GLOBAL", Parameters(num_steps=4, epsilon=1e-6)).to_baseline())
    assert {"runs": 1, "mode": "GLOBAL", "num_steps": 4, "epsilon": 1e-6}.items() <= document.items()


@given(st.lists(rows(12), min_size=2, max_size=5), st.randoms(use_true_random=False))
def test_merged_runs_are_as_good_as_all_their_rows_together(runs: list[list[Row]], chance: random.Random) -> None:
    """In any order and any groups; the parts stay as they were."""
    learnt = [learn_baseline(made_run(run)) for run in chance.sample(runs, len(runs))]
    before = [found_bands(baseline) for baseline in learnt]
    at = chance.randrange(1, len(learnt))
    for baseline in (merged(*learnt), merged(merged(*learnt[:at]), merged(*learnt[at:]))):
        assert expected_bands(row for run in runs for row in run) == found_bands(baseline)
        assert (len(runs), "TRAIN", None, 1e-9) == (
            *(baseline.runs, baseline.mode, baseline.num_steps, baseline.epsilon),
        )
    assert before == [found_bands(baseline) for baseline in learnt]


def test_a_pattern_that_matches_nothing_of_the_good_run() -> None:
    """It may match something of the run; what the others match is learnt."""
    options: Any = {"tensor_regex": "conv,nowhere", "baseline": RECORDED["pytorch_healthy"]}
    report = check_trial(RECORDED["pytorch_frozen"], **options)
    assert {"TinyNet_conv1.weight"} == {group.tensor for group in report.violations if group.fires}
    assert 19 == json.loads(report.to_json())["baseline"]["held"]


def test_good_runs_that_cannot_be_used_together_or_at_all(tmp_path: Path) -> None:
    """Of two modes, or of nothing that can be compared, which is said as of a run."""
    healthy, other, nothing = str(RECORDED["pytorch_healthy"]), str(tmp_path / "other.json"), RECORDED["xgboost"]
    Path(other).write_text(made_run([Row("w", "w", 1, 1, 0.1)], "GLOBAL").to_baseline())
    with pytest.raises(TrialError) as caught:
        check_trial(healthy, baseline=[healthy, other])
    assert "Merge baselines that were judged with the same mode." == caught.value.remedy
    message = f"the baselines {healthy!r} and {other!r} cannot be merged: their mode is TRAIN and GLOBAL"
    assert message == caught.value.message
    with pytest.raises(TrialError) as caught:
        check_trial(healthy, baseline=nothing)
    problem = check_trial(nothing).problem
    assert f"the baseline {str(nothing)!r} cannot be used: {problem.message}" == caught.value.message
    assert problem.remedy == caught.value.remedy
