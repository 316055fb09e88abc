"""Why a trial could not be judged at all, and what to do: as check_trial says it, and the rule and the command too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import RECORDED, change_json, index_file, random_walk
from weight_update_ratio import TrialError, check_trial


class TestNothingCompared:
    def test_saved_only_as_reductions(self) -> None:
        """The message says that there are reductions, of what, and what to save instead."""
        problem = check_trial(RECORDED["pytorch_reductions_only"]).problem
        assert (
            "nothing can be compared: 'TinyNet_conv1.weight', 'TinyNet_bn1.weight', 'TinyNet_fc1.weight', "
            "'TinyNet_fc2.weight' of 'weights' were saved only as reductions ('l2'), and a ratio needs the tensors "
            "themselves"
        ) == problem.message
        assert "save_raw_tensor" in problem.remedy

    def test_no_weights_saved(self) -> None:
        """The message says that the collection was not saved, and which were."""
        problem = check_trial(RECORDED["xgboost"]).problem
        assert "no tensor of the collection 'weights' was saved" in problem.message
        assert "'feature_importance'" in problem.message
        assert "include_collections=['weights']" in problem.remedy

    def test_only_one_step_saved(self, write_trial: Any) -> None:
        """The first saved step has nothing to be compared with."""
        report = check_trial(write_trial({"w": [1.0]}).path)
        assert "there is nothing to compare: no tensor has a reference" in report.problem.message
        assert 2 == report.exit_code

    def test_no_tensor_matches(self) -> None:
        """A pattern that finds nothing is no pass."""
        report = check_trial(RECORDED["pytorch_healthy"], tensor_regex="no such")
        assert "no saved tensor of 'weights' matches tensor_regex 'no such'" in report.problem.message

    def test_every_comparison_skipped(self, write_trial: Any) -> None:
        """Nothing but empty tensors is no pass."""
        report = check_trial(write_trial({"w": lambda step: np.zeros(0)}, steps=2).path)
        assert "every comparison was skipped; the first: tensor 'w': no elements" == report.problem.message
        assert 2 == report.exit_code

    def test_collections_and_no_steps(self, trial_writer: Any) -> None:
        """A hook that failed at its first step leaves collections and nothing else."""
        trial = trial_writer().collections({"weights": ["w"]}).end()
        report = check_trial(trial.path)
        assert "has no saved steps" in report.problem.message
        assert "bfloat16" in report.problem.remedy

    def test_tensors_of_no_collection(self, write_trial: Any) -> None:
        """Where the index names only tensors that no collection has, the message says so."""
        report = check_trial(write_trial({"w": [1.0, 2.0]}, collections={"weights": ()}).path)
        assert "saved were tensors of no collection" in report.problem.message


NAMES = "'TinyNet_bn1.weight', 'TinyNet_conv1.weight', 'TinyNet_fc1.weight', 'TinyNet_fc2.weight'"


class TestWhatMatchesNothing:
    @pytest.mark.parametrize(
        ("parameters", "rows", "said"),
        [
            ({"tensor_regex": "conv,convv"}, 19, "matches tensor_regex 'convv'; "),
            ({"tensor_regex": "xx,conv,zz"}, 19, "matches tensor_regex 'xx', 'zz'; "),
            ({"exclude_regex": "bias"}, 76, "matches exclude_regex 'bias'; "),
            ({"exclude_regex": "fc,bias"}, 38, "matches exclude_regex 'bias'; "),
        ],
    )
    def test_a_pattern(self, parameters: Any, rows: int, said: str) -> None:
        """What matches is judged; the names that are there are listed, and the exit code is 2."""
        report = check_trial(RECORDED["pytorch_healthy"], **parameters)
        assert (rows, 2, False) == (len(report), report.exit_code, report.complete)
        assert f"no saved tensor of 'weights' {said}the collections' tensors are {NAMES}" == report.problem.message

    def test_a_pattern_where_the_rule_fires(self) -> None:
        """The exit code is that of firing, and the problem is said."""
        report = check_trial(RECORDED["pytorch_frozen"], tensor_regex="conv,nowhere")
        assert (1, 19) == (report.exit_code, report.counts["violations"])
        assert "matches tensor_regex 'nowhere'" in report.problem.message

    def test_a_single_pattern_that_is_a_glob(self) -> None:
        """The message says what a regular expression is."""
        report = check_trial(RECORDED["pytorch_healthy"], tensor_regex="Tiny*weight")
        hint = "patterns are regular expressions, in which 'Tiny*weight' is written 'Tiny.*weight'"
        assert f"matches tensor_regex 'Tiny*weight'; {hint}; the collections" in report.problem.message
        assert 2 == report.exit_code

    @pytest.mark.parametrize("names", ["weights,nowhere", "nowhere,weights", "weights,losses,metrics"])
    def test_a_collection(self, names: str) -> None:
        """What the others hold is judged; the collections that were saved are listed, and the exit code is 2."""
        report = check_trial(RECORDED["pytorch_healthy"], collection_names=names)
        missing = "metrics" if "metrics" in names else "nowhere"
        assert f"no tensor of the collection '{missing}' was saved; saved were " in report.problem.message
        assert "'weights'" in report.problem.message
        assert (2, True) == (report.exit_code, len(report) >= 76)

    def test_all_is_excluded(self) -> None:
        """The message says what left them out."""
        report = check_trial(RECORDED["pytorch_healthy"], exclude_regex="Tiny")
        what = "exclude_regex leaves out every saved tensor of 'weights' that tensor_regex chooses"
        assert f"{what}; the collections' tensors are {NAMES}" == report.problem.message
        assert 2 == report.exit_code

    def test_a_pattern_of_reduced_tensors(self) -> None:
        """They are there, though not to compare: the message is that of reductions."""
        problem = check_trial(RECORDED["pytorch_reductions_only"], tensor_regex="conv").problem
        assert "nothing can be compared: 'TinyNet_conv1.weight' of 'weights' was saved only as" in problem.message

    def test_tensors_whose_reductions_lack_the_output_number(self, write_trial: Any) -> None:
        """A pattern of the tensor's own name matches them."""
        weights = {"smdebug/reductions/mean/d/k": random_walk((1,)), "e/k:0": random_walk()}
        trial = write_trial(weights, steps=3, collections={"weights": ["d/k:0", "e/k:0"]}).path
        for options, rows in (({}, 2), ({"tensor_regex": "d/k:0,e/k"}, 2), ({"exclude_regex": "d/k:0"}, 2)):
            report = check_trial(trial, **options)
            assert (rows, None) == (len(report), report.problem)
        assert "saved only as" in check_trial(trial, tensor_regex="d/k:0$").problem.message

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"tensor_regex": "nope"}, "no saved tensor of 'weights' matches tensor_regex 'nope'"),
            ({"collection_names": "nope"}, "no tensor of the collection 'nope' was saved"),
            ({"exclude_regex": "."}, "exclude_regex leaves out every saved tensor"),
            (
                {"start_step": 100},
                "no step of mode TRAIN that holds a chosen tensor is between start_step and end_step",
            ),
        ],
    )
    def test_absent_workers_hide_no_other_cause(self, write_trial: Any, options: Any, said: str) -> None:
        """They are listed as unreadable, and are not why nothing is compared."""
        trial = write_trial({"w": random_walk()}, steps=3).path
        change_json(
            trial / "collections" / "000000000" / "worker_0_collections.json",
            lambda content: content["_meta"].update(num_workers=4),
        )
        report = check_trial(trial, **options)
        assert said in report.problem.message
        assert (2, 1) == (report.exit_code, len(report.unreadable))


