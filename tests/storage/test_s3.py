"""Trials on S3: the rows of the disk, in as few requests as the design allows, and clear words where S3 says no."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import weight_update_ratio.storage.s3 as s3_storage
from tests.conftest import RECORDED, change_json, event_file, index_file, needs_writing, random_walk, run_command
from tests.s3_server import CREDENTIALS, S3Server
from weight_update_ratio import TrialError, check_trial
from weight_update_ratio.errors import UnreadableError
from weight_update_ratio.storage.s3 import S3Storage

pytestmark = pytest.mark.slow  # servers, browsers, processes


def event_files(trial: Path) -> int:
    return len(list(trial.glob("events/*/*.tfevents")))


def objects_fetched(requests: list[str], what: str) -> Counter[str]:
    return Counter(request for request in requests if f"/{what}/" in request and "list-type" not in request)


class TestRows:
    @pytest.mark.parametrize("name", sorted(RECORDED))
    def test_check_gives_the_rows_of_the_disk(self, s3: S3Server, name: str) -> None:
        """A recorded trial gives the same report from S3 as from disk, but for its name."""
        report = check_trial(s3.upload(RECORDED[name], f"rows/{name}"))
        on_disk = check_trial(RECORDED[name])
        assert report.counts == on_disk.counts
        np.testing.assert_equal(list(map(tuple, report)), list(map(tuple, on_disk)))

    @pytest.mark.parametrize("name", ["pytorch_exploding", "tf_keras"])
    def test_the_rule_gives_the_rows_of_the_disk(self, s3: S3Server, name: str) -> None:
        """The rule under invoke_rule compares the same from S3, given its URI."""
        from smdebug.exceptions import NoMoreData
        from smdebug.rules import invoke_rule

        from weight_update_ratio import WeightUpdateRatio

        rule = WeightUpdateRatio(s3.upload(RECORDED[name], f"rule/{name}"))
        with pytest.raises(NoMoreData):
            invoke_rule(rule)
        on_disk = check_trial(RECORDED[name]).comparisons()
        assert rule.comparisons().to_csv() == on_disk.to_csv()

    @needs_writing
    @pytest.mark.parametrize("num_steps", [None, 1, 3, 100])
    def test_sparse_saves_and_global_mode(self, s3: S3Server, write_trial: Any, num_steps: int | None) -> None:
        """Tensors with their own save intervals find their references on S3 too, in GLOBAL mode as in TRAIN."""
        tensors = {"every": random_walk(), "third": random_walk(seed=1), "tenth": random_walk(seed=2)}
        trial = write_trial(tensors, steps=31, intervals={"third": 3, "tenth": 10}, modes="GLOBAL").path
        report = check_trial(s3.upload(trial, f"sparse/{num_steps}"), num_steps=num_steps)
        assert list(report) == list(check_trial(trial, num_steps=num_steps))

    @needs_writing
    def test_what_is_held_is_bounded_and_fetched_again(
        self, s3: S3Server, write_trial: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With room for next to nothing, every row is still right: objects are released and asked for again."""
        monkeypatch.setattr(s3_storage, "HELD_BYTES", 100)
        tensors = {"every": random_walk((40,)), "fifth": random_walk((40,), seed=1)}
        trial = write_trial(tensors, steps=21, intervals={"fifth": 5}).path
        uri = s3.upload(trial, "held")
        before = len(s3.requests())
        report = check_trial(uri)
        assert list(report) == list(check_trial(trial))
        fetched = objects_fetched(s3.requests()[before:], "events")
        assert max(fetched.values()) == 2  # the fifth step's, as a reference of the tenth's


@pytest.fixture(scope="module")
def slashes(s3_server: S3Server) -> None:
    """Upload trials to keys that differ in their slashes alone."""
    for trial, prefix in [
        ("pytorch_frozen", "slash"),
        ("pytorch_healthy", "/slash"),
        ("pytorch_killed", ""),  # the keys begin with /
        ("pytorch_killed", "slash//middle"),
        ("pytorch_healthy", "slash/middle"),
        ("pytorch_frozen", "end/"),
    ]:
        s3_server.upload(RECORDED[trial], prefix)


