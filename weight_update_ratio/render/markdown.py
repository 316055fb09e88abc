"""A Report as GitHub's markdown, for a pull request's comment or a job's summary.

A comment has at most 65,536 characters, and a name any number, with its escapes five times as many. So sentences and
names are cut before they are escaped: no cut is inside of markup.
"""

from __future__ import annotations

from ..findings.findings import Finding
from ..findings.judgement import Judgement
from ..findings.kinds import NOTE
from ..verdict.bounds import DRIFTED, LARGE, NOT_FINITE, SMALL
from ..verdict.firing import ViolationGroup
from .words import run
from .words.escapes import markdown_code, markdown_text, printable
from .words.names import elided
from .words.titles import finding_title, left_text, with_room

MOST_FINDINGS = 18_000  # characters of all of them, with their escapes
MOST_SENTENCE = 600  # characters without escapes; those of a transformer have 300
MOST_LINES = 10  # of what was skipped, and of what was unreadable
MOST_LINE = 120  # characters of one
OPEN_LINES = 3  # that are not folded
MOST_ROWS = 25
MOST_TENSOR = 40  # characters of a name in the table, so that its columns fit the width of a comment
MOST_WORKER = 20
MOST_TRIAL = 200
SIGNS = {"FIRED": "\u274c", "OK": "\u2705", "NOT JUDGED": "\u26a0\ufe0f"}
URGENCY = (NOT_FINITE, LARGE, SMALL, DRIFTED)


def render_markdown(report: Judgement) -> str:
    word = run.verdict_word(report)
    firing, passing = ([group for group in report.violations if group.fires == fires] for fires in (True, False))
    trial = markdown_code(elided(printable(report.trial), MOST_TRIAL))
    parts = [
        f"### {SIGNS[word]} Weight update ratio: {word}",
        f"{trial}: {_sentence(run.verdict_sentence(report))}",
        _findings(report.findings),
        _problem(report),
        _table(report, "Violations by tensor" if report.fired else "Out of bounds by tensor", firing),
        _table(report, "Violations by tensor that do not fire", passing),
        _lines("Skipped", run.skipped_lines(report)),
        _lines("Unreadable", list(run.unreadable_lines(report.unreadable))),
        *map(_sentence, run.run_lines(report)),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _sentence(text: str, most: int = MOST_SENTENCE) -> str:
    return markdown_text(elided(printable(text), most))


def _findings(findings: list[Finding]) -> str:
    entries = {}
    for number, finding in enumerate(findings, 1):
        mark = "*" if finding.severity == NOTE else "**"
        heading = f"{number}. {mark}{finding_title(finding)}{mark}"
        entries[number] = f"{heading}: {_sentence(finding.text)}\n    {_sentence(finding.advice)}"
    shown = with_room(dict(enumerate(findings, 1)), MOST_FINDINGS, lambda number: len(entries[number]))
    left = left_text(findings, shown, "`--format json`")
    return "\n".join(entries[number] for number in shown) + f"\n\n{left}" * bool(left)


def _problem(report: Judgement) -> str:
    """Return what to do about what ended the judgement, and what that was if the verdict does not say it."""
    if report.problem is None:
        return ""
    is_said = report.is_unheld or not report.fired
    return _sentence(report.problem.remedy if is_said else f"{report.problem.message}. {report.problem.remedy}")


def _table(report: Judgement, title: str, groups: list[ViolationGroup]) -> str:
    """Return a folded table of groups of violations, the most urgent first and then those that last."""
    if not groups:
        return ""
    names = ["tensor", *(["worker"] if len(report.workers) > 1 else [])]
    heads = [*names, f"{report.mode}", "count", "worst ratio"]
    rows = [heads, [":--" if head in names else "--:" for head in heads]]
    groups = sorted(groups, key=lambda group: (URGENCY.index(group.verdict), -group.count, group.first_step))
    for group in groups[:MOST_ROWS]:
        cells = [_name(group.tensor, MOST_TENSOR), _name(group.worker, MOST_WORKER)][: len(names)]
        worst = "weight norm" if group.verdict == DRIFTED else run.format_ratio(group.worst_ratio)
        steps = run.steps_text(group.first_step, group.last_step)
        rows.append([*cells, steps, f"{group.count:,}", worst])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return _folded(title, MOST_ROWS, len(groups), table)


def _name(name: str, most: int) -> str:
    return markdown_code(elided(printable(name), most)).replace("|", r"\|")  # GitHub's tables end a cell there


def _lines(title: str, lines: list[str]) -> str:
    listed = "\n".join(f"- {_sentence(line, MOST_LINE)}" for line in lines[:MOST_LINES])
    if len(lines) > OPEN_LINES:
        return _folded(title, MOST_LINES, len(lines), listed)
    return f"**{title}**\n\n{listed}" if lines else ""


def _folded(title: str, most: int, count: int, content: str) -> str:
    """Return content that a click unfolds; the blank lines make it markdown inside of HTML."""
    shown = f"{count:,}" if count <= most else f"{most:,} of {count:,}"
    return f"<details><summary>{title} ({shown})</summary>\n\n{content}\n\n</details>"
