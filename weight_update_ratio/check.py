"""A whole recorded trial, judged from its folder: what the command and CI call."""

from __future__ import annotations

import contextlib
import functools
import os
from concurrent.futures import BrokenExecutor, Executor, Future, as_completed
from typing import Any, Callable, Iterator

from .compare.comparer import Comparer
from .compare.diagnosis import missing_trial
from .compare.history import History
from .compare.loop import Judge, judge_pairs
from .compare.mode import judged_mode
from .compare.references import StepPairs
from .errors import TrialError, Unreadable
from .parameters import parse_parameters
from .report import Report
from .storage.daemon_threads import within
from .storage.location import open_storage, trial_location
from .trial.folder import TrialFolder
from .trial.index_file import LARGEST_STEP
from .verdict.bounds import Bounds
from .verdict.good_runs import open_bounds

Progress = Callable[[int, int], None]

DASK_SECONDS = 7  # to reach the scheduler; the command ends within 10, which its imports are part of
MOST_RANGES = 64  # that an executor gets: enough to keep many workers busy to the end
LEAST_STEPS = 8  # of a range, for each reads the step before it once more


def check_trial(
    trial: Any,
    num_steps: Any = None,
    large_threshold: Any = 10.0,
    small_threshold: Any = 1e-8,
    epsilon: Any = 1e-9,
    collection_names: Any = "weights",
    tensor_regex: Any = None,
    exclude_regex: Any = None,
    patience: Any = None,
    baseline: Any = None,
    baseline_factor: Any = 3.0,
    start_step: int = 0,
    end_step: int | None = None,
    executor: Executor | None = None,
    progress: Progress | bool | None = None,
) -> Report:
    """Return the report of a trial folder, as it is now: it never waits, and needs no end-of-job file.

    Args:
        trial: Path of the trial folder, or an smdebug Trial.
        num_steps: Compare with the oldest saved step at most so many steps back; None: with the previous saved step.
        large_threshold: A ratio above it is a violation.
        small_threshold: A ratio below it is a violation.
        epsilon: Added to the norm of the weights, in their unit; > 0.
        collection_names: Collections whose tensors are compared, separated by commas.
        tensor_regex: Patterns separated by commas; where given, only tensors that match one are compared.
        exclude_regex: Patterns separated by commas; tensors that match one are left out.
        patience: How many violations in a row of a tensor fire; None: 1, with a baseline 3.
        baseline: What trains well: a trial folder, an S3 URI or a baseline file, or a list of them. Its ratios give the
            bounds in place of the thresholds, where it has the tensor and the step.
        baseline_factor: By how much the bounds are wider than the ratios of the baseline; >= 1.
        start_step: First global step that is judged; its reference may be an earlier one.
        end_step: Global step before which judging ends; None: after the last.
        executor: Any concurrent.futures.Executor, such as Dask's ``Client.get_executor()``: it is given ranges of
            steps, which need nothing of each other. Its workers read the folder themselves. The report is the same.
        progress: Called with (saved steps done, saved steps in all) after each; True shows a progress bar.

    Raises:
        ValueError: A parameter is not valid.
        TrialError: There is no trial at this place, the baseline cannot be used, or the executor broke.
    """
    parameters = parse_parameters(
        num_steps,
        large_threshold,
        small_threshold,
        epsilon,
        collection_names,
        tensor_regex,
        exclude_regex,
        patience,
        baseline,
        baseline_factor,
    )
    first, end = step_range(start_step, end_step)
    location = trial_location(trial)
    folder = TrialFolder(open_storage(location), parameters, range_steps(trial))
    missing = missing_trial(folder)
    if missing is not None:
        raise missing
    history = History(location, parameters, open_bounds(parameters))
    history.mode = judged_mode(folder)
    history.bounds.require_alike(history.mode)
    judge = Judge(folder, history)
    steps = folder.steps_between(first, end)
    with _progress(progress) as step_done:
        if executor is None:
            _judge_steps(judge, steps, end, step_done)
        else:
            _judge_ranges(executor, folder, steps, judge, step_done)
    judge.end()
    return Report(history)


def _judge_steps(judge: Judge, steps: list[int], end: int, progress: Progress) -> None:
    """Judge saved global steps, in their order."""
    for done, global_step in enumerate(steps, 1):
        judge.judge_step(global_step, end)
        progress(done, len(steps))


