"""Trains a set-up with a fault or none, and records ratio and norm of every weight matrix at every step."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Callable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from tests.benchmarks.detection.faults import FAULTS, HEALTHY, Fault, Job
from tests.benchmarks.detection.nets import SETUPS, Setup
from weight_update_ratio.compare.ratio import update_norms, update_ratios, weight_norms

EPSILON = 1e-9  # the rule's default
TEST_SHARE = 0.25
FIRST_FAULTY_SEED = 1000  # no good run has a seed of a faulty one
Ratios = dict[str, "np.ndarray"]
ALL_FAULTS = {fault.name: fault for fault in (HEALTHY, *FAULTS)}


@dataclass(frozen=True)
class Plan:
    """Names one run: a set-up, a fault, a seed of initialisation, order and split, and how many steps."""

    setup: str
    fault: str
    seed: int
    steps: int

    @property
    def file_name(self) -> str:
        """Where a cache keeps the run, below its folder."""
        words = f"{self.setup} {self.fault} {self.seed} {self.steps}"
        return "".join(letter if letter.isalnum() else "-" for letter in words) + ".npz"


@dataclass(frozen=True)
class Run:
    """What a run left: by weight matrix its ratios and the norms before the update, and its accuracy in the test.

    Arrays have the shape (steps,), from step 1 on.
    """

    plan: Plan
    ratios: Ratios
    norms: Ratios
    accuracy: float


def plans(setup: Setup, seeds: int, steps: int) -> list[Plan]:
    """Return the good runs of a set-up and then one run of every fault that it can have."""
    good = [Plan(setup.name, HEALTHY.name, seed, steps) for seed in range(seeds)]
    model = setup.net()
    faulty = [
        Plan(setup.name, fault.name, FIRST_FAULTY_SEED + number, steps)
        for number, fault in enumerate(FAULTS)
        if fault.applies(setup, model)
    ]
    return good + faulty


def recorded(wanted: list[Plan], jobs: int, cache: Path | None) -> Iterator[Run]:
    """Yield the runs in the order of their plans; those that the cache holds are read, the others are trained."""
    run = partial(_cached, cache=cache)
    if jobs == 1:
        torch.set_num_threads(1)
        yield from map(run, wanted)
        return
    context = get_context("spawn")  # a fork would share torch's threads
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        yield from pool.map(run, wanted)


def _cached(plan: Plan, cache: Path | None) -> Run:
    file = cache / plan.file_name if cache else None
    if file and file.exists():
        with np.load(file) as held:
            accuracy = float(held[""])
            tensors = [name[len("ratio ") :] for name in held if name.startswith("ratio ")]
            ratios, norms = ({name: held[f"{what} {name}"] for name in tensors} for what in ("ratio", "norm"))
        return Run(plan, ratios, norms, accuracy)
    run = train(plan)
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(f".{os.getpid()}.tmp")
        with unfinished.open("wb") as stream:
            named = {"ratio": run.ratios, "norm": run.norms}
            arrays = {f"{what} {name}": array for what, own in named.items() for name, array in own.items()}
            np.savez(stream, **arrays, **{"": np.float64(run.accuracy)})
        unfinished.replace(file)
    return run


def train(plan: Plan) -> Run:
    """Return the run of a plan; weights that are not finite are recorded, and the run goes on to its last step."""
    fault = ALL_FAULTS[plan.fault]
    job = _prepare(SETUPS[plan.setup], plan.seed, plan.steps)
    fault.start(job)
    job.model.train(not job.eval_mode)
    before = _weights(job)
    norms = weight_norms([*before.values()])
    ratios, sizes = ({name: np.zeros(plan.steps) for name in before} for _ in range(2))
    for step in range(1, plan.steps + 1):
        _train_step(job, step, fault)
        after = _weights(job)
        updates, next_norms = update_norms([before[name] for name in after], [*after.values()])
        for name, norm, ratio in zip(after, norms, update_ratios(updates, norms, EPSILON)):
            ratios[name][step - 1], sizes[name][step - 1] = ratio, norm
        before, norms = after, next_norms
    return Run(plan, ratios, sizes, _accuracy(job))


def _prepare(setup: Setup, seed: int, steps: int) -> Job:
    torch.manual_seed(seed)
    inputs, labels = setup.data()
    rows = torch.randperm(len(inputs))
    test, training = rows[: int(TEST_SHARE * len(rows))], rows[int(TEST_SHARE * len(rows)) :]
    model = setup.net()
    return Job(
        setup=setup,
        steps=steps,
        model=model,
        optimizer=setup.optimizer(model.parameters(), lr=setup.learning_rate),
        inputs=inputs[training],
        labels=labels[training],
        test_inputs=inputs[test],
        test_labels=labels[test],
        learning_rate=_planned_learning_rate(setup, steps),
        batches=_shuffled_batches(len(training), setup.batch),
        loss=setup.loss,
        clip=setup.clip,
    )


def _planned_learning_rate(setup: Setup, steps: int) -> Callable[[int], float]:
    def learning_rate(step: int) -> float:
        warm = min(1.0, step / (setup.warm_up * steps)) if setup.warm_up else 1.0
        return setup.learning_rate * warm * setup.schedule(step / steps)

    return learning_rate


def _shuffled_batches(rows: int, batch: int) -> Iterator[Tensor]:
    while True:
        order = torch.randperm(rows)
        yield from order[: rows - rows % batch].split(batch)


def _train_step(job: Job, step: int, fault: Fault) -> None:
    for group in job.optimizer.param_groups:
        group["lr"] = job.learning_rate(step)
    if job.reset_gradients:
        job.model.zero_grad()
    for _ in range(job.accumulate):
        rows = next(job.batches)
        job.loss(job.model(job.inputs[rows]), job.labels[rows]).backward()
    fault.gradients(job, step)
    if job.clip:
        clip_grad_norm_(job.model.parameters(), job.clip)
    if float(torch.rand(())) >= job.setup.skips:
        job.optimizer.step()
    fault.finish(job, step)


def _weights(job: Job) -> Ratios:
    """Return a copy of every parameter that the recorder has in ``weights``, flat, in float32."""
    named = job.parameters.items()
    return {name: parameter.detach().numpy().flatten() for name, parameter in named if parameter.ndim >= 2}


def _accuracy(job: Job) -> float:
    """Return the share of the test's rows that the net classifies as they are."""
    job.model.eval()
    with torch.no_grad():
        found = job.model(job.test_inputs).argmax(dim=1)
    return float((found == job.test_labels).double().mean())
