"""Ways in which a healthy net is trained and recorded, and the recordings."""

from __future__ import annotations

import contextlib
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterator, NamedTuple

import torch

from tests.benchmarks.healthy.learners import ADAPTERS, NETS, learner_of
from weight_update_ratio import TrialRecorder

STEPS = 602  # the last pair of every 50 is at the end
EVERY = 50
WARM = 20  # updates
Schedule = Callable[[int, int], float]


def constant(update: int, updates: int) -> float:
    """Return the learning rate's factor where it stays."""
    return 1.0


def warm_up(update: int, updates: int) -> float:
    """Return the factor that rises from exactly 0."""
    return min(1.0, update / WARM)


def cosine(update: int, updates: int) -> float:
    """Return the factor of a cosine that is exactly 0 at the last update."""
    return 0.5 * (1 + math.cos(math.pi * min(1.0, update / (updates - 1))))


def warm_up_cosine(update: int, updates: int) -> float:
    """Return the factor of a warm-up and a cosine, both of which are exactly 0 at their ends."""
    return update / WARM if update < WARM else cosine(update - WARM, updates - WARM)


def hugging_face(update: int, updates: int) -> float:
    """Return the factor of transformers' cosine with warm-up: 0 at first, and nearly 0 at the last update."""
    return update / WARM if update < WARM else cosine(update - WARM, updates - WARM + 1)


def linear(update: int, updates: int) -> float:
    """Return the factor of a line that is exactly 0 at the last three updates."""
    return max(0.0, 1 - update / (updates - 3))


@dataclass(frozen=True)
class Variant:
    """How a run is trained and recorded.

    Attributes:
        schedule: The learning rate's factor, of the update and of how many there will be.
        zero_head: Whether the output layer begins at zero.
        record: "after" each batch's update; also "first", before the training; or "before" each update, and first.
        skips: Batches whose update a loss scaler skips.
        accumulate: Batches of an update.
        resume: The batch at which the run is killed and resumed; ``anew`` into a new folder, else 20 batches before.
        anew: Whether the recording begins there only.
        steps: Batches.
    """

    schedule: Schedule = constant
    zero_head: bool = False
    record: str = "after"
    skips: tuple[int, ...] = ()
    accumulate: int = 1
    resume: int | None = None
    anew: bool = False
    steps: int = STEPS


FIRST_THREE, SINGLE = (0, 1, 2), (57, 140, 301, 450, 533)
VARIANTS = {
    "plain": Variant(),
    "warm-up from 0": Variant(warm_up),
    "cosine to 0": Variant(cosine),
    "warm-up, cosine to 0": Variant(warm_up_cosine),
    "HF cosine": Variant(hugging_face),
    "linear, 3 at 0": Variant(linear),
    "cosine to 0, 402 steps": Variant(cosine, steps=402),
    "zero head": Variant(zero_head=True),
    "zero head, warm-up, cosine": Variant(warm_up_cosine, zero_head=True),
    "recorded first": Variant(record="first"),
    "recorded before each": Variant(record="before"),
    "recorded before each, warm-up": Variant(warm_up, record="before"),
    "zero head, recorded before": Variant(zero_head=True, record="before"),
    "scaler skips": Variant(skips=FIRST_THREE + SINGLE),
    "scaler skips, warm-up": Variant(warm_up, skips=FIRST_THREE + SINGLE),
    "zero head, scaler skips": Variant(zero_head=True, skips=FIRST_THREE + SINGLE),
    "accumulate 4": Variant(accumulate=4),
    "accumulate 8": Variant(accumulate=8),
    "accumulate 4, warm-up, cosine": Variant(warm_up_cosine, accumulate=4),
    "accumulate 8, warm-up, cosine": Variant(warm_up_cosine, accumulate=8),
    "recorded first, warm-up": Variant(warm_up, record="first"),
    "recorded first, warm-up, cosine": Variant(warm_up_cosine, record="first"),
    "recorded first, zero head": Variant(zero_head=True, record="first"),
    "recorded first, zero head, warm-up": Variant(warm_up, zero_head=True, record="first"),
    "recorded first, scaler skips": Variant(record="first", skips=FIRST_THREE + SINGLE),
    "recorded before each, scaler skips, warm-up": Variant(warm_up, record="before", skips=FIRST_THREE + SINGLE),
    "recorded first, accumulate 8, warm-up": Variant(warm_up, record="first", accumulate=8),
    "resumed": Variant(resume=300),
    "resumed anew, warm-up": Variant(warm_up, resume=300, anew=True),
}


