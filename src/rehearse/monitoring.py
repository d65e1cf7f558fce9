"""Monitoring schedules: a processing job over captured data, now or when a cron expression says so."""

import re
import threading
import uuid
from datetime import UTC, datetime, timedelta

from croniter import croniter

from ..errors import ApiError
from . import listing, processing
from .aws import arn
from .context import Cause, Context
from .store import Document

KIND = "MonitoringSchedule"
HOUR = timedelta(hours=1)
NOW = "NOW"
DATA = "/opt/ml/processing/endpointdata"
_BASELINES = {
    "ConstraintsResource": ("baseline_constraints", "constraints"),
    "StatisticsResource": ("baseline_statistics", "stats"),
}


class ScheduleRun:
    """Waits for the next execution, again and again."""

    def __init__(self, context: Context, name: str) -> None:
        self._context, self._name = context, name
        self._ended = threading.Event()
        self.thread = threading.Thread(target=self._run, name=f"{KIND} {name}", daemon=True)

    def tell(self, cause: Cause) -> bool:
        """End it; an execution that runs goes on."""
        del cause
        self._ended.set()
        return True

    def _run(self) -> None:
        try:
            expression = _config(self._context, self._name)["ScheduleConfig"]["ScheduleExpression"]
            if expression == NOW:
                self._execute(datetime.now(UTC))
                return
            ticks = croniter(cron(expression), datetime.now(UTC), ret_type=datetime)
            moment = ticks.get_next()
            while not self._ended.wait(max(0.0, (moment - datetime.now(UTC)).total_seconds())):
                self._execute(moment)
                moment = ticks.get_next()
        finally:
            self._context.ended(self)

    def _execute(self, moment: datetime) -> None:
        try:
            execute(self._context, self._name, moment)
        except ApiError as error:
            # Its endpoint or its config is gone by now: the schedule says so, and tries again the next time.
            self._context.store.update(
                KIND, self._name, MonitoringScheduleStatus="Failed", FailureReason=str(error)[:1024]
            )


def create(context: Context, request: Document) -> Document:
    """CreateMonitoringSchedule."""
    name = request["MonitoringScheduleName"]
    config = request["MonitoringScheduleConfig"]
    if "MonitoringJobDefinition" not in config or "ScheduleConfig" not in config:
        raise ApiError("Rehearsed are schedules with ScheduleConfig and MonitoringJobDefinition.", code="NotRehearsed")
    cron(config["ScheduleConfig"]["ScheduleExpression"])
    window(config["ScheduleConfig"], datetime.now(UTC))
    endpoint = _input(config)["EndpointName"]
    if not context.store.get("Endpoint", endpoint).get("DataCaptureConfig"):
        raise ApiError(f"Endpoint {endpoint!r} captures no data.", code="ValidationException")
    schedule = {
        **request,
        "MonitoringScheduleArn": arn("monitoring-schedule", name, context.region),
        "MonitoringScheduleStatus": "Scheduled",
        "EndpointName": endpoint,
    }
    return context.begin(KIND, schedule, lambda name: ScheduleRun(context, name))


def describe(context: Context, request: Document) -> Document:
    """DescribeMonitoringSchedule."""
    schedule = context.store.get(KIND, request["MonitoringScheduleName"])
    executions = _executions(context, request["MonitoringScheduleName"])
    return {**schedule, "LastMonitoringExecutionSummary": executions[-1]} if executions else schedule


def list_all(context: Context, request: Document) -> Document:
    """ListMonitoringSchedules."""
    wanted = request.get("EndpointName")
    found = [schedule for schedule in context.store.all(KIND) if wanted in (None, schedule["EndpointName"])]
    return listing.page(KIND, found, request, result="MonitoringScheduleSummaries")


