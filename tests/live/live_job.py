"""A training job of two workers, as a process: writes steps into a trial folder, and dies or ends.

    python -m tests.live.live_job FOLDER FIRST END [--hang] [--end] [--seconds S]

It writes the global steps from FIRST to before END; of the first three and every tenth the mode is EVAL. With --hang
it stops in the midst of step END, with one worker's step written and the other's event file without its index, and
waits to be killed. With --end it writes the end-of-job file.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from smdebug.core.modes import ModeKeys
from smdebug.core.writer import FileWriter

from tests.conftest import TrialWriter

WORKERS = ("worker_0", "worker_1")


def mode_of(step: int) -> str:
    return "EVAL" if step < 3 or step % 10 == 9 else "TRAIN"


def number_in_mode(step: int) -> int:
    return sum(mode_of(earlier) == mode_of(step) for earlier in range(step))


def weights(step: int, worker: str) -> dict[str, np.ndarray]:
    """Return what a worker saves: a resumed job computes the same again."""
    trained = sum(mode_of(earlier) == "TRAIN" for earlier in range(step))
    generator = np.random.default_rng([WORKERS.index(worker), trained])
    return {"w": 1 + generator.normal(0, 0.01, 1000), "v": np.float32(2 + generator.normal(0, 0.1, (4, 5)))}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("first", type=int)
    parser.add_argument("end", type=int)
    parser.add_argument("--hang", action="store_true")
    parser.add_argument("--end-job", action="store_true")
    parser.add_argument("--seconds", type=float, default=0.0)
    options = parser.parse_args()
    writer = TrialWriter(options.folder)
    writer.collections({"weights": ["w", "v"]}, workers=WORKERS)
    for step in range(options.first, options.end):
        for worker in WORKERS:
            writer.save(step, weights(step, worker), mode_of(step), number_in_mode(step), worker)
        print(step, flush=True)
        time.sleep(options.seconds)
    if options.hang:
        step = options.end
        writer.save(step, weights(step, "worker_0"), mode_of(step), number_in_mode(step), "worker_0")
        half = FileWriter(trial_dir=options.folder, step=step, worker="worker_1")
        for name, array in weights(step, "worker_1").items():
            half.write_tensor(tdata=array, tname=name, mode=ModeKeys[mode_of(step)], mode_step=number_in_mode(step))
        half.proto_writer.close()
        print("hangs", flush=True)
        time.sleep(600)
    if options.end_job:
        writer.end()


if __name__ == "__main__":
    main()
