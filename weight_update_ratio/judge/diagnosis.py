"""Why a trial could not be judged at all: what was found in its place, and what to do."""

from __future__ import annotations

from typing import Iterable

from ..errors import TrialError
from ..trial.folder import TrialFolder
from .history import History


def missing_trial(folder: TrialFolder) -> TrialError | None:
    """Return what is wrong where a folder is not a trial, or does not say what its weights are; else None."""
    where = repr(folder.storage.location)
    if folder.collections.tensor_names:
        return None
    unreadable = [entry for entry in folder.unreadable if entry.file.startswith("collections")]
    if unreadable or folder.steps:
        what = f"'{unreadable[0].file}' {unreadable[0].reason}" if unreadable else "it has steps, and no collections"
        return TrialError(
            f"the trial {where} cannot be judged: {what}",
            "Restore the collections files from the training job's output: they say which tensors are weights.",
        )
    return TrialError(
        f"the folder {where} is not a trial: it has neither 'collections' nor 'index'",
        "Pass the folder that the training job's hook wrote to (the hook's out_dir).",
    )


def nothing_compared(history: History, folder: TrialFolder) -> TrialError:
    """Return why a trial gave no comparison at all: what was found in it, and what to save instead."""
    chosen = _listed(folder.parameters.collection_names)
    selection = folder.selection
    if not folder.steps:
        return TrialError(
            f"the trial {folder.storage.location!r} has no saved steps: it holds collections, and no index files",
            "Look for the hook's error in the training job's log: it cannot save bfloat16, for one.",
        )
    if history.unreadable:
        first = history.unreadable[0]
        tensor = f" of tensor {first.tensor!r}" if first.tensor else ""
        return TrialError(
            f"nothing could be read to compare; the first of {len(history.unreadable)}: "
            f"the record{tensor} at global step {first.global_step} in '{first.file}' {first.reason}",
            "Restore the trial's files from where the training job wrote them, and check it again.",
        )
    if selection.reduced and not history.tensors:
        were = "was" if len(selection.reduced) == 1 else "were"
        return TrialError(
            f"nothing can be compared: {_listed(selection.reduced)} of {chosen} {were} saved only as reductions "
            f"({_listed(sorted(set(selection.reduced.values())))}), and a ratio needs the tensors themselves",
            "Save the tensors: leave out the collection's reduction_config, or set its save_raw_tensor to True.",
        )
    skipped = [group for group in history.skipped if group.tensor is not None]
    if skipped:
        first_skip = skipped[0]
        return TrialError(
            f"every comparison was skipped; the first: tensor {first_skip.tensor!r}: {first_skip.reason}",
            "Name a collection whose tensors have elements and keep their shape by collection_names.",
        )
    if not history.judged_steps and any(name in selection for name in selection.seen()):
        return TrialError(
            f"there is nothing to compare: no step of mode {history.mode} is between start_step and end_step",
            "Widen start_step and end_step; they are global steps, which count the steps of all modes.",
        )
    if history.tensors:
        return TrialError(
            f"there is nothing to compare: no tensor has a reference, an earlier saved step in mode {history.mode} "
            f"({len(history.judged_steps)} saved steps, num_steps {folder.parameters.num_steps})",
            "Save more steps (save_interval=1), or widen num_steps, start_step and end_step.",
        )
    found = f"saved were {_listed(folder.saved_collections()) or 'tensors of no collection'}"
    patterns = folder.parameters.tensor_regex
    if patterns and any(folder.collections.tensor_names.get(name) for name in folder.parameters.collection_names):
        return TrialError(
            f"no saved tensor of {chosen} matches tensor_regex {','.join(patterns)!r}; the collections' tensors are "
            f"{_listed(sorted(selection.members & selection.seen())) or 'not saved'}",
            "Give tensor_regex a pattern that is found in the names of the weights.",
        )
    return TrialError(
        f"no tensor of the collection {chosen} was saved; {found}",
        "Save the weights (the hook's include_collections=['weights']), or name others by collection_names.",
    )


def _listed(names: Iterable[str], most: int = 5) -> str:
    """Return names in quotes, the first few of many."""
    quoted = [repr(name) for name in names]
    return ", ".join(quoted[:most]) + (f" and {len(quoted) - most} more" if len(quoted) > most else "")
