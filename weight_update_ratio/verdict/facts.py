"""What concerns a run as a whole, once its steps are compared: notes on it, and why it could not be judged."""

from __future__ import annotations

from typing import Iterable, Iterator, Sequence

import numpy as np

from ..compare.diagnosis import all_skipped, listed, nothing_chosen, nothing_compared, unmatched_choice
from ..compare.rows import SkippedGroup
from ..compare.workers import late_or_early, whole_notes
from ..errors import TrialError
from ..trial.folder import GLOBAL, TRAIN, TrialFolder
from ..trial.selection import Selection, selection_of, without_output_number, without_wrappers
from .baseline import gap_text
from .firing import longest_course, rows_by_key
from .judged_run import JudgedRun, Run


def concluded(run: Run, folder: TrialFolder, problem: TrialError | None = None) -> Run:
    """Return a run with what concerns it as a whole; ``problem`` is why its job was not followed to its end."""
    mode = run.mode or TRAIN
    whole = set(map(without_output_number, run.tensors))
    reduced = [
        SkippedGroup(tensor, None, f"saved only as a reduction ({reduction})")
        for tensor, reduction in folder.selection.reduced.items()
        if without_output_number(tensor) not in whole
    ]
    if problem is None and not len(run):
        problem = nothing_compared(run.rows, mode, folder)
    return run.with_facts(
        problem=problem or _problem(run, folder.selection),
        job_ended=folder.ended,
        only_evaluated=mode == GLOBAL and bool(folder.modes) and GLOBAL not in folder.modes,
        notes=[*whole_notes(folder, mode), *_baseline_notes(run), *reduced],
        folder_unreadable=folder.unreadable,
        not_trained=frozenset(folder.collections.not_trained),
    )


def concluded_rows(
    run: Run, members: dict[str, set[str]], nothing: TrialError, notes: Sequence[SkippedGroup] = ()
) -> Run:
    """Return a run whose rows were measured in a training, with what concerns it as a whole.

    ``members`` are its tensors, chosen or not, by their collections; ``nothing`` is why it has no rows, if tensors were
    chosen; ``notes`` are of what is left out.
    """
    selection = selection_of(members, run.parameters)
    if len(run):
        problem = _problem(run, selection)
    elif run.rows.skipped:
        problem = all_skipped(run.rows)
    else:
        problem = nothing if any(selection.known.values()) or not selection.known else nothing_chosen(selection)
    notes = [*notes, *_notes_of_rows(run), *_baseline_notes(run)]
    return run.with_facts(problem=problem, job_ended=True, is_measured=True, notes=notes)


def _notes_of_rows(run: JudgedRun) -> Iterator[SkippedGroup]:
    """Yield what each worker, and each of its tensors, lacks at either end."""
    columns, tensors, workers = run.columns, list(run.tensors), list(run.workers)
    for rows in rows_by_key(columns["worker"]):
        worker, steps = workers[columns["worker"][rows[0]]], np.unique(columns["step"][rows])
        yield from late_or_early(None, worker, steps, np.unique(columns["step"]), True, "compared")
        for part in rows_by_key(columns["tensor"][rows]):
            tensor, its = tensors[columns["tensor"][rows[part[0]]]], np.unique(columns["step"][rows[part]])
            yield from late_or_early(tensor, worker, its, steps, True, "compared")


def _problem(run: JudgedRun, selection: Selection) -> TrialError | None:
    if run.is_unheld:
        return _nothing_held(run)
    problem = unmatched_choice(selection) or _missing_tensors(run, selection)
    if problem is None and not run.is_judged:
        patience, longest = run.parameters.violations_to_fire, longest_course(run.columns)
        given = "patience" if run.parameters.patience else "patience, with a baseline 3 where it is not given,"
        return TrialError(
            f"{given} asks for {patience} violations in a row, and no tensor has more than "
            f"{longest} comparison{'s' * (longest > 1)}: nothing but a value that is not finite could fire",
            f"Save more steps, or set patience={longest}.",
        )
    return problem


