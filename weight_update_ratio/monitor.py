"""Judges a training from inside, without saving weights: the update of every n-th step, as ``check`` would judge it."""

from __future__ import annotations

import copy
import os
import warnings
from typing import TYPE_CHECKING, Any, Callable, Mapping, NamedTuple, Sequence

import numpy as np

from .compare.comparer import why_skipped
from .compare.history import CUT_OFF, FIRST_BYTES, HISTORY_ENDING, NEEDED, history_line, read_history
from .compare.ratio import update_norms, weight_norms
from .compare.references import StepPairs
from .compare.rows import Comparison, Rows, StepRows
from .errors import TrialError
from .findings.kinds import FAULT
from .findings.live import LiveFaults
from .parameters import documented, parse_parameters
from .record import Tensors, whole_number, worker_name
from .report import Report
from .trial.folder import TRAIN
from .trial.saved_array import USUAL_COLLECTIONS, saved_tensors
from .trial.selection import name_filter
from .trial.timeline import WorkerStep
from .verdict.facts import concluded_rows
from .verdict.good_runs import open_bounds
from .verdict.judged_run import comparisons, judged_columns

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .parameters import GivenParameters

ON_FAULT = ("warn", "raise")
WRITTEN = (*NEEDED, "ratio", "type")  # bounds and verdicts are those of who reads it


class TrainingFault(Exception):  # noqa: N818  (a fault of the training is not an error of the program)
    """A fault of the training that a ``RatioMonitor`` watches.

    Attributes:
        report: What was measured until then.
    """

    def __init__(self, text: str, report: Report) -> None:
        super().__init__(text, report)  # both, so that it survives pickling between processes
        self.report = report

    def __str__(self) -> str:
        return str(self.args[0])


class _Reference(NamedTuple):
    """A tensor's weights before an update, and their norm."""

    weights: np.ndarray[Any, Any]
    shape: tuple[int, ...]
    norm: float


