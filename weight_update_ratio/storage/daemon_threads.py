"""Calls in threads that never keep the process from ending, and waits that a deadline or Ctrl-C ends.

Python joins the threads of a ThreadPoolExecutor when it ends. A request that hangs in one would hold it up.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections import deque
from concurrent.futures import Future
from typing import Any, Callable, TypeVar

Result = TypeVar("Result")

IDLE_SECONDS = 1  # that a thread waits for another call
LOOK_SECONDS = 0.25  # between two looks at whether Ctrl-C came


class InterruptedWait(KeyboardInterrupt):
    """Ctrl-C came during a wait, and its handler noted it and raised nothing."""


class DaemonThreads:
    """Runs calls in at most ``size`` daemon threads, in their order. A thread ends when no call comes for a while."""

    def __init__(self, size: float = math.inf) -> None:
        self._size = size
        self._running = self._idle = 0
        self._waiting: deque[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = deque()
        self._called = threading.Condition()

    def submit(self, function: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Return the future of a call."""
        future: Future[Result] = Future()
        with self._called:
            self._waiting.append((future, function, arguments))
            if len(self._waiting) <= self._idle:
                self._called.notify()
            elif self._running < self._size:
                self._running += 1
                threading.Thread(target=self._run, daemon=True).start()
        return future

    def _run(self) -> None:
        while True:
            with self._called:
                self._idle += 1
                is_called = self._called.wait_for(lambda: self._waiting, IDLE_SECONDS)
                self._idle -= 1
                if not is_called:
                    self._running -= 1
                    return
                future, function, arguments = self._waiting.popleft()
            try:
                future.set_result(function(*arguments))
            except BaseException as error:
                future.set_exception(error)
            del future, function, arguments  # a thread that waits keeps no result


def within(seconds: float, function: Callable[..., Result], *arguments: Any) -> Result:
    """Return what a call gives. It is made in a daemon thread of its own, which is left alone after ``seconds``.

    Raises:
        OSError: It took longer.
        InterruptedWait: Ctrl-C came.
    """
    return awaited(DaemonThreads(1).submit(function, *arguments), seconds)


def awaited(future: Future[Result], seconds: float = math.inf) -> Result:
    """Return a future's result.

    A wait goes on when a signal's handler returns. The handler of ``follow_trial`` notes Ctrl-C and restores the
    handler before it. So in the main thread a changed handler means that Ctrl-C came.

    Raises:
        OSError: It took longer than ``seconds``.
        InterruptedWait: Ctrl-C came.
    """
    end = time.monotonic() + seconds
    handler = signal.getsignal(signal.SIGINT)
    in_main_thread = threading.current_thread() is threading.main_thread()
    pending = threading.Lock()  # Ctrl-C at the end of a Condition's wait, as Future.result has one, raises RuntimeError
    pending.acquire()
    future.add_done_callback(lambda done: pending.release())
    while not pending.acquire(timeout=max(0, min(end - time.monotonic(), LOOK_SECONDS))):
        if in_main_thread and signal.getsignal(signal.SIGINT) is not handler:
            raise InterruptedWait
        if time.monotonic() >= end:
            raise OSError(f"no whole answer within {seconds:g} s")
    return future.result()
