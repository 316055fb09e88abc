"""Small nets that learn sklearn's digits well, the ways in which they are trained, and the recordings."""

from __future__ import annotations

import itertools
import re
import shutil
import warnings
from functools import partial
from pathlib import Path
from typing import Any, Callable, Iterator, NamedTuple, Sequence

import torch
from torch import nn

from tests.benchmarks.job import Job, shuffled_batches
from tests.benchmarks.nets import DECAYED, MOMENTUM, Transformer, cnn, cosine, digits, mlp
from weight_update_ratio import RatioMonitor, TrialRecorder

LORA = "LoRA of peft"
OPTIMIZERS: dict[str, tuple[Callable[..., torch.optim.Optimizer], float]] = {  # with the learning rate
    "SGD": (MOMENTUM, 0.05),
    "Adam": (torch.optim.Adam, 2e-3),
    "AdamW": (DECAYED, 2e-3),
    "SGD decay": (partial(MOMENTUM, weight_decay=5e-4), 0.05),
}
RECORDINGS: dict[str, dict[str, Any]] = {"each": {}, "pairs": {"save_interval": 50, "pairs": True}}
RECORDINGS.update({f"{name}, trained_only": {**options, "trained_only": True} for name, options in RECORDINGS.items()})
SKIPS = (0, 1, 2, 57, 140, 301, 450, 533)
WARM = 20  # updates of a warm-up from exactly 0


def _job(
    net: Any, optimizer: str, updates: int, factor: Callable[[int], float], speed: float = 1.0, sign: int = 1
) -> Job:
    """Return a training whose learning rate has a factor by update, 0..; ``sign`` -1 shows the digits in negative."""
    make, rate = OPTIMIZERS[optimizer]
    inputs, labels = digits()
    return Job(
        model=net,
        optimizer=make([parameter for parameter in net.parameters() if parameter.requires_grad], lr=speed * rate),
        inputs=sign * inputs,
        labels=labels,
        batches=shuffled_batches(len(inputs), 32, torch.Generator().manual_seed(0)),
        learning_rate=lambda update: speed * rate * factor(update),
        steps=updates,
    )


def _keras() -> Any:
    import keras  # on PyTorch, so a module as well

    keras.utils.set_random_seed(1)  # it draws from a generator that torch's seed does not set
    hidden = [keras.layers.Dense(32, activation="relu") for _ in range(2)]
    net = keras.Sequential([keras.Input((64,)), *hidden, keras.layers.LayerNormalization(), keras.layers.Dense(10)])
    net.head = net.layers[-1]
    return net


def _adapted() -> nn.Module:
    """Return a perceptron that has learnt the digits in negative, with adapters and a head to be trained."""
    from peft import LoraConfig, get_peft_model

    job = _job(NETS["MLP"](), "Adam", 400, lambda update: 1.0, sign=-1)
    for update in range(job.steps):
        job.add_gradients()
        job.update(update)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = LoraConfig(r=4, target_modules=["body.0", "body.2"], modules_to_save=["head"])
        return get_peft_model(job.model, config)


NETS: dict[str, Callable[[], Any]] = {
    "MLP": lambda: mlp(64, 32, 2, 10, False, nn.ReLU()),
    "CNN BatchNorm": cnn,
    "Transformer LayerNorm": lambda: Transformer(False),
    LORA: _adapted,
    "Keras MLP": _keras,
}


def warm_up(update: int, updates: int) -> float:
    return min(1.0, update / WARM)


def to_0(update: int, updates: int) -> float:
    return cosine(min(1.0, update / (updates - 1)))  # exactly 0 at the last update


def both(update: int, updates: int) -> float:
    return update / WARM if update < WARM else to_0(update - WARM, updates - WARM)


class Variant(NamedTuple):
    """How a run is trained and recorded; at ``resume`` it is killed, and goes on 20 batches before."""

    schedule: Callable[[int, int], float] = lambda update, updates: 1.0  # of the update, and of how many there will be
    zero_head: bool = False
    record: str = "after"  # each batch; "first": before the training too; "before": first, and before each update
    skips: tuple[int, ...] = ()  # batches whose update a loss scaler skips
    accumulate: int = 1  # batches of an update
    resume: int = 0
    is_new: bool = False  # recorded from ``resume`` on only
    steps: int = 602  # the last pair is at the end


