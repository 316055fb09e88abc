"""What a finding's words speak of: names, steps, numbers and what the recording says, each as it is in a sentence."""

from __future__ import annotations

from typing import Any, Callable, Sequence

import numpy as np

from ...findings.entries import Entry, change_of, is_pure_decay, size_afterwards
from ...findings.findings import Finding
from ...findings.judgement import Judgement
from ...findings.kinds import CHANGED, DRIFTED_KIND, FEW, NOTE, RESTING, SPIKE
from ...findings.remedies import longer_reference, patience_over, period_of, start_after
from .names import counted, tensors_text, workers_text
from .wording import expected_range, format_ratio, steps_text

MOST = 0.8  # of the tensors that move, that a finding is of all
RESOLUTIONS = {"float16": 2048, "bfloat16": 256, "float8_e4m3fn": 16, "float8_e5m2": 8}  # 2 ** (bits of a mantissa + 1)


class Case:
    """A finding of a run; ``case["name"]`` is a field of its words: of FIELDS, an attribute, or what a method gives."""

    def __init__(self, report: Judgement, finding: Finding) -> None:
        self.report, self.finding, self.entries = report, finding, finding.entries
        self.step, self.mode, self.worst_step = finding.onset_step, report.mode, finding.worst_step
        self.has_baseline, self.is_note = report.bounds.baseline is not None, finding.severity == NOTE
        is_one = len(finding.tensors) == 1
        self.most = "All" if finding.share == 1 else "Most"
        self.it, self.its, self.that = ("it", "its", "this tensor") if is_one else ("them", "their", "this group")
        self.baseline = "a good run that does so too" if self.has_baseline else "a baseline"
        self.compared = counted(finding.count, "comparison")
        subject = tensors_text(finding.tensors, report.tensors) + workers_text(finding.workers, report.workers)
        self.subject = f"Others ({subject})" if finding.is_rest else subject
        self.roots = list(finding.first)
        self.is_lost_from_start = not np.isfinite(self.roots[0].course.norms[0])

    def __getitem__(self, name: str) -> Any:
        if name in FIELDS:
            return FIELDS[name](self)
        value = getattr(self, name)
        return value() if callable(value) else value

    def holds(self, condition: str) -> bool:
        """Return whether a condition holds; an empty one does."""
        return not condition or bool(self[condition])

    def named(self, entries: Sequence[Entry]) -> str:
        """Return the names of the tensors of entries, and where they are."""
        tensors, workers = list(self.report.tensors), list(self.report.workers)
        names = dict.fromkeys(tensors[entry.course.tensor] for entry in entries)
        places = dict.fromkeys(workers[entry.course.worker] for entry in entries)
        return tensors_text(list(names), tensors) + workers_text(list(places), workers)

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
        """Return the worst ratio, where it is, and what is expected there."""
        finding = self.finding
        where = f" in {finding.worst_tensor}" if len(finding.tensors) > 1 else ""
        ratio = format_ratio(finding.worst_ratio)
        return f"the worst ratio is {ratio} at step {self.worst_step}{where}{self.bounds()}"

    def bounds(self) -> str:
        """Return the bounds of the worst comparison where they are a baseline's."""
        if not self.has_baseline:
            return ""
        course, at = self.finding.worst.course, self.finding.worst.worst
        is_norm = self.finding.kind == DRIFTED_KIND
        lower, upper = (course.norm_lower, course.norm_upper) if is_norm else (course.lower, course.upper)
        return f", expected {expected_range(float(lower[at]), float(upper[at]))}"

    def fold(self, entries: Sequence[Entry]) -> str:
        """Return how far ratios went, as "rose 4,000-fold", or "rose up to 4,000-fold" where there are several."""
        factors = [entry.factor for entry in entries if entry.factor != 1]
        factor = max(factors, key=lambda factor: abs(np.log10(factor)))
        verb, size = ("rose", factor) if factor > 1 else ("fell", 1 / factor)
        text = f"{float(f'{size:.2g}'):,.0f}" if 10 <= size < 1e6 else f"{size:.2g}"
        held = all(entry.course.held[entry.rows].all() for entry in entries)
        return f"{verb} {'up to ' * (len(factors) > 1)}{text}-fold{' against the good run' * held}"

    def left(self) -> str:
        """Return how its ratios left their course and their bounds."""
        since = f" from step {self.step} on," if self.step != self.finding.first_step else ""
        return f"{self.fold(self.entries)}{since} and left {self.its} bounds"

    def back(self) -> str:
        """Return from which step on all tensors are within their bounds again, where that is so."""
        rests = [entry.course.verdicts[entry.rows[-1] + 1 :][:FEW] for entry in self.entries]
        if any(len(rest) < FEW or rest.any() for rest in rests):
            return ""
        step = max(int(entry.course.steps[entry.rows[-1] + 1]) for entry in self.entries)
        return f"; from step {step} on within the bounds again"

    def afterwards(self) -> str:
        """Return how the ratios differ after a spike, where that is by a decade or more."""
        sizes = [size_afterwards(entry.course, entry.rows) for entry in self.entries]
        size = max(sizes, key=lambda size: abs(np.log10(size)))
        return f", at {size:.2g} times {self.its} former ratio" if abs(np.log10(size)) >= 1 else ""

    def type(self) -> str:
        """Return the type of all tensors where it cannot hold small changes, or an empty string."""
        own = np.isin(self.report.columns["tensor"], [self.report.tensors[tensor] for tensor in self.finding.tensors])
        names = list(self.report.rows.types.codes)
        types = {names[code] for code in np.unique(self.report.columns["type"][own])}
        return types.pop() if len(types) == 1 and types <= RESOLUTIONS.keys() else ""

    def of_type(self) -> str:
        """Return what of the recording may be the cause of a rest."""
        if self.report.only_evaluated:
            return ", all saved as EVAL steps"
        if self["is_not_trained"]:
            return ", recorded as not trained"
        return f", of type {self.type()}" if self.type() else ""

    def resolution(self) -> str:
        """Return what the type cannot hold, and what to do about it."""
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
        if self.is_lost_from_start:
            start = int(roots[0].course.references[0])
            how = f"{was} NaN or infinite at {its} first saved step already, step {start}"
        elif rose:
            how = f"{self.fold(rose)} from step {self.step} on"
            how += f", left {its} bounds at step {min(large)}" if large and min(large) > self.step else ""
        elif large:
            highest = max(float(each.course.ratios[each.onset : each.course.end].max()) for each in roots)
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

    def lowered(self, entries: Sequence[Entry]) -> str:
        """Return the names of entries as they are within a sentence."""
        count = len({entry.course.tensor for entry in entries})
        text = self.named(entries)
        return text[0].lower() + text[1:] if count == len(self.report.tensors) > 1 else text

    def rise_before(self, rises: Sequence[Finding]) -> str:
        """Return what rose within its bounds before a fault began, which may be its cause; empty where nothing did.

        Args:
            rises: Findings of the run that say that ratios rose.
        """
        told = "Before that, {} {} from step {} on: look there first."
        for rise in rises:
            if rise.onset_step < self.step:
                other = Case(self.report, rise)
                return " " + told.format(other.subject, other.fold(rise.entries), rise.onset_step)
        for entry in self.finding.first if self["falls"] and self.finding.kind != CHANGED else ():
            onset, factor = change_of(entry.course.until(entry.onset)) or (0, 1.0)
            if factor > 1:
                fold, step = self.fold([entry._replace(factor=factor)]), int(entry.course.steps[onset])
                return " " + told.format(self.named([entry]), fold, step)
        return ""

    def period(self) -> int | None:
        """Return how many steps moves are apart, where that is regular and the same for all tensors."""
        periods = {period_of(entry) for entry in self.entries}
        return periods.pop() if len(periods) == 1 else None

    def whole_updates(self) -> str:
        """Return with which parameters each comparison is over a whole update."""
        start = longer_reference(self.entries, self.period() or 1)
        anew = ", and save the baseline anew with the same num_steps" if self.has_baseline else ""
        how = f"give num_steps={self.period()} with start_step={start}{anew}"
        return "record once an update" if start is None else how

    def is_in_pairs(self) -> bool:
        """Return whether comparisons are of single steps, which are saved in pairs."""
        return any(np.median(each.course.steps - each.course.references) < each.course.gap for each in self.entries)