@pytest.mark.usefixtures("slashes")
class TestKeys:
    def test_empty_folder_objects_change_nothing(self, s3: S3Server) -> None:
        """The console and EMR make objects of zero bytes for folders."""
        uri = s3.upload(RECORDED["pytorch_healthy"], "folders")
        folders = ["", "index", "index/000000000", "collections/000000000", "events", "events/000000000001"]
        for folder in folders:
            for key in (f"folders/{folder}/" if folder else "folders/", f"folders/{folder}_$folder$"):
                s3.client.put_object(Bucket=s3.bucket, Key=key, Body=b"")
        report = check_trial(uri)
        assert list(check_trial(RECORDED["pytorch_healthy"])) == list(report)
        assert ([], 0) == (report.unreadable, report.exit_code)

    @pytest.mark.parametrize(
        ("place", "name"),
        [
            ("slash", "pytorch_frozen"),
            ("slash/", "pytorch_frozen"),
            ("/slash", "pytorch_healthy"),
            ("/slash/", "pytorch_healthy"),
            ("/", "pytorch_killed"),
            ("slash//middle", "pytorch_killed"),
            ("slash//middle/", "pytorch_killed"),
            ("end//", "pytorch_frozen"),
        ],
    )
    def test_each_slash_is_part_of_the_keys(self, s3: S3Server, place: str, name: str) -> None:
        """But for one at the end, which may be left out: the keys are PLACE/index/..., whatever else is there."""
        assert list(check_trial(RECORDED[name])) == list(check_trial(f"s3://{s3.bucket}/{place}"))

    @pytest.mark.parametrize("place", ["end", "/end", "slash//", "/slash//middle"])
    def test_no_other_slashes_are_tried(self, s3: S3Server, place: str) -> None:
        """Where nothing is at the exact key, the place is not a trial."""
        with pytest.raises(TrialError, match="is not a trial"):
            check_trial(f"s3://{s3.bucket}/{place}")