def _baseline_notes(run: JudgedRun) -> list[SkippedGroup]:
    """Return the tensors most of which is judged by the thresholds, and what the lengths of both runs mean."""
    baseline = run.bounds.baseline
    if baseline is None or not len(run):
        return []
    held = np.bincount(run.columns["tensor"][run.columns["held"]], minlength=len(run.tensors))
    notes = []
    for tensor, gaps in gaps_of(run).items():
        band, usual = baseline.bands.get(tensor), max(gaps, key=gaps.__getitem__)
        if 2 * held[run.tensors[tensor]] >= sum(gaps.values()):
            continue
        if band is None:
            reason = "not in the baseline"
        elif band.gap != usual:
            reason = f"over {gap_text(usual)}, in the baseline over {gap_text(band.gap)}"
        else:
            reason = "the baseline has no ratio near its steps"
        notes.append(SkippedGroup(tensor, None, f"{reason}: judged by the thresholds"))
    last = int(run.columns["step"].max())
    if last < baseline.last_step:
        notes.append(SkippedGroup(None, None, f"the run ends at step {last}, the baseline at {baseline.last_step}"))
    elif last > baseline.last_step:
        why = f"the baseline ends at step {baseline.last_step}: later steps are judged by its last ones"
        notes.append(SkippedGroup(None, None, why))
    return notes


def gaps_of(run: JudgedRun) -> dict[str, dict[int, int]]:
    """Return {tensor: {steps from reference to comparison: number of comparisons}}, in the run's order, gaps rising."""
    columns, names = run.columns, list(run.tensors)
    gaps, which = np.unique(columns["step"] - columns["reference_step"], return_inverse=True)
    keys, counts = np.unique(columns["tensor"].astype(np.int64) * len(gaps) + which, return_counts=True)
    by_tensor: dict[str, dict[int, int]] = {}
    for key, count in zip(keys.tolist(), counts.tolist()):
        by_tensor.setdefault(names[key // len(gaps)], {})[int(gaps[key % len(gaps)])] = count
    return by_tensor


def _missing_tensors(run: JudgedRun, selection: Selection) -> TrialError | None:
    compared = gaps_of(run)
    lacking = [tensor for tensor in run.bounds.bands if tensor not in compared and selection.is_wanted(tensor)]
    if not lacking:
        return None
    what = f"the run has no comparison of {listed(lacking)}, which the baseline {listed(run.parameters.baseline)} has"
    for name, members in selection.collections.tensor_names.items():
        elsewhere = next((tensor for tensor in lacking if tensor in members), None)
        if elsewhere is not None and name not in run.parameters.collection_names:
            remedy = "Judge both with the same collection_names, or leave these out by exclude_regex."
            return TrialError(f"{what}; {elsewhere!r} is in the run's collection {name!r}", remedy)
    remedy = "Save the baseline anew where the model was changed on purpose, or leave these out by exclude_regex."
    return _with_names(what, remedy, lacking, compared)


def _with_names(what: str, remedy: str, lacking: Iterable[str], compared: Iterable[str]) -> TrialError:
    """Return an error, with the two names of a tensor that was recorded in a wrapper and without."""
    plain = {without_wrappers(tensor): tensor for tensor in compared}
    for tensor in lacking:
        other = plain.get(without_wrappers(tensor), tensor)
        if other != tensor:
            what = f"{what}; {tensor!r} of the baseline is {other!r} in the run"
            unwrap = "Record both without the wrapper (model.module, model._orig_mod), or save the baseline anew."
            return TrialError(what, unwrap)
    return TrialError(what, remedy)


def _nothing_held(run: JudgedRun) -> TrialError:
    name, bands, gaps = f"the baseline {listed(run.parameters.baseline)}", run.bounds.bands, gaps_of(run)
    remedy = "Take a baseline of the same model, saved at the same interval and judged with the same parameters."
    common = [tensor for tensor in gaps if tensor in bands]
    if not common:
        why = f"it holds {listed(bands)}" if bands else "it is empty"
        return _with_names(f"{name} has none of the run's tensors ({listed(gaps)}): {why}", remedy, bands, gaps)
    other = next((tensor for tensor in common if bands[tensor].gap not in gaps[tensor]), None)
    if other is not None:
        ours, theirs = gap_text(min(gaps[other])), gap_text(bands[other].gap)
        why = f"the ratios of {other!r} are over {ours}, the baseline's over {theirs}"
    else:
        steps = run.columns["step"]
        why = f"it has no ratio near the run's {run.mode} steps {steps.min()} to {steps.max()}"
        remedy = "Take a baseline that has these steps, or widen start_step and end_step."
    return TrialError(f"the run cannot be held against {name}: {why}", remedy)
