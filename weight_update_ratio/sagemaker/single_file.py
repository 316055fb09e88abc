"""The rule as one source file, joined from the package's modules as SQLite's amalgamation is from its files.

SageMaker Debugger takes a custom rule as one file and installs nothing for it. So what the rule reaches, and no more of
a module than it reaches, is put one after the other: imports of each other are dropped, the others joined at the top.
It works on source text, for a person may have to read the file where it failed; ``ast`` only says which lines are what.

The modules keep to what this needs: they import each other by ``from ..module import name``, no two of them define the
same name, and at their top stand imports, definitions and assignments only.
"""

from __future__ import annotations

import ast
import pkgutil
import textwrap
from typing import Iterator, NamedTuple, Union

from ..version import __version__

ROOT_MODULE = "rule"
ROOT_NAME = "WeightUpdateRatio"
WIDTH = 120
THIRD_PARTY = (
    "boto3",
    "botocore",
    "numpy",
    "pandas",
    "smdebug",
    "urllib3",
)  # of what is imported; the rest is Python's own
RENDERINGS = "render"  # what shows things to people; the methods that call it stay out, for the service has no screen
RULER = "# " + "-" * (WIDTH - 2)

HEAD = '''"""{name}, a rule for Amazon SageMaker Debugger, as one source file.

{origin}

SPDX-License-Identifier: Apache-2.0 (https://www.apache.org/licenses/LICENSE-2.0)
"""
'''
ORIGIN = (
    "Made by the command 'weight-update-ratio rule-source' of the Python package weight-update-ratio {version}: the "
    "modules that the rule needs ({modules}), one after the other. Change those rather than this file. It runs on "
    "Python 3.7 and newer, where smdebug and NumPy are; a trial on S3 takes boto3 as well."
)

AnyImport = Union[ast.Import, ast.ImportFrom]


class Imported(NamedTuple):
    """One name that a module imports: ``import module as bound``, or ``from module import name as bound``."""

    level: int  # 0: of another package; 1: of this one
    module: str
    name: str  # empty: the module itself
    bound: str
    typing_only: bool


