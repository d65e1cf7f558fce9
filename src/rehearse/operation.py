"""What an operation does here: the code, the fields that count, and how it differs from AWS."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..errors import ApiError
from .context import Context
from .store import Document

PAGING = "NextToken MaxResults SortBy SortOrder"
"""Fields of every List operation."""
CREATED = f"{PAGING} NameContains CreationTimeAfter CreationTimeBefore"
"""Fields of those on what never changes."""
FILTERS = f"{CREATED} LastModifiedTimeAfter LastModifiedTimeBefore"
"""Fields of most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation of SageMaker."""

    call: Callable[[Context, Document], Document]
    """Answers a request; the answer is cut to what the operation's shape has."""
    does: str
    """Fields that have their effect, with all below them; blanks between."""
    keeps: str = ""
    """Fields that are kept and shown, and have no effect on this machine."""
    same: str
    """What is as on AWS."""
    differs: str = "-"
    """What is not."""

    def refuse(self, name: str, request: Document) -> None:
        """Refuse fields that would be ignored.

        Raises:
            ApiError: with the names of the fields.
        """
        known = {*self.does.split(), *self.keeps.split()}
        unknown = sorted({path for path in paths(request) if not _covered(path, known)})
        if unknown:
            raise ApiError(
                f"{name} is rehearsed without {', '.join(unknown)}: nothing here would do what the field asks. "
                f"Leave it out, or run this on AWS. docs/fidelity.md lists what is rehearsed.",
                code="NotRehearsed",
            )


def paths(value: object, prefix: str = "") -> Iterator[str]:
    """Names of all fields that a request sets, dotted, without indices: `InputDataConfig.DataSource...`."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from paths(item, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for item in value:
            yield from paths(item, prefix)
    elif prefix and value is not None and value not in ({}, []):
        yield prefix


def _covered(path: str, known: set[str]) -> bool:
    parts = path.split(".")
    return any(".".join(parts[:length]) in known for length in range(1, len(parts) + 1))
