"""What the service runs the rule on: the evaluator's image of the job's region, and the type of its instance."""

from __future__ import annotations

import difflib
import re

# The accounts that own the image for custom rules.
# Source: the SageMaker Python SDK's integration tests, tests/integ/test_debugger.py.
EVALUATOR_ACCOUNTS = {
    "ap-east-1": "645844755771",
    "ap-northeast-1": "670969264625",
    "ap-northeast-2": "326368420253",
    "ap-south-1": "552407032007",
    "ap-southeast-1": "631532610101",
    "ap-southeast-2": "445670767460",
    "ca-central-1": "105842248657",
    "cn-north-1": "617202126805",
    "cn-northwest-1": "658559488188",
    "eu-central-1": "691764027602",
    "eu-north-1": "091235270104",
    "eu-west-1": "606966180310",
    "eu-west-2": "074613877050",
    "eu-west-3": "224335253976",
    "me-south-1": "050406412588",
    "sa-east-1": "466516958431",
    "us-east-1": "864354269164",
    "us-east-2": "840043622174",
    "us-west-1": "952348334681",
    "us-west-2": "759209512951",
}


def evaluator_image(region: str | None) -> str:
    """Return the URI of the image that runs custom rules in a region.

    Raises:
        ValueError: The region is not one of ``EVALUATOR_ACCOUNTS``.

    >>> evaluator_image("eu-west-1")
    '606966180310.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-debugger-rule-evaluator:latest'
    """
    if region is None:
        given = "'region' or 'image_uri' must be given (--region, --image-uri)"
        raise ValueError(f"{given}: they tell the evaluator's image")
    account = EVALUATOR_ACCOUNTS.get(region)
    if account is None:
        near = difflib.get_close_matches(region.lower(), EVALUATOR_ACCOUNTS) or list(EVALUATOR_ACCOUNTS)[:3]
        raise ValueError(
            f"'region' must be one whose evaluator is known, such as {', '.join(near)} "
            f"(got {region!r}); for another, pass its evaluator's image as 'image_uri' (--image-uri): AWS lists them "
            "as 'image URIs for custom rule evaluators'"
        )
    suffix = ".cn" if region.startswith("cn-") else ""
    return f"{account}.dkr.ecr.{region}.amazonaws.com{suffix}/sagemaker-debugger-rule-evaluator:latest"


def chosen_image(region: str | None, image_uri: str | None) -> str:
    """Return the image that is given, or else that of the region; ValueError if the image is of another region."""
    if not image_uri:
        return evaluator_image(region)
    named = re.match(r"[0-9]{12}\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?/", image_uri)
    if named and region and region != named[1]:
        raise ValueError(f"'region' must be {named[1]!r}, the region of 'image_uri' {image_uri!r} (got {region!r})")
    return image_uri
