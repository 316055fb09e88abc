"""check_trial on an executor of any kind: the report of one process, whatever becomes of the workers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Iterator

import pytest

from tests.conftest import RECORDED, REPOSITORY, needs_writing, random_walk, run_python
from tests.processes import wait_until
from tests.reports import invoke_command
from weight_update_ratio import Report, TrialError, check_trial

FROZEN = str(RECORDED["pytorch_frozen"])


def rows(report: Report) -> tuple[str, list[str]]:
    return report.to_json(), [repr(row) for row in report]


def end_worker() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_processes_that_share_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The path is relative to this one's, and the baseline goes with the ranges."""
    monkeypatch.chdir(RECORDED["pytorch_frozen"].parent)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        report = check_trial("pytorch_frozen", baseline="pytorch_healthy", executor=executor)
    assert rows(check_trial("pytorch_frozen", baseline="pytorch_healthy")) == rows(report)


def test_progress_grows_as_ranges_end() -> None:
    seen: list[tuple[int, int]] = []
    with ThreadPoolExecutor(2) as executor:
        check_trial(FROZEN, executor=executor, progress=lambda done, total: seen.append((done, total)))
    steps = len(list(Path(FROZEN).glob("index/*/*.json")))
    assert {steps} == {total for _, total in seen}
    assert sorted(seen) == seen
    assert (steps, steps) == seen[-1]


def test_a_pool_whose_worker_died() -> None:
    """A pool that does not replace its dead is an error that says so, not a traceback of the pool's."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        executor.submit(end_worker)
        with pytest.raises(TrialError, match="the executor broke while it judged") as caught:
            check_trial(FROZEN, executor=executor)
    assert "Check it without an executor, or with one that replaces a dead worker, such as Dask's." in str(caught.value)


@pytest.fixture(scope="module")
def dask_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """Give the address of a Dask scheduler with two worker processes, and those."""
    pytest.importorskip("distributed", reason="the extra 'dask' is not installed")
    folder = tmp_path_factory.mktemp("dask")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "DASK_TEMPORARY_DIRECTORY": str(folder)}
    file, host = folder / "scheduler.json", ["--host", "127.0.0.1", "--no-dashboard"]
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> None:
        command = [sys.executable, "-m", "dask", *arguments, *host]
        started.append(subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, cwd=folder))

    try:
        start("scheduler", "--port", "0", "--scheduler-file", str(file))
        wait_until(lambda: file.exists() and file.read_text(), "the scheduler did not start")
        address = json.loads(file.read_text())["address"]
        for _ in range(2):
            start("worker", address, "--nthreads", "1", "--no-nanny")
        yield address, started[1:]
    finally:
        for process in started:
            process.kill()
            process.wait()


@pytest.mark.slow
class TestDask:
    @needs_writing
    def test_a_worker_that_is_killed_changes_nothing(
        self, dask_cluster: tuple[str, list[subprocess.Popen[bytes]]], write_trial: Any
    ) -> None:
        """Two workers give the rows of one process; so does the other when one is killed on the way."""
        from distributed import Client

        address, workers = dask_cluster
        trial = write_trial({"a": random_walk(), "b": random_walk(seed=1)}, steps=200, intervals={"b": 30}).path
        expected = rows(check_trial(trial))
        with Client(address) as client:
            client.wait_for_workers(2, timeout=60)
            executor = client.get_executor(pure=False)
            assert expected == rows(check_trial(trial, executor=executor))
            assert expected == rows(check_trial(trial, executor=executor, progress=lambda done, _: workers[0].kill()))
        assert -signal.SIGKILL == workers[0].wait(10)

    def test_the_command_takes_an_address(self, dask_cluster: tuple[str, list[subprocess.Popen[bytes]]]) -> None:
        done = invoke_command("check", FROZEN, "--dask", dask_cluster[0], "--format", "json")
        assert (1, check_trial(FROZEN).to_json() + "\n") == (done.exit_code, done.stdout)

    def test_something_else_at_the_address(self) -> None:
        """A web server, as Dask's own dashboard is, gives one message soon, and Dask's log is not seen."""

        def serve() -> None:
            connection = server.accept()[0]
            connection.recv(1)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            connection.close()

        with socket.create_server(("127.0.0.1", 0)) as server:
            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            reason = self.refused(f"tcp://127.0.0.1:{server.getsockname()[1]}")
            thread.join()
        assert reason.endswith(("its answer is not Dask's", "after 1 s"))  # an older Dask tries it again

    @pytest.mark.parametrize("address", ["foo://127.0.0.1:8786", "", "tcp://127.0.0.1:1"])
    def test_an_address_that_cannot_be_reached(self, address: str) -> None:
        """Another scheme, no port, or nobody there: the reason is the one that Dask gives."""
        pytest.importorskip("distributed", reason="the extra 'dask' is not installed")
        assert self.refused(address)

    def refused(self, address: str) -> str:
        """Return the reason that the command gives.

        It runs in a process of its own: where one of several clients is collected while another begins, Dask waits for
        ever.
        """
        code = "from weight_update_ratio import check, cli; check.DASK_SECONDS = 1; cli.main()"
        done = run_python("-c", code, "check", FROZEN, "--dask", address, timeout=60)
        begins = f"Error: there is no Dask scheduler at '{address}' ("
        ends = ")\n\nGive the address that 'dask scheduler' printed.\n"
        assert (2, "") == (done.returncode, done.stdout)
        assert done.stderr.startswith(begins)
        assert done.stderr.endswith(ends)
        return done.stderr[len(begins) : -len(ends)]
