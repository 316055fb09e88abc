"""The words of a finding: its title, one sentence of what happened, and what to do."""

from __future__ import annotations

from typing import Callable, Sequence

import numpy as np

from ...findings.entries import Entry, change_of, is_pure_decay, size_afterwards
from ...findings.findings import Finding, find_findings, numbers_of
from ...findings.judgement import Judgement
from ...findings.kinds import (
    AT_REST,
    CHANGED,
    DECAYED,
    DRIFTED_KIND,
    EXPLODED,
    FAULT,
    FEW,
    FROZEN,
    LOST,
    NOT_FINITE_KIND,
    NOT_YET,
    NOTE,
    NOTHING_MOVED,
    RESTING,
    SHRINKING,
    SPIKE,
    STOPPED,
    TOO_LARGE,
    TOO_SMALL,
    VANISHING,
    ZERO_START,
)
from ...findings.remedies import longer_reference, patience_over, period_of, start_after
from .names import counted, tensors_text, workers_text
from .wording import expected_range, format_ratio, steps_text

TITLES = {
    EXPLODED: "Exploded",
    NOT_FINITE_KIND: "Not finite",
    SPIKE: "Spike",
    ZERO_START: "Began at zero",
    TOO_LARGE: "Too large",
    NOTHING_MOVED: "Nothing moved",
    FROZEN: "Frozen",
    STOPPED: "Stopped",
    VANISHING: "Vanishing",
    TOO_SMALL: "Too small",
    DRIFTED_KIND: "Drifted",
    NOT_YET: "Not moving yet",
    RESTING: "Resting",
    DECAYED: "Only decay",
    CHANGED: "Changed",
}
MOST = 0.8  # of the tensors that move, that a finding is of all
RESOLUTIONS = {"float16": 2048, "bfloat16": 256, "float8_e4m3fn": 16, "float8_e5m2": 8}  # 2 ** (bits of a mantissa + 1)
EVAL_ADVICE = "Only EVAL steps were saved, at which weights rest: save steps in mode TRAIN."


def told_findings(report: Judgement) -> list[Finding]:
    """Return the findings with their words; names in them are as the trial has them."""
    told: dict[str, int] = {}
    found, findings = find_findings(report, report.courses), []
    rises = [each for each in found if each.kind == CHANGED and each.entries[0].factor > 1]
    for number, finding in enumerate(found, 1):
        advice = finding_advice(report, finding)
        if finding.severity == FAULT:
            advice += _rise_before(report, finding, rises)
        first = told.setdefault(advice, number)
        if first != number:
            advice = f"As for finding {first}."
        findings.append(finding._replace(text=finding_text(report, finding), advice=advice))
    return findings


def _rise_before(report: Judgement, finding: Finding, rises: Sequence[Finding]) -> str:
    """Return what rose within its bounds before a fault began, which may be its cause; empty where nothing did."""
    for rise in rises:
        if rise.onset_step < finding.onset_step:
            named, fold = finding_subject(report, rise), _fold(rise)
            return f" Before that, {named} {fold} from step {rise.onset_step} on: look there first."
    if finding.kind in SHRINKING:
        for entry in finding.first:
            onset, factor = change_of(entry.course.until(entry.onset)) or (0, 1.0)
            if factor > 1:
                named, fold = _named(report, [entry]), _fold(finding._replace(entries=(entry._replace(factor=factor),)))
                return f" Before that, {named} {fold} from step {entry.course.steps[onset]} on: look there first."
    return ""


def finding_text(report: Judgement, finding: Finding) -> str:
    """Return what happened, in one sentence with numbers; what others did at about that time is at its end."""
    own = [entry for entry in finding.entries if entry.kind == finding.kind]
    others: dict[str, list[str]] = {}
    for entry in finding.entries:
        if entry.kind != finding.kind:
            others.setdefault(entry.kind, []).append(list(report.tensors)[entry.course.tensor])
    named = [f"{tensors_text(names, report.tensors)} ({TITLES[kind].lower()})" for kind, names in others.items()]
    text = _text(report, finding._replace(**numbers_of(report, own)) if others else finding)
    return f"{text}; with it {', '.join(named)}." if others else f"{text}."


