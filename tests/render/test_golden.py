"""Each format of the runs in ``golden.py``: as its kept file is, and as its readers read it."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt

from tests.conftest import RECORDED
from tests.render.golden import FILES, FOLDER, RUNS, rendered, run
from tests.reports import check
from weight_update_ratio import check_trial

MARKDOWN = MarkdownIt("commonmark").enable("table").enable("strikethrough")


def strict_json(text: str) -> Any:
    """Parse strict JSON: Python's own parser would take NaN and Infinity."""
    return json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))


@pytest.mark.parametrize("file", FILES)
def test_a_rendering_is_the_kept_one(file: str) -> None:
    """``python -m tests.render.golden`` writes them anew."""
    assert (FOLDER / file).read_text(encoding="utf-8") == rendered(file)


def test_no_kept_file_is_left_over() -> None:
    assert sorted(FILES) == sorted(path.name for path in FOLDER.iterdir())


@pytest.mark.parametrize("name", RUNS)
def test_json_is_strict_and_has_the_same_names_for_every_run(name: str) -> None:
    def names(document: Any) -> dict[str, list[str]]:
        nullable = {"problem", "baseline"}
        return {key: list(value) if isinstance(value, dict) and key not in nullable else [] for key, value in document}

    document = strict_json(run(name).to_json())
    assert names(document.items()) == names(strict_json(run("healthy").to_json()).items())
    assert document["counts"] == run(name).counts


@pytest.mark.parametrize("name", RUNS)
def test_a_ci_system_that_reads_only_junit_never_shows_a_failed_check_as_passed(name: str) -> None:
    """Failures exist exactly where the exit code is 1, errors wherever it is 2; junitparser counts as the file says."""
    junitparser = pytest.importorskip("junitparser")
    report = run(name)
    root = ElementTree.fromstring(report.to_junit())  # noqa: S314  (it is ours)
    assert (report.exit_code == 1) == bool(root.findall(".//failure"))
    assert report.exit_code < 2 or root.findall(".//error")
    cases = [case for suite in junitparser.JUnitXml.fromstring(report.to_junit().encode()) for case in suite]
    kinds = [{type(result).__name__ for result in case.result} for case in cases]
    counts = [sum(kind in own for own in kinds) for kind in ("Failure", "Error", "Skipped")]
    assert [len(cases), *counts] == [int(root.get(name, "")) for name in ("tests", "failures", "errors", "skipped")]
    assert len({(case.classname, case.name) for case in cases}) == len(cases)


@pytest.mark.parametrize("name", RUNS)
def test_every_tag_that_the_markdown_opens_is_closed(name: str) -> None:
    page = MARKDOWN.render(run(name).to_markdown())
    for tag in ("details", "summary", "table", "ol", "ul", "li", "p", "strong", "code"):
        assert page.count(f"<{tag}>") + page.count(f"<{tag} ") == page.count(f"</{tag}>")


@pytest.mark.parametrize("name", RUNS)
def test_github_shows_every_annotation(name: str) -> None:
    """It shows ten of a level in a step, and no more than 4,096 characters of one."""
    lines = run(name).to_github().splitlines()
    levels = [line[2:].split(" ")[0] for line in lines]
    assert levels[-1] == "notice"
    assert max(map(levels.count, ("error", "warning"))) <= 10
    assert max(map(len, lines)) < 4096


@pytest.mark.parametrize(("name", "code"), [("pytorch_healthy", 0), ("pytorch_frozen", 1), ("xgboost", 2)])
def test_the_command_prints_the_report_in_every_format(name: str, code: int) -> None:
    report = check_trial(RECORDED[name])
    for form in ("json", "junit", "github", "markdown"):
        expected = getattr(report, f"to_{form}")() + "\n" * (form == "json")
        assert (code, expected) == check(RECORDED[name], "--format", form)[:2]
