"""JUnit XML, as xml.etree and junitparser read it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import RECORDED
from tests.findings.made_runs import made_baseline
from tests.render.sick import sick_run
from tests.reports import HOSTILE, invoke_command, made_report
from tests.sick_runs import ratios_report, sick_transformer
from weight_update_ratio import check_trial
from weight_update_ratio.compare.rows import SkippedGroup
from weight_update_ratio.errors import TrialError, Unreadable
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.render.junit import render_junit
from weight_update_ratio.render.words.escapes import xml_text
from weight_update_ratio.report import Report

junitparser = pytest.importorskip("junitparser")


def _results(document: str) -> dict[str, list[str]]:
    """Return {name: kinds of result} of every test case, as junitparser reads it."""
    suites = junitparser.JUnitXml.fromstring(document.encode("utf-8"))
    return {case.name: [type(result).__name__ for result in case.result] for suite in suites for case in suite}


def _root(report: Report) -> Any:
    return ElementTree.fromstring(report.to_junit())  # noqa: S314  (it is ours)


def _name(case: Any) -> str:
    return f"{case.get('classname')} {case.get('name')}"


class TestRenderJunit:
    @pytest.mark.parametrize("name", sorted(RECORDED))
    def test_failures_exist_exactly_if_the_exit_code_is_1_and_errors_if_it_is_2(self, name: str) -> None:
        report = check_trial(RECORDED[name])
        root = ElementTree.fromstring(report.to_junit())  # noqa: S314  (it is ours)
        assert (len(root.findall(".//failure")) > 0) == (report.exit_code == 1)
        assert int(root.get("failures", "")) == len(root.findall(".//failure"))
        if report.exit_code == 2:
            assert len(root.findall(".//error")) > 0
        assert int(root.get("tests", "")) == len(root.findall(".//testcase")) > 0

    def test_each_tensor_is_a_test_case(self) -> None:
        assert _results(check_trial(RECORDED["pytorch_frozen"]).to_junit()) == {
            "TinyNet_conv1.weight": ["Failure"],
            "TinyNet_bn1.weight": [],
            "TinyNet_fc1.weight": [],
            "TinyNet_fc2.weight": [],
        }

    def test_the_whole_of_a_small_one(self) -> None:
        report = made_report({"a": [1e-3, 2e-3, 3e-3], "b": [0.0] * 3})
        (finding,) = report.findings
        failure = f"Frozen: {finding.text} {finding.advice}"
        assert (
            report.to_junit()
            == f"""\
<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="weight_update_ratio" tests="2" failures="1" errors="0" skipped="0" time="0">
  <testsuite name="made/trial worker_0" tests="2" failures="1" errors="0" skipped="0" time="0">
    <properties>
      <property name="median" value="0.0005" />
      <property name="p05" value="0" />
      <property name="p95" value="0.00275" />
    </properties>
    <testcase classname="made/trial.worker_0" name="a" />
    <testcase classname="made/trial.worker_0" name="b">
      <failure message="{failure}" type="frozen">{failure}</failure>
    </testcase>
  </testsuite>
