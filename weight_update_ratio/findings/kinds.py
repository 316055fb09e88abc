"""The kinds of what can happen to a tensor, and which of them are one event."""

from __future__ import annotations

EXPLODED = "exploded"
NOT_FINITE_KIND = "not_finite"
SPIKE = "spike"
ZERO_START = "zero_start"
TOO_LARGE = "too_large"
NOTHING_MOVED = "nothing_moved"
FROZEN = "frozen"
STOPPED = "stopped"
VANISHING = "vanishing"
TOO_SMALL = "too_small"
DRIFTED_KIND = "drifted"
NOT_YET = "not_yet"
RESTING = "resting"
DECAYED = "decayed"
CHANGED = "changed"
KINDS = (  # most urgent first
    EXPLODED,
    NOT_FINITE_KIND,
    SPIKE,
    ZERO_START,
    TOO_LARGE,
    NOTHING_MOVED,
    FROZEN,
    STOPPED,
    VANISHING,
    TOO_SMALL,
    DRIFTED_KIND,
    NOT_YET,
    RESTING,
    DECAYED,
    CHANGED,
)
LOST = (EXPLODED, NOT_FINITE_KIND)
GROWING = (*LOST, SPIKE, TOO_LARGE)
SHRINKING = (STOPPED, VANISHING, TOO_SMALL)
AT_REST = (NOTHING_MOVED, FROZEN, NOT_YET, STOPPED, RESTING)
FAULT, NOTE = "fault", "note"
FEW = 3  # comparisons in a row: a spike lasts no longer, and steps are the same that are no further apart


def family(kind: str, has_baseline: bool) -> str:
    """Return the first of the kinds that are one event with this one where they begin together.

    >>> family("too_large", False), family("stopped", False), family("stopped", True), family("frozen", True)
    ('exploded', 'stopped', 'exploded', 'frozen')
    """
    if kind in GROWING or (has_baseline and kind in (*SHRINKING, DRIFTED_KIND)):
        return EXPLODED
    return STOPPED if kind in SHRINKING else kind
