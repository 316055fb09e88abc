"""The verdict and the findings as plain HTML, for a notebook's cell; it needs no library.

A notebook may be dark or light, and may drop styles: text keeps its colour, and no meaning is in a colour alone.
"""

from __future__ import annotations

from ..findings.judgement import Judgement
from ..findings.kinds import NOTE
from .words.escapes import html_text
from .words.run import run_lines, verdict_sentence, verdict_word
from .words.titles import finding_title

COLORS = {"FIRED": "#b3123a", "OK": "#1a7f37", "NOT JUDGED": "#8a5a00"}  # of white letters' background
BADGE = "color: #fff; padding: .1em .5em; border-radius: .3em; background: "
CARD = "padding: 0 0 0 .8em; margin: .8em 0; border-left: "
FAULT_LINE, NOTE_LINE = "4px solid #b3123a", "4px solid #8c959f; opacity: .8"


def notebook_html(report: Judgement) -> str:
    if not len(report) and report.problem is None:
        return f"<p>{html_text(report.trial)}: nothing is compared yet</p>"
    word, sentence = verdict_word(report), html_text(f"{report.trial}: {verdict_sentence(report)}")
    parts = [f'<p class="verdict"><strong style="{BADGE}{COLORS[word]}">{word}</strong> {sentence}</p>']
    if report.problem is not None:
        parts.append(f"<p>{html_text(report.problem.remedy)}</p>")
    parts += [f'<p class="counts">{html_text(line)}</p>' for line in run_lines(report)]
    for number, finding in enumerate(report.findings, 1):
        parts.append(
            f'<div style="{CARD}{NOTE_LINE if finding.severity == NOTE else FAULT_LINE}">'
            f'<p style="margin: 0"><b>{number}. {finding_title(finding)}</b></p>'
            f'<p style="margin: 0">{html_text(finding.text)}</p>'
            f'<p class="advice" style="margin: 0"><i>{html_text(finding.advice)}</i></p></div>'
        )
    return '<div class="weight-update-ratio">' + "".join(parts) + "</div>"
