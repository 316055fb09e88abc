"""What comparing a saved step with its references gives: comparisons, and what was skipped or could not be read."""

from __future__ import annotations

from typing import Any, NamedTuple, Sequence

import numpy as np

from ..errors import Unreadable


class Comparison(NamedTuple):
    """A tensor at a saved step against its reference step; steps count in ``mode``, norms are L2 in float64.

    ``lower`` and ``upper`` are the bounds that its verdict was judged by.
    """

    tensor: str
    worker: str
    mode: str
    step: int
    reference_step: int
    global_step: int
    update_norm: float
    weight_norm: float
    ratio: float
    lower: float
    upper: float
    verdict: str


class Skipped(NamedTuple):
    """A tensor that was saved and read, and has no ratio."""

    tensor: str
    worker: str
    mode: str
    step: int
    global_step: int
    reason: str


class ComparedTensors(NamedTuple):
    """Comparisons of one worker at one step in columns: arrays of shape (n,), with the fields of ``Comparison``."""

    tensors: list[str]
    worker: str
    step: int
    global_step: int
    reference_step: np.ndarray[Any, Any]  # int64
    update_norm: np.ndarray[Any, Any]  # float64, and so are the next four
    weight_norm: np.ndarray[Any, Any]
    ratio: np.ndarray[Any, Any]
    lower: np.ndarray[Any, Any]
    upper: np.ndarray[Any, Any]
    verdict: np.ndarray[Any, Any]  # int8, places in VERDICTS


class JudgedStep(NamedTuple):
    """All that was found at one global step.

    Attributes:
        compared: The comparisons that could be made, by worker.
        skipped: The tensors that have no ratio.
        unreadable: What could not be read.
        violations: The comparisons whose verdict is not ``ok``.
        firing: Violations that fire now that the step is judged; earlier ones too, where they waited for a baseline.
    """

    compared: list[ComparedTensors]
    skipped: list[Skipped]
    unreadable: list[Unreadable]
    violations: Sequence[Comparison] = ()
    firing: Sequence[Comparison] = ()
