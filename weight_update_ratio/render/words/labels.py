"""Short labels of tensors for the rows of a table or a picture, no two of them alike.

Names of a network differ in the middle (``decoder.layers.11.self_attn.q_proj.weight``), so that cutting them to a
length leaves many alike. Here a part of a name that tells nothing is left out, and the others keep as many of their
first letters as there is room for, and no fewer than it takes to tell them apart.
"""

from __future__ import annotations

import re
from typing import Any, Sequence

from .names import elided

PART = re.compile(r"[./]?[^./]*")
END = ""  # marks that a name ends at a part


def distinct_labels(names: Sequence[str], most: int) -> list[str]:
    """Return a label of at most ``most`` characters for each of these different names.

    >>> distinct_labels(["encoder.layers.1.linear.weight", "encoder.layers.12.linear.weight", "head.bias"], 12)
    ['encoder.1', 'encoder.12', 'head.bias']
    """
    begin = common_beginning(names)
    shortened = [name[begin:] for name in names]
    tree: dict[str, Any] = {}
    for name in shortened:
        node = tree
        for part in _parts(name):
            node = node.setdefault(part, {})
        node[END] = {}
    fitting = (name if len(name) <= most else elided(_abbreviated(tree, name, most), most) for name in shortened)
    return _numbered(list(fitting), most)


def common_beginning(names: Sequence[str]) -> int:
    """Return how many characters all names begin with, up to a separator or an underscore.

    >>> common_beginning(["TinyNet_fc1.weight", "TinyNet_fc2.weight"]), common_beginning(["worker_0", "worker_1"])
    (8, 7)
    """
    if len(names) < 2:
        return 0
    least, most = min(names), max(names)
    alike = next((i for i, (a, b) in enumerate(zip(least, most)) if a != b), min(len(least), len(most)))
    return max(least.rfind(separator, 0, alike) for separator in "./_") + 1


def _parts(name: str) -> list[str]:
    return [part for part in PART.findall(name) if part]


def _abbreviated(tree: dict[str, Any], name: str, most: int) -> str:
    """Return a name without the parts that tell nothing, the others abbreviated as much as it takes."""
    telling = []  # (part, letters that it takes to tell it from the others in its place)
    node = tree
    for part in _parts(name):
        if len(node) > 1:
            telling.append((part, _letters(part, node)))
        node = node[part]
    if not telling:
        return name
    letters = max(len(part) for part, _ in telling)
    while letters:
        label = "".join(part[: max(letters, least)] for part, least in telling)
        if len(label) <= most:
            break
        letters -= 1
    return label.lstrip("./") or label


def _letters(part: str, others: dict[str, Any]) -> int:
    """Return how many of its first letters tell a part from the others, or all of it."""
    alike = 0
    for other in others:
        if other != part:
            shared = next((i for i, (a, b) in enumerate(zip(part, other)) if a != b), min(len(part), len(other)))
            alike = max(alike, shared)
    return alike + 1


def _numbered(labels: list[str], most: int) -> list[str]:
    """Return the labels, those that are alike told apart by a number."""
    counts: dict[str, int] = {}
    for label in labels:
        counts[label] = counts.get(label, 0) + 1
    result = []
    for place, label in enumerate(labels):
        tag = f"~{place + 1}"
        result.append(label if counts[label] == 1 else elided(label, most - len(tag)) + tag)
    return result
