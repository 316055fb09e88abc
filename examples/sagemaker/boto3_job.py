"""Start a training job with the rule beside it, by boto3: with any version of the SageMaker SDK, or without one.

    python examples/sagemaker/boto3_job.py --bucket my-bucket --role arn:aws:iam::123456789012:role/SageMaker \
        --image 763104351884.dkr.ecr.eu-west-1.amazonaws.com/pytorch-training:1.13.1-gpu-py39 --region eu-west-1

The image must be one whose framework smdebug's hook is built into, or the training script must use the hook itself.
"""

import argparse

import boto3

from weight_update_ratio.sagemaker import rule_configuration, rule_source


def main() -> None:
    """Upload the rule, and start the job."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bucket", required=True, help="the S3 bucket for the rule, the tensors and the model")
    parser.add_argument("--role", required=True, help="the IAM role that the job takes")
    parser.add_argument("--image", required=True, help="the training image")
    parser.add_argument("--region", required=True)
    parser.add_argument("--job", default="train-with-rule", help="the job's name")
    arguments = parser.parse_args()

    key = "rules/weight_update_ratio_rule.py"
    s3 = boto3.client("s3", region_name=arguments.region)
    s3.put_object(Bucket=arguments.bucket, Key=key, Body=rule_source().encode())

    configuration = rule_configuration(
        source=f"s3://{arguments.bucket}/{key}",
        output_path=f"s3://{arguments.bucket}/tensors",
        region=arguments.region,
        large_threshold=5,
        report_dir="/opt/ml/processing/output/rule",
        stop_training=arguments.job,
    )
    sagemaker = boto3.client("sagemaker", region_name=arguments.region)
    sagemaker.create_training_job(
        TrainingJobName=arguments.job,
        RoleArn=arguments.role,
        AlgorithmSpecification={"TrainingImage": arguments.image, "TrainingInputMode": "File"},
        OutputDataConfig={"S3OutputPath": f"s3://{arguments.bucket}/models"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
        StoppingCondition={"MaxRuntimeInSeconds": 3600},
        **configuration,
    )
    print(f"started {arguments.job}; its rule's state is in DebugRuleEvaluationStatuses of describe_training_job")


if __name__ == "__main__":
    main()
