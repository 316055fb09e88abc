"""Reports made of ratios, for what only renders them; and the command, run in this process."""

from __future__ import annotations

import inspect
from typing import Any, Sequence

import numpy as np
from click.testing import CliRunner

from tests.findings.made_runs import judged_report
from weight_update_ratio.cli import main
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.report import Report
from weight_update_ratio.verdict.baseline import Baseline

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
    baseline: Baseline | None = None,
) -> Report:
    """Return the report of these ratios on each worker, the first at step 1; None: not compared."""
    keyed = {(tensor, worker): values for tensor, values in ratios.items() for worker in workers}
    return judged_report(keyed, parameters, baseline)


def step_columns(tensor: Any, worker: Any, step: Any, ratio: Any, weight_norm: Any) -> dict[str, Any]:
    """Return the columns of comparisons of each step with the one before; all are of shape (n,)."""
    return {
        "tensor": tensor,
        "worker": worker,
        "step": step,
        "reference_step": step - 1,
        "global_step": step,
        "update_norm": ratio * np.where(weight_norm == 0, 1e-9, weight_norm),
        "weight_norm": weight_norm,
        "ratio": ratio,
    }


def check(*arguments: Any) -> tuple[int, str, str]:
    """Return the exit code of a check that ends as it means to, and what it printed to stdout and stderr."""
    done = invoke_command("check", *map(str, arguments))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


def invoke_command(*arguments: str) -> Any:
    """Return click's result of the command: exit_code, stdout, stderr."""
    apart = "mix_stderr" in inspect.signature(CliRunner).parameters  # click < 8.2 puts them together by default
    return (CliRunner(mix_stderr=False) if apart else CliRunner()).invoke(main, list(arguments))
