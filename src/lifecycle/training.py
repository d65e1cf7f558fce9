"""Training jobs: the request that the file asks for, and one job for one request, however often it is asked."""

import json

from ..contract.metrics import definitions
from ..contract.paths import DEFAULT_BASE_DIR
from ..errors import UserError
from .aws import Document
from .names import digest, numbered
from .project import Project
from .resources import TRAINING, Kind, describe, find, listed, owned
from .sections import Channel, Value

CHECKPOINTS = str(DEFAULT_BASE_DIR / "checkpoints")


def definition(project: Project) -> Document:
    """Everything of a training job's request but its name, hyperparameters, checkpoints and tags.

    Uploads what is local: data and code.
    """
    train = project.config.train
    project.storage.make_bucket()
    stopping: Document = {"MaxRuntimeInSeconds": train.max_seconds}
    if train.spot:
        stopping["MaxWaitTimeInSeconds"] = max(train.max_seconds, train.max_wait_seconds)
    return {
        "AlgorithmSpecification": {
            "TrainingImage": project.image,
            "TrainingInputMode": "File",
            "MetricDefinitions": definitions(),
        },
        "RoleArn": project.role,
        "InputDataConfig": [_channel(project, name, channel) for name, channel in train.data.items()],
        "OutputDataConfig": {"S3OutputPath": project.storage.uri("training")},
        "ResourceConfig": {
            "InstanceType": train.instance_type,
            "InstanceCount": train.instance_count,
            "VolumeSizeInGB": train.volume_gb,
        },
        "StoppingCondition": stopping,
        "EnableManagedSpotTraining": train.spot,
        **({"Environment": train.environment} if train.environment else {}),
        **project.vpc,
    }


def hyperparameters(project: Project, *without: str) -> dict[str, str]:
    """Hyperparameters as the platform takes them, those of script mode among them.

    Args:
        project: the project; its code is uploaded.
        without: names to leave out, which a tuning job ranges over.
    """
    train = project.config.train
    found = {name: value for name, value in train.hyperparameters.items() if name not in without}
    if train.entry_point:
        # A script gets its arguments as the SDK's framework estimators send them: every value JSON.
        encoded = {name: json.dumps(value) for name, value in found.items()}
        encoded["sagemaker_program"] = json.dumps(train.entry_point)
    else:
        encoded = {name: text(value) for name, value in found.items()}
    if train.source_dir:
        encoded["sagemaker_submit_directory"] = json.dumps(project.storage.put_code(project.path(train.source_dir)))
    return encoded


def request(project: Project) -> Document:
    """The request of a training job, without its name."""
    found = {**definition(project), "Tags": project.tags}
    given = hyperparameters(project)
    return {**found, "HyperParameters": given} if given else found


def create(project: Project, *, again: bool) -> str:
    """Create the training job that the file asks for, unless there is one; returns its name.

    Args:
        project: the project.
        again: whether a job that is there and did not fail is run once more.
    """
    asked = request(project)
    name, new = unused(project, TRAINING, f"{project.name}-train-{digest(asked)}", again=again)
    if new:
        if project.config.train.spot:
            place = {"S3Uri": project.storage.uri("checkpoints", name), "LocalPath": CHECKPOINTS}
            asked["CheckpointConfig"] = place
        project.aws.do("sagemaker", "CreateTrainingJob", TrainingJobName=name, **asked)
    return name


def unused(project: Project, kind: Kind, stem: str, *, again: bool) -> tuple[str, bool]:
    """Name for a job, and whether it has to be created.

    A job of this stem that runs or has completed is the one that is asked for; one that failed or was stopped is
    tried under the next number.
    """
    there = {item[kind.name]: item[kind.status] for item in listed(project.aws, kind, stem)}
    attempt = 1
    while numbered(stem, attempt) in there:
        name, status = numbered(stem, attempt), there[numbered(stem, attempt)]
        if status == "InProgress" or (status == "Completed" and not again):
            project.say(f"{kind.word} {name} is there already ({status}); --again runs it once more")
            return name, False
        attempt += 1
    return numbered(stem, attempt), True


def metrics(project: Project, name: str) -> list[str]:
    """Metrics of a training job as lines, as its log had them last."""
    found = {} if project.aws.dry else describe(project.aws, TRAINING, name)
    return [f"{item['MetricName']}={item['Value']:.6g}" for item in found.get("FinalMetricDataList", [])]


def completed(project: Project, name: str | None) -> Document:
    """Describe a training job that has completed, the newest where none is named.

    Raises:
        UserError: there is none, or it has not completed.
    """
    job = newest(project) if name is None else find(project.aws, TRAINING, name)
    if job is None:
        what = "completed training job of this project" if name is None else f"training job {name!r}"
        raise UserError(f"There is no {what}. Expected one: run `twofold train`, or name it by --from.")
    if job[TRAINING.status] != "Completed":
        raise UserError(
            f"Training job {job[TRAINING.name]} is {job[TRAINING.status]}. Expected one that has completed: wait for "
            f"it, or give another by --from."
        )
    return job


def newest(project: Project) -> Document | None:
    """Describe the newest training job of this project that has completed, those of tuning jobs left out."""
    for item in owned(project.aws, TRAINING, project.name, StatusEquals="Completed"):
        job = describe(project.aws, TRAINING, item[TRAINING.name])
        if not job.get("TuningJobArn"):
            return job
    return None


def _channel(project: Project, name: str, channel: Channel) -> Document:
    source = {
        "S3DataType": "S3Prefix",
        "S3Uri": project.data(channel.uri),
        "S3DataDistributionType": channel.distribution,
    }
    kind = {"ContentType": channel.content_type} if channel.content_type else {}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}, "InputMode": channel.mode, **kind}


def text(value: Value) -> str:
    """A hyperparameter of the image's own program: text as it is, the rest as JSON."""
    return value if isinstance(value, str) else json.dumps(value)
