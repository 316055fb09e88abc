"""check_trial: recordings against what smdebug itself reads, names, types, sizes and damages that others do not try."""

from __future__ import annotations

import os
import resource
from typing import Any

import numpy as np
import pytest

from tests.conftest import (
    EXIT_CODES,
    RECORDED,
    as_smdebug_reads,
    assert_same_comparisons,
    change_json,
    expected_comparisons,
    found_comparisons,
    random_walk,
    recorded_truth,
)
from tests.test_contract import HOOKS, RECORDINGS
from weight_update_ratio import check_trial

HEALTHY = RECORDED["pytorch_healthy"]
TYPES = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
TYPES += ["bool", "float16", "float32", "float64", "complex64", "complex128"]
NAMES = [
    "model/dense/kernel:0",
    "/leading/and/trailing/",
    "../../outside",
    "with space, comma",
    "Gewichtsgröße ✓ 重み",
    "colour\x1b[2J",
    "n" * 3000,
]


class TestTruth:
    @pytest.mark.parametrize("name", sorted(RECORDED))
    def test_recorded_trials(self, name: str) -> None:
        """Every ratio that smdebug's values give, to 1e-9, and nothing more; the exit code that they were made for."""
        report = check_trial(str(RECORDED[name]))
        assert_same_comparisons(recorded_truth(name), found_comparisons(report))
        code = EXIT_CODES[name]
        assert (code, code == 1, code != 2) == (report.exit_code, report.fired, report.complete)

    @pytest.mark.parametrize("name", sorted(RECORDINGS.keys() - RECORDED.keys()))
    def test_recordings_of_real_hooks(self, name: str) -> None:
        """Likewise; it is 1 where a true ratio is out of its bounds."""
        truth = recorded_truth(f"../hooks/{name}/truth")
        report = check_trial(RECORDINGS[name], strict=True)
        assert_same_comparisons(truth, found_comparisons(report))
        code = 1 if name in ("tf_tape_eval", "two_same_models") else 0
        assert code == any(not 1e-8 <= ratio <= 10 for _, _, ratio in truth.values())
        assert (code, []) == (report.exit_code, report.unreadable)

    def test_numbers_that_a_resumed_job_saved_again(self) -> None:
        report = check_trial(HOOKS / "pt_resume_spot" / "trial")
        found = [(group.tensor, group.worker, group.reason, group.count) for group in report.skipped]
        assert (None, "worker_0", "saved again later: steps 7-8", 2) in found


class TestWrittenTrials:
    def assert_as_saved(self, trial: Any, by_smdebug: bool = True) -> None:
        report = check_trial(trial.path)
        assert_same_comparisons(expected_comparisons(trial.saved), found_comparisons(report))
        if by_smdebug:
            assert_same_comparisons(expected_comparisons(as_smdebug_reads(trial.path)), found_comparisons(report))
        assert report.complete

    def test_every_type_that_smdebug_writes(self, write_trial: Any) -> None:
        """Also without dimensions, and with real checksums; smdebug reads int8 as uint8, which is its bug."""
        generator = np.random.default_rng(7)

        def values(kind: np.dtype[Any]) -> Any:
            if kind.kind in "iu":
                limits = np.iinfo(kind)
                return generator.integers(limits.min, limits.max, 33, kind, endpoint=True)
            if kind.kind == "b":
                return generator.random(33) < 0.5
            return (generator.normal(size=33) + (1j if kind.kind == "c" else 0)).astype(kind)

        tensors = {name: [values(np.dtype(name)) for _ in range(4)] for name in TYPES}
        tensors["scalar"] = [np.float32(2), np.float32(3), np.float32(3)]
        self.assert_as_saved(write_trial(tensors, checksum=True), by_smdebug=False)

    def test_names_are_taken_as_they_are(self, write_trial: Any) -> None:
        """No name is interpreted as a path, a pattern or markup."""
        self.assert_as_saved(write_trial({name: random_walk(seed=n) for n, name in enumerate(NAMES)}, steps=3))

    def test_collections_written_by_several_workers_are_joined(self, write_trial: Any) -> None:
        """A tensor is a weight if any worker's collections say so; smdebug believes the last."""
        trial = write_trial({"w": random_walk(), "v": random_walk(seed=1)}, steps=2, workers=("worker_0", "worker_1"))
        file = trial.path / "collections" / "000000000" / "worker_1_collections.json"
        change_json(file, lambda content: content["collections"]["weights"].update(tensor_names=["v"]))
        self.assert_as_saved(trial, by_smdebug=False)

    def test_more_files_a_step_than_there_are_descriptors(self, write_trial: Any) -> None:
        """A step of many workers, each with a file, is judged within few file descriptors."""
        trial = write_trial({"w": random_walk()}, steps=3, workers=[f"worker_{number}" for number in range(70)])
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 60, limits[1]))
        try:
            report = check_trial(trial.path)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert_same_comparisons(expected_comparisons(trial.saved), found_comparisons(report))
        assert report.complete


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        *(({"start_step": start}, "'start_step' must be a whole number >= 0") for start in (-1, 1.0, "0", True, None)),
        *(
            ({"start_step": 3, "end_step": end}, "'end_step' must be a whole number > 'start_step' 3 or None")
            for end in (3, 2, 4.0, "9", True)
        ),
    ],
)
def test_steps_that_cannot_be(steps: dict[str, Any], message: str) -> None:
    """Both are whole numbers, and the end is exclusive."""
    given = list(steps.values())[-1]
    with pytest.raises(ValueError) as caught:
        check_trial(HEALTHY, **steps)
    assert f"{message} (got {given!r})" == str(caught.value)
