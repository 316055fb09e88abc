"""What a notebook shows of a report and of a rule."""

from __future__ import annotations

import html
import math
import re
import sys
from typing import Any

import pytest

from tests.conftest import RECORDED
from tests.reports import HOSTILE, made_report
from weight_update_ratio import check_trial
from weight_update_ratio.render.html import COLORS, report_html
from weight_update_ratio.render.words.advice import TITLES, told_findings


def _text(page: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", " ", page))


class TestReportHtml:
    def test_verdict_and_findings_are_shown_in_their_words(self) -> None:
        report: Any = check_trial(RECORDED["pytorch_frozen"])
        text = _text(report._repr_html_())
        assert "FIRED" in text
        assert "19 of 76 update-to-weight ratios are violations" in text
        (finding,) = told_findings(report)
        for words in (TITLES[finding.kind], finding.text, finding.advice):
            assert words in text

    def test_a_healthy_run_says_how_large_its_ratios_are(self) -> None:
        report: Any = check_trial(RECORDED["pytorch_healthy"])
        text = _text(report._repr_html_())
        assert "OK" in text
        assert re.search(r"Median ratio \S+, 90% are within \S+ to \S+", text)
        assert "moved away" not in text

    def test_tensors_that_moved_away_are_named(self) -> None:
        values = {name: [1e-3] * 40 for name in ("a.w", "b.w", "c.w")}
        values["d.w"] = [1e-3] * 20 + [0.5] * 20
        assert "moved away from the others by more than a decade: d.w<" in report_html(made_report(values))

    def test_nothing_is_said_of_ratios_that_are_not_finite(self) -> None:
        assert "Median" not in report_html(made_report({"a": [math.nan]}))

    def test_it_is_readable_on_dark_and_light(self) -> None:
        """Text has the notebook's own color, but for white letters on a background of their own."""
        page = report_html(made_report({"a": [20.0], "b": [1e-3]}))
        for style in re.findall(r'style="([^"]*)"', page):
            colors = dict(re.findall(r"(?:^|; )(color|background): ([^;]+)", style))
            assert colors == {} or (colors["color"] == "#fff" and colors["background"] in COLORS.values())
        assert "<style" not in page

    def test_names_stay_text(self) -> None:
        page = report_html(made_report({name: [20.0] for name in HOSTILE}, workers=("<i>w</i>", "b"), weight_norm=0.0))
        assert "<script" not in page
        assert "<img" not in page
        assert "<i>w" not in page
        assert HOSTILE[0] in _text(report_html(made_report({HOSTILE[0]: [20.0], "b": [1e-3]})))

    def test_nothing_compared_says_why(self) -> None:
        report: Any = check_trial(RECORDED["xgboost"])
        assert "NOT JUDGED" in report._repr_html_()
        assert html.escape(report.problem.remedy) in report._repr_html_()


class TestRuleHtml:
    def test_rule_shows_what_it_found_so_far(self) -> None:
        from smdebug.rules import invoke_rule

        from weight_update_ratio import WeightUpdateRatio

        rule: Any = WeightUpdateRatio(str(RECORDED["pytorch_frozen"]))
        assert "nothing is compared yet" in rule._repr_html_()
        invoke_rule(rule, end_step=4, raise_eval_cond=False)
        text = _text(rule._repr_html_())
        assert "FIRED" in text
        assert "TinyNet_conv1.weight" in text

    def test_rule_that_can_compare_nothing_says_why(self) -> None:
        from smdebug.exceptions import InsufficientInformationForRuleInvocation

        from weight_update_ratio import WeightUpdateRatio

        rule: Any = WeightUpdateRatio(str(RECORDED["xgboost"]))
        for _ in range(2):  # asked again, it says so again
            with pytest.raises(InsufficientInformationForRuleInvocation):
                rule.invoke_at_step(0)
        assert "no tensor of the collection &#x27;weights&#x27; was saved" in rule._repr_html_()
        assert "NOT JUDGED" in rule._repr_html_()

    def test_rule_without_the_package_shows_itself_as_text(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from weight_update_ratio import WeightUpdateRatio

        monkeypatch.setitem(sys.modules, "weight_update_ratio.render.html", None)
        rule: Any = WeightUpdateRatio(str(RECORDED["pytorch_frozen"]))
        assert rule._repr_html_() is None
