"""Parameters: strings as the service passes them, plain values, defaults, and every refusal."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weight_update_ratio.check import check_trial
from weight_update_ratio.parameters import Parameters, baseline_list, glob_hint, parse_parameters, parse_report_dir
from weight_update_ratio.rule import WeightUpdateRatio


class TestUnset:
    @pytest.mark.parametrize("unset", [None, "", "None", "  ", " None "])
    @pytest.mark.parametrize("name", Parameters._fields)
    def test_an_unset_parameter_has_its_default(self, name: str, unset: Any) -> None:
        """The service passes an unset parameter as an empty string or as "None"."""
        assert Parameters() == parse_parameters(**{name: unset})

    @pytest.mark.parametrize("function", [check_trial, WeightUpdateRatio.__init__])
    def test_signatures_say_the_same_defaults(self, function: Any) -> None:
        """Rule and function show the defaults that an unset parameter has."""
        signature = inspect.signature(function).parameters
        shown = {name: signature[name].default for name in Parameters._fields}
        assert Parameters().as_dict() == shown


class TestNumSteps:
    @pytest.mark.parametrize(
        ("value", "expected"), [("3", 3), (" 3 ", 3), (3, 3), (3.0, 3), (np.int64(3), 3), ("1", 1)]
    )
    def test_whole_numbers(self, value: Any, expected: int) -> None:
        """From text, plain, of NumPy, and a float that is whole."""
        assert expected == parse_parameters(num_steps=value).num_steps

    @pytest.mark.parametrize(
        "value", ["0", "-1", "1.5", "3.0", "three", "nan", 0, -1, 1.5, float("nan"), float("inf"), True, [1], b"\xff"]
    )
    def test_refusals(self, value: Any) -> None:
        """All else is refused, and said."""
        expected = f"'num_steps' must be a whole number >= 1 or None (got {value!r})"
        with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
            parse_parameters(num_steps=value)


class TestNumbers:
    @pytest.mark.parametrize("name", ["large_threshold", "small_threshold", "epsilon"])
    @pytest.mark.parametrize(("value", "expected"), [("0.5", 0.5), ("5e-1", 0.5), (0.5, 0.5), (np.float32(0.5), 0.5)])
    def test_numbers(self, name: str, value: Any, expected: float) -> None:
        """From text, plain and of NumPy."""
        assert expected == getattr(parse_parameters(**{name: value}), name)

    @pytest.mark.parametrize("name", ["large_threshold", "small_threshold", "epsilon"])
    @pytest.mark.parametrize("value", ["abc", "nan", "inf", "-inf", "1e999", float("nan"), True, [], 10**400, "1,5"])
    def test_what_is_no_finite_number(self, name: str, value: Any) -> None:
        """All else is refused, and said."""
        expected = f"'{name}' must be a finite number (got {value!r})"
        with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
            parse_parameters(**{name: value})

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ({"small_threshold": "-1"}, "'small_threshold' must be >= 0 (got '-1')"),
            ({"large_threshold": 1e-8}, "'large_threshold' must be greater than 'small_threshold' 1e-08 (got 1e-08)"),
            ({"large_threshold": -1}, "'large_threshold' must be greater than 'small_threshold' 1e-08 (got -1.0)"),
            ({"small_threshold": 11}, "'large_threshold' must be greater than 'small_threshold' 11.0 (got 10.0)"),
            ({"epsilon": 0}, "'epsilon' must be > 0 (got 0)"),
            ({"epsilon": "-1e-9"}, "'epsilon' must be > 0 (got '-1e-9')"),
        ],
    )
    def test_ranges(self, arguments: Any, expected: str) -> None:
        """Each range is checked."""
        with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
            parse_parameters(**arguments)

    def test_a_small_threshold_of_zero(self) -> None:
        """Zero is valid: nothing is too small."""
        assert 0 == parse_parameters(small_threshold="0").small_threshold


class TestNames:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [("a", ("a",)), ("a,b", ("a", "b")), (" a , ,b,", ("a", "b")), (["a,b", "c"], ("a,b", "c")), (("a",), ("a",))],
    )
    def test_separated_by_commas_or_listed(self, value: Any, expected: Any) -> None:
        """Text is split at commas; of a list the parts are taken as they are."""
        parsed = parse_parameters(collection_names=value, tensor_regex=value)
        assert (expected, expected) == (parsed.collection_names, parsed.tensor_regex)

    @pytest.mark.parametrize("name", ["collection_names", "tensor_regex"])
    @pytest.mark.parametrize("value", [3, [1], {"a"}, b"a"])
    def test_refusals(self, name: str, value: Any) -> None:
        """All else is refused, and said."""
        expected = f"'{name}' must be a string with commas between its parts, or a list of strings (got {value!r})"
        with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
            parse_parameters(**{name: value})

    @pytest.mark.parametrize("pattern", ["(", "[a", "*", "a{99999999999999999999}"])
    def test_patterns_compile(self, pattern: str) -> None:
        """The pattern is named that does not."""
        with pytest.raises(ValueError, match=r"^'tensor_regex' must hold patterns that compile \(got ") as caught:
            parse_parameters(tensor_regex=f"ok,{pattern}")
        assert repr(pattern) in str(caught.value)

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("fc[0-9]{1,2},conv", ("fc[0-9]{1,2}", "conv")),
            ("a{,3}, b{2,}", ("a{,3}", "b{2,}")),
            ("a{,b}", ("a{", "b}")),
            (r"a\,b,c", (r"a\,b", "c")),
        ],
    )
    @pytest.mark.parametrize("name", ["tensor_regex", "exclude_regex"])
    def test_a_comma_inside_of_a_pattern(self, name: str, value: str, expected: Any) -> None:
        """That of a repeat's bounds and an escaped one are the pattern's; all others separate."""
        parsed = parse_parameters(**{name: value})
        assert expected == getattr(parsed, name)
        assert value.replace(", ", ",") == parsed.as_dict()[name]

    @pytest.mark.parametrize(
        ("glob", "written"),
        [
            ("*.weight", ".*[.]weight"),
            ("conv*", "conv.*"),
            ("layer.*.weight", ""),
            ("fc[0-9]*", ""),
            ("(ab)*", ""),
            (r"\w*", ""),
            ("*", ".*"),
            ("**/weight", ".*/weight"),
            ("conv[*]", ""),
            ("*.(", ""),
        ],
    )
    def test_a_glob_gets_a_hint(self, glob: str, written: str) -> None:
        """It says what a regular expression writes in its place; what may be meant as one gets none."""
        hint = f"; patterns are regular expressions, in which {glob!r} is written {written!r}" if written else ""
        assert hint == glob_hint(glob)

    def test_in_a_rule_configurations_form(self) -> None:
        """The parameters by name, with text where the configuration has text."""
        expected = {
            "num_steps": 3,
            "large_threshold": 2.0,
            "small_threshold": 1e-8,
            "epsilon": 1e-9,
            "collection_names": "a,b",
            "tensor_regex": "c,d",
            "exclude_regex": "e",
            "patience": 2,
            "baseline": "good.json,s3://bucket/good",
            "baseline_factor": 2.5,
        }
        values = ("3", "2", None, None, "a,b", ["c", "d"], "e", "2", ["good.json", "s3://bucket/good"], "2.5")
        parsed = parse_parameters(**dict(zip(Parameters._fields, values)))
        assert expected == parsed.as_dict()


class TestPatience:
    @pytest.mark.parametrize("value", ["3", " 3 ", 3, 3.0, np.int64(3)])
    def test_whole_numbers(self, value: Any) -> None:
        """From text, plain, of NumPy, and a float that is whole."""
        assert 3 == parse_parameters(patience=value).patience

    @pytest.mark.parametrize("value", ["0", "-1", "1.5", "three", "nan", 0, -1, 1.5, float("nan"), True, [1], b"\xff"])
    def test_refusals(self, value: Any) -> None:
        """All else is refused, and said."""
        expected = f"'patience' must be a whole number >= 1 or None (got {value!r})"
        with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
            parse_parameters(patience=value)

    @pytest.mark.parametrize(
        ("patience", "baseline", "expected"),
        [(None, None, 1), ("None", "", 1), (None, "good.json", 3), ("", "good.json", 3), ("2", None, 2), (1, "a", 1)],
    )
    def test_how_many_violations_fire(self, patience: Any, baseline: Any, expected: int) -> None:
        """Where it is not given one does, and with a baseline the third in a row."""
        parsed = parse_parameters(patience=patience, baseline=baseline)
        assert expected == parsed.violations_to_fire


class TestBaseline:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("good.json", ("good.json",)),
            (" s3://bucket/good \n", ("s3://bucket/good",)),
            ("a,b.json", ("a,b.json",)),
            (Path("runs/good"), ("runs/good",)),
            (["a", Path("b"), " c "], ("a", "b", "c")),
            (("a,b",), ("a,b",)),
            ([], ()),
        ],
    )
    def test_a_path_or_a_list_of_them(self, value: Any, expected: Any) -> None:
        """Blanks around a path are stripped; a comma belongs to it."""
        assert expected == parse_parameters(baseline=value).baseline

    @pytest.mark.parametrize("value", [3, [1], ["a", None], {"a"}, {"a": 1}, b"a", True, [b"a"], iter("a")])
    def test_what_is_not_a_path(self, value: Any) -> None:
        """All else is refused, and said."""
        expected = f"'baseline' must be a path or an S3 URI, or a list of them (got {value!r})"
        with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
            parse_parameters(baseline=value)

    @pytest.mark.parametrize("value", [["a", ""], ["  "], ["a", "\n"]])
    def test_a_blank_among_them(self, value: Any) -> None:
        """A variable that is empty would be taken for no baseline."""
        expected = f"'baseline' must hold paths or S3 URIs (got {value!r})"
        with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
            parse_parameters(baseline=value)

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("good.json", ("good.json",)),
            (
                "s3://bucket/a, s3://bucket/b/debug-output ,c.json",
                ("s3://bucket/a", "s3://bucket/b/debug-output", "c.json"),
            ),
            (" a , ,b,", ("a", "b")),
            (["a,b", " c"], ("a,b", "c")),
            (("a,b",), ("a,b",)),
            (Path("a,b"), ("a,b",)),
            ("None", ()),
            (" None ", ()),
            ("", ()),
            ("  ", ()),
            (",", ()),
            (None, ()),
        ],
    )
    def test_as_the_rule_takes_it(self, value: Any, expected: Any) -> None:
        """The service passes a string, which is split at commas; a list and a path are kept as they are."""
        assert expected == parse_parameters(baseline=baseline_list(value)).baseline

    def test_other_values_are_refused_of_the_rule_too(self) -> None:
        """What is not a string is handed on."""
        with pytest.raises(ValueError, match=r"^'baseline' must be a path or an S3 URI, or a list of them \(got 3\)$"):
            parse_parameters(baseline=baseline_list(3))


class TestBaselineFactor:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [("2.5", 2.5), ("1", 1.0), (1, 1.0), (" 3e2 ", 300.0), (np.float32(1.5), 1.5), (1e300, 1e300)],
    )
    def test_numbers(self, value: Any, expected: float) -> None:
        """From text, plain and of NumPy; 1 leaves the baseline as it is."""
        assert expected == parse_parameters(baseline_factor=value).baseline_factor

    @pytest.mark.parametrize("value", ["abc", "nan", "inf", "-inf", "1e999", float("inf"), True, [], 10**400, "1,5"])
    def test_what_is_no_finite_number(self, value: Any) -> None:
        """All else is refused, and said."""
        expected = f"'baseline_factor' must be a finite number (got {value!r})"
        with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
            parse_parameters(baseline_factor=value)

    @pytest.mark.parametrize("value", ["0.99", 0, "-3", -1.5])
    def test_a_factor_below_one(self, value: Any) -> None:
        """It would make the bounds narrower than what good runs did."""
        expected = f"'baseline_factor' must be >= 1 (got {value!r})"
        with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
            parse_parameters(baseline_factor=value)


class TestReportDir:
    @pytest.mark.parametrize(
        ("value", "expected"), [(None, ""), ("None", ""), (" /out/rule\n", "/out/rule"), (Path("/out"), "/out")]
    )
    def test_a_path(self, value: Any, expected: str) -> None:
        """Without outer blanks; unset: none is written."""
        assert expected == parse_report_dir(value)

    @pytest.mark.parametrize("value", ["s3://bucket", 3, b"x", "a\0b"])
    def test_refusals(self, value: Any) -> None:
        """Another form is refused, and said."""
        with pytest.raises(ValueError, match="'report_dir' must be the path of a folder on this machine"):
            parse_report_dir(value)
