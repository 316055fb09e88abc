"""A Report as GitHub's workflow commands: annotations of a run, and its job's summary.

    ::error title=TITLE::MESSAGE

Every line is one command, so that no name of a trial can begin a second one.

Source: GitHub's "Workflow commands for GitHub Actions"; actions/runner, ``ActionCommand.cs``, for the escapes.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..judge.history import History
from .advice import told_findings
from .escapes import command_message, command_property
from .markdown import render_markdown
from .wording import (
    baseline_line,
    count_line,
    skipped_line,
    unreadable_lines,
    verdict_sentence,
    verdict_word,
)

SUMMARY = "GITHUB_STEP_SUMMARY"
TITLE = "WeightUpdateRatio"
MOST_ANNOTATIONS = 10  # of a level; GitHub shows no more of a step


def render_github(report: History) -> str:
    """Return the report as workflow commands, a line each: errors first, then warnings and the verdict."""
    errors = [f"{finding.text} {finding.advice}" for finding in told_findings(report)]
    warnings = [f"skipped: {skipped_line(group)}" for group in report.skipped]
    unreadable = [f"unreadable: {line}" for line in unreadable_lines(report.unreadable)]
    if report.problem is not None:
        errors.append(f"{report.problem}. {report.problem.remedy}")
    if report.fired:
        warnings = unreadable + warnings
    else:
        errors += unreadable
    details = ". ".join(filter(None, [count_line(report), baseline_line(report)]))
    verdict = f"{verdict_word(report)} {report.trial}: {verdict_sentence(report)} ({details})"
    commands = [command("error", text) for text in _most(errors)]
    commands += [command("warning", text) for text in _most(warnings)]
    return "\n".join([*commands, command("notice", verdict)]) + "\n"


def command(level: str, message: str, title: str = TITLE) -> str:
    r"""Return a workflow command, escaped as the runner reads it.

    >>> command("error", "50%: ok", "a,b:c")
    '::error title=a%2Cb%3Ac::50%25: ok'
    """
    return f"::{level} title={command_property(title)}::{command_message(message)}"


def append_summary(report: History) -> None:
    """Append the report as markdown to the file that GITHUB_STEP_SUMMARY names; without one it does nothing.

    Raises:
        OSError: The file cannot be written to.
    """
    name = os.environ.get(SUMMARY)
    if name:
        with Path(name).open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(render_markdown(report) + "\n")


def _most(lines: list[str]) -> list[str]:
    if len(lines) <= MOST_ANNOTATIONS:
        return lines
    return [
        *lines[: MOST_ANNOTATIONS - 1],
        f"and {len(lines) - MOST_ANNOTATIONS + 1} more; --format json lists them all",
    ]
