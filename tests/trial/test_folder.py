"""TrialFolder: collections and index files as smdebug writes them, and everything that may be wrong with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RECORDED, as_smdebug_reads, change_json, index_file, random_walk
from weight_update_ratio.parameters import Parameters, parse_parameters
from weight_update_ratio.storage.disk import DiskStorage
from weight_update_ratio.trial.folder import TrialFolder
from weight_update_ratio.trial.index_file import LARGEST_STEP
from weight_update_ratio.trial.timeline import WorkerStep


def opened(path: Any, parameters: Parameters | None = None, **options: Any) -> TrialFolder:
    return TrialFolder(DiskStorage(str(path)), parameters or Parameters(), **options)


def saved_tensors(folder: TrialFolder, step: int) -> list[tuple[str, WorkerStep]]:
    """Return each tensor of a step, with what its worker saved."""
    return [(tensor, saved) for saved in folder.saved(step).workers for tensor in saved.records]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with a weight "w" in its collections, and steps 0 to 2 in its index."""
    content = {"collections": {"weights": {"tensor_names": ["w"], "include_regex": []}}, "_meta": {"num_workers": 1}}
    file = tmp_path / "collections" / "000000000" / "worker_0_collections.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(content))
    for step in range(3):
        write_index(tmp_path, step)
    return tmp_path


def write_index(folder: Path, step: int, worker: str = "worker_0", **changes: Any) -> Path:
    file = index_file(folder, step, worker)
    file.parent.mkdir(parents=True, exist_ok=True)
    entry = {"tensorname": "w", "start_idx": 0, "length": 100}
    meta = {"mode": "TRAIN", "mode_step": step, "event_file_name": f"events/{step:012d}/{step:012d}_{worker}.tfevents"}
    file.write_text(json.dumps({"meta": meta, "tensor_payload": [entry], "shape_payload": [], **changes}))
    return file


def why_unreadable(folder: Path, step: int = 1) -> list[str]:
    return [entry.reason for entry in opened(folder).saved(step).unreadable]


