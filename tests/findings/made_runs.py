"""Runs made of rows, without files; and the bins of a baseline by exact integers, as the contract writes them."""

from __future__ import annotations

from typing import Any, Iterable, Mapping, NamedTuple, Sequence

from hypothesis import strategies as st

from tests.conftest import judged_rows, plain_verdict
from weight_update_ratio.compare.comparison import Comparison
from weight_update_ratio.compare.history import History
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.report import Report
from weight_update_ratio.verdict.baseline import Band, Baseline
from weight_update_ratio.verdict.bounds import Bounds
from weight_update_ratio.verdict.firing import Fired

STEPS = st.one_of(st.integers(-1, 70), st.integers(-1, 2000), st.integers(-1, 2**40), st.just(2**62))
RATIOS = st.floats(0, 1e300)


class Row(NamedTuple):
    """One comparison, as far as a baseline knows it."""

    tensor: str
    worker: str
    step: int
    gap: int
    ratio: float


def rows(most: int = 40, gaps: Any = None) -> Any:
    """Return a strategy of lists of rows of a few tensors and workers."""
    gaps = st.sampled_from([1, 1, 2, 5]) if gaps is None else gaps
    return st.lists(
        st.builds(Row, st.sampled_from("abc"), st.sampled_from(["w0", "w1"]), STEPS, gaps, RATIOS),
        min_size=1,
        max_size=most,
    )


def made_history(made: Iterable[Row], mode: str = "TRAIN", parameters: Parameters | None = None) -> History:
    """Return the history of a run that was judged by the thresholds and gave these rows."""
    parameters = parameters or Parameters()
    history = History("made/trial", parameters)
    history.mode = mode
    found = []
    for row in made:
        history.tensors.setdefault(row.tensor, len(history.tensors))
        history.workers.setdefault(row.worker, len(history.workers))
        lower, upper = parameters.small_threshold, parameters.large_threshold
        steps = (row.step, row.step - row.gap, row.step)
        verdict = plain_verdict(row.ratio, lower, upper)
        norms = (row.ratio, 1.0)
        found.append(Comparison(row.tensor, row.worker, mode, *steps, *norms, row.ratio, lower, upper, verdict))
    history.add([], judged_rows(found))
    return history


def made_baseline(
    tensors: dict[str, tuple[int, dict[int, tuple[float, float]]]],
    runs: int = 1,
    mode: str = "TRAIN",
    num_steps: int | None = None,
    epsilon: float = 1e-9,
) -> Baseline:
    """Return a baseline of {tensor: (gap, {bin: (low, high)})}."""
    by_gap = {tensor: {gap: Band(len(extremes), extremes)} for tensor, (gap, extremes) in tensors.items()}
    return Baseline(runs, mode, num_steps, epsilon, by_gap)


def exact_edge(number: int) -> int:
    """Return ceil(8 * 2**(number / 3)): the least whole number whose cube is at least 512 * 2**number."""
    least, cube = 8, 512 * 2**number
    while least**3 < cube:
        least *= 2
    below = least // 2
    while least - below > 1:
        middle = (least + below) // 2
        least, below = (middle, below) if middle**3 >= cube else (least, middle)
    return least


def exact_bin(step: int) -> int:
    """Return the bin of a step: 0 below 8, else how many of the edges ceil(8 * 2**(k / 3)) are not above it."""
    return (step**3 // 512).bit_length() if step >= 8 else 0


def found_bands(baseline: Baseline) -> dict[str, tuple[int, dict[int, tuple[float, float]]]]:
    """Return {tensor: (gap, {bin: (low, high)})} of a baseline."""
    return {tensor: (gap, band.extremes) for tensor, (gap, band) in baseline.bands.items()}


def judged_report(
    ratios: Mapping[Any, Sequence[float | None] | Mapping[int, float]],
    parameters: Parameters | None = None,
    baseline: Baseline | None = None,
    zero_weights: Iterable[tuple[str, int]] = (),
    gaps: Mapping[str, int] | None = None,
    dtypes: Mapping[str, str] | str = "float32",
    mode: str = "TRAIN",
    every: int = 1,
    shuffle: Any = None,
) -> Report:
    """Return the report of a run; what fires is counted here by the words of the contract.

    Args:
        ratios: {tensor: ratios} or {(tensor, worker): ratios}; a sequence begins at step 1, and None is not compared.
        parameters: With patience too.
        baseline: What the run is held against.
        zero_weights: (tensor, step) whose reference weights are all zero.
        gaps: {tensor: steps to its reference}, 1 for the others.
        dtypes: Of all tensors, or of each.
        mode: That is judged.
        every: How many global steps a step stands for.
        shuffle: A random.Random: rows are added in any order, as a rule that is invoked in any order adds them.
    """
    parameters = parameters or Parameters()
    history = History("made/trial", parameters, Bounds(parameters, baseline))
    history.mode, history.job_ended = mode, True
    keyed = {key if isinstance(key, tuple) else (key, "worker_0"): values for key, values in ratios.items()}
    history.tensors = {tensor: place for place, tensor in enumerate(dict.fromkeys(tensor for tensor, _ in keyed))}
    history.workers = {worker: place for place, worker in enumerate(dict.fromkeys(worker for _, worker in keyed))}
    history.dtypes = dict.fromkeys(history.tensors, dtypes) if isinstance(dtypes, str) else dict(dtypes)
    zero = set(zero_weights)
    found = []
    for (tensor, worker), values in keyed.items():
        at = values.items() if isinstance(values, Mapping) else enumerate(values, 1)
        for step, ratio in at:
            if ratio is None:
                continue
            reference = step - (gaps or {}).get(tensor, 1)
            lower, upper = history.bounds.of(tensor, step, reference)
            verdict = plain_verdict(ratio, lower, upper)
            weight = 0.0 if (tensor, step) in zero else 2.0
            norms = (ratio * (weight or 1e-9), weight)
            steps = (step, reference, step * every)
            found.append(Comparison(tensor, worker, mode, *steps, *norms, ratio, lower, upper, verdict))
            history.judged_steps |= {step * every, reference * every}
    found.sort(key=lambda row: (row.global_step, history.workers[row.worker]))
    firing = fired_rows(found, parameters.violations_to_fire)
    if shuffle is not None:
        shuffle.shuffle(found)
        shuffle.shuffle(firing)
    history.add([], judged_rows(found))
    history.add_firing(firing)
    return Report(history)


def fired_rows(rows_in_order: Iterable[Comparison], patience: int) -> list[Fired]:
    """Return the violations that fire, each with the verdicts in its row and the global step at which that began."""
    in_a_row: dict[tuple[str, str], list[Comparison]] = {}
    firing = []
    for row in rows_in_order:
        before = in_a_row.setdefault((row.tensor, row.worker), [])
        if row.verdict == "ok":
            before.clear()
            continue
        before.append(row)
        if len(before) >= patience:
            firing.append(Fired(row, frozenset(part.verdict for part in before), before[0].global_step))
        elif row.verdict == "not_finite":
            firing.append(Fired(row, frozenset({row.verdict}), row.global_step))
    return firing
