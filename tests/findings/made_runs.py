"""Runs made of ratios, and the baselines that they are held against, without files."""

from __future__ import annotations

import math
from typing import Any, Iterable, Mapping, Sequence
from unittest import mock

import numpy as np

from weight_update_ratio.compare.rows import Rows
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.report import Report
from weight_update_ratio.verdict.baseline import BINS, Band, Baseline
from weight_update_ratio.verdict.bounds import Bounds

OK, LARGE, SMALL, NAN, INF = 1e-3, 50.0, 1e-9, math.nan, math.inf
WELL = {"h1": [OK] * 20, "h2": [2 * OK] * 20}  # two tensors that train well
TENSORS = ("a", "b", "c", "d", "e")
FOUR = ("worker_0", "worker_1", "worker_2", "worker_3")


def faded(first: float, last: float, steps: int) -> list[float]:
    """Return ratios that fall evenly in decades."""
    return np.geomspace(first, last, steps).tolist()


def at_steps(length: int, ratio: float, *steps: int, well: float = OK) -> list[float]:
    """Return ratios of a tensor that trains well except at some steps."""
    return [ratio if step in steps else well for step in range(1, length + 1)]


def noisy(level: Any, seed: int = 0) -> list[float]:
    """Return ratios of these levels with scatter, in decades; 0 stays 0."""
    return (np.asarray(level) * 10 ** np.random.default_rng(seed).normal(0, 0.1, len(level))).tolist()


def cosine(steps: int) -> Any:
    """Return ratios of a cosine schedule that is exactly 0 at its last step."""
    level = OK * (1 + np.cos(np.pi * np.arange(1, steps + 1) / steps)) / 2
    level[-1] = 0
    return level


def linear(steps: int, zeros: int) -> Any:
    """Return ratios of a schedule that falls evenly to 0, and stays there."""
    return np.concatenate([OK * np.arange(steps - zeros, 0, -1) / (steps - zeros), np.zeros(zeros)])


def accumulated(steps: int, every: int, phase: int = 0) -> list[float]:
    """Return ratios that are 0 except at each ``every``-th step."""
    return [OK if (step + phase) % every == 0 else 0.0 for step in range(1, steps + 1)]


def alike(values: Any, workers: Sequence[str] = FOUR[:1]) -> dict[Any, Any]:
    """Return the same ratios for five tensors, or, of a function, each its own (by a number)."""
    keys = [(tensor, worker) for worker in workers for tensor in TENSORS]
    return {key: values(number) if callable(values) else values for number, key in enumerate(keys)}


def weights_of(ratios: Sequence[float]) -> list[Any]:
    weights = [np.ones(3)]
    for ratio in ratios:
        weights.append(weights[-1] * (1 + ratio) if math.isfinite(ratio) else np.full(3, ratio))
    return weights


def made_baseline(
    tensors: Mapping[str, tuple[Any, ...]],
    runs: int = 1,
    mode: str = "TRAIN",
    epsilon: float = 1e-9,
    last_step: int = 20,
) -> Baseline:
    """Return a baseline of {tensor: (gap, bins)} or {tensor: (gap, bins, longest rest)}.

    Bins are {bin: (low, high)} or {bin: (low, high, norm_low, norm_high)}; a tensor without bins never moved.
    """
    bands = {}
    for tensor, (gap, bins, *rest) in tensors.items():
        limits = np.full((4, BINS), np.nan)
        for place, ends in bins.items():
            limits[: len(ends), place] = [math.nan if end is None else end for end in ends]
        bands[tensor] = Band(gap, *(rest or [0]), limits)
    return Baseline(runs, mode, epsilon, last_step, bands)


def good_baseline(norm: float | None = None, rest: int = 0, last_step: int = 20, **levels: float) -> Baseline:
    """Return the baseline of tensors that were at one level at all of their steps, 0 where they never moved."""
    ends = (None, None) if norm is None else (norm, norm)
    bins = {name: dict.fromkeys(range(8), (level, level, *ends)) if level else {} for name, level in levels.items()}
    return made_baseline({name: (1, own, rest) for name, own in bins.items()}, last_step=last_step)


