"""One plain line of advice for each kind of violation: what it mostly comes from, true for the case at hand.

The verdict says that a ratio left its bounds. The kind says how, as far as the history tells it: a ratio of exactly
zero is another fault than a tiny one, and weights that began at zero are none at all.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..judge.history import History, ViolationGroup
from ..judge.ratio import LARGE, NOT_FINITE, SMALL, VERDICTS

UNCHANGED = "unchanged"
ZERO_START = "zero_reference"
TITLES = {  # in the order in which they are mended
    NOT_FINITE: "Not finite",
    LARGE: "Too large",
    UNCHANGED: "Not changed at all",
    SMALL: "Too small",
    ZERO_START: "Began at zero",
}


class Advice(NamedTuple):
    """The violations of one kind, and what to do about them."""

    kind: str
    title: str
    groups: list[ViolationGroup]
    line: str


def advise(report: History) -> list[Advice]:
    """Return the violations by kind, what is mended first before the rest, each kind with one line of advice."""
    kinds: dict[str, list[ViolationGroup]] = {kind: [] for kind in TITLES}
    for group in report.violations:
        kinds[violation_kind(group)].append(group)
    lines = {
        NOT_FINITE: _not_finite_line,
        LARGE: _large_line,
        UNCHANGED: _unchanged_line,
        SMALL: _small_line,
        ZERO_START: _zero_start_line,
    }
    return [Advice(kind, TITLES[kind], groups, lines[kind](report, groups)) for kind, groups in kinds.items() if groups]


def violation_kind(group: ViolationGroup) -> str:
    """Return the verdict of a group, or the closer kind: all its references are zero; its weights did not change."""
    if group.verdict == LARGE and group.zero_references == group.count:
        return ZERO_START
    if group.verdict == SMALL and group.worst_ratio == 0:
        return UNCHANGED
    return group.verdict


def _not_finite_line(report: History, groups: list[ViolationGroup]) -> str:
    verdicts = np.asarray(report.columns["verdict"])
    first = int(np.flatnonzero(verdicts == VERDICTS.index(NOT_FINITE))[0])
    step = report.columns["step"][first]
    tensor = list(report.tensors)[report.columns["tensor"][first]]
    began = f"it began at {report.mode} step {step} in {tensor}"
    larger = [group.first_step for group in report.violations if violation_kind(group) == LARGE]
    if larger and min(larger) < step:
        return f"{began}, after updates that were too large from step {min(larger)} on: mend those first."
    return f"{began}: look there for an overflow, a division by zero, or NaN in the data; clip gradients."


def _large_line(report: History, groups: list[ViolationGroup]) -> str:
    first = min(group.first_step for group in groups)
    if first == np.asarray(report.columns["step"]).min():
        return "from the first comparison on: lower the learning rate or the loss scale, or warm up."
    return f"from {report.mode} step {first} on: clip gradients, or lower the learning rate or the loss scale there."


def _unchanged_line(report: History, groups: list[ViolationGroup]) -> str:
    """Tell a frozen tensor from one that rests at some steps."""
    ratios = np.asarray(report.columns["ratio"])
    rows = np.asarray(report.columns["tensor"]) * max(len(report.workers), 1) + np.asarray(report.columns["worker"])
    unchanged = set(rows[ratios == 0].tolist())
    moving = set(rows[ratios != 0].tolist())
    if unchanged & moving:
        return "some at some steps only: steps that the loss scaler skipped, gradient accumulation, or zero gradients."
    return "frozen (requires_grad or trainable is off), not given to the optimizer, or its gradient is zero."


def _small_line(report: History, groups: list[ViolationGroup]) -> str:
    return "the learning rate is too low for it, or its gradient vanishes (dead units, underflow in float16)."


def _zero_start_line(report: History, groups: list[ViolationGroup]) -> str:
    return "zero initialisation makes the first update look huge: leave such tensors out by tensor_regex."
