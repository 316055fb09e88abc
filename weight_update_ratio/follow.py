"""A job that is still writing, judged step by step: each step once, when it is complete.

A step is complete when every worker has its index file, when a later step is complete, for then smdebug passes over
it as well, or when the job has ended.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from bisect import bisect_right
from typing import Any, Callable, Iterator

from .check import finish_report, judge_steps, range_steps, step_range, trial_location
from .errors import TrialError
from .judge.diagnosis import missing_trial
from .judge.references import JudgedMode
from .parameters import Parameters, parse_parameters
from .report import Report
from .trial.folder import TrialFolder
from .trial.s3 import open_storage

POLL_SECONDS = 1.0
MOST_INCOMPLETE = 1000  # steps that are waited for, as smdebug's INCOMPLETE_STEP_WAIT_WINDOW has it


def follow_trial(
    trial: Any,
    num_steps: Any = None,
    large_threshold: Any = 10.0,
    small_threshold: Any = 1e-8,
    epsilon: Any = 1e-9,
    collection_names: Any = "weights",
    tensor_regex: Any = None,
    start_step: int = 0,
    end_step: int | None = None,
    timeout: float = 600.0,
    poll: float = POLL_SECONDS,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Return the report of a job that is followed to its end, to ``end_step``, or until it seems dead.

    Its rows are those of ``check_trial`` afterwards. While only EVAL or PREDICT steps are known, nothing is judged.

    Args:
        trial: Path of the trial folder, which need not be there yet, or an smdebug Trial.
        num_steps: As for ``check_trial``, like all that follow.
        large_threshold: A ratio above it is a violation.
        small_threshold: A ratio below it is a violation.
        epsilon: Added to the norm of the weights, in their unit; > 0.
        collection_names: Collections whose tensors are compared, separated by commas.
        tensor_regex: Patterns separated by commas; where given, only tensors that match one are compared.
        start_step: First global step that is judged; its reference may be an earlier one.
        end_step: Global step before which judging ends; None: when the job ends.
        timeout: Seconds without a new step, or without a trial, after which the job is taken for dead; > 0.
        poll: Seconds between looks; > 0.
        progress: Called with (saved steps done, saved steps known) after each.

    Returns:
        The report, whose ``problem`` says so where the job was not followed to its end: no new step came for
        ``timeout`` seconds, or the user interrupted with Ctrl-C. What was found stands in it.

    Raises:
        ValueError: A parameter is not valid.
        TrialError: There is no trial at this place, and none came within ``timeout``.
    """
    parameters = parse_parameters(num_steps, large_threshold, small_threshold, epsilon, collection_names, tensor_regex)
    first, end = step_range(start_step, end_step)
    if not timeout > 0 or not poll > 0:
        raise ValueError(f"'timeout' and 'poll' must be numbers > 0 (got {timeout!r} and {poll!r})")
    report = Report(trial_location(trial), parameters)
    with _noted_interrupt() as interrupted:
        wait = _Wait(timeout, poll, interrupted)
        folder = _await_trial(report.trial, parameters, range_steps(trial), wait)
        live = _LiveSteps(folder, first, end, wait)
        while live.await_mode():
            report = Report(report.trial, parameters)
            report.mode = live.mode
            for done, _ in enumerate(judge_steps(folder, report, live), 1):
                if progress is not None:
                    progress(done, len(folder.steps))
    if interrupted():
        report.problem = TrialError(
            "interrupted before the job ended",
            "What was judged stands in the report; follow the job again for the rest.",
        )
    elif wait.timed_out:
        report.problem = TrialError(
            f"the job wrote no new step for {timeout:g} s, and no end-of-job file",
            "See whether the training job still runs; --timeout waits longer.",
        )
    finish_report(report, folder)
    return report


@contextlib.contextmanager
def _noted_interrupt() -> Iterator[Callable[[], bool]]:
    """Let the first Ctrl-C end the following after the step in hand, and give whether it came; the second is as ever.

    Raised at once, it could leave half a row in the report. Outside of the main thread no signal comes.
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
    """The waiting for something new, as long as it may take.

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
        return True


class _LiveSteps:
    """The complete steps of a job that is still writing, in order and each once; iterating waits for them.

    Attributes:
        mode: The mode that is judged, where it is known. When it changes, for the job's first steps were of no mode
            and then it began to train, the steps end, and a new iteration begins again at the first.
    """

    def __init__(self, folder: TrialFolder, first: int, end: int, wait: _Wait) -> None:
        self.mode: str | None = None
        self._folder = folder
        self._judged_mode = JudgedMode(folder)
        self._first = first
        self._end = end
        self._wait = wait
        self._ended = False

    def await_mode(self) -> bool:
        """Wait until it is known which mode is judged; return False where the steps are over."""
        while not self._ended:
            self.mode = self._judged_mode.now(self._folder.ended)
            if self.mode is not None:
                return True
            if self._wait(self._folder.indexed):
                self._folder.refresh()
            else:
                self._ended = True  # steps of EVAL are no training, also where no more comes
        return False

    def __iter__(self) -> Iterator[int]:
        last = self._first - 1
        while not self._ended and self._judged_mode.now(self._folder.ended) == self.mode:
            complete = self._complete()
            for step in self._folder.steps[bisect_right(self._folder.steps, last) :]:
                if step > complete or step >= self._end or self._wait.interrupted() or not self._is_there(step):
                    break
                yield step
                last = step
            if self._folder.ended or self._wait.timed_out or self._wait.interrupted() or complete >= self._end - 1:
                self._ended = True
            elif self._wait(self._folder.indexed):
                self._folder.refresh(last + 1)

    def _complete(self) -> int:
        """Return the last complete global step, or -1."""
        folder, steps = self._folder, self._folder.steps
        if not steps or folder.ended or self._wait.timed_out:  # of a job that died the same is judged as afterwards
            return steps[-1] if steps else -1
        waited_for = steps[-MOST_INCOMPLETE:]
        before = folder.step_before(waited_for[0])
        workers = folder.collections.num_workers
        whole = (step for step in reversed(waited_for) if folder.workers_at(step) >= workers)
        return next(whole, -1 if before is None else before)

    def _is_there(self, step: int) -> bool:
        """Return whether a step's event files are there, or will not come: a job that goes on may be about to."""
        folder = self._folder
        if folder.ended or self._wait.timed_out or not folder.missing_event_files(step):
            return True
        newest = folder.steps[-1]
        return newest > step and not folder.missing_event_files(newest)


def _await_trial(
    location: str, parameters: Parameters, kept: tuple[int | None, int | None] | None, wait: _Wait
) -> TrialFolder:
    """Return the folder once the collections of all its workers are there; what is there when the time is up."""
    while True:
        folder = missing = None
        try:
            folder = TrialFolder(open_storage(location), parameters, kept)
            missing = missing_trial(folder)
        except TrialError as error:
            missing = error
        if folder is not None and missing is None:
            described = len(folder.collections.workers)
            if folder.ended or described >= folder.collections.num_workers or not wait(folder.indexed):
                return folder
        elif missing is not None and ((folder is not None and folder.ended) or not wait(0)):
            raise missing
