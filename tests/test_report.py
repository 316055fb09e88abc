"""History and Report: rows, groups, counts and what they cost."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from tests.conftest import RECORDED, found_comparisons, judged_rows, recorded_truth, rows_of
from weight_update_ratio import check_trial
from weight_update_ratio.compare.comparison import Comparison, Skipped
from weight_update_ratio.compare.history import COLUMN_TYPES, History
from weight_update_ratio.compare.references import StepPairs
from weight_update_ratio.errors import Unreadable
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.report import Report
from weight_update_ratio.trial.timeline import WorkerStep
from weight_update_ratio.verdict.firing import Fired


def report_of(*rows: Any, skipped: Any = (), unreadable: Any = ()) -> Report:
    """Return a report of (step, ratio, verdict) rows of the tensor "w", whose reference norm is 1, or given fourth."""
    history = History("trial", Parameters())
    history.mode = "TRAIN"
    for step, ratio, verdict, *norm in rows:
        saved = WorkerStep("worker_0", "TRAIN", step, step, "index", "events", {"w": (0, 0)})
        norms = (ratio, norm[0] if norm else 1.0)
        row = Comparison("w", "worker_0", "TRAIN", step, step - 1, step, *norms, ratio, 1e-8, 10.0, verdict)
        violations = history.add([StepPairs(saved, ("w",), [saved], frozenset())], judged_rows([row]))
        history.add_firing(Fired(row, frozenset({row.verdict}), row.global_step) for row in violations)
    for each in skipped:
        history.add_skipped(each)
    history.add_unreadable(list(unreadable))
    return Report(history)


class TestHistory:
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
        frame = Report(History("trial", Parameters())).comparisons()
        assert (list(Comparison._fields), 0) == (list(frame.columns), len(frame))

    def test_a_comparison_costs_80_bytes_at_most(self) -> None:
        """What the columns hold of each."""
        report = report_of((1, 0.5, "ok"))
        assert sum(column.itemsize for column in report.history.columns.values()) <= 80
        assert [name for name, _ in COLUMN_TYPES] == list(report.history.columns)

    def test_a_step_in_columns(self) -> None:
        """What is added of two workers is there as rows, its violations are given back, and both again by the step."""
        history = History("trial", Parameters())
        history.mode = "TRAIN"
        steps = []
        for step in (1, 2):
            rows = [
                Comparison(tensor, worker, "TRAIN", step, step - 1, 5 * step, ratio, 1.0, ratio, 1e-8, 10.0, verdict)
                for worker, tensor, ratio, verdict in [
                    ("b", "w", 0.5, "ok"),
                    ("b", "v", 11.0 * step, "large"),
                    ("a", "v", math.nan, "not_finite"),
                    ("a", "w", 0.0, "small"),
                ]
            ]
            both = {"v": (0, 9), "w": (9, 9)}
            saved = [WorkerStep(name, "TRAIN", step, 5 * step, "index", "events", both) for name in "ba"]
            pairs = [StepPairs(at, ("v", "w"), [None, None], frozenset()) for at in saved]
            assert repr(rows[1:]) == repr(history.add(pairs, judged_rows(rows)))
            steps += rows
        assert repr(steps) == repr(list(history))
        assert repr([row for row in steps if row.verdict != "ok"]) == repr(list(history.violating()))
        assert ({5, 10}, ["v", "w"], ["b", "a"]) == (
            history.judged_steps,
            list(history.tensors),
            list(history.workers),
        )
        found = history.found_at()
        assert repr(steps[4:]) == repr(rows_of(found(10)))
        assert ([], [], []) == found(7)[:3]

    def test_what_has_no_comparison_is_noted_where_violations_in_a_row_count(self) -> None:
        """Of each worker for itself."""
        history = History("trial", Parameters(patience=2))
        row = Comparison("w", "a", "TRAIN", 1, 0, 5, 0.5, 1.0, 0.5, 1e-8, 10.0, "ok")
        saved = [WorkerStep(name, "TRAIN", 1, 5, "index", "events", {"v": (0, 9), "w": (9, 9)}) for name in "ab"]
        pairs = [StepPairs(at, ("v", "w"), [None, None], frozenset()) for at in saved]
        assert [] == history.add(pairs, judged_rows([row]))
        assert {("v", "a", 5), ("v", "b", 5), ("w", "b", 5)} == history.uncompared


class TestViolations:
    def test_large_ones_are_worst_where_largest(self) -> None:
        """First and last step, how many, the worst and where."""
        (group,) = report_of((1, 11.0, "large"), (2, 1.0, "ok"), (3, 99.0, "large"), (7, 50.0, "large")).violations
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
        (group,) = report_of((1, 1e-9, "small"), (2, 1e-12, "small"), (3, 1e-10, "small")).violations
        assert (1e-12, 2) == (group.worst_ratio, group.worst_step)

    def test_nan_is_worse_than_infinity(self) -> None:
        """And the first NaN is told."""
        rows = [(1, math.inf, "not_finite"), (2, math.nan, "not_finite"), (3, math.nan, "not_finite")]
        (group,) = report_of(*rows).violations
        assert 2 == group.worst_step
        assert math.isnan(group.worst_ratio)

    def test_steps_in_any_order(self) -> None:
        """A rule may be invoked at steps out of order."""
        (group,) = report_of((7, 11.0, "large"), (3, 12.0, "large")).violations
        assert (3, 7) == (group.first_step, group.last_step)

    def test_groups_stand_in_the_order_in_which_they_began(self) -> None:
        """A tensor has a group for each of its verdicts."""
        report = report_of((5, math.nan, "not_finite"), (2, 11.0, "large"), (1, 0.0, "small"))
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
        (group,) = report_of(*[(step, 1e9, "large", norm) for step, norm in enumerate(norms, 1)]).violations
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
            ([(1, 0.5, "ok")], [], False, True, 0),
            ([(1, 0.5, "ok")], [UNREADABLE], False, False, 2),
            ([(1, 50.0, "large")], [], True, True, 1),
            ([(1, 50.0, "large")], [UNREADABLE], True, False, 1),
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
        assert 0 == report_of((1, 0.5, "ok"), skipped=[Skipped("v", "w", "TRAIN", 1, 1, "no elements")]).exit_code

    def test_counts(self) -> None:
        """How many there are of each; what is unreadable is counted once."""
        skipped = [Skipped("v", "worker_0", "TRAIN", step, step, "no elements") for step in (1, 2)]
        report = report_of((1, 0.5, "ok"), (2, 50.0, "large"), skipped=skipped, unreadable=[self.UNREADABLE] * 2)
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
