"""check_trial: a whole recorded trial, against its truth table and against what the tests themselves wrote."""

from __future__ import annotations

import math
import os
import resource
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import (
    EXIT_CODES,
    RECORDED,
    as_smdebug_reads,
    assert_same_comparisons,
    change_json,
    event_file,
    exact_norm,
    expected_comparisons,
    found_comparisons,
    index_file,
    needs_writing,
    random_walk,
    recorded_truth,
    write_whole_trial,
)
from weight_update_ratio import check_trial

LOOKBACKS = [None, 1, 3, 5, 100]


def assert_judged_as_saved(trial: Any, num_steps: int | None = None) -> Any:
    """Assert that the check finds what was written, and what smdebug reads; return its report."""
    report = check_trial(trial.path, num_steps=num_steps)
    found = found_comparisons(report)
    assert found
    assert_same_comparisons(expected_comparisons(trial.saved, num_steps), found)
    assert_same_comparisons(expected_comparisons(as_smdebug_reads(trial.path), num_steps), found)
    assert report.complete
    return report


class TestRecordedTrials:
    @pytest.mark.parametrize("name", sorted(RECORDED))
    def test_every_row_of_the_truth_and_nothing_more(self, name: str) -> None:
        """The history is the truth table, to 1e-9."""
        report = check_trial(str(RECORDED[name]))
        assert_same_comparisons(recorded_truth(name), found_comparisons(report))

    @pytest.mark.parametrize("num_steps", LOOKBACKS[1:])
    @pytest.mark.parametrize("name", ["pytorch_healthy", "tf_keras", "pytorch_killed"])
    def test_longer_lookbacks_have_the_ratios_that_smdebugs_values_have(self, name: str, num_steps: int) -> None:
        """With num_steps, the reference is the oldest saved step of the window."""
        if name == "pytorch_killed":  # smdebug waits for more of a job without its end; the truth knows its steps
            steps = sorted({step for _, _, step in recorded_truth(name)})
            found = found_comparisons(check_trial(RECORDED[name], num_steps=num_steps))
            references = {(step, reference) for (_, _, step), (_, reference, _) in found.items()}
            assert {(step, max(0, step - num_steps)) for step in steps} == references
            return
        expected = expected_comparisons(as_smdebug_reads(RECORDED[name]), num_steps)
        assert_same_comparisons(expected, found_comparisons(check_trial(RECORDED[name], num_steps=num_steps)))

    @pytest.mark.parametrize(("name", "code"), EXIT_CODES.items())
    def test_verdict(self, name: str, code: int) -> None:
        """Fired, complete or not judged, as the trials were made to be."""
        report = check_trial(RECORDED[name])
        assert (code, code == 1, code != 2) == (report.exit_code, report.fired, report.complete)

    def test_steps_with_nan_weights_are_violations(self) -> None:
        """Every comparison of the exploding run fires, most of them as not finite."""
        report = check_trial(RECORDED["pytorch_exploding"])
        counts: dict[str, int] = {}
        for group in report.violations:
            counts[group.verdict] = counts.get(group.verdict, 0) + group.count
        expected = {"large": 0, "not_finite": 0}
        for _, _, ratio in recorded_truth("pytorch_exploding").values():
            expected["large" if math.isfinite(ratio) else "not_finite"] += 1
        assert expected == counts

    def test_a_trial_of_smdebug_is_taken_for_its_path(self) -> None:
        """An smdebug Trial may stand in place of its folder's path."""
        from smdebug.trials import create_trial

        trial = create_trial(str(RECORDED["pytorch_healthy"]))
        assert_same_comparisons(recorded_truth("pytorch_healthy"), found_comparisons(check_trial(trial)))


