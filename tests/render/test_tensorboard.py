"""Event files, as TensorBoard's own EventAccumulator reads them."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import RECORDED
from tests.reports import HOSTILE, invoke_command, large_report, made_report
from weight_update_ratio import check_trial
from weight_update_ratio.render.tensorboard import FILE_NAME, SCALARS, masked_crcs, run_name, write_tensorboard
from weight_update_ratio.report import Report
from weight_update_ratio.trial.checksum import masked_crc32c

accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def _read(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return {tag: (step, value) of each scalar} as TensorBoard reads it; a record whose checksum is wrong ends it."""
    accumulator = accumulators.EventAccumulator(str(folder), size_guidance={accumulators.SCALARS: 0})
    accumulator.Reload()
    return {
        tag: [(event.step, event.value) for event in accumulator.Scalars(tag)]
        for tag in accumulator.Tags()[accumulators.SCALARS]
    }


def _expected(report: Report, worker: str | None = None) -> dict[str, list[tuple[int, float]]]:
    expected: dict[str, list[tuple[int, float]]] = {}
    for row in report:
        if worker in (None, row.worker):
            log = math.log10(row.ratio) if row.ratio > 0 else (-math.inf if row.ratio == 0 else math.nan)
            for name, value in zip(SCALARS, (log, row.update_norm, row.weight_norm)):
                with np.errstate(over="ignore"):
                    expected.setdefault(f"{name}/{row.tensor}", []).append((row.step, float(np.float32(value))))
    return expected


def _assert_same(found: dict[str, list[tuple[int, float]]], expected: dict[str, list[tuple[int, float]]]) -> None:
    assert sorted(found) == sorted(expected)
    for tag, rows in expected.items():
        assert [step for step, _ in found[tag]] == [step for step, _ in rows]
        np.testing.assert_allclose([value for _, value in found[tag]], [value for _, value in rows], rtol=1e-6)


class TestWriteTensorboard:
    @pytest.mark.parametrize("name", ["pytorch_healthy", "pytorch_frozen", "pytorch_exploding", "tf_keras"])
    def test_every_scalar_is_read_back(self, tmp_path: Path, name: str) -> None:
        report = check_trial(RECORDED[name])
        report.to_tensorboard(str(tmp_path))
        _assert_same(_read(tmp_path), _expected(report))

    def test_steps_of_any_size_and_values_of_any_kind(self, tmp_path: Path) -> None:
        report = made_report({"a": [1e-3, 0.0, math.nan, math.inf, 1e-300, 1e300, 1.0]})
        for row, step in enumerate([0, 127, 128, 16383, 2**31, 2**40, 2**61]):
            report.history.columns["step"][row] = step
        report.history.columns["update_norm"][0] = 1e200  # beyond float32
        write_tensorboard(report.history, str(tmp_path))
        _assert_same(_read(tmp_path), _expected(report))

    def test_workers_are_runs(self, tmp_path: Path) -> None:
        report = made_report({"a": [1e-3, 1e-2]}, workers=("/job:worker/task:0", "../out", ".."))
        write_tensorboard(report.history, str(tmp_path))
        assert sorted(path.name for path in tmp_path.iterdir()) == ["job-worker-task-0", "out", "worker"]
        _assert_same(_read(tmp_path / "out"), _expected(report, "../out"))

    def test_hostile_names_are_tags(self, tmp_path: Path) -> None:
        report = made_report({name: [1e-3] for name in HOSTILE})
        write_tensorboard(report.history, str(tmp_path))
        _assert_same(_read(tmp_path), _expected(report))

    def test_second_writing_takes_the_place_of_the_first(self, tmp_path: Path) -> None:
        for _ in range(2):
            write_tensorboard(made_report({"a": [1e-3]}).history, str(tmp_path))
        assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]
        assert len(_read(tmp_path)["log10_ratio/a"]) == 1

    def test_nothing_compared_writes_nothing(self, tmp_path: Path) -> None:
        write_tensorboard(check_trial(RECORDED["xgboost"]).history, str(tmp_path / "logs"))
        assert list(tmp_path.iterdir()) == []

    def test_half_a_file_is_never_left(self, tmp_path: Path) -> None:
        report: Any = made_report({"a": [1e-3]})
        report.history.columns["ratio"] = None
        with pytest.raises(IndexError):
            write_tensorboard(report.history, str(tmp_path))
        assert list(tmp_path.iterdir()) == []

    def test_a_hundred_thousand_comparisons_take_seconds(self, tmp_path: Path) -> None:
        report = large_report(tensors=20, steps=5000)
        start = time.monotonic()
        write_tensorboard(report.history, str(tmp_path))
        assert time.monotonic() - start < 3


def test_checksums_side_by_side_are_those_one_by_one() -> None:
    payloads = np.random.default_rng(0).integers(0, 256, (50, 37), np.uint8)
    assert masked_crcs(payloads).tolist() == [masked_crc32c(row.tobytes()) for row in payloads]


@pytest.mark.parametrize(
    ("workers", "runs"),
    [
        (["worker_0", "worker_1"], ["worker_0", "worker_1"]),
        (["a/b", "a:b", "c"], ["a-b.0", "a-b.1", "c"]),
        (["a/b", "a:b", "a-b_1", "a-b_0", "a-b.1"], ["a-b.0", "a-b.1", "a-b_1", "a-b_0", "a-b-1"]),
        (["a.1", "a-1", "a_1"], ["a-1.0", "a-1.1", "a_1"]),
        (["Worker", "worker", "WORKER_2"], ["Worker.0", "worker.1", "WORKER_2"]),
        (["..", "/", ""], ["worker.0", "worker.1", "worker.2"]),
        (["x" * 300, "x" * 301], ["x" * 200 + ".0", "x" * 200 + ".1"]),
    ],
)
def test_run_names_are_never_the_same(workers: list[str], runs: list[str]) -> None:
    assert [run_name(workers, number) for number in range(len(workers))] == runs
    assert len({run.lower() for run in runs}) == len(workers)


def test_tensorboard_keeps_such_runs_and_tags_apart(tmp_path: Path) -> None:
    multiplexers = pytest.importorskip("tensorboard.backend.event_processing.event_multiplexer")
    workers = ("a/b", "a:b", "a-b_1", "A-B")
    tensors = {"w/1": [1e-3], "w:1": [1e-2], "W/1": [1e-1], "w_1": [1.0]}
    report = made_report(tensors, workers=workers)
    write_tensorboard(report.history, str(tmp_path))
    multiplexer = multiplexers.EventMultiplexer().AddRunsFromDirectory(str(tmp_path))
    multiplexer.Reload()
    tags = sorted(f"{name}/{tensor}" for name in SCALARS for tensor in tensors)
    assert {"a-b.0", "a-b.1", "a-b_1", "A-B.3"} == set(multiplexer.Runs())
    assert all(tags == sorted(run["scalars"]) for run in multiplexer.Runs().values())


class TestCommand:
    def test_option_writes_the_folder(self, tmp_path: Path) -> None:
        folder = tmp_path / "logs" / "run"
        arguments = ["check", str(RECORDED["pytorch_healthy"]), "--tensorboard", str(folder), "--quiet"]
        assert invoke_command(*arguments).exit_code == 0
        assert len(_read(folder)) == 12

    def test_folder_that_cannot_be_made_is_said(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        arguments = ["check", str(RECORDED["pytorch_healthy"]), "--tensorboard", str(tmp_path / "file" / "logs")]
        result = invoke_command(*arguments)
        assert result.exit_code == 2
        assert "cannot be written: Not a directory" in result.stderr
