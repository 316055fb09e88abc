"""Signals: an output file is written whole or not at all, and no end that came early looks like 0 or 1."""

from __future__ import annotations

import os
import random
import re
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest

from tests.conftest import COMMAND, RECORDED, needs_writing, write_whole_trial
from tests.processes import narrow_fifo, wait_until_written

pytestmark = pytest.mark.slow

HEALTHY = RECORDED["pytorch_healthy"]
Start = Callable[..., Any]
# The letter comes before the package's first line; what a signal does before main() is Python's own.
BEGUN = """
import sys
sys.stdout.write("x")
sys.stdout.flush()
from weight_update_ratio.__main__ import main
sys.exit(main())
"""


def interrupted(start: Start, moment: float, numbers: list[signal.Signals], folder: Path) -> tuple[int, str, float]:
    """Run a check that gets signals so long after the package's first line.

    Returns:
        The exit code, the errors, and the seconds from that line to the end.
    """
    arguments = ["check", HEALTHY, "--history", folder / "h.csv", "--output", folder / "r"]
    process = start(*arguments, program=[sys.executable, "-c", BEGUN])
    assert "x" == process.stdout.read(1)
    began = time.monotonic()
    time.sleep(moment)
    for number in numbers:
        process.send_signal(number)
        time.sleep(0.0005)
    errors = process.communicate(timeout=60)[1]
    return process.returncode, errors, time.monotonic() - began


@pytest.mark.parametrize("count", [5, pytest.param(32, marks=pytest.mark.rare)])
@pytest.mark.parametrize(
    ("numbers", "codes"),
    [
        ([signal.SIGINT], {2, -signal.SIGINT}),
        ([signal.SIGINT] * 3, {2, -signal.SIGINT}),
        ([signal.SIGTERM], {143, -signal.SIGTERM}),
    ],
    ids=["Ctrl-C", "three times", "SIGTERM"],
)
def test_at_any_moment(
    start: Start, tmp_path: Path, numbers: list[signal.Signals], codes: set[int], count: int
) -> None:
    """Never 1, and no half file; from main's first line to the last no traceback. 0 where it had ended.

    The time is cut into as many parts as there are moments, and each has one, so that none is left out.
    """
    code, errors, whole = interrupted(start, 0, [], tmp_path)
    assert (0, "") == (code, errors)
    within = random.Random(count)
    moments = [(part + within.random()) / count * 1.3 * whole for part in range(count)]
    with ThreadPoolExecutor(2) as pool:
        ends = list(pool.map(lambda moment: interrupted(start, moment, numbers, tmp_path)[:2], moments))
    assert {code for code, _ in ends} <= {0, *codes}, ends
    assert any(code in codes for code, _ in ends), ends
    for _, errors in ends:
        assert not re.search(r"^Traceback(.|\n)* in (main|end)$|Exception ignored", errors, re.MULTILINE), errors
    assert {"h.csv", "r"} == set(os.listdir(tmp_path))


def test_an_ignored_signal(start: Start, tmp_path: Path) -> None:
    """A shell ignores Ctrl-C for what it runs in the background, and it stays so."""
    fifo = tmp_path / "h.csv"
    line = f"trap '' INT; exec {' '.join(COMMAND)} check {HEALTHY} --quiet --history {fifo}"
    with narrow_fifo(fifo) as reading:
        process = start(line, program=["bash", "-c"])
        wait_until_written(reading)
        process.send_signal(signal.SIGINT)
        os.set_blocking(reading, True)
        with open(reading, closefd=False) as history:
            assert 77 == len(history.readlines())
        assert 0 == process.wait(60)


@needs_writing
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 2)])
def test_while_a_file_is_written(start: Start, tmp_path: Path, number: signal.Signals, code: int) -> None:
    """What was there before is there, nothing else is in the folder, and there is no traceback."""
    tensors = {f"w{each}": (lambda step: np.float32([1 + step])) for each in range(200)}
    trial = write_whole_trial(tmp_path / "trial", tensors, steps=100).path
    (tmp_path / "out").mkdir()
    file = tmp_path / "out" / "history.csv"
    file.write_text("before")
    process = start("check", trial, "--history", file)
    while len(os.listdir(file.parent)) == 1:
        assert process.poll() is None
        time.sleep(0.001)
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert (code, "") == (process.returncode, output)
    assert "Traceback" not in errors
    assert ("before", ["history.csv"]) == (file.read_text(), os.listdir(file.parent))
