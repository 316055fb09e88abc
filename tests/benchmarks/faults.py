"""Faults that are seeded into a training run: what they are made of, and a list of mistakes that people make.

A fault is a change of a job before its first step: of its fields, or by hooks that change it at later steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from itertools import cycle, repeat
from typing import Any, Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.benchmarks.job import Job
from tests.benchmarks.nets import Setup

Parameters = list[nn.Parameter]
Change = Callable[[Job, Parameters, int], None]
"""Changes a job, or its parameters that have the fault; the number is the step at which the fault begins, 1..steps, or,
within a hook, how many steps ago it began."""

LARGEST = 1e38  # about the largest float32


def at_each_step(hooks: str, change: Change, steps: float = math.inf) -> Change:
    """Return the fault that makes a change at so many steps; ``hooks`` names the job's list."""

    def begin(job: Job, parameters: Parameters, at: int) -> None:
        def hook(step: int) -> None:
            if at <= step < at + steps:
                change(job, parameters, step - at)

        getattr(job, hooks).append(hook)

    return begin


def before(change: Change) -> Change:
    return at_each_step("before_step", change, 1)


def after(change: Change) -> Change:
    return at_each_step("after_update", change, 1)


def at_share(divisor: int, change: Change) -> Change:
    """Return the fault that begins when the job has gone through 1 / divisor of its steps."""
    return lambda job, parameters, at: change(job, parameters, job.steps // divisor)


def rate(factor: Callable[[int], float], steps: float = math.inf) -> Change:
    """Multiply the learning rate by a factor of the steps since the fault began."""

    def begin(job: Job, parameters: Parameters, at: int) -> None:
        right = job.learning_rate
        job.learning_rate = lambda step: (
            right(step) * (min(factor(step - at), LARGEST) if at <= step < at + steps else 1.0)
        )

    return begin


def rate_by_progress(factor: Callable[[float], float]) -> Change:
    """Multiply the learning rate by a factor of the share of the steps that are done."""
    return lambda job, parameters, at: rate(lambda ago: factor((ago + at) / job.steps))(job, parameters, at)


def gradient(factor: Callable[[int], float | None], steps: float = math.inf) -> Change:
    """Multiply gradients by a factor of the steps since the fault began; None leaves no gradient."""

    def change(job: Job, parameters: Parameters, ago: int) -> None:
        times = factor(ago)
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad = None if times is None else parameter.grad * min(times, LARGEST)

    return at_each_step("before_update", change, steps)


def weights(factor: float, shift: float = 0.0) -> Change:

    def change(job: Job, parameters: Parameters, at: int) -> None:
        with torch.no_grad():
            for parameter in parameters:
                parameter.mul_(min(factor, LARGEST)).add_(shift)

    return change


def setting(name: str, value: Callable[[Job], Any]) -> Change:
    return lambda job, parameters, at: setattr(job, name, value(job))


def group(name: str, value: float) -> Change:

    def change(job: Job, parameters: Parameters, at: int) -> None:
        for options in job.optimizer.param_groups:
            options[name] = value

    return change


def not_given(job: Job, parameters: Parameters, at: int) -> None:
    left_out = {id(parameter) for parameter in parameters}
    for options in job.optimizer.param_groups:
        options["params"] = [parameter for parameter in options["params"] if id(parameter) not in left_out]


def not_trained(job: Job, parameters: Parameters, at: int) -> None:
    for parameter in parameters:
        parameter.requires_grad_(False)
        parameter.grad = None


def before_head(change: Callable[[nn.Module, Tensor], Tensor]) -> Change:
    """Change what goes into the last layer."""

    def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(change(module, tensor) for tensor in inputs)

    return lambda job, parameters, at: job.model.head.register_forward_pre_hook(hook)


CUT_BEFORE_HEAD = before_head(lambda module, tensor: tensor.detach())


def _schedule_left_out(job: Job, parameters: Parameters, at: int) -> None:
    warm = max(1.0, job.setup.warm_up * job.steps)
    job.learning_rate = lambda step: job.setup.learning_rate * min(1.0, step / warm)


def _warm_up_left_out(job: Job, parameters: Parameters, at: int) -> None:
    job.learning_rate = lambda step: job.setup.learning_rate * job.setup.schedule(step / job.steps)


def _gradients_in_float16(job: Job, parameters: Parameters, ago: int) -> None:
    """Round gradients to float16 at a size that those of large nets have: without loss scaling many become 0."""
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad = (parameter.grad * 1e-5).half().float() * 1e5


def _weights_in_bfloat16(job: Job, parameters: Parameters, ago: int) -> None:
    with torch.no_grad():
        for parameter in parameters:
            parameter.copy_(parameter.bfloat16().float())


def _momentum(job: Job, parameters: Parameters, at: int) -> None:
    for options in job.optimizer.param_groups:
        options.update({"betas": (0.999, options["betas"][1])} if "betas" in options else {"momentum": 0.999})


def _labels_shifted(job: Job) -> Tensor:
    is_shifted = torch.rand(len(job.labels)) < 0.4
    return torch.where(is_shifted, (job.labels + 1) % (job.test_labels.max() + 1), job.labels)


def _inputs(scale: float, shift: float) -> Change:
    def change(job: Job, parameters: Parameters, at: int) -> None:
        job.inputs, job.test_inputs = (inputs * scale + shift for inputs in (job.inputs, job.test_inputs))

    return change


def _loss_sign_wrong_in_part(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the loss in which every fourth row of a batch has the wrong sign."""
    signs = torch.ones(len(labels))
    signs[::4] = -1
    return (functional.cross_entropy(logits, labels, reduction="none") * signs).mean()


NORMS = (nn.LayerNorm, nn.BatchNorm2d)


def _norms_left_out(job: Job, parameters: Parameters, at: int) -> None:
    for module in list(job.model.modules()):
        for name, child in module.named_children():
            if isinstance(child, NORMS):
                setattr(module, name, nn.Identity())


def _has(kinds: Any) -> Callable[[Setup], bool]:
    return lambda setup: any(isinstance(module, kinds) for module in setup.net().modules())


def _matrices(model: nn.Module) -> Parameters:
    return [parameter for parameter in model.parameters() if parameter.dim() >= 2]


def _middle_matrix(model: nn.Module) -> Parameters:
    return [_matrices(model)[len(_matrices(model)) // 2]]


def _first_layer(model: nn.Module) -> Parameters:
    """Return the first tensor, and the bias of the same layer."""
    prefix = next(model.named_parameters())[0].rpartition(".")[0]
    return [parameter for name, parameter in model.named_parameters() if name.rpartition(".")[0] == prefix]


def _body(model: nn.Module) -> Parameters:
    return [parameter for name, parameter in model.named_parameters() if not name.startswith("head.")]


def _hidden_biases(model: nn.Module) -> Parameters:
    return [p for name, p in model.named_parameters() if "bias" in name and not name.startswith("head.")]


@dataclass(frozen=True)
class Fault:
    """One mistake, for every net that can have it."""

    name: str
    change: Change
    parameters: Callable[[nn.Module], Parameters] = lambda model: list(model.parameters())  # that have it
    applies: Callable[[Setup], bool] = lambda setup: True

    def start(self, job: Job) -> None:
        self.change(job, self.parameters(job.model), 1)


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("learning rate x100", rate(lambda ago: 100)),
        Fault("learning rate x10", rate(lambda ago: 10)),
        Fault("learning rate x5", rate(lambda ago: 5)),
        Fault("learning rate x3", rate(lambda ago: 3)),
        Fault("learning rate /3", rate(lambda ago: 1 / 3)),
        Fault("learning rate /10", rate(lambda ago: 1 / 10)),
        Fault("learning rate /100", rate(lambda ago: 1 / 100)),
        Fault("learning rate grows", rate_by_progress(lambda progress: 64**progress)),  # a decay with the wrong sign
        Fault("schedule left out", _schedule_left_out, applies=lambda setup: setup.schedule(1.0) < 1),
        Fault("schedule ends at 0 too early", rate_by_progress(lambda progress: max(0.0, 1 - 5 * progress))),
        Fault("warm-up left out", _warm_up_left_out, applies=lambda setup: setup.warm_up > 0),
        Fault("gradients never set to zero", setting("reset_gradients", lambda job: False)),
        Fault("gradients of 4 batches added up", setting("accumulate", lambda job: 4)),
        Fault("gradients clipped to 0.001", setting("clip", lambda job: 0.001)),
        Fault("gradients underflow in float16", at_each_step("before_update", _gradients_in_float16)),
        Fault("gradients with the wrong sign", gradient(lambda ago: -1)),
        Fault("NaN in the gradients at half of the run", at_share(2, gradient(lambda ago: math.nan, 1))),
        Fault("weights kept in bfloat16", at_each_step("after_update", _weights_in_bfloat16)),
        Fault("momentum 0.999", _momentum),
        Fault(
            "optimiser's state reset at each step",
            at_each_step("after_update", lambda job, parameters, ago: job.optimizer.state.clear()),
        ),
        Fault("weight decay 1", group("weight_decay", 1.0)),
        Fault("weight decay 10", group("weight_decay", 10.0)),
        Fault("labels shuffled", setting("labels", lambda job: job.labels[torch.randperm(len(job.labels))])),
        Fault("labels off by one in 40% of the rows", setting("labels", _labels_shifted)),
        Fault("inputs x100", _inputs(100.0, 0.0)),
        Fault("inputs /1000", _inputs(0.001, 0.0)),
        Fault("inputs shifted by 10", _inputs(1.0, 10.0)),
        Fault(
            "data sorted by class",
            setting("batches", lambda job: cycle(job.labels.argsort().split(job.setup.batch))),
        ),
        Fault("the same batch at each step", setting("batches", lambda job: repeat(next(job.batches)))),
        Fault("batches of two rows", setting("batches", lambda job: (rows[:2] for rows in job.batches))),
        Fault(
            "sum instead of mean in the loss",
            setting("loss", lambda job: partial(functional.cross_entropy, reduction="sum")),
        ),
        Fault(
            "softmax twice",
            setting("loss", lambda job: lambda logits, labels: functional.cross_entropy(logits.softmax(dim=1), labels)),
        ),
        Fault(
            "wrong sign of the loss in a quarter of the rows",
            setting("loss", lambda job: _loss_sign_wrong_in_part),
        ),
        Fault("initial weights x10", weights(10.0), _matrices),
        Fault("initial weights /100", weights(0.01), _matrices),
        Fault("initial weights all equal", weights(0.0, 0.01), _matrices),
        Fault("biases at -10: dead units", weights(0.0, -10.0), _hidden_biases),
        Fault("first layer not given to the optimiser", not_given, _first_layer),
        Fault("last layer not given to the optimiser", not_given, lambda model: list(model.head.parameters())),
        Fault("only the last layer given to the optimiser", not_given, _body),
        Fault("a tensor frozen after a third of the run", at_share(3, after(not_trained)), _middle_matrix),
        Fault("graph cut before the last layer", CUT_BEFORE_HEAD),
        Fault("dropout 0.95", before_head(lambda module, tensor: functional.dropout(tensor, 0.95, module.training))),
        Fault("normalisation left out", _norms_left_out, applies=_has(NORMS)),
        Fault("BatchNorm in eval mode", lambda job, parameters, at: job.model.eval(), applies=_has(nn.BatchNorm2d)),
    )
}
