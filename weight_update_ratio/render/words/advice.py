"""The words of a finding: its title, one sentence of what happened, and one of what to do."""

from __future__ import annotations

import numpy as np

from ...findings.findings import Finding, find_findings
from ...findings.judgement import Judgement
from ...findings.kinds import (
    DRIFTED_KIND,
    FROZEN,
    NOT_FINITE_KIND,
    NOT_YET,
    NOTHING_MOVED,
    RESTING,
    SPIKE,
    STOPPED,
    TOO_LARGE,
    TOO_SMALL,
    VANISHING,
    ZERO_START,
)
from .names import tensors_text, workers_text
from .wording import expected_range, format_ratio

TITLES = {
    NOT_FINITE_KIND: "Not finite",
    TOO_LARGE: "Too large",
    NOTHING_MOVED: "Nothing moved",
    VANISHING: "Vanishing",
    STOPPED: "Stopped",
    FROZEN: "Frozen",
    SPIKE: "Spike",
    TOO_SMALL: "Too small",
    DRIFTED_KIND: "Drifted",
    ZERO_START: "Began at zero",
    NOT_YET: "Not moving yet",
    RESTING: "Resting",
}
AT_REST = (NOTHING_MOVED, FROZEN, NOT_YET, STOPPED, RESTING)
RESOLUTIONS = {"float16": 2048, "bfloat16": 256, "float8_e4m3fn": 16, "float8_e5m2": 8}  # 2 ** (bits of a mantissa + 1)
EVAL_ADVICE = "Only EVAL steps were saved, at which weights rest: save steps in mode TRAIN."


def told_findings(report: Judgement) -> list[Finding]:
    """Return the findings with their words, the most urgent first; names in them are as the trial has them."""
    return [
        finding._replace(text=finding_text(report, finding), advice=finding_advice(report, finding))
        for finding in find_findings(report, report.courses)
    ]


def kinds_first(findings: list[Finding]) -> list[Finding]:
    """Return the first finding of each kind, and then the others: where not all have room, no kind is lost."""
    firsts = list({finding.kind: finding for finding in reversed(findings)}.values())[::-1]
    return firsts + [finding for finding in findings if all(finding is not first for first in firsts)]


def finding_text(report: Judgement, finding: Finding) -> str:
    """Return what happened, in one sentence with numbers."""
    when = _when(report, finding)
    worst = f"the worst ratio is {format_ratio(finding.worst_ratio)} at step {finding.worst_step}"
    if len(finding.tensors) > 1:
        worst += f" in {finding.worst_tensor}"
    zero = "ratio 0" if finding.clues.all_zero else "ratio too small and then 0"
    texts = {
        NOT_FINITE_KIND: f"became NaN or infinite {when}{_cause(report, finding)}",
        TOO_LARGE: f"moved too much {when}: {worst}",
        NOTHING_MOVED: f"did not move: ratio 0 {when}",
        VANISHING: f"faded until too small {when}: {worst}",
        STOPPED: f"moved, and then no more: {zero} {when}",
        FROZEN: f"never moved, while others did: ratio 0 {when}",
        SPIKE: f"moved too much for a moment, {when}: {worst}",
        TOO_SMALL: f"moved too little {when}: {worst}",
        DRIFTED_KIND: f"left the size of the good run's weights {when}: their norm is "
        f"{format_ratio(finding.clues.norm)} at step {finding.worst_step}",
        ZERO_START: f"moved from weights of zero {when}: {worst}",
        NOT_YET: f"did not move at first: ratio 0 {when}, and moved later",
        RESTING: f"rested between moves: ratio 0 {when}",
    }
    subject = finding_subject(report, finding)
    return f"{subject} {texts[finding.kind]}{_saved_as(report, finding)}{_bounds(report, finding)}."


def finding_subject(report: Judgement, finding: Finding) -> str:
    """Return which tensors of which workers a finding is of."""
    subject = tensors_text(finding.tensors, report.tensors) + workers_text(finding.workers, report.workers)
    return f"Others ({subject})" if finding.clues.is_rest else subject


def _when(report: Judgement, finding: Finding) -> str:
    first, last, mode = finding.first_step, finding.last_step, report.mode
    compared = f"{finding.count:,} comparison{'s' * (finding.count != 1)}"
    if first == last:
        return f"at {mode} step {first} ({compared})"
    if finding.clues.in_a_row:
        return f"at {mode} steps {first}-{last} ({compared})"
    return f"at {compared} between {mode} steps {first} and {last}"


