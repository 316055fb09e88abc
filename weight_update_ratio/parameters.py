"""The rule's parameters, from what a person or the service passes to checked values.

SageMaker Debugger hands every parameter to a rule as a string, and an unset one as an empty string
or ``"None"``. A notebook passes plain values. Both end here, in one immutable ``Parameters``.
"""

from __future__ import annotations

import math
import operator
import os
import re
from typing import Any, NamedTuple, Sequence

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
        return {
            "num_steps": self.num_steps,
            "large_threshold": self.large_threshold,
            "small_threshold": self.small_threshold,
            "epsilon": self.epsilon,
            "collection_names": ",".join(self.collection_names),
            "tensor_regex": ",".join(self.tensor_regex) or None,
            "exclude_regex": ",".join(self.exclude_regex) or None,
            "patience": self.patience,
            "baseline": ",".join(self.baseline) or None,
            "baseline_factor": self.baseline_factor,
        }


def parse_parameters(
    num_steps: Any = None,
    large_threshold: Any = None,
    small_threshold: Any = None,
    epsilon: Any = None,
    collection_names: Any = None,
    tensor_regex: Any = None,
    exclude_regex: Any = None,
    patience: Any = None,
    baseline: Any = None,
    baseline_factor: Any = None,
) -> Parameters:
    """Return checked parameters; an unset one (None, "" or "None") has its default.

    Args:
        num_steps: Whole number >= 1 of steps to look back, or unset for the previous saved step.
        large_threshold: Finite number above ``small_threshold``; dimensionless.
        small_threshold: Finite number >= 0; dimensionless.
        epsilon: Finite number > 0, in the unit of the weights.
        collection_names: Names separated by commas, or a sequence of names.
        tensor_regex: Patterns separated by commas, or a sequence of patterns (which may then hold commas). A comma
            inside of ``{1,2}`` and an escaped one belong to the pattern.
        exclude_regex: Likewise.
        patience: Whole number >= 1 of violations in a row that fire, or unset: 1, with a baseline 3.
        baseline: Path or S3 URI of a trial folder or of a baseline file, or a sequence of them; see ``baseline_list``.
        baseline_factor: Finite number >= 1, by which the bounds are wider than the baseline; dimensionless.

    Raises:
        ValueError: A value is not valid; the message names the parameter, what is valid and what came.

    >>> parse_parameters(num_steps="3", large_threshold="2.5", tensor_regex="conv,fc").tensor_regex
    ('conv', 'fc')
    """
    default = Parameters()
    large = _number("large_threshold", large_threshold, default.large_threshold)
    small = _number("small_threshold", small_threshold, default.small_threshold)
    positive = _number("epsilon", epsilon, default.epsilon)
    factor = _number("baseline_factor", baseline_factor, default.baseline_factor)
    if small < 0:
        raise ValueError(f"'small_threshold' must be >= 0 (got {small_threshold!r})")
    if not large > small:
        raise ValueError(f"'large_threshold' must be greater than 'small_threshold' {small!r} (got {large!r})")
    if not positive > 0:
        raise ValueError(f"'epsilon' must be > 0 (got {epsilon!r})")
    if factor < 1:
        raise ValueError(f"'baseline_factor' must be >= 1 (got {baseline_factor!r})")
    return Parameters(
        num_steps=_count("num_steps", num_steps),
        large_threshold=large,
        small_threshold=small,
        epsilon=positive,
        collection_names=_separated("collection_names", collection_names) or default.collection_names,
        tensor_regex=_patterns("tensor_regex", tensor_regex),
        exclude_regex=_patterns("exclude_regex", exclude_regex),
        patience=_count("patience", patience),
        baseline=_locations("baseline", baseline),
        baseline_factor=factor,
    )


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


def _count(name: str, value: Any) -> int | None:
    if _is_unset(value):
        return None
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


def _number(name: str, value: Any, default: float) -> float:
    if _is_unset(value):
        return default
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
    if _is_unset(value):
        return ()
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
