"""A SageMaker, SNS, SQS and S3 endpoint on this machine: moto's server, with training jobs that run until stopped."""

from __future__ import annotations

import contextlib
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
    """Give the environment variables that point boto3, and what is started with them, to a server of its own.

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
