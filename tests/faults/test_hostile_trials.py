"""Hostile trials: no name in a file is opened, nothing hangs, nothing grows, and no name acts."""

from __future__ import annotations

import json
import os
import random
import resource
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.conftest import (
    REPOSITORY,
    change_json,
    event_file,
    index_file,
    needs_writing,
    run_command,
    write_whole_trial,
)
from tests.fuzz import harness
from weight_update_ratio import TrialError, check_trial
from weight_update_ratio.errors import UnreadableError
from weight_update_ratio.parameters import parse_parameters
from weight_update_ratio.storage.storage import SMALL_FILE
from weight_update_ratio.trial.collections import Collections
from weight_update_ratio.trial.event_file import LONGEST_RECORD, tensor_layout
from weight_update_ratio.trial.selection import MOST_PATTERNS, Selection
from weight_update_ratio.trial.wire_format import MOST_FIELDS, masked_crc32c

COLLECTIONS = "collections/000000000/worker_0_collections.json"
CORPUS = Path(harness.__file__).parent / "corpus"


@pytest.fixture
def trial(tmp_path: Path) -> Path:
    """Give a trial of two weights and three steps, to be spoilt."""
    values = [np.float32([1.0, 2.0]) * (1 + step / 100) for step in range(3)]
    if not hasattr(np.ndarray, "tostring"):
        pytest.skip("smdebug cannot write trials with this NumPy")
    return write_whole_trial(tmp_path / "trial", {"w": values, "v": values}).path


def reasons(trial: Path, **parameters: Any) -> list[str]:
    report = check_trial(trial, **parameters)
    assert report.exit_code == 2
    return [entry.reason for entry in report.unreadable]


class TestNamesInAnIndex:
    @pytest.mark.parametrize("name", ["../secret", "/secret", "events/../../secret", "link/secret", "~/secret", "a\0b"])
    def test_of_another_event_file(self, trial: Path, name: str) -> None:
        """Absolute, by '..' or through a link: what is there is a sound event file, and is not opened."""
        secret = trial.parent / "secret"
        secret.write_bytes(event_file(trial, 1).read_bytes())
        (trial / "link").symlink_to(trial.parent)
        name = str(secret) if name == "/secret" else name
        change_json(index_file(trial, 1), lambda index: index["meta"].update(event_file_name=name))
        assert reasons(trial)[0].startswith("names the event file of another step or worker (")
        assert 0 == len(check_trial(trial))


class TestLinks:
    """They are the user's own, and are followed."""

    @pytest.mark.parametrize("name", ["index", "events", "collections", "index/000000000", COLLECTIONS])
    def test_out_of_the_folder(self, trial: Path, name: str) -> None:
        """Of a folder or a file."""
        (trial / name).rename(trial.parent / "moved")
        (trial / name).symlink_to(trial.parent / "moved")
        report = check_trial(trial)
        assert (0, 4) == (report.exit_code, len(report))

    def test_in_circles(self, trial: Path) -> None:
        """Two folders of links to each other would have 2^40 names."""
        for name in ("a", "b"):
            (trial / "index" / name).symlink_to(".")
        started = time.monotonic()
        report = check_trial(trial)
        assert (0, 4) == (report.exit_code, len(report))
        assert time.monotonic() - started < 5


