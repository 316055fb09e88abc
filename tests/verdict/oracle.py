"""Baselines in plain loops, from the words of the contract: what good runs teach, and what a run's rows are by it.

The rows are any with the names of ``Row``: by global step, and of the whole run that is meant.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from itertools import groupby
from typing import Any, NamedTuple, Sequence

from tests.findings.made_runs import columns_report, made_baseline
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.report import Report
from weight_update_ratio.verdict.baseline import Baseline

EPSILON = 1e-9


class Row(NamedTuple):
    """A comparison, as far as it was measured."""

    tensor: str
    worker: str
    step: int
    reference_step: int
    global_step: int
    update_norm: float
    weight_norm: float

    @property
    def ratio(self) -> float:
        is_lost = math.isinf(self.weight_norm)
        return math.nan if is_lost else self.update_norm / (self.weight_norm + EPSILON)


def drawn_run(chance: random.Random, stride: int = 1, is_good: bool = False) -> list[Row]:
    """Return the rows of tensors that move, rest, shrink and leap, some steps each, of which some are not compared."""
    rows = []
    for tensor in "abc":
        for worker in ("w0", "w1"):
            mood, weight, first = "moves", chance.uniform(1, 4), chance.choice([-1, 0, 5, 9, 40])
            for step in range(first, first + chance.choice([4, 30, 90]) * stride, stride):
                if chance.random() < 0.2:
                    moods = ["moves"] * 4 + ["rests"] * 2 + ([] if is_good else ["leaps", "fades", "grows", "breaks"])
                    mood = chance.choice(["rests"] if tensor == "c" and is_good else moods)
                weight *= chance.uniform(0.9, 1.1) * (1.5 if mood == "grows" else 1)
                size = {"rests": 0.0, "leaps": 70.0, "fades": 1e-11, "breaks": math.inf}.get(mood, 1e-3)
                norm = chance.choice([weight] * 9 + [0.0])
                if chance.random() < 0.9:
                    gap = chance.choice([stride] * 9 + [3])
                    update = size * chance.choice([1, 1, chance.uniform(0.1, 10)]) * (norm + EPSILON)
                    rows.append(Row(tensor, worker, step, step - gap, 2 * step + 3, update, norm))
    return sorted(rows, key=lambda row: row.global_step)


class Known(NamedTuple):
    """What is known of a tensor: ``bins`` are {bin: (lowest ratio, highest, lowest norm, highest)}."""

    gap: int
    rest: int
    bins: dict[int, tuple[float, ...]]


class Judged(NamedTuple):
    lower: float
    upper: float
    verdict: str
    is_held: bool


def exact_bin(step: int) -> int:
    """Return 0 below 8, else how many of the edges ceil(8 * 2**(k / 3)) are not above the step."""
    return (step**3 // 512).bit_length() if step >= 8 else 0


def gap_of(row: Any) -> int:
    return row.step - row.reference_step


def learnt(rows: Sequence[Any]) -> dict[str, Known]:
    known = {}
    for tensor in {row.tensor for row in rows}:
        gaps = Counter(gap_of(row) for row in rows if row.tensor == tensor)
        gap = min(each for each in gaps if gaps[each] == max(gaps.values()))
        longest, by_bin = 0, {}
        for worker in {row.worker for row in rows}:
            course, rest = [row for row in rows if (row.tensor, row.worker) == (tensor, worker)], 0
            for row in course:
                rest = rest + 1 if row.ratio == 0 else 0
                longest = max(longest, rest)
            moves = [row for row in course if gap_of(row) == gap and row.ratio > 0 and row.weight_norm > 0]
            for index, row in enumerate(moves):
                is_between = 0 < index < len(moves) - 1
                near = sorted(each.ratio for each in moves[index - 1 : index + 2]) if is_between else [0, row.ratio]
                by_bin.setdefault(exact_bin(row.step), []).append((near[1], row.weight_norm))
        bins = {number: tuple(f(v) for v in zip(*seen) for f in (min, max)) for number, seen in by_bin.items()}
        known[tensor] = Known(gap, longest, bins)
    return known


def merged(*runs: dict[str, Known]) -> dict[str, Known]:
    """Return what several runs teach, whose gaps are the same."""
    together: dict[str, Known] = {}
    for run in runs:
        for tensor, new in run.items():
            old = together.get(tensor, new)
            bins = dict(old.bins)
            for number, ends in new.bins.items():
                both = zip(bins.get(number, ends), ends)
                bins[number] = tuple(f(pair) for f, pair in zip((min, max, min, max), both))
            together[tensor] = Known(old.gap, max(old.rest, new.rest), bins)
    return together


def near_bins(known: Known, step: int) -> list[tuple[float, ...]]:
    """Return the extremes that count at a step: of its bin and the two beside it; past the last one, of the last."""
    if exact_bin(step) < min(known.bins):
        return []
    number = min(exact_bin(step), max(known.bins))
    return [ends for other, ends in known.bins.items() if abs(other - number) <= 1]


def judged(
    rows: Sequence[Any], known: dict[str, Known], small: float = 1e-8, large: float = 10.0, factor: float = 3.0
) -> list[Judged]:
    """Return the bounds and the verdicts of rows, which are all that are judged."""
    rests: Counter[tuple[str, str]] = Counter()
    result = []
    for row in rows:
        key = row.tensor, row.worker
        rests[key] = rests[key] + 1 if row.ratio == 0 else 0
        band = known.get(row.tensor)
        if band is not None and band.gap != gap_of(row):
            band = None
        near = near_bins(band, row.step) if band is not None and band.bins else []
        lower, upper, norms = small, large, (0.0, math.inf)
        if near:
            lower, upper = min(ends[0] for ends in near) / factor, max(ends[1] for ends in near) * factor
            upper, by = max(upper, small), 1 + (factor - 1) / 4
            norms = min(ends[2] for ends in near) / by, max(ends[3] for ends in near) * by
        elif band is not None and not band.bins:  # it never moves
            lower, upper = 0.0, small
        if not math.isfinite(row.ratio):
            verdict = "not_finite"
        elif band is not None and row.ratio == 0:
            verdict = "small" if band.bins and rests[key] > 2 * band.rest else "ok"
        elif row.ratio > upper or row.ratio < lower:
            verdict = "large" if row.ratio > upper else "small"
        else:
            is_away = not norms[0] <= row.weight_norm <= norms[1] and row.weight_norm > 0 and row.ratio > 0
            verdict = "drifted" if is_away else "ok"
        is_held = band is not None and (bool(near) or not band.bins or row.ratio == 0)
        result.append(Judged(lower, upper, verdict, is_held))
    return result


def fires(rows: Sequence[Any], verdicts: Sequence[str], patience: int) -> list[bool]:
    in_a_row: Counter[tuple[str, str]] = Counter()
    result = []
    for row, verdict in zip(rows, verdicts):
        key = row.tensor, row.worker
        in_a_row[key] = in_a_row[key] + 1 if verdict != "ok" else 0
        result.append(verdict == "not_finite" or in_a_row[key] >= patience)
    return result


def leading(rows: Sequence[Any], verdicts: Sequence[str], patience: int) -> list[tuple[Any, str]]:
    """Return the violations that fire or lead up to one that does, each with its verdict."""
    courses: dict[tuple[str, str], list[tuple[Any, str]]] = {}
    for row, verdict in zip(rows, verdicts):
        courses.setdefault((row.tensor, row.worker), []).append((row, verdict))
    leads = []
    for course in courses.values():
        for is_sound, group in groupby(course, key=lambda pair: pair[1] == "ok"):
            in_a_row = [] if is_sound else list(group)
            leads += [pair for pair in in_a_row if len(in_a_row) >= patience or pair[1] == "not_finite"]
    return leads


# The same in the package's terms


def report_of(
    rows: Sequence[Row],
    parameters: Parameters | None = None,
    known: dict[str, Known] | None = None,
    mode: str = "TRAIN",
) -> Report:
    baseline = None if known is None else package_baseline(known)
    columns: dict[str, list[Any]] = {name: [getattr(row, name) for row in rows] for name in Row._fields}
    names = [list(dict.fromkeys(columns[name])) for name in ("tensor", "worker")]
    columns.update({name: list(map(each.index, columns[name])) for name, each in zip(("tensor", "worker"), names)})
    return columns_report(*names, columns, parameters, baseline, mode=mode, steps=columns["global_step"])


def package_baseline(known: dict[str, Known], **options: Any) -> Baseline:
    return made_baseline({tensor: (gap, bins, rest) for tensor, (gap, rest, bins) in known.items()}, **options)


def known_of(document: dict[str, Any]) -> dict[str, Known]:
    """Return what a file holds, given as its JSON."""
    known = {}
    for tensor, entry in document["tensors"].items():
        lists = zip(*(entry[name] for name in ("low", "high", "norm_low", "norm_high")))
        bins = {number: ends for number, ends in enumerate(lists, entry["first_bin"]) if ends != (None,) * 4}
        known[tensor] = Known(entry["gap"], entry["rest"], bins)
    return known
