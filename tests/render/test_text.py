"""Text for a terminal: exactly what is printed."""

from __future__ import annotations

import functools
import re
from typing import Any, Callable

import numpy as np
import pytest
from rich.cells import cell_len

from tests.conftest import RECORDED, event_file, index_file
from tests.reports import HOSTILE
from tests.sick_runs import healthy_ratios, ratios_report, sick_resnet, sick_transformer, transformer_names
from weight_update_ratio import check_trial
from weight_update_ratio.compare.rows import Rows, SkippedGroup
from weight_update_ratio.errors import Unreadable
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.render.text import MOST_ENTRIES, MOST_LINES, printable, render_text
from weight_update_ratio.render.words.advice import told_findings
from weight_update_ratio.report import Report
from weight_update_ratio.verdict.bounds import Bounds


def rendered(path: Any, **options: Any) -> str:
    """Return the text of a trial, with TRIAL in place of its path."""
    return render_text(check_trial(path, **options)).replace(str(path), "TRIAL")


def hostile_run() -> Report:
    """Return a run whose names are long, wide or markup, with many skipped and unreadable entries."""
    names = [*HOSTILE, "layer/" * 40, "\u5c64" * 90, *(f"{'x' * 70}{number}" for number in range(40))]
    ratios = healthy_ratios(3, len(names), 30)
    for number in range(len(names)):
        ratios[number % 3, number, number % 29 :] = (0, 50, np.nan)[number % 3]
    report = ratios_report(names, ratios, trial="s3://bucket/" + "deep/" * 30)
    for number, name in enumerate(names):
        report.notes.append(SkippedGroup(name, "worker_1", "no elements", number, number, 1))
        report.rows.add_unreadable(0, [Unreadable(f"events/{name}", name, "worker_2", number, "is lost " * 40)])
    return report


@functools.lru_cache(maxsize=None)
def report_and_words(run: Callable[[], Report]) -> tuple[Report, set[str]]:
    """Return a run's report, and all words that there are to say of it."""
    report = run()
    return report, set(render_text(report, 100_000, verbose=True).split())


def shortened_words(lines: list[str]) -> set[str]:
    """Return the words that lost their middle, and those that tell how much is left out."""
    words = {word for line in lines for word in line.split()}
    told = {word for line in lines if line.strip().startswith("and ") for word in line.split()}
    return {word for word in words if "\u2026" in word} | told


class TestVerdict:
    def test_nothing_fired(self) -> None:
        """It says how much was compared, with what bounds, and how large the ratios are."""
        expected = """\
OK  TRIAL: all 76 update-to-weight ratios are within 1e-08 to 10

Median ratio 1.3e-02, 90% are within 1.3e-03 to 2.4e-02
20 TRAIN steps, 4 tensors, 1 worker, 76 comparisons, 0 violations, 0 skipped, 0 unreadable
"""
        assert expected == rendered(RECORDED["pytorch_healthy"])

    def test_nothing_compared(self) -> None:
        """It is not a pass, and says why."""
        expected = """\
NOT JUDGED  TRIAL: no saved tensor of 'weights' matches tensor_regex 'none'; the collections' tensors \
are 'TinyNet_bn1.weight', 'TinyNet_conv1.weight', 'TinyNet_fc1.weight', 'TinyNet_fc2.weight'

0 TRAIN steps, 0 tensors, 0 workers, 0 comparisons, 0 violations, 0 skipped, 0 unreadable
"""
        assert expected == rendered(RECORDED["pytorch_healthy"], tensor_regex="none")

    def test_one_of_each(self, write_trial: Any) -> None:
        """One is not many."""
        expected = """\
FIRED  TRIAL: 1 of 1 update-to-weight ratios is a violation

1. Too large: w moved too much at GLOBAL step 1 (1 comparison): the worst ratio is 98 at step 1.
   Lower the learning rate (or the weight decay), or warm it up.

Median ratio 98, 90% are within 98 to 98
2 GLOBAL steps, 1 tensor, 1 worker, 1 comparison, 1 violation, 0 skipped, 0 unreadable
"""
        assert expected == rendered(write_trial({"w": [1.0, 99.0]}, modes="GLOBAL").path)

    def test_a_single_ratio(self, write_trial: Any) -> None:
        """It reads as one."""
        text = rendered(write_trial({"w": [1.0, 1.5]}).path)
        assert text.startswith("OK  TRIAL: the only update-to-weight ratio is within 1e-08 to 10\n")

    def test_what_was_lost_comes_first(self, write_trial: Any) -> None:
        """A report that is not complete does not say that all is well."""
        trial = write_trial({"w": [1.0, 1.5, 1.6, 1.7]})
        event_file(trial.path, 3).unlink()
        assert rendered(trial.path).startswith(
            "NOT JUDGED  TRIAL: 1 record could not be read; of the rest, all 2 update-to-weight ratios are within "
        )


