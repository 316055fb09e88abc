"""WeightUpdateRatio: is every weight of a training job updated too much, too little, or not at all?

The open drop-in for the built-in rule of Amazon SageMaker Debugger. ``WeightUpdateRatio`` is the smdebug Rule,
``check_trial`` judges a recorded trial folder without smdebug, and ``TrialRecorder`` records one.
"""

from __future__ import annotations

from .version import __version__ as __version__

TYPE_CHECKING = False  # typing takes milliseconds, in which Ctrl-C would show a traceback
if TYPE_CHECKING:
    from typing import Any

    from .check import check_trial as check_trial
    from .errors import TrialError as TrialError
    from .follow import follow_trial as follow_trial
    from .monitor import RatioMonitor as RatioMonitor
    from .monitor import TrainingFault as TrainingFault
    from .record import TrialRecorder as TrialRecorder
    from .report import Report as Report
    from .rule import WeightUpdateRatio as WeightUpdateRatio

_HOMES = {
    "RatioMonitor": "monitor",
    "TrainingFault": "monitor",
    "Report": "report",
    "TrialError": "errors",
    "TrialRecorder": "record",
    "WeightUpdateRatio": "rule",
    "check_trial": "check",
    "follow_trial": "follow",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    """Import a public name from its module when it is first asked for (PEP 562): smdebug takes seconds."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    """Return the public names, imported or not."""
    return sorted(__all__)
