"""The rule as one source file: what is in it, and that it judges as the package does where that is absent.

tests/test_contract.py holds it against the oracle in this Python.
"""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

import weight_update_ratio
from tests.conftest import RECORDED, REPOSITORY, run_command, run_python
from tests.reports import invoke_command
from weight_update_ratio import check_trial
from weight_update_ratio.sagemaker import rule_configuration, rule_source

ALLOWED = {"numpy", "smdebug", "boto3", "botocore", "urllib3"}  # the last is what botocore itself needs
PACKAGE = REPOSITORY / "weight_update_ratio"
EVALUATOR = REPOSITORY / "examples" / "sagemaker" / "evaluator.py"
FROZEN, HEALTHY, EXPLODING = (str(RECORDED[f"pytorch_{name}"]) for name in ("frozen", "healthy", "exploding"))


# The modules that the file is joined from, by its headings.
MODULES = re.findall(r"^# ---- (\S+) -+$", rule_source(), re.MULTILINE)
assert "rule" == MODULES[-1]
TEXTS = {name: (PACKAGE / f"{name.replace('.', '/')}.py").read_text(encoding="utf-8") for name in MODULES}


def test_a_name_means_one_thing_in_all_modules() -> None:
    """A later module would replace it, and the functions of the earlier one would find the wrong thing."""
    meanings: dict[str, Any] = {}
    for module in MODULES:
        for name, value in vars(importlib.import_module(f"weight_update_ratio.{module}")).items():
            if not name.startswith("__"):
                assert meanings.setdefault(name, value) is value, (name, module)


@pytest.mark.skipif(sys.version_info < (3, 10), reason="Python says which modules are its own since 3.10")
def test_modules_import_names_of_each_other_and_nothing_that_the_service_lacks() -> None:
    """At their top; inside of functions and for types pandas too, which smdebug needs itself."""
    lazily = []
    for module, text in TEXTS.items():
        tree = ast.parse(text)
        nodes = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
        for node in nodes:
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            if isinstance(node, ast.Import) or not node.level:
                known = {*ALLOWED, *sys.stdlib_module_names, *(() if node in tree.body else ("pandas",))}
                assert {name.split(".")[0] for name in names} <= known, module
            elif node in tree.body:
                assert node.module, module
                assert all(alias.asname is None and alias.name != "*" for alias in node.names), module
            else:
                lazily += names
    assert lazily == ["report"]  # for _repr_html_, which does without


def test_the_text(source_file: Path) -> None:
    """It tells where it is from, is Python 3.7, holds the modules whole, and no others; every name is defined."""
    source = source_file.read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 7))
    head = (ast.get_docstring(tree) or "").replace("\n", " ")
    for words in (f"ratio {weight_update_ratio.__version__}", "weight-update-ratio rule-source", "Apache-2.0"):
        assert words in head
    for text in TEXTS.values():
        kept = {line for line in text.split("\n") if line.lstrip().startswith(("def ", "class ", "# "))}
        assert kept <= set(source.split("\n"))
    assert "class Report(" not in source
    pytest.importorskip("ruff")
    options = ["--isolated", "--no-cache", "--select", "F", "--ignore", "F811", "--target-version", "py37"]
    checked = run_python("-m", "ruff", "check", *options, source_file)
    assert (checked.returncode, checked.stderr) == (0, ""), checked.stdout


def test_the_text_is_the_same_to_the_byte_everywhere(tmp_path: Path) -> None:
    """Printed or written by the command in any process, and from an installed package in a zip file."""
    expected = rule_source().encode("utf-8")
    with zipfile.ZipFile(tmp_path / "package.zip", "w") as archive:
        for file in PACKAGE.rglob("*.py"):
            archive.write(file, file.relative_to(REPOSITORY))
    code = "from weight_update_ratio.sagemaker import rule_source; print(rule_source(), end='')"
    zipped = run_python("-c", code, env={"PYTHONPATH": str(tmp_path / "package.zip")}, cwd=tmp_path)
    assert zipped.stdout.encode("utf-8") == expected
    assert run_command("rule-source", env={"PYTHONHASHSEED": "1"}).stdout.encode("utf-8") == expected
    assert invoke_command("rule-source").stdout.encode("utf-8") == expected
    written = run_command("rule-source", "--output", tmp_path / "rule.py", env={"PYTHONHASHSEED": "2"})
    assert (written.returncode, written.stdout, written.stderr) == (0, "", "")
    assert (tmp_path / "rule.py").read_bytes() == expected


