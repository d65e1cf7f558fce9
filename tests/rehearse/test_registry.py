"""Groups, versions and approval of packages."""

import pytest
from botocore.exceptions import ClientError

from .conftest import IMAGE, NUMBERS, ROLE


def test_versions_count_up_and_are_approved_and_deployed_by_arn(shared):
    group = f"group-{next(NUMBERS)}"
    sagemaker = shared.sagemaker
    sagemaker.create_model_package_group(ModelPackageGroupName=group, ModelPackageGroupDescription="mine")
    container = {"Image": IMAGE, "ModelDataUrl": "s3://b/model.tar.gz", "Environment": {"A": "1", "B": "1"}}
    specification = {
        "Containers": [container],
        "SupportedContentTypes": ["text/csv"],
        "SupportedResponseMIMETypes": ["text/csv"],
    }
    first, second = (
        sagemaker.create_model_package(ModelPackageGroupName=group, InferenceSpecification=specification)[
            "ModelPackageArn"
        ]
        for _ in range(2)
    )
    for _ in range(2):
        again = sagemaker.create_model_package(
            ModelPackageGroupName=group, InferenceSpecification=specification, ClientToken="t" * 36
        )
        assert again["ModelPackageArn"].endswith("/3"), "the same token is the same package"
    sagemaker.delete_model_package(ModelPackageName=again["ModelPackageArn"])
    assert (first.rpartition("/")[2], second.rpartition("/")[2]) == ("1", "2")
    package = sagemaker.describe_model_package(ModelPackageName=second)
    assert (package["ModelPackageVersion"], package["ModelApprovalStatus"]) == (2, "PendingManualApproval")
    sagemaker.update_model_package(
        ModelPackageArn=second, ModelApprovalStatus="Approved", CustomerMetadataProperties={"accuracy": "0.9"}
    )
    approved = sagemaker.list_model_packages(ModelPackageGroupName=group, ModelApprovalStatus="Approved")
    assert [item["ModelPackageArn"] for item in approved["ModelPackageSummaryList"]] == [second]
    assert sagemaker.describe_model_package(ModelPackageName=second)["CustomerMetadataProperties"] == {
        "accuracy": "0.9"
    }
    name = f"model-{next(NUMBERS)}"
    mine = {"ModelPackageName": second, "Environment": {"B": "2"}}
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=mine)
    sagemaker.update_model_package(ModelPackageArn=first, ModelApprovalStatus="Rejected")
    with pytest.raises(ClientError, match="is rejected"):
        sagemaker.create_model(
            ModelName=f"{name}-1", ExecutionRoleArn=ROLE, PrimaryContainer={"ModelPackageName": first}
        )
    with pytest.raises(ClientError, match="Delete them first"):
        sagemaker.delete_model_package_group(ModelPackageGroupName=group)
    for arn in (first, second):
        sagemaker.delete_model_package(ModelPackageName=arn)
    sagemaker.delete_model_package_group(ModelPackageGroupName=group)
    with pytest.raises(ClientError, match="Could not find ModelPackageGroup"):
        sagemaker.describe_model_package_group(ModelPackageGroupName=group)
