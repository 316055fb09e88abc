"""What a format promises beyond its golden files: what is a failure, how long it may be, and what the command does."""

from __future__ import annotations

import csv
import math
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import RECORDED
from tests.render.golden import SICK
from tests.render.test_golden import MARKDOWN, strict_json
from tests.reports import invoke_command, made_report
from tests.sick_runs import ratios_report
from weight_update_ratio.compare.rows import Comparison, SkippedGroup
from weight_update_ratio.errors import TrialError, Unreadable
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.render.data import write_history
from weight_update_ratio.render.text import render_text
from weight_update_ratio.report import Report

FROZEN = str(RECORDED["pytorch_frozen"])


def failed_cases(report: Report) -> set[str]:
    cases = ElementTree.fromstring(report.to_junit()).iter("testcase")  # noqa: S314  (it is ours)
    return {f"{case.get('classname')} {case.get('name')}" for case in cases if case.find("failure") is not None}


def test_junit_does_not_fail_on_one_worker_what_is_sick_on_another() -> None:
    """A finding of all others of its kind is of tensors and workers, and not of each pair of them."""
    ratios = np.full((2, 14, 60), 1e-3)
    for tensor in range(14):
        ratios[tensor % 2, tensor, 4 * tensor + 4] = 50.0
    report = ratios_report([f"t{tensor}" for tensor in range(14)], ratios)
    assert any(finding.is_rest and len(finding.workers) == 2 for finding in report.findings)
    assert failed_cases(report) == {f"made/trial.worker_{tensor % 2} t{tensor}" for tensor in range(14)}


SOUND = {"sound": [1e-3] * 60, "other": [1e-3] * 60, "third": [1e-3] * 60}
LATE = {"late": [0.0] * 3 + [1e-3] * 57, **SOUND}  # a note
LATE_AND_LARGE = {**LATE, "grows": [1e-3] * 50 + [20.0] * 10}
CHANGED = {"changed": [1e-3] * 30 + [0.5] * 30, **SOUND}  # a note without a violation


class TestNotes:
    """What is not wrong comes after what is, in another tone, and fails nothing."""

    def test_they_come_last_and_are_marked(self) -> None:
        report = made_report(LATE_AND_LARGE)
        title, note = "Too large", "Note: not yet"
        assert re.search(rf"\n1\. {title}: grows .*\n2\. {note}: late ", report.to_text(), re.DOTALL)
        assert re.search(rf"\n1\. \*\*{title}\*\*: .*\n2\. \*{note}\*: ", report.to_markdown(), re.DOTALL)
        assert re.search(f"<b>1. {title}</b>.*<b>2. {note}</b>", report._repr_html_())
        assert re.search('"severity": "fault".*"severity": "note"', report.to_json(), re.DOTALL)
        cards = re.findall(r'<article class="card (\w+)">.*?class="onset">(.*?)<', report.to_html(), re.DOTALL)
        assert [("fault", "fault, from TRAIN step 51 on"), ("note", "note, from TRAIN step 1 on")] == cards
        coloured = render_text(report, 100, color=True)
        assert f"\x1b[2m{note}: " in coloured
        assert f"\x1b[1m{title}: " in coloured

    def test_they_are_no_failures_and_no_errors(self) -> None:
        report = made_report(LATE_AND_LARGE)
        levels = [line.partition(" ")[0] for line in report.to_github().splitlines()]
        assert ["::error", "::notice", "::notice"] == levels
        assert {"made/trial.worker_0 grows"} == failed_cases(report)
        assert "<system-out>2. Note: not yet: late " in report.to_junit()
        report = made_report(LATE)
        assert (0, set()) == (report.exit_code, failed_cases(report))
        assert "::error" not in report.to_github()

    def test_strict_counts_those_that_fire(self) -> None:
        report = made_report(LATE_AND_LARGE).with_facts(strict=True)
        assert {"made/trial.worker_0 grows", "made/trial.worker_0 late"} == failed_cases(report)
        assert (1, 2) == (report.exit_code, report.to_github().count("::error "))
        report = made_report(LATE).with_facts(strict=True)
        assert (1, None) == (report.exit_code, re.search("^OK|literally", report.to_text()))
        report = made_report(CHANGED).with_facts(strict=True)
        assert (0, set()) == (report.exit_code, failed_cases(report)), "it has no violation"
        assert "<system-out>1. Note: changed: changed rose" in report.to_junit()
        assert "::error" not in report.to_github()

    def test_the_verdict_says_that_what_is_out_of_bounds_is_no_fault(self) -> None:
        """And that the rule would fire."""
        report = made_report(LATE)
        for text in (report.to_text(), report.to_markdown(), report.to_github(), report._repr_html_()):
            assert "3 of 240 update-to-weight ratios are out of bounds; no fault, see the note" in text
            assert "The rule, literally, fires at 3 steps: --strict counts them" in text
        report = made_report({"late": [0.0, 1e-3], "sound": [1e-3] * 2})
        assert "1 of 4 update-to-weight ratios is out of bounds; no fault, see the note\n" in report.to_text()
        assert "literally, fires at 1 step: --strict counts it\n" in report.to_text()
        report = made_report(LATE_AND_LARGE)
        assert not re.search("see the note|literally", report.to_text())
        text = made_report(CHANGED).to_text()
        assert "all 240 update-to-weight ratios are within 1e-08 to 10; see the note\n" in text
        assert "literally" not in text

    def test_what_did_not_last_is_named_beside_notes(self) -> None:
        report = made_report({**LATE, "short": [1e-3, 20.0, *[1e-3] * 58]}, Parameters(patience=2))
        told = "4 of 300 update-to-weight ratios are out of bounds, 1 of them never 2 in a row; no fault, see the note"
        assert f"OK  made/trial: {told}" in report.to_text(200)


