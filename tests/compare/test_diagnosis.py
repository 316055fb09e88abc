"""Why a trial could not be judged at all, and what to do: as check_trial says it, and the rule and the command too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.conftest import RECORDED, change_json, random_walk
from weight_update_ratio import check_trial

COLLECTIONS = "collections/000000000/worker_0_collections.json"
NAMES = "'TinyNet_bn1.weight', 'TinyNet_conv1.weight', 'TinyNet_fc1.weight', 'TinyNet_fc2.weight'"
MATCHES = "no saved tensor of 'weights' matches "
THERE = f"; the collections' tensors are {NAMES}"
REDUCED = "saved only as reductions ('l2'), and a ratio needs the tensors themselves"
SAVE_TENSORS = "Save the tensors: leave out the collection's reduction_config, or set its save_raw_tensor to True."
SAVE_WEIGHTS = "Save the weights (the hook's include_collections=['weights']), or set collection_names to one that was "
NOT_SAVED = "no tensor of the collection 'weights' was saved; saved were "
NOT_A_NUMBER = "events/000000000000/000000000000_worker_0.tfevents' holds no numbers (TensorFlow's data type 0)"


@pytest.mark.parametrize(
    ("trial", "parameters", "message", "remedy"),
    [
        (
            "pytorch_reductions_only",
            {},
            f"nothing can be compared: 'TinyNet_conv1.weight', 'TinyNet_bn1.weight', 'TinyNet_fc1.weight', "
            f"'TinyNet_fc2.weight' of 'weights' were {REDUCED}",
            SAVE_TENSORS,
        ),
        (
            "pytorch_reductions_only",
            {"tensor_regex": "conv"},
            f"nothing can be compared: 'TinyNet_conv1.weight' of 'weights' was {REDUCED}",
            SAVE_TENSORS,
        ),
        (
            "xgboost",
            {},
            f"{NOT_SAVED}'all', 'average_shap', 'feature_importance', 'full_shap', 'labels' and 4 more",
            SAVE_WEIGHTS,
        ),
        (
            "pytorch_healthy",
            {"tensor_regex": "no such"},
            f"{MATCHES}tensor_regex 'no such'{THERE}",
            "Give tensor_regex patterns that are found in the names of the weights.",
        ),
        (
            "pytorch_healthy",
            {"exclude_regex": "Tiny"},
            f"exclude_regex leaves out every saved tensor of 'weights' that tensor_regex chooses{THERE}",
            "Give exclude_regex patterns that leave some of them.",
        ),
        (
            "pytorch_healthy",
            {"start_step": 100},
            "there is nothing to compare: no step of mode TRAIN that holds a chosen tensor is between start_step and "
            "end_step, while global steps 0 to 25 were saved",
            "Widen start_step and end_step; they are global steps, which count the steps of all modes.",
        ),
        (
            {"w": [1.0]},
            {},
            "there is nothing to compare: no tensor has a reference, an earlier saved step in mode TRAIN (1 saved ",
            "Save more steps (save_interval=1), or widen num_steps, start_step and end_step.",
        ),
        (
            {"w": [np.zeros(0)] * 2},
            {},
            "nothing can be compared: every tensor is empty ('w' has no elements)",
            "Record weights that are gathered (DeepSpeed ZeRO-3: zero.GatheredParameters), or each process's part.",
        ),
        (
            {"w": [np.zeros(2), np.zeros(3)], "v": [np.zeros(0)] * 2},
            {},
            "every comparison was skipped; the first: tensor 'w': ",
            "Set collection_names to collections whose tensors have elements and keep their shape.",
        ),
        (
            {"w": [np.array(["a"])] * 2},
            {},
            f"nothing could be read to compare; the first of 2: the record of tensor 'w' at global step 0 in "
            f"'{NOT_A_NUMBER}",
            "Restore the trial's files from where the training job wrote them, and check it again.",
        ),
        ({"w": [1.0, 2.0]}, {"collection_names": "biases"}, "no tensor of the collection 'biases' was ", SAVE_WEIGHTS),
    ],
)
def test_nothing_is_compared(request: Any, trial: Any, parameters: Any, message: str, remedy: str) -> None:
    """What was found is said, and what to do; no pass is given."""
    path = RECORDED[trial] if isinstance(trial, str) else request.getfixturevalue("write_trial")(trial).path
    report = check_trial(path, **parameters)
    assert (0, 2) == (len(report), report.exit_code)
    assert report.problem.message.startswith(message)
    assert report.problem.remedy.startswith(remedy)


def test_tensors_of_no_collection_and_no_steps(write_trial: Any, trial_writer: Any) -> None:
    """A hook that failed at its first step leaves collections and nothing else."""
    report = check_trial(write_trial({"w": [1.0, 2.0]}, collections={"weights": ()}).path)
    assert f"{NOT_SAVED}tensors of no collection" == report.problem.message
    problem = check_trial(trial_writer("failed").collections({"weights": ["w"]}).end().path).problem
    assert "has no saved steps: it holds collections, but no index files" in problem.message
    assert "smdebug's hook cannot save bfloat16, TrialRecorder can" in problem.remedy


@pytest.mark.parametrize(
    ("parameters", "rows", "said"),
    [
        ({"tensor_regex": "xx,conv,zz"}, 19, f"{MATCHES}tensor_regex 'xx', 'zz'{THERE}"),
        (
            {"tensor_regex": "conv,Tiny*weight"},
            19,
            f"{MATCHES}tensor_regex 'Tiny*weight'; patterns are regular expressions, in which 'Tiny*weight' is written "
            f"'Tiny.*weight'{THERE}",
        ),
        ({"collection_names": "weights,nowhere"}, 76, "no tensor of the collection 'nowhere' was saved; saved were "),
        ({"collection_names": "nowhere,weights"}, 76, "no tensor of the collection 'nowhere' was saved; saved were "),
    ],
)
def test_a_pattern_or_a_collection_that_matches_nothing(parameters: Any, rows: int, said: str) -> None:
    """What the others choose is judged; the exit code is 2, or 1 where that fires."""
    report = check_trial(RECORDED["pytorch_healthy"], **parameters)
    assert (rows, 2, False) == (len(report), report.exit_code, report.complete)
    assert report.problem.message.startswith(said)
    firing = check_trial(RECORDED["pytorch_healthy"], **parameters, large_threshold=1e-6)
    assert (1, report.problem.message) == (firing.exit_code, firing.problem.message)


def test_tensors_whose_reductions_lack_the_output_number(write_trial: Any) -> None:
    """A pattern of the tensor's own name matches them."""
    weights = {"smdebug/reductions/mean/d/k": random_walk((1,)), "e/k:0": random_walk()}
    trial = write_trial(weights, steps=3, collections={"weights": ["d/k:0", "e/k:0"]}).path
    for options in ({}, {"tensor_regex": "d/k:0,e/k"}, {"exclude_regex": "d/k:0"}):
        report = check_trial(trial, **options)
        assert (2, None) == (len(report), report.problem)
    assert "saved only as" in check_trial(trial, tensor_regex="d/k:0$").problem.message


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tensor_regex": "nope"}, "no saved tensor of 'weights' matches tensor_regex 'nope'"),
        ({"start_step": 100}, "no step of mode TRAIN that holds a chosen tensor is between start_step and end_step"),
    ],
)
def test_absent_workers_hide_no_other_cause(write_trial: Any, options: Any, said: str) -> None:
    """They are listed as unreadable, and are not why nothing is compared."""
    trial = write_trial({"w": random_walk()}, steps=3).path
    change_json(trial / COLLECTIONS, lambda content: content["_meta"].update(num_workers=4))
    report = check_trial(trial, **options)
    assert said in report.problem.message
    assert (2, 1) == (report.exit_code, len(report.unreadable))
