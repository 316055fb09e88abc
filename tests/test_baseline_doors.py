"""Runs held against a baseline: every door says the same; what it changes, what is refused, saving and merging."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from smdebug.exceptions import InsufficientInformationForRuleInvocation

from tests.conftest import RECORDED, TrialWriter, event_file, needs_writing
from tests.findings.made_runs import made_baseline
from tests.reports import invoke_command
from tests.test_contract import Case, digits, invoked, rows_of
from weight_update_ratio import Report, TrialError, WeightUpdateRatio, check_trial, follow_trial
from weight_update_ratio.verdict.baseline import baseline_text

HEALTHY, FROZEN, EXPLODING = (RECORDED[f"pytorch_{name}"] for name in ("healthy", "frozen", "exploding"))
KERAS, KILLED = RECORDED["tf_keras"], RECORDED["pytorch_killed"]
STEPS = 30  # of the trials that are written here
EVERY = range(1, STEPS)
SAME_MODEL = "Take a baseline of the same model, saved at the same interval and judged with the same parameters."
ANEW = "Save the baseline anew where the model was changed on purpose, or leave these out by exclude_regex."
UNWRAPPED = "Record both without the wrapper (model.module, model._orig_mod), or save the baseline anew."
ALIKE = "Judge both with the same collection_names, or leave these out by exclude_regex."
ONE_OF_THESE = "Pass a trial folder, an S3 URI, or a file that --save-baseline wrote."
NO_COMMAS = "Of several, each is one of its own: commas do not separate them."
A_URI = "Pass a path, or the S3 URI below which the job saved: s3://bucket/prefix."
A_FOLDER = "Pass the folder that the training job wrote to (TrialRecorder's path, or the out_dir of smdebug's hook)."
NAN = "'TinyNet_conv1.weight' at TRAIN step 3 is nan"
TENSORS = "('TinyNet_conv1.weight', 'TinyNet_bn1.weight', 'TinyNet_fc1.weight', 'TinyNet_fc2.weight')"


def moved(
    sizes: dict[int, float] | None = None, usual: float = 0.01, start: float = 1.0, steps: int = STEPS
) -> list[Any]:
    """Return a layer's weights by step: every element moves by the step's size, which is the usual one elsewhere."""
    chance = np.random.default_rng(0)
    updates = [chance.choice([-1.0, 1.0], 20) * (sizes or {}).get(step, usual) for step in range(steps)]
    return list(start + np.cumsum([0 * updates[0], *updates[1:]], axis=0))


def layers(steps: int = STEPS, **other: list[Any]) -> dict[str, list[Any]]:
    """Return a run that trains well: a layer that moves, and one of each kind that a threshold or an extreme misjudges.

    ``rests`` has rests of two comparisons, ``leaps`` a spike of one, ``zero`` begins at zero.
    """
    return {
        "moves": moved(steps=steps),
        "frozen": moved(usual=0.0, steps=steps),
        "zero": moved(start=0.0, steps=steps),
        "rests": moved(dict.fromkeys((1, 2, 12, 13, 20), 0.0), steps=steps),
        "leaps": moved({15: 0.5}, steps=steps),
        **other,
    }


@pytest.fixture
def good(tmp_path: Path, write_trial: Any) -> Path:
    return write_trial(layers(), "good").path


@pytest.fixture(
    params=[
        (FROZEN, HEALTHY, {}),
        (HEALTHY, FROZEN, {}),
        (EXPLODING, HEALTHY, {}),
        (KILLED, FROZEN, {"baseline_factor": 1.0, "patience": 2, "num_steps": 3}),
    ],
    ids=["frozen", "moves where the good run rests", "exploding", "does not end"],
)
def case(request: pytest.FixtureRequest) -> Case:
    run, good, options = request.param
    return Case(run, run, {"baseline": str(good), **options})


def good_file(good: Path) -> str:
    """Return the file that a good run was saved to, beside its trial."""
    file = good.parent / "good.json"
    file.write_text(check_trial(good).to_baseline())
    return str(file)


def facts(report: Report) -> tuple[Any, ...]:
    return digits(rows_of(report)), report.fired_steps, report.exit_code


class TestEveryDoor:
    """Rows and fired steps are those of the contract's oracle, which half of its trials are held against."""

    def test_a_recording(self, case: Case) -> None:
        """By the rule with strings, as the service passes them; by following; and by the command, with its JSON."""
        report = case.check()
        rule = WeightUpdateRatio(str(case.path), **{name: str(value) for name, value in case.parameters.items()})
        fired, _ = invoked(rule, case)
        assert (digits(rows_of(rule)), fired) == facts(report)[:2]
        backwards = WeightUpdateRatio(str(case.path), **case.parameters)
        assert {row.global_step for row in report if row.verdict == "not_finite"} <= {
            step for step in reversed(case.global_steps) if backwards.invoke_at_step(step)
        }
        if report.job_ended:
            assert report.to_json() == follow_trial(case.path, **case.parameters, poll=1e-3).to_json()
        options = [f"--{name.replace('_', '-')}={value}" for name, value in case.parameters.items()]
        done = invoke_command("check", str(case.path), "--format", "json", *options)
        assert (report.exit_code, report.to_json() + "\n") == (done.exit_code, done.stdout)

    @pytest.mark.slow
    def test_s3(self, s3: Any, tmp_path: Path) -> None:
        """Folder and file are read there; where nothing is there is one message."""
        (tmp_path / "good.json").write_text(check_trial(HEALTHY).to_baseline())
        report = check_trial(FROZEN, baseline=HEALTHY)
        for good in (s3.upload(HEALTHY, "doors/good") + "/", s3.upload(tmp_path, "doors") + "/good.json"):
            rule = WeightUpdateRatio(str(FROZEN), baseline=f"{good} ")
            fired, _ = invoked(rule, Case(FROZEN, FROZEN, {}))
            assert facts(report) == facts(check_trial(FROZEN, baseline=good))
            assert facts(report)[:2] == (digits(rows_of(rule)), fired)
        nowhere = f"s3://{s3.bucket}/doors/nowhere.json"
        done = invoke_command("check", str(HEALTHY), "--baseline", nowhere)
        assert (2, "") == (done.exit_code, done.stdout)
        assert done.stderr.startswith(f"Error: the baseline {nowhere!r} cannot be used: ")


