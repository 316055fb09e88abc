"""Runs held against a baseline: every door says the same; what it changes, what is refused, saving and merging."""

from __future__ import annotations

import json
import math
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from smdebug.exceptions import InsufficientInformationForRuleInvocation

from tests.conftest import RECORDED, TrialWriter, event_file, needs_writing
from tests.reports import invoke_command
from tests.test_contract import Case, between, digits, fired_steps, invoked, rows_of
from weight_update_ratio import Report, TrialError, WeightUpdateRatio, check_trial
from weight_update_ratio import check as check_module

HEALTHY, FROZEN, EXPLODING = (RECORDED[f"pytorch_{name}"] for name in ("healthy", "frozen", "exploding"))
KERAS, KILLED = RECORDED["tf_keras"], RECORDED["pytorch_killed"]
STEPS = 30  # of the trials that are written here
SAME_MODEL = "Take a baseline of the same model, saved at the same interval and judged with the same parameters."
WIDEN = "Take a baseline that has these steps, or widen start_step and end_step."
ONE_OF_THESE = "Pass a trial folder, an S3 URI, or a file that --save-baseline wrote."
NO_COMMAS = "Of several, each is one of its own: commas do not separate them."
A_URI = "Pass a path, or the S3 URI below which the job saved: s3://bucket/prefix."
A_FOLDER = "Pass the folder that the training job wrote to (TrialRecorder's path, or the out_dir of smdebug's hook)."
JUDGE_BOTH = "Judge both with the same {0}, or save the baseline anew."
ANOTHER_MODE = "Save the baseline anew, from a run whose steps are of mode TRAIN."
NAN = "'TinyNet_conv1.weight' at TRAIN step 3 is nan"
TENSORS = "('TinyNet_conv1.weight', 'TinyNet_bn1.weight', 'TinyNet_fc1.weight', 'TinyNet_fc2.weight')"
GOOD_RUN = "Save it anew with --save-baseline, from a run that trains well."


def moved(sizes: dict[int, float], usual: float = 0.01, start: float = 1.0) -> list[Any]:
    """Return a layer's weights by step: every element moves by the step's size, which is the usual one elsewhere."""
    chance = np.random.default_rng(0)
    updates = [chance.choice([-1.0, 1.0], 20) * sizes.get(step, usual) for step in range(STEPS)]
    return list(start + np.cumsum([0 * updates[0], *updates[1:]], axis=0))


def layers(**other: list[Any]) -> dict[str, list[Any]]:
    """Return a run that trains well: a layer that moves, and one of each kind that fires by the thresholds."""
    warm = {step: 0.01 * max(0, step - 3) / STEPS for step in range(STEPS)}
    return {"moves": moved({}), "frozen": moved({}, 0.0), "zero": moved({}, start=0.0), "warm": moved(warm), **other}


@pytest.fixture
def good(tmp_path: Path, write_trial: Any) -> Path:
    """Give the trial of a run that trains well."""
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
    """Give a run, and how it is judged against a good one."""
    run, good, options = request.param
    return Case(run, run, {"baseline": str(good), **options})


def facts(report: Report) -> tuple[Any, ...]:
    return digits(rows_of(report)), report.fired_steps, report.exit_code


