"""Fuzz a reader of the package, guided by its coverage.

    pip install atheris
    python -m tests.fuzz.fuzz event_file -max_total_time=600
    python -m tests.fuzz.fuzz index -max_total_time=600

Options after the reader's name are libFuzzer's. Inputs that reach new code are kept in a folder in the system's
temporary directory. One that breaks a reader is left in the current directory: move it to ``corpus/`` once the reader
is fixed, and the ordinary tests replay it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["weight_update_ratio"]):
    from tests.fuzz import harness

READERS = {
    "event_file": (harness.fuzz_record, harness.record_seeds),
    "index": (harness.fuzz_index, harness.index_seeds),
}
LIMITS = ("-timeout=10", "-rss_limit_mb=1024", "-max_len=16384")

reader = sys.argv[1]
target, seeds = READERS[reader]
folder = Path(tempfile.gettempdir()) / f"weight_update_ratio_fuzz_{reader}"
folder.mkdir(exist_ok=True)
for number, seed in enumerate(seeds()):
    (folder / f"seed_{number:03d}").write_bytes(seed)
kept = Path(__file__).parent / "corpus" / reader
atheris.Setup([sys.argv[0], *LIMITS, *sys.argv[2:], str(folder), str(kept)], target)
atheris.Fuzz()
