"""The sentences that all renderings share: verdict, counts, what was skipped and what could not be read."""

from __future__ import annotations

import math
from typing import Iterable

from ...compare.rows import SkippedGroup
from ...errors import TrialError, Unreadable
from ...findings.judgement import Judgement
from ...findings.kinds import NOTE
from ...verdict.bounds import DRIFTED, NOT_FINITE
from ...verdict.firing import ViolationGroup
from .names import counted, more_text, tensors_text, workers_text


def format_ratio(ratio: float) -> str:
    return f"{ratio:.3g}"


def expected_range(lower: float, upper: float) -> str:
    return f"{format_ratio(lower)} to {format_ratio(upper)}"


def steps_text(first: int, last: int) -> str:
    return f"step {first}" if first == last else f"steps {first}-{last}"


def verdict_word(report: Judgement) -> str:
    return "FIRED" if report.fired else "OK" if report.complete else "NOT JUDGED"


def verdict_sentence(report: Judgement) -> str:
    if report.problem is not None and not report.fired:
        return report.problem.message
    compared, lost = f"{len(report):,} update-to-weight ratios", report.counts["unreadable"]
    violations, lasting = report.counts["violations"], int(report.leads.sum())
    notes = sum(finding.severity == NOTE for finding in report.findings)
    if not violations:
        bounds = f"{report.parameters.small_threshold:g} to {report.parameters.large_threshold:g}"
        sentence = "the only update-to-weight ratio is" if len(report) == 1 else f"all {compared} are"
        sentence += f" within {bounds if report.bounds.baseline is None else 'their bounds'}"
    elif report.fired:
        sentence = f"{violations:,} of {compared} {'is a violation' if violations == 1 else 'are violations'}"
    else:
        sentence = f"{violations:,} of {compared} {'is' if violations == 1 else 'are'} out of bounds"
    if report.is_unheld and report.problem is not None:
        sentence += f", and only those that are not finite fire: {report.problem.message}"
    elif violations > lasting:
        of_them = f"{violations - lasting:,} of them " * (lasting > 0)
        sentence += f", {of_them}never {report.parameters.violations_to_fire} in a row"
    if notes and not report.fired:
        sentence += f"; {'no fault, ' * (lasting > 0)}see the note{'s' * (notes > 1)}"
    if not lost:
        return sentence
    unread = f"{counted(lost, 'record')} could not be read"
    return f"{sentence}; {unread}" if report.fired else f"{unread}; of the rest, {sentence}"


def baseline_name(report: Judgement) -> str:
    """Return of how many runs the baseline is made, and how it is applied."""
    baseline, parameters = report.bounds.baseline, report.parameters
    runs = 0 if baseline is None else baseline.runs
    applied = f"factor {parameters.baseline_factor:g}, patience {parameters.violations_to_fire}"
    return f"baseline of {counted(runs, 'run')} ({applied})"


def baseline_line(report: Judgement) -> str:
    """Return what the run was judged against, and how many of its ratios were; an empty string without a baseline."""
    if report.bounds.baseline is None:
        return ""
    name = f"{baseline_name(report).capitalize()}, {', '.join(report.parameters.baseline)}"
    line = f"{name}: {int(report.columns['held'].sum()):,} of {len(report):,} ratios were held against it"
    width = report.bounds.baseline.width
    return line + (f"; its tensors' ratios span {width:.3g}-fold (median)" if math.isfinite(width) else "")


def incomplete(report: Judgement) -> TrialError:
    """Return what to say if something could not be read and nothing fired."""
    first = next(iter(unreadable_lines(report.unreadable)))
    return TrialError(
        f"{verdict_sentence(report)}; the first: {first}",
        "Restore the trial's files from where the training job wrote them, and check it again.",
    )


def run_lines(report: Judgement) -> list[str]:
    """Return the size of all ratios, whether the rule fires although the verdict is OK, the baseline and the counts."""
    steps, literally = len(report.fired_steps), ""
    if steps and verdict_word(report) == "OK":
        it = "it" if steps == 1 else "them"
        literally = f"The rule, literally, fires at {counted(steps, 'step')}: --strict counts {it}"
    return [line for line in (_summary(report), literally, baseline_line(report), _counts(report)) if line]


