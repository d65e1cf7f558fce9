"""Operations on the model registry: groups, versioned packages, approval."""

from ..errors import ApiError
from . import listing
from .aws import arn
from .context import Context
from .store import Document

GROUP, PACKAGE = "ModelPackageGroup", "ModelPackage"


def create_group(context: Context, request: Document) -> Document:
    """CreateModelPackageGroup."""
    name = request["ModelPackageGroupName"]
    group = {
        **request,
        "ModelPackageGroupArn": arn("model-package-group", name, context.region),
        "ModelPackageGroupStatus": "Completed",
    }
    context.store.create(GROUP, group)
    return group


def describe_group(context: Context, request: Document) -> Document:
    """DescribeModelPackageGroup."""
    return context.store.get(GROUP, _bare(request["ModelPackageGroupName"]))


def list_groups(context: Context, request: Document) -> Document:
    """ListModelPackageGroups."""
    return listing.page(GROUP, context.store.all(GROUP), request, result="ModelPackageGroupSummaryList")


def delete_group(context: Context, request: Document) -> Document:
    """DeleteModelPackageGroup: only an empty one."""
    name = _bare(request["ModelPackageGroupName"])
    if _versions(context, name):
        raise ApiError(f"The group {name!r} has packages. Delete them first.", code="ValidationException")
    context.store.delete(GROUP, name)
    return {}


def create(context: Context, request: Document) -> Document:
    """CreateModelPackage: the next version of its group."""
    if "ModelPackageGroupName" not in request or "InferenceSpecification" not in request:
        raise ApiError(
            "Rehearsed are versioned packages: name ModelPackageGroupName and InferenceSpecification.",
            code="NotRehearsed",
        )
    name = context.store.get(GROUP, _bare(request["ModelPackageGroupName"]))["ModelPackageGroupName"]
    token = request.get("ClientToken")
    for package in _versions(context, name):
        if token is not None and package.get("ClientToken") == token:
            return package
    version = 1 + max((package["ModelPackageVersion"] for package in _versions(context, name)), default=0)
    package = {
        "ModelApprovalStatus": "PendingManualApproval",
        **request,
        "ModelPackageGroupName": name,
        "ModelPackageVersion": version,
        "ModelPackageArn": arn("model-package", f"{name}/{version}", context.region),
        "ModelPackageStatus": "Completed",
        "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
    }
    context.store.create(PACKAGE, package)
    return package


def describe(context: Context, request: Document) -> Document:
    """DescribeModelPackage, by its ARN."""
    return context.store.get(PACKAGE, request["ModelPackageName"])


def list_all(context: Context, request: Document) -> Document:
    """ListModelPackages."""
    found = [
        package
        for package in context.store.all(PACKAGE)
        if request.get("ModelPackageGroupName") is None
        or package["ModelPackageGroupName"] == _bare(request["ModelPackageGroupName"])
        if request.get("ModelApprovalStatus") in (None, package["ModelApprovalStatus"])
    ]
    return listing.page(PACKAGE, found, request, result="ModelPackageSummaryList")


def update(context: Context, request: Document) -> Document:
    """UpdateModelPackage: approval and metadata."""

    def change(package: Document) -> None:
        removed = request.get("CustomerMetadataPropertiesToRemove", [])
        kept = package.get("CustomerMetadataProperties", {}) | request.get("CustomerMetadataProperties", {})
        package["CustomerMetadataProperties"] = {key: value for key, value in kept.items() if key not in removed}
        for field in ("ModelApprovalStatus", "ApprovalDescription"):
            if field in request:
                package[field] = request[field]

    return context.store.change(PACKAGE, request["ModelPackageArn"], change)


def delete(context: Context, request: Document) -> Document:
    """DeleteModelPackage, by its ARN."""
    context.store.delete(PACKAGE, request["ModelPackageName"])
    return {}


def _versions(context: Context, group: str) -> list[Document]:
    return [package for package in context.store.all(PACKAGE) if package["ModelPackageGroupName"] == group]


def _bare(name: str) -> str:
    """Name of a group that may be given by its ARN."""
    return name.rpartition("/")[2]
