"""A job that is still writing, judged step by step: each step once, when it is complete.

A step is complete when every worker has written its index file, when a later step is complete (smdebug then passes over
it too), or when the job has ended. A step that comes later is judged then. What a resumed job writes again, and what
could not be read, is judged again at the end: the report is that of a check afterwards.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from typing import Any, Callable, Iterator, Sequence

from .check import range_steps, step_range
from .compare.comparison import Comparison
from .compare.diagnosis import missing_trial
from .compare.history import History
from .compare.loop import Judge
from .compare.mode import judged_mode
from .errors import TrialError
from .parameters import Parameters, parse_parameters
from .report import Report
from .storage.daemon_threads import InterruptedWait
from .storage.location import open_storage, trial_location
from .trial.folder import POLL_SECONDS, TrialFolder
from .verdict.good_runs import open_bounds


def follow_trial(
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
    timeout: float = 600.0,
    poll: float = POLL_SECONDS,
    progress: Callable[[int, int], None] | None = None,
    watch: Callable[[Report, Sequence[Comparison]], bool] | None = None,
) -> Report:
    """Return the report of a job that is followed to its end, to ``end_step``, or until it seems dead.

    It is that of ``check_trial`` afterwards; with ``end_step``, that of a check when that step was complete. While only
    EVAL or PREDICT steps are known, nothing is judged.

    Args:
        trial: Path of the trial folder, which need not be there yet, or an smdebug Trial.
        num_steps: As for ``check_trial``, and so are the next eleven.
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
        end_step: Global step before which judging ends; None: when the job ends.
        timeout: Seconds without a new step, or without a trial, after which the job is taken for dead; > 0.
        poll: Seconds between looks; > 0.
        progress: Called with (saved steps done, saved steps known) after each.
        watch: Called after each step with the report so far and the violations that fire there; where it returns True,
            the following ends: ``watch=lambda report, firing: report.fired`` ends it where the rule fires.

    Returns:
        The report, whose ``problem`` says so where the job was not followed to its end: no new step came for
        ``timeout`` seconds, or the user interrupted with Ctrl-C. It holds what was found until then.

    Raises:
        ValueError: A parameter is not valid.
        TrialError: There is no trial at this place, and none came within ``timeout``; or the baseline cannot be used.
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
    for name, seconds in (("timeout", timeout), ("poll", poll)):
        if isinstance(seconds, (str, bytes)) or not seconds > 0:
            raise ValueError(f"'{name}' must be a number of seconds > 0 (got {seconds!r})")
    history = History(trial_location(trial), parameters, open_bounds(parameters))
    with _noted_interrupt() as interrupted:
        wait = _Wait(timeout, poll, interrupted)
        folder = _await_trial(history.trial, parameters, range_steps(trial), wait)
        live = _LiveSteps(folder, first, end, wait)
        judge = Judge(folder, history)
        with contextlib.suppress(InterruptedWait):
            while live.await_mode():
                history = history.emptied()
                history.mode = live.mode
                history.bounds.require_alike(history.mode)
                judge = Judge(folder, history, live=not folder.ended)
                for done, global_step in enumerate(live, 1):
                    firing = judge.judge_step(global_step, folder.last_complete + 1).firing
                    if progress is not None:
                        progress(done, len(folder.steps))
                    if watch is not None and watch(Report(history), firing):
                        judge.end()
                        return Report(history)
            if not interrupted():
                if judge.is_live:
                    _look_once_more(folder, poll)
                judge.judge_again(folder.steps_between(first, end))
    history = judge.history
    if interrupted():
        history.problem = TrialError(
            "interrupted before the job ended",
            "What was judged is in the report; follow the job again for the rest.",
        )
    elif wait.timed_out and not folder.ended:
        history.problem = TrialError(
            f"the job wrote no new step for {timeout:g} s, and no end-of-job file",
            "See whether the training job still runs; --timeout waits longer.",
        )
    judge.end()
    return Report(history)


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
    """Waits for something new, for at most ``timeout`` seconds.

    Attributes:
        timed_out: Whether nothing new came in time.
    """

    def __init__(self, timeout: float, poll: float, interrupted: Callable[[], bool]) -> None:
        self.timed_out = False
        self.interrupted = interrupted
        self._timeout = timeout
        self._poll = poll
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
        time.sleep(min(self._poll, self._deadline - now))
        return not self.interrupted()


class _LiveSteps:
    """The complete steps of a job that is still writing, each once; iterating waits for them.

    They come in order, but for those that are listed only after a later one.

    Attributes:
        mode: The mode that is judged, where it is known. Where the job's first steps were of no mode and then it began
            to train, the mode changes and the steps end: a new iteration begins again at the first.
    """

    def __init__(self, folder: TrialFolder, first: int, end: int, wait: _Wait) -> None:
        self.mode: str | None = None
        self._folder = folder
        self._first = first
        self._end = end
        self._wait = wait
        self._ended = False

    def await_mode(self) -> bool:
        """Wait until it is known which mode is judged; return False where the steps are over."""
        while not self._ended:
            self.mode = judged_mode(self._folder, self._folder.ended)
            if self.mode is not None:
                return True
            if self._wait(self._folder.changes):
                self._folder.refresh()
            else:
                self._ended = True  # EVAL steps alone are not training, also where nothing more comes
        return False

    def __iter__(self) -> Iterator[int]:
        done: set[int] = set()
        while not self._ended and judged_mode(self._folder, self._folder.ended) == self.mode:
            complete = self._last_complete()
            for step in self._folder.steps_between(self._first, min(complete + 1, self._end)):
                if step in done:
                    continue
                if self._wait.interrupted() or self._is_awaited(step):
                    break
                yield step
                done.add(step)
            if self._folder.ended or self._wait.timed_out or self._wait.interrupted() or complete >= self._end - 1:
                self._ended = True
            elif self._wait(self._folder.changes):
                self._folder.refresh()

    def _last_complete(self) -> int:
        """Return the last global step to judge now: every step of a job that seems dead, as a check does afterwards."""
        steps = self._folder.steps
        return steps[-1] if steps and self._wait.timed_out else self._folder.last_complete

    def _is_awaited(self, step: int) -> bool:
        return not self._wait.timed_out and self._folder.awaits_files(step)


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


def _look_once_more(folder: TrialFolder, poll: float) -> None:
    """Look at the whole trial for the last time; where the job has ended, workers may write their last step after that.

    smdebug waits as well (SMDEBUG_TRAINING_END_DELAY_REFRESH, a second).
    """
    if folder.ended:
        time.sleep(poll)
        folder.ended = False
    folder.refresh(0)


def _stays_missing(location: str, folder: TrialFolder | None) -> bool:
    """Return whether no trial will come where none is: in a file, beside a trial, or where the job has ended."""
    if folder is None:
        return os.path.exists(os.path.expanduser(location))
    return folder.ended or folder.storage.trials_near() not in ([], [location])