class TestWhatItChanges:
    @pytest.mark.parametrize(
        ("layer", "values", "options", "fired"),
        [
            ("moves", moved({5: 0.1, 6: 0.1, 15: 0.1, 16: 0.1}), {}, []),
            ("moves", moved({9: 0.05, 10: 1e-3, 11: 0.05}), {}, [11]),  # too large, too small, too large
            ("moves", moved({9: 0.015}), {"baseline_factor": 2, "patience": 1}, []),
            ("moves", moved({28: math.nan}), {"patience": 20}, [28, 29]),
            # A weight norm may leave its range by the half.
            ("moves", moved(start=1.4, usual=0.014), {}, []),
            ("moves", moved(start=1.7, usual=0.017), {}, EVERY[2:]),
            # A rest is allowed up to twice the longest one.
            ("rests", moved(dict.fromkeys(range(5, 9), 0.0)), {"patience": 1}, []),
            ("rests", moved(dict.fromkeys(range(5, 10), 0.0)), {"patience": 1}, [9]),
            ("rests", moved(usual=0.0), {}, EVERY[6:]),
            ("frozen", moved(usual=1e-4), {}, EVERY[2:]),  # what never moves may not move
            # Neither a start at zero nor a spike opens the bounds for what comes after.
            ("zero", moved(start=0.0), {"patience": 1}, [1]),
            ("leaps", moved({15: 0.5}), {"patience": 1}, [15]),
            ("leaps", moved({**dict.fromkeys(range(12, 15), 0.2), 15: 0.5}), {}, [14, 15]),
        ],
    )
    def test_the_steps_that_fire(
        self, good: Path, write_trial: Any, layer: str, values: Any, options: Any, fired: Any
    ) -> None:
        """By one layer, of a run whose others are like those of the good one."""
        trial = write_trial(layers(**{layer: values})).path
        report = check_trial(trial, baseline=good, tensor_regex=layer, strict=True, **options)
        assert (list(fired), 1 if fired else 0) == (report.fired_steps, report.exit_code)
        assert len(report) == json.loads(report.to_json())["baseline"]["held"]

    def test_the_thresholds_are_not_asked(self, good: Path) -> None:
        """By them layers that rest and one that begins at zero fire, in their ways."""
        report = check_trial(good)
        kinds = {(group.tensor, group.verdict) for group in report.violations if group.fires}
        assert {("frozen", "small"), ("zero", "large"), ("rests", "small")} == kinds
        assert [] == check_trial(good, baseline=good).fired_steps

    def test_layers_that_cannot_be_held_are_judged_by_the_thresholds(self, good: Path, write_trial: Any) -> None:
        """They are listed; the exit code is that of the rest."""
        trial = write_trial(layers(new=moved()), intervals={"moves": 3, "frozen": 15}).path
        report = check_trial(trial, baseline=good)
        expected = [
            ("frozen", "over 15 steps, in the baseline over 1 step: judged by the thresholds"),
            ("moves", "over 3 steps, in the baseline over 1 step: judged by the thresholds"),
            ("new", "not in the baseline: judged by the thresholds"),
        ]
        assert expected == sorted((group.tensor, group.reason) for group in report.skipped)
        assert {(1e-8, 10.0)} == {(row.lower, row.upper) for row in report if row.tensor in ("frozen", "moves", "new")}
        assert (0, True) == (report.exit_code, report.complete)
        assert [] == check_trial(trial, baseline=good, tensor_regex="rests,zero").skipped

    def test_a_layer_of_which_nearly_nothing_is_held_is_listed(self, good: Path) -> None:
        """Over 5 steps nothing but the first comparison is over one step, as all are in the baseline."""
        report = check_trial(good, baseline=good_file(good), num_steps=5, tensor_regex="moves")
        assert 1 == json.loads(report.to_json())["baseline"]["held"]
        reason = "over 5 steps, in the baseline over 1 step: judged by the thresholds"
        assert [("moves", reason)] == [(group.tensor, group.reason) for group in report.skipped]

    @pytest.mark.parametrize(
        ("steps", "said"),
        [
            (6, "the run ends at step 5, the baseline at 29"),
            (STEPS, None),
            (60, "the baseline ends at step 29: later steps are judged by its last ones"),
        ],
    )
    def test_lengths_are_compared(self, good: Path, write_trial: Any, steps: int, said: str | None) -> None:
        """It is said once, in every form, and changes no exit code."""
        report = check_trial(write_trial(layers(steps)).path, baseline=good)
        assert ([said] if said else [], 0) == ([group.reason for group in report.skipped], report.exit_code)
        assert len(report) == json.loads(report.to_json())["baseline"]["held"]
        for text in (report.to_text(), report.to_markdown(), report.to_github(), report.to_junit(), report.to_json()):
            assert said is None or said in text

    @pytest.mark.parametrize(("first", "begins"), [(50, True), (20, False)])
    def test_what_is_found_past_the_end_of_the_baseline(
        self, write_trial: Any, good: Path, first: int, begins: bool
    ) -> None:
        """Its advice names that first, and nothing else where all of it is past the end."""
        fades = moved(dict.fromkeys(range(first, 60), 1e-4), steps=60)
        report = check_trial(write_trial(layers(60, moves=fades)).path, baseline=good)
        (finding,) = report.findings
        longer = "The baseline ends at step 29: judge against a good run that is as long as this one."
        assert finding.advice.startswith(longer)
        assert begins == (finding.advice == longer)


