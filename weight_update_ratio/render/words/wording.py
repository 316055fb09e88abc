"""The sentences that all renderings share: verdict, counts, what was skipped and what could not be read."""

from __future__ import annotations

import math
from typing import Iterable

from ...compare.ratio import DRIFTED, NOT_FINITE
from ...compare.rows import SkippedGroup
from ...errors import TrialError, Unreadable
from ...findings.judgement import Judgement
from ...verdict.violations import ViolationGroup
from .names import tensors_text, workers_text


def format_ratio(ratio: float) -> str:
    """Return a ratio, or a norm, to four digits.

    >>> [format_ratio(ratio) for ratio in (0.0012345, 26504.720005, float("nan"))]
    ['0.001234', '2.65e+04', 'nan']
    """
    return f"{ratio:.4g}" if 1e-4 <= abs(ratio) < 1e4 else f"{ratio:.3g}"


def verdict_sentence(report: Judgement) -> str:
    """Return the report's verdict in one sentence."""
    counts = report.counts
    compared = f"{counts['comparisons']:,} update-to-weight ratios"
    passing = counts["violations"] - int(report.leads.sum())
    in_a_row = f"never {report.parameters.violations_to_fire} in a row"
    if report.fired:
        verb = "is a violation" if counts["violations"] == 1 else "are violations"
        sentence = f"{counts['violations']:,} of {compared} {verb}"
        if report.is_unheld and report.problem is not None:
            sentence += f", and only those that are not finite fire: {report.problem.message}"
        elif passing:
            sentence += f", {passing:,} of them {in_a_row}"
    elif report.problem is not None:
        return report.problem.message
    elif passing:
        sentence = f"{passing:,} of {compared} {'is' if passing == 1 else 'are'} out of bounds, {in_a_row}"
    else:
        one = counts["comparisons"] == 1
        bounds = f"{report.parameters.small_threshold:g} to {report.parameters.large_threshold:g}"
        within = "their bounds" if report.bounds.baseline is not None else bounds
        sentence = (
            f"the only update-to-weight ratio is within {within}" if one else f"all {compared} are within {within}"
        )
    lost = counts["unreadable"]
    if not lost:
        return sentence
    unread = f"{lost:,} record{'s' * (lost != 1)} could not be read"
    return f"{sentence}; {unread}" if report.fired else f"{unread}; of the rest, {sentence}"


def baseline_name(report: Judgement) -> str:
    """Return of how many runs the baseline is made, and how it is applied."""
    baseline, parameters = report.bounds.baseline, report.parameters
    runs = 0 if baseline is None else baseline.runs
    return (
        f"baseline of {runs:,} run{'s' * (runs != 1)} (factor {parameters.baseline_factor:g}, "
        f"patience {parameters.violations_to_fire})"
    )


def baseline_line(report: Judgement) -> str:
    """Return what the run was held against, and how many of its ratios were; an empty string without a baseline."""
    if report.bounds.baseline is None:
        return ""
    width = report.bounds.baseline.width
    return (
        f"B{baseline_name(report)[1:]}, {', '.join(report.parameters.baseline)}: "
        f"{int(report.columns['held'].sum()):,} of {len(report):,} ratios were held against it"
        + (f"; its tensors' ratios span {width:.3g}-fold (median)" if math.isfinite(width) else "")
    )


def incomplete(report: Judgement) -> TrialError:
    """Return what to say where something could not be read and nothing fired."""
    first = next(iter(unreadable_lines(report.unreadable)))
    return TrialError(
        f"{verdict_sentence(report)}; the first: {first}",
        "Restore the trial's files from where the training job wrote them, and check it again.",
    )


def verdict_word(report: Judgement) -> str:
    """Return FIRED, OK or NOT JUDGED."""
    return "FIRED" if report.fired else "OK" if report.complete else "NOT JUDGED"


def summary_line(report: Judgement) -> str:
    """Return how large all ratios are, and which tensors moved away from the others; empty where none is finite."""
    summary = report.ratios
    if summary.median is None or summary.p05 is None or summary.p95 is None:
        return ""
    return (
        f"Median ratio {short_ratio(summary.median)}, 90% are within {short_ratio(summary.p05)} to "
        f"{short_ratio(summary.p95)}"
    )


