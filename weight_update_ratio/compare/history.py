"""A run's comparisons as lines of JSON: what ``--history`` and ``RatioMonitor`` write, and what is judged like a trial.

    {"tensor": "fc.weight", "worker": "worker_0", "mode": "TRAIN", "step": 51, "reference_step": 50,
     "global_step": 51, "update_norm": 0.0031, "weight_norm": 2.9, ...}

``type``, the type that the tensor was saved as, may be there. Ratios, bounds and verdicts are computed anew.
"""

from __future__ import annotations

import json
import math
import os
from typing import Any, Callable, Iterable, NamedTuple, Sequence

import numpy as np

from ..errors import TrialError, Unreadable
from ..trial.index_file import LARGEST_STEP, MODES
from .mode import TRAIN
from .rows import Rows, SkippedGroup

HISTORY_ENDING = ".jsonl"
NAMES, STEPS, NORMS = (
    ("tensor", "worker", "mode"),
    ("step", "reference_step", "global_step"),
    ("update_norm", "weight_norm"),
)
NOT_FINITE_NUMBERS = ("nan", "inf", "-inf")  # as strict JSON has them


class HistoryRow(NamedTuple):
    """One line of a history file, in its needed columns and the type that may be there."""

    tensor: str
    worker: str
    mode: str
    step: int
    reference_step: int
    global_step: int
    update_norm: float
    weight_norm: float
    type: str


class History(NamedTuple):
    """What history files hold of the judged mode, and what of them was left out."""

    rows: Rows
    mode: str
    unreadable: list[Unreadable]
    notes: list[SkippedGroup]


def history_files(trial: Any) -> list[str]:
    """Return the files where a trial is given as histories: one that ends in .jsonl, or several; else none.

    Raises:
        TrialError: A history is on S3, or is given together with something else.
    """
    given = [
        os.fspath(t) if isinstance(t, os.PathLike) else t
        for t in (trial if isinstance(trial, (list, tuple)) else [trial])
    ]
    files = [
        os.path.expanduser(path.strip())
        for path in given
        if isinstance(path, str) and path.strip().endswith(HISTORY_ENDING)
    ]
    if any(path.startswith("s3://") for path in files):
        raise TrialError(f"the history {files[0]!r} is on S3", "Copy it to this machine: aws s3 cp.")
    if len(given) != len(files) and (files or isinstance(trial, (list, tuple))):
        raise TrialError(
            f"several trials cannot be judged as one ({', '.join(map(str, given))})",
            f"Pass one trial folder, or the histories ({HISTORY_ENDING}) of one run.",
        )
    return [path for path in files if not os.path.isdir(path)]


def read_history(
    paths: Sequence[str], is_wanted: Callable[[str], bool] = lambda name: True, first: int = 0, end: int = LARGEST_STEP
) -> History:
    """Return the comparisons of history files, each of which has the rows of other workers of one run.

    Rows of TRAIN mode count if there are any, else those of GLOBAL mode. Of two rows of one tensor, worker and step the
    last one counts. A line that is not a row is unreadable; the last line may be cut off, which is only noted.

    Args:
        paths: Files on this machine.
        is_wanted: Whether the rows of a tensor are taken.
        first: First global step whose rows are taken.
        end: Global step before which the rows are taken.

    Raises:
        TrialError: A file cannot be read or holds no row, or a worker is in two of them.
    """
    by_key: dict[tuple[str, str, str, int], HistoryRow] = {}
    unreadable: list[Unreadable] = []
    notes: list[SkippedGroup] = []
    files: dict[str, int] = {}  # worker -> index of its file
    for index, path in enumerate(paths):
        rows = _rows_of(path, unreadable, notes)
        for row in rows:
            if files.setdefault(row.worker, index) != index:
                raise TrialError(
                    f"the worker {row.worker!r} is in two histories, {paths[files[row.worker]]!r} and {path!r}",
                    "Pass the histories of one run, each worker once.",
                )
            key = (row.tensor, row.worker, row.mode, row.step)
            by_key.pop(key, None)
            by_key[key] = row
        if not rows and not unreadable:
            raise TrialError(
                f"the history {path!r} holds no rows",
                "Pass a file that --history or RatioMonitor wrote; a run of one step has no update.",
            )
    modes = {row.mode for row in by_key.values()}
    mode = TRAIN if TRAIN in modes or not modes else "GLOBAL"
    chosen = [
        row for row in by_key.values() if row.mode == mode and first <= row.global_step < end and is_wanted(row.tensor)
    ]
    for other in sorted(modes - {mode, "GLOBAL"}):
        notes.append(SkippedGroup(None, None, f"rows of mode {other} are not judged"))
    return History(_in_columns(sorted(chosen, key=lambda row: row.global_step)), mode, unreadable, notes)