class TestWhatTheRunLacks:
    """A run that lacks a tensor of the baseline that was asked for does not pass; a fault is reported all the same."""

    @pytest.mark.parametrize(
        ("tensors", "groups", "options", "code", "end", "remedy"),
        [
            ({"zero": None}, {}, {}, 2, "", ANEW),
            ({"zero": None}, {"weights": list(layers())}, {}, 2, "", ANEW),
            ({"zero": None, "moves": moved(start=2.0)}, {}, {}, 1, "", ANEW),
            ({"zero": None}, {}, {"tensor_regex": "moves,frozen"}, 0, None, None),
            (
                {"zero": None, "module._orig_mod.zero": moved(start=0.0)},
                {},
                {"patience": 2},
                2,
                "; 'zero' of the baseline is 'module._orig_mod.zero' in the run",
                UNWRAPPED,
            ),
            ({"zero": None}, {}, {"exclude_regex": "zero"}, 0, None, None),
            ({}, {"vectors": ["zero"]}, {}, 2, "; 'zero' is in the run's collection 'vectors'", ALIKE),
            ({}, {"vectors": ["zero"]}, {"collection_names": "weights,vectors"}, 0, None, None),
        ],
        ids=["absent", "listed", "fault_too", "not_asked_for", "wrapped", "left_out", "elsewhere", "both_collections"],
    )
    def test_by_check_and_command(
        self, good: Path, trial_writer: Any, tensors: Any, groups: Any, options: Any, code: int, end: Any, remedy: Any
    ) -> None:
        baseline = good_file(good)
        run = {name: values for name, values in layers(**tensors).items() if values is not None}
        others = {name for members in groups.values() for name in members}
        trial = trial_writer().collections({"weights": run.keys() - others, **groups})
        for step in range(STEPS):
            trial.save(step, {name: values[step] for name, values in run.items()})
        report = check_trial(trial.end().path, baseline=baseline, **options)
        assert (code, end is None) == (report.exit_code, report.complete)
        given = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        done = invoke_command("check", str(trial.path), "--baseline", baseline, *given)
        assert code == done.exit_code
        if end is None:
            assert (None, "") == (report.problem, done.stderr)
        else:
            what = f"the run has no comparison of 'zero', which the baseline {baseline!r} has{end}"
            assert (what, remedy) == (report.problem.message, report.problem.remedy)
            assert f"Error: {what}\n\n{remedy}\n" == done.stderr

    def test_every_name_differs_by_a_wrapper(self, write_trial: Any) -> None:
        """torch.compile's, in a run whose model was not recorded in it before."""
        good = write_trial({"a.weight": moved(), "b.weight": moved()}, "good").path
        run = write_trial({"_orig_mod.a.weight": moved(usual=1e-6), "_orig_mod.b.weight": moved(usual=1e-6)}).path
        report = check_trial(run, baseline=good)
        assert (2, UNWRAPPED) == (report.exit_code, report.problem.remedy)
        assert report.problem.message.endswith("; 'a.weight' of the baseline is '_orig_mod.a.weight' in the run")

    @pytest.mark.parametrize(("option", "code"), [({"end_step": 5}, 2), ({"start_step": 5}, 0)])
    def test_of_the_steps_that_are_judged(self, good: Path, write_trial: Any, option: Any, code: int) -> None:
        """A tensor that is saved later than they end is lacking."""
        late = [None] * 4 + moved()[4:]
        assert code == check_trial(write_trial(layers(moves=late)).path, baseline=good, **option).exit_code


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be in a folder of baselines: a healthy run's, others that cannot be used, and a trial that lost a file."""
    monkeypatch.chdir(tmp_path)
    band, fc1 = (0.001, 0.1), "TinyNet_fc1.weight"
    Path("good.json").write_text(check_trial(HEALTHY).to_baseline())
    for name, baseline in {
        "global": made_baseline({"w": (1, {0: band})}, mode="GLOBAL"),
        "empty": made_baseline({}),
        "late": made_baseline({fc1: (1, {12: band})}, last_step=110),
        "thinned": made_baseline({fc1: (2, {0: band})}),
    }.items():
        Path(f"{name}.json").write_text(baseline_text(baseline))
    Path("folder").mkdir()
    shutil.copytree(HEALTHY, "lost")
    event_file(Path("lost"), 5).write_bytes(b"")
    return tmp_path


