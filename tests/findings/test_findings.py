"""What a person is told is wrong: runs made with known faults, and the findings that the contract has for them."""

from __future__ import annotations

import json
import re
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import TrialWriter, needs_writing
from tests.findings.made_runs import (
    FOUR,
    INF,
    LARGE,
    NAN,
    OK,
    SMALL,
    TENSORS,
    WELL,
    accumulated,
    alike,
    at_steps,
    faded,
    good_baseline,
    judged_report,
    weights_of,
)
from tests.verdict.oracle import leading
from weight_update_ratio import check_trial
from weight_update_ratio.findings.findings import worst_of
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.report import Report


def summarised(report: Report) -> set[str]:
    """Return the findings in short: "KIND TENSORS [on WORKERS] [from ONSET] FIRST-LAST: COUNT", a note in brackets."""
    texts = []
    for each in report.findings:
        names = "all" if each.tensors == TENSORS else ",".join(each.tensors)
        workers = "all" if each.workers == FOUR else ",".join(each.workers)
        where = f" on {workers}" if len(report.workers) > 1 else ""
        where += f" from {each.onset_step}" * (each.onset_step != each.first_step)
        text = f"{each.kind} {names}{where} {each.first_step}-{each.last_step}: {each.count}"
        texts.append(text if each.severity == "fault" else f"({text})")
    assert len(set(texts)) == len(texts)
    return set(texts)


ONE_TENSOR = {  # beside two that train well
    "well": ([OK] * 20, set()),
    "not yet, and stopped": ([0] * 5 + [OK] * 10 + [0] * 5, {"not_yet a 1-5: 5", "stopped a 16-20: 5"}),
    "stopped at the last step": ([OK] * 19 + [0], {"stopped a 20-20: 1"}),
    "resting twice": (at_steps(20, 0, 8, 9, 15), {"resting a 8-15: 3"}),
    "resting at both ends too": (at_steps(20, 0, 1, 2, 10, 19, 20), {"resting a 1-20: 5"}),
    "longer at the ends than twice the rest": (
        at_steps(20, 0, 1, 2, 3, 10, 18, 19, 20),
        {"(not_yet a 1-3: 3)", "resting a 10-10: 1", "stopped a 18-20: 3"},
    ),
    "too large at the first step": (at_steps(20, LARGE, 1), {"(zero_start a 1-1: 1)"}),
    "too large at the first three, and well at three": (at_steps(6, LARGE, 1, 2, 3), {"(zero_start a 1-3: 3)"}),
    "too large at the first three, and well at two": (at_steps(5, LARGE, 1, 2, 3), {"too_large a 1-3: 3"}),
    "too large at the first, and too small later": (
        at_steps(20, LARGE, 1)[:10] + at_steps(10, SMALL, 5),
        {"too_large a 1-1: 1", "too_small a 15-15: 1"},
    ),
    "too large at the last step": (at_steps(20, LARGE, 20), {"too_large a 20-20: 1"}),
    "dips within its bounds": ([OK] * 20 + [OK / 50] * 20 + [OK] * 20, set()),
    "falls within its bounds": ([OK] * 20 + [OK / 50] * 20, {"(changed a 21-40: 20)"}),
    "spike of three": (at_steps(20, LARGE, 8, 9, 10), {"spike a 8-10: 3"}),
    "four are no spike": (at_steps(20, LARGE, 8, 9, 10, 11), {"too_large a 8-11: 4"}),
    "spike, then too large": (at_steps(20, LARGE, 4, 10, 11, 12, 13), {"spike a 4-4: 1", "too_large a 10-13: 4"}),
    "too small at one step": (at_steps(20, SMALL, 8), {"too_small a 8-8: 1"}),
    "vanishing": (faded(1e-3, 1e-7, 15) + faded(9e-9, 1e-11, 5), {"vanishing a 16-20: 5"}),
    "vanishing from its course": ([OK] * 20 + faded(7e-4, 1e-10, 20), {"vanishing a from 22 35-40: 6"}),
    "rising from its course": ([OK] * 20 + faded(1e-3, 90, 10), {"too_large a from 22 29-30: 2"}),
    "rising until not finite": ([OK] * 20 + faded(2e-3, 9, 8) + [NAN] * 4, {"exploded a from 21 29-32: 4"}),
    "vanishing until not finite": (
        [OK] * 20 + faded(7e-4, 1e-10, 18) + [NAN] * 4,
        {"vanishing a from 22 34-38: 5", "not_finite a 39-42: 4"},
    ),
    "vanishing through the bound to 0": (
        faded(1e-3, 1e-7, 12) + faded(9e-9, 1e-10, 4) + [0] * 4,
        {"vanishing a 13-20: 8"},
    ),
    "vanishing within its bounds, and then 0": (faded(1e-3, 1e-6, 15) + [0] * 5, {"vanishing a 16-20: 5"}),
    "fallen by less than a decade": (faded(1e-3, 2e-4, 15) + [0] * 5, {"stopped a 16-20: 5"}),
    "fallen by a decade at once": ([OK] * 10 + [OK / 20] * 10 + [0] * 5, {"stopped a 21-25: 5"}),
    "not finite that comes and goes": (at_steps(20, NAN, 5, 11, 12), {"not_finite a 5-12: 3"}),
    "one large step before not finite": ([OK] * 10 + [LARGE] + [NAN] * 9, {"exploded a 11-20: 10"}),
    "everything in one": (
        [0] * 6 + [OK] * 3 + [0] + [OK] * 3 + [LARGE] + [OK] * 3 + [SMALL] + [OK] * 2 + [LARGE] * 5 + [NAN] * 3,
        {
            *{"not_yet a 1-6: 6", "resting a 10-10: 1", "spike a 14-14: 1", "too_small a 18-18: 1"},
            "exploded a 21-28: 8",
        },
    ),
}


