"""Tags of any resource, by its ARN."""

from . import listing
from .context import Context
from .store import NAMES, Document


def add(context: Context, request: Document) -> Document:
    """AddTags: a key that is there takes the new value."""
    kind, document = context.store.by_arn(request["ResourceArn"])

    def change(kept: Document) -> None:
        tags = {tag["Key"]: tag["Value"] for tag in kept.get("Tags", [])}
        tags.update({tag["Key"]: tag["Value"] for tag in request["Tags"]})
        kept["Tags"] = [{"Key": key, "Value": value} for key, value in tags.items()]

    return context.store.change(kind, document[NAMES[kind]], change)


def list_all(context: Context, request: Document) -> Document:
    """ListTags."""
    return listing.cut(context.store.by_arn(request["ResourceArn"])[1].get("Tags", []), request, result="Tags")


def delete(context: Context, request: Document) -> Document:
    """DeleteTags."""
    kind, document = context.store.by_arn(request["ResourceArn"])
    kept = [tag for tag in document.get("Tags", []) if tag["Key"] not in request["TagKeys"]]
    context.store.update(kind, document[NAMES[kind]], Tags=kept)
    return {}