class TestSteps:
    @pytest.mark.parametrize("name", ["pytorch_healthy", "tf_keras", "pytorch_ddp_one"])
    def test_recorded_trials_hold_what_smdebug_finds(self, name: str) -> None:
        """Tensor, worker, mode and steps are those of smdebug's Trial."""
        folder = opened(RECORDED[name])
        found = [
            (tensor, saved.worker, saved.mode, saved.step, saved.global_step)
            for step in folder.steps
            for tensor, saved in saved_tensors(folder, step)
        ]
        assert sorted(tuple(saved[:5]) for saved in as_smdebug_reads(RECORDED[name])) == sorted(found)
        assert folder.ended

    def test_a_killed_job_has_not_ended_and_its_temporary_files_are_no_steps(self) -> None:
        """Files that were being written when the process died are passed over."""
        folder = opened(RECORDED["pytorch_killed"])
        assert list((RECORDED["pytorch_killed"] / "index").glob("*/*.json.tmp"))
        assert (False, list(range(15))) == (folder.ended, folder.steps)

    def test_files_of_other_names_are_passed_over(self, folder: Path) -> None:
        """Only files named as index files are."""
        for name in ("readme.json", "_worker_0.json", "12.json", "abc_worker_0.json", "000000000009_worker_0.json.bak"):
            (folder / "index" / "000000000" / name).write_text("{}")
        assert [0, 1, 2] == opened(folder).steps

    def test_the_step_after(self, folder: Path) -> None:
        """The next saved step, of a step that is saved or not."""
        write_index(folder, 7)
        trial = opened(folder)
        assert [0, 1, 7, 7, None] == [trial.step_after(step) for step in (-1, 0, 2, 6, 7)]
        assert [[1, 2], [], [0, 1, 2, 7]] == [trial.steps_between(*ends) for ends in ((1, 7), (3, 7), (0, 99))]

    def test_a_step_that_was_not_saved_is_empty(self, folder: Path) -> None:
        """Nothing was saved, nothing is unreadable."""
        saved = opened(folder).saved(5)
        assert ([], []) == (saved.workers, saved.unreadable)

    @pytest.mark.parametrize(("steps", "expected"), [((1, None), [1, 2]), ((None, 2), [0, 1]), ((1, 2), [1])])
    def test_a_range_of_steps(self, folder: Path, steps: Any, expected: list[int]) -> None:
        """As smdebug's create_trial takes it: the end is not in it."""
        assert expected == opened(folder, range_steps=steps).steps

    def test_refresh_finds_new_steps_and_workers(self, folder: Path) -> None:
        """Steps from the one given on are listed again, and read again."""
        trial = opened(folder)
        assert 1 == len(saved_tensors(trial, 2))
        write_index(folder, 2, "worker_1")
        write_index(folder, 1000)
        trial.refresh(2)
        assert [0, 1, 2, 1000] == trial.steps
        assert ["worker_0", "worker_1"] == [saved.worker for _, saved in saved_tensors(trial, 2)]
        assert [1, 2, 1, 0] == [trial.workers_at(step) for step in (1, 2, 1000, 5)]
        assert not trial.ended
        (folder / "training_job_end.ts").touch()
        trial.refresh(1000)
        assert trial.ended
        write_index(folder, 1001)
        trial.refresh(1000)
        assert [0, 1, 2, 1000] == trial.steps  # nothing comes after the end

    def test_steps_that_save_the_same_share_what_is_known_of_it(self, folder: Path) -> None:
        """A payload of the same bytes is parsed once; one that differs has its own records."""
        change_json(index_file(folder, 2), lambda index: index["tensor_payload"][0].update(start_idx=9))
        first, second, third = (opened(folder).saved(step).workers[0].records for step in range(3))
        assert first == second == {"w": (0, 100)}
        assert third == {"w": (9, 100)}

    def test_many_payloads_that_differ(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Only so many are kept to be shared; what was read of each step stays."""
        from weight_update_ratio.trial import folder as folder_module

        monkeypatch.setattr(folder_module, "PAYLOADS_KEPT", 1)
        for step in range(3):
            change_json(index_file(folder, step), lambda index, n=step: index["tensor_payload"][0].update(start_idx=n))
        trial = opened(folder)
        assert [trial.saved(step).workers[0].records for step in range(3)] == [{"w": (n, 100)} for n in range(3)]

    @pytest.mark.parametrize("separators", [None, (",", ":")])
    def test_an_index_that_another_writer_wrote(self, folder: Path, separators: Any) -> None:
        """Members in another order, and without spaces, say the same."""
        content = json.loads(index_file(folder, 1).read_text())
        turned = dict(reversed(list(content.items())))
        index_file(folder, 1).write_text(json.dumps(turned, separators=separators))
        assert opened(folder).saved(1).workers[0].records == {"w": (0, 100)}
        assert opened(folder).saved(1).workers[0].step == 1

    def test_workers_of_tensorflow(self, folder: Path) -> None:
        """A worker's name in a file's is escaped."""
        write_index(folder, 0, "_job-worker_replica-0_task-1_device-GPU-0")
        assert "/job:worker/replica:0/task:1/device:GPU:0" in [s.worker for _, s in saved_tensors(opened(folder), 0)]


class TestIndexFiles:
    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            ("", "is empty"),
            ("{", "is not JSON (Expecting property name"),
            ("\xff", "is not JSON ('utf-8' codec can't decode"),
            ("[" * 100_000, "is not JSON ("),
            ("[]", "is not an index: it has no 'meta'"),
            ("3", "is not an index: it has no 'meta'"),
            ("{}", "is not an index: it has no 'meta'"),
            ('{"meta": []}', "is not an index: it has no 'meta'"),
        ],
    )
    def test_no_index(self, folder: Path, content: str, reason: str) -> None:
        """Each says what it is, and the worker is remembered as one whose step is not known."""
        index_file(folder, 1).write_bytes(content.encode("latin-1"))
        assert why_unreadable(folder)[0].startswith(reason)
        assert ["worker_0"] == list(opened(folder).broken)

    @pytest.mark.parametrize(
        ("meta", "reason"),
        [
            ({"mode": "DREAM"}, "has an unknown mode 'DREAM'"),
            ({"mode": None}, "has an unknown mode 'None'"),
            ({"mode": []}, "has an unknown mode '[]'"),
            ({"mode": "x" * 99}, f"has an unknown mode '{'x' * 50}'"),
            ({"mode_step": "1"}, "has a step that is not a whole number ('1')"),
            ({"mode_step": 1.5}, "has a step that is not a whole number ('1.5')"),
            ({"mode_step": True}, "has a step that is not a whole number ('True')"),
            ({"mode_step": LARGEST_STEP}, "has a step that is not a whole number ('4611686018427387904')"),
            ({"event_file_name": 3}, "names the event file of another step or worker ('3')"),
            (
                {"event_file_name": "events/000000000002/000000000002_worker_0.tfevents"},
                "names the event file of another step or worker ('events/000000000002/000000000002_worker_0.tfevents')",
            ),
            (
                {"event_file_name": "events/000000000001/000000000001_worker_1.tfevents"},
                "names the event file of another step or worker ('events/000000000001/000000000001_worker_1.tfevents')",
            ),
        ],
    )
    def test_bad_meta(self, folder: Path, meta: Any, reason: str) -> None:
        """Mode, step and event file are checked."""
        change_json(index_file(folder, 1), lambda index: index["meta"].update(meta))
        assert [reason] == why_unreadable(folder)

    @pytest.mark.parametrize("step_and_worker", ["000000000002_worker_0", "000000000001_worker_1"])
    def test_the_event_file_of_another_step_or_worker(self, folder: Path, step_and_worker: str) -> None:
        """An index file that was swapped or copied says which step it is of by its name."""
        name = f"events/{step_and_worker[:12]}/{step_and_worker}.tfevents"
        change_json(index_file(folder, 1), lambda index: index["meta"].update(event_file_name=name))
        assert [f"names the event file of another step or worker ({name[:50]!r})"] == why_unreadable(folder)

    @pytest.mark.parametrize("payload", [3, {"a": 1}, "w"])
    def test_a_payload_that_is_no_list(self, folder: Path, payload: Any) -> None:
        """It has no tensors that could be walked."""
        write_index(folder, 1, tensor_payload=payload)
        assert ["is not an index: its payload is not a list of tensors"] == why_unreadable(folder)

    @pytest.mark.parametrize("payload", [None, []])
    def test_no_payload(self, folder: Path, payload: Any) -> None:
        """A step of which only shapes were saved has no tensors, and needs no event file."""
        write_index(folder, 1, tensor_payload=payload, meta={"mode": "TRAIN", "mode_step": 1})
        assert ([], []) == (why_unreadable(folder), saved_tensors(opened(folder), 1))

    def test_a_mode_in_spaces(self, folder: Path) -> None:
        """smdebug strips it, so we do."""  # noqa: D403
        change_json(index_file(folder, 1), lambda index: index["meta"].update(mode=" EVAL "))
        assert ["EVAL"] == [saved.mode for _, saved in saved_tensors(opened(folder), 1)]

    @pytest.mark.parametrize("entry", [None, [], {}, {"tensorname": 3}])
    def test_an_entry_without_a_name(self, folder: Path, entry: Any) -> None:
        """The index file does not say what it holds."""
        change_json(index_file(folder, 1), lambda index: index["tensor_payload"].insert(0, entry))
        assert ["has an entry without a tensor's name"] == why_unreadable(folder)

    @pytest.mark.parametrize(
        "entry", [{"start_idx": -1}, {"length": "9"}, {"start_idx": None}, {"length": 1.0}, {"length": 2**63}]
    )
    def test_an_entry_without_a_range(self, folder: Path, entry: Any) -> None:
        """The tensor was saved: comparing it reports it as unreadable."""
        change_json(index_file(folder, 1), lambda index: index["tensor_payload"][0].update(entry))
        ((tensor, saved),) = saved_tensors(opened(folder), 1)
        assert ("w", None) == (tensor, saved.records[tensor])
        assert "index/000000000/000000000001_worker_0.json" == saved.index_file

    def test_a_folder_in_an_index_files_place(self, folder: Path) -> None:
        """It is not an index file, and its files are none of the trial's."""
        index_file(folder, 1).unlink()
        index_file(folder, 1).mkdir()
        assert [0, 2] == opened(folder).steps


class TestCollections:
    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            ("[]", "holds no collections"),
            ("{}", "holds no collections"),
            ('{"collections": 3}', "holds no collections"),
            ("{", "is not JSON (Expecting property name"),
            ('{"collections": {"weights": {"tensor_names": 3}}}', "has a collection 'weights' without lists of names"),
            (
                '{"collections": {"weights": {"include_regex": [3]}}}',
                "has a collection 'weights' without lists of names",
            ),
            (
                '{"collections": {"weights": {"tensor_names": [], "include_regex": ["("]}}}',
                "has an include_regex that does not compile ('('",
            ),
        ],
    )
    def test_unreadable_ones(self, folder: Path, content: str, reason: str) -> None:
        """Each is reported; another worker's are used all the same."""
        name = "collections/000000000/worker_1_collections.json"
        (folder / name).write_text(content)
        trial = opened(folder)
        file = "collections/000000000" if "compile" in reason else name
        assert [(file, None, None, -1)] == [entry[:4] for entry in trial.unreadable]
        assert trial.unreadable[0].reason.startswith(reason)
        assert "w" in trial.selection

    @pytest.mark.parametrize(
        ("meta", "expected"), [({"num_workers": 4}, 4), ({}, 1), (None, 1), ({"num_workers": "x"}, 1)]
    )
    def test_the_number_of_workers(self, folder: Path, meta: Any, expected: int) -> None:
        """As the collections say; one where they do not."""
        file = folder / "collections" / "000000000" / "worker_0_collections.json"
        change_json(file, lambda content: content.update(_meta=meta))
        assert expected == opened(folder).collections.num_workers

    def test_a_collection_of_nothing(self, folder: Path) -> None:
        """Lists may be null."""
        file = folder / "collections" / "000000000" / "worker_0_collections.json"
        change_json(
            file, lambda content: content["collections"].update(b={"tensor_names": None, "include_regex": None})
        )
        assert (set(), []) == (opened(folder).collections.tensor_names["b"], opened(folder).unreadable)

    def test_reductions_are_no_weights(self, write_trial: Any) -> None:
        """A reduction matches the pattern of its tensor's collection, and is kept apart."""
        trial = write_trial(
            {"smdebug/reductions/l2/a/weight": [1.0], "b/weight": [2.0]},
            collections={},
            include_regex={"weights": ["weight$"]},
        )
        folder = opened(trial.path)
        assert ["b/weight"] == [tensor for tensor, _ in saved_tensors(folder, 0)]
        assert {"a/weight": "l2"} == folder.selection.reduced

    def test_reductions_of_tensors_that_were_not_asked_for(self, write_trial: Any) -> None:
        """They say nothing of the weights."""
        trial = write_trial({"smdebug/reductions/l2/bias": [1.0]}, collections={"weights": ["w"]})
        folder = opened(trial.path)
        assert ([], {}) == (saved_tensors(folder, 0), folder.selection.reduced)

    def test_saved_collections(self, write_trial: Any) -> None:
        """Those of which a tensor was seen."""
        collections = {"weights": ["w"], "losses": ["l"], "biases": ["b"]}
        trial = write_trial({"w": random_walk(), "l": random_walk()}, steps=1, collections=collections)
        folder = opened(trial.path, parse_parameters(collection_names="biases"))
        assert [] == saved_tensors(folder, 0)
        assert ["losses", "weights"] == folder.saved_collections()


