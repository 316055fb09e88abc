"""The benchmark of detection: what it says where it cannot run; it itself takes minutes and torch."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests.conftest import REPOSITORY


def run(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.benchmarks.detection", *options]
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=60, check=False)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("torch") is not None, reason="torch is installed, so that it would run")
def test_without_torch_it_says_what_to_install() -> None:
    done = run()
    assert (2, "") == (done.returncode, done.stdout)
    assert "pip install torch" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_its_help_needs_no_torch() -> None:
    done = run("--help")
    assert 0 == done.returncode
    assert "--cache" in done.stdout