@documented
class RatioMonitor:
    """Measures the update of every n-th training step, and judges the run by it as ``check`` judges a recorded one.

        monitor = RatioMonitor(every=50, history="run.jsonl")
        for batch in batches:
            ...  # one training step
            monitor.step(model)
        print(monitor.report().to_text())

    What is measured are the updates between the calls 0 and 1, ``every`` and ``every + 1``, and so on, of what trains:
    tensors whose ``requires_grad`` is False are left out. Between the two calls it keeps one copy of the weights.

    Args:
        every: Measure the update that follows each so-manyth call; 1: each update.
        history: File that gets a line of JSON for each row, at once: what ``check`` judges like a trial folder.
        resume: Continue the history that the file holds, if it exists: the count goes on after its last whole row.
        log: Called with ({name: ratio}, step) at each measured step, such as ``wandb.log``; or a SummaryWriter.
        on_fault: What to do at a fault, once for each: "warn"; "raise" a TrainingFault; or a function that is called
            with the report and with a violation of each tensor.
        worker: As for ``TrialRecorder``.
        num_workers: As for ``TrialRecorder``.
        strict: Whether everything that fires counts as a fault, as for the rule.
        **parameters: Those of check_trial.

    Raises:
        FileExistsError: The history exists, and ``resume`` is False.
        ValueError: An argument is not valid.
        TrialError: The baseline or the history cannot be used.
    """

    def __init__(
        self,
        every: int = 50,
        history: str | os.PathLike[str] | None = None,
        resume: bool = False,
        log: Any = None,
        on_fault: str | Callable[[Report, Sequence[Comparison]], Any] = "warn",
        worker: str | None = None,
        num_workers: int = 1,
        strict: bool = False,
        **parameters: Unpack[GivenParameters],
    ) -> None:
        self._every = whole_number("every", every, 1)
        if on_fault not in ON_FAULT and not callable(on_fault):
            raise ValueError(f"'on_fault' must be 'warn', 'raise' or a function (got {on_fault!r})")
        self._on_fault = on_fault
        self._log = log
        self._worker = worker_name(worker)
        self._num_workers = whole_number("num_workers", num_workers, 1)
        if parameters.get("num_steps") is not None:
            raise ValueError("'num_steps' has no meaning here: a RatioMonitor measures single updates; leave it out")
        checked = parse_parameters(**parameters)
        self._parameters = checked._replace(num_steps=None if self._every == 1 else 1)
        self._is_wanted = name_filter(checked)
        self._bounds = open_bounds(self._parameters)
        self._bounds.require_alike(TRAIN)
        self._strict = bool(strict)
        self._rows = Rows()
        self._faults = LiveFaults()
        self._collections: dict[str, str] = {}  # of each name, as it was first seen
        self._references: dict[str, _Reference] | None = None  # of the step before; None: it was not measured
        self._count = 0
        self._history = None if history is None else os.path.abspath(os.path.expanduser(os.fspath(history)))
        if self._history is not None:
            if not self._history.endswith(HISTORY_ENDING):
                raise ValueError(f"'history' must end in {HISTORY_ENDING}, by which check knows it (got {history!r})")
            self._open_history(self._history, resume)

    def _open_history(self, path: str, resume: bool) -> None:
        if not resume or not os.path.exists(path):
            try:
                open(path, "x").close()
            except FileExistsError:
                remedy = "Name another file, of several processes one for each, or pass resume=True to continue it."
                raise FileExistsError(f"the history {path!r} exists already\n\n{remedy}") from None
            return
        with open(path, "rb+") as file:
            content = file.read()
            whole = content.rfind(b"\n") + 1
            if not whole and FIRST_BYTES.startswith(content[: len(FIRST_BYTES)]):
                file.truncate(0)  # empty, or its first line is cut off
                return
            # Before the file is changed: it may not be a history.
            self._rows, _, notes, _, last_step = read_history([path], self._is_wanted)
            self._go_on(last_step + 1)
            if any(note.reason.endswith(CUT_OFF) for note in notes):
                file.truncate(whole)
            elif whole < len(content):
                file.write(b"\n")

    def _go_on(self, number: int) -> None:
        """Count on from a number, in whose past no fault is new."""
        self._count, self._faults = number, LiveFaults()
        self._faults.look(self._judged(self._rows_before(number)))

    def step(self, tensors: Tensors | Callable[[], Tensors], step: int | None = None) -> bool:
        """Count one update of the training, and measure it if it is one of those. Call it once after each update.

        Args:
            tensors: As ``TrialRecorder.step`` takes them. They are only looked into where they are measured.
            step: The number of this update, >= 0, from which the monitor counts on; None: one more than the last. For
                a job that goes on from a checkpoint.

        Returns:
            Whether an update was measured.

        Raises:
            TypeError: ``tensors`` are not what is described there.
            ValueError: An argument is not valid, there is no tensor, or one has no name or that of another one.
            TrainingFault: ``on_fault`` is "raise", and there is a fault that was not there before.
            OSError: The history cannot be written.
        """
        number = whole_number("step", self._count if step is None else step, 0)
        references = self._references if number == self._count else None
        if number < self._count:
            self._go_on(number)
        self._count, self._references = number + 1, None
        if references is None and number % self._every:
            return False
        part, weights = self._compared(tensors, number, references or {})
        if number in self._rows.steps:  # from a checkpoint on, again
            self._rows.drop(part)
        if part.pairs.tensors:
            self._rows.append(part)
        if number % self._every == 0:
            self._references = weights
        if references is not None:
            self._tell(number)
        return references is not None

    def _compared(
        self, tensors: Any, number: int, references: dict[str, _Reference]
    ) -> tuple[StepRows, dict[str, _Reference]]:
        """Return the rows of a step, and its weights, as far as it is the next one's reference."""
        kept: dict[str, _Reference] = {}
        norms: dict[str, tuple[float, float, str]] = {}
        skipped: dict[str, str] = {}
        names = []
        for name, array, collection, type_name, _ in saved_tensors(
            tensors, self._num_workers, trained_only=True, is_wanted=self._is_chosen
        ):
            if self._collections.setdefault(name, collection) not in self._parameters.collection_names:
                continue
            names.append(name)
            weights, reference, norm = array.reshape(-1), references.get(name), None
            if reference is not None:
                reason = why_skipped(reference.shape, reference.weights.dtype, array.shape, array.dtype)
                if reason:
                    skipped[name] = reason
                else:
                    (update,), (norm,) = update_norms([reference.weights], [weights])
                    norms[name] = float(update), reference.norm, type_name
            if number % self._every == 0:
                norm = weight_norms([weights])[0] if norm is None else norm
                kept[name] = _Reference(_copied(weights, reference), array.shape, float(norm))
        saved = WorkerStep(self._worker, TRAIN, number, number, "", "", {})
        before = saved._replace(step=number - 1, global_step=number - 1)
        part = StepRows(StepPairs(saved, tuple(names), [before] * len(names), frozenset()))
        for position, name in enumerate(names):
            if name in norms:
                part.update[position], part.weight[position], part.types[position] = norms[name]
            elif name in skipped:
                part.skipped.append((position, skipped[name]))
        return part, kept

    def _is_chosen(self, name: str) -> bool:
        is_wanted = self._is_wanted(name)
        if not is_wanted:
            self._collections.setdefault(name, "")  # it is not looked into
        return is_wanted

    def _tell(self, number: int) -> None:
        """Write and log the rows of a measured step, and say what is a fault since then."""
        measured = self._rows.compared.arrays()
        step = slice(*np.searchsorted(measured["global_step"], [number, number + 1]))
        columns = {name: column[step] for name, column in measured.items()}
        columns = judged_columns(columns, list(self._rows.tensors.codes), self._bounds)
        rows = list(comparisons(columns, self._rows, TRAIN))
        if self._history is not None:
            with open(self._history, "a", encoding="utf-8") as file:
                file.write("".join(history_line(row, WRITTEN) for row in rows))
        if self._log is not None:
            _log(self._log, {row.tensor: row.ratio for row in rows}, number)
        so_far = self._rows_before(number + 1)
        violations = self._faults.new_faults(self._judged(so_far), number)
        if not violations:
            return
        report = self._concluded(so_far)
        if callable(self._on_fault):
            self._on_fault(report, violations)
        elif self._on_fault == "raise":
            raise TrainingFault(_fault_text(report, violations), report)
        else:
            # Not by the line of the call, where Python shows equal words only once, whatever run they are of.
            warnings.warn_explicit(_fault_text(report, violations), UserWarning, "RatioMonitor", 0)

    def _rows_before(self, end: int) -> Rows:
        """Return the rows of the steps before ``end``: of a job that goes on from a checkpoint there are others."""
        rows = self._rows
        if (rows.compared["global_step"][-1:] >= end).any():
            rows = copy.deepcopy(rows)
            rows.cut(end)
        return rows

    def _judged(self, rows: Rows) -> Report:
        return Report(self._history or "RatioMonitor", rows, self._bounds, TRAIN, strict=self._strict)

    def close(self) -> None:
        """Do nothing: every row is written when it is measured. For callbacks, which close a TrialRecorder."""

    reopen = close

    def report(self) -> Report:
        """Return the report of what was measured so far: that of ``check`` on a recording of the same steps."""
        return self._concluded(self._rows)

    def _concluded(self, rows: Rows) -> Report:
        """Return the report of rows as they are now."""
        members: dict[str, set[str]] = {collection: set() for collection in USUAL_COLLECTIONS}
        known = {**dict.fromkeys(rows.tensors.codes, ""), **self._collections}  # "": any of those that are chosen
        for name, collection in known.items():
            for each in [collection] if collection else self._parameters.collection_names:
                members.setdefault(each, set()).add(name)
        nothing = TrialError(
            f"no update was measured before step {self._count}",
            f"Call step() after each update; an update of what trains is measured once in every={self._every}.",
        )
        return concluded_rows(self._judged(copy.deepcopy(rows)), members, nothing)


def _copied(weights: np.ndarray[Any, Any], reference: _Reference | None) -> np.ndarray[Any, Any]:
    """Return a copy of weights, in the memory of those of the step before if it fits: the training changes its own."""
    if reference is None or reference.weights.shape != weights.shape or reference.weights.dtype != weights.dtype:
        return weights.copy()
    np.copyto(reference.weights, weights)
    return reference.weights


def _log(log: Any, ratios: Mapping[str, float], step: int) -> None:
    if callable(log):
        log(ratios, step)
    else:  # a SummaryWriter
        for name, ratio in ratios.items():
            log.add_scalar(f"update_ratio/{name}", ratio, step)


def _fault_text(report: Report, violations: Sequence[Comparison]) -> str:
    """Return the faults that violations belong to, in words; of one that is only a note the violation."""
    said = [
        f"{each.text} {each.advice}"
        for each in report.findings
        if each.severity == FAULT
        and any(row.tensor in each.tensors and each.first_step <= row.step <= each.last_step for row in violations)
    ]
    worst = violations[0]
    plain = f"{worst.tensor!r} is {worst.verdict} at {worst.mode} step {worst.step}: ratio {worst.ratio:.3g}"
    return " ".join(said) or plain
