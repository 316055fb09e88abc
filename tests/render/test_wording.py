"""The sentences that all renderings share."""

from __future__ import annotations

import math

import pytest

from tests.reports import HOSTILE, made_report
from weight_update_ratio.compare.rows import SkippedGroup
from weight_update_ratio.render.words.wording import skipped_line


@pytest.mark.parametrize("rendering", ["text", "github", "markdown", "html"])
def test_what_was_skipped_of_a_whole_worker_begins_with_the_worker(rendering: str) -> None:
    """The entry has no tensor, and its reason names the steps."""
    report = made_report({"a": [1e-3]})
    report.notes = [SkippedGroup(None, "worker_0", "saved again later: steps 5-7", 5, 7, 3)]
    assert [skipped_line(group) for group in report.skipped] == ["worker_0: saved again later: steps 5-7"]
    shown = getattr(report, f"to_{rendering}")().replace("\\_", "_")
    assert "worker_0: saved again later: steps 5-7" in shown
    assert "of worker_0: saved" not in shown


def test_hostile_names_reach_no_terminal_as_they_are() -> None:
    text = made_report({name: [20.0, math.nan] for name in HOSTILE}).to_text()
    assert "\x1b" not in text
    assert "\u2028" not in text
