"""Runs whose findings get different words: their causes are named only where the data shows them.

``golden.py`` keeps what is said of each, below its name; a change of the words is read there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

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
    cosine,
    faded,
    good_baseline,
    judged_report,
    linear,
    noisy,
)
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.render.words.titles import title_of

FADED = [*faded(1.5e-3, 1e-10, 16), *[0] * 4]
AGAINST = Parameters(baseline=("good",))
HELD = {"parameters": AGAINST, "baseline": good_baseline(norm=2.0, rest=2, **dict.fromkeys(TENSORS, OK))}
HELD_AT_REST = {**HELD, "baseline": good_baseline(a=0.0, b=0.0)}
GROWN = [2.0] * 9 + np.geomspace(2.5, 8, 11).tolist()
DECAYING = (2 * (1 - 1e-4) ** np.arange(20)).tolist()
HALF = {"dtypes": "float16"}


def each(course: Any) -> dict[Any, Any]:
    """Return five tensors that follow one course, each with scatter of its own."""
    return alike(lambda seed: noisy(course, seed))


def beside_well(**own: list[float]) -> dict[str, list[float]]:
    return {**WELL, **own}


def types_of(**own: str) -> dict[str, Any]:
    return {"dtypes": {"h1": "float32", "h2": "float32", **own}}


ADVISED: dict[str, dict[str, tuple[Any, dict[str, Any]]]] = {
    "small": {
        "a layer was forgotten, another rests": (beside_well(a=[0] * 20, b=at_steps(20, 0, 8)), {}),
        "a layer is frozen on one worker": ({**alike([OK] * 20, FOUR), ("a", "worker_2"): [0] * 20}, {}),
        "float16, the others move": (beside_well(a=[0] * 20), HALF),
        "float16, the others are float32": (beside_well(a=[0] * 20), types_of(a="float16")),
        "float32, the others are float16": (
            beside_well(a=[0] * 20),
            {"dtypes": {**dict.fromkeys(WELL, "float16"), "a": "float32"}},
        ),
        "float16 and float32 in one finding": (beside_well(a=[0] * 20, b=[0] * 20), types_of(a="float16", b="float32")),
        "fades to 0": (beside_well(a=FADED), {}),
        "fades to 0, float16": (beside_well(a=FADED), HALF),
        "fades alone": ({"a": FADED}, {}),
        "stops": (beside_well(a=[OK] * 14 + [0] * 6), {}),
        "stops, float16": (beside_well(a=[OK] * 14 + [0] * 6), HALF),
        "stops alone at a schedule's end": ({"a": noisy(cosine(100))}, {}),
        "is unfrozen later": (beside_well(a=[0] * 6 + [OK] * 14), {}),
        "is behind a layer that began at zero": (
            beside_well(head=[1e6] + [OK] * 19, body=[0] + [OK] * 19),
            {"zero_weights": [("head", 1)]},
        ),
        "moves by decay alone": (beside_well(a=[1e-4] * 20), {"norms": {"a": DECAYING}}),
        "too small": (beside_well(a=[SMALL] * 20), {}),
        "too small, float16": (beside_well(a=[SMALL] * 20), HALF),
        "rests, float16": (beside_well(a=at_steps(20, 0, 8, 12)), HALF),
        "one rests with the others and more often": (
            {**alike(accumulated(100, 4)), "f": [OK if step % 4 == 0 and step % 12 else 0 for step in range(1, 101)]},
            {},
        ),
    },
    "small_of_all": {
        "nothing moves on four workers": (alike([0] * 2000, FOUR), {}),
        "nothing moves, EVAL steps alone": (alike([0] * 20), {"only_evaluated": True}),
        "nothing moves, float16": (alike([0] * 20), HALF),
        "rest, EVAL steps alone": (alike(accumulated(40, 5)), {"only_evaluated": True}),
        "all fade": (each(np.geomspace(1e-3, 1e-11, 60)), {}),
        "all step down within their bounds": (each([1e-3] * 30 + [5e-5] * 30), {}),
        "a schedule ends at 0": (each(cosine(100)), {}),
        "a schedule ends before the run": (each(linear(100, 5)), {}),
        "a schedule ends beside a frozen layer": ({**each(cosine(100)), "f": [0] * 100}, {}),
        "a schedule ends beside a layer that fades": (
            {**each(cosine(100)), "f": noisy([*(cosine(90) * np.geomspace(1, 1e-4, 90)), *[0] * 10], 9)},
            {},
        ),
        "a schedule ends through the bound": (alike(FADED), {}),
        "all stop at once from full size": (each([0.1] * 88 + [0] * 112), {}),
        "a warm-up from 0": (each(np.arange(20) * 1e-4), {}),
        "a warm-up from tiny updates": (each([*np.geomspace(1e-12, 1e-3, 20), *[1e-3] * 80]), {}),
        "a loss scaler skips the first steps": (alike([0] * 6 + [OK] * 94), {}),
        "a loss scaler skips some steps": (alike(at_steps(100, 0, 20, 21, 50)), {}),
        "too small": (alike([SMALL] * 20), {}),
        "gradients are accumulated": (alike(accumulated(64, 8)), {}),
        "accumulated, float16": (alike(accumulated(40, 4)), HALF),
        "accumulated, with a skip": (alike([*accumulated(19, 4), 0, *accumulated(20, 4)]), {}),
        "accumulated, saved at every second step": (
            {name: {step: OK if step % 8 == 0 else 0 for step in range(2, 81, 2)} for name in "abc"},
            {"gaps": dict.fromkeys("abc", 2)},
        ),
        "accumulated over more steps than num_steps": (
            alike([OK if step % 8 < 3 and step > 2 else 0 for step in range(1, 81)]),
            {"parameters": Parameters(num_steps=3), "gaps": dict.fromkeys(TENSORS, 3)},
        ),
        "a schedule with restarts": (each([*cosine(50), *cosine(50), *cosine(50)]), {}),
        "rests at steps of their own, the first and last the same": (
            alike(lambda seed: [OK] * 4 + [0, *np.random.default_rng(seed).choice([0, OK], 90), 0] + [OK] * 4),
            {},
        ),
    },
    "large": {
        "spikes of several": (beside_well(a=at_steps(20, LARGE, 8), b=at_steps(20, 2 * LARGE, 9)), {}),
        "a spike near the start": (beside_well(a=at_steps(20, LARGE, 2)), {}),
        "two spikes far from each other": ({"a": at_steps(920, LARGE, 8, 907), "b": [OK] * 920}, {}),
        "more spikes than findings": (
            {**{f"t{at}": at_steps(100, LARGE, 10 * at) for at in range(1, 9)}, "h": [OK] * 100},
            {},
        ),
        "a spike of what is too large at other steps": (
            beside_well(a=[OK] * 5 + [LARGE] * 5 + [OK] * 4 + [LARGE] + [OK] * 5),
            {},
        ),
        "too large from the start": (beside_well(a=[LARGE] * 2 + [OK] * 18), {}),
        "too large from the second comparison on": (beside_well(a=[OK] + [LARGE] * 19), {}),
        "too large later": (beside_well(a=[OK] * 10 + [LARGE] * 10), {}),
        "began at zero": (beside_well(a=[1e6] + [OK] * 19), {"zero_weights": [("a", 1)]}),
        "not finite": (beside_well(a=[OK] * 9 + [NAN] * 11), {}),
        "not finite, float16": (beside_well(a=[OK] * 9 + [INF] * 11), HALF),
        "not finite at two steps": ({"a": at_steps(920, NAN, 8, 907), "b": [OK] * 920}, {}),
        "not finite after an explosion": (beside_well(a=[OK] * 7 + [LARGE] * 4 + [NAN] * 9), {}),
        "not finite nearly after it": (beside_well(a=[OK] * 7 + [LARGE] * 4 + [OK] * 3 + [NAN] * 6), {}),
        "not finite long after it": (beside_well(a=[OK] * 3 + [LARGE] * 4 + [OK] * 6 + [NAN] * 7), {}),
        "not finite after an explosion of another": (
            {"b": [OK] * 15 + [NAN] * 5, "zebra": [OK] * 10 + [LARGE] * 5 + [OK] * 5, "h": [OK] * 20},
            {},
        ),
        "not finite at its first saved step, and then all": (
            {"a": [NAN] * 20, "b": [OK] + [NAN] * 19, "c": [OK] * 3 + [NAN] * 17},
            {"norms": {"a": [NAN] * 20}},
        ),
        "not finite in one first": ({"a": [OK] * 9 + [NAN] * 11, **dict.fromkeys("bcd", [OK] * 10 + [NAN] * 10)}, {}),
        "rises within its bounds, and then another stops": (
            {"a": [OK] * 30 + [0.05] * 30, "b": [OK] * 45 + [0] * 15, **dict.fromkeys("cde", [OK] * 60)},
            {},
        ),
        "rises within its bounds after another stopped": (
            {"a": [OK] * 30 + [0.05] * 30, "b": [OK] * 15 + [0] * 45, **dict.fromkeys("cde", [OK] * 60)},
            {},
        ),
        "most rise until all are not finite": (
            {
                **dict.fromkeys("abc", [OK] * 20 + faded(2e-3, 90, 8) + [NAN] * 4),
                **dict.fromkeys("de", [OK] * 28 + [NAN] * 4),
            },
            {},
        ),
        "rises within its bounds, and then fades": (
            {"a": [1e-4] * 30 + [0.05] * 30 + faded(0.05, 1e-10, 30), "b": [OK] * 90, "c": [OK] * 90},
            {},
        ),
        "moves less after a spike": (beside_well(a=[0.5] * 10 + [LARGE] + [0.01] * 9), {}),
        "large before and after not finite": (
            beside_well(a=[OK] * 5 + [LARGE] * 4 + [NAN] * 2 + [LARGE] * 5 + [OK] * 4),
            {},
        ),
        "large at first, and again up to not finite": (
            {"a": [LARGE] * 2 + [OK] * 900 + [LARGE] * 2 + [NAN] * 9, "b": [OK] * 913},
            {},
        ),
        "rests in an explosion": (
            {
                "a": [OK] * 100 + [50.0, 2.3e3, 3.7e10, 9.6e5, 0, 0] + [NAN] * 94,
                "head": [OK] * 101 + [2.6e3, 3.6e10, 1.6e-2] + [NAN] * 96,
            },
            {},
        ),
    },
    "against_a_baseline": {
        "rests, and moved in the good run": ({"a": [0] * 20, "b": [OK] * 20}, HELD),
        "stops, and rests for longer than it may": ({"a": [OK] * 10 + [0] * 10, "b": [OK] * 20}, HELD),
        "rests in between for longer than it may": ({"a": [OK] * 4 + [0] * 9 + [OK] * 7, "b": [OK] * 20}, HELD),
        "moves, and rested in the good run": ({"a": [OK] * 20, "b": [0] * 20}, HELD_AT_REST),
        "all move less than in the good run": (alike([1e-5] * 20), HELD),
        "accumulates, as the good run did not": (alike(accumulated(40, 8)), HELD),
        "weights of another size from the start": (
            alike([OK] * 20),
            {**HELD, "norms": dict.fromkeys("ab", [4.0] * 20)},
        ),
        "weights that shrink": ({"a": [OK] * 20, "b": [OK] * 20}, {**HELD, "norms": {"a": GROWN[::-1]}}),
        "weights that grow out of their range": (alike([OK] * 20), {**HELD, "norms": dict.fromkeys(TENSORS, GROWN)}),
        "weights that grow where the updates are too large": (
            {"a": at_steps(20, 0.5, 8, 9, 10, 11), "b": [OK] * 20},
            {**HELD, "norms": {"a": GROWN}},
        ),
        "all fade past the end of the baseline": (each([OK] * 30 + faded(OK, 1e-6, 30)), HELD),
        "too large up to past the end of the baseline": ({"a": [OK] * 15 + [0.1] * 10, "b": [OK] * 25}, HELD),
    },
}


def told_words(group: str) -> str:
    lines = []
    for name, (ratios, options) in ADVISED[group].items():
        report = judged_report(ratios, **{key: value for key, value in options.items() if key != "only_evaluated"})
        report = report.with_facts(only_evaluated="only_evaluated" in options)
        told = (f"  {each.severity}: {title_of(each.kind)}: {each.text}\n    {each.advice}" for each in report.findings)
        lines += [name, *told]
    return "\n".join(lines) + "\n"
