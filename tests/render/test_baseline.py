"""A run that was held against a baseline, in every rendering: what was expected, by what, and what did not last."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.browser import Page, browser
from tests.reports import made_report
from weight_update_ratio.errors import TrialError
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.render.words.wording import expected_range
from weight_update_ratio.report import Report
from weight_update_ratio.verdict.baseline import Baseline
from weight_update_ratio.verdict.learning import learn_baseline

GOOD = {"moves": [0.001] * 20, "rests": [0.0] * 20, "spikes": [0.01] * 20}
NAME = "baseline of 1 run (factor 3, patience 3)"
LINE = f"B{NAME[1:]}, good.json: 60 of 60 ratios were held against it"
RENDERINGS = ("text", "markdown", "github", "html")


def learnt() -> Baseline:
    return learn_baseline(made_report(GOOD))


def held(**ratios: Any) -> Report:
    """Return a run that differs from the good one in some tensors."""
    return made_report({**GOOD, **ratios}, Parameters(baseline=("good.json",)), baseline=learnt())


def rendered(report: Report, form: str) -> str:
    """Return a report as a person reads it."""
    return report._repr_html_() if form == "html" else str(getattr(report, f"to_{form}")())


SICK = {"rests": [0.0] * 9 + [1e-5] * 11, "spikes": [0.5 if step in (4, 5) else 0.01 for step in range(20)]}


class TestRenderings:
    @pytest.mark.parametrize("form", RENDERINGS)
    def test_each_names_the_baseline_its_runs_factor_and_patience(self, form: str) -> None:
        text = rendered(held(), form).replace("\\", "")
        assert LINE[1:] in text

    @pytest.mark.parametrize("form", RENDERINGS)
    def test_a_violation_says_what_was_expected(self, form: str) -> None:
        """The bounds at its worst step."""
        text = rendered(held(**SICK), form).replace("\\", "")
        assert "0 to 1e-08" in text
        assert "11 of" not in text
        assert "13 of 60 update-to-weight ratios are violations, 2 of them never 3 in a row" in text

    @pytest.mark.parametrize("form", RENDERINGS)
    def test_what_did_not_last_is_one_sentence_and_does_not_fire(self, form: str) -> None:
        report = held(spikes=SICK["spikes"])
        assert (False, 0, 2) == (report.fired, report.exit_code, report.counts["violations"])
        text = rendered(report, form).replace("\\", "")
        assert "2 of 60 update-to-weight ratios are out of bounds, never 3 in a row" in text
        assert "FIRED" not in text

    @pytest.mark.parametrize("form", RENDERINGS)
    def test_all_within_their_bounds(self, form: str) -> None:
        assert "all 60 update-to-weight ratios are within their bounds" in rendered(held(), form)

    def test_one_that_did_not_last(self) -> None:
        assert "1 of 60 update-to-weight ratios is out of bounds" in held(moves=[1.0] + [0.001] * 19).to_text()

    def unheld(self, **ratios: Any) -> Report:
        """Return a run of which nothing could be held: what is not finite fires all the same."""
        report = made_report(ratios, Parameters(baseline=("good.json",)), baseline=learnt())
        report.problem = TrialError("the baseline is of another model", "Learn one of this model.")
        return report

    def test_nothing_could_be_held(self) -> None:
        """Only what is not finite fires, and the sentence says why."""
        expected = "a violation, and only those that are not finite fire: the baseline is of another model"
        for form in ("text", "markdown", "html"):
            text = rendered(self.unheld(other=[float("nan")] + [0.001] * 19), form).replace("\n", " ")
            assert expected in text

    @pytest.mark.parametrize("values", [[0.001] * 20, [float("nan")] + [0.001] * 19])
    @pytest.mark.parametrize("form", ["github", "markdown"])
    def test_why_nothing_could_be_held_is_said_once(self, form: str, values: list[float]) -> None:
        """With what to do."""
        text = rendered(self.unheld(other=values), form)
        assert (1, 1) == (text.count("the baseline is of another model"), text.count("Learn one of this model"))


class TestJunit:
    def test_the_suite_names_the_baseline(self) -> None:
        suite = ElementTree.fromstring(held().to_junit()).find("testsuite")  # noqa: S314  (our own text)
        assert suite is not None
        assert LINE == suite.find("properties/property[@name='baseline']").get("value")  # type: ignore[union-attr]

    def test_only_what_fires_is_a_failure(self) -> None:
        """The rest is told in the output of its test case."""
        root = ElementTree.fromstring(held(**SICK).to_junit())  # noqa: S314  (our own text)
        cases = {case.get("name"): case for case in root.iter("testcase")}
        assert ["rests"] == [name for name, case in cases.items() if case.find("failure") is not None]
        failure, output = cases["rests"].find("failure"), cases["spikes"].find("system-out")
        assert failure is not None
        assert output is not None
        assert "too_large" == failure.get("type")
        (finding,) = held(**SICK).findings
        assert f"Too large: {finding.text} {finding.advice}" == failure.get("message")
        assert "expected 0 to 1e-08" in finding.text
        expected = "large: 2 at TRAIN steps 5-6; the worst ratio is 0.5 at step 5, expected 3.3e-03 to 3e-02"
        assert f"{expected}: does not fire" == output.text


class TestJson:
    def test_the_baseline_and_the_bounds(self) -> None:
        document = json.loads(held(**SICK).to_json())
        assert {"runs": 1, "factor": 3.0, "patience": 3, "held": 60} == document["baseline"]
        (spike,) = (group for group in document["violations"] if group["tensor"] == "spikes")
        assert (0.01 / 3, 0.01 * 3) == (spike["lower"], spike["upper"])


class TestPage:
    def test_the_band_is_shaded_and_named(self) -> None:
        """In place of the thresholds; the data holds the bounds of each comparison."""
        pytest.importorskip("bokeh")
        html = held(**SICK).to_html()
        assert f"shaded: expected by the {NAME}" in html
        assert "above its bounds" in html
        assert "above 10" not in html
        assert "above 10" in made_report(GOOD).to_html()

    @pytest.mark.slow
    def test_in_a_browser(self, tmp_path: Path) -> None:
        """The band is where the bounds are, and the line chart says what was expected."""
        pytest.importorskip("bokeh")
        path = tmp_path / "page.html"
        path.write_text(held(**SICK).to_html(), encoding="utf-8")
        for page in browser(tmp_path / "profile"):
            self.look_at(page.open(path))

    def look_at(self, page: Page) -> None:
        page.choose("moves")
        lines = page.lines()
        assert {round(value, 4) for value in lines["lower"]} == {-3.4771}  # log10 of 0.001 / 3
        assert {round(value, 4) for value in lines["upper"]} == {-2.5229}
        assert "0.0003333 to 0.003" == lines["expected_text"][0]
        page.choose("rests")
        lines = page.lines()
        assert max(lines["upper"]) == pytest.approx(-8, abs=1e-4)
        assert -20 < min(lines["lower"]) < -8, "no lower bound: the band reaches to the edge of the chart"


class TestExpectedRange:
    @pytest.mark.parametrize(
        ("lower", "upper", "expected"),
        [
            (0.0004, 0.00234, "4e-04 to 2.3e-03"),
            (0.0, 1e-8, "0 to 1e-08"),
            (1e-8, 10.0, "1e-08 to 10"),
            (0.25, 3.0e9, "0.25 to 3e+09"),
            (0.0, float("inf"), "0 to inf"),
        ],
    )
    def test_two_digits_where_a_ratio_is_small(self, lower: float, upper: float, expected: str) -> None:
        assert expected == expected_range(lower, upper)
