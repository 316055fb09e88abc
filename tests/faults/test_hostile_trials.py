"""Hostile trials: no name acts, and whatever bytes a reader is given, only the package's own error comes out."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.conftest import change_json, index_file, needs_writing, write_whole_trial
from tests.fuzz import harness
from weight_update_ratio import check_trial

NASTY = ["\x1b[2J\x1b[31mred", "[bold]markup[/bold]", "a\nb\r\nc", "\u202etxt", "n" * 100_000, ""]
CORPUS = Path(harness.__file__).parent / "corpus"
FUZZERS = {"event_file": harness.fuzz_record, "index": harness.fuzz_index}
SEEDS = {"event_file": list(harness.record_seeds()), "index": list(harness.index_seeds())}
INSERTED = (b"", b"\xff", b"\x00", b"\x80\x7f", b'"', b"9" * 30, b"[" * 3)
KEYS = ["meta", "mode", "mode_step", "tensor_payload", "tensorname", "start_idx", "length"]


@needs_writing
@pytest.mark.parametrize("name", NASTY, ids=range(len(NASTY)))
def test_names_are_inert(tmp_path: Path, name: str) -> None:
    """As a tensor's, a pattern's or an event file's: what is printed holds no control character but line ends."""
    values = [np.float32([1.0]), np.float32([9.0]), np.float32([9.5])]
    trial = write_whole_trial(tmp_path / "trial", {name or "empty": values}).path
    change_json(
        trial / harness.COLLECTIONS,
        lambda content: content["collections"]["weights"].update(include_regex=["(" + name]),
    )
    change_json(index_file(trial, 2), lambda index: index["meta"].update(event_file_name=name))
    report = check_trial(trial, large_threshold=0.1)
    assert (1, 1, 2) == (report.exit_code, len(report), len(report.unreadable))
    for text in (report.to_text(), report.to_text(60), report.to_json(), repr(report)):
        assert all(char.isprintable() or char == "\n" for char in text)
        text.encode("utf-8")
    assert "[bold]" in report.to_text() or "[bold]" not in name


# What the fuzzers do for hours (tests/fuzz), for a second; and what they found, for ever


@pytest.mark.parametrize("file", sorted(CORPUS.glob("*/*")), ids=lambda file: f"{file.parent.name}-{file.name}")
def test_what_a_fuzzer_found(file: Path) -> None:
    FUZZERS[file.parent.name](file.read_bytes())


@pytest.mark.filterwarnings("ignore:Possible nested set:FutureWarning")  # a pattern may become one
@pytest.mark.parametrize("count", [50, pytest.param(500, marks=pytest.mark.rare)])
@pytest.mark.parametrize("reader", FUZZERS)
def test_nearly_sound_records_and_indexes(reader: str, count: int) -> None:
    chance = random.Random(reader)
    for _ in range(count):
        content = bytearray(chance.choice(SEEDS[reader]))
        for _ in range(chance.randint(0, 4)):
            start = chance.randrange(len(content))
            content[start : start + chance.choice((0, 1, 1, 9))] = chance.choice(INSERTED)
        FUZZERS[reader](bytes(content))


@given(st.binary(max_size=200), st.integers(0, 2))
@settings(max_examples=50)
@example(b"", 0)
def test_any_bytes_as_a_record(content: bytes, kind: int) -> None:
    harness.fuzz_record(bytes((kind, 1)) + content)


def of_keys(inner: Any) -> Any:
    return st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5), of_keys, max_leaves=12)
)
@settings(max_examples=50)
def test_any_json_as_an_index(value: Any) -> None:
    collections = b'{"collections": {"weights": {"tensor_names": [""], "include_regex": []}}}'
    assert set() == harness.judged_rows(harness.SEPARATOR.join([collections, json.dumps(value).encode(), b"{}"]))
