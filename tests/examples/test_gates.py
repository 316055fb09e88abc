"""The example gates for CI are open for a healthy trial, and closed for a frozen one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from weight_update_ratio import check_trial

pytestmark = pytest.mark.slow  # servers, browsers, processes

EXAMPLES = REPOSITORY / "examples"
FLOAT = re.compile(r"-?[0-9]+\.[0-9]+(?:e-?[0-9]+)?")


def _environment(**variables: str) -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, **variables}


class TestGates:
    @pytest.mark.parametrize(("name", "code"), [("pytorch_healthy", 0), ("pytorch_frozen", 1)])
    def test_pytest_gate(self, name: str, code: int, tmp_path: Path) -> None:
        test = shutil.copy(EXAMPLES / "ci" / "test_recorded_trial.py", tmp_path)
        shutil.copy(EXAMPLES / "ci" / "baseline.json", tmp_path)
        ran = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test],
            cwd=tmp_path,
            env=_environment(TRIAL=str(EXAMPLES / "trials" / name)),
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == code, ran.stdout
        assert ("TinyNet_conv1.weight" in ran.stdout) == (code == 1)

    def test_the_baseline_is_that_of_the_healthy_trial(self) -> None:
        """But for the last digits, which depend on the processor."""
        saved = check_trial(EXAMPLES / "trials" / "pytorch_healthy").to_baseline()
        committed = (EXAMPLES / "ci" / "baseline.json").read_text(encoding="utf-8")
        assert FLOAT.sub("", committed) == FLOAT.sub("", saved)
        numbers = [float(number) for number in FLOAT.findall(saved)]
        assert numbers == pytest.approx([float(number) for number in FLOAT.findall(committed)], rel=1e-12)

    @pytest.mark.parametrize(("name", "code"), [("pytorch_healthy", 0), ("pytorch_frozen", 1)])
    def test_workflow_gate(self, name: str, code: int, tmp_path: Path) -> None:
        yaml = pytest.importorskip("yaml")
        pytest.importorskip("bokeh")
        workflow = yaml.safe_load((EXAMPLES / "ci" / "weight-update-ratio.yml").read_text(encoding="utf-8"))
        steps = workflow["jobs"]["recorded-trial"]["steps"]
        (step,) = (step for step in steps if step.get("name") == "Judge the recorded trial")
        command = step["run"].replace("examples/trials/pytorch_healthy", str(EXAMPLES / "trials" / name))
        command = command.replace("examples/ci/baseline.json", str(EXAMPLES / "ci" / "baseline.json"))
        ran = subprocess.run(
            [sys.executable, "-m", "weight_update_ratio", *command.split()[1:]],
            cwd=tmp_path,
            env=_environment(GITHUB_STEP_SUMMARY=str(tmp_path / "summary.md")),
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == code, ran.stderr
        assert ran.stdout.count("::error ") == code
        assert (tmp_path / "summary.md").read_text(encoding="utf-8").startswith("### ")
        upload = next(step for step in steps if "upload-artifact" in step.get("uses", ""))
        assert (tmp_path / upload["with"]["path"]).is_file()