class TestWrittenTrials:
    @pytest.mark.parametrize("num_steps", LOOKBACKS)
    def test_save_intervals_that_differ_by_tensor(self, write_trial: Any, num_steps: int | None) -> None:
        """A tensor's own saved steps are its references, whatever others were saved."""
        irregular = [1.0, None, 2.0, 2.5, None, None, None, 3.0, 3.1, None, 3.2, 4.0]
        trial = write_trial(
            {"every": random_walk(), "third": random_walk(seed=1), "irregular": irregular},
            intervals={"third": 3},
            dtype=np.float32,
        )
        assert_judged_as_saved(trial, num_steps)

    @pytest.mark.parametrize("num_steps", LOOKBACKS)
    def test_eval_steps_are_never_references(self, write_trial: Any, num_steps: int | None) -> None:
        """Of TRAIN and EVAL interleaved, TRAIN steps alone are judged, and numbered in their mode."""
        modes = ["EVAL", "EVAL", "TRAIN", "TRAIN", "TRAIN", "EVAL", "TRAIN"]
        trial = write_trial({"w": random_walk(), "v": random_walk(seed=5)}, steps=17, modes=modes, intervals={"v": 2})
        report = assert_judged_as_saved(trial, num_steps)
        assert {"TRAIN"} == {row.mode for row in report}

    @pytest.mark.parametrize("mode_interval", [5, 7])
    @pytest.mark.parametrize("num_steps", LOOKBACKS)
    def test_steps_that_are_saved_at_an_interval(
        self, write_trial: Any, num_steps: int | None, mode_interval: int
    ) -> None:
        """The window counts steps of the mode, not saves: a step 5 back is beyond num_steps 3."""
        trial = write_trial({"w": random_walk()}, steps=6, mode_interval=mode_interval)
        expected = expected_comparisons(trial.saved, num_steps)
        report = check_trial(trial.path, num_steps=num_steps)
        assert_same_comparisons(expected, found_comparisons(report))
        assert bool(expected) == report.complete

    @pytest.mark.parametrize("num_steps", LOOKBACKS)
    @pytest.mark.parametrize("modes", ["GLOBAL", ["EVAL", "PREDICT", "EVAL"]])
    def test_without_train_steps_all_saved_steps_are_judged(
        self, write_trial: Any, modes: Any, num_steps: int | None
    ) -> None:
        """Where no step was saved in TRAIN mode, global steps are judged."""
        report = assert_judged_as_saved(write_trial({"w": random_walk()}, steps=8, modes=modes), num_steps)
        assert {"GLOBAL"} == {row.mode for row in report}

    @pytest.mark.parametrize("num_steps", LOOKBACKS)
    def test_a_worker_that_misses_steps(self, write_trial: Any, num_steps: int | None) -> None:
        """Every worker is compared with itself, at the steps that it saved."""
        trial = write_trial(
            {"w": random_walk(), "v": random_walk(seed=3)},
            steps=9,
            modes=["TRAIN", "TRAIN", "EVAL"],
            workers=("worker_0", "worker_1"),
            missing=[("worker_1", 0), ("worker_1", 3), ("worker_1", 4)],
        )
        report = assert_judged_as_saved(trial, num_steps)
        assert {"worker_0", "worker_1"} == {row.worker for row in report}

    def test_steps_in_two_index_folders(self, trial_writer: Any) -> None:
        """Steps from 1000 on are in a second index folder, and their references in the first."""
        trial = trial_writer().collections({"weights": ["w"]})
        for step in range(995, 1006):
            trial.save(step, {"w": np.float64([step + 1, 2])}, "GLOBAL", step)
        assert ["000000000", "000000001"] == sorted(os.listdir(trial.path / "index"))
        for num_steps in LOOKBACKS:
            found = found_comparisons(check_trial(trial.path, num_steps=num_steps))
            back = num_steps or 1
            expected = {
                ("w", "worker_0", s): ("GLOBAL", r, (s - r) / (math.hypot(r + 1, 2) + 1e-9))
                for s in range(996, 1006)
                for r in [max(995, s - back)]
            }
            assert_same_comparisons(expected, found)

    def test_scalars(self, write_trial: Any) -> None:
        """A tensor of shape () is compared as any other."""
        assert_judged_as_saved(write_trial({"w": [np.float32(2), np.float32(3), np.float32(3)]}))

    def test_empty_tensors_are_skipped(self, write_trial: Any) -> None:
        """A tensor without elements has no ratio, is no violation, and does not spoil what has one."""
        trial = write_trial({"empty": lambda step: np.zeros((0, 3)), "w": random_walk()}, steps=3)
        report = check_trial(trial.path)
        assert_same_comparisons(expected_comparisons(trial.saved), found_comparisons(report))
        assert [("empty", "no elements", 1, 2, 2)] == [
            (g.tensor, g.reason, g.first_step, g.last_step, g.count) for g in report.skipped
        ]
        assert report.complete

    def test_a_changed_shape_is_skipped_and_then_compared_again(self, write_trial: Any) -> None:
        """The step at which a shape changes has no ratio; the next one has."""
        trial = write_trial({"w": [np.ones(3), np.ones((3, 1)), 2 * np.ones((3, 1))]})
        report = check_trial(trial.path)
        assert_same_comparisons(expected_comparisons(trial.saved), found_comparisons(report))
        assert ["shape changed from (3,) to (3, 1)"] == [group.reason for group in report.skipped]

    def test_a_change_between_real_and_complex_is_skipped(self, write_trial: Any) -> None:
        """Complex weights are no update of real ones."""
        report = check_trial(write_trial({"w": [np.ones(2, "f4"), np.ones(2, "c8"), np.ones(2, "c8")]}).path)
        assert [("w", 2)] == [(row.tensor, row.step) for row in report]
        assert ["type changed from float32 to complex64"] == [group.reason for group in report.skipped]

    @pytest.mark.parametrize(
        "dtype",
        [
            *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
            "bool",
            "float16",
            "float32",
            "float64",
        ]
        + ["complex64", "complex128"],
    )
    def test_every_type_that_smdebug_writes(self, write_trial: Any, dtype: str) -> None:
        """Ratios are those of the arrays that were written; smdebug reads int8 as uint8, which is its bug."""
        random = np.random.default_rng(7)
        kind = np.dtype(dtype)
        if kind.kind in "iu":
            limits = np.iinfo(kind)
            arrays = [random.integers(limits.min, limits.max, 33, kind, endpoint=True) for _ in range(4)]
        elif kind.kind == "b":
            arrays = [random.random(33) < 0.5 for _ in range(4)]
        else:
            arrays = [(random.normal(size=33) + (1j if kind.kind == "c" else 0)).astype(kind) for _ in range(4)]
        trial = write_trial({"w": arrays})
        report = check_trial(trial.path)
        assert_same_comparisons(expected_comparisons(trial.saved), found_comparisons(report))
        assert 3 == len(report)

    @pytest.mark.parametrize(
        "name",
        [
            "model/dense/kernel:0",
            "/leading/and/trailing/",
            "[bold red]markup[/bold red]",
            "<b>&amp;</b>",
            "../../outside",
            "with space, comma",
            "Gewichtsgröße ✓ 重み",
            "colour\x1b[2J",
            "line\nbreak",
            "n" * 3000,
        ],
    )
    def test_names_are_taken_as_they_are(self, write_trial: Any, name: str) -> None:
        """No name is interpreted as a path, a pattern or markup."""
        trial = write_trial({name: random_walk(), "w": random_walk(seed=1)}, steps=3)
        report = check_trial(trial.path)
        assert_same_comparisons(expected_comparisons(trial.saved), found_comparisons(report))
        assert 4 == len(report)

    def test_a_tensor_saved_twice_in_a_step(self, trial_writer: Any) -> None:
        """The last counts, as smdebug reads it, and it is compared once."""
        from smdebug.core.modes import ModeKeys
        from smdebug.core.writer import FileWriter

        trial = trial_writer().collections({"weights": ["w"]}).end()
        for step in range(3):
            writer = FileWriter(trial_dir=str(trial.path), step=step, worker="worker_0")
            for value in (1.0 + step, 10.0 + 3 * step):
                writer.write_tensor(np.float32([value]), "w", mode=ModeKeys.TRAIN, mode_step=step)
            writer.close()
        expected = expected_comparisons(as_smdebug_reads(trial.path))
        assert_same_comparisons(expected, found_comparisons(check_trial(trial.path)))

    def test_real_checksums_hold(self, write_trial: Any) -> None:
        """Payloads with checksums are read; smdebug by default writes a constant in their place."""
        trial = write_trial({"w": random_walk((40, 50))}, steps=3, checksum=True)
        report = check_trial(trial.path)
        assert_same_comparisons(expected_comparisons(trial.saved), found_comparisons(report))
        assert report.complete

    @pytest.mark.parametrize("num_steps", [1, 2, 50])
    @pytest.mark.parametrize(("start", "end"), [(0, 5), (4, None), (3, 8), (11, 12), (9, 1000)])
    def test_a_range_of_steps_has_the_ratios_that_it_has_in_the_whole(
        self, write_trial: Any, start: int, end: int | None, num_steps: int
    ) -> None:
        """start_step and end_step cut what is judged, not what it is compared with."""
        trial = write_trial(
            {"w": random_walk(), "v": random_walk(seed=1)}, steps=12, modes=["TRAIN", "EVAL"], intervals={"v": 4}
        )
        globally = {(e.tensor, e.worker, e.step): e.global_step for e in trial.saved if e.mode == "TRAIN"}
        whole = expected_comparisons(trial.saved, num_steps)
        expected = {key: value for key, value in whole.items() if start <= globally[key] < (end or 10**6)}
        report = check_trial(trial.path, num_steps, start_step=start, end_step=end)
        assert_same_comparisons(expected, found_comparisons(report))