def _text(report: Judgement, finding: Finding) -> str:
    subject = finding_subject(report, finding)
    if finding.kind in LOST:
        return _lost_text(report, finding, subject)
    worst = f"the worst ratio is {format_ratio(finding.worst_ratio)} at step {finding.worst_step}"
    if len(finding.tensors) > 1:
        worst += f" in {finding.worst_tensor}"
    worst += _bounds(report, finding)
    when = _when(report, finding)
    rests = "ratio 0" if finding.worst_ratio == 0 else worst
    is_from_zero = all(entry.course.norms[entry.rows[0]] == 0 for entry in finding.entries)
    if finding.severity == NOTE and finding.kind in SHRINKING:
        return f"{subject} came to rest at the end, {when}: {rests}"
    texts: dict[str, Callable[[], str]] = {
        SPIKE: lambda: f"moved too much for a moment, {when}: {worst}{_back(finding)}{_afterwards(finding)}",
        ZERO_START: lambda: (
            f"moved from weights of zero {when}" if is_from_zero else f"moved much at first, {when}: {worst}"
        ),
        TOO_LARGE: lambda: f"{_course(report, finding, 'rose', 'moved too much')} {when}: {worst}{_back(finding)}",
        NOTHING_MOVED: lambda: f"did not move: ratio 0 {when}",
        FROZEN: lambda: f"never moved, while others did: ratio 0 {when}{_zero_weights(finding)}",
        STOPPED: lambda: f"moved, and no more from step {finding.onset_step} on: ratio 0 {when}",
        VANISHING: lambda: f"{_course(report, finding, 'fell', 'faded')} {when}: {rests}",
        TOO_SMALL: lambda: f"{_course(report, finding, 'fell', 'moved too little')} {when}: {worst}{_back(finding)}",
        DRIFTED_KIND: lambda: (
            f"left the size of the good run's weights {when}: {_its(finding)} norm is "
            f"{format_ratio(_worst_norm(finding))} at step {finding.worst_step}{_bounds(report, finding)}"
        ),
        NOT_YET: lambda: f"rested at first: ratio 0 {when}, and moved later",
        RESTING: lambda: f"rested between moves: ratio 0 {when}",
        DECAYED: lambda: f"moved by weight decay alone {when}: the norm falls by just the norm of the update",
        CHANGED: lambda: (
            f"{_fold(finding)} from {report.mode} step {finding.onset_step} on, within the bounds, "
            "while most others did not"
        ),
    }
    text = f"{subject} {texts[finding.kind]()}{_saved_as(report, finding)}"
    return text + (_bounds(report, finding) if finding.kind in AT_REST else "")


def _worst_norm(finding: Finding) -> float:
    return float(finding.worst.course.norms[finding.worst.worst])


def finding_subject(report: Judgement, finding: Finding) -> str:
    """Return which tensors of which workers a finding is of."""
    subject = tensors_text(finding.tensors, report.tensors) + workers_text(finding.workers, report.workers)
    return f"Others ({subject})" if finding.is_rest else subject


def _when(report: Judgement, finding: Finding) -> str:
    first, last, mode = finding.first_step, finding.last_step, report.mode
    compared = counted(finding.count, "comparison")
    if first == last or all(entry.rows[-1] - entry.rows[0] + 1 == len(entry.rows) for entry in finding.entries):
        return f"at {mode} {steps_text(first, last)} ({compared})"
    return f"at {compared} between {mode} steps {first} and {last}"


def _fold(finding: Finding) -> str:
    """Return how far its ratios went, as "rose 4,000-fold", or "rose up to 4,000-fold" where it has several."""
    factors = [entry.factor for entry in finding.entries if entry.factor != 1]
    factor = max(factors, key=lambda factor: abs(np.log10(factor)))
    verb, size = ("rose", factor) if factor > 1 else ("fell", 1 / factor)
    text = f"{float(f'{size:.2g}'):,.0f}" if 10 <= size < 1e6 else f"{size:.2g}"
    held = all(entry.course.held[entry.rows].all() for entry in finding.entries)
    return f"{verb} {'up to ' * (len(factors) > 1)}{text}-fold{' against the good run' * held}"


def _course(report: Judgement, finding: Finding, verb: str, otherwise: str) -> str:
    """Return how its ratios left their course and their bounds, where they had one; else ``otherwise``."""
    if finding.onset_step == finding.first_step:
        told = [entry for entry in finding.entries if entry.factor != 1 and (entry.factor > 1) == (verb == "rose")]
        return f"{_fold(finding)} and left {_its(finding)} bounds" if told else otherwise
    if all(entry.factor == 1 for entry in finding.entries):
        return otherwise
    return f"{_fold(finding)} from step {finding.onset_step} on, and left {_its(finding)} bounds"


