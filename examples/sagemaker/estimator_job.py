"""Start a training job with the rule beside it, by an Estimator of the SageMaker Python SDK, version 2.

    pip install '.[sagemaker]'
    python examples/sagemaker/estimator_job.py --bucket my-bucket --role arn:aws:iam::123456789012:role/SageMaker \
        --image 763104351884.dkr.ecr.eu-west-1.amazonaws.com/pytorch-training:1.13.1-gpu-py39 --region eu-west-1

The image must be one whose framework smdebug's hook is built into, or the training script must use the hook itself.
"""

import argparse

import boto3
from sagemaker.debugger import DebuggerHookConfig
from sagemaker.estimator import Estimator
from sagemaker.session import Session

from weight_update_ratio.sagemaker import custom_rule


def main() -> None:
    """Start the job; the Estimator uploads the rule's source file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bucket", required=True, help="the S3 bucket for the rule and the tensors")
    parser.add_argument("--role", required=True, help="the IAM role that the job takes")
    parser.add_argument("--image", required=True, help="the training image")
    parser.add_argument("--region", required=True)
    parser.add_argument("--job", default="train-with-rule", help="the job's name")
    arguments = parser.parse_args()

    session = Session(boto3.Session(region_name=arguments.region), default_bucket=arguments.bucket)
    # Before: Rule.sagemaker(rule_configs.weight_update_ratio(), rule_parameters={"large_threshold": "5"})
    rule = custom_rule(
        region=arguments.region,
        rule_parameters={"large_threshold": "5"},
        report_dir="/opt/ml/processing/output/rule",
        stop_training=True,  # the job that is started here
    )
    estimator = Estimator(
        image_uri=arguments.image,
        role=arguments.role,
        instance_count=1,
        instance_type="ml.m5.large",
        sagemaker_session=session,
        rules=[rule],  # it brings the collection of weights, saved at every step
        debugger_hook_config=DebuggerHookConfig(s3_output_path=f"s3://{arguments.bucket}/tensors"),
        disable_profiler=True,
    )
    estimator.fit(job_name=arguments.job, wait=False)
    print(f"started {arguments.job}; its rule's state is in estimator.latest_training_job.rule_job_summary()")


if __name__ == "__main__":
    main()