SAVES = st.lists(
    st.tuples(
        st.sampled_from(["TRAIN", "TRAIN", "EVAL"]),
        st.integers(1, 4),  # the step after the last one
        st.sets(st.sampled_from(["worker_0", "worker_1"]), min_size=1),
        st.sets(st.sampled_from("abc"), min_size=1),
    ),
    min_size=2,
    max_size=9,
)


@needs_writing
class TestAnyLayout:
    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(saves=SAVES, num_steps=st.one_of(st.none(), st.integers(1, 12)))
    def test_any_tensors_of_any_workers_at_any_steps(self, saves: Any, num_steps: int | None) -> None:
        """Whatever was saved when and by whom: the references are those of the definition."""
        from tests.conftest import TrialWriter

        folder = tempfile.mkdtemp()
        try:
            trial = TrialWriter(folder).collections({"weights": "abc"}, workers=("worker_0", "worker_1"))
            random = np.random.default_rng(0)
            counts: dict[str, int] = {"TRAIN": 0, "EVAL": 0}
            global_step = 0
            for mode, gap, workers, tensors in saves:
                counts[mode] += gap
                global_step += gap
                for worker in sorted(workers):
                    arrays = {name: random.normal(size=3) for name in sorted(tensors)}
                    trial.save(global_step, arrays, mode, counts[mode], worker)
            found = found_comparisons(check_trial(folder, num_steps))
            assert_same_comparisons(expected_comparisons(trial.saved, num_steps), found)
        finally:
            shutil.rmtree(folder)

    @settings(max_examples=15, deadline=None)
    @given(exponent=st.integers(-60, 60), seed=st.integers(0, 1000))
    def test_ratios_do_not_depend_on_the_scale(self, exponent: int, seed: int) -> None:
        """Weights in another unit, with epsilon in that unit, have the same ratios."""
        with tempfile.TemporaryDirectory() as folder:
            walk = random_walk((4, 5), seed=seed, dtype=np.float64)
            write_whole_trial(f"{folder}/a", {"w": walk}, steps=3)
            write_whole_trial(f"{folder}/b", {"w": lambda step: np.ldexp(walk(step), exponent)}, steps=3)
            scaled = check_trial(f"{folder}/b", epsilon=math.ldexp(1e-9, exponent))
            assert found_comparisons(check_trial(f"{folder}/a")) == found_comparisons(scaled)