class TestFindings:
    def test_whole_text(self, write_trial: Any) -> None:
        """The most urgent first, each with what to do; workers and tensors are folded."""
        trial = write_trial({"w": [0.0, 100.0, 101.0], "v": [1.0, 1.0, 2.0]}, workers=("worker_0", "worker_1"))
        expected = """\
FIRED  TRIAL: 4 of 8 update-to-weight ratios are violations

1. Too large: w on worker_1 only moved too much at TRAIN step 1 (1 comparison): the worst ratio is
   100 at step 1.
   Lower the learning rate (or the weight decay), or warm it up.
2. Began at zero: w on worker_0 only moved from weights of zero at TRAIN step 1 (1 comparison): the
   worst ratio is 1e+11 at step 1.
   Zero-initialised tensors do this: let it pass by a baseline, start_step or exclude_regex.
3. Not moving yet: v on all 2 workers did not move at first: ratio 0 at TRAIN step 1 (2
   comparisons), and moved later.
   A zero-initialised layer passes back no gradient at first: where that is the reason, let it pass
   by start_step or a baseline.

Median ratio 0.255, 90% are within 0 to 6.5e+10
3 TRAIN steps, 2 tensors, 2 workers, 8 comparisons, 4 violations, 0 skipped, 0 unreadable
"""
        assert expected == rendered(trial.path)

    def test_markup_in_names_is_no_markup(self, write_trial: Any) -> None:
        """Names are shown as they are, and what is not a character as an escape."""
        text = rendered(write_trial({"[bold]w[/bold] :smile: \x1b[2J": [1.0, 99.0]}).path)
        assert "[bold]w[/bold] :smile: \\x1b[2J" in text

    @pytest.mark.no_cover
    @pytest.mark.parametrize("width", [60, 80, 140])
    @pytest.mark.parametrize("run", [sick_resnet, sick_transformer, hostile_run])
    def test_a_large_run_is_read_whole(self, run: Any, width: int) -> None:
        """No line is wider than the terminal, there are at most 40, and no word is broken."""
        report, words = report_and_words(run)
        lines = render_text(report, width).splitlines()
        assert len(lines) <= MOST_LINES
        assert max(map(cell_len, lines)) <= width
        assert {word for line in lines for word in line.split()} - words <= shortened_words(lines)

    def test_of_each_kind_one_before_a_second_of_any(self) -> None:
        """Where not all have room, no kind is lost, and the number of the others is told."""
        names = [f"layer{number}.weight" for number in range(40)]
        ratios = healthy_ratios(1, len(names), 100)
        for number in range(12):
            ratios[0, number, 5 + 5 * number] = 50.0
            ratios[0, 12 + number, 6 + 5 * number] = 0
            ratios[0, 24 + number, 7 + 5 * number :] = np.nan
        report = ratios_report(names, ratios)
        text = render_text(report, 60)
        kinds = re.findall(r"^\d+\. ([A-Z][a-z ]+):", text, re.MULTILINE)
        assert ["Not finite", "Spike", "Resting"] == kinds[:3]
        assert len(kinds) > 3
        assert re.search(r"^and \d+ more findings; --verbose lists them all$", text, re.MULTILINE)
        wide = render_text(report, 140)  # the same advice is given once, so that all have room
        assert 18 == len(re.findall(r"^ *\d+\. [A-Z]", wide, re.MULTILINE))
        assert len(wide.splitlines()) <= MOST_LINES
        every = render_text(report, 60, verbose=True)
        assert len(told_findings(report)) == len(re.findall(r"^ *\d+\. [A-Z]", every, re.MULTILINE)) == 18
        assert "more finding" not in every


class TestVerbose:
    def test_a_row_a_tensor(self, write_trial: Any) -> None:
        """Its ratios in short, its violations, and its course."""
        trial = write_trial({"w": [1.0, 1.5, 1.5, 3.0, np.nan], "other": [1.0, 2.0, 4.0, 8.0, 16.0]})
        text = render_text(check_trial(trial.path), 80, verbose=True)
        table = text.split("\n\n")[2]
        expected = """\
tensor  median  lowest  highest  last  violations  course
─────────────────────────────────────────────────────────
w          0.5       0        1   nan           2  ▄_▆x
other        1       1        1     1           0  ▅▅▅▅"""
        assert expected == table

    def test_workers_where_there_are_several(self) -> None:
        """And the extremes where there is room for them; names lose their middle."""
        names = [name for name in transformer_names() if name.startswith(("embed.", "decoder.layers.5."))]
        report = ratios_report(names, healthy_ratios(4, len(names), 50))
        narrow, wide = (render_text(report, width, verbose=True).splitlines() for width in (60, 140))
        head = ["tensor", "worker", "median", "last", "violations", "course"]
        assert head in [line.split() for line in narrow]
        assert [*head[:3], "lowest", "highest", *head[3:]] in [line.split() for line in wide]
        assert any(line.startswith("decoder.layers.5.self_attn.q_proj.weight") for line in wide)
        assert 16 * 4 == sum(re.search(r" worker_\d .*[▁-█]", line) is not None for line in narrow)
        assert max(map(cell_len, narrow)) <= 60

    def test_nothing_compared(self) -> None:
        """There is no table."""
        report = check_trial(RECORDED["pytorch_healthy"], tensor_regex="none")
        assert render_text(report) == render_text(report, verbose=True)


