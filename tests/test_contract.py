"""The contract: every way of judging a trial gives the same rows and fires at the same steps, those of a plain oracle.

The trials are all recordings, and trials that are written from a seed, some of each of ``KINDS``; part of these are
held against a second trial of their kind, by the baseline of ``tests.verdict.oracle``. The ways are
``check_trial`` as it is, on an executor and from later steps on; ``follow_trial`` while a job writes the same files;
and under smdebug's ``invoke_rule`` the rule of the package and the rule as one source file. The oracle reads the index
with ``json`` and the records with smdebug's protobuf messages, and compares them with loops and ``exact_norm``.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import re
import shutil
from collections import Counter, namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, NamedTuple, Sequence

import numpy as np
import pytest

from tests.conftest import RECORDED, Saved, TrialWriter, change_json, event_file, exact_norm, needs_writing
from tests.live.test_replayed_jobs import END, HOOKS, Job, at_each_sleep, files_of
from tests.verdict.oracle import Judged, Known, fires, judged, learnt
from weight_update_ratio import Report, WeightUpdateRatio, check_trial, follow_trial
from weight_update_ratio import check as check_module
from weight_update_ratio.sagemaker import rule_source

ORACLE_TRIALS = int(os.environ.get("CONTRACT_TRIALS", "60"))  # of several kinds at once, judged by check_trial alone
SEEDS = max(3, ORACLE_TRIALS // 20)  # of each kind, judged in every way
MODES = {
    "several_modes": ["TRAIN", "TRAIN", "TRAIN", "EVAL", "GLOBAL", "PREDICT"],
    "global_steps": ["GLOBAL"],
    "eval_steps": ["EVAL", "EVAL", "PREDICT"],
    "eval_and_global_steps": ["EVAL", "GLOBAL", "PREDICT"],
}
NUMBERS = ["resumed", "numbered_twice"]
PRESENCE = ["missed_by_workers", "intervals", "parts", "holes"]
CONTENT = ["shapes", "types", "empty", "not_finite", "huge", "frozen"]
DAMAGES = ["lost_index", "broken_index", "cut_events", "lost_events", "no_range"]
SOUND_KINDS = ["plain", *MODES, "global_steps_first", *NUMBERS, *PRESENCE, *CONTENT]
KINDS = [*SOUND_KINDS, *DAMAGES]
TYPES = ["float16", "float16", "float32", "float64", "int32", "int64", "uint8", "bool", "complex128"]
WEIGHTS = ["conv.weight", "conv.scale", "fc.weight", "norm.weight"]
TENSORS = [*WEIGHTS, "fc.bias", "loss"]
SOMETIMES_SAVED = ["fc.weight", "norm.weight"]  # the others always are, so that every pattern and collection has some
RECORDINGS = {**RECORDED, **{folder.name: folder / "trial" for folder in sorted(HOOKS.iterdir()) if folder.is_dir()}}
NAMES = [f"{name}-{setting}" for name in RECORDINGS for setting in ("default", "drawn")]
WRITTEN = [f"{kind}-{seed}" for kind in KINDS for seed in range(SEEDS)]
FACTS = ("tensor", "worker", "mode", "step", "reference_step", "global_step", "verdict")
NUMBERS_OF_A_ROW = ("lower", "upper", "update_norm", "weight_norm", "ratio")
Row = namedtuple("Row", FACTS + NUMBERS_OF_A_ROW)  # a comparison
NEVER = 10**6  # a patience that nothing reaches


class Case(NamedTuple):
    """A trial and how it is judged.

    ``sound`` is the trial before a part of it was lost or broken, ``known`` what the baseline knows, if there is one.
    """

    path: Path
    sound: Path
    parameters: dict[str, Any]
    start_step: int = 0
    end_step: int | None = None
    known: dict[str, Known] = {}  # noqa: RUF012

    def check(self, **options: Any) -> Report:
        """Return the report of a strict check, by these parameters and steps where no others are given."""
        steps = {"start_step": self.start_step, "end_step": self.end_step}
        return check_trial(self.path, **{**self.parameters, **steps, "strict": True, **options})

    @property
    def is_sound(self) -> bool:
        return self.path == self.sound

    @property
    def patience(self) -> int:
        return self.parameters.get("patience") or (3 if self.known else 1)

    @property
    def global_steps(self) -> list[int]:
        return sorted({int(file.name[:12]) for file in self.path.glob("index/*/*.json")})


# Trials that are written from a seed


def scheduled(chance: random.Random, kinds: Sequence[str]) -> Iterator[tuple[int, str, int]]:
    """Yield the steps of a run: (global step, mode, number in the mode)."""
    modes = next((MODES[kind] for kind in kinds if kind in MODES), ["TRAIN"])
    steps, stride, apart = chance.randrange(10, 22), chance.choice([1, 1, 2]), chance.choice([1, 1, 3])
    first_steps = chance.randrange(1, 8) if "global_steps_first" in kinds else 0
    global_step = chance.choice([0, 0, 5, 995])  # the index files of a thousand steps share a folder
    numbers: Counter[str] = Counter()
    for position in range(steps):
        mode = "GLOBAL" if position < first_steps else chance.choice(modes)
        if "resumed" in kinds and chance.random() < 0.15:
            numbers[mode] = max(0, numbers[mode] - chance.randrange(1, 6))
        if "numbered_twice" in kinds and chance.random() < 0.2:
            numbers[mode] = max(0, numbers[mode] - 1)
        yield global_step, mode, global_step if mode == "GLOBAL" else numbers[mode] * stride
        numbers[mode] += 1
        global_step += apart


def course(chance: random.Random, kinds: Sequence[str]) -> Iterator[np.ndarray[Any, Any]]:
    """Yield a tensor's values step by step: it moves, rests or leaps, for some steps each."""
    generator = np.random.default_rng(chance.randrange(2**32))
    values, mood = generator.normal(1.0, 0.5, (2, 3)), "moves"
    scale = chance.choice([1e200, 1e-190]) if "huge" in kinds else 1.0
    types = ["float64"] if "huge" in kinds else TYPES if "types" in kinds else ["float32", "float64"]
    kept_type = chance.choice(types)
    while True:
        if chance.random() < 0.4:
            moods = ["moves", "moves", "rests", *([] if "calm" in kinds else ["leaps"])]
            mood = "rests" if "frozen" in kinds else chance.choice(moods)
        values = values * {"rests": 1.0, "leaps": 20.0}.get(mood, 1 + generator.normal(0, 0.01, values.shape))
        if "types" in kinds and chance.random() < 0.3:
            kept_type = chance.choice(types)
        is_limited = np.dtype(kept_type).kind in "iub"
        with np.errstate(over="ignore"):  # float16 becomes infinite
            array = (np.clip(values * 40, 0, 200) if is_limited else values * scale).astype(kept_type)
        if "not_finite" in kinds and not is_limited and chance.random() < 0.1:
            array[chance.randrange(2)] = chance.choice([np.nan, np.inf, -np.inf])
        if "shapes" in kinds and chance.random() < 0.3:
            array = chance.choice([array.T, array.ravel(), array[:1]])
        if "empty" in kinds and chance.random() < 0.3:
            array = array[:0]
        yield array


