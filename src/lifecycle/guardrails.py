"""What watches an endpoint: alarms, the way an update reaches the requests, scaling by load."""

import contextlib
from collections.abc import Sequence

from .aws import Document
from .project import Project
from .refusals import NotRehearsed

SCALER, SERVICE = "application-autoscaling", "sagemaker"
DIMENSION = "sagemaker:variant:DesiredInstanceCount"
PERIOD_S = 60


def deployment(project: Project, variants: Sequence[str]) -> Document:
    """`DeploymentConfig` of an update, or nothing where the file asks for none; makes its alarms."""
    guardrail = project.config.deploy.guardrail
    if project.config.deploy.mode not in ("realtime", "async"):
        return {}
    if guardrail.kind == "all-at-once" and not guardrail.alarms:
        return {}
    routing: Document = {
        "Type": guardrail.kind.upper().replace("-", "_"),
        "WaitIntervalInSeconds": guardrail.wait_seconds,
    }
    size = {"Type": "CAPACITY_PERCENT", "Value": guardrail.percent}
    if guardrail.kind == "canary":
        routing["CanarySize"] = size
    elif guardrail.kind == "linear":
        routing["LinearStepSize"] = size
    found: Document = {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing}}
    if guardrail.alarms:
        names = [name for variant in variants for name in make_alarms(project, variant)]
        # AWS takes up to ten.
        found["AutoRollbackConfiguration"] = {"Alarms": [{"AlarmName": name} for name in names[:10]]}
    return {"DeploymentConfig": found}


def make_alarms(project: Project, variant: str) -> list[str]:
    """Make the alarms of a variant, or change them; returns their names."""
    endpoint, guardrail = project.config.endpoint, project.config.deploy.guardrail
    dimensions = [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": variant}]
    metrics = {
        "5xx": ("Invocation5XXErrors", "Sum", float(guardrail.max_5xx)),
        # The platform counts latency in microseconds.
        "latency": ("ModelLatency", "Average", guardrail.max_latency_ms * 1000),
    }
    for word, (metric, statistic, threshold) in metrics.items():
        project.aws.do(
            "cloudwatch",
            "PutMetricAlarm",
            AlarmName=f"{alarm_prefix(project)}{variant}-{word}",
            Namespace="AWS/SageMaker",
            MetricName=metric,
            Dimensions=dimensions,
            Statistic=statistic,
            Period=PERIOD_S,
            EvaluationPeriods=1,
            Threshold=threshold,
            ComparisonOperator="GreaterThanThreshold",
            TreatMissingData="notBreaching",
            Tags=project.tags,
        )
    return [f"{alarm_prefix(project)}{variant}-{word}" for word in metrics]


def watch_violations(project: Project, schedule: str) -> None:
    """Have the topic of the file hear when an execution of a monitoring schedule finds violations."""
    names = {"Endpoint": project.config.endpoint, "MonitoringSchedule": schedule}
    project.aws.do(
        "cloudwatch",
        "PutMetricAlarm",
        AlarmName=f"{alarm_prefix(project)}violations",
        Namespace="/aws/sagemaker/Endpoint/data-metrics",
        MetricName="violations",
        Dimensions=[{"Name": name, "Value": value} for name, value in names.items()],
        Statistic="Maximum",
        Period=3600,
        EvaluationPeriods=1,
        Threshold=0.0,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
        AlarmActions=[project.config.monitor.topic],
        Tags=project.tags,
    )


def alarm_prefix(project: Project) -> str:
    """What the names of all alarms of the endpoint begin with."""
    return f"{project.name}/{project.config.endpoint}/"


def alarms(project: Project) -> list[str]:
    """Names of the endpoint's alarms that there are."""
    found = project.aws.pages("cloudwatch", "DescribeAlarms", "MetricAlarms", AlarmNamePrefix=alarm_prefix(project))
    return [item["AlarmName"] for item in found]


def scale(project: Project, variant: str) -> None:
    """Have AWS keep the load of each instance of a variant, where the file asks for it."""
    scaling = project.config.deploy.scaling
    if scaling is None or project.config.deploy.mode not in ("realtime", "async"):
        return
    target = {
        "ServiceNamespace": SERVICE,
        "ResourceId": _resource(project, variant),
        "ScalableDimension": DIMENSION,
    }
    project.aws.do(SCALER, "RegisterScalableTarget", **target, MinCapacity=scaling.min, MaxCapacity=scaling.max)
    tracking: Document = {"TargetValue": scaling.invocations}
    if project.config.deploy.mode == "async":
        tracking["CustomizedMetricSpecification"] = {
            "Namespace": "AWS/SageMaker",
            "MetricName": "ApproximateBacklogSizePerInstance",
            "Dimensions": [{"Name": "EndpointName", "Value": project.config.endpoint}],
            "Statistic": "Average",
        }
    else:
        metric = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
        tracking["PredefinedMetricSpecification"] = metric
    project.aws.do(
        SCALER,
        "PutScalingPolicy",
        PolicyName=f"{project.config.endpoint}-{variant}",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration=tracking,
        **target,
    )


def unscale(project: Project, variants: Sequence[str]) -> None:
    """Take the scaling of variants away, with its policies, where there is any."""
    wanted = [_resource(project, variant) for variant in variants]
    if not wanted:
        return
    # A rehearsal that does not scale has nothing to take away.
    with contextlib.suppress(NotRehearsed):
        for target in project.aws.pages(
            SCALER, "DescribeScalableTargets", "ScalableTargets", ServiceNamespace=SERVICE, ResourceIds=wanted
        ):
            project.aws.do(
                SCALER,
                "DeregisterScalableTarget",
                ServiceNamespace=SERVICE,
                ResourceId=target["ResourceId"],
                ScalableDimension=target["ScalableDimension"],
            )


def _resource(project: Project, variant: str) -> str:
    return f"endpoint/{project.config.endpoint}/variant/{variant}"
