"""A run that trains well, or several, as the text of a baseline file: the inverse of ``baseline_file``."""

from __future__ import annotations

import json

import numpy as np

from ..errors import TrialError
from .baseline import LIMITS, Band, Baseline, merged_baselines
from .baseline_file import FORMAT, FORMAT_VERSION
from .judged_run import JudgedRun
from .learning import learn_baseline


def saved_baseline(run: JudgedRun) -> str:
    """Return a run as the text of a baseline file, merged with the baseline that it was judged against.

    Raises:
        TrialError: The run was not judged as a whole, a ratio is not finite, or it fired against the baseline.
    """
    try:
        learnt, known = learn_baseline(run), run.bounds.baseline
        if known is None:
            return baseline_text(learnt)
        if run.fired:
            raise TrialError("it fires against the baseline that it would be added to", "Save it without --baseline.")
        return baseline_text(merged_baselines([(", ".join(run.parameters.baseline), known), (run.trial, learnt)]))
    except TrialError as error:
        raise TrialError(f"the run {run.trial!r} cannot be a baseline: {error.message}", error.remedy) from None


def baseline_text(baseline: Baseline) -> str:
    """Return a baseline as the text of its file."""
    head = {"format": FORMAT, "version": FORMAT_VERSION, **baseline._asdict()}
    bands = head.pop("bands")
    lines = [f"    {json.dumps(tensor)}: {_band_text(band)}" for tensor, band in sorted(bands.items())]
    members = [f"  {json.dumps(name)}: {json.dumps(value)},\n" for name, value in head.items()]
    return "{\n" + "".join(members) + '  "tensors": {\n' + ",\n".join(lines) + "\n  }\n}\n"


def _band_text(band: Band) -> str:
    bins = np.flatnonzero(~np.isnan(band.limits[0]))
    first, end = (int(bins[0]), int(bins[-1]) + 1) if len(bins) else (0, 0)
    lists = [[None if np.isnan(value) else value for value in limits[first:end].tolist()] for limits in band.limits]
    entry = {"gap": band.gap, "rest": band.rest, "first_bin": first, **dict(zip(LIMITS, lists))}
    return json.dumps(entry, separators=(",", ":"), allow_nan=False)
