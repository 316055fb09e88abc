"""judge_pairs: saved tensors against their references, with records that smdebug wrote."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
import pytest

from tests.conftest import exact_norm, random_walk
from weight_update_ratio import check_trial
from weight_update_ratio.judge import comparison
from weight_update_ratio.judge.bounds import Bounds
from weight_update_ratio.judge.comparison import Comparer, Comparison, Skipped
from weight_update_ratio.judge.references import step_pairs
from weight_update_ratio.parameters import Parameters, parse_parameters
from weight_update_ratio.trial.daemon_threads import DaemonThreads
from weight_update_ratio.trial.disk import DiskStorage
from weight_update_ratio.trial.folder import TrialFolder
from weight_update_ratio.trial.timeline import NO_RANGE


def judged(trial: Any, parameters: Parameters | None = None, uncertain: bool = False, start: int | None = None) -> Any:
    """Return what is found of the tensors at step 1, against those at step 0."""
    folder = TrialFolder(DiskStorage(str(trial.path)), parameters or Parameters())
    pairs = [pair._replace(uncertain=uncertain) for pair in step_pairs(folder, "TRAIN", 1)]
    if start is not None:
        pairs[0] = pairs[0]._replace(saved=pairs[0].saved._replace(start=start))
    return Comparer(folder.storage, Bounds(folder.parameters)).compare(pairs)


class TestComparison:
    def test_norms_ratio_and_verdict(self, write_trial: Any) -> None:
        """Everything of one row, by exact arithmetic."""
        before, after = np.float32([1, 2, 3]), np.float32([1, 2, 3.5])
        (row,) = judged(write_trial({"w": [before, after]})).comparisons
        update, weights = exact_norm(after, before), exact_norm(before)
        assert ("w", "worker_0", "TRAIN", 1, 0, 1) == row[:6]
        assert (update, weights) == pytest.approx((row.update_norm, row.weight_norm), rel=1e-12)
        assert row.ratio == pytest.approx(update / (weights + 1e-9), rel=1e-12)
        assert row.verdict == "ok"

    def test_threads_give_the_same(self, write_trial: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """A large step is judged by several threads, in the order of the index."""
        tensors = {f"w{n}": random_walk((300,), seed=n) for n in range(20)}
        trial = write_trial({**tensors, "nan": [1.0, math.nan]}, steps=2)
        expected = judged(trial)
        monkeypatch.setattr(comparison, "THREADED_BYTES", 0)
        monkeypatch.setattr(comparison.os, "cpu_count", lambda: 3)
        assert repr(judged(trial)) == repr(expected)
        monkeypatch.setattr(comparison.os, "cpu_count", lambda: None)
        assert repr(judged(trial)) == repr(expected)

    @pytest.mark.parametrize(
        ("after", "verdict"), [(30.0, "large"), (1.0, "small"), (math.nan, "not_finite"), (math.inf, "not_finite")]
    )
    def test_violations(self, write_trial: Any, after: float, verdict: str) -> None:
        """All but ok are violations."""
        found = judged(write_trial({"w": [1.0, after], "v": [1.0, 2.0]}))
        assert [("w", verdict)] == [(row.tensor, row.verdict) for row in found.violations]
        assert 2 == len(found.comparisons)

    def test_epsilon_and_thresholds(self, write_trial: Any) -> None:
        """They are the parameters'."""
        parameters = parse_parameters(large_threshold=0.4, epsilon=1.0)
        (row,) = judged(write_trial({"w": [1.0, 2.0]}), parameters).comparisons
        assert (0.5, "large") == (row.ratio, row.verdict)

    def test_without_a_reference_there_is_none(self, write_trial: Any) -> None:
        """A first saved step is neither compared, skipped nor unreadable."""
        found = judged(write_trial({"w": [1.0, 2.0], "late": [None, 2.0]}))
        assert ["w"] == [row.tensor for row in found.comparisons]
        assert ([], []) == (found.skipped, found.unreadable)

    def test_its_fields_are_the_historys_columns(self) -> None:
        """The names that every history has."""
        expected = (
            "tensor worker mode step reference_step global_step update_norm weight_norm ratio lower upper verdict"
        )
        assert tuple(expected.split()) == Comparison._fields


