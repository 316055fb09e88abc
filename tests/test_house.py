"""The house: which room may import which, what the top level holds, and how large a module may be."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

PACKAGE = REPOSITORY / "weight_update_ratio"
FOUNDATION = {"errors", "parameters", "version"}
# What each room may import, beside itself: doors -> judge -> trial -> foundation; report -> render -> judge.
ALLOWED = {
    "errors": set(),
    "version": set(),
    "files": set(),
    "parameters": {"errors"},
    "trial": FOUNDATION,
    "judge": FOUNDATION | {"trial"},
    "render": FOUNDATION | {"files", "judge", "trial"},
    "report": FOUNDATION | {"judge", "render"},
    "sagemaker": FOUNDATION,
}
DOORS = {"rule", "check", "follow", "record", "cli"}
ROOMS = {*ALLOWED, *DOORS, "__init__", "__main__"}
FOLDERS = {"trial", "judge", "render", "sagemaker"}
# Package -> the rooms that may import it; this one's modules import each other by relative names.
ONLY = {"click": {"cli"}, "smdebug": {"rule"}, "smdebug_rulesconfig": {"sagemaker"}, "weight_update_ratio": set()}
LONGEST = 300  # lines of a module
WHY_LONGER: dict[str, str] = {}


def wrong_arrows(package: Path) -> list[str]:
    """Return each import that runs against the design, as "module -> imported"."""
    wrong = []
    for file in sorted(package.rglob("*.py")):
        parts = file.relative_to(package).with_suffix("").parts
        room = parts[0]
        allowed = ROOMS if room in DOORS or room.startswith("__") else ALLOWED.get(room, set()) | {room}
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            found = []
            if isinstance(node, ast.ImportFrom) and node.level:
                folder = list(parts[: len(parts) - node.level])
                targets = [folder + name.split(".") for name in ([node.module] if node.module else _names(node))]
                found = [".".join(target) for target in targets if target[0] not in allowed]
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else _names(node)
                packages = [name.split(".")[0] for name in names]
                found = [name for name in packages if room not in ONLY.get(name, {room})]
            wrong += [f"{'.'.join(parts)} -> {name}" for name in found]
    return wrong


def _names(node: ast.Import | ast.ImportFrom) -> list[str]:
    return [alias.name for alias in node.names]


def test_every_arrow_runs_one_way() -> None:
    """Doors -> judge -> trial -> errors and parameters; report -> render -> judge."""
    assert wrong_arrows(PACKAGE) == []


@pytest.mark.parametrize(
    ("module", "line", "found"),
    [
        ("trial/disk.py", "from ..judge.ratio import OK", "trial.disk -> judge.ratio"),
        ("judge/loop.py", "from ..render.text import render_text", "judge.loop -> render.text"),
        ("render/page/chart.py", "from ...report import Report", "render.page.chart -> report"),
        ("report.py", "from .check import check_trial", "report -> check"),
        ("follow.py", "import click", "follow -> click"),
        ("judge/mode.py", "from smdebug.core.modes import ModeKeys", "judge.mode -> smdebug"),
        ("trial/disk.py", "from ..files import whole_file", "trial.disk -> files"),
        ("render/json.py", "from .. import errors, rule", "render.json -> rule"),
        ("render/json.py", "from ..sagemaker.actions import parse_actions", "render.json -> sagemaker.actions"),
        ("sagemaker/configuration.py", "import smdebug.core", "sagemaker.configuration -> smdebug"),
        ("judge/mode.py", "import weight_update_ratio.rule", "judge.mode -> weight_update_ratio"),
        ("errors.py", "def f():\n    from .parameters import Parameters", "errors -> parameters"),
    ],
)
def test_an_arrow_against_it_is_found(tmp_path: Path, module: str, line: str, found: str) -> None:
    """At a module's top or within a function."""
    file = tmp_path / module
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(line)
    assert wrong_arrows(tmp_path) == [found]


def wrong_rooms(package: Path) -> list[str]:
    """Return each module or folder that the top level holds or lacks against the design, as "+name" or "-name"."""
    files = {path.stem for path in package.glob("*.py")}
    folders = {path.parent.name for path in package.glob("*/*.py")}
    more = (files - (ROOMS - FOLDERS)) | (folders - FOLDERS)
    fewer = (ROOMS - FOLDERS - files) | (FOLDERS - folders)
    return [f"+{name}" for name in sorted(more)] + [f"-{name}" for name in sorted(fewer)]


def long_modules(package: Path) -> list[str]:
    """Return the modules that are too long and have no reason for it."""
    lines = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in package.rglob("*.py")}
    names = (file.relative_to(package).as_posix() for file, count in lines.items() if count > LONGEST)
    return sorted(name for name in names if name not in WHY_LONGER)


def test_the_rooms_are_those_of_the_design() -> None:
    """The folder listing is the table of contents."""
    assert wrong_rooms(PACKAGE) == []


def test_another_room_is_found_and_one_that_is_missing(tmp_path: Path) -> None:
    for name in [f"{name}.py" for name in ROOMS - FOLDERS] + [f"{name}/__init__.py" for name in FOLDERS]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert wrong_rooms(tmp_path) == []
    (tmp_path / "utils.py").touch()
    (tmp_path / "judge" / "__init__.py").unlink()
    (tmp_path / "judge").rename(tmp_path / "common")
    (tmp_path / "common" / "ratio.py").touch()
    (tmp_path / "check.py").unlink()
    assert wrong_rooms(tmp_path) == ["+common", "+utils", "-check", "-judge"]


def test_no_module_is_long_without_a_reason() -> None:
    """A file is one idea, mostly of 50 to 200 lines."""
    assert long_modules(PACKAGE) == []


def test_a_long_module_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WHY_LONGER, "trial/s3.py", "a reason")
    (tmp_path / "trial").mkdir()
    for name, count in (("trial/s3.py", LONGEST + 50), ("trial/disk.py", LONGEST + 1), ("rule.py", LONGEST)):
        (tmp_path / name).write_text("\n" * count)
    assert long_modules(tmp_path) == ["trial/disk.py"]
