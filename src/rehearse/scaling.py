"""Auto-scaling of endpoints: moto keeps targets and policies, a thread of ours follows them with real instances.

each minute   invocations an instance > target, 3 minutes in a row        -> more at once
              invocations an instance < 0.9 x target, 15 minutes in a row -> fewer
Source: https://docs.aws.amazon.com/autoscaling/application/userguide/target-tracking-scaling-policy-overview.html
"""

import json
import logging
import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import ApiError
from . import endpoints
from .context import Cause, Context
from .endpoint_run import KIND, EndpointRun
from .store import Document

log = logging.getLogger(__name__)

SERVICE = "application-autoscaling"
PREFIX = "AnyScaleFrontendService."
NAMESPACE, DIMENSION = "sagemaker", "sagemaker:variant:DesiredInstanceCount"
METRIC = "SageMakerVariantInvocationsPerInstance"
MINUTES_OUT, MINUTES_IN = 3, 15
"""Minutes in a row before instances come or go."""
SLACK = 0.9
"""Instances go when fewer than this share of the target is asked of each."""
COOLDOWN_S = 300
_ENDPOINT_PARTS = 4
_DOES = {
    "RegisterScalableTarget": "ServiceNamespace ResourceId ScalableDimension MinCapacity MaxCapacity RoleARN",
    "DeregisterScalableTarget": "ServiceNamespace ResourceId ScalableDimension",
    "DescribeScalableTargets": "ServiceNamespace ResourceIds ScalableDimension MaxResults NextToken",
    "PutScalingPolicy": "PolicyName ServiceNamespace ResourceId ScalableDimension PolicyType "
    "TargetTrackingScalingPolicyConfiguration",
    "DescribeScalingPolicies": "PolicyNames ServiceNamespace ResourceId ScalableDimension MaxResults NextToken",
    "DeleteScalingPolicy": "PolicyName ServiceNamespace ResourceId ScalableDimension",
}
_POLICY = {"TargetValue", "PredefinedMetricSpecification", "ScaleInCooldown", "ScaleOutCooldown", "DisableScaleIn"}


def check(context: Context, target: str, body: bytes) -> None:
    """Refuse what moto would take and nobody here would do.

    Args:
        context: the rehearsal.
        target: operation as the header names it.
        body: the request.

    Raises:
        ApiError: an operation, a field, a dimension or a policy that is not rehearsed, or a variant that is not there.
    """
    operation, request = target.removeprefix(PREFIX), json.loads(body or b"{}")
    if operation not in _DOES:
        raise _refused(f"{operation} of {SERVICE} is not rehearsed. Rehearsed are {', '.join(_DOES)}.")
    unknown = sorted(request.keys() - set(_DOES[operation].split()))
    if unknown:
        raise _refused(f"{operation} is rehearsed without {', '.join(unknown)}.")
    if request.get("ServiceNamespace") != NAMESPACE or request.get("ScalableDimension", DIMENSION) != DIMENSION:
        raise _refused(f"Rehearsed is the service {NAMESPACE!r} with the dimension {DIMENSION!r}.")
    if operation in ("RegisterScalableTarget", "PutScalingPolicy"):
        name, variant = _place(request["ResourceId"])
        shown = context.store.get(KIND, name)["ProductionVariants"]
        if variant not in [item["VariantName"] for item in shown if "CurrentInstanceCount" in item]:
            raise ApiError(f"{name!r} has no variant {variant!r} with instances.", code="ValidationException")
    if request.get("MinCapacity") == 0:
        raise _refused("MinCapacity is 0, expected at least 1: scaling to zero is not rehearsed.")
    if operation == "PutScalingPolicy":
        _check_policy(request)


def _check_policy(request: Document) -> None:
    config = request.get("TargetTrackingScalingPolicyConfiguration", {})
    metric = config.get("PredefinedMetricSpecification", {}).get("PredefinedMetricType")
    if request.get("PolicyType") != "TargetTrackingScaling" or metric != METRIC or config.keys() - _POLICY:
        raise _refused(f"Rehearsed is the policy type TargetTrackingScaling on the predefined metric {METRIC}.")