def skipped_lines(report: Judgement) -> list[str]:
    """Return a line for each reason and range of steps, with all tensors and workers that were skipped for it."""
    groups: dict[tuple[str, int | None, int | None], list[SkippedGroup]] = {}
    lines = []
    for group in report.skipped:
        if group.tensor is None:
            lines.append(skipped_line(group))
        else:
            groups.setdefault((group.reason, group.first_step, group.last_step), []).append(group)
    folded = []
    for (reason, first, last), alike in groups.items():
        tensors = list(dict.fromkeys(group.tensor for group in alike if group.tensor is not None))
        workers = list(dict.fromkeys(group.worker for group in alike if group.worker is not None))
        what = tensors_text(tensors, report.tensors) + (workers_text(workers, report.workers) if workers else "")
        count = sum(group.count for group in alike)
        folded.append(
            f"{what}: {reason}{_at_steps(first, last)}" + (f" ({count:,} times)" if count > len(alike) else "")
        )
    return folded + lines


def _at_steps(first: int | None, last: int | None) -> str:
    return "" if first is None else f" at step {first}" if first == last else f" at steps {first}-{last}"


def skipped_line(group: SkippedGroup) -> str:
    """Return a line that says what was skipped, why and when; without a tensor it begins with the worker."""
    what = " of ".join(name for name in (group.tensor, group.worker) if name)
    if group.tensor is None:
        return f"{what}: {group.reason}" if what else group.reason  # which names its steps
    times = f" ({group.count} times)" if group.count > 1 else ""
    return f"{what}: {group.reason}{_at_steps(group.first_step, group.last_step)}{times}"


def unreadable_lines(entries: Iterable[Unreadable]) -> Iterable[str]:
    """Yield a line for each file and reason; a missing file takes all its tensors with it."""
    groups: dict[tuple[str, str], list[Unreadable]] = {}
    for entry in entries:
        groups.setdefault((entry.file, entry.reason), []).append(entry)
    for (file, reason), group in groups.items():
        first = group[0]
        what = f"tensor {first.tensor} in " if first.tensor else ""
        more = f" and {len(group) - 1} more" if len(group) > 1 else ""
        step = f" (global step {first.global_step})" if first.global_step >= 0 else ""
        yield f"{what}{file}{step}: {reason}{more}"


def count_line(report: Judgement) -> str:
    """Return how much was judged and found, in one line, and whether more may come."""
    counts = report.counts
    parts = [
        f"{counts['steps']:,} {report.mode or 'saved'} step{'s' * (counts['steps'] != 1)}",
        *(
            f"{counts[name]:,} {name[:-1] if counts[name] == 1 else name}"
            for name in ("tensors", "workers", "comparisons", "violations")
        ),
        *(f"{counts[name]:,} {name}" for name in ("skipped", "unreadable")),
    ]
    if report.parameters.num_steps == 1:
        parts[3] += " in pairs (num_steps=1)"
    return ", ".join(parts) + ("; the job has not ended" if len(report) and not report.job_ended else "")


def expected_range(lower: float, upper: float) -> str:
    """Return the bounds of a comparison as a person reads them.

    >>> expected_range(0.0004, 0.00234), expected_range(0.0, 1e-8)
    ('4e-04 to 2.3e-03', '0 to 1e-08')
    """
    return f"{short_ratio(lower)} to {short_ratio(upper)}"


def group_expected(group: ViolationGroup) -> str:
    """Return the bounds that the worst violation of a group left; of one that is not finite an empty string."""
    return "" if group.verdict in (NOT_FINITE, DRIFTED) else expected_range(group.lower, group.upper)


def violation_text(report: Judgement, group: ViolationGroup) -> str:
    """Return a group of violations as one sentence, without its tensor."""
    first, last = group.first_step, group.last_step
    steps = f"step {first}" if first == last else f"steps {first}-{last}"
    if group.verdict == DRIFTED:
        where = f"{group.count} of {report.mode} {steps}"
        return f"{group.verdict}: the weight norm at {where}, most at step {group.worst_step}"
    expected = group_expected(group) if report.bounds.baseline is not None else ""
    return (
        f"{group.verdict}: {group.count} at {report.mode} {steps}; the worst ratio is "
        f"{format_ratio(group.worst_ratio)} at step {group.worst_step}" + (f", expected {expected}" if expected else "")
    )


def short_ratio(ratio: float) -> str:
    """Return a ratio to two digits, or to three where it needs no exponent.

    >>> [short_ratio(ratio) for ratio in (0.00234, 4e-4, 12.5, 0.0)]
    ['2.3e-03', '4e-04', '12.5', '0']
    """
    if ratio == 0 or not math.isfinite(ratio) or 0.1 <= ratio < 1000:
        return f"{ratio:.3g}"
    mantissa, _, exponent = f"{ratio:.1e}".partition("e")
    return f"{mantissa[:-2] if mantissa.endswith('.0') else mantissa}e{exponent}"
