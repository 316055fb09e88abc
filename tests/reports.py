"""Reports made of ratios, for what only renders them; and the command, run in this process."""

from __future__ import annotations

import inspect
import math
from typing import Any, Sequence

import numpy as np
from click.testing import CliRunner

from tests.conftest import judged_rows, plain_verdict
from weight_update_ratio.cli import main
from weight_update_ratio.compare.comparison import Comparison
from weight_update_ratio.compare.history import History
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.report import Report
from weight_update_ratio.verdict.baseline import Baseline
from weight_update_ratio.verdict.bounds import Bounds
from weight_update_ratio.verdict.firing import Fired

HOSTILE = (
    "<script>window.hacked = 1</script>",
    "</script><img src=x onerror='window.hacked=2'>",
    "@{label}{safe} $x @step $$\\alpha$$",
    "\\(x^2\\) &lt;b&gt; \u2028\u2029 \x1b[2J",
    "caf\u00e9/\u5c64/\U0001f600:0",
)


def made_report(
    ratios: dict[str, Sequence[float | None]],
    parameters: Parameters | None = None,
    workers: Sequence[str] = ("worker_0",),
    weight_norm: float = 2.0,
    baseline: Baseline | None = None,
) -> Report:
    """Return a report of these ratios, the first at step 1, each against the step before; None: not compared."""
    parameters = parameters or Parameters()
    history = History("made/trial", parameters, Bounds(parameters, baseline))
    in_a_row: dict[tuple[str, str], int] = {}
    history.mode = "TRAIN"
    history.job_ended = True
    history.tensors = {tensor: number for number, tensor in enumerate(ratios)}
    history.workers = {worker: number for number, worker in enumerate(workers)}
    steps = max(map(len, ratios.values()))
    history.judged_steps = set(range(steps))
    for step in range(steps):
        rows = []
        for worker in workers:
            for tensor, values in ratios.items():
                ratio = values[step] if step < len(values) else None
                if ratio is not None:
                    lower, upper = history.bounds.of(tensor, step + 1, step)
                    verdict = plain_verdict(ratio, lower, upper)
                    steps = (step + 1, step, step + 1)
                    norms = (ratio * (weight_norm or 1e-9), weight_norm)
                    rows.append(Comparison(tensor, worker, "TRAIN", *steps, *norms, ratio, lower, upper, verdict))
                    in_a_row[tensor, worker] = 0 if verdict == "ok" else in_a_row.get((tensor, worker), 0) + 1
        history.add([], judged_rows(rows))
        lasting = [row for row in rows if in_a_row[row.tensor, row.worker] >= parameters.violations_to_fire]
        firing = lasting + [row for row in rows if row.verdict == "not_finite"]
        history.add_firing(
            Fired(row, frozenset({row.verdict}), row.global_step - parameters.violations_to_fire + 1) for row in firing
        )
    return Report(history)


def large_report(tensors: int = 300, steps: int = 5000, scattered: bool = False) -> Report:
    """Return a report of many comparisons about 1e-3 with one spike and one NaN, filled column by column.

    ``scattered`` gives it violations of all kinds everywhere, the most that a picture has to hold; not their groups.
    """
    history = History("large/trial", Parameters())
    history.mode = "TRAIN"
    history.job_ended = True
    history.tensors = {f"encoder.layers.{i // 6}.block.{i % 6}.weight": i for i in range(tensors)}
    history.workers = {"worker_0": 0}
    history.judged_steps = set(range(steps + 1))
    count = tensors * steps
    random = np.random.default_rng(0)
    step = np.repeat(np.arange(1, steps + 1), tensors)
    ratio = 10 ** random.normal(-3, 0.4, count)
    ratio[123 * tensors + 77] = 5.0  # within the thresholds, and far from all others
    ratio[4000 * tensors + 200] = math.nan
    verdict = np.where(np.isnan(ratio), 3, 0)
    if scattered:
        verdict = random.choice(4, count, p=[0.97, 0.01, 0.01, 0.01])
        ratio = np.choose(verdict, [ratio, ratio * 1e6, ratio * random.choice([0, 1e-7], count), math.nan])
    weight = random.uniform(1, 30, count)
    values = {
        "tensor": np.tile(np.arange(tensors), steps),
        "worker": np.zeros(count),
        "step": step,
        "reference_step": step - 1,
        "global_step": step,
        "update_norm": ratio * weight,
        "weight_norm": weight,
        "ratio": ratio,
        "lower": np.full(count, 1e-8),
        "upper": np.full(count, 10.0),
        "verdict": verdict,
    }
    for name, column in history.columns.items():
        column.frombytes(values[name].astype(column.typecode).tobytes())
    return Report(history)


def invoke_command(*arguments: str) -> Any:
    """Return click's result of the command: exit_code, stdout, stderr."""
    apart = "mix_stderr" in inspect.signature(CliRunner).parameters  # click < 8.2 puts them together by default
    return (CliRunner(mix_stderr=False) if apart else CliRunner()).invoke(main, list(arguments))