def write_trial(path: Path, chance: random.Random, kinds: Sequence[str]) -> Path:
    workers = [f"worker_{n}" for n in range(chance.choice([2, 3] if "missed_by_workers" in kinds else [1, 1, 2, 3]))]
    members = {"weights": WEIGHTS, "biases": [], "losses": ["loss"]}
    writer = TrialWriter(path).collections(members, {"biases": ["bias$"]}, workers)
    courses = {(tensor, worker): course(chance, kinds) for worker in workers for tensor in TENSORS}
    intervals = {tensor: chance.randrange(2, 5) if "intervals" in kinds else 1 for tensor in SOMETIMES_SAVED}
    parts = {tensor: sorted(chance.sample(range(22), 2)) if "parts" in kinds else (0, 99) for tensor in SOMETIMES_SAVED}
    lost_share = 0.3 if {"holes", "numbered_twice"} & set(kinds) else 0.0
    for position, (global_step, mode, number) in enumerate(scheduled(chance, kinds)):
        for worker in workers:
            arrays = {tensor: next(courses[tensor, worker]) for tensor in TENSORS}
            for tensor in SOMETIMES_SAVED:
                first, last = parts[tensor]
                is_due = position % intervals[tensor] == 0 and first <= position <= last
                if not is_due or chance.random() < lost_share:
                    del arrays[tensor]
            if worker == "worker_0" or "missed_by_workers" not in kinds or chance.random() < 0.7:
                writer.save(global_step, arrays, mode, number, worker)
    return writer.end().path


