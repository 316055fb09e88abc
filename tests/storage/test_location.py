"""Where a trial is: what people type in its place gets the right path or form."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RECORDED
from tests.reports import invoke_command
from tests.s3_server import S3Server
from weight_update_ratio import TrialError, check_trial, follow_trial
from weight_update_ratio.errors import UnreadableError
from weight_update_ratio.storage import disk
from weight_update_ratio.storage.location import file_content, trial_location
from weight_update_ratio.storage.storage import SMALL_FILE

HEALTHY = RECORDED["pytorch_healthy"]


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """Give a job's output folder, with the trial in its folder debug-output."""
    shutil.copytree(HEALTHY, tmp_path / "job" / "debug-output")
    return tmp_path / "job"


def refusal(trial: Any) -> tuple[str, str]:
    with pytest.raises(TrialError) as caught:
        check_trial(trial)
    return caught.value.message, caught.value.remedy


class TestForms:
    @pytest.mark.parametrize(
        "written",
        [
            "s3:/bucket/job",
            "s3:bucket/job",
            "s3:///bucket/job",
            "S3://bucket/job",
            "s3a://bucket/job",
            "https://bucket.s3.amazonaws.com/job/debug-output",
            "arn:aws:s3:::bucket/job",
            "arn:aws:sagemaker:eu-west-1:123456789012:training-job/my-job",
            "file:///data/a%20trial",
            "FILE:/data/trial",
            "gs://bucket/job",
        ],
    )
    def test_another_form_of_a_path_or_uri(self, written: str) -> None:
        """The message says which forms there are, and nothing is asked of S3."""
        remedy = "Pass a path, or the S3 URI below which the job saved: s3://bucket/prefix."
        assert (f"the trial {written!r} is neither a path nor an S3 URI", remedy) == refusal(written)

    @pytest.mark.parametrize("path", ["/data/s3", "s3/trial", "runs/arn:1", "", "https"])
    def test_a_path_is_a_path(self, path: str) -> None:
        """It has no other form."""
        assert path == trial_location(path)

    def test_a_folder_of_that_name(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A folder that is there is meant."""
        shutil.copytree(HEALTHY, tmp_path / "s3:" / "bucket")
        monkeypatch.chdir(tmp_path)
        assert 0 == check_trial("s3:/bucket").exit_code

    @pytest.mark.parametrize("path", [f" {HEALTHY}", f"{HEALTHY}\n", f"\t{HEALTHY} "])
    def test_blanks_around_a_path(self, path: str) -> None:
        """They are left out."""
        assert (0, str(HEALTHY)) == (check_trial(path).exit_code, check_trial(path).trial)
        assert 0 == invoke_command("check", path).exit_code

    @pytest.mark.parametrize("trial", [None, 3, b"trial"])
    def test_what_is_not_text(self, trial: Any) -> None:
        """It is refused, and said."""
        with pytest.raises(ValueError, match="'trial' must be a path, an S3 URI or smdebug's Trial"):
            check_trial(trial)


class TestFileContent:
    @pytest.mark.parametrize("content", [b"", b"{}", bytes(range(256))])
    def test_a_file(self, tmp_path: Path, content: bytes) -> None:
        """Its bytes, whatever they are."""
        (tmp_path / "good.json").write_bytes(content)
        assert content == file_content(str(tmp_path / "good.json"))

    @pytest.mark.parametrize("name", ["a b,c.json", "重み.json", "s3:", "#1?x=%20", "[a]*", ".hidden", "a\nb"])
    def test_any_name(self, tmp_path: Path, name: str) -> None:
        """A name is taken as it is."""
        (tmp_path / name).write_bytes(b"content")
        assert b"content" == file_content(str(tmp_path / name))

    def test_relative_to_the_working_folder_and_to_the_home_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As a shell takes it."""
        (tmp_path / "good.json").write_bytes(b"content")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HOME", str(tmp_path))
        for location in ("good.json", "./good.json", f"../{tmp_path.name}/good.json", "~/good.json"):
            assert b"content" == file_content(location), location

    def test_through_links(self, tmp_path: Path) -> None:
        """The file and a folder on the way may be links to anywhere."""
        (tmp_path / "store").mkdir()
        (tmp_path / "store" / "good-1.json").write_bytes(b"content")
        (tmp_path / "links").mkdir()
        (tmp_path / "links" / "latest.json").symlink_to(tmp_path / "store" / "good-1.json")
        (tmp_path / "links" / "folder").symlink_to(tmp_path / "store")
        for name in ("latest.json", "folder/good-1.json"):
            assert b"content" == file_content(str(tmp_path / "links" / name))

    @pytest.mark.parametrize("name", ["", "folder", "folder/", "nothing", "nothing/at/all", "dangling", "loop", "link"])
    def test_where_there_is_no_file(self, tmp_path: Path, name: str) -> None:
        """A folder, a link to one or to nothing, or nothing at all: it is None, and the caller says what is there."""
        (tmp_path / "folder").mkdir()
        (tmp_path / "dangling").symlink_to("nowhere")
        (tmp_path / "loop").symlink_to("loop")
        (tmp_path / "link").symlink_to("folder")
        assert file_content(f"{tmp_path}/{name}") is None

    @pytest.mark.parametrize("location", ["", "/", ".", "..", "~"])
    def test_folders_by_their_short_names(self, location: str) -> None:
        """They are no files."""
        assert file_content(location) is None

    def test_a_named_pipe(self, tmp_path: Path) -> None:
        """Opening it would wait for ever."""
        os.mkfifo(tmp_path / "pipe")
        assert file_content(str(tmp_path / "pipe")) is None

    def test_a_file_that_is_too_large(self, tmp_path: Path) -> None:
        """It is not read: the message says its size and the limit."""
        with open(tmp_path / "model.bin", "wb") as file:
            file.truncate(SMALL_FILE + 1)
        with pytest.raises(UnreadableError) as caught:
            file_content(str(tmp_path / "model.bin"))
        expected = f"has {SMALL_FILE + 1} bytes, more than a file of its kind can have ({SMALL_FILE})"
        assert expected == str(caught.value)

    def test_the_largest_file(self, tmp_path: Path) -> None:
        """It is read as a whole."""
        with open(tmp_path / "large", "wb") as file:
            file.truncate(SMALL_FILE)
        assert SMALL_FILE == len(file_content(str(tmp_path / "large")) or b"")

    @pytest.mark.parametrize("location", ["s3://", "s3://bucket", "s3://bucket/", "s3://bucket/prefix/"])
    def test_a_bucket_or_a_prefix(self, location: str) -> None:
        """They are no objects, and S3 is not asked."""
        assert file_content(location) is None


class TestFoldersNearATrial:
    def test_the_folder_above(self, job: Path) -> None:
        """The trial below is named."""
        expected = f"the folder {str(job)!r} is not a trial, but {str(job / 'debug-output')!r} is"
        assert (expected, f"Pass {str(job / 'debug-output')!r}.") == refusal(job)

    def test_several_below(self, job: Path) -> None:
        """Each is named."""
        shutil.copytree(HEALTHY, job / "again" / "debug-output")
        message, remedy = refusal(job)
        assert "Pass one of them." == remedy
        assert f"but '{job}/debug-output', '{job}/again/debug-output' are" in message

    @pytest.mark.parametrize(
        "part", ["events", "index", "collections", "index/000000000", "collections/000000000", "events/000000000003"]
    )
    def test_a_part_of_a_trial(self, job: Path, part: str) -> None:
        """The trial above is named."""
        assert f"Pass {str(job / 'debug-output')!r}." == refusal(job / "debug-output" / part)[1]

    def test_a_file_of_a_trial(self, job: Path) -> None:
        """The trial that it is in is named."""
        file = job / "debug-output" / "collections" / "000000000" / "worker_0_collections.json"
        assert f"the trial folder {str(file)!r} is a file, not a trial folder" == refusal(file)[0]
        assert f"Pass {str(job / 'debug-output')!r}." == refusal(file)[1]

    def test_relative_paths(self, job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is named is relative as well."""
        monkeypatch.chdir(job)
        assert ["Pass './debug-output'.", "Pass 'debug-output'."] == [
            refusal(path)[1] for path in (".", "debug-output/index")
        ]

    def test_an_empty_trial(self, tmp_path: Path) -> None:
        """The folders are there, and no file in them."""
        for folder in ("collections", "index"):
            (tmp_path / folder).mkdir()
        expected = f"the trial {str(tmp_path)!r} is empty: its folders 'collections' and 'index' hold no files"
        assert expected == refusal(tmp_path)[0]

    def test_a_folder_of_other_things(self, tmp_path: Path) -> None:
        """Nothing can be seen, and the message says what a trial has."""
        (tmp_path / "src").mkdir()
        assert (
            f"the folder {str(tmp_path)!r} is not a trial: it has neither 'collections' nor 'index'"
            == refusal(tmp_path)[0]
        )

    def test_not_everything_is_looked_at(self, job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A disk may have millions of folders."""
        monkeypatch.setattr(disk, "FOLDERS_BELOW", 1)
        assert "neither 'collections' nor 'index'" in refusal(job.parent)[0]

    def test_what_cannot_be_listed_is_passed_over(self, job: Path) -> None:
        """A folder without permissions hides nothing else."""
        (job / "closed").mkdir(mode=0)
        os.symlink("nowhere", job / "dangling")
        assert f"Pass {str(job / 'debug-output')!r}." == refusal(job)[1]

    @pytest.mark.parametrize("which", ["job", "part", "file", "s3a"])
    def test_a_follower_does_not_wait_for_it(self, job: Path, which: str) -> None:
        """None of them becomes a trial."""
        part = job / "debug-output" / "index"
        file = job / "debug-output" / "training_job_end.ts"
        trial = {"job": job, "part": part, "file": file, "s3a": "s3a://bucket/job"}[which]
        with pytest.raises(TrialError):
            follow_trial(trial, timeout=1e9)


@pytest.mark.slow
class TestS3:
    def test_the_prefix_above_and_the_prefixes_below(self, s3: S3Server) -> None:
        """The trial's URI is named."""
        uri = s3.upload(HEALTHY, "near/job/debug-output")
        assert f"Pass {uri!r}." == refusal("s3://trials/near")[1]
        assert f"Pass {uri!r}." == refusal("s3://trials/near/job/")[1]
        for part in ("index", "index/000000000/", "collections/000000000", "events/000000000003"):
            assert f"Pass {uri!r}." == refusal(f"{uri}/{part}")[1]

    def test_several_below(self, s3: S3Server) -> None:
        """Each is named that one LIST sees."""
        for name in ("a", "b"):
            s3.upload(HEALTHY / "collections", f"several/{name}/collections")
        message, remedy = refusal("s3://trials/several")
        assert "'s3://trials/several/a', 's3://trials/several/b' are" in message
        assert "Pass one of them." == remedy

    def test_nothing_near(self, s3: S3Server) -> None:
        """The message says what a trial has."""
        assert "is not a trial: it has neither" in refusal("s3://trials/nothing/here")[0]
