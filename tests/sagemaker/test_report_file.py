"""ReportFile: what is written when, and what a disk that refuses does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.reports import made_report
from weight_update_ratio.sagemaker import report_file
from weight_update_ratio.sagemaker.report_file import REPORT_FILE, ReportFile


def rows(folder: Path) -> int:
    return int(json.loads((folder / REPORT_FILE).read_text())["counts"]["comparisons"])


class TestReportFile:
    def test_reports_that_have_taken_long_take_a_tenth_of_the_time(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Then a later report takes an earlier one's place; one that is due at once is written."""
        clock = [0.0]
        monkeypatch.setattr(report_file.time, "monotonic", lambda: clock[0])
        render = report_file.run_document

        def slow(run: object) -> object:
            clock[0] += 2.0
            return render(run)  # type: ignore[arg-type]

        monkeypatch.setattr(report_file, "run_document", slow)
        file = ReportFile(str(tmp_path), print)
        for count in (1, 2, 3):  # two seconds each, so that the next one is due twenty later
            file.write(made_report({"a": [0.1] * count}))
            assert count == rows(tmp_path)
        file.write(made_report({"a": [0.1] * 4}))
        assert 3 == rows(tmp_path)
        clock[0] += 20.5
        file.write(made_report({"a": [0.1] * 5}))
        assert 5 == rows(tmp_path)
        file.write(made_report({"a": [0.1] * 6}), at_once=True)
        assert 6 == rows(tmp_path)

    def test_what_is_not_due_is_written_at_the_end(self, tmp_path: Path) -> None:
        """Once."""
        file = ReportFile(str(tmp_path / "new"), print)
        file.write(made_report({"a": [0.1]}), is_due=False)
        assert not (tmp_path / "new").exists()
        file.close()
        assert 1 == rows(tmp_path / "new")
        (tmp_path / "new" / REPORT_FILE).unlink()
        file.close()
        assert not (tmp_path / "new" / REPORT_FILE).exists()

    def test_a_disk_that_refuses_is_logged_once(self, tmp_path: Path) -> None:
        """And nothing is raised."""
        (tmp_path / "file").write_text("")
        errors: list[str] = []
        file = ReportFile(str(tmp_path / "file"), errors.append)
        for _ in range(3):
            file.write(made_report({"a": [0.1]}), at_once=True)
        assert 1 == len(errors)
        assert errors[0].startswith(f"the report '{tmp_path}/file/{REPORT_FILE}' cannot be written: ")

    def test_no_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing is written."""
        monkeypatch.chdir(tmp_path)
        ReportFile("", print).write(made_report({"a": [0.1]}), at_once=True)
        assert [] == list(tmp_path.iterdir())
