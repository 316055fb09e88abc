"""The rule as one source file: what is in it, and that it judges as the package does, also where that is absent."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any, Iterable, Iterator

import pytest

import weight_update_ratio
from tests.conftest import RECORDED, REPOSITORY, TRUTH, run_command
from tests.sagemaker.server import REGION, running_server
from weight_update_ratio.sagemaker.single_file import RULER, joined_source, rule_source

ALLOWED = {"numpy", "smdebug", "boto3", "botocore", "urllib3"}  # the last is what botocore itself needs
EVALUATOR = REPOSITORY / "examples" / "sagemaker" / "evaluator.py"


@pytest.fixture(scope="module")
def source() -> str:
    return rule_source()


@pytest.fixture(scope="module")
def source_file(source: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rule") / "weight_update_ratio_rule.py"
    path.write_text(source, encoding="utf-8")
    return path


def load(path: Path) -> ModuleType:
    """Return the module of a file, loaded by its path and not kept in sys.modules, as the service does it."""
    spec = importlib.util.spec_from_file_location("custom_rule", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def invoke_until_end(rule: Any) -> list[int]:
    """Return the global steps at which the rule fires under smdebug's own invoke_rule, resumed after each."""
    from smdebug.exceptions import NoMoreData, RuleEvaluationConditionMet
    from smdebug.rules import invoke_rule

    ended = Path(rule.base_trial.path, "training_job_end.ts").exists()
    last = max((int(file.name[:12]) for file in Path(rule.base_trial.path).glob("index/*/*.json")), default=-1)
    fired: list[int] = []
    step = 0
    while True:
        try:
            invoke_rule(rule, start_step=step, end_step=None if ended else last + 1, raise_eval_cond=True)
        except RuleEvaluationConditionMet as condition:
            fired.append(condition.step)
            step = condition.step + 1
        except NoMoreData:
            return fired
        else:
            return fired


def true_steps(name: str, large_threshold: float = 10.0, small_threshold: float = 1e-8) -> list[int]:
    """Return the global steps at which the truth has a violation."""
    global_steps = {}
    for file in RECORDED[name].glob("index/*/*.json"):
        meta = json.loads(file.read_text())["meta"]
        global_steps[meta["mode"].strip(), int(meta["mode_step"])] = int(file.name[:12])
    rows = [json.loads(line) for line in (TRUTH / f"{name}.jsonl").read_text().splitlines()]
    return sorted(
        {
            row["step"] if row["mode"] == "GLOBAL" else global_steps[row["mode"], row["step"]]
            for row in rows
            if not small_threshold <= float(row["ratio"]) <= large_threshold
        }
    )


