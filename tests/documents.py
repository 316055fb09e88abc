"""The documents, their blocks, and how the commands in them are run.

    python -m tests.documents

writes below each command what it prints now, if it ends with the exit code that its old output means.
``tests/test_readme.py`` fails where a document shows anything else.

A ``console`` block with an output is run, all of its commands in their order, in a folder that has the repository's
entries; one without an output is only shown.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from tests.conftest import REPOSITORY
from weight_update_ratio.cli import check
from weight_update_ratio.parameters import TABLE, Parameters

DOCUMENTS = (
    "README.md",
    "examples/README.md",
    "examples/ci/README.md",
    "examples/sagemaker/README.md",
    "tests/README.md",
    "tests/benchmarks/README.md",
)
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TABLES = re.compile(r"^(\| (parameter|option) \| default \| meaning \|\n\|[-|]+\n)(?:\|.*\n)*", re.MULTILINE)
SECONDS = 120  # that a command may take


class Command(NamedTuple):
    """A line that begins with ``$``, and what is printed below it."""

    line: str
    output: str


def text_of(document: str) -> str:
    return (REPOSITORY / document).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return [content for found, content in FENCED.findall(text) if found == language]


def commands(block: str) -> list[Command]:
    r"""Return the commands of a console block.

    >>> commands("$ one\n$ two\nits\noutput\n")
    [Command(line='one', output=''), Command(line='two', output='its\noutput\n')]
    """
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    return [Command(line, output) for line, _, output in (part.partition("\n") for part in parts)]


def is_run(block: str) -> bool:
    return any(command.output for command in commands(block))  # it shows an output


def make_workplace(folder: Path) -> Path:
    """Return a folder in which commands find the repository, and may write beside and into its examples."""
    shutil.copytree(REPOSITORY / "examples", folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "tests").symlink_to(REPOSITORY / "tests")
    return folder


def run(line: str, workplace: Path) -> tuple[str, int]:
    """Return what a command prints, as a terminal shows it, and its exit code; of commands joined by && the last."""
    program, *arguments = shlex.split(line.rpartition(" && ")[2])
    module = ["-m", "weight_update_ratio"] if os.path.basename(program) == "weight-update-ratio" else []
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SMDEBUG_", "GITHUB_"))}
    done = subprocess.run(
        [sys.executable, *module, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        cwd=workplace,
        env={**environment, "PYTHONPATH": str(REPOSITORY)},
        timeout=SECONDS,
        check=False,
    )
    return done.stdout, done.returncode


def exit_code(output: str) -> int:
    """Return the exit code that a command with this output must have."""
    if re.search(r"^(FIRED  |### .*FIRED|::error |<\?xml(.|\n)*<failure)", output, re.MULTILINE):
        return 1
    return 2 if re.search(r"^(Error: |NOT JUDGED  )", output, re.MULTILINE) else 0


def refreshed(text: str) -> str:
    """Return a document's text with what its commands print now.

    Raises:
        ValueError: A command ends with another exit code than that of its old output, as where the package is broken.
    """

    def anew(match: re.Match[str]) -> str:
        language, block = match.groups()
        if language != "console" or not is_run(block):
            return match.group()
        with tempfile.TemporaryDirectory() as folder:
            workplace = make_workplace(Path(folder))
            shown = ""
            for command in commands(block):
                output, code = run(command.line, workplace)
                if code != exit_code(command.output):
                    raise ValueError(f"exit code {code}, not {exit_code(command.output)}: {command.line}\n{output}")
                shown += f"$ {command.line}\n{output}"
        return f"```{language}\n{shown}```"

    return FENCED.sub(anew, text)


def with_tables(text: str) -> str:
    """Return a document's text with its tables of parameters and of options as the package has them."""
    parameters, options = Parameters().as_dict(), ""
    for option in check.params[1 + len(parameters) :]:
        value = option.metavar or r"\|".join(getattr(option.type, "choices", ()))
        default = None if option.is_flag else option.to_info_dict()["default"]
        options += _row(f"`{f'{option.opts[0]} {value}'.strip()}`", default, option.help)
    rows = {"parameter": "".join(_row(f"`{n}`", parameters[n], TABLE[n].sentence) for n in TABLE), "option": options}
    return TABLES.sub(lambda table: table[1] + rows[table[2]], text)


def _row(name: str, default: Any, meaning: str) -> str:
    return f"| {name} | {'' if default is None else f'{default} '}| {meaning} |\n"


if __name__ == "__main__":
    for document in DOCUMENTS:
        text = text_of(document)
        new = with_tables(refreshed(text))
        if new != text:
            (REPOSITORY / document).write_text(new, encoding="utf-8")
            print(document)
