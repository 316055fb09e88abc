"""Trials on S3: the rows of the disk, in as few requests as the design allows, and clear words where S3 says no."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import weight_update_ratio.follow as follow_module
import weight_update_ratio.storage.s3 as s3_storage
import weight_update_ratio.trial.folder as folder_module
from tests.conftest import (
    RECORDED,
    change_json,
    event_file,
    index_file,
    needs_writing,
    random_walk,
    write_whole_trial,
)
from tests.reports import invoke_command
from tests.s3_server import CREDENTIALS, S3Server
from weight_update_ratio import TrialError, WeightUpdateRatio, check_trial, follow_trial

pytestmark = pytest.mark.slow

HEALTHY, FROZEN, KILLED = (RECORDED[name] for name in ("pytorch_healthy", "pytorch_frozen", "pytorch_killed"))
EVENT_FILES = len(list(FROZEN.glob("events/*/*")))
NOTHING_THERE, NO_URL = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, {"AWS_ENDPOINT_URL": "nonsense"}
CHECK_URL = "See that AWS_ENDPOINT_URL"
NO_FILES = {"AWS_SHARED_CREDENTIALS_FILE": "none", "AWS_CONFIG_FILE": "none", "AWS_EC2_METADATA_DISABLED": "true"}


def fetched(requests: list[str], folder: str) -> Counter[str]:
    return Counter(request for request in requests if f"/{folder}/" in request and "list-type" not in request)


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_a_check_gives_the_rows_of_the_disk(s3: S3Server, name: str) -> None:
    report, on_disk = check_trial(s3.upload(RECORDED[name], f"rows/{name}")), check_trial(RECORDED[name])
    assert report.counts == on_disk.counts
    np.testing.assert_equal(list(map(tuple, report)), list(map(tuple, on_disk)))


@needs_writing
@pytest.mark.parametrize("num_steps", [None, 3])
@pytest.mark.parametrize("cache_bytes", [100, s3_storage.CACHE_BYTES])
def test_sparse_saves_whatever_is_cached(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_steps: int | None, cache_bytes: int
) -> None:
    """With room for next to nothing, objects are released and asked for again; listings have two pages."""
    monkeypatch.setattr(s3_storage, "CACHE_BYTES", cache_bytes)
    tensors = {"every": random_walk(), "third": random_walk(seed=1), "tenth": random_walk(seed=2)}
    trial = write_whole_trial(tmp_path, tensors, steps=31, intervals={"third": 3, "tenth": 10}, modes="GLOBAL").path
    uri = s3.upload(trial, "sparse")
    before = len(s3.requests())
    assert list(check_trial(uri, num_steps=num_steps)) == list(check_trial(trial, num_steps=num_steps))
    requests = s3.requests()[before:]
    assert {1} == set(fetched(requests, "index").values())
    if cache_bytes > 100:
        assert {1} == set(fetched(requests, "events").values())
        assert len(requests) <= 2 * 31 + 15


def test_a_check_and_the_rule_ask_once_for_each_file(s3: S3Server) -> None:
    """Beside that a check takes a handful of LISTs; what smdebug itself asks for comes on top under invoke_rule."""
    from smdebug.exceptions import NoMoreData
    from smdebug.rules import invoke_rule

    uri = s3.upload(FROZEN, "requests")
    before = len(s3.requests())
    check_trial(uri)
    by_check = s3.requests()[before:]
    rule = WeightUpdateRatio(uri)
    with pytest.raises(NoMoreData):
        invoke_rule(rule)
    by_rule = s3.requests()[before + len(by_check) :]
    assert rule.comparisons().to_csv() == check_trial(FROZEN).comparisons().to_csv()
    assert {1} == set(fetched(by_check, "index").values())
    assert {1} == set(fetched(by_check, "events").values()) == set(fetched(by_rule, "events").values())
    assert len(by_check) <= 2 * EVENT_FILES + 15
    assert len(by_rule) <= 6 * EVENT_FILES + 40


@needs_writing
def test_a_large_unwanted_tensor_is_not_fetched(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from botocore.response import StreamingBody

    tensors = {"a": random_walk(), "gradient": lambda step: np.ones(400_000), "z": random_walk(seed=3)}
    collections = {"weights": ["a", "z"], "gradients": ["gradient"]}
    trial = write_whole_trial(tmp_path, tensors, steps=3, collections=collections).path
    uri = s3.upload(trial, "gap")
    sizes, read = [], StreamingBody.read

    def counted(body: Any, amt: int | None = None) -> bytes:
        content = read(body, amt)
        sizes.append(len(content))
        return content

    monkeypatch.setattr(StreamingBody, "read", counted)
    assert list(check_trial(uri)) == list(check_trial(trial))
    assert sum(sizes) < 20_000


@needs_writing
def test_absent_truncated_and_foreign_objects(s3: S3Server, tmp_path: Path) -> None:
    trial = write_whole_trial(tmp_path, {"w": random_walk((50,)), "v": random_walk((50,), seed=1)}, steps=11).path
    event_file(trial, 2).unlink()
    event_file(trial, 4).write_bytes(event_file(trial, 4).read_bytes()[:300])
    change_json(index_file(trial, 6), lambda index: index["meta"].update(event_file_name="../../other/events"))
    event_file(trial, 8).write_bytes(b"")
    index_file(trial, 10).write_bytes(bytes((1 << 25) + 1))
    report, on_disk = check_trial(s3.upload(trial, "broken")), check_trial(trial)
    assert list(report) == list(on_disk)
    assert [entry[:4] for entry in report.unreadable] == [entry[:4] for entry in on_disk.unreadable]
    reasons = {(entry.global_step, entry.tensor): entry.reason for entry in report.unreadable}
    assert {step for step, _ in reasons} == {2, 4, 6, 7, 8, 10}
    assert reasons[2, "w"] == "does not exist"
    assert reasons[4, "v"] == "has 300 bytes, while the index names bytes 285 to 570"
    assert reasons[8, "w"] == "is shorter than the index says"
    assert reasons[10, None] == "has 33554433 bytes, more than a file of its kind can have (33554432)"
    assert report.exit_code == 2


@needs_writing
def test_a_job_that_is_followed(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is resumed, and writes its last step again before it goes on: the report is that of a check afterwards."""
    values = random_walk()
    killed = write_whole_trial(
        tmp_path / "killed", {"w": lambda step: values(step) + (step == 3)}, steps=4, ended=False
    )
    trial = write_whole_trial(tmp_path / "trial", {"w": values}, steps=8, ended=False).path
    uri = s3.upload(killed.path, "followed")

    def go_on(seconds: float) -> None:
        if seconds:  # it waits for the job; 0 is before a first attempt at a request
            s3.upload(trial, "followed")
            (trial / "training_job_end.ts").touch()

    monkeypatch.setattr(follow_module.time, "sleep", go_on)
    monkeypatch.setattr(folder_module, "LATE_STEPS", 2)  # the last steps, which are listed each time
    assert list(follow_trial(uri)) == list(check_trial(trial))


