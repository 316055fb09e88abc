"""The smdebug Rule: judges the step it is invoked at, under ``invoke_rule`` or at any step in any order.

smdebug decides when a step is complete. This module reads the step itself, because each call of smdebug's
``prev_steps`` and ``steps`` costs as much as the trial is long.
"""

from __future__ import annotations

import itertools
import os
import time
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np
from smdebug.core.logger import get_logger
from smdebug.exceptions import InsufficientInformationForRuleInvocation, NoMoreData, RuleEvaluationConditionMet
from smdebug.rules.rule import Rule

from .compare.diagnosis import missing_trial
from .compare.loop import Loop
from .compare.references import StepPairs
from .compare.rows import Comparison, Rows
from .errors import TrialError, Unreadable
from .parameters import TABLE, Parameters, baseline_list, documented, parse_parameters, parse_report_dir
from .sagemaker.actions import ActionText, idle_actions, parse_actions
from .sagemaker.report_file import ReportFile
from .storage.location import open_storage, trial_location
from .trial.folder import POLL_SECONDS, TrialFolder
from .trial.index_file import LARGEST_STEP
from .verdict.bounds import LARGE, NOT_FINITE, SMALL
from .verdict.facts import concluded
from .verdict.good_runs import open_bounds
from .verdict.judged_run import JudgedRun, firing_at

if TYPE_CHECKING:
    import pandas

EVENT_FILE_LOOKS = 60  # for an event file that a live job is yet to write; smdebug looks for as long, every 2 seconds


