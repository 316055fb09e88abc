"""The good runs that a run is judged against: trial folders, or the files that baselines were saved to."""

from __future__ import annotations

import os

from ..compare.diagnosis import missing_trial
from ..compare.history import history_files, read_history
from ..compare.loop import Loop
from ..compare.mode import TRAIN, judged_mode
from ..errors import TrialError, UnreadableError
from ..parameters import Parameters
from ..storage.location import file_content, open_storage, trial_location
from ..trial.folder import TrialFolder
from .baseline import Baseline, merged_baselines
from .baseline_file import parse_baseline
from .bounds import Bounds
from .facts import concluded, measured
from .judged_run import JudgedRun
from .learning import learn_baseline


def open_bounds(parameters: Parameters) -> Bounds:
    """Return the bounds that the parameters ask for; those of a baseline are read or learnt now.

    Raises:
        TrialError: A baseline cannot be read, is not of a run that trains well, or was not judged alike.
    """
    if not parameters.baseline:
        return Bounds(parameters)
    runs = [(location, _opened_baseline(location, parameters)) for location in parameters.baseline]
    for location, baseline in runs:
        Bounds(parameters._replace(baseline=(location,)), baseline).require_alike(None)
    return Bounds(parameters, merged_baselines(runs))


def _opened_baseline(location: str, parameters: Parameters) -> Baseline:
    """Return the baseline of a file, or learn it from a trial folder, which is judged as the run is."""
    try:
        place = trial_location(location)
        path = os.path.expanduser(place)
        if not place.startswith("s3://") and not os.path.isfile(path) and not os.path.isdir(path):
            what = "it is neither a file nor a folder" if os.path.exists(path) else "it does not exist"
            several = " Of several, each is one of its own: commas do not separate them." if "," in place else ""
            raise TrialError(what, f"Pass a trial folder, an S3 URI, or a file that --save-baseline wrote.{several}")
        files = history_files(place)
        if files:
            own = parameters._replace(baseline=(), patience=None)
            history = read_history(files)
            run = measured(
                JudgedRun(place, history.rows, Bounds(own), history.mode), lambda name: True, history.unreadable
            )
            return learn_baseline(run)
        content = file_content(place)
        return _learnt_baseline(place, parameters) if content is None else parse_baseline(content)
    except UnreadableError as error:
        raise TrialError(
            f"the baseline {location!r} {error}", "Save it anew with --save-baseline, from a run that trains well."
        ) from None
    except TrialError as error:
        raise TrialError(f"the baseline {location!r} cannot be used: {error.message}", error.remedy) from None


def _learnt_baseline(location: str, parameters: Parameters) -> Baseline:
    own = parameters._replace(baseline=(), patience=None)
    folder = TrialFolder(open_storage(location), own)
    missing = missing_trial(folder)
    if missing is not None:
        raise missing
    loop = Loop(folder, judged_mode(folder) or TRAIN)
    for global_step in folder.steps:
        loop.compare(global_step)
    run = concluded(JudgedRun(location, loop.rows, Bounds(own), loop.mode), folder)
    # A pattern that matches nothing there may match something of the run.
    return learn_baseline(run.with_facts(problem=None) if len(run) else run)
