"""Installed without its dependencies: recorder and monitor need NumPy alone, and what needs more says so."""

from __future__ import annotations

import ast
import os
import sys
from pathlib import Path
from typing import Any, Callable

import pytest

from tests.conftest import RECORDED, run_python
from tests.reports import check
from weight_update_ratio import RatioMonitor, Report, check_trial

ABSENT = ("bokeh", "boto3", "botocore", "click", "jinja2", "pandas", "rich", "smdebug", "urllib3")
PROGRAM = """
import sys
before = {*sys.modules, *getattr(sys, "stdlib_module_names", ())}
sys.modules.update(dict.fromkeys(sys.argv[1:]))  # an import of None raises ModuleNotFoundError
import numpy as np
from weight_update_ratio import RatioMonitor, TrialRecorder

weights = np.ones((4, 4))
monitor = RatioMonitor(every=1, history="run.jsonl", on_fault="raise", log=lambda ratios, step: print(step, ratios))
with TrialRecorder("trial") as recorder:
    for step in range(10):
        weights = weights * 1.01
        recorder.step({"w": weights})
        monitor.step({"w": weights})
monitor = RatioMonitor(history="run.jsonl", resume=True, baseline="run.jsonl")
report = monitor.report()
for written in report.to_json(), report.to_baseline(), report.to_junit(), report.to_markdown(), report.to_github():
    assert written
print(report.exit_code, len(report), [finding.text for finding in report.findings])
print({name.partition(".")[0] for name, module in sys.modules.items() if module and name[0] != "_"} - before)
"""


@pytest.mark.parametrize("absent", [ABSENT, ()], ids=["absent", "installed"])
def test_watches_and_records_with_numpy_alone(tmp_path: Path, absent: tuple[str, ...]) -> None:
    """Whether the others are installed or not."""
    done = run_python("-W", "error", "-c", PROGRAM, *absent, cwd=tmp_path)
    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout.startswith("1 {'w': 0.0099999")
    *_, verdict, loaded = done.stdout.splitlines()
    assert "0 9 []" == verdict
    if sys.version_info >= (3, 10):  # which says which modules are its own
        assert {"numpy", "weight_update_ratio"} == ast.literal_eval(loaded)
    assert 9 == len(check_trial(tmp_path / "trial"))


@pytest.mark.parametrize(
    ("package", "feature", "use"),
    [
        ("pandas", "comparisons()", lambda report: report.comparisons()),
        ("pandas", "summary()", lambda report: report.summary()),
        ("bokeh", "drawing", lambda report: report.to_html()),
        ("jinja2", "drawing", lambda report: report.plot()),
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
    with pytest.raises(ImportError) as caught:
        use(monitor.report())
    assert f"{feature} needs {package}, which is not installed: pip install {package}" == str(caught.value)


def test_text_is_markdown_without_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    monkeypatch.delitem(sys.modules, "weight_update_ratio.render.text", raising=False)
    report = check_trial(RECORDED["pytorch_frozen"])
    assert report.to_markdown() == report.to_text()


@pytest.mark.parametrize(
    ("package", "name", "extra", "option", "value"),
    [
        ("pyarrow", "pyarrow", "parquet", "--history", "rows.parquet"),
        ("bokeh", "bokeh", "report", "--html", "r.html"),
        ("jinja2", "jinja2", "report", "--html", "r.html"),
        ("distributed", "Dask", "dask", "--dask", "tcp://127.0.0.1:1"),
    ],
)
def test_an_option_that_needs_a_package_names_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, name: str, extra: str, option: str, value: str
) -> None:
    """Before the trial is read."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, package, None)
    message = f"Error: '{option}' needs {name}, which is not installed\n\npip install 'weight-update-ratio[{extra}]'\n"
    assert (2, "", message) == check(RECORDED["pytorch_frozen"], option, value)
    assert [] == os.listdir(tmp_path)


def test_the_command_names_what_it_needs() -> None:
    program = (
        "import sys, runpy; sys.modules['click'] = None; runpy.run_module('weight_update_ratio', run_name='__main__')"
    )
    done = run_python("-c", program)
    assert (2, "") == (done.returncode, done.stdout)
    assert "the command needs click, which is not installed: pip install click" in done.stderr
