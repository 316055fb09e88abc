"""The good runs that a run is judged against: what is opened, and how the run itself is judged while it is learnt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RECORDED, index_file, needs_writing, random_walk
from tests.findings.made_runs import exact_bin, found_bands, made_baseline
from weight_update_ratio import TrialError, check_trial
from weight_update_ratio.parameters import Parameters
from weight_update_ratio.verdict.baseline_file import baseline_text
from weight_update_ratio.verdict.good_runs import open_bounds

HEALTHY = str(RECORDED["pytorch_healthy"])


def refusal(*locations: str, **parameters: Any) -> tuple[str, str]:
    with pytest.raises(TrialError) as caught:
        open_bounds(Parameters(baseline=locations, **parameters))
    return caught.value.message, caught.value.remedy


def opened(*locations: str, **parameters: Any) -> Any:
    baseline = open_bounds(Parameters(baseline=locations, **parameters)).baseline
    assert baseline is not None
    return baseline


@pytest.fixture
def good_file(tmp_path: Path) -> str:
    """Give a baseline file of two runs of a tensor "w"."""
    (tmp_path / "good.json").write_text(baseline_text(made_baseline({"w": (1, {0: (0.25, 0.5)})}, runs=2)))
    return str(tmp_path / "good.json")


class TestOpening:
    def test_without_a_baseline_there_are_the_thresholds(self) -> None:
        """Nothing is opened."""
        assert open_bounds(Parameters()).baseline is None

    def test_a_file(self, good_file: str) -> None:
        """It holds the bands and the number of runs; blanks around its name do not count."""
        baseline = opened(f" {good_file}\n")
        assert (2, {"w": (1, {0: (0.25, 0.5)})}) == (baseline.runs, found_bands(baseline))

    @pytest.mark.parametrize("num_steps", [None, 3])
    def test_a_trial_folder(self, num_steps: int | None) -> None:
        """Its ratios are learnt, as a check of it with the same parameters gives them."""
        expected: dict[str, dict[int, list[float]]] = {}
        for row in check_trial(HEALTHY, num_steps):
            if row.step - row.reference_step == (num_steps or 1):
                expected.setdefault(row.tensor, {}).setdefault(exact_bin(row.step), []).append(row.ratio)
        baseline = opened(HEALTHY, num_steps=num_steps)
        assert (1, "TRAIN", num_steps, 1e-9) == (baseline.runs, baseline.mode, baseline.num_steps, baseline.epsilon)
        assert {
            tensor: (num_steps or 1, {place: (min(ratios), max(ratios)) for place, ratios in bins.items()})
            for tensor, bins in expected.items()
        } == found_bands(baseline)

    def test_thresholds_and_patience_do_not_change_what_is_learnt(self) -> None:
        """A good run may violate the thresholds that its successor is judged by."""
        strict = opened(HEALTHY, large_threshold=1e-6, small_threshold=1e-7, patience=2, baseline_factor=9.0)
        assert found_bands(opened(HEALTHY)) == found_bands(strict)

    def test_files_and_folders_together(self, good_file: str) -> None:
        """All of them are one baseline, in any order."""
        both = [opened(*order) for order in ((good_file, HEALTHY), (HEALTHY, good_file))]
        expected = {**found_bands(opened(HEALTHY)), "w": (1, {0: (0.25, 0.5)})}
        assert [(3, expected)] * 2 == [(baseline.runs, found_bands(baseline)) for baseline in both]

    def test_a_file_that_was_saved_gives_what_its_trial_gives(self, tmp_path: Path) -> None:
        """The verdicts of both are the same."""
        (tmp_path / "saved.json").write_text(check_trial(HEALTHY).to_baseline())
        assert found_bands(opened(HEALTHY)) == found_bands(opened(str(tmp_path / "saved.json")))
        run = RECORDED["pytorch_frozen"]
        by_trial, by_file = (check_trial(run, baseline=good) for good in (HEALTHY, tmp_path / "saved.json"))
        assert list(by_trial) == list(by_file)
        assert by_trial.fired_steps == by_file.fired_steps != set()

    def test_a_pattern_that_matches_nothing_of_the_good_run(self) -> None:
        """It may match something of the run: what it matches is learnt."""
        assert {"TinyNet_conv1.weight"} == opened(HEALTHY, tensor_regex=("conv", "convv")).bands.keys()


class TestRefusals:
    def test_nothing_there(self, tmp_path: Path) -> None:
        """The message says what may be there."""
        message, remedy = refusal(str(tmp_path / "nowhere"))
        assert f"the baseline {str(tmp_path / 'nowhere')!r} cannot be used: it does not exist" == message
        assert remedy.startswith("Pass a trial folder, an S3 URI, or a file")

    def test_a_folder_that_is_not_a_trial(self, tmp_path: Path) -> None:
        """The message is that of a trial."""
        message = refusal(str(tmp_path))[0]
        assert f"the baseline {str(tmp_path)!r} cannot be used: the folder {str(tmp_path)!r} is not a trial" in message

    def test_a_broken_file(self, tmp_path: Path) -> None:
        """It is named, with what is wrong in it and what to do."""
        (tmp_path / "broken.json").write_text("{")
        message, remedy = refusal(str(tmp_path / "broken.json"))
        assert message.startswith(f"the baseline {str(tmp_path / 'broken.json')!r} is not JSON (")
        assert "Save it anew with --save-baseline, from a run that trains well." == remedy

    def test_a_file_of_another_kind(self) -> None:
        """An index file is JSON too."""
        file = str(index_file(Path(HEALTHY), 3))
        assert f"the baseline {file!r} is not a baseline: it has no 'format'" in refusal(file)[0]

    def test_another_form_of_a_uri(self) -> None:
        """The right form is named, and nothing is asked of S3."""
        assert refusal("s3a://bucket/good")[1].endswith("s3://bucket/prefix.")

    def test_a_run_that_is_not_finite(self) -> None:
        """It did not train well."""
        message, remedy = refusal(str(RECORDED["pytorch_exploding"]))
        assert message.startswith("the baseline ")
        assert message.endswith((" is nan", " is inf"))
        assert "Take a run that trains well." == remedy

    @pytest.mark.parametrize("name", ["pytorch_reductions_only", "xgboost"])
    def test_a_run_of_which_nothing_can_be_compared(self, name: str) -> None:
        """The message says why."""
        problem = check_trial(RECORDED[name]).problem
        assert refusal(str(RECORDED[name]))[0].endswith(f"cannot be used: {problem.message}")

    @needs_writing
    def test_a_run_with_records_that_cannot_be_read(self, write_trial: Any) -> None:
        """Their ratios may be the lowest and the highest."""
        trial = write_trial({"w": random_walk()}, steps=5)
        index_file(trial.path, 2).write_text("{")
        assert "cannot be used: " in refusal(str(trial.path))[0]

    @pytest.mark.parametrize(("name", "value", "own"), [("num_steps", 4, "None"), ("epsilon", 1e-6, "1e-09")])
    def test_a_file_that_was_judged_otherwise(self, tmp_path: Path, name: str, value: Any, own: str) -> None:
        """Both values are named."""
        document = {**json.loads(baseline_text(made_baseline({}))), name: value}
        (tmp_path / "other.json").write_text(json.dumps(document))
        assert f"its {name} is {own}, the baseline's {value}" in refusal(str(tmp_path / "other.json"))[0]

    def test_a_file_of_another_mode(self, tmp_path: Path, good_file: str) -> None:
        """Neither beside a file of the run's mode, nor for the run."""
        (tmp_path / "global.json").write_text(baseline_text(made_baseline({}, mode="GLOBAL")))
        other = str(tmp_path / "global.json")
        assert "cannot be merged: their mode is TRAIN and GLOBAL" in refusal(good_file, other)[0]
        with pytest.raises(TrialError, match="its mode is TRAIN, the baseline's GLOBAL"):
            check_trial(HEALTHY, baseline=other)