class TestEveryDoor:
    """Of followers, half of the replayed jobs have a baseline."""

    def test_check(self, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
        """What lasts fires, from any step on; an executor gives the same report."""
        report, patience = case.check(), case.parameters.get("patience", 3)
        rows = rows_of(report)
        assert fired_steps(rows, patience) == report.fired_steps
        for start in case.global_steps[1::5]:
            assert fired_steps(between(rows, start), patience) == case.check(start_step=start).fired_steps
        monkeypatch.setattr(check_module, "LEAST_STEPS", 3)
        with ThreadPoolExecutor(2) as executor:
            assert report.to_json() == case.check(executor=executor).to_json()

    def test_rule(self, case: Case) -> None:
        """Under invoke_rule, with strings as the service passes them."""
        rule = WeightUpdateRatio(str(case.path), **{name: str(value) for name, value in case.parameters.items()})
        fired, _ = invoked(rule, case)
        assert (digits(rows_of(rule)), fired) == facts(case.check())[:2]

    def test_command(self, case: Case) -> None:
        """It prints the JSON of the check, and ends with its exit code."""
        options = [f"--{name.replace('_', '-')}={value}" for name, value in case.parameters.items()]
        done = invoke_command("check", str(case.path), "--format", "json", *options)
        report = case.check()
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
        ("layer", "sizes", "options", "fired"),
        [
            ("moves", {}, {}, []),
            ("frozen", dict.fromkeys(range(STEPS), 1e-4), {}, list(range(3, STEPS))),  # it rests in the good run
            ("frozen", dict.fromkeys(range(STEPS), 1e-4), {"small_threshold": 5e-4}, []),  # and so it does here
            ("moves", {5: 1.0, 6: 1.0, 15: 1.0, 16: 1.0}, {}, []),
            ("moves", {5: 1.0, 6: 1.0, 15: 1.0, 16: 1.0}, {"patience": 2}, [6, 16]),
            ("moves", {9: 1.0, 10: 0.0, 11: 1.0}, {}, [11]),  # too large, too small, too large
            ("moves", {9: 0.015}, {"baseline_factor": 1.2, "patience": 1}, [9]),
            ("moves", {9: 0.015}, {"baseline_factor": 2, "patience": 1}, []),
            ("moves", {28: math.nan}, {"patience": 20}, [28, 29]),
        ],
    )
    def test_the_steps_that_fire(
        self, good: Path, write_trial: Any, layer: str, sizes: Any, options: Any, fired: list[int]
    ) -> None:
        """Of a run like the good one, but for some steps of one layer."""
        trial = write_trial(layers(**{layer: moved(sizes)})).path
        report = check_trial(trial, baseline=good, **options)
        assert (fired, 1 if fired else 0) == (report.fired_steps, report.exit_code)
        assert len(report) == json.loads(report.to_json())["baseline"]["held"]

    def test_the_thresholds_are_not_asked(self, good: Path) -> None:
        """By them a layer that rests, one that begins at zero and a warm-up fire, in their ways."""
        report = check_trial(good)
        kinds = {(group.tensor, group.verdict) for group in report.violations if group.fires}
        assert {("frozen", "small"), ("zero", "large"), ("warm", "small")} == kinds
        assert [] == check_trial(good, baseline=good).violations

    def test_a_run_that_moves_less_as_a_whole(self, write_trial: Any) -> None:
        """The advice compares it with the good run."""
        good, run = (write_trial({"a": moved({}, size), "b": moved({}, size)}, str(size)).path for size in (1e-2, 1e-4))
        advice = "All move less than in the good run: compare the learning rates, and the gradients."
        assert advice in " ".join(check_trial(run, baseline=good).to_text().split())

    def test_layers_that_cannot_be_held_are_judged_by_the_thresholds(self, good: Path, write_trial: Any) -> None:
        """They are listed; the exit code is that of the rest."""
        run = layers(new=moved({}))
        del run["zero"]
        trial = write_trial(run, intervals={"warm": 3}).path
        report = check_trial(trial, baseline=good)
        expected = [
            ("warm", "over 3 steps, in the baseline over 1 step: judged by the thresholds"),
            ("new", "not in the baseline: judged by the thresholds"),
            ("zero", "in the baseline, not in this run"),
        ]
        assert sorted(expected) == sorted((group.tensor, group.reason) for group in report.skipped)
        assert {(1e-8, 10.0)} == {(row.lower, row.upper) for row in report if row.tensor in ("new", "warm")}
        assert (0, True) == (report.exit_code, report.complete)
        assert [] == check_trial(trial, baseline=good, tensor_regex="moves,frozen").skipped


