"""The rule's parameters, from what a person or the service passes to checked values.

SageMaker Debugger hands every parameter to a rule as a string, and an unset one as an empty string
or ``"None"``. A notebook passes plain values. Both end here, in one immutable ``Parameters``.
"""

from __future__ import annotations

import math
import operator
import os
import re
from typing import Any, Callable, Mapping, NamedTuple, Sequence

_NAME = re.compile(r"[^,]+")
_PATTERN = re.compile(r"(?:\\.|\{[0-9]*,[0-9]*\}|[^,])+", re.DOTALL)  # a comma that it holds does not end it


class Parameters(NamedTuple):
    """Checked parameters of one judgement; every value is within its valid range."""

    num_steps: int | None = None
    large_threshold: float = 10.0
    small_threshold: float = 1e-8
    epsilon: float = 1e-9
    collection_names: tuple[str, ...] = ("weights",)
    tensor_regex: tuple[str, ...] = ()
    exclude_regex: tuple[str, ...] = ()
    patience: int | None = None
    baseline: tuple[str, ...] = ()
    baseline_factor: float = 3.0

    @property
    def violations_to_fire(self) -> int:
        """How many violations in a row fire: ``patience``; where it is not given 1, with a baseline 3."""
        return self.patience or (3 if self.baseline else 1)

    def as_dict(self) -> dict[str, Any]:
        """Return the parameters by name, in the form that a rule configuration writes them."""
        values = [",".join(value) if isinstance(value, tuple) else value for value in self]
        return {name: None if value == "" else value for name, value in zip(self._fields, values)}


def parse_parameters(**given: Any) -> Parameters:
    """Return checked parameters; one that is not given or is unset (None, "" or "None") has its default.

    Args:
        **given: By name. ``num_steps`` and ``patience`` are whole numbers >= 1. The others that are numbers are finite:
            ``large_threshold`` above ``small_threshold``, which is >= 0, ``baseline_factor`` >= 1, all dimensionless,
            and ``epsilon`` > 0, in the unit of the weights. ``collection_names`` are separated by commas, or a
            sequence. So are the patterns ``tensor_regex`` and ``exclude_regex``: a comma inside of ``{1,2}`` and an
            escaped one belong to the pattern, and a sequence's patterns may hold commas. ``baseline`` is a path or an
            S3 URI of a trial folder or of a baseline file, or a sequence of them; see ``baseline_list``.

    Raises:
        ValueError: A value is not valid; the message names the parameter, what is valid and what came.

    >>> parse_parameters(num_steps="3", large_threshold="2.5", tensor_regex="conv,fc").tensor_regex
    ('conv', 'fc')
    """
    parsed = {name: _PARSERS[name](name, value) for name, value in given.items() if not _is_unset(value)}
    found = Parameters(**{name: value for name, value in parsed.items() if value != ()})
    small, large = found.small_threshold, found.large_threshold
    if small < 0:
        raise ValueError(f"'small_threshold' must be >= 0 (got {given['small_threshold']!r})")
    if not large > small:
        raise ValueError(f"'large_threshold' must be greater than 'small_threshold' {small!r} (got {large!r})")
    if not found.epsilon > 0:
        raise ValueError(f"'epsilon' must be > 0 (got {given['epsilon']!r})")
    if found.baseline_factor < 1:
        raise ValueError(f"'baseline_factor' must be >= 1 (got {given['baseline_factor']!r})")
    return found


def given_parameters(given: Mapping[str, Any]) -> Parameters:
    """Return checked parameters; ``given`` are the ``locals()`` of a function that has arguments of their names."""
    return parse_parameters(**{name: given[name] for name in Parameters._fields})


def baseline_list(baseline: Any) -> Any:
    """Return the rule's parameter ``baseline`` as ``parse_parameters`` takes it: a string is split at commas.

    >>> baseline_list("s3://bucket/good.json, s3://bucket/other/debug-output")
    ('s3://bucket/good.json', 's3://bucket/other/debug-output')
    """
    return _separated("baseline", baseline) if isinstance(baseline, str) else baseline


