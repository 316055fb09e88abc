"""JSON that every parser takes, and histories to the last digit."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

import pytest

import weight_update_ratio
from tests.conftest import FROZEN_LAYER, RECORDED, assert_same_comparisons, event_file, random_walk, recorded_truth
from tests.render.sick import sick_findings, sick_run
from tests.reports import HOSTILE, invoke_command, made_report
from weight_update_ratio import check_trial
from weight_update_ratio.compare.rows import Comparison
from weight_update_ratio.render.history_files import write_csv, write_json_lines
from weight_update_ratio.render.json import render_json
from weight_update_ratio.verdict.document import finite_numbers


def parsed(text: str) -> Any:
    """Parse strict JSON: Python's own parser would take NaN and Infinity."""
    return json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))


class TestDocument:
    def test_the_whole_of_it(self) -> None:
        """Every name that a program may rely on."""
        report = check_trial(RECORDED["pytorch_frozen"], tensor_regex="conv1,fc1")
        (finding,) = report.findings
        expected = {
            "trial": "TRIAL",
            "rule": "WeightUpdateRatio",
            "version": weight_update_ratio.__version__,
            "fired": True,
            "complete": True,
            "mode": "TRAIN",
            "parameters": {
                "num_steps": None,
                "large_threshold": 10.0,
                "small_threshold": 1e-8,
                "epsilon": 1e-9,
                "collection_names": "weights",
                "tensor_regex": "conv1,fc1",
                "exclude_regex": None,
                "patience": None,
                "baseline": None,
                "baseline_factor": 3.0,
            },
            "counts": {
                "steps": 20,
                "tensors": 2,
                "workers": 1,
                "comparisons": 38,
                "violations": 19,
                "skipped": 0,
                "unreadable": 0,
            },
            "fired_steps": {"count": 19, "first": 1},
            "problem": None,
            "job_ended": True,
            "baseline": None,
            "summary": {"median": 0.0086959338, "p05": 0.0, "p95": 0.0232582601, "outliers": []},
            "findings": [
                {
                    "kind": "frozen",
                    "tensors": ["TinyNet_conv1.weight"],
                    "workers": ["worker_0"],
                    "first_step": 1,
                    "last_step": 19,
                    "count": 19,
                    "worst_ratio": 0.0,
                    "worst_step": 1,
                    "worst_tensor": "TinyNet_conv1.weight",
                    "text": finding.text,
                    "advice": finding.advice,
                }
            ],
            "violations": [FROZEN_LAYER],
            "skipped": [],
            "unreadable": [],
        }
        document = parsed(render_json(report))
        document["summary"] = {
            name: value if name == "outliers" else round(value, 10) for name, value in document["summary"].items()
        }
        assert list(expected) == list(document)
        assert expected == {**document, "trial": "TRIAL"}

    @pytest.mark.no_cover
    def test_findings_are_those_of_the_report_the_most_urgent_first(self) -> None:
        """In the same words."""
        report, findings = sick_run("resnet"), sick_findings("resnet")
        document = parsed(report.to_json())
        assert [finding.as_dict() for finding in findings[1:]] == document["findings"][1:]
        assert [finding.text for finding in findings] == [finding["text"] for finding in document["findings"]]
        kinds = list(dict.fromkeys(finding["kind"] for finding in document["findings"]))
        assert ["not_finite", "vanishing", "frozen", "spike", "not_yet", "resting"] == kinds
        assert set(document["summary"]["outliers"]) == {name for name in report.tensors if "layer2." in name}

    def test_what_is_not_finite_is_a_string(self) -> None:
        """Strict JSON has no NaN and no infinity; the summary is of what is finite."""
        document = parsed(made_report({"a": [1e-3, math.nan], "b": [math.inf, 1e-3]}).to_json())
        assert {"nan", "inf"} == {group["worst_ratio"] for group in document["violations"]}
        assert ["not_finite"] == [finding["kind"] for finding in document["findings"]]
        assert document["findings"][0]["worst_ratio"] in ("nan", "inf")
        assert {"median": 1e-3, "p05": 1e-3, "p95": 1e-3, "outliers": []} == document["summary"]

    def test_nothing_finite_has_no_summary(self) -> None:
        """Null, not NaN."""
        document = parsed(made_report({"a": [math.nan]}).to_json())
        assert {"median": None, "p05": None, "p95": None, "outliers": []} == document["summary"]

    def test_names_of_any_kind(self) -> None:
        """They are as the trial has them, also in the words of a finding."""
        names = [*HOSTILE, "\ud800", "new\nline", ""]
        for name in names:
            (finding,) = parsed(made_report({name: [20.0], "sound": [1e-3]}).to_json())["findings"]
            assert [name] == finding["tensors"]
            assert finding["text"].startswith(name)

    def test_what_was_skipped_and_unreadable(self, write_trial: Any) -> None:
        """Each with its names."""
        trial = write_trial({"w": random_walk(), "e": lambda step: []}, steps=3)
        event_file(trial.path, 2).write_bytes(b"")
        document = parsed(render_json(check_trial(trial.path)))
        skipped = {"tensor": "e", "worker": "worker_0", "reason": "no elements"}
        assert [{**skipped, "first_step": 1, "last_step": 1, "count": 1}] == document["skipped"]
        assert [("w", "worker_0", 2), ("e", "worker_0", 2)] == [
            (entry["tensor"], entry["worker"], entry["global_step"]) for entry in document["unreadable"]
        ]
        assert {"file", "tensor", "worker", "global_step", "reason"} == set(document["unreadable"][0])

    def test_why_nothing_was_compared(self) -> None:
        """The problem and its remedy are in the document."""
        document = parsed(render_json(check_trial(RECORDED["xgboost"])))
        assert "no tensor of the collection 'weights' was saved" in document["problem"]["text"]
        assert "Save the weights" in document["problem"]["remedy"]
        assert {} == {key: document[key] for key in ("findings", "violations", "unreadable") if document[key]}

    @pytest.mark.parametrize("options", [[], ["--baseline", str(RECORDED["pytorch_healthy"])]])
    def test_no_trial_has_the_same_keys(self, options: list[str]) -> None:
        """Empty, with the problem."""
        result = invoke_command("check", "no/such/trial", "--format", "json", *options)
        document = parsed(result.stdout)
        sound = parsed(made_report({"a": [1e-3]}).to_json())
        assert 2 == result.exit_code
        assert {key: list(value) if isinstance(value, dict) else None for key, value in sound.items()} == {
            **{key: list(value) if isinstance(value, dict) else None for key, value in document.items()},
            "problem": None,
        }
        assert {"text", "remedy"} == set(document["problem"])
        assert "'no/such/trial' does not exist" in document["problem"]["text"]
        assert {0} == set(document["counts"].values())
        assert {"median": None, "p05": None, "p95": None, "outliers": []} == document["summary"]
        empty = ("findings", "violations", "skipped", "unreadable")
        assert ([[]] * 4, False, False, None) == (
            [document[key] for key in empty],
            document["fired"],
            document["complete"],
            document["mode"],
        )


