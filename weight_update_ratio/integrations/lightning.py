"""A callback of Lightning that records or watches a training: one step for each update of the optimizer."""

from __future__ import annotations

from typing import Any

try:
    from lightning import Callback
except ModuleNotFoundError:  # the package's other name, whose trainer takes either callback
    from pytorch_lightning import Callback

from ..monitor import RatioMonitor
from ..record import TrialRecorder


class UpdateRatioCallback(Callback):  # type: ignore[misc]
    """Calls ``step`` of a TrialRecorder or a RatioMonitor after each update, and ends a recording with the fit.

        Trainer(callbacks=[UpdateRatioCallback(RatioMonitor(history="run.jsonl"))])

    Batches whose gradients are only accumulated are no updates. A second fit goes on where the first ended.
    """

    def __init__(self, recorder_or_monitor: TrialRecorder | RatioMonitor) -> None:
        self._target = recorder_or_monitor
        self._updates = 0
        self._next: int | None = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Continue a recording that an earlier fit ended, from a checkpoint at its step."""
        self._target.reopen()
        is_resumed = pl_module.automatic_optimization and trainer.global_step not in (0, self._updates)
        self._updates = trainer.global_step
        self._next = self._updates if is_resumed else None

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *batch: Any) -> None:
        """Count one update, if the batch made one."""
        if trainer.global_step > self._updates:
            self._updates = trainer.global_step
            self._target.step(pl_module, step=self._next)
            self._next = None

    def on_fit_end(self, *arguments: Any) -> None:
        """End a recording."""
        self._target.close()

    on_exception = on_fit_end
