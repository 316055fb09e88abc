"""The comparisons in columns, and what was skipped or unreadable.

``History`` is what a judgement gathers step by step; a comparison costs it 57 bytes.
"""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING, Any, Iterator, NamedTuple

import numpy as np

from ..errors import TrialError, Unreadable
from ..parameters import Parameters
from ..version import __version__
from .comparison import Comparison, JudgedStep, Skipped
from .ratio import LARGE, OK, SMALL, VERDICTS
from .references import Pair

if TYPE_CHECKING:
    import pandas

COLUMN_TYPES = (
    ("tensor", "i"),
    ("worker", "i"),
    ("step", "q"),
    ("reference_step", "q"),
    ("global_step", "q"),
    ("update_norm", "d"),
    ("weight_norm", "d"),
    ("ratio", "d"),
    ("verdict", "b"),
)
ZERO_REFERENCE = "reference weights are all zero"
RULE_NAME = "WeightUpdateRatio"


class ViolationGroup:
    """The violations of one verdict of one tensor and worker; the worst is the ratio furthest from the threshold."""

    def __init__(self, first: Comparison) -> None:
        self.tensor = first.tensor
        self.worker = first.worker
        self.verdict = first.verdict
        self.first_step = self.last_step = self.worst_step = first.step
        self.worst_ratio = first.ratio
        self.count = 0
        self.zero_references = 0

    def add(self, violation: Comparison) -> None:
        """Count one more violation of the group."""
        self.count += 1
        self.zero_references += violation.weight_norm == 0
        self.first_step = min(self.first_step, violation.step)
        self.last_step = max(self.last_step, violation.step)
        if self._is_worse(violation.ratio):
            self.worst_ratio, self.worst_step = violation.ratio, violation.step

    def merge(self, later: ViolationGroup) -> None:
        """Count the violations of a group of later steps."""
        self.count += later.count
        self.zero_references += later.zero_references
        self.first_step = min(self.first_step, later.first_step)
        self.last_step = max(self.last_step, later.last_step)
        if self._is_worse(later.worst_ratio):
            self.worst_ratio, self.worst_step = later.worst_ratio, later.worst_step

    def _is_worse(self, ratio: float) -> bool:
        if self.verdict == LARGE:
            return ratio > self.worst_ratio
        if self.verdict == SMALL:
            return ratio < self.worst_ratio
        return math.isnan(ratio) and not math.isnan(self.worst_ratio)

    @property
    def note(self) -> str:
        """What a person should know beside the ratio, or an empty string."""
        if not self.zero_references:
            return ""
        return ZERO_REFERENCE + ("" if self.zero_references == self.count else f" at {self.zero_references} of them")

    def as_dict(self) -> dict[str, Any]:
        """Return the group by the names of the JSON format."""
        group = {
            "tensor": self.tensor,
            "worker": self.worker,
            "verdict": self.verdict,
            "first_step": self.first_step,
            "last_step": self.last_step,
            "count": self.count,
            "worst_ratio": self.worst_ratio,
            "worst_step": self.worst_step,
        }
        if self.note:
            group["note"] = self.note
        return group


class SkippedGroup(NamedTuple):
    """The steps at which one tensor of one worker was skipped for one reason."""

    tensor: str
    worker: str | None
    reason: str
    first_step: int | None
    last_step: int | None
    count: int  # type: ignore[assignment]  # in place of tuple.count


