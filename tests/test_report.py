"""Report: rows, groups, counts and what they cost."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from tests.conftest import RECORDED, found_comparisons, recorded_truth
from tests.made_rows import columns_report
from tests.reports import step_columns
from weight_update_ratio import check_trial
from weight_update_ratio.compare.rows import Comparison, Rows, StepRows
from weight_update_ratio.errors import Unreadable
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.report import Report
from weight_update_ratio.verdict.bounds import Bounds


def report_of(*rows: Any, unreadable: Any = ()) -> Report:
    """Return a report of (step, ratio) rows of the tensor "w", whose reference norm is 1, or given third."""
    step, ratio, norm = np.array([(*row, 1.0)[:3] for row in rows], np.float64).reshape(-1, 3).T
    columns = step_columns(np.zeros(len(rows)), np.zeros(len(rows)), step, ratio, norm)
    report = columns_report(["w"], ["worker_0"], columns, steps=step.astype(int).tolist())
    report.rows.add_unreadable(0, list(unreadable))
    return report


def skip(report: Report, tensor: str, *steps: int) -> None:
    """Add steps at which a tensor was read and has no ratio."""
    none = np.array([], np.int64)
    for step in steps:
        skipped = [(tensor, "no elements")]
        report.rows.append(StepRows("worker_0", step, step, (), none, [], none, none, none, skipped, []))


def test_what_is_computed_has_its_words() -> None:
    """``help(Report)`` shows them."""
    assert "each of shape (n,)" in (Report.columns.__doc__ or "")


class TestRows:
    def test_rows_are_those_of_the_frame(self) -> None:
        """Iterating and the DataFrame give the same comparisons, which are the truth's."""
        report = check_trial(RECORDED["tf_keras"])
        frame = report.comparisons()
        assert found_comparisons(report) == found_comparisons(frame)
        assert len(recorded_truth("tf_keras")) == len(frame) == len(report)
        assert list(Comparison._fields) == list(frame.columns)

    def test_types_of_the_frame(self) -> None:
        """Steps are int64, norms and ratio float64."""
        kinds = {name: str(kind) for name, kind in check_trial(RECORDED["tf_keras"]).comparisons().dtypes.items()}
        assert {"int64"} == {kinds[name] for name in ("step", "reference_step", "global_step")}
        assert {"float64"} == {kinds[name] for name in ("update_norm", "weight_norm", "ratio")}

    def test_an_empty_frame_has_the_columns(self) -> None:
        """Nothing compared is no error here."""
        frame = Report("trial", Rows(), Bounds(Parameters())).comparisons()
        assert (list(Comparison._fields), 0) == (list(frame.columns), len(frame))

    def test_a_comparison_costs_80_bytes_at_most(self) -> None:
        """What the rows keep of each."""
        report = check_trial(RECORDED["tf_keras"])
        assert sum(column.itemsize for column in report.rows.compared.arrays().values()) <= 80


class TestViolations:
    def test_large_ones_are_worst_where_largest(self) -> None:
        """First and last step, how many, the worst and where."""
        (group,) = report_of((1, 11.0), (2, 1.0), (3, 99.0), (7, 50.0)).violations
        expected = {
            "tensor": "w",
            "worker": "worker_0",
            "verdict": "large",
            "first_step": 1,
            "last_step": 7,
            "count": 3,
            "worst_ratio": 99.0,
            "worst_step": 3,
            "lower": 1e-8,
            "upper": 10.0,
        }
        assert expected == group.as_dict()

    def test_small_ones_are_worst_where_smallest(self) -> None:
        """The one furthest below."""
        (group,) = report_of((1, 1e-9), (2, 1e-12), (3, 1e-10)).violations
        assert (1e-12, 2) == (group.worst_ratio, group.worst_step)

    @pytest.mark.parametrize(
        "ratios", [(math.nan, math.inf), (math.inf, math.nan), (0.0, 0.0), (50.0, 50.0), (1e-9, 0.0, 0.0)]
    )
    def test_of_equals_the_earliest_is_the_worst(self, ratios: Any) -> None:
        """What is not finite, and 0 below a bound, are equally far outside."""
        (group,) = report_of(*enumerate(ratios, 1)).violations
        worst = len(ratios) - 1
        assert (worst, repr(ratios[worst - 1])) == (group.worst_step, repr(group.worst_ratio))

    def test_groups_stand_in_the_order_in_which_they_began(self) -> None:
        """A tensor has a group for each of its verdicts."""
        report = report_of((5, math.nan), (2, 11.0), (1, 0.0))
        assert ["small", "large", "not_finite"] == [group.verdict for group in report.violations]

    @pytest.mark.parametrize(
        ("norms", "note"),
        [
            ((1.0, 2.0), ""),
            ((0.0, 0.0), "reference weights are all zero"),
            ((0.0, 2.0), "reference weights are all zero at 1 of them"),
        ],
    )
    def test_zero_reference_weights_are_noted(self, norms: Any, note: str) -> None:
        """So that a person can tell a zero-initialised layer from an explosion."""
        (group,) = report_of(*[(step, 1e9, norm) for step, norm in enumerate(norms, 1)]).violations
        assert (note, note) == (group.note, group.as_dict().get("note", ""))

    def test_a_zero_initialised_layer(self, write_trial: Any) -> None:
        """It follows the formula, and is noted."""
        report = check_trial(write_trial({"w": [0.0, 0.5, 0.6]}).path)
        assert ["reference weights are all zero"] == [group.note for group in report.violations]
        assert [pytest.approx(5e8)] == [group.worst_ratio for group in report.violations]


