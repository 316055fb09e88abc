"""The service on this machine: an endpoint, and environments like the evaluator's, each built once in a run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

from tests.shared import run_folder, shared
from weight_update_ratio.sagemaker import rule_source

REGION = "eu-west-1"
TRAINING_JOB = {  # what create_training_job needs beside a name
    "RoleArn": "arn:aws:iam::123456789012:role/SageMaker",
    "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
    "OutputDataConfig": {"S3OutputPath": "s3://bucket/models"},
    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
    "StoppingCondition": {"MaxRuntimeInSeconds": 60},
}


def find_python(version: str) -> str | None:
    """Return a Python of this version: this one, one on the path, or one of pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [sys.executable, shutil.which(f"python{version}"), *sorted(pyenv.glob(f"{version}.*/bin/python"))]
    for python in filter(None, candidates):
        code = "import sys; print('%d.%d' % sys.version_info[:2])"
        result = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
        if result.stdout.strip() == version:
            return str(python)
    return None


def build(python: str, folder: Path) -> None:
    """Make an environment with smdebug, NumPy and what smdebug does not declare, without this package."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    subprocess.run([python, "-m", "venv", "--clear", folder], env=environment, check=True)
    needs = ["smdebug>=1.0.34,<1.1", "numpy<2.3", "requests", "pandas", "psutil"]
    install = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *needs]
    result = subprocess.run(install, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.fixture(scope="session", params=["3.7", pytest.param("3.11", marks=pytest.mark.rare)])
def evaluator_python(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give a Python as the evaluator's: with smdebug, NumPy and what smdebug does not declare, without this package."""
    python = find_python(request.param)
    if python is None:
        pytest.skip(f"Python {request.param} is neither on the path nor in pyenv, so the single file is not run on it")
    folder = run_folder(tmp_path_factory) / f"evaluator-{request.param}"
    with shared(folder, lambda: build(python, folder)):  # 300 MB, gone when nobody needs it
        yield str(folder / "bin" / "python")


@pytest.fixture(scope="session")
def source_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the rule as one source file."""
    path = tmp_path_factory.mktemp("rule") / "weight_update_ratio_rule.py"
    path.write_text(rule_source(), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def endpoint() -> Iterator[dict[str, str]]:
    """Give the environment of a SageMaker, SNS, SQS and S3 endpoint on this machine: moto's server.

    moto's own training jobs have ended when they are made, and it lacks StopTrainingJob.
    """
    from moto.sagemaker.models import FakeTrainingJob
    from moto.sagemaker.responses import SageMakerResponse
    from moto.server import ThreadedMotoServer

    make_job = FakeTrainingJob.__init__

    def make_running_job(self: Any, *arguments: Any, **options: Any) -> None:
        make_job(self, *arguments, **options)
        self.training_job_status = self.secondary_status = "InProgress"

    def stop_training_job(self: Any) -> str:
        job = self.sagemaker_backend.training_jobs[self._get_param("TrainingJobName")]
        job.training_job_status = job.secondary_status = "Stopped"
        return "{}"

    FakeTrainingJob.__init__ = make_running_job
    SageMakerResponse.stop_training_job = stop_training_job
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.get_host_and_port()[1]}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
    }
    server.stop()


@pytest.fixture
def clients(endpoint: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Give a function that returns a boto3 client for the endpoint, which smdebug's own clients go to as well."""
    import boto3

    for name, value in endpoint.items():
        monkeypatch.setenv(name, value)
    return lambda service: boto3.client(service, region_name=REGION)
