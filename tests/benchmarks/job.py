"""One training of a small net: what a fault may change, and the loop that every benchmark of nets goes through."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_

from tests.benchmarks.nets import Setup

TEST_SHARE = 0.25  # of all rows
Hooks = list[Callable[[int], None]]  # each is called with the step
torch.set_num_threads(1)  # small nets gain nothing from more, and one gives the same run on every machine


@dataclass
class Job:
    """A training run before its first step, open to faults, which change its fields and add hooks."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    inputs: Tensor  # (rows, features)
    labels: Tensor  # (rows,)
    batches: Iterator[Tensor]  # rows of each batch
    learning_rate: Callable[[int], float]  # of a step
    steps: int
    loss: Callable[[Tensor, Tensor], Tensor] = functional.cross_entropy  # of logits and labels
    clip: float | None = None  # the highest norm of the gradients
    skips: float = 0.0  # the share of the steps that a loss scaler skips
    setup: Setup | None = None
    test_inputs: Tensor | None = None
    test_labels: Tensor | None = None
    accumulate: int = 1  # batches whose gradients a step adds up
    reset_gradients: bool = True  # before each step
    before_step: Hooks = field(default_factory=list)
    before_update: Hooks = field(default_factory=list)  # may change the gradients, before they are clipped
    after_update: Hooks = field(default_factory=list)

    def train(self) -> Iterator[int]:
        """Yield 0 before the first step, and each step after its update; what is not finite stops nothing."""
        yield 0
        for step in range(1, self.steps + 1):
            self._take(step)
            yield step

    def _take(self, step: int) -> None:
        for hook in self.before_step:
            hook(step)
        self._set_learning_rate(step)
        if self.reset_gradients:
            self.model.zero_grad()
        for _ in range(self.accumulate):
            self.add_gradients()
        for hook in self.before_update:
            hook(step)
        if self.clip:
            clip_grad_norm_(self.model.parameters(), self.clip)
        if float(torch.rand(())) >= self.skips:
            self.optimizer.step()
        for hook in self.after_update:
            hook(step)

    def _set_learning_rate(self, step: int) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(step)

    def add_gradients(self, share: float = 1.0) -> None:
        """Add the gradients of the next batch, times a share."""
        rows = next(self.batches)
        (self.loss(self.model(self.inputs[rows]), self.labels[rows]) * share).backward()

    def update(self, step: int) -> None:
        """Take the optimiser's step alone, and set the gradients to zero."""
        self._set_learning_rate(step)
        self.optimizer.step()
        self.model.zero_grad()

    def accuracy(self) -> float:
        """Return the share of the test's rows that the net classifies as they are."""
        self.model.eval()
        with torch.no_grad():
            classes = self.model(self.test_inputs).argmax(dim=1)
        return float((classes == self.test_labels).double().mean())


def prepared(setup: Setup, seed: int, steps: int) -> Job:
    """Return a set-up's training run; the seed decides initialisation, order and which rows are the test's."""
    torch.manual_seed(seed)
    inputs, labels = setup.data()
    rows = torch.randperm(len(inputs))
    test, training = rows[: int(TEST_SHARE * len(rows))], rows[int(TEST_SHARE * len(rows)) :]
    model = setup.net()

    def learning_rate(step: int) -> float:
        warm = min(1.0, step / (setup.warm_up * steps)) if setup.warm_up else 1.0
        return setup.learning_rate * warm * setup.schedule(step / steps)

    return Job(
        model=model,
        optimizer=setup.optimizer(model.parameters(), lr=setup.learning_rate),
        inputs=inputs[training],
        labels=labels[training],
        batches=shuffled_batches(len(training), setup.batch),
        learning_rate=learning_rate,
        steps=steps,
        loss=setup.loss,
        clip=setup.clip,
        skips=setup.skips,
        setup=setup,
        test_inputs=inputs[test],
        test_labels=labels[test],
    )


def shuffled_batches(rows: int, batch: int, generator: torch.Generator | None = None) -> Iterator[Tensor]:
    """Yield whole batches without end, in a new order each time through."""
    while True:
        order = torch.randperm(rows, generator=generator)
        yield from order[: rows - rows % batch].split(batch)