class TestVerdict:
    UNREADABLE = Unreadable("file", "w", "worker_0", 3, "does not exist")

    @pytest.mark.parametrize(
        ("rows", "unreadable", "fired", "complete", "code"),
        [
            ([(1, 0.5)], [], False, True, 0),
            ([(1, 0.5)], [UNREADABLE], False, False, 2),
            ([(1, 50.0)], [], True, True, 1),
            ([(1, 50.0)], [UNREADABLE], True, False, 1),
            ([], [], False, False, 2),
        ],
    )
    def test_fired_complete_and_exit_code(
        self, rows: Any, unreadable: Any, fired: Any, complete: Any, code: Any
    ) -> None:
        """A violation fires whatever could not be read; what could not be read is never a pass."""
        report = report_of(*rows, unreadable=unreadable)
        assert (fired, complete, code) == (report.fired, report.complete, report.exit_code)

    def test_skipped_tensors_do_not_spoil_a_pass(self) -> None:
        """They were read, and have no ratio."""
        report = report_of((1, 0.5))
        skip(report, "v", 1)
        assert 0 == report.exit_code

    def test_counts(self) -> None:
        """How many there are of each; what is unreadable is counted once."""
        report = report_of((1, 0.5), (2, 50.0), unreadable=[self.UNREADABLE] * 2)
        skip(report, "v", 1, 2)
        expected = {
            "steps": 2,
            "tensors": 1,
            "workers": 1,
            "comparisons": 2,
            "violations": 1,
            "skipped": 2,
            "unreadable": 1,
        }
        assert expected == report.counts
        assert [("v", "worker_0", "no elements", 1, 2, 2)] == [tuple(group) for group in report.skipped]

    def test_tensors_with_a_reduction_beside_them(self, write_trial: Any) -> None:
        """A reduction is told only where the tensor itself was not saved."""
        tensors = {"smdebug/reductions/l2/w": [1.0, 2.0], "smdebug/reductions/abs_max/v": [1.0, 2.0], "w": [1.0, 1.5]}
        report = check_trial(write_trial(tensors, collections={"weights": ["v", "w"]}).path)
        assert [("v", "saved only as a reduction (abs_max)")] == [(g.tensor, g.reason) for g in report.skipped]
        assert report.complete

    @pytest.mark.parametrize(
        ("name", "state"),
        [("pytorch_healthy", "complete, 0"), ("pytorch_frozen", "fired, 19"), ("xgboost", "not judged, 0")],
    )
    def test_repr(self, name: str, state: str) -> None:
        """A notebook shows the verdict and what it stands on."""
        assert f"<Report of {str(RECORDED[name])!r}: {state} violations in " in repr(check_trial(RECORDED[name]))

    def test_what_was_judged(self) -> None:
        """The report says which trial, in which mode and with which parameters."""
        report = check_trial(RECORDED["pytorch_healthy"], num_steps="3")
        assert (str(RECORDED["pytorch_healthy"]), "TRAIN", 3) == (
            report.trial,
            report.mode,
            report.parameters.num_steps,
        )

    def test_renderings(self) -> None:
        """A report gives its own renderings."""
        report = check_trial(RECORDED["pytorch_frozen"])
        assert json.loads(report.to_json())["counts"] == report.counts
        assert report.to_text().startswith("FIRED")
        assert max(map(len, report.to_text(80).splitlines()[2:5])) <= 80


class TestPackage:
    def test_public_names(self) -> None:
        """They are imported when asked for, and listed."""
        import weight_update_ratio

        assert set(weight_update_ratio.__all__) <= set(dir(weight_update_ratio))
        assert weight_update_ratio.Report is Report
        with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
            weight_update_ratio.nothing  # noqa: B018


def test_what_a_notebook_completes_and_lists() -> None:
    """Public names, and values that say what they are."""
    report = check_trial(RECORDED["pytorch_frozen"])
    assert "history" not in dir(report)
    assert {"findings", "violations", "summary", "to_html"} <= set(dir(report))
    (group,) = report.violations
    assert "<ViolationGroup small: TinyNet_conv1.weight of worker_0, 19 at steps 1-19>" == repr(group)
    assert "1 at step 3>" in repr(group._replace(count=1, first_step=3, last_step=3))
    (finding,) = report.findings
    assert repr(finding).startswith("<Finding frozen: TinyNet_conv1.weight never moved")
