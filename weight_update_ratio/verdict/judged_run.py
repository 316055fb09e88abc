"""A run's rows with their bounds and verdicts, and what of it fires: each computed from the columns when asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Generic, Iterator, Sequence, TypeVar

import numpy as np

from ..compare.ratio import update_ratios
from ..compare.rows import Array, Comparison, Rows, SkippedGroup
from ..errors import TrialError, Unreadable, needed_by
from ..parameters import Parameters
from .bounds import DRIFTED, NOT_FINITE, OK, SMALL, VERDICTS, Bounds, verdict_codes
from .firing import ViolationGroup, decades_outside, firing, in_a_row, keys_of, longest_course, violation_groups

if TYPE_CHECKING:
    import pandas

Value = TypeVar("Value")
Run = TypeVar("Run", bound="JudgedRun")


class computed(Generic[Value]):  # noqa: N801  (a decorator, as functools.cached_property, which came with Python 3.8)
    """A property that is computed once, when it is first asked for."""

    def __init__(self, function: Callable[[Any], Value]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __get__(self, instance: Any, owner: Any) -> Value:
        if instance is None:
            return self  # type: ignore[return-value]
        value = instance.__dict__[self._function.__name__] = self._function(instance)
        return value


class JudgedRun:
    """The rows of a run, judged and frozen; ``len`` is the number of comparisons, and iterating yields them."""

    trial: str  # the trial's folder as it was named
    rows: Rows
    bounds: Bounds
    mode: str | None  # that was judged, TRAIN or GLOBAL; None: not known yet
    # Facts that are known when all steps that were asked for are compared; ``concluded`` adds them.
    problem: TrialError | None = None  # why nothing could be compared, or a job not be followed to its end
    job_ended = False  # whether the job wrote its end-of-job file
    is_measured = False  # whether its rows were measured in the training: no parameter gives other references
    only_evaluated = False  # whether all steps of the trial are of EVAL or PREDICT mode
    notes: Sequence[SkippedGroup] = ()  # what was skipped as a whole, of a worker (its tensor is None) or of a tensor
    folder_unreadable: Sequence[Unreadable] = ()  # what of the trial folder itself could not be read
    not_trained: frozenset[str] = frozenset()  # the tensors that were recorded as not trained

    def __init__(self, trial: str, rows: Rows, bounds: Bounds, mode: str | None = None, **facts: Any) -> None:
        self.__dict__.update(trial=trial, rows=rows, bounds=bounds, mode=mode, **facts)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{name!r} cannot be set: a report is fixed once it is made")

    def with_facts(self: Run, **facts: Any) -> Run:
        """Return the same rows with other attributes; only ``columns`` is not computed again."""
        kept = {
            name: value
            for name, value in vars(self).items()
            if name == "columns" or not isinstance(getattr(type(self), name, None), computed)
        }
        return type(self)(**{**kept, **facts})

    @property
    def parameters(self) -> Parameters:
        """What was asked for."""
        return self.bounds.parameters

    def __len__(self) -> int:
        return len(self.columns["ratio"])

    def __iter__(self) -> Iterator[Comparison]:  # by global step, worker and the order in the index
        return comparisons(self.columns, self.rows, self.mode)

    @computed
    def tensors(self) -> dict[str, int]:
        """The selected tensors of the judged steps in the order in which they came, {name: code}."""
        return dict(self.rows.tensors.codes)

    @computed
    def workers(self) -> dict[str, int]:
        """The workers that saved them, {name: code}."""
        return dict(self.rows.workers.codes)

    @computed
    def columns(self) -> dict[str, Array]:
        """The comparisons in columns, each of shape (n,), by global step.

        ``tensor``, ``worker`` and ``verdict`` are codes, by ``tensors``, ``workers`` and VERDICTS; ``held`` is whether
        the bounds are the baseline's.
        """
        return judged_columns(self.rows.compared.arrays(), list(self.tensors), self.bounds)

    @computed
    def is_unheld(self) -> bool:
        """Whether there is a baseline, and no comparison could be held against it: then the run is not judged."""
        return self.bounds.baseline is not None and not self.columns["held"].any()

    @computed
    def _firing(self) -> tuple[Array, Array]:
        """What ``firing`` returns; of a run that is not held against its baseline only what is not finite fires."""
        lost = self.columns["verdict"] == VERDICTS.index(NOT_FINITE)
        return (lost, lost) if self.is_unheld else firing(self.columns, self.parameters.violations_to_fire)

    @property
    def leads(self) -> Array:
        """Which comparisons fire, or lead up to one that does: bool, shape (n,)."""
        return self._firing[1]

    @computed
    def fired_steps(self) -> list[int]:
        """The global steps at which the rule fires, ascending."""
        return np.unique(self.columns["global_step"][self._firing[0]]).tolist()  # type: ignore[no-any-return]

    @property
    def fired(self) -> bool:
        """Whether the rule fires: a violation lasted, or was not finite."""
        return bool(self.fired_steps)

    @computed
    def violations(self) -> list[ViolationGroup]:
        """The violations grouped by tensor, worker and verdict, in the order in which they began."""
        return list(violation_groups(self.columns, self.leads, list(self.tensors), list(self.workers)))

    @computed
    def skipped(self) -> list[SkippedGroup]:
        """What was not compared, and why, grouped by tensor, worker and reason."""
        return [*self.rows.skipped_groups(), *self.notes]

    @computed
    def unreadable(self) -> list[Unreadable]:
        """What could not be read, and why, by the step that needed it."""
        by_step = sorted(self.rows.unreadable, key=self.rows.unreadable.__getitem__)
        return list(dict.fromkeys([*by_step, *self.folder_unreadable]))

    @property
    def is_judged(self) -> bool:
        """Whether something was compared and held against a baseline, and patience can be reached."""
        patience = self.parameters.violations_to_fire
        is_reached = patience == 1 or longest_course(self.columns) >= patience
        return len(self) > 0 and not self.is_unheld and is_reached

    @property
    def complete(self) -> bool:
        """Whether something was compared, all of it could be read, and no problem came in between."""
        return len(self) > 0 and not self.unreadable and self.problem is None

    @property
    def counts(self) -> dict[str, int]:
        """How many of each there are: saved steps of the judged mode, tensors and workers selected, comparisons, ..."""
        return {
            "steps": len(self.rows.steps),
            "tensors": len(self.tensors),
            "workers": len(self.workers),
            "comparisons": len(self),
            "violations": int(np.count_nonzero(self.columns["verdict"])),
            "skipped": sum(group.count for group in self.skipped),
            "unreadable": len(self.unreadable),
        }

    def comparisons(self) -> pandas.DataFrame:
        """Return the history: a row a comparison, by global step, with the columns of ``Comparison``.

        Steps are int64, norms, ratio and bounds float64, the rest strings.
        """
        with needed_by("comparisons()"):
            import pandas

        names = {"tensor": self.tensors, "worker": self.workers, "verdict": VERDICTS, "type": self.rows.types.codes}
        frame = pandas.DataFrame({name: self.columns[name] for name in Comparison._fields if name != "mode"})
        for column, values in names.items():
            frame[column] = np.array([*values, ""], dtype=object)[self.columns[column]]
        frame.insert(2, "mode", self.mode or "")
        return frame


def comparisons(columns: dict[str, Array], rows: Rows, mode: str | None) -> Iterator[Comparison]:
    tensors, workers = list(rows.tensors.codes), list(rows.workers.codes)
    values = (columns[name].tolist() for name in Comparison._fields if name != "mode")
    types = list(rows.types.codes)
    for tensor, worker, *numbers, verdict, kind in zip(*values):
        names = tensors[tensor], workers[worker], mode or ""
        yield Comparison._make((*names, *numbers, VERDICTS[verdict], types[kind]))


def judged_columns(measured: dict[str, Array], tensors: list[str], bounds: Bounds) -> dict[str, Array]:
    """Return measured columns of comparisons with ``ratio``, ``verdict``, and the bounds by their names."""
    norm = measured["weight_norm"]
    ratio = update_ratios(measured["update_norm"], norm, bounds.parameters.epsilon)
    limits = bounds.columns(tensors, measured["tensor"], measured["step"], measured["reference_step"])
    verdict = verdict_codes(ratio, limits.lower, limits.upper)
    if bounds.baseline is not None:
        rests = (ratio == 0) & ~np.isnan(limits.rest)  # small if they last too long; all else is judged row by row
        too_long = in_a_row(keys_of(measured), ratio == 0)[0] > limits.rest
        verdict[rests] = np.where(too_long[rests], VERDICTS.index(SMALL), VERDICTS.index(OK))
        limits = limits._replace(held=limits.held | rests)
        with np.errstate(invalid="ignore"):
            away = (norm < limits.norm_lower) | (norm > limits.norm_upper)
        away &= (verdict == VERDICTS.index(OK)) & (norm > 0) & (ratio > 0)
        verdict[away] = VERDICTS.index(DRIFTED)
    return {**measured, "ratio": ratio, **limits._asdict(), "verdict": verdict}


def firing_at(rows: Rows, bounds: Bounds, mode: str | None, global_step: int) -> list[Comparison]:
    """Return the violations that fire at a step by the rows up to it, the worst first.

    It judges no more of the rows before the step than its violations and rests need: a live job's steps cost the same.
    """
    measured, tensors, patience = rows.compared.arrays(), list(rows.tensors.codes), bounds.parameters.violations_to_fire
    first, end = np.searchsorted(measured["global_step"], [global_step, global_step + 1]).tolist()
    begin, allowed = first, bounds.rests(tensors)
    while True:
        columns = judged_columns({name: column[begin:end] for name, column in measured.items()}, tensors, bounds)
        here = np.arange(begin, end) >= first
        rest = allowed[columns["tensor"]]
        asked = here & ((columns["verdict"] != VERDICTS.index(OK)) | (np.isfinite(rest) & (columns["ratio"] == 0)))
        needed = patience + np.where(np.isfinite(rest), rest, 0)
        _, course, counts = np.unique(keys_of(columns), return_inverse=True, return_counts=True)
        if not begin or (counts[course] >= needed)[asked].all():
            break
        begin = max(0, end - 4 * (end - begin))
    fires = np.flatnonzero(firing(columns, patience)[0] & here)
    columns = {name: column[fires] for name, column in columns.items()}
    worst_first = np.lexsort((columns["worker"], columns["tensor"], -decades_outside(columns)))
    return list(comparisons({name: column[worst_first] for name, column in columns.items()}, rows, mode))
