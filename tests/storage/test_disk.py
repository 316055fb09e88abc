"""DiskStorage: names and ranges of a folder."""

from __future__ import annotations

import os
import pickle
import resource
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weight_update_ratio.errors import TrialError, UnreadableError
from weight_update_ratio.storage import disk
from weight_update_ratio.storage.disk import OPEN_FILES, DiskStorage
from weight_update_ratio.storage.storage import SMALL_FILE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with a file, beside one that is not in it."""
    (tmp_path / "other").write_bytes(b"other")
    root = tmp_path / "trial"
    (root / "index" / "000").mkdir(parents=True)
    (root / "file").write_bytes(b"0123456789")
    return root


def why_unreadable(action: Any) -> str:
    with pytest.raises(UnreadableError) as caught:
        action()
    return str(caught.value)


class TestFolder:
    def test_the_home_folder(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A tilde is the home folder, and the location stays as it was named."""
        monkeypatch.setenv("HOME", str(folder.parent))
        storage = DiskStorage("~/trial")
        assert ("~/trial", b"0123456789") == (storage.location, storage.read("file"))

    def test_through_a_link(self, folder: Path) -> None:
        """The trial folder itself may be a link."""
        (folder.parent / "link").symlink_to(folder)
        assert b"0123456789" == DiskStorage(str(folder.parent / "link")).read("file")

    @pytest.mark.parametrize(
        ("name", "what"), [("nowhere", "does not exist"), ("other", "is a file, not a trial folder")]
    )
    def test_no_folder(self, folder: Path, name: str, what: str) -> None:
        """The error says what there is, and has a remedy; both survive pickling."""
        with pytest.raises(TrialError) as caught:
            DiskStorage(str(folder.parent / name))
        copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301  (it is our own)
        assert f"the trial folder {str(folder.parent / name)!r} {what}" == copy.message
        assert "the training job wrote to" in copy.remedy
        assert f"{copy.message}\n\n{copy.remedy}" == str(copy)


class TestNames:
    def test_sorted_and_whole(self, folder: Path) -> None:
        """Names are relative to the trial's folder, of whatever depth."""
        for name in ("index/b", "index/000/z", "index/000/a", "index/a"):
            (folder / name).touch()
        assert ["index/000/a", "index/000/z", "index/a", "index/b"] == DiskStorage(str(folder)).names("index")

    @pytest.mark.parametrize("missing", ["nowhere", "file", "nowhere/below"])
    def test_no_folder_has_no_names(self, folder: Path, missing: str) -> None:
        """A live trial may not have the folder yet."""
        assert [] == DiskStorage(str(folder)).names(missing)

    def test_after_a_name(self, folder: Path) -> None:
        """Names that sort up to the one given are left out, and so are folders of nothing else."""
        for step in (1, 999, 1000, 1001, 2000):
            file = folder / "index" / f"{step // 1000:09d}" / f"{step:012d}_w.json"
            file.parent.mkdir(exist_ok=True)
            file.touch()
        storage = DiskStorage(str(folder))
        everything = storage.names("index")
        for after in ["index/000000001/000000001000", *everything, "index/000000000", "index/x"]:
            assert [name for name in everything if name > after] == storage.names("index", after)

    def test_links(self, folder: Path) -> None:
        """They are followed, and one that leads back to a folder above is not followed for ever."""
        (folder.parent / "moved").mkdir()
        (folder.parent / "moved" / "a").touch()
        (folder / "index" / "001").symlink_to(folder.parent / "moved")
        (folder / "index" / "b").symlink_to(folder.parent / "other")
        for name in ("back", "again"):
            (folder / "index" / "000" / name).symlink_to("..")
        found = DiskStorage(str(folder)).names("index")
        assert {"index/001/a", "index/b"} <= set(found)
        assert len(found) < 20

    def test_a_folder_that_cannot_be_listed(self, folder: Path) -> None:
        """It is not taken for an empty folder."""
        storage = DiskStorage(str(folder))
        reason = "cannot be read (File name too long)"
        assert ([], {"x" * 300: reason}) == (storage.names("x" * 300), storage.unlisted)


