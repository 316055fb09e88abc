"""Workflow commands, read as GitHub's runner reads them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import RECORDED
from tests.render.sick import sick_findings, sick_run
from tests.reports import HOSTILE, invoke_command, made_report
from tests.sick_runs import ratios_report
from weight_update_ratio import check_trial
from weight_update_ratio.errors import TrialError, Unreadable
from weight_update_ratio.render.github import command, render_github
from weight_update_ratio.render.words.advice import TITLES
from weight_update_ratio.render.words.escapes import printable
from weight_update_ratio.render.words.wording import count_line, summary_line
from weight_update_ratio.report import Report

MORE = "and 21 more; --format json lists them all"


def _read(text: str) -> list[tuple[str, dict[str, str], str]]:
    """Return (command, properties, data) of each line, unescaped in the order that the runner's ActionCommand has."""
    commands = []
    for line in text.splitlines():
        assert line.startswith("::")
        head, data = line[2:].split("::", 1)
        name, _, listed = head.partition(" ")
        properties = dict(entry.split("=", 1) for entry in listed.split(","))
        for code, char in (("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
            properties = {key: value.replace(code, char) for key, value in properties.items()}
            data = data.replace(code, char) if char not in ":," else data
        commands.append((name, properties, data))
    return commands


def _texts(report: Report, level: str) -> list[str]:
    return [text for name, _, text in _read(report.to_github()) if name == level]


def _many_kinds() -> Report:
    """Return a report of six kinds and more than ten findings."""
    ratios = np.full((1, 40, 200), 1e-3)
    for tensor in range(8):
        ratios[0, tensor, 20 * tensor : 20 * tensor + 10] = 20.0 + tensor
        ratios[0, 10 + tensor, 10 + 20 * tensor] = 30.0
    ratios[0, 20] = 0
    ratios[0, 21, :40] = 0
    ratios[0, 22, 100:] = 0
    ratios[0, 23, -5:] = math.nan
    return ratios_report([f"t{tensor}.w" for tensor in range(40)], ratios)


class TestRenderGithub:
    def test_findings_are_errors_and_the_verdict_is_a_notice(self) -> None:
        report = check_trial(RECORDED["pytorch_frozen"])
        report.trial = "TRIAL"
        (finding,) = report.findings
        assert _read(report.to_github()) == [
            (
                "error",
                {"title": "WeightUpdateRatio: Frozen"},
                f"{finding.text} {finding.advice}",
            ),
            (
                "notice",
                {"title": "WeightUpdateRatio"},
                "FIRED TRIAL: 19 of 76 update-to-weight ratios are violations (20 TRAIN steps, 4 tensors, 1 worker, "
                f"76 comparisons, 19 violations, 0 skipped, 0 unreadable). {summary_line(report)}",
            ),
        ]

    def test_nothing_wrong_is_a_notice(self) -> None:
        (notice,) = _read(made_report({"a": [1e-3, 1e-3]}).to_github())
        assert notice == (
            "notice",
            {"title": "WeightUpdateRatio"},
            "OK made/trial: all 2 update-to-weight ratios are within 1e-08 to 10 (3 TRAIN steps, 1 tensor, 1 worker, "
            "2 comparisons, 0 violations, 0 skipped, 0 unreadable). Median ratio 1e-03, 90% are within 1e-03 to 1e-03",
        )

    def test_unreadable_is_an_error_unless_something_fired(self) -> None:
        entry = Unreadable("index/7", None, None, 7, "is empty")
        for ratio, level in ((1e-3, "error"), (20.0, "warning")):
            report = made_report({"a": [ratio]})
            report.rows.add_unreadable(0, [entry])
            found = [name for name, _, data in _read(report.to_github()) if "index/7" in data]
            assert found[0] == level

    def test_skipped_is_a_warning_and_nothing_compared_an_error(self) -> None:
        report = check_trial(RECORDED["pytorch_reductions_only"])
        commands = _read(report.to_github())
        assert [name for name, _, _ in commands] == ["error", "warning", "notice"]
        assert "Save the tensors: leave out" in commands[0][2]
        assert "saved only as a reduction (l2)" in commands[1][2]
        assert commands[2][2] == f"NOT JUDGED {report.trial} ({count_line(report)})"

    def test_a_job_that_was_not_followed_to_its_end_may_fire_too(self) -> None:
        report = made_report({"a": [20.0], "b": [1e-3]})
        report.problem = TrialError("no new step came for 600 s", "Raise --timeout.")
        problem, finding, notice = _read(report.to_github())
        assert problem[:2] == ("error", {"title": "WeightUpdateRatio"})
        assert problem[2] == "no new step came for 600 s. Raise --timeout."
        assert finding[1] == {"title": "WeightUpdateRatio: Too large"}
        assert notice[2].startswith("FIRED made/trial: 1 of 2 update-to-weight ratios is a violation (2 TRAIN steps")

    def test_the_first_of_each_kind_comes_before_a_second_of_any(self) -> None:
        """No kind is lost, though there are more findings than annotations."""
        report = _many_kinds()
        assert len(report.findings) > 10
        kinds = list(dict.fromkeys(finding.kind for finding in report.findings))
        *errors, notice = _read(report.to_github())
        titles = [f"WeightUpdateRatio: {TITLES[kind]}" for kind in kinds]
        assert [name for name, _, _ in errors] == ["error"] * 10
        assert [properties["title"] for _, properties, _ in errors][: len(kinds)] == titles
        assert len(kinds) >= 6
        left_out = len(report.findings) - 10
        assert notice[2].endswith(f". {left_out} more findings (Too large, Spike): --format json lists them all")
        told = {f"{finding.text} {finding.advice}" for finding in report.findings}
        assert {text for _, _, text in errors} <= told

    @pytest.mark.no_cover
    def test_one_more_finding_than_annotations(self) -> None:
        found, text = len(sick_findings("resnet")), sick_run("resnet").to_github()
        assert (found > 10) == ("more finding" in text)
        assert len(text.splitlines()) == min(found, 10) + 1

    @pytest.mark.no_cover
    def test_large_runs_stay_small(self) -> None:
        for name in ("resnet", "transformer"):
            text = sick_run(name).to_github()
            assert (len(text.splitlines()) <= 11, len(text.encode()) < 4000) == (True, True)

    def test_no_more_annotations_of_what_was_not_judged_than_github_shows(self) -> None:
        report = made_report({"a": [1e-3]})
        report.rows.add_unreadable(0, [Unreadable(f"index/{i}", None, None, i, "is empty") for i in range(30)])
        assert _texts(report, "error")[8:] == ["unreadable: index/8 (global step 8): is empty", MORE]
        assert len(_texts(report, "error")) == 10
        report.problem = TrialError("no new step came for 600 s", "Raise --timeout.")
        assert (len(_texts(report, "error")), _texts(report, "error")[0][:6]) == (10, "no new")
        report = made_report({"a": [20.0]})
        report.rows.add_unreadable(0, [Unreadable(f"index/{i}", None, None, i, "is empty") for i in range(30)])
        assert (len(_texts(report, "error")), len(_texts(report, "warning"))) == (1, 10)
        assert _texts(report, "warning")[9] == MORE

    def test_names_make_no_command_of_their_own(self) -> None:
        for name in [*HOSTILE, "\n::stop-commands::x", "100%\r\n::add-mask::y", "%0A::error::z"]:
            text = render_github(made_report({name: [20.0], "sound": [1e-3]}))
            assert [name for name, _, _ in _read(text)] == ["error", "notice"]
            assert _read(text)[0][2].startswith(printable(name) + " moved too much")
            assert text.isascii() or name in HOSTILE[3:]
            assert "\x1b" not in text

    def test_the_advice_is_read_also_where_a_name_is_long(self) -> None:
        """The runner cuts a message after 4,096 characters."""
        report = made_report({"n" * 5000: [20.0], "m" * 5000: [20.0], "sound": [1e-3]})
        ((_, _, text), _) = _read(report.to_github())
        assert (len(text) < 4096, text.endswith(f" {report.findings[0].advice}")) == (True, True)

    def test_properties_are_escaped_further(self) -> None:
        assert _read(command("error", "a:b,c%", "t:1,%2C")) == [("error", {"title": "t:1,%2C"}, "a:b,c%")]


class TestSummary:
    def test_summary_is_added_where_the_runner_names_a_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        summary = tmp_path / "summary.md"
        summary.write_text("before\n")
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
        result = invoke_command("check", str(RECORDED["pytorch_frozen"]), "--format", "github", "--quiet")
        assert (result.exit_code, result.stdout, result.stderr) == (1, "", "")
        written = summary.read_text(encoding="utf-8")
        assert written.startswith("before\n### ")
        assert "1. **Frozen**: TinyNet" in written
        assert "| `TinyNet_conv1.weight` |" in written

    def test_summary_that_cannot_be_written_is_said(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
        result = invoke_command("check", str(RECORDED["pytorch_frozen"]), "--format", "github")
        assert result.exit_code == 2
        assert "cannot be written: Is a directory" in result.stderr

    def test_without_the_runner_nothing_is_written(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
        result = invoke_command("check", "no/such/trial", "--format", "github")
        assert result.exit_code == 2
        assert result.stdout.startswith(
            "::error title=WeightUpdateRatio::the trial folder 'no/such/trial' does not exist"
        )
