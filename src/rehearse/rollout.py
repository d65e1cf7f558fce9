"""How an update reaches the requests: in steps, each watched for a while, and back when an alarm rings."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ..errors import ApiError
from .aws import Client
from .store import Document

_MAX_CANARY, _LINEAR = 50, (10, 50)
_RINGS = {
    "GreaterThanThreshold": float.__gt__,
    "GreaterThanOrEqualToThreshold": float.__ge__,
    "LessThanThreshold": float.__lt__,
    "LessThanOrEqualToThreshold": float.__le__,
}


@dataclass(frozen=True, slots=True)
class Rollout:
    """What a `DeploymentConfig` says; without one everything moves at once and unwatched."""

    steps: tuple[float, ...] = (1.0,)
    """Share of the requests that the new fleets get in each step."""
    wait_s: float = 0.0
    """How long each step is watched."""
    keep_s: float = 0.0
    """How long the old fleets stay after the last step."""
    alarms: tuple[str, ...] = ()
    """Names of the alarms that take it back."""


def read_rollout(deployment: Document | None, instances: int) -> Rollout:
    """Read a `DeploymentConfig`; `instances` is how many the new config has.

    Raises:
        ApiError: a size is none.
    """
    if deployment is None:
        return Rollout()
    policy = deployment.get("BlueGreenUpdatePolicy", {})
    routing = policy.get("TrafficRoutingConfiguration", {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0})
    steps: tuple[float, ...] = (1.0,)
    if routing["Type"] == "CANARY":
        size = _percent(routing, "CanarySize", instances, 1, _MAX_CANARY)
        steps = (size / 100, 1.0)
    elif routing["Type"] == "LINEAR":
        size = _percent(routing, "LinearStepSize", instances, *_LINEAR)
        count = -int(-100 // size)
        steps = tuple(min(1.0, number * size / 100) for number in range(1, count + 1))
    alarms = deployment.get("AutoRollbackConfiguration", {}).get("Alarms", [])
    return Rollout(
        steps,
        float(routing["WaitIntervalInSeconds"]),
        float(policy.get("TerminationWaitInSeconds", 0)),
        tuple(alarm["AlarmName"] for alarm in alarms),
    )


def find_alarms(cloudwatch: Client, names: Sequence[str]) -> list[Document]:
    """Describe alarms; ApiError when one is missing."""
    found = cloudwatch.describe_alarms(AlarmNames=list(names))["MetricAlarms"] if names else []
    missing = sorted(set(names) - {alarm["AlarmName"] for alarm in found})
    if missing:
        raise ApiError(f"There is no alarm {', '.join(missing)}. Make it first.", code="ValidationException")
    return list(found)


def ringing(cloudwatch: Client, names: Sequence[str], since: datetime) -> str | None:
    """Name of the first alarm that is set, or that its metric sets by now; None when none is.

    Args:
        cloudwatch: client of CloudWatch, which looks at no metric by itself here.
        names: of the alarms.
        since: when the update began; what came before is not its fault.
    """
    now = datetime.now(UTC)
    for alarm in find_alarms(cloudwatch, names):
        if alarm["StateValue"] == "ALARM" or _exceeded(cloudwatch, alarm, since, now):
            return str(alarm["AlarmName"])
    return None


def _exceeded(cloudwatch: Client, alarm: Document, since: datetime, now: datetime) -> bool:
    rings = _RINGS.get(alarm["ComparisonOperator"])
    if rings is None or "MetricName" not in alarm:
        return False
    span = timedelta(seconds=alarm["Period"] * alarm["EvaluationPeriods"])
    # CloudWatch's periods are whole; one that began before the update has what came since.
    points = cloudwatch.get_metric_statistics(
        Namespace=alarm["Namespace"],
        MetricName=alarm["MetricName"],
        Dimensions=alarm["Dimensions"],
        StartTime=max(since, now - span),
        EndTime=now + timedelta(seconds=1),
        Period=alarm["Period"],
        Statistics=[alarm["Statistic"]],
    )["Datapoints"]
    return any(rings(float(point[alarm["Statistic"]]), float(alarm["Threshold"])) for point in points)


def _percent(routing: Document, field: str, instances: int, low: int, high: int) -> float:
    given = routing.get(field)
    if given is None:
        raise ApiError(f"{routing['Type']} needs {field}.", code="ValidationException")
    percent = given["Value"] if given["Type"] == "CAPACITY_PERCENT" else 100 * given["Value"] / max(1, instances)
    if not low <= percent <= high:
        raise ApiError(f"{field} is {percent:g}% of all, expected {low} to {high}.", code="ValidationException")
    return float(percent)
