"""Faults that are seeded into a training run: each is one mistake that people make, for every net alike."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.benchmarks.detection.nets import Setup


@dataclass
class Job:
    """A training run before its first step, open to faults.

    Attributes:
        setup: What is trained.
        steps: How many steps it takes.
        model: The net, initialised.
        optimizer: Holds all of the net's parameters.
        inputs: The inputs that it trains on; shape (rows, features).
        labels: Their classes; shape (rows,).
        test_inputs: The inputs of the test, and ``test_labels`` their classes.
        learning_rate: Returns the learning rate of a step, 1..steps.
        batches: Yields the rows of each batch.
        loss: Returns what is differentiated, from logits and labels.
        accumulate: How many batches' gradients a step adds up.
        reset_gradients: Whether gradients are set to zero before each step.
        clip: The highest norm of the gradients, or None.
        eval_mode: Whether the net trains in eval mode.
    """

    setup: Setup
    steps: int
    model: nn.Module
    optimizer: torch.optim.Optimizer
    inputs: Tensor
    labels: Tensor
    test_inputs: Tensor
    test_labels: Tensor
    learning_rate: Callable[[int], float]
    batches: Iterator[Tensor]
    loss: Callable[[Tensor, Tensor], Tensor]
    accumulate: int = 1
    reset_gradients: bool = True
    clip: float | None = None
    eval_mode: bool = False

    @property
    def head(self) -> nn.Linear:
        """The last layer."""
        head = self.model.head
        assert isinstance(head, nn.Linear)
        return head

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """All parameters of the net by name, in its order."""
        return dict(self.model.named_parameters())

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return int(self.test_labels.max()) + 1


Change = Callable[[Job], None]
ChangeAtStep = Callable[[Job, int], None]


def _nothing(job: Job) -> None:
    pass


def _nothing_at_step(job: Job, step: int) -> None:
    pass


def _always(setup: Setup, model: nn.Module) -> bool:
    return True


@dataclass(frozen=True)
class Fault:
    """One mistake: what it changes before the run, in the gradients of a step, and after a step.

    Attributes:
        name: As the tables show it.
        start: Changes the job before its first step.
        gradients: Changes the gradients of a step, before they are used.
        finish: Changes the job after a step.
        applies: Whether a set-up can have the fault.
    """

    name: str
    start: Change = _nothing
    gradients: ChangeAtStep = _nothing_at_step
    finish: ChangeAtStep = _nothing_at_step
    applies: Callable[[Setup, nn.Module], bool] = field(default=_always)


HEALTHY = Fault("none")


def _learning_rate_times(factor: float) -> Change:
    def change(job: Job) -> None:
        right = job.learning_rate
        job.learning_rate = lambda step: factor * right(step)

    return change


def _learning_rate_grows(job: Job) -> None:
    """Double the learning rate six times over the run: a decay with the wrong sign."""
    right = job.learning_rate
    job.learning_rate = lambda step: right(step) * 64 ** (step / job.steps)


def _schedule_left_out(job: Job) -> None:
    warm = max(1.0, job.setup.warm_up * job.steps)
    job.learning_rate = lambda step: job.setup.learning_rate * min(1.0, step / warm)


def _schedule_ends_early(job: Job) -> None:
    """Let the schedule reach 0 after a fifth of the run, as if it counted in another unit than the steps."""
    right = job.learning_rate
    early = job.steps / 5
    job.learning_rate = lambda step: right(step) * max(0.0, 1 - step / early)


def _warm_up_left_out(job: Job) -> None:
    job.learning_rate = lambda step: job.setup.learning_rate * job.setup.schedule(step / job.steps)


def _has_schedule(setup: Setup, model: nn.Module) -> bool:
    return setup.schedule(1.0) < 1


def _has_warm_up(setup: Setup, model: nn.Module) -> bool:
    return setup.warm_up > 0


def _gradients_kept(job: Job) -> None:
    job.reset_gradients = False


def _gradients_accumulated(job: Job) -> None:
    job.accumulate = 4


def _gradients_clipped_to(norm: float) -> Change:
    def change(job: Job) -> None:
        job.clip = norm

    return change


def _gradients_in_float16(job: Job, step: int) -> None:
    """Round gradients to float16 at a size that those of large nets have: without loss scaling many become 0."""
    for parameter in job.parameters.values():
        if parameter.grad is not None:
            parameter.grad = (parameter.grad * 1e-5).half().float() * 1e5


def _gradients_reversed(job: Job, step: int) -> None:
    for parameter in job.parameters.values():
        if parameter.grad is not None:
            parameter.grad.neg_()


def _weights_in_bfloat16(job: Job, step: int) -> None:
    with torch.no_grad():
        for parameter in job.parameters.values():
            parameter.copy_(parameter.bfloat16().float())


def _momentum(momentum: float) -> Change:
    def change(job: Job) -> None:
        for group in job.optimizer.param_groups:
            if "betas" in group:
                group["betas"] = (momentum, group["betas"][1])
            else:
                group["momentum"] = momentum

    return change


def _state_reset(job: Job, step: int) -> None:
    job.optimizer.state.clear()


def _weight_decay(decay: float) -> Change:
    def change(job: Job) -> None:
        for group in job.optimizer.param_groups:
            group["weight_decay"] = decay

    return change


def _labels_shuffled(job: Job) -> None:
    job.labels = job.labels[torch.randperm(len(job.labels))]


def _labels_shifted(job: Job) -> None:
    shifted = torch.rand(len(job.labels)) < 0.4
    job.labels = torch.where(shifted, (job.labels + 1) % job.classes, job.labels)


def _inputs(scale: float, shift: float) -> Change:
    def change(job: Job) -> None:
        job.inputs = job.inputs * scale + shift
        job.test_inputs = job.test_inputs * scale + shift

    return change


def _sorted_by_class(job: Job) -> None:
    order = job.labels.argsort()
    batch = job.setup.batch

    def batches() -> Iterator[Tensor]:
        while True:
            yield from order.split(batch)

    job.batches = batches()


def _one_batch(job: Job) -> None:
    first = next(job.batches)

    def batches() -> Iterator[Tensor]:
        while True:
            yield first

    job.batches = batches()


def _batches_of_two(job: Job) -> None:
    right = job.batches
    job.batches = (rows[:2] for rows in right)


def _loss_of_sums(job: Job) -> None:
    job.loss = lambda logits, labels: functional.cross_entropy(logits, labels, reduction="sum")


def _softmax_twice(job: Job) -> None:
    job.loss = lambda logits, labels: functional.cross_entropy(logits.softmax(dim=1), labels)


def _loss_sign_wrong_in_part(job: Job) -> None:
    """Give every fourth row of a batch the wrong sign."""

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        losses = functional.cross_entropy(logits, labels, reduction="none")
        signs = torch.ones(len(labels))
        signs[::4] = -1
        return (losses * signs).mean()

    job.loss = loss


def _nan_in_gradients(job: Job, step: int) -> None:
    if step == job.steps // 2:
        for parameter in job.parameters.values():
            if parameter.grad is not None:
                parameter.grad.fill_(math.nan)


def _matrices(job: Job) -> list[nn.Parameter]:
    return [parameter for parameter in job.parameters.values() if parameter.dim() >= 2]


def _matrices_times(factor: float) -> Change:
    def change(job: Job) -> None:
        with torch.no_grad():
            for parameter in _matrices(job):
                parameter.mul_(factor)

    return change


def _matrices_filled(value: float) -> Change:
    def change(job: Job) -> None:
        with torch.no_grad():
            for parameter in _matrices(job):
                parameter.fill_(value)

    return change


def _dead_units(job: Job) -> None:
    head = {id(parameter) for parameter in job.head.parameters()}
    with torch.no_grad():
        for name, parameter in job.parameters.items():
            if "bias" in name and id(parameter) not in head:
                parameter.fill_(-10)


def _left_to_optimizer(job: Job, kept: Callable[[nn.Parameter], bool]) -> None:
    for group in job.optimizer.param_groups:
        group["params"] = [parameter for parameter in group["params"] if kept(parameter)]


def _first_layer_not_given(job: Job) -> None:
    """Leave the first tensor out of the optimiser, and the bias of the same layer."""
    prefix = next(iter(job.parameters)).rsplit(".", 1)[0]
    left_out = {id(parameter) for name, parameter in job.parameters.items() if name.rsplit(".", 1)[0] == prefix}
    _left_to_optimizer(job, lambda parameter: id(parameter) not in left_out)


def _head_not_given(job: Job) -> None:
    left_out = {id(parameter) for parameter in job.head.parameters()}
    _left_to_optimizer(job, lambda parameter: id(parameter) not in left_out)


def _only_head_given(job: Job) -> None:
    kept = {id(parameter) for parameter in job.head.parameters()}
    _left_to_optimizer(job, lambda parameter: id(parameter) in kept)


def _middle_tensor_frozen(job: Job, step: int) -> None:
    """Freeze the middle one of the matrices after a third of the run."""
    if step == job.steps // 3:
        matrices = _matrices(job)
        frozen = matrices[len(matrices) // 2]
        frozen.requires_grad_(False)
        frozen.grad = None


def _graph_cut_before_head(job: Job) -> None:
    job.head.register_forward_pre_hook(lambda module, inputs: tuple(tensor.detach() for tensor in inputs))


def _dropout(share: float) -> Change:
    def change(job: Job) -> None:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return tuple(functional.dropout(tensor, share, training=module.training) for tensor in inputs)

        job.head.register_forward_pre_hook(hook)

    return change


NORMS = (nn.LayerNorm, nn.BatchNorm2d)


def _norms_left_out(job: Job) -> None:
    for module in list(job.model.modules()):
        for name, child in module.named_children():
            if isinstance(child, NORMS):
                setattr(module, name, nn.Identity())


def _has_norms(setup: Setup, model: nn.Module) -> bool:
    return any(isinstance(module, NORMS) for module in model.modules())


def _has_batch_norm(setup: Setup, model: nn.Module) -> bool:
    return any(isinstance(module, nn.BatchNorm2d) for module in model.modules())


def _trains_in_eval_mode(job: Job) -> None:
    job.eval_mode = True


FAULTS = (
    Fault("learning rate x100", _learning_rate_times(100)),
    Fault("learning rate x10", _learning_rate_times(10)),
    Fault("learning rate x5", _learning_rate_times(5)),
    Fault("learning rate x3", _learning_rate_times(3)),
    Fault("learning rate /3", _learning_rate_times(1 / 3)),
    Fault("learning rate /10", _learning_rate_times(1 / 10)),
    Fault("learning rate /100", _learning_rate_times(1 / 100)),
    Fault("learning rate grows", _learning_rate_grows),
    Fault("schedule left out", _schedule_left_out, applies=_has_schedule),
    Fault("schedule ends at 0 too early", _schedule_ends_early),
    Fault("warm-up left out", _warm_up_left_out, applies=_has_warm_up),
    Fault("gradients never set to zero", _gradients_kept),
    Fault("gradients of 4 batches added up", _gradients_accumulated),
    Fault("gradients clipped to 0.001", _gradients_clipped_to(0.001)),
    Fault("gradients underflow in float16", gradients=_gradients_in_float16),
    Fault("gradients with the wrong sign", gradients=_gradients_reversed),
    Fault("NaN in the gradients at half of the run", gradients=_nan_in_gradients),
    Fault("weights kept in bfloat16", finish=_weights_in_bfloat16),
    Fault("momentum 0.999", _momentum(0.999)),
    Fault("optimiser's state reset at each step", finish=_state_reset),
    Fault("weight decay 1", _weight_decay(1.0)),
    Fault("weight decay 10", _weight_decay(10.0)),
    Fault("labels shuffled", _labels_shuffled),
    Fault("labels off by one in 40% of the rows", _labels_shifted),
    Fault("inputs x100", _inputs(100.0, 0.0)),
    Fault("inputs /1000", _inputs(0.001, 0.0)),
    Fault("inputs shifted by 10", _inputs(1.0, 10.0)),
    Fault("data sorted by class", _sorted_by_class),
    Fault("the same batch at each step", _one_batch),
    Fault("batches of two rows", _batches_of_two),
    Fault("sum instead of mean in the loss", _loss_of_sums),
    Fault("softmax twice", _softmax_twice),
    Fault("wrong sign of the loss in a quarter of the rows", _loss_sign_wrong_in_part),
    Fault("initial weights x10", _matrices_times(10.0)),
    Fault("initial weights /100", _matrices_times(0.01)),
    Fault("initial weights all alike", _matrices_filled(0.01)),
    Fault("biases at -10: dead units", _dead_units),
    Fault("first layer not given to the optimiser", _first_layer_not_given),
    Fault("last layer not given to the optimiser", _head_not_given),
    Fault("only the last layer given to the optimiser", _only_head_given),
    Fault("a tensor frozen after a third of the run", finish=_middle_tensor_frozen),
    Fault("graph cut before the last layer", _graph_cut_before_head),
    Fault("dropout 0.95", _dropout(0.95)),
    Fault("normalisation left out", _norms_left_out, applies=_has_norms),
    Fault("BatchNorm in eval mode", _trains_in_eval_mode, applies=_has_batch_norm),
)
