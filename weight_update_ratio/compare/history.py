"""A run's comparisons as lines of JSON: what ``--history`` and ``RatioMonitor`` write, and what is judged like a trial.

    {"tensor": "fc.weight", "worker": "worker_0", "mode": "TRAIN", "step": 51, "reference_step": 50,
     "global_step": 51, "update_norm": 0.0031, "weight_norm": 2.9, ...}

``type``, the type that the tensor was saved as, may be there. Ratios, bounds and verdicts are computed anew.
"""

from __future__ import annotations

import json
import math
import operator
import os
from typing import Any, Callable, NamedTuple, Sequence

import numpy as np

from ..errors import TrialError, Unreadable, UnreadableError
from ..trial.folder import TRAIN
from ..trial.index_file import LARGEST_STEP, MODES, parse_json
from .rows import Array, Comparison, Rows, SkippedGroup

HISTORY_ENDING = ".jsonl"
STEPS, NORMS = ("step", "reference_step", "global_step"), ("update_norm", "weight_norm")
NEEDED, TEXTS = ("tensor", "worker", "mode", *STEPS, *NORMS), ("tensor", "worker", "mode", "type")
NOT_FINITE_NUMBERS = {"nan", "inf", "-inf", "infinity", "-infinity"}  # in any case, as strict JSON has them
PART = 1 << 20  # bytes of lines that are parsed at once
FIRST_BYTES = b'{"tensor": "'  # of each line that is written here
CUT_OFF = "is cut off"
STRICT_JSON = json.JSONEncoder(allow_nan=False)


class History(NamedTuple):
    """The rows of history files in the judged mode, with the lines that are not rows, and notes on what is left out."""

    rows: Rows
    mode: str
    notes: list[SkippedGroup]
    names: set[str]  # of all tensors, also of those that are not taken
    last_step: int  # global step of the last line


def history_files(trial: Any) -> list[str]:
    """Return the files where a trial is given as histories: one that ends in .jsonl, or several; else none."""
    is_list = isinstance(trial, (list, tuple))
    given = [os.fspath(one) if isinstance(one, os.PathLike) else one for one in (trial if is_list else [trial])]
    files = [os.path.expanduser(path.strip()) for path in given if isinstance(path, str)]
    files = [path for path in files if path.endswith(HISTORY_ENDING) and not os.path.isdir(path)]
    if any(path.startswith("s3://") for path in files):
        raise TrialError(f"the history {files[0]!r} is on S3", "Copy it to this machine: aws s3 cp.")
    if len(given) != len(files) and (files or is_list):
        raise TrialError(
            f"several trials cannot be judged as one ({', '.join(map(str, given))})",
            f"Pass one trial folder, or the histories ({HISTORY_ENDING}) of one run.",
        )
    return files


def history_line(row: Comparison, names: Sequence[str] = Comparison._fields) -> str:
    """Return a row, or its columns of these names, as a line of strict JSON."""
    values = {name: getattr(row, name) for name in names}
    lost = {name: str(value) for name, value in values.items() if value != value or value == math.inf}
    return STRICT_JSON.encode({**values, **lost}) + "\n"


def read_history(
    paths: Sequence[str], is_wanted: Callable[[str], bool] = lambda name: True, first: int = 0, end: int = LARGEST_STEP
) -> History:
    """Return the comparisons of history files, each of which has the rows of other workers of one run.

    Rows of TRAIN mode count if there are any, else those of GLOBAL mode. Of two rows of one tensor, worker and step the
    last one counts. A line that is not a row is unreadable; the last line may be cut off, which is only noted. Rows are
    taken of wanted tensors, at global steps from ``first`` to before ``end``.
    """
    table = _Table()
    files: dict[str, str] = {}  # worker -> its file
    for path in paths:
        for worker in table.read(path):
            if worker in files:
                raise TrialError(
                    f"the worker {worker!r} is in two histories, {files[worker]!r} and {path!r}",
                    "Pass the histories of one run, each worker once.",
                )
            files[worker] = path
    modes = table.codes["mode"]
    mode = TRAIN if TRAIN in modes else "GLOBAL"
    if mode not in modes:
        raise TrialError(
            f"the history {', '.join(paths)!r} has only rows of mode {', '.join(sorted(modes))}",
            "Pass one that has rows of mode TRAIN or GLOBAL.",
        )
    others = [SkippedGroup(None, None, f"rows of mode {other} are not judged") for other in sorted({*modes} - {mode})]
    rows, names = table.chosen(mode, is_wanted, first, end), set(table.codes["tensor"])
    return History(rows, mode, [*table.notes, *others], names, table.last_step)


