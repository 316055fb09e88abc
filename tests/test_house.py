"""The house: which room may import which, without circles, and what the top level and a room hold."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Iterator

import pytest

from tests.conftest import REPOSITORY

PACKAGE = REPOSITORY / "weight_update_ratio"
GROUND = ["errors", "version", "parameters", "files"]
FLOORS = ["storage", "trial", "compare", "verdict", "findings", "render"]  # the upper ones import the lower ones
OTHERS = {"sagemaker": {*GROUND, *FLOORS[:4]}, "report": {*GROUND, *FLOORS}}
DOORS = {"rule", "check", "follow", "record", "cli", "__init__", "__main__"}
FOLDERS = {*FLOORS, "sagemaker"}
ROOMS = {*GROUND, *FLOORS, *OTHERS, *DOORS}
# Package -> the rooms that may import it; this one's modules import each other by relative names.
ONLY = {"click": {"cli"}, "smdebug": {"rule"}, "smdebug_rulesconfig": {"sagemaker"}, "weight_update_ratio": set()}
MOST_FILES = 12  # of a room


def allowed_rooms(room: str) -> set[str]:
    """Return what a room may import."""
    if room in DOORS:
        return ROOMS
    if room in FLOORS:
        return {*GROUND, *FLOORS[: FLOORS.index(room) + 1]}
    if room in GROUND:
        return set(GROUND[: GROUND.index(room)])
    return OTHERS.get(room, set()) | {room}


def imports(file: Path, package: Path) -> Iterator[tuple[str, bool]]:
    """Yield the modules of its package that a module imports, and whether that is inside of a function."""
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


def wrong_arrows(package: Path) -> list[str]:
    """Return each import that runs against the design, as "module -> imported"."""
    wrong = []
    for file in sorted(package.rglob("*.py")):
        parts = file.relative_to(package).with_suffix("").parts
        room, module = parts[0], ".".join(parts)
        wrong += [
            f"{module} -> {to}" for to, _ in imports(file, package) if to.split(".")[0] not in allowed_rooms(room)
        ]
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and not node.level):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [own.name for own in node.names]
                packages = [name.split(".")[0] for name in names]
                wrong += [f"{module} -> {name}" for name in packages if room not in ONLY.get(name, {room})]
    return wrong


def circles(package: Path) -> list[str]:
    """Return each circle of imports that run when a module is imported, or for types, as "a -> b -> a"."""
    arrows = {
        ".".join(file.relative_to(package).with_suffix("").parts): sorted(
            to for to, is_inside in imports(file, package) if not is_inside
        )
        for file in sorted(package.rglob("*.py"))
    }
    found: list[str] = []
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> None:
        if module in path:
            found.append(" -> ".join([*path[path.index(module) :], module]))
        elif module not in done:
            for to in arrows.get(module, ()):
                visit(to, [*path, module])
            done.add(module)

    for module in arrows:
        visit(module, [])
    return found


def test_every_arrow_runs_one_way() -> None:
    """Doors -> render -> findings -> verdict -> compare -> trial -> storage -> errors, parameters and files."""
    assert wrong_arrows(PACKAGE) == []


@pytest.mark.parametrize(
    ("module", "line", "found"),
    [
        ("storage/disk.py", "from ..trial.folder import GLOBAL", "storage.disk -> trial.folder"),
        ("trial/folder.py", "from ..compare.ratio import OK", "trial.folder -> compare.ratio"),
        ("compare/loop.py", "from ..verdict.bounds import Bounds", "compare.loop -> verdict.bounds"),
        ("verdict/facts.py", "from ..findings.course import Course", "verdict.facts -> findings.course"),
        ("render/page/chart.py", "from ...report import Report", "render.page.chart -> report"),
        ("report.py", "from .check import check_trial", "report -> check"),
        ("follow.py", "import click", "follow -> click"),
        ("compare/mode.py", "from smdebug.core.modes import ModeKeys", "compare.mode -> smdebug"),
        ("render/json.py", "from .. import errors, rule", "render.json -> rule"),
        ("render/json.py", "from ..sagemaker.actions import parse_actions", "render.json -> sagemaker.actions"),
        ("sagemaker/configuration.py", "import smdebug.core", "sagemaker.configuration -> smdebug"),
        ("compare/mode.py", "import weight_update_ratio.rule", "compare.mode -> weight_update_ratio"),
        ("errors.py", "def f():\n    from .parameters import Parameters", "errors -> parameters"),
        (
            "compare/rows.py",
            "if TYPE_CHECKING:\n    from ..verdict.bounds import Bounds",
            "compare.rows -> verdict.bounds",
        ),
    ],
)
def test_an_arrow_against_it_is_found(tmp_path: Path, module: str, line: str, found: str) -> None:
    """At a module's top, for types alone, or within a function."""
    file = tmp_path / module
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(line)
    assert wrong_arrows(tmp_path) == [found]


