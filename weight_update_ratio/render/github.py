"""A Report as GitHub's workflow commands: annotations of a run, and its job's summary.

    ::error title=TITLE::MESSAGE

Every line is one command, so that no name of a trial can begin a second one. GitHub shows ten annotations of a level:
the first finding of each kind comes before a second one of any, and the notice says how many more there are.

Source: GitHub's "Workflow commands for GitHub Actions"; actions/runner, ``ActionCommand.cs``, for the escapes.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..findings.findings import Finding
from ..findings.judgement import Judgement
from .markdown import render_markdown
from .words.advice import TITLES, kinds_first
from .words.escapes import command_message, command_property, printable
from .words.names import elided
from .words.wording import (
    baseline_line,
    count_line,
    skipped_lines,
    summary_line,
    unreadable_lines,
    verdict_sentence,
    verdict_word,
)

SUMMARY = "GITHUB_STEP_SUMMARY"
TITLE = "WeightUpdateRatio"
MOST_ANNOTATIONS = 10  # of a level; GitHub shows no more of a step
MOST_SENTENCE = 2000  # characters; the runner cuts a message after 4,096, and the advice is at its end


def render_github(report: Judgement) -> str:
    """Return the report as workflow commands, a line each: errors first, then warnings and the verdict."""
    findings = kinds_first(report.findings)
    unreadable = [f"unreadable: {line}" for line in unreadable_lines(report.unreadable)]
    warnings = [f"skipped: {line}" for line in skipped_lines(report)]
    errors = [] if report.problem is None else [command("error", f"{report.problem.message}. {report.problem.remedy}")]
    if report.fired:
        warnings = unreadable + warnings
    else:
        errors += [command("error", text) for text in _most(unreadable, MOST_ANNOTATIONS - len(errors))]
    shown = findings[: MOST_ANNOTATIONS - len(errors)]
    for finding in shown:
        text = elided(printable(finding.text), MOST_SENTENCE)
        errors.append(command("error", f"{text} {finding.advice}", f"{TITLE}: {TITLES[finding.kind]}"))
    commands = [*errors, *(command("warning", text) for text in _most(warnings, MOST_ANNOTATIONS))]
    return (
        "\n".join([*commands, command("notice", _verdict(report, summary_line(report), findings[len(shown) :]))]) + "\n"
    )


def _verdict(report: Judgement, summary: str, left_out: list[Finding]) -> str:
    """Return the verdict, without a problem that an error has told, and the findings that have no annotation."""
    told = report.problem is not None and (report.is_unheld or not report.fired)
    sentence = "" if told else f": {verdict_sentence(report)}"
    sentences = [
        f"{verdict_word(report)} {report.trial}{sentence} ({count_line(report)})",
        summary,
        baseline_line(report),
    ]
    if left_out:
        kinds = ", ".join(dict.fromkeys(TITLES[finding.kind] for finding in left_out))
        plural = "s" * (len(left_out) > 1)
        sentences.append(f"{len(left_out):,} more finding{plural} ({kinds}): --format json lists them all")
    return ". ".join(filter(None, sentences))


def command(level: str, message: str, title: str = TITLE) -> str:
    r"""Return a workflow command, escaped as the runner reads it.

    >>> command("error", "50%: ok", "a,b:c")
    '::error title=a%2Cb%3Ac::50%25: ok'
    """
    return f"::{level} title={command_property(title)}::{command_message(message)}"


def append_summary(report: Judgement) -> None:
    """Append the report as markdown to the file that GITHUB_STEP_SUMMARY names; without one it does nothing.

    Raises:
        OSError: The file cannot be written to.
    """
    name = os.environ.get(SUMMARY)
    if name:
        with Path(name).open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(render_markdown(report) + "\n")


def _most(lines: list[str], most: int) -> list[str]:
    if len(lines) <= most:
        return lines
    return [*lines[: most - 1], f"and {len(lines) - most + 1} more; --format json lists them all"]