class TestRequests:
    def test_check_asks_once_for_each_file(self, s3: S3Server) -> None:
        """A check takes one GET an index file, one an event file, and a handful of LISTs."""
        trial = RECORDED["pytorch_frozen"]
        uri = s3.upload(trial, "requests/check")
        before = len(s3.requests())
        check_trial(uri)
        requests = s3.requests()[before:]
        assert set(objects_fetched(requests, "index").values()) == {1}
        assert set(objects_fetched(requests, "events").values()) == {1}
        assert len(requests) <= 2 * event_files(trial) + 15

    @needs_writing
    def test_a_global_trial_is_not_read_twice(self, s3: S3Server, write_trial: Any) -> None:
        """Where no step was saved in TRAIN mode, the whole index is looked at first, and still asked for once."""
        trial = write_trial({"w": random_walk()}, steps=40, modes="GLOBAL").path
        uri = s3.upload(trial, "requests/global")
        before = len(s3.requests())
        check_trial(uri)
        assert len(s3.requests()) - before <= 2 * event_files(trial) + 15

    def test_the_rule_asks_for_few_files_more(self, s3: S3Server) -> None:
        """The rule, with what smdebug itself asks for, stays below 6 requests an event file and 40."""
        from smdebug.exceptions import NoMoreData
        from smdebug.rules import invoke_rule

        from weight_update_ratio import WeightUpdateRatio

        trial = RECORDED["pytorch_frozen"]
        uri = s3.upload(trial, "requests/rule")
        before = len(s3.requests())
        with pytest.raises(NoMoreData):
            invoke_rule(WeightUpdateRatio(uri))
        requests = s3.requests()[before:]
        assert set(objects_fetched(requests, "events").values()) == {1}
        assert len(requests) <= 6 * event_files(trial) + 40

    def test_only_wanted_stretches_are_fetched(self) -> None:
        """Neighbouring records come in one range; an unwanted stretch of more than 1 MiB is left out."""
        near = [(0, 100), (100, 50), (5000, 10)]
        far = [(5010 + s3_storage.GAP + 1, 7)]
        assert s3_storage.joined_ranges([*far, *near]) == [
            (0, 5010),
            (5010 + s3_storage.GAP + 1, 5017 + s3_storage.GAP + 1),
        ]

    @needs_writing
    def test_a_large_unwanted_tensor_is_not_fetched(
        self, s3: S3Server, write_trial: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Weights on both sides of a large gradient are fetched without it."""
        monkeypatch.setattr(s3_storage, "GAP", 1000)
        tensors = {"a": random_walk(), "gradient": random_walk((4000,)), "z": random_walk(seed=3)}
        trial = write_trial(tensors, steps=3, collections={"weights": ["a", "z"], "gradients": ["gradient"]}).path
        uri = s3.upload(trial, "gap")
        taken = []
        get = S3Storage._get
        monkeypatch.setattr(
            S3Storage, "_get", lambda self, name, ends=None: taken.append((name, ends)) or get(self, name, ends)
        )
        report = check_trial(uri)
        assert list(report) == list(check_trial(trial))
        spans = [span for name, span in taken if name.startswith("events/")]
        assert len(spans) == 6
        assert sum(end - first for first, end in spans) < 3 * 2000


class TestBrokenTrials:
    @needs_writing
    def test_absent_truncated_and_foreign_objects(self, s3: S3Server, write_trial: Any) -> None:
        """An absent, a short, an empty and a foreign object are unreadable, and the rest is compared."""
        trial = write_trial({"w": random_walk((50,)), "v": random_walk((50,), seed=1)}, steps=9).path
        event_file(trial, 2).unlink()
        content = event_file(trial, 4).read_bytes()
        event_file(trial, 4).write_bytes(content[:300])
        change_json(index_file(trial, 6), lambda index: index["meta"].update(event_file_name="../../other/events"))
        event_file(trial, 8).write_bytes(b"")
        report = check_trial(s3.upload(trial, "broken"))
        on_disk = check_trial(trial)
        assert list(report) == list(on_disk)
        named = lambda report: [entry[:4] for entry in report.unreadable]  # noqa: E731
        assert named(report) == named(on_disk)
        reasons = {(entry.global_step, entry.tensor): entry.reason for entry in report.unreadable}
        assert {step for step, _ in reasons} == {2, 4, 6, 7, 8}
        assert reasons[2, "w"] == "does not exist"
        assert reasons[4, "v"] == "has 300 bytes, while the index names bytes 285 to 570"
        assert reasons[8, "w"] == "is shorter than the index says"
        assert report.exit_code == 2

    def test_a_small_object_may_not_be_large(self, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
        """An index file larger than any index file is not taken into memory."""
        monkeypatch.setattr(s3_storage, "SMALL_FILE", 10)
        s3.client.put_object(Bucket=s3.bucket, Key="large/index/x.json", Body=b"x" * 11)
        with pytest.raises(UnreadableError, match="has 11 bytes, more than a file of its kind can have"):
            S3Storage(f"s3://{s3.bucket}/large").read("index/x.json")

    def test_a_range_that_was_not_prefetched(self, s3: S3Server) -> None:
        """A span can be asked for without being prefetched; beyond the object it is unreadable."""
        s3.client.put_object(Bucket=s3.bucket, Key="some/events/e", Body=b"0123456789")
        storage = S3Storage(f"s3://{s3.bucket}/some/")
        assert bytes(storage.span("events/e", 2, 3)) == b"234"
        assert bytes(storage.span("events/e", 7, 2)) == b"78"
        with pytest.raises(UnreadableError, match="has 10 bytes, while the index names bytes 5 to 15"):
            storage.span("events/e", 5, 10)


class TestRefusals:
    """Each is one message, exit code 2, within seconds."""

    @pytest.mark.parametrize(
        ("uri", "environment", "message"),
        [
            ("s3://trials/nothing/here", {}, "is not a trial: it has neither 'collections' nor 'index'"),
            ("s3://no-such-bucket/x", {}, "there is no bucket 'no-such-bucket'"),
            ("s3://", {}, "'' is not a bucket's name"),
            ("s3://trials/x", {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "Could not connect to the endpoint URL"),
            ("s3://trials/x", {"AWS_ENDPOINT_URL": "nonsense"}, "Invalid endpoint: nonsense"),
            ("s3://trials/x", {"AWS_PROFILE": "nobody"}, "The config profile (nobody) could not be found"),
        ],
    )
    def test_message(self, s3: S3Server, uri: str, environment: dict[str, str], message: str) -> None:
        """What is wrong is said in the user's terms."""
        started = time.monotonic()
        result = run_command("check", uri, env=environment)
        assert time.monotonic() - started < 20
        assert result.returncode == 2
        assert result.stdout == ""
        assert message in result.stderr
        assert result.stderr.startswith("Error: ")
        assert "Traceback" not in result.stderr

    def test_missing_credentials(self, s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """Without credentials the message says how to give them."""
        for name in CREDENTIALS:
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
        with pytest.raises(TrialError, match="Unable to locate credentials") as caught:
            check_trial("s3://trials/x")
        assert caught.value.remedy.startswith("Set AWS_PROFILE")


class TestStorage:
    def test_a_discarded_object_is_fetched_anew(self, s3: S3Server) -> None:
        """Small or not, fetched ahead or not: a resumed job has written it again."""
        put = lambda body: s3.client.put_object(Bucket=s3.bucket, Key="again/a", Body=body)  # noqa: E731
        put(b"old")
        storage = S3Storage(f"s3://{s3.bucket}/again")
        storage.prefetch_small(["a"])
        storage.prefetch("a", [(0, 3)])
        assert bytes(storage.span("a", 0, 3)) == b"old"
        put(b"new")
        storage.discard("a")
        assert storage.read("a") == bytes(storage.span("a", 0, 3)) == b"new"

    def test_names_page_by_page(self, s3: S3Server) -> None:
        """A listing of many pages is whole and sorted, and begins where it is asked to."""
        names = [f"index/000000000/{step:012d}_w.json" for step in range(5)]
        for name in names:
            s3.client.put_object(Bucket=s3.bucket, Key=f"pages/{name}", Body=b"{}")
        storage = S3Storage(f"s3://{s3.bucket}/pages")
        two = lambda params, **_: {**params, "MaxKeys": 2}  # noqa: E731
        storage._client.meta.events.register("provide-client-params.s3.ListObjectsV2", two)
        assert storage.names("index") == names
        assert storage.names("index", "index/000000000/000000000003") == names[3:]
        assert (storage.exists(names[0]), storage.exists("index")) == (True, False)

    def test_a_bucket_without_a_prefix(self, s3: S3Server) -> None:
        """A trial may be all that a bucket holds."""
        s3.client.create_bucket(Bucket="whole")
        s3.client.put_object(Bucket="whole", Key="index/a", Body=b"1")
        assert S3Storage("s3://whole").names("index") == S3Storage("s3://whole/").names("index") == ["index/a"]

    def test_what_is_prefetched_twice_is_fetched_once(self, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
        """And what has no room is not fetched before it is needed."""
        for name in ("e", "f"):
            s3.client.put_object(Bucket=s3.bucket, Key=f"announced/{name}", Body=b"0123456789")
        storage = S3Storage(f"s3://{s3.bucket}/announced")
        before = len(s3.requests())
        assert storage.prefetch("e", [(0, 5)])
        assert storage.prefetch("e", [(0, 5)])
        assert bytes(storage.span("e", 1, 3)) == b"123"
        assert len(s3.requests()) - before == 1
        assert bytes(storage.span("e", 5, 3)) == b"567"  # not prefetched
        monkeypatch.setattr(s3_storage, "HELD_BYTES", 12)
        assert not storage.prefetch("f", [(0, 10)])
        assert bytes(storage.span("f", 0, 10)) == b"0123456789"
        before = len(s3.requests())
        storage.retain({"f": [(0, 10)]})
        assert storage.prefetch("f", [(0, 10)])
        assert bytes(storage.span("f", 5, 5)) == b"56789"
        assert len(s3.requests()) == before
        assert storage.prefetch("g", [(0, 2)])  # for "e" is released

    def test_a_range_that_botocore_refuses(self, s3: S3Server) -> None:
        """What cannot even be asked for is unreadable, without a traceback."""
        with pytest.raises(UnreadableError, match="cannot be read"):
            S3Storage(f"s3://{s3.bucket}").read("")

    @pytest.mark.parametrize(
        ("location", "environment", "message"),
        [
            ("s3://no-such-bucket/x", {}, "there is no bucket 'no-such-bucket'"),
            ("s3://", {}, "'' is not a bucket's name"),
            ("s3://trials/x", {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "Could not connect to the endpoint URL"),
            ("s3://trials/x", {"AWS_ENDPOINT_URL": "nonsense"}, "Invalid endpoint: nonsense"),
        ],
    )
    def test_errors_of_a_listing(
        self, s3: S3Server, monkeypatch: pytest.MonkeyPatch, location: str, environment: dict[str, str], message: str
    ) -> None:
        """Each names the trial, what is wrong, and what to do."""
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda self, context: 0.05)
        with pytest.raises(TrialError, match=message) as caught:
            check_trial(location)
        assert repr(location) in str(caught.value)
        assert caught.value.remedy.endswith(".")