def parse_report_dir(report_dir: Any) -> str:
    """Return the folder that the rule writes its report to, or an empty string where it writes none.

    Raises:
        ValueError: It is not a path on this machine.
    """
    return "" if _is_unset(report_dir) else local_folder("report_dir", report_dir)


def local_folder(name: str, value: Any) -> str:
    """Return the path of a folder on this machine, without outer blanks.

    Raises:
        ValueError: It is not a path, or is a URI; the message names the parameter.
    """
    path = os.fspath(value) if isinstance(value, (str, os.PathLike)) else b""
    if not isinstance(path, str) or not path.strip() or "://" in path or "\0" in path:
        raise ValueError(f"{name!r} must be the path of a folder on this machine (got {value!r})")
    return path.strip()


def _is_unset(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.strip() in ("", "None"))


def _count(name: str, value: Any) -> int:
    count = None
    try:
        if isinstance(value, str):
            count = int(value)
        elif isinstance(value, float) and value.is_integer():
            count = int(value)  # JSON and pandas turn whole numbers into floats
        elif not isinstance(value, bool):
            count = operator.index(value)
    except (TypeError, ValueError):
        pass
    if count is None or count < 1:
        raise ValueError(f"{name!r} must be a whole number >= 1 or None (got {value!r})")
    return count


def _number(name: str, value: Any) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"'{name}' must be a finite number (got {value!r})")
    return number


def _separated(name: str, value: Any, part: re.Pattern[str] = _NAME) -> tuple[str, ...]:
    if _is_unset(value):
        return ()
    if isinstance(value, str):
        return tuple(found.strip() for found in part.findall(value) if found.strip())
    if isinstance(value, Sequence) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise ValueError(f"'{name}' must be a string with commas between its parts, or a list of strings (got {value!r})")


def _locations(name: str, value: Any) -> tuple[str, ...]:
    """Return paths and URIs without outer blanks; one, or a sequence of them."""
    items = [value] if isinstance(value, (str, os.PathLike)) else value
    if not isinstance(items, Sequence) or not all(isinstance(item, (str, os.PathLike)) for item in items):
        raise ValueError(f"{name!r} must be a path or an S3 URI, or a list of them (got {value!r})")
    locations = tuple(os.fspath(item) for item in items)
    if not all(isinstance(location, str) and location.strip() for location in locations):
        raise ValueError(f"{name!r} must hold paths or S3 URIs (got {value!r})")
    return tuple(location.strip() for location in locations)


def _patterns(name: str, value: Any) -> tuple[str, ...]:
    patterns = _separated(name, value, _PATTERN)
    for pattern in patterns:
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(
                f"'{name}' must hold patterns that compile (got {pattern!r}: {error}{glob_hint(pattern)})"
            ) from None
    return patterns


_PARSERS: dict[str, Callable[[str, Any], Any]] = {
    "num_steps": _count,
    **dict.fromkeys(("large_threshold", "small_threshold", "epsilon", "baseline_factor"), _number),
    "collection_names": _separated,
    **dict.fromkeys(("tensor_regex", "exclude_regex"), _patterns),
    "patience": _count,
    "baseline": _locations,
}


def glob_hint(pattern: str) -> str:
    """Return what to write in place of a pattern that looks like a shell's, or an empty string.

    >>> glob_hint("*.weight")
    "; patterns are regular expressions, in which '*.weight' is written '.*[.]weight'"
    >>> glob_hint("conv.*weight")
    ''
    """
    star = r"(^|(?<!\\)[^.)\]\\\[])\*+"  # after anything but what a regular expression repeats
    if not re.search(star, pattern):
        return ""
    written = re.sub(star, r"\1.*", re.sub(r"\\?\.(?!\*)", "[.]", pattern))
    try:
        re.compile(written)
    except re.error:
        return ""
    return f"; patterns are regular expressions, in which {pattern!r} is written {written!r}"