class Statement:
    """One definition or assignment at a module's top, with the comment above it."""

    def __init__(self, module: str, node: ast.stmt, lines: list[str], blank_lines: int) -> None:
        self.module = module
        self.defines = _defined_names(node)
        self.is_definition = isinstance(node, (ast.FunctionDef, ast.ClassDef))
        self._left_out = _take_renderings_out(node) if isinstance(node, ast.ClassDef) else []
        self.uses = {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
        self.inner = [inner for inner in ast.walk(node) if isinstance(inner, ast.ImportFrom) and inner.level]
        self.blank_lines = blank_lines
        self.first_line = (node.end_lineno or 0) - len(lines) + 1
        self.lines = lines

    def text(self) -> str:
        """Return the source without the imports of other modules of the package, and without renderings."""
        lines = dict(enumerate(self.lines, self.first_line))
        for number in self._left_out:
            del lines[number]
        for node in self.inner:
            end = node.end_lineno or node.lineno
            for number in range(node.lineno, end + 1):
                del lines[number]
            before = lines[max(number for number in lines if number < node.lineno)].strip()
            if (not before or before.endswith(":")) and not lines.get(end + 1, "-").strip():
                del lines[end + 1]  # the blank line that stood after the import
        return "\n".join(lines.values())


class Module:
    """A module's source in the parts that are put together."""

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        tree = ast.parse(source)
        self.docstring = ast.get_docstring(tree) or ""
        self.imports: list[Imported] = []
        self.statements: list[Statement] = []
        lines = source.split("\n")
        end = 0
        for node in tree.body:
            first = end
            end = node.end_lineno or end
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                self.imports += _imported(node, typing_only=False)
            elif isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
                for inner in node.body:
                    assert isinstance(inner, (ast.Import, ast.ImportFrom)), f"{name}.py, line {inner.lineno}"  # noqa: S101
                    self.imports += _imported(inner, typing_only=True)
            elif not isinstance(node, ast.Expr):
                blank = next(n for n in range(first, end) if lines[n].strip())
                self.statements.append(Statement(name, node, lines[blank:end], blank - first))


def rule_source() -> str:
    """Return the source of a Python file that defines WeightUpdateRatio and needs nothing of this package.

    The same package gives the same text, to the byte. Of what is not Python's own it imports NumPy and smdebug; boto3
    where a trial is on S3, and pandas where ``comparisons()`` is asked for: smdebug needs both itself.
    """
    modules, reached = _reach()
    ordered = _in_order(modules)
    kept = {module.name: [s for s in module.statements if s in reached] for module in ordered}
    _check_names(kept)
    names = ", ".join(module.name for module in ordered)
    origin = textwrap.fill(ORIGIN.format(version=__version__, modules=names), WIDTH)
    parts = [HEAD.format(name=ROOT_NAME, origin=origin), _import_text(ordered, kept)]
    parts.append(f'__version__ = "{__version__}"')
    for module in ordered:
        parts.append("\n\n" + _heading(module))
        previous = None
        for statement in kept[module.name]:
            apart = statement.is_definition or (previous is not None and previous.is_definition)
            blank_lines = 2 if apart else 1 if previous is None else min(statement.blank_lines, 2)
            parts.append("\n" * blank_lines + statement.text())
            previous = statement
    return "\n".join(parts) + "\n"


def _reach() -> tuple[dict[str, Module], set[Statement]]:
    """Return the modules and the statements that the rule needs, directly or through others."""
    modules: dict[str, Module] = {}
    reached: set[Statement] = set()
    pending = [(ROOT_MODULE, ROOT_NAME)]
    while pending:
        place, name = pending.pop()
        module = modules.get(place)
        if module is None:
            module = modules[place] = Module(place, _read(place))
        for statement in module.statements:
            if name in statement.defines and statement not in reached:
                reached.add(statement)
                pending += [(place, used) for used in statement.uses]
                pending += [(i.module, i.name) for node in statement.inner for i in _imported(node, False) if i.module]
        pending += [(i.module, i.name) for i in module.imports if i.bound == name and i.level and i.module]
    return modules, reached


def _read(module: str) -> str:
    content = pkgutil.get_data(__package__, f"{module}.py")  # from wherever the package is, a zip file too
    assert content is not None, module  # noqa: S101
    return content.decode("utf-8").replace("\r\n", "\n")


def _in_order(modules: dict[str, Module]) -> list[Module]:
    """Return the modules, each after those that it imports at its top, and the rule last."""
    ordered: list[Module] = []

    def visit(name: str) -> None:
        module = modules.get(name)
        if module is not None and module not in ordered:
            for imported in module.imports:
                if imported.level:
                    visit(imported.module)
            ordered.append(module)

    for name in sorted(modules, key=lambda name: (name == ROOT_MODULE, name)):
        visit(name)
    return ordered


def _check_names(kept: dict[str, list[Statement]]) -> None:
    """Raise where two modules define one name: the later would take the place of the earlier."""
    homes: dict[str, str] = {}
    for module, statements in kept.items():
        for statement in statements:
            for name in statement.defines:
                if homes.setdefault(name, module) != module:
                    raise ValueError(f"{name!r} is defined in {homes[name]}.py and in {module}.py: rename one of them")


def _import_text(ordered: list[Module], kept: dict[str, list[Statement]]) -> str:
    """Return the imports that are left, sorted as ruff sorts them."""
    needed: dict[str, Imported] = {}
    for module in ordered:
        used = {name for statement in kept[module.name] for name in statement.uses}
        for imported in module.imports:
            if not imported.level and imported.bound in used:
                known = needed.setdefault(imported.bound, imported)
                if known != imported:
                    raise ValueError(f"{imported.bound!r} is imported as two things, once in {module.name}.py")
    typing_only = [imported for imported in needed.values() if imported.typing_only]
    if typing_only:
        needed["TYPE_CHECKING"] = Imported(0, "typing", "TYPE_CHECKING", "TYPE_CHECKING", False)
    at_run_time = [imported for imported in needed.values() if not imported.typing_only]
    own = [imported for imported in at_run_time if imported.module.split(".")[0] not in THIRD_PARTY]
    others = [imported for imported in at_run_time if imported not in own]
    blocks = ["from __future__ import annotations", *map("\n".join, filter(None, map(_import_lines, (own, others))))]
    if typing_only:
        blocks.append("if TYPE_CHECKING:\n" + textwrap.indent("\n".join(_import_lines(typing_only)), "    "))
    return "\n\n".join(blocks) + "\n"


def _import_lines(imports: list[Imported]) -> list[str]:
    lines = [
        f"import {i.module}" + (f" as {i.bound}" if i.bound != i.module else "") for i in sorted(imports) if not i.name
    ]
    for module in sorted({i.module for i in imports if i.name}):
        members = sorted((i for i in imports if i.name and i.module == module), key=lambda i: _member_key(i.name))
        names = [i.name + (f" as {i.bound}" if i.bound != i.name else "") for i in members]
        line = f"from {module} import {', '.join(names)}"
        lines.append(line if len(line) <= WIDTH else f"from {module} import (\n    " + ",\n    ".join(names) + ",\n)")
    return lines


def _member_key(name: str) -> tuple[int, str]:
    """Return what sorts constants first, then classes, then the rest."""
    return (0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2), name


def _heading(module: Module) -> str:
    """Return the module's name and docstring as a comment."""
    paragraphs = []
    for paragraph in module.docstring.split("\n\n"):
        prose = not any(line.startswith(" ") for line in paragraph.split("\n"))
        paragraphs.append(textwrap.fill(paragraph, WIDTH - 2) if prose else paragraph)
    text = f"{module.name}\n\n" + "\n\n".join(paragraphs)
    comment = "\n".join(f"# {line}".rstrip() for line in text.split("\n"))
    return f"{RULER}\n{comment}\n{RULER}"


def _imported(node: AnyImport, typing_only: bool) -> Iterator[Imported]:
    if isinstance(node, ast.ImportFrom):
        for alias in node.names:
            if node.level and alias.asname not in (None, alias.name):
                raise ValueError(f"line {node.lineno}: {alias.name!r} must keep its name, for the import is dropped")
            yield Imported(node.level, node.module or "", alias.name, alias.asname or alias.name, typing_only)
    else:
        for alias in node.names:
            yield Imported(0, alias.name, "", alias.asname or alias.name, typing_only)


def _take_renderings_out(node: ast.ClassDef) -> list[int]:
    """Take the methods that import a rendering out of a class, and return their lines, blank ones above included."""
    lines: list[int] = []
    kept = []
    end = node.body[0].lineno - 1  # a docstring's, or a first part's that has no comment or decorator of its own
    for part in node.body:
        imports = [inner for inner in ast.walk(part) if isinstance(inner, ast.ImportFrom) and inner.level]
        if any((inner.module or "").split(".")[0] == RENDERINGS for inner in imports):
            lines += range(end + 1, (part.end_lineno or end) + 1)
        else:
            kept.append(part)
        end = part.end_lineno or end
    node.body = kept
    return lines


def _defined_names(node: ast.stmt) -> set[str]:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return {node.name}
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    raise ValueError(f"line {node.lineno}: at a module's top stand imports, definitions and assignments only")
