"""What a person sees of a job while it is followed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.sick_runs import healthy_ratios, ratios_report
from weight_update_ratio.render import live_view
from weight_update_ratio.render.live_view import MOST_LINES, LiveView
from weight_update_ratio.report import Report


def violating(report: Report) -> list[Any]:
    return [row for row in report if row.verdict != "ok"]


def run(workers: int = 2, tensors: int = 3, steps: int = 6) -> Any:
    """Return a function of (worker, tensor, step, ratio), ..., that gives a report and its violations by step."""

    def made(*faults: tuple[int, int, int, float]) -> tuple[Report, dict[int, list[Any]]]:
        ratios = healthy_ratios(workers, tensors, steps)
        for worker, tensor, step, ratio in faults:
            ratios[worker, tensor, step - 1] = ratio
        report = ratios_report([f"layer.{number}" for number in range(tensors)], ratios)
        by_step: dict[int, list[Any]] = {step: [] for step in range(1, steps + 1)}
        for row in violating(report):
            by_step[row.step].append(row)
        return report, by_step

    return made


class TestLines:
    def test_a_line_where_a_verdict_of_a_tensor_begins(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Tensors and workers of one step are one line; what goes on is not said again."""
        report, by_step = run()(
            *((worker, 1, step, 30.0) for worker in (0, 1) for step in (2, 3)),
            *((1, tensor, 4, float("nan")) for tensor in range(3)),
            (0, 0, 5, 1e-9),
        )
        view = LiveView(quiet=False, page=None, fail_fast=False)
        assert not any(view(report, rows) for rows in by_step.values())
        out, err = capsys.readouterr()
        assert "" == out
        assert [
            "TRAIN step 2: too large: layer.1 on all 2 workers, ratio 30 in layer.1",
            "TRAIN step 4: not finite: All 3 tensors on worker_1 only, ratio nan in layer.0",
            "TRAIN step 5: too small: layer.0 on worker_0 only, ratio 1e-09 in layer.0",
        ] == err.splitlines()

    def test_no_more_than_a_few(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A run in which everything begins at a step of its own does not fill the log."""
        count = MOST_LINES + 5
        report, by_step = run(1, count, count)(*((0, number, number + 1, 30.0) for number in range(count)))
        view = LiveView(quiet=False, page=None, fail_fast=False)
        for rows in by_step.values():
            view(report, rows)
        lines = capsys.readouterr().err.splitlines()
        assert MOST_LINES + 1 == len(lines)
        assert "More is not printed here; the report will have all of it." == lines[-1]

    def test_names_are_escaped(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A name cannot command the terminal."""
        report = ratios_report(["\x1b[2J"], healthy_ratios(1, 1, 1) * 1e6)
        LiveView(quiet=False, page=None, fail_fast=False)(report, violating(report))
        assert "\\x1b[2J" in capsys.readouterr().err

    def test_quiet(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Nothing is printed; --fail-fast still ends where something fires."""
        report, by_step = run()((0, 0, 3, 30.0))
        view = LiveView(quiet=True, page=None, fail_fast=True)
        assert [False, False, True, False, False, False] == [view(report, rows) for rows in by_step.values()]
        assert ("", "") == capsys.readouterr()


def test_the_page_is_written_again_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the first step, and then not more often than is worth its time."""
    now = [100.0]
    monkeypatch.setattr(live_view.time, "monotonic", lambda: now[0])

    class Rendered:
        def to_html(self) -> str:
            now[0] += 3
            return f"at {now[0]:g}"

    page = tmp_path / "page.html"
    view = LiveView(quiet=True, page=str(page), fail_fast=False)
    written = []
    for now[0] in (100.0, 110.0, 132.9, 133.0, 140.0):
        view(Rendered(), [])
        written.append(page.read_text())
    assert ["at 103", "at 103", "at 103", "at 136", "at 136"] == written