class TestIncompleteSteps:
    def test_the_last_complete_step(self, folder: Path) -> None:
        """The last that all workers saved; smdebug passes over those before it."""
        change_json(
            folder / "collections" / "000000000" / "worker_0_collections.json",
            lambda content: content["_meta"].update(num_workers=2),
        )
        assert opened(folder).last_complete == -1
        write_index(folder, 1, "worker_1")
        assert opened(folder).last_complete == 1
        (folder / "training_job_end.ts").touch()
        assert opened(folder).last_complete == 2

    def test_event_files_of_a_live_job(self, folder: Path) -> None:
        """They are awaited until those of the newest step are there."""
        assert opened(folder).awaits_files(1)
        newest = folder / "events" / "000000000002" / "000000000002_worker_0.tfevents"
        newest.parent.mkdir(parents=True)
        newest.touch()
        assert opened(folder).awaits_files(1)  # shorter than its index says
        newest.write_bytes(bytes(1000))
        assert not opened(folder).awaits_files(1)


class TestFilesThatVanish:
    def test_a_step_of_which_nothing_is_left(self, folder: Path) -> None:
        """A live job may delete old steps; the others are as they were."""
        live = opened(folder)
        index_file(folder, 0).unlink()
        live.refresh(0)
        assert ([1, 2], []) == (live.steps, live.saved(0).workers)