def baseline_text(change: dict[str, Any], tensor: dict[str, Any] | None = None) -> str:
    """Return the text of a baseline file with other values."""
    entry = {"gap": 1, "first_bin": 0, "low": [0.001], "high": [0.1], **(tensor or {})}
    document = {"format": "weight-update-ratio-baseline", "version": 1, "runs": 1, "mode": "TRAIN", "num_steps": None}
    return json.dumps({**document, "epsilon": 1e-9, "tensors": {"w": entry}, **change})


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be in a folder of baselines: a healthy run's, others that cannot be used, and a trial that lost a file."""
    monkeypatch.chdir(tmp_path)
    late = {"gap": 1, "first_bin": 12, "low": [0.001], "high": [0.1]}
    thinned = {"gap": 2, "first_bin": 0, "low": [0.001], "high": [0.1]}
    Path("good.json").write_text(check_trial(HEALTHY).to_baseline())
    Path("global.json").write_text(baseline_text({"mode": "GLOBAL"}))
    Path("empty.json").write_text(baseline_text({"tensors": {}}))
    Path("late.json").write_text(baseline_text({"tensors": {"TinyNet_fc1.weight": late}}))
    Path("thinned.json").write_text(baseline_text({"tensors": {"TinyNet_fc1.weight": thinned}}))
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
        ("content", "words"),
        [
            ("", "is empty"),
            ("hello", "is not JSON (Expecting value: line 1 column 1 (char 0))"),
            ("\udcff", "is not JSON ('utf-8' codec can't decode byte 0xff in position 0: invalid start byte)"),
            ("{}", "is not a baseline: it has no 'format' 'weight-update-ratio-baseline'"),
            (baseline_text({"version": 2}), "is a baseline of version '2', and this program reads 1"),
            (baseline_text({"runs": 0}), "is broken: 'runs' cannot be '0'"),
            (
                baseline_text({}, {"low": [0.1], "high": [math.nan]}),
                "is broken: bin 0 of tensor 'w' must have finite ratios, 0 <= low <= high (got '0.1' and 'nan')",
            ),
        ],
    )
    def test_a_file_that_is_not_a_whole_baseline(self, tmp_path: Path, content: str, words: str) -> None:
        """It says what is wrong with it."""
        file = tmp_path / "good.json"
        file.write_text(content, errors="surrogateescape")
        assert (f"the baseline {str(file)!r} {words}", GOOD_RUN) == self.refused("--baseline", file)

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
        """Also after one that can be."""
        expected = f"the baseline {name!r} cannot be used: {reason}", remedy
        assert expected == self.refused("--baseline", "good.json", "--baseline", name)

    @pytest.mark.parametrize(
        ("arguments", "what", "values", "remedy"),
        [
            (["good.json", "--num-steps", "3"], "num_steps", ("3", "None"), JUDGE_BOTH.format("num_steps")),
            (["good.json", "--epsilon", "0.001"], "epsilon", ("0.001", "1e-09"), JUDGE_BOTH.format("epsilon")),
            (["global.json"], "mode", ("TRAIN", "GLOBAL"), ANOTHER_MODE),
        ],
    )
    @pytest.mark.usefixtures("files")
    def test_what_was_judged_otherwise(self, arguments: list[str], what: str, values: Any, remedy: str) -> None:
        """Both values are named."""
        where = f"the run cannot be held against the baseline {arguments[0]!r}"
        message = f"{where}: its {what} is {values[0]}, the baseline's {values[1]}"
        assert (message, remedy) == self.refused("--baseline", *arguments)

    @pytest.mark.usefixtures("files")
    def test_by_the_rule(self) -> None:
        """Its string is split at commas; another mode is found when there are steps."""
        rule = WeightUpdateRatio(str(HEALTHY), baseline=f" good.json, {FROZEN} ")
        invoked(rule, Case(HEALTHY, HEALTHY, {}))
        assert digits(rows_of(check_trial(HEALTHY, baseline=["good.json", FROZEN]))) == digits(rows_of(rule))
        with pytest.raises(TrialError, match="its num_steps is 3, the baseline's None"):
            WeightUpdateRatio(str(HEALTHY), baseline="good.json", num_steps="3")
        with pytest.raises(InsufficientInformationForRuleInvocation) as caught:
            WeightUpdateRatio(str(HEALTHY), baseline="global.json").invoke_at_step(5)
        assert f"its mode is TRAIN, the baseline's GLOBAL\n\n{ANOTHER_MODE}" in str(caught.value)

    def test_strange_names_and_numbers_are_harmless(self, tmp_path: Path) -> None:
        """Names that no terminal should see, ratios at the end of float64, and empty bins."""
        entry = {"gap": 1, "first_bin": 0, "low": [None, 0], "high": [None, 1.7e308]}
        file, merged = tmp_path / "good.json", tmp_path / "merged.json"
        names = ["\x1b[2Jw", "\ud800", "<script>", "TinyNet_conv1.weight"]
        file.write_text(baseline_text({"tensors": dict.fromkeys(names, entry)}))
        arguments = ["check", str(HEALTHY), "--baseline", str(file)]
        for style in ("text", "json", "junit", "github", "markdown"):
            done = invoke_command(*arguments, "--format", style)
            assert (0, "") == (done.exit_code, done.stderr)
            assert "\x1b" not in done.stdout
        assert math.inf == max(row.upper for row in check_trial(HEALTHY, baseline=file))
        assert 0 == invoke_command(*arguments, "--save-baseline", str(merged), "--quiet").exit_code
        assert 0 == check_trial(HEALTHY, baseline=merged).exit_code


