"""Where a trial is: what people type gets the right path or form."""

from __future__ import annotations

import os
import pickle
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
from weight_update_ratio.storage.location import file_content

HEALTHY = RECORDED["pytorch_healthy"]
FORMS = "Pass a path, or the S3 URI below which the job saved: s3://bucket/prefix."


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a job's output folder, the working folder, with the trial in its folder debug-output."""
    shutil.copytree(HEALTHY, tmp_path / "job" / "debug-output")
    monkeypatch.chdir(tmp_path / "job")
    return tmp_path / "job"


def refusal(trial: Any) -> tuple[str, str]:
    """Return message and remedy of a trial that cannot be judged; they survive the way to another process."""
    with pytest.raises(TrialError) as caught:
        check_trial(trial)
    error = pickle.loads(pickle.dumps(caught.value))  # noqa: S301  (it is our own)
    assert f"{error.message}\n\n{error.remedy}" == str(error)
    return error.message, error.remedy


@pytest.mark.parametrize(
    "written",
    [
        "s3:/bucket/job",
        "s3:///bucket/job",
        "S3://bucket/job",
        "s3a://bucket/job",
        "https://bucket.s3.amazonaws.com/job/debug-output",
        "arn:aws:sagemaker:eu-west-1:123456789012:training-job/my-job",
        "file:///data/a%20trial",
    ],
)
def test_another_form_of_a_path_or_uri(written: str) -> None:
    """The message says which forms there are; a follower does not wait for it."""
    assert (f"the trial {written!r} is neither a path nor an S3 URI", FORMS) == refusal(written)
    with pytest.raises(TrialError):
        follow_trial(written, timeout=1e9)


@pytest.mark.parametrize("path", ["/no/s3", "no/s3/trial", "no/arn:1", "https"])
def test_a_path_is_a_path(path: str) -> None:
    remedy = "Pass the folder that the training job wrote to: the one that holds 'collections' and 'index'."
    assert (f"the trial folder {path!r} does not exist", remedy) == refusal(path)


@pytest.mark.parametrize("path", ["s3:/bucket", " s3:/bucket", "\ts3:/bucket \n"])
def test_a_folder_of_that_name_and_blanks_around_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """A folder that is there is meant, and outer blanks are left out."""
    shutil.copytree(HEALTHY, tmp_path / "s3:" / "bucket")
    monkeypatch.chdir(tmp_path)
    report = check_trial(path)
    assert (0, "s3:/bucket") == (report.exit_code, report.trial)
    assert 0 == invoke_command("check", path).exit_code


@pytest.mark.parametrize("trial", [None, 3, b"trial"])
def test_what_is_not_text(trial: Any) -> None:
    with pytest.raises(ValueError, match="'trial' must be a path, an S3 URI or smdebug's Trial"):
        check_trial(trial)


# Folders near a trial


@pytest.mark.parametrize(
    ("path", "trial"),
    [
        ("{}", "{}/debug-output"),
        (".", "./debug-output"),
        ("debug-output/index", "debug-output"),
        ("{}/debug-output/events", "{}/debug-output"),
        ("{}/debug-output/events/000000000003", "{}/debug-output"),
        ("{}/debug-output/training_job_end.ts", "{}/debug-output"),
    ],
)
def test_the_trial_above_or_below_is_named(job: Path, path: str, trial: str) -> None:
    """Where a folder cannot be listed, the others are looked at; a follower does not wait for what is no trial."""
    (job / "closed").mkdir(mode=0)
    os.symlink("nowhere", job / "dangling")
    path, trial = path.format(job), trial.format(job)
    message = f"the folder {path!r} is not a trial, but {trial!r} is"
    if os.path.isfile(path):
        message = f"the trial folder {path!r} is a file, not a trial folder"
    assert (message, f"Pass {trial!r}.") == refusal(path)
    with pytest.raises(TrialError):
        follow_trial(path, timeout=1e9)


def test_several_trials_below(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(HEALTHY, job / "again" / "debug-output")
    message = f"the folder {str(job)!r} is not a trial, but '{job}/debug-output', '{job}/again/debug-output' are"
    assert (message, "Pass one of them.") == refusal(job)
    monkeypatch.setattr(disk, "FOLDERS_BELOW", 1)  # a disk may have millions of folders: not all are looked at
    assert "neither 'collections' nor 'index'" in refusal(job.parent)[0]


def test_no_trial_near(tmp_path: Path) -> None:
    for folder in ("collections", "index"):
        (tmp_path / folder).mkdir()
    message = f"the trial {str(tmp_path)!r} is empty: its folders 'collections' and 'index' hold no files"
    assert message == refusal(tmp_path)[0]


@pytest.mark.slow
def test_near_a_trial_on_s3(s3: S3Server) -> None:
    uri = s3.upload(HEALTHY, "near/job/debug-output")
    above = ["s3://trials/near", "s3://trials/near/job/"]
    for path in [*above, *(f"{uri}/{part}" for part in ("index", "index/000000000/", "events/000000000003"))]:
        assert f"Pass {uri!r}." == refusal(path)[1]
    for name in ("a", "b"):
        s3.upload(HEALTHY / "collections", f"several/{name}/collections")
    message, remedy = refusal("s3://trials/several")
    assert message.endswith("is not a trial, but 's3://trials/several/a', 's3://trials/several/b' are")
    assert "Pass one of them." == remedy
    assert "is not a trial: it has neither" in refusal("s3://trials/nothing/here")[0]


# Small files, as baselines are


@pytest.mark.parametrize("name", ["a b,c.json", "重み.json", "s3:", "#1?x=%20", "[a]*", ".hidden", "a\nb"])
def test_the_name_of_a_file_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """In the working folder, the home folder and anywhere, also through links."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / name).write_bytes(b"content")
    (tmp_path / "folder").symlink_to(tmp_path)
    (tmp_path / "file").symlink_to(name)
    for location in (name, f"./{name}", f"~/{name}", f"{tmp_path}/folder/{name}", "file"):
        assert b"content" == file_content(location)


LOCAL = ["", "/", ".", "~", "folder", "folder/", "no/thing", "dangling", "loop", "pipe"]


@pytest.mark.parametrize("location", [*LOCAL, "s3://", "s3://bucket", "s3://bucket/", "s3://bucket/prefix/"])
def test_where_there_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str) -> None:
    """A folder, a bucket, a link to nothing, or nothing at all: it is None, and the caller says what is there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    assert file_content(location) is None


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "model.bin").touch()
    os.truncate(tmp_path / "model.bin", 1 << 40)
    with pytest.raises(UnreadableError, match=r"^has 1099511627776 bytes, more than a file of its kind can have \(33"):
        file_content(str(tmp_path / "model.bin"))