class TestStrict:
    def test_numbers_that_are_not_finite(self) -> None:
        """Wherever they are; all else stays as it is."""
        value = {"a": [math.nan, math.inf, -math.inf, 1.5, 3, True, None, "nan"], "b": {"c": math.nan}}
        assert {"a": ["nan", "inf", "-inf", 1.5, 3, True, None, "nan"], "b": {"c": "nan"}} == finite_numbers(value)


class TestHistories:
    @pytest.mark.parametrize("name", sorted(set(RECORDED) - {"xgboost", "pytorch_reductions_only"}))
    def test_lines_are_strict_json_and_the_truth(self, name: str) -> None:
        """A line a comparison."""
        file = io.StringIO()
        write_json_lines(check_trial(RECORDED[name]), file)
        rows = [parsed(line) for line in file.getvalue().splitlines()]
        found = {
            (r["tensor"], r["worker"], r["step"]): (r["mode"], r["reference_step"], float(r["ratio"])) for r in rows
        }
        assert_same_comparisons(recorded_truth(name), found)
        assert {tuple(Comparison._fields)} == {tuple(row) for row in rows}

    def test_csv_has_every_digit(self, write_trial: Any) -> None:
        """Floats as Python writes them, names quoted where they must be."""
        report = check_trial(write_trial({'a,"b"\nc': random_walk(), "w": [1.0, math.inf, math.nan]}, steps=3).path)
        file = io.StringIO(newline="")
        write_csv(report, file)
        rows = list(csv.reader(io.StringIO(file.getvalue(), newline="")))
        assert [list(Comparison._fields)] == rows[:1]
        assert [[str(cell) for cell in row] for row in report] == rows[1:]

    def test_names_of_any_alphabet(self, write_trial: Any) -> None:
        """A lone surrogate in a name is an escape in JSON."""
        report = check_trial(write_trial({"größe 重み": random_walk()}, steps=2).path)
        file = io.StringIO()
        write_json_lines(report, file)
        assert "größe 重み" == parsed(file.getvalue())["tensor"]