class TestRanges:
    def test_read_and_span(self, folder: Path) -> None:
        """A whole small file, or a view of a range."""
        storage = DiskStorage(str(folder))
        assert b"0123456789" == storage.read("file")
        assert [b"345", b"", b"0123456789"] == [bytes(storage.span("file", *r)) for r in ((3, 3), (10, 0), (0, 10))]

    @pytest.mark.parametrize(("start", "length"), [(0, 11), (10, 1), (2**61, 1)])
    def test_beyond_the_end(self, folder: Path, start: int, length: int) -> None:
        """Both ends and the file's size are named."""
        reason = why_unreadable(lambda: DiskStorage(str(folder)).span("file", start, length))
        assert f"has 10 bytes, while the index names bytes {start} to {start + length}" == reason

    def test_an_empty_file(self, folder: Path) -> None:
        """It has no bytes."""
        (folder / "file").write_bytes(b"")
        storage = DiskStorage(str(folder))
        assert (b"", b"") == (storage.read("file"), bytes(storage.span("file", 0, 0)))

    def test_what_was_read_outlives_the_open_file(self, folder: Path) -> None:
        """More files than are kept open: what was read stays what it is."""
        storage = DiskStorage(str(folder))
        views = []
        for number in range(OPEN_FILES + 10):
            (folder / str(number)).write_bytes(b"%03d" % number)
            views.append(storage.span(str(number), 0, 3))
            storage.span("0", 0, 3)
        assert [b"%03d" % number for number in range(OPEN_FILES + 10)] == [bytes(view) for view in views]
        assert len(storage._open) == OPEN_FILES

    def test_what_was_read_stays_while_it_is_used(self, folder: Path) -> None:
        """By a view, or by an array of a part of it; later records are read to elsewhere, before and after."""
        content = bytes(range(256)) * 64
        (folder / "file").write_bytes(content)
        storage = DiskStorage(str(folder))
        kept = [np.frombuffer(storage.span("file", start, 4000)[1:], np.uint8) for start in range(3)]
        for _ in range(3):
            storage.span("file", 5000, 4000)
            kept += [np.frombuffer(storage.span("file", start, 4000)[1:], np.uint8) for start in range(3)]
        assert [content[n % 3 + 1 : n % 3 + 4000] for n in range(12)] == [part.tobytes() for part in kept]

    @pytest.mark.parametrize("start", [0, 1, 5])
    def test_where_in_a_page_bytes_are_read_to(self, folder: Path, start: int) -> None:
        """To where they have in a page of the file, into new memory and into memory that is used again."""
        storage = DiskStorage(str(folder))
        for _ in range(2):
            record = storage.span("file", start, 4)
            assert start == np.frombuffer(record, np.uint8).ctypes.data % disk.PAGE
            assert b"0123456789"[start : start + 4] == bytes(record)
            del record

    def test_a_file_that_shrinks(self, folder: Path) -> None:
        """At any moment: what is not there any more is not read, whatever was read before."""
        storage = DiskStorage(str(folder))
        record = storage.span("file", 0, 10)
        os.truncate(folder / "file", 5)
        assert b"0123456789" == bytes(record)
        reason = why_unreadable(lambda: storage.span("file", 0, 10))
        assert "has 5 bytes, while the index names bytes 0 to 10" == reason

    def test_a_file_that_shrinks_while_it_is_read(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """After it was looked at how long it is."""
        monkeypatch.setattr(os, "preadv", lambda file, parts, at: 0)
        reason = why_unreadable(lambda: DiskStorage(str(folder)).span("file", 0, 10))
        assert "has 10 bytes, while the index names bytes 0 to 10" == reason

    def test_little_memory_is_kept_that_nobody_uses(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """However many sizes the records have."""
        monkeypatch.setattr(disk, "SPARE_BYTES", 4 << 20)
        (folder / "large").write_bytes(bytes(2 << 20))
        storage = DiskStorage(str(folder))
        tracemalloc.start()
        try:
            for pages in range(256, 512, 4):
                assert pages * disk.PAGE == len(storage.span("large", 0, pages * disk.PAGE))
            assert tracemalloc.get_traced_memory()[0] < 8 << 20
        finally:
            tracemalloc.stop()

    def test_more_than_one_call_reads(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The system reads at most 2 GiB at once; here three bytes."""
        read = os.preadv
        monkeypatch.setattr(os, "preadv", lambda file, parts, at: read(file, [parts[0][:3]], at))
        assert b"12345678" == bytes(DiskStorage(str(folder)).span("file", 1, 8))

    def test_more_than_there_is_memory(self, folder: Path) -> None:
        """A record that does not fit is refused, and the process goes on; the limit of the process is real."""
        limits = resource.getrlimit(resource.RLIMIT_AS)
        os.truncate(folder / "file", 1 << 40)
        resource.setrlimit(resource.RLIMIT_AS, (1 << 36, limits[1]))
        try:
            reason = why_unreadable(lambda: DiskStorage(str(folder)).span("file", 0, 1 << 40))
        finally:
            resource.setrlimit(resource.RLIMIT_AS, limits)
        assert f"needs {1 << 40} bytes of memory, more than there are" == reason

    def test_exists(self, folder: Path) -> None:
        """Only what is there."""
        storage = DiskStorage(str(folder))
        assert (True, False) == (storage.exists("file"), storage.exists("training_job_end.ts"))

    def test_a_file_too_large_to_be_an_index(self, folder: Path) -> None:
        """Its size is looked at before it is read."""
        with open(folder / "file", "wb") as file:
            file.truncate(SMALL_FILE + 1)
        reason = why_unreadable(lambda: DiskStorage(str(folder)).read("file"))
        assert f"has {SMALL_FILE + 1} bytes, more than a file of its kind can have ({SMALL_FILE})" == reason


class TestRefusals:
    def test_a_link_is_followed(self, folder: Path) -> None:
        """It is read as its file, and so is a file below it, wherever that is."""
        (folder / "link").symlink_to("file")
        (folder / "out").symlink_to(folder.parent / "other")
        (folder / "index" / "back").symlink_to("..")
        storage = DiskStorage(str(folder))
        assert b"01" == bytes(storage.span("link", 0, 2)) == bytes(storage.span("index/back/file", 0, 2))
        assert b"other" == storage.read("out")

    @pytest.mark.parametrize("how", ["read", "span"])
    def test_a_named_pipe_is_not_waited_for(self, folder: Path, how: str) -> None:
        """Opening it would wait for a writer for ever."""
        os.mkfifo(folder / "pipe")
        storage = DiskStorage(str(folder))
        reason = why_unreadable(lambda: storage.read("pipe") if how == "read" else storage.span("pipe", 0, 1))
        assert "is not a regular file" == reason

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("absent", "does not exist"),
            ("index", "is not a regular file"),
            ("file/x", "cannot be read (Not a directory)"),
            ("x" * 300, "cannot be read (File name too long)"),
            ("loop", "cannot be read (Too many levels of symbolic links)"),
        ],
    )
    @pytest.mark.parametrize("how", ["read", "span"])
    def test_what_is_not_a_file(self, folder: Path, name: str, reason: str, how: str) -> None:
        """Each says what it is."""
        (folder / "loop").symlink_to("loop")
        storage = DiskStorage(str(folder))
        assert reason == why_unreadable(lambda: storage.read(name) if how == "read" else storage.span(name, 0, 1))


class TestWhatIsKept:
    def test_nothing_is_fetched_ahead(self, folder: Path) -> None:
        """A file on disk is at hand."""
        storage = DiskStorage(str(folder))
        storage.prefetch_small(["nowhere"])
        assert storage.prefetch("nowhere", [(0, 1)])
        assert 0 == storage.steps_ahead

    def test_only_the_judged_steps_files_stay_open(self, folder: Path) -> None:
        """The others are released."""
        (folder / "other").write_bytes(b"other")
        storage = DiskStorage(str(folder))
        storage.span("file", 0, 1)
        storage.span("other", 0, 1)
        storage.retain({"other": [(0, 1)]})
        assert ["other"] == list(storage._open)

    def test_a_discarded_file_is_read_anew(self, folder: Path) -> None:
        """A resumed job replaces the files of its last step."""
        storage = DiskStorage(str(folder))
        storage.span("file", 0, 1)
        (folder / "new").write_bytes(b"new")
        (folder / "new").replace(folder / "file")
        assert b"0" == bytes(storage.span("file", 0, 1))
        storage.discard("file")
        assert b"n" == bytes(storage.span("file", 0, 1))