class Plan(NamedTuple):
    """Names one recording."""

    net: str
    optimizer: str
    variant: str
    recording: str

    def folder(self, keep: Path) -> Path:
        """Return where it is kept."""
        return keep.joinpath(*("".join(letter if letter.isalnum() else "-" for letter in part) for part in self))


RECORDINGS = {"each": {}, "pairs": {"save_interval": EVERY, "pairs": True}}


def trainings(parts: tuple[str, ...]) -> Iterator[list[Plan]]:
    """Yield the recordings of each training whose name has all of these parts."""
    for net in NETS:
        recordings = list(RECORDINGS) + [f"{name}, trained_only" for name in RECORDINGS if net in ADAPTERS]
        optimizers = ["SGD", "Adam", "AdamW"] + (["SGD decay"] if "BatchNorm" in net else [])
        for optimizer in optimizers:
            for variant in VARIANTS:
                if VARIANTS[variant].zero_head and net in ADAPTERS:
                    continue  # B begins at zero in all of them
                plans = [Plan(net, optimizer, variant, recording) for recording in recordings]
                if all(part in " / ".join(plans[0]) for part in parts):
                    yield plans


def record(plans: list[Plan], keep: Path) -> None:
    """Train, and make the recordings that are not there yet."""
    if all(plan.folder(keep).exists() for plan in plans):
        return
    for plan in plans:
        shutil.rmtree(plan.folder(keep).with_suffix(".part"), ignore_errors=True)
    variant = VARIANTS[plans[0].variant]
    updates = variant.steps // variant.accumulate
    if variant.resume is not None:
        updates = variant.steps - variant.resume  # of the schedule that begins anew
    learner = learner_of(
        plans[0].net, plans[0].optimizer, lambda update: variant.schedule(update, updates), variant.zero_head
    )
    first = variant.resume or variant.steps
    if variant.resume is None or not variant.anew:
        _train(learner, variant, plans, keep, 0, first)
    if variant.resume is not None:
        if variant.anew:
            _train(learner, variant, [], keep, 0, first)
            learner = _resumed(learner, plans[0], variant, updates)
        _train(learner, variant, plans, keep, first if variant.anew else first - 20, variant.steps)
    for plan in plans:
        folder = plan.folder(keep)
        (folder.with_suffix(".part") / "accuracy.txt").write_text(f"{learner.accuracy():.3f}\n")
        folder.with_suffix(".part").rename(folder)


def _resumed(learner: Any, plan: Plan, variant: Variant, updates: int) -> Any:
    """Return the same net with a new optimiser and schedule."""
    again = learner_of(plan.net, plan.optimizer, lambda update: variant.schedule(update, updates), False)
    if isinstance(again.net, torch.nn.Module) and plan.net != "Keras MLP":
        again.net.load_state_dict(learner.net.state_dict())
    else:
        again.net.set_weights(learner.net.get_weights())
    return again


def _train(learner: Any, variant: Variant, plans: list[Plan], keep: Path, start: int, end: int) -> None:
    """Train from a batch to another one, and record."""
    with contextlib.ExitStack() as stack:
        recorders = []
        for plan in plans:
            options: dict[str, Any] = dict(RECORDINGS[plan.recording.split(",")[0]])
            options["trained_only"] = "trained_only" in plan.recording
            folder = plan.folder(keep).with_suffix(".part")
            recorders.append(stack.enter_context(TrialRecorder(folder, resume=folder.exists(), **options)))
        number: int | None = start if start else None  # of the first step that is recorded

        def save() -> None:
            nonlocal number
            for recorder in recorders:
                recorder.step(learner.net, step=number)
            number = None

        if variant.record != "after" and not start:
            save()
        for batch in range(start, end):
            learner.gather(1 / variant.accumulate)
            if variant.record == "before":
                save()
            if batch in variant.skips:
                learner.skip()
            elif (batch + 1) % variant.accumulate == 0:
                learner.update()
            if variant.record != "before":
                save()
