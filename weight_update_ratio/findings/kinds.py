"""The kinds of what can happen to a tensor, and which of them are one event."""

from __future__ import annotations

KINDS = (  # most urgent first
    *("exploded", "not_finite", "spike", "zero_start", "too_large"),
    *("nothing_moved", "frozen", "stopped", "vanishing", "too_small"),
    *("drifted", "not_yet", "resting", "decayed", "changed"),
)
EXPLODED, NOT_FINITE_KIND, SPIKE, ZERO_START, TOO_LARGE = KINDS[:5]
NOTHING_MOVED, FROZEN, STOPPED, VANISHING, TOO_SMALL = KINDS[5:10]
DRIFTED_KIND, NOT_YET, RESTING, DECAYED, CHANGED = KINDS[10:]
LOST = (EXPLODED, NOT_FINITE_KIND)
GROWING = (*LOST, SPIKE, TOO_LARGE)
SHRINKING = (STOPPED, VANISHING, TOO_SMALL)
FAULT, NOTE = "fault", "note"
FEW = 3  # comparisons: a spike has no more in a row, and what begins no further apart begins together


def family(kind: str, has_baseline: bool) -> str:
    """Return the first of the kinds that are one event with this one if they begin together.

    >>> family("too_large", False), family("stopped", False), family("stopped", True), family("frozen", True)
    ('exploded', 'stopped', 'exploded', 'frozen')
    """
    if kind in GROWING or (has_baseline and kind in (*SHRINKING, DRIFTED_KIND)):
        return EXPLODED
    return STOPPED if kind in SHRINKING else kind
