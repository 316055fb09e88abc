"""Trials on a disk: what the system gives is judged, in whatever parts it gives it, and within what it allows."""

from __future__ import annotations

import os
import shutil
import stat
import tracemalloc
from pathlib import Path

import pytest

from tests.conftest import RECORDED
from weight_update_ratio import check_trial
from weight_update_ratio.storage import disk
from weight_update_ratio.storage.disk import DiskStorage

HEALTHY = RECORDED["pytorch_healthy"]


def test_a_trial_in_the_home_folder_and_behind_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tilde is the home folder, and the trial stays as it was named."""
    (tmp_path / "trial").symlink_to(HEALTHY)
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in ("~/trial", str(tmp_path / "trial")):
        report = check_trial(path)
        assert (path, list(check_trial(HEALTHY))) == (report.trial, list(report))


def test_files_that_shrink_while_they_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    trial = Path(shutil.copytree(HEALTHY, tmp_path / "trial"))
    sizes = os.fstat

    def longer(file: int) -> os.stat_result:
        status = list(sizes(file))
        status[stat.ST_SIZE] *= 100
        return os.stat_result(status)

    for file in trial.glob("events/*/*"):
        os.truncate(file, 40)
    monkeypatch.setattr(disk.os, "fstat", longer)
    report = check_trial(trial)
    assert (0, 2) == (len(report), report.exit_code)
    assert "while the index names bytes" in report.unreadable[0].reason


def test_a_folder_that_cannot_be_listed(tmp_path: Path) -> None:
    trial = Path(shutil.copytree(HEALTHY, tmp_path / "trial"))
    shutil.rmtree(trial / "index")
    (trial / "index").touch()
    report = check_trial(trial)
    assert ("index", "cannot be read (Not a directory)") in {(entry.file, entry.reason) for entry in report.unreadable}
    assert 2 == report.exit_code


def test_little_memory_is_kept_that_nobody_uses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "SPARE_BYTES", 4 << 20)
    (tmp_path / "large").write_bytes(bytes(2 << 20))
    storage = DiskStorage(str(tmp_path))
    tracemalloc.start()
    try:
        for size in range(1 << 20, 2 << 20, 1 << 14):
            assert size == len(storage.span("large", 0, size))
        assert tracemalloc.get_traced_memory()[0] < 8 << 20
    finally:
        tracemalloc.stop()