def damage(path: Path, chance: random.Random, kind: str) -> Path:
    """Lose or break a part of a trial twice, and return its folder."""
    for index in chance.sample(sorted(path.glob("index/*/*.json")), 2):
        events = event_file(path, int(index.name[:12]), index.stem[13:])
        if kind in ("lost_index", "lost_events"):
            (index if kind == "lost_index" else events).unlink()
        elif kind in ("broken_index", "cut_events"):
            file = index if kind == "broken_index" else events
            file.write_bytes(file.read_bytes()[: chance.randrange(file.stat().st_size)])
        else:
            change_json(index, lambda content: chance.choice(content["tensor_payload"]).update(start_idx=None))
    return path


def held(case: Case, chance: random.Random, good: Path) -> Case:
    """Return a case that is held against a trial, where that can be a baseline."""
    whole = case._replace(path=good, sound=good, start_step=0, end_step=None)
    taught = oracle(whole)
    is_sound = all(np.isfinite(row.ratio) for row in taught)
    modes = [{row.mode for row in rows} for rows in (taught, oracle(whole._replace(sound=case.sound)))]
    if not taught or not is_sound or modes[0] != modes[1]:
        return case
    options = {"baseline": str(good), "baseline_factor": chance.choice([1.5, 3.0, 30.0])}
    return case._replace(parameters={**case.parameters, **options}, known=learnt(taught))


def drawn(case: Case, chance: random.Random) -> Case:
    """Return a case with other parameters and steps, more often than not the whole trial's."""
    parameters: dict[str, Any] = {
        "num_steps": chance.choice([None, None, 1, 3]),
        "patience": chance.choice([None, 1, 2, 3]),
        "large_threshold": chance.choice([10.0, 10.0, 0.02]),
        "small_threshold": chance.choice([1e-8, 1e-8, 1e-3]),
    }
    if case.path not in RECORDINGS.values():
        parameters["collection_names"] = chance.choice(["weights", "weights,biases"])
        parameters["tensor_regex"] = chance.choice([None, None, "weight$", "conv,weight$"])
        parameters["exclude_regex"] = chance.choice([None, None, "scale"])
    start = chance.choice([0, 0, *chance.sample(case.global_steps, 2)])
    ends = [step + 1 for step in case.global_steps if step >= start]
    return case._replace(
        parameters=parameters, start_step=start, end_step=chance.choice([None, None, None, *ends[-3:]])
    )


