"""A Report as GitHub's workflow commands: annotations of a run, and its job's summary.

    ::error title=TITLE::MESSAGE

Every line is one command, so that no name of a trial can begin a second one. GitHub shows ten annotations of a level,
and the last notice says how many more findings there are.

Source: GitHub's "Workflow commands for GitHub Actions"; actions/runner, ``ActionCommand.cs``, for the escapes.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..findings.findings import Finding
from ..findings.judgement import Judgement
from .markdown import render_markdown
from .words.escapes import printable
from .words.names import elided, first_lines
from .words.run import run_lines, skipped_lines, unreadable_lines, verdict_sentence, verdict_word
from .words.titles import finding_title, is_failure, left_text, with_room

SUMMARY = "GITHUB_STEP_SUMMARY"
TITLE = "WeightUpdateRatio"
MOST_ANNOTATIONS = 10  # of a level; GitHub shows no more of a step
ALL = "--format json"
MOST_SENTENCE = 2000  # characters; the runner cuts a message after 4,096, and the advice is at its end


def render_github(report: Judgement) -> str:
    unreadable = [f"unreadable: {line}" for line in unreadable_lines(report.unreadable)]
    warnings = [f"skipped: {line}" for line in skipped_lines(report)]
    errors = [] if report.problem is None else [command("error", f"{report.problem.message}. {report.problem.remedy}")]
    if report.fired:
        warnings = unreadable + warnings
    else:
        errors += [command("error", text) for text in first_lines(unreadable, MOST_ANNOTATIONS - len(errors), ALL)]
    numbered = dict(enumerate(report.findings, 1))
    failures = {number: finding for number, finding in numbered.items() if is_failure(report, finding)}
    notes = {number: finding for number, finding in numbered.items() if number not in failures}
    failures, notes = with_room(failures, MOST_ANNOTATIONS - len(errors)), with_room(notes, MOST_ANNOTATIONS - 1)
    is_said = report.problem is not None and (report.is_unheld or not report.fired)  # by an error
    verdict = f"{verdict_word(report)} {report.trial}" + ("" if is_said else f": {verdict_sentence(report)}")
    left = left_text(report.findings, {**failures, **notes}, ALL)
    commands = [
        *errors,
        *(_annotation("error", *each) for each in failures.items()),
        *(command("warning", text) for text in first_lines(warnings, MOST_ANNOTATIONS, ALL)),
        *(_annotation("notice", *each) for each in notes.items()),
        command("notice", ". ".join(filter(None, [verdict, *run_lines(report), left]))),
    ]
    return "\n".join(commands) + "\n"


def _annotation(level: str, number: int, finding: Finding) -> str:
    text = elided(printable(finding.text), MOST_SENTENCE)
    return command(level, f"{text} {finding.advice}", f"{TITLE}: {number}. {finding_title(finding)}")


def command(level: str, message: str, title: str = TITLE) -> str:
    """Return a workflow command, escaped as the runner reads it.

    >>> command("error", "50%: ok", "a,b:c")
    '::error title=a%2Cb%3Ac::50%25: ok'
    """
    message, title = (printable(text).replace("%", "%25") for text in (message, title))
    return f"::{level} title={title.replace(':', '%3A').replace(',', '%2C')}::{message}"


def append_summary(report: Judgement) -> None:
    name = os.environ.get(SUMMARY)
    if name:
        with Path(name).open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(render_markdown(report) + "\n")