def columns_report(
    tensors: Sequence[str],
    workers: Sequence[str],
    columns: Mapping[str, Any],
    parameters: Parameters | None = None,
    baseline: Baseline | None = None,
    trial: str = "made/trial",
    mode: str = "TRAIN",
    steps: Iterable[int] = (),
    types: Sequence[str] = ("float32",),
) -> Report:
    """Return the report of a run that ended, in columns as ``step_columns`` has them, with exactly their ratios.

    ``tensors``, ``workers`` and ``types`` are the names of the numbers in the columns ``tensor``, ``worker``, ``type``
    (else all 0). ``steps`` are the saved global steps.
    """
    order = np.argsort(np.asarray(columns["global_step"], np.int64), kind="stable")
    filled = {name: np.asarray(column)[order] for name, column in columns.items()}
    filled.setdefault("type", np.zeros(len(order), np.int8))
    rows = Rows()
    for names, known in ((tensors, rows.tensors), (workers, rows.workers), (types, rows.types)):
        for name in names:
            known.add(name, -1)
    rows.compared.add(len(order), **filled)
    rows.steps = sorted(set(steps))
    report = Report(trial, rows, Bounds(parameters or Parameters(), baseline), mode, job_ended=True)
    if "ratio" not in filled:
        return report
    exact = np.asarray(filled["ratio"], np.float64)  # not rounded as update_norm / weight_norm is
    with mock.patch("weight_update_ratio.verdict.judged_run.update_ratios", return_value=exact):
        assert len(report) == len(exact)  # which computes the columns
    return report


def judged_report(
    ratios: Mapping[Any, Sequence[float | None] | Mapping[int, float]],
    parameters: Parameters | None = None,
    baseline: Baseline | None = None,
    zero_weights: Iterable[tuple[str, int]] = (),
    gaps: Mapping[str, int] | None = None,
    dtypes: Mapping[str, str] | str = "float32",
    shuffle: Any = None,
    norms: Mapping[str, Sequence[float]] | None = None,
) -> Report:
    """Return the report of a run of {tensor: ratios} or {(tensor, worker): ratios}.

    A sequence begins at step 1, and None is not compared. ``zero_weights`` are (tensor, step) whose reference weights
    are all zero, ``gaps`` the steps to a tensor's reference (else 1), ``norms`` those of its weights before each
    comparison (else 2). ``shuffle`` is a random.Random: the rows of a step come in any order.
    """
    keyed = {key if isinstance(key, tuple) else (key, "worker_0"): values for key, values in ratios.items()}
    tensors, workers = (list(dict.fromkeys(names)) for names in zip(*keyed))
    types = [dtypes if isinstance(dtypes, str) else dtypes[tensor] for tensor in tensors]
    kinds, zero = list(dict.fromkeys(types)), set(zero_weights)
    rows, norms = [], norms or {}
    for (tensor, worker), values in keyed.items():
        for step, ratio in values.items() if isinstance(values, Mapping) else enumerate(values, 1):
            if ratio is not None:
                weight = 0.0 if (tensor, step) in zero else norms[tensor][step - 1] if tensor in norms else 2.0
                number, gap = tensors.index(tensor), (gaps or {}).get(tensor, 1)
                numbers = number, workers.index(worker), kinds.index(types[number])
                rows.append((*numbers, step, step - gap, step, ratio * (weight or 1e-9), weight, ratio))
    rows.sort(key=lambda row: (row[5], row[1]))
    if shuffle is not None:
        shuffle.shuffle(rows)
    names = ("tensor", "worker", "type", "step", "reference_step", "global_step", "update_norm", "weight_norm", "ratio")
    columns = dict(zip(names, np.array(rows, np.float64).reshape(-1, len(names)).T))
    steps = {int(step) for name in ("step", "reference_step") for step in columns[name]}
    return columns_report(tensors, workers, columns, parameters, baseline, steps=steps, types=kinds)
