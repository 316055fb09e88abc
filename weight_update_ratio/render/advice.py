"""What a person is told of a finding: its title, one sentence of what happened, and one of what to do."""

from __future__ import annotations

from ..judge.findings import Finding, find_findings
from ..judge.history import History
from ..judge.kinds import (
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
    ZERO_START: "Began at zero",
    NOT_YET: "Not moving yet",
    RESTING: "Resting",
}
HALF = "float16"
HALF_ADVICE = (
    "It was saved as float16, which cannot hold a change below 1/2048 of a weight: save float32 master weights, or "
    "leave it out by exclude_regex."
)


def told_findings(history: History) -> list[Finding]:
    """Return the findings with their words, the most urgent first; names in them are as the trial has them."""
    return [
        finding._replace(text=finding_text(history, finding), advice=finding_advice(history, finding))
        for finding in find_findings(history)
    ]


def kinds_first(findings: list[Finding]) -> list[Finding]:
    """Return the first finding of each kind, and then the others: where not all have room, no kind is lost."""
    firsts = list({finding.kind: finding for finding in reversed(findings)}.values())[::-1]
    return firsts + [finding for finding in findings if all(finding is not first for first in firsts)]


def finding_text(history: History, finding: Finding) -> str:
    """Return what happened, in one sentence with numbers."""
    steps = f"{history.mode} {_steps(finding)}"
    compared = f"{finding.count:,} comparison{'s' * (finding.count != 1)}"
    worst = f"{format_ratio(finding.worst_ratio)} at step {finding.worst_step}"
    if len(finding.tensors) > 1:
        worst += f" in {finding.worst_tensor}"
    bounds = f", expected {expected_range(finding.lower, finding.upper)}" if history.bounds.baseline is not None else ""
    texts = {
        NOT_FINITE_KIND: f"became NaN or infinite at {steps} ({compared}){_cause(finding)}",
        TOO_LARGE: f"moved too much at {steps} ({compared}): the worst ratio is {worst}{bounds}",
        NOTHING_MOVED: f"did not move: ratio 0 at {steps} ({compared})",
        VANISHING: f"faded until too small at {steps} ({compared}): the worst ratio is {worst}{bounds}",
        STOPPED: f"moved, and then no more: ratio 0 at {steps} ({compared}){bounds}",
        FROZEN: f"never moved, while others did: ratio 0 at {steps} ({compared}){bounds}",
        SPIKE: f"moved too much for a moment, at {steps} ({compared}): the worst ratio is {worst}{bounds}",
        TOO_SMALL: f"moved too little at {steps} ({compared}): the worst ratio is {worst}{bounds}",
        ZERO_START: f"moved from weights of zero at {steps} ({compared}): the worst ratio is {worst}{bounds}",
        NOT_YET: f"did not move at first: ratio 0 at {steps} ({compared}), and moved later{bounds}",
        RESTING: f"rested between moves: ratio 0 at {_times(history, finding)}{bounds}",
    }
    return f"{finding_subject(history, finding)} {texts[finding.kind]}."


def finding_subject(history: History, finding: Finding) -> str:
    """Return which tensors of which workers a finding is of."""
    subject = tensors_text(finding.tensors, history.tensors) + workers_text(finding.workers, history.workers)
    return f"Others ({subject})" if finding.is_rest else subject


def _steps(finding: Finding) -> str:
    if finding.first_step == finding.last_step:
        return f"step {finding.first_step}"
    return f"steps {finding.first_step}-{finding.last_step}"


def _times(history: History, finding: Finding) -> str:
    """Return how often something was in between other comparisons."""
    if finding.first_step == finding.last_step:
        return f"{history.mode} {_steps(finding)}"
    return f"{finding.count:,} comparisons between {history.mode} steps {finding.first_step} and {finding.last_step}"


def _cause(finding: Finding) -> str:
    if finding.led_up_from is None:
        return ""
    return f", after updates that were too large from step {finding.led_up_from} on"


def finding_advice(history: History, finding: Finding) -> str:
    """Return what to do, in one sentence that is true for the case."""
    half = any(history.dtypes.get(tensor) == HALF for tensor in finding.tensors)
    together = finding.everywhere
    if finding.kind == NOT_FINITE_KIND:
        if finding.led_up_from is not None:
            return "Correct the large updates first: lower the learning rate or warm it up, and clip gradients."
        return f"Look there for NaN in the data, an overflow{' of float16' * half} or a division by zero."
    if finding.kind == TOO_LARGE:
        if finding.from_start:
            return "Lower the learning rate, or warm it up."
        return f"Look at what changed at step {finding.first_step} (learning rate, loss scale, data); clip gradients."
    if finding.kind == SPIKE:
        return "Look at the batch there, and clip gradients; where the run recovers from it, patience=4 lets it pass."
    if finding.kind == ZERO_START:
        return "Zero-initialised tensors do this: let it pass by a baseline, start_step or exclude_regex."
    if history.only_evaluated:
        return "Only EVAL steps were saved, at which weights rest: save TRAIN steps (hook.set_mode(modes.TRAIN))."
    if half and finding.worst_ratio == 0:
        return HALF_ADVICE
    if finding.kind == NOTHING_MOVED:
        return (
            "Check that the learning rate is not 0, that the optimizer steps, and that it was given these parameters; "
            "a loss scaler may skip every step."
        )
    if finding.kind == FROZEN:
        return (
            "Give it to the optimizer and check that it is trainable (requires_grad); where it is frozen on purpose, "
            "leave it out by exclude_regex or judge against a baseline."
        )
    if finding.kind == NOT_YET:
        if together:
            return "A warm-up from a learning rate of 0 does this: let it pass by start_step or a baseline."
        return "If it is unfrozen there on purpose, let it pass by a baseline; else look at its gradient before."
    if finding.kind == STOPPED:
        if together:
            return "The learning rate is 0 from there on: end the schedule with the run, or the run with the schedule."
        return f"If it is not frozen on purpose, look for dead units or a lost gradient at step {finding.first_step}."
    if finding.kind == RESTING:
        if finding.period is not None:
            k = finding.period
            return (
                f"It moves every {k} steps, as with gradients accumulated over {k} steps: give num_steps={k} with "
                f"start_step={k}."
            )
        if together:
            return "All rest at the same steps: a loss scaler skips steps whose gradients overflow."
        return (
            "No gradient reached it at these steps: look whether each batch uses it; patience lets single rests pass."
        )
    if finding.kind == VANISHING:
        if together:
            return "All fade together, as with a learning rate schedule that goes too low: end it earlier or higher."
        return "Its gradient vanishes: look for saturated or dead units, and for underflow of low precision."
    if together:
        return "Raise the learning rate, or lower small_threshold if such small updates are wanted."
    return "Look at its gradient and its learning rate: both are small against its weights."
