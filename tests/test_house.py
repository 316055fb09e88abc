"""The house: which room may import which, and how large a module may be."""

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
ONLY = {"click": {"cli"}, "smdebug": {"rule"}, "smdebug_rulesconfig": {"sagemaker"}}  # package -> its rooms
LONGEST = 300  # lines of a module
WHY_LONGER = {"trial/s3.py": "one GET a file, its retries, and what each of S3's errors means for a person"}


def wrong_arrows(package: Path) -> list[str]:
    """Return each import that runs against the design, as "module -> imported"."""
    wrong = []
    for file in sorted(package.rglob("*.py")):
        parts = file.relative_to(package).with_suffix("").parts
        room = parts[0]
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported = [alias.name.split(".")[0] for alias in node.names]
                wrong += [f"{'.'.join(parts)} -> {name}" for name in imported if room not in ONLY.get(name, {room})]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                name = (node.module or "").split(".")[0]
                if room not in ONLY.get(name, {room}):
                    wrong.append(f"{'.'.join(parts)} -> {name}")
            elif isinstance(node, ast.ImportFrom):
                target = [*parts[: len(parts) - node.level], *(node.module or "").split(".")]
                allowed = ROOMS if room in DOORS or room.startswith("__") else ALLOWED.get(room, set()) | {room}
                if target[0] not in allowed:
                    wrong.append(f"{'.'.join(parts)} -> {'.'.join(target)}")
    return wrong


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
        ("errors.py", "def f():\n    from .parameters import Parameters", "errors -> parameters"),
    ],
)
def test_an_arrow_against_it_is_found(tmp_path: Path, module: str, line: str, found: str) -> None:
    """At a module's top or within a function."""
    file = tmp_path / module
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(line)
    assert wrong_arrows(tmp_path) == [found]


def test_the_rooms_are_those_of_the_design() -> None:
    """The folder listing is the table of contents."""
    names = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert names <= ROOMS
    assert {"trial", "judge", "render", "sagemaker"} <= names


def test_no_module_is_long_without_a_reason() -> None:
    """A file is one idea, mostly of 50 to 200 lines."""
    lines = {
        file.relative_to(PACKAGE).as_posix(): len(file.read_text(encoding="utf-8").splitlines())
        for file in PACKAGE.rglob("*.py")
    }
    assert {name for name, count in lines.items() if count > LONGEST} <= set(WHY_LONGER)
