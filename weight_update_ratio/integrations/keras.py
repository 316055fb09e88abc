"""A callback of Keras 3 that records or watches a training: one step for each update of the optimizer."""

from __future__ import annotations

from typing import Any

import keras

from ..monitor import RatioMonitor
from ..record import TrialRecorder


class UpdateRatioCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Calls ``step`` of a TrialRecorder or a RatioMonitor after each update, and ends a recording with the fit.

        model.fit(..., callbacks=[UpdateRatioCallback(RatioMonitor(history="run.jsonl"))])

    Batches whose gradients the optimizer accumulates are no updates. A second fit goes on where the first ended. Keras
    has no hook for an exception: ``with TrialRecorder(...) as recorder`` around the fit ends the recording then.
    """

    def __init__(self, recorder_or_monitor: TrialRecorder | RatioMonitor) -> None:
        super().__init__()
        self._target = recorder_or_monitor
        self._updates = 0

    def on_train_begin(self, logs: Any = None) -> None:
        """Continue a recording that an earlier fit ended."""
        self._target.reopen()
        self._updates = self._iterations()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Count the updates that the batch made; with ``steps_per_execution`` the last of several is what is seen."""
        model = self.model  # asked for each time, because Keras on JAX brings the weights up to date then
        before, self._updates = self._updates, self._iterations()
        if before < 0 or self._updates > before:
            self._target.step(model)

    def _iterations(self) -> int:
        """Return how many updates there were; -1 if each batch is one, because no optimizer accumulates."""
        optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)  # of a loss scaler
        accumulates = getattr(optimizer, "gradient_accumulation_steps", None)
        return int(self.model.optimizer.iterations) if accumulates else -1

    def on_train_end(self, logs: Any = None) -> None:
        """End a recording."""
        self._target.close()
