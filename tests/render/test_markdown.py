"""Markdown, as a CommonMark parser with GitHub's tables reads it."""

from __future__ import annotations

import html
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tests.conftest import RECORDED
from tests.render.sick import sick_findings, sick_run
from tests.reports import HOSTILE, invoke_command, made_report
from tests.sick_runs import ratios_report
from weight_update_ratio import check_trial
from weight_update_ratio.compare.rows import SkippedGroup
from weight_update_ratio.errors import TrialError, Unreadable
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.render.words.advice import TITLES
from weight_update_ratio.render.words.escapes import markdown_code, markdown_text, printable
from weight_update_ratio.render.words.names import elided
from weight_update_ratio.render.words.wording import summary_line
from weight_update_ratio.report import Report

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


def _page(report: Report) -> str:
    """Return the report as HTML; every tag that the markdown opens is closed."""
    page = READER.render(report.to_markdown())
    for tag in ("details", "summary", "table", "ol", "ul", "li", "p", "strong", "code"):
        assert page.count(f"<{tag}>") + page.count(f"<{tag} ") == page.count(f"</{tag}>")
    return page


def _text(page: str) -> str:
    """Return what a reader sees of a page, each run of blanks as one."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", page)).split())


class TestRenderMarkdown:
    def test_the_whole_of_a_small_one(self) -> None:
        report = check_trial(RECORDED["pytorch_frozen"])
        report.trial = "TRIAL"
        (finding,) = report.findings
        assert (
            report.to_markdown()
            == f"""\
### \u274c Weight update ratio: FIRED

`TRIAL`: 19 of 76 update-to-weight ratios are violations

1. **Frozen**: {markdown_text(finding.text)}
    {markdown_text(finding.advice)}

{summary_line(report)}

<details><summary>Violations by tensor (1)</summary>

| tensor | TRAIN steps | count | worst ratio |
| :-- | --: | --: | --: |
| `TinyNet_conv1.weight` | 1-19 | 19 | 0 |

</details>

