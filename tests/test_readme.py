"""The documents: their commands print what they show, their Python runs, and they leave no option out."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import click
import pytest

from tests.conftest import REPOSITORY
from tests.documents import (
    DOCUMENTS,
    FENCED,
    TABLES,
    blocks,
    commands,
    exit_code,
    is_run,
    make_workplace,
    run,
    text_of,
    with_tables,
)
from weight_update_ratio.cli import main

MOST_BYTES = 14_000  # of README.md
TEXTS = {document: text_of(document) for document in DOCUMENTS}
TOGETHER = "\n".join(TEXTS.values())
RUN = [
    pytest.param(block, id=f"{document}: {commands(block)[0].line[:40]}")
    for document, text in TEXTS.items()
    for block in blocks(text, "console")
    if is_run(block)
]
LINKS = [(document, link) for document, text in TEXTS.items() for link in re.findall(r"\]\(([^):]+)\)", text)]
PATH = re.compile(r"(?<![\w/.:{-])(?:examples|tests|weight_update_ratio|\.ci|\.github)/[\w./-]*\w")


@pytest.mark.parametrize("block", RUN)
def test_commands_print_what_is_shown(block: str, tmp_path: Path) -> None:
    """They run in their order, each with its exit code."""
    workplace = make_workplace(tmp_path)
    for command in commands(block):
        output, code = run(command.line, workplace)
        assert command.output == output
        assert exit_code(command.output) == code


def test_the_two_commands_that_make_an_environment() -> None:
    """One installs and does the main job, the other installs and runs the tests; .ci/run runs both unchanged."""
    lines = [command.line for block in blocks(TEXTS["README.md"], "console") for command in commands(block)]
    ends = [line.rpartition(" && ")[2] for line in lines if line.startswith("python3 -m venv .venv && ")]
    assert [
        ".venv/bin/weight-update-ratio check examples/trials/pytorch_frozen",
        ".venv/bin/pytest --quiet -n 3",
    ] == ends


def test_the_readme_is_short() -> None:
    """It is read in a few minutes; the rest is beside what it describes."""
    assert len(TEXTS["README.md"].encode("utf-8")) <= MOST_BYTES


@pytest.mark.parametrize("document", [name for name in DOCUMENTS if "```pycon\n" in TEXTS[name]])
def test_python_runs(document: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows >>> gives what is shown below it."""
    monkeypatch.chdir(REPOSITORY)
    test = doctest.DocTestParser().get_doctest("\n".join(blocks(TEXTS[document], "pycon")), {}, document, document, 0)
    assert test.examples
    printed: list[str] = []
    result = doctest.DocTestRunner().run(test, out=printed.append)
    assert (0, "") == (result.failed, "".join(printed))


@pytest.mark.parametrize("source", blocks(TOGETHER, "python"))
def test_python_that_is_not_run_compiles(source: str) -> None:
    """To run it takes a framework, a notebook or the service."""
    assert compile(source, "document", "exec").co_name == "<module>"


def test_every_command_and_option_is_documented() -> None:
    """Each in one of the documents, an option as code."""
    context = main.make_context("weight-update-ratio", [], resilient_parsing=True)
    subcommands: dict[str, click.Command] = {name: main.commands[name] for name in main.list_commands(context)}
    assert [] == [name for name in subcommands if f"weight-update-ratio {name}" not in TOGETHER]
    code = " ".join(re.findall(r"`[^`\n]+`", TOGETHER))
    for command in [main, *subcommands.values()]:
        for parameter in command.get_params(context):
            for option in parameter.opts if isinstance(parameter, click.Option) else ():
                assert re.search(rf"{re.escape(option)}(?![\w-])", code), f"{command.name} {option} is in no document"


def headings(text: str) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    lines = re.findall(r"^#+ (.*)$", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


def test_links_lead_somewhere() -> None:
    """Each leads to a file of the repository, or to a heading of a document; the README links every document."""
    linked = set()
    for document, link in LINKS:
        path, _, heading = link.partition("#")
        target = (REPOSITORY / document).parent / path if path else REPOSITORY / document
        assert target.exists(), link
        assert not heading or heading in headings(target.read_text(encoding="utf-8")), link
        linked |= {target.resolve()} if document == "README.md" else set()
    for document in DOCUMENTS[1:]:
        assert {REPOSITORY / document, (REPOSITORY / document).parent} & linked, document


def test_paths_are_there() -> None:
    """They are the repository's, and a document, or a command in it, names them; outputs may name others."""
    without_outputs = FENCED.sub(lambda match: "\n".join(re.findall(r"^\$ .*", match.group(), re.MULTILINE)), TOGETHER)
    paths = set(PATH.findall(without_outputs))
    assert paths
    assert [] == [path for path in sorted(paths) if not (REPOSITORY / path).exists()]


@pytest.mark.parametrize("document", ["README.md", "examples/README.md"])
def test_tables_of_parameters_and_options_say_what_the_package_says(document: str) -> None:
    assert TABLES.search(TEXTS[document])
    assert with_tables(TEXTS[document]) == TEXTS[document]