@pytest.fixture(scope="module")
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Give the case of a name, which is a recording and a setting, or a kind and a seed."""
    name, _, setting = request.param.rpartition("-")
    chance = random.Random(request.param)
    if name in RECORDINGS:
        recorded = Case(RECORDINGS[name], RECORDINGS[name], {})
        return recorded if setting == "default" else drawn(recorded, chance)
    folder = tmp_path_factory.mktemp("written")
    is_held = int(setting) % 2 == 1
    kinds = [name, "calm"] if is_held and chance.random() < 0.5 else [name]
    path = sound = write_trial(folder / "trial", chance, kinds)
    if name in DAMAGES:
        path = damage(shutil.copytree(sound, folder / "damaged"), chance, name)
    plain = drawn(Case(path, sound, {}), chance)
    return held(plain, chance, write_trial(folder / "good", chance, [name, "calm"])) if is_held else plain


# The oracle


def chooser(path: Path, parameters: dict[str, Any]) -> Callable[[str], bool]:
    """Return a function that returns whether a tensor is compared."""
    files = [json.loads(file.read_text())["collections"] for file in path.glob("collections/*/*.json")]
    asked = parameters.get("collection_names", "weights").split(",")
    collections = [file[name] for file in files for name in asked if name in file]
    members = {name for collection in collections for name in collection["tensor_names"] or []}
    patterns = [pattern for collection in collections for pattern in collection["include_regex"] or []]
    wanted = (parameters.get("tensor_regex") or "").split(",")
    excluded = (parameters.get("exclude_regex") or "^smdebug/reductions/").split(",")

    def is_matched(name: str, patterns: Sequence[str]) -> bool:
        return any(re.search(pattern, name) for pattern in patterns)

    def is_chosen(name: str) -> bool:
        is_member = name in members or is_matched(name, patterns)
        return is_member and is_matched(name, wanted) and not is_matched(name, excluded)

    return is_chosen


def saved_in(path: Path, is_chosen: Callable[[str], bool]) -> list[Saved]:
    """Return all tensors of a sound trial by global step and worker, those that are not chosen without their values."""
    from smdebug.core.tfevent.event_file_reader import as_dtype
    from smdebug.core.tfevent.proto.event_pb2 import Event

    saved = []
    for file in sorted(path.glob("index/*/*.json")):
        index, global_step, worker = json.loads(file.read_text()), int(file.name[:12]), file.stem[13:]
        mode, step = index["meta"]["mode"].strip(), index["meta"]["mode_step"]
        events = event_file(path, global_step, worker).read_bytes()
        for entry in index["tensor_payload"] or []:
            array = np.zeros(0)
            if is_chosen(entry["tensorname"]):
                record = events[entry["start_idx"] :][: entry["length"]]
                tensor = Event.FromString(record[12:-4]).summary.value[0].tensor
                shape = [dimension.size for dimension in tensor.tensor_shape.dim]
                array = np.frombuffer(tensor.tensor_content, as_dtype(tensor.dtype)).reshape(shape)
            saved.append(Saved(entry["tensorname"], worker, mode, step, global_step, array))
    return saved


def oracle(case: Case) -> list[Row]:
    """Return every comparison of the sound trial as the definition reads, by global step."""
    is_chosen = chooser(case.sound, case.parameters)
    saved = saved_in(case.sound, is_chosen)
    mode = "TRAIN" if any(entry.mode == "TRAIN" for entry in saved) else "GLOBAL"
    courses: dict[tuple[str, str], list[Saved]] = {}
    for entry in saved:
        if is_chosen(entry.tensor) and mode in (entry.mode, "GLOBAL"):
            numbered = entry if mode == "TRAIN" else entry._replace(mode=mode, step=entry.global_step)
            courses.setdefault((entry.tensor, entry.worker), []).append(numbered)
    rows = []
    for entries in courses.values():
        for position, entry in enumerate(entries):
            before = reference_of(entry, entries[:position], case.parameters.get("num_steps"))
            is_saved_again = any(later.step == entry.step for later in entries[position + 1 :])
            if before is None or is_saved_again or not entry.array.size or before.array.shape != entry.array.shape:
                continue
            if np.iscomplexobj(before.array) == np.iscomplexobj(entry.array):
                update, weight = exact_norm(entry.array, before.array), exact_norm(before.array)
                facts = (*entry[:4], before.step, entry.global_step, "", 0, 0)
                rows.append(Row(*facts, update, weight, update / (weight + 1e-9)))
    return judged_anew(case, between(in_order(rows), case.start_step, case.end_step))


def reference_of(entry: Saved, earlier: list[Saved], num_steps: int | None) -> Saved | None:
    """Return what was saved last under a lower number, with ``num_steps`` what has the oldest number within them."""
    backwards = [other for other in reversed(earlier) if other.step < entry.step]
    if num_steps is None:
        return backwards[0] if backwards else None
    within = [other for other in backwards if other.step >= entry.step - num_steps]
    return min(within, key=lambda other: other.step, default=None)


def judgement(case: Case, rows: list[Row]) -> list[Judged]:
    """Return what the rows, by global step, are where they are all that is judged."""
    defaults = {"small_threshold": 1e-8, "large_threshold": 10.0, "baseline_factor": 3.0}
    return judged(rows, case.known, *(case.parameters.get(name, default) for name, default in defaults.items()))


def judged_anew(case: Case, rows: list[Row]) -> list[Row]:
    judgements = judgement(case, rows)
    return [row._replace(**dict(zip(Judged._fields[:3], each))) for row, each in zip(rows, judgements)]


def between(rows: list[Row], start: int, end: int | None = None) -> list[Row]:
    return [row for row in rows if start <= row.global_step and (end is None or row.global_step < end)]


def is_unheld(case: Case, rows: list[Row]) -> bool:
    return bool(case.known) and not any(each.is_held for each in judgement(case, rows))


def fired_steps(case: Case, rows: list[Row]) -> list[int]:
    """Return the global steps at which the rule fires where these rows, by global step, are all that were judged."""
    fired = fires(rows, [row.verdict for row in rows], NEVER if is_unheld(case, rows) else case.patience)
    return sorted({row.global_step for row, is_fired in zip(rows, fired) if is_fired})


def exit_code(case: Case, rows: list[Row]) -> int:
    """Return the exit code of a sound trial: 2 where no tensor has as many comparisons as patience asks for, ...

    ... where nothing is held against the baseline, or a tensor of it is missing.
    """
    longest = max(Counter(row[:2] for row in rows).values(), default=0)
    is_judged = longest >= case.patience and not is_unheld(case, rows) and {*case.known} <= {row.tensor for row in rows}
    return 1 if fired_steps(case, rows) else 0 if is_judged else 2


# What a judgement gives


def in_order(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (row.global_step, row.worker, row.tensor))


def rows_of(judged: Report | WeightUpdateRatio) -> list[Row]:
    table = judged.comparisons()[list(Row._fields)]
    return [Row(*values) for values in table.itertuples(index=False, name=None)]


def digits(rows: list[Row]) -> list[str]:
    """Return rows with every digit, and NaN equal to NaN."""
    return list(map(repr, rows))


def said(report: Report) -> list[Any]:
    """Return what a report says of its trial, whatever that is named."""
    entries = list(map(repr, [*report.skipped, *report.unreadable]))
    return [digits(rows_of(report)), report.fired_steps, report.exit_code, entries]


def assert_as_the_oracle(case: Case) -> None:
    """Assert that a check has the oracle's rows, fires as they do, and ends with their exit code."""
    report, expected = case.check(), oracle(case)
    rows = in_order(rows_of(report))
    if not case.is_sound:  # what could be compared is right
        compared = {(row.tensor, row.worker, row.step) for row in rows}
        expected = judged_anew(case, [row for row in expected if (row.tensor, row.worker, row.step) in compared])
    assert [row[: len(FACTS)] for row in expected] == [row[: len(FACTS)] for row in rows]
    numbers = ([row[len(FACTS) :] for row in some] for some in (rows, expected))
    np.testing.assert_allclose(*numbers, rtol=1e-9, atol=0)
    assert fired_steps(case, expected) == report.fired_steps
    assert bool(report.fired_steps) == report.fired
    if case.is_sound:
        assert [] == report.unreadable
        assert exit_code(case, expected) == report.exit_code
    else:
        assert report.exit_code == (1 if report.fired else 0 if report.complete else 2)


