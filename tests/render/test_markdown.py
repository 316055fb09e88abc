"""Markdown, as a CommonMark parser with GitHub's tables reads it."""

from __future__ import annotations

import html
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tests.conftest import RECORDED
from tests.reports import HOSTILE, invoke_command, made_report
from weight_update_ratio import check_trial
from weight_update_ratio.errors import Unreadable
from weight_update_ratio.render.escapes import markdown_code, markdown_text, printable

READER = MarkdownIt("commonmark").enable("table").enable("strikethrough")


def _cells(document: str) -> list[list[str]]:
    """Return the text of each row of the tables."""
    rows = re.findall(r"<tr>(.*?)</tr>", READER.render(document), re.DOTALL)
    return [
        [
            html.unescape(re.sub(r"<[^>]+>", "", cell))
            for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL)
        ]
        for row in rows
    ]


class TestRenderMarkdown:
    def test_frozen_trial(self) -> None:
        report = check_trial(RECORDED["pytorch_frozen"])
        assert _cells(report.to_markdown()) == [
            ["tensor", "TRAIN steps", "count", "worst ratio", "at step"],
            ["TinyNet_conv1.weight", "1-19", "19", "0", "1"],
        ]
        assert "19 of 76 update-to-weight ratios are violations" in report.to_markdown()

    def test_workers_and_notes_have_columns_where_there_are_some(self) -> None:
        report = made_report({"a": [1e9]}, workers=("w0", "w1"), weight_norm=0.0)
        head, first, second = _cells(report.to_markdown())
        assert head == ["tensor", "worker", "TRAIN steps", "count", "worst ratio", "at step", "note"]
        assert first == ["a", "w0", "1", "1", "1e+09", "1", "reference weights are all zero"]
        assert second[1] == "w1"

    def test_hostile_names_stay_text(self) -> None:
        names = [*HOSTILE, "a|b", "`", "``x`", " ", "*x* _y_", "| --- |", "\\|", "@me #1"]
        page = READER.render(made_report({name: [20.0] for name in names}).to_markdown())
        assert "<script" not in page
        assert "<img" not in page
        rows = _cells(made_report({name: [20.0] for name in names}).to_markdown())[1:]
        assert [row[0].strip() for row in rows] == [printable(name).strip() for name in names]
        assert {len(row) for row in rows} == {5}

    def test_long_reports_fit_a_comment(self) -> None:
        report = made_report({f"{i}" + "x" * 5000: [20.0, 0.0, 1e-9, math.nan] for i in range(300)})
        report.history.add_unreadable([Unreadable("f" * 3000 + str(i), None, None, 1, "is empty") for i in range(50)])
        document = report.to_markdown()
        assert len(document) < 65536
        assert "and 275 more" in document
        assert "- and 40 more" in document

    def test_nothing_compared_says_why(self) -> None:
        result = invoke_command("check", str(RECORDED["pytorch_reductions_only"]), "--format", "markdown")
        assert result.exit_code == 2
        assert "NOT JUDGED" in result.stdout
        text = html.unescape(re.sub(r"<[^>]+>", "", READER.render(result.stdout)))
        assert "were saved only as reductions ('l2')" in text
        assert "TinyNet_fc2.weight: saved only as a reduction (l2)" in text


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=100))
def test_code_and_escaped_are_the_text_again(text: str) -> None:
    for rendered in (
        READER.renderInline(markdown_text(text)),
        READER.renderInline(markdown_code(text).replace(r"\|", "|")),
    ):
        shown = html.unescape(re.sub(r"</?(?:code|br ?/?)>", "", rendered))
        assert shown.replace("\xa0", " ").split() == printable(text).split()


def test_links_and_mentions_are_none() -> None:
    assert READER.renderInline(markdown_text("https://x.y www.x.y @me")) == "https://x.y www.x.y @me"
    assert "://" not in markdown_text("https://x.y")


@pytest.mark.parametrize("name", ["", "   "])
def test_empty_name_is_still_a_cell(name: str) -> None:
    assert markdown_code(name).startswith("<code>")