def list_executions(context: Context, request: Document) -> Document:
    """ListMonitoringExecutions: of one schedule, newest first."""
    if "MonitoringScheduleName" not in request:
        raise ApiError("Rehearsed are executions of one MonitoringScheduleName.", code="NotRehearsed")
    found = _executions(context, request["MonitoringScheduleName"])
    found.sort(key=lambda item: item["ScheduledTime"], reverse=request.get("SortOrder", "Descending") == "Descending")
    return listing.cut(found, request, result="MonitoringExecutionSummaries")


def start(context: Context, request: Document) -> Document:
    """StartMonitoringSchedule: goes on with one that was stopped."""
    name = request["MonitoringScheduleName"]
    context.store.update(KIND, name, MonitoringScheduleStatus="Scheduled")
    if context.run(KIND, name) is None:
        context.start(KIND, name, ScheduleRun(context, name))
    return {}


def stop(context: Context, request: Document) -> Document:
    """StopMonitoringSchedule."""
    name = request["MonitoringScheduleName"]
    context.store.update(KIND, name, MonitoringScheduleStatus="Stopped")
    _end(context, name)
    return {}


def delete(context: Context, request: Document) -> Document:
    """DeleteMonitoringSchedule."""
    context.store.get(KIND, request["MonitoringScheduleName"])
    _end(context, request["MonitoringScheduleName"])
    context.store.delete(KIND, request["MonitoringScheduleName"])
    return {}


def recover(context: Context) -> None:
    """Go on with the schedules of the rehearsal before; those that ran once are done."""
    for schedule in context.store.all(KIND):
        expression = schedule["MonitoringScheduleConfig"]["ScheduleConfig"]["ScheduleExpression"]
        if schedule["MonitoringScheduleStatus"] == "Scheduled" and expression != NOW:
            name = schedule["MonitoringScheduleName"]
            context.start(KIND, name, ScheduleRun(context, name))


def cron(expression: str) -> str:
    """Five fields of cron from the six of `cron(0 * ? * * *)`, of which the last is a year.

    Raises:
        ApiError: it cannot be read, or names a year.
    """
    if expression == NOW:
        return expression
    fields = expression.removeprefix("cron(").removesuffix(")").replace("?", "*").split()
    if len(fields) != 6 or fields[5] != "*" or not croniter.is_valid(" ".join(fields[:5])):
        raise ApiError(
            f"ScheduleExpression {expression!r}: expected NOW, or hours or days such as cron(0 * ? * * *).",
            code="ValidationException",
        )
    return " ".join(fields[:5])


def window(timing: Document, moment: datetime) -> tuple[datetime, datetime]:
    """Start and end of what an execution looks at: the hour before, or what offsets such as `-PT2H` say.

    Raises:
        ApiError: an offset cannot be read.
    """
    end = moment if timing["ScheduleExpression"] == NOW else _hour(moment)
    first = end - _offset(timing.get("DataAnalysisStartTime", "-PT1H"))
    return first, end - _offset(timing.get("DataAnalysisEndTime", "-PT0H"))


def _offset(text: str) -> timedelta:
    match = re.fullmatch(r"-P(?:(\d+)D)?(?:T(\d+)H)?", text)
    if match is None:
        raise ApiError(f"The offset {text!r} cannot be read, expected one such as -PT1H.", code="ValidationException")
    return timedelta(days=int(match[1] or 0), hours=int(match[2] or 0))


