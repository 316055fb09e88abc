"""The rule as one source file, joined from the package's modules as SQLite's amalgamation is joined from its files.

SageMaker Debugger takes a custom rule as one file and installs nothing for it. So this module puts the modules that the
rule needs one after the other, whole; only their imports of each other go. The file stays readable: a person may have
to read it where it failed.

So the modules import each other at their top, as ``from .module import name`` or ``from ..room.module import name``,
and a name at the top of two of them has one meaning. An import inside of a function stays as it is.
"""

from __future__ import annotations

import ast
import pkgutil
import textwrap
from typing import Callable, Iterable, Iterator

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
        ValueError: A name means different things in two modules, or a module imports another one in a way that does
            not survive joining.
    """
    sources: dict[str, str] = {}  # in order: each after those that it imports
    _add_module(root, read, sources, [])
    _check_names(sources)
    origin = textwrap.fill(ORIGIN.format(version=__version__, modules=", ".join(sources)), WIDTH)
    parts = [HEAD.format(name=ROOT_NAME, origin=origin, future=FUTURE)]
    parts += [f"\n{RULER}\n# {module}\n{RULER}\n{source}" for module, source in sources.items()]
    return "\n".join(parts)


def _read(module: str) -> str:
    """Return a module's source from wherever the package is, also from a zip file."""
    content = pkgutil.get_data(__package__.rpartition(".")[0], f"{module.replace('.', '/')}.py")
    assert content is not None, module  # noqa: S101
    return content.decode("utf-8").replace("\r\n", "\n")


def _add_module(module: str, read: Callable[[str], str], sources: dict[str, str], waiting: list[str]) -> None:
    """Add a module after those that it imports, without its imports of them."""
    if module in sources or module in waiting:
        return
    source = read(module)
    dropped: set[int] = set()
    for node in ast.parse(source).body:
        inner = node.body if isinstance(node, ast.If) and not node.orelse else [node]  # ``if TYPE_CHECKING:``
        own = [part for part in _statements([node]) if isinstance(part, ast.ImportFrom) and part.level]
        for part in own:
            _check_import(part, module, part in inner)
            imported = ".".join([*module.split(".")[: -part.level], part.module or ""])
            _add_module(imported, read, sources, [*waiting, module])
        for gone in [node] if len(own) == len(inner) else own:
            dropped.update(range(gone.lineno, (gone.end_lineno or gone.lineno) + 1))
    lines = enumerate(source.split("\n"), 1)
    sources[module] = "\n".join(line for number, line in lines if number not in dropped and line != FUTURE)


def _check_import(node: ast.ImportFrom, module: str, droppable: bool) -> None:
    for alias in node.names:
        if not droppable or node.module is None or alias.name == "*" or alias.asname not in (None, alias.name):
            raise ValueError(
                f"{module}, line {node.lineno}: import {alias.name!r} at the module's top, from its module and under "
                "its own name: the single file drops this import"
            )


def _check_names(sources: dict[str, str]) -> None:
    """Raise where a name at the top of two modules means different things: the second would replace the first."""
    homes: dict[str, tuple[str, str]] = {}
    for module, source in sources.items():
        for name, meaning in _bound_names(source, module):
            first_module, first_meaning = homes.setdefault(name, (module, meaning))
            if first_module != module and first_meaning != meaning:
                raise ValueError(f"{name!r} means one thing in {first_module}, another in {module}: rename one of them")


def _bound_names(source: str, module: str) -> Iterator[tuple[str, str]]:
    """Yield each name at a module's top and what it means: an import, or else the module that defines it."""
    for node in _statements(ast.parse(source).body):
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.asname or alias.name.split(".")[0]
                yield name, f"import {alias.name if alias.asname else name}"
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name, f"from {node.module} import {alias.name}"
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name, module
        elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.For)):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                yield from ((name.id, module) for name in ast.walk(target) if isinstance(name, ast.Name))


def _statements(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Yield the statements that run when a module is imported: also in blocks, not in functions and classes."""
    for node in nodes:
        if isinstance(node, (ast.stmt, ast.ExceptHandler)):
            yield node
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                yield from _statements(ast.iter_child_nodes(node))