class TestWhatIsNoFile:
    """Nothing waits for what never comes."""

    @staticmethod
    def make(kind: str, path: Path) -> None:
        path.unlink()
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "socket":
            os.chdir(path.parent)  # its name may have 107 characters only
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(path.name)
        elif kind == "folder":
            path.mkdir()
        elif kind == "device":
            path.symlink_to("/dev/zero")
        elif kind == "real device":
            try:
                os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))
            except PermissionError:
                pytest.skip("only root makes devices")
        else:
            path.symlink_to(path.name)

    @pytest.mark.parametrize("kind", ["pipe", "socket", "folder", "device", "real device", "loop"])
    @pytest.mark.parametrize("part", ["index", "events", "collections"])
    def test_in_place_of_a_file(self, trial: Path, kind: str, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is said what it is."""
        monkeypatch.chdir(trial)
        file = {"index": index_file(trial, 1), "events": event_file(trial, 1), "collections": trial / COLLECTIONS}[part]
        self.make(kind, file)
        started = time.monotonic()
        expected = "cannot be read (Too many" if kind == "loop" else "is not a regular file"
        if part == "collections":
            with pytest.raises(TrialError) as raised:
                check_trial(trial)
            found = [str(raised.value).split("json' ")[-1]]
        else:
            found = reasons(trial)
        if kind != "folder" or part == "events":
            assert any(reason.startswith(expected) for reason in found), found
        assert time.monotonic() - started < 5

    def test_a_file_in_place_of_a_folder(self, trial: Path) -> None:
        """Nothing can be listed there."""
        os.rename(trial / "index", trial.parent / "index")
        (trial / "index").write_text("")
        assert "cannot be read (Not a directory)" in reasons(trial)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_a_folder_that_may_not_be_read(self, trial: Path) -> None:
        """It is named, and the rest is judged."""
        (trial / "index" / "000000001").mkdir()
        (trial / "index" / "000000001").chmod(0)
        assert ["cannot be read (Permission denied)"] == reasons(trial)

    def test_other_files_among_the_collections(self, trial: Path) -> None:
        """They say nothing."""
        (trial / "collections" / "000000000" / "worker_0_collections.json.tmp").write_text("{")
        assert check_trial(trial).exit_code == 0

    @pytest.mark.slow
    def test_names_that_are_not_utf8(self, trial: Path) -> None:
        """Worker names of any bytes are read, and shown as escapes."""
        for step in range(3):
            content = json.loads(index_file(trial, step).read_text())
            name = os.fsencode(index_file(trial, step)).replace(b"worker_0", b"worker_\xff\x1b[2J")
            Path(os.fsdecode(name)).write_text(json.dumps(content))
        for arguments in (["--format", "json"], ["--history", str(trial.parent / "h.csv")], ["--format", "text"]):
            result = run_command("check", trial, "--large-threshold", "1e-3", *arguments)
            assert (1, "") == (result.returncode, result.stderr)
            assert "\x1b" not in result.stdout
        pytest.importorskip("pyarrow")
        result = run_command("check", trial, "--large-threshold", "1e-3", "--history", trial.parent / "h.parquet")
        assert (1, "") == (result.returncode, result.stderr)


class TestSizes:
    """Sizes and dims of a file decide no allocation: all of this happens within 400 MB of address space."""

    @pytest.fixture(autouse=True)
    def little_memory(self) -> Any:
        """Let the test have no more than it needs; mappings of files count as well, and are not copies."""
        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        limits = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (used + (400 << 20), limits[1]))
        yield
        resource.setrlimit(resource.RLIMIT_AS, limits)

    @pytest.mark.parametrize("part", ["index", "events", "collections"])
    @pytest.mark.parametrize("empty", [False, True])
    def test_a_huge_file_without_content(self, trial: Path, part: str, empty: bool) -> None:
        """A sparse terabyte ends at once with a message."""
        file = {"index": index_file(trial, 1), "events": event_file(trial, 1), "collections": trial / COLLECTIONS}[part]
        if empty:
            file.write_bytes(b"")
        os.truncate(file, 1 << 40)
        started = time.monotonic()
        if part == "collections":
            with pytest.raises(TrialError, match="has 1099511627776 bytes, more than a file of its kind can have"):
                check_trial(trial)
        elif part == "events" and not empty:
            assert check_trial(trial).exit_code == 0  # what the index names is there
        else:
            assert any(text in reasons(trial)[0] for text in ("1099511627776 bytes", "is corrupt"))
        assert time.monotonic() - started < 5

    def test_a_small_file_of_zeros(self, trial: Path) -> None:
        """As large as an index file may be."""
        os.truncate(index_file(trial, 1), SMALL_FILE)
        assert "is not JSON" in reasons(trial)[0]

    @pytest.mark.parametrize(
        "dims",
        [
            [2**63, 2**63, 2**63],
            [2**64 - 1],  # -1
            [2**32, 2**32],  # whose product is 0 in 64 bits
            [0, 2**62],
            [1] * 100_000,
            [],
        ],
    )
    def test_dims(self, dims: list[int]) -> None:
        """Products have no width, and there are few dimensions."""
        record = crafted(dims)
        with pytest.raises(
            UnreadableError, match=r"has (8 bytes of elements, while its shape|more than 64 dimensions)"
        ):
            tensor_layout(memoryview(record), "w", 1)

    def test_a_record_longer_than_protobuf_has_them(self, trial: Path) -> None:
        """It is not read: two gigabytes take their time and their memory."""
        os.truncate(event_file(trial, 1), 1 << 40)
        index = json.loads(index_file(trial, 1).read_text())
        index["tensor_payload"][0]["length"] = LONGEST_RECORD + 1
        index_file(trial, 1).write_text(json.dumps(index))
        reason = f"has {LONGEST_RECORD + 1} bytes, more than a record can have ({LONGEST_RECORD})"
        assert {reason} == set(reasons(trial))

    def test_a_message_of_very_many_fields(self) -> None:
        """Zeros are fields as well, of two bytes each."""
        record = framed(bytes(4 * MOST_FIELDS))
        with pytest.raises(UnreadableError, match="has a message of more than 1000 fields"):
            tensor_layout(memoryview(record), "w", 1)


def varint(value: int) -> bytes:
    out = b""
    while value >= 128:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def field(number: int, content: bytes | int) -> bytes:
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def framed(payload: bytes) -> bytes:
    header = struct.pack("<Q", len(payload))
    return header + struct.pack("<I", masked_crc32c(header)) + payload + struct.pack("<I", 0x062DC0B3)


def crafted(dims: list[int]) -> bytes:
    """Return a record of the tensor "w" at step 1: 8 bytes of float32, whatever its dims say."""
    shape = b"".join(field(2, field(1, size)) for size in dims)
    tensor = field(1, 1) + field(2, shape) + field(4, bytes(8))
    value = field(1, b"w") + field(8, tensor)
    return framed(field(2, 1) + field(5, field(1, value)))


def selection(patterns: list[str], chosen: str = "weights", **parameters: Any) -> Selection:
    """Return what is selected of a collection that lists one name and has these patterns."""
    collections = Collections({"weights": {"known"}, "biases": set()}, {"weights": patterns}, 1, [], set())
    return Selection(collections, parse_parameters(collection_names=chosen, **parameters))


class TestPatternsOfACollectionsFile:
    @pytest.mark.parametrize("pattern", ["(", "a{9999999999999}", "(?<=a+)b"])
    def test_one_that_does_not_compile(self, pattern: str) -> None:
        """It is reported; names that are listed in the collection, and those of other patterns, are found."""
        found = selection([pattern, "^weight"])
        assert ["known", "weight"] == [name for name in ("a" * 9, "known", "weight") if name in found]
        (entry,) = found.unreadable
        assert "collections/000000000" == entry.file
        assert entry.reason.startswith(f"has an include_regex that does not compile ({pattern!r}: ")

    def test_too_many(self) -> None:
        """Of 101 the first 100 are searched."""
        patterns = [f"^name{number}$" for number in range(MOST_PATTERNS + 1)]
        assert [] == selection(patterns[:-1]).unreadable
        found = selection(patterns)
        assert ["has 101 patterns in the collection 'weights', more than 100"] == [e.reason for e in found.unreadable]
        assert ("name0" in found, "name99" in found, "name100" in found) == (True, True, False)

    @pytest.mark.parametrize("patterns", [["("], [str(number) for number in range(101)]])
    def test_of_a_collection_that_is_not_chosen(self, patterns: list[str]) -> None:
        """Its patterns are not searched, and not reported."""
        assert [] == selection(patterns, chosen="biases").unreadable

    def test_in_the_report(self, trial: Path) -> None:
        """What is sound is compared; the report is not complete."""
        change_json(trial / COLLECTIONS, lambda c: c["collections"]["weights"].update(include_regex=["("]))
        report = check_trial(trial)
        assert (2, 4) == (report.exit_code, len(report))
        assert [("collections/000000000", None, -1)] == [(e.file, e.tensor, e.global_step) for e in report.unreadable]


class TestJson:
    @pytest.mark.parametrize(
        "content",
        [
            "[" * 5_000_000,
            '{"a":' * 1_000_000,
            '{"meta": {"mode": "TRAIN", "mode_step": ' + "9" * 5_000_000 + "}}",
            '{"meta": {"mode": "TRAIN", "mode_step": NaN}, "tensor_payload": []}',
            '{"meta": {"mode": "TRAIN", "mode_step": Infinity}, "tensor_payload": []}',
            '{"meta": {"mode": "TRAIN", "mode_step": 1e400}, "tensor_payload": []}',
            '{"meta": {"mode": ["TRAIN"], "mode_step": 1}, "tensor_payload": []}',
            '{"meta": {"mode": "TRAIN", "mode_step": [[[[]]]]}, "tensor_payload": []}',
            "\ufeff{}",
            "\x00",
        ],
        ids=range(10),
    )
    def test_of_an_index_file(self, trial: Path, content: str) -> None:
        """Deep, huge or odd: a message, at once."""
        index_file(trial, 1).write_text(content)
        started = time.monotonic()
        assert {1} <= {entry.global_step for entry in check_trial(trial).unreadable}
        assert time.monotonic() - started < 5

    @pytest.mark.parametrize("value", ["-0", "1e2", "NaN", "9" * 5000, '"7"', "true", "null", "[]", "{}", "-9"])
    @pytest.mark.parametrize("key", ["start_idx", "length"])
    def test_of_a_range(self, trial: Path, key: str, value: str) -> None:
        """No number of JSON reads another range."""
        text = index_file(trial, 1).read_text()
        entry = json.loads(text)["tensor_payload"][1]
        head, tail = text.rsplit(f'"{key}": {entry[key]}', 1)
        index_file(trial, 1).write_text(f'{head}"{key}": {value}{tail}')
        report = check_trial(trial)
        assert [1, 2] == [row.global_step for row in report if row.tensor == "w"]
        assert ("v", 1) not in {(row.tensor, row.global_step) for row in report}
        assert report.exit_code == 2

    def test_keys_that_stand_twice(self, trial: Path) -> None:
        """The last counts, as for every reader of JSON; the record is what its name says."""
        text = index_file(trial, 1).read_text()
        index_file(trial, 1).write_text(text.replace('{"tensorname"', '{"tensorname": "x", "tensorname"'))
        assert check_trial(trial).exit_code == 0

    @pytest.mark.parametrize("name", ["\ud800", "a\udfffb"])
    def test_lone_surrogates(self, trial: Path, name: str) -> None:
        """JSON spells them, and nothing else can."""
        change_json(index_file(trial, 1), lambda index: index["tensor_payload"].append({"tensorname": name}))
        assert ["has an entry without a tensor's name"] == reasons(trial)[:1]


NASTY = [
    "\x1b[2J\x1b[31mred",
    "[bold]markup[/bold]",
    "a\nb\r\nc",
    "<script>alert(1)</script>",
    "\u202etxt",
    "n" * 100_000,
    "",
]


class TestNames:
    @needs_writing
    @pytest.mark.parametrize("name", NASTY, ids=range(len(NASTY)))
    def test_are_inert(self, tmp_path: Path, name: str) -> None:
        """As a tensor's, a pattern's or an event file's: what is printed holds no control character but line ends."""
        tensor = name or "empty"
        writer = write_whole_trial(
            tmp_path / "trial", {tensor: [np.float32([1.0]), np.float32([9.0]), np.float32([9.5])]}
        )
        change_json(
            writer.path / COLLECTIONS,
            lambda content: content["collections"]["weights"].update(include_regex=["(" + name]),
        )
        change_json(index_file(writer.path, 2), lambda index: index["meta"].update(event_file_name=name))
        report = check_trial(writer.path, large_threshold=0.1)
        assert (1, 1, 2) == (report.exit_code, len(report), len(report.unreadable))
        for text in (report.to_text(), report.to_text(60), report.to_json(), repr(report)):
            assert all(char.isprintable() or char == "\n" for char in text)
            text.encode("utf-8")
        assert "[bold]" in report.to_text() or "[bold]" not in name


class TestFuzz:
    """What the fuzzers do for hours (tests/fuzz), for a second; and what they found, for ever."""

    @pytest.mark.parametrize("file", sorted((CORPUS / "event_file").iterdir()), ids=lambda file: file.name)
    def test_kept_records(self, file: Path) -> None:
        """Only the package's own errors come out, and no tensor that is larger than its record."""
        content = file.read_bytes()
        assert harness.read_record(content) <= len(content)

    @pytest.mark.parametrize("file", sorted((CORPUS / "index").iterdir()), ids=lambda file: file.name)
    def test_kept_indexes(self, file: Path) -> None:
        """Only the package's own errors come out, and no row that is not the sound trial's."""
        assert harness.judge_index(file.read_bytes()) <= harness.sound_rows()

    @given(st.binary(max_size=200), st.integers(0, 2))
    @settings(max_examples=200, deadline=None)
    @example(b"", 0)
    def test_any_bytes_as_a_record(self, content: bytes, kind: int) -> None:
        """An error, or a tensor no larger than the bytes."""
        assert harness.read_record(bytes((kind, 1)) + content) <= len(content)

    @pytest.mark.parametrize("reader", ["event_file", "index"])
    def test_seeds_changed_here_and_there(self, reader: str) -> None:
        """Records and indexes that are nearly sound."""
        chance = random.Random(reader)
        seeds = list(harness.record_seeds() if reader == "event_file" else harness.index_seeds())
        for _ in range(400 if reader == "event_file" else 60):
            content = bytearray(chance.choice(seeds))
            for _ in range(chance.randint(0, 4)):
                start = chance.randrange(len(content))
                content[start : start + chance.choice((0, 1, 1, 9))] = chance.choice(
                    (
                        b"",
                        b"\xff",
                        b"\x00",
                        bytes([chance.randrange(256), chance.randrange(256)]),
                        b'"',
                        b"9" * 30,
                        b"[" * 3,
                    )
                )
            if reader == "event_file":
                assert harness.read_record(bytes(content)) <= len(content)
            else:
                assert harness.judge_index(bytes(content)) <= harness.sound_rows()

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("w"),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        ["meta", "mode", "mode_step", "tensor_payload", "tensorname", "start_idx", "length"]
                    ),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=12,
        )
    )
    @settings(max_examples=50, deadline=None)
    def test_any_json_as_an_index(self, value: Any) -> None:
        """Of whatever shape it is."""
        collections = b'{"collections": {"weights": {"tensor_names": ["w"], "include_regex": []}}}'
        found = harness.judge_index(harness.SEPARATOR.join([collections, json.dumps(value).encode(), b"{}"]))
        assert found == set(), "no row comes of a step without a reference"

    @pytest.mark.slow
    def test_how_to_run_them(self) -> None:
        """Without a reader's name the fuzzer says which there are."""
        command = [sys.executable, "-m", "tests.fuzz.fuzz"]
        result = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=60)
        assert (1, "Name a reader to fuzz: event_file or index\n") == (result.returncode, result.stderr)