@documented
class WeightUpdateRatio(Rule):  # type: ignore[misc]  # smdebug has no types
    """Fires at a step where a tensor's update is too large or too small for its weights, or not finite.

        ratio = ||w_s - w_r|| / (||w_r|| + epsilon)

    Every parameter may be a string, as SageMaker Debugger passes it.

    Args:
        base_trial: An smdebug Trial, or the path or URI of a trial folder.
        **parameters: Those of check_trial.
        action_str: What to do when the rule fires, as the service's action JSON.
        action_json: The same, under the name that the service uses.
        report_dir: Folder on this machine that gets ``WeightUpdateRatio.json``, the check command's JSON without
            findings, after every step that fires and at the end; the service uploads /opt/ml/processing/output/rule.

    Raises:
        ValueError: A parameter is not valid.
        TrialError: There is nothing at the path that is given as ``base_trial``, or it has another form; or a baseline
            cannot be used.
    """

    def __init__(
        self,
        base_trial: Any,
        num_steps: Any = None,
        large_threshold: Any = 10.0,
        small_threshold: Any = 1e-8,
        epsilon: Any = 1e-9,
        collection_names: Any = "weights",
        tensor_regex: Any = None,
        action_str: Any = "",
        action_json: Any = "",
        report_dir: Any = "",
        exclude_regex: Any = None,
        patience: Any = None,
        baseline: Any = None,
        baseline_factor: Any = 3.0,
    ) -> None:
        given = {**locals(), "baseline": baseline_list(baseline)}
        parameters = parse_parameters(**{name: given[name] for name in TABLE})
        actions = parse_actions(action_str, action_json)
        folder = parse_report_dir(report_dir)
        self._bounds = open_bounds(parameters)
        if isinstance(base_trial, (str, os.PathLike)):
            base_trial = _open_trial(trial_location(base_trial), parameters)
        # By keyword: smdebug <= 1.0.4 has these in another order.
        super().__init__(base_trial=base_trial, action_str=ActionText(actions), other_trials=None)
        for warning in idle_actions(self._actions):
            self.logger.warning(warning)
        self._folder = TrialFolder(open_storage(base_trial.path), parameters, base_trial.range_steps)
        if self._folder.parameters != parameters:  # the trial was saved in pairs
            self._bounds = open_bounds(self._folder.parameters)
        self._is_live = not self._folder.ended
        self._report_file = ReportFile(folder, self.logger.error)
        self._loop: Loop | None = None  # None: it is not known yet which mode is judged
        self._run = JudgedRun(base_trial.path, Rows(), self._bounds)
        self._fired: dict[int, bool] = {}  # what was returned, by global step
        self._asked: list[range] = []  # by smdebug, which passes over some steps
        self._waiting: list[int] = []  # invoked before it was known which mode is judged
        self._refused: TrialError | None = None  # why an ended trial cannot be judged
        self._is_unheld = False  # whether nothing of an ended trial is held against the baseline
        self._late = LARGEST_STEP  # the first step that was compared after it was invoked, or passed over
        self._logged: set[str] = set()
        self._looked = time.monotonic()

    @property
    def report(self) -> dict[str, Any]:
        """The framework's dictionary, of what was compared so far."""
        run, counts = self._run, self._run.counts
        return {
            "RuleTriggered": len(run.fired_steps),
            "Violations": counts["violations"],
            "Datapoints": counts["comparisons"],
            "RuleParameters": "\n".join(f"{name}:{value}" for name, value in run.parameters.as_dict().items()),
            "Details": {
                "mode": run.mode,
                "steps": counts["steps"],
                "skipped": counts["skipped"],
                "unreadable": counts["unreadable"],
                "violations": [group.as_dict() for group in run.violations],
            },
        }

    @report.setter
    def report(self, empty: dict[str, Any]) -> None:
        """Do nothing: smdebug's constructor sets an empty one."""

    def invoke(self, step: int) -> None:
        """Judge a global step once it is complete, as smdebug does it, and do what is due when the trial ends.

        Raises:
            RuleEvaluationConditionMet: The rule fires at this step.
            NoMoreData: The job has ended before this step.
            InsufficientInformationForRuleInvocation: The job has ended, and nothing of its trial can be compared.
        """
        first = self._asked.pop().start if self._asked and self._asked[-1].stop == step else step
        self._asked.append(range(first, step + 1))
        try:
            super().invoke(step)
        except NoMoreData:
            if self._is_live:
                self._compare_again(self._folder.look_once_more())
            loop = self._settle_loop()
            late = [] if loop is None else self._finish(loop, is_over=True)
            if late:
                self._actions.invoke()
                raise RuleEvaluationConditionMet(self.rule_name, late[0]) from None
            raise

    def invoke_at_step(self, step: int) -> bool:
        """Return whether the rule fires at this global step.

        Raises:
            InsufficientInformationForRuleInvocation: The job has ended, and its trial cannot be judged.
        """
        if self._refused is not None:
            self._raise_insufficient(self._refused)
        if step in self._fired:
            return self._fired[step]
        self._look_for(step)
        loop = self._settle_loop()
        if loop is None:
            self._waiting.append(step)
            return False
        self._await_event_files(step)
        if not self._folder.ended and not self._folder.workers_at(step):
            return False  # it may come yet
        fired = self._compare(loop, [*self._waiting, step])
        self._waiting = []
        if self._folder.ended and (self._has_all(loop) or step >= self._folder.steps[-1]):
            return bool(self._finish(loop)) or fired
        self._report_file.write(self._run, is_due=fired)
        return fired

    def comparisons(self) -> pandas.DataFrame:
        """Return the history so far: a row a comparison, with tensor, worker, mode, steps, norms, ratio and verdict."""
        return self._run.comparisons()

    def _repr_html_(self) -> str | None:
        """Return the verdict so far and the grouped violations, as a notebook shows them."""
        try:
            from .report import Report
        except (ImportError, KeyError):  # the rule as one source file, without the package; KeyError: run by exec
            return None
        return Report(**vars(self._run.with_facts()), strict=True)._repr_html_()

    def _look_for(self, step: int) -> None:
        """List the index again where a live job may have added to what is known of this step."""
        folder = self._folder
        known = folder.workers_at(step) >= folder.collections.num_workers or folder.last_complete > step
        if not known or (self._loop is None and time.monotonic() - self._looked >= POLL_SECONDS):
            self._looked = time.monotonic()
            self._compare_again(self._folder.refresh(step))

    def _compare_again(self, first: int | None) -> None:
        """Compare again what was compared of the steps from the first changed one on; None: no step changed."""
        if first is not None and self._loop is not None:
            steps = sorted(step for step in self._loop.done if step >= first)
            self._loop.cut(first)
            for step in steps:
                self._loop.compare(step)
            self._late = min([self._late, *steps])

    def _settle_loop(self) -> Loop | None:
        """Return the loop of the mode that is judged, None while that is not known; GLOBAL steps may come before TRAIN.

        It raises if the index alone shows that an ended trial cannot be judged.
        """
        folder = self._folder
        mode = folder.judged_mode(folder.ended, self._bounds.baseline_mode)
        if mode is None or (self._loop is not None and mode == self._loop.mode):
            return self._loop
        loop = self._loop = Loop(folder, mode)
        self._run, self._fired = JudgedRun(self._run.trial, loop.rows, self._bounds, mode), {}
        try:
            self._bounds.require_alike(mode)
        except TrialError as error:
            self._raise_insufficient(error)
        if folder.ended and not any(self._can_be_judged(each) for step in folder.steps for each in loop.pairs(step)):
            for step in folder.steps:
                loop.compare(step)
            self._is_unheld = self._bounds.baseline is not None
            self._finish(loop)
        return loop

    def _can_be_judged(self, pairs: StepPairs) -> bool:
        """Return whether a tensor has a reference, with which it can be held against the baseline if there is one."""
        paired = [(n, reference.step) for n, reference in enumerate(pairs.references) if reference is not None]
        if not paired or self._bounds.baseline is None:
            return bool(paired)
        tensors, references = np.array(paired, np.int64).T
        bounds = self._bounds.columns(list(pairs.tensors), tensors, pairs.saved.step, references)
        return bool((bounds.held | ~np.isnan(bounds.rest)).any())

    def _raise_insufficient(self, problem: TrialError) -> None:
        self._refused = missing_trial(self._folder) or problem
        self._run = self._run.with_facts(problem=self._refused)
        self._report_file.write(self._run, at_once=True)
        raise InsufficientInformationForRuleInvocation(self.rule_name, str(self._refused))

    def _compare(self, loop: Loop, steps: list[int]) -> bool:
        known = len(loop.rows.unreadable)
        for step in steps:
            if step not in loop.done:
                loop.compare(step)
        self._run = JudgedRun(self._run.trial, loop.rows, self._bounds, loop.mode)
        for entry in itertools.islice(loop.rows.unreadable, known, None):
            self._log_error(_record_line(entry))
        fired = {step: self._fires_at(loop, step) for step in steps}
        self._fired.update(fired)
        return any(fired.values())

    def _fires_at(self, loop: Loop, step: int) -> bool:
        """Return whether the rule fires at a compared step, and log it."""
        firing = firing_at(loop.rows, self._bounds, loop.mode, step)
        if self._is_unheld:
            firing = [row for row in firing if row.verdict == NOT_FINITE]
        if firing:
            self.logger.warning(_firing_line(self.rule_name, firing))
        return bool(firing)

    def _log_error(self, error: str) -> None:
        if error not in self._logged:
            self._logged.add(error)
            self.logger.error(error)

    def _has_all(self, loop: Loop) -> bool:
        return len(loop.done) >= len(self._folder.steps) and loop.done >= set(self._folder.steps)

    def _finish(self, loop: Loop, is_over: bool = False) -> list[int]:
        """Write the report, now that no more steps come or are asked for, and return the steps that fire only now.

        These came late, or smdebug passed over them. It raises if the trial was gone through and cannot be judged.
        """
        folder = self._folder
        asked = set(itertools.chain(*self._asked)).intersection(folder.steps)
        passed_over = sorted({*asked, *self._waiting} - loop.done)
        for step in passed_over:
            loop.compare(step)
        self._late = min([self._late, *passed_over])
        if self._is_live:
            self._compare_again(loop.first_doubtful())
        loop.rows.cut(LARGEST_STEP)  # puts names in the order of the steps, whatever the order of the calls
        self._run = JudgedRun(self._run.trial, loop.rows, self._bounds, loop.mode)
        steps = [step for step in self._run.fired_steps if step >= self._late and not self._fired.get(step)]
        late = [step for step in steps if self._fires_at(loop, step)]
        self._fired.update(dict.fromkeys(late, True))
        run = self._run = concluded(self._run, folder)
        for entry in run.unreadable:
            self._log_error(_record_line(entry))
        is_gone_through = folder.ended and (self._has_all(loop) or (is_over and bool(loop.done)))
        if not is_gone_through:
            run = self._run = run.with_facts(problem=None)  # these steps are not all
        elif run.problem is not None and not run.is_judged and not run.fired:
            self._raise_insufficient(run.problem)
        if run.problem is not None and len(run):
            self._log_error(f"{run.problem.message}; {run.problem.remedy}")
        self._report_file.write(run, at_once=True)
        return late

    def _await_event_files(self, step: int) -> None:
        """Wait for event files that a live job's index names and that are not there yet, while that may help."""
        for _ in range(EVENT_FILE_LOOKS):
            if not self._folder.awaits_files(step):
                return
            time.sleep(POLL_SECONDS)
            self._compare_again(self._folder.refresh(step))


