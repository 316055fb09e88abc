"""Names made harmless, because anybody may have written the files that they come from.

In what these functions return, no part of a name is markup, a control character or a command.
"""

from __future__ import annotations

import re

_MARKUP = re.compile(r"[\\`*_{}\[\]()#+!|~$&<>@]")
_COMMAND = re.compile(r"(?:(?<!\S):(?=:))|(?:#(?=#(?:vso)?\[))")  # GitHub's at a line's beginning, Azure's anywhere
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;"}


def printable(name: str) -> str:
    r"""Return a name of a trial as one line without a command of a CI log; what is not printable becomes escapes.

    >>> printable("a\x1b[2Jb"), printable("::error::x"), printable("##vso[task.complete]")
    ('a\\x1b[2Jb', '\\x3a:error::x', '\\x23#vso[task.complete]')
    """
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in name)
    return _COMMAND.sub(lambda match: f"\\x{ord(match.group()):02x}", shown)


def html_text(name: str) -> str:
    """Return a name of a trial as HTML text, with escapes for what cannot be seen."""
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
    text = _MARKUP.sub(lambda match: _ENTITIES.get(match.group(), "\\" + match.group()), printable(text))
    text = re.sub(r"^(\d*)([-.)])", r"\1\\\2", text)
    return text.replace("://", ":&#47;/").replace("www.", "www&#46;")