VARIANTS = {
    "plain": Variant(),
    "cosine to 0": Variant(to_0),
    "warm-up, cosine to 0": Variant(both),
    "HF cosine": Variant(lambda update, updates: both(update, updates + 1)),  # it would be 0 after the last update
    "linear, 3 at 0": Variant(lambda update, updates: max(0.0, 1 - update / (updates - 3))),
    "cosine to 0, 402 steps": Variant(to_0, steps=402),
    "zero head, warm-up, cosine": Variant(both, zero_head=True),
    "recorded first": Variant(record="first"),
    "recorded first, warm-up": Variant(warm_up, record="first"),
    "recorded first, zero head": Variant(zero_head=True, record="first"),
    "recorded first, accumulate 8, warm-up": Variant(warm_up, record="first", accumulate=8),
    "recorded before each": Variant(record="before"),
    "recorded before each, scaler skips, warm-up": Variant(warm_up, record="before", skips=SKIPS),
    "scaler skips": Variant(skips=SKIPS),
    "accumulate 4": Variant(accumulate=4),
    "accumulate 8": Variant(accumulate=8),
    "accumulate 4, warm-up, cosine": Variant(both, accumulate=4),
    "accumulate 8, warm-up, cosine": Variant(both, accumulate=8),
    "resumed": Variant(resume=300),
    "resumed anew, warm-up": Variant(lambda at, _: warm_up(at - 300 * (at > 299), 0), resume=300, is_new=True),
}


def folder_of(keep: Path, plan: tuple[str, ...]) -> Path:
    return keep.joinpath(*(re.sub("[^A-Za-z0-9]", "-", part) for part in plan))


def trainings(parts: tuple[str, ...]) -> Iterator[list[tuple[str, ...]]]:
    """Yield the recordings of each training whose name has all of these parts."""
    for net in NETS:
        for optimizer in OPTIMIZERS if "BatchNorm" in net else ("SGD", "Adam", "AdamW"):
            for name, variant in VARIANTS.items():
                recordings = [each for each in RECORDINGS if net == LORA or "trained_only" not in each]
                plans = [(net, optimizer, name, recording) for recording in recordings]
                if not (variant.zero_head and net == LORA) and all(part in " / ".join(plans[0]) for part in parts):
                    yield plans


def record(plans: list[tuple[str, ...]], keep: Path) -> None:
    """Train, and make the recordings, if they are not there yet."""
    if all(folder_of(keep, plan).exists() for plan in plans):
        return
    parts = [folder_of(keep, plan).with_suffix(".part") for plan in plans]
    for part in parts:
        shutil.rmtree(part, ignore_errors=True)
    recorders = [TrialRecorder(part, **RECORDINGS[plan[3]]) for part, plan in zip(parts, plans)]
    train(plans[0], recorders)
    for recorder, part, plan in zip(recorders, parts, plans):
        recorder.close()
        part.rename(folder_of(keep, plan))


def train(plan: tuple[str, ...], targets: Sequence[TrialRecorder | RatioMonitor]) -> None:
    """Train as a plan says, and call each target's ``step``."""
    net_name, optimizer, name, _ = plan
    variant = VARIANTS[name]
    torch.manual_seed(1)
    net = NETS[net_name]()
    for parameter in net.head.parameters() if variant.zero_head else ():
        nn.init.zeros_(parameter)
    updates = variant.steps // variant.accumulate
    speed = {"SGD": 0.4}.get(optimizer, 4.0) if net_name == LORA else 1.0
    job = _job(net, optimizer, updates, lambda update: variant.schedule(update, updates), speed)
    done = itertools.count()
    if variant.resume:
        _train(job, variant, () if variant.is_new else targets, range(variant.resume), done)
    for target in targets:  # as a job that was killed, and begins again
        target.close()
        target.reopen()
    first = variant.resume if variant.is_new else max(0, variant.resume - 20)
    _train(job, variant, targets, range(first, variant.steps), done)


def _train(
    job: Job, variant: Variant, targets: Sequence[TrialRecorder | RatioMonitor], batches: range, updates: Iterator[int]
) -> None:
    def save(step: int | None = None) -> None:
        for target in targets:
            target.step(job.model, step=step)

    if variant.record != "after":
        save()
    for batch in batches:
        job.add_gradients(1 / variant.accumulate)
        if variant.record == "before":
            save()
        if batch in variant.skips:
            job.model.zero_grad()
        elif (batch + 1) % variant.accumulate == 0:
            job.update(next(updates))
        if variant.record != "before":
            save(batch if batch == batches[0] > 0 else None)