20 TRAIN steps, 4 tensors, 1 worker, 76 comparisons, 19 violations, 0 skipped, 0 unreadable
"""
        )

    @pytest.mark.no_cover
    def test_findings_are_a_list_in_the_words_of_the_report(self) -> None:
        for name in ("resnet", "transformer"):
            page = _page(sick_run(name))
            items = re.findall(r"<li>(.*?)</li>", page.split("<details>")[0], re.DOTALL)
            findings = [f"{TITLES[finding.kind]}: {finding.text} {finding.advice}" for finding in sick_findings(name)]
            assert [_text(item) for item in items] == findings
            assert page.count("<ol>") == 1

    @pytest.mark.no_cover
    def test_figures_and_the_tensors_that_moved_away(self) -> None:
        text = _text(_page(sick_run("resnet")))
        assert "Median ratio 6.5e-04, 90% are within 0 to 2.5e-03; moved away from the others by more than a" in text
        assert "decade: layer2.* (39 tensors)" in text

    def test_workers_have_a_column_where_there_are_several(self) -> None:
        report = made_report({"a": [1e9]}, workers=("w0", "job-worker-replica-0-task-1-device-GPU-0"), weight_norm=0.0)
        head, first, second = _cells(report.to_markdown())
        assert head == ["tensor", "worker", "TRAIN steps", "count", "worst ratio"]
        assert first == ["a", "w0", "1", "1", "1e+09"]
        assert second[1] == "job-worke\u2026vice-GPU-0"

    def test_table_has_the_most_urgent_and_lasting_first(self) -> None:
        report = made_report(
            {
                "sound": [1e-3] * 4,
                "rests": [1e-3, 0.0, 1e-3, 1e-3],
                "frozen": [0.0] * 4,
                "spike": [1e-3, 50.0, 1e-3, 1e-3],
                "nan": [1e-3, 1e-3, 1e-3, math.nan],
                "large": [20.0] * 4,
            }
        )
        assert [row[0] for row in _cells(report.to_markdown())[1:]] == ["nan", "large", "spike", "frozen", "rests"]

    @pytest.mark.no_cover
    def test_table_is_folded_narrow_and_says_what_it_leaves_out(self) -> None:
        for name, groups in (("resnet", "64"), ("transformer", "1,248")):
            document = sick_run(name).to_markdown()
            assert f"<details><summary>Violations by tensor (25 of {groups})</summary>\n\n| tensor |" in document
            assert len(_cells(document)) == 26
            lines = document[document.index("<details>") :].splitlines()
            assert max(map(len, lines[2:-4])) < 100
        names = {f"encoder.layers.{i}." + "attention." * 10 + "weight": [20.0] for i in range(3)}
        rows = _cells(made_report(names).to_markdown())[1:]
        assert [row[0] for row in rows] == [f"encoder.layers.{i}.at\u2026ion.attention.weight" for i in range(3)]

    def test_what_does_not_fire_has_a_table_of_its_own(self) -> None:
        report = made_report({"a": [20.0, 1e-3, 1e-3], "b": [20.0] * 3}, Parameters(patience=2))
        document = report.to_markdown()
        assert [row[0] for row in _cells(document)] == ["tensor", "b", "tensor", "a"]
        assert "<summary>Violations by tensor that do not fire (1)</summary>" in document
        assert "never 2 in a row" in document

    def test_hostile_names_stay_text(self) -> None:
        for name in [*HOSTILE, "a|b", "`", "``x`", "*x* _y_", "| --- |", "\\|", "@me #1", "</details>", "1. x", "- x"]:
            report = made_report({name: [20.0], "sound": [1e-3]}, workers=(name, "w"))
            report.trial = f"runs/{name}"
            report.rows.add_unreadable(0, [Unreadable(name, name, name, 1, name)])
            page = _page(report)
            assert not re.search(r"<(script|img|em|b)\b", page)
            assert page.count("<details>") == 1
            assert page.count("<ol>") == page.count("<ul>") == page.count("<li>") - 1 == 1
            (item,) = re.findall(r"<ol>(.*?)</ol>", page, re.DOTALL)
            assert _text(item).startswith(" ".join(f"Too large: {printable(name)} on all 2 workers moved".split()))
            cells = [row[:2] for row in _cells(report.to_markdown())[1:]]
            assert cells[0] == [elided(printable(name), 40).strip(), elided(printable(name), 20).strip()]

    def test_a_few_lines_are_open_and_more_are_folded(self) -> None:
        for count in (3, 4, 12):
            report = made_report({"a": [1e-3]})
            entries = [Unreadable(f"index/{i}", None, None, i, "is empty") for i in range(count)]
            report.rows.add_unreadable(0, entries)
            report.notes = [SkippedGroup(None, f"w{i}", "saved again later: steps 5-7", 5, 7, 3) for i in range(count)]
            document = report.to_markdown()
            listed = [f"- index/{i} \\(global step {i}\\): is empty" for i in range(count)][:10]
            assert "\n\n" + "\n".join(listed) + "\n\n" in document
            number = {3: "", 4: "4", 12: "10 of 12"}[count]
            for title in ("Skipped", "Unreadable"):
                shown = f"<details><summary>{title} ({number})</summary>" if number else f"**{title}**\n\n- "
                assert shown in document

    def test_nothing_compared_says_why_and_what_to_do(self) -> None:
        result = invoke_command("check", str(RECORDED["pytorch_reductions_only"]), "--format", "markdown")
        assert result.exit_code == 2
        text = _text(READER.render(result.stdout))
        assert "NOT JUDGED" in text
        assert "were saved only as reductions ('l2')" in text
        assert "Save the tensors: leave out the collection's reduction_config" in text
        assert "saved only as a reduction (l2)" in text

    def test_a_job_that_was_not_followed_to_its_end_says_so(self) -> None:
        report = made_report({"a": [20.0]})
        report.problem = TrialError("no new step came for 600 s", "Raise --timeout.")
        assert "no new step came for 600 s. Raise --timeout." in _text(_page(report))

    @pytest.mark.parametrize("char", ["x", "@", "<", "|", "`", "\x1b", "\U0001f600", "w.", "a/"])
    def test_the_largest_reports_fit_a_comment(self, char: str) -> None:
        """Whatever the names are, and however long; nothing is cut in the middle of markup."""
        ratios: dict[str, list[float | None]] = {}
        for tensor in range(120):
            own: list[float | None] = [1e-3] * 60
            start, count = tensor % 10 * 5, 1 + tensor // 10 if tensor % 3 else 1
            own[start : start + count] = [(20.0, 0.0, 1e-9, math.nan)[tensor % 4]] * count
            ratios[f"{tensor}{char * 1000}"] = own
        workers = [f"{worker}{char * 1000}" for worker in range(3)]
        report = made_report(ratios, Parameters(patience=2), workers=workers)
        report.trial = char * 1000
        report.rows.add_unreadable(0, [Unreadable(char * 1000 + str(i), None, None, 1, "is empty") for i in range(50)])
        report.notes = [SkippedGroup(None, char * 1000, f"again: step {i}", i, i, 1) for i in range(50)]
        report.problem = TrialError(char * 1000, char * 1000)
        document = report.to_markdown()
        assert 5_000 < len(document) < 65_536
        assert _page(report).count("<details>") == 4
        assert "(10 of 50)" in document

    def test_where_room_ends_no_kind_is_lost(self) -> None:
        ratios = np.full((1, 60, 200), 1e-3)
        for tensor in range(12):
            ratios[0, 2 * tensor : 2 * tensor + 2, 15 * tensor : 15 * tensor + 9] = 20.0
            ratios[0, 30 + tensor, 5 + 15 * tensor] = 0
        ratios[0, 50] = 0
        report = ratios_report([f"{tensor}{'@' * 5000}" for tensor in range(60)], ratios)
        document = report.to_markdown()
        listed = len(re.findall(r"^\d+\. ", document, re.MULTILINE))
        assert listed < len(report.findings)
        assert f"\n\nand {len(report.findings) - listed} more; `--format json` lists them all\n\n" in document
        for finding in report.findings:
            assert f". **{TITLES[finding.kind]}**: " in document


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