def _its(finding: Finding) -> str:
    return "its" if len(finding.tensors) == 1 else "their"


def _back(finding: Finding) -> str:
    """Return from which step on all tensors are within their bounds again, where that is so."""
    back = []
    for entry in finding.entries:
        rest = entry.course.verdicts[entry.rows[-1] + 1 :][:FEW]
        if len(rest) < FEW or rest.any():
            return ""
        back.append(int(entry.course.steps[entry.rows[-1] + 1]))
    return f"; from step {max(back)} on within the bounds again"


def _afterwards(finding: Finding) -> str:
    """Return how the ratios differ after a spike, where that is by a decade or more."""
    sizes = [size_afterwards(entry.course, entry.rows) for entry in finding.entries]
    size = max(sizes, key=lambda size: abs(np.log10(size)))
    return f", at {size:.2g} times {_its(finding)} former ratio" if abs(np.log10(size)) >= 1 else ""


def _lost_text(report: Judgement, finding: Finding, subject: str) -> str:
    """Return what became NaN or infinite, and what of that was so first, or rose before."""
    entries, onset = finding.entries, finding.onset_step
    lost = min(int(entry.course.steps[entry.course.end]) for entry in entries)
    when = f"NaN or infinite from {report.mode} step {lost} on ({counted(finding.count, 'comparison')})"
    roots = _roots(finding)
    cause = _named(report, roots)
    its, was = ("its", "was") if len(roots) == 1 else ("their", "were")
    rose = tuple(entry for entry in roots if entry.factor > 1)
    large = [int(entry.course.steps[entry.rows[0]]) for entry in roots if entry.rows[0] < entry.course.end]
    if not np.isfinite(roots[0].course.norms[0]):
        start = int(roots[0].course.references[0])
        how = f"{was} NaN or infinite at {its} first saved step already, step {start}"
    elif rose:
        how = f"{_fold(finding._replace(entries=rose))} from step {onset} on"
        how += f", left {its} bounds at step {min(large)}" if large and min(large) > onset else ""
    elif large:
        how = f"moved too much from step {onset} on (ratio {format_ratio(_highest(roots))})"
    elif len(roots) < len(entries):
        how = f"became NaN or infinite first, at step {onset}"
    else:
        usual = ", after updates of usual size" if onset > roots[0].course.steps[0] else ""
        return f"{subject} became {when}{usual}"
    if len(entries) > len(roots) > len(entries) / 2:
        return f"{subject}, most of which {how}, became {when}"
    if len(roots) == len(entries):
        return f"{subject} {how}, and became {when}" if rose or large else f"{subject} {how}: {when}"
    return f"{cause} {how}; then {_within_sentence(finding, subject)} became {when}"


def _named(report: Judgement, entries: Sequence[Entry]) -> str:
    """Return the names of the tensors of entries, and where they are."""
    tensors, workers = list(report.tensors), list(report.workers)
    names = dict.fromkeys(tensors[entry.course.tensor] for entry in entries)
    places = dict.fromkeys(workers[entry.course.worker] for entry in entries)
    return tensors_text(list(names), report.tensors) + workers_text(list(places), report.workers)


def _within_sentence(finding: Finding, subject: str) -> str:
    return subject[0].lower() + subject[1:] if len(finding.tensors) > 1 and subject.startswith("All ") else subject


def _roots(finding: Finding) -> list[Entry]:
    """Return what was not finite from its first saved step on, else what rose first, else what was so first."""
    from_start = [entry for entry in finding.entries if not np.isfinite(entry.course.norms[0])]
    rose = [entry for entry in finding.first if entry.onset < entry.course.end]
    return from_start or rose or [entry for entry in finding.first if entry.onset_step == finding.onset_step]


def _highest(entries: list[Entry]) -> float:
    return max(float(entry.course.ratios[entry.onset : entry.course.end].max()) for entry in entries)


def _zero_weights(finding: Finding) -> str:
    if not _is_all_zero(finding):
        return ""
    return f", and {'its' if len(finding.tensors) == 1 else 'their'} weights are all zero"


