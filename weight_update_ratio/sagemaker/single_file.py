"""The rule as one source file, joined from the package's modules as SQLite's amalgamation is joined from its files.

SageMaker Debugger takes a custom rule as one file and installs nothing for it. So this module puts the modules that the
rule needs one after the other, whole. Only their imports of each other go, and those of other packages are once at the
top. The file stays readable: a person may have to read it where it failed.

So the modules import each other at their top, as ``from .module import name`` or ``from ..room.module import name``,
in no circle, and a name at the top of two of them has one meaning: tests hold them to that. An import inside of a
function stays as it is.
"""

from __future__ import annotations

import ast
import pkgutil
import re
import textwrap
from typing import Callable

from ..version import __version__

ROOT_MODULE = "rule"
ROOT_NAME = "WeightUpdateRatio"
WIDTH = 120
FUTURE = "from __future__ import annotations"

HEAD = '''"""{name}, a rule for Amazon SageMaker Debugger, as one source file.

{origin}

SPDX-License-Identifier: Apache-2.0 (https://www.apache.org/licenses/LICENSE-2.0)
"""

{future}

{imports}
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
        root: The module's name, such as "rule" or "compare.ratio".
        read: Returns the source of a module by its name.
    """
    sources: dict[str, str] = {}  # in order: each after those that it imports
    imports: dict[str, set[str]] = {}
    _add_module(root, read, sources, imports)
    imports.pop("__future__", None)
    origin = textwrap.fill(ORIGIN.format(version=__version__, modules=", ".join(sources)), WIDTH)
    lines = [_import_line(package, sorted(names)) for package, names in sorted(imports.items())]
    head = HEAD.format(name=ROOT_NAME, origin=origin, future=FUTURE, imports="\n".join(lines))
    return head + "".join(
        f"\n\n{f'# ---- {module} '.ljust(WIDTH, '-')}\n{source}" for module, source in sources.items()
    )


def _import_line(package: str, names: list[str]) -> str:
    line = f"from {package} import {', '.join(names)}" if names else f"import {package}"
    if len(line) <= WIDTH:
        return line
    listed = textwrap.fill(", ".join(names), WIDTH, initial_indent="    ", subsequent_indent="    ")
    return f"from {package} import (\n{listed},\n)"


def _read(module: str) -> str:
    """Return a module's source from wherever the package is, also from a zip file."""
    content = pkgutil.get_data(__package__.rpartition(".")[0], f"{module.replace('.', '/')}.py")
    assert content is not None, module  # noqa: S101
    return content.decode("utf-8").replace("\r\n", "\n")


def _add_module(module: str, read: Callable[[str], str], sources: dict[str, str], imports: dict[str, set[str]]) -> None:
    """Add a module after those that it imports, and what it imports of other packages: {package: names}."""
    if module in sources:
        return
    source = read(module)
    dropped: set[int] = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom) and node.level:
            _add_module(".".join([*module.split(".")[: -node.level], node.module or ""]), read, sources, imports)
        elif isinstance(node, ast.ImportFrom):
            imports.setdefault(node.module or "", set()).update(map(ast.unparse, node.names))
        elif isinstance(node, ast.Import):
            imports.update((ast.unparse(name), set()) for name in node.names)
        else:
            continue
        dropped.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = [line for number, line in enumerate(source.split("\n"), 1) if number not in dropped]
    sources[module] = re.sub("\n{4,}", "\n\n\n", "\n".join(lines))
