"""A baseline as a file: its exact text, what people may edit in it, and one clear error for each broken file."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.findings.made_runs import found_bands, made_baseline
from weight_update_ratio.errors import UnreadableError
from weight_update_ratio.verdict.baseline import LAST_BIN, Baseline
from weight_update_ratio.verdict.baseline_file import parse_baseline
from weight_update_ratio.verdict.saving import baseline_text

TENSOR = {"gap": 1, "first_bin": 3, "low": [0.25, None, 0.5], "high": [0.5, None, 2]}
GOOD = {
    "format": "weight-update-ratio-baseline",
    "version": 1,
    "runs": 2,
    "mode": "TRAIN",
    "num_steps": None,
    "epsilon": 1e-9,
    "tensors": {"w": TENSOR},
}
OTHER = "is not a baseline: it has no 'format' 'weight-update-ratio-baseline'"
LENGTHS = "is broken: 'low' and 'high' of tensor 'w' are not lists of one length"
BEYOND = f"is broken: 'low' of tensor 'w' goes on beyond the last bin, {LAST_BIN}"
RATIOS = "is broken: bin 3 of tensor 'w' must have finite ratios, 0 <= low <= high (got "
LONG_NAME = "line\n" * 10_000
DEEP = "[" * 100_000 + "]" * 100_000
WITHOUT_RUNS = json.dumps({name: value for name, value in GOOD.items() if name != "runs"})
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just(2**62)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)),
    max_leaves=8,
)


def document(values: dict[str, Any]) -> dict[str, Any]:
    """Return the good file with other values of its keys, or of those of its tensor."""
    tensor = {**TENSOR, **{name: value for name, value in values.items() if name in TENSOR}}
    own = {name: value for name, value in values.items() if name not in TENSOR}
    return {**GOOD, "tensors": {"w": tensor}, **own}


def parsed(values: dict[str, Any]) -> Baseline:
    return parse_baseline(json.dumps(document(values)).encode())


def test_the_text() -> None:
    """A line a tensor, sorted by name; null where a bin is empty; the bins from the first to the last."""
    extremes = {2: (0.001, 0.1), 5: (0.0, 1e-20)}
    baseline = made_baseline({"b": (2, {0: (5e-324, 4.0)}), "a\n\u5c64": (1, extremes)}, runs=3, num_steps=2)
    text = (
        "{\n"
        '  "format": "weight-update-ratio-baseline",\n'
        '  "version": 1,\n'
        '  "runs": 3,\n'
        '  "mode": "TRAIN",\n'
        '  "num_steps": 2,\n'
        '  "epsilon": 1e-09,\n'
        '  "tensors": {\n'
        '    "a\\n\\u5c64": {"gap":1,"first_bin":2,"low":[0.001,null,null,0.0],"high":[0.1,null,null,1e-20]},\n'
        '    "b": {"gap":2,"first_bin":0,"low":[5e-324],"high":[4.0]}\n'
        "  }\n"
        "}\n"
    )
    assert text == baseline_text(baseline)
    assert text == baseline_text(parse_baseline(text.encode()))


@pytest.mark.parametrize(
    ("values", "bands"),
    [
        ({"comment": [1, 2]}, {"w": (1, {3: (0.25, 0.5), 5: (0.5, 2.0)})}),
        ({"low": [0], "high": [10**20]}, {"w": (1, {3: (0.0, 1e20)})}),
        ({"first_bin": LAST_BIN, "low": [0.5], "high": [0.5]}, {"w": (1, {LAST_BIN: (0.5, 0.5)})}),
        ({"low": [None, None], "high": [None, None]}, {}),
        ({"low": [], "high": []}, {}),
        ({"tensors": {}}, {}),
    ],
)
def test_what_people_may_write(values: dict[str, Any], bands: dict[str, Any]) -> None:
    """Keys that are not known, whole numbers, bins up to the last, and a tensor without ratios, which is absent."""
    assert bands == found_bands(parsed(values))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("\udcff", "is not JSON ('utf-8' codec can't decode byte 0xff in position 0: invalid start byte)"),
        ("{", "is not JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char 1))"),
        (DEEP, "is not JSON (it is nested too deeply)"),
        ("[1]", OTHER),
        ('{"format": ["a"]}', OTHER),
        (WITHOUT_RUNS, "is broken: it has no 'runs'"),
        ({"version": 2}, "is a baseline of version '2', and this program reads 1"),
        ({"version": True}, "is a baseline of version 'True', and this program reads 1"),
        ({"runs": 0}, "is broken: 'runs' cannot be '0'"),
        ({"runs": True}, "is broken: 'runs' cannot be 'True'"),
        ({"runs": 1.0}, "is broken: 'runs' cannot be '1.0'"),
        ({"runs": 2**62}, f"is broken: 'runs' cannot be '{2**62}'"),
        ({"mode": "train"}, "is broken: 'mode' cannot be 'train'"),
        ({"mode": ["TRAIN"]}, "is broken: 'mode' cannot be 'a list or object'"),
        ({"num_steps": 0}, "is broken: 'num_steps' cannot be '0'"),
        ({"num_steps": 10**400}, "is broken: 'num_steps' cannot be 'inf'"),
        ({"epsilon": 0}, "is broken: 'epsilon' cannot be '0'"),
        ({"epsilon": True}, "is broken: 'epsilon' cannot be 'True'"),
        ({"epsilon": math.nan}, "is broken: 'epsilon' cannot be 'nan'"),
        ({"tensors": []}, "is broken: 'tensors' cannot be '[]'"),
        ({"tensors": {"w": 3}}, "is broken: the entry of tensor 'w' cannot be '3'"),
        ({"tensors": {LONG_NAME: 3}}, f"is broken: the entry of tensor {LONG_NAME[:50]!r} cannot be '3'"),
        ({"gap": 0}, "is broken: 'gap' of tensor 'w' cannot be '0'"),
        ({"gap": "1"}, "is broken: 'gap' of tensor 'w' cannot be '1'"),
        ({"first_bin": -1}, "is broken: 'first_bin' of tensor 'w' cannot be '-1'"),
        ({"first_bin": LAST_BIN + 1}, f"is broken: 'first_bin' of tensor 'w' cannot be '{LAST_BIN + 1}'"),
        ({"low": [0.25]}, LENGTHS),
        ({"low": "abc"}, LENGTHS),
        ({"first_bin": LAST_BIN, "low": [0.5, 0.5], "high": [0.5, 0.5]}, BEYOND),
        ({"low": [None] * 1000, "high": [None] * 1000}, BEYOND),
        ({"low": [0.5], "high": [0.25]}, f"{RATIOS}'0.5' and '0.25')"),
        ({"low": [-0.5], "high": [1]}, f"{RATIOS}'-0.5' and '1')"),
        ({"low": [math.nan], "high": [1]}, f"{RATIOS}'nan' and '1')"),
        ({"low": [0], "high": [10**400]}, f"{RATIOS}'0' and 'inf')"),
        ({"low": ["0"], "high": [1]}, f"{RATIOS}'0' and '1')"),
        ({"low": [0], "high": [True]}, f"{RATIOS}'0' and 'True')"),
        ({"low": [None], "high": [1]}, f"{RATIOS}'None' and '1')"),
        ({"low": [0], "high": [{}]}, f"{RATIOS}'0' and '{{}}')"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_no_whole_baseline(content: str | dict[str, Any], message: str) -> None:
    """The message is one line that names what is wrong and where."""
    text = content if isinstance(content, str) else json.dumps(document(content))
    with pytest.raises(UnreadableError) as caught:
        parse_baseline(text.encode("utf-8", "surrogateescape"))
    assert message == str(caught.value)


@given(st.sampled_from([*GOOD, *TENSOR]), JSON)
@example("tensors", {"\ud800": {**TENSOR, "low": [2.0], "high": [1.0]}})
def test_any_value_is_sound_or_one_error(name: str, value: Any) -> None:
    """What is read can be judged with, and written again."""
    try:
        baseline = parsed({name: value})
    except UnreadableError:
        return
    assert baseline.runs >= 1
    assert baseline.epsilon > 0
    for gap, extremes in found_bands(baseline).values():
        assert gap >= 1
        assert all(0 <= low <= high < math.inf and 0 <= at <= LAST_BIN for at, (low, high) in extremes.items())
    assert found_bands(baseline) == found_bands(parse_baseline(baseline_text(baseline).encode()))