class TestRefusals:
    """One message that names the baseline, an empty line, one remedy, exit code 2, and nothing on stdout."""

    def refused(self, *arguments: Any) -> tuple[str, str]:
        done = invoke_command("check", str(HEALTHY), *map(str, arguments))
        assert (2, "") == (done.exit_code, done.stdout)
        message, empty, remedy, end = done.stderr.split("\n")
        assert ("", "") == (empty, end)
        assert message.startswith("Error: ")
        return message[len("Error: ") :], remedy

    @pytest.mark.parametrize(
        ("name", "reason", "remedy"),
        [
            ("nowhere", "it does not exist", ONE_OF_THESE),
            ("good.json,folder", "it does not exist", f"{ONE_OF_THESE} {NO_COMMAS}"),
            ("/dev/null", "it is neither a file nor a folder", ONE_OF_THESE),
            ("s3a://good", "the trial 's3a://good' is neither a path nor an S3 URI", A_URI),
            ("folder", "the folder 'folder' is not a trial: it has neither 'collections' nor 'index'", A_FOLDER),
            ("lost", "4 of its records could not be read", "Restore its files, or take another run that trains well."),
            (str(EXPLODING), f"the ratio of {NAN}", "Take a run that trains well."),
        ],
    )
    @pytest.mark.usefixtures("files")
    def test_what_cannot_be_used(self, name: str, reason: str, remedy: str) -> None:
        expected = f"the baseline {name!r} cannot be used: {reason}", remedy
        assert expected == self.refused("--baseline", "good.json", "--baseline", name)

    @pytest.mark.parametrize(
        ("options", "what", "ours", "theirs", "remedy"),
        [
            ({"baseline": "good.json", "epsilon": 0.001}, "epsilon", "0.001", "1e-09", "Judge both with the same"),
            ({"baseline": "global.json"}, "mode", "TRAIN", "GLOBAL", "Save the baseline anew, from a run whose"),
        ],
    )
    @pytest.mark.usefixtures("files")
    def test_what_was_judged_otherwise(self, options: Any, what: str, ours: str, theirs: str, remedy: str) -> None:
        """Both values are named, by every door; the rule finds another mode when there are steps."""
        message, advice = self.refused(*(f"--{name}={value}" for name, value in options.items()))
        where = f"the run cannot be held against the baseline {options['baseline']!r}"
        assert f"{where}: its {what} is {ours}, the baseline's {theirs}" == message
        assert advice.startswith(remedy)
        for judge in (check_trial, follow_trial):
            with pytest.raises(TrialError) as caught:
                judge(HEALTHY, **options)
            assert f"{message}\n\n{advice}" == str(caught.value)
        with pytest.raises((TrialError, InsufficientInformationForRuleInvocation)) as refused:
            WeightUpdateRatio(str(HEALTHY), **options).invoke_at_step(5)
        assert f"{message}\n\n{advice}" in str(refused.value)

    @needs_writing
    @pytest.mark.parametrize(
        ("known", "saved", "refused"),
        [
            ("GLOBAL", "GGGG", "-----"),
            ("GLOBAL", "GGGTTT", "---TTTT"),
            ("TRAIN", "GGGTTTT", "--------"),
            ("TRAIN", "GGGG", "----T"),  # when it has ended
        ],
    )
    def test_a_mode_that_may_change_yet(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: str, saved: str, refused: str
    ) -> None:
        """A live rule waits until it cannot; a follower and a check of the ended job say what the rule says then."""
        monkeypatch.setattr("weight_update_ratio.rule.POLL_SECONDS", 0.0)
        file = tmp_path / "good.json"
        file.write_text(baseline_text(made_baseline({"w": (1, {0: (0.001, 1.0)})}, mode=known)))
        job = TrialWriter(tmp_path / "trial").collections({"weights": ["w"]})
        rule, errors = WeightUpdateRatio(str(job.path), baseline=str(file)), []
        for step, mode in enumerate([*saved, None]):
            if mode is None:
                job.end()
            else:
                job.save(step, {"w": [1 + step / 9]}, {"G": "GLOBAL", "T": "TRAIN"}[mode])
            try:
                rule.invoke_at_step(step)
                errors.append("")
            except InsufficientInformationForRuleInvocation as error:
                errors.append(str(error))
        assert refused == "".join("T" if f", the baseline's {known}" in error else "-" for error in errors)
        for judge in (check_trial, follow_trial):
            if refused.endswith("T"):
                with pytest.raises(TrialError, match=f"the baseline's {known}"):
                    judge(job.path, baseline=file)
            else:
                assert {known} == {row.mode for row in judge(job.path, baseline=file)}

    @pytest.mark.usefixtures("files")
    def test_a_string_of_several(self) -> None:
        """The rule splits it at commas, and takes a list, as a check does."""
        expected = digits(rows_of(check_trial(HEALTHY, baseline=["good.json", FROZEN])))
        for several in (f" good.json, {FROZEN} ", ["good.json", str(FROZEN)]):
            rule = WeightUpdateRatio(str(HEALTHY), baseline=several)
            invoked(rule, Case(HEALTHY, HEALTHY, {}))
            assert expected == digits(rows_of(rule))

    def test_strange_names_and_numbers_are_harmless(self, tmp_path: Path) -> None:
        """Names that no terminal should see, ratios at the end of float64, and empty bins."""
        file, merged = tmp_path / "good.json", tmp_path / "merged.json"
        strange, names = ["\x1b[2Jw", "\ud800", "<script>"], sorted(check_trial(HEALTHY).tensors)
        band = (1, {1: (0.0, 1.7e308, None, None), 3: (0.0, 1.7e308, 0.0, 1.7e308)})
        file.write_text(baseline_text(made_baseline(dict.fromkeys([*strange, *names], band))))
        arguments = ["check", str(HEALTHY), "--baseline", str(file)]
        for style in ("text", "json", "junit", "github", "markdown"):
            done = invoke_command(*arguments, "--format", style)
            assert (2, False, True) == (done.exit_code, "\x1b" in done.stdout + done.stderr, "which the" in done.stderr)
        arguments += ["--tensor-regex", "TinyNet"]
        assert math.inf == max(row.upper for row in check_trial(HEALTHY, baseline=file))
        assert 0 == invoke_command(*arguments, "--save-baseline", str(merged), "--quiet").exit_code
        assert 0 == check_trial(HEALTHY, baseline=merged, tensor_regex="TinyNet").exit_code