class TestLists:
    def test_skipped(self, write_trial: Any) -> None:
        """Which tensor, why, at which steps, how many times."""
        trial = write_trial({"w": [1.0, 1.5, 1.6, 1.7], "e": lambda s: np.zeros(0), "r": [1, 2, [1, 2], [1, 3]]})
        assert """\
Skipped
  e: no elements at steps 1-3 (3 times)
  r: shape changed from () to (2,) at step 2
""" in rendered(trial.path)

    def test_skipped_tensors_are_folded(self) -> None:
        """Of one reason, by their modules and workers."""
        report = sick_transformer(20)
        for worker in report.workers:
            for tensor in report.tensors:
                if tensor.startswith("head."):
                    report.notes.append(SkippedGroup(tensor, worker, "no elements", 3, 4, 2))
        assert "  head.* (8 tensors) on all 4 workers: no elements at steps 3-4 (64 times)\n" in render_text(report)

    def test_unreadable(self, write_trial: Any) -> None:
        """A line for each file and reason, and how much goes with it."""
        trial = write_trial({"w": [1.0, 1.5, 1.6], "v": [1.0, 1.5, 1.6]}, steps=3)
        event_file(trial.path, 2).unlink()
        index_file(trial.path, 0).write_text("")
        text = rendered(trial.path)
        assert """\
Unreadable
  index/000000000/000000000000_worker_0.json (global step 0): is empty
  tensor w in events/000000000001/000000000001_worker_0.tfevents (global step 1): has no certain reference: \
the index file of a step before it is lost or broken and 1 more
  tensor w in events/000000000002/000000000002_worker_0.tfevents (global step 2): does not exist and 1 more
""" in "".join(sorted(text.splitlines(True), key=lambda line: ("Unr" not in line, "  " not in line, line)))

    def test_many(self) -> None:
        """The first few, and how many more; all of them where that is asked for."""
        report = Report("TRIAL", Rows(), Bounds(Parameters()))
        for number in range(MOST_ENTRIES + 3):
            report.notes.append(SkippedGroup(f"w{number}", "worker_0", "no elements", number, number, 1))
        report.rows.add_unreadable(
            0, [Unreadable(f"f{n}", None, None, -1, "is empty") for n in range(MOST_ENTRIES + 1)]
        )
        text = render_text(report)
        last = MOST_ENTRIES - 1
        assert f"  w{last}: no elements at step {last}\n  and 3 more; --verbose lists them all\n" in text
        assert f"  f{last}: is empty\n  and 1 more; --verbose lists them all\n" in text
        assert f"w{MOST_ENTRIES}:" not in text
        every = render_text(report, verbose=True)
        assert f"w{MOST_ENTRIES + 2}:" in every
        assert "more;" not in every

    def test_long_entries_keep_their_beginning_and_end(self) -> None:
        """In two lines of a narrow terminal."""
        report = Report("TRIAL", Rows(), Bounds(Parameters()))
        file = "events/" + "/".join(f"{n:012d}" for n in range(9))
        report.rows.add_unreadable(
            0, [Unreadable(file, "w", "worker_0", 7, "reads " + "again and " * 30 + "ends in the middle")]
        )
        lines = render_text(report, 60).splitlines()
        (first,) = (number for number, line in enumerate(lines) if line == "Unreadable")
        assert lines[first + 1].startswith("  tensor w in events/0000")
        assert lines[first + 2].endswith("ends in the middle")
        assert lines[first + 3] == ""
        report = Report("TRIAL", Rows(), Bounds(Parameters()))
        report.rows.add_unreadable(0, [Unreadable("a" * 100, None, None, -1, "b" * 100 + " ends")])
        assert f" {'a' * 14}\u2026{'a' * 13}: {'b' * 14}\u2026{'b' * 14} ends " in " ".join(
            render_text(report, 60).split()
        )
        assert max(map(len, lines)) <= 60


class TestColour:
    def test_colour_where_asked_for(self) -> None:
        """The words are the same with it and without."""
        report = check_trial(RECORDED["pytorch_frozen"])
        plain, coloured = (render_text(report, 100, color) for color in (False, True))
        assert "\x1b[" not in plain
        assert "\x1b[1;31mFIRED" in coloured
        assert plain == re.sub("\x1b\\[[0-9;]*m", "", coloured)

    @pytest.mark.parametrize("width", [1, 20, 39])
    def test_a_terminal_of_a_few_columns_wraps_the_lines_itself(self, width: int) -> None:
        """A word a line would be no easier to read."""
        report = check_trial(RECORDED["pytorch_frozen"])
        assert render_text(report, 40) == render_text(report, width)


class TestPrintable:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("größe 重み ✓", "größe 重み ✓"),
            ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
            ("a\nb\tc\r", "a\\nb\\tc\\r"),
            ("\u202eright to left", "\\u202eright to left"),
            ("\ud800", "\\ud800"),
        ],
    )
    def test_escapes(self, name: str, expected: str) -> None:
        """What a terminal obeys, or cannot show, is escaped."""
        assert expected == printable(name)
