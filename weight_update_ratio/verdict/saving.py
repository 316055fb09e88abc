"""A run that trains well, or several, as the text of a baseline file: the inverse of ``baseline_file``."""

from __future__ import annotations

import json

from ..errors import TrialError
from .baseline import Band, Baseline
from .baseline_file import FORMAT, FORMAT_VERSION
from .judged_run import JudgedRun
from .learning import learn_baseline


def saved_baseline(run: JudgedRun) -> str:
    """Return a run as the text of a baseline file, merged with the baseline that it was judged against.

    Raises:
        TrialError: The run was not judged as a whole, or a ratio is not finite.
    """
    try:
        learnt, known = learn_baseline(run), run.bounds.baseline
    except TrialError as error:
        raise TrialError(f"the run {run.trial!r} cannot be a baseline: {error.message}", error.remedy) from None
    return baseline_text(learnt if known is None else known.merged(learnt))


def baseline_text(baseline: Baseline) -> str:
    """Return a baseline as the text of its file."""
    head = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "runs": baseline.runs,
        "mode": baseline.mode,
        "num_steps": baseline.num_steps,
        "epsilon": baseline.epsilon,
    }
    lines = [f"    {json.dumps(tensor)}: {_band_text(*band)}" for tensor, band in sorted(baseline.bands.items())]
    members = [f"  {json.dumps(name)}: {json.dumps(value)},\n" for name, value in head.items()]
    return "{\n" + "".join(members) + '  "tensors": {\n' + ",\n".join(lines) + "\n  }\n}\n"


def _band_text(gap: int, band: Band) -> str:
    first, last = min(band.extremes), max(band.extremes)
    ends = [band.extremes.get(place, (None, None)) for place in range(first, last + 1)]
    entry = {"gap": gap, "first_bin": first, "low": [low for low, _ in ends], "high": [high for _, high in ends]}
    return json.dumps(entry, separators=(",", ":"), allow_nan=False)
