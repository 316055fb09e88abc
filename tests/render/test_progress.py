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


def test_outside_of_a_terminal_a_line_is_written_anew(capsys: pytest.CaptureFixture[str]) -> None:
    check_trial(RECORDED["pytorch_healthy"], progress=True)
    assert "".join(f"\rchecking {done} of 26 steps" for done in range(1, 27)) + "\n" == capsys.readouterr().err
