"""Many names in few words: every name is counted once, whatever the names are."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sick_runs import resnet_names, transformer_names
from weight_update_ratio.render.words.names import elided, tensors_text, workers_text

RESNET, TRANSFORMER = resnet_names(), transformer_names()
LAYERS = [f"layer{layer}.{block}.{end}" for layer in (1, 2, 3) for block in range(13) for end in ("w", "b", "s")]
SECOND = [name for name in LAYERS if name.startswith("layer2.")]


@pytest.mark.parametrize(
    ("chosen", "known", "text"),
    [
        (SECOND, LAYERS, "layer2.* (39 tensors)"),
        (SECOND[:32], LAYERS, "layer2.* (32 of 39 tensors)"),
        (SECOND[:31], LAYERS, "layer2.0.* (3 tensors), layer2.1.* (3 tensors), layer2.2.* (3 tensors) and 22 more"),
        ([*SECOND, "head"], [*LAYERS, "head", "other"], "layer2.* (39 tensors), head"),
        (LAYERS, LAYERS, "All 117 tensors"),
        (["a"], ["a"], "a"),
        (["a", "b", "c", "d"], [*"abcdef"], "a, b, c, d"),
        (["a", "b", "c", "d", "e"], [*"abcdef"], "a, b, c and 2 more"),
        ([name for name in RESNET if name.endswith(".bias")], RESNET, "*.bias (54 tensors)"),
        (["m/a/kernel:0", "m/b/kernel:0"], ["m/a/kernel:0", "m/a/bias:0", "m/b/kernel:0"], "*/kernel:0 (2 tensors)"),
    ],
)
def test_tensors_are_folded_by_the_modules_that_hold_most_of_them(
    chosen: list[str], known: list[str], text: str
) -> None:
    assert text == tensors_text(chosen, known)


def counted(text: str) -> int:
    """Return how many tensors a text speaks of; the names must hold none of its marks."""
    text, _, more = text.partition(" and ")
    if text.startswith("All "):
        return int(text.split(" ")[1])
    total = int(more.split(" ")[0]) if more else 0
    for part in text.split(", "):
        found = re.search(r"\((?:(\d+) of )?(\d+) tensors\)$", part)
        total += int(found.group(1) or found.group(2)) if found else 1
    return total


NAMES = st.builds("".join, st.lists(st.sampled_from(["a", "b", "0", "w:0", " ", ".", "/", ".", "/"]), max_size=9))


@given(st.lists(st.tuples(NAMES, st.booleans()), min_size=1, max_size=40, unique_by=lambda pair: pair[0]))
def test_every_tensor_is_counted_once(pairs: list[Any]) -> None:
    known = [name for name, _ in pairs]
    chosen = [name for name, is_chosen in pairs if is_chosen] or known[:1]
    text = tensors_text(chosen, known)
    assert len(chosen) == counted(text)
    assert text.count(",") <= 3


@pytest.mark.parametrize("names", [RESNET, TRANSFORMER, LAYERS])
def test_many_names_make_a_short_text(names: list[str]) -> None:
    for every in (1, 2, 3, 5, 7):
        text = tensors_text(names[::every], names)
        assert len(names[::every]) == counted(text)
        assert len(text) < 130


def test_names_of_very_many_parts_do_not_end_the_command() -> None:
    deep = "a." * 1500
    known = [*(f"{deep}{end}.w" for end in "bcde"), "head"]
    text = tensors_text([known[0], known[1], known[4]], known)
    assert re.fullmatch(r"a\.a\.[a.]+\u2026[a.]+\.b\.w, a\.a\.[a.]+\u2026[a.]+\.c\.w, head", text)
    assert len(text) < 250


def test_of_many_workers_the_first_are_named() -> None:
    workers = [f"w{number}" for number in range(20)]
    assert " on w0, w1, w2" == workers_text(workers[:3], workers)
    assert " on 9 of 20 workers (w0, w1, w2, ...)" == workers_text(workers[:9], workers)


@given(st.text(max_size=30), st.integers(1, 40))
def test_an_elided_name_keeps_its_two_ends_and_is_no_longer_than_it_may_be(name: str, most: int) -> None:
    text = elided(name, most)
    assert len(text) == min(len(name), most)
    head, mark, tail = text.rpartition("\u2026")
    assert text == name or (mark and name.startswith(head) and name.endswith(tail))
