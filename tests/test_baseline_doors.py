"""Every door with a baseline: the same rows, firing steps and exit code; and what cannot be held against it."""

from __future__ import annotations

import json
import math
import random
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Iterable, NamedTuple

import numpy as np
import pytest
from smdebug.exceptions import InsufficientInformationForRuleInvocation
from smdebug.rules import invoke_rule
from smdebug.trials import create_trial

import weight_update_ratio.follow as follow_module
from tests.conftest import (
    CAN_WRITE,
    RECORDED,
    REPOSITORY,
    WHY_NOT_WRITTEN,
    TrialWriter,
    event_file,
    needs_writing,
    write_whole_trial,
)
from tests.live.test_replayed_jobs import Job, files_of, planned_writes
from tests.reports import invoke_command
from tests.test_rule import fired_steps
from weight_update_ratio import Report, TrialError, WeightUpdateRatio, check_trial, follow_trial

HEALTHY, FROZEN, EXPLODING = (RECORDED[f"pytorch_{name}"] for name in ("healthy", "frozen", "exploding"))
SAME_MODEL = "Take a baseline of the same model, saved at the same interval and judged with the same parameters."
NOT_THERE = "cannot be used: it does not exist"
NO_COMMAS = "Of several, each is one of its own: commas do not separate them."
ONE_OF_THESE = "Pass a trial folder, an S3 URI, or a file that --save-baseline wrote."
GOOD_RUN = "Save it anew with --save-baseline, from a run that trains well."
STEPS = 30  # of the trials that are written here
SICK = (3, 4, 10, 11, 12, 13, 18, 20, 25)  # steps of the sick run at which "moves" moves too far


def moved(sizes: Iterable[float], start: float = 1.0, seed: int = 0) -> list[Any]:
    """Return the weights of each step, of which the first is the start: every element moves by the step's size."""
    chance = np.random.default_rng(seed)
    updates = [chance.choice([-1.0, 1.0], 20) * size for size in sizes]
    return list(start + np.cumsum([0 * updates[0], *updates[1:]], axis=0))


def layers(seed: int, sizes: dict[str, list[float]] | None = None) -> dict[str, list[Any]]:
    """Return a run's weights by layer and step: one of each kind that fires by the thresholds, and one that moves."""
    jitter = np.random.default_rng(seed).uniform(0.9, 1.1, STEPS)
    usual = {
        "moves": list(0.01 * jitter),
        "frozen": [0.0] * STEPS,
        "zero": list(0.01 * jitter),
        "warm": [0.01 * max(0, step - 3) / STEPS for step in range(STEPS)],
    }
    starts = {"zero": 0.0}
    every = {**usual, **(sizes or {})}
    return {name: moved(size, starts.get(name, 1.0), seed) for name, size in every.items()}


def sick_layers() -> dict[str, list[Any]]:
    far = {"moves": [1.0 if step in SICK else 0.01 for step in range(STEPS)]}
    sick = layers(7, far)
    sick["moves"][16] = sick["moves"][16][:10]  # another shape: this comparison and the next are skipped
    sick["zero"][22] = sick["zero"][22] * math.nan
    return sick


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with the trials good, second, third (these train well) and sick."""
    if not CAN_WRITE:
        pytest.skip(WHY_NOT_WRITTEN)
    folder = tmp_path_factory.mktemp("written")
    for seed, name in enumerate(("good", "second", "third")):
        write_whole_trial(folder / name, layers(seed))
    workers = ("worker_0", "worker_1")
    write_whole_trial(folder / "sick", sick_layers(), workers=workers, missing=[("worker_1", 11)])
    event_file(folder / "sick", 19).write_bytes(b"")
    return folder


class Case(NamedTuple):
    """A run, a good run, and how the one is judged against the other."""

    run: Path
    good: Path
    options: dict[str, Any]

    @property
    def patience(self) -> int:
        return int(self.options.get("patience", 3))

    def check(self, **more: Any) -> Report:
        return check_trial(self.run, **{"baseline": self.good, **self.options, **more})


@pytest.fixture(
    params=[
        ("pytorch_frozen", "pytorch_healthy", {}),
        ("pytorch_healthy", "pytorch_frozen", {}),
        ("pytorch_exploding", "pytorch_healthy", {}),
        ("pytorch_frozen", "pytorch_killed", {"baseline_factor": 1.0}),
        ("pytorch_killed", "pytorch_frozen", {"baseline_factor": 1.0, "patience": 2, "num_steps": 3}),
        ("tf_keras", "tf_keras", {}),
        ("sick", "good", {}),
        ("sick", "good", {"patience": 1, "num_steps": 2}),
        ("second", "good", {}),
    ],
    ids=lambda value: "-".join([*value[:2], *value[2]]),
)
def case(request: pytest.FixtureRequest) -> Case:
    """Give runs that fire, that have violations which do not last, that pass, and that are not whole."""
    run, good, options = request.param
    if run in RECORDED:
        return Case(RECORDED[run], RECORDED[good], options)
    folder = request.getfixturevalue("written")
    return Case(folder / run, folder / good, options)


def rows(history: Any) -> list[str]:
    """Return the comparisons of a report or history with every digit, NaN included, by global step."""
    return [repr(row) for row in sorted(history, key=lambda row: (row.global_step, row.worker, row.tensor))]


def facts(report: Report) -> tuple[Any, ...]:
    """Return the rows with their bounds and verdicts, whether it fired, the exit code and the steps that fire."""
    return rows(report), report.fired, report.exit_code, report.fired_steps


def bin_of(step: int) -> int:
    """Return the bin of a step by whole numbers: edge k is ceil(8 * 2**(k / 3)), so step**3 >= 512 * 2**k."""
    return (step**3 // 512).bit_length() if step >= 8 else 0


def expected_bounds(row: Any, good: list[Any], factor: float) -> tuple[float, float]:
    """Return the bounds of a comparison as the contract reads: from the rows of good runs that are near."""
    known = [other for other in good if other.tensor == row.tensor]
    gaps = [other.step - other.reference_step for other in known]
    gap = min(gaps, key=lambda each: (-gaps.count(each), each)) if gaps else 0
    known = [other for other in known if other.step - other.reference_step == gap]
    bins = [bin_of(other.step) for other in known]
    own = min(bin_of(row.step), max(bins, default=0))
    near = [other.ratio for other, place in zip(known, bins) if abs(place - own) <= 1]
    if row.step - row.reference_step != gap or not near or own < min(bins):
        return 1e-8, 10.0
    return min(near) / factor, max(max(near) * factor, 1e-8)


def lasting_steps(report: Iterable[Any], patience: int) -> list[int]:
    """Return the global steps at which the rule fires, counted row by row."""
    in_a_row: dict[tuple[str, str], int] = {}
    firing = set()
    for row in sorted(report, key=lambda row: row.global_step):
        key = row.tensor, row.worker
        in_a_row[key] = 0 if row.verdict == "ok" else in_a_row.get(key, 0) + 1
        if in_a_row[key] >= patience or row.verdict == "not_finite":
            firing.add(row.global_step)
    return sorted(firing)


def fires_when_invoked(known: Iterable[Any], step: int, patience: int) -> bool:
    """Return whether the rule fires at a step by the rows up to it."""
    return step in lasting_steps([row for row in known if row.global_step <= step], patience)


def global_steps(trial: Path) -> list[int]:
    return sorted({int(file.name.split("_")[0]) for file in trial.glob("index/*/*.json")})


def saved(trial: Path, file: Path, **options: Any) -> Path:
    """Return the file that a run was saved to as a baseline."""
    file.write_text(check_trial(trial, **options).to_baseline())
    return file


def saved_for(case: Case, folder: Path) -> Path:
    """Return the saved file of a case's good run, which is judged as the run is."""
    return saved(case.good, folder / "good.json", num_steps=case.options.get("num_steps"))


