"""Reports made of columns, without files."""

from __future__ import annotations

from typing import Any, Iterable, Mapping, Sequence
from unittest import mock

import numpy as np

from weight_update_ratio.compare.rows import Rows
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.report import Report
from weight_update_ratio.verdict.baseline import Baseline
from weight_update_ratio.verdict.bounds import Bounds


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
    """Return the report of a run that ended, with exactly these ratios.

    ``tensors``, ``workers`` and ``types`` are the names of the numbers in the columns ``tensor``, ``worker``, ``type``
    (else all 0). The other columns are ``step``, ``reference_step``, ``global_step``, ``update_norm``, ``weight_norm``
    and ``ratio``. Each has shape (n,), in any order. ``steps`` are the saved global steps.
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
    exact = np.asarray(filled["ratio"], np.float64)  # not rounded as update_norm / weight_norm is
    with mock.patch("weight_update_ratio.verdict.judged_run.update_ratios", return_value=exact):
        assert len(report) == len(exact)  # which computes the columns
    return report