def _summary(report: Judgement) -> str:
    """Return how large all ratios are, and how far the weights can have moved; empty if no ratio is finite."""
    median, p05, p95, path = report.ratios
    if median is None or p05 is None or p95 is None or path is None:
        return ""
    line = f"Median ratio {format_ratio(median)}, 90% are within {expected_range(p05, p95)}"
    if any((course.references[1:] != course.steps[:-1]).any() for course in report.courses):
        return line  # comparisons overlap, or leave steps out
    way = f"{100 * path:.2g}% of" if path < 0.99 else f"{format_ratio(path)} times"
    return f"{line}; the weights moved by at most {way} their size in all"


def _counts(report: Judgement) -> str:
    counts = report.counts
    nouns = {"steps": f"{report.mode or 'saved'} step", "tensors": "tensor", "workers": "worker"}
    nouns |= {"comparisons": "comparison", "violations": "violation"}
    parts = {name: counted(counts[name], noun) for name, noun in nouns.items()}
    parts["comparisons"] += " in pairs (num_steps=1)" * (report.parameters.num_steps == 1)
    line = f"{', '.join(parts.values())}, {counts['skipped']:,} skipped, {counts['unreadable']:,} unreadable"
    return line + "; the job has not ended" * (len(report) > 0 and not report.job_ended)


def skipped_lines(report: Judgement) -> list[str]:
    """Return a line for each reason and range of steps, with all tensors and workers that were skipped for it."""
    groups: dict[tuple[str, str], list[SkippedGroup]] = {}
    for group in report.skipped:
        if group.tensor is not None:
            groups.setdefault((group.reason, _at_steps(group)), []).append(group)
    lines = []
    for (reason, at_steps), members in groups.items():
        tensors = list(dict.fromkeys(group.tensor for group in members if group.tensor is not None))
        workers = list(dict.fromkeys(group.worker for group in members if group.worker is not None))
        what = tensors_text(tensors, report.tensors) + (workers_text(workers, report.workers) if workers else "")
        count = sum(group.count for group in members)
        lines.append(f"{what}: {reason}{at_steps}" + f" ({count:,} times)" * (count > len(members)))
    return lines + [skipped_line(group) for group in report.skipped if group.tensor is None]


def _at_steps(group: SkippedGroup) -> str:
    first, last = group.first_step, group.last_step
    return "" if first is None or last is None else f" at {steps_text(first, last)}"


def skipped_line(group: SkippedGroup) -> str:
    """Return a line that says what was skipped, why and when; without a tensor it begins with the worker."""
    what = " of ".join(name for name in (group.tensor, group.worker) if name)
    if group.tensor is None:
        return f"{what}: {group.reason}" if what else group.reason  # which names its steps
    return f"{what}: {group.reason}{_at_steps(group)}" + f" ({group.count} times)" * (group.count > 1)


def unreadable_lines(entries: Iterable[Unreadable]) -> Iterable[str]:
    """Yield a line for each file and reason; a missing file takes all its tensors with it."""
    groups: dict[tuple[str, str], list[Unreadable]] = {}
    for entry in entries:
        groups.setdefault((entry.file, entry.reason), []).append(entry)
    for (file, reason), group in groups.items():
        first = group[0]
        what = f"tensor {first.tensor} in " if first.tensor else ""
        more = f" {more_text(len(group) - 1)}" if len(group) > 1 else ""
        step = f" (global step {first.global_step})" if first.global_step >= 0 else ""
        yield f"{what}{file}{step}: {reason}{more}"


def violation_text(report: Judgement, group: ViolationGroup) -> str:
    """Return a group of violations as one sentence, without its tensor."""
    where = f"{report.mode} {steps_text(group.first_step, group.last_step)}"
    if group.verdict == DRIFTED:
        return f"{group.verdict}: the weight norm at {group.count} of {where}, most at step {group.worst_step}"
    has_bounds = report.bounds.baseline is not None and group.verdict != NOT_FINITE
    return (
        f"{group.verdict}: {group.count} at {where}; the worst ratio is {format_ratio(group.worst_ratio)} at step "
        f"{group.worst_step}" + (f", expected {expected_range(group.lower, group.upper)}" if has_bounds else "")
    )
