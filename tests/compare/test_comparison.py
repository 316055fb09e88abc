"""Saved tensors against their references, with records that smdebug wrote."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.conftest import change_json, event_file, exact_norm, index_file, random_walk
from weight_update_ratio import Report, check_trial
from weight_update_ratio.compare import comparer
from weight_update_ratio.compare.rows import SkippedGroup
from weight_update_ratio.trial import folder, record_group


def said(report: Report) -> Any:
    """Return all that was found; rows that have NaN in them compare as text."""
    return list(map(repr, report)), report.skipped, report.unreadable, types_of(report)


def types_of(report: Report) -> list[str]:
    names = list(report.rows.types.codes)
    return [names[code] for code in report.columns["type"]]


def test_a_row(write_trial: Any) -> None:
    """Everything of it, by exact arithmetic and the parameters that were given."""
    before, after = np.float32([1, 2, 3]), np.float32([1, 2, 3.5])
    report = check_trial(write_trial({"w": [before, after]}).path, epsilon=1.0, large_threshold=0.1)
    (row,) = report
    update, weights = exact_norm(after, before), exact_norm(before)
    assert ("w", "worker_0", "TRAIN", 1, 0, 1) == row[:6]
    assert (update, weights, update / (weights + 1)) == pytest.approx(row[6:9], rel=1e-12)
    assert (1e-8, 0.1, "large", "float32") == row[9:]


def test_types(write_trial: Any) -> None:
    trial = write_trial(
        {"w": [np.float32(1), np.float64(2), np.float32(3)], "v": [None, np.int8(1), np.int8(2)], "x": [np.int8(1)]}
    )
    assert ["float64", "float32", "int8"] == types_of(check_trial(trial.path))


TYPE_CHANGED = ("type changed from float64 to complex128", 1, 1, 1)


@pytest.mark.parametrize(
    ("before", "after", "groups"),
    [
        (np.zeros(3), np.zeros((3, 1)), [("shape changed from (3,) to (3, 1)", 1, 1, 1)]),
        (np.zeros(0), np.zeros(3), [("shape changed from (0,) to (3,)", 1, 1, 1)]),
        (np.zeros((2, 0)), np.zeros((2, 0)), [("no elements", 1, 2, 2)]),
        (np.zeros(2), np.zeros(2, complex), [TYPE_CHANGED]),
        (np.zeros(0), np.zeros(0, complex), [TYPE_CHANGED, ("no elements", 2, 2, 1)]),
        (np.zeros(0), np.zeros(0, np.float32), [("no elements", 1, 2, 2)]),
    ],
)
def test_what_is_skipped(write_trial: Any, before: Any, after: Any, groups: Any) -> None:
    """It does not spoil the next step, which has the same shape and type again, or another tensor."""
    report = check_trial(write_trial({"w": [before, after, after], "v": [1.0, 2.0, 3.0]}).path)
    assert [SkippedGroup("w", "worker_0", *group) for group in groups] == report.skipped
    assert [2] * bool(after.size) == [row.step for row in report if row.tensor == "w"]
    assert ([1, 2], True) == ([row.step for row in report if row.tensor == "v"], report.complete)


class TestLargeTrials:
    @pytest.mark.parametrize("num_steps", [None, 3])
    @pytest.mark.parametrize(("group_bytes", "kept_bytes"), [(5000, 1 << 28), (5000, 0), (1, 0)])
    def test_have_the_report_of_small_ones(
        self,
        write_trial: Any,
        monkeypatch: pytest.MonkeyPatch,
        group_bytes: int,
        kept_bytes: int,
        num_steps: int | None,
    ) -> None:
        """Of several workers, sizes, types and save intervals, in the order of the index, also of what is broken."""
        shapes = [(3,), (40,), (70_000,), (), (8, 8), (300,), (2, 9000), (1,), (90,)]
        kinds = ["f4", "f8", "f4", "i8", "f2", "c8", "f4", "?", "f8"]
        tensors: dict[str, Any] = {
            f"w{n}": lambda step, n=n: (random_walk(shapes[n], seed=n, dtype="f8")(step) * 3).astype(kinds[n])
            for n in range(9)
        }
        tensors["rarely"] = [np.ones(50) * step if step in (0, 5) else None for step in range(7)]
        tensors["empty"], tensors["void"] = (lambda step: np.zeros((0, 4)), lambda step: np.zeros(0))
        tensors["grows"] = lambda step: np.ones(step // 4 + 1)
        tensors["text"] = lambda step: np.array(["a"])
        intervals = {"w1": 2, "w4": 3, "w6": 2}
        trial = write_trial(tensors, steps=7, intervals=intervals, workers=("a", "b"), missing=[("b", 3)])
        order = sorted(tensors, key=lambda name: name[::-1])
        change_json(
            index_file(trial.path, 1, "a"),
            lambda index: index["tensor_payload"].sort(key=lambda entry: order.index(entry["tensorname"])),
        )
        event_file(trial.path, 5, "b").write_bytes(event_file(trial.path, 5, "b").read_bytes()[:-40_000])
        report = check_trial(trial.path, num_steps=num_steps)
        first = [row.tensor for row in report if (row.global_step, row.worker) == (1, "a")]
        skipped = [group.tensor for group in report.skipped if (group.first_step, group.worker) == (1, "a")]
        for names in (first, skipped):
            assert len(names) > 1
            assert [tensor for tensor in order if tensor in names] == names
        limits = {"THREADED_BYTES": 0, "PLANNED": 2, "KEPT_BYTES": kept_bytes}  # which are there for large trials only
        for name, value in limits.items():
            monkeypatch.setattr(comparer, name, value, raising=False)
        monkeypatch.setattr(record_group, "GROUP_BYTES", group_bytes, raising=False)
        monkeypatch.setattr(folder, "PAYLOADS_KEPT", 1, raising=False)
        assert said(report) == said(check_trial(trial.path, num_steps=num_steps))

    def test_norms(self, write_trial: Any) -> None:
        """Of steps of 12 MB, from which on several threads compare, against NumPy's in float64."""
        weights = [np.random.default_rng(step).normal(size=(3, 1_000_000)).astype(np.float32) for step in range(3)]
        trial = write_trial({f"w{n}": [step[n] for step in weights] for n in range(3)})
        report = check_trial(trial.path)
        for step in (1, 2):
            before, after = (weights[at].astype(np.float64) for at in (step - 1, step))
            rows = [row for row in report if row.step == step]
            expected = np.linalg.norm(after - before, axis=1), np.linalg.norm(before, axis=1)
            assert np.stack(expected).tolist() == [
                pytest.approx([row.update_norm for row in rows], rel=1e-9),
                pytest.approx([row.weight_norm for row in rows], rel=1e-9),
            ]
