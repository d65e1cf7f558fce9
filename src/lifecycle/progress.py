"""Waiting for what SageMaker does, saying each change once, until a status that stays."""

import time
from collections.abc import Callable

from ..errors import PlatformError, UserError
from .aws import Document
from .project import Project
from .resources import Kind, describe, find

BUSY = {"InProgress", "Stopping", "Creating", "Updating", "SystemUpdating", "RollingBack", "Pending", "Deleting"}
"""Statuses that do not stay."""
CAPACITY = ("CapacityError", "InsufficientInstanceCapacity", "capacity")


def wait(project: Project, kind: Kind, name: str, look: Callable[[], None] | None = None) -> Document:
    """Wait until a resource is steady and describe it.

    Args:
        project: the project.
        kind: kind of the resource.
        name: its name.
        look: called after each look, e.g. to show the lines of a log.
    """
    if project.aws.dry:
        return {kind.name: name, kind.status: "DryRun"}
    said, started = "", time.monotonic()
    while True:
        found = describe(project.aws, kind, name)
        state = _state(kind, found)
        if state != said:
            project.say(f"{kind.word} {name}: {state} ({time.monotonic() - started:.0f} s)")
            said = state
        if look is not None:
            look()
        if found[kind.status] not in BUSY:
            return found
        time.sleep(project.aws.poll_s)


def wait_gone(project: Project, kind: Kind, name: str) -> None:
    """Wait until there is no resource of a name any more."""
    while not project.aws.dry and (found := find(project.aws, kind, name)) is not None:
        if found[kind.status] == "Failed":
            raise PlatformError(f"{kind.word} {name} cannot be deleted: {found.get('FailureReason', 'no reason')}.")
        time.sleep(project.aws.poll_s)


def demand(kind: Kind, found: Document, *wanted: str) -> Document:
    """Return a description whose status is one of those wanted.

    Raises:
        PlatformError: AWS had no machine for it.
        UserError: it came to another end; its reason is told.
    """
    status, name = found[kind.status], found[kind.name]
    if status in (*wanted, "DryRun"):
        return found
    reason = " ".join(str(found.get("FailureReason") or "no reason given").split()).rstrip(".")
    text = f"{kind.word} {name} is {status}: {reason}."
    if any(word in reason for word in CAPACITY):
        raise PlatformError(f"{text} Expected machines to be free: try later, or take another instance_type or region.")
    raise UserError(f"{text} See `twofold logs {name}`.")


def _state(kind: Kind, found: Document) -> str:
    status, second = str(found[kind.status]), str(found.get("SecondaryStatus", ""))
    if "TrainingJobStatusCounters" in found:
        return f"{status}, {found['TrainingJobStatusCounters'].get('Completed', 0)} training jobs completed"
    return f"{status}, {second}" if second and second != status else status