# Keys


@pytest.fixture(scope="module")
def slashes(s3_server: S3Server) -> None:
    """Upload trials to keys that differ in their slashes alone, and one to all of a bucket."""
    s3_server.upload(FROZEN, "slash")
    s3_server.upload(HEALTHY, "/slash")
    s3_server.upload(KILLED, "")  # the keys begin with /
    s3_server.upload(KILLED, "slash//middle")
    s3_server.upload(HEALTHY, "slash/middle")
    s3_server.upload(FROZEN, "end/")
    s3_server.client.create_bucket(Bucket="whole")
    for file in FROZEN.rglob("*.*"):
        s3_server.client.put_object(Bucket="whole", Key=str(file.relative_to(FROZEN)), Body=file.read_bytes())


@pytest.mark.usefixtures("slashes")
@pytest.mark.parametrize(
    ("uri", "trial"),
    [
        ("s3://trials/slash", FROZEN),
        ("s3://trials/slash/", FROZEN),
        ("s3://trials//slash", HEALTHY),
        ("s3://trials//", KILLED),
        ("s3://trials/slash//middle", KILLED),
        ("s3://trials/end//", FROZEN),
        ("s3://whole", FROZEN),
        ("s3://whole/", FROZEN),
        ("s3://trials/end", None),
        ("s3://trials/slash//", None),
    ],
)
def test_each_slash_is_part_of_the_keys(s3: S3Server, uri: str, trial: Path | None) -> None:
    """But for one at the end, which may be left out; where nothing is at the exact key, there is no trial."""
    if trial is not None:
        assert list(check_trial(trial)) == list(check_trial(uri))
    else:
        with pytest.raises(TrialError, match="is not a trial"):
            check_trial(uri)


def test_empty_folder_objects_change_nothing(s3: S3Server) -> None:
    """The console and EMR make objects of zero bytes for folders."""
    uri = s3.upload(HEALTHY, "folders")
    for folder in ("folders", "folders/index", "folders/index/000000000", "folders/events/000000000001"):
        for key in (f"{folder}/", f"{folder}_$folder$"):
            s3.client.put_object(Bucket=s3.bucket, Key=key, Body=b"")
    report = check_trial(uri)
    assert (0, [], list(check_trial(HEALTHY))) == (report.exit_code, report.unreadable, list(report))


# Refusals


@pytest.mark.parametrize(
    ("uri", "environment", "message", "remedy"),
    [
        ("s3://no-such-bucket/x", {}, "there is no bucket 'no-such-bucket'", "Name the S3OutputPath of the job's"),
        ("s3://", {}, "'' is not a bucket's name", CHECK_URL),
        ("s3://trials/x", NOTHING_THERE, "Could not connect to", CHECK_URL),
        ("s3://trials/x", NO_URL, "Invalid endpoint: nonsense", CHECK_URL),
        ("s3://trials/x", {"AWS_PROFILE": "nobody"}, "The config profile (nobody) could not be", "Set AWS_PROFILE, or"),
        ("s3://trials/x", NO_FILES, "Unable to locate credentials", "Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and"),
    ],
)
def test_what_s3_does_not_let_be_read(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch, uri: str, environment: dict[str, str], message: str, remedy: str
) -> None:
    for name in CREDENTIALS if environment is NO_FILES else ():
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda self, context: 0.05)
    with pytest.raises(TrialError) as caught:
        check_trial(uri)
    assert caught.value.message.startswith(f"the trial {uri!r} cannot be read: {message}")
    assert caught.value.remedy.startswith(remedy)
    done = invoke_command("check", uri)
    assert (2, "", f"Error: {caught.value}\n") == (done.exit_code, done.stdout, done.stderr)