PATIENT = {"parameters": Parameters(patience=3)}
HELD = {"parameters": Parameters(baseline=("good",), patience=1)}
CASES: dict[str, tuple[Any, ...]] = {
    **{name: ({**WELL, "a": ratios}, expected) for name, (ratios, expected) in ONE_TENSOR.items()},
    "begins at zero, then a spike": (
        {**WELL, "a": [1e6, *at_steps(19, LARGE, 9)]},
        {"(zero_start a 1-1: 1)", "spike a 10-10: 1"},
        {"zero_weights": [("a", 1)]},
    ),
    "begins after weights that stay zero": (
        {**WELL, "a": [0, 0, 1e6] + [OK] * 17},
        {"(not_yet a 1-2: 2)", "(zero_start a 3-3: 1)"},
        {"zero_weights": [("a", step) for step in (1, 2, 3)]},
    ),
    "weights that stay zero": (
        {**WELL, "a": [0] * 20},
        {"frozen a 1-20: 20"},
        {"zero_weights": [("a", step) for step in range(1, 21)]},
    ),
    "begins at zero, and is not finite": (
        {**WELL, "a": [NAN] + [OK] * 19},
        {"not_finite a 1-1: 1"},
        {"zero_weights": [("a", 1)]},
    ),
    "nothing moves on one worker": (
        {**alike([0] * 20), **alike([OK] * 20, ["worker_1"])},
        {"frozen all on worker_0 1-20: 100"},
    ),
    "nothing moves but one tensor, once": (
        {**alike([0] * 20), "f": at_steps(20, OK, 9, well=0)},
        {"frozen all 1-20: 100", "(not_yet f 1-8: 8)", "stopped f 10-20: 11"},
    ),
    "frozen, rest, spike and NaN, each in another": (
        {
            "a": [0] * 1000,
            "b": at_steps(1000, 0, 500),
            "c": at_steps(1000, LARGE, 401),
            "d": [OK] * 985 + [NAN] * 15,
            "well": [OK] * 1000,
        },
        {"frozen a 1-1000: 1000", "resting b 500-500: 1", "spike c 401-401: 1", "not_finite d 986-1000: 15"},
    ),
    "spikes of steps that are near, and that are not": (
        {"a": at_steps(20, LARGE, 8), "b": at_steps(20, LARGE, 11), "c": at_steps(20, LARGE, 12), "d": [OK] * 20},
        {"spike a,b 8-11: 2", "spike c 12-12: 1"},
    ),
    "NaN that reaches one after the other": (  # each within 3 of the one before, not of the first
        {name: [OK] * (4 + 2 * at) + [NAN] * (16 - 2 * at) for at, name in enumerate("abcd")},
        {"not_finite a,b 5-20: 30", "not_finite c,d 9-20: 22"},
    ),
    "workers that stop at nearly one time": (
        {
            **alike([OK] * 60, FOUR),
            **{("a", worker): [OK] * (10 + at) + [0] * (50 - at) for at, worker in enumerate(FOUR)},
        },
        {"stopped a on all 11-60: 194"},
    ),
    "the same steps on other workers": (
        {
            **alike([OK] * 20, FOUR),
            **{("a", worker): at_steps(20, LARGE, 8) for worker in FOUR},
            ("b", "worker_1"): at_steps(20, LARGE, 8),
        },
        {"spike a,b on all 8-8: 5"},
    ),
    "saved at other intervals": (
        {
            "a": dict.fromkeys(range(10, 101, 10), 0),
            "b": {step: LARGE if step == 50 else OK for step in range(5, 101, 5)},
            "c": {step: OK if step < 50 else 0 for step in range(2, 101, 2)},
            "h": [OK] * 100,
        },
        {"frozen a 10-100: 10", "spike b 50-50: 1", "stopped c 50-100: 26"},
        {"gaps": {"a": 10, "b": 5, "c": 2}},
    ),
    "steps that were not compared do not end a spike": (
        {"a": [OK] * 5 + [None] * 3 + [LARGE] + [None] * 3 + [OK] * 8, "h": [OK] * 20},
        {"spike a 9-9: 1"},
    ),
    "moved by decay alone, and by more": (
        {name: [1e-3] * 6 for name in "abcd"},
        {"(decayed a 1-6: 6)"},
        {
            "norms": {
                "a": (2 * (1 - 1e-3) ** np.arange(6)).tolist(),
                "b": (2 * (1 - 1e-3) ** np.arange(5)).tolist() + [1.99],  # the last update is no decay
                "c": [2.0] * 6,
                "d": (2 * (1 - 0.9985e-3) ** np.arange(6)).tolist(),  # by less than the update
            }
        },
    ),
    "one comparison of 0": ({"a": [0]}, {"nothing_moved a 1-1: 1"}),
    "nothing compared": ({"a": [None]}, set()),
    "violations that last and that do not": (
        {
            "a": at_steps(20, LARGE, 5, 6),
            "b": at_steps(20, LARGE, 5, 6, 7),
            "d": at_steps(20, LARGE, 5, 12, 13, 14, 15),
            "h": [OK] * 20,
        },
        {"spike b 5-7: 3", "too_large d 12-15: 4"},
        PATIENT,
    ),
    "a row of other verdicts, with a patience of 3": (
        {"a": [OK] * 5 + [LARGE, 0, LARGE] + [OK] * 5, "b": [OK] * 13},
        {"too_large a 6-8: 2", "resting a 7-7: 1"},
        PATIENT,
    ),
    "thresholds of its own": (
        {"a": at_steps(20, 0.5, 8), "b": [1e-5] * 20, "h": [OK] * 20},
        {"spike a 8-8: 1", "too_small b 1-20: 20"},
        {"parameters": Parameters(small_threshold=1e-4, large_threshold=0.1)},
    ),
    "a small threshold of 0 allows zeros": (
        {"a": [0] * 20, "h": [OK] * 20},
        set(),
        {"parameters": Parameters(small_threshold=0)},
    ),
    "the bounds of a baseline are narrow": (
        {"a": at_steps(20, 4e-3, 8), "b": faded(OK, 1e-5, 20), "c": [1e-4] * 20, "d": [OK] * 20},
        {"spike a,b 6-20: 16", "too_small c 1-20: 20"},
        {**HELD, "baseline": good_baseline(**dict.fromkeys("abcd", OK))},
    ),
    "rests up to twice as long as in the good run, and longer": (
        {"a": at_steps(20, 0, 4, 5, 6, 7), "b": at_steps(20, 0, *range(4, 11)), "c": [OK] * 14 + [0] * 6},
        {"resting b 8-10: 3", "stopped c from 15 19-20: 2"},
        {**HELD, "baseline": good_baseline(rest=2, **dict.fromkeys("abc", OK))},
    ),
    "weights of another size": (
        {"a": [OK] * 20, "b": [OK] * 20, "c": at_steps(20, LARGE, 9, 10), "d": at_steps(20, 0, 5), "e": [OK] * 20},
        {"drifted a,d 1-20: 39", "spike c 9-10: 2", "drifted c 13-20: 8"},  # d rests at step 5, e began at zero
        {
            **HELD,
            "baseline": good_baseline(norm=2.0, rest=1, **dict.fromkeys(TENSORS, OK)),
            "norms": {"b": [2.9] * 20, "c": [2.0] * 12 + [3.1] * 8, **dict.fromkeys("ad", [3.1] * 20)},
            "zero_weights": [("e", 1)],
        },
    ),
    "weights that grow at nearly one time, and at another": (
        {name: [OK] * 20 for name in TENSORS},
        {"drifted a,b 10-20: 20", "drifted c 15-20: 6"},
        {
            **HELD,
            "baseline": good_baseline(norm=2.0, **dict.fromkeys(TENSORS, OK)),
            "norms": {name: [2.0] * well + [0.5] * (20 - well) for name, well in (("a", 9), ("b", 11), ("c", 14))},
        },
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_findings_of_a_run(name: str) -> None:
    """Each tensor's own faults, folded where kind, workers and steps are the same; more are among the golden words."""
    ratios, expected, *options = CASES[name]
    assert expected == summarised(judged_report(ratios, **dict(*options)))


RATIO = st.one_of(st.none(), st.sampled_from([0, 0, 1e-9, 1e-7, 1e-5, OK, OK, OK, LARGE, 1e6, NAN, INF]))
KEYS = st.tuples(st.sampled_from("abcd"), st.sampled_from(["w0", "w1"]))
RUNS = st.dictionaries(KEYS, st.lists(RATIO, min_size=1, max_size=14), min_size=1, max_size=8)
PATIENCE = st.sampled_from([1, 1, 2, 3])
BASELINES = st.sampled_from([None, good_baseline(norm=2.0, rest=1, a=OK, b=OK, c=0.0)])
NORMS = st.dictionaries(
    st.sampled_from("ab"), st.lists(st.sampled_from([2.0, 2.9, 9.0, 0.1]), min_size=14, max_size=14)
)


@given(RUNS, PATIENCE, BASELINES, NORMS, st.randoms(use_true_random=False))
def test_each_violation_that_fires_is_in_one_finding(
    run: Any, patience: int, baseline: Any, norms: Any, random: Any
) -> None:
    """Counts add up, steps are extremes of theirs; the order of a step's rows does not matter."""
    zeros = [(tensor, step) for (tensor, _), own in run.items() for step, ratio in enumerate(own, 1) if ratio == 1e6]
    options: Any = {"baseline": baseline, "norms": norms, "zero_weights": zeros}
    report = judged_report(run, Parameters(patience=patience), **options)
    compared = sorted(report, key=lambda row: row.global_step)
    leads = leading(compared, [row.verdict for row in compared], 10**6 if report.is_unheld else patience)
    assert len(leads) == sum(finding.count for finding in report.findings)
    rows = {(row.tensor, row.worker, row.step): row for row in report if row.verdict != "ok"}
    for finding in report.findings:
        own = [key for key in rows if key[0] in finding.tensors and key[1] in finding.workers]
        assert {finding.first_step, finding.last_step} <= {step for _, _, step in own}
        worst_worker = list(report.workers)[worst_of(finding.entries).course.worker]
        worst = rows[finding.worst_tensor, worst_worker, finding.worst_step]
        assert repr(worst.ratio) == repr(finding.worst_ratio)
        assert finding.first_step <= finding.worst_step <= finding.last_step
        assert re.fullmatch(r".+\.", finding.text)
        assert re.fullmatch(r".+\.", finding.advice)
    shuffled = judged_report(run, Parameters(patience=patience), **options, shuffle=random)
    assert repr(report.findings) == repr(shuffled.findings)


@given(RUNS)
def test_zeros_by_the_words_of_the_contract(run: Any) -> None:
    """Of tensors that are well where they are not zero."""
    well = {key: [r if r in (0, None) else OK for r in own] for key, own in run.items()}
    expected: dict[tuple[str, str], dict[str, list[int]]] = {key: {} for key in well}
    moved = any(r for own in well.values() for r in own)
    for key, own in well.items():
        at = [(step, r == 0) for step, r in enumerate(own, 1) if r is not None]
        parts = [list(group) for _, group in groupby(at, key=lambda part: part[1])]
        rests = [[step for step, _ in part] for part in parts if part[0][1]]
        if len(parts) == 1 and rests:
            expected[key]["frozen" if moved else "nothing_moved"] = rests[0]
        elif rests:
            first, last = parts[0][0][1], parts[-1][0][1]
            longest = max([0, *map(len, rests[first : len(rests) - last])])
            if first and len(rests[0]) > 2 * longest:
                expected[key]["not_yet"] = rests.pop(0)
            if last and len(rests[-1]) > 2 * longest:
                expected[key]["stopped"] = rests.pop()
            if rests:
                expected[key]["resting"] = [step for rest in rests for step in rest]
    found: dict[tuple[str, str], set[str]] = {key: set() for key in well}
    report = judged_report(well)
    names = list(report.tensors), list(report.workers)
    for entry in (entry for finding in report.findings for entry in finding.entries):
        key = names[0][entry.course.tensor], names[1][entry.course.worker]
        found[key].add(entry.kind)
        assert expected[key][entry.kind] == entry.course.steps[entry.rows].tolist()
    assert {key: set(kinds) for key, kinds in expected.items()} == found


SICK = {
    "enc.0.weight": [OK] * 60,
    "enc.1.weight": at_steps(60, 0, 8, 11, 12, 13),
    "enc.2.weight": [0] * 60,
    "enc.3.weight": at_steps(60, 20.0, 9, 10, 11),
    "head.weight": [OK] * 42 + [20.0] * 5 + [NAN] * 13,
    "head.bias": faded(1e-3, 1e-9, 40) + [0] * 20,
}
OF_SICK = {
    "frozen enc.2.weight on worker_0,worker_1 1-60: 120",
    "vanishing head.bias on worker_0,worker_1 from 1 34-60: 54",
    "spike enc.3.weight on worker_0,worker_1 9-11: 6",
    "resting enc.1.weight on worker_0,worker_1 8-13: 8",
    "exploded head.weight on worker_0,worker_1 43-60: 36",
}
STEADY = [np.full(4, 1.0) * (1 + 1e-4) ** step for step in range(4)]  # which float16 cannot hold


@needs_writing
class TestTrialFolders:
    @pytest.fixture
    def sick(self, tmp_path: Path) -> Path:
        """Give a trial of two workers, whose weights are the same."""
        workers = FOUR[:2]
        writer = TrialWriter(tmp_path / "sick").collections({"weights": list(SICK)}, workers=workers)
        weights = {name: weights_of(ratios) for name, ratios in SICK.items()}
        for step in range(61):
            for worker in workers:
                writer.save(step, {name: own[step] for name, own in weights.items()}, "TRAIN", step, worker)
        return writer.end().path

    def test_the_earliest_is_first(self, sick: Path) -> None:
        report = check_trial(sick)
        assert (1, OF_SICK) == (report.exit_code, summarised(report))
        kinds = ["frozen", "vanishing", "spike", "resting", "exploded"]
        assert kinds == [finding["kind"] for finding in json.loads(report.to_json())["findings"]]

    @pytest.mark.parametrize(
        ("options", "differs"),
        [
            ({"patience": 3}, {"resting enc.1.weight on worker_0,worker_1 11-13: 6"}),
            (
                {"start_step": 9, "end_step": 20, "patience": 3},  # what fired before is not told
                {
                    "frozen enc.2.weight on worker_0,worker_1 9-19: 22",
                    "(zero_start enc.3.weight on worker_0,worker_1 9-11: 6)",  # with nothing before it
                    "resting enc.1.weight on worker_0,worker_1 11-13: 6",
                },
            ),
        ],
    )
    def test_patience_and_a_window_of_steps(self, sick: Path, options: Any, differs: set[str]) -> None:
        assert differs == summarised(check_trial(sick, **options)) - OF_SICK

    @pytest.mark.parametrize(("every", "phase"), [(2, 0), (2, 1), (4, 1), (8, 0)])
    @pytest.mark.parametrize(("first", "modes"), [(0, ["TRAIN"]), (1000, ["TRAIN"]), (0, ["TRAIN", "EVAL"])])
    def test_the_advice_for_accumulation_helps(
        self, trial_writer: Any, every: int, phase: int, first: int, modes: list[str]
    ) -> None:
        """num_steps and start_step as they are given let the run pass: from a checkpoint on, and among EVAL steps."""
        writer = trial_writer().collections({"weights": ["a", "b"]})
        for step, weights in enumerate(weights_of(accumulated(40, every, phase)), first):
            for place, mode in enumerate(modes):
                writer.save(len(modes) * step + place, {"a": weights, "b": weights}, mode, step)
        (finding,) = check_trial(writer.end().path).findings
        advised = {name: int(number) for name, number in re.findall(r"(num_steps|start_step)=(\d+)", finding.advice)}
        assert ["num_steps", "start_step"] == list(advised)
        assert [] == check_trial(writer.path, **advised).findings

    def test_over_three_steps_a_spike_is_seen_three_times_and_a_rest_of_one_step_never(self, write_trial: Any) -> None:
        ratios = {"a": at_steps(30, LARGE, 15), "b": at_steps(30, 0, 15), "c": [OK] * 30}
        trial = write_trial({name: weights_of(own) for name, own in ratios.items()}).path
        assert {"spike a 15-17: 3"} == summarised(check_trial(trial, num_steps=3))

    @pytest.mark.parametrize(
        ("tensors", "options", "kind", "words", "never"),
        [
            ({"a": STEADY, "b": STEADY}, {"dtype": np.float16}, "nothing_moved", "float16", "EVAL"),
            ({"a": STEADY, "b": [own.astype(np.float16) for own in STEADY]}, {}, "frozen", "float16", "EVAL"),
            ({"a": [np.ones(3)] * 6}, {"modes": "EVAL"}, "nothing_moved", "EVAL", "learning rate"),
            ({"a": [np.ones(3)] * 6}, {"modes": ["EVAL", "PREDICT"]}, "nothing_moved", "EVAL", "learning rate"),
            ({"a": [np.ones(3)] * 6}, {"modes": ["TRAIN", "EVAL"]}, "nothing_moved", "learning rate", "EVAL"),
        ],
    )
    def test_weights_rest_for_the_cause_that_the_trial_shows(
        self, write_trial: Any, tensors: Any, options: Any, kind: str, words: str, never: str
    ) -> None:
        """The type and the modes that its weights were saved in."""
        (finding,) = check_trial(write_trial(tensors, **options).path).findings
        assert (kind, True) == (finding.kind, words in finding.advice)
        assert never not in finding.text + finding.advice