def imported_modules(tree: ast.AST) -> set[str]:
    """Return the names of the packages that a tree imports, at its top or within."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno} imports a module of the package"
            found.add(node.module.split(".")[0])
    return found


def modules_of(source: str) -> dict[str, ast.Module]:
    """Return the modules that a single file names in its headings, in their order, as the package has them."""
    lines = source.split("\n")
    headings = [line[2:] for before, line, after in zip(lines, lines[1:], lines[2:]) if before == after == RULER]
    files = {module: REPOSITORY / "weight_update_ratio" / f"{module.replace('.', '/')}.py" for module in headings}
    return {module: ast.parse(file.read_text("utf-8")) for module, file in files.items()}


def bound_names(nodes: Iterable[ast.AST], module: str) -> Iterator[tuple[str, str]]:
    """Yield each name at a module's top, also in blocks, and what it means: an import, or the module that defines it.

    An import from a module of the package means what that one defines.
    """
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.asname or alias.name.split(".")[0]
                yield name, f"import {alias.name if alias.asname else name}"
        elif isinstance(node, ast.ImportFrom):
            home = ".".join([*module.split(".")[: -node.level], node.module or ""]) if node.level else node.module
            for alias in node.names:
                name = alias.asname or alias.name
                yield name, f"{home}" if node.level and name == alias.name else f"from {home} import {alias.name}"
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name, module
        elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.For)):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                yield from ((name.id, module) for name in ast.walk(target) if isinstance(name, ast.Name))
        elif isinstance(node, (ast.stmt, ast.ExceptHandler)):
            yield from bound_names(ast.iter_child_nodes(node), module)


class TestText:
    def test_is_the_same_to_the_byte_in_every_process(self, source: str) -> None:
        for seed in ("1", "2"):
            result = run_command("rule-source", env={"PYTHONHASHSEED": seed})
            assert (result.returncode, result.stderr) == (0, "")
            assert result.stdout == source

    def test_output_is_the_file_that_stdout_would_be(self, source: str, tmp_path: Path) -> None:
        result = run_command("rule-source", "--output", tmp_path / "rule.py")
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
        assert (tmp_path / "rule.py").read_bytes() == source.encode("utf-8")
        assert os.listdir(tmp_path) == ["rule.py"]

    def test_a_folder_that_is_not_there_is_an_error_in_words(self, tmp_path: Path) -> None:
        result = run_command("rule-source", "--output", tmp_path / "no" / "rule.py")
        assert result.returncode == 2
        assert "cannot be written: No such file or directory" in result.stderr
        assert "Traceback" not in result.stderr

    def test_head_says_version_licence_and_origin(self, source: str) -> None:
        head = ast.get_docstring(ast.parse(source)) or ""
        assert f"weight-update-ratio {weight_update_ratio.__version__}" in head.replace("\n", " ")
        assert "SPDX-License-Identifier: Apache-2.0" in head
        assert "weight-update-ratio rule-source" in head

    def test_every_module_is_there_whole_after_those_it_imports(self, source: str) -> None:
        modules, lines = list(modules_of(source)), source.split("\n")
        assert modules[-1] == "rule"
        assert {
            "parameters",
            "trial.event_file",
            "trial.folder",
            "compare.ratio",
            "compare.loop",
            "verdict.document",
        } < set(modules)
        for module in modules:
            text = (REPOSITORY / "weight_update_ratio" / f"{module.replace('.', '/')}.py").read_text()
            kept = [line for line in text.split("\n") if line.startswith(("def ", "class ", "    def ", "# "))]
            assert [line for line in kept if line not in lines] == []

    def test_a_name_means_one_thing_in_all_modules(self, source: str) -> None:
        """The later module would replace it, and the functions of the earlier one would find the wrong thing."""
        meanings: dict[str, str] = {}
        for module, tree in modules_of(source).items():
            for name, meaning in bound_names(tree.body, module):
                assert meanings.setdefault(name, meaning) == meaning, (name, module)

    def test_imports_of_each_other_are_of_names(self, source: str) -> None:
        """Those at the top of a module go, and what they name is there under this name."""
        for module, tree in modules_of(source).items():
            for node in tree.body:
                if isinstance(node, ast.ImportFrom) and node.level:
                    assert node.module is not None, module
                    assert {alias.asname for alias in node.names} == {None}, module
                    assert "*" not in {alias.name for alias in node.names}, module

    def test_is_python_3_7(self, source: str) -> None:
        tree = ast.parse(source, feature_version=(3, 7))
        assert "WeightUpdateRatio" in {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
        with pytest.raises(SyntaxError):
            ast.parse("(later := 3.8)", feature_version=(3, 7))  # so that the check can fail

    @pytest.mark.skipif(sys.version_info < (3, 10), reason="Python says which modules are its own since 3.10")
    def test_imports_nothing_but_pythons_own_numpy_smdebug_and_boto3(self, source: str) -> None:
        tree = ast.parse(source)
        typing_only = [node for node in tree.body if isinstance(node, ast.If)]
        assert {ast.unparse(node) for node in typing_only} == {"if TYPE_CHECKING:\n    import pandas"}  # never run
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name == "_repr_html_":
                node.body = []  # it imports what this file lacks, and returns None then
        rest = [node for node in tree.body if node not in typing_only]
        top = [node for node in rest if isinstance(node, (ast.Import, ast.ImportFrom))]
        known = {*ALLOWED, *sys.stdlib_module_names}
        assert imported_modules(ast.Module(rest, [])) - known == {"pandas"}  # which smdebug needs itself
        assert imported_modules(ast.Module(top, [])) <= known

    def test_what_the_rule_does_not_need_stays_out(self, source: str) -> None:
        names = {getattr(node, "name", "") for node in ast.parse(source).body}
        assert "JudgedRun" in names
        assert not names & {"Report", "check_trial", "rule_configuration", "render_text"}

    def test_every_name_is_defined(self, source_file: Path) -> None:
        pytest.importorskip("ruff")
        options = ["--isolated", "--no-cache", "--select", "F", "--ignore", "F811", "--target-version", "py37"]
        ruff = [sys.executable, "-m", "ruff", "check", *options, source_file]
        checked = subprocess.run(ruff, capture_output=True, text=True, check=False)
        assert (checked.returncode, checked.stderr) == (0, ""), checked.stdout

    def test_is_made_from_an_installed_package_in_a_zip_file_too(self, source: str, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "package.zip", "w") as archive:
            for file in (REPOSITORY / "weight_update_ratio").rglob("*.py"):
                archive.write(file, file.relative_to(REPOSITORY))
        code = "from weight_update_ratio.sagemaker import rule_source; print(rule_source(), end='')"
        environment = {**os.environ, "PYTHONPATH": str(tmp_path / "package.zip")}
        result = subprocess.run(
            [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, check=True
        )
        assert result.stdout.decode("utf-8") == source


def joined(**modules: str) -> str:
    return joined_source("rule", lambda name: modules[name.replace(".", "_")])


class TestParts:
    def test_imports_of_other_modules_go_and_the_rest_stays(self) -> None:
        source = joined(
            rule='"""Doc."""\nfrom __future__ import annotations\n\nimport os\n\n'
            "from .room.one import (\n    X,\n)\n\nY = X  # why\n",
            room_one="from ..two import Z\n\nX = Z\n",
            two="Z = 1\n",
        )
        names: dict[str, Any] = {}
        exec(source, names)  # noqa: S102
        assert names["Y"] == 1
        assert source.endswith('"""Doc."""\n\nimport os\n\n\nY = X  # why\n')

    def test_one_import_in_two_modules_is_kept_in_both(self) -> None:
        imports = "import os.path\nimport numpy as np\nfrom typing import Any\n"
        source = joined(rule=f"from .two import Z\n{imports}import os\n", two=f"{imports}Z = 1\n")
        assert source.count(imports) == 2

    def test_an_import_inside_of_a_function_stays(self) -> None:
        lines = "def f():\n    from .two import Z\n"
        source = joined(rule=lines)
        assert source.endswith(lines)
        assert "# two" not in source


@pytest.mark.parametrize("name", sorted(RECORDED))
class TestRecordedTrials:
    def test_gives_the_same_rows_as_the_package(self, name: str, source_file: Path) -> None:
        from smdebug.exceptions import InsufficientInformationForRuleInvocation

        found = []
        for rule_class in (weight_update_ratio.WeightUpdateRatio, load(source_file).WeightUpdateRatio):
            rule = rule_class(str(RECORDED[name]))
            try:
                fired: Any = invoke_until_end(rule)
            except InsufficientInformationForRuleInvocation as error:
                fired = str(error)
            rows = rule.comparisons().to_csv(index=False)  # every digit, and NaN equals NaN
            found.append((fired, rows, repr(rule.report)))
        assert found[0] == found[1]

    def test_fires_at_the_true_steps_with_parameters_pasted_as_strings(self, name: str, source_file: Path) -> None:
        """The evaluator's exec template, with the class of a file that was itself run by exec."""
        from smdebug.exceptions import InsufficientInformationForRuleInvocation
        from smdebug.trials import create_trial

        names: dict[str, Any] = {"__name__": "template", "trial": create_trial(str(RECORDED[name]))}
        exec(compile(source_file.read_text(encoding="utf-8"), "rule.py", "exec"), names)  # noqa: S102
        template = 'rule = WeightUpdateRatio(trial, large_threshold="0.02", small_threshold="1e-4", num_steps="None")'
        exec(template, names)  # noqa: S102
        try:
            assert invoke_until_end(names["rule"]) == true_steps(name, 0.02, 1e-4)
        except InsufficientInformationForRuleInvocation:
            assert not (TRUTH / f"{name}.jsonl").read_text()


