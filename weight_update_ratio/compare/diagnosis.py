"""Why a trial could not be judged at all: what is there instead, and what to do."""

from __future__ import annotations

import re
from typing import Iterable

from ..errors import TrialError
from ..parameters import Parameters, glob_hint
from ..trial.folder import TrialFolder
from ..trial.selection import Selection
from .rows import Rows


def missing_trial(folder: TrialFolder) -> TrialError | None:
    """Return what is wrong if a folder is not a trial, or does not say what its weights are; else None."""
    if folder.collections.tensor_names:
        return None
    where = repr(folder.storage.location)
    unreadable = [entry for entry in folder.unreadable if entry.file.startswith("collections")]
    if unreadable or folder.steps:
        what = f"'{unreadable[0].file}' {unreadable[0].reason}" if unreadable else "it has steps, but no collections"
        remedy = "Restore the collections files from the training job's output: they say which tensors are weights."
        return TrialError(f"the trial {where} cannot be judged: {what}", remedy)
    near = folder.storage.trials_near()
    if near == [folder.storage.location]:
        remedy = "Look in the training job's log for what it saved; --follow waits for a job that has just begun."
        return TrialError(f"the trial {where} is empty: its folders 'collections' and 'index' hold no files", remedy)
    if near:
        are, remedy = ("is", f"Pass {near[0]!r}.") if len(near) == 1 else ("are", "Pass one of them.")
        return TrialError(f"the folder {where} is not a trial, but {listed(near)} {are}", remedy)
    remedy = "Pass the folder that the training job wrote to (TrialRecorder's path, or the out_dir of smdebug's hook)."
    return TrialError(f"the folder {where} is not a trial: it has neither 'collections' nor 'index'", remedy)


def nothing_compared(rows: Rows, mode: str | None, folder: TrialFolder) -> TrialError:
    chosen, selection = listed(folder.parameters.collection_names), folder.selection
    if not folder.steps:
        return TrialError(
            f"the trial {folder.storage.location!r} has no saved steps: it holds collections, but no index files",
            "Look for an error in the training job's log; smdebug's hook cannot save bfloat16, TrialRecorder can.",
        )
    if rows.unreadable:
        first = min(rows.unreadable, key=rows.unreadable.__getitem__)
        tensor = f" of tensor {first.tensor!r}" if first.tensor else ""
        return TrialError(
            f"nothing could be read to compare; the first of {len(rows.unreadable)}: "
            f"the record{tensor} at global step {first.global_step} in '{first.file}' {first.reason}",
            "Restore the trial's files from where the training job wrote them, and check it again.",
        )
    if selection.reduced and not rows.steps:
        were = "was" if len(selection.reduced) == 1 else "were"
        return TrialError(
            f"nothing can be compared: {listed(selection.reduced)} of {chosen} {were} saved only as reductions "
            f"({listed(sorted(set(selection.reduced.values())))}), and a ratio needs the tensors themselves",
            "Save the tensors: leave out the collection's reduction_config, or set its save_raw_tensor to True.",
        )
    if rows.skipped:
        return all_skipped(rows)
    if not rows.steps and any(selection.known.values()):
        return TrialError(
            f"there is nothing to compare: no step of mode {mode} that holds a chosen tensor is between "
            f"start_step and end_step, while global steps {folder.steps[0]} to {folder.steps[-1]} were saved",
            "Widen start_step and end_step; they are global steps, which count the steps of all modes.",
        )
    if rows.steps:
        return TrialError(
            f"there is nothing to compare: no tensor has a reference, an earlier saved step in mode {mode} "
            f"({len(rows.steps)} saved steps, num_steps {folder.parameters.num_steps})",
            "Save more steps (save_interval=1), or widen num_steps, start_step and end_step.",
        )
    return nothing_chosen(selection)


def all_skipped(rows: Rows) -> TrialError:
    groups = rows.skipped_groups()
    if {group.reason for group in groups} == {"no elements"}:
        return TrialError(
            f"nothing can be compared: every tensor is empty ({listed(group.tensor or '' for group in groups)} "
            f"ha{'s' if len(groups) == 1 else 've'} no elements)",
            "Record weights that are gathered (DeepSpeed ZeRO-3: zero.GatheredParameters), or each process's part.",
        )
    what = f"every comparison was skipped; the first: tensor {groups[0].tensor!r}: {groups[0].reason}"
    return TrialError(what, "Set collection_names to collections whose tensors have elements and keep their shape.")


def nothing_chosen(selection: Selection) -> TrialError:
    names, saved = selection.parameters.collection_names, selection.saved_collections()
    chosen, there = listed(names), f"saved were {listed(saved) or 'tensors of no collection'}"
    if selection.seen_members:
        return unmatched_choice(selection) or TrialError(
            f"exclude_regex leaves out every saved tensor of {chosen} that tensor_regex chooses; the collections' "
            f"tensors are {listed(sorted(selection.seen_members))}",
            "Give exclude_regex patterns that leave some of them.",
        )
    if saved and all(selection.collections.tensor_names.get(name) == set() for name in names):
        remedy = f"Judge those that were saved: --collection-names {','.join(saved)} (in Python, collection_names)."
        return TrialError(f"the collection {chosen} is empty; {there}", remedy)
    save = (
        "Save the weights (the hook's include_collections=['weights']), or set collection_names to one that was saved."
    )
    return TrialError(f"no tensor of the collection {chosen} was saved; {there}", save)


def unmatched_choice(selection: Selection) -> TrialError | None:
    """Return what is wrong if a chosen collection or tensor_regex matches no saved tensor, else None."""
    parameters, collections = selection.parameters, selection.collections
    for collection in parameters.collection_names:
        if collections.tensor_names.get(collection) == set():  # one command serves all models
            continue
        alone = Selection(collections, Parameters(collection_names=(collection,)))
        if not any(name in alone for name in selection.known) and not alone.seen_members:
            return TrialError(
                f"no tensor of the collection {collection!r} was saved; "
                f"saved were {listed(selection.saved_collections()) or 'tensors of no collection'}",
                "Set collection_names to collections that were saved.",
            )
    seen = selection.seen_members
    idle = [pattern for pattern in parameters.tensor_regex if not any(re.search(pattern, name) for name in seen)]
    if not idle:
        return None
    hint = next((hint for hint in map(glob_hint, idle) if hint), "")
    return TrialError(
        f"no saved tensor of {listed(parameters.collection_names)} matches tensor_regex {listed(idle)}{hint}; "
        f"the collections' tensors are {listed(sorted(seen))}",
        "Give tensor_regex patterns that are found in the names of the weights.",
    )


def listed(names: Iterable[str], most: int = 5) -> str:
    """Return names in quotes, the first few of many."""
    quoted = [repr(name) for name in names]
    return ", ".join(quoted[:most]) + (f" and {len(quoted) - most} more" if len(quoted) > most else "")
