"""The words of a finding: one sentence of what happened and one of what to do.

The first line of its kind in ``texts.txt`` or ``advice.txt`` whose condition holds gives them; see ``_Case``.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Callable, Sequence

import numpy as np

from ...findings.entries import Entry, change_of, is_pure_decay, size_afterwards
from ...findings.findings import Finding, numbers_of, worst_of
from ...findings.judgement import Judgement
from ...findings.kinds import CHANGED, DRIFTED_KIND, FAULT, FEW, LOST, NOTE, RESTING, SPIKE
from ...findings.remedies import longer_reference, patience_over, period_of, start_after
from .names import counted, tensors_text, workers_text
from .run import expected_range, format_ratio, steps_text

MOST = 0.8  # of the tensors that move, that a finding is of all
RESOLUTIONS = {"float16": 2048, "bfloat16": 256, "float8_e4m3fn": 16, "float8_e5m2": 8}  # 2 ** (bits of a mantissa + 1)
LINE = re.compile(r"^([\w, ]+)(?: \? (\w+))?: (.+)$", re.MULTILINE)
BEFORE_THAT = " Before that, {} {} from step {} on: look there first."


def worded_findings(report: Judgement, findings: list[Finding]) -> list[Finding]:
    """Return findings with their words; names in them are as the trial has them."""
    first_with: dict[str, int] = {}  # {advice: number of its finding}
    worded, is_explained = [], False
    rises = [finding for finding in findings if finding.kind == CHANGED and finding.entries[0].factor > 1]
    for number, finding in enumerate(findings, 1):
        advice = _advice(report, finding)
        if finding.severity == FAULT and not is_explained:
            before = _Case(report, finding).rise_before(rises)
            is_explained = bool(before)
            advice += before
        first = first_with.setdefault(advice, number)
        advice = advice if first == number else f"As for finding {first}."
        worded.append(finding._replace(text=_text(report, finding), advice=advice))
    return worded


def _text(report: Judgement, finding: Finding) -> str:
    """Return what happened, in one sentence with numbers; what others did with it is at its end."""
    main = [entry for entry in finding.entries if finding.severity == NOTE or entry.kind == finding.kind]
    if len(main) < len(finding.entries):
        shown = {entry.course.tensor for entry in main}
        others: dict[str, list[str]] = {}
        for entry in finding.entries:
            if entry.course.tensor not in shown:
                others.setdefault(entry.kind, []).append(list(report.tensors)[entry.course.tensor])
        named = [f"{tensors_text(names, report.tensors)} ({kind.replace('_', ' ')})" for kind, names in others.items()]
        text = _words("texts", _Case(report, finding._replace(**numbers_of(report, main))))
        return f"{text}; with it {', '.join(named)}." if others else f"{text}."
    return _words("texts", _Case(report, finding)) + "."


def _advice(report: Judgement, finding: Finding) -> str:
    """Return what to do; if the baseline is shorter, that comes first."""
    baseline, advice = report.bounds.baseline, _words("advice", _Case(report, finding))
    if baseline is None or finding.last_step <= baseline.last_step:
        return advice
    shorter = f"The baseline ends at step {baseline.last_step}: judge against a good run that is as long as this one."
    is_past = finding.first_step > baseline.last_step and finding.kind not in LOST
    return shorter if is_past else f"{shorter} {advice}"


def _words(file: str, case: _Case) -> str:
    lines = (line for line in _lines(file) if case.finding.kind in line[0].split(", "))
    return next(text.format_map(case) for _, condition, text in lines if not condition or case[condition])


@lru_cache(maxsize=None)
def _lines(file: str) -> list[tuple[str, str, str]]:
    """Return (kinds, condition, words) of each line."""
    return LINE.findall((Path(__file__).parent / f"{file}.txt").read_text("utf-8"))


class _Case:
    """A finding of a run; ``case["name"]`` is a field of its words: of FIELDS, an attribute, or what a method gives."""

    def __init__(self, report: Judgement, finding: Finding) -> None:
        self.report, self.finding, self.entries, self.roots = report, finding, finding.entries, finding.first
        self.step, self.mode, self.worst_step = finding.onset_step, report.mode, finding.worst_step
        self.has_baseline, self.is_note = report.bounds.baseline is not None, finding.severity == NOTE
        is_one = len(finding.tensors) == 1
        self.it, self.its, self.that = ("it", "its", "this tensor") if is_one else ("them", "their", "this group")
        self.compared = counted(finding.count, "comparison")
        subject = tensors_text(finding.tensors, report.tensors) + workers_text(finding.workers, report.workers)
        self.subject = f"Others ({subject})" if finding.is_rest else subject
        worst = worst_of(finding.entries)
        self.worst_course, self.worst_row = worst.course, worst.worst

    def __getitem__(self, name: str) -> Any:
        if name in FIELDS:
            return FIELDS[name](self)
        value = getattr(self, name)
        return value() if callable(value) else value

    def named(self, entries: Sequence[Entry]) -> str:
        tensors, workers = list(self.report.tensors), list(self.report.workers)
        names = list(dict.fromkeys(tensors[entry.course.tensor] for entry in entries))
        on = list(dict.fromkeys(workers[entry.course.worker] for entry in entries))
        return tensors_text(names, tensors) + workers_text(on, workers)

    def when(self) -> str:
        """Return at which steps it has violations, and how many."""
        first, last = self.finding.first_step, self.finding.last_step
        steps = np.unique(np.concatenate([entry.course.steps[entry.rows] for entry in self.entries]))
        known = np.unique(np.concatenate([entry.course.steps for entry in self.entries]))
        is_whole = self.finding.kind != RESTING or all(np.ptp(each.rows) < len(each.rows) for each in self.entries)
        if is_whole and len(steps) == np.count_nonzero((known >= first) & (known <= last)):
            return f"at {self.mode} {steps_text(first, last)} ({self.compared})"
        return f"at {self.compared} between {self.mode} steps {first} and {last}"

    def worst(self) -> str:
        where = f" in {self.finding.worst_tensor}" if len(self.finding.tensors) > 1 else ""
        ratio = format_ratio(self.finding.worst_ratio)
        return f"the worst ratio is {ratio} at step {self.worst_step}{where}{self.bounds()}"

    def bounds(self) -> str:
        """Return the bounds of the worst comparison if they are a baseline's."""
        course, is_norm = self.worst_course, self.finding.kind == DRIFTED_KIND
        bounds = (course.norm_lower, course.norm_upper) if is_norm else (course.lower, course.upper)
        return f", expected {expected_range(*(bound[self.worst_row] for bound in bounds))}" if self.has_baseline else ""

    def rise_or_fall(self, entries: Sequence[Entry]) -> str:
        """Return how far ratios went, as "rose 4,000-fold", or "rose up to 4,000-fold" if there are several."""
        factors = [entry.factor for entry in entries if entry.factor != 1]
        factor = max(factors, key=lambda factor: abs(np.log10(factor)))
        verb, size = ("rose", factor) if factor > 1 else ("fell", 1 / factor)
        text = f"{float(f'{size:.2g}'):,.0f}" if 10 <= size < 1e6 else f"{size:.2g}"
        is_held = all(entry.course.held[entry.rows].all() for entry in entries)
        return f"{verb} {'up to ' * (len(factors) > 1)}{text}-fold{' against the good run' * is_held}"

    def left(self) -> str:
        since = f" from step {self.step} on," if self.step != self.finding.first_step else ""
        return f"{self.rise_or_fall(self.entries)}{since} and left {self.its} bounds"

    def back(self) -> str:
        """Return from which step on all tensors are within their bounds again, if that is so."""
        rests = [entry.course.verdicts[entry.rows[-1] + 1 :][:FEW] for entry in self.entries]
        if any(len(rest) < FEW or rest.any() for rest in rests):
            return ""
        step = max(int(entry.course.steps[entry.rows[-1] + 1]) for entry in self.entries)
        return f"; from step {step} on within the bounds again"

    def afterwards(self) -> str:
        """Return how the ratios differ after a spike, if that is by a decade or more."""
        sizes = [size_afterwards(entry.course, entry.rows) for entry in self.entries]
        size = max(sizes, key=lambda size: abs(np.log10(size)))
        return f", at {size:.2g} times {self.its} former ratio" if abs(np.log10(size)) >= 1 else ""

    def type(self) -> str:
        """Return the type of all tensors if it cannot hold small changes, or an empty string."""
        columns, names = self.report.columns, list(self.report.rows.types.codes)
        rows = np.isin(columns["tensor"], [self.report.tensors[tensor] for tensor in self.finding.tensors])
        types = {names[index] for index in np.unique(columns["type"][rows])}
        return types.pop() if len(types) == 1 and types <= RESOLUTIONS.keys() else ""

    def of_type(self) -> str:
        if self.report.only_evaluated:
            return ", all saved as EVAL steps"
        if self["is_not_trained"]:
            return ", recorded as not trained"
        return f", of type {self.type()}" if self.type() else ""

    def resolution(self) -> str:
        share = f"1/{RESOLUTIONS[self.type()]} of a weight"
        return f"{self.type()} cannot hold a change below {share}: keep and save float32 master weights"

    def lost(self) -> str:
        """Return what became NaN or infinite, and what of that was so first, or rose before."""
        entries, roots = self.entries, self.roots
        others = [entry for entry in entries if not any(root is entry for root in roots)]
        rose = [entry for entry in roots if entry.factor > 1]
        large = [int(entry.course.steps[entry.rows[0]]) for entry in roots if entry.rows[0] < entry.course.end]
        later = others if others and not (rose or large) else entries
        step = min(int(entry.course.steps[entry.course.end]) for entry in later)
        lasts = all(entry.course.verdicts[entry.course.end :].all() for entry in entries)
        when = f"NaN or infinite {f'from {self.mode} step {step} on ({self.compared})' if lasts else self.when()}"
        its, was = ("its", "was") if len(roots) == 1 else ("their", "were")
        if self["is_lost_from_start"]:
            start = int(roots[0].course.references[0])
            how = f"{was} NaN or infinite at {its} first saved step already, step {start}"
        elif rose:
            how = f"{self.rise_or_fall(rose)} from step {self.step} on"
            how += f", left {its} bounds at step {min(large)}" if large and min(large) > self.step else ""
        elif large:
            highest = max(float(each.course.ratios[each.onset : each.course.end].max(initial=0)) for each in roots)
            how = f"moved too much from step {self.step} on (ratio {format_ratio(highest)})"
        elif not others:
            usual = ", after updates of usual size" if self.step > roots[0].course.steps[0] else ""
            return f"{self.subject} became {when}{usual}"
        else:
            how = f"became NaN or infinite first, at step {self.step}"
        if not others and len(roots) == len(entries):
            return f"{self.subject} {how}, and became {when}" if rose or large else f"{self.subject} {how}: {when}"
        if len(entries) == len(roots) + len(others) < 2 * len(roots) and (rose or large):
            return f"{self.subject}, most of which {how}, became {when}"
        return f"{self.named(roots)} {how}; then {self.lowered(later)} became {when}"

    def where_lost(self) -> str:
        """Return at which steps the first of it was lost: those between two pairs of saved steps are not seen."""
        course = self.roots[0].course
        end, is_known = course.end, np.isfinite(course.norms[course.end])
        first = max([*course.steps[:end], *course.references[end : end + is_known]]) + 1
        last = course.steps[end] if is_known else course.references[end]
        return f"steps {first} to {last}" if first < last else f"step {last}"

    def lowered(self, entries: Sequence[Entry]) -> str:
        """Return the names of entries within a sentence: "all 3 tensors"."""
        text, count = self.named(entries), len({entry.course.tensor for entry in entries})
        return text[0].lower() + text[1:] if count == len(self.report.tensors) > 1 else text

    def rise_before(self, rises: Sequence[Finding]) -> str:
        """Return what rose within its bounds before a fault began, of the run's ``rises`` or itself, or nothing."""
        for rise in rises:
            if rise.onset_step < self.step:
                case = _Case(self.report, rise)
                return BEFORE_THAT.format(case.subject, case["fold"], rise.onset_step)
        for entry in self.roots if self["falls"] and self.finding.kind != CHANGED else ():
            onset, factor = change_of(entry.course.part(slice(entry.onset))) or (0, 1.0)
            if factor > 1:
                fold, step = self.rise_or_fall([entry._replace(factor=factor)]), int(entry.course.steps[onset])
                return BEFORE_THAT.format(self.named([entry]), fold, step)
        return ""

    def period(self) -> int | None:
        """Return how many steps moves are apart, if that is regular and the same for all tensors."""
        periods = {period_of(entry) for entry in self.entries}
        return periods.pop() if len(periods) == 1 else None

    def whole_updates(self) -> str:
        start = None if self.report.is_measured else longer_reference(self.entries, self.period() or 1)
        anew = ", and save the baseline anew with the same num_steps" if self.has_baseline else ""
        how = f"give num_steps={self.period()} with start_step={start}{anew}"
        return "record once an update" if start is None else how

    def is_in_pairs(self) -> bool:
        """Return whether comparisons are of single steps, which are saved in pairs."""
        return any(np.median(each.course.steps - each.course.references) < each.course.gap for each in self.entries)

    def without(self, parameter: str, value: int | None) -> str:
        return "" if value is None else f"; {'with --strict, ' * self.is_note}{parameter}={value} leaves it out"


