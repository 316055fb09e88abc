"""The progress of a check, for a function and in a notebook's kernel; ``test_cli.py`` has that of a terminal."""

from __future__ import annotations

import pytest

from tests.conftest import RECORDED
from weight_update_ratio import check_trial


def test_a_bar_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    report = check_trial(RECORDED["pytorch_healthy"], progress=True)
    assert report.to_json() == check_trial(RECORDED["pytorch_healthy"]).to_json()
    assert capsys.readouterr().out == ""


def test_a_function_is_called_for_every_step() -> None:
    calls: list[tuple[int, int]] = []
    check_trial(RECORDED["pytorch_healthy"], progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, len(calls)) for done in range(1, len(calls) + 1)]


@pytest.mark.parametrize("least_seconds", [0, 1000])
def test_a_notebooks_line_is_written_anew(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], least_seconds: int
) -> None:
    """Not more often than each so many seconds, and at the end."""
    monkeypatch.setattr("weight_update_ratio.render.progress.LEAST_SECONDS", least_seconds)
    check_trial(RECORDED["pytorch_healthy"], progress=True)
    first, *shown = capsys.readouterr().err.split("\r")
    assert ("", 1 if least_seconds else 26) == (first, len(shown))
    assert "checking 26 of 26 steps" == shown[-1].rstrip()
