"""The rule as one source file, joined from the package's modules as SQLite's amalgamation is from its files.

SageMaker Debugger takes a custom rule as one file and installs nothing for it. So the modules that the rule needs are
put one after the other, whole; only their imports of each other go. A person may have to read the file where it failed.

The modules keep to what this needs: they import each other at their top, by ``from .module import name`` or
``from ..room.module import name``, and no two of them define the same name.
"""

from __future__ import annotations

import ast
import pkgutil
import textwrap
from typing import Callable

from ..version import __version__

ROOT_MODULE = "rule"
ROOT_NAME = "WeightUpdateRatio"
WIDTH = 120
RULER = "# " + "-" * (WIDTH - 2)
FUTURE = "from __future__ import annotations"

HEAD = '''"""{name}, a rule for Amazon SageMaker Debugger, as one source file.

{origin}

SPDX-License-Identifier: Apache-2.0 (https://www.apache.org/licenses/LICENSE-2.0)
"""

{future}
'''
ORIGIN = (
    "Made by the command 'weight-update-ratio rule-source' of the Python package weight-update-ratio {version}: the "
    "modules that the rule needs ({modules}), one after the other. Change those rather than this file. It runs on "
    "Python 3.7 and newer, where smdebug and NumPy are; a trial on S3 takes boto3 as well."
)


def rule_source() -> str:
    """Return the source of a Python file that defines WeightUpdateRatio and needs nothing of this package.

    The same package gives the same text, to the byte. Of what is not Python's own it imports NumPy and smdebug; boto3
    where a trial is on S3, and pandas where ``comparisons()`` is asked for: smdebug needs both itself.
    """
    return joined_source(ROOT_MODULE, _read)


def joined_source(root: str, read: Callable[[str], str]) -> str:
    """Return the source of a module and of all that it imports of its package, as one file.

    Args:
        root: The module's name, such as "rule" or "judge.ratio".
        read: Returns the source of a module by its name.

    Raises:
        ValueError: Two modules define the same name, or one imports another in a way that does not survive joining.
    """
    sources: dict[str, str] = {}  # in order: each after those that it imports
    _add_module(root, read, sources, [])
    homes: dict[str, str] = {}
    for module, source in sources.items():
        for name in _defined_names(source):
            if homes.setdefault(name, module) != module:
                raise ValueError(f"{name!r} is defined in {homes[name]} and in {module}: rename one of them")
    origin = textwrap.fill(ORIGIN.format(version=__version__, modules=", ".join(sources)), WIDTH)
    parts = [HEAD.format(name=ROOT_NAME, origin=origin, future=FUTURE)]
    parts += [f"\n{RULER}\n# {module}\n{RULER}\n{source}" for module, source in sources.items()]
    return "\n".join(parts)


def _read(module: str) -> str:
    package = __package__.rpartition(".")[0]
    content = pkgutil.get_data(
        package, f"{module.replace('.', '/')}.py"
    )  # from wherever the package is, a zip file too
    assert content is not None, module  # noqa: S101
    return content.decode("utf-8").replace("\r\n", "\n")


def _add_module(module: str, read: Callable[[str], str], sources: dict[str, str], waiting: list[str]) -> None:
    """Add a module after those that it imports, without its imports of them."""
    if module in sources or module in waiting:
        return
    source = read(module)
    dropped: set[int] = set()
    for node in ast.parse(source).body:
        inner = node.body if isinstance(node, ast.If) else [node]  # ``if TYPE_CHECKING:``
        own = [part for part in inner if isinstance(part, ast.ImportFrom) and part.level]
        for part in own:
            _check_import(part, module)
            _add_module(_imported_module(part, module), read, sources, [*waiting, module])
            dropped.update(range(part.lineno, (part.end_lineno or part.lineno) + 1))
        if own and len(own) == len(inner):
            dropped.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = enumerate(source.split("\n"), 1)
    sources[module] = "\n".join(line for number, line in lines if number not in dropped and line != FUTURE)


def _check_import(node: ast.ImportFrom, module: str) -> None:
    for alias in node.names:
        if node.module is None or alias.name == "*" or alias.asname not in (None, alias.name):
            raise ValueError(
                f"{module}, line {node.lineno}: {alias.name!r} must be imported from its module and under its name, "
                "for the import is dropped"
            )


def _imported_module(node: ast.ImportFrom, module: str) -> str:
    return ".".join([*module.split(".")[: -node.level], node.module or ""])


def _defined_names(source: str) -> list[str]:
    """Return the names that a module defines at its top; imports of other packages may be repeated."""
    names: list[str] = []
    for node in ast.parse(source).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.append(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names += [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]
    return names
