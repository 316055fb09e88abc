"""Sick runs whose cause and beginning are known: one fault each, seeded into a set-up of the detection benchmark."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import partial
from typing import Callable

from tests.benchmarks.faults import (
    CUT_BEFORE_HEAD,
    LARGEST,
    Change,
    Parameters,
    after,
    at_each_step,
    before,
    gradient,
    group,
    not_given,
    not_trained,
    rate,
    setting,
    weights,
)
from tests.benchmarks.job import Job
from tests.benchmarks.nets import SETUPS

Words = tuple[str, ...]

LARGE, BROKEN = ("exploded", "too_large", "spike"), ("exploded", "not_finite")
SMALL = ("stopped", "vanishing", "too_small")
LESS = r"(lower|reduc\w+|decreas\w+) (the |its )?learning rate|rate (is )?too (high|large)|clip|explod"
MORE = r"(raise|increas\w+|higher) (the )?learning rate|rate too (low|small)|gradients? vanish|requires_grad|warm-up"


@dataclass(frozen=True)
class Sick:
    """A fault and what is right to say of it."""

    cause: str  # as a person would tell it
    setup: str
    change: Change
    parts: Words  # of the names of the tensors that have it; an empty string is in all
    kinds: Words  # that are right for the first finding
    misleading: str  # a pattern of words that would mislead a reader
    default: str = "fault"  # what the default bounds can show: "fault", "note" or "nothing"
    from_start: bool = False  # whether it is there from the first step on

    @property
    def steps(self) -> int:
        """How many its set-up is trained for: 300 to 600."""
        return 300 + 100 * (list(SETUPS).index(self.setup) % 4)

    def begins_at(self, seed: int) -> int:
        """Return the step whose update the fault is the first to change."""
        if self.from_start and "begins late" not in self.cause:
            return 1
        share = random.Random(f"{self.cause} {self.setup} {seed}").uniform(0.2, 0.8)
        return round((0.5 if self.cause.startswith("schedule") else share) * self.steps)

    @property
    def has_step_0(self) -> bool:
        """Whether the initial weights are recorded as well; so it is in about half of the runs."""
        return len(self.cause) % 2 == 1

    def onset(self, seed: int) -> int:
        """Return the first comparison that shows the fault."""
        return max(1 if self.has_step_0 else 2, 1 if self.from_start else self.begins_at(seed))

    def start(self, job: Job, at: int) -> None:
        named = job.model.named_parameters()
        self.change(job, [weight for name, weight in named if any(part in name for part in self.parts)], at)


def _begins_late(job: Job, parameters: Parameters, at: int) -> None:
    gradient(lambda ago: None, at - 1)(job, parameters, 1)


def _group_rate(factor: Callable[[int], float]) -> Change:
    """Multiply the learning rate of some parameters, which become a group."""

    def change(job: Job, parameters: Parameters, ago: int) -> None:
        job.optimizer.param_groups[-1]["lr"] *= min(factor(ago), LARGEST)

    def begin(job: Job, parameters: Parameters, at: int) -> None:
        not_given(job, parameters, at)
        job.optimizer.add_param_group({"params": parameters})
        at_each_step("before_update", change)(job, parameters, at)

    return begin


def _grow(factor: Callable[[int], float]) -> Change:
    """Multiply weights after each step, as a negative weight decay does."""
    return at_each_step("after_update", lambda job, parameters, ago: weights(factor(ago))(job, parameters, ago))


def _in_bfloat16(job: Job, parameters: Parameters, at: int) -> None:
    job.model.bfloat16()
    job.inputs, job.test_inputs = job.inputs.bfloat16(), job.test_inputs.bfloat16()


def _begun_anew(job: Job, parameters: Parameters, at: int) -> None:
    job.model.load_state_dict(job.setup.net().state_dict())


def _both(first: Change, second: Change, steps_later: int = 0) -> Change:
    def begin(job: Job, parameters: Parameters, at: int) -> None:
        first(job, parameters, at)
        second(job, parameters, at + steps_later)

    return begin


def _dead(job: Job, parameters: Parameters, at: int) -> None:
    """Fill one of the biases with -100, so that all layers below have no gradient."""
    weights(0, -100)(job, [job.model.get_parameter("body.4.bias")], at)


LAYER, NESTEROV, SMOOTH = "MLP LayerNorm, Adam", "ResNet, SGD Nesterov stairs", "MLP tanh on tumours, RMSprop"
COSINE, PLAIN, CNN = "MLP LayerNorm, SGD cosine", "MLP plain, Adam linear", "CNN BatchNorm, SGD"
ADAMW, RMSPROP, GRU = "CNN BatchNorm, AdamW warm-up cosine", "CNN BatchNorm, RMSprop", "GRU, Adam clipped"
ROWS, LSTM, ZERO = "GRU, RMSprop linear", "LSTM, SGD clipped", "Transformer zero-init, AdamW warm-up cosine"
TRANSFORMER, TABLE, POLICY = "Transformer, Adam", "Embedding, Adam", "REINFORCE, Adam"
LORA, EXPERTS = "Adapters zero-init, AdamW warm-up cosine", "Experts that miss batches, SGD"
SCALER = "MLP LayerNorm, Adam, loss scaler that skips"
ALL, STOPS, RISES = ("",), LESS, MORE
NAN, JUMP = f"{LESS}|{RISES}|frozen", f"(lower|reduce) the learning rate|{RISES}"

RISING, STOPPING = partial(Sick, kinds=LARGE, misleading=RISES), partial(Sick, kinds=SMALL, misleading=STOPS)
UNSEEN = partial(Sick, kinds=(*LARGE, "changed", "drifted"), misleading=RISES, default="nothing")
FROM_START = partial(Sick, kinds=("frozen",), misleading=STOPS, from_start=True)
DECAYED = partial(Sick, kinds=("decayed", "changed", *SMALL), misleading=STOPS, default="note")

SICK = (
    UNSEEN("learning rate x30", LAYER, rate(lambda ago: 30), ALL),
    UNSEEN("learning rate x30", RMSPROP, rate(lambda ago: 30), ALL),
    RISING("learning rate x1000", CNN, rate(lambda ago: 1000), ALL),
    RISING("learning rate x1e6", TRANSFORMER, rate(lambda ago: 1e6), ALL),
    UNSEEN("learning rate grows by 1.1 a step", COSINE, rate(lambda ago: 1.1**ago), ALL),
    RISING("learning rate grows by 1.3 a step", ROWS, rate(lambda ago: 1.3**ago), ALL),
    RISING("learning rate grows by 1.5 a step", LSTM, rate(lambda ago: 1.5**ago), ALL),
    UNSEEN("a layer's gradient grows by 1.2 a step", CNN, gradient(lambda ago: 1.2**ago), ("body.4.",)),
    UNSEEN("a layer's gradient grows by 1.05", NESTEROV, gradient(lambda ago: 1.05**ago), ("0.first.",)),
    RISING("the head's gradient grows by 1.3 a step", COSINE, gradient(lambda ago: 1.3**ago), ("head.",)),
    RISING("an expert's gradient grows by 1.5", EXPERTS, gradient(lambda ago: 1.5**ago), ("experts.2",)),
    UNSEEN("a group's rate grows by 1.3", TRANSFORMER, _group_rate(lambda ago: 1.3**ago), ("1.forward_in.w",)),
    UNSEEN("a group's rate grows by 1.15", GRU, _group_rate(lambda ago: 1.15**ago), ("weight_hh",)),
    RISING("a layer's weights times 1.5 a step", PLAIN, _grow(lambda ago: 1.5), ("body.4.",)),
    RISING("a layer's updates grow by 1.3 a step", GRU, _grow(lambda ago: 1 + 0.002 * 1.3**ago), ("weight_hh",)),
    RISING("two layers' updates grow by 1.1 a step", TRANSFORMER, _grow(lambda ago: 1 + 0.002 * 1.1**ago),
           ("forward_in.w",)),
    UNSEEN("momentum set to 1.1", NESTEROV, before(group("momentum", 1.1)), ALL),
    FROM_START("a layer never given, and an explosion later", COSINE,
               _both(not_given, rate(lambda ago: 1.3**ago), steps_later=150), ("body.0.",)),
    Sick("NaN in one batch", GRU, before(setting("inputs", lambda job: job.inputs * math.nan)), ALL, BROKEN, NAN),
    Sick("NaN in one layer's gradient", PLAIN, gradient(lambda ago: math.nan, 1), ("body.4.",), BROKEN, NAN),
    Sick("the loss overflows", SMOOTH,
         before(setting("loss", lambda job: lambda logits, labels: (logits * 1e3).exp().mean())), ALL, BROKEN,
         f"{RISES}|frozen"),
    FROM_START("a tensor NaN from its initialisation on", TRANSFORMER, weights(math.nan), ("positions",),
               kinds=BROKEN, misleading=NAN),
    RISING("units dead after one wild step", PLAIN, rate(lambda ago: 3e5, 1), ALL, kinds=(*LARGE, *SMALL)),
    RISING("one wild batch in one layer", EXPERTS, gradient(lambda ago: 1e5, 1), ("head.",)),
    RISING("two wild batches in all layers", POLICY, rate(lambda ago: 1e4, 2), ALL),
    UNSEEN("three wild batches in one layer", SCALER, gradient(lambda ago: 1e6, 3), ("body.3.",)),
    RISING("weights x100: a bad restore", ADAMW, before(weights(100)), ALL, misleading=JUMP),
    RISING("a layer x100", ZERO, before(weights(100)), ("1.forward_in.",), misleading=JUMP),
    RISING("a layer set to zero", GRU, after(weights(0)), ("head.",), kinds=(*LARGE, "zero_start")),
    UNSEEN("begun anew from other weights", TABLE, before(_begun_anew), ALL, misleading=JUMP),
    UNSEEN("weight decay x1000", ADAMW, before(group("weight_decay", 50.0)), ALL),
    FROM_START("requires_grad False", TRANSFORMER, not_trained, ("0.forward_in.",), default="note"),
    FROM_START("a layer not given to the optimiser", RMSPROP, not_given, ("body.4.",)),
    FROM_START("only the head given to the optimiser", LAYER, not_given, ("body.",)),
    FROM_START("learning rate 0 from the start", GRU, rate(lambda ago: 0), ALL, kinds=("nothing_moved",)),
    FROM_START("an adapter zero", LORA, weights(0), ("2.down", "2.up")),
    FROM_START("a layer that begins late", COSINE, _begins_late, ("body.6.",), kinds=("not_yet",)),
    FROM_START("a head that begins late", ADAMW, _begins_late, ("head.",), kinds=("not_yet",)),
    FROM_START("updated every 5th step only", LAYER, gradient(lambda ago: None if ago % 5 else 1), ("body.",),
               kinds=("resting",), misleading=LESS),
    STOPPING("updated every 5th step from a step on", TRANSFORMER, gradient(lambda ago: None if ago % 5 else 1),
             ("blocks.1.",), kinds=("resting",), misleading=LESS),
    STOPPING("a layer frozen", ROWS, gradient(lambda ago: None), ("weight_hh",)),
    STOPPING("a block frozen", ZERO, gradient(lambda ago: None), ("blocks.1.",)),
    STOPPING("graph cut before the head", NESTEROV, before(CUT_BEFORE_HEAD), ("stem", "blocks")),
    STOPPING("learning rate 0", TRANSFORMER, rate(lambda ago: 0), ALL),
    STOPPING("the optimiser no longer steps", TABLE, gradient(lambda ago: None), ALL),
    STOPPING("an expert that gets no token", EXPERTS, gradient(lambda ago: None), ("experts.4",)),
    STOPPING("schedule ends at half of the run", ADAMW, rate(lambda ago: 0), ALL),
    STOPPING("a layer's gradient fades by 0.9", COSINE, gradient(lambda ago: 0.9**ago), ("body.3.",)),
    STOPPING("a layer's gradient fades by 0.85", PLAIN, gradient(lambda ago: 0.85**ago), ("body.2.",)),
    STOPPING("a group's rate fades by 0.8", LAYER, _group_rate(lambda ago: 0.8**ago), ("body.6.",)),
    STOPPING("all gradients fade by 0.8", LSTM, gradient(lambda ago: 0.8**ago), ALL),
    STOPPING("units dead by a bias of -100", PLAIN, before(_dead), ("body.",)),
    STOPPING("gradients clipped to 1e-12", LSTM, before(setting("clip", lambda job: 1e-12)), ALL),
    STOPPING("learning rate / 1e7", CNN, rate(lambda ago: 1e-7), ALL, misleading=LESS),
    STOPPING("updates lost in bfloat16", LAYER, _both(_in_bfloat16, rate(lambda ago: 1 / 2000)), ALL,
             kinds=(*SMALL, "resting")),
    DECAYED("a fading gradient leaves decay", CNN, gradient(lambda ago: 0.9**ago), ("body.4.",)),
    DECAYED("no gradient, but decay", ZERO, gradient(lambda ago: 0), ("0.attention_out.",)),
    DECAYED("no gradient from the start, but decay", LORA, gradient(lambda ago: 0), ("head.",), from_start=True),
)  # fmt: skip
