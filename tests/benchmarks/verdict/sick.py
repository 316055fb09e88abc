"""Sick runs whose cause and beginning are known: one fault each, seeded into a set-up of the detection benchmark."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, Callable

import torch
from torch import nn

from tests.benchmarks.detection.faults import Change, Fault, Job
from tests.benchmarks.detection.nets import SETUPS

Make = Callable[[int], Fault]
Parts = tuple[str, ...]

LARGE, BROKEN = ("exploded", "too_large", "spike"), ("exploded", "not_finite")
SMALL = ("stopped", "vanishing", "too_small")
LESS = r"(lower|reduc\w+|decreas\w+) (the |its )?learning rate|rate (is )?too (high|large)|clip|explod"
MORE = r"(raise|increas\w+|higher) (the )?learning rate|rate too (low|small)|gradients? vanish|requires_grad|warm-up"
LARGEST = 1e38  # about what float32 holds
HIDE = r"start_step=|patience=|num_steps=|small_threshold|large_threshold|is healthy"  # asks to let it pass


@dataclass(frozen=True)
class Sick:
    """A fault and what is right to say of it."""

    cause: str  # as a person would tell it
    setup: str
    make: Make  # the fault that begins at a step
    parts: Parts  # of the names of the tensors that have it; an empty string is in all
    kinds: Parts  # that are right for the first finding
    misleading: str  # a pattern of words that would send a reader to the wrong place
    default: str = "fault"  # what the default bounds can tell: "fault", "note" or "nothing"
    from_start: bool = False  # whether it is there from the first step on


def _of(job: Job, parts: Parts) -> list[nn.Parameter]:
    return [parameter for name, parameter in job.parameters.items() if any(part in name for part in parts)]


def _rate(factor: Callable[[int], float], steps: float = math.inf) -> Make:
    """Multiply the learning rate by a factor of the steps since the beginning."""

    def make(at: int) -> Fault:
        def start(job: Job) -> None:
            right = job.learning_rate
            job.learning_rate = lambda step: (
                right(step) * (min(factor(step - at), LARGEST) if at <= step < at + steps else 1.0)
            )

        return Fault("", start)

    return make


def _gradient(
    parts: Parts, factor: Callable[[int], float | None], steps: float = math.inf, before: float | None = 1.0
) -> Make:
    """Multiply gradients by a factor of the steps since the beginning; where it is None, there is no gradient."""

    def make(at: int) -> Fault:
        def gradients(job: Job, step: int) -> None:
            times = factor(step - at) if at <= step < at + steps else 1.0 if step >= at else before
            for parameter in _of(job, parts):
                if parameter.grad is not None:
                    parameter.grad = None if times is None else parameter.grad * min(times, LARGEST)

        return Fault("", gradients=gradients)

    return make


def _own_rate(parts: Parts, factor: Callable[[int], float]) -> Make:
    """Multiply the learning rate of a few tensors, which are a parameter group of their own."""

    def make(at: int) -> Fault:
        def start(job: Job) -> None:
            own = _of(job, parts)
            _not_given(parts)(job)
            job.optimizer.add_param_group({"params": own})

        def gradients(job: Job, step: int) -> None:
            if step >= at:
                job.optimizer.param_groups[-1]["lr"] *= min(factor(step - at), LARGEST)

        return Fault("", start, gradients)

    return make


def _once(change: Change) -> Make:
    """Change the job before a step."""

    def make(at: int) -> Fault:
        def start(job: Job) -> None:
            right = job.learning_rate

            def learning_rate(step: int) -> float:
                if step == at:
                    change(job)
                return right(step)

            job.learning_rate = learning_rate

        return Fault("", start)

    return make


def _at_start(change: Change) -> Make:
    return lambda at: Fault("", change)


def _after(change: Change) -> Make:
    return lambda at: Fault("", finish=lambda job, step: change(job) if step == at else None)


def _weights(parts: Parts, factor: float, shift: float = 0.0) -> Change:
    def change(job: Job) -> None:
        with torch.no_grad():
            for parameter in _of(job, parts):
                parameter.mul_(factor).add_(shift)

    return change


def _grow(parts: Parts, factor: Callable[[int], float]) -> Make:
    """Multiply weights after each step by a factor of the steps since the beginning, as a negative weight decay."""

    def make(at: int) -> Fault:
        def finish(job: Job, step: int) -> None:
            if step >= at:
                _weights(parts, min(factor(step - at), LARGEST))(job)

        return Fault("", finish=finish)

    return make


def _group(name: str, value: float) -> Change:
    return lambda job: [group.update({name: value}) for group in job.optimizer.param_groups] and None


def _job(name: str, value: Callable[[Job], Any]) -> Change:
    return lambda job: setattr(job, name, value(job))


def _overflowing(job: Job) -> Callable[..., torch.Tensor]:
    return lambda logits, labels: (logits * 1e3).exp().mean()


def _not_trained(parts: Parts) -> Change:
    return lambda job: [parameter.requires_grad_(False) for parameter in _of(job, parts)] and None


def _not_given(parts: Parts) -> Change:
    def change(job: Job) -> None:
        left_out = {id(parameter) for parameter in _of(job, parts)}
        for group in job.optimizer.param_groups:
            group["params"] = [parameter for parameter in group["params"] if id(parameter) not in left_out]

    return change


def _cut_before_head(job: Job) -> None:
    job.head.register_forward_pre_hook(lambda module, inputs: tuple(tensor.detach() for tensor in inputs))


def _in_bfloat16(job: Job) -> None:
    job.model.bfloat16()
    job.inputs, job.test_inputs = job.inputs.bfloat16(), job.test_inputs.bfloat16()


def _both(change: Change, make: Make) -> Make:
    """Change the job at its start, and have another fault later."""

    def later(at: int) -> Fault:
        def start(job: Job) -> None:
            change(job)
            make(at).start(job)

        return Fault("", start)

    return later


def _begun_anew(job: Job) -> None:
    job.model.load_state_dict(job.setup.net().state_dict())


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
    UNSEEN("learning rate x30", LAYER, _rate(lambda k: 30), ALL),
    UNSEEN("learning rate x30", RMSPROP, _rate(lambda k: 30), ALL),
    RISING("learning rate x1000", CNN, _rate(lambda k: 1000), ALL),
    RISING("learning rate x1e6", TRANSFORMER, _rate(lambda k: 1e6), ALL),
    UNSEEN("learning rate grows by 1.1 a step", COSINE, _rate(lambda k: 1.1**k), ALL),
    RISING("learning rate grows by 1.3 a step", ROWS, _rate(lambda k: 1.3**k), ALL),
    RISING("learning rate grows by 1.5 a step", LSTM, _rate(lambda k: 1.5**k), ALL),
    UNSEEN("a layer's gradient grows by 1.2 a step", CNN, _gradient(("body.4.",), lambda k: 1.2**k), ("body.4.",)),
    UNSEEN("a layer's gradient grows by 1.05", NESTEROV, _gradient(("0.first.",), lambda k: 1.05**k), ("0.first.",)),
    RISING("the head's gradient grows by 1.3 a step", COSINE, _gradient(("head.",), lambda k: 1.3**k), ("head.",)),
    RISING("an expert's gradient grows by 1.5", EXPERTS, _gradient(("experts.2",), lambda k: 1.5**k), ("experts.2",)),
    UNSEEN("a group's rate grows by 1.3", TRANSFORMER, _own_rate(("1.forward_in.w",), lambda k: 1.3**k),
           ("1.forward_in.w",)),
    UNSEEN("a group's rate grows by 1.15", GRU, _own_rate(("weight_hh",), lambda k: 1.15**k), ("weight_hh",)),
    RISING("a layer's weights times 1.5 a step", PLAIN, _grow(("body.4.",), lambda k: 1.5), ("body.4.",)),
    RISING("a layer's updates grow by 1.3 a step", GRU, _grow(("weight_hh",), lambda k: 1 + 0.002 * 1.3**k),
           ("weight_hh",)),
    RISING("two layers' updates grow by 1.1 a step", TRANSFORMER,
           _grow(("0.forward_in.w", "1.forward_in.w"), lambda k: 1 + 0.002 * 1.1**k), ("forward_in.w",)),
    UNSEEN("momentum set to 1.1", NESTEROV, _once(_group("momentum", 1.1)), ALL),
    FROM_START("a layer never given, and an explosion later", COSINE,
               _both(_not_given(("body.0.",)), lambda at: _rate(lambda k: 1.3**k)(at + 150)), ("body.0.",)),
    Sick("NaN in one batch", GRU, _once(_job("inputs", lambda job: job.inputs * math.nan)), ALL, BROKEN, NAN),
    Sick("NaN in one layer's gradient", PLAIN, _gradient(("body.4.",), lambda k: math.nan, 1), ("body.4.",), BROKEN,
         NAN),
    Sick("the loss overflows", SMOOTH, _once(_job("loss", _overflowing)), ALL, BROKEN, f"{RISES}|frozen"),
    FROM_START("a tensor NaN from its initialisation on", TRANSFORMER, _at_start(_weights(("positions",), math.nan)),
               ("positions",), kinds=BROKEN, misleading=NAN),
    RISING("units dead after one wild step", PLAIN, _rate(lambda k: 3e5, 1), ALL, kinds=(*LARGE, *SMALL)),
    RISING("one wild batch in one layer", EXPERTS, _gradient(("head.",), lambda k: 1e5, 1), ("head.",)),
    RISING("two wild batches in all layers", POLICY, _rate(lambda k: 1e4, 2), ALL),
    UNSEEN("three wild batches in one layer", SCALER, _gradient(("body.3.",), lambda k: 1e6, 3), ("body.3.",)),
    RISING("weights x100: a bad restore", ADAMW, _once(_weights(ALL, 100)), ALL, misleading=JUMP),
    RISING("a layer x100", ZERO, _once(_weights(("1.forward_in.",), 100)), ("1.forward_in.",), misleading=JUMP),
    RISING("a layer set to zero", GRU, _after(_weights(("head.",), 0)), ("head.",), kinds=(*LARGE, "zero_start")),
    UNSEEN("begun anew from other weights", TABLE, _once(_begun_anew), ALL, misleading=JUMP),
    UNSEEN("weight decay x1000", ADAMW, _once(_group("weight_decay", 50.0)), ALL),
    FROM_START("requires_grad False", TRANSFORMER, _at_start(_not_trained(("0.forward_in.",))), ("0.forward_in.",),
               default="note"),
    FROM_START("a layer not given to the optimiser", RMSPROP, _at_start(_not_given(("body.4.",))), ("body.4.",)),
    FROM_START("only the head given to the optimiser", LAYER, _at_start(_not_given(("body.",))), ("body.",)),
    FROM_START("learning rate 0 from the start", GRU, _rate(lambda k: 0), ALL, kinds=("nothing_moved",)),
    FROM_START("an adapter zero", LORA, _at_start(_weights(("2.down", "2.up"), 0)), ("2.down", "2.up")),
    FROM_START("a layer that begins late", COSINE, _gradient(("body.6.",), lambda k: 1, before=None), ("body.6.",),
               kinds=("not_yet",)),
    FROM_START("a head that begins late", ADAMW, _gradient(("head.",), lambda k: 1, before=None), ("head.",),
               kinds=("not_yet",)),
    FROM_START("updated every 5th step only", LAYER, _gradient(("body.",), lambda k: None if k % 5 else 1), ("body.",),
               kinds=("resting",), misleading=LESS),
    STOPPING("updated every 5th step from a step on", TRANSFORMER,
             _gradient(("blocks.1.",), lambda k: None if k % 5 else 1), ("blocks.1.",), kinds=("resting",),
             misleading=LESS),
    STOPPING("a layer frozen", ROWS, _gradient(("weight_hh",), lambda k: None), ("weight_hh",)),
    STOPPING("a block frozen", ZERO, _gradient(("blocks.1.",), lambda k: None), ("blocks.1.",)),
    STOPPING("graph cut before the head", NESTEROV, _once(_cut_before_head), ("stem", "blocks")),
    STOPPING("learning rate 0", TRANSFORMER, _rate(lambda k: 0), ALL),
    STOPPING("the optimiser no longer steps", TABLE, _gradient(ALL, lambda k: None), ALL),
    STOPPING("an expert that gets no token", EXPERTS, _gradient(("experts.4",), lambda k: None), ("experts.4",)),
    STOPPING("schedule ends at half of the run", ADAMW, _rate(lambda k: 0), ALL),
    STOPPING("a layer's gradient fades by 0.9", COSINE, _gradient(("body.3.",), lambda k: 0.9**k), ("body.3.",)),
    STOPPING("a layer's gradient fades by 0.85", PLAIN, _gradient(("body.2.",), lambda k: 0.85**k), ("body.2.",)),
    STOPPING("a group's rate fades by 0.8", LAYER, _own_rate(("body.6.",), lambda k: 0.8**k), ("body.6.",)),
    STOPPING("all gradients fade by 0.8", LSTM, _gradient(ALL, lambda k: 0.8**k), ALL),
    STOPPING("units dead by a bias of -100", PLAIN, _once(_weights(("body.4.bias",), 0, -100)), ("body.",)),
    STOPPING("gradients clipped to 1e-12", LSTM, _once(_job("clip", lambda job: 1e-12)), ALL),
    STOPPING("learning rate / 1e7", CNN, _rate(lambda k: 1e-7), ALL, misleading=LESS),
    STOPPING("updates lost in bfloat16", LAYER, _both(_in_bfloat16, _rate(lambda k: 1 / 2000)), ALL,
             kinds=(*SMALL, "resting")),
    DECAYED("a fading gradient leaves decay", CNN, _gradient(("body.4.",), lambda k: 0.9**k), ("body.4.",)),
    DECAYED("no gradient, but decay", ZERO, _gradient(("0.attention_out.",), lambda k: 0), ("0.attention_out.",)),
    DECAYED("no gradient from the start, but decay", LORA, _gradient(("head.",), lambda k: 0), ("head.",),
            from_start=True),
)  # fmt: skip


def steps_of(setup: str) -> int:
    """Return how many steps a set-up is trained for: 300 to 600."""
    return 300 + 100 * (list(SETUPS).index(setup) % 4)