FIELDS: dict[str, Callable[[_Case], Any]] = {
    "fold": lambda case: case.rise_or_fall(case.entries),
    "most": lambda case: "All" if case.finding.share == 1 else "Most",
    "baseline": lambda case: "a good run that does so too" if case.has_baseline else "a baseline",
    "cause": lambda case: case.named(case.roots),
    "smallest": lambda case: "ratio 0" if case.finding.worst_ratio == 0 else case.worst(),
    "norm": lambda case: format_ratio(float(case.worst_course.norms[case.worst_row])),
    "bounds_there": lambda case: f"{case.bounds()} at step {case.worst_step}" if case.has_baseline else "",
    "first_move": lambda case: max(int(entry.course.steps[entry.course.moves[0]]) for entry in case.entries),
    "overflow": lambda case: "an overflow of float16" if case.type() == "float16" else "an overflow",
    "also_resolution": lambda case: f"; also, {case.resolution()}" if case.type() else "",
    "or_initialisation": lambda case: "" if case["is_of_all"] else f", or look at the initialisation of {case.that}",
    "start_out": lambda case: case.without("start_step", start_after(case.entries)),
    "patience_out": lambda case: (
        ""
        if case.afterwards() or (case.finding.kind == SPIKE and any(len(entry.rows) > FEW for entry in case.entries))
        else case.without("patience", patience_over(case.entries))
    ),
    "start_or_baseline": lambda case: (
        case["baseline"] if start_after(case.entries) is None else f"start_step={start_after(case.entries)}"
    ),
    "only_evaluated": lambda case: case.report.only_evaluated,
    "is_lost_from_start": lambda case: not np.isfinite(case.roots[0].course.norms[0]),
    "is_of_all": lambda case: case.finding.share >= MOST,
    "rises": lambda case: any(entry.factor > 1 for entry in case.entries),
    "falls": lambda case: any(entry.factor < 1 for entry in case.entries),
    "begins_at_first": lambda case: any(entry.onset == 0 for entry in case.entries),
    "has_few_roots": lambda case: len(case.roots) < len(case.entries) / 2,
    "is_from_zero": lambda case: all(entry.course.norms[entry.rows[0]] == 0 for entry in case.entries),
    "is_all_zero": lambda case: not any(entry.course.norms.any() for entry in case.entries),
    "moves_between": lambda case: any(np.ptp(entry.course.norms) for entry in case.entries),
    "is_not_trained": lambda case: case.report.not_trained.issuperset(case.finding.tensors),
    "is_pure_decay": lambda case: all(is_pure_decay(entry.course) for entry in case.entries),
    "rested_in_good_run": lambda case: (
        case.has_baseline and case.worst_course.upper[case.worst_row] <= case.report.parameters.small_threshold
    ),
    "grows_later": lambda case: (
        not case.has_baseline and any(entry.onset < FEW for entry in case.entries) and case.back() and case["start_out"]
    ),
    "accumulates": lambda case: case.is_note and case.period(),
    "rests_in_pairs": lambda case: case.is_in_pairs() and None not in {period_of(entry) for entry in case.entries},
}
