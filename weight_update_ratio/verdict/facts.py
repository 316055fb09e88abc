"""What concerns a run as a whole, once its steps are compared: notes on it, and why it could not be judged."""

from __future__ import annotations

from typing import Callable, Collection, Iterable, Mapping, Sequence

import numpy as np

from ..compare.diagnosis import listed, nothing_compared, unmatched_choice
from ..compare.mode import TRAIN
from ..compare.rows import SkippedGroup
from ..compare.workers import whole_notes
from ..errors import TrialError, Unreadable
from ..trial.folder import GLOBAL, TrialFolder
from ..trial.selection import only_reduced, without_wrappers
from .baseline import gap_text
from .firing import longest_course
from .judged_run import JudgedRun, Run


def concluded(run: Run, folder: TrialFolder, problem: TrialError | None = None) -> Run:
    """Return a run with what concerns it as a whole; ``problem`` is why its job was not followed to its end."""
    mode = run.mode or TRAIN
    reduced = [
        SkippedGroup(tensor, None, f"saved only as a reduction ({reduction})", None, None, 1)
        for tensor, reduction in only_reduced(folder.selection.reduced, run.tensors).items()
    ]
    return run.with_facts(
        problem=problem or _problem(run, folder),
        job_ended=folder.ended,
        only_evaluated=mode == GLOBAL and bool(folder.modes) and GLOBAL not in folder.modes,
        notes=[*whole_notes(folder, mode), *_unheld_tensors(run), *reduced],
        folder_unreadable=folder.unreadable,
        not_trained=folder.collections.not_trained,
    )


def measured(
    run: Run,
    is_wanted: Callable[[str], bool],
    unreadable: Sequence[Unreadable] = (),
    notes: Sequence[SkippedGroup] = (),
) -> Run:
    """Return a run whose rows were not read from a trial folder, with what concerns it as a whole."""
    problem = None
    if not len(run):
        problem = TrialError(
            "nothing was measured: no tensor has an update",
            "Call step() after each update, more often than ``every``; only what trains, and is of two or more "
            "dimensions or in collection_names, is measured.",
        )
    elif run.is_unheld:
        problem = _nothing_held(run)
    else:
        problem = _missing_tensors(run, is_wanted, {}) or _out_of_reach(run)
    return run.with_facts(
        problem=problem, job_ended=True, notes=[*notes, *_unheld_tensors(run)], folder_unreadable=unreadable
    )


def _problem(run: JudgedRun, folder: TrialFolder) -> TrialError | None:
    if not len(run):
        return nothing_compared(run.rows, run.mode, folder)
    if run.is_unheld:
        return _nothing_held(run)
    unmatched = unmatched_choice(folder) or _missing_tensors(
        run, folder.selection.is_wanted, folder.collections.tensor_names
    )
    if unmatched is not None:
        return unmatched
    return _out_of_reach(run)


def _out_of_reach(run: JudgedRun) -> TrialError | None:
    if not run.is_judged:
        patience, longest = run.parameters.violations_to_fire, longest_course(run.columns)
        given = "patience" if run.parameters.patience else "patience, with a baseline 3 where it is not given,"
        return TrialError(
            f"{given} asks for {patience} violations in a row, and no tensor has more than "
            f"{longest} comparison{'s' * (longest > 1)}: nothing but a value that is not finite could fire",
            f"Save more steps, or set patience={longest}.",
        )
    return None


def _unheld_tensors(run: JudgedRun) -> list[SkippedGroup]:
    """Return the tensors of which nothing is held against the baseline, and what the lengths of both runs mean."""
    baseline = run.bounds.baseline
    if baseline is None or not len(run):
        return []
    tensors, gaps = run.columns["tensor"], run.columns["step"] - run.columns["reference_step"]
    compared = np.bincount(tensors, minlength=len(run.tensors))
    held = np.bincount(tensors[run.columns["held"]], minlength=len(run.tensors))
    notes = []
    for tensor in _gaps(run):
        place = run.tensors[tensor]
        if 2 * held[place] >= compared[place]:
            continue
        found, counts = np.unique(gaps[tensors == place], return_counts=True)
        band, usual = baseline.bands.get(tensor), int(found[counts.argmax()])
        if band is None:
            reason = "not in the baseline"
        elif band.gap != usual:
            reason = f"over {gap_text(usual)}, in the baseline over {gap_text(band.gap)}"
        else:
            reason = "the baseline has no ratio near its steps"
        notes.append(SkippedGroup(tensor, None, f"{reason}: judged by the thresholds", None, None, 1))
    last = int(run.columns["step"].max())
    if last < baseline.last_step:
        why = f"the run ends at step {last}, the baseline at {baseline.last_step}"
        notes.append(SkippedGroup(None, None, why, None, None, 1))
    elif last > baseline.last_step:
        why = f"the baseline ends at step {baseline.last_step}: later steps are judged by its last ones"
        notes.append(SkippedGroup(None, None, why, None, None, 1))
    return notes