def _is_all_zero(finding: Finding) -> bool:
    return not any(entry.course.norms.any() for entry in finding.entries)


def _saved_as(report: Judgement, finding: Finding) -> str:
    """Return what of the recording may be the cause of a rest."""
    if finding.kind not in AT_REST:
        return ""
    if report.only_evaluated:
        return ", all saved as EVAL steps"
    if all(tensor in report.not_trained for tensor in finding.tensors):
        return ", recorded as not trained"
    kind = _low_precision(report, finding)
    return f", of type {kind}" if kind else ""


def _bounds(report: Judgement, finding: Finding) -> str:
    if report.bounds.baseline is None or finding.kind == NOTHING_MOVED:
        return ""
    course, worst = finding.worst.course, finding.worst.worst
    bounds = (course.norm_lower, course.norm_upper) if finding.kind == DRIFTED_KIND else (course.lower, course.upper)
    where = f" at step {finding.worst_step}" if finding.kind in AT_REST else ""
    return f", expected {expected_range(*(float(bound[worst]) for bound in bounds))}{where}"


def _low_precision(report: Judgement, finding: Finding) -> str:
    """Return the type of all tensors of a finding where it cannot hold small changes, or an empty string."""
    own = np.isin(report.columns["tensor"], [report.tensors[tensor] for tensor in finding.tensors])
    names = list(report.rows.types.codes)
    types = {names[code] for code in np.unique(report.columns["type"][own])}
    return types.pop() if len(types) == 1 and types <= RESOLUTIONS.keys() else ""


def _resolution(kind: str) -> str:
    """Return what a type cannot hold; a name of a type begins a sentence as it is."""
    return f"{kind} cannot hold a change below 1/{RESOLUTIONS[kind]} of a weight: keep and save float32 master weights"


def finding_advice(report: Judgement, finding: Finding) -> str:
    """Return what to do, in words that are true for the case; where the baseline is shorter, that comes first."""
    baseline = report.bounds.baseline
    if baseline is None or finding.last_step <= baseline.last_step:
        return _advice(report, finding)
    shorter = f"The baseline ends at step {baseline.last_step}: judge against a good run that is as long as this one."
    return shorter if finding.first_step > baseline.last_step else f"{shorter} {_advice(report, finding)}"


def _advice(report: Judgement, finding: Finding) -> str:
    if report.only_evaluated and finding.kind in AT_REST:
        return EVAL_ADVICE
    advice: dict[str, Callable[[Judgement, Finding], str]] = {
        EXPLODED: _exploded,
        NOT_FINITE_KIND: _not_finite,
        SPIKE: _spike,
        ZERO_START: _zero_start,
        TOO_LARGE: _too_large,
        NOTHING_MOVED: _nothing_moved,
        FROZEN: _frozen,
        STOPPED: _stopped,
        VANISHING: _vanishing,
        TOO_SMALL: _too_small,
        DRIFTED_KIND: _drifted,
        NOT_YET: _not_yet,
        RESTING: _resting,
        DECAYED: _decayed,
        CHANGED: _changed,
    }
    return advice[finding.kind](report, finding)


def _baseline(report: Judgement) -> str:
    """Return the baseline that would let something pass."""
    return "a baseline" if report.bounds.baseline is None else "a good run that does so too"


def _them(finding: Finding) -> str:
    return "it" if len(finding.tensors) == 1 else "them"


def _that(finding: Finding) -> str:
    return "this tensor" if len(finding.tensors) == 1 else "this group"


def _is_of_all(finding: Finding) -> bool:
    return finding.share >= MOST


def _exploded(report: Judgement, finding: Finding) -> str:
    roots = _roots(finding)
    if any(entry.onset == 0 for entry in roots):
        return "Lower the learning rate or warm it up, and clip gradients."
    if len(roots) < len(finding.entries) / 2:
        return (
            f"Look at {_named(report, roots)} first, and at what changed at step {finding.onset_step}; clipping "
            "gradients limits it."
        )
    return (
        f"Look at what changed at step {finding.onset_step} (learning rate, loss scale, data); a lower learning rate "
        "and clipped gradients prevent it."
    )


def _not_finite(report: Judgement, finding: Finding) -> str:
    roots = _roots(finding)
    if not np.isfinite(roots[0].course.norms[0]):
        them = "it" if len(roots) == 1 else "them"
        return f"No update made {them} so: look at the initialisation, or at the checkpoint that was loaded."
    overflow = "an overflow of float16" if _low_precision(report, finding) == "float16" else "an overflow"
    return f"Look at step {finding.onset_step} for NaN in the data or the gradient, {overflow} or a division by zero."


