"""The evaluator's image of each region."""

from __future__ import annotations

import pytest

from weight_update_ratio.sagemaker.evaluator import (
    EVALUATOR_ACCOUNTS,
    chosen_image,
    evaluator_image,
)

# Of the SageMaker Python SDK's integration tests, tests/integ/test_debugger.py.
ACCOUNTS = {
    "ap-east-1": "645844755771",
    "ap-northeast-1": "670969264625",
    "ap-northeast-2": "326368420253",
    "ap-south-1": "552407032007",
    "ap-southeast-1": "631532610101",
    "ap-southeast-2": "445670767460",
    "ca-central-1": "105842248657",
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
    "cn-north-1": "617202126805",
    "cn-northwest-1": "658559488188",
}


class TestImage:
    @pytest.mark.parametrize("region", ACCOUNTS)
    def test_is_of_the_regions_account(self, region: str) -> None:
        suffix = {"cn-north-1": "amazonaws.com.cn", "cn-northwest-1": "amazonaws.com.cn"}.get(region, "amazonaws.com")
        expected = f"{ACCOUNTS[region]}.dkr.ecr.{region}.{suffix}/sagemaker-debugger-rule-evaluator:latest"
        assert evaluator_image(region) == expected
        assert chosen_image(region, None) == expected
        assert chosen_image(region, expected) == expected

    def test_is_known_of_no_other_region(self) -> None:
        assert EVALUATOR_ACCOUNTS == ACCOUNTS

    def test_regions_that_are_most_like_an_unknown_one_are_named(self) -> None:
        message = (
            r"^'region' must be one whose evaluator is known, such as us-west-2, us-west-1, .* \(got 'us-west-3'\); "
        )
        with pytest.raises(ValueError, match=message):
            evaluator_image("us-west-3")

    @pytest.mark.parametrize("region", [*(region for region in ACCOUNTS if region != "us-east-1"), "eu-central-2"])
    def test_must_be_in_the_region(self, region: str) -> None:
        image = evaluator_image("us-east-1")
        message = f"'region' must be 'us-east-1', the region of 'image_uri' '{image}' \\(got '{region}'\\)"
        with pytest.raises(ValueError, match=message):
            chosen_image(region, image)

    def test_of_china_must_be_in_the_region(self) -> None:
        with pytest.raises(ValueError, match=r"'region' must be 'cn-north-1', .* \(got 'us-east-1'\)"):
            chosen_image("us-east-1", evaluator_image("cn-north-1"))

    @pytest.mark.parametrize(
        "image", ["account/image:1", "public.ecr.aws/mine/evaluator:2", evaluator_image("eu-west-1")]
    )
    def test_that_is_given_is_taken_without_a_region(self, image: str) -> None:
        assert chosen_image(None, image) == image

    def test_that_names_no_region_is_taken_with_any(self) -> None:
        assert chosen_image("eu-central-2", "account/image:1") == "account/image:1"
