"""Many names in few words: tensors by the modules that they share, and workers; and how many more there are."""

from __future__ import annotations

import re
from typing import Callable, Iterable, Sequence

MOST_NAMES = 3  # in a sentence
MOST = 0.8  # of a module's tensors, that the module is named for them
MOST_PARTS = 30  # of a name; a hostile one may have thousands
LONGEST = 100  # characters of a name
SEPARATOR = re.compile(r"[./]")


def tensors_text(tensors: Sequence[str], known: Iterable[str]) -> str:
    """Return the names of tensors, folded by modules that have all or most of theirs; ``known`` are all of the trial.

    >>> layers = [f"layer{i}.{name}" for i in (1, 2) for name in ("weight", "bias", "scale")]
    >>> tensors_text(layers[:3] + ["head"], [*layers, "head"])
    'layer1.* (3 tensors), head'
    >>> tensors_text(["layer1.bias", "layer2.bias"], layers)
    '*.bias (2 tensors)'
    """
    known, chosen = list(dict.fromkeys([*known, *tensors])), set(tensors)
    if len(chosen) > 1 and chosen.issuperset(known):
        return f"All {len(chosen):,} tensors"
    endings = {_parts(name)[-1] for name in chosen}
    ended = {name for name in known if len(_parts(name)) > 1 and _parts(name)[-1] in endings}
    if len(chosen) > 1 and len(endings) == 1 and ended == chosen:
        return f"*{SEPARATOR.findall(tensors[0])[-1]}{endings.pop()} ({len(chosen):,} tensors)"
    folded = _by_module(known, chosen, 0)
    shown = folded if len(folded) <= MOST_NAMES + 1 else folded[:MOST_NAMES]
    rest = sum(count for _, count in folded[len(shown) :])
    return ", ".join(elided(text, LONGEST) for text, _ in shown) + f" {more_text(rest)}" * (rest > 0)


def _parts(name: str) -> list[str]:
    return SEPARATOR.split(name, MOST_PARTS)


def _by_module(names: list[str], chosen: set[str], depth: int) -> list[tuple[str, int]]:
    """Return (text, number of tensors) of the chosen ones among names that share their first ``depth`` parts."""
    count = sum(name in chosen for name in names)
    if count <= 1:
        return [(name, 1) for name in names if name in chosen]
    if depth and count >= MOST * len(names):
        end = [separator.end() for separator in SEPARATOR.finditer(names[0])][depth - 1]
        of = f"{count:,} tensors" if count == len(names) else f"{count:,} of {len(names):,} tensors"
        return [(f"{names[0][:end]}* ({of})", count)]
    groups: dict[tuple[str, ...], list[str]] = {}
    for name in names:
        modules = _parts(name)[:-1]
        groups.setdefault((modules[depth],) if depth < len(modules) else ("", name), []).append(name)
    return [part for group in groups.values() for part in _by_module(group, chosen, depth + 1)]


def workers_text(workers: Sequence[str], known: Iterable[str]) -> str:
    """Return on which workers something is, for a sentence after its tensors; nothing if there is one worker.

    >>> workers_text(["w0", "w1"], ["w0", "w1"]), workers_text(["w1"], ["w0", "w1"]), workers_text(["w0"], ["w0"])
    (' on all 2 workers', ' on w1', '')
    """
    known = list(known)
    if len(known) < 2:
        return ""
    if len(workers) == len(known):
        return f" on all {len(known):,} workers"
    if len(workers) <= MOST_NAMES:
        return f" on {', '.join(workers)}"
    return f" on {len(workers):,} of {len(known):,} workers ({', '.join(workers[:MOST_NAMES])}, ...)"


def elided(name: str, most: int, width: Callable[[str], int] = len) -> str:
    r"""Return a name of at most ``most`` characters, or columns by ``width``, without its middle if it is longer.

    >>> ascii(elided("encoder.layers.11.weight", 15))
    "'encoder\\u2026.weight'"
    """
    short, kept = name, most
    while width(short) > most:
        head = (kept - 1) // 2
        short = f"{name[:head]}\u2026{name[len(name) - (kept - 1 - head) :]}"
        kept -= 1
    return short


def counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"


def more_text(left: int) -> str:
    return f"and {left:,} more"


def first_lines(lines: Sequence[str], most: int, where: str) -> list[str]:
    """Return at most ``most`` lines: all of them, or the first ones and how many more there are."""
    if len(lines) <= most:
        return list(lines)
    return [*lines[: most - 1], f"{more_text(len(lines) - most + 1)}; {where} lists them all"]