def _spike(report: Judgement, finding: Finding) -> str:
    patience = None if _afterwards(finding) else patience_over(finding.entries)
    return (
        f"Look at what happened at step {finding.onset_step} (a batch, the learning rate, weights that were loaded); "
        f"clipping gradients limits it{_leaving_out(patience, 'patience')}."
    )


def _zero_start(report: Judgement, finding: Finding) -> str:
    start = start_after(finding.entries)
    return f"It is healthy: what begins at zero moves by more than its size{_leaving_out(start, 'start_step')}."


def _leaving_out(value: int | None, parameter: str) -> str:
    return "" if value is None else f"; {parameter}={value} leaves it out"


def _too_large(report: Judgement, finding: Finding) -> str:
    if report.bounds.baseline is not None:
        worst = finding.worst
        if worst.course.upper[worst.worst] <= report.parameters.small_threshold:
            them = _them(finding)
            return f"In the good run {_that(finding)} rests: where it is frozen on purpose, freeze {them} here too."
    if any(entry.onset == 0 for entry in finding.entries):
        less = "Lower the learning rate (or the weight decay), or warm it up"
        return f"{less}." if _is_of_all(finding) else f"{less}, or look at the initialisation of {_that(finding)}."
    return (
        f"Look at what changed at step {finding.onset_step} (learning rate, loss scale, data, weights that were "
        "loaded); clipping gradients limits it."
    )


def _nothing_moved(report: Judgement, finding: Finding) -> str:
    if kind := _low_precision(report, finding):
        return (
            f"The updates may be too small to be saved, because {_resolution(kind)}; where they are not, look at the "
            "learning rate and the optimizer."
        )
    if all(_is_in_pairs(entry) for entry in finding.entries):
        return (
            "Check that the learning rate is not 0, and that the optimizer steps; where gradients are accumulated, "
            "pairs of saved steps may fall between updates: record once an update."
        )
    return (
        "Check that the learning rate is not 0, that the optimizer steps and was given these parameters, and that a "
        "gradient reaches them; a loss scaler may skip every step."
    )


def _frozen(report: Judgement, finding: Finding) -> str:
    them = _them(finding)
    if all(tensor in report.not_trained for tensor in finding.tensors):
        return f"Where that is meant, leave {them} out by trained_only=True or exclude_regex; else train {them}."
    if _is_all_zero(finding):
        return (
            f"Initialise {them} with numbers: of a product whose factors are all zero, as both matrices of an adapter, "
            "no factor gets a gradient."
        )
    trained = (
        f"Give {them} to the optimizer, with requires_grad (trainable) on, and look whether a gradient reaches {them}"
    )
    if kind := _low_precision(report, finding):
        return f"{_resolution(kind)}; else {trained[0].lower()}{trained[1:]}."
    return (
        f"{trained} (dead units, detach, not used); where {_that(finding)} is frozen on purpose, leave {them} out by "
        f"exclude_regex or judge against {_baseline(report)}."
    )


def _stopped(report: Judgement, finding: Finding) -> str:
    if finding.severity == NOTE:
        return "It is healthy: all come to rest together, as where the schedule of the learning rate ends at 0."
    step = finding.onset_step
    if _is_of_all(finding):
        return (
            f"All stop at step {step}: look whether the learning rate is 0 from there on, the optimizer no longer "
            "steps, or no gradient comes, as after large updates that left dead units."
        )
    if kind := _low_precision(report, finding):
        return f"{_resolution(kind)}; else look for dead units or a lost gradient at step {step}."
    return (
        f"Look for dead units or a lost gradient at step {step}; where {_that(finding)} is frozen from there on, or "
        f"trained in turns, on purpose, judge against {_baseline(report)}."
    )


def _vanishing(report: Judgement, finding: Finding) -> str:
    if finding.severity == NOTE:
        return "It is healthy: all come to rest together, as where the schedule of the learning rate ends at 0."
    step = finding.onset_step
    if _is_of_all(finding):
        all_fade = "All fade" if len(finding.entries) > 1 else "It fades"
        return f"{all_fade} from step {step} on: look at the schedule of the learning rate, and at the gradient."
    if kind := _low_precision(report, finding):
        return f"{_resolution(kind)}; else look at the gradient of {_that(finding)} from step {step} on."
    its = _its(finding).capitalize()
    return (
        f"{its} updates fade from step {step} on: look at the gradient (saturated or dead units) and the learning rate "
        f"of {_that(finding)}."
    )


