"""Each benchmark runs in its smallest case; those of nets need torch and scikit-learn, and whole ones take minutes."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.benchmarks import recording
from tests.benchmarks.__main__ import JUDGES, Shape, run, write_trial
from tests.conftest import REPOSITORY, needs_writing, run_python

pytestmark = pytest.mark.slow
TINY = Shape(2, 16, 3)


@pytest.mark.skipif(not (find_spec("torch") and find_spec("sklearn")), reason="needs torch and scikit-learn")
@pytest.mark.parametrize(
    ("program", "options", "shown"),
    [
        ("detection", ["--only", "Embedding", "--seeds", "4", "--steps", "20"], "0 of 4 | 0 of 12 | 0 of 4 |"),
        ("healthy", ["--only", "Transformer LayerNorm / SGD / cosine to 0, 402"], "('weights', 0): 2, ('all', 0): 2}"),
        (
            "verdict",
            ["--only", "NaN in one batch", "--jobs", "1"],
            "one good run: right 1; onset within 3% of the run in 1 of 1",
        ),
        (
            "watched",
            ["--only", "CNN BatchNorm / SGD / scaler skips", "--sick", "NaN in one batch"],
            " 2, of which 0 raise",
        ),
        ("monitor", ["--steps", "3"], "| monitor, every=1 |"),
    ],
)
def test_nets(program: str, options: list[str], shown: str) -> None:
    """Figures of small nets: what is caught, that healthy ones pass, and that a fault is named with its onset."""
    done = run_python("-m", f"tests.benchmarks.{program}", *options, cwd=REPOSITORY)
    assert 0 == done.returncode, done.stderr
    assert shown in done.stdout


@needs_writing
@pytest.mark.parametrize("judge", JUDGES)
def test_judges(judge: str, tmp_path: Path) -> None:
    """Each goes through a trial that smdebug's writer wrote, and compares something."""
    folder = tmp_path / "2x16x3"
    write_trial(folder, TINY)
    result = run(judge, folder)
    assert result.seconds > 0
    assert result.memory > 1


@needs_writing
def test_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("safetensors")
    for name, shape in {"LARGE": TINY, "SMALL": TINY, "TRANSFORMERS": [(1, 4, 5, 3)]}.items():
        monkeypatch.setattr(recording, name, shape)
    done = CliRunner().invoke(recording.main, ["--rounds", "1", "--folder", str(tmp_path)])
    assert 0 == done.exit_code, done.output
    assert ["| TrialRecorder |"] * 2 == [line[:17] for line in done.output.splitlines() if "TrialRecorder" in line]
    assert [] == list(tmp_path.iterdir())
