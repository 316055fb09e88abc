"""What concerns a run as a whole, once its steps are compared: notes on it, and why it could not be judged."""

from __future__ import annotations

import copy
from typing import TypeVar

import numpy as np

from ..compare.diagnosis import listed, nothing_compared, unmatched_choice
from ..compare.mode import TRAIN
from ..compare.rows import SkippedGroup
from ..compare.workers import skipped_workers
from ..errors import TrialError
from ..trial.folder import GLOBAL, TrialFolder
from ..trial.selection import only_reduced
from .baseline import first_step
from .firing import longest_course
from .judged_run import JudgedRun

Run = TypeVar("Run", bound=JudgedRun)


def concluded(run: Run, folder: TrialFolder, problem: TrialError | None = None) -> Run:
    """Return a run with what concerns it as a whole; ``problem`` is why its job was not followed to its end."""
    mode = run.mode or TRAIN
    reduced = [
        SkippedGroup(tensor, None, f"saved only as a reduction ({reduction})", None, None, 1)
        for tensor, reduction in only_reduced(folder.selection.reduced, run.tensors).items()
    ]
    ended = copy.copy(run)
    for name in ("skipped", "unreadable"):  # they may have been computed already, without what is added here
        ended.__dict__.pop(name, None)
    ended.problem = problem or _problem(run, folder)
    ended.job_ended = folder.ended
    ended.only_evaluated = mode == GLOBAL and bool(folder.modes) and GLOBAL not in folder.modes
    ended.notes = [*skipped_workers(folder, mode), *_unheld_tensors(run, folder), *reduced]
    ended.folder_unreadable = folder.unreadable
    return ended


def _problem(run: JudgedRun, folder: TrialFolder) -> TrialError | None:
    if not len(run):
        return nothing_compared(run.rows, run.mode, folder)
    if run.is_unheld:
        return _nothing_held(run)
    unmatched = unmatched_choice(folder)
    if unmatched is not None:
        return unmatched
    if not run.is_judged:
        patience, longest = run.parameters.violations_to_fire, longest_course(run.columns)
        given = "patience" if run.parameters.patience else "patience, with a baseline 3 where it is not given,"
        return TrialError(
            f"{given} asks for {patience} violations in a row, and no tensor has more than "
            f"{longest} comparison{'s' * (longest > 1)}: nothing but a value that is not finite could fire",
            f"Save more steps, or set patience={longest}.",
        )
    return None


def _unheld_tensors(run: JudgedRun, folder: TrialFolder) -> list[SkippedGroup]:
    """Return the tensors of which nothing is held against the baseline, and those that only the baseline has."""
    baseline = run.bounds.baseline
    if baseline is None:
        return []
    held = np.bincount(run.columns["tensor"][run.columns["held"]], minlength=len(run.tensors))
    notes = []
    for tensor, gaps in _gaps(run).items():
        if held[run.tensors[tensor]]:
            continue
        band = baseline.bands.get(tensor)
        if band is None:
            reason = "not in the baseline"
        elif band.gap not in gaps:
            reason = f"over {_gap_text(min(gaps))}, in the baseline over {_gap_text(band.gap)}"
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


def _gaps(run: JudgedRun) -> dict[str, set[int]]:
    """Return from how many steps before the comparisons of each tensor have their reference, in the run's order."""
    gaps = run.columns["step"] - run.columns["reference_step"]
    found = np.unique(np.stack([run.columns["tensor"].astype(np.int64), gaps]), axis=1)
    names = list(run.tensors)
    by_tensor: dict[str, set[int]] = {}
    for code, gap in found.T.tolist():
        by_tensor.setdefault(names[code], set()).add(gap)
    return by_tensor


def _nothing_held(run: JudgedRun) -> TrialError:
    """Return why nothing of a run that was compared can be held against its baseline."""
    assert run.bounds.baseline is not None  # noqa: S101
    name = f"the baseline {listed(run.parameters.baseline)}"
    bands, gaps = run.bounds.baseline.bands, _gaps(run)
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
    first = first_step(min(min(bands[tensor].band.extremes) for tensor in common))
    return TrialError(
        f"the run cannot be held against {name}: it has no ratio near the run's steps "
        f"{run.columns['step'].min()} to {run.columns['step'].max()}; its first are from {run.mode} step {first} on",
        "Take a baseline that has these steps, or widen start_step and end_step.",
    )