def _leaving_out(case: Case, parameter: str, value: int | None) -> str:
    return "" if value is None else f"; {'with --strict, ' * case.is_note}{parameter}={value} leaves it out"


FIELDS: dict[str, Callable[[Case], Any]] = {
    "fold": lambda case: case.fold(case.entries),
    "cause": lambda case: case.named(case.roots),
    "smallest": lambda case: "ratio 0" if case.finding.worst_ratio == 0 else case.worst(),
    "norm": lambda case: format_ratio(float(case.finding.worst.course.norms[case.finding.worst.worst])),
    "bounds_there": lambda case: f"{case.bounds()} at step {case.worst_step}" if case.has_baseline else "",
    "first_move": lambda case: max(int(entry.course.steps[entry.course.moves[0]]) for entry in case.entries),
    "overflow": lambda case: "an overflow of float16" if case.type() == "float16" else "an overflow",
    "also_resolution": lambda case: f"; also, {case.resolution()}" if case.type() else "",
    "or_initialisation": lambda case: "" if case["is_of_all"] else f", or look at the initialisation of {case.that}",
    "start_out": lambda case: _leaving_out(case, "start_step", start_after(case.entries)),
    "patience_out": lambda case: (
        ""
        if case.afterwards() or (case.finding.kind == SPIKE and any(len(entry.rows) > FEW for entry in case.entries))
        else _leaving_out(case, "patience", patience_over(case.entries))
    ),
    "start_or_baseline": lambda case: (
        case.baseline if start_after(case.entries) is None else f"start_step={start_after(case.entries)}"
    ),
    "only_evaluated": lambda case: case.report.only_evaluated,
    "is_of_all": lambda case: case.finding.share >= MOST,
    "rises": lambda case: any(entry.factor > 1 for entry in case.entries),
    "falls": lambda case: any(entry.factor < 1 for entry in case.entries),
    "begins_at_first": lambda case: any(entry.onset == 0 for entry in case.entries),
    "has_few_roots": lambda case: len(case.roots) < len(case.entries) / 2,
    "is_from_zero": lambda case: all(entry.course.norms[entry.rows[0]] == 0 for entry in case.entries),
    "is_all_zero": lambda case: not any(entry.course.norms.any() for entry in case.entries),
    "is_not_trained": lambda case: case.report.not_trained.issuperset(case.finding.tensors),
    "is_pure_decay": lambda case: all(is_pure_decay(entry.course) for entry in case.entries),
    "rested_in_good_run": lambda case: (
        case.has_baseline
        and case.finding.worst.course.upper[case.finding.worst.worst] <= case.report.parameters.small_threshold
    ),
    "grows_later": lambda case: (
        not case.has_baseline and any(entry.onset < FEW for entry in case.entries) and case.back() and case["start_out"]
    ),
    "accumulates": lambda case: case.is_note and case.period(),
    "rests_in_pairs": lambda case: case.is_in_pairs() and None not in {period_of(entry) for entry in case.entries},
}