def test_parameters_are_found_as_the_service_finds_them(source_file: Path) -> None:
    specification = inspect.getfullargspec(load(source_file).WeightUpdateRatio.__init__)
    assert specification.args == [
        *("self", "base_trial", "num_steps", "large_threshold", "small_threshold", "epsilon", "collection_names"),
        *("tensor_regex", "action_str", "action_json", "report_dir", "exclude_regex", "patience", "baseline"),
        "baseline_factor",
    ]
    assert len(specification.defaults or ()) == len(specification.args) - 2
    assert (specification.varargs, specification.varkw, specification.kwonlyargs) == (None, None, [])


def run_evaluator(
    python: str, *arguments: Any, settings: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment.update(settings or {})
    return subprocess.run(
        [python, EVALUATOR, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**environment, "SMDEBUG_LOG_LEVEL": "error"},
        cwd=Path(python).parent,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
class TestEvaluator:
    """The stand-in in environments like the service's; a new environment takes half a minute."""

    def test_has_not_this_package(self, evaluator_python: str) -> None:
        result = subprocess.run(
            [evaluator_python, "-c", "import weight_update_ratio"],
            capture_output=True,
            text=True,
            cwd=Path(evaluator_python).parent,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            check=False,
        )
        assert "No module named 'weight_update_ratio'" in result.stderr

    @pytest.mark.parametrize("name", sorted(name for name in RECORDED if (TRUTH / f"{name}.jsonl").read_text()))
    def test_the_single_file_fires_at_the_true_steps(
        self, evaluator_python: str, source_file: Path, name: str, tmp_path: Path
    ) -> None:
        last = max(int(file.name[:12]) for file in RECORDED[name].glob("index/*/*.json"))
        ended = (RECORDED[name] / "training_job_end.ts").exists()
        result = run_evaluator(
            evaluator_python,
            source_file,
            RECORDED[name],
            "num_steps=None",
            "large_threshold=10.0",
            "small_threshold=0.00000001",
            "tensor_regex=",
            f"report_dir={tmp_path}",
            *([] if ended else [f"end_step={last + 1}"]),
        )
        assert result.returncode == 0, result.stderr
        steps = true_steps(name)
        comparisons = len((TRUTH / f"{name}.jsonl").read_text().splitlines())
        line = f"{comparisons} comparisons; fired at {len(steps)} steps: {' '.join(map(str, steps))}"
        assert result.stdout.splitlines()[-1].strip() == line.strip()
        if ended:
            document = json.loads((tmp_path / "WeightUpdateRatio.json").read_text())
            assert document["version"] == weight_update_ratio.__version__
            assert document["counts"]["comparisons"] == comparisons

    def test_the_single_file_judges_a_trial_on_s3(self, evaluator_python: str, source_file: Path) -> None:
        """Where the service's trials are."""
        import boto3

        with running_server() as settings:
            keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": REGION}
            s3 = boto3.client("s3", endpoint_url=settings["AWS_ENDPOINT_URL"], **keys)
            s3.create_bucket(Bucket="trials", CreateBucketConfiguration={"LocationConstraint": REGION})
            trial = RECORDED["pytorch_frozen"]
            for file in filter(Path.is_file, trial.rglob("*")):
                s3.upload_file(str(file), "trials", f"frozen/{file.relative_to(trial).as_posix()}")
            result = run_evaluator(evaluator_python, source_file, "s3://trials/frozen", settings=settings)
        assert result.returncode == 0, result.stderr
        steps = " ".join(map(str, true_steps("pytorch_frozen")))
        assert result.stdout.splitlines()[-1] == f"76 comparisons; fired at 19 steps: {steps}"

    def test_a_parameter_that_the_rule_lacks_is_named(self, evaluator_python: str, source_file: Path) -> None:
        result = run_evaluator(evaluator_python, source_file, RECORDED["pytorch_healthy"], "threshold=3")
        assert result.returncode == 1
        assert "WeightUpdateRatio has no parameter threshold; it has num_steps, large_threshold" in result.stderr
