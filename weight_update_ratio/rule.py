"""The smdebug Rule: judges the step it is invoked at, under ``invoke_rule`` or at any step in any order.

smdebug decides when a step is complete, and this module then reads that step itself: the framework's own calls for
earlier steps (``prev_steps``, ``steps``) cost as much as the trial is long, each time.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Iterable

from smdebug.core.logger import get_logger
from smdebug.exceptions import InsufficientInformationForRuleInvocation, NoMoreData, RuleEvaluationConditionMet
from smdebug.rules.rule import Rule

from .compare.comparison import Comparison
from .compare.diagnosis import missing_trial, nothing_compared
from .compare.history import History
from .compare.loop import Judge, refused_trial
from .compare.mode import TRAIN, judged_mode
from .errors import Unreadable
from .findings.frames import comparisons_frame
from .parameters import Parameters, baseline_list, parse_parameters, parse_report_dir
from .render.report_file import ReportFile
from .render.words.wording import firing_line, record_line
from .sagemaker.actions import ActionText, idle_actions, parse_actions
from .storage.location import open_storage, trial_location
from .trial.folder import POLL_SECONDS, TrialFolder
from .verdict.good_runs import open_bounds

if TYPE_CHECKING:
    import pandas

EVENT_FILE_LOOKS = 60  # for an event file that a live job is yet to write; smdebug looks for as long, every 2 seconds


class WeightUpdateRatio(Rule):  # type: ignore[misc]  # smdebug has no types
    """Fires at a step where a tensor's update is too large or too small for its weights, or not finite.

        ratio = ||w_s - w_r|| / (||w_r|| + epsilon)

    Every parameter may be a string, as SageMaker Debugger passes it.

    Args:
        base_trial: An smdebug Trial, or the path or URI of a trial folder.
        num_steps: Compare with the oldest saved step at most so many steps back; None: with the previous saved step.
        large_threshold: A ratio above it fires.
        small_threshold: A ratio below it fires.
        epsilon: Added to the norm of the weights, in their unit; > 0.
        collection_names: Collections whose tensors are compared, separated by commas.
        tensor_regex: Patterns separated by commas; where given, only tensors that match one are compared.
        action_str: What to do when the rule fires, as the service's action JSON.
        action_json: The same, under the name that the service uses.
        report_dir: Folder on this machine that gets ``WeightUpdateRatio.json``, the report as the check command has it,
            after every step that fires and when the trial ends; the service uploads /opt/ml/processing/output/rule.
        exclude_regex: Patterns separated by commas; tensors that match one are left out.
        patience: How many violations in a row of a tensor fire; None: 1, with a baseline 3.
        baseline: What trains well: trial folders or baseline files, as paths or S3 URIs separated by commas. Its ratios
            give the bounds in place of the thresholds, where it has the tensor and the step.
        baseline_factor: By how much the bounds are wider than the ratios of the baseline; >= 1.

    Raises:
        ValueError: A parameter is not valid.
        TrialError: There is nothing at the path that is given as ``base_trial``, or it has another form; or a baseline
            cannot be used.

    Attributes:
        report: The framework's dictionary: RuleTriggered (steps that fired), Violations and Datapoints (comparisons),
            RuleParameters and Details.
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
        self._parameters = parse_parameters(
            num_steps,
            large_threshold,
            small_threshold,
            epsilon,
            collection_names,
            tensor_regex,
            exclude_regex,
            patience,
            baseline_list(baseline),
            baseline_factor,
        )
        actions = parse_actions(action_str, action_json)
        folder = parse_report_dir(report_dir)
        bounds = open_bounds(self._parameters)
        if isinstance(base_trial, (str, os.PathLike)):
            base_trial = _open_trial(trial_location(base_trial), self._parameters)
        # By keyword: smdebug <= 1.0.4 has these in another order.
        super().__init__(base_trial=base_trial, action_str=ActionText(actions), other_trials=None)
        for warning in idle_actions(self._actions):
            self.logger.warning(warning)
        self._folder = TrialFolder(open_storage(base_trial.path), self._parameters, base_trial.range_steps)
        self._history = History(self.base_trial.path, self._parameters, bounds)
        self._report_file = ReportFile(folder, self.logger.error)
        self._judge: Judge | None = None
        self._fired: dict[int, bool] = {}  # the judged global steps
        self._asked: list[range] = []  # by smdebug, which passes over some steps
        self._waiting: list[int] = []  # invoked before it was known which mode is judged
        self._logged: set[str] = set()
        self._listed = time.monotonic()
        self.report["RuleParameters"] = "\n".join(f"{k}:{v}" for k, v in self._parameters.as_dict().items())
        self._update_report()

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
            self._folder.refresh(step)
            if self._waiting:  # a job of EVAL steps alone: now it is known that they are what is judged
                waited = self._waiting.pop()
                if self.invoke_at_step(waited):
                    self._actions.invoke()
                    raise RuleEvaluationConditionMet(self.rule_name, waited) from None
            if self._judge is None and self._folder.ended:
                self._begin(judged_mode(self._folder) or TRAIN)
            late = self._finish()
            if self._folder.ended and self._fired and not self._history.is_judged and not self._history.fired:
                self._raise_insufficient(self._history)
            if late:
                self._actions.invoke()
                raise RuleEvaluationConditionMet(self.rule_name, late[0]) from None
            raise

    def invoke_at_step(self, step: int) -> bool:
        """Return whether the rule fires at this global step, or now at earlier ones that waited for the baseline.

        Raises:
            InsufficientInformationForRuleInvocation: The job has ended, and its trial cannot be judged.
        """
        if step in self._fired:
            return self._fired[step]
        self._look_for(step)
        mode = judged_mode(self._folder, self._folder.ended)
        self._waiting.append(step)
        if mode is None:
            return False
        if self._judge is None or mode != self._history.mode:
            self._begin(mode)
        steps, self._waiting = self._waiting, []
        return max(list(map(self._judge_step, steps)))  # all are judged

    def comparisons(self) -> pandas.DataFrame:
        """Return the history so far: a row a comparison, with tensor, worker, mode, steps, norms, ratio and verdict."""
        return comparisons_frame(self._history)

    def _repr_html_(self) -> str | None:
        """Return the verdict so far and the grouped violations, as a notebook shows them."""
        try:
            from .render.html import report_html
        except (ImportError, KeyError):  # the rule as one source file, without the package; KeyError: run by exec
            return None
        return report_html(self._history)

    def _look_for(self, step: int) -> None:
        """List the index again where a live job may have added to what is known of this step."""
        folder = self._folder
        known = folder.workers_at(step) >= folder.collections.num_workers or folder.last_complete > step
        if known and (self._history.mode is not None or time.monotonic() - self._listed < POLL_SECONDS):
            return
        folder.refresh(step)
        self._listed = time.monotonic()

    def _begin(self, mode: str) -> None:
        """Begin to judge ``mode``; what was judged as GLOBAL before the first TRAIN step does not count."""
        self._history = self._history.emptied()
        self._history.mode, self._history.problem = mode, None
        self._judge = Judge(self._folder, self._history, live=not self._folder.ended)
        self._fired = {}
        refused = refused_trial(self._folder, self._history)
        if refused is not None:
            self._report_file.write(refused, at_once=True)
            self._history, self._judge = refused, None  # asked again, it raises again
            self._raise_insufficient(refused)

    def _raise_insufficient(self, history: History) -> None:
        problem = missing_trial(self._folder) or history.problem or nothing_compared(history, self._folder)
        history.problem = problem
        raise InsufficientInformationForRuleInvocation(self.rule_name, str(problem))

    def _judge_step(self, step: int) -> bool:
        self._await_event_files(step)
        assert self._judge is not None  # noqa: S101  (a mode is known)
        if not self._folder.ended and not self._folder.workers_at(step):
            return False  # it may come yet
        self._history.problem = None
        judged = self._judge.judge_step(step)
        self._log_errors([*judged.unreadable, *self._folder.saved(step).unreadable])
        self._fired[step] = False
        fired = bool(self._note_firing(judged.firing))
        self._update_report()
        steps = self._folder.steps
        all_judged = len(self._fired) >= len(steps) and self._fired.keys() >= set(steps)
        if self._folder.ended and (all_judged or self._folder.step_after(step) is None):
            fired = bool(self._finish()) or fired
            if not self._history.is_judged and not self._history.fired and all_judged:
                self._raise_insufficient(self._history)
        elif fired:
            self._report_file.write(self._history)
        else:
            self._report_file.note(self._history)
        return fired

    def _note_firing(self, violations: Iterable[Comparison]) -> list[int]:
        """Note and log which steps fire, by the violations that do; return those steps."""
        by_step: dict[int, list[Comparison]] = {}
        for row in violations:
            by_step.setdefault(row.global_step, []).append(row)
        for step, rows in by_step.items():
            self._fired[step] = True
            self.logger.warning(firing_line(self.rule_name, rows))
        return sorted(by_step)

    def _log_errors(self, unreadable: Iterable[Unreadable]) -> None:
        """Log each entry once, and what was asked for and is not in a trial that is judged to its end."""
        errors, problem = list(map(record_line, unreadable)), self._history.problem
        if problem is not None and len(self._history):  # else the rule raises
            errors.append(f"{problem.message}; {problem.remedy}")
        for error in errors:
            if error not in self._logged:
                self._logged.add(error)
                self.logger.error(error)

    def _finish(self) -> list[int]:
        """Add what concerns the trial as a whole, now that no more steps come, and write the report.

        Returns:
            The steps that fire now: a live job wrote them late or again, or they could not be read before.
        """
        judge = self._judge or Judge(self._folder, self._history)
        steps = [step for step in self._folder.steps if any(step in some for some in (self._fired, *self._asked))]
        again = judge.judge_again(steps)
        self._history = judge.history
        # smdebug passes over steps that lack a worker's index file.
        for step in self._folder.steps_between(steps[0], steps[-1] + 1) if steps else ():
            self._history.add_unreadable(self._folder.saved(step).unreadable)
        self._history.problem = None
        late = self._note_firing([*again, *judge.end()])
        self._log_errors(self._history.unreadable)
        self._update_report()
        self._report_file.write(self._history, at_once=True)
        return late

    def _await_event_files(self, step: int) -> None:
        """Wait for event files that a live job's index names and that are not there yet, while that may help."""
        for _ in range(EVENT_FILE_LOOKS):
            if not self._folder.awaits_files(step):
                return
            time.sleep(POLL_SECONDS)
            self._folder.refresh(step)

    def _update_report(self) -> None:
        counts = self._history.counts
        self.report["RuleTriggered"] = sum(self._fired.values())
        self.report["Violations"] = counts["violations"]
        self.report["Datapoints"] = counts["comparisons"]
        self.report["Details"] = {
            "mode": self._history.mode,
            "steps": counts["steps"],
            "skipped": counts["skipped"],
            "unreadable": counts["unreadable"],
            "violations": [group.as_dict() for group in self._history.violations],
        }


def _open_trial(path: str, parameters: Parameters) -> Any:
    """Return smdebug's Trial of a folder that is there; it waits for the collections, and this says so once."""
    missing = missing_trial(TrialFolder(open_storage(path), parameters))
    if missing is not None:
        get_logger().warning(f"waiting for the trial: {missing.message}; {missing.remedy}")
    from smdebug.trials import create_trial

    return create_trial(path)
