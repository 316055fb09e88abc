"""The examples run as they stand, in processes of their own; record_pytorch_smdebug.py needs torch.

Those that record with ``TrialRecorder`` are in test_recording.py, and need frameworks; those of examples/sagemaker/ run
in its document (tests/test_readme.py) and at an endpoint (tests/sagemaker/).
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CAN_WRITE, REPOSITORY, needs_writing
from weight_update_ratio import check_trial

pytestmark = pytest.mark.slow  # servers, browsers, processes


def run_example(*arguments: Any) -> str:
    """Run an example, without the tests' settings of smdebug, and return what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SMDEBUG_")}
    environment["PYTHONPATH"] = str(REPOSITORY)
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", cwd=REPOSITORY, env=environment, timeout=300)
    assert (0, "") == (done.returncode, done.stderr)
    return done.stdout


@pytest.mark.parametrize(
    ("name", "steps", "violations"),
    [("pytorch_healthy", 0, 0), ("pytorch_frozen", 19, 19), ("pytorch_exploding", 19, 76)],
)
def test_invoke_rule(name: str, steps: int, violations: int) -> None:
    """The rule under invoke_rule ends where the trial does, and says how often it fired."""
    printed = run_example("examples/invoke_rule.py", f"examples/trials/{name}")
    ending = f"the trial ends before step 26\nRuleTriggered: {steps}\nViolations: {violations}\nDatapoints: 76\n"
    assert ending in printed
    assert steps == printed.count("WeightUpdateRatio fired at step ")


@pytest.mark.skipif(find_spec("torch") is None or not CAN_WRITE, reason="needs torch, and numpy<2.3, to record with")
@pytest.mark.parametrize(
    ("options", "verdicts"),
    [([], []), (["--freeze", "conv"], ["small"]), (["--lr", "1e6"], ["large", "not_finite"])],
)
def test_record_pytorch_smdebug(tmp_path: Path, options: list[str], verdicts: list[str]) -> None:
    """It trains, records with the hook, and the recorded trial has the verdict that its options ask for."""
    run_example("examples/record_pytorch_smdebug.py", tmp_path / "trial", *options)
    report = check_trial(tmp_path / "trial")
    assert verdicts == sorted({group.verdict for group in report.violations})
    assert 76 == report.counts["comparisons"]


@pytest.mark.parametrize("old_numpy", [pytest.param(True, marks=needs_writing), False])
def test_the_hook_is_not_begun(tmp_path: Path, old_numpy: bool) -> None:
    """Where NumPy is too new or the folder exists, it says so before it needs torch; nothing is written."""
    example = "examples/record_pytorch_smdebug.py"
    program = f"import numpy, runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path({example!r}, run_name='__main__')"
    if not old_numpy and CAN_WRITE:  # a class with the attributes of NumPy 2.3's arrays
        program = f"import numpy; numpy.ndarray = object; {program}"
    command = [sys.executable, "-c", program, example, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", cwd=REPOSITORY, timeout=60)
    assert (2, "") == (done.returncode, done.stdout)
    problem = f"{str(tmp_path)!r} exists already\n\n" if old_numpy else "smdebug cannot record with NumPy "
    assert done.stderr.startswith(f"Error: {problem}")
    assert [] == list(tmp_path.iterdir())