def _cause(report: Judgement, finding: Finding) -> str:
    clues = finding.clues
    if clues.led_up_from is None:
        return ""
    whose = "" if clues.led_up == finding.tensors else f" of {tensors_text(clues.led_up, report.tensors)}"
    return f", after updates{whose} that were too large from step {clues.led_up_from} on"


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
    if report.bounds.baseline is None or finding.kind in (NOT_FINITE_KIND, NOTHING_MOVED):
        return ""
    where = f" at step {finding.worst_step}" if finding.kind in AT_REST else ""
    return f", expected {expected_range(finding.clues.lower, finding.clues.upper)}{where}"


def _low_precision(report: Judgement, finding: Finding) -> str:
    """Return the type of all tensors of a finding where it cannot hold small changes, or an empty string."""
    own = np.isin(report.columns["tensor"], [report.tensors[tensor] for tensor in finding.tensors])
    names = list(report.rows.types.codes)
    types = {names[code] for code in np.unique(report.columns["type"][own])}
    return types.pop() if len(types) == 1 and types <= RESOLUTIONS.keys() else ""


def _resolution(kind: str) -> str:
    return f"{kind} cannot hold a change below 1/{RESOLUTIONS[kind]} of a weight: keep and save float32 master weights"


def finding_advice(report: Judgement, finding: Finding) -> str:
    """Return what to do, in one sentence that is true for the case; where the baseline is shorter, that comes first."""
    baseline = report.bounds.baseline
    if baseline is None or finding.last_step <= baseline.last_step:
        return _advice(report, finding)
    shorter = f"The baseline ends at step {baseline.last_step}: judge against a good run that is as long as this one."
    return shorter if finding.first_step > baseline.last_step else f"{shorter} {_advice(report, finding)}"


def _advice(report: Judgement, finding: Finding) -> str:
    if report.only_evaluated and finding.kind in AT_REST:
        return EVAL_ADVICE
    advice = {
        NOT_FINITE_KIND: _not_finite,
        TOO_LARGE: _too_large,
        NOTHING_MOVED: _nothing_moved,
        VANISHING: _vanishing,
        STOPPED: _stopped,
        FROZEN: _frozen,
        SPIKE: _spike,
        TOO_SMALL: _too_small,
        DRIFTED_KIND: _drifted,
        ZERO_START: _zero_start,
        NOT_YET: _not_yet,
        RESTING: _resting,
    }
    return advice[finding.kind](report, finding)


def _baseline(report: Judgement) -> str:
    """Return the baseline that would let something pass."""
    return "a baseline" if report.bounds.baseline is None else "a good run that does so too"


def _them(finding: Finding) -> str:
    return "it" if len(finding.tensors) == 1 else "them"


def _that(finding: Finding) -> str:
    return "this tensor" if len(finding.tensors) == 1 else "this group"


def _not_finite(report: Judgement, finding: Finding) -> str:
    if finding.clues.led_up_from is not None:
        return "Correct the large updates first: lower the learning rate or warm it up, and clip gradients."
    overflow = "an overflow of float16" if _low_precision(report, finding) == "float16" else "an overflow"
    return f"Look at the updates up to there for NaN in the data, {overflow} or a division by zero."


def _too_large(report: Judgement, finding: Finding) -> str:
    if report.bounds.baseline is not None and finding.clues.upper <= report.parameters.small_threshold:
        return (
            f"In the good run {_that(finding)} rests: where it is frozen on purpose, freeze {_them(finding)} here too."
        )
    if finding.clues.near_start:
        return "Lower the learning rate (or the weight decay), or warm it up."
    return f"Look at what changed at step {finding.first_step} (learning rate, loss scale, data), and clip gradients."


def _nothing_moved(report: Judgement, finding: Finding) -> str:
    if kind := _low_precision(report, finding):
        return (
            f"The updates may be too small to be saved, because {_resolution(kind)}; where they are not, look at the "
            "learning rate and the optimizer."
        )
    return (
        "Check that the learning rate is not 0, that the optimizer steps and was given these parameters, and that a "
        "gradient reaches them; a loss scaler may skip every step."
    )


def _vanishing(report: Judgement, finding: Finding) -> str:
    if finding.clues.alone:
        return "Look at the schedule of the learning rate, and at the gradient."
    if not finding.clues.fell_away:
        return (
            "Other tensors fade as well: the schedule of the learning rate goes too low, or the loss is near its end."
        )
    if kind := _low_precision(report, finding):
        return f"The gradient vanishes (saturated or dead units), or {_resolution(kind)}."
    return "The gradient vanishes: look for saturated or dead units, and for underflow of low precision."