class TestNoTrial:
    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        """The error names the folder."""
        with pytest.raises(TrialError, match=r"the trial folder '.*nowhere' does not exist"):
            check_trial(tmp_path / "nowhere")

    def test_a_file(self) -> None:
        """A file is not a trial folder."""
        with pytest.raises(TrialError, match="is a file, not a trial folder"):
            check_trial(__file__)

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        """A folder that has nothing of a trial is none."""
        with pytest.raises(TrialError, match="is not a trial: it has neither 'collections' nor 'index'") as caught:
            check_trial(tmp_path)
        assert "out_dir" in caught.value.remedy

    def test_unreadable_collections(self, tmp_path: Path) -> None:
        """Without its collections nobody knows which tensors are weights."""
        (tmp_path / "collections" / "000000000").mkdir(parents=True)
        (tmp_path / "collections" / "000000000" / "worker_0_collections.json").write_text("[")
        with pytest.raises(TrialError, match=r"cannot be judged: 'collections/.*' is not JSON"):
            check_trial(tmp_path)

    def test_an_index_without_collections(self, tmp_path: Path) -> None:
        """A trial whose collections are lost: nothing says which tensors are weights."""
        file = index_file(tmp_path, 0)
        file.parent.mkdir(parents=True)
        file.write_text('{"meta": {"mode": "TRAIN", "mode_step": 0, "event_file_name": "e"}, "tensor_payload": []}')
        with pytest.raises(TrialError, match=r"worker_0_collections.json' does not exist, while its worker saved"):
            check_trial(tmp_path)
