"""Names made harmless: for a terminal, HTML, markdown, XML and workflow commands.

Anybody may have written the files that names come from. In what these functions return, no part of a name is markup, a
control character or a command.

Source: GitHub's "Workflow commands for GitHub Actions"; actions/runner, ``ActionCommand.cs``; XML 1.0, "Characters".
"""

from __future__ import annotations

import re

_MARKUP = re.compile(r"[\\`*_{}\[\]()#+!|~$&<>@]")
_COMMAND = re.compile(r"(?:(?<!\S):(?=:))|(?:#(?=#(?:vso)?\[))")  # GitHub's at a line's beginning, Azure's anywhere
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;"}
# What XML 1.0 cannot hold: most control characters, lone surrogates and two non-characters.
_ILLEGAL = "[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"  # compiled when it is needed: it takes milliseconds


def printable(name: str) -> str:
    r"""Return a name of a trial with its control characters and lone surrogates as escapes, and no command of a CI log.

    >>> printable("a\x1b[2Jb"), printable("::error::x"), printable("##vso[task.complete]")
    ('a\\x1b[2Jb', '\\x3a:error::x', '\\x23#vso[task.complete]')
    """
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in name)
    return _COMMAND.sub(lambda found: f"\\x{ord(found.group()):02x}", shown)


def html_text(name: str) -> str:
    r"""Return a name of a trial as HTML text, with escapes for what cannot be seen.

    >>> html_text("<b>\x1b")
    '&lt;b&gt;\\x1b'
    """
    from html import escape  # its table of entities is large, and the command imports this module at its start

    return escape(printable(name))


def markdown_code(name: str) -> str:
    r"""Return a name as a code span, fenced by more backticks than it has in a row.

    >>> print(markdown_code("a`b"))
    `` a`b ``
    """
    name = printable(name)
    if not name.strip():
        return f"<code>{name.replace(' ', '&nbsp;')}</code>"
    ticks = "`" * (max(map(len, re.findall("`+", name)), default=0) + 1)
    space = " " if len(ticks) > 1 else ""
    return f"{ticks}{space}{name}{space}{ticks}"


def markdown_text(text: str) -> str:
    r"""Return text of one line in which nothing is markup, a mention or a reference, and which begins no list.

    >>> markdown_text("<b> *x* @me"), markdown_text("1. x")
    ('&lt;b&gt; \\*x\\* &#64;me', '1\\. x')
    """
    text = _MARKUP.sub(lambda found: _ENTITIES.get(found.group(), "\\" + found.group()), printable(text))
    text = re.sub(r"^(\d*)([-.)])", r"\1\\\2", text)
    return text.replace("://", ":&#47;/").replace("www.", "www&#46;")


def xml_text(text: str) -> str:
    r"""Return text as XML 1.0 and a terminal can hold it: line ends stay, all else that cannot be seen becomes escapes.

    >>> xml_text("a\x1bb")
    'a\\x1bb'
    """
    lines = (printable(line) for line in text.split("\n"))
    return re.sub(_ILLEGAL, lambda found: found.group().encode("unicode_escape").decode(), "\n".join(lines))


def command_message(text: str) -> str:
    """Return text as the message of a GitHub workflow command."""
    return printable(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def command_property(text: str) -> str:
    """Return text as a property of a GitHub workflow command."""
    return command_message(text).replace(":", "%3A").replace(",", "%2C")
