"""The README: its commands print what stands there, its Python runs, and it leaves no option out."""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
from typing import Any

import click
import pytest

from tests.conftest import REPOSITORY
from weight_update_ratio.cli import main

README = (REPOSITORY / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```console\n\$ (.*?)\n(.*?)```$", README, re.MULTILINE | re.DOTALL)
EXIT_CODES = {"pytorch_exploding": 1, "pytorch_frozen": 1, "pytorch_reductions_only": 2}


@pytest.mark.parametrize(("command", "output"), [block for block in BLOCKS if block[1]], ids=lambda text: text[:40])
def test_commands_print_what_stands_there(command: str, output: str) -> None:
    """Of a command that first makes an environment, the last part: the tests run in one already."""
    words = shlex.split(command.rpartition(" && ")[2])
    assert "weight-update-ratio" == os.path.basename(words[0])
    done = subprocess.run(
        [sys.executable, "-m", "weight_update_ratio", *words[1:]],
        capture_output=True,
        encoding="utf-8",
        cwd=REPOSITORY,
        timeout=60,
    )
    assert output == done.stdout + done.stderr
    assert ({code for name, code in EXIT_CODES.items() if name in command} or {0}) == {done.returncode}


def test_the_two_commands_that_make_an_environment() -> None:
    """One installs and does the main job, the other installs and runs the tests; .ci/run runs both as they stand."""
    ends = [command.rpartition(" && ")[2] for command, _ in BLOCKS if command.startswith("python3 -m venv .venv && ")]
    assert [
        ".venv/bin/weight-update-ratio check examples/trials/pytorch_frozen",
        ".venv/bin/pytest --quiet --cov -n 2",
    ] == ends


def test_python_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands after >>> gives what stands below it."""
    monkeypatch.chdir(REPOSITORY)
    source = "\n".join(re.findall(r"^```pycon\n(.*?)```$", README, re.MULTILINE | re.DOTALL))
    test = doctest.DocTestParser().get_doctest(source, {}, "README.md", "README.md", 0)
    assert len(test.examples) >= 5
    told: list[str] = []
    result = doctest.DocTestRunner().run(test, out=told.append)
    assert (0, "") == (result.failed, "".join(told))


def all_parameters() -> list[Any]:
    """Return (command, option) of everything that the command takes."""
    context = main.make_context("weight-update-ratio", [], resilient_parsing=True)
    commands = {"": main, **{name: main.get_command(context, name) for name in main.list_commands(context)}}
    return [
        (name, option)
        for name, command in commands.items()
        for parameter in command.get_params(click.Context(command, parent=context))  # type: ignore[arg-type,union-attr]
        if isinstance(parameter, click.Option)
        for option in sorted(parameter.opts)
    ]


@pytest.mark.parametrize(("command", "option"), all_parameters())
def test_every_option_is_documented(command: str, option: str) -> None:
    """Each stands in the README, as code."""
    assert re.search(rf"`[^`]*{re.escape(option)}(?![\w-])[^`]*`", README), f"{command} {option} is not in README.md"


def test_every_command_is_documented() -> None:
    """Each is named with the program."""
    context = main.make_context("weight-update-ratio", [], resilient_parsing=True)
    for name in main.list_commands(context):
        assert f"weight-update-ratio {name}" in README


@pytest.mark.parametrize("path", re.findall(r"\]\(([^):]+)\)", README))
def test_links_lead_somewhere(path: str) -> None:
    """Into the repository, or to a heading."""
    headings = {"#" + heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.*)$", README, re.MULTILINE)}
    assert path in headings or (REPOSITORY / path).exists()
