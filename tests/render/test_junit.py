"""JUnit XML, as xml.etree and junitparser read it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import RECORDED
from tests.reports import HOSTILE, invoke_command, made_report
from weight_update_ratio import check_trial
from weight_update_ratio.errors import Unreadable
from weight_update_ratio.judge.violations import SkippedGroup
from weight_update_ratio.render.escapes import xml_text
from weight_update_ratio.render.junit import render_junit

junitparser = pytest.importorskip("junitparser")


def _results(document: str) -> dict[str, list[str]]:
    """Return {name: kinds of result} of every test case, as junitparser reads it."""
    suites = junitparser.JUnitXml.fromstring(document.encode("utf-8"))
    return {case.name: [type(result).__name__ for result in case.result] for suite in suites for case in suite}


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

    def test_failure_tells_steps_ratio_and_advice(self) -> None:
        root = ElementTree.fromstring(made_report({"a": [20.0, 30.0, math.nan, 0.5]}).to_junit())  # noqa: S314
        (failure,) = root.findall(".//failure")
        assert failure.get("message") == "large: 2 at TRAIN steps 1-2; the worst ratio is 30 at step 2"
        lines = (failure.text or "").splitlines()
        assert lines[2] == "not_finite: 1 at TRAIN step 3; the worst ratio is nan at step 3"
        assert "warm up" in lines[1]

    def test_zero_reference_is_noted(self) -> None:
        assert "(reference weights are all zero)" in made_report({"a": [1e9]}, weight_norm=0.0).to_junit()

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
        report.history.add_unreadable([*entries, Unreadable("index/7", None, None, 7, "is empty")])
        report.history.add_unreadable([Unreadable("events/2", "b", "worker_0", 2, "is truncated")])
        document = report.to_junit()
        assert _results(document) == {"a": ["Failure", "Error"], "b": ["Error"], "c": ["Error"], "index/7": ["Error"]}
        assert "events/2" in document

    def test_tensor_without_any_ratio_is_skipped_and_one_with_some_has_a_note(self) -> None:
        from weight_update_ratio.judge.comparison import Skipped

        report = made_report({"a": [1e-3]})
        report.history.tensors["once"] = 1
        report.history.add_skipped(Skipped("a", "worker_0", "TRAIN", 5, 5, "shape changed from (2,) to (3,)"))
        report.history.add_skipped(Skipped("empty", "worker_0", "TRAIN", 5, 5, "no elements"))
        document = report.to_junit()
        assert _results(document) == {"a": [], "empty": ["Skipped"], "once": ["Skipped"]}
        assert "shape changed from (2,) to (3,) at step 5</system-out>" in document
        assert "no earlier saved step to compare with" in document

    def test_an_entry_of_a_whole_worker_is_a_case_of_its_own(self) -> None:
        report = made_report({"a": [1e-3]})
        report.history.skipped_wholes = [SkippedGroup(None, "worker_0", "saved again later: steps 5-7", 5, 7, 3)]
        document = report.to_junit()
        assert _results(document) == {"a": [], "the whole trial": ["Skipped"]}
        assert 'message="worker_0: saved again later: steps 5-7"' in document

    def test_hostile_names_break_nothing(self) -> None:
        names = [*HOSTILE, "a\x00b", "\ud800", "]]>", "\ufffe", "new\nline"]
        document = render_junit(made_report({name: [20.0] for name in names}).history)
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
