"""Event files, as TensorBoard's own EventAccumulator reads them."""

from __future__ import annotations

import math
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import RECORDED
from tests.reports import HOSTILE, invoke_command, large_report, made_report
from tests.sick_runs import resnet_names, sick_transformer, transformer_names
from weight_update_ratio import check_trial
from weight_update_ratio.render.tensorboard import (
    FILE_NAME,
    LEVELS,
    MOST_OF_A_MODULE,
    SCALARS,
    masked_crcs,
    run_name,
    tensor_tags,
    write_tensorboard,
)
from weight_update_ratio.report import Report
from weight_update_ratio.trial.wire_format import masked_crc32c

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
    """Return what TensorBoard is to read, told row by row."""
    expected: dict[str, list[tuple[int, float]]] = {}
    logs: dict[int, list[float]] = {}
    violations: dict[int, int] = {}
    tags = dict(zip(report.tensors, tensor_tags(list(report.tensors))))
    for row in report:
        if worker in (None, row.worker):
            log = math.log10(row.ratio) if row.ratio > 0 else (-math.inf if row.ratio == 0 else math.nan)
            for name, value in zip(SCALARS, (log, row.update_norm, row.weight_norm)):
                with np.errstate(over="ignore"):
                    expected.setdefault(f"{tags[row.tensor]}/{name}", []).append((row.step, float(np.float32(value))))
            violations[row.step] = violations.get(row.step, 0) + (row.verdict != "ok")
            if math.isfinite(log):
                logs.setdefault(row.step, []).append(log)
    for step, own in sorted(logs.items()):
        for name, value in zip(LEVELS, (statistics.median(own), max(own), min(own))):
            expected.setdefault(f"_overview/{name}", []).append((step, value))
    expected["_overview/violations"] = sorted(violations.items())
    return expected


def _groups(tags: list[str]) -> dict[str, list[str]]:
    """Return TensorBoard's groups, {up to the first slash: tags}."""
    groups: dict[str, list[str]] = {}
    for tag in tags:
        groups.setdefault(tag.split("/")[0], []).append(tag)
    return groups


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
            report.columns["step"][row] = step
        report.columns["update_norm"][0] = 1e200  # beyond float32
        write_tensorboard(report, str(tmp_path))
        _assert_same(_read(tmp_path), _expected(report))

    def test_workers_are_runs(self, tmp_path: Path) -> None:
        report = made_report({"a": [1e-3, 1e-2]}, workers=("/job:worker/task:0", "../out", ".."))
        write_tensorboard(report, str(tmp_path))
        assert sorted(path.name for path in tmp_path.iterdir()) == ["job-worker-task-0", "out", "worker"]
        _assert_same(_read(tmp_path / "out"), _expected(report, "../out"))

    def test_hostile_names_are_tags(self, tmp_path: Path) -> None:
        report = made_report({name: [1e-3] for name in HOSTILE})
        write_tensorboard(report, str(tmp_path))
        _assert_same(_read(tmp_path), _expected(report))

    def test_second_writing_takes_the_place_of_the_first(self, tmp_path: Path) -> None:
        for _ in range(2):
            write_tensorboard(made_report({"a": [1e-3]}), str(tmp_path))
        assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]
        assert len(_read(tmp_path)["model/a/log10_ratio"]) == 1

    def test_nothing_compared_writes_nothing(self, tmp_path: Path) -> None:
        write_tensorboard(check_trial(RECORDED["xgboost"]), str(tmp_path / "logs"))
        assert list(tmp_path.iterdir()) == []

    def test_half_a_file_is_never_left(self, tmp_path: Path) -> None:
        report: Any = made_report({"a": [1e-3]})
        report.columns["ratio"] = None
        with pytest.raises(IndexError):
            write_tensorboard(report, str(tmp_path))
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.no_cover
    def test_a_hundred_thousand_comparisons_take_seconds(self, tmp_path: Path) -> None:
        report = large_report(tensors=20, steps=5000)
        start = time.monotonic()
        write_tensorboard(report, str(tmp_path))
        assert time.monotonic() - start < 3


class TestOverview:
    def test_every_value(self, tmp_path: Path) -> None:
        """Zero and what is not finite are violations, and no level; a step without another ratio has none."""
        report = made_report(
            {"a": [1e-3, 0.0, 1e-2, math.nan], "b": [1e-5, 1e-4, math.inf, 0.0], "c": [1e-1, 1e2, None, None]}
        )
        write_tensorboard(report, str(tmp_path))
        found = {
            tag: [(step, round(value, 5)) for step, value in rows]
            for tag, rows in _read(tmp_path).items()
            if tag.startswith("_overview/")
        }
        assert found == {
            "_overview/median_log10_ratio": [(1, -3.0), (2, -1.0), (3, -2.0)],
            "_overview/highest_log10_ratio": [(1, -1.0), (2, 2.0), (3, -2.0)],
            "_overview/lowest_log10_ratio": [(1, -5.0), (2, -4.0), (3, -2.0)],
            "_overview/violations": [(1, 0.0), (2, 2.0), (3, 1.0), (4, 2.0)],
        }

    def test_without_a_level_only_violations(self, tmp_path: Path) -> None:
        write_tensorboard(made_report({"a": [0.0, 0.0]}), str(tmp_path))
        assert [tag for tag in _read(tmp_path) if "overview" in tag] == ["_overview/violations"]

    @pytest.mark.no_cover
    def test_each_run_has_its_own(self, tmp_path: Path) -> None:
        """One worker's large updates are not another's."""
        report = sick_transformer(steps=6)
        write_tensorboard(report, str(tmp_path))
        for worker in ("worker_0", "worker_2"):
            _assert_same(_read(tmp_path / worker), _expected(report, worker))


