"""What is timed: each runs in a process of its own and prints one line of JSON.

``docs_rule`` is a rule as smdebug's documentation teaches to write one: it declares the tensors of the current and the
previous step as required, asks for their values, and takes NumPy's norm.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("SMDEBUG_LOG_LEVEL", "error")
os.environ.setdefault("SMDEBUG_TRAINING_END_DELAY_REFRESH", "0")


def docs_rule(location: str) -> int:
    """Judge a trial by the rule that smdebug's documentation leads to."""
    import numpy as np
    from smdebug.rules.rule import Rule

    class DocsRule(Rule):
        def __init__(self, base_trial):
            super().__init__(base_trial=base_trial, action_str="")
            self.compared = 0

        def set_required_tensors(self, step):
            for name in self.base_trial.tensor_names(collection="weights"):
                steps = self.base_trial.tensor(name).prev_steps(step, 2)
                self.req_tensors.add(name, steps)

        def invoke_at_step(self, step):
            fired = False
            for tensor in self.req_tensors.get():
                steps = tensor.prev_steps(step, 2)
                if len(steps) < 2:
                    continue
                before, after = (tensor.value(which) for which in steps)
                ratio = np.linalg.norm(after - before) / (np.linalg.norm(before) + 1e-9)
                self.compared += 1
                fired = fired or ratio > 10.0 or ratio < 1e-8
            return fired

    rule = DocsRule(_trial(location))
    _invoke(rule)
    return rule.compared


def invoked_rule(location: str) -> int:
    """Judge a trial by this package's rule under invoke_rule."""
    from weight_update_ratio import WeightUpdateRatio

    rule = WeightUpdateRatio(_trial(location))
    _invoke(rule)
    return rule.report["Datapoints"]


def check(location: str) -> int:
    """Judge a trial by the check command."""
    from weight_update_ratio.cli import main

    with tempfile.NamedTemporaryFile() as file:
        with contextlib.suppress(SystemExit):
            main(["check", location, "--format", "json", "--output", file.name])
        return int(json.loads(Path(file.name).read_text())["counts"]["comparisons"])


def cat(location: str) -> int:
    """Read the trial's event files and do nothing with them: what the disk, or here the page cache, allows."""
    command = f"find {location}/events -type f -print0 | xargs -0 cat > /dev/null"
    subprocess.run(["/bin/sh", "-c", command], check=True)
    return 0


def _trial(location: str):
    from smdebug.trials import create_trial

    return create_trial(location)


def _invoke(rule) -> None:
    from smdebug.exceptions import NoMoreData
    from smdebug.rules import invoke_rule

    with contextlib.suppress(NoMoreData):
        invoke_rule(rule)


def _peak_memory() -> float:
    """Return this program's peak resident memory in MB; getrusage would count that of the process that forked it."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(peak.split()[1]) / 1024


if __name__ == "__main__":
    what, where = sys.argv[1:]
    compared = {"docs": docs_rule, "rule": invoked_rule, "check": check, "cat": cat}[what](where)
    print(json.dumps({"compared": compared, "memory": _peak_memory()}))
