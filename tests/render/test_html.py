"""What a notebook shows of a report and of a rule."""

from __future__ import annotations

import html
import re
import sys
from typing import Any

import pytest

from tests.conftest import RECORDED
from tests.reports import HOSTILE, made_report
from weight_update_ratio import check_trial
from weight_update_ratio.render.html import report_html


def _text(page: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", " ", page))


class TestReportHtml:
    def test_verdict_and_groups_are_shown(self) -> None:
        report: Any = check_trial(RECORDED["pytorch_frozen"])
        text = _text(report._repr_html_())
        assert "FIRED" in text
        assert "19 of 76 update-to-weight ratios are violations" in text
        assert re.search(r"TinyNet_conv1\.weight\s+1\u201319\s+19\s+0\s+1", text)

    def test_names_stay_text(self) -> None:
        page = report_html(
            made_report({name: [20.0] for name in HOSTILE}, workers=("<i>", "b"), weight_norm=0.0).history
        )
        assert "<script" not in page
        assert "<img" not in page
        assert "<i>" not in page
        assert HOSTILE[0] in _text(page)
        assert "reference weights are all zero" in page

    def test_many_groups_are_cut(self) -> None:
        assert "and 10 more" in report_html(made_report({str(i): [20.0] for i in range(30)}).history)

    def test_nothing_compared_says_why(self) -> None:
        report: Any = check_trial(RECORDED["xgboost"])
        assert "NOT JUDGED" in report._repr_html_()


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
