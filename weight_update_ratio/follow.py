"""A job that is still writing, judged step by step: each step once, when it is complete.

A step is complete when every worker has written its index file, when a later step is complete (smdebug then passes over
it too), or when the job has ended. From a step on whose files come late or are written again, the job is judged again:
the report is that of a check afterwards.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, Iterator, Sequence

from .check import step_range
from .compare.diagnosis import missing_trial
from .compare.loop import Loop
from .compare.mode import TRAIN, judged_mode
from .compare.rows import Comparison
from .errors import TrialError
from .findings.live import LiveFaults
from .parameters import Parameters, parse_parameters, with_parameters
from .report import Report
from .storage.location import open_storage, trial_location
from .trial.folder import POLL_SECONDS, TrialFolder
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
        faults = LiveFaults()
        live = _LiveRun(folder, bounds, location, first, end, wait, strict)
        for global_step in live:
            if progress is not None:
                progress(len(live.loop.done), len(folder.steps))
            if watch is not None:
                report = live.report()
                if watch(report, faults.new_faults(report, global_step)):
                    return concluded(report, folder)
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
    return concluded(live.report(), folder, problem)


@contextlib.contextmanager
def _noted_interrupt() -> Iterator[Callable[[], bool]]:
    """Let the first Ctrl-C end the following after the step in hand, and give whether it came.

    Raised at once, it could leave half a row in the report. The second Ctrl-C is raised. Outside of the main thread no
    signal comes.
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


class _Wait:
    """Waits for something new, for at most ``timeout`` seconds; notes whether that passed, and whether it waited."""

    def __init__(self, timeout: float, poll: float, interrupted: Callable[[], bool]) -> None:
        self.timed_out = self.has_waited = False
        self.interrupted = interrupted
        self._timeout = timeout
        self.poll = poll
        self._seen = -1
        self._deadline = 0.0

    def __call__(self, seen: int) -> bool:
        """Wait for the next look; return False where there is none. ``seen`` is how much is known of the job."""
        now = time.monotonic()
        if seen != self._seen:
            self._seen = seen
            self._deadline = now + self._timeout
        self.timed_out = now >= self._deadline
        if self.timed_out or self.interrupted():
            return False
        self.has_waited = True
        time.sleep(min(self.poll, self._deadline - now))
        return not self.interrupted()


class _LiveRun:
    """The steps of a job that is still writing, compared when they are complete; iterating waits for them.

    Where a file comes late or is written again, the rows from its step on are cut off, and the steps compared again; so
    are all steps where it turns out that another mode is judged. The rows are then those of a check.
    """

    def __init__(
        self, folder: TrialFolder, bounds: Bounds, location: str, first: int, end: int, wait: _Wait, strict: bool
    ) -> None:
        self._folder = folder
        self._bounds = bounds
        self._location = location
        self._first = first
        self._end = end
        self._wait = wait
        self._strict = strict
        self.mode: str | None = None
        self.loop = Loop(folder, TRAIN)
        self._done = 0  # the global step before which all steps are compared

    def report(self) -> Report:
        """Return the report so far."""
        facts = {"strict": self._strict, "not_trained": self._folder.collections.not_trained}
        return Report(self._location, self.loop.rows, self._bounds, self.mode, **facts)

    def __iter__(self) -> Iterator[int]:
        """Yield each global step that was compared."""
        folder, wait = self._folder, self._wait
        is_last_look = folder.ended and not wait.has_waited
        while True:
            self._settle_mode()
            over = folder.ended or wait.timed_out  # then every step is compared, as a check does
            complete = folder.steps[-1] if folder.steps and over else folder.last_complete
            steps = folder.steps_between(max(self._first, self._done), min(complete + 1, self._end))
            is_awaited = False
            for global_step in steps if self.mode is not None else ():
                is_awaited = not over and folder.awaits_files(global_step)
                if wait.interrupted() or is_awaited:
                    break
                self.loop.compare(global_step, complete + 1)
                self._done = global_step + 1
                yield global_step
            if wait.interrupted():
                return
            if over or (self.mode is not None and complete >= self._end - 1 and not is_awaited):
                if is_last_look:
                    return
                is_last_look = True
                self._cut(self._look_once_more())
            elif wait(folder.changes):
                self._cut(folder.refresh())

    def _settle_mode(self) -> None:
        mode = judged_mode(self._folder, self._folder.ended, self._bounds.baseline_mode)
        if TRAIN in self._folder.modes:  # it cannot change any more
            self._bounds.require_alike(TRAIN)
        if mode != self.mode:
            self.mode, self._done = mode, 0
            self.loop = Loop(self._folder, mode or TRAIN)

    def _cut(self, changed: int | None) -> None:
        if changed is not None and changed < self._done:
            self.loop.cut(changed)
            self._done = changed

    def _look_once_more(self) -> int:
        """Look at the whole trial for the last time, and return the first step to compare again.

        Where the job has ended, workers may write their last step after that. smdebug waits as well
        (SMDEBUG_TRAINING_END_DELAY_REFRESH, a second).
        """
        if self._folder.ended:
            time.sleep(self._wait.poll)
        changed = self._folder.look_once_more()
        doubtful = self.loop.first_doubtful()
        return doubtful if changed is None else min(changed, doubtful)


def _await_trial(
    location: str, parameters: Parameters, kept: tuple[int | None, int | None] | None, wait: _Wait
) -> TrialFolder:
    """Return the folder once the collections of all its workers are there; what is there when the time is up."""
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
    """Return whether no trial will come where none is: in a file, beside a trial, or where the job has ended."""
    if folder is None:
        return os.path.exists(os.path.expanduser(location))
    return folder.ended or folder.storage.trials_near() not in ([], [location])
