"""Text for a terminal: read whole, at any width, in colour and without."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from rich.cells import cell_len

from tests.conftest import RECORDED
from tests.render.golden import SICK
from tests.reports import HOSTILE, made_report
from tests.sick_runs import healthy_ratios, ratios_report, sick_resnet, sick_transformer, transformer_names
from weight_update_ratio import check_trial
from weight_update_ratio.compare.rows import SkippedGroup
from weight_update_ratio.errors import Unreadable
from weight_update_ratio.render.text import render_text
from weight_update_ratio.render.words.titles import title_of
from weight_update_ratio.report import Report


def hostile_run() -> Report:
    """Return a run whose names are long, wide or markup, with many skipped and unreadable entries."""
    names = [*HOSTILE, "layer/" * 40, "\u5c64" * 90, *(f"{'x' * 70}{number}" for number in range(40))]
    ratios = healthy_ratios(3, len(names), 30)
    for number in range(len(names)):
        ratios[number % 3, number, number % 29 :] = (0, 50, np.nan)[number % 3]
    report = ratios_report(names, ratios, trial="s3://bucket/" + "deep/" * 30)
    notes = [SkippedGroup(name, "worker_1", "no elements", number, number, 1) for number, name in enumerate(names)]
    for number, name in enumerate(names):
        report.rows.add_unreadable(0, [Unreadable(f"events/{name}", name, "worker_2", number, "is lost " * 40)])
    return report.with_facts(notes=notes)


def shortened_words(lines: list[str]) -> set[str]:
    """Return the words that lost their middle, and those that tell how much is left out."""
    words = {word for line in lines for word in line.split()}
    told = [f"{line} {after}".split() for line, after in zip(lines, lines[1:]) if re.match(r" *and [\d,]+ more", line)]
    return {word for word in words if "\u2026" in word}.union(*told)


@pytest.mark.no_cover
@pytest.mark.parametrize("run", [sick_resnet, sick_transformer, hostile_run])
def test_a_large_run_is_read_whole(run: Any) -> None:
    """No line is wider than the terminal, there are at most 40, and no word is broken."""
    report = run()
    words = set(report.to_text(100_000, verbose=True).split())
    for width in (60, 80, 140):
        lines = report.to_text(width).splitlines()
        assert len(lines) <= 40
        assert max(map(cell_len, lines)) <= width
        assert {word for line in lines for word in line.split()} - words <= shortened_words(lines)


def test_of_each_kind_one_comes_before_a_second_of_any() -> None:
    """The first finding, then the most urgent kinds. How many others there are is told; --verbose lists them all."""
    report = made_report(SICK)
    text = report.to_text(60)
    kinds = re.findall(r"^\d+\. ([A-Z][a-z ]+):", text, re.MULTILINE)
    assert len(kinds) == len(set(kinds)) > 3
    assert title_of(report.findings[0].kind) == kinds[0]
    assert {"Exploded", "Spike"} <= set(kinds)
    left = f"and {len(report.findings) - len(kinds)} more findings ("
    assert re.search(rf" {re.escape(left)}[^)]*\); --verbose lists them all ", " ".join(text.split()))
    every = report.to_text(60, verbose=True)
    assert len(report.findings) == len(re.findall(r"^ *\d+\. [A-Z]", every, re.MULTILINE))


def test_the_table_names_workers_and_has_the_extremes_where_there_is_room() -> None:
    names = [name for name in transformer_names() if name.startswith(("embed.", "decoder.layers.5."))]
    report = ratios_report(names, healthy_ratios(4, len(names), 50))
    narrow, wide = (report.to_text(width, verbose=True).splitlines() for width in (60, 140))
    head = ["tensor", "worker", "median", "last", "violations", "course"]
    assert head in [line.split() for line in narrow]
    assert [*head[:3], "lowest", "highest", *head[3:]] in [line.split() for line in wide]
    assert any(line.startswith("decoder.layers.5.self_attn.q_proj.weight  worker_0 ") for line in wide)
    first = narrow.index("decoder.layers.5.self_attn.q_proj.weight")
    assert [f"worker_{number}" for number in range(4)] == [line.split()[0] for line in narrow[first + 1 : first + 5]]
    assert set(names) <= {line.split()[0] for line in narrow if line}
    assert max(map(cell_len, narrow)) <= 60


@pytest.mark.parametrize("name", ["w", "weight", "a" * 30])
def test_no_number_of_the_table_is_cut(name: str) -> None:
    """Neither because the name is shorter than its head, nor because it is long."""
    lines = made_report({name: (1e-3 * np.random.default_rng(0).random(99)).tolist()}).to_text(60, verbose=True)
    assert "\u2026" not in lines


def test_a_long_entry_keeps_its_beginning_and_its_end() -> None:
    """In two lines of a narrow terminal."""
    report = made_report({"a": [1e-3]})
    reason = "reads " + "again and " * 30 + "ends in the middle"
    report.rows.add_unreadable(0, [Unreadable("events/" + "0123456789/" * 9, "w", "worker_0", 7, reason)])
    lines = report.to_text(60).splitlines()
    first = lines.index("Unreadable") + 1
    assert lines[first].startswith("  tensor w in events/0123")
    assert lines[first + 1].endswith("ends in the middle")
    assert lines[first + 2] == ""
    report = made_report({"a": [1e-3]})
    report.rows.add_unreadable(0, [Unreadable("a" * 100, None, None, -1, "b" * 100 + " ends")])
    assert f"  {'a' * 28}\u2026{'b' * 29}\n  ends\n" in report.to_text(60)


def test_skipped_tensors_are_folded_by_module_and_worker() -> None:
    report = sick_transformer(20)
    heads = [tensor for tensor in report.tensors if tensor.startswith("head.")]
    notes = [SkippedGroup(name, worker, "no elements", 3, 4, 2) for worker in report.workers for name in heads]
    report = report.with_facts(notes=notes)
    assert "  head.* (8 tensors) on all 4 workers: no elements at steps 3-4 (64 times)\n" in report.to_text()


def test_the_words_are_the_same_in_colour() -> None:
    report = check_trial(RECORDED["pytorch_frozen"])
    plain, coloured = (render_text(report, 100, color) for color in (False, True))
    assert "\x1b[" not in plain
    assert "\x1b[1;31mFIRED" in coloured
    assert plain == re.sub("\x1b\\[[0-9;]*m", "", coloured)


def test_a_terminal_of_a_few_columns_wraps_the_lines_itself() -> None:
    """A word a line would be no easier to read."""
    report = check_trial(RECORDED["pytorch_frozen"])
    assert {report.to_text(40)} == {report.to_text(width) for width in (1, 20, 39)}