class TestTheCheck:
    def test_judges_as_the_contract_reads(self, case: Case) -> None:
        """The bounds come from the good run's rows, and what lasts fires."""
        report = case.check()
        good = list(check_trial(case.good, num_steps=case.options.get("num_steps")))
        factor = case.options.get("baseline_factor", 3.0)
        assert [expected_bounds(row, good, factor) for row in report] == [(row.lower, row.upper) for row in report]
        assert lasting_steps(report, case.patience) == report.fired_steps

    def test_is_the_same_from_a_folder_and_from_its_file(self, case: Case, tmp_path: Path) -> None:
        """Every digit of the bounds survives the file."""
        assert facts(case.check()) == facts(case.check(baseline=saved_for(case, tmp_path)))

    @pytest.mark.parametrize("size", [1, 5, 8])
    def test_is_the_same_on_threads_whatever_the_ranges(
        self, case: Case, size: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Rows of violations go on from one range into the next."""
        monkeypatch.setattr("weight_update_ratio.check.LEAST_STEPS", size)
        with ThreadPoolExecutor(3) as executor:
            report = case.check(executor=executor)
        assert facts(case.check()) == facts(report)
        assert case.check().to_json() == report.to_json()

    def test_a_start_in_the_middle_changes_no_row_after_it(self, case: Case) -> None:
        """Only violations from there on count; on an executor too."""
        whole = case.check()
        for start in (1, 5, 12, 13, 19, 20):
            with ThreadPoolExecutor(2) as executor:
                reports = [case.check(start_step=start), case.check(start_step=start, executor=executor)]
            for report in reports:
                assert rows(row for row in whole if row.global_step >= start) == rows(report)
                assert lasting_steps(report, case.patience) == report.fired_steps

    @pytest.mark.slow
    @needs_writing
    def test_is_the_same_on_processes_that_share_nothing(self, written: Path, tmp_path: Path) -> None:
        """The baseline goes with the ranges; nothing reads it again."""
        file = saved(written / "good", tmp_path / "good.json")
        expected = facts(check_trial(written / "sick", baseline=written / "good"))
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
            first = facts(check_trial(written / "sick", baseline=written / "good", executor=executor))
            second = facts(check_trial(written / "sick", baseline=[file], executor=executor))
        assert [expected, expected] == [first, second]

    @pytest.mark.parametrize("name", ["pt_resume_spot", "mxs_dup_step", "mx_alternate"])
    def test_numbers_that_were_saved_twice(self, name: str, tmp_path: Path) -> None:
        """With a file that leaves little room, a repeated part counts once, in every order."""
        trial = REPOSITORY / "tests" / "trials" / "hooks" / name / "trial"
        file = saved(trial, tmp_path / "good.json")
        document = json.loads(file.read_text())
        for entry in document["tensors"].values():
            entry["high"] = entry["low"]
        file.write_text(json.dumps(document))
        options: dict[str, Any] = {"baseline": file, "baseline_factor": 1.0, "patience": 2}
        report = check_trial(trial, **options)
        assert lasting_steps(report, 2) == report.fired_steps
        with ThreadPoolExecutor(2) as executor:
            assert facts(report) == facts(check_trial(trial, executor=executor, **options))
        rule = WeightUpdateRatio(str(trial), baseline=str(file), baseline_factor="1", patience="2")
        for step in reversed(global_steps(trial)):
            rule.invoke_at_step(step)
        assert (rows(report), report.fired_steps) == (rows(rule._run), rule._run.fired_steps)


class TestTheFollower:
    @pytest.mark.parametrize("seed", range(3))
    def test_has_the_report_of_a_check(
        self, case: Case, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whatever comes late, in parts or twice."""
        chance = random.Random(seed)
        trial = tmp_path / "trial"
        trial.mkdir()
        job = Job(trial, planned_writes([files_of(case.run)], chance), chance)
        monkeypatch.setattr(follow_module.time, "sleep", job.sleep)
        report = follow_trial(trial, baseline=str(case.good), **case.options)
        assert case._replace(run=trial).check().to_json() == report.to_json()
        assert facts(case.check()) == facts(report)


class TestTheRule:
    def made(self, case: Case, baseline: Path | None = None, opened: Any = None) -> WeightUpdateRatio:
        """Return the rule with every parameter as a string, as the service passes it."""
        options = {name: str(value) for name, value in case.options.items()}
        trial = create_trial(str(case.run)) if opened is None else opened
        return WeightUpdateRatio(trial, baseline=str(baseline or case.good), **options)

    def test_fires_under_invoke_rule_where_the_check_does(self, case: Case, tmp_path: Path) -> None:
        """From the folder and from its file."""
        ended = (case.run / "training_job_end.ts").exists()
        end_step = None if ended else global_steps(case.run)[-1] + 1
        report = case.check()
        for baseline in (case.good, saved_for(case, tmp_path)):
            rule = self.made(case, baseline)
            assert report.fired_steps == fired_steps(rule, end_step)
            assert rows(report) == rows(rule._run)
            assert len(report.fired_steps) == rule.report["RuleTriggered"]

    @pytest.mark.parametrize("order", ["shuffled", "backwards", "every third", "the last alone"])
    def test_fires_by_the_steps_at_which_it_was_invoked(self, case: Case, order: str) -> None:
        """Whatever their order; asked again, it says the same."""
        expected = list(case.check())
        steps = global_steps(case.run)
        if order == "shuffled":
            random.Random(1).shuffle(steps)
        elif order == "backwards":
            steps.reverse()
        else:
            steps = steps[::3] if order == "every third" else steps[-1:]
        rule = self.made(case)
        fired = []
        for number, step in enumerate(steps, 1):
            known = [row for row in expected if row.global_step in steps[:number]]
            fired.append(rule.invoke_at_step(step))
            assert fires_when_invoked(known, step, case.patience) == fired[-1]
        assert rows(known) == rows(rule._run)
        assert fired == [rule.invoke_at_step(step) for step in steps]

    @pytest.mark.parametrize("seed", range(2))
    def test_beside_a_live_job(self, case: Case, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """When smdebug has waited for each step, the rows are those of a check, and the same steps fire."""
        chance = random.Random(seed)
        trial = tmp_path / "trial"
        trial.mkdir()
        job = Job(trial, planned_writes([files_of(case.run)], chance, growing=False), chance)
        monkeypatch.setattr(time, "sleep", job.sleep)
        rule = self.made(case, opened=create_trial(str(trial)))
        fired = fired_steps(rule)
        expected = facts(case.check())
        assert (expected[0], expected[3]) == (rows(rule._run), rule._run.fired_steps)
        assert expected[1] == bool(fired)


class TestTheCommand:
    def test_has_the_report_of_the_check(self, case: Case, tmp_path: Path) -> None:
        """The same JSON, history and exit code."""
        options = [f"--{name.replace('_', '-')}={value}" for name, value in case.options.items()]
        file = tmp_path / "rows.jsonl"
        more = ["--format", "json", "--history", str(file), *options]
        done = invoke_command("check", str(case.run), "--baseline", str(case.good), *more)
        report = case.check()
        assert (report.exit_code, report.to_json()) == (done.exit_code, done.stdout.rstrip("\n"))
        found = [json.loads(line) for line in file.read_text().splitlines()]
        assert [(row["tensor"], row["step"], row["lower"], row["upper"], row["verdict"]) for row in found] == [
            (row.tensor, row.step, row.lower, row.upper, row.verdict) for row in report
        ]

    def test_a_comma_belongs_to_the_path(self, tmp_path: Path) -> None:
        """The rule's string is split at commas, the command's option and the function's parameter are not."""
        file = saved(HEALTHY, tmp_path / "good, and small.json")
        done = invoke_command("check", str(HEALTHY), "--baseline", str(file), "--format", "json")
        assert (0, 1) == (done.exit_code, json.loads(done.stdout)["baseline"]["runs"])
        assert 0 == check_trial(HEALTHY, baseline=str(file)).exit_code
        with pytest.raises(TrialError) as caught:
            WeightUpdateRatio(str(HEALTHY), baseline=str(file))
        assert f"the baseline {str(tmp_path / 'good')!r} {NOT_THERE}" == caught.value.message
        two = f" {HEALTHY}, {saved(FROZEN, tmp_path / 'frozen.json')} "
        rule = WeightUpdateRatio(str(HEALTHY), baseline=two)
        assert 2 == rule._run.bounds.baseline.runs
        done = invoke_command("check", str(HEALTHY), "--baseline", two)
        assert 2 == done.exit_code
        assert f"Error: the baseline {two.strip()!r} {NOT_THERE}\n\n{ONE_OF_THESE} {NO_COMMAS}\n" == done.stderr

    def test_several_by_repeating_it(self) -> None:
        """As a list of the function's."""
        arguments = ["--baseline", str(FROZEN), "--baseline", str(HEALTHY), "--format", "json"]
        done = invoke_command("check", str(FROZEN), *arguments)
        assert check_trial(FROZEN, baseline=[FROZEN, HEALTHY]).to_json() == done.stdout.rstrip("\n")
        facts = json.loads(done.stdout)["baseline"]
        assert {"runs": 2, "factor": 3.0, "patience": 3, "held": 76} == facts

    def test_the_keys_of_json(self) -> None:
        """What it was held against, and the bounds of the worst step of each group."""
        report = json.loads(check_trial(FROZEN, baseline=HEALTHY, baseline_factor=2, patience=4).to_json())
        assert {"runs": 1, "factor": 2.0, "patience": 4, "held": 76} == report["baseline"]
        parameters = {name: report["parameters"][name] for name in ("patience", "baseline", "baseline_factor")}
        assert {"patience": 4, "baseline": str(HEALTHY), "baseline_factor": 2.0} == parameters
        worst = report["violations"][0]
        row = next(row for row in check_trial(FROZEN, baseline=HEALTHY, baseline_factor=2) if row.verdict != "ok")
        assert (row.tensor, row.worker, "small", row.step) == (
            *(worst["tensor"], worst["worker"], worst["verdict"], worst["worst_step"]),
        )
        assert (row.lower, row.upper) == (worst["lower"], worst["upper"])
        assert None is json.loads(check_trial(FROZEN).to_json())["baseline"]


@pytest.mark.slow
class TestOnS3:
    @needs_writing
    def test_folder_and_file_are_the_same_there(self, s3: Any, written: Path, tmp_path: Path) -> None:
        """From the check, the command and the rule."""
        saved(written / "good", tmp_path / "good.json")
        folder, files = s3.upload(written / "good", "doors/good"), s3.upload(tmp_path, "doors")
        run = written / "sick"
        report = check_trial(run, baseline=written / "good")
        assert facts(report) == facts(check_trial(run, baseline=[f"{folder}/"]))
        done = invoke_command("check", str(run), "--baseline", f"{files}/good.json", "--format", "json")
        expected, found = json.loads(report.to_json()), json.loads(done.stdout)
        for document in (expected, found):
            document["parameters"].pop("baseline")
        assert (report.exit_code, expected) == (done.exit_code, found)
        for baseline in (folder, f"{files}/good.json "):
            rule = WeightUpdateRatio(str(run), baseline=baseline)
            fired = fired_steps(rule)
            assert (rows(report), report.fired_steps) == (rows(rule._run), fired)

    def test_what_is_not_there(self, s3: Any) -> None:
        """A key below which nothing is, and a bucket that does not exist: one message, exit code 2."""
        uri = f"s3://{s3.bucket}/bl/nowhere.json"
        done = invoke_command("check", str(HEALTHY), "--baseline", uri)
        assert (2, "") == (done.exit_code, done.stdout)
        assert done.stderr.startswith(f"Error: the baseline {uri!r} cannot be used: ")
        done = invoke_command("check", str(HEALTHY), "--baseline", "s3://no-such-bucket/good.json")
        assert (2, "") == (done.exit_code, done.stdout)
        assert "no-such-bucket" in done.stderr.split("\n")[0]


@needs_writing
class TestWhatGoodRunsDo:
    """A frozen layer, one that begins at zero and a warm-up from zero are sound where the good run has them."""

    def test_passes(self, written: Path) -> None:
        """Another good run has no violation, of whatever layer, and every row is held against the baseline."""
        report = check_trial(written / "second", baseline=written / "good")
        assert (0, 0, []) == (report.exit_code, report.counts["violations"], report.skipped)
        assert len(report) == json.loads(report.to_json())["baseline"]["held"]

    def test_fires_by_the_thresholds(self, written: Path) -> None:
        """Each of the three does, in its way; the layer that moves does not."""
        report = check_trial(written / "second")
        assert 1 == report.exit_code
        assert {("frozen", "small"), ("zero", "large"), ("warm", "small")} == {
            (group.tensor, group.verdict) for group in report.firing
        }

    def test_a_layer_that_rests_there_and_moves_here_is_too_large(self, tmp_path: Path, written: Path) -> None:
        """Its bounds are 0 and small_threshold."""
        trial = write_whole_trial(tmp_path / "trial", layers(4, {"frozen": [1e-4] * STEPS})).path
        report = check_trial(trial, baseline=written / "good")
        (group,) = report.firing
        assert (1, "frozen", "large") == (report.exit_code, group.tensor, group.verdict)
        assert (0.0, 1e-8, 29) == (group.lower, group.upper, group.count)
        assert 0 == check_trial(trial, baseline=written / "good", small_threshold=5e-4).exit_code  # that is at rest


def test_a_recorded_layer_that_is_frozen_in_the_baseline_and_moves() -> None:
    """Against its own kind it passes; the healthy run's is `large` from the first comparison on."""
    assert (0, []) == (check_trial(FROZEN, baseline=FROZEN).exit_code, check_trial(FROZEN, baseline=FROZEN).violations)
    report = check_trial(HEALTHY, baseline=FROZEN)
    (group,) = report.violations
    assert ("TinyNet_conv1.weight", "large", 19, 0.0, 1e-8) == (
        *(group.tensor, group.verdict, group.count, group.lower, group.upper),
    )
    assert (1, 17) == (report.exit_code, len(report.fired_steps))


@needs_writing
class TestPatience:
    """What did not last does not fire, and is not forgotten."""

    def made(self, tmp_path: Path, sick: Iterable[int], **options: Any) -> Path:
        """Return a trial whose one layer moves too far at some steps."""
        sizes = [1.0 if step in set(sick) else 0.01 for step in range(STEPS)]
        return write_whole_trial(tmp_path / "trial", {"moves": moved(sizes)}, **options).path

    def test_two_in_a_row_are_counted_and_pass(self, tmp_path: Path, written: Path) -> None:
        """One sentence names them; each row is a violation of a group that does not fire."""
        trial = self.made(tmp_path, [5, 6, 15, 16])
        done = invoke_command("check", str(trial), "--baseline", str(written / "good"))
        sentence = "4 of 29 update-to-weight ratios are out of bounds, never 3 in a row"
        assert (0, f"OK  {trial}: {sentence}") == (done.exit_code, done.stdout.split("\n")[0])
        report = check_trial(trial, baseline=written / "good")
        assert [4, False, []] == [report.counts["violations"], report.fired, report.firing]
        (group,) = report.passing
        assert ("moves", "large", 4, 5, 16) == (
            *(group.tensor, group.verdict, group.count, group.first_step, group.last_step),
        )
        (shown,) = json.loads(report.to_json())["violations"]
        assert (4, group.lower, group.upper) == (shown["count"], shown["lower"], shown["upper"])

    def test_verdicts_that_change_in_a_row(self, tmp_path: Path, written: Path) -> None:
        """Large, small, large is three in a row: none of them is said not to last, and all are shown."""
        sizes = [{9: 1.0, 10: 0.0, 11: 1.0}.get(step, 0.01) for step in range(STEPS)]
        trial = write_whole_trial(tmp_path / "trial", {"moves": moved(sizes)}).path
        done = invoke_command("check", str(trial), "--baseline", str(written / "good"))
        sentence = "3 of 29 update-to-weight ratios are violations"
        assert (1, f"FIRED  {trial}: {sentence}") == (done.exit_code, done.stdout.split("\n")[0])
        assert "Too large: moves moved too much at 2 comparisons between TRAIN steps 9 and 11:" in done.stdout
        assert "Resting: moves rested between moves: ratio 0 at TRAIN step 10" in done.stdout

    def test_one_alone(self, tmp_path: Path, written: Path) -> None:
        """The sentence counts."""
        done = invoke_command("check", str(self.made(tmp_path, [9])), "--baseline", str(written / "good"))
        assert 0 == done.exit_code
        assert "1 of 29 update-to-weight ratios is out of bounds, never 3 in a row\n" in done.stdout

    @pytest.mark.parametrize(("patience", "code"), [(None, 0), (4, 0), (3, 0), (2, 1), (1, 1)])
    def test_the_parameter_decides(self, tmp_path: Path, written: Path, patience: int | None, code: int) -> None:
        """It is 3 with a baseline, and 1 without."""
        trial = self.made(tmp_path, [5, 6])
        assert code == check_trial(trial, baseline=written / "good", patience=patience).exit_code
        assert {True: 1, False: 0}[(patience or 1) <= 2] == check_trial(
            trial, large_threshold=0.5, patience=patience
        ).exit_code

    def test_steps_without_a_comparison_neither_count_nor_break_the_row(self, tmp_path: Path, written: Path) -> None:
        """A step that was not saved, a changed shape and a record that is lost."""
        sizes = [1.0 if step in (4, 6, 12, 15, 19, 22) else 0.01 for step in range(STEPS)]
        walk = moved(sizes)
        walk[5] = None  # type: ignore[call-overload]
        walk[13] = np.ones(3)
        trial = write_whole_trial(tmp_path / "trial", {"moves": walk}).path
        event_file(trial, 20).write_bytes(b"")
        report = check_trial(trial, baseline=written / "good", patience=2, num_steps=None)
        compared = [row.global_step for row in report]
        assert not {5, 13, 14, 20, 21} & set(compared)
        assert [15, 22] == [step for step in report.fired_steps if step > 6]
        assert lasting_steps(report, 2) == report.fired_steps

    def test_verdicts_of_all_kinds_count_in_a_row(self, tmp_path: Path, written: Path) -> None:
        """Too far, at rest, too far."""
        sizes = [{9: 1.0, 10: 0.0, 11: 1.0}.get(step, 0.01) for step in range(STEPS)]
        trial = write_whole_trial(tmp_path / "trial", {"moves": moved(sizes)}).path
        report = check_trial(trial, baseline=written / "good")
        assert ["large", "small", "large"] == [row.verdict for row in report if row.verdict != "ok"]
        assert [11] == report.fired_steps

    def test_what_is_not_finite_fires_at_once(self, tmp_path: Path, written: Path) -> None:
        """Whatever the patience."""
        walk = moved([0.01] * STEPS)
        walk[9] = walk[9] * math.nan
        trial = write_whole_trial(tmp_path / "trial", {"moves": walk}).path
        report = check_trial(trial, baseline=written / "good", patience=100)
        assert (1, [9, 10]) == (report.exit_code, report.fired_steps)


def broken(change: dict[str, Any], tensor: dict[str, Any] | None = None) -> str:
    """Return the text of a baseline file with other values."""
    entry = {"gap": 1, "first_bin": 0, "low": [0.001], "high": [0.1], **(tensor or {})}
    document = {"format": "weight-update-ratio-baseline", "version": 1, "runs": 1, "mode": "TRAIN", "num_steps": None}
    return json.dumps({**document, "epsilon": 1e-9, "tensors": {"w": entry}, **change})


class TestRefusals:
    """One message that names the baseline, an empty line, one remedy, exit code 2, and nothing on stdout."""

    def refused(self, run: Path, *arguments: Any) -> list[str]:
        done = invoke_command("check", *map(str, [run, *arguments]))
        assert (2, "") == (done.exit_code, done.stdout)
        message, empty, remedy, end = done.stderr.split("\n")
        assert ("", "") == (empty, end)
        assert message.startswith("Error: ")
        return [message[len("Error: ") :], remedy]

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            ("", "is empty"),
            ("hello", "is not JSON (Expecting value: line 1 column 1 (char 0))"),
            ("[" * 100_000, "is not JSON (it is nested too deeply)"),
            ("[]", "is not a baseline: it has no 'format' 'weight-update-ratio-baseline'"),
            ("{}", "is not a baseline: it has no 'format' 'weight-update-ratio-baseline'"),
            (broken({"version": 2}), "is a baseline of version '2', and this program reads 1"),
            (broken({"runs": 0}), "is broken: 'runs' cannot be '0'"),
            (broken({"mode": "\x1b[31m"}), "is broken: 'mode' cannot be '\\x1b[31m'"),
            (broken({"num_steps": 0}), "is broken: 'num_steps' cannot be '0'"),
            (broken({"epsilon": -1}), "is broken: 'epsilon' cannot be '-1'"),
            (broken({"tensors": [{}]}), "is broken: 'tensors' cannot be 'a list or object'"),
            (broken({"tensors": {"w": 3}}), "is broken: the entry of tensor 'w' cannot be '3'"),
            (broken({}, {"gap": 0}), "is broken: 'gap' of tensor 'w' cannot be '0'"),
            (broken({}, {"first_bin": 10**9}), "is broken: 'first_bin' of tensor 'w' cannot be '1000000000'"),
            (broken({}, {"low": [0.1] * 2}), "is broken: 'low' and 'high' of tensor 'w' are not lists of one length"),
            (
                broken({}, {"low": [0.1], "high": [0.01]}),
                "is broken: bin 0 of tensor 'w' must have finite ratios, 0 <= low <= high (got '0.1' and '0.01')",
            ),
            (
                broken({}, {"low": [0.1], "high": [math.nan]}),
                "is broken: bin 0 of tensor 'w' must have finite ratios, 0 <= low <= high (got '0.1' and 'nan')",
            ),
            (
                broken({}, {"low": [None], "high": [1]}),
                "is broken: bin 0 of tensor 'w' must have finite ratios, 0 <= low <= high (got 'None' and '1')",
            ),
        ],
    )
    def test_a_file_that_is_not_a_whole_baseline(self, tmp_path: Path, content: str, words: str) -> None:
        """It says what is wrong with it."""
        file = tmp_path / "good.json"
        file.write_text(content)
        assert [f"the baseline {str(file)!r} {words}", GOOD_RUN] == self.refused(HEALTHY, "--baseline", file)

    def test_a_file_of_no_text(self, tmp_path: Path) -> None:
        """Bytes that are not UTF-8."""
        file = tmp_path / "good.json"
        file.write_bytes(b"\xff\xfe{")
        message, remedy = self.refused(HEALTHY, "--baseline", file)
        assert message.startswith(f"the baseline {str(file)!r} is not JSON ('utf-8' codec can't decode")
        assert GOOD_RUN == remedy

    def test_a_file_of_strange_names_and_numbers(self, tmp_path: Path) -> None:
        """Names that no terminal should see, ratios at the end of float64, empty bins: it is harmless."""
        entry = {"gap": 1, "first_bin": 0, "low": [None, 0], "high": [None, 1.7e308]}
        file, merged = tmp_path / "good.json", tmp_path / "merged.json"
        names = ["\x1b[2Jw", "\ud800", "<script>", "TinyNet_conv1.weight"]
        file.write_text(broken({"tensors": dict.fromkeys(names, entry)}))
        for style in ("text", "json", "junit", "github", "markdown"):
            done = invoke_command("check", str(HEALTHY), "--baseline", str(file), "--format", style)
            assert (0, "") == (done.exit_code, done.stderr)
            assert "\x1b" not in done.stdout
        report = json.loads(check_trial(HEALTHY, baseline=file).to_json())
        assert {"\x1b[2Jw", "\ud800", "<script>"} == {
            entry["tensor"] for entry in report["skipped"] if "not in this run" in entry["reason"]
        }
        assert math.inf == max(row.upper for row in check_trial(HEALTHY, baseline=file))
        done = invoke_command("check", str(HEALTHY), "--baseline", str(file), "--save-baseline", str(merged), "--quiet")
        assert (0, 2) == (done.exit_code, json.loads(merged.read_text())["runs"])
        assert 0 == check_trial(HEALTHY, baseline=merged).exit_code

    def test_nothing_there(self, tmp_path: Path) -> None:
        """A path that does not exist, another form of URI, a blank."""
        path = str(tmp_path / "nowhere.json")
        expected = [f"the baseline {path!r} {NOT_THERE}", ONE_OF_THESE]
        assert expected == self.refused(HEALTHY, "--baseline", path)
        other = "s3a://bucket/good"
        message = f"the baseline {other!r} cannot be used: the trial {other!r} is neither a path nor an S3 URI"
        remedy = "Pass a path, or the S3 URI below which the job saved: s3://bucket/prefix."
        assert [message, remedy] == self.refused(HEALTHY, "--baseline", other)
        message, _ = self.refused(HEALTHY, "--baseline", " ")
        assert "'baseline' must hold paths or S3 URIs (got (' ',))" == message

    def test_a_folder_that_is_not_a_trial(self, tmp_path: Path) -> None:
        """What is said of a run is said of a baseline."""
        (tmp_path / "empty").mkdir()
        message, _ = self.refused(HEALTHY, "--baseline", tmp_path / "empty")
        where = repr(str(tmp_path / "empty"))
        prefix = f"the baseline {where} cannot be used: the folder"
        assert f"{prefix} {where} is not a trial: it has neither 'collections' nor 'index'" == message

    def test_a_run_with_ratios_that_are_not_finite(self) -> None:
        """It names the first of them."""
        where = f"the baseline {str(EXPLODING)!r} cannot be used"
        message = f"{where}: the ratio of 'TinyNet_conv1.weight' at TRAIN step 3 is nan"
        assert [message, "Take a run that trains well."] == self.refused(HEALTHY, "--baseline", EXPLODING)
        assert message == self.refused(HEALTHY, "--baseline", HEALTHY, "--baseline", EXPLODING)[0]

    @pytest.mark.parametrize("name", ["xgboost", "pytorch_reductions_only"])
    def test_a_run_of_which_nothing_can_be_compared(self, name: str) -> None:
        """Why is said as of a run, and what to save instead."""
        problem = check_trial(RECORDED[name]).problem
        assert problem is not None
        expected = [f"the baseline {str(RECORDED[name])!r} cannot be used: {problem.message}", problem.remedy]
        assert expected == self.refused(HEALTHY, "--baseline", RECORDED[name])

    @needs_writing
    def test_a_run_with_lost_records(self, written: Path) -> None:
        """Its extremes would be a part of the truth."""
        done = invoke_command("check", str(HEALTHY), "--baseline", str(written / "sick"), "--exclude-regex", "zero")
        message = f"the baseline {str(written / 'sick')!r} cannot be used: 3 of its records could not be read"
        remedy = "Restore its files, or take another run that trains well."
        assert (2, f"Error: {message}\n\n{remedy}\n") == (done.exit_code, done.stderr)

    @pytest.mark.parametrize(
        ("option", "what", "own", "theirs"),
        [(["--num-steps", "3"], "num_steps", "3", "None"), (["--epsilon", "0.001"], "epsilon", "0.001", "1e-09")],
    )
    def test_a_file_that_was_judged_otherwise(
        self, tmp_path: Path, option: list[str], what: str, own: str, theirs: str
    ) -> None:
        """Both values are named. A folder is judged as the run is, and so is none that was judged otherwise."""
        file = saved(HEALTHY, tmp_path / "good.json")
        where = f"the run cannot be held against the baseline {str(file)!r}"
        expected = [
            f"{where}: its {what} is {own}, the baseline's {theirs}",
            f"Judge both with the same {what}, or save the baseline anew.",
        ]
        assert expected == self.refused(HEALTHY, "--baseline", file, *option)
        assert 0 == invoke_command("check", str(HEALTHY), "--baseline", str(HEALTHY), *option).exit_code
        with pytest.raises(TrialError) as caught:
            WeightUpdateRatio(str(HEALTHY), baseline=str(file), **{what: own})
        assert expected == [caught.value.message, caught.value.remedy]

    def test_a_run_of_another_mode(self, tmp_path: Path) -> None:
        """Steps of two modes do not count the same."""
        file = tmp_path / "good.json"
        file.write_text(broken({"mode": "GLOBAL"}))
        expected = [
            f"the run cannot be held against the baseline {str(file)!r}: its mode is TRAIN, the baseline's GLOBAL",
            "Save the baseline anew, from a run whose steps are of mode TRAIN.",
        ]
        assert expected == self.refused(HEALTHY, "--baseline", file)
        for follow in (["--follow", "--timeout", "1"], ["--format", "github"]):
            assert 2 == invoke_command("check", str(HEALTHY), "--baseline", str(file), *follow).exit_code
        with pytest.raises(InsufficientInformationForRuleInvocation) as caught:
            WeightUpdateRatio(str(HEALTHY), baseline=str(file)).invoke_at_step(5)
        assert "\n\n".join(expected) in str(caught.value)

    def test_baselines_that_were_not_judged_alike(self, tmp_path: Path) -> None:
        """Which two they are is said."""
        file = tmp_path / "good.json"
        file.write_text(broken({"mode": "GLOBAL"}))
        message = f"the baselines {str(HEALTHY)!r} and {str(file)!r} cannot be merged: their mode is TRAIN and GLOBAL"
        expected = [message, "Merge baselines that were judged with the same mode."]
        assert expected == self.refused(HEALTHY, "--baseline", HEALTHY, "--baseline", file)

    def test_programs_get_their_format(self, tmp_path: Path) -> None:
        """JSON with the problem, beside the message on stderr."""
        file = tmp_path / "good.json"
        file.write_text("")
        done = invoke_command("check", str(HEALTHY), "--baseline", str(file), "--format", "json")
        report = json.loads(done.stdout)
        assert (2, None, False) == (done.exit_code, report["baseline"], report["fired"])
        assert {"text": f"the baseline {str(file)!r} is empty", "remedy": GOOD_RUN} == report["problem"]
        assert str(file) == report["parameters"]["baseline"]


