"""The rule as one source file, because SageMaker Debugger takes a custom rule so and installs nothing for it.

The modules that the rule needs follow one another, whole, as in SQLite's amalgamation. Only their imports at the top
go: those of each other, as ``from .module import name``; those of other packages are once at the top of the file.
"""

from __future__ import annotations

import ast
import pkgutil
import re
import textwrap

from ..version import __version__

ROOT_NAME = "WeightUpdateRatio"
WIDTH = 120

HEAD = '''"""{name}, a rule for Amazon SageMaker Debugger, as one source file.

{origin}

SPDX-License-Identifier: Apache-2.0 (https://www.apache.org/licenses/LICENSE-2.0)
"""

from __future__ import annotations

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
    sources: dict[str, str] = {}  # in order: each after those that it imports
    imports: dict[str, set[str]] = {}
    _add_module("rule", sources, imports)
    imports.pop("__future__", None)
    origin = textwrap.fill(ORIGIN.format(version=__version__, modules=", ".join(sources)), WIDTH)
    lines = []
    for package, names in sorted(imports.items()):
        line = f"from {package} import {', '.join(sorted(names))}" if names else f"import {package}"
        if len(line) > WIDTH:
            line = textwrap.fill(line.replace("import ", "import (") + ")", WIDTH, subsequent_indent="    ")
        lines.append(line)
    head = HEAD.format(name=ROOT_NAME, origin=origin, imports="\n".join(lines))
    return head + "".join(
        f"\n\n{f'# ---- {module} '.ljust(WIDTH, '-')}\n{source}" for module, source in sources.items()
    )


def _add_module(module: str, sources: dict[str, str], imports: dict[str, set[str]]) -> None:
    """Add a module after those that it imports, and what it imports of other packages: {package: names}."""
    if module in sources:
        return
    content = pkgutil.get_data(__package__.rpartition(".")[0], f"{module.replace('.', '/')}.py")  # also from a zip file
    assert content is not None, module  # noqa: S101
    source = content.decode("utf-8").replace("\r\n", "\n")
    dropped: set[int] = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom) and node.level:
            _add_module(".".join([*module.split(".")[: -node.level], node.module or ""]), sources, imports)
        elif isinstance(node, ast.ImportFrom):
            imports.setdefault(node.module or "", set()).update(map(ast.unparse, node.names))
        elif isinstance(node, ast.Import):
            imports.update((ast.unparse(name), set()) for name in node.names)
        else:
            continue
        dropped.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = [line for number, line in enumerate(source.split("\n"), 1) if number not in dropped]
    sources[module] = re.sub("\n{4,}", "\n\n\n", "\n".join(lines))
