"""The comparisons in columns, and what was skipped or unreadable.

``History`` is what a judgement gathers step by step; a comparison costs it 73 bytes.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any, Callable, Iterable, Iterator

import numpy as np

from ..errors import TrialError, Unreadable
from ..parameters import Parameters
from ..trial.selection import only_reduced
from ..verdict.bounds import Bounds
from ..verdict.violations import SkippedGroup, ViolationGroup, group_with
from .comparison import ComparedTensors, Comparison, JudgedStep, Skipped
from .ratio import OK, VERDICTS
from .references import StepPairs

if TYPE_CHECKING:
    from ..verdict.firing import Fired

COLUMN_TYPES = (
    ("tensor", "i"),
    ("worker", "i"),
    ("step", "q"),
    ("reference_step", "q"),
    ("global_step", "q"),
    ("update_norm", "d"),
    ("weight_norm", "d"),
    ("ratio", "d"),
    ("lower", "d"),
    ("upper", "d"),
    ("verdict", "b"),
)


class History:
    """What a judgement of a trial found so far; every row of it is counted once.

    Attributes:
        trial: The trial's folder as it was named.
        parameters: What is judged, and how.
        mode: The mode that is judged, where it is known.
        problem: Why nothing could be compared, or a job not be followed to its end; else None.
        bounds: Between which ratios a comparison is sound.
        fired_steps: The global steps at which the rule fires.
        firing_keys: (tensor, worker, verdict) of violations that fire or lead up to one that does.
        firing_spans: {(tensor, worker): [[first, last global step of violations in a row that fire], ...]}; kept where
            violations that follow each other are counted.
        uncompared: (tensor, worker, global step) that were judged and have no ratio; kept where violations that follow
            each other are counted.
        dtypes: {tensor: the type that it was saved as}.
        only_evaluated: Whether all steps of the trial are of EVAL or PREDICT mode.
        is_unheld: Whether nothing of the run can be held against the baseline, so that it is not judged.
        skipped_wholes: Entries about a worker as a whole, whose tensor is None, or about all steps of a tensor.
        job_ended: Whether the job wrote its end-of-job file.
        judged_steps: The global steps that hold a selected tensor in that mode.
    """

    def __init__(self, trial: str, parameters: Parameters, bounds: Bounds | None = None) -> None:
        self.trial = trial
        self.parameters = parameters
        self.bounds = bounds or Bounds(parameters)
        self.fired_steps: set[int] = set()
        self.firing_keys: set[tuple[str, str, str]] = set()  # of _violations
        self.firing_spans: dict[tuple[str, str], list[list[int]]] = {}
        self.uncompared: set[tuple[str, str, int]] = set()
        self.dtypes: dict[str, str] = {}
        self.only_evaluated = False
        self.is_unheld = False
        self.problem: TrialError | None = None
        self.mode: str | None = None
        self.job_ended = False
        self.skipped_wholes: list[SkippedGroup] = []
        self.tensors: dict[str, int] = {}
        self.workers: dict[str, int] = {}
        self.columns: dict[str, array[Any]] = {name: array(kind) for name, kind in COLUMN_TYPES}
        self.judged_steps: set[int] = set()
        self._violations: dict[tuple[str, str, str], ViolationGroup] = {}
        self._skipped: dict[tuple[str, str, str], tuple[array[Any], array[Any]]] = {}  # steps, global steps
        self._reduced: dict[str, str] = {}
        self._unreadable: dict[Unreadable, None] = {}

    def __len__(self) -> int:
        """Return how many comparisons there are."""
        return len(self.columns["ratio"])

    def add(self, pairs: list[StepPairs], judged: JudgedStep) -> list[Comparison]:
        """Add what was found at one saved step of the judged mode, and return its violations."""
        for saved, tensors, _, _ in pairs:
            self.judged_steps.add(saved.global_step)
            self.workers.setdefault(saved.worker, len(self.workers))
            for tensor in tensors:
                self.tensors.setdefault(tensor, len(self.tensors))
        if self.parameters.violations_to_fire > 1:
            self.uncompared |= _uncompared(pairs, judged)
        first = len(self)
        for compared in judged.compared:
            self._append(compared)
        for skipped in judged.skipped:
            self.add_skipped(skipped)
        self.add_unreadable(judged.unreadable)
        return self._note_violations(first)

    def _append(self, compared: ComparedTensors) -> None:
        count = len(compared.tensors)
        values = compared._asdict()
        values["tensor"] = [self.tensors[tensor] for tensor in values.pop("tensors")]
        values["worker"] = self.workers[compared.worker]
        for name, kind in COLUMN_TYPES:
            self.columns[name].frombytes(np.full(count, values[name], kind).tobytes())

    def _note_violations(self, first: int) -> list[Comparison]:
        violations = list(self.violating(first))
        for row in violations:
            self._add_violation(row)
        return violations

    def _add_violation(self, row: Comparison) -> None:
        key = (row.tensor, row.worker, row.verdict)
        self._violations[key] = group_with(self._violations.get(key), row)

    def add_firing(self, firing: Iterable[Fired]) -> None:
        """Add violations that fire; they were added as comparisons before."""
        for row, verdicts, since in firing:
            self.fired_steps.add(row.global_step)
            self.firing_keys.update((row.tensor, row.worker, verdict) for verdict in verdicts)
            if self.parameters.violations_to_fire == 1:
                continue
            spans = self.firing_spans.setdefault((row.tensor, row.worker), [])
            if spans and spans[-1][0] <= since <= spans[-1][1]:
                spans[-1][1] = max(spans[-1][1], row.global_step)
            else:
                spans.append([since, row.global_step])

    def forget_firing(self) -> None:
        """Forget which violations fire."""
        self.fired_steps, self.firing_keys, self.firing_spans = set(), set(), {}

    def violating(self, first: int = 0) -> Iterator[Comparison]:
        """Yield the violations among the comparisons from position ``first`` on."""
        violating = np.flatnonzero(np.array(self.columns["verdict"][first:]) != VERDICTS.index(OK))
        return self._rows(first + violating) if len(violating) else iter(())

    def emptied(self) -> History:
        """Return an empty history of the same trial and mode."""
        history = History(self.trial, self.parameters, self.bounds)
        history.mode, history.problem, history.dtypes = self.mode, self.problem, dict(self.dtypes)
        return history

    def found_at(self) -> Callable[[int], JudgedStep]:
        """Return a function that gives the comparisons and what was skipped at a global step."""
        global_steps = np.array(self.columns["global_step"], np.int64)
        order = np.argsort(global_steps, kind="stable")
        ascending = global_steps[order]
        skipped: dict[int, list[Skipped]] = {}
        for (tensor, worker, reason), (steps, at) in self._skipped.items():
            for step, global_step in zip(steps, at):
                entry = Skipped(tensor, worker, self.mode or "", step, global_step, reason)
                skipped.setdefault(global_step, []).append(entry)

        def found(global_step: int) -> JudgedStep:
            first, end = np.searchsorted(ascending, [global_step, global_step + 1])
            return JudgedStep(self._compared(order[first:end]), skipped.get(global_step, []), [])

        return found

    def _compared(self, positions: Any) -> list[ComparedTensors]:
        """Return the comparisons at positions, all of one step, as they were added."""
        tensors, workers = list(self.tensors), list(self.workers)
        columns = {name: np.asarray(column)[positions] for name, column in self.columns.items()}
        found = []
        for worker in dict.fromkeys(columns["worker"].tolist()):
            own = {name: column[columns["worker"] == worker] for name, column in columns.items()}
            names = [tensors[code] for code in own.pop("tensor").tolist()]
            at = {"worker": workers[worker], "step": int(own["step"][0]), "global_step": int(own["global_step"][0])}
            found.append(ComparedTensors(names, **{**own, **at}))
        return found

    def add_skipped(self, skipped: Skipped) -> None:
        """Add a tensor that has no ratio at a step."""
        steps, global_steps = self._skipped.setdefault(
            (skipped.tensor, skipped.worker, skipped.reason), (array("q"), array("q"))
        )
        steps.append(skipped.step)
        global_steps.append(skipped.global_step)

    def add_reduced(self, reduced: dict[str, str]) -> None:
        """Add the tensors that were saved only as reductions, {tensor: reduction}."""
        self._reduced.update(reduced)

    def add_unreadable(self, unreadable: list[Unreadable]) -> list[Unreadable]:
        """Add what could not be read, each once, and return what of it is new."""
        new = [entry for entry in unreadable if entry not in self._unreadable]
        self._unreadable.update((entry, None) for entry in new)
        return new

    def merge(self, later: History) -> list[Comparison]:
        """Add the findings of the steps that follow, as if they had been found here, and return the violations.

        Which of these fire is added by ``add_firing``.
        """
        self.judged_steps |= later.judged_steps
        for name, kind in COLUMN_TYPES:
            mine, theirs = self.columns[name], later.columns[name]
            if name in ("tensor", "worker"):
                known: dict[str, int] = getattr(self, name + "s")
                codes = [known.setdefault(value, len(known)) for value in getattr(later, name + "s")]
                mine.extend(array(kind, (codes[code] for code in theirs)))
            else:
                mine.extend(theirs)
        self.uncompared |= later.uncompared
        self.dtypes.update(later.dtypes)
        for key, (steps, global_steps) in later._skipped.items():
            own_steps, own_global_steps = self._skipped.setdefault(key, (array("q"), array("q")))
            own_steps.extend(steps)
            own_global_steps.extend(global_steps)
        self._unreadable.update(later._unreadable)
        return self._note_violations(len(self) - len(later))

    def __iter__(self) -> Iterator[Comparison]:
        """Yield the comparisons, by global step, worker and the order in the index."""
        return self._rows(None)

    def _rows(self, positions: Any) -> Iterator[Comparison]:
        tensors, workers, mode = list(self.tensors), list(self.workers), self.mode or ""
        columns: Any = self.columns.values()
        if positions is not None:
            columns = [np.asarray(column)[positions].tolist() for column in columns]
        for tensor, worker, *numbers, verdict in zip(*columns):
            yield Comparison._make((tensors[tensor], workers[worker], mode, *numbers, VERDICTS[verdict]))

    @property
    def violations(self) -> list[ViolationGroup]:
        """The violations grouped by tensor, worker and verdict, in the order in which they began."""
        return sorted(self._violations.values(), key=lambda group: group.first_step)

    @property
    def skipped(self) -> list[SkippedGroup]:
        """What was not compared, and why, grouped by tensor, worker and reason."""
        reduced = [
            SkippedGroup(tensor, None, f"saved only as a reduction ({reduction})", None, None, 1)
            for tensor, reduction in only_reduced(self._reduced, self.tensors).items()
        ]
        steps = [SkippedGroup(*key, at[0], at[-1], len(at)) for key, (at, _) in self._skipped.items()]
        return [*steps, *self.skipped_wholes, *reduced]

    @property
    def unreadable(self) -> list[Unreadable]:
        """What could not be read, and why."""
        return list(self._unreadable)

    @property
    def fired(self) -> bool:
        """Whether the rule fires at any step."""
        return bool(self.fired_steps)

    @property
    def firing(self) -> list[ViolationGroup]:
        """The groups of violations of which one fires or leads up to one that does."""
        return [group for group in self.violations if group.key in self.firing_keys]

    @property
    def passing(self) -> list[ViolationGroup]:
        """The other groups of violations, which did not last."""
        return [group for group in self.violations if group.key not in self.firing_keys]

    @property
    def is_judged(self) -> bool:
        """Whether something was compared, and something can be held against the baseline where there is one."""
        return len(self) > 0 and not self.is_unheld

    @property
    def complete(self) -> bool:
        """Whether something was compared, all of it could be read, and no problem came in between."""
        return len(self) > 0 and not self._unreadable and self.problem is None

    @property
    def counts(self) -> dict[str, int]:
        """How many of each there are: saved steps of the judged mode, tensors and workers selected, comparisons, ..."""
        return {
            "steps": len(self.judged_steps),
            "tensors": len(self.tensors),
            "workers": len(self.workers),
            "comparisons": len(self),
            "violations": sum(group.count for group in self._violations.values()),
            "skipped": sum(group.count for group in self.skipped),
            "unreadable": len(self._unreadable),
        }


def _uncompared(pairs: list[StepPairs], judged: JudgedStep) -> set[tuple[str, str, int]]:
    """Return (tensor, worker, global step) of what has no comparison."""
    compared = {(tensor, own.worker, own.global_step) for own in judged.compared for tensor in own.tensors}
    return {
        (tensor, saved.worker, saved.global_step) for saved, tensors, _, _ in pairs for tensor in tensors
    } - compared