def _rows_of(path: str, unreadable: list[Unreadable], notes: list[SkippedGroup]) -> list[HistoryRow]:
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise TrialError(f"the history {path!r} cannot be read: {error.strerror}", "Pass a file that exists.") from None
    rows = []
    lines = content.split(b"\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            rows.append(_parsed(line))
        except ValueError as error:
            if number == len(lines):  # no newline ends it: the process was killed while it wrote
                notes.append(SkippedGroup(None, None, f"the last line of {path!r} is cut off"))
            else:
                unreadable.append(Unreadable(path, None, None, -1, f"line {number} is not a row: {error}"))
    return rows


def _parsed(line: bytes) -> HistoryRow:
    """Return the row of a line, or raise ValueError that says what is wrong with it."""
    try:
        given = json.loads(line)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(given, dict):
        raise ValueError("it is not an object")
    lacking = [name for name in (*NAMES, *STEPS, *NORMS) if name not in given]
    if lacking:
        raise ValueError(f"it has no {lacking[0]!r}")
    for name in NAMES:
        if not isinstance(given[name], str):
            raise ValueError(f"{name!r} is not a string")
    if given["mode"] not in MODES:
        raise ValueError(f"'mode' is not one of {', '.join(MODES)}")
    steps = [_step(name, given[name]) for name in STEPS]
    if steps[1] >= steps[0]:
        raise ValueError("'reference_step' is not below 'step'")
    norms = [_norm(name, given[name]) for name in NORMS]
    kind = given.get("type", "")
    return HistoryRow._make((*(given[name] for name in NAMES), *steps, *norms, kind if isinstance(kind, str) else ""))


def _step(name: str, value: Any) -> int:
    is_whole = isinstance(value, (int, float)) and not isinstance(value, bool) and value == value // 1
    if not is_whole or not -LARGEST_STEP < value < LARGEST_STEP:
        raise ValueError(f"{name!r} is not a whole number below 2**62")
    return int(value)


def _norm(name: str, value: Any) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number and value not in NOT_FINITE_NUMBERS:
        raise ValueError(f"{name!r} is not a number")
    try:
        norm = float(value)
    except OverflowError:
        norm = math.inf
    if norm < 0:
        raise ValueError(f"{name!r} is below 0")
    return norm


def _in_columns(given: Iterable[HistoryRow]) -> Rows:
    """Return rows that ascend by global step as ``Rows``."""
    rows, given = Rows(), list(given)
    steps = [row.global_step for row in given]
    columns = {name: [getattr(row, name) for row in given] for name in (*STEPS, *NORMS)}
    names = {"tensor": rows.tensors, "worker": rows.workers, "type": rows.types}
    codes = {name: [known.add(getattr(row, name), row.global_step) for row in given] for name, known in names.items()}
    rows.compared.add(len(given), **{name: np.array(values) for name, values in {**columns, **codes}.items()})
    rows.steps = set(steps)
    return rows


def history_line(row: HistoryRow) -> str:
    """Return a row as a line of strict JSON."""
    values = {
        name: str(value) if value != value or value in (math.inf, -math.inf) else value
        for name, value in row._asdict().items()
    }
    return json.dumps(values, allow_nan=False) + "\n"
