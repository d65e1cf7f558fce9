"""List operations: filters, order and pages, the same for every kind of resource."""

from collections.abc import Sequence

from ..errors import ApiError
from .store import NAMES, Document

PAGE = 100


def page(kind: str, documents: Sequence[Document], request: Document, *, result: str) -> Document:
    """Answer a List request.

    Args:
        kind: kind of the resources, of which the names of fields follow.
        documents: all of them, oldest first.
        request: filters (`NameContains`, `StatusEquals`, ...), `SortBy`, `SortOrder`, `MaxResults`.
        result: field of the answer that holds the summaries.

    Raises:
        ApiError: a token that this rehearsal has not given.
    """
    found = [document for document in documents if _wanted(kind, document, request)]
    order = {"Name": NAMES[kind], "Status": f"{kind}Status"}.get(request.get("SortBy", ""), "CreationTime")
    order = "LastModifiedTime" if request.get("SortBy") == "LastModifiedTime" else order
    found.sort(
        key=lambda document: document.get(order, ""), reverse=request.get("SortOrder", "Descending") == "Descending"
    )
    return cut(found, request, result=result)


def cut(found: Sequence[Document], request: Document, *, result: str) -> Document:
    """The page of an answer, whose entries are found and in order, that a request asks for.

    Raises:
        ApiError: a token that this rehearsal has not given.
    """
    try:
        first = int(request.get("NextToken") or 0)
    except ValueError as error:
        raise ApiError("NextToken is none that was given here.", code="ValidationException") from error
    last = first + request.get("MaxResults", PAGE)
    answer: Document = {result: found[first:last]}
    if last < len(found):
        answer["NextToken"] = str(last)
    return answer


def _wanted(kind: str, document: Document, request: Document) -> bool:
    created, modified = document["CreationTime"], document["LastModifiedTime"]
    return (
        request.get("NameContains", "").lower() in document[NAMES[kind]].lower()
        and request.get("StatusEquals") in (None, document.get(f"{kind}Status"))
        and created > request.get("CreationTimeAfter", -1)
        and created < request.get("CreationTimeBefore", float("inf"))
        and modified > request.get("LastModifiedTimeAfter", -1)
        and modified < request.get("LastModifiedTimeBefore", float("inf"))
    )
