"""Anybody may have written the names of a trial: in no format are they markup, a command, or a control character."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.render.test_golden import MARKDOWN, strict_json
from tests.reports import HOSTILE, made_report
from weight_update_ratio.compare.rows import SkippedGroup
from weight_update_ratio.errors import Unreadable

COMMANDS = ["::error f=a::x", " ::stop-commands::x", "\n::add-mask::y", "##vso[task.complete]", "##[error]x", "%0A::x"]
MARKUP = ["a|b", "`", "``x`", "*x* _y_", "| --- |", "\\|", "@me #1", "</details>", "1. x", "- x", "www.x.y http://x.y"]
BYTES = ["]]>", "a\x00b", "\ud800", "\ufffe", "\u202eright to left", "100%\r\n", "\x1b]0;title\x07", "", " "]
NAME = st.one_of(st.sampled_from([*HOSTILE, *COMMANDS, *MARKUP, *BYTES]), st.text(max_size=20))
COMMAND = re.compile(r"^\s*(::|##(vso)?\[)", re.MULTILINE)  # GitHub's and Azure's, at a line's beginning
TAGS = {"div", "p", "strong", "b", "i"}
LISTS, TABLES = {"ol", "ul", "li"}, {"table", "thead", "tbody", "tr", "th", "td"}
MARKDOWN_TAGS = {"h3", "p", "strong", "code", "details", "summary", "br", *LISTS, *TABLES}
ANNOTATION = re.compile(r"::(error|warning|notice) title=WeightUpdateRatio(%3A 1. Too large)?::")


def tags_of(page: str) -> set[str]:
    parser, found = HTMLParser(), set()
    parser.handle_starttag = lambda tag, attributes: found.add(tag)  # type: ignore[assignment]
    parser.feed(page)
    return found


def shown(page: str) -> str:
    """Return what a reader sees of a page, each run of blanks as one."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", page)).split())


@settings(max_examples=40)
@given(NAME.filter("sound".__ne__), NAME, NAME)
def test_names_are_inert_and_can_be_read(tensor: str, worker: str, trial: str) -> None:
    """Wherever a name may be; in JSON they are what they are."""
    report = made_report({tensor: [20.0], "sound": [1e-3]}, workers=(worker, "another worker"))
    report.rows.add_unreadable(0, [Unreadable(trial, tensor, worker, 1, tensor)])
    report = report.with_facts(trial=trial, notes=[SkippedGroup(tensor, worker, trial, None, None, 1)])
    for_people = [report.to_text(), report.to_text(40), report.to_text(80, verbose=True), report.to_markdown()]
    for text in [*for_people, report.to_junit(), report._repr_html_(), report.to_json()]:
        assert all(char.isprintable() or char == "\n" for char in text)
        assert not COMMAND.search(text)
    for text in [*for_people, report.to_junit()]:
        assert not re.search(r"##(vso)?\[", text)
    for line in report.to_github().splitlines():
        assert line.isprintable()
        assert ANNOTATION.match(line)
    assert tags_of(report._repr_html_()) <= TAGS
    page = MARKDOWN.render(report.to_markdown())
    assert tags_of(page) <= MARKDOWN_TAGS
    assert [page.count(f"<{tag}>") for tag in ("h3", "details", "table", "ol", "ul")] == [1, 1, 1, 1, 2]
    document = strict_json(report.to_json())
    (finding,) = document["findings"]
    assert (document["trial"], finding["tensors"]) == (trial, [tensor])
    assert finding["text"].startswith(tensor)
    root = ElementTree.fromstring(report.to_junit())  # noqa: S314  (it is ours)
    cases = [case.get("name") for case in root.iter("testcase")]
    messages = [failure.get("message", "") for failure in root.iter("failure")]
    if (tensor + worker + trial).isprintable() and not set(tensor + worker + trial) & set(":#"):
        assert cases[0] == tensor
        assert messages[0].startswith(f"1. Too large: {tensor} on ")
        expected = " ".join(f"Too large: {tensor} on ".split())
        assert shown(page).split(" violations; 1 record could not be read ")[1].startswith(expected)
        assert shown(page.partition("<code>")[2].partition("</code>")[0]).split() == trial.split()
        assert " ".join(f"{tensor} on ".split()) in shown(report._repr_html_())
