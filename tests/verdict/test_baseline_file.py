"""A baseline as a file: its exact text, what people may edit in it, and one clear error for each broken file."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.conftest import RECORDED
from tests.verdict.oracle import Known, known_of, package_baseline
from weight_update_ratio import check_trial
from weight_update_ratio.errors import TrialError, UnreadableError
from weight_update_ratio.verdict.baseline import BINS, LIMITS, Baseline, baseline_text, parse_baseline

TENSOR = {"gap": 1, "rest": 4, "first_bin": 3, "low": [0.25, None, 0.5], "high": [0.5, None, 2]}
TENSOR.update(norm_low=[1, None, 2.5], norm_high=[1.5, None, 2.5])
ENDS = {3: (0.25, 0.5, 1.0, 1.5), 5: (0.5, 2.0, 2.5, 2.5)}
GOOD = {
    "format": "weight-update-ratio-baseline",
    "version": 2,
    "runs": 2,
    "mode": "TRAIN",
    "epsilon": 1e-9,
    "last_step": 19,
    "tensors": {"w": TENSOR},
}
OTHER = "is not a baseline: it has no 'format' 'weight-update-ratio-baseline'"
LENGTHS = "is broken: 'low', 'high', 'norm_low', 'norm_high' of tensor 'w' are not lists of one length"
PLACE = f"of tensor 'w' must be below {BINS} and have finite numbers, 0 <= low <= high (got "
BEYOND, BROKEN = f"is broken: bin {BINS} {PLACE}", f"is broken: bin 3 {PLACE}"
LONG_NAME = "line\n" * 10_000
DEEP = "[" * 100_000 + "]" * 100_000
WITHOUT_RUNS = json.dumps({name: value for name, value in GOOD.items() if name != "runs"})
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just(2**62)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)),
    max_leaves=8,
)


def ends(**lists: Any) -> dict[str, Any]:
    """Return the lists of a tensor, those that are not given with a 1 in each bin."""
    return {name: lists.get(name, [1] * len(next(iter(lists.values())))) for name in LIMITS}


def document(values: dict[str, Any]) -> dict[str, Any]:
    """Return the good file with other values of its keys, or of those of its tensor."""
    tensor = {**TENSOR, **{name: value for name, value in values.items() if name in TENSOR}}
    head = {name: value for name, value in values.items() if name not in TENSOR}
    return {**GOOD, "tensors": {"w": tensor}, **head}


def parsed(values: dict[str, Any]) -> Baseline:
    return parse_baseline(json.dumps(document(values)).encode())


def held_by(baseline: Baseline) -> dict[str, Known]:
    return known_of(json.loads(baseline_text(baseline)))


def test_the_text() -> None:
    """A line a tensor, sorted by name; null where a bin is empty; the bins from the first to the last."""
    bins = {2: (0.001, 0.1, 2.5, 3.0), 5: (0.0, 1e-20, 5e-324, 1e300)}
    known = {"c": Known(1, 7, {}), "b": Known(2, 0, {0: (5e-324, 4.0, 1.0, 1.0)}), "a\n\u5c64": Known(1, 3, bins)}
    text = (
        "{\n"
        '  "format": "weight-update-ratio-baseline",\n'
        '  "version": 2,\n'
        '  "runs": 3,\n'
        '  "mode": "TRAIN",\n'
        '  "epsilon": 1e-09,\n'
        '  "last_step": 40,\n'
        '  "tensors": {\n'
        '    "a\\n\\u5c64": {"gap":1,"rest":3,"first_bin":2,"low":[0.001,null,null,0.0],"high":[0.1,null,null,1e-20],'
        '"norm_low":[2.5,null,null,5e-324],"norm_high":[3.0,null,null,1e+300]},\n'
        '    "b": {"gap":2,"rest":0,"first_bin":0,"low":[5e-324],"high":[4.0],"norm_low":[1.0],"norm_high":[1.0]},\n'
        '    "c": {"gap":1,"rest":7,"first_bin":0,"low":[],"high":[],"norm_low":[],"norm_high":[]}\n'
        "  }\n"
        "}\n"
    )
    assert text == baseline_text(package_baseline(known, runs=3, last_step=40))
    assert text == baseline_text(parse_baseline(text.encode()))


@pytest.mark.parametrize(
    ("values", "known"),
    [
        ({"comment": [1, 2]}, {"w": Known(1, 4, ENDS)}),
        (ends(high=[10**20]), {"w": Known(1, 4, {3: (1.0, 1e20, 1.0, 1.0)})}),
        ({"rest": 0, **ends(low=[0])}, {"w": Known(1, 0, {3: (0.0, 1.0, 1.0, 1.0)})}),
        ({"first_bin": BINS - 1, **ends(low=[0.5])}, {"w": Known(1, 4, {BINS - 1: (0.5, 1.0, 1.0, 1.0)})}),
        (ends(norm_low=[None], norm_high=[None]), {"w": Known(1, 4, {3: (1.0, 1.0, None, None)})}),
        ({name: [None, None] for name in LIMITS}, {"w": Known(1, 4, {})}),
        ({name: [] for name in LIMITS}, {"w": Known(1, 4, {})}),
        ({"last_step": -1}, {"w": Known(1, 4, ENDS)}),
        ({"tensors": {}}, {}),
    ],
)
def test_what_people_may_write(values: dict[str, Any], known: dict[str, Known]) -> None:
    """Keys that are not known, whole numbers, bins up to the last, a bin without a norm, a tensor without bins."""
    assert known == held_by(parsed(values))


def test_version_1_is_refused_with_a_remedy(tmp_path: Path) -> None:
    file = tmp_path / "old.json"
    file.write_text(json.dumps({**GOOD, "version": 1, "num_steps": None}))
    with pytest.raises(TrialError) as caught:
        check_trial(RECORDED["pytorch_healthy"], baseline=file)
    assert f"the baseline {str(file)!r} is a baseline of version '1', and this program reads 2" == caught.value.message
    assert "Save it anew with --save-baseline, from a run that trains well." == caught.value.remedy


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("\udcff", "is not JSON ('utf-8' codec can't decode byte 0xff in position 0: invalid start byte)"),
        ("{", "is not JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char 1))"),
        (DEEP, "is not JSON (it is nested too deeply)"),
        ("[1]", OTHER),
        (WITHOUT_RUNS, "is broken: it has no 'runs'"),
        ({"version": True}, "is a baseline of version 'True', and this program reads 2"),
        ({"runs": 0}, "is broken: 'runs' cannot be '0'"),
        ({"mode": "train"}, "is broken: 'mode' cannot be 'train'"),
        ({"mode": ["TRAIN"]}, "is broken: 'mode' cannot be 'a list or object'"),
        ({"epsilon": 0}, "is broken: 'epsilon' cannot be '0'"),
        ({"epsilon": math.nan}, "is broken: 'epsilon' cannot be 'nan'"),
        ({"last_step": 1.5}, "is broken: 'last_step' cannot be '1.5'"),
        ({"tensors": []}, "is broken: 'tensors' cannot be '[]'"),
        ({"tensors": {"w": 3}}, "is broken: the entry of tensor 'w' cannot be '3'"),
        ({"tensors": {LONG_NAME: 3}}, f"is broken: the entry of tensor {LONG_NAME[:50]!r} cannot be '3'"),
        ({"gap": 0}, "is broken: 'gap' of tensor 'w' cannot be '0'"),
        ({"rest": -1}, "is broken: 'rest' of tensor 'w' cannot be '-1'"),
        ({"tensors": {"w": {"gap": 1}}}, "is broken: it has no 'rest' of tensor 'w'"),
        ({"first_bin": BINS}, f"is broken: 'first_bin' of tensor 'w' cannot be '{BINS}'"),
        ({"low": [0.25]}, LENGTHS),
        ({"norm_high": [0.25]}, LENGTHS),
        ({"first_bin": BINS - 1, **ends(low=[0.5, 0.5])}, f"{BEYOND}'0.5' and '1')"),
        (ends(low=[0.5], high=[0.25]), f"{BROKEN}'0.5' and '0.25')"),
        (ends(norm_low=[0.5], norm_high=[0.25]), f"{BROKEN}'0.5' and '0.25')"),
        (ends(low=[math.nan]), f"{BROKEN}'nan' and '1')"),
        (ends(high=[10**400]), f"{BROKEN}'1' and 'inf')"),
        (ends(high=[True]), f"{BROKEN}'1' and 'True')"),
        (ends(low=[None]), f"{BROKEN}'None' and '1')"),
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
    for each in held_by(baseline).values():
        assert each.gap >= 1
        assert each.rest >= 0
        for at, (low, high, *norms) in each.bins.items():
            assert 0 <= at < BINS
            assert 0 <= low <= high < math.inf
            assert norms == [None, None] or 0 <= norms[0] <= norms[1] < math.inf
    assert baseline_text(baseline) == baseline_text(parse_baseline(baseline_text(baseline).encode()))