@pytest.mark.parametrize(
    "case", [*NAMES, *(pytest.param(name, marks=needs_writing) for name in WRITTEN)], indirect=True
)
class TestEveryWay:
    def test_check(self, case: Case) -> None:
        assert_as_the_oracle(case)

    def test_executor(self, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(check_module, "LEAST_STEPS", 3)
        with ThreadPoolExecutor(2) as executor:
            report = case.check(executor=executor)
        assert said(case.check()) == said(report)
        assert case.check().to_json() == report.to_json()

    def test_start_step(self, case: Case) -> None:
        """From any step on the ratios are those of the whole; the rows alone count for rests and for what fires."""
        whole = rows_of(case.check(start_step=0, end_step=None))
        for start in case.global_steps[1::3]:
            report, rows = case.check(start_step=start, end_step=None), between(whole, start)
            rows = [row._replace(verdict=each.verdict) for row, each in zip(rows, judgement(case, rows))]
            assert digits(rows) == digits(rows_of(report))
            assert fired_steps(case, rows) == report.fired_steps
            assert not case.is_sound or exit_code(case, rows) == report.exit_code

    def test_follower(self, case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """While a job writes the files it comes to the report of a check."""
        live = case._replace(path=tmp_path / "trial")
        live.path.mkdir()
        order = ("collections", "events", "index")
        files = [(name, text) for name, text in files_of(case.path).items() if name.startswith(order)]
        files.sort(key=lambda file: (not file[0].startswith("collections"), Path(file[0]).name, file[0]))
        at_each_sleep(monkeypatch, Job(live.path, files, random.Random(0)).go_on)
        steps = {"start_step": case.start_step, "end_step": case.end_step}
        report = follow_trial(live.path, **case.parameters, **steps, strict=True)
        assert live.check().to_json() == report.to_json()
        assert said(live.check()) == said(report)
        if case.end_step is None:  # else the job is left before it ends, and may save a number again
            assert said(case.check()) == said(report)

    @pytest.mark.parametrize("form", ["package", "single_file"])
    def test_rule(self, case: Case, form: str, single_file: type[WeightUpdateRatio], tmp_path: Path) -> None:
        """Under invoke_rule it has the rows of the check, and fires at its steps."""
        rule_class = WeightUpdateRatio if form == "package" else single_file
        rule = rule_class(opened(case.path), **case.parameters, report_dir=str(tmp_path))
        fired, end = invoked(rule, case)
        other = rule_class(opened(case.path), **case.parameters)
        assert (None, end) == invoked(other, case, at_one_go=True)
        assert (repr(rule.report), digits(rows_of(rule))) == (repr(other.report), digits(rows_of(other)))
        report = case.check()
        if end == "InsufficientInformationForRuleInvocation":
            assert 2 == report.exit_code
            return
        violations = [row for row in rows_of(report) if row.verdict != "ok"]
        assert digits(rows_of(report)) == digits(rows_of(rule))
        if report.is_unheld:  # the rule need not know that before the end, and takes nothing back
            fired = [step for step in fired if step in report.fired_steps]
        assert report.fired_steps == fired
        assert [len(fired), len(violations), len(report)] == [
            rule.report[name] for name in ("RuleTriggered", "Violations", "Datapoints")
        ]
        assert end != "NoMoreData" or len(report)
        if end == "NoMoreData" and all(entry.tensor for entry in report.unreadable):  # smdebug passes over no step
            written = json.loads((tmp_path / "WeightUpdateRatio.json").read_text())
            expected = json.loads(report.to_json())
            assert expected["counts"] == written["counts"]
            for name in ("violations", "skipped", "unreadable"):
                assert sorted(map(repr, expected[name])) == sorted(map(repr, written[name]))


@needs_writing
@pytest.mark.parametrize("seed", range(ORACLE_TRIALS))
def test_several_kinds_at_once(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    kinds = chance.sample(SOUND_KINDS, chance.randrange(2, 6))
    path = write_trial(tmp_path / "trial", chance, kinds)
    good = write_trial(tmp_path / "good", chance, [*kinds, "calm"]) if seed % 2 else None
    for _ in range(3):
        case = drawn(Case(path, path, {}), chance)
        assert_as_the_oracle(case if good is None else held(case, chance, good))


@pytest.fixture(scope="module")
def single_file(tmp_path_factory: pytest.TempPathFactory) -> type[WeightUpdateRatio]:
    path = tmp_path_factory.mktemp("rule") / "weight_update_ratio_rule.py"
    path.write_text(rule_source(), encoding="utf-8")
    spec = importlib.util.spec_from_file_location("custom_rule", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.WeightUpdateRatio


def opened(path: Path) -> Any:
    """Return smdebug's Trial; a trial that smdebug itself cannot open is left out."""
    from smdebug.trials import create_trial

    try:
        create_trial(str(path)).maybe_refresh()
    except Exception as error:
        pytest.skip(f"smdebug cannot open it: {error!r}")
    return create_trial(str(path))


def invoked(rule: WeightUpdateRatio, case: Case, at_one_go: bool = False) -> tuple[list[int] | None, str]:
    """Return the global steps at which a rule fires, begun again after each, or None at one go; and what ended it."""
    from smdebug.exceptions import InsufficientInformationForRuleInvocation, NoMoreData, RuleEvaluationConditionMet
    from smdebug.rules import invoke_rule

    end_step = case.end_step
    if end_step is None and not (case.path / END).exists():
        end_step = case.global_steps[-1] + 1  # else it waits for more
    fired: list[int] = []
    end = ""
    while not end:
        try:
            invoke_rule(rule, fired[-1] + 1 if fired else case.start_step, end_step, raise_eval_cond=not at_one_go)
            end = "end_step"
        except RuleEvaluationConditionMet as condition:
            fired.append(condition.step)
        except (InsufficientInformationForRuleInvocation, NoMoreData) as error:
            end = type(error).__name__
    return None if at_one_go else fired, end