@dataclass(slots=True, kw_only=True)
class Tracker:
    """What one variant's policy remembers from minute to minute."""

    above: int = 0
    """Minutes in a row over the target."""
    below: int = 0
    """Minutes in a row clearly under it."""
    changed: float = -math.inf
    """When the number of instances was changed, in minutes."""

    def decide(self, asked: float, count: int, target: Document, policy: Document, now: float) -> int:
        """Number of instances that there should be.

        Args:
            asked: invocations of the last minute.
            count: instances that there are.
            target: scalable target, with its bounds.
            policy: configuration of the target tracking.
            now: in minutes.
        """
        each, wanted = asked / max(count, 1), float(policy["TargetValue"])
        self.above = self.above + 1 if each > wanted else 0
        self.below = self.below + 1 if each < SLACK * wanted else 0
        low, high = target["MinCapacity"], target["MaxCapacity"]
        found = min(max(math.ceil(asked / wanted), low), high)
        rested = (now - self.changed) * 60
        if count < low:
            return self._change(low, now)
        if found > count and self.above >= MINUTES_OUT and rested >= policy.get("ScaleOutCooldown", COOLDOWN_S):
            return self._change(found, now)
        if policy.get("DisableScaleIn"):
            return count
        if found < count and self.below >= MINUTES_IN and rested >= policy.get("ScaleInCooldown", COOLDOWN_S):
            return self._change(found, now)
        return count

    def _change(self, count: int, now: float) -> int:
        self.above = self.below = 0
        self.changed = now
        return count


class Scaler:
    """Looks at the policies once a minute, until the rehearsal ends."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._ended = threading.Event()
        self._trackers: dict[str, Tracker] = {}
        self._counted: dict[str, int] = {}
        self.thread = threading.Thread(target=self._run, name="scaler", daemon=True)

    def tell(self, cause: Cause) -> bool:
        """End it."""
        del cause
        self._ended.set()
        return True

    def _run(self) -> None:
        try:
            while not self._ended.wait(self._context.settings.minute_s):
                self._look()
        finally:
            self._context.ended(self)

    def _look(self) -> None:
        client = self._context.clients.scaling
        targets = client.describe_scalable_targets(ServiceNamespace=NAMESPACE)["ScalableTargets"]
        policies = client.describe_scaling_policies(ServiceNamespace=NAMESPACE)["ScalingPolicies"]
        by_place = {policy["ResourceId"]: policy["TargetTrackingScalingPolicyConfiguration"] for policy in policies}
        for target in targets:
            if (policy := by_place.get(target["ResourceId"])) is not None:
                self._follow(target, policy)
        self._trackers = {place: kept for place, kept in self._trackers.items() if place in by_place}

    def _follow(self, target: Document, policy: Mapping[str, object]) -> None:
        place = target["ResourceId"]
        name, variant = _place(place)
        run = self._context.run(KIND, name)
        if not isinstance(run, EndpointRun):
            return
        total = run.asked[variant]
        asked = total - self._counted.get(place, total)
        self._counted[place] = total
        endpoint = self._context.store.get(KIND, name)
        counts = {item["VariantName"]: item.get("DesiredInstanceCount", 0) for item in endpoint["ProductionVariants"]}
        count = counts.get(variant, 0)
        # While it is updated it cannot be changed: what this minute says is left to the next one.
        if endpoint["EndpointStatus"] != "InService" or not count:
            return
        tracker = self._trackers.setdefault(place, Tracker())
        wanted = tracker.decide(asked, count, target, dict(policy), time.monotonic() / self._context.settings.minute_s)
        if wanted != count:
            log.info("endpoint %s, variant %s: %d invocations, %d -> %d instances", name, variant, asked, count, wanted)
            change = {"VariantName": variant, "DesiredInstanceCount": wanted}
            endpoints.update_weights(self._context, {"EndpointName": name, "DesiredWeightsAndCapacities": [change]})


def _place(resource: str) -> tuple[str, str]:
    """Endpoint and variant of a resource id `endpoint/NAME/variant/NAME`.

    Raises:
        ApiError: it has another form.
    """
    parts = resource.split("/")
    if len(parts) != _ENDPOINT_PARTS or (parts[0], parts[2]) != ("endpoint", "variant"):
        raise ApiError(f"ResourceId is {resource!r}, expected endpoint/NAME/variant/NAME.", code="ValidationException")
    return parts[1], parts[3]


def _refused(text: str) -> ApiError:
    return ApiError(text, code="NotRehearsed")