</testsuites>
"""
        )

    def test_failure_has_the_words_of_each_finding_and_the_kind_of_the_most_urgent(self) -> None:
        report = made_report({"a": [20.0, 30.0, math.nan, 0.5]})
        (failure,) = _root(report).findall(".//failure")
        words = [f"{finding.text} {finding.advice}" for finding in report.findings]
        lines = [f"Not finite: {words[0]}", f"Too large: {words[1]}"]
        assert (failure.text, failure.get("message")) == ("\n".join(lines), " ".join(lines))
        assert failure.get("type") == "not_finite"

    @pytest.mark.no_cover
    def test_a_tensor_of_a_large_finding_has_its_words(self) -> None:
        report = sick_transformer(steps=60)
        (finding,) = (finding for finding in report.findings if finding.kind == "too_large")
        failures = [case.find("failure") for case in _root(report).iter("testcase") if "layers.5." in _name(case)]
        assert len(failures) == 12 * 4
        told = [failure for failure in failures if failure is not None and finding.text in (failure.text or "")]
        assert len(told) == 8 * 4
        assert {failure.get("type") for failure in told} == {"too_large"}

    def test_what_is_not_sick_on_a_worker_does_not_fail_there(self) -> None:
        """A finding that stands for the rest of its kind is of tensors and workers, and not of each pair of them."""
        tensors, workers, steps = 14, 2, 60
        ratios = np.full((workers, tensors, steps), 1e-3)
        for tensor in range(tensors):
            ratios[tensor % 2, tensor, 4 * tensor] = 50.0
        report = ratios_report([f"t{tensor}" for tensor in range(tensors)], ratios)
        rest = report.findings[-1]
        assert (rest.clues.is_rest, len(rest.workers)) == (True, 2)
        failed = {_name(case) for case in _root(report).iter("testcase") if case.find("failure") is not None}
        assert failed == {f"made/trial.worker_{tensor % 2} t{tensor}" for tensor in range(tensors)}

    @given(
        st.dictionaries(
            st.sampled_from("abcdef"),
            st.lists(st.sampled_from([0.0, 1e-9, 1e-3, 0.1, 20.0, math.nan, math.inf]), min_size=1, max_size=12),
            min_size=1,
        ),
        st.sampled_from([None, 2, 3]),
    )
    def test_failures_are_exactly_of_what_fires(self, ratios: dict[str, list[float]], patience: int | None) -> None:
        report = made_report(ratios, Parameters(patience=patience), workers=("w0", "w1"))
        failed = {_name(case) for case in _root(report).iter("testcase") if case.find("failure") is not None}
        assert failed == {f"made/trial.{group.worker} {group.tensor}" for group in report.firing}
        assert bool(failed) == (report.exit_code == 1)

    def test_class_names_tell_trials_and_workers_apart(self) -> None:
        report = made_report({"a": [1e-3]}, workers=("w0", "/job:w/task:1"))
        report.trial = "runs/v1.2"
        report.rows.add_unreadable(0, [Unreadable("index/7", None, None, 7, "is empty")])
        assert [case.get("classname") for case in _root(report).iter("testcase")] == [
            "runs/v1.2.w0",
            "runs/v1.2./job:w/task:1",
            "runs/v1.2.all workers",
        ]

    def test_a_run_that_could_not_be_held_against_its_baseline_has_no_passes(self) -> None:
        ratios = {"a": [1e-3, 1e-3], "b": [1e-3, math.nan], "c": [20.0, 1e-3], "d": [1e-3]}
        report = made_report(ratios, workers=("w0",), baseline=made_baseline({"other": (1, {0: (0.1, 0.1)})}))
        report.problem = TrialError("nothing can be held", "Learn a baseline of this model.")
        report.rows.add_unreadable(0, [Unreadable("events/1", "d", "w0", 1, "is corrupt")])
        root = _root(report)
        assert {case.get("name"): [result.tag for result in case] for case in root.iter("testcase")} == {
            "a": ["skipped"],
            "b": ["failure"],
            "c": ["system-out", "skipped"],
            "d": ["error"],
            "the whole trial": ["error"],
        }
        assert {skipped.get("message") for skipped in root.iter("skipped")} == {"not judged: nothing can be held"}
        (error,) = root.findall(".//testcase[@name='the whole trial']/error")
        assert error.get("message") == "nothing can be held. Learn a baseline of this model."
        assert error.text == "nothing can be held.\nLearn a baseline of this model."

    def test_without_a_finite_ratio_there_are_no_figures(self) -> None:
        assert _root(made_report({"a": [math.nan]})).find(".//properties") is None

    @pytest.mark.no_cover
    def test_large_runs_stay_small(self) -> None:
        """What a tensor's violations were told by took 456,746 bytes before there were findings."""
        for name, failures, size in (("resnet", 64, 60_000), ("transformer", 1200, 800_000)):
            document = sick_run(name).to_junit()
            assert (document.count("<failure "), len(document.encode()) < size) == (failures, True)

    def test_each_worker_is_a_suite(self) -> None:
        suites = junitparser.JUnitXml.fromstring(
            made_report({"a": [1e-3], "b": [20.0]}, workers=("w0", "w1")).to_junit()
        )
        assert [(suite.name, suite.tests, suite.failures) for suite in suites] == [
            ("made/trial w0", 2, 1),
            ("made/trial w1", 2, 1),
        ]

    def test_unreadable_is_an_error_beside_a_failure_or_alone(self) -> None:
        report = made_report({"a": [20.0], "b": [1e-3]})
        entries = [Unreadable("events/1", tensor, "worker_0", 1, "is corrupt") for tensor in ("a", "b", "b", "c")]
        report.rows.add_unreadable(0, [*entries, Unreadable("index/7", None, None, 7, "is empty")])
        report.rows.add_unreadable(0, [Unreadable("events/2", "b", "worker_0", 2, "is truncated")])
        document = report.to_junit()
        assert _results(document) == {"a": ["Failure", "Error"], "b": ["Error"], "c": ["Error"], "index/7": ["Error"]}
        assert "events/2" in document

    def test_tensor_without_any_ratio_is_skipped_and_one_with_some_has_a_note(self) -> None:
        report = made_report({"a": [1e-3]})
        report.tensors["once"] = 1
        report.notes = [
            SkippedGroup("a", "worker_0", "shape changed from (2,) to (3,)", 5, 5, 1),
            SkippedGroup("empty", "worker_0", "no elements", 5, 5, 1),
        ]
        document = report.to_junit()
        assert _results(document) == {"a": [], "empty": ["Skipped"], "once": ["Skipped"]}
        assert "shape changed from (2,) to (3,) at step 5</system-out>" in document
        assert "no earlier saved step to compare with" in document

    def test_an_entry_of_a_whole_worker_is_a_case_of_its_own(self) -> None:
        report = made_report({"a": [1e-3]})
        report.notes = [SkippedGroup(None, "worker_0", "saved again later: steps 5-7", 5, 7, 3)]
        document = report.to_junit()
        assert _results(document) == {"a": [], "the whole trial": ["Skipped"]}
        assert 'message="worker_0: saved again later: steps 5-7"' in document

    def test_hostile_names_break_nothing(self) -> None:
        names = [*HOSTILE, "a\x00b", "\ud800", "]]>", "\ufffe", "new\nline"]
        document = render_junit(made_report({name: [20.0] for name in names}))
        assert list(_results(document)) == [xml_text(name) for name in names[:-1]] + ["new\\nline"]
        assert not any(char in document for char in "\x00\x1b\ufffe\ud800")

    @given(st.text(st.characters()))
    def test_any_text_parses_and_what_can_be_seen_is_kept(self, text: str) -> None:
        element: Any = ElementTree.Element("a", b=xml_text(text))
        read = ElementTree.fromstring(ElementTree.tostring(element, encoding="unicode"))  # noqa: S314
        assert read.get("b") == xml_text(text).replace("\n", "\n")
        if text.isprintable():
            assert xml_text(text) == text


class TestCommand:
    def test_trial_that_does_not_exist_is_an_error_in_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "junit.xml"
        result = invoke_command("check", str(tmp_path / "none"), "--format", "junit", "--output", str(path))
        assert result.exit_code == 2
        assert _results(path.read_text(encoding="utf-8")) == {"the whole trial": ["Error"]}

    def test_trial_without_weights_is_an_error_on_stdout(self) -> None:
        result = invoke_command("check", str(RECORDED["xgboost"]), "--format", "junit")
        assert result.exit_code == 2
        assert _results(result.stdout) == {"the whole trial": ["Error"]}

    @pytest.mark.parametrize(("name", "code"), [("pytorch_healthy", 0), ("pytorch_frozen", 1)])
    def test_exit_code_is_that_of_every_format(self, name: str, code: int) -> None:
        result = invoke_command("check", str(RECORDED[name]), "--format", "junit")
        assert result.exit_code == code
        assert ("Failure" in str(_results(result.stdout))) == (code == 1)
