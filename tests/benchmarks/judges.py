"""What is timed: each runs in a new process and prints one line of JSON.

``docs`` is a rule as smdebug's documentation teaches to write one: it declares the tensors of the current and the
previous step as required, asks for their values, and takes NumPy's norm.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("SMDEBUG_LOG_LEVEL", "error")
os.environ.setdefault("SMDEBUG_TRAINING_END_DELAY_REFRESH", "0")


def docs(location: str) -> int:
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

    return _invoked(DocsRule, location).compared


def rule(location: str) -> int:
    from weight_update_ratio import WeightUpdateRatio

    return _invoked(WeightUpdateRatio, location).report["Datapoints"]


def check(location: str) -> int:
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


def download(location: str) -> int:
    """Get the objects of a trial on S3 that a judge needs, by as many connections as check has."""
    from concurrent.futures import ThreadPoolExecutor

    import boto3
    from botocore.config import Config

    from weight_update_ratio.storage.s3 import REQUESTS_AT_ONCE

    bucket, _, prefix = location[len("s3://") :].partition("/")
    client = boto3.client("s3", config=Config(max_pool_connections=REQUESTS_AT_ONCE))
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/")
    keys = [entry["Key"] for page in pages for entry in page["Contents"]]
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        return sum(pool.map(lambda key: len(client.get_object(Bucket=bucket, Key=key)["Body"].read()), keys))


def empty(location: str) -> int:
    """Read a trial's index as smdebug does for every rule, and judge nothing."""
    from smdebug.rules.rule import Rule

    class EmptyRule(Rule):
        invoked = 0

        def invoke_at_step(self, step):
            self.invoked += 1
            return False

    return _invoked(lambda trial: EmptyRule(trial, action_str=""), location).invoked


def memory(location: str) -> int:
    """Take NumPy's norms of arrays in memory, tensor by tensor in float64: no files, no checks and no rule.

    The weights of two steps take turns, for as many steps as the trial has. What it took is printed by itself. There is
    one thread, because those of OpenBLAS wait actively.
    """
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    import numpy as np

    tensors, elements, steps = map(int, Path(location).name.split("x"))
    random = np.random.default_rng(0)
    both = [[random.standard_normal(elements, np.float32) for _ in range(tensors)] for _ in range(2)]
    norms = [1.0] * tensors
    compared = 0
    started = time.perf_counter()
    for step in range(steps):
        for number in range(tensors):
            wide = both[step % 2][number].astype(np.float64)
            norm = np.sqrt(wide.dot(wide))
            np.subtract(wide, both[1 - step % 2][number], out=wide)
            compared += np.sqrt(wide.dot(wide)) / (norms[number] + 1e-9) > 0
            norms[number] = norm
    print(json.dumps({"seconds": time.perf_counter() - started}))
    return compared


def _invoked(make, location: str):
    """Return the rule that is made of a trial, and has gone through it."""
    from smdebug.exceptions import NoMoreData
    from smdebug.rules import invoke_rule
    from smdebug.trials import create_trial

    rule = make(create_trial(location))
    with contextlib.suppress(NoMoreData):
        invoke_rule(rule)
    return rule


if __name__ == "__main__":
    judge, location = sys.argv[1:]
    compared = int(globals()[judge](location))
    # The peak resident memory in MB; getrusage would count that of the process that forked this one.
    peak = int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1]) / 1024
    print(json.dumps({"compared": compared, "memory": peak}))
