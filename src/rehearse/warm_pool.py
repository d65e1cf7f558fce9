"""Warm pools: what DescribeTrainingJob says of the instances that a job asked to keep, by the clock of the wall.

InUse --the job has ended--> Available --a job that matches is created--> Reused
                                 +--KeepAlivePeriodInSeconds is over--> Terminated
"""

import time

from ..errors import ApiError
from .context import Context
from .store import Document

KIND = "TrainingJob"
KEEP = "KeepAlivePeriodInSeconds"
POOL = "WarmPool"
"""Field of a job that asked for a pool: who reused it, and when."""
_ALIKE = ("RoleArn", "VpcConfig", "EnableInterContainerTrafficEncryption", "EnableNetworkIsolation")
_ALIKE_RESOURCES = ("InstanceCount", "InstanceType", "VolumeKmsKeyId", "VolumeSizeInGB")


def check(request: Document) -> None:
    """Refuse a pool where the platform has none.

    Raises:
        ApiError: it would be refused.
    """
    if request["ResourceConfig"].get(KEEP):
        if request.get("EnableManagedSpotTraining"):
            raise _invalid(f"{KEEP} is for instances on demand: leave it or EnableManagedSpotTraining out.")
        if "InstanceGroups" in request["ResourceConfig"]:
            raise _invalid(f"{KEEP} is for one kind of instance: leave it or InstanceGroups out.")


def asked(request: Document) -> Document:
    """The field of a job that asks for a pool, or none."""
    return {POOL: {}} if request["ResourceConfig"].get(KEEP) else {}


def shown(job: Document) -> Document:
    """A job with the status that its pool has now."""
    if POOL not in job:
        return job
    now, ended, pool = time.time(), job.get("TrainingEndTime"), job[POOL]
    if ended is None:
        return {**job, "WarmPoolStatus": {"Status": "InUse"}}
    until = ended + job["ResourceConfig"].get(KEEP, 0)
    seconds = round(min(now, until, pool.get("At", now)) - ended)
    status: Document = {"Status": "Available" if now < until else "Terminated"}
    if pool:
        status = {"Status": "Reused", "ReusedByJob": pool["By"]}
    return {**job, "WarmPoolStatus": {**status, "ResourceRetainedBillableTimeInSeconds": max(0, seconds)}}


def reuse(context: Context, job: Document) -> None:
    """Give a new job the oldest pool that it matches, if there is one."""
    name, found = job["TrainingJobName"], False

    def take(other: Document) -> None:
        nonlocal found
        found = _is_available(other)
        if found:
            other[POOL] = {"By": name, "At": time.time()}

    for other in context.store.all(KIND):
        if not found and _is_available(other) and _key(other) == _key(job):
            context.store.change(KIND, other["TrainingJobName"], take)


def update(context: Context, request: Document) -> Document:
    """UpdateTrainingJob: another time for the pool; 0 ends it.

    Raises:
        ApiError: the job has no pool, or it is gone.
    """
    name = request["TrainingJobName"]
    seconds = request.get("ResourceConfig", {}).get(KEEP)
    if seconds is None:
        raise _invalid(f"ResourceConfig.{KEEP} is missing: nothing else is updated.")

    def change(job: Document) -> None:
        status = shown(job).get("WarmPoolStatus", {}).get("Status", "none")
        if status not in ("Available", "InUse"):
            raise _invalid(f"The warm pool of training job {name!r} is {status}. Expected Available or InUse.")
        job["ResourceConfig"][KEEP] = seconds

    return {"TrainingJobArn": context.store.change(KIND, name, change)["TrainingJobArn"]}


def _is_available(job: Document) -> bool:
    return bool(shown(job).get("WarmPoolStatus", {}).get("Status") == "Available")


def _key(job: Document) -> list[object]:
    """What two jobs must have alike; session tags are not rehearsed."""
    return [*(job.get(name) for name in _ALIKE), *(job["ResourceConfig"].get(name) for name in _ALIKE_RESOURCES)]


def _invalid(text: str) -> ApiError:
    return ApiError(text, code="ValidationException")
