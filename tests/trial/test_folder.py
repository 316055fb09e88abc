"""Index and collections files: what other writers may write. tests/faults has those that cannot be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import change_json, event_file, index_file
from tests.trial.made_records import payload, record, write_trial_of_records
from weight_update_ratio import check_trial
from weight_update_ratio.parameters import parse_parameters
from weight_update_ratio.storage.disk import DiskStorage
from weight_update_ratio.trial.collections import RECORDER_NOTES
from weight_update_ratio.trial.folder import TrialFolder

COLLECTIONS = "collections/000000000/worker_0_collections.json"


@pytest.fixture
def trial(tmp_path: Path) -> Path:
    """Give a trial with a weight "w" at the steps 1 to 3."""
    steps = {step: [record(payload("w", step, (1, 1 + step / 100)))] for step in (1, 2, 3)}
    return write_trial_of_records(tmp_path / "trial", ["w"], steps)


def said(trial: Path, **parameters: Any) -> Any:
    return json.loads(check_trial(trial, **parameters).to_json())


class TestWhatOtherWritersWrite:
    @pytest.mark.parametrize(
        "change",
        [
            lambda index: dict(reversed(index.items())),
            lambda index: index["meta"].pop("event_file_name") and None,
            lambda index: index.update(shape_payload=None, version=3),
            lambda index: index["tensor_payload"].insert(0, {"tensorname": "w", "start_idx": 9, "length": 9}),
            lambda index: index["tensor_payload"].append({"tensorname": "of no collection"}),
        ],
        ids=["in another order", "no event file", "other members", "of two the last counts", "not selected"],
    )
    def test_index_files_that_say_the_same(self, trial: Path, change: Any) -> None:
        expected = said(trial)
        change_json(index_file(trial, 2), change)
        assert expected == said(trial)
        index_file(trial, 2).write_text(json.dumps(json.loads(index_file(trial, 2).read_text()), separators=(",", ":")))
        assert expected == said(trial)

    @pytest.mark.parametrize("payload", [None, []])
    def test_a_step_without_tensors(self, trial: Path, payload: Any) -> None:
        """Where only shapes were saved no event file is needed."""
        change_json(index_file(trial, 2), lambda index: index.update(tensor_payload=payload))
        event_file(trial, 2).unlink()
        report = check_trial(trial)
        assert [(3, 1)] == [(row.step, row.reference_step) for row in report]
        assert [] == report.unreadable

    def test_files_of_other_names_are_passed_over(self, trial: Path) -> None:
        expected = said(trial)
        for name in ("readme.json", "_worker_0.json", "12.json", "abc_worker_0.json", "000000000009_worker_0.json.tmp"):
            (trial / "index" / "000000000" / name).write_text("{}")
            (trial / "collections" / "000000000" / f"{name}.bak").write_text("{}")
        assert expected == said(trial)

    def test_workers_of_tensorflow(self, trial: Path) -> None:
        for file in (*trial.glob("*/*/*worker_0.*"), trial / COLLECTIONS):
            name = file.name.replace("worker_0", "_job-worker_replica-0_device-GPU-0")
            file.rename(file.with_name(name))
        for step in (1, 2, 3):
            file = index_file(trial, step, "_job-worker_replica-0_device-GPU-0")
            change_json(file, lambda index: index["meta"].pop("event_file_name") and None)
        assert {"/job:worker/replica:0/device:GPU:0"} == {row.worker for row in check_trial(trial)}

    def test_reductions_are_no_weights(self, write_trial: Any) -> None:
        """A reduction matches the pattern of its tensor's collection, and is kept apart; others say nothing of it."""
        tensors = {f"smdebug/reductions/l2/{name}": [1.0, 2.0] for name in ("a/weight", "bias")}
        trial = write_trial({**tensors, "b/weight": [1.0, 2.0]}, collections={}, include_regex={"weights": ["weight$"]})
        report = check_trial(trial.path)
        assert (["b/weight"], None) == ([row.tensor for row in report], report.problem)

    def test_a_collection_of_nothing(self, trial: Path) -> None:
        expected = said(trial)
        nothing = {"tensor_names": None, "include_regex": None}
        change_json(trial / COLLECTIONS, lambda content: content["collections"].update(biases=nothing))
        assert expected == said(trial)


def test_notes_of_the_recorder(trial: Path) -> None:
    """A value that is broken is as absent; the rest is believed."""
    whole = {"pairs": True, "types": {"a": "int8"}, "not_trained": ["b"]}
    folder = TrialFolder(DiskStorage(str(trial)), parse_parameters())
    values = [None, 3, [], {}, "x", {"a": 3}, [3], {"a": None}]
    for notes in (*values, *({**whole, name: value} for name in whole for value in values)):
        change_json(trial / COLLECTIONS, lambda content, notes=notes: content.update(_meta={RECORDER_NOTES: notes}))
        folder.look_once_more()
        given = notes if isinstance(notes, dict) and "pairs" in notes else {}
        collections = folder.collections
        assert (given.get("pairs") is True, []) == (collections.pairs, collections.unreadable)
        assert collections.types == (whole["types"] if given.get("types") == whole["types"] else {})
        assert collections.not_trained == ({"b"} if given.get("not_trained") == ["b"] else set())
        assert folder.parameters.num_steps == (1 if collections.pairs else None)
    change_json(trial / COLLECTIONS, lambda content: content.update(_meta=3))
    folder.look_once_more()
    assert (1, {}) == (folder.collections.num_workers, folder.collections.types)