class TestWhatCannotBeHeld:
    """A run of which nothing can be held against the baseline is not judged, unless a ratio is not finite."""

    def unheld(self, run: Path, baseline: Path, *more: Any) -> tuple[int, dict[str, Any]]:
        """Return the exit code and the JSON; the problem is on stderr once."""
        done = invoke_command("check", *map(str, [run, "--baseline", baseline, "--format", "json", *more]))
        report = json.loads(done.stdout)
        problem = report["problem"]
        assert f"Error: {problem['text']}\n\n{problem['remedy']}\n" == done.stderr
        assert (0, False) == (report["baseline"]["held"], report["complete"])
        return done.exit_code, report

    def test_other_tensors(self) -> None:
        """Another model: its thresholds would fire, and do not."""
        other = RECORDED["tf_keras"]
        code, report = self.unheld(FROZEN, other)
        assert (2, False, 19) == (code, report["fired"], report["counts"]["violations"])
        assert report["problem"]["text"].startswith(
            f"the baseline {str(other)!r} has none of the run's tensors ('TinyNet_conv1.weight', 'TinyNet_bn1.weight', "
            "'TinyNet_fc1.weight', 'TinyNet_fc2.weight'): it holds 'conv2d/weights/conv2d/kernel:0', "
        )
        assert SAME_MODEL == report["problem"]["remedy"]
        reasons = [entry["reason"] for entry in report["skipped"]]
        assert ["not in the baseline: judged by the thresholds"] * 4 == reasons[:4]
        assert ["in the baseline, not in this run"] * 7 == reasons[4:]
        text = invoke_command("check", str(FROZEN), "--baseline", str(other)).stdout
        assert text.startswith(f"NOT JUDGED  {FROZEN}\n")

    def test_a_ratio_that_is_not_finite_fires(self) -> None:
        """At its steps alone; what is too large does not."""
        code, report = self.unheld(EXPLODING, RECORDED["tf_keras"])
        assert (1, True) == (code, report["fired"])
        checked = check_trial(EXPLODING, baseline=RECORDED["tf_keras"])
        not_finite = {row.global_step for row in checked if row.verdict == "not_finite"}
        assert sorted(not_finite) == checked.fired_steps
        assert {row.global_step for row in checked if row.verdict == "large"} - not_finite
        with ThreadPoolExecutor(2) as executor:
            on_threads = check_trial(EXPLODING, baseline=RECORDED["tf_keras"], executor=executor)
        assert facts(checked) == facts(on_threads)

    def test_an_empty_baseline(self, tmp_path: Path) -> None:
        """A file that holds no tensor."""
        file = tmp_path / "good.json"
        file.write_text(broken({"tensors": {}}))
        code, report = self.unheld(HEALTHY, file)
        assert 2 == code
        assert report["problem"]["text"].endswith("'TinyNet_fc2.weight'): it is empty")

    @needs_writing
    def test_another_interval(self, tmp_path: Path, written: Path) -> None:
        """Both numbers of steps are named, and every layer is listed."""
        thinned = write_whole_trial(tmp_path / "thinned", layers(3), intervals=dict.fromkeys(layers(3), 2)).path
        for run, good, own, theirs in (
            (thinned, written / "good", "2 steps", "1 step"),
            (written / "good", thinned, "1 step", "2 steps"),
        ):
            code, report = self.unheld(run, good)
            assert 2 == code
            where = f"the run cannot be held against the baseline {str(good)!r}"
            problem = f"{where}: the ratios of 'moves' are over {own}, the baseline's over {theirs}"
            assert {"text": problem, "remedy": SAME_MODEL} == report["problem"]
            reason = f"over {own}, in the baseline over {theirs}: judged by the thresholds"
            assert [(name, reason) for name in layers(3)] == [
                (entry["tensor"], entry["reason"]) for entry in report["skipped"]
            ]

    @needs_writing
    def test_a_baseline_that_begins_later(self, tmp_path: Path, written: Path) -> None:
        """Before its first bin it holds nothing."""
        file = tmp_path / "late.json"
        file.write_text(broken({"tensors": {"moves": {"gap": 1, "first_bin": 9, "low": [0.001], "high": [0.1]}}}))
        code, report = self.unheld(written / "good", file)
        where = f"the run cannot be held against the baseline {str(file)!r}"
        text = f"{where}: it has no ratio near the run's steps 1 to 29; its first are from TRAIN step 51 on"
        remedy = "Take a baseline that has these steps, or widen start_step and end_step."
        assert (2, text, remedy) == (code, report["problem"]["text"], report["problem"]["remedy"])

    @needs_writing
    def test_some_layers_of_which_nothing_can_be_held(self, tmp_path: Path, written: Path) -> None:
        """They are judged by the thresholds and listed; the exit code is that of the rest."""
        run = {**layers(3), "new": moved([0.01] * STEPS)}
        del run["zero"]
        trial = write_whole_trial(tmp_path / "run", run, intervals={"warm": 3}).path
        done = invoke_command("check", str(trial), "--baseline", str(written / "good"))
        assert 0 == done.exit_code
        for line in (
            "  warm: over 3 steps, in the baseline over 1 step: judged by the thresholds\n",
            "  new: not in the baseline: judged by the thresholds\n",
            "  zero: in the baseline, not in this run\n",
        ):
            assert line in done.stdout
        report = check_trial(trial, baseline=written / "good")
        bounds = {(row.lower, row.upper) for row in report if row.tensor in ("new", "warm")}
        assert ({(1e-8, 10.0)}, True) == (bounds, report.complete)
        only = check_trial(trial, baseline=written / "good", tensor_regex="moves,frozen")
        assert [] == only.skipped  # what the patterns leave out is not asked for

    def test_the_rule_raises(self) -> None:
        """Of a recorded trial, at whatever step, and again; with the check's message."""
        problem = check_trial(FROZEN, baseline=RECORDED["tf_keras"]).problem
        assert problem is not None
        rule = WeightUpdateRatio(str(FROZEN), baseline=str(RECORDED["tf_keras"]))
        for step in (7, 0, 7):
            with pytest.raises(InsufficientInformationForRuleInvocation) as caught:
                rule.invoke_at_step(step)
            assert str(problem) in str(caught.value)
        with pytest.raises(InsufficientInformationForRuleInvocation):
            invoke_rule(WeightUpdateRatio(str(FROZEN), baseline=str(RECORDED["tf_keras"])), end_step=10)

    @pytest.mark.parametrize("backwards", [False, True])
    def test_the_rule_fires_where_a_ratio_is_not_finite(self, backwards: bool) -> None:
        """As the check does, in any order and under invoke_rule."""
        baseline = str(RECORDED["tf_keras"])
        expected = facts(check_trial(EXPLODING, baseline=baseline))
        rule = WeightUpdateRatio(str(EXPLODING), baseline=baseline)
        if backwards:
            fired = sorted(step for step in reversed(global_steps(EXPLODING)) if rule.invoke_at_step(step))
        else:
            fired = fired_steps(rule)
        assert (expected[0], expected[3]) == (rows(rule._run), fired)

    def test_the_rule_waits_beside_a_job_that_goes_on(self) -> None:
        """More may come: it neither fires nor raises."""
        rule = WeightUpdateRatio(str(RECORDED["pytorch_killed"]), baseline=str(RECORDED["tf_keras"]), patience="1")
        assert [] == [step for step in range(12) if rule.invoke_at_step(step)]


