"""The rule's parameters: one table of them, and the way from what a person or the service passes to checked values.

SageMaker Debugger passes every parameter to a rule as a string, and an unset one as an empty string or ``"None"``. A
notebook passes plain values. Both become one immutable ``Parameters``.
"""

from __future__ import annotations

import functools
import inspect
import math
import operator
import os
import re
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, Sequence, TypeVar, cast

if TYPE_CHECKING:
    from typing import TypedDict

    class GivenParameters(TypedDict, total=False):
        """What type checkers let a call pass; None and strings are for the service's sake."""

        num_steps: int | str | None
        large_threshold: float | str | None
        small_threshold: float | str | None
        epsilon: float | str | None
        collection_names: str | Sequence[str] | None
        tensor_regex: str | Sequence[str] | None
        exclude_regex: str | Sequence[str] | None
        patience: int | str | None
        baseline: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None
        baseline_factor: float | str | None


_Described = TypeVar("_Described", bound=Callable[..., Any])
_NAME = re.compile(r"[^,]+")
_PATTERN = re.compile(r"(?:\\.|\{[0-9]*,[0-9]*\}|[^,])+", re.DOTALL)  # an escaped comma, and that of {1,2}, stay in it


class Parameters(NamedTuple):
    """Checked parameters of one judgement, each within its valid range, with its default."""

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
        """How many violations in a row fire: ``patience``; if it is not given 1, with a baseline 3."""
        return self.patience or (3 if self.baseline else 1)

    def as_dict(self) -> dict[str, Any]:
        """Return the parameters by name, in the form that a rule configuration writes them."""
        values = [",".join(value) if isinstance(value, tuple) else value for value in self]
        return {name: None if value == "" else value for name, value in zip(self._fields, values)}


def parse_parameters(**given: Any) -> Parameters:
    """Return checked parameters; one that is not given or is unset (None, "" or "None") has its default.

    Raises:
        ValueError: A value is not valid; the message names the parameter, what is valid and what came.
        TypeError: There is no parameter of this name.

    >>> parse_parameters(num_steps="3", large_threshold="2.5", tensor_regex="conv,fc").tensor_regex
    ('conv', 'fc')
    """
    for name in given.keys() - TABLE.keys():
        raise TypeError(f"unexpected keyword argument {name!r}; the rule's parameters are {', '.join(TABLE)}")
    parsed = {name: TABLE[name].parse(name, value) for name, value in given.items() if not _is_unset(value)}
    checked = Parameters(**{name: value for name, value in parsed.items() if value != ()})
    small, large = checked.small_threshold, checked.large_threshold
    if small < 0:
        raise ValueError(f"'small_threshold' must be >= 0 (got {given['small_threshold']!r})")
    if not large > small:
        raise ValueError(f"'large_threshold' must be greater than 'small_threshold' {small!r} (got {large!r})")
    if not checked.epsilon > 0:
        raise ValueError(f"'epsilon' must be > 0 (got {given['epsilon']!r})")
    if checked.baseline_factor < 1:
        raise ValueError(f"'baseline_factor' must be >= 1 (got {given['baseline_factor']!r})")
    return checked


def with_parameters(function: _Described) -> _Described:
    """Show the table's parameters in the signature and docstring of a function that takes them as ``**parameters``.

    They follow its first argument, by position or by name.
    """
    first, *others, _ = inspect.signature(function).parameters.values()
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    named = [inspect.Parameter(name, kind, default=default) for name, default in Parameters().as_dict().items()]
    signature = inspect.Signature([first, *named, *others])

    @functools.wraps(function)
    def call(*args: Any, **keywords: Any) -> Any:
        return function(**signature.bind(*args, **keywords).arguments)

    call.__signature__ = signature  # type: ignore[attr-defined]
    return cast("_Described", documented(call))


def documented(described: _Described) -> _Described:
    """Put a line for each of the table's parameters in place of that of ``**parameters`` in a docstring."""
    lines = "".join(f"\n        {name}: {parameter.sentence}" for name, parameter in TABLE.items())
    described.__doc__ = re.sub(r"\n +\*\*parameters: .*", lambda _: lines, described.__doc__ or "")
    return described


def baseline_list(baseline: Any) -> Any:
    """Return the rule's parameter ``baseline`` as ``parse_parameters`` takes it: a string is split at commas.

    >>> baseline_list("s3://bucket/good.json, s3://bucket/other/debug-output")
    ('s3://bucket/good.json', 's3://bucket/other/debug-output')
    """
    return _separated("baseline", baseline) if isinstance(baseline, str) else baseline


def parse_report_dir(report_dir: Any) -> str:
    """Return the folder that the rule writes its report to, or an empty string if it writes none."""
    return "" if _is_unset(report_dir) else local_folder("report_dir", report_dir)


def local_folder(name: str, value: Any) -> str:
    """Return the path of a folder on this machine, without outer blanks; a ValueError names the parameter."""
    path = os.fspath(value) if isinstance(value, (str, os.PathLike)) else b""
    if not isinstance(path, str) or not path.strip() or "://" in path or "\0" in path:
        raise ValueError(f"{name!r} must be the path of a folder on this machine (got {value!r})")
    return path.strip()


def _is_unset(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.strip() in ("", "None"))


def _count(name: str, value: Any) -> int:
    try:  # JSON and pandas turn whole numbers into floats
        is_text = isinstance(value, str) or (isinstance(value, float) and value.is_integer())
        count = int(value) if is_text else operator.index(value)
    except (TypeError, ValueError):
        count = 0
    if isinstance(value, bool) or count < 1:
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


class Parameter(NamedTuple):
    """What the command's options, the documents and the docstrings say of a parameter, except its default."""

    parse: Callable[[str, Any], Any]  # returns the checked value of what is given; the name is for the error
    metavar: str  # its value in the sentence
    sentence: str


TABLE = {
    "num_steps": Parameter(
        _count, "N", "Compare with the oldest saved step at most N steps back; by default with the previous one."
    ),
    "large_threshold": Parameter(_number, "X", "A ratio above it is a violation."),
    "small_threshold": Parameter(_number, "X", "A ratio below it is a violation."),
    "epsilon": Parameter(_number, "X", "Added to the norm of the weights, in their unit; > 0."),
    "collection_names": Parameter(_separated, "NAMES", "Collections to compare, separated by commas."),
    "tensor_regex": Parameter(
        _patterns, "PATTERNS", "Only tensors that match one of these patterns, separated by commas."
    ),
    "exclude_regex": Parameter(
        _patterns, "PATTERNS", "Leave out tensors that match one of these patterns, separated by commas."
    ),
    "patience": Parameter(
        _count, "N", "Fire where a tensor has N violations in a row; by default 1, with a baseline 3."
    ),
    "baseline": Parameter(
        _locations,
        "GOOD",
        "What gives the bounds: a good run's trial folder, S3 URI or baseline file, or several.",
    ),
    "baseline_factor": Parameter(
        _number, "X", "Bounds: the lowest ratio of the baseline divided by X, its highest times X; >= 1."
    ),
}
