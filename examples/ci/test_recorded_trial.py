"""A test for your own suite: it fails where a recorded trial cannot be judged, or where the rule fires on it."""

import os
from pathlib import Path

from weight_update_ratio import check_trial

TRIAL = os.environ.get("TRIAL", Path(__file__).parent.parent / "trials" / "pytorch_healthy")


def test_every_weight_is_updated_neither_too_much_nor_too_little() -> None:
    report = check_trial(TRIAL)
    assert report.exit_code == 0, report.to_text()