@needs_writing
class TestLiveJobs:
    """Nothing waits for the first row that can be held; a job that ends without one is not judged."""

    LAYERS = ("new", "moves")

    def job(self, tmp_path: Path) -> TrialWriter:
        return TrialWriter(tmp_path / "trial").collections({"weights": list(self.LAYERS)})

    def save(self, job: TrialWriter, step: int) -> None:
        """Save a layer that the baseline lacks and that rests, and from step 6 on one that it knows."""
        known = {"moves": moved([0.01] * STEPS)[step]} if step >= 6 else {}
        job.save(step, {"new": np.ones(4), **known}, mode_step=step)

    def test_the_rule(self, tmp_path: Path, written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It fires at the steps at which the check fires afterwards."""
        monkeypatch.setattr("weight_update_ratio.rule.POLL_SECONDS", 0.0)
        job = self.job(tmp_path)
        rule = WeightUpdateRatio(create_trial(str(job.path)), baseline=str(written / "good"))
        fired = []
        for step in range(10):
            self.save(job, step)
            fired.append(rule.invoke_at_step(step))
        job.end()
        report = check_trial(job.path, baseline=written / "good")
        assert [3, 4, 5, 6, 7, 8, 9] == report.fired_steps == rule._run.fired_steps
        assert report.fired_steps == [step for step, fires in enumerate(fired) if fires]
        assert 7 == rule.report["RuleTriggered"]

    @pytest.mark.parametrize("steps", [6, 10])
    def test_the_follower_has_the_report_of_a_check(
        self, tmp_path: Path, written: Path, monkeypatch: pytest.MonkeyPatch, steps: int
    ) -> None:
        """Where a row that can be held comes in the end, and where none does: then the job is not judged."""
        job = self.job(tmp_path)
        self.save(job, 0)
        deeds = iter([*(lambda step=step: self.save(job, step) for step in range(1, steps)), job.end])
        own, sleep = threading.current_thread(), time.sleep

        def deed(seconds: float) -> None:
            """Do the job's next deed; other threads of this process sleep."""
            sleep(seconds) if threading.current_thread() is not own else next(deeds, lambda: None)()

        monkeypatch.setattr(follow_module.time, "sleep", deed)
        seen: list[tuple[int, int]] = []
        report = follow_trial(
            job.path, baseline=str(written / "good"), progress=lambda done, known: seen.append((done, known))
        )
        assert seen[0][1] < steps  # it was live
        checked = check_trial(job.path, baseline=written / "good")
        assert (checked.to_json(), facts(checked)) == (report.to_json(), facts(report))
        assert {6: (2, False), 10: (1, True)}[steps] == (report.exit_code, report.fired)

    def test_the_rule_raises_when_the_job_ends_unheld(
        self, tmp_path: Path, written: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What it returned is not taken back."""
        monkeypatch.setattr("weight_update_ratio.rule.POLL_SECONDS", 0.0)
        job = self.job(tmp_path)
        rule = WeightUpdateRatio(create_trial(str(job.path)), baseline=str(written / "good"))
        for step in range(6):
            self.save(job, step)
            assert (step >= 3) == rule.invoke_at_step(step)
        job.end()
        with pytest.raises(InsufficientInformationForRuleInvocation) as caught:
            invoke_rule(rule)
        assert f"the baseline {str(written / 'good')!r} has none of the run's tensors ('new'): it holds" in str(
            caught.value
        )


class TestSaving:
    """``--save-baseline`` writes what was judged as a whole and is finite, whatever the exit code."""

    @pytest.mark.parametrize(("run", "code"), [(HEALTHY, 0), (FROZEN, 1)])
    def test_it_is_written_whatever_fires(self, tmp_path: Path, run: Path, code: int) -> None:
        """The same bytes as the report's own."""
        file = tmp_path / "good.json"
        done = invoke_command("check", str(run), "--save-baseline", str(file))
        note = f"Note: {str(file)!r} is made of a run that fired: what it has is sound from now on.\n"
        assert (code, note if code else "") == (done.exit_code, done.stderr)
        assert check_trial(run).to_baseline() == file.read_text()
        assert 0 == invoke_command("check", str(run), "--baseline", str(file)).exit_code

    def test_a_run_that_fires_against_a_baseline_is_added_to_it(self, tmp_path: Path) -> None:
        """So it passes the next time."""
        file = tmp_path / "good.json"
        arguments = ["check", str(HEALTHY), "--baseline", str(FROZEN), "--save-baseline", str(file), "--quiet"]
        assert 1 == invoke_command(*arguments).exit_code
        assert (0, 2) == (check_trial(HEALTHY, baseline=file).exit_code, json.loads(file.read_text())["runs"])

    def test_three_runs_one_after_the_other_into_the_same_file(self, tmp_path: Path) -> None:
        """The file that is read is the one that is written; killed is a run that has not ended."""
        file, names = tmp_path / "good.json", ["pytorch_healthy", "pytorch_frozen", "pytorch_killed"]
        for number, name in enumerate(names):
            known = ["--baseline", str(file)] if number else []
            invoke_command("check", str(RECORDED[name]), *known, "--save-baseline", str(file))
            assert number + 1 == json.loads(file.read_text())["runs"]
        runs = [RECORDED[name] for name in names]
        for run in runs:
            expected = check_trial(run, baseline=runs, baseline_factor=1)
            assert facts(expected) == facts(check_trial(run, baseline=file, baseline_factor=1))

    @needs_writing
    def test_three_runs_at_once(self, tmp_path: Path, written: Path) -> None:
        """Two by --baseline and the run itself; check_trial takes the three as a list, of folders or of their file."""
        file = tmp_path / "all.json"
        good, second, third = (written / name for name in ("good", "second", "third"))
        arguments = ["--baseline", str(good), "--baseline", str(second), "--save-baseline", str(file)]
        assert 0 == invoke_command("check", str(third), *arguments).exit_code
        as_list = check_trial(written / "sick", baseline=[good, second, third])
        as_file = check_trial(written / "sick", baseline=file)
        assert facts(as_list) == facts(as_file)
        assert facts(as_list) != facts(check_trial(written / "sick", baseline=good))
        for report in (as_list, as_file):
            assert 3 == json.loads(report.to_json())["baseline"]["runs"]

    def test_a_ratio_that_is_not_finite(self, tmp_path: Path) -> None:
        """It is not written and said so; the exit code is that of the run, and an older file stays."""
        file = tmp_path / "good.json"
        file.write_text("older")
        done = invoke_command("check", str(EXPLODING), "--save-baseline", str(file), "--quiet")
        message = f"{str(file)!r} is not written: the run {str(EXPLODING)!r} cannot be a baseline"
        why = "the ratio of 'TinyNet_conv1.weight' at TRAIN step 3 is nan"
        assert (1, "") == (done.exit_code, done.stdout)
        assert f"Note: {message}: {why}\n" == done.stderr
        assert "older" == file.read_text()

    @needs_writing
    def test_a_lost_record(self, tmp_path: Path) -> None:
        """Incomplete: nothing is written."""
        trial = write_whole_trial(tmp_path / "trial", {"moves": moved([0.01] * STEPS)}).path
        event_file(trial, 5).write_bytes(b"")
        file = tmp_path / "good.json"
        done = invoke_command("check", str(trial), "--save-baseline", str(file))
        assert (2, f"Note: {str(file)!r} is not written: the report is not complete\n") == (done.exit_code, done.stderr)
        assert not file.exists()

    def test_a_run_that_was_not_judged(self, tmp_path: Path) -> None:
        """Nothing could be held against the baseline: nor is it merged with it."""
        file = tmp_path / "good.json"
        baseline = ["--baseline", str(RECORDED["tf_keras"])]
        done = invoke_command("check", str(HEALTHY), *baseline, "--save-baseline", str(file), "--quiet")
        assert (2, False) == (done.exit_code, file.exists())
        problem = check_trial(HEALTHY, baseline=RECORDED["tf_keras"]).problem
        message = f"{str(file)!r} is not written: the report is not complete"
        assert f"Error: {problem.message}\n\n{SAME_MODEL}\nNote: {message}\n" == done.stderr

    def test_a_followed_job(self, tmp_path: Path) -> None:
        """Its baseline is that of a check."""
        file = tmp_path / "good.json"
        assert 0 == invoke_command("check", str(HEALTHY), "--follow", "--save-baseline", str(file)).exit_code
        assert check_trial(HEALTHY).to_baseline() == file.read_text()

    def test_a_folder_that_is_not_there(self) -> None:
        """It is found before the trial is judged."""
        done = invoke_command("check", "nowhere", "--save-baseline", "/no/such/folder/good.json")
        assert 2 == done.exit_code
        assert done.stderr.startswith("Error: '/no/such/folder/good.json' cannot be written: No such file or directory")
