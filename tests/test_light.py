"""Installed without its dependencies: recorder and monitor need NumPy alone, and what needs more says so."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Callable

import pytest

from tests.conftest import run_python
from weight_update_ratio import RatioMonitor, Report, check_trial

ABSENT = ("bokeh", "boto3", "botocore", "click", "jinja2", "pandas", "rich", "smdebug", "urllib3")
PROGRAM = f"""
import sys
sys.modules.update(dict.fromkeys({ABSENT!r}))  # an import of None raises ModuleNotFoundError
import numpy as np
from weight_update_ratio import RatioMonitor, TrialRecorder

weights = np.ones((4, 4))
monitor = RatioMonitor(every=1, history="run.jsonl", on_fault="raise", log=lambda ratios, step: print(step, ratios))
with TrialRecorder("trial") as recorder:
    for step in range(10):
        weights = weights * 1.01
        recorder.step({{"w": weights}})
        monitor.step({{"w": weights}})
monitor = RatioMonitor(history="run.jsonl", resume=True, baseline="run.jsonl")
report = monitor.report()
for written in report.to_json(), report.to_baseline(), report.to_junit(), report.to_markdown(), report.to_github():
    assert written
print(report.exit_code, len(report), [finding.text for finding in report.findings])
"""


def test_watches_and_records_with_numpy_alone(tmp_path: Path) -> None:
    done = run_python("-c", PROGRAM, cwd=tmp_path)
    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout.startswith("1 {'w': 0.0099999")
    assert done.stdout.endswith("\n0 9 []\n")
    assert 9 == len(check_trial(tmp_path / "trial"))


@pytest.mark.parametrize(
    ("package", "feature", "use"),
    [
        ("pandas", "comparisons()", lambda report: report.comparisons()),
        ("pandas", "summary()", lambda report: report.summary()),
        ("rich", "text", lambda report: report.to_text()),
        ("bokeh", "drawing", lambda report: report.to_html()),
        ("boto3", "s3://", lambda report: RatioMonitor(baseline="s3://bucket/good")),
    ],
)
def test_what_needs_a_package_names_it(
    package: str, feature: str, use: Callable[[Report], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = RatioMonitor(every=1)
    for size in 1.0, 1.01:
        monitor.step({"w": [[size]]})
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "weight_update_ratio.render.text", raising=False)
    with pytest.raises(ImportError) as caught:
        use(monitor.report())
    assert f"{feature} needs {package}, which is not installed: pip install {package}" == str(caught.value)


def test_the_command_names_what_it_needs() -> None:
    program = (
        "import sys, runpy; sys.modules['click'] = None; runpy.run_module('weight_update_ratio', run_name='__main__')"
    )
    done = run_python("-c", program)
    assert (2, "") == (done.returncode, done.stdout)
    assert "the command needs click, which is not installed: pip install click" in done.stderr
