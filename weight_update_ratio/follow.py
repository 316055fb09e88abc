"""A job that is still writing, judged step by step, each step when it is complete.

A step is complete when every worker has written its index file, when a later step is complete (smdebug then passes over
it too), or when the job has ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Iterator, Sequence

from .check import step_range
from .compare.diagnosis import missing_trial
from .compare.loop import Loop
from .compare.rows import Comparison
from .errors import TrialError
from .findings.live import LiveFaults
from .parameters import Parameters, parse_parameters, with_parameters
from .report import Report
from .storage.location import open_storage, trial_location
from .trial.folder import POLL_SECONDS, TRAIN, TrialFolder
from .verdict.bounds import Bounds
from .verdict.facts import concluded
from .verdict.good_runs import open_bounds

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .parameters import GivenParameters


@with_parameters
def follow_trial(
    trial: Any,
    start_step: int = 0,
    end_step: int | None = None,
    strict: bool = False,
    timeout: float = 600.0,
    poll: float = POLL_SECONDS,
    progress: Callable[[int, int], None] | None = None,
    watch: Callable[[Report, Sequence[Comparison]], bool] | None = None,
    **parameters: Unpack[GivenParameters],
) -> Report:
    """Return the report of a job that is followed to its end, to ``end_step``, or until it seems dead.

    It is that of ``check_trial`` afterwards; with ``end_step``, that of a check when that step was complete. While only
    EVAL or PREDICT steps are known, nothing is judged.

    Args:
        trial: Path of the trial folder, which need not be there yet, or an smdebug Trial.
        **parameters: As for ``check_trial``.
        start_step: As for ``check_trial``.
        end_step: As for ``check_trial``.
        strict: As for ``check_trial``.
        timeout: Seconds without a new step, or without a trial, after which the job is taken for dead; > 0.
        poll: Seconds between looks; > 0.
        progress: Called with (saved steps done, saved steps known) after each.
        watch: Called after each step with the report so far and a violation of each tensor that has a new fault: each
            fault once, as soon as nothing that follows can make it a note. If it returns True, the following ends:
            ``watch=lambda report, faults: bool(faults)`` ends it at the first fault.

    Returns:
        The report, whose ``problem`` says so where the job was not followed to its end: no new step came for
        ``timeout`` seconds, or the user interrupted with Ctrl-C. It holds what was found until then.

    Raises:
        ValueError: A parameter is not valid.
        TrialError: There is no trial at this place, and none came within ``timeout``; or the baseline cannot be used.
    """
    checked = parse_parameters(**parameters)
    first, end = step_range(start_step, end_step)
    for name, seconds in (("timeout", timeout), ("poll", poll)):
        if isinstance(seconds, (str, bytes)) or not seconds > 0:
            raise ValueError(f"'{name}' must be a number of seconds > 0 (got {seconds!r})")
    location, bounds = trial_location(trial), open_bounds(checked)
    with _noted_interrupt() as interrupted:
        wait = _Wait(timeout, poll, interrupted)
        folder = _await_trial(location, checked, getattr(trial, "range_steps", None), wait)
        if folder.parameters != checked:  # it was saved in pairs
            bounds = open_bounds(folder.parameters)
        live, faults = _LiveRun(folder, bounds, wait, first, end), LiveFaults()

        def report() -> Report:
            facts = {"strict": strict, "not_trained": folder.collections.not_trained}
            return Report(location, live.loop.rows, bounds, live.mode, **facts)

        for global_step in live:
            if progress is not None:
                progress(len(live.loop.done), len(folder.steps))
            if watch is not None:
                so_far = report()
                if watch(so_far, faults.new_faults(so_far, global_step)):
                    return concluded(so_far, folder)
    bounds.require_alike(live.mode)
    problem = None
    if interrupted():
        problem = TrialError(
            "interrupted before the job ended",
            "What was judged is in the report; follow the job again for the rest.",
        )
    elif wait.timed_out and not folder.ended:
        problem = TrialError(
            f"the job wrote no new step for {timeout:g} s, and no end-of-job file",
            "See whether the training job still runs; --timeout waits longer.",
        )
    return concluded(report(), folder, problem)


@contextlib.contextmanager
def _noted_interrupt() -> Iterator[Callable[[], bool]]:
    """Let the first Ctrl-C end the following after the step in hand, and give whether it came; raise the second.

    Raised at once, it could leave half a row in the report. Signals come to the main thread alone.
    """
    came: list[int] = []

    def note(number: int, frame: Any) -> None:
        came.append(number)
        signal.signal(signal.SIGINT, before)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(came)
    finally:
        signal.signal(signal.SIGINT, before)


@dataclass
class _Wait:
    """Waits for something new, for at most ``timeout`` seconds."""

    timeout: float
    poll: float
    interrupted: Callable[[], bool]
    timed_out: bool = False
    has_waited: bool = False
    _seen: int = -1
    _deadline: float = 0.0

    def __call__(self, seen: int) -> bool:
        """Wait for the next look; return False where there is none. ``seen`` is how much is known of the job."""
        now = time.monotonic()
        if seen != self._seen:
            self._seen = seen
            self._deadline = now + self.timeout
        self.timed_out = now >= self._deadline
        if self.timed_out or self.interrupted():
            return False
        self.has_waited = True
        time.sleep(min(self.poll, self._deadline - now))
        return not self.interrupted()


@dataclass
class _LiveRun:
    """The steps of a job that is still writing, compared when they are complete; iterating waits for them.

    If a file comes late or is written again, the rows from its step on are cut off, and the steps compared again; so
    are all steps if it turns out that another mode is judged. The rows are then those of a check.
    """

    folder: TrialFolder
    bounds: Bounds
    wait: _Wait
    first: int
    end: int
    mode: str | None = None

    def __post_init__(self) -> None:
        self.loop = Loop(self.folder, TRAIN)

    def __iter__(self) -> Iterator[int]:
        folder, wait = self.folder, self.wait
        is_last_look = folder.ended and not wait.has_waited
        while True:
            self._settle_mode()
            over = folder.ended or wait.timed_out  # then every step is compared, as a check does
            complete = folder.steps[-1] if folder.steps and over else folder.last_complete
            first = max([self.first - 1, *self.loop.done]) + 1
            steps = folder.steps_between(first, min(complete + 1, self.end))
            is_awaited = False
            for global_step in steps if self.mode is not None else ():
                is_awaited = not over and folder.awaits_files(global_step)
                if wait.interrupted() or is_awaited:
                    break
                self.loop.compare(global_step, complete + 1)
                yield global_step
            if wait.interrupted():
                return
            if over or (self.mode is not None and complete >= self.end - 1 and not is_awaited):
                if is_last_look:
                    return
                is_last_look = True
                if folder.ended:  # workers may write their last step after that
                    time.sleep(wait.poll)  # as smdebug does, a second: SMDEBUG_TRAINING_END_DELAY_REFRESH
                self._cut(folder.look_once_more())
                self._cut(self.loop.first_doubtful())
            elif wait(folder.changes):
                self._cut(folder.refresh())

    def _settle_mode(self) -> None:
        mode = self.folder.judged_mode(self.folder.ended, self.bounds.baseline_mode)
        if TRAIN in self.folder.modes:  # it cannot change any more
            self.bounds.require_alike(TRAIN)
        if mode != self.mode:
            self.mode = mode
            self.loop = Loop(self.folder, mode or TRAIN)

    def _cut(self, changed: int | None) -> None:
        if changed is not None:
            self.loop.cut(changed)


def _await_trial(
    location: str, parameters: Parameters, kept: tuple[int | None, int | None] | None, wait: _Wait
) -> TrialFolder:
    """Return the folder once the collections of all its workers are there, or when the time is up."""
    folder: TrialFolder | None = None
    while True:
        try:
            if folder is None:
                folder = TrialFolder(open_storage(location), parameters, kept)
            else:
                folder.refresh()
            missing = missing_trial(folder)
        except TrialError as error:
            missing = error
        if folder is not None and missing is None:
            described = len(folder.collections.workers)
            if folder.ended or described >= folder.collections.num_workers or not wait(folder.changes):
                return folder
        elif missing is not None and (_stays_missing(location, folder) or not wait(0)):
            raise missing


def _stays_missing(location: str, folder: TrialFolder | None) -> bool:
    """Return whether no trial will come: it is a file, a trial is beside it, or the job has ended."""
    if folder is None:
        return os.path.exists(os.path.expanduser(location))
    return folder.ended or folder.storage.trials_near() not in ([], [location])
