"""A baseline as a file: its exact text, the round trip to the last digit, and one clear error for each broken file."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.findings.made_runs import Row, found_bands, made_baseline, made_run, rows
from weight_update_ratio.errors import TrialError, UnreadableError
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.verdict.baseline import LAST_BIN, Baseline, merged_baselines
from weight_update_ratio.verdict.baseline_file import baseline_text, parse_baseline, saved_baseline
from weight_update_ratio.verdict.bounds import Bounds
from weight_update_ratio.verdict.learning import learn_baseline

GOOD = {
    "format": "weight-update-ratio-baseline",
    "version": 1,
    "runs": 2,
    "mode": "TRAIN",
    "num_steps": None,
    "epsilon": 1e-9,
    "tensors": {"w": {"gap": 1, "first_bin": 0, "low": [0.25, None, 0.5], "high": [0.5, None, 2]}},
}
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just(2**62)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)),
    max_leaves=8,
)


def parsed(document: Any) -> Baseline:
    return parse_baseline(json.dumps(document).encode())


def with_value(name: str, value: Any) -> dict[str, Any]:
    """Return the good file with another value of one key, of the file or of its tensor."""
    if name in GOOD:
        return {**GOOD, name: value}
    tensors: Any = GOOD["tensors"]
    return {**GOOD, "tensors": {"w": {**tensors["w"], name: value}}}


def why_unreadable(content: bytes) -> str:
    with pytest.raises(UnreadableError) as caught:
        parse_baseline(content)
    message = str(caught.value)
    assert "\n" not in message
    return message


def all_bounds(baseline: Baseline, tensors: str = "abc", last: int = 2100) -> list[tuple[float, float]]:
    """Return the bounds of each tensor at each step over each gap, as numbers whose every digit counts."""
    bounds = Bounds(Parameters(), baseline)
    steps = [*range(-1, last), 2**30, 2**40, 2**62]
    codes, at, gaps = (part.ravel() for part in np.meshgrid(range(len(tensors)), steps, (1, 2, 5)))
    lower, upper, _ = bounds.columns(list(tensors), codes, at, at - gaps)
    return list(zip(lower.tolist(), upper.tolist()))


class TestRoundTrip:
    @given(rows())
    def test_a_file_gives_the_bounds_of_the_run_to_the_last_digit(self, made: list[Row]) -> None:
        """Of every tensor, at every step and gap."""
        baseline = learn_baseline(made_run(made))
        again = parse_baseline(baseline_text(baseline).encode())
        assert found_bands(baseline) == found_bands(again)
        assert all_bounds(baseline, last=80) == all_bounds(again, last=80)

    def test_the_bounds_at_every_step_of_a_run(self) -> None:
        """Read from a file they are those of the run itself."""
        random = np.random.default_rng(0)
        made = [Row("a", "w", step, 1, float(10 ** random.normal(-3, 1))) for step in range(1, 2000)]
        baseline = learn_baseline(made_run(made))
        assert all_bounds(baseline, "a") == all_bounds(parse_baseline(baseline_text(baseline).encode()), "a")

    @pytest.mark.parametrize("ratio", [0.0, 5e-324, 0.1, 1 / 3, 1e308, 2.0**-1074, 123456789.123456789])
    def test_floats_keep_their_last_digit(self, ratio: float) -> None:
        """The smallest and the largest too."""
        again = parse_baseline(baseline_text(made_baseline({"a": (1, {0: (ratio, ratio)})})).encode())
        assert (ratio, ratio) == again.bands["a"].band.extremes[0]

    @pytest.mark.parametrize("mode", ["TRAIN", "GLOBAL"])
    @pytest.mark.parametrize("num_steps", [None, 7])
    def test_how_the_runs_were_judged(self, mode: str, num_steps: int | None) -> None:
        """Runs, mode, num_steps and epsilon."""
        again = parse_baseline(baseline_text(made_baseline({}, 3, mode, num_steps, 0.1)).encode())
        assert (3, mode, num_steps, 0.1, {}) == (again.runs, again.mode, again.num_steps, again.epsilon, again.bands)

    @given(rows(12), rows(12))
    def test_files_of_runs_over_one_gap_merge_as_the_runs_do(self, a: list[Row], b: list[Row]) -> None:
        """Bands and the number of runs are those of both."""
        runs = [[row._replace(gap=1) for row in run] for run in (a, b)]
        learnt = [learn_baseline(made_run(run)) for run in runs]
        files = [parse_baseline(baseline_text(baseline).encode()) for baseline in learnt]
        merged, of_files = (merged_baselines(zip("ab", found)) for found in (learnt, files))
        assert (2, found_bands(merged)) == (of_files.runs, found_bands(of_files))

    @pytest.mark.parametrize("name", ["fc/kernel:0", "Größe 重み \U0001f600", 'a"b\\c', "line\nbreak", "", "n" * 3000])
    def test_any_name_of_a_tensor(self, name: str) -> None:
        """Names are taken as they are."""
        text = baseline_text(made_baseline({name: (1, {0: (1.0, 2.0)})}))
        assert text.isascii()
        assert {name: (1, {0: (1.0, 2.0)})} == found_bands(parse_baseline(text.encode()))


class TestText:
    def test_the_format(self) -> None:
        """A line a tensor, sorted by name; null where a bin is empty; the bins from the first to the last."""
        extremes = {2: (0.001, 0.1), 5: (0.0, 1e-20)}
        baseline = made_baseline({"b": (2, {0: (0.25, 4.0)}), "a": (1, extremes)}, runs=3, num_steps=2)
        assert (
            "{\n"
            '  "format": "weight-update-ratio-baseline",\n'
            '  "version": 1,\n'
            '  "runs": 3,\n'
            '  "mode": "TRAIN",\n'
            '  "num_steps": 2,\n'
            '  "epsilon": 1e-09,\n'
            '  "tensors": {\n'
            '    "a": {"gap":1,"first_bin":2,"low":[0.001,null,null,0.0],"high":[0.1,null,null,1e-20]},\n'
            '    "b": {"gap":2,"first_bin":0,"low":[0.25],"high":[4.0]}\n'
            "  }\n"
            "}\n"
        ) == baseline_text(baseline)

    @given(rows())
    def test_the_keys_of_the_contract(self, made: list[Row]) -> None:
        """It is strict JSON that names all of them, and nothing else."""

        def refuse(constant: str) -> None:
            raise AssertionError(f"{constant} is not JSON")

        document = json.loads(baseline_text(learn_baseline(made_run(made))), parse_constant=refuse)
        assert ["format", "version", "runs", "mode", "num_steps", "epsilon", "tensors"] == list(document)
        for entry in document["tensors"].values():
            assert ["gap", "first_bin", "low", "high"] == list(entry)
            assert len(entry["low"]) == len(entry["high"])
            assert [end is None for end in entry["low"]] == [end is None for end in entry["high"]]
            assert None not in (entry["low"][0], entry["low"][-1])

    @given(rows(), st.randoms(use_true_random=False))
    def test_the_order_of_the_rows_does_not_matter(self, made: list[Row], chance: Any) -> None:
        """The same ratios give the same text, so that a file that is committed shows what changed."""
        shuffled = chance.sample(made, len(made))
        assert len({baseline_text(learn_baseline(made_run(run))) for run in (made, shuffled)}) == 1

    def test_an_empty_baseline_is_a_file_as_well(self) -> None:
        """It has no tensors."""
        assert {} == json.loads(baseline_text(made_baseline({})))["tensors"]

    def test_it_is_small_and_read_at_once(self) -> None:
        """160 tensors over 1,000 steps: less than 300 KB."""
        random = np.random.default_rng(0)
        names = [f"encoder.layers.{number}.self_attention.out_proj.weight" for number in range(160)]
        ratios = 10 ** random.normal(-3, 1, (1001, 160))
        made = (
            Row(name, "w", step, 1, float(ratios[step, at])) for at, name in enumerate(names) for step in range(1, 1001)
        )
        text = baseline_text(learn_baseline(made_run(made))).encode()
        assert len(text) < 300_000
        began = time.perf_counter()
        baseline = parse_baseline(text)
        assert time.perf_counter() - began < 0.5
        assert 160 == len(baseline.bands)


class TestSaved:
    def test_a_run_alone(self) -> None:
        """The text is that of what it teaches."""
        run = made_run([Row("a", "w", 1, 1, 0.5), Row("a", "w", 2, 1, 0.25)])
        document = json.loads(saved_baseline(run))
        entry = {"gap": 1, "first_bin": 0, "low": [0.25], "high": [0.5]}
        assert (1, {"a": entry}) == (document["runs"], document["tensors"])

    def test_a_run_that_was_judged_against_a_baseline_is_merged_with_it(self) -> None:
        """So three runs make one file."""
        baseline = parsed(with_value("runs", 2))
        run = made_run([Row("w", "w", 1, 1, 0.125), Row("v", "w", 9, 1, 3.0)])
        run.bounds = Bounds(run.parameters, baseline)
        document = json.loads(saved_baseline(run))
        assert 3 == document["runs"]
        assert {
            "v": {"gap": 1, "first_bin": 1, "low": [3.0], "high": [3.0]},
            "w": {"gap": 1, "first_bin": 0, "low": [0.125, None, 0.5], "high": [0.5, None, 2.0]},
        } == document["tensors"]

    @pytest.mark.parametrize("spoil", ["ratio", "problem"])
    def test_a_run_that_is_not_complete_and_finite_is_not_written(self, spoil: str) -> None:
        """The error says why."""
        run = made_run([Row("a", "w", 1, 1, math.nan if spoil == "ratio" else 1.0)])
        if spoil == "problem":
            run.problem = TrialError("it was not judged", "Judge it.")
        with pytest.raises(TrialError, match="the run 'made/trial' cannot be a baseline: "):
            saved_baseline(run)


DEEP = b"[" * 100_000 + b"]" * 100_000


class TestBrokenFiles:
    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            (b"", "is empty"),
            (b"ratio,step\n1,2\n", "is not JSON ("),
            (b"{", "is not JSON ("),
            (bytes(range(256)), "is not JSON ("),
            (b"\x80\x04\x95pickle", "is not JSON ("),
            (json.dumps(GOOD).encode("utf-16"), "is not JSON ("),
            (DEEP, "is not JSON (it is nested too deeply)"),
            (b'{"tensors": ' + DEEP + b"}", "is not JSON (it is nested too deeply)"),
            (json.dumps(GOOD).encode()[:-20], "is not JSON ("),
            (b"null", "is not a baseline: it has no 'format' 'weight-update-ratio-baseline'"),
            (b"[1]", "is not a baseline: it has no 'format' 'weight-update-ratio-baseline'"),
            (b"{}", "is not a baseline: it has no 'format' 'weight-update-ratio-baseline'"),
            (b'{"format": ["a"]}', "is not a baseline: it has no 'format' 'weight-update-ratio-baseline'"),
            (b'{"meta": {}, "tensor_payload": []}', "is not a baseline: it has no 'format'"),
        ],
    )
    def test_what_is_not_a_baseline(self, content: bytes, expected: str) -> None:
        """The message says what it is not."""
        assert why_unreadable(content).startswith(expected)

    @pytest.mark.parametrize("name", ["runs", "mode", "num_steps", "epsilon", "tensors"])
    def test_a_key_that_is_not_there(self, name: str) -> None:
        """None is a value, and a key that is lost is not None."""
        content = json.dumps({key: value for key, value in GOOD.items() if key != name}).encode()
        assert f"is broken: it has no {name!r}" == why_unreadable(content)

    @pytest.mark.parametrize("version", [2, 0, "1", None, True, 1.0, [1], -1, 10**400])
    def test_another_version(self, version: Any) -> None:
        """The message names both versions."""
        message = why_unreadable(json.dumps(with_value("version", version)).encode())
        assert message.startswith("is a baseline of version ")
        assert message.endswith("and this program reads 1")

    def test_a_later_version_is_named(self) -> None:
        """A later program wrote it."""
        content = json.dumps(with_value("version", 2)).encode()
        assert "is a baseline of version '2', and this program reads 1" == why_unreadable(content)

    @pytest.mark.parametrize(
        ("name", "value", "shown"),
        [
            *(("runs", value, str(value)) for value in (0, True, "1", -1, 1.0, None, 2**62)),
            ("runs", [1], "a list or object"),
            *(("mode", value, str(value)) for value in ("train", "", "TRAINING", None, 3)),
            ("mode", ["TRAIN"], "a list or object"),
            *(("num_steps", value, str(value)) for value in (0, -1, 1.5, "3", True, False, 2**62)),
            ("num_steps", 10**40, "1e+40"),
            *(("epsilon", value, str(value)) for value in (0, 0.0, -1e-9, "1e-9", None, True)),
            ("tensors", [GOOD], "a list or object"),
            *(("tensors", value, str(value)) for value in (None, "w", [], 1)),
        ],
    )
    def test_a_value_that_cannot_be(self, name: str, value: Any, shown: str) -> None:
        """The message names the key and the value."""
        content = json.dumps(with_value(name, value)).encode()
        assert f"is broken: {name!r} cannot be {shown!r}" == why_unreadable(content)

    @pytest.mark.parametrize(
        ("text", "shown"), [("NaN", "nan"), ("Infinity", "inf"), ("-Infinity", "-inf"), ("1e400", "inf")]
    )
    @pytest.mark.parametrize("name", ["runs", "num_steps", "epsilon", "gap", "first_bin"])
    def test_a_number_that_is_not_finite(self, name: str, text: str, shown: str) -> None:
        """It is no value of any key."""
        content = json.dumps(with_value(name, "here")).replace('"here"', text).encode()
        message = why_unreadable(content)
        assert message.startswith(f"is broken: {name!r} ")
        assert message.endswith(f"cannot be {shown!r}")

    @pytest.mark.parametrize(
        ("name", "value", "shown"),
        [
            *(("gap", value, str(value)) for value in (0, -1, 1.0, 1.5, "1", None, True, 2**62)),
            *(("first_bin", value, str(value)) for value in (-1, 10**9, 2**70, LAST_BIN + 1, 1.0, "0", None, False)),
            ("first_bin", 10**400, "inf"),
            ("gap", 10**400, "inf"),
        ],
    )
    def test_a_value_of_a_tensor_that_cannot_be(self, name: str, value: Any, shown: str) -> None:
        """The message names the tensor too."""
        content = json.dumps(with_value(name, value)).encode()
        assert f"is broken: {name!r} of tensor 'w' cannot be {shown!r}" == why_unreadable(content)

    @pytest.mark.parametrize("entry", [None, [], 3, "w", [1]])
    def test_a_tensor_that_is_not_an_object(self, entry: Any) -> None:
        """The message names it."""
        message = why_unreadable(json.dumps({**GOOD, "tensors": {"w": entry}}).encode())
        assert message.startswith("is broken: the entry of tensor 'w' cannot be ")

    @pytest.mark.parametrize("low", [[0.25], [], [0.25] * 4, None, "abc", {"0": 1, "1": 2, "2": 3}, 3])
    def test_low_and_high_of_different_lengths(self, low: Any) -> None:
        """They are lists of one length."""
        content = json.dumps(with_value("low", low)).encode()
        assert "is broken: 'low' and 'high' of tensor 'w' are not lists of one length" == why_unreadable(content)

    @pytest.mark.parametrize(("first", "count"), [(0, LAST_BIN + 2), (LAST_BIN, 2), (170, 100), (0, 100_000)])
    @pytest.mark.parametrize("value", [0.5, None])
    def test_a_list_longer_than_the_bins(self, first: int, count: int, value: Any) -> None:
        """There is no bin beyond that of the largest step."""
        entry = {"gap": 1, "first_bin": first, "low": [value] * count, "high": [value] * count}
        message = why_unreadable(json.dumps({**GOOD, "tensors": {"w": entry}}).encode())
        assert f"is broken: 'low' of tensor 'w' goes on beyond the last bin, {LAST_BIN}" == message

    @pytest.mark.parametrize("first", [0, 170, LAST_BIN])
    def test_a_list_up_to_the_last_bin(self, first: int) -> None:
        """It is read."""
        ends = [0.5] * (LAST_BIN + 1 - first)
        baseline = parsed({**GOOD, "tensors": {"w": {"gap": 1, "first_bin": first, "low": ends, "high": ends}}})
        assert dict.fromkeys(range(first, LAST_BIN + 1), (0.5, 0.5)) == baseline.bands["w"].band.extremes

    @pytest.mark.parametrize(
        ("low", "high"),
        [
            ("0.5", "0.25"),
            ("-0.5", "1"),
            ("-1", "-0.5"),
            ("NaN", "1"),
            ("0", "NaN"),
            ("0", "Infinity"),
            ("-Infinity", "0"),
            ("0", "1e400"),
            ('"0"', "1"),
            ("0", '"1"'),
            ("true", "1"),
            ("0", "true"),
            ("null", "1"),
            ("0", "null"),
            ("[0]", "1"),
            ("0", "{}"),
            ("1" + "0" * 400, "1"),
            ("0", "1" + "0" * 400),
            ("0", "-1" + "0" * 400),
        ],
    )
    def test_ratios_that_cannot_be(self, low: str, high: str) -> None:
        """The message names the tensor and the bin."""
        entry = f'{{"gap": 1, "first_bin": 3, "low": [0, {low}], "high": [0, {high}]}}'
        content = json.dumps({**GOOD, "tensors": "here"}).replace('"here"', f'{{"w": {entry}}}').encode()
        assert why_unreadable(content).startswith(
            "is broken: bin 4 of tensor 'w' must have finite ratios, 0 <= low <= high (got "
        )

    def test_whole_numbers_are_ratios_too(self) -> None:
        """People edit files."""
        baseline = parsed({**GOOD, "tensors": {"w": {"gap": 1, "first_bin": 0, "low": [0], "high": [10**20]}}})
        (low, high) = baseline.bands["w"].band.extremes[0]
        assert (0.0, 1e20, float, float) == (low, high, type(low), type(high))

    @pytest.mark.parametrize("ends", [[], [None], [None, None]])
    def test_a_tensor_without_any_ratio_is_one_that_the_baseline_does_not_have(self, ends: list[Any]) -> None:
        """It is judged by the thresholds."""
        assert {} == parsed({**GOOD, "tensors": {"w": {"gap": 1, "first_bin": 0, "low": ends, "high": ends}}}).bands

    def test_keys_that_are_not_known_are_passed_over(self) -> None:
        """A note does not break a file."""
        tensors: Any = GOOD["tensors"]
        noted = {"w": {**tensors["w"], "comment": "of the nightly run"}}
        assert found_bands(parsed(GOOD)) == found_bands(parsed({**GOOD, "tensors": noted, "comment": [1, 2]}))

    def test_a_long_name_is_cut_in_the_message(self) -> None:
        """A message is one line that can be read."""
        message = why_unreadable(json.dumps({**GOOD, "tensors": {"n\n" * 10_000: 3}}).encode())
        assert len(message) < 300


def is_sound(baseline: Baseline) -> bool:
    """Return whether all that a baseline says can be judged with."""
    return (
        baseline.runs >= 1
        and baseline.epsilon > 0
        and all(
            gap >= 1 and 0 <= low <= high < math.inf and 0 <= place <= LAST_BIN
            for gap, extremes in found_bands(baseline).values()
            for place, (low, high) in extremes.items()
        )
    )


class TestAnyFile:
    @given(st.binary(max_size=200))
    def test_any_bytes_give_one_error(self, content: bytes) -> None:
        """And nothing else is raised."""
        assert why_unreadable(content).startswith("is ")

    @given(JSON)
    def test_any_json_gives_one_error(self, document: Any) -> None:
        """Valid JSON of something else is not a baseline."""
        assert why_unreadable(json.dumps(document).encode()).startswith("is not a baseline: ")

    @given(st.sampled_from([*GOOD, "gap", "first_bin", "low", "high", "w"]), JSON)
    @example("low", [10**400, None, 1])
    @example("tensors", {"\ud800": {}})
    @example("tensors", {"\ud800": {"gap": 1, "first_bin": 0, "low": [2.0], "high": [1.0]}})
    def test_any_value_of_any_key_is_sound_or_one_error(self, name: str, value: Any) -> None:
        """What is read can be judged with and written again."""
        document = {**GOOD, "tensors": {"w": value}} if name == "w" else with_value(name, value)
        self._assert_sound_or_refused(document)

    @given(
        st.dictionaries(
            st.text(max_size=3),
            st.fixed_dictionaries(
                {
                    "gap": st.integers(-1, 3),
                    "first_bin": st.integers(-1, LAST_BIN + 2),
                    "low": st.lists(st.one_of(st.none(), st.floats(0, 1), JSON), max_size=4),
                    "high": st.lists(st.one_of(st.none(), st.floats(1, 2), JSON), max_size=4),
                }
            ),
            max_size=3,
        )
    )
    def test_any_tensors_are_sound_or_one_error(self, tensors: Any) -> None:
        """Likewise."""
        self._assert_sound_or_refused({**GOOD, "tensors": tensors})

    @staticmethod
    def _assert_sound_or_refused(document: Any) -> None:
        try:
            baseline = parsed(document)
        except UnreadableError:
            return
        assert is_sound(baseline)
        assert found_bands(baseline) == found_bands(parse_baseline(baseline_text(baseline).encode()))