class TestTensorTags:
    def test_transformer_has_a_group_a_block(self) -> None:
        groups = _groups(tensor_tags(transformer_names()))
        assert list(groups) == ["embed", *(f"decoder.layers.{layer}" for layer in range(24)), "head"]
        assert groups["decoder.layers.5"][:2] == [
            "decoder.layers.5/self_attn.q_proj.weight",
            "decoder.layers.5/self_attn.q_proj.bias",
        ]

    def test_resnet_has_some_groups(self) -> None:
        groups = _groups(tensor_tags(resnet_names()))
        assert list(groups) == [
            *("conv1", "bn1", "layer1", "layer2.0", "layer2.1", "layer2.2", "layer2.3"),
            *(f"layer3.{block}" for block in range(6)),
            *("layer4", "fc"),
        ]

    @pytest.mark.parametrize(
        ("name", "tag"),
        [
            ("conv2d/weights/conv2d/kernel:0", "conv2d/weights/conv2d/kernel:0"),
            ("DistributedDataParallel_module.fc1.weight", "model.DistributedDataParallel_module/fc1.weight"),
            ("w", "model/w"),
            ("0.weight", "model.0/weight"),
            ("_private.weight", "model._private/weight"),
            ("_overview/violations", "model._overview/violations"),
            ("/job:a/w", "model..job:a/w"),
            ("a.", "a/"),
            ("..", "model../"),
            ("/", "model//"),
            ("", "model/"),
            ("\ud800.w", "model.\\ud800/w"),
        ],
    )
    def test_one_name(self, name: str, tag: str) -> None:
        assert tensor_tags([name]) == [tag]

    def test_a_module_of_many_tensors_is_split_as_far_as_its_names_go(self) -> None:
        names = [f"a.b/w{number}" for number in range(MOST_OF_A_MODULE + 1)] + ["a.c/w", "a.w"]
        assert list(_groups(tensor_tags(names))) == ["a.b", "a.c", "a"]
        assert list(_groups(tensor_tags(names[1:-2]))) == ["a"]

    def test_names_that_would_share_a_tag_are_told_apart(self) -> None:
        names = ["m.w", "m/w", "m/w (2)", "model.w", "w", "\ud800", "\\ud800"]
        assert tensor_tags(names) == [
            *("m/w", "m/w (2)", "m/w (2) (2)"),
            *("model/w", "model/w (2)", "model/\\ud800", "model/\\ud800 (2)"),
        ]

    @given(st.lists(st.text("aZ./_0 (2)\u00e9", max_size=8), unique=True))
    def test_no_two_are_the_same_and_the_overview_is_first(self, names: list[str]) -> None:
        """TensorBoard sorts slashes and digits first, all else by character; its older tab the underscore first too."""
        tags = tensor_tags(names)
        assert len(set(tags)) == len(names)
        assert all(tag[0] > "_" for tag in tags)
        assert all(tag.count("/") >= 1 for tag in tags)


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
    write_tensorboard(report, str(tmp_path))
    multiplexer = multiplexers.EventMultiplexer().AddRunsFromDirectory(str(tmp_path))
    multiplexer.Reload()
    tags = sorted(f"{tag}/{name}" for tag in tensor_tags(list(tensors)) for name in SCALARS)
    tags += sorted(f"_overview/{name}" for name in (*LEVELS, "violations"))
    tags.sort()
    assert {"a-b.0", "a-b.1", "a-b_1", "A-B.3"} == set(multiplexer.Runs())
    assert all(tags == sorted(run["scalars"]) for run in multiplexer.Runs().values())


class TestCommand:
    def test_option_writes_the_folder(self, tmp_path: Path) -> None:
        folder = tmp_path / "logs" / "run"
        arguments = ["check", str(RECORDED["pytorch_healthy"]), "--tensorboard", str(folder), "--quiet"]
        assert invoke_command(*arguments).exit_code == 0
        assert len(_read(folder)) == 4 * 3 + 4
        assert "model.TinyNet_conv1/weight/log10_ratio" in _read(folder)

    def test_folder_that_cannot_be_made_is_said(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        arguments = ["check", str(RECORDED["pytorch_healthy"]), "--tensorboard", str(tmp_path / "file" / "logs")]
        result = invoke_command(*arguments)
        assert result.exit_code == 2
        assert "cannot be written: Not a directory" in result.stderr
