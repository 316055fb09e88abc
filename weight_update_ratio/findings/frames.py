"""What was found as pandas DataFrames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..compare.history import History
from ..compare.ratio import VERDICTS
from .summary import TensorSummary, tensor_summaries

if TYPE_CHECKING:
    import pandas


def comparisons_frame(history: History) -> pandas.DataFrame:
    """Return the history: a row a comparison, by global step, with the columns of ``Comparison``.

    Steps are int64, norms, ratio and bounds float64, the rest strings.
    """
    import pandas

    frame = pandas.DataFrame({name: np.array(column) for name, column in history.columns.items()})
    for name, values in (("tensor", history.tensors), ("worker", history.workers), ("verdict", VERDICTS)):
        frame[name] = np.array([*values, ""], dtype=object)[frame[name].to_numpy()]
    frame.insert(2, "mode", history.mode or "")
    return frame


def summary_frame(history: History) -> pandas.DataFrame:
    """Return a row a tensor and worker, in the trial's order: median, lowest, highest and last ratio, and violations.

    Ratios are float64, the first three of those that are finite, NaN where none is; violations int64.
    """
    import pandas

    rows = tensor_summaries(history)
    return pandas.DataFrame(rows, columns=list(TensorSummary._fields))