class TestWhatCannotBeHeld:
    """A run of which nothing can be held against the baseline is not judged, unless a ratio is not finite."""

    @pytest.mark.parametrize(
        ("run", "baseline", "code", "reason"),
        [
            (FROZEN, str(KERAS), 2, f"the run's tensors {TENSORS}: it holds 'conv2d/weights/conv2d/kernel:0', "),
            (EXPLODING, str(KERAS), 1, f"the run's tensors {TENSORS}: it holds 'conv2d/weights/conv2d/kernel:0', "),
            (HEALTHY, "empty.json", 2, f"the run's tensors {TENSORS}: it is empty"),
            (HEALTHY, "thinned.json", 2, ": the ratios of 'TinyNet_fc1.weight' are over 1 step, the baseline's over 2"),
            (HEALTHY, "late.json", 2, ": it has no ratio near the run's TRAIN steps 1 to 19"),
        ],
    )
    @pytest.mark.usefixtures("files")
    def test_the_check(self, run: Path, baseline: str, code: int, reason: str) -> None:
        """The problem is in the JSON, and once on stderr; the thresholds' violations are told and do not fire."""
        done = invoke_command("check", str(run), "--baseline", baseline, "--format", "json")
        document = json.loads(done.stdout)
        assert (code, 0, False) == (done.exit_code, document["baseline"]["held"], document["complete"])
        text, remedy = document["problem"]["text"], document["problem"]["remedy"]
        assert f"the baseline {baseline!r}" in text
        assert reason in text
        widen = "Take a baseline that has these steps, or widen start_step and end_step."
        assert remedy == (widen if baseline == "late.json" else SAME_MODEL)
        assert f"Error: {text}\n\n{remedy}\n" == done.stderr
        report = check_trial(run, baseline=baseline)
        assert sorted({row.global_step for row in report if row.verdict == "not_finite"}) == report.fired_steps
        assert (run != HEALTHY) == any(row.verdict in ("small", "large") for row in report)
        assert document["skipped"]

    def test_the_rule(self) -> None:
        """It raises with the check's message, in any order and again; what is not finite fires; a live job goes on."""
        baseline = str(KERAS)
        rule = WeightUpdateRatio(str(FROZEN), baseline=baseline)
        for step in (7, 0, 7):
            with pytest.raises(InsufficientInformationForRuleInvocation) as caught:
                rule.invoke_at_step(step)
            assert str(check_trial(FROZEN, baseline=baseline).problem) in str(caught.value)
        rule = WeightUpdateRatio(str(EXPLODING), baseline=baseline, patience="1")
        fired = [step for step in reversed(range(26)) if rule.invoke_at_step(step)]
        assert check_trial(EXPLODING, baseline=baseline, patience=1).fired_steps == sorted(fired)
        rule = WeightUpdateRatio(str(KILLED), baseline=baseline, patience="1")
        assert [] == [step for step in range(12) if rule.invoke_at_step(step)]

    @needs_writing
    def test_the_rule_beside_a_job_that_ends_so(
        self, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing waits for the first row that can be held; at the end the rule raises."""
        monkeypatch.setattr("weight_update_ratio.rule.POLL_SECONDS", 0.0)
        job = TrialWriter(tmp_path / "trial").collections({"weights": ["new"]})
        rule = WeightUpdateRatio(str(job.path), baseline=str(good))
        for step in range(6):
            job.save(step, {"new": np.ones(4)})
            assert (step >= 3) == rule.invoke_at_step(step)
        job.end()
        assert ([], "InsufficientInformationForRuleInvocation") == invoked(rule, Case(job.path, job.path, {}, 6))


class TestSaving:
    @pytest.mark.parametrize(("run", "code"), [(HEALTHY, 0), (FROZEN, 1)])
    @pytest.mark.parametrize("more", [[], ["--follow"]])
    def test_without_a_baseline_it_is_written_whatever_fires(
        self, tmp_path: Path, run: Path, code: int, more: list[str]
    ) -> None:
        """With the bytes of the report's own; the run passes against it."""
        file = tmp_path / "good.json"
        done = invoke_command("check", str(run), "--save-baseline", str(file), "--output", str(tmp_path / "t"), *more)
        note = f"Note: {str(file)!r} is made of a run that fired: what it has is sound from now on.\n"
        assert (code, code) == (done.exit_code, done.stderr.count(note))
        assert check_trial(run).to_baseline() == file.read_text()
        assert 0 == invoke_command("check", str(run), "--baseline", str(file)).exit_code

    def test_a_retry_turns_no_gate_green(self, tmp_path: Path) -> None:
        """What fired against a baseline is not written; a run that passed is merged with it."""
        file = tmp_path / "good.json"
        file.write_text(check_trial(HEALTHY).to_baseline())
        before, gate = file.read_text(), ["--baseline", str(file), "--save-baseline", str(file), "--quiet"]
        for _ in range(2):
            done = invoke_command("check", str(FROZEN), *gate)
            assert (1, before) == (done.exit_code, file.read_text())
            assert done.stderr.startswith(f"Note: {str(file)!r} is not written: ")
            assert "it fires against the baseline that it would be added to" in done.stderr
        with pytest.raises(TrialError, match="it fires against the baseline"):
            check_trial(FROZEN, baseline=file).to_baseline()
        for runs in (2, 3):
            done = invoke_command("check", str(KILLED), *gate)
            assert (0, "", runs) == (done.exit_code, done.stderr, json.loads(file.read_text())["runs"])

    def test_good_runs_at_once_or_as_a_file_of_all(self, tmp_path: Path) -> None:
        runs, file = [HEALTHY, KILLED], tmp_path / "good.json"
        texts = [check_trial(order[0], baseline=order[1]).to_baseline() for order in (runs, runs[::-1])]
        assert texts[0] == texts[1]
        file.write_text(texts[0])
        for run in runs:
            together = check_trial(run, baseline=runs, baseline_factor=1)
            assert facts(together) == facts(check_trial(run, baseline=file, baseline_factor=1))
            assert 0 == together.exit_code
        repeated = [argument for run in (*runs, FROZEN) for argument in ("--baseline", str(run))]
        done = invoke_command("check", str(FROZEN), *repeated, "--format", "json")
        assert {"runs": 3, "factor": 3.0, "patience": 3, "held": 76} == json.loads(done.stdout)["baseline"]

    @pytest.mark.parametrize(
        ("arguments", "code", "why"),
        [
            ([str(EXPLODING)], 1, f"the run {str(EXPLODING)!r} cannot be a baseline: the ratio of {NAN}"),
            (["lost"], 2, "the report is not complete"),
            ([str(HEALTHY), "--baseline", str(KERAS)], 2, "the report is not complete"),
        ],
    )
    @pytest.mark.usefixtures("files")
    def test_what_is_not_sound_is_not_written(self, arguments: list[str], code: int, why: str) -> None:
        """That is said, the exit code is that of the run, and an older file stays."""
        older = Path("good.json").read_text()
        done = invoke_command("check", *arguments, "--save-baseline", "good.json", "--quiet")
        assert (code, "") == (done.exit_code, done.stdout)
        assert f"Note: 'good.json' is not written: {why}" == done.stderr.splitlines()[-1]
        assert older == Path("good.json").read_text()