def _too_small(report: Judgement, finding: Finding) -> str:
    has_baseline = report.bounds.baseline is not None
    if all(is_pure_decay(entry.course) for entry in finding.entries):
        return _decayed(report, finding)
    kind = _low_precision(report, finding)
    half = f"; also, {_resolution(kind)}" if kind else ""
    if any(entry.factor < 1 for entry in finding.entries):
        return f"Look at what changed at step {finding.onset_step} (learning rate, gradient){half}."
    start = start_after(finding.entries)
    if (
        not has_baseline
        and any(entry.onset < FEW for entry in finding.entries)
        and start is not None
        and _back(finding)
    ):
        return f"Updates grow later, as where the learning rate warms up: start_step={start} lets it pass."
    if has_baseline and _is_of_all(finding):
        return f"All move less than in the good run: compare the learning rates, and the gradients{half}."
    if has_baseline:
        what = f"compare the gradient and the learning rate of {_that(finding)}"
        return f"The ratio is less than the good run's: {what}{half}."
    if _is_of_all(finding):
        return f"Raise the learning rate, or lower small_threshold where updates this small are wanted{half}."
    return (
        f"Look at the gradient and the learning rate of {_that(finding)}: updates are small against the weights{half}."
    )


def _drifted(report: Judgement, finding: Finding) -> str:
    return "Compare with the good run what sets the size of weights: initialisation, weight decay, a mask or a scale."


def _not_yet(report: Judgement, finding: Finding) -> str:
    start = start_after(finding.entries)
    if finding.severity == NOTE:
        return (
            "It is healthy: a warm-up from 0, skipped first steps or a layer above that begins at zero do this"
            f"{_leaving_out(start, 'start_step')}."
        )
    by = f"start_step={start}" if start is not None else _baseline(report)
    move = min(int(entry.course.steps[entry.course.moves[0]]) for entry in finding.entries)
    return (
        f"Where {_that(finding)} is unfrozen at step {move} on purpose, {by} lets it pass; else look at the gradient "
        "before."
    )


def _resting(report: Judgement, finding: Finding) -> str:
    periods = {period_of(entry) for entry in finding.entries}
    is_note, patience = finding.severity == NOTE, patience_over(finding.entries)
    if any(_is_in_pairs(entry) for entry in finding.entries) and None not in periods:
        return "Some pairs of saved steps hold no update, as where gradients are accumulated: record once an update."
    if len(periods) == 1 and None not in periods:
        why = "gradients are accumulated" if is_note else "optimizers take turns or an average is kept"
        num_steps = int(max(period or 0 for period in periods))
        start = longer_reference(finding.entries, num_steps)
        alike = "" if report.bounds.baseline is None else ", and save the baseline anew with the same num_steps"
        how = "record once an update" if start is None else f"give num_steps={num_steps} with start_step={start}{alike}"
        return f"Moves come every {num_steps} steps, as where {why}: to judge whole updates, {how}."
    if is_note:
        return (
            "It is healthy: all rest at the same steps, as where a loss scaler skips steps whose gradients overflow"
            f"{_leaving_out(patience, 'patience')}."
        )
    if kind := _low_precision(report, finding):
        return f"The updates may be too small to be saved, because {_resolution(kind)}."
    return (
        f"No gradient reached {_them(finding)} there, while others moved: look whether each batch uses "
        f"{_them(finding)}, or layers take turns{_leaving_out(patience, 'patience')}."
    )


def _is_in_pairs(entry: Entry) -> bool:
    """Return whether the comparisons of a tensor are of single steps that are saved in pairs."""
    course = entry.course
    return bool(np.median(course.steps - course.references) < course.gap)


def _decayed(report: Judgement, finding: Finding) -> str:
    them = _them(finding)
    return f"Only weight decay moves {them}: look for dead units, detach, or a part that is not used."


def _changed(report: Judgement, finding: Finding) -> str:
    return f"Where that is not meant, look at what changed for {_that(finding)} at step {finding.onset_step}."
