"""Writes the trials that the benchmark judges, with smdebug's own writer."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def write_trial(folder: Path, tensors: int, elements: int, steps: int) -> None:
    """Write a trial of one worker in TRAIN mode: float32 weights that take a step of 1e-3 of their size at each."""
    from smdebug.core.access_layer.utils import training_has_ended
    from smdebug.core.collection_manager import CollectionManager
    from smdebug.core.modes import ModeKeys
    from smdebug.core.writer import FileWriter

    names = [f"layer_{number:03d}.weight" for number in range(tensors)]
    manager = CollectionManager()
    manager.add("weights")
    manager.get("weights").tensor_names = set(names)
    manager.export(str(folder), "worker_0_collections.json")
    random = np.random.default_rng(0)
    weights = [random.standard_normal(elements, np.float32) for _ in names]
    update = random.standard_normal(elements, np.float32) * np.float32(1e-3)
    for step in range(steps):
        writer = FileWriter(trial_dir=str(folder), step=step, worker="worker_0")
        for name, weight in zip(names, weights):
            writer.write_tensor(tdata=weight, tname=name, mode=ModeKeys.TRAIN, mode_step=step)
            weight += update
        writer.close()
    training_has_ended(str(folder))
