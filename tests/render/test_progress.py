"""The progress of a check outside of a terminal; ``test_cli.py`` has that of a terminal."""

from __future__ import annotations

import pytest

from tests.conftest import RECORDED
from weight_update_ratio import check_trial


def test_a_line_is_written_anew_on_stderr_and_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    report = check_trial(RECORDED["pytorch_healthy"], progress=True)
    shown = "".join(f"\rchecking {done} of 26 steps" for done in range(1, 27)) + "\n"
    assert ("", shown) == capsys.readouterr()
    assert report.to_json() == check_trial(RECORDED["pytorch_healthy"]).to_json()
