"""The examples run as they are, each in a new process; record_pytorch_smdebug.py needs torch.

Those that record with ``TrialRecorder`` are in test_recording.py, and need frameworks; those of examples/sagemaker/ run
in its document (tests/test_readme.py) and at an endpoint (tests/sagemaker/).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CAN_WRITE, RECORDED, REPOSITORY, needs_writing
from weight_update_ratio import check_trial

pytestmark = pytest.mark.slow  # servers, browsers, processes

EXAMPLES = REPOSITORY / "examples"
FLOAT = re.compile(r"-?[0-9]+\.[0-9]+(?:e-?[0-9]+)?")
GATES = [("pytorch_healthy", 0), ("pytorch_frozen", 1)]


def run_python(*arguments: Any, cwd: Path = REPOSITORY, **variables: Any) -> subprocess.CompletedProcess[str]:
    """Run Python, without the tests' settings of smdebug."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SMDEBUG_")}
    environment.update(PYTHONPATH=str(REPOSITORY), **{name: str(value) for name, value in variables.items()})
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, encoding="utf-8", cwd=cwd, env=environment, timeout=300)


@pytest.mark.parametrize(
    ("name", "steps", "violations"),
    [("pytorch_healthy", 0, 0), ("pytorch_frozen", 19, 19), ("pytorch_exploding", 19, 76)],
)
def test_invoke_rule(name: str, steps: int, violations: int) -> None:
    """The rule under invoke_rule ends where the trial does, and says how often it fired."""
    done = run_python("examples/invoke_rule.py", f"examples/trials/{name}")
    assert (0, "") == (done.returncode, done.stderr)
    ending = f"the trial ends before step 26\nRuleTriggered: {steps}\nViolations: {violations}\nDatapoints: 76\n"
    assert ending in done.stdout
    assert steps == done.stdout.count("WeightUpdateRatio fired at step ")


@pytest.mark.skipif(find_spec("torch") is None or not CAN_WRITE, reason="needs torch, and numpy<2.3, to record with")
@pytest.mark.parametrize(
    ("options", "verdicts"),
    [([], []), (["--freeze", "conv"], ["small"]), (["--lr", "1e6"], ["large", "not_finite"])],
)
def test_record_pytorch_smdebug(tmp_path: Path, options: list[str], verdicts: list[str]) -> None:
    """It trains, records with the hook, and the recorded trial has the verdict that its options ask for."""
    done = run_python("examples/record_pytorch_smdebug.py", tmp_path / "trial", *options)
    assert (0, "") == (done.returncode, done.stderr)
    report = check_trial(tmp_path / "trial")
    assert verdicts == sorted({group.verdict for group in report.violations})
    assert 76 == report.counts["comparisons"]


@pytest.mark.parametrize("old_numpy", [pytest.param(True, marks=needs_writing), False])
def test_the_hook_is_not_begun(tmp_path: Path, old_numpy: bool) -> None:
    """If NumPy is too new or the folder exists, it says so before it needs torch; nothing is written."""
    example = "examples/record_pytorch_smdebug.py"
    program = f"import numpy, runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path({example!r}, run_name='__main__')"
    if not old_numpy and CAN_WRITE:  # a class with the attributes of NumPy 2.3's arrays
        program = f"import numpy; numpy.ndarray = object; {program}"
    done = run_python("-c", program, example, tmp_path)
    assert (2, "") == (done.returncode, done.stdout)
    problem = f"{str(tmp_path)!r} exists already\n\n" if old_numpy else "smdebug cannot record with NumPy "
    assert done.stderr.startswith(f"Error: {problem}")
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "code"), GATES)
def test_pytest_gate(name: str, code: int, tmp_path: Path) -> None:
    """It is open for a healthy trial, and closed for a frozen one."""
    for file in ("test_recorded_trial.py", "baseline.json"):
        shutil.copy(EXAMPLES / "ci" / file, tmp_path)
    options = ["-q", "-p", "no:cacheprovider", "test_recorded_trial.py"]
    done = run_python("-m", "pytest", *options, cwd=tmp_path, TRIAL=RECORDED[name])
    assert code == done.returncode, done.stdout
    assert ("TinyNet_conv1.weight" in done.stdout) == (code == 1)


@pytest.mark.parametrize(("name", "code"), GATES)
def test_workflow_gate(name: str, code: int, tmp_path: Path) -> None:
    """It annotates, writes a summary, and uploads a page that is there."""
    yaml = pytest.importorskip("yaml")
    pytest.importorskip("bokeh")
    workflow = yaml.safe_load((EXAMPLES / "ci" / "weight-update-ratio.yml").read_text(encoding="utf-8"))
    steps = workflow["jobs"]["recorded-trial"]["steps"]
    (step,) = (step for step in steps if step.get("name") == "Judge the recorded trial")
    command = step["run"].replace("examples/trials/pytorch_healthy", str(RECORDED[name]))
    command = command.replace("examples/ci/baseline.json", str(EXAMPLES / "ci" / "baseline.json"))
    summary = tmp_path / "summary.md"
    done = run_python("-m", "weight_update_ratio", *command.split()[1:], cwd=tmp_path, GITHUB_STEP_SUMMARY=summary)
    assert code == done.returncode, done.stderr
    assert code == done.stdout.count("::error ")
    assert summary.read_text(encoding="utf-8").startswith("### ")
    upload = next(step for step in steps if "upload-artifact" in step.get("uses", ""))
    assert (tmp_path / upload["with"]["path"]).is_file()


def test_the_baseline_is_that_of_the_healthy_trial() -> None:
    """Except the last digits, which depend on the processor."""
    saved = check_trial(RECORDED["pytorch_healthy"]).to_baseline()
    committed = (EXAMPLES / "ci" / "baseline.json").read_text(encoding="utf-8")
    assert FLOAT.sub("", committed) == FLOAT.sub("", saved)
    numbers, expected = ([float(number) for number in FLOAT.findall(text)] for text in (saved, committed))
    assert numbers == pytest.approx(expected, rel=1e-12)


def shown_by_cells(notebook: Any) -> list[str]:
    """Return what reports and rules showed of themselves, and printed lines."""
    shown = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            html = "".join(output.get("data", {}).get("text/html", ""))
            shown += [html] if "weight-update-ratio" in html else []
            shown += [output.text.rpartition("\r")[2]] if output.output_type == "stream" else []
    return shown


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebook_runs_to_its_committed_outputs(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is small, and says nothing of who ran it."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    committed, notebook = (nbformat.read(path, as_version=4) for _ in range(2))
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(EXAMPLES)}}).execute()
    assert shown_by_cells(notebook) == shown_by_cells(committed) != []
    text = path.read_text(encoding="utf-8")
    assert len(text) < 200_000
    assert not re.search(r"/(?:home|root|tmp|work|Users)/", text)
