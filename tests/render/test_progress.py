"""The progress of a check outside of a terminal; ``test_cli.py`` has that of a terminal."""

from __future__ import annotations

import pytest

from tests.conftest import RECORDED
from weight_update_ratio import check_trial


def test_progress_is_told_of_every_step_and_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """To a function, or by a line that is written anew on stderr."""
    seen: list[tuple[int, int]] = []
    check_trial(RECORDED["pytorch_healthy"], progress=lambda done, total: seen.append((done, total)))
    assert [(number, 26) for number in range(1, 27)] == seen
    report = check_trial(RECORDED["pytorch_healthy"], progress=True)
    shown = "".join(f"\rchecking {done} of 26 steps" for done in range(1, 27)) + "\n"
    assert ("", shown) == capsys.readouterr()
    assert report.to_json() == check_trial(RECORDED["pytorch_healthy"]).to_json()
