"""Workflow commands, read as GitHub's runner reads them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.conftest import RECORDED
from tests.reports import HOSTILE, invoke_command, made_report
from weight_update_ratio import check_trial
from weight_update_ratio.errors import Unreadable
from weight_update_ratio.render.github import command, render_github


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


class TestRenderGithub:
    def test_violations_are_errors_and_the_verdict_is_a_notice(self) -> None:
        error, notice = _read(check_trial(RECORDED["pytorch_frozen"]).to_github())
        assert error[:2] == ("error", {"title": "WeightUpdateRatio"})
        assert error[2].startswith(
            "TinyNet_conv1.weight of worker_0: small: 19 at TRAIN steps 1-19; the worst ratio is 0"
        )
        assert notice[0] == "notice"
        assert "19 of 76" in notice[2]

    def test_unreadable_is_an_error_unless_something_fired(self) -> None:
        entry = Unreadable("index/7", None, None, 7, "is empty")
        for ratio, level in ((1e-3, "error"), (20.0, "warning")):
            report = made_report({"a": [ratio]})
            report.history.add_unreadable([entry])
            found = [name for name, _, data in _read(report.to_github()) if "index/7" in data]
            assert found[0] == level

    def test_skipped_is_a_warning_and_nothing_compared_an_error(self) -> None:
        commands = _read(check_trial(RECORDED["pytorch_reductions_only"]).to_github())
        assert [name for name, _, _ in commands] == ["error", *["warning"] * 4, "notice"]
        assert "Save the tensors: leave out" in commands[0][2]

    def test_no_more_annotations_than_github_shows(self) -> None:
        commands = _read(made_report({str(i): [math.nan] for i in range(30)}).to_github())
        assert len(commands) == 11
        assert commands[9][2].startswith("and 21 more")

    def test_names_make_no_command_of_their_own(self) -> None:
        names = [*HOSTILE, "\n::stop-commands::x", "100%\r\n::add-mask::y", "%0A::error::z"]
        text = render_github(made_report({name: [20.0] for name in names}).history)
        assert {name for name, _, _ in _read(text)} == {"error", "notice"}
        assert any("%0A::error::z" in data for _, _, data in _read(text))
        assert "\x1b" not in text

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
        assert "`TinyNet_conv1.weight`" in written

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