def test_no_imports_run_in_a_circle() -> None:
    """Not between the files of a room either."""
    assert circles(PACKAGE) == []


def test_a_circle_inside_of_a_room_is_found(tmp_path: Path) -> None:
    """Also one that is for types alone; an import inside of a function closes none."""
    (tmp_path / "verdict").mkdir()
    (tmp_path / "verdict" / "a.py").write_text("from .b import B")
    (tmp_path / "verdict" / "b.py").write_text("if TYPE_CHECKING:\n    from .a import A")
    (tmp_path / "verdict" / "c.py").write_text("from .d import D")
    (tmp_path / "verdict" / "d.py").write_text("def f():\n    from .c import C")
    assert circles(tmp_path) == ["verdict.a -> verdict.b -> verdict.a"]


def wrong_rooms(package: Path) -> list[str]:
    """Return each module or folder that the top level holds or lacks against the design, as "+name" or "-name"."""
    files = {path.stem for path in package.glob("*.py")}
    folders = {path.parent.name for path in package.glob("*/*.py")}
    more = (files - (ROOMS - FOLDERS)) | (folders - FOLDERS)
    fewer = (ROOMS - FOLDERS - files) | (FOLDERS - folders)
    return [f"+{name}" for name in sorted(more)] + [f"-{name}" for name in sorted(fewer)]


def full_rooms(package: Path) -> list[str]:
    """Return the folders that hold more files than a reader takes in at a glance."""
    files = [path for path in package.rglob("*.*") if path.name != "__init__.py" and path.suffix != ".pyc"]
    folders = [path.parent.relative_to(package).as_posix() for path in files if path.parent != package]
    return sorted(folder for folder in set(folders) if folders.count(folder) > MOST_FILES)


def test_the_rooms_are_those_of_the_design() -> None:
    """The folder listing is the table of contents."""
    assert wrong_rooms(PACKAGE) == []


def test_another_room_is_found_and_one_that_is_missing(tmp_path: Path) -> None:
    for name in [f"{name}.py" for name in ROOMS - FOLDERS] + [f"{name}/__init__.py" for name in FOLDERS]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert wrong_rooms(tmp_path) == []
    (tmp_path / "utils.py").touch()
    (tmp_path / "verdict" / "__init__.py").unlink()
    (tmp_path / "verdict").rename(tmp_path / "common")
    (tmp_path / "common" / "ratio.py").touch()
    (tmp_path / "check.py").unlink()
    assert wrong_rooms(tmp_path) == ["+common", "+utils", "-check", "-verdict"]


def test_no_room_is_full() -> None:
    """A folder holds no more than a dozen files."""
    assert full_rooms(PACKAGE) == []


def test_a_full_room_is_found(tmp_path: Path) -> None:
    for folder, count in (("trial", MOST_FILES + 1), ("render", MOST_FILES)):
        (tmp_path / folder).mkdir()
        for number in range(count):
            (tmp_path / folder / f"{number}.py").touch()
    assert full_rooms(tmp_path) == ["trial"]