def _progress(progress: Progress | bool | None) -> contextlib.AbstractContextManager[Progress]:
    if progress is True:
        from .render.progress import progress_bar

        return progress_bar()
    return contextlib.nullcontext(progress or (lambda done, total: None))


def range_steps(trial: Any) -> tuple[int | None, int | None] | None:
    """Return the global steps, end exclusive, that smdebug's Trial was told to keep to; None: all."""
    steps: tuple[int | None, int | None] | None = getattr(trial, "range_steps", None)
    return steps


def step_range(start_step: Any, end_step: Any) -> tuple[int, int]:
    """Return (first global step, end), checked; an end that is not given is beyond every step."""
    if isinstance(start_step, bool) or not isinstance(start_step, int) or start_step < 0:
        raise ValueError(f"'start_step' must be a whole number >= 0 (got {start_step!r})")
    if end_step is None:
        return start_step, LARGEST_STEP
    if isinstance(end_step, bool) or not isinstance(end_step, int) or end_step <= start_step:
        raise ValueError(f"'end_step' must be a whole number > 'start_step' {start_step} or None (got {end_step!r})")
    return start_step, end_step


def _judge_ranges(executor: Executor, folder: TrialFolder, steps: list[int], judge: Judge, progress: Progress) -> None:
    """Add what ranges of the steps give, in the order of the steps, as an executor's workers end with them."""
    mode, bounds = judge.history.mode or "", judge.history.bounds
    size = max(LEAST_STEPS, -(-len(steps) // MOST_RANGES))
    ranges = [steps[first : first + size] for first in range(0, len(steps), size)]
    location = folder.storage.location
    place = location if location.startswith("s3://") else os.path.abspath(os.path.expanduser(location))
    futures: dict[Future[History], int] = {}
    try:
        for position, part in enumerate(ranges):
            found = [judge.found(global_step) for global_step in part]
            # As one object, for Dask would look for futures in all that a task is given.
            futures[executor.submit(functools.partial(_judge_range, place, bounds, mode, found))] = position
        waiting: dict[int, History] = {}
        merged = done = 0
        for future in as_completed(futures):
            position = futures[future]
            waiting[position] = future.result()
            done += len(ranges[position])
            while merged in waiting:
                judge.merge(waiting.pop(merged))
                merged += 1
            progress(done, len(steps))
    except BrokenExecutor as error:
        raise TrialError(
            f"the executor broke while it judged {folder.storage.location!r}: {error or 'a worker died'}",
            "Check it without an executor, or with one that replaces a dead worker, such as Dask's.",
        ) from None
    finally:
        for future in futures:
            future.cancel()


def _judge_range(
    location: str, bounds: Bounds, mode: str, steps: list[tuple[list[StepPairs], list[Unreadable]]]
) -> History:
    """Return what comparing the pairs of some steps finds. Runs in a worker and needs nothing from the other ranges."""
    history = History(location, bounds.parameters)
    history.mode = mode
    comparer = Comparer(open_storage(location), bounds)
    for pairs, unreadable in steps:
        judge_pairs(comparer, history, pairs, unreadable)
    return history


@contextlib.contextmanager
def dask_executor(address: str | None) -> Iterator[Executor | None]:
    """Give an executor on the workers of a Dask scheduler, where an address is given.

    Raises:
        TrialError: Dask is not installed, or there is no scheduler.
    """
    if address is None:
        yield None
        return
    try:
        from distributed import Client
    except ImportError:
        raise TrialError(
            "'--dask' needs Dask, which is not installed", "pip install 'weight-update-ratio[dask]'"
        ) from None
    try:  # Client has no deadline for a server that accepts and says nothing, and takes any bytes for Dask's
        client = within(DASK_SECONDS + 1, lambda: Client(address, timeout=DASK_SECONDS))
    except Exception as error:
        reason = error if isinstance(error, (OSError, TypeError, ValueError)) else "its answer is not Dask's"
        raise TrialError(
            f"there is no Dask scheduler at {address!r} ({reason})", "Give the address that 'dask scheduler' printed."
        ) from None
    with client:
        yield client.get_executor(pure=False)