def run_evaluator(python: str, *arguments: Any) -> subprocess.CompletedProcess[str]:
    """Run the stand-in for the evaluator, without this package."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [python, EVALUATOR, *map(str, arguments)],
        capture_output=True,
        encoding="utf-8",
        env={**environment, "SMDEBUG_LOG_LEVEL": "error"},
        cwd=Path(python).parent,
        timeout=120,
        check=False,
    )


def rounded_json(text: str) -> Any:
    """Return the values of JSON with ten digits: another NumPy adds in another order."""
    return json.loads(text, parse_float=lambda digits: f"{float(digits):.9e}")


def assert_as_the_check(result: subprocess.CompletedProcess[str], folder: Path, trial: str, **parameters: Any) -> None:
    """Assert that the rule fired as a check does, and wrote the check's JSON; smdebug ends a URI with a slash."""
    assert result.returncode == 0, result.stderr
    report = check_trial(trial, **parameters)
    fired = f"fired at {len(report.fired_steps)} steps: {' '.join(map(str, report.fired_steps))}"
    assert result.stdout.splitlines()[-1] == f"{len(report)} comparisons; {fired}"
    written, expected = rounded_json((folder / "WeightUpdateRatio.json").read_text()), rounded_json(report.to_json())
    own = {"trial": trial, "findings": expected["findings"], "summary": expected["summary"]}
    assert {**written, **own} == expected


@pytest.mark.slow
class TestEvaluator:
    """The stand-in in environments like the service's; a new environment takes half a minute."""

    def test_has_not_this_package(self, evaluator_python: str) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        command = [evaluator_python, "-c", "import weight_update_ratio"]
        result = subprocess.run(command, capture_output=True, text=True, cwd="/", env=environment, check=False)
        assert "No module named 'weight_update_ratio'" in result.stderr

    @pytest.mark.parametrize("name", ["pytorch_exploding", "pytorch_ddp_one", "tf_keras"])
    def test_judges_as_the_check(self, evaluator_python: str, source_file: Path, name: str, tmp_path: Path) -> None:
        """With parameters pasted as strings, some of which are unset."""
        given = ["num_steps=None", "large_threshold=5.0", "small_threshold=0.00000001", "tensor_regex="]
        trial = str(RECORDED[name])
        result = run_evaluator(evaluator_python, source_file, trial, *given, f"report_dir={tmp_path}")
        assert_as_the_check(result, tmp_path, trial, large_threshold=5)

    def test_judges_a_trial_and_baselines_on_s3(
        self, evaluator_python: str, source_file: Path, s3: Any, tmp_path: Path
    ) -> None:
        """Where the service's are; a folder and a file in one string, as the configuration passes them on."""
        (tmp_path / "good.json").write_text(check_trial(RECORDED["pytorch_killed"]).to_baseline())
        trial, folder = s3.upload(Path(FROZEN), "single/frozen"), s3.upload(Path(HEALTHY), "single/healthy")
        file = f"{s3.upload(tmp_path, 'single')}/good.json"
        given = {"baseline": [folder, file], "patience": 2, "baseline_factor": 1}
        configuration = rule_configuration("s3://bucket/rule.py", "s3://bucket/tensors", "eu-west-1", **given)
        parameters = configuration["DebugRuleConfigurations"][0]["RuleParameters"]
        strings = [f"{name}={parameters[name]}" for name in given]
        result = run_evaluator(evaluator_python, source_file, trial, *strings, f"report_dir={tmp_path}")
        assert_as_the_check(result, tmp_path, trial, **given)

    @pytest.mark.parametrize(
        ("parameter", "message"),
        [
            ("threshold=3", "WeightUpdateRatio has no parameter threshold; it has num_steps, large_threshold"),
            ("baseline=/nowhere", "the baseline '/nowhere' cannot be used: it does not exist"),
        ],
    )
    def test_what_it_refuses(self, evaluator_python: str, source_file: Path, parameter: str, message: str) -> None:
        result = run_evaluator(evaluator_python, source_file, HEALTHY, parameter)
        assert result.returncode == 1
        assert message in result.stderr