class _Table:
    """The rows of history files in the order of their lines, in columns; names are codes, by ``codes``."""

    def __init__(self) -> None:
        self.codes: dict[str, dict[str, int]] = {name: {} for name in TEXTS}
        self.notes: list[SkippedGroup] = []
        self._parts: dict[str, list[Array]] = {name: [] for name in (*NEEDED, "type")}
        self._unreadable: list[Unreadable] = []
        self.last_step = -1

    def read(self, path: str) -> list[str]:
        """Add the rows of a file, and return the workers that they are of."""
        parts, number = len(self._parts["worker"]), 1
        try:
            with open(path, "rb") as file:
                for lines in iter(lambda: file.readlines(PART), []):
                    self._add(path, number, lines)
                    number += len(lines)
        except OSError as error:
            raise TrialError(
                f"the history {path!r} cannot be read: {error.strerror}", "Pass a file that exists and may be read."
            ) from None
        if len(self._parts["worker"]) == parts:
            why = next((f": {entry.reason}" for entry in self._unreadable if entry.file == path), "")
            raise TrialError(
                f"the history {path!r} holds no rows{why}",
                "Pass a file that --history or RatioMonitor wrote; a run of one step has no update.",
            )
        workers = list(self.codes["worker"])
        return [workers[code] for code in np.unique(np.concatenate(self._parts["worker"][parts:]))]

    def _add(self, path: str, number: int, lines: list[bytes]) -> None:
        """Add lines of a file, all at once if all are sound; ``number`` is that of the first."""
        try:
            columns = _columns(lines)
        except (UnreadableError, ValueError, OverflowError, RecursionError) as error:
            middle = len(lines) // 2
            if middle:
                self._add(path, number, lines[:middle])
                self._add(path, number + middle, lines[middle:])
            elif isinstance(error, UnreadableError) and not lines[0].endswith(b"\n"):
                self.notes.append(SkippedGroup(None, None, f"the last line of {path!r} {CUT_OFF}"))
            else:
                is_json = not isinstance(error, UnreadableError)
                reason = f"line {number} {'is not a row: ' * is_json}{error}"
                self._unreadable.append(Unreadable(path, None, None, -1, reason))
            return
        self.last_step = int(columns["global_step"][-1]) if columns else self.last_step
        for name, values in columns.items():
            codes = self.codes.get(name)
            if codes is not None:
                values = np.array([codes.setdefault(value, len(codes)) for value in values], np.int32)
            self._parts[name].append(values)

    def chosen(self, mode: str, is_wanted: Callable[[str], bool], first: int, end: int) -> Rows:
        """Return the rows of a mode that are of wanted tensors and of a range of global steps."""
        columns = {name: np.concatenate(parts) for name, parts in self._parts.items()}
        keys = [columns[name] for name in ("step", "tensor", "worker", "mode")]
        order = np.lexsort(keys)  # of equal rows, that of the last line is the last
        is_last = np.ones(len(order), bool)
        is_last[order[:-1]] = np.any([key[order[1:]] != key[order[:-1]] for key in keys], axis=0)
        wanted = np.array([is_wanted(name) for name in self.codes["tensor"]])[columns["tensor"]]
        at = columns["global_step"]
        in_mode = columns.pop("mode") == self.codes["mode"][mode]
        rows_of = np.flatnonzero(is_last & wanted & in_mode & (first <= at) & (at < end))
        alphabet = np.argsort(np.argsort(list(self.codes["worker"])))
        rows_of = rows_of[np.lexsort((alphabet[columns["worker"][rows_of]], at[rows_of]))]
        columns, at = {name: column[rows_of] for name, column in columns.items()}, at[rows_of]
        rows = Rows()
        for name, known in (("tensor", rows.tensors), ("worker", rows.workers), ("type", rows.types)):
            names = list(self.codes[name])
            codes, firsts, inverse = np.unique(columns[name], return_index=True, return_inverse=True)
            for index in np.argsort(firsts):
                codes[index] = known.add(names[codes[index]], int(at[firsts[index]]))
            columns[name] = codes[inverse]
        rows.compared.add(len(at), **columns)
        rows.steps = set(at.tolist())
        rows.add_unreadable(-1, self._unreadable)
        return rows


def _columns(lines: list[bytes]) -> dict[str, Any]:
    """Return the rows of lines in columns; an error says that one of them is not a row, and of a single line why."""
    parse = parse_json if len(lines) == 1 else lambda line: json.loads(line.decode())
    rows: list[Any] = [parse(line) for line in lines if line.strip()]
    try:
        columns: dict[str, Any] = dict(zip(NEEDED, zip(*map(operator.itemgetter(*NEEDED), rows))))
        columns["type"] = [kind if isinstance(kind, str) else "" for kind in (row.get("type") for row in rows)]
    except KeyError as error:
        raise ValueError(f"it has no {error}") from None
    except TypeError:
        raise ValueError("it is not an object") from None
    if not rows:
        return {}
    for name in TEXTS:
        if set(map(type, columns[name])) != {str}:
            raise ValueError(f"{name!r} is not a string")
    text = "".join({text for name in TEXTS for text in columns[name]})
    if text != text.encode("utf-8", "ignore").decode():  # as in an index
        raise ValueError("a name has half a character (a lone surrogate)")
    if not set(columns["mode"]).issubset(MODES):
        raise ValueError(f"'mode' is not one of {', '.join(MODES)}")
    for name in STEPS:
        columns[name] = _read_steps(name, columns[name])
    if (columns["reference_step"] >= columns["step"]).any():
        raise ValueError("'reference_step' is not below 'step'")
    if (columns["global_step"] < 0).any():
        raise ValueError("'global_step' is below 0")
    for name in NORMS:
        columns[name] = _read_norms(name, columns[name])
    return columns


def _read_steps(name: str, values: Sequence[Any]) -> Array:
    types = set(map(type, values))
    is_whole = types <= {int, float} and (float not in types or all(value == value // 1 for value in values))
    if not is_whole or not -LARGEST_STEP < min(values) <= max(values) < LARGEST_STEP:
        raise ValueError(f"{name!r} is not a whole number below 2**62")
    return np.array([int(value) for value in values], np.int64)


def _read_norms(name: str, values: Sequence[Any]) -> Array:
    types = set(map(type, values))
    texts = {value.lower() for value in values if isinstance(value, str)} if str in types else set()
    if not types <= {int, float, str} or not texts <= NOT_FINITE_NUMBERS:
        raise ValueError(f"{name!r} is not a number")
    norms = np.array(values, np.float64)
    with np.errstate(invalid="ignore"):
        if (norms < 0).any():
            raise ValueError(f"{name!r} is below 0")
    return norms