def _gaps(run: JudgedRun) -> dict[str, set[int]]:
    """Return from how many steps before the comparisons of each tensor have their reference, in the run's order."""
    gaps = run.columns["step"] - run.columns["reference_step"]
    found = np.unique(np.stack([run.columns["tensor"].astype(np.int64), gaps]), axis=1)
    names = list(run.tensors)
    by_tensor: dict[str, set[int]] = {}
    for code, gap in found.T.tolist():
        by_tensor.setdefault(names[code], set()).add(gap)
    return by_tensor


def _missing_tensors(
    run: JudgedRun, is_wanted: Callable[[str], bool], collections: Mapping[str, Collection[str]]
) -> TrialError | None:
    """Return what is wrong where the run lacks tensors of the baseline that the patterns choose, else None."""
    compared = _gaps(run)
    bands = {} if run.bounds.baseline is None else run.bounds.baseline.bands
    lacking = [tensor for tensor in bands if tensor not in compared and is_wanted(tensor)]
    if not lacking:
        return None
    what = f"the run has no comparison of {listed(lacking)}, which the baseline {listed(run.parameters.baseline)} has"
    for name, members in collections.items():
        elsewhere = next((tensor for tensor in lacking if tensor in members), None)
        if elsewhere is not None and name not in run.parameters.collection_names:
            return TrialError(
                f"{what}; {elsewhere!r} is in the run's collection {name!r}",
                "Judge both with the same collection_names, or leave these out by exclude_regex.",
            )
    remedy = "Save the baseline anew where the model was changed on purpose, or leave these out by exclude_regex."
    return TrialError(*_with_names(what, remedy, lacking, compared))


def _with_names(what: str, remedy: str, lacking: Iterable[str], compared: Iterable[str]) -> tuple[str, str]:
    """Return a message and a remedy, with the two names of a tensor that was recorded in a wrapper and without."""
    plain = {without_wrappers(tensor): tensor for tensor in compared}
    for tensor in lacking:
        other = plain.get(without_wrappers(tensor))
        if other is not None and other != tensor:
            why = f"{what}; {tensor!r} of the baseline is {other!r} in the run"
            return why, "Record both without the wrapper (model.module, model._orig_mod), or save the baseline anew."
    return what, remedy


def _nothing_held(run: JudgedRun) -> TrialError:
    """Return why nothing of a run that was compared can be held against its baseline."""
    assert run.bounds.baseline is not None  # noqa: S101
    name, bands, gaps = f"the baseline {listed(run.parameters.baseline)}", run.bounds.baseline.bands, _gaps(run)
    remedy = "Take a baseline of the same model, saved at the same interval and judged with the same parameters."
    common = [tensor for tensor in gaps if tensor in bands]
    if not common:
        why = f"it holds {listed(bands)}" if bands else "it is empty"
        what = f"{name} has none of the run's tensors ({listed(gaps)}): {why}"
        return TrialError(*_with_names(what, remedy, bands, gaps))
    other = [tensor for tensor in common if bands[tensor].gap not in gaps[tensor]]
    if other:
        own, theirs = gap_text(min(gaps[other[0]])), gap_text(bands[other[0]].gap)
        why = f"the ratios of {other[0]!r} are over {own}, the baseline's over {theirs}"
        return TrialError(f"the run cannot be held against {name}: {why}", remedy)
    steps = run.columns["step"]
    why = f"it has no ratio near the run's {run.mode} steps {steps.min()} to {steps.max()}"
    return TrialError(
        f"the run cannot be held against {name}: {why}",
        "Take a baseline that has these steps, or widen start_step and end_step.",
    )
