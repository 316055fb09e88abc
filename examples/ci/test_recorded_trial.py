"""A test for your own suite: it fails where a recorded trial cannot be judged, or differs from a run that trains well.

The baseline is that run: ``weight-update-ratio check GOOD --save-baseline baseline.json``, committed beside this test.
"""

import os
from pathlib import Path

from weight_update_ratio import check_trial

TRIAL = os.environ.get("TRIAL", Path(__file__).parent.parent / "trials" / "pytorch_healthy")
BASELINE = os.environ.get("BASELINE", Path(__file__).parent / "baseline.json")


def test_every_weight_is_updated_as_in_a_good_run() -> None:
    report = check_trial(TRIAL, baseline=BASELINE)
    assert report.exit_code == 0, report.to_text()
