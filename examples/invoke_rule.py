"""Run the rule over a recorded trial as SageMaker Debugger does, and print where it fired and why.

    python examples/invoke_rule.py examples/trials/pytorch_frozen

``invoke_rule`` asks the rule about one step after the other. It ends with NoMoreData where the trial does: that is
how smdebug says that a job that has ended has no such step, and no error.
"""

from __future__ import annotations

import os
import sys

# smdebug reads both when it is imported: it logs every step to stdout, and waits a second for a trial that has ended.
os.environ.setdefault("SMDEBUG_LOG_LEVEL", "warning")
os.environ.setdefault("SMDEBUG_TRAINING_END_DELAY_REFRESH", "0")

from smdebug.exceptions import NoMoreData
from smdebug.rules import invoke_rule

from weight_update_ratio import TrialError, WeightUpdateRatio


def main(path: str) -> None:
    """Invoke the rule at every step of a trial, and print its report."""
    rule = WeightUpdateRatio(path, num_steps=1, large_threshold=10.0, small_threshold=1e-8)
    try:
        invoke_rule(rule)
    except NoMoreData as end:
        print(f"the trial ends before step {end.step}")
    for name in ("RuleTriggered", "Violations", "Datapoints"):
        print(f"{name}: {rule.report[name]}")
    history = rule.comparisons()
    print(history[history.verdict != "ok"].head(3).to_string(index=False))


if __name__ == "__main__":
    try:
        main(sys.argv[1] if len(sys.argv) > 1 else "examples/trials/pytorch_frozen")
    except TrialError as error:
        sys.exit(f"{error}\n\n{error.remedy}")