class TestWhatCannotBeHeld:
    """A run of which nothing can be held against the baseline is not judged, unless a ratio is not finite."""

    @pytest.mark.parametrize(
        ("run", "baseline", "code", "reason"),
        [
            (FROZEN, str(KERAS), 2, f"the run's tensors {TENSORS}: it holds 'conv2d/weights/conv2d/kernel:0', "),
            (EXPLODING, str(KERAS), 1, f"the run's tensors {TENSORS}: it holds 'conv2d/weights/conv2d/kernel:0', "),
            (HEALTHY, "empty.json", 2, f"the run's tensors {TENSORS}: it is empty"),
            (HEALTHY, "thinned.json", 2, ": the ratios of 'TinyNet_fc1.weight' are over 1 step, the baseline's over 2"),
            (
                HEALTHY,
                "late.json",
                2,
                ": it has no ratio near the run's steps 1 to 19; its first are from TRAIN step 102",
            ),
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
        assert remedy == (WIDEN if baseline == "late.json" else SAME_MODEL)
        assert f"Error: {text}\n\n{remedy}\n" == done.stderr
        report = check_trial(run, baseline=baseline)
        assert sorted({row.global_step for row in report if row.verdict == "not_finite"}) == report.fired_steps
        assert (run != HEALTHY) == any(row.verdict in ("small", "large") for row in report)

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
    def test_it_is_written_whatever_fires(self, tmp_path: Path, run: Path, code: int, more: list[str]) -> None:
        """With the bytes of the report's own; the run passes against it."""
        file = tmp_path / "good.json"
        done = invoke_command("check", str(run), "--save-baseline", str(file), "--output", str(tmp_path / "t"), *more)
        note = f"Note: {str(file)!r} is made of a run that fired: what it has is sound from now on.\n"
        assert (code, code) == (done.exit_code, done.stderr.count(note))
        assert check_trial(run).to_baseline() == file.read_text()
        assert 0 == invoke_command("check", str(run), "--baseline", str(file)).exit_code

    def test_runs_one_after_the_other_into_the_same_file(self, tmp_path: Path) -> None:
        """Each that fires against it passes the next time; it is as good as all of them at once."""
        file, runs = tmp_path / "good.json", [FROZEN, HEALTHY, KILLED]
        for number, run in enumerate(runs, 1):
            known = ["--baseline", str(file)] if number > 1 else []
            done = invoke_command("check", str(run), *known, "--save-baseline", str(file), "--quiet")
            assert {FROZEN: 1, HEALTHY: 1, KILLED: 0}[run] == done.exit_code
            assert number == json.loads(file.read_text())["runs"]
        for run in runs:
            together = check_trial(run, baseline=runs, baseline_factor=1)
            assert facts(together) == facts(check_trial(run, baseline=file, baseline_factor=1))
            assert 0 == together.exit_code
        repeated = [argument for run in runs for argument in ("--baseline", str(run))]
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
