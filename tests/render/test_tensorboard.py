"""Event files, as TensorBoard's own EventAccumulator reads them."""

from __future__ import annotations

import math
import statistics
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import RECORDED
from tests.reports import HOSTILE, check, made_report
from tests.sick_runs import resnet_names, transformer_names
from weight_update_ratio import check_trial
from weight_update_ratio.render.tensorboard import LEVELS, SCALARS, tensor_tags
from weight_update_ratio.report import Report

accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
Scalars = dict[str, list[tuple[int, float]]]


def read(folder: Path) -> Scalars:
    """Return {tag: (step, value) of each scalar} as TensorBoard reads it; a record whose checksum is wrong ends it."""
    accumulator = accumulators.EventAccumulator(str(folder), size_guidance={accumulators.SCALARS: 0})
    accumulator.Reload()
    tags = accumulator.Tags()[accumulators.SCALARS]
    return {tag: [(event.step, event.value) for event in accumulator.Scalars(tag)] for tag in tags}


def expected_scalars(report: Report, worker: str | None = None) -> Scalars:
    """Return what TensorBoard is to read, row by row."""
    expected: Scalars = {}
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


def assert_same(scalars: Scalars, expected: Scalars) -> None:
    assert sorted(scalars) == sorted(expected)
    for tag, rows in expected.items():
        assert [step for step, _ in scalars[tag]] == [step for step, _ in rows]
        np.testing.assert_allclose([value for _, value in scalars[tag]], [value for _, value in rows], rtol=1e-6)


@pytest.mark.parametrize("name", ["pytorch_healthy", "pytorch_exploding", "tf_keras"])
def test_every_scalar_of_a_recording_is_read_back(tmp_path: Path, name: str) -> None:
    report = check_trial(RECORDED[name])
    report.to_tensorboard(str(tmp_path))
    assert_same(read(tmp_path), expected_scalars(report))


def test_steps_of_any_size_values_of_any_kind_and_hostile_names_are_read_back(tmp_path: Path) -> None:
    rest = {name: [1e-3] for name in HOSTILE}
    report = made_report({"a": [1e-3, 0.0, math.nan, math.inf, 1e-300, 1e300, 1.0], **rest})
    for step, new in zip(range(1, 8), [0, 127, 128, 16383, 2**31, 2**40, 2**61]):
        report.columns["step"][report.columns["global_step"] == step] = new
    report.columns["update_norm"][0] = 1e200  # beyond float32
    report.to_tensorboard(str(tmp_path))
    assert_same(read(tmp_path), expected_scalars(report))


def test_workers_are_runs_of_their_own_whatever_their_names_and_those_of_tensors(tmp_path: Path) -> None:
    """As TensorBoard's multiplexer finds them in the folder; no two names are the same, in capitals or not."""
    multiplexers = pytest.importorskip("tensorboard.backend.event_processing.event_multiplexer")
    workers = ("a/b", "a:b", "a-b_1", "A-B", "../out", "..", "/", "x" * 200, "x" * 201)
    report = made_report({"w/1": [1e-3], "w:1": [1e-2], "W/1": [1e-1], "w_1": [1.0]}, workers=workers)
    report.to_tensorboard(str(tmp_path / "logs"))
    multiplexer = multiplexers.EventMultiplexer().AddRunsFromDirectory(str(tmp_path / "logs"))
    multiplexer.Reload()
    long = ["x" * 200 + ".7", "x" * 200 + ".8"]
    runs = dict(zip(["a-b.0", "a-b.1", "a-b_1", "A-B.3", "out", "worker.5", "worker.6", *long], workers))
    assert set(runs) == set(multiplexer.Runs())
    for run, worker in runs.items():
        assert_same(read(tmp_path / "logs" / run), expected_scalars(report, worker))


def test_a_second_writing_takes_the_place_of_the_first_and_nothing_compared_writes_nothing(tmp_path: Path) -> None:
    for report in (made_report({"a": [1e-3]}), made_report({"a": [1e-3]}), check_trial(RECORDED["xgboost"])):
        report.to_tensorboard(str(tmp_path / "logs"))
    assert len(list((tmp_path / "logs").iterdir())) == 1
    assert len(read(tmp_path / "logs")["model/a/log10_ratio"]) == 1


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        (transformer_names(), ["embed", *(f"decoder.layers.{layer}" for layer in range(24)), "head"]),
        (
            resnet_names(),
            [
                *("conv1", "bn1", "layer1", "layer2.0", "layer2.1", "layer2.2", "layer2.3"),
                *(f"layer3.{block}" for block in range(6)),
                *("layer4", "fc"),
            ],
        ),
        ([f"a.b/w{number}" for number in range(100)], ["a.b"]),
    ],
)
def test_a_network_has_some_groups_a_block_or_module_each(names: list[str], groups: list[str]) -> None:
    """TensorBoard's groups: of each tag what is before its first slash."""
    assert groups == list(dict.fromkeys(tag.split("/")[0] for tag in tensor_tags(names)))


@pytest.mark.parametrize(
    ("names", "tags"),
    [
        (["conv2d/weights/conv2d/kernel:0"], ["conv2d/weights/conv2d/kernel:0"]),
        (["Net_module.fc1.weight"], ["model.Net_module/fc1.weight"]),
        (["_overview/violations"], ["model._overview/violations"]),
        (["/job:a/w", "..", ""], ["model..job:a/w", "model../", "model/"]),
        (["\ud800.w"], ["model.\\ud800/w"]),
        (["m.w", "m/w", "m/w (2)"], ["m/w", "m/w (2)", "m/w (2) (2)"]),
        (["model.w", "w"], ["model/w", "model/w (2)"]),
    ],
)
def test_tags(names: list[str], tags: list[str]) -> None:
    assert tensor_tags(names) == tags


@given(st.lists(st.text("aZ./_0 (2)\u00e9", max_size=8), unique=True))
def test_no_two_tags_are_the_same_and_the_overview_is_first(names: list[str]) -> None:
    """TensorBoard sorts slashes and digits first, all else by character; its older tab the underscore first too."""
    tags = tensor_tags(names)
    assert len(set(tags)) == len(names)
    assert all(tag[0] > "_" and "/" in tag for tag in tags)


def test_the_command_writes_the_folder(tmp_path: Path) -> None:
    assert (0, "", "") == check(RECORDED["pytorch_healthy"], "--quiet", "--tensorboard", tmp_path / "logs" / "run")
    assert len(read(tmp_path / "logs" / "run")) == 4 * 3 + 4
