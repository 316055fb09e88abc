"""Whether a recorded run fires: by the default bounds, and by a band learnt from good runs."""

from __future__ import annotations

import numpy as np

from tests.benchmarks.detection.runs import Ratios

LARGE, SMALL = 10.0, 1e-8  # the rule's default thresholds
STARTS = np.array([0] + [int(np.ceil(8 * 2 ** (k / 3))) for k in range(32)])  # of the bins


def fires_by_default(ratios: Ratios) -> bool:
    """Return whether a ratio of a run is outside of the default bounds, or not finite."""
    return any(_lasts(_outside(values, SMALL, LARGE), 1) or not np.isfinite(values).all() for values in ratios.values())


def fires(ratios: Ratios, good: list[Ratios], factor: float, patience: int) -> bool:
    """Return whether a run fires when it is held against good runs.

    Args:
        ratios: The run's ratios by tensor, each of shape (steps,) from step 1 on.
        good: The ratios of one or more good runs, with as many steps.
        factor: How far outside of their band a ratio may be; >= 1.
        patience: How many ratios of a tensor in a row must be outside; >= 1. One that is not finite fires at once.
    """
    for name, values in ratios.items():
        if not np.isfinite(values).all():
            return True
        if name not in good[0]:
            low, high = np.full(len(values), SMALL), np.full(len(values), LARGE)
        else:
            low, high = _band(np.array([run[name] for run in good]))
            low, high = low / factor, np.maximum(high * factor, SMALL)
        if _lasts(_outside(values, low, high), patience):
            return True
    return False


def _band(good: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and highest ratio at each step, by its bin and the two beside it; ``good`` is (runs, steps)."""
    bins = np.searchsorted(STARTS, np.arange(1, good.shape[1] + 1), side="right") - 1
    low = np.array([good[:, abs(bins - number) <= 1].min() for number in range(bins[-1] + 1)])
    high = np.array([good[:, abs(bins - number) <= 1].max() for number in range(bins[-1] + 1)])
    return low[bins], high[bins]


def _outside(values: np.ndarray, low: np.ndarray | float, high: np.ndarray | float) -> np.ndarray:
    return (values < low) | (values > high)


def _lasts(outside: np.ndarray, patience: int) -> bool:
    """Return whether ``patience`` steps in a row are outside."""
    return len(outside) >= patience and bool(
        np.lib.stride_tricks.sliding_window_view(outside, patience).all(axis=1).any()
    )
