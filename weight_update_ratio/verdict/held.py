"""What of a run can be held against its baseline, and what to say of the rest."""

from __future__ import annotations

import numpy as np

from ..compare.diagnosis import listed
from ..compare.history import History
from ..compare.references import StepPairs, step_pairs
from ..errors import TrialError
from ..trial.folder import TrialFolder
from ..trial.index_file import LARGEST_STEP
from .baseline import first_step
from .bounds import Bounds
from .violations import SkippedGroup


class HeldSteps:
    """Finds the first steps at which something of a run can be held against its baseline; the index alone tells."""

    def __init__(self, folder: TrialFolder, mode: str, bounds: Bounds) -> None:
        self._folder = folder
        self._mode = mode
        self._bounds = bounds
        self._found = bounds.baseline is None
        self._next = 0

    def any(self) -> bool:
        """Return whether there is one among the known steps; without a baseline there is nothing to wait for."""
        for global_step in [] if self._found else self._folder.steps_between(self._next, LARGEST_STEP):
            self._next = global_step + 1
            pairs = step_pairs(self._folder, self._mode, global_step)
            if any(map(self._holds, pairs)):
                self._found = True
                break
        return self._found

    def _holds(self, pairs: StepPairs) -> bool:
        return any(
            reference is not None and self._bounds.holds(tensor, pairs.saved.step, reference.step)
            for tensor, reference in zip(pairs.tensors, pairs.references)
        )


def held_ratios(history: History) -> dict[str, int]:
    """Return how many comparisons of each tensor are held against the baseline; without one none are."""
    names, columns = list(history.tensors), {name: np.asarray(column) for name, column in history.columns.items()}
    held = history.bounds.held(names, columns["tensor"], columns["step"], columns["reference_step"])
    return dict(zip(names, np.bincount(columns["tensor"][held], minlength=len(names)).tolist()))


def skipped_tensors(history: History, folder: TrialFolder) -> list[SkippedGroup]:
    """Return the tensors of which nothing is held against the baseline, and those that only the baseline has."""
    baseline = history.bounds.baseline
    if baseline is None:
        return []
    gaps = _gaps(history)
    notes = []
    for tensor, held in held_ratios(history).items():
        if held or tensor not in gaps:
            continue
        if tensor not in baseline.bands:
            reason = "not in the baseline"
        elif baseline.bands[tensor].gap not in gaps[tensor]:
            reason = (
                f"over {_gap_text(min(gaps[tensor]))}, in the baseline over {_gap_text(baseline.bands[tensor].gap)}"
            )
        else:
            reason = "the baseline has no ratio near its steps"
        notes.append(SkippedGroup(tensor, None, f"{reason}: judged by the thresholds", None, None, 1))
    seen = folder.selection.seen()
    for tensor in baseline.bands:
        if tensor not in seen and tensor not in folder.selection.reduced and folder.selection.is_wanted(tensor):
            notes.append(SkippedGroup(tensor, None, "in the baseline, not in this run", None, None, 1))
    return notes


def _gap_text(gap: int) -> str:
    return f"{gap} step{'s' * (gap != 1)}"


def _gaps(history: History) -> dict[str, set[int]]:
    """Return from how many steps before the comparisons of each tensor have their reference."""
    gaps = np.subtract(history.columns["step"], history.columns["reference_step"])
    found = np.unique(np.stack([np.asarray(history.columns["tensor"], np.int64), gaps]), axis=1)
    names = list(history.tensors)
    by_tensor: dict[str, set[int]] = {}
    for code, gap in found.T.tolist():
        by_tensor.setdefault(names[code], set()).add(gap)
    return by_tensor


def nothing_held(history: History) -> TrialError:
    """Return why nothing of a run that was compared can be held against its baseline."""
    assert history.bounds.baseline is not None  # noqa: S101
    name = f"the baseline {listed(history.parameters.baseline)}"
    if not history.is_unheld:
        return TrialError(
            f"nothing at the steps between start_step and end_step can be held against {name}",
            "Widen start_step and end_step, or take a baseline that has these steps.",
        )
    bands, gaps = history.bounds.baseline.bands, _gaps(history)
    common = [tensor for tensor in gaps if tensor in bands]
    remedy = "Take a baseline of the same model, saved at the same interval and judged with the same parameters."
    if not common:
        why = f"it holds {listed(bands)}" if bands else "it is empty"
        return TrialError(f"{name} has none of the run's tensors ({listed(gaps)}): {why}", remedy)
    other = [tensor for tensor in common if bands[tensor].gap not in gaps[tensor]]
    if other:
        tensor = other[0]
        return TrialError(
            f"the run cannot be held against {name}: the ratios of {tensor!r} are over "
            f"{_gap_text(min(gaps[tensor]))}, the baseline's over {_gap_text(bands[tensor].gap)}",
            remedy,
        )
    first = min(min(bands[tensor].band.extremes) for tensor in common)
    return TrialError(
        f"the run cannot be held against {name}: it has no ratio near the run's steps; its first are from "
        f"{history.mode} step {first_step(first)} on",
        remedy,
    )
