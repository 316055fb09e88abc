"""Trainings that are killed while a RatioMonitor writes its history: ``check`` judges it, and the monitor goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.processes import printed_numbers
from weight_update_ratio import RatioMonitor, TrialError, check_trial

KILLS = [5, pytest.param(100, marks=pytest.mark.rare)]
TENSORS = 60  # whose lines take more than a buffer
# Each child trains until it is killed: a moment after it has said that it has done so many steps.
PROGRAM = """
import functools, os, random, sys
from tests.faults.test_killed_monitors import weights
from tests.processes import killed
from weight_update_ratio import RatioMonitor

def train(history, writing):
    monitor = RatioMonitor(1, history=history, resume=True)
    for step in range(100_000):
        monitor.step(weights(step))
        os.write(writing, b"x")

moments = random.Random(int(sys.argv[3]))
for number in range(int(sys.argv[3])):
    history = sys.argv[1] + ("/run.jsonl" if sys.argv[2] == "again" else f"/{number}.jsonl")
    print(killed(functools.partial(train, history), number % 5, moments.uniform(0, 0.004)))
"""


def weights(step: int) -> dict[str, Any]:
    return {f"layers.{layer}.weight": np.full((2, 2), 1 + step / 1000 + layer) for layer in range(TENSORS)}


def rows_of(history: Path) -> Any:
    """Return the rows that ``check`` judges: none of a file whose process was killed before it had one."""
    if b"}" not in history.read_bytes():
        with pytest.raises(TrialError, match="holds no rows"):
            check_trial(history)
        return None
    report = check_trial(history)
    assert (0, []) == (report.exit_code, report.unreadable)
    return report.comparisons()


@pytest.mark.slow
@pytest.mark.parametrize("count", KILLS)
def test_killed_at_any_moment(tmp_path: Path, count: int) -> None:
    """No row is wrong, at most one step is not there as a whole, and a resumed monitor goes on."""
    all_said = printed_numbers(PROGRAM, tmp_path, "anew", count)
    whole = RatioMonitor(1)
    for step in range(max(all_said) + 2):
        whole.step(weights(step))
    expected = whole.report().comparisons()
    for number, said in enumerate(all_said):
        history = tmp_path / f"{number}.jsonl"
        if not history.exists():
            assert said == 0
            continue
        content, rows = history.read_bytes(), rows_of(history)
        seen = 0 if rows is None else len(rows)
        assert rows is None or rows.equals(expected.head(seen))
        assert TENSORS * (said - 1) <= seen <= TENSORS * max(said, 1)
        next_step = 0 if rows is None else int(rows["step"].max()) + 1
        resumed = RatioMonitor(1, history=history, resume=True)
        for step in range(next_step, next_step + 3):
            resumed.step(weights(step))
        again = rows_of(history)
        assert again.equals(resumed.report().comparisons())
        assert again.head(seen).equals(expected.head(seen))
        assert [next_step + 1, next_step + 2] == sorted(set(again["step"][seen:]))
        assert history.read_bytes().startswith(content[: content.rfind(b"\n") + 1])


@pytest.mark.slow
@pytest.mark.parametrize("count", KILLS)
def test_killed_again_and_again(tmp_path: Path, count: int) -> None:
    """Each life is measured but for its first step, and but for the one that it was killed in."""
    said = printed_numbers(PROGRAM, tmp_path, "again", count)
    steps = sorted(set(rows_of(tmp_path / "run.jsonl")["step"]))
    assert sum(max(0, steps - 1) for steps in said) <= len(steps) <= sum(said)


def test_cut_at_any_byte(tmp_path: Path) -> None:
    """What is whole is judged and kept, and a resumed monitor goes on, as if it had been killed while it wrote."""
    history = tmp_path / "run.jsonl"
    monitor = RatioMonitor(1, history=history, tensor_regex=r"layers\.[01]\.")
    for step in range(3):
        monitor.step(weights(step))
    content, expected = history.read_bytes(), monitor.report().comparisons()
    for size in range(len(content)):
        history.write_bytes(content[:size])
        rows = rows_of(history)
        seen = 0 if rows is None else len(rows)
        assert seen == content[: size + 1].count(b"\n")  # the newline alone may be lacking
        assert rows is None or rows.equals(expected.head(seen))
        whole = content[: size + 1].rfind(b"\n") + 1 if b"\n" in content[:size] else 0
        resumed = RatioMonitor(1, history=history, resume=True)
        assert content[:whole] == history.read_bytes()
        assert content[:whole].count(b"\n") == len(resumed.report())
