"""Parameters: strings as the service passes them, plain values, defaults, and the message of every refusal."""

from __future__ import annotations

import inspect
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import RECORDED, REPOSITORY
from weight_update_ratio import WeightUpdateRatio, check_trial

HEALTHY = RECORDED["pytorch_healthy"]
DEFAULTS = {
    "num_steps": None,
    "large_threshold": 10.0,
    "small_threshold": 1e-8,
    "epsilon": 1e-9,
    "collection_names": "weights",
    "tensor_regex": None,
    "exclude_regex": None,
    "patience": None,
    "baseline": None,
    "baseline_factor": 3.0,
}
BASELINE_NAMES = ("good.json", "a,b.json", "a", "b")


@pytest.mark.parametrize("unset", [None, "", " None "])
def test_an_unset_parameter_has_its_default(unset: Any) -> None:
    """The service passes an unset parameter as an empty string or as "None"."""
    report = check_trial(HEALTHY, **dict.fromkeys(DEFAULTS, unset))
    assert DEFAULTS == json.loads(report.to_json())["parameters"]


@pytest.mark.parametrize("function", [check_trial, WeightUpdateRatio.__init__])
def test_signatures_show_the_defaults(function: Any) -> None:
    signature = inspect.signature(function).parameters
    assert DEFAULTS == {name: signature[name].default for name in DEFAULTS}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("num_steps", " 3 ", 3),
        ("num_steps", 3.0, 3),
        ("num_steps", np.int64(3), 3),
        ("patience", "1", 1),
        ("small_threshold", "0", 0.0),
        ("large_threshold", "5e-1", 0.5),
        ("epsilon", np.float32(0.5), 0.5),
        ("baseline_factor", 1, 1.0),
        ("collection_names", " a , ,b,", ("a", "b")),
        ("collection_names", ["a,b", "c"], ("a,b", "c")),
        ("tensor_regex", ("a", "b{2,3}"), ("a", "b{2,3}")),
        ("tensor_regex", "fc[0-9]{1,2},conv", ("fc[0-9]{1,2}", "conv")),
        ("tensor_regex", "a{,3}, b{2,}", ("a{,3}", "b{2,}")),
        ("exclude_regex", "a{,b}", ("a{", "b}")),
        ("exclude_regex", r"a\,b,c", (r"a\,b", "c")),
    ],
)
def test_values_and_their_meaning(name: str, value: Any, expected: Any) -> None:
    """Names are separated by commas; those of a repeat and escaped ones are a pattern's own."""
    assert expected == getattr(check_trial(HEALTHY, **{name: value}).parameters, name)


COUNT = "must be a whole number >= 1 or None"
NUMBER = "must be a finite number"
NAMES = "must be a string with commas between its parts, or a list of strings"
PLACES = "must be a path or an S3 URI, or a list of them"
ABOVE = "'large_threshold' must be greater than 'small_threshold'"


@pytest.mark.parametrize(
    ("name", "message", "values"),
    [
        ("num_steps", COUNT, ["0", "-1", "1.5", "3.0", "three", "nan", 0, 1.5, float("nan"), True, [1], b"\xff"]),
        ("patience", COUNT, ["0", 1.5]),
        ("large_threshold", NUMBER, ["abc", "nan", "-inf", "1e999", float("inf"), True, [], 10**400, "1,5"]),
        ("small_threshold", NUMBER, ["nan"]),
        ("epsilon", NUMBER, ["nan"]),
        ("baseline_factor", NUMBER, ["nan"]),
        ("small_threshold", "must be >= 0", ["-1"]),
        ("epsilon", "must be > 0", [0, "-1e-9"]),
        ("baseline_factor", "must be >= 1", ["0.99", -1.5]),
        ("collection_names", NAMES, [3, [1], {"a"}, b"a"]),
        ("exclude_regex", NAMES, [3]),
        ("baseline", PLACES, [3, ["a", None], {"a"}, b"a", [b"a"]]),
        ("baseline", "must hold paths or S3 URIs", [["a", ""], ["  "]]),  # a variable that is empty is no baseline
    ],
)
def test_refusals(name: str, message: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(ValueError) as caught:
            check_trial(HEALTHY, **{name: value})
        assert f"'{name}' {message} (got {value!r})" == str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"large_threshold": 1e-8}, f"{ABOVE} 1e-08 (got 1e-08)"),
        ({"large_threshold": -1}, f"{ABOVE} 1e-08 (got -1.0)"),
        ({"small_threshold": 11}, f"{ABOVE} 11.0 (got 10.0)"),
        ({"tensor_regex": "ok,("}, "'tensor_regex' must hold patterns that compile (got '(': "),
        ({"exclude_regex": "a{9999999999999}"}, "'exclude_regex' must hold patterns that compile (got 'a{99"),
    ],
)
def test_thresholds_that_cross_and_patterns_that_do_not_compile(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        check_trial(HEALTHY, **given)


@pytest.mark.parametrize(
    ("glob", "written"),
    [
        ("*.weight", ".*[.]weight"),
        ("xonv*", "xonv.*"),
        ("*", ".*"),
        ("**/weight", ".*/weight"),
        ("layer.*.weight", None),
        ("layer[0-9]*", None),
        ("(x)*layer", None),
        (r"layer\w*", None),
        ("layer[*]", None),
        ("*.(", None),
    ],
)
def test_a_glob_gets_a_hint(glob: str, written: str | None) -> None:
    """It says what a regular expression writes in its place; what may be meant as one gets none."""
    try:
        said = str(check_trial(HEALTHY, tensor_regex=glob).problem)
    except ValueError as error:
        said = str(error)
    assert repr(glob) in said
    assert (written is not None) == ("regular expressions" in said)
    assert f"; patterns are regular expressions, in which {glob!r} is written {written!r}" in said or written is None


@pytest.fixture
def baselines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder that has baselines of these names."""
    monkeypatch.chdir(tmp_path)
    for name in BASELINE_NAMES:
        shutil.copy(REPOSITORY / "examples" / "ci" / "baseline.json", name)


@pytest.mark.usefixtures("baselines")
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (" good.json \n", ("good.json",)),
        ("a,b.json", ("a,b.json",)),
        (Path("good.json"), ("good.json",)),
        (["a", Path("b"), " good.json "], ("a", "b", "good.json")),
        ([], ()),
    ],
)
def test_baselines_of_a_check(value: Any, expected: Any) -> None:
    """A path or a list of them; a comma belongs to a path."""
    assert expected == check_trial(HEALTHY, baseline=value).parameters.baseline


@pytest.mark.usefixtures("baselines")
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (" a , ,b,", "a,b"),
        (["a,b.json", " a"], "a,b.json,a"),
        (Path("a,b.json"), "a,b.json"),
        (",", None),
        ("None", None),
    ],
)
def test_baselines_of_the_rule(value: Any, expected: Any) -> None:
    """The service passes a string, which is split at commas; a list and a path are kept as they are."""
    rule = WeightUpdateRatio(str(HEALTHY), baseline=value)
    assert f"baseline:{expected}" in rule.report["RuleParameters"].split("\n")


@pytest.mark.parametrize("value", ["s3://bucket", 3, b"x", "a\0b"])
def test_report_dir_is_a_path_on_this_machine(value: Any) -> None:
    with pytest.raises(ValueError) as caught:
        WeightUpdateRatio(str(HEALTHY), report_dir=value)
    assert f"'report_dir' must be the path of a folder on this machine (got {value!r})" == str(caught.value)
