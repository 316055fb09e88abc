"""A callback of Hugging Face's Trainer that records or watches a training: one step for each update."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from ..monitor import RatioMonitor
from ..record import TrialRecorder


class UpdateRatioCallback(TrainerCallback):  # type: ignore[misc]
    """Calls ``step`` of a TrialRecorder or a RatioMonitor after each update, and ends a recording with the training.

        Trainer(..., callbacks=[UpdateRatioCallback(RatioMonitor(history="run.jsonl"))])

    A second training, or one that begins anew with a smaller batch (auto_find_batch_size), goes on counting. The
    Trainer has no hook for an exception: ``with TrialRecorder(...) as recorder`` around it ends the recording then.
    """

    def __init__(self, recorder_or_monitor: TrialRecorder | RatioMonitor) -> None:
        self._target = recorder_or_monitor
        self._next: int | None = None

    def on_train_begin(self, args: Any, state: Any, *control: Any, **given: Any) -> None:
        """Continue a recording that an earlier training ended, from a checkpoint at its step."""
        self._target.reopen()
        self._next = state.global_step or None

    def on_step_end(self, *arguments: Any, model: Any, **given: Any) -> None:
        """Count one update; the Trainer calls this once for all batches whose gradients were accumulated."""
        self._target.step(model, step=self._next)
        self._next = None

    def on_train_end(self, *arguments: Any, **given: Any) -> None:
        """End a recording."""
        self._target.close()
