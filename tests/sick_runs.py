"""Reports of runs in columns: quick to make where a run is large, and each fault is where it was put."""

from __future__ import annotations

import functools
from typing import Any, Sequence

import numpy as np

from tests.findings.made_runs import columns_report
from tests.reports import step_columns
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.report import Report

ZERO_START = 1e6  # a ratio against weights that are all zero


def ratios_report(
    names: Sequence[str], ratios: Any, parameters: Parameters | None = None, trial: str = "made/trial"
) -> Report:
    """Return the report of ratios of shape (workers, tensors, steps), the first at TRAIN step 1."""
    workers, tensors, steps = ratios.shape
    ratio = np.moveaxis(ratios, 2, 0).ravel()  # by step, worker and tensor
    weight = np.where(ratio == ZERO_START, 0.0, np.tile(np.linspace(1, 30, workers * tensors), steps))
    worker = np.tile(np.repeat(np.arange(workers), tensors), steps)
    step = np.repeat(np.arange(1, steps + 1), workers * tensors)
    columns = step_columns(np.tile(np.arange(tensors), steps * workers), worker, step, ratio, weight)
    worker_names = [f"worker_{number}" for number in range(workers)]
    return columns_report(names, worker_names, columns, parameters, trial=trial, steps=range(steps + 1))


def resnet_names() -> list[str]:
    """Return the names of 161 tensors, as a ResNet-50 has them without its running statistics."""
    names = ["conv1.weight", "bn1.weight", "bn1.bias"]
    for layer, blocks in enumerate((3, 4, 6, 3), 1):
        for block in range(blocks):
            for part in (1, 2, 3):
                at = f"layer{layer}.{block}"
                names += [f"{at}.conv{part}.weight", f"{at}.bn{part}.weight", f"{at}.bn{part}.bias"]
            if block == 0:
                names += [f"layer{layer}.0.downsample.{end}" for end in ("0.weight", "1.weight", "1.bias")]
    return [*names, "fc.weight", "fc.bias"]


def transformer_names() -> list[str]:
    """Return the names of 300 tensors: an embedding, 24 blocks of 12, and a head."""
    parts = [f"self_attn.{name}_proj.{end}" for name in "qkvo" for end in ("weight", "bias")]
    parts += ["linear1.weight", "linear1.bias", "linear2.weight", "norm.weight"]
    blocks = [f"decoder.layers.{layer}.{part}" for layer in range(24) for part in parts]
    embedding = ["embed.tokens.weight", "embed.positions.weight", "embed.norm.weight", "embed.norm.bias"]
    head = [f"head.{part}.{end}" for part in ("dense", "norm", "pooler", "out") for end in ("weight", "bias")]
    return [*embedding, *blocks, *head]


def healthy_ratios(workers: int, tensors: int, steps: int) -> Any:
    """Return ratios about 1e-3 with scatter, each tensor at a level of its own: shape (workers, tensors, steps)."""
    random = np.random.default_rng(1)
    level = random.normal(-3, 0.3, (1, tensors, 1))
    return 10 ** (level + random.normal(0, 0.15, (workers, tensors, steps)))


def sick_resnet(steps: int = 1000) -> Report:
    """Return a run of 161 tensors: a layer fades from 1.5e-3 to 0, another is forgotten, and NaN comes at the end."""
    names = resnet_names()
    ratios = healthy_ratios(1, len(names), steps)
    place = {name: number for number, name in enumerate(names)}
    for name in names:
        own = ratios[0, place[name]]
        if name.startswith("layer2."):  # fades, and is 0 for the last tenth
            own[:] = 1.5e-3 * 10 ** (-np.linspace(0, 9, steps)) * own / np.median(own)
            own[-steps // 10 :] = 0
        elif name.startswith("layer3.0."):
            own[steps * 2 // 5] = 35.0  # a spike of one step
        elif name.startswith("layer1.1."):
            own[:] = 0  # never given to the optimizer
    ratios[0, place["conv1.weight"], steps // 8] = 0  # one tensor rests once
    ratios[0, place["bn1.bias"], : steps // 50] = 0  # not yet
    ratios[0, [place["fc.weight"], place["fc.bias"]], -15:] = np.nan
    return ratios_report(names, ratios, trial="runs/resnet50")


def sick_transformer(steps: int = 250) -> Report:
    """Return a run of 300 tensors on 4 workers: one block is large, one worker stops, all rest where a scaler skips."""
    names = transformer_names()
    ratios = healthy_ratios(4, len(names), steps)
    for number, name in enumerate(names):
        if name.startswith("decoder.layers.5.self_attn."):
            ratios[:, number, steps // 2 : steps // 2 + 20] = 60.0
        if name.startswith("decoder.layers.23."):
            ratios[2, number, steps * 3 // 5 :] = 0
        if name.startswith("embed."):
            ratios[:, number, 0] = ZERO_START
    ratios[:, :, [steps // 5, steps // 3]] = 0
    return ratios_report(names, ratios, trial="runs/transformer")


def large_report(scattered: bool) -> Report:
    """Return a run of 1.5 million comparisons: one spike and one NaN, or violations of all kinds everywhere."""
    random = np.random.default_rng(0)
    ratios = 10 ** random.normal(-3, 0.4, (1, 300, 5000))
    ratios[0, 77, 123] = 5.0  # within the thresholds, and far from all others
    ratios[0, 200, 4000] = np.nan
    if scattered:
        verdict = random.choice(4, ratios.shape, p=[0.97, 0.01, 0.01, 0.01])
        ratios = np.choose(verdict, [ratios, ratios * 1e6, ratios * random.choice([0, 1e-7], ratios.shape), np.nan])
    report = ratios_report([f"encoder.layers.{n // 6}.block.{n % 6}.weight" for n in range(300)], ratios)
    report.columns["weight_norm"][:] = random.uniform(1, 30, len(report))  # a page of lines that repeat is smaller
    return report


@functools.lru_cache(maxsize=None)
def sick_run(name: str) -> Report:
    return {"resnet": sick_resnet, "transformer": sick_transformer}[name]()
