"""A SageMaker, SNS, SQS and S3 endpoint on this machine: moto's server, with training jobs that run until stopped.

moto's own training jobs have ended when they are made, and it lacks StopTrainingJob: run as a script, this module adds
both and serves on a free port of 127.0.0.1, which is the first line of stdout. The server ends when its stdin does, so
with the process that started it, however that ends.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import Any, Iterator

REGION = "eu-west-1"
TRAINING_JOB = {  # what create_training_job needs beside a name
    "RoleArn": "arn:aws:iam::123456789012:role/SageMaker",
    "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
    "OutputDataConfig": {"S3OutputPath": "s3://bucket/models"},
    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
    "StoppingCondition": {"MaxRuntimeInSeconds": 60},
}


@contextlib.contextmanager
def running_server() -> Iterator[dict[str, str]]:
    """Give the environment variables that point boto3, and what is started with them, to a server of its own."""
    server = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=Path(__file__).parent,
        text=True,
    )
    try:
        port = int(server.stdout.readline())
        yield {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }
    finally:
        server.communicate(timeout=30)


def serve() -> None:
    """Serve until stdin ends."""
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
    print(server.get_host_and_port()[1], flush=True)
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    serve()