class TestNotCompared:
    @pytest.mark.parametrize(
        ("before", "after", "reason"),
        [
            (np.zeros(3), np.zeros((3, 1)), "shape changed from (3,) to (3, 1)"),
            (np.zeros(0), np.zeros(3), "shape changed from (0,) to (3,)"),
            (np.zeros((2, 0)), np.zeros((2, 0)), "no elements"),
            (np.zeros(2), np.zeros(2, complex), "type changed from float64 to complex128"),
        ],
    )
    def test_skipped(self, write_trial: Any, before: Any, after: Any, reason: str) -> None:
        """What was read and has no ratio is skipped, with the reason."""
        found = judged(write_trial({"w": [before, after]}))
        assert [Skipped("w", "worker_0", "TRAIN", 1, 1, reason)] == found.skipped
        assert ([], []) == (found.comparisons, found.unreadable)

    def test_an_uncertain_reference(self, write_trial: Any) -> None:
        """A ratio against a step that may be the wrong one is not given."""
        found = judged(write_trial({"w": [1.0, 2.0]}), uncertain=True)
        reason = "has no certain reference: the index file of a step before it is lost or broken"
        assert [reason] == [entry.reason for entry in found.unreadable]

    def test_no_range_of_bytes(self, write_trial: Any) -> None:
        """An index entry without a range was saved all the same."""
        found = judged(write_trial({"w": [1.0, 2.0], "v": [1.0, 2.0]}), start=NO_RANGE)
        assert [("w", "names no range of bytes for it")] == [(e.tensor, e.reason) for e in found.unreadable]
        assert ["v"] == [row.tensor for row in found.comparisons]

    def test_an_unreadable_reference(self, write_trial: Any) -> None:
        """The record that is unreadable is named: the reference's, not the judged one's."""
        trial = write_trial({"w": [np.array(["text"]), np.zeros(1)]})
        (entry,) = judged(trial).unreadable
        assert ("w", 0) == (entry.tensor, entry.global_step)


class TestSteps:
    @pytest.mark.parametrize("num_steps", [None, 1, 3])
    @pytest.mark.parametrize("kept_bytes", [0, 1 << 20])
    def test_what_is_kept_from_the_step_before_changes_nothing(
        self, write_trial: Any, monkeypatch: pytest.MonkeyPatch, num_steps: int | None, kept_bytes: int
    ) -> None:
        """Steps in order, which keep elements and norms, give the rows of a comparer that is new at each step."""
        tensors = {"every": random_walk(), "third": random_walk(seed=1), "grows": lambda step: np.ones(step // 4 + 1)}
        trial = write_trial(tensors, steps=12, intervals={"third": 3}, workers=("a", "b"))
        folder = TrialFolder(DiskStorage(str(trial.path)), Parameters(num_steps=num_steps))
        monkeypatch.setattr(comparison, "KEPT_BYTES", kept_bytes)
        comparer = Comparer(folder.storage, Bounds(folder.parameters))
        for step in folder.steps:
            pairs = step_pairs(folder, "TRAIN", step)
            assert comparer.compare(pairs) == Comparer(folder.storage, Bounds(folder.parameters)).compare(pairs)


class TestThreads:
    @pytest.mark.parametrize(("at_once", "threads"), [(1 << 40, 3), (4 * 700, 2), (1, 1)])
    def test_records_that_are_compared_at_once_are_bounded(
        self, write_trial: Any, monkeypatch: pytest.MonkeyPatch, at_once: int, threads: int
    ) -> None:
        """Each thread holds two records; a pair that is larger than the bound is compared alone."""
        trial = write_trial({name: random_walk((10, 15), seed=seed) for seed, name in enumerate("abcdefg")}, steps=4)
        alone = list(check_trial(trial.path))
        pools: list[int] = []

        class Noted(DaemonThreads):
            def __init__(self, size: int) -> None:
                pools.append(size)
                super().__init__(size)

        monkeypatch.setattr(comparison, "DaemonThreads", Noted)
        monkeypatch.setattr(comparison, "THREADED_BYTES", 0)
        monkeypatch.setattr(comparison, "BYTES_AT_ONCE", at_once)
        monkeypatch.setattr(os, "cpu_count", lambda: 3)
        assert alone == list(check_trial(trial.path))
        assert pools == ([] if threads == 1 else [threads] * 4)
