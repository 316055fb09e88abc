"""A real S3 endpoint for the tests: moto's server, in a separate process, and the log of its requests."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Iterator

import pytest

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}


class S3Server:
    """moto's server on loopback, with one bucket."""

    bucket = "trials"

    def __init__(self, folder: Path, page: int = 1000) -> None:
        import boto3

        from tests.processes import wait_until  # which imports conftest, and that this module

        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._log = folder / "moto.log"
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        environment = {**os.environ, "MOTO_S3_DEFAULT_MAX_KEYS": str(page)}  # objects of one answer to a LIST
        with self._log.open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        wait_until(self._is_listening, f"nothing listens on port {self.port}")
        names = {name.lower(): value for name, value in CREDENTIALS.items() if name != "AWS_REGION"}
        self.client = boto3.session.Session(**names, region_name="us-east-1").client("s3", endpoint_url=self.endpoint)
        self.client.create_bucket(Bucket=self.bucket)

    def _is_listening(self) -> bool:
        assert self.process.poll() is None, f"the server ended with {self.process.returncode}"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def upload(self, folder: Path, prefix: str) -> str:
        """Copy a folder to the bucket and return its URI."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                key = f"{prefix}/{path.relative_to(folder).as_posix()}"
                self.client.put_object(Bucket=self.bucket, Key=key, Body=path.read_bytes())
        return f"s3://{self.bucket}/{prefix}"

    def requests(self) -> list[str]:
        """Return the requests so far: "GET /bucket/key?query"."""
        text = re.sub(r"\x1b\[\d*m", "", self._log.read_text())
        return re.findall(r'"((?:GET|PUT|HEAD|POST|DELETE) \S+) HTTP', text)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    pytest.importorskip("moto.server", reason="moto's server is the S3 endpoint of the tests")
    server = S3Server(tmp_path_factory.mktemp("s3"), page=30)
    yield server
    server.stop()


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """Give the S3 endpoint, with an environment that leads to it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": s3_server.endpoint}.items():
        monkeypatch.setenv(name, value)
    return s3_server
