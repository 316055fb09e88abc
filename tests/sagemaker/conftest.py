"""Environments like the evaluator's, each built once in a run of the tests however many processes that has."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Callable, Iterator

import pytest

from tests.shared import run_folder, shared


def find_python(version: str) -> str | None:
    """Return a Python of this version: this one, one on the path, or one of pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [sys.executable, shutil.which(f"python{version}"), *sorted(pyenv.glob(f"{version}.*/bin/python"))]
    for python in filter(None, candidates):
        code = "import sys; print('%d.%d' % sys.version_info[:2])"
        result = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
        if result.stdout.strip() == version:
            return str(python)
    return None


def build(python: str, folder: Path) -> None:
    """Make an environment with smdebug, NumPy and what smdebug does not declare, without this package."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    subprocess.run([python, "-m", "venv", "--clear", folder], env=environment, check=True)
    needs = ["smdebug>=1.0.34,<1.1", "numpy<2.3", "requests", "pandas", "psutil"]
    install = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *needs]
    result = subprocess.run(install, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.fixture(scope="session")
def evaluators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str | None]]:
    """Give a function that returns the Python of an environment of a version; None where there is no such Python."""
    base = run_folder(tmp_path_factory)
    found: dict[str, str] = {}
    with contextlib.ExitStack() as stack:

        def evaluator(version: str) -> str | None:
            python = find_python(version)
            if python is not None and version not in found:
                folder = base / f"evaluator-{version}"
                stack.enter_context(shared(folder, lambda: build(python, folder)))  # 300 MB, gone when nobody needs it
                found[version] = str(folder / "bin" / "python")
            return found.get(version)

        yield evaluator


@pytest.fixture(scope="session", params=["3.7", "3.11"])
def evaluator_python(request: pytest.FixtureRequest, evaluators: Callable[[str], str | None]) -> str:
    """Give a Python as the evaluator's: with smdebug, NumPy and what smdebug does not declare, without this package."""
    python = evaluators(request.param)
    if python is None:
        pytest.skip(f"Python {request.param} is neither on the path nor in pyenv, so the single file is not run on it")
    return python
