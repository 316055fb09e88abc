"""The good runs that a run is judged against: learnt from trials or read from files, and a run saved as one.

Rests, starts at zero and spikes of one comparison would open the bounds for good. So only moves teach, each ratio as
the median of it and its two neighbours.
"""

from __future__ import annotations

import os

import numpy as np

from ..compare.diagnosis import missing_trial
from ..compare.history import history_files, read_history
from ..compare.loop import Loop
from ..compare.rows import Array
from ..errors import TrialError, UnreadableError
from ..parameters import Parameters
from ..storage.location import file_content, open_storage, trial_location
from ..trial.folder import TRAIN, TrialFolder
from ..trial.selection import name_filter
from .baseline import BIN_EDGES, BINS, Band, Baseline, baseline_text, merged_baselines, parse_baseline
from .bounds import NOT_FINITE, Bounds
from .facts import concluded, concluded_rows, gaps_of
from .firing import in_a_row, keys_of
from .judged_run import JudgedRun


def open_bounds(parameters: Parameters) -> Bounds:
    """Return the bounds that the parameters ask for; a baseline is read or learnt now, or TrialError says why not."""
    if not parameters.baseline:
        return Bounds(parameters)
    by_thresholds = parameters._replace(baseline=(), patience=None)
    runs = [(location, _opened_baseline(location, by_thresholds)) for location in parameters.baseline]
    for location, baseline in runs:
        Bounds(parameters._replace(baseline=(location,)), baseline).require_alike(None)
    return Bounds(parameters, merged_baselines(runs))


def _opened_baseline(location: str, parameters: Parameters) -> Baseline:
    """Return the baseline of a file, or learn it from a trial folder, which is judged as the run is."""
    try:
        name = trial_location(location)
        path = os.path.expanduser(name)
        if not name.startswith("s3://") and not os.path.isfile(path) and not os.path.isdir(path):
            what = "it is neither a file nor a folder" if os.path.exists(path) else "it does not exist"
            several = " Of several, each is one of its own: commas do not separate them." if "," in name else ""
            raise TrialError(what, f"Pass a trial folder, an S3 URI, or a file that --save-baseline wrote.{several}")
        files = history_files(name)
        if files:
            history = read_history(files, name_filter(parameters))
            run = JudgedRun(name, history.rows, Bounds(parameters), history.mode)
            members = dict.fromkeys(parameters.collection_names, history.names)
            run = concluded_rows(run, members, TrialError("it has no rows", "Take a run that trains well."))
        else:
            content = file_content(name)
            if content is not None:
                return parse_baseline(content)
            run = _good_run(name, parameters)
        # A pattern that matches nothing there may match something of the run.
        return learn_baseline(run.with_facts(problem=None) if len(run) else run)
    except UnreadableError as error:
        remedy = "Save it anew with --save-baseline, from a run that trains well."
        raise TrialError(f"the baseline {location!r} {error}", remedy) from None
    except TrialError as error:
        raise TrialError(f"the baseline {location!r} cannot be used: {error.message}", error.remedy) from None


def _good_run(location: str, parameters: Parameters) -> JudgedRun:
    folder = TrialFolder(open_storage(location), parameters)
    missing = missing_trial(folder)
    if missing is not None:
        raise missing
    loop = Loop(folder, folder.judged_mode() or TRAIN)
    for global_step in folder.steps:
        loop.compare(global_step)
    return concluded(JudgedRun(location, loop.rows, Bounds(parameters), loop.mode), folder)


def learn_baseline(run: JudgedRun) -> Baseline:
    """Return the baseline of one run; TrialError says so if a ratio is not finite, or not all of it was compared."""
    for bad in run.violations:
        if bad.verdict == NOT_FINITE:
            what = f"the ratio of {bad.tensor!r} at {run.mode} step {bad.worst_step} is {bad.worst_ratio}"
            raise TrialError(what, "Take a run that trains well.")
    if run.problem is not None:
        raise run.problem
    if not run.complete:
        what = f"{len(run.unreadable):,} of its records could not be read"
        raise TrialError(what, "Restore its files, or take another run that trains well.")
    return Baseline(1, run.mode or "", run.parameters.epsilon, int(run.columns["step"].max()), _bands(run))


def _bands(run: JudgedRun) -> dict[str, Band]:
    columns, codes, keys = run.columns, run.tensors, keys_of(run.columns)
    tensors, ratios, norms = columns["tensor"], columns["ratio"], columns["weight_norm"]
    # The most frequent gap of each tensor, of equals the smaller one.
    usual = {name: max(counts, key=counts.__getitem__) for name, counts in gaps_of(run).items()}
    gaps = np.array([usual.get(name, 0) for name in codes])
    rests = np.zeros(len(codes), np.int64)
    np.maximum.at(rests, tensors, in_a_row(keys, ratios == 0)[0])
    moves = (columns["step"] - columns["reference_step"] == gaps[tensors]) & (ratios > 0) & (norms > 0)
    rows = np.flatnonzero(moves)
    rows = rows[np.argsort(keys[rows], kind="stable")]  # each course in the order of global steps
    smooth = _medians_of_three(keys[rows], ratios[rows])
    bins = np.searchsorted(BIN_EDGES, columns["step"][rows], side="right")
    limits = np.full((4, len(codes), BINS), np.nan)
    for which, values in enumerate((smooth, smooth, norms[rows], norms[rows])):
        np.fmax.at(limits[which], (tensors[rows], bins), values if which % 2 else -values)
    limits[::2] *= -1  # the lowest is the highest of what is negative
    return {name: Band(gap, int(rests[codes[name]]), limits[:, codes[name]]) for name, gap in usual.items()}


def _medians_of_three(keys: Array, values: Array) -> Array:
    """Return the median of each value and its two neighbours of the same key; the first and the last stay as they are.

    >>> _medians_of_three(np.array([0, 0, 0, 1]), np.array([1.0, 9.0, 2.0, 5.0])).tolist()
    [1.0, 2.0, 2.0, 5.0]
    """
    result = values.copy()
    before, middle, after = values[:-2], values[1:-1], values[2:]
    median = np.maximum(np.minimum(before, middle), np.minimum(np.maximum(before, middle), after))
    result[1:-1] = np.where((keys[:-2] == keys[1:-1]) & (keys[1:-1] == keys[2:]), median, middle)
    return result


def saved_baseline(run: JudgedRun) -> str:
    """Return a run as the text of a baseline file, merged with the baseline that it was judged against."""
    try:
        learnt, known = learn_baseline(run), run.bounds.baseline
        if known is None:
            return baseline_text(learnt)
        if run.fired:
            raise TrialError("it fires against the baseline that it would be added to", "Save it without --baseline.")
        return baseline_text(merged_baselines([(", ".join(run.parameters.baseline), known), (run.trial, learnt)]))
    except TrialError as error:
        raise TrialError(f"the run {run.trial!r} cannot be a baseline: {error.message}", error.remedy) from None