class TestCollections:
    def test_other_collections_by_name(self, write_trial: Any) -> None:
        """Names separated by commas choose the collections."""
        tensors = {name: random_walk(seed=seed) for seed, name in enumerate("abc")}
        trial = write_trial(tensors, steps=2, collections={"weights": "a", "biases": "b", "losses": "c"})
        chosen = check_trial(trial.path, collection_names="weights, biases")
        assert ["a", "b"] == [row.tensor for row in chosen]
        assert ["c"] == [row.tensor for row in check_trial(trial.path, collection_names=["losses"])]

    def test_members_by_include_regex(self, write_trial: Any) -> None:
        """A collection's members are its names and what its patterns find."""
        tensors = {"conv/kernel": random_walk(), "conv/bias": random_walk(seed=1), "named": random_walk(seed=2)}
        trial = write_trial(
            tensors, steps=2, collections={"weights": ["named"]}, include_regex={"weights": ["kernel$"]}
        )
        assert ["conv/kernel", "named"] == [row.tensor for row in check_trial(trial.path)]

    def test_exclude_regex_leaves_some_out(self) -> None:
        """A tensor that any of its patterns is found in is not compared, also where tensor_regex chooses it."""
        report = check_trial(RECORDED["pytorch_healthy"], tensor_regex="fc,conv", exclude_regex="fc1,bias")
        assert {"TinyNet_conv1.weight", "TinyNet_fc2.weight"} == {row.tensor for row in report}

    def test_tensor_regex_restricts_them(self) -> None:
        """A tensor is compared if it is in the collection and matches one of the patterns."""
        report = check_trial(RECORDED["pytorch_healthy"], tensor_regex="fc1,conv,bias")
        assert {"TinyNet_fc1.weight", "TinyNet_conv1.weight"} == {row.tensor for row in report}


