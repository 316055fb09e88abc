"""A run's rows with their bounds and verdicts, and what of it fires: each computed from the columns when asked for."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Callable, Generic, Iterator, Sequence, TypeVar

import numpy as np

from ..compare.ratio import DRIFTED, NOT_FINITE, OK, SMALL, VERDICTS, update_ratios, verdict_codes
from ..compare.rows import Array, Comparison, Rows, SkippedGroup
from ..errors import TrialError, Unreadable
from ..parameters import Parameters
from .bounds import Bounds
from .firing import Firing, decades_outside, firing, in_a_row, keys_of, longest_course
from .violations import ViolationGroup, violation_groups

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
    """The rows of a run, judged; ``len`` is the number of comparisons, and iterating yields them.

    It is frozen. What is computed is computed once, of the rows at that time.

    Attributes:
        trial: The trial's folder as it was named.
        mode: The mode that was judged, TRAIN or GLOBAL, where it is known.
        problem: Why nothing could be compared, or a job not be followed to its end; else None. It is known, and so are
            the next five, once the steps that are asked for are compared.
        job_ended: Whether the job wrote its end-of-job file.
        only_evaluated: Whether all steps of the trial are of EVAL or PREDICT mode.
        notes: What was skipped as a whole: entries about a worker, whose tensor is None, or about a tensor.
        folder_unreadable: What of the trial folder itself could not be read.
        not_trained: The tensors that were recorded as not trained.
    """

    trial: str
    rows: Rows
    bounds: Bounds
    mode: str | None
    problem: TrialError | None = None
    job_ended = only_evaluated = False
    notes: Sequence[SkippedGroup] = ()
    folder_unreadable: Sequence[Unreadable] = ()
    not_trained: frozenset[str] = frozenset()

    def __init__(self, trial: str, rows: Rows, bounds: Bounds, mode: str | None = None, **facts: Any) -> None:
        self.__dict__.update(trial=trial, rows=rows, bounds=bounds, mode=mode, **facts)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{name!r} cannot be set: a report is fixed once it is made")

    def with_facts(self: Run, **facts: Any) -> Run:
        """Return the same rows with other attributes; only ``columns`` is not computed again."""
        other = copy.copy(self)
        for name in list(vars(other)):
            if name != "columns" and isinstance(getattr(type(other), name, None), computed):
                del other.__dict__[name]
        other.__dict__.update(facts)
        return other

    @property
    def parameters(self) -> Parameters:
        """What was asked for."""
        return self.bounds.parameters

    def __len__(self) -> int:
        """Return how many comparisons there are."""
        return len(self.columns["ratio"])

    def __iter__(self) -> Iterator[Comparison]:
        """Yield the comparisons, by global step, worker and the order in the index."""
        return comparisons(self.columns, self.rows, self.mode)

    @computed
    def tensors(self) -> dict[str, int]:
        """The selected tensors of the judged steps in the order in which they came, {name: place}."""
        return dict(self.rows.tensors.codes)

    @computed
    def workers(self) -> dict[str, int]:
        """The workers that saved them, {name: place}."""
        return dict(self.rows.workers.codes)

    @computed
    def columns(self) -> dict[str, Array]:
        """The comparisons in columns, each of shape (n,), by global step.

        ``tensor``, ``worker`` and ``verdict`` are places in ``tensors``, ``workers`` and VERDICTS; ``held`` is whether
        the bounds are the baseline's.
        """
        return judged_columns(self.rows.compared.arrays(), list(self.tensors), self.bounds)

    @computed
    def is_unheld(self) -> bool:
        """Whether there is a baseline, and no comparison could be held against it: then the run is not judged."""
        return self.bounds.baseline is not None and not self.columns["held"].any()

    @computed
    def _firing(self) -> Firing:
        """Which comparisons fire; of a run that is not held against its baseline only those that are not finite."""
        lost = self.columns["verdict"] == VERDICTS.index(NOT_FINITE)
        return Firing(lost, lost) if self.is_unheld else firing(self.columns, self.parameters.violations_to_fire)

    @property
    def leads(self) -> Array:
        """Which comparisons fire, or lead up to one that does: bool, shape (n,)."""
        return self._firing.leads

    @computed
    def fired_steps(self) -> list[int]:
        """The global steps at which the rule fires, ascending."""
        return np.unique(self.columns["global_step"][self._firing.fires]).tolist()  # type: ignore[no-any-return]

    @property
    def fired(self) -> bool:
        """Whether the rule fires: a violation lasted, or was not finite."""
        return bool(self.fired_steps)

    @computed
    def violations(self) -> list[ViolationGroup]:
        """The violations grouped by tensor, worker and verdict, in the order in which they began."""
        return violation_groups(self.columns, self.leads, list(self.tensors), list(self.workers))

    @computed
    def skipped(self) -> list[SkippedGroup]:
        """What was not compared, and why, grouped by tensor, worker and reason."""
        return [*self.rows.skipped_groups(), *self.notes]

    @computed
    def unreadable(self) -> list[Unreadable]:
        """What could not be read, and why, by the step that needed it."""
        found = sorted(self.rows.unreadable, key=self.rows.unreadable.__getitem__)
        return list(dict.fromkeys([*found, *self.folder_unreadable]))

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
        import pandas

        named = {"tensor": self.tensors, "worker": self.workers, "verdict": VERDICTS}
        frame = pandas.DataFrame({name: self.columns[name] for name in Comparison._fields if name != "mode"})
        for name, values in named.items():
            frame[name] = np.array([*values, ""], dtype=object)[self.columns[name]]
        frame.insert(2, "mode", self.mode or "")
        return frame


def comparisons(columns: dict[str, Array], rows: Rows, mode: str | None) -> Iterator[Comparison]:
    """Yield comparisons of a run, given in columns."""
    tensors, workers = list(rows.tensors.codes), list(rows.workers.codes)
    found = (columns[name].tolist() for name in Comparison._fields if name != "mode")
    for tensor, worker, *numbers, verdict in zip(*found):
        yield Comparison._make((tensors[tensor], workers[worker], mode or "", *numbers, VERDICTS[verdict]))


def judged_columns(measured: dict[str, Array], tensors: list[str], bounds: Bounds) -> dict[str, Array]:
    """Return measured columns of comparisons with ``ratio``, ``verdict``, and the bounds by their names.

    A ratio of 0 of a tensor that the baseline knows is small where it has rested for too long; all else is judged row
    by row.
    """
    ratio = update_ratios(measured["update_norm"], measured["weight_norm"], bounds.parameters.epsilon)
    found = bounds.columns(tensors, measured["tensor"], measured["step"], measured["reference_step"])
    verdict = verdict_codes(ratio, found.lower, found.upper)
    held, norm = found.held, measured["weight_norm"]
    if bounds.baseline is not None:
        rests = (ratio == 0) & ~np.isnan(found.rest)
        too_long = in_a_row(keys_of(measured), ratio == 0)[0] > found.rest
        verdict[rests] = np.where(too_long[rests], VERDICTS.index(SMALL), VERDICTS.index(OK))
        held = held | rests
        with np.errstate(invalid="ignore"):
            away = (norm < found.norm_lower) | (norm > found.norm_upper)
        away &= (verdict == VERDICTS.index(OK)) & (norm > 0) & (ratio > 0)
        verdict[away] = VERDICTS.index(DRIFTED)
    return {**measured, "ratio": ratio, **found._replace(held=held)._asdict(), "verdict": verdict}


def firing_at(rows: Rows, bounds: Bounds, mode: str | None, global_step: int) -> list[Comparison]:
    """Return the violations that fire at a step by the rows up to it, the worst first.

    Nothing waits for a row that is held against the baseline. No more of the rows before the step is judged than its
    violations and rests need, so that each step of a live job costs as much as it holds.
    """
    measured, tensors, patience = rows.compared.arrays(), list(rows.tensors.codes), bounds.parameters.violations_to_fire
    first, end = (int(at) for at in np.searchsorted(measured["global_step"], [global_step, global_step + 1]))
    begin, allowed = first, bounds.rests(tensors)
    while True:
        columns = judged_columns({name: column[begin:end] for name, column in measured.items()}, tensors, bounds)
        here = np.arange(begin, end) >= first
        rest = allowed[columns["tensor"]]
        asked = here & ((columns["verdict"] != VERDICTS.index(OK)) | (np.isfinite(rest) & (columns["ratio"] == 0)))
        needed = patience + np.where(np.isfinite(rest), rest, 0)
        _, own, counts = np.unique(keys_of(columns), return_inverse=True, return_counts=True)
        if not begin or (counts[own] >= needed)[asked].all():
            break
        begin = max(0, end - 4 * (end - begin))
    fires = np.flatnonzero(firing(columns, patience).fires & here)
    found = {name: column[fires] for name, column in columns.items()}
    worst_first = np.lexsort((found["worker"], found["tensor"], -decades_outside(found)))
    return list(comparisons({name: column[worst_first] for name, column in found.items()}, rows, mode))
