"""Many names in few words: every name is counted once, whatever it is."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.reports import made_report
from tests.sick_runs import resnet_names, transformer_names
from weight_update_ratio.compare.rows import SkippedGroup
from weight_update_ratio.errors import Unreadable
from weight_update_ratio.render.words.names import elided, tensors_text, workers_text

RESNET, TRANSFORMER = resnet_names(), transformer_names()
LAYERS = [f"layer{layer}.{block}.{end}" for layer in (1, 2, 3) for block in range(13) for end in ("w", "b", "s")]
SECOND = [name for name in LAYERS if name.startswith("layer2.")]
ODD = [
    "",
    ".",
    "..",
    "...",
    "a",
    "a.",
    "a..",
    ".a",
    ".b",
    "a.b",
    "a/b",
    "a.b.c",
    "/",
    "//",
    "x/y:0",
    "x/z:0",
    "x/z.w:0",
    " ",
]


@pytest.mark.parametrize(
    ("chosen", "known", "text"),
    [
        (SECOND, LAYERS, "layer2.* (39 tensors)"),
        (SECOND[:38], LAYERS, "layer2.* (38 of 39 tensors)"),
        (SECOND[:32], LAYERS, "layer2.* (32 of 39 tensors)"),
        (
            SECOND[:31],
            LAYERS,
            "layer2.0.* (3 tensors), layer2.1.* (3 tensors), layer2.2.* (3 tensors) and 22 more",
        ),
        ([*SECOND, "head"], [*LAYERS, "head", "other"], "layer2.* (39 tensors), head"),
        (LAYERS, LAYERS, "All 117 tensors"),
        (LAYERS[:1], LAYERS, "layer1.0.w"),
        (["a"], ["a"], "a"),
        (["a", "b"], ["a", "b"], "All 2 tensors"),
        (["a", "c"], ["a", "b", "c"], "a, c"),
        (["a", "b", "c", "d"], [*"abcdef"], "a, b, c, d"),
        (["a", "b", "c", "d", "e"], [*"abcdef"], "a, b, c and 2 more"),
        ([name for name in RESNET if name.endswith(".bias")], RESNET, "*.bias (54 tensors)"),
        ([name for name in RESNET if name.startswith("layer3.0.")], RESNET, "layer3.0.* (12 tensors)"),
        ([name for name in RESNET if name.startswith("layer2.")][1:], RESNET, "layer2.* (38 of 39 tensors)"),
        (
            [name for name in TRANSFORMER if name.startswith("decoder.layers.5.self_attn.")],
            TRANSFORMER,
            "decoder.layers.5.self_attn.* (8 tensors)",
        ),
        ([name for name in TRANSFORMER if name.startswith("decoder.")], TRANSFORMER, "decoder.* (288 tensors)"),
        (["x/y:0", "x/z:0"], ["x/y:0", "x/z:0", "w:0"], "x/* (2 tensors)"),
        (["m/a/kernel:0", "m/b/kernel:0"], ["m/a/kernel:0", "m/a/bias:0", "m/b/kernel:0"], "*/kernel:0 (2 tensors)"),
    ],
)
def test_folding(chosen: list[str], known: list[str], text: str) -> None:
    assert text == tensors_text(chosen, known)


def counted(text: str) -> int:
    """Return how many tensors a text speaks of; the names must hold none of its marks."""
    total = 0
    text, _, more = text.partition(" and ")
    if more:
        total += int(more.split(" ", 1)[0].replace(",", ""))
    if text.startswith("All "):
        return int(text.split(" ")[1].replace(",", ""))
    for part in text.split(", "):
        found = re.search(r"\((?:([\d,]+) of )?([\d,]+) tensors\)$", part)
        total += int((found.group(1) or found.group(2)).replace(",", "")) if found else 1
    return total


PARTS = st.lists(st.sampled_from(["a", "b", "0", "1", ""]), min_size=1, max_size=4)
NAMES = st.builds("".join, st.lists(st.sampled_from(["a", "b", "0", "w:0", ".", "/", ".", "/"]), max_size=9))


@given(st.lists(st.tuples(NAMES, st.booleans()), min_size=1, max_size=40, unique_by=lambda pair: pair[0]))
def test_every_tensor_is_counted_once(pairs: list[Any]) -> None:
    """However odd the names are."""
    known = [name for name, _ in pairs]
    chosen = [name for name, is_chosen in pairs if is_chosen] or known[:1]
    text = tensors_text(chosen, known)
    assert len(chosen) == counted(text)
    assert text.count(",") <= 3


@given(st.sets(st.sampled_from(ODD), min_size=1), st.sets(st.sampled_from([*ODD, "zz", "a.q", "/w"])))
def test_odd_names(chosen: set[str], others: set[str]) -> None:
    """They are named as they are, or folded; no name raises."""
    known = [name for name in [*ODD, "zz", "a.q", "/w"] if name in chosen | others]
    assert len(chosen) == counted(tensors_text([name for name in known if name in chosen], known))


@pytest.mark.parametrize("names", [RESNET, TRANSFORMER, LAYERS])
@pytest.mark.parametrize("every", [1, 2, 3, 5, 7])
def test_many_names_make_a_short_text(names: list[str], every: int) -> None:
    text = tensors_text(names[::every], names)
    assert len(names[::every]) == counted(text)
    assert len(text) < 130


def test_most_may_be_given() -> None:
    names = [f"t{number}" for number in range(20)]
    assert "t0 and 9 more" == tensors_text(names[:10], names, 1)
    assert ", ".join(names[:10]) == tensors_text(names[:10], names, 10)


WORKERS = [f"w{number}" for number in range(20)]


@pytest.mark.parametrize(
    ("workers", "known", "text"),
    [
        (WORKERS[:1], WORKERS[:1], ""),
        (WORKERS[2:3], WORKERS[:4], " on w2 only"),
        (WORKERS[:2], WORKERS[:4], " on w0, w1"),
        (WORKERS[:4], WORKERS[:4], " on all 4 workers"),
        (WORKERS[:3], WORKERS, " on w0, w1, w2"),
        (WORKERS[:9], WORKERS, " on 9 of 20 workers (w0, w1, w2, ...)"),
    ],
)
def test_workers(workers: list[str], known: list[str], text: str) -> None:
    assert text == workers_text(workers, known)


@given(st.text(max_size=30), st.integers(1, 40))
def test_an_elided_name_is_no_longer_than_it_may_be(name: str, most: int) -> None:
    """A name that fits is left as it is; another keeps its two ends."""
    text = elided(name, most)
    assert len(text) == min(len(name), most)
    assert text == name or "\u2026" in text
    head, _, tail = text.rpartition("\u2026") if text != name else (name, "", "")
    assert name.startswith(head)
    assert name.endswith(tail)


def test_names_of_very_many_parts() -> None:
    """No name is so deep that it ends the command with a traceback."""
    deep = "a." * 1500
    known = [*(f"{deep}{end}.w" for end in "bcde"), "head"]
    text = tensors_text([known[0], known[1], known[4]], known)
    assert re.fullmatch(r"a\.a\.[a.]+\u2026[a.]+\.b\.w, a\.a\.[a.]+\u2026[a.]+\.c\.w, head", text)
    assert len(text) < 250


COMMANDS = ("::error file=a::x", " ::stop-commands::x", "##vso[task.complete]", "##[error]x")


def test_no_name_is_a_command_of_a_ci_log() -> None:
    """GitHub runs what follows :: at a line's beginning, blanks left out, and Azure ##vso[ anywhere."""
    ratios = {name: [50.0, 0.0, 1e-3] for name in COMMANDS}
    report = made_report(ratios, workers=COMMANDS[:2])
    report.notes = [SkippedGroup(name, None, "is gone", None, None, 1) for name in COMMANDS]
    report.rows.add_unreadable(0, [Unreadable(name, name, name, 0, "is broken") for name in COMMANDS])
    texts = [report.to_text(width, verbose) for width in (None, 40, 80) for verbose in (False, True)]
    for text in [*texts, report.to_markdown(), report.to_junit()]:
        assert not re.search(r"^\s*::|##(vso)?\[", text, re.MULTILINE), text
    for line in report.to_github().splitlines():
        assert line.startswith(("::error title=WeightUpdateRatio", "::warning title=", "::notice title="))