class TestMagnitudes:
    @pytest.mark.parametrize(
        ("before", "after"),
        [
            (np.full(300, 1e200), np.full(300, 1.001e200)),
            (np.append(np.zeros(300), 1.0), np.append(np.full(300, 1e-190), 1.0)),
            (np.full(9000, 3e25, np.float32), np.full(9000, 2.5e25, np.float32)),
            (np.full(70_000, 6e4, np.float16), np.full(70_000, -6e4, np.float16)),
            (np.full(3, 5e-324), np.full(3, 1e-323)),
        ],
        ids=["1e200", "1e-190 on 1", "float32 3e25", "float16 6e4", "subnormal"],
    )
    def test_norms_are_those_of_fsum(self, write_trial: Any, before: Any, after: Any) -> None:
        """From the file to the history, nothing overflows, vanishes or is rounded away."""
        (row,) = check_trial(write_trial({"w": [before, after]}).path)
        expected = exact_norm(after, before), exact_norm(before)
        assert expected == pytest.approx((row.update_norm, row.weight_norm), rel=1e-9, abs=0)
        assert row.ratio == pytest.approx(expected[0] / (expected[1] + 1e-9), rel=1e-9, abs=0)


class TestDamagedTrials:
    def test_a_flipped_byte_under_a_checksum_is_unreadable(self, write_trial: Any) -> None:
        """The record is reported with its file, tensor and step; the sound ones are compared."""
        trial = write_trial({"w": random_walk((30, 30)), "v": random_walk(seed=1)}, steps=4, checksum=True)
        file = event_file(trial.path, 2)
        entry = next(e for e in _payload(trial.path, 2) if e["tensorname"] == "w")
        content = bytearray(file.read_bytes())
        content[entry["start_idx"] + entry["length"] // 2] ^= 4
        file.write_bytes(content)
        report = check_trial(trial.path)
        assert {("w", 1), ("v", 1), ("v", 2), ("v", 3)} == {(row.tensor, row.step) for row in report}
        assert {("w", 2, "is corrupt: the checksum of its content does not hold")} == {
            (entry.tensor, entry.global_step, entry.reason) for entry in report.unreadable
        }
        assert ["events/000000000002/000000000002_worker_0.tfevents"] == [entry.file for entry in report.unreadable]
        assert (False, 2) == (report.complete, report.exit_code)

    def test_a_truncated_event_file(self, write_trial: Any) -> None:
        """What the file no longer holds is unreadable, what it still holds is compared."""
        trial = write_trial({"v": random_walk(), "w": random_walk(seed=1)}, steps=3)
        file = event_file(trial.path, 2)
        file.write_bytes(file.read_bytes()[:-1])
        report = check_trial(trial.path)
        assert {("v", 1), ("w", 1), ("v", 2)} == {(row.tensor, row.step) for row in report}
        assert [("w", 2)] == [(entry.tensor, entry.global_step) for entry in report.unreadable]
        assert "while the index names bytes" in report.unreadable[0].reason

    def test_an_event_file_that_is_gone(self, write_trial: Any) -> None:
        """Every tensor of the file is reported; a violation elsewhere fires all the same."""
        trial = write_trial({"w": [1.0, 1.0, 2.0, 2.5]})
        event_file(trial.path, 3).unlink()
        report = check_trial(trial.path)
        assert [("w", 3, "does not exist")] == [(e.tensor, e.global_step, e.reason) for e in report.unreadable]
        assert (True, False, 1) == (report.fired, report.complete, report.exit_code)

    @pytest.mark.parametrize("name", ["/etc/hostname", "../other/events/file", "events/../../other"])
    def test_an_event_file_outside_the_folder_is_not_opened(self, write_trial: Any, name: str) -> None:
        """An index file cannot make the check read what is not in the trial."""
        trial = write_trial({"w": [1.0, 1.1, 1.2]})
        change_json(index_file(trial.path, 2), lambda index: index["meta"].update(event_file_name=name))
        report = check_trial(trial.path)
        reason = f"names the event file of another step or worker ({name!r})"
        assert [reason] == [entry.reason for entry in report.unreadable]

    def test_an_index_that_names_another_tensors_record(self, write_trial: Any) -> None:
        """A ratio is never taken of another tensor's bytes."""
        trial = write_trial({"w": random_walk(), "v": random_walk(seed=1)}, steps=2)

        def swap(index: Any) -> None:
            first, second = index["tensor_payload"]
            first["tensorname"], second["tensorname"] = second["tensorname"], first["tensorname"]

        change_json(index_file(trial.path, 1), swap)
        report = check_trial(trial.path)
        assert 0 == len(report)
        assert {"holds the tensor 'w' where the index names 'v'", "holds the tensor 'v' where the index names 'w'"} == {
            entry.reason for entry in report.unreadable
        }
        assert "nothing could be read to compare" in report.problem.message

    def test_a_broken_index_file_leaves_no_false_reference(self, write_trial: Any) -> None:
        """Where the nearest reference may have been in an unreadable index file, there is no comparison."""
        trial = write_trial({"w": random_walk()}, steps=5)
        index_file(trial.path, 2).write_text('{"meta": ')
        report = check_trial(trial.path)
        assert [1, 4] == [row.step for row in report]
        assert {(None, 2), ("w", 3)} == {(entry.tensor, entry.global_step) for entry in report.unreadable}

    def test_a_broken_index_file_in_a_longer_window(self, write_trial: Any) -> None:
        """The window's first step is certain even so; a later reference is not."""
        trial = write_trial({"w": random_walk()}, steps=6)
        index_file(trial.path, 1).write_text("")
        report = check_trial(trial.path, num_steps=2)
        assert [(2, 0), (4, 2), (5, 3)] == [(row.step, row.reference_step) for row in report]
        assert {(None, 1), ("w", 3)} == {(entry.tensor, entry.global_step) for entry in report.unreadable}

    def test_a_string_tensor_is_no_number(self, write_trial: Any) -> None:
        """A string among the weights is unreadable, and says what it is."""
        report = check_trial(write_trial({"w": lambda step: np.array(["a", "b"]), "v": random_walk()}, steps=2).path)
        assert ["v"] == [row.tensor for row in report]
        assert ["w", "w"] == [entry.tensor for entry in report.unreadable]
        assert "holds no numbers" in report.unreadable[0].reason


def _payload(trial: Path, step: int) -> Any:
    import json

    return json.loads(index_file(trial, step).read_text())["tensor_payload"]


class TestArguments:
    @pytest.mark.parametrize("start", [-1, 1.0, "0", True, None])
    def test_start_step(self, start: Any) -> None:
        """The first step is a whole number."""
        with pytest.raises(ValueError, match=r"'start_step' must be a whole number >= 0 \(got "):
            check_trial(RECORDED["pytorch_healthy"], start_step=start)

    @pytest.mark.parametrize("end", [3, 2, 4.0, "9", True])
    def test_end_step(self, end: Any) -> None:
        """The end is exclusive, so it is after the first."""
        with pytest.raises(ValueError, match=r"'end_step' must be a whole number > 'start_step' 3 or None \(got "):
            check_trial(RECORDED["pytorch_healthy"], start_step=3, end_step=end)

    def test_progress_is_told_of_every_step(self) -> None:
        """Progress ends with all steps done."""
        seen: list[tuple[int, int]] = []
        check_trial(RECORDED["pytorch_healthy"], progress=lambda done, total: seen.append((done, total)))
        assert [(n, 26) for n in range(1, 27)] == seen


class TestManyFiles:
    @needs_writing
    @pytest.mark.parametrize("workers", [70])
    def test_more_files_a_step_than_there_are_descriptors(self, write_trial: Any, workers: int) -> None:
        """A step of many workers, each with a file, is judged within few file descriptors."""
        names = [f"worker_{number}" for number in range(workers)]
        trial = write_trial({"w": random_walk()}, steps=3, workers=names)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        used = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 64
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 60, limits[1]))
        try:
            report = check_trial(trial.path)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert_same_comparisons(expected_comparisons(trial.saved), found_comparisons(report))
        assert report.complete


class TestNamesThatLookAlike:
    @needs_writing
    def test_numbered_names_are_no_flipped_bits(self, write_trial: Any) -> None:
        """A member that was not saved, and a tensor of no collection that is named like it, are two tensors."""
        members = {"weights": ["fc0.weight", "fc1.weight"]}
        trial = write_trial({"fc0.weight": random_walk(), "fc3.weight": random_walk()}, steps=3, collections=members)
        report = check_trial(trial.path)
        assert (report.unreadable, report.exit_code) == ([], 0)


class TestSmdebugsTrial:
    @needs_writing
    def test_range_steps_are_kept_to(self, write_trial: Any) -> None:
        """A Trial that was told to keep to a range of steps is judged within it, as the rule judges it."""
        from smdebug.trials import create_trial

        trial = write_trial({"w": random_walk()}, steps=10)
        report = check_trial(create_trial(str(trial.path), range_steps=(2, 5)))
        assert [(row.step, row.reference_step) for row in report] == [(3, 2), (4, 3)]
