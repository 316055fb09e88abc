"""The house: which room may import which, without circles, and which files the top level and a room have."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Callable, Iterator

import pytest
from graphlib import CycleError, TopologicalSorter

from tests.conftest import REPOSITORY

PACKAGE = REPOSITORY / "weight_update_ratio"
GROUND = ["errors", "version", "parameters", "files"]
FLOORS = ["storage", "trial", "compare", "verdict", "findings", "render"]  # the upper ones import the lower ones
OTHERS = {"sagemaker": {*GROUND, *FLOORS[:4]}, "report": {*GROUND, *FLOORS}, "integrations": {"monitor", "record"}}
DOORS = {"rule", "check", "follow", "record", "monitor", "cli", "__init__", "__main__"}
FOLDERS = {*FLOORS, "sagemaker", "integrations"}
ROOMS = {*GROUND, *FLOORS, *OTHERS, *DOORS}
# Package -> the rooms that may import it; the modules of this package import each other by relative names.
ONLY = {"click": {"cli"}, "smdebug": {"rule"}, "smdebug_rulesconfig": {"sagemaker"}, "weight_update_ratio": set()}
MOST_FILES = 12  # of a room


def allowed_rooms(room: str) -> set[str]:
    if room in DOORS:
        return ROOMS
    if room in FLOORS:
        return {*GROUND, *FLOORS[: FLOORS.index(room) + 1]}
    if room in GROUND:
        return set(GROUND[: GROUND.index(room)])
    return OTHERS.get(room, set()) | {room}


def imports(file: Path, package: Path) -> Iterator[tuple[str, bool]]:
    """Yield the modules of the package that a module imports, and whether it does so inside of a function."""
    parts = file.relative_to(package).with_suffix("").parts
    tree = ast.parse(file.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    inside = {id(node) for function in functions for node in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            folder = parts[: len(parts) - node.level]
            names = [node.module] if node.module else [alias.name for alias in node.names]
            for name in names:
                yield ".".join([*folder, name]), id(node) in inside


def foreign_imports(file: Path) -> Iterator[str]:
    """Yield what a module imports by absolute names."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or ""


def wrong_arrows(package: Path) -> list[str]:
    """Return each import that runs against the design, as "module -> imported"."""
    wrong = []
    for file in sorted(package.rglob("*.py")):
        parts = file.relative_to(package).with_suffix("").parts
        rooms = [to for to, _ in imports(file, package) if to.split(".")[0] not in allowed_rooms(parts[0])]
        foreign = [name for name in foreign_imports(file) if parts[0] not in ONLY.get(name.split(".")[0], {parts[0]})]
        wrong += [f"{'.'.join(parts)} -> {to}" for to in rooms + foreign]
    return wrong


def circles(package: Path) -> list[str]:
    """Return a circle of imports that run when a module is imported, or for types, as "a -> b -> a"."""
    arrows = {
        ".".join(file.relative_to(package).with_suffix("").parts): sorted(
            to for to, is_inside in imports(file, package) if not is_inside
        )
        for file in sorted(package.rglob("*.py"))
    }
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        return [" -> ".join(error.args[1])]
    return []


def wrong_rooms(package: Path) -> list[str]:
    """Return each module or folder that the design lacks, as "+name", or that the top level lacks, as "-name"."""
    files = {path.stem for path in package.glob("*.py")}
    folders = {path.parent.name for path in package.glob("*/*.py")}
    more = (files - (ROOMS - FOLDERS)) | (folders - FOLDERS)
    fewer = (ROOMS - FOLDERS - files) | (FOLDERS - folders)
    return [f"+{name}" for name in sorted(more)] + [f"-{name}" for name in sorted(fewer)]


def full_rooms(package: Path) -> list[str]:
    """Return the folders of more files than a reader takes in at a glance."""
    files = [path for path in package.rglob("*.*") if path.name != "__init__.py" and path.suffix != ".pyc"]
    folders = [path.parent.relative_to(package).as_posix() for path in files if path.parent != package]
    return sorted(folder for folder in set(folders) if folders.count(folder) > MOST_FILES)


@pytest.mark.parametrize("faults", [wrong_arrows, circles, wrong_rooms, full_rooms])
def test_the_house_is_that_of_the_design(faults: Callable[[Path], list[str]]) -> None:
    """Doors -> render -> findings -> verdict -> compare -> trial -> storage -> errors, parameters and files."""
    assert faults(PACKAGE) == []


OTHER_ROOMS = {
    **{f"{name}.py": "" for name in ROOMS - FOLDERS - {"check"}},
    **{f"{name}/a.py": "" for name in FOLDERS - {"verdict"}},
    "utils.py": "",
    "common/a.py": "",
}
FOR_TYPES = "if TYPE_CHECKING:\n    from "
IN_A_FUNCTION = "def f():\n    from "


@pytest.mark.parametrize(
    ("faults", "files", "expected"),
    [
        (wrong_arrows, {"render/page/a.py": "from ...report import Report"}, ["render.page.a -> report"]),
        (wrong_arrows, {"render/json.py": "from .. import errors, rule"}, ["render.json -> rule"]),
        (wrong_arrows, {"report.py": "from .check import check_trial"}, ["report -> check"]),
        (wrong_arrows, {"sagemaker/a.py": "from ..findings.kinds import KINDS"}, ["sagemaker.a -> findings.kinds"]),
        (wrong_arrows, {"errors.py": IN_A_FUNCTION + ".files import f"}, ["errors -> files"]),
        (wrong_arrows, {"compare/a.py": FOR_TYPES + "..verdict.b import B"}, ["compare.a -> verdict.b"]),
        (wrong_arrows, {"follow.py": "from click.testing import CliRunner"}, ["follow -> click.testing"]),
        (wrong_arrows, {"compare/a.py": "import weight_update_ratio.rule"}, ["compare.a -> weight_update_ratio.rule"]),
        (circles, {"a.py": "from .b import B", "b.py": FOR_TYPES + ".a import A"}, ["a -> b -> a"]),
        (circles, {"a.py": "from .b import B", "b.py": IN_A_FUNCTION + ".a import A"}, []),
        (wrong_rooms, OTHER_ROOMS, ["+common", "+utils", "-check", "-verdict"]),
        (full_rooms, {f"trial/{number}.py": "" for number in range(MOST_FILES + 1)}, ["trial"]),
        (full_rooms, {f"trial/{number}.py": "" for number in range(MOST_FILES)}, []),
    ],
)
def test_what_is_against_it_is_reported(
    tmp_path: Path, faults: Callable[[Path], list[str]], files: dict[str, str], expected: list[str]
) -> None:
    """Imports at a module's top, for types alone, or within a function, which closes no circle."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert faults(tmp_path) == expected
