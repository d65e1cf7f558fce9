"""Monitoring: a schedule that holds captured requests against the baseline of the model's data."""

import time

from ..errors import UserError
from . import endpoints, guardrails, models, results
from .aws import Document
from .names import digest
from .progress import wait_gone
from .project import Project
from .resources import SCHEDULE, TRAINING, find, owned

NOW = "NOW"
PROCESSING = "/opt/ml/processing"
GOOD = ("Completed", "CompletedWithViolations")
BUSY = ("Pending", "InProgress", "Stopping")


def create(project: Project, *, now: bool = False) -> str:
    """Make the schedule that the file asks for, unless there is one, in the place of any other; returns its name.

    Args:
        project: the project.
        now: run once, on the last hour, beside any schedule.

    Raises:
        UserError: there is no endpoint, it captures nothing, or there is no baseline.
    """
    endpoint = endpoints.existing(project)
    if not endpoint.get("DataCaptureConfig"):
        raise UserError(
            f"Endpoint {project.config.endpoint} keeps no requests. Expected some to look at: "
            f"`twofold deploy --capture 100`."
        )
    config = {"MonitoringType": "DataQuality", "MonitoringJobDefinition": _definition(project, endpoint)}
    # Offsets to the time at which it runs: hours as AWS wants them when it runs once.
    once = {"ScheduleExpression": NOW, "DataAnalysisStartTime": "-PT1H", "DataAnalysisEndTime": "-PT0H"}
    config["ScheduleConfig"] = once if now else {"ScheduleExpression": project.config.monitor.schedule}
    name = f"{project.config.endpoint[:50]}-{digest(config)}"
    if find(project.aws, SCHEDULE, name) is not None:
        if not now:
            project.say(f"monitoring schedule {name} is there already")
            return name
        _delete(project, name)
    elif not now:
        _replace_others(project)
    project.aws.do(
        "sagemaker",
        "CreateMonitoringSchedule",
        MonitoringScheduleName=name,
        MonitoringScheduleConfig=config,
        Tags=project.tags,
    )
    if project.config.monitor.topic and not now:
        guardrails.watch_violations(project, name)
    return name


def wait_execution(project: Project, name: str) -> Document:
    """Wait for the newest execution of a schedule and describe it; UserError when it did not come to a good end."""
    said = ""
    while True:
        found = project.aws.ask(
            "sagemaker", "ListMonitoringExecutions", MonitoringScheduleName=name, SortOrder="Descending"
        )["MonitoringExecutionSummaries"]
        status = str(found[0]["MonitoringExecutionStatus"]) if found else "Pending"
        if status != said:
            project.say(f"monitoring schedule {name}: {status}")
            said = status
        if status not in BUSY:
            break
        time.sleep(project.aws.poll_s)
    if status not in GOOD:
        raise UserError(f"The execution of {name} is {status}: {found[0].get('FailureReason', 'no reason given')}.")
    return dict(found[0])


def baseline(project: Project, endpoint: Document) -> str:
    """Folder of the baseline: the one of the file, else that of the model which gets most requests.

    Raises:
        UserError: there is none.
    """
    if project.config.monitor.baseline:
        return project.data(project.config.monitor.baseline).rstrip("/")
    container = models.serving(project, endpoint)
    if "ModelPackageName" in container:
        package = models.package(project, container["ModelPackageName"])
        known = package.get("DriftCheckBaselines", {}).get("ModelDataQuality", {})
        if "Statistics" in known:
            return str(known["Statistics"]["S3Uri"]).rpartition("/")[0]
        container = package["InferenceSpecification"]["Containers"][0]
    job = _job(project, str(container.get("ModelDataUrl", "")))
    files = results.baseline(project, job) if job is not None else {}
    if not files:
        raise UserError(
            f"The model of endpoint {project.config.endpoint} has no baseline. Expected one: train with "
            f"`-p baseline=true`, or set monitor.baseline to a folder with statistics.json and constraints.json."
        )
    return next(iter(files.values())).rpartition("/")[0]


def _job(project: Project, model: str) -> Document | None:
    """Describe the training job that wrote a model: the platform puts the job's name into the place."""
    parts = model.split("/")
    name = parts[-3] if len(parts) > 3 and parts[-2:] == ["output", "model.tar.gz"] else ""
    return find(project.aws, TRAINING, name) if name else None


def _definition(project: Project, endpoint: Document) -> Document:
    monitor = project.config.monitor
    place = baseline(project, endpoint)
    return {
        "BaselineConfig": {
            "ConstraintsResource": {"S3Uri": f"{place}/constraints.json"},
            "StatisticsResource": {"S3Uri": f"{place}/statistics.json"},
        },
        "MonitoringInputs": [
            {
                "EndpointInput": {
                    "EndpointName": project.config.endpoint,
                    "LocalPath": f"{PROCESSING}/endpointdata",
                }
            }
        ],
        "MonitoringOutputConfig": {
            "MonitoringOutputs": [
                {"S3Output": {"S3Uri": project.storage.uri("monitoring"), "LocalPath": f"{PROCESSING}/resultdata"}}
            ]
        },
        "MonitoringResources": {
            "ClusterConfig": {
                "InstanceCount": monitor.instance_count,
                "InstanceType": monitor.instance_type,
                "VolumeSizeInGB": 20,
            }
        },
        "MonitoringAppSpecification": {"ImageUri": project.image},
        "RoleArn": project.role,
        "StoppingCondition": {"MaxRuntimeInSeconds": monitor.max_seconds},
        **({"Environment": monitor.environment} if monitor.environment else {}),
        **({"NetworkConfig": project.vpc} if project.vpc else {}),
    }


def _replace_others(project: Project) -> None:
    for other in list(owned(project.aws, SCHEDULE, project.name, EndpointName=project.config.endpoint)):
        _delete(project, other[SCHEDULE.name])


def _delete(project: Project, name: str) -> None:
    project.say(f"monitoring schedule {name}: deleted")
    project.aws.do("sagemaker", "DeleteMonitoringSchedule", MonitoringScheduleName=name)
    wait_gone(project, SCHEDULE, name)
