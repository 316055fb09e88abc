"""A whole recorded trial, judged from its folder: what the command and CI call."""

from __future__ import annotations

import contextlib
import functools
import operator
import os
from concurrent.futures import BrokenExecutor, Executor
from typing import TYPE_CHECKING, Any, Callable, Iterator, Mapping, Sequence

from .compare.comparer import Comparer
from .compare.diagnosis import missing_trial
from .compare.history import history_files, read_history
from .compare.loop import Loop
from .compare.references import StepPairs
from .compare.rows import StepRows
from .errors import TrialError
from .parameters import Parameters, parse_parameters, with_parameters
from .render.progress import progress_bar
from .report import Report
from .storage.location import open_storage, trial_location
from .trial.folder import TRAIN, TrialFolder
from .trial.index_file import LARGEST_STEP
from .trial.selection import name_filter
from .verdict.facts import concluded, concluded_rows
from .verdict.good_runs import open_bounds

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .parameters import GivenParameters

Progress = Callable[[int, int], None]

DASK_SECONDS = 7  # to reach the scheduler; the command ends within 10, which its imports are part of
MOST_RANGES = 64  # that an executor gets: enough to keep many workers busy to the end
LEAST_STEPS = 8  # of a range, because each reads the step before it once more


@with_parameters
def check_trial(
    trial: Any,
    start_step: int = 0,
    end_step: int | None = None,
    strict: bool = False,
    executor: Executor | None = None,
    progress: Progress | bool | None = None,
    **parameters: Unpack[GivenParameters],
) -> Report:
    """Return the report of a trial folder, as it is now: it never waits, and needs no end-of-job file.

    Args:
        trial: Path of the trial folder, or an smdebug Trial; or a history file (.jsonl) or a list of those of a run's
            workers, whose rows are judged anew.
        **parameters: Those of the rule, each of which may be a string as well; see ``parameters.TABLE``.
        start_step: First global step that is judged; its reference may be an earlier one.
        end_step: Global step before which judging ends; None: after the last.
        strict: Whether everything that fires counts, as for the rule; else only faults do.
        executor: Any concurrent.futures.Executor, such as Dask's ``Client.get_executor()``: it is given ranges of
            steps, which need nothing of each other. Its workers read the folder themselves. The report is the same.
        progress: Called with (saved steps done, saved steps in all) after each; True shows a progress bar.

    Raises:
        ValueError: A parameter is not valid.
        TrialError: There is no trial at this place, the baseline cannot be used, or the executor broke.
    """
    checked = parse_parameters(**parameters)
    first, end = step_range(start_step, end_step)
    files = history_files(trial)
    if files:
        chosen = checked.collection_names != Parameters().collection_names
        meaningless = {"num_steps": checked.num_steps, "collection_names": chosen, "executor": executor}
        for name in filter(meaningless.get, meaningless):
            raise ValueError(f"{name!r} has no meaning for a history, whose updates are measured: leave it out")
        return _judged_history(files, checked, first, end, strict)
    location = trial_location(trial)
    folder = TrialFolder(open_storage(location), checked, getattr(trial, "range_steps", None))
    missing = missing_trial(folder)
    if missing is not None:
        raise missing
    bounds = open_bounds(folder.parameters)
    loop = Loop(folder, folder.judged_mode() or TRAIN)
    bounds.require_alike(loop.mode)
    steps = folder.steps_between(first, end)
    shown = progress_bar() if progress is True else contextlib.nullcontext(progress or (lambda done, total: None))
    with shown as step_done:
        if executor is None:
            for done, global_step in enumerate(steps, 1):
                loop.compare(global_step, end)
                step_done(done, len(steps))
        else:
            _compare_ranges(executor, folder, steps, loop, step_done)
    return concluded(Report(location, loop.rows, bounds, loop.mode, strict=strict), folder)


def _judged_history(files: Sequence[str], parameters: Parameters, first: int, end: int, strict: bool) -> Report:
    bounds = open_bounds(parameters)
    history = read_history(files, name_filter(parameters), first, end)
    bounds.require_alike(history.mode)
    name = ", ".join(files)
    nothing = TrialError(
        f"the history {name!r} has no row of mode {history.mode} there",
        "Widen start_step and end_step.",
    )
    report = Report(name, history.rows, bounds, history.mode, strict=strict)
    members = dict.fromkeys(parameters.collection_names, history.names)
    return concluded_rows(report, members, nothing, history.notes)


def step_range(start_step: Any, end_step: Any) -> tuple[int, int]:
    """Return (first global step, end), checked; without an ``end_step`` the end is beyond every step."""
    if type(start_step) is not int or start_step < 0:
        raise ValueError(f"'start_step' must be a whole number >= 0 (got {start_step!r})")
    end = LARGEST_STEP if end_step is None else end_step
    if type(end) is not int or end <= start_step:
        raise ValueError(f"'end_step' must be a whole number > 'start_step' {start_step} or None (got {end_step!r})")
    return start_step, end


def _compare_ranges(executor: Executor, folder: TrialFolder, steps: list[int], loop: Loop, progress: Progress) -> None:
    size = max(LEAST_STEPS, -(-len(steps) // MOST_RANGES))
    ranges = [steps[first : first + size] for first in range(0, len(steps), size)]
    location = folder.storage.location
    path = location if location.startswith("s3://") else os.path.abspath(os.path.expanduser(location))
    # Each as one object, because Dask would look for futures in all that a task is given.
    types = folder.collections.types
    tasks = [functools.partial(_compare_range, path, [loop.pairs(step) for step in part], types) for part in ranges]
    try:
        for part, results in zip(ranges, executor.map(operator.methodcaller("__call__"), tasks)):
            for global_step, rows in zip(part, results):
                loop.add(global_step, rows)
            progress(len(loop.done), len(steps))
    except BrokenExecutor as error:
        raise TrialError(
            f"the executor broke while it judged {folder.storage.location!r}: {error or 'a worker died'}",
            "Check it without an executor, or with one that replaces a dead worker, such as Dask's.",
        ) from None


def _compare_range(location: str, steps: list[list[StepPairs]], types: Mapping[str, str]) -> list[list[StepRows]]:
    """Return the rows of some steps. Runs in a worker and needs nothing from the other ranges."""
    comparer = Comparer(open_storage(location))
    comparer.types = types
    return [comparer.compare(pairs) for pairs in steps]


@contextlib.contextmanager
def dask_executor(address: str | None) -> Iterator[Executor | None]:
    """Give an executor on the workers of a Dask scheduler; None if no address is given."""
    if address is None:
        yield None
        return
    try:
        from distributed import Client
    except ImportError:
        remedy = "pip install 'weight-update-ratio[dask]'"
        raise TrialError("'--dask' needs Dask, which is not installed", remedy) from None
    try:
        client = Client(address, timeout=DASK_SECONDS)
    except Exception as error:  # pragma: no cover  (test_executor runs it in a process of its own)
        reason = error if isinstance(error, (OSError, TypeError, ValueError)) else "its answer is not Dask's"
        raise TrialError(
            f"there is no Dask scheduler at {address!r} ({reason})", "Give the address that 'dask scheduler' printed."
        ) from None
    with client:
        yield client.get_executor(pure=False)