class History:
    """What a judgement of a trial found so far; every row of it is counted once.

    Attributes:
        trial: The trial's folder as it was named.
        parameters: What is judged, and how.
        mode: The mode that is judged, where it is known.
        problem: Why nothing could be compared, or a job not be followed to its end; else None.
    """

    def __init__(self, trial: str, parameters: Parameters) -> None:
        self.trial = trial
        self.parameters = parameters
        self.problem: TrialError | None = None
        self.mode: str | None = None
        self.tensors: dict[str, int] = {}
        self.workers: dict[str, int] = {}
        self.columns: dict[str, array[Any]] = {name: array(kind) for name, kind in COLUMN_TYPES}
        self.steps = 0
        self._violations: dict[tuple[str, str, str], ViolationGroup] = {}
        self._skipped: dict[tuple[str, str | None, str], SkippedGroup] = {}
        self._reduced: dict[str, str] = {}
        self._unreadable: dict[Unreadable, None] = {}

    def __len__(self) -> int:
        """Return how many comparisons there are."""
        return len(self.columns["ratio"])

    def add(self, pairs: list[Pair], judged: JudgedStep) -> None:
        """Add what was found at one saved step of the judged mode."""
        self.steps += bool(pairs)
        for pair in pairs:
            self.tensors.setdefault(pair.saved.tensor, len(self.tensors))
            self.workers.setdefault(pair.saved.worker, len(self.workers))
        for comparison in judged.comparisons:
            self._append(comparison)
        for skipped in judged.skipped:
            self.add_skipped(skipped)
        self.add_unreadable(judged.unreadable)

    def _append(self, row: Comparison) -> None:
        columns = self.columns
        columns["tensor"].append(self.tensors[row.tensor])
        columns["worker"].append(self.workers[row.worker])
        columns["step"].append(row.step)
        columns["reference_step"].append(row.reference_step)
        columns["global_step"].append(row.global_step)
        columns["update_norm"].append(row.update_norm)
        columns["weight_norm"].append(row.weight_norm)
        columns["ratio"].append(row.ratio)
        columns["verdict"].append(VERDICTS.index(row.verdict))
        if row.verdict != OK:
            group = self._violations.get((row.tensor, row.worker, row.verdict))
            if group is None:
                group = self._violations[row.tensor, row.worker, row.verdict] = ViolationGroup(row)
            group.add(row)

    def add_skipped(self, skipped: Skipped) -> None:
        """Add a tensor that has no ratio at a step."""
        key = (skipped.tensor, skipped.worker, skipped.reason)
        group = self._skipped.get(key, SkippedGroup(*key, skipped.step, skipped.step, 0))
        self._skipped[key] = group._replace(last_step=skipped.step, count=group.count + 1)

    def add_reduced(self, reduced: dict[str, str]) -> None:
        """Add the tensors that were saved as reductions, {tensor: reduction}; one saved whole too is no skip."""
        self._reduced.update(reduced)

    def add_unreadable(self, unreadable: list[Unreadable]) -> list[Unreadable]:
        """Add what could not be read, each once, and return what of it is new."""
        new = [entry for entry in unreadable if entry not in self._unreadable]
        self._unreadable.update((entry, None) for entry in new)
        return new

    def merge(self, later: History) -> None:
        """Add the findings of the steps that follow, as if they had been found here."""
        self.steps += later.steps
        for name, kind in COLUMN_TYPES:
            mine, theirs = self.columns[name], later.columns[name]
            if name in ("tensor", "worker"):
                known: dict[str, int] = getattr(self, name + "s")
                codes = [known.setdefault(value, len(known)) for value in getattr(later, name + "s")]
                mine.extend(array(kind, (codes[code] for code in theirs)))
            else:
                mine.extend(theirs)
        for key, group in later._violations.items():
            if key in self._violations:
                self._violations[key].merge(group)
            else:
                self._violations[key] = group
        for skip_key, skipped in later._skipped.items():
            first = self._skipped.get(skip_key, skipped._replace(count=0))
            count = first.count + skipped.count
            self._skipped[skip_key] = first._replace(last_step=skipped.last_step, count=count)
        self._unreadable.update(later._unreadable)

    def __iter__(self) -> Iterator[Comparison]:
        """Yield the comparisons, by global step, worker and the order in the index."""
        tensors, workers, mode = list(self.tensors), list(self.workers), self.mode or ""
        for tensor, worker, step, reference, global_step, update, weight, ratio, verdict in zip(*self.columns.values()):
            yield Comparison(
                tensors[tensor],
                workers[worker],
                mode,
                step,
                reference,
                global_step,
                update,
                weight,
                ratio,
                VERDICTS[verdict],
            )

    @property
    def violations(self) -> list[ViolationGroup]:
        """The violations grouped by tensor, worker and verdict, in the order in which they began."""
        return sorted(self._violations.values(), key=lambda group: group.first_step)

    @property
    def skipped(self) -> list[SkippedGroup]:
        """What was not compared, and why, grouped by tensor, worker and reason."""
        reduced = [
            SkippedGroup(tensor, None, f"saved only as a reduction ({reduction})", None, None, 1)
            for tensor, reduction in self._reduced.items()
            if tensor not in self.tensors
        ]
        return list(self._skipped.values()) + reduced

    @property
    def unreadable(self) -> list[Unreadable]:
        """What could not be read, and why."""
        return list(self._unreadable)

    @property
    def fired(self) -> bool:
        """Whether any comparison is a violation."""
        return bool(self._violations)

    @property
    def complete(self) -> bool:
        """Whether something was compared, nothing of it could not be read, and the job was followed to its end."""
        return len(self) > 0 and not self._unreadable and self.problem is None

    @property
    def counts(self) -> dict[str, int]:
        """How many of each there are: saved steps of the judged mode, tensors and workers selected, comparisons, ..."""
        return {
            "steps": self.steps,
            "tensors": len(self.tensors),
            "workers": len(self.workers),
            "comparisons": len(self),
            "violations": sum(group.count for group in self._violations.values()),
            "skipped": sum(group.count for group in self.skipped),
            "unreadable": len(self._unreadable),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return what was found by the names of the JSON format; numbers are as they are, also NaN."""
        document = {
            "trial": self.trial,
            "rule": RULE_NAME,
            "version": __version__,
            "fired": self.fired,
            "complete": self.complete,
            "mode": self.mode,
            "parameters": self.parameters.as_dict(),
            "counts": self.counts,
            "violations": [group.as_dict() for group in self.violations],
            "skipped": [group._asdict() for group in self.skipped],
            "unreadable": [entry._asdict() for entry in self.unreadable],
        }
        if self.problem is not None:
            document["problem"] = str(self.problem)
        return document

    def comparisons(self) -> pandas.DataFrame:
        """Return the history: a row a comparison, by global step, with the columns of ``Comparison``.

        Steps are int64, norms and ratio float64, the rest strings.
        """
        import pandas

        frame = pandas.DataFrame({name: np.array(column) for name, column in self.columns.items()})
        for name, values in (("tensor", self.tensors), ("worker", self.workers), ("verdict", VERDICTS)):
            frame[name] = np.array([*values, ""], dtype=object)[frame[name].to_numpy()]
        frame.insert(2, "mode", self.mode or "")
        return frame


def strict(value: Any) -> Any:
    """Return ``value`` with every number that is not finite as the string "nan", "inf" or "-inf"."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: strict(item) for key, item in value.items()}
    if isinstance(value, list):
        return [strict(item) for item in value]
    return value