def _open_trial(path: str, parameters: Parameters) -> Any:
    """Return smdebug's Trial of a folder that is there; it waits for the collections, and this says so once."""
    missing = missing_trial(TrialFolder(open_storage(path), parameters))
    if missing is not None:
        get_logger().warning(f"waiting for the trial: {missing.message}; {missing.remedy}")
    from smdebug.trials import create_trial

    return create_trial(path)


def _record_line(entry: Unreadable) -> str:
    tensor = f" of tensor {entry.tensor!r}" if entry.tensor else ""
    step = f" at step {entry.global_step}" if entry.global_step >= 0 else ""
    return f"the record{tensor}{step} in {entry.file!r} {entry.reason}"


def _firing_line(rule: str, firing: Sequence[Comparison]) -> str:
    """Return the line that the rule logs of the violations that fire at a step, the worst first."""
    worst = firing[0]
    expected = f", expected {worst.lower:.2g} to {worst.upper:.2g}" if worst.verdict in (LARGE, SMALL) else ""
    return (
        f"{rule} fired at step {worst.global_step} ({worst.mode} step {worst.step}): "
        f"{len(firing):,} ratio{'s' * (len(firing) != 1)}; the worst is {worst.verdict}: "
        f"tensor {worst.tensor!r} of {worst.worker}, ratio {worst.ratio:.6g} = {worst.update_norm:.6g} / "
        f"{worst.weight_norm:.6g} against step {worst.reference_step}{expected}"
    )
