"""Report: its rows, groups and counts, and what a notebook shows of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import weight_update_ratio
from tests.conftest import RECORDED, event_file, found_comparisons, random_walk, recorded_truth
from tests.reports import made_report
from weight_update_ratio import Report, check_trial

FROZEN, KERAS = RECORDED["pytorch_frozen"], RECORDED["tf_keras"]
STEPS = ["step", "reference_step", "global_step"]
NUMBERS = ["update_norm", "weight_norm", "ratio", "lower", "upper"]
COLUMNS = ["tensor", "worker", "mode", *STEPS, *NUMBERS, "verdict", "type"]


def test_rows_are_those_of_the_frame() -> None:
    """Iterating and the DataFrame give the same comparisons, which are the truth's; an empty frame has its columns."""
    report = check_trial(KERAS)
    frame = report.comparisons()
    assert found_comparisons(report) == found_comparisons(frame)
    assert len(recorded_truth("tf_keras")) == len(frame) == len(report)
    assert {"int64"} == {str(frame[name].dtype) for name in STEPS}
    assert {"float64"} == {str(frame[name].dtype) for name in NUMBERS}
    nothing = check_trial(RECORDED["xgboost"]).comparisons()
    assert (COLUMNS, COLUMNS, 0) == (list(frame.columns), list(nothing.columns), len(nothing))


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ([11.0, 1.0, 99.0, 1.0, 1.0, 1.0, 50.0], ("large", 1, 7, 3, 99.0, 3)),
        ([1e-9, 1e-12, 1e-10], ("small", 1, 3, 3, 1e-12, 2)),
        ([math.nan, math.inf], ("not_finite", 1, 2, 2, math.nan, 1)),  # of equals the earliest is the worst
        ([math.inf, math.nan], ("not_finite", 1, 2, 2, math.inf, 1)),
        ([1e-9, 0.0, 0.0], ("small", 1, 3, 3, 0.0, 2)),
    ],
)
def test_a_group_of_violations(ratios: list[float], expected: tuple[Any, ...]) -> None:
    """Its verdict, first and last step, how many, the worst and where."""
    (group,) = made_report({"w": ratios}).violations
    names = ("verdict", "first_step", "last_step", "count", "worst_ratio", "worst_step")
    whole = {"tensor": "w", "worker": "worker_0", **dict(zip(names, expected)), "lower": 1e-8, "upper": 10.0}
    assert repr(whole) == repr(group.as_dict())


def test_groups_stand_in_the_order_in_which_they_began() -> None:
    """A tensor has a group for each of its verdicts."""
    report = made_report({"w": [0.0, 11.0, 1.0, 1.0, math.nan]})
    assert ["small", "large", "not_finite"] == [group.verdict for group in report.violations]


def test_it_is_frozen() -> None:
    report = made_report({"a": [1e-3]})
    with pytest.raises(AttributeError, match="'mode' cannot be set: a report is fixed once it is made"):
        report.mode = "GLOBAL"
    assert ("TRAIN", "GLOBAL") == (report.mode, report.with_facts(mode="GLOBAL").mode)


def test_counts(write_trial: Any) -> None:
    """How many there are of each; what is unreadable is counted once, though two steps need it."""
    tensors = {"w": [1.0, 1.5, 50.0], "empty": [np.zeros(0)] * 3, "lost": [None, 1.0, None]}
    trial = write_trial({**tensors, "x": random_walk()}, steps=6).path
    event_file(trial, 4).write_bytes(b"")
    report = check_trial(trial)
    counts = {"steps": 6, "tensors": 4, "workers": 1, "comparisons": 5, "violations": 1, "skipped": 6, "unreadable": 1}
    assert counts == report.counts
    lost = [("lost", 1), ("w", 2), ("empty", 2)]
    ends = [(tensor, f"last saved at step {step}, others to 5") for tensor, step in lost]
    assert {("empty", "no elements"), ("lost", "first saved at step 1"), *ends} == {
        (group.tensor, group.reason) for group in report.skipped
    }


def test_a_reduction_is_told_only_where_the_tensor_itself_was_not_saved(write_trial: Any) -> None:
    tensors = {"smdebug/reductions/l2/w": [1.0, 2.0], "smdebug/reductions/abs_max/v": [1.0, 2.0], "w": [1.0, 1.5]}
    report = check_trial(write_trial(tensors, collections={"weights": ["v", "w"]}).path)
    assert [("v", "saved only as a reduction (abs_max)")] == [(group.tensor, group.reason) for group in report.skipped]
    assert report.complete


def test_what_a_notebook_completes_and_lists() -> None:
    """Public names, and values that say what they are."""
    report = check_trial(FROZEN, num_steps="3")
    assert (str(FROZEN), "TRAIN", 3) == (report.trial, report.mode, report.parameters.num_steps)
    assert "history" not in dir(report)
    assert {"findings", "violations", "summary", "to_html"} <= set(dir(report))
    report = check_trial(FROZEN)
    (finding,) = report.findings
    assert repr(finding).startswith("<Finding frozen: TinyNet_conv1.weight never moved")
    assert "each of shape (n,)" in Report.columns.__doc__


@pytest.mark.parametrize(
    ("name", "state"),
    [("pytorch_healthy", "complete, 0"), ("pytorch_frozen", "fired, 19"), ("xgboost", "not judged, 0")],
)
def test_repr(name: str, state: str) -> None:
    """It tells the verdict and what it stands on."""
    assert f"<Report of {str(RECORDED[name])!r}: {state} violations in " in repr(check_trial(RECORDED[name]))


def test_public_names_of_the_package() -> None:
    """They are imported when asked for, and listed."""
    assert set(weight_update_ratio.__all__) <= set(dir(weight_update_ratio))
    assert all(getattr(weight_update_ratio, name) for name in weight_update_ratio.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        weight_update_ratio.nothing  # noqa: B018
