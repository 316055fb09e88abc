"""Text for a terminal: exactly what is printed."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from tests.conftest import RECORDED, event_file, index_file
from weight_update_ratio import check_trial
from weight_update_ratio.errors import Unreadable
from weight_update_ratio.judge.comparison import Skipped
from weight_update_ratio.judge.history import History
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.render.text import MOST_LINES, printable, render_text


def rendered(path: Any, **options: Any) -> str:
    """Return the text of a trial, with TRIAL in place of its path."""
    return render_text(check_trial(path, **options).history).replace(str(path), "TRIAL")


class TestVerdictLine:
    def test_nothing_fired(self) -> None:
        """It says how much was compared, and with what bounds."""
        expected = """\
OK  TRIAL: all 76 update-to-weight ratios are within 1e-08 to 10
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

 verdict   tensor   GLOBAL steps   count   worst ratio   at step
 ───────────────────────────────────────────────────────────────
 large     w                   1       1            98         1

Too large: from the first comparison on: lower the learning rate or the loss scale, or warm up.

2 GLOBAL steps, 1 tensor, 1 worker, 1 comparison, 1 violation, 0 skipped, 0 unreadable
"""
        assert expected == rendered(write_trial({"w": [1.0, 99.0]}, modes="GLOBAL").path)


class TestViolations:
    def test_workers_and_notes_where_there_are_any(self, write_trial: Any) -> None:
        """Columns that would say nothing are left out."""
        trial = write_trial({"w": [0.0, 100.0, 101.0], "v": [1.0, 1.0, 2.0]}, workers=("worker_0", "worker_1"))
        expected = """\
FIRED  TRIAL: 4 of 8 update-to-weight ratios are violations

 verdict   tensor   worker     TRAIN steps   count   worst ratio   at step   note
 ──────────────────────────────────────────────────────────────────────────────────────────────────────
 large     w        worker_0             1       1         1e+11         1   reference weights are all zero
 small     v        worker_0             1       1             0         1
 large     w        worker_1             1       1           100         1
 small     v        worker_1             1       1             0         1

Too large: from the first comparison on: lower the learning rate or the loss scale, or warm up.
Not changed at all: some at some steps only: steps that the loss scaler skipped, gradient accumulation, or zero \
gradients.
Began at zero: zero initialisation makes the first update huge: let it pass by a baseline, exclude_regex or start_step.

3 TRAIN steps, 2 tensors, 2 workers, 8 comparisons, 4 violations, 0 skipped, 0 unreadable
"""
        lines = [re.sub("─+", "─", line) for line in expected.splitlines()]
        assert lines == [re.sub("─+", "─", line) for line in rendered(trial.path).splitlines()]

    def test_a_long_name_is_folded_and_not_cut(self, write_trial: Any) -> None:
        """Every character of a name is shown."""
        name = "layer/" * 40
        text = render_text(check_trial(write_trial({name: [1.0, 99.0]}).path).history, width=80)
        rows = text.split("at step\n")[1].split("\n\n")[0].splitlines()[1:]
        assert name == "".join(row[10:].split("  ")[0].strip() for row in rows)
        assert 78 <= max(map(len, rows)) <= 80

    def test_markup_in_names_is_no_markup(self, write_trial: Any) -> None:
        """Names are shown as they are, and what is not a character as an escape."""
        text = rendered(write_trial({"[bold]w[/bold] :smile: \x1b[2J": [1.0, 99.0]}).path)
        assert "[bold]w[/bold] :smile: \\x1b[2J" in text


class TestLists:
    def test_skipped(self, write_trial: Any) -> None:
        """Which tensor, why, at which steps, how many times."""
        trial = write_trial({"w": [1.0, 1.5, 1.6, 1.7], "e": lambda s: np.zeros(0), "r": [1, 2, [1, 2], [1, 3]]})
        assert (
            """\
Skipped
  e: no elements at steps 1-3 (3 times)
  r: shape changed from () to (2,) at step 2
""".replace("  e:", "  e of worker_0:").replace("  r:", "  r of worker_0:")
            in rendered(trial.path)
        )

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
        """Twenty, and how many more."""
        history = History("TRIAL", Parameters())
        for number in range(MOST_LINES + 3):
            history.add_skipped(Skipped(f"w{number}", "worker_0", "TRAIN", 1, 1, "no elements"))
        history.add_unreadable([Unreadable(f"f{n}", None, None, -1, "is empty") for n in range(MOST_LINES + 1)])
        text = render_text(history)
        assert (
            f"w{MOST_LINES - 1} of worker_0: no elements at step 1\n  and 3 more; --format json lists them all\n"
            in text
        )
        assert f"  f{MOST_LINES - 1}: is empty\n  and 1 more; --format json lists them all\n" in text
        assert f"w{MOST_LINES} " not in text


class TestColour:
    def test_colour_where_asked_for(self) -> None:
        """The words are the same with it and without."""
        report = check_trial(RECORDED["pytorch_frozen"])
        plain, coloured = render_text(report.history), render_text(report.history, 160, color=True)
        assert "\x1b[" not in plain
        assert "\x1b[31m" in coloured
        assert plain == re.sub("\x1b\\[[0-9;]*m", "", coloured)

    @pytest.mark.parametrize("width", [1, 20, 60, 77, 300])
    def test_a_terminal_too_narrow_cuts_no_name_and_no_number(self, width: int) -> None:
        """It wraps the lines itself; a name is not folded to a letter a line."""
        report = check_trial(RECORDED["pytorch_frozen"])
        assert render_text(report.history, 100) == render_text(report.history, width)


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