def _stopped(report: Judgement, finding: Finding) -> str:
    if finding.clues.alone:
        return "Look whether the schedule of the learning rate ends there, and else for dead units or a lost gradient."
    if finding.clues.together and finding.clues.is_gradual:
        return (
            f"All stop together, as where the schedule of the learning rate reaches 0: end the run at step "
            f"{finding.first_step}, or make the schedule as long as the run."
        )
    if finding.clues.together:
        return (
            "All stop at once: look for dead units after large updates, a learning rate that is set to 0, or an "
            "optimizer that no longer steps."
        )
    if kind := _low_precision(report, finding):
        return f"Look for dead units or a lost gradient at step {finding.first_step}; also, {_resolution(kind)}."
    return (
        f"Look for dead units or a lost gradient at step {finding.first_step}; where {_that(finding)} is frozen on "
        f"purpose, judge against {_baseline(report)}."
    )


def _frozen(report: Judgement, finding: Finding) -> str:
    them = _them(finding)
    trained = (
        f"Give {them} to the optimizer, with requires_grad (trainable) on, and look whether a gradient reaches {them}"
    )
    if all(tensor in report.not_trained for tensor in finding.tensors):
        return f"Where that is meant, leave {them} out by trained_only=True or exclude_regex; else train {them}."
    if kind := _low_precision(report, finding):
        return f"{trained}; also, {_resolution(kind)}."
    return (
        f"{trained} (dead units, detach, not used); where {_that(finding)} is frozen on purpose, leave {them} out by "
        f"exclude_regex or judge against {_baseline(report)}."
    )


def _spike(report: Judgement, finding: Finding) -> str:
    if finding.clues.too_large:
        return f"Correct first what is too large: {_that(finding)} is among it."
    if finding.clues.near_start:
        return "Look at the batch there; at the start of a run, warm up the learning rate."
    return "Look at the batch there, and clip gradients; where the run recovers from it, patience=4 lets it pass."


def _too_small(report: Judgement, finding: Finding) -> str:
    clues = finding.clues
    if clues.together and clues.near_start and not clues.to_end:
        return f"All grow later, as in a warm-up: let it pass by start_step or {_baseline(report)}."
    if clues.together and report.bounds.baseline is not None:
        return "All move less than in the good run: compare the learning rates, and the gradients."
    if clues.together:
        return "Raise the learning rate, or lower small_threshold where updates this small are wanted."
    kind = _low_precision(report, finding)
    half = f"; also, {_resolution(kind)}" if kind else ""
    return (
        f"Look at the gradient and the learning rate of {_that(finding)}: updates are small against the weights{half}."
    )


def _drifted(report: Judgement, finding: Finding) -> str:
    return "Compare with the good run what sets the size of weights: initialisation, weight decay, a mask or a scale."


def _zero_start(report: Judgement, finding: Finding) -> str:
    pass_by = "patience" if report.bounds.baseline is not None else "a baseline"
    return f"Zero-initialised tensors do this: let it pass by {pass_by}, start_step or exclude_regex."


def _not_yet(report: Judgement, finding: Finding) -> str:
    if finding.clues.together and finding.clues.is_gradual:
        return f"A warm-up from a learning rate of 0 does this: let it pass by start_step or {_baseline(report)}."
    if finding.clues.together:
        return (
            "A loss scaler that skips the first steps does this, or a learning rate of 0 there: let it pass by "
            f"start_step or {_baseline(report)}."
        )
    if finding.clues.zero_start:
        return (
            "A zero-initialised layer passes back no gradient at first: where that is the reason, let it pass by "
            f"start_step or {_baseline(report)}."
        )
    return (
        f"Where {_that(finding)} is unfrozen there on purpose, let it pass by {_baseline(report)}; else look at the "
        "gradient before."
    )


def _resting(report: Judgement, finding: Finding) -> str:
    clues = finding.clues
    if clues.period is not None:
        alike = "" if report.bounds.baseline is None else ", and save the baseline anew with the same num_steps"
        return (
            f"Moves come every {clues.period} steps, as where gradients are accumulated: give "
            f"num_steps={clues.period} with start_step={clues.full_from}{alike}."
        )
    if clues.together and clues.is_gradual:
        return "All rest at the same steps, as where the schedule of the learning rate touches 0: keep it above 0."
    if clues.together:
        return "All rest at the same steps: a loss scaler skips steps whose gradients overflow."
    if kind := _low_precision(report, finding):
        return f"The updates may be too small to be saved, because {_resolution(kind)}."
    them = _them(finding)
    return f"No gradient reached {them} there: look whether each batch uses {them}; patience lets short rests pass."
