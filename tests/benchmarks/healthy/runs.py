"""Small nets that learn sklearn's digits well, the ways in which they are trained, and the recordings."""

from __future__ import annotations

import contextlib
import math
import re
import shutil
import warnings
from pathlib import Path
from typing import Any, Callable, Iterator, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.benchmarks.detection.nets import Cnn, Mlp, Transformer, digits
from weight_update_ratio import TrialRecorder

LORA = "LoRA of peft"
RATES = {"SGD": 0.05, "Adam": 2e-3, "AdamW": 2e-3}
OPTIONS: dict[str, dict[str, float]] = {"SGD": {"momentum": 0.9}, "Adam": {}, "AdamW": {"weight_decay": 0.05}}
RATES["SGD decay"], OPTIONS["SGD decay"] = 0.05, {"momentum": 0.9, "weight_decay": 5e-4}
RECORDINGS: dict[str, dict[str, Any]] = {"each": {}, "pairs": {"save_interval": 50, "pairs": True}}
RECORDINGS.update({f"{name}, trained_only": {**own, "trained_only": True} for name, own in RECORDINGS.items()})
SKIPS = (0, 1, 2, 57, 140, 301, 450, 533)
WARM = 20  # updates of a warm-up from exactly 0


class Learner:
    """A net that learns: ``factor`` gives the learning rate's by update; ``sign`` -1 shows the digits in negative."""

    def __init__(self, net: Any, optimizer: str, factor: Any, speed: float = 1.0, sign: int = 1) -> None:
        self.net, self._sign, self._batches = net, sign, self._shuffled()
        trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
        make = getattr(torch.optim, optimizer.split()[0])
        self._optimizer = make(trained, lr=speed * RATES[optimizer], **OPTIONS[optimizer])
        self._scheduler = torch.optim.lr_scheduler.LambdaLR(self._optimizer, factor)

    def _shuffled(self) -> Iterator[tuple[Tensor, Tensor]]:
        inputs, labels = digits()
        chance = torch.Generator().manual_seed(0)
        while True:
            for rows in torch.randperm(len(inputs), generator=chance).split(32)[:-1]:
                yield self._sign * inputs[rows], labels[rows]

    def gather(self, share: float) -> None:
        inputs, labels = next(self._batches)
        (functional.cross_entropy(self.net(inputs), labels) * share).backward()

    def update(self, is_skipped: bool) -> None:
        """Take the optimiser's step, or skip it as a loss scaler does where the gradient overflows."""
        if not is_skipped:
            self._optimizer.step()
            self._scheduler.step()
        self._optimizer.zero_grad()


def _of_keras() -> Any:
    import keras  # on PyTorch, so a module as well

    hidden = [keras.layers.Dense(32, activation="relu") for _ in range(2)]
    net = keras.Sequential([keras.Input((64,)), *hidden, keras.layers.LayerNormalization(), keras.layers.Dense(10)])
    net.head = net.layers[-1]
    return net


def _adapted() -> nn.Module:
    """Return a perceptron that has learnt the digits in negative, with adapters and a head to be trained."""
    from peft import LoraConfig, get_peft_model

    learner = Learner(NETS["MLP"](), "Adam", lambda update: 1.0, sign=-1)
    for _ in range(400):
        learner.gather(1)
        learner.update(False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = LoraConfig(r=4, target_modules=["body.0", "body.2"], modules_to_save=["head"])
        return get_peft_model(learner.net, config)


NETS: dict[str, Callable[[], Any]] = {
    "MLP": lambda: Mlp(64, 32, 2, 10, False, nn.ReLU()),
    "CNN BatchNorm": Cnn,
    "Transformer LayerNorm": lambda: Transformer(False),
    LORA: _adapted,
    "Keras MLP": _of_keras,
}


def warm_up(update: int, updates: int) -> float:
    return min(1.0, update / WARM)


def cosine(update: int, updates: int) -> float:
    return 0.5 * (1 + math.cos(math.pi * min(1.0, update / (updates - 1))))  # exactly 0 at the last update


def both(update: int, updates: int) -> float:
    return update / WARM if update < WARM else cosine(update - WARM, updates - WARM)


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
    "cosine to 0": Variant(cosine),
    "warm-up, cosine to 0": Variant(both),
    "HF cosine": Variant(lambda update, updates: both(update, updates + 1)),  # it would be 0 after the last update
    "linear, 3 at 0": Variant(lambda update, updates: max(0.0, 1 - update / (updates - 3))),
    "cosine to 0, 402 steps": Variant(cosine, steps=402),
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
        for optimizer in RATES if "BatchNorm" in net else ("SGD", "Adam", "AdamW"):
            for name, variant in VARIANTS.items():
                recordings = [each for each in RECORDINGS if net == LORA or "trained_only" not in each]
                plans = [(net, optimizer, name, recording) for recording in recordings]
                if not (variant.zero_head and net == LORA) and all(part in " / ".join(plans[0]) for part in parts):
                    yield plans


def record(plans: list[tuple[str, ...]], keep: Path) -> None:
    """Train, and make the recordings, if they are not there yet."""
    if all(folder_of(keep, plan).exists() for plan in plans):
        return
    variant = VARIANTS[plans[0][2]]
    torch.manual_seed(1)
    net = NETS[plans[0][0]]()
    for parameter in net.head.parameters() if variant.zero_head else ():
        nn.init.zeros_(parameter)
    updates = variant.steps // variant.accumulate
    speed = {"SGD": 0.4}.get(plans[0][1], 4.0) if plans[0][0] == LORA else 1.0
    learner = Learner(net, plans[0][1], lambda update: variant.schedule(update, updates), speed)
    parts = {folder_of(keep, plan).with_suffix(".part"): RECORDINGS[plan[3]] for plan in plans}
    for part in parts:
        shutil.rmtree(part, ignore_errors=True)
    if variant.resume:
        _train(learner, variant, {} if variant.is_new else parts, range(variant.resume))
    first = variant.resume if variant.is_new else max(0, variant.resume - 20)
    _train(learner, variant, parts, range(first, variant.steps))
    for part, plan in zip(parts, plans):
        part.rename(folder_of(keep, plan))


def _train(learner: Learner, variant: Variant, parts: dict[Path, dict[str, Any]], batches: range) -> None:
    with contextlib.ExitStack() as stack:
        recorders = [stack.enter_context(TrialRecorder(part, resume=True, **own)) for part, own in parts.items()]

        def save(step: int | None = None) -> None:
            for recorder in recorders:
                recorder.step(learner.net, step=step)

        if variant.record != "after":
            save()
        for batch in batches:
            learner.gather(1 / variant.accumulate)
            if variant.record == "before":
                save()
            if batch in variant.skips or (batch + 1) % variant.accumulate == 0:
                learner.update(batch in variant.skips)
            if variant.record != "before":
                save(batch if batch == batches[0] > 0 else None)