def execute(context: Context, name: str, moment: datetime) -> None:
    """Run the schedule's processing job on the hour before a moment."""
    schedule = context.store.get(KIND, name)
    definition = schedule["MonitoringScheduleConfig"]["MonitoringJobDefinition"]
    endpoint, given = schedule["EndpointName"], _input(schedule["MonitoringScheduleConfig"])
    capture = context.store.get("Endpoint", endpoint)["DataCaptureConfig"]["DestinationS3Uri"].rstrip("/")
    place = given.get("LocalPath", DATA)
    output = definition["MonitoringOutputConfig"]["MonitoringOutputs"][0]["S3Output"]
    start, end = window(schedule["MonitoringScheduleConfig"]["ScheduleConfig"], moment)
    inputs = [_s3_input("endpointdata", f"{capture}/{endpoint}", place)]
    environ = {
        "dataset_format": '{"sagemakerCaptureJson": {"captureIndexNames": ["endpointInput", "endpointOutput"]}}',
        "dataset_source": place,
        "output_path": output["LocalPath"],
        "start_time": _iso(start),
        "end_time": _iso(end),
        "publish_cloudwatch_metrics": "Enabled",
        "sagemaker_endpoint_name": endpoint,
        "sagemaker_monitoring_schedule_name": name,
        "sagemaker_endpoint_datacapture_prefix": capture,
    }
    for field, (variable, folder) in _BASELINES.items():
        if uri := definition.get("BaselineConfig", {}).get(field, {}).get("S3Uri"):
            inputs.append(_s3_input(folder, uri, f"/opt/ml/processing/baseline/{folder}"))
            environ[variable] = f"/opt/ml/processing/baseline/{folder}/{uri.rpartition('/')[2]}"
    application = definition["MonitoringAppSpecification"]
    results = f"{output['S3Uri'].rstrip('/')}/{endpoint}/{name}/{end.strftime('%Y/%m/%d/%H')}"
    processing.start(
        context,
        {
            "ProcessingJobName": f"model-monitoring-{end.strftime('%Y%m%d%H%M')}-{uuid.uuid4().hex[:16]}",
            "ProcessingInputs": inputs,
            "ProcessingOutputConfig": {
                "Outputs": [
                    {
                        "OutputName": "result",
                        "S3Output": {"S3UploadMode": "EndOfJob", **output, "S3Uri": results},
                    }
                ]
            },
            "ProcessingResources": definition["MonitoringResources"],
            "AppSpecification": application,
            "Environment": {**environ, **definition.get("Environment", {})},
            "NetworkConfig": definition.get("NetworkConfig", {}),
            "StoppingCondition": definition.get("StoppingCondition", {"MaxRuntimeInSeconds": 3600}),
            "RoleArn": definition["RoleArn"],
            "MonitoringScheduleArn": schedule["MonitoringScheduleArn"],
            "ScheduledTime": moment.timestamp(),
        },
    )


def _executions(context: Context, name: str) -> list[Document]:
    schedule = context.store.get(KIND, name)
    return [
        {
            "MonitoringScheduleName": name,
            "ScheduledTime": job["ScheduledTime"],
            "CreationTime": job["CreationTime"],
            "LastModifiedTime": job["LastModifiedTime"],
            "MonitoringExecutionStatus": _status(job),
            "ProcessingJobArn": job["ProcessingJobArn"],
            "EndpointName": schedule["EndpointName"],
            "FailureReason": job.get("FailureReason"),
        }
        for job in context.store.all(processing.KIND)
        if job.get("MonitoringScheduleArn") == schedule["MonitoringScheduleArn"]
    ]


def _status(job: Document) -> str:
    violated = str(job.get("ExitMessage", "")).startswith("CompletedWithViolations")
    return (
        "CompletedWithViolations"
        if violated and job["ProcessingJobStatus"] == "Completed"
        else str(job["ProcessingJobStatus"])
    )


def _config(context: Context, name: str) -> Document:
    return dict(context.store.get(KIND, name)["MonitoringScheduleConfig"])


def _input(config: Document) -> Document:
    (given,) = config["MonitoringJobDefinition"]["MonitoringInputs"]
    return dict(given["EndpointInput"])


def _s3_input(name: str, uri: str, place: str) -> Document:
    return {"InputName": name, "S3Input": {"S3Uri": uri, "LocalPath": place, "S3DataType": "S3Prefix"}}


def _end(context: Context, name: str) -> None:
    run = context.run(KIND, name)
    if run is not None:
        run.tell("stopped")
        run.thread.join()


def _hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
