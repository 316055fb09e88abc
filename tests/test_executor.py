"""check_trial on an executor: the report of one process, row for row, whatever becomes of the workers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Callable, Iterator

import numpy as np
import pytest

from tests.conftest import RECORDED, REPOSITORY, event_file, index_file, needs_writing, random_walk, run_command
from weight_update_ratio import Report, TrialError, check_trial
from weight_update_ratio.check import DASK_SECONDS


class BackwardsExecutor(Executor):
    """Runs what it was given when the last result is asked for, the last first."""

    def __init__(self) -> None:
        self._given: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._given.append((future, lambda: function(*arguments, **options)))
        return future

    def run(self) -> None:
        for future, call in reversed(self._given):
            future.set_result(call())


def rows(report: Report) -> tuple[str, list[str]]:
    """Return all that a report says, NaN included."""
    return report.to_json(), [repr(row) for row in report]


def end_worker() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class TestExecutors:
    @pytest.mark.parametrize("name", sorted(RECORDED))
    def test_threads_give_the_same_report(self, name: str) -> None:
        """Every recorded trial gives the same report by ranges as at once."""
        with ThreadPoolExecutor(2) as executor:
            assert rows(check_trial(RECORDED[name], executor=executor)) == rows(check_trial(RECORDED[name]))

    @needs_writing
    @pytest.mark.parametrize("num_steps", [None, 3, 100])
    def test_ranges_that_end_in_any_order(self, write_trial: Any, num_steps: int | None) -> None:
        """References cross ranges; a sparse tensor's are far behind; ranges that end backwards give rows forwards."""
        tensors = {"every": random_walk(), "seventh": random_walk(seed=1), "once": [None] * 3 + [1.0] + [None] * 96}
        modes = ["TRAIN", "TRAIN", "EVAL"]
        trial = write_trial(tensors, steps=100, intervals={"seventh": 7}, modes=modes, workers=("a", "b")).path
        index_file(trial, 60, "b").write_text("{")
        event_file(trial, 33, "a").unlink()
        executor = BackwardsExecutor()
        with ThreadPoolExecutor(1) as thread:
            report = thread.submit(check_trial, trial, num_steps=num_steps, executor=executor)
            while len(executor._given) < 13:
                time.sleep(0.01)
            executor.run()
            expected = rows(check_trial(trial, num_steps=num_steps))
            assert rows(report.result()) == expected

    @needs_writing
    def test_groups_that_cross_ranges(self, write_trial: Any) -> None:
        """The worst of a group may be in a later range, and what is skipped goes on from one to the next."""
        rising = [2.0 ** (step * step / 4) for step in range(40)]  # every ratio is larger than the one before
        trial = write_trial({"up": rising, "empty": lambda step: np.zeros(0)}, steps=40).path
        with ThreadPoolExecutor(2) as executor:
            report = check_trial(trial, executor=executor, large_threshold=1)
        assert rows(report) == rows(check_trial(trial, large_threshold=1))
        assert {group.worst_step for group in report.violations} == {39}
        assert [(group.tensor, group.count) for group in report.skipped] == [("empty", 39)]

    def test_processes_by_spawn(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Workers that share nothing with this process give the same report, of a path relative to this one's."""
        monkeypatch.chdir(RECORDED["pytorch_frozen"].parent)
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
            report = check_trial("pytorch_frozen", executor=executor)
        assert rows(report) == rows(check_trial("pytorch_frozen"))

    def test_a_range_of_global_steps(self) -> None:
        """start_step and end_step bound what is judged, not where references are found."""
        trial = RECORDED["pytorch_healthy"]
        with ThreadPoolExecutor(2) as executor:
            report = check_trial(trial, start_step=9, end_step=22, executor=executor)
        assert rows(report) == rows(check_trial(trial, start_step=9, end_step=22))

    @pytest.mark.parametrize("name", ["pytorch_reductions_only", "xgboost"])
    def test_nothing_to_compare_is_explained(self, name: str) -> None:
        """What workers saw of the trial reaches the explanation."""
        with ThreadPoolExecutor(2) as executor:
            report = check_trial(RECORDED[name], executor=executor)
        assert report.problem.message == check_trial(RECORDED[name]).problem.message

    def test_progress_counts_steps(self) -> None:
        """Progress grows to all saved steps as ranges end."""
        seen: list[tuple[int, int]] = []
        with ThreadPoolExecutor(2) as executor:
            trial = RECORDED["pytorch_healthy"]
            check_trial(trial, executor=executor, progress=lambda done, total: seen.append((done, total)))
        assert [total for _, total in seen] == [26] * 4
        assert sorted(seen) == seen
        assert seen[-1] == (26, 26)

    def test_a_pool_whose_worker_died(self) -> None:
        """A pool that does not replace its dead is an error that says so, not a traceback of the pool's."""
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
            executor.submit(end_worker)
            with pytest.raises(TrialError, match="the executor broke while it judged") as caught:
                check_trial(RECORDED["pytorch_healthy"], executor=executor)
        assert "Dask" in caught.value.remedy


@pytest.fixture(scope="module")
def dask_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """Give the address of a Dask scheduler with two worker processes, and those."""
    pytest.importorskip("distributed", reason="the extra 'dask' is not installed")
    folder = tmp_path_factory.mktemp("dask")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "DASK_TEMPORARY_DIRECTORY": str(folder)}
    dask = [sys.executable, "-m", "dask"]
    options: dict[str, Any] = {"env": environment, "stderr": (folder / "log").open("wb"), "cwd": folder}
    file = folder / "scheduler.json"
    started = [
        subprocess.Popen(
            [*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)],
            **options,
        )
    ]
    try:
        end = time.monotonic() + 60
        while not (file.exists() and file.read_text()):
            assert time.monotonic() < end, (folder / "log").read_text()
            time.sleep(0.05)
        address = json.loads(file.read_text())["address"]
        worker = [*dask, "worker", address, "--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", "--no-dashboard"]
        started += [subprocess.Popen(worker, **options) for _ in range(2)]
        yield address, started[1:]
    finally:
        for process in started:
            process.kill()
            process.wait()
        options["stderr"].close()


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
        assert rows(check_trial(trial, num_steps=40)) != expected

        def kill_one(done: int, total: int) -> None:
            workers[0].kill()

        with Client(address) as client:
            client.wait_for_workers(2, timeout=60)
            executor = client.get_executor(pure=False)
            assert rows(check_trial(trial, executor=executor)) == expected
            assert rows(check_trial(trial, executor=executor, progress=kill_one)) == expected
        assert workers[0].wait(10) == -signal.SIGKILL

    def test_the_command_takes_an_address(
        self, dask_cluster: tuple[str, list[subprocess.Popen[bytes]]], tmp_path: Path
    ) -> None:
        """``--dask ADDRESS`` judges on the workers."""
        trial = RECORDED["pytorch_frozen"]
        result = run_command("check", trial, "--dask", dask_cluster[0], "--format", "json")
        assert json.loads(result.stdout) == json.loads(run_command("check", trial, "--format", "json").stdout)
        assert result.returncode == 1

    def test_the_command_in_this_process(self, dask_cluster: tuple[str, list[subprocess.Popen[bytes]]]) -> None:
        """The same, where the client is this process."""
        from click.testing import CliRunner

        from weight_update_ratio.cli import main

        arguments = ["check", str(RECORDED["pytorch_frozen"]), "--quiet", "--dask", dask_cluster[0]]
        assert CliRunner().invoke(main, arguments).exit_code == 1

    def test_no_scheduler_at_the_address(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """An address where nobody listens is one message and exit code 2."""
        monkeypatch.setattr("weight_update_ratio.check.DASK_SECONDS", 1)
        from click.testing import CliRunner

        from weight_update_ratio.cli import main

        result = CliRunner().invoke(main, ["check", str(RECORDED["pytorch_frozen"]), "--dask", "tcp://127.0.0.1:1"])
        assert result.exit_code == 2
        assert "Error: there is no Dask scheduler at 'tcp://127.0.0.1:1'" in result.output

    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (None, "(no whole answer within 2 s)"),
            (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "(its answer is not Dask's)"),
            (b"", "ConnectionResetError: [Errno 104] Connection reset by peer)"),
        ],
    )
    def test_something_else_at_the_address(self, answer: bytes | None, reason: str) -> None:
        """What says nothing, talks otherwise or hangs up is one message soon, and Dask's log is not seen."""
        with socket.create_server(("127.0.0.1", 0)) as server:

            def serve() -> None:
                connection = server.accept()[0]
                connection.recv(1)
                if answer is None:
                    ended.wait(30)
                else:
                    connection.sendall(answer)
                connection.close()

            ended = threading.Event()
            thread = threading.Thread(target=serve)
            thread.start()
            address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
            result = self.run_with_dask(address)
            ended.set()
            thread.join()
        assert 2 == result.returncode
        assert result.stderr.startswith(f"Error: there is no Dask scheduler at '{address}' (")
        given = result.stderr.split("\n")[0]
        assert given.endswith((reason, "(no whole answer within 2 s)", "after 1 s)"))  # older ones of Dask try it again
        assert result.stderr == f"{given}\n\nGive the address that 'dask scheduler' printed.\n"

    def test_something_that_says_nothing_ends_within_ten_seconds(self) -> None:
        """More than what the command needs to refuse an address: its imports take as long as the machine is busy.

        Of the ten, three are beside DASK_SECONDS, which is a second here.
        """
        with socket.create_server(("127.0.0.1", 0)) as server:
            seconds = []
            for address in ("foo://127.0.0.1:1", f"tcp://127.0.0.1:{server.getsockname()[1]}"):
                began = time.monotonic()
                result = self.run_with_dask(address)
                seconds.append(time.monotonic() - began)
                assert result.returncode == 2
            assert seconds[1] - seconds[0] < 1 + (10 - DASK_SECONDS)

    @pytest.mark.parametrize(
        "address", ["foo://127.0.0.1:8786", "", "nonsense", "tcp://127.0.0.1:1", "tls://127.0.0.1:1"]
    )
    def test_an_address_that_cannot_be_reached(self, address: str) -> None:
        """Another scheme, no port, or nobody there: the message ends with the reason that Dask gives."""
        result = self.run_with_dask(address)
        assert (2, "") == (result.returncode, result.stdout)
        assert result.stderr.startswith(f"Error: there is no Dask scheduler at '{address}' (")
        assert result.stderr.endswith(")\n\nGive the address that 'dask scheduler' printed.\n")

    def run_with_dask(self, address: str) -> subprocess.CompletedProcess[str]:
        """Run the command in a process of its own that waits for a scheduler for a second, not for ten."""
        code = "from weight_update_ratio import check, cli; check.DASK_SECONDS = 1; cli.main()"
        command = [sys.executable, "-c", code, "check", str(RECORDED["pytorch_frozen"]), "--dask", address]
        return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=15)

    def test_dask_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without Dask, the message names the extra."""
        monkeypatch.setitem(sys.modules, "distributed", None)
        from click.testing import CliRunner

        from weight_update_ratio.cli import main

        result = CliRunner().invoke(main, ["check", str(RECORDED["pytorch_frozen"]), "--dask", "tcp://127.0.0.1:1"])
        assert result.exit_code == 2
        assert "pip install 'weight-update-ratio[dask]'" in result.output