@pytest.mark.parametrize(
    ("ratio", "way"), [(1e-3, "2% of"), (1e-8, "2e-05% of"), (0.0, "0% of"), (0.04, "80% of"), (2.0, "40 times")]
)
def test_the_summary_says_how_far_the_weights_can_have_moved(ratio: float, way: str) -> None:
    assert f"; the weights moved by at most {way} their size in all\n" in made_report({"a": [ratio] * 20}).to_text(200)


RATIOS = st.lists(st.sampled_from([0.0, 1e-9, 1e-3, 0.1, 20.0, math.nan, math.inf]), min_size=1, max_size=12)


@given(st.dictionaries(st.sampled_from("abcdef"), RATIOS, min_size=1), st.sampled_from([None, 2, 3]))
def test_junit_fails_exactly_what_fires(ratios: dict[str, list[float]], patience: int | None) -> None:
    """Of all that fires where it is strict; else exactly where the exit code is 1."""
    report = made_report(ratios, Parameters(patience=patience), workers=("w0", "w1"))
    assert bool(failed_cases(report)) == (report.exit_code == 1)
    report = report.with_facts(strict=True)
    firing = [group for group in report.violations if group.fires]
    assert failed_cases(report) == {f"made/trial.{group.worker} {group.tensor}" for group in firing}
    assert bool(failed_cases(report)) == (report.exit_code == 1)


@pytest.mark.parametrize("char", ["x", "@", "<", "`", "\x1b", "w."])
def test_the_largest_reports_fit_a_comment(char: str) -> None:
    """Of GitHub: 65,536 characters. No markup is cut, and no kind is lost; each annotation ends with the advice."""
    ratios: dict[str, list[float]] = {}
    for tensor in range(120):
        own = [1e-3] * 60
        start, count = tensor % 10 * 5, 1 + tensor // 10 if tensor % 3 else 1
        own[start : start + count] = [(20.0, 0.0, 1e-9, math.nan)[tensor % 4]] * count
        ratios[f"{tensor}{char * 1000}"] = own
    report = made_report(ratios, workers=[f"{worker}{char * 1000}" for worker in range(3)])
    report.rows.add_unreadable(0, [Unreadable(char * 1000 + str(i), None, None, 1, "is empty") for i in range(50)])
    notes = [SkippedGroup(None, char * 1000, f"again: step {i}", i, i, 1) for i in range(50)]
    report = report.with_facts(trial=char * 1000, notes=notes, problem=TrialError(char * 1000, char * 1000))
    document = report.to_markdown()
    assert 5_000 < len(document) < 65_536
    page = MARKDOWN.render(document)
    assert page.count("<details>") == page.count("</details>") == 3
    assert "(25 of 360)" in document
    findings = report.findings
    for title in {"Not finite", "Too large", "Spike", "Too small", "Resting"}:
        assert f"<strong>{title}</strong>" in page
    for line in report.to_github().splitlines()[1:10]:  # the first is the problem, and the last the verdict
        assert len(line) < 4096
        assert any(line.endswith(finding.advice) for finding in findings)


def test_markdown_ends_where_its_room_does_and_loses_no_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weight_update_ratio.render.markdown.MOST_FINDINGS", 2_700)
    report = made_report(SICK)
    document = report.to_markdown()
    titles = re.findall(r"^\d+\. \*+([\w :]+)\*", document, re.MULTILINE)
    left = f"and {len(report.findings) - len(titles)} more findings (Spike); `--format json` lists them all"
    assert f"\n\n{left}\n\n" in document
    assert len(set(titles)) == len({finding.kind for finding in report.findings}) < len(report.findings)


def test_histories_are_read_back_to_the_last_digit(tmp_path: Path) -> None:
    """JSON lines are strict JSON; CSV quotes names where it must."""
    report = made_report({'a,"b"\nc': [1 / 3, math.inf, math.nan], "gr\u00f6\u00dfe \u91cd\u307f": [2e-9]})
    for ending in (".csv", ".jsonl"):
        write_history(report, str(tmp_path / ending))
    with (tmp_path / ".csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows == [list(Comparison._fields), *([str(cell) for cell in row] for row in report)]
    lines = [strict_json(line) for line in (tmp_path / ".jsonl").read_text("utf-8").splitlines()]
    assert [list(map(str, line.values())) for line in lines] == rows[1:]


def test_githubs_summary_gets_the_markdown_where_the_runner_names_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check_with(summary: Path) -> tuple[int, str]:
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
        result = invoke_command("check", FROZEN, "--format", "github", "--quiet")
        return result.exit_code, result.stderr.split("\n")[0]

    assert (1, "") == check_with(tmp_path / "summary.md")
    assert "1. **Frozen**: TinyNet" in (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert (2, f"Error: '{tmp_path}' cannot be written: Is a directory") == check_with(tmp_path)


class TestNotebooks:
    def test_a_rule_shows_what_it_found_so_far(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from smdebug.rules import invoke_rule

        from weight_update_ratio import WeightUpdateRatio

        rule = WeightUpdateRatio(FROZEN)
        assert "nothing is compared yet" in rule._repr_html_()
        invoke_rule(rule, end_step=4, raise_eval_cond=False)
        assert re.search("FIRED.*TinyNet_conv1.weight never moved", rule._repr_html_())
        monkeypatch.setitem(sys.modules, "weight_update_ratio.report", None)
        assert rule._repr_html_() is None, "as the single file, it shows itself as text"
