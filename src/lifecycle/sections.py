"""The sections of `twofold.yaml`: what each verb asks AWS for. Docstrings of fields are the comments of the file."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

MAX_PROJECT = 20
"""Characters of a project's name: the name of a tuning job has 32, and needs a hash and a number beside it."""
INSTANCE = r"^ml\.[a-z0-9-]+\.[a-z0-9]+$"
Instance = Annotated[str, Field(pattern=INSTANCE)]
Scalar = bool | int | float | str
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9](-?[A-Za-z0-9]){0,62}$")]
Value = Scalar | list[Scalar] | dict[str, Scalar]


class Section(BaseModel):
    """What all sections are: closed, so that a key with a slip in it is found, and never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Channel(Section):
    """One channel of a training job. A file may say just the place instead: `training: s3://bucket/folder/`."""

    uri: Annotated[str, Field(min_length=1)]
    """s3://bucket/prefix/, or a folder of this machine, which is uploaded."""
    content_type: str = ""
    """Content type that the container is told; empty: it looks for itself."""
    mode: Literal["File", "FastFile", "Pipe"] = "File"
    """File copies before the start, FastFile reads as needed, Pipe streams once an epoch."""
    distribution: Literal["FullyReplicated", "ShardedByS3Key"] = "FullyReplicated"
    """Whether every host has all the data or its share of the objects."""


def _channel(value: object) -> object:
    return {"uri": value} if isinstance(value, str) else value


class Train(Section):
    """A training job."""

    data: dict[str, Annotated[Channel, BeforeValidator(_channel)]] = {"training": Channel(uri="data/training")}
    """Channels: s3://... or a local folder, which is uploaded; `training` is read, `validation` is measured on."""
    hyperparameters: dict[str, Value] = {}
    """Hyperparameters of the image (README) or of your own script."""
    source_dir: str = ""
    """Folder with your own code, packed and uploaded; empty: the image's program alone."""
    entry_point: str = ""
    """Script in source_dir that is run instead of the image's program; empty: source_dir only holds a model's code."""
    environment: dict[str, str] = {}
    """Environment variables of the containers."""
    instance_type: Instance = "ml.m5.xlarge"
    """Kind of machine."""
    instance_count: Annotated[int, Field(ge=1)] = 1
    """Number of machines."""
    volume_gb: Annotated[int, Field(ge=1)] = 30
    """Disk of each machine."""
    max_seconds: Annotated[int, Field(ge=1, le=2_419_200)] = 86_400
    """Seconds after which the job is stopped."""
    spot: bool = False
    """Take spot instances: cheaper, may be reclaimed; checkpoints go to the bucket, and the job goes on from them."""
    max_wait_seconds: Annotated[int, Field(ge=1)] = 172_800
    """With spot: seconds for waiting and running together, at least max_seconds."""


class Range(Section):
    """Where tuning looks for one hyperparameter: numbers from min to max, or one of some values."""

    min: int | float | None = None
    """Lowest value; whole numbers on both sides make it a whole number."""
    max: int | float | None = None
    """Highest value."""
    scale: Literal["Auto", "Linear", "Logarithmic", "ReverseLogarithmic"] = "Auto"
    """How the search steps through the range."""
    values: list[Scalar] = []
    """The values to choose from, instead of min and max."""


class Tune(Section):
    """A tuning job; each of its training jobs is what the section train says."""

    ranges: dict[str, Range] = {"learning_rate": Range(min=0.0001, max=0.1, scale="Logarithmic")}
    """Hyperparameters to look for."""
    metric: str = "validation:loss"
    """What decides which training job is best."""
    goal: Literal["Minimize", "Maximize"] = "Minimize"
    """Whether small or large is good."""
    strategy: Literal["Bayesian", "Random", "Grid", "Hyperband"] = "Bayesian"
    """How the next values are chosen."""
    jobs: Annotated[int, Field(ge=1)] = 10
    """Training jobs in all; Grid takes as many as there are combinations."""
    parallel: Annotated[int, Field(ge=1)] = 2
    """Training jobs at a time."""
    early_stopping: bool = False
    """Stop training jobs that are behind."""


class Scaling(Section):
    """Automatic scaling of an endpoint's instances."""

    min: Annotated[int, Field(ge=0)] = 1
    """Fewest instances; 0 only for async."""
    max: Annotated[int, Field(ge=1)] = 4
    """Most instances."""
    invocations: Annotated[float, Field(gt=0)] = 600.0
    """Invocations a minute that each instance shall have (async: waiting requests)."""


class Guardrail(Section):
    """How an update reaches the requests, and what takes it back."""

    kind: Literal["all-at-once", "canary", "linear"] = "all-at-once"
    """canary: a part first, then the rest; linear: part after part."""
    percent: Annotated[int, Field(ge=10, le=50)] = 10
    """Part of the capacity that is moved at a time."""
    wait_seconds: Annotated[int, Field(ge=0, le=3600)] = 300
    """How long each part is watched."""
    alarms: bool = False
    """Make alarms for 5xx answers and latency, and roll back when one rings."""
    max_5xx: Annotated[int, Field(ge=0)] = 5
    """5xx answers a minute that are too many when there are more."""
    max_latency_ms: Annotated[float, Field(gt=0)] = 1000.0
    """Mean latency of the model in a minute that is too long when it is more."""


class Deploy(Section):
    """An endpoint."""

    mode: Literal["realtime", "serverless", "async", "batch"] = "realtime"
    """realtime; serverless; async (answers go to the bucket); batch (a model for `twofold transform`, no endpoint)."""
    name: Annotated[str, Field(pattern=r"^$|^[A-Za-z0-9](-?[A-Za-z0-9]){0,62}$")] = ""
    """Name of the endpoint, which has the project's name in it; empty: the project's name."""
    variant: Name = "main"
    """Name of the variant that `deploy` makes when the endpoint is new."""
    environment: dict[str, str] = {}
    """Environment variables of the container."""
    instance_type: Instance = "ml.m5.large"
    """Kind of machine."""
    instance_count: Annotated[int, Field(ge=1)] = 1
    """Number of machines."""
    memory_mb: Literal[1024, 2048, 3072, 4096, 5120, 6144] = 2048
    """serverless: memory, which brings CPU with it."""
    max_concurrency: Annotated[int, Field(ge=1, le=200)] = 5
    """serverless: requests at a time; async: requests at a time on each instance."""
    capture_percent: Annotated[int, Field(ge=0, le=100)] = 0
    """Share of the requests that is kept in the bucket for `twofold monitor`; 0: none."""
    success_topic: str = ""
    """async: ARN of the SNS topic that hears of answers."""
    error_topic: str = ""
    """async: ARN of the SNS topic that hears of failures."""
    scaling: Scaling | None = None
    """Automatic scaling, e.g. `{min: 1, max: 4, invocations: 600}`; null: none."""
    guardrail: Guardrail = Guardrail()
    """How an update reaches the requests, and what takes it back."""


class Transform(Section):
    """A batch transform job."""

    input: str = ""
    """s3://... or a local file or folder, which is uploaded."""
    content_type: str = "text/csv"
    """Content type of the input."""
    accept: str = "text/csv"
    """Content type of the answers."""
    split: Literal["None", "Line", "RecordIO"] = "Line"
    """How objects are cut into records."""
    strategy: Literal["MultiRecord", "SingleRecord"] = "MultiRecord"
    """Whether a request carries as many records as fit, or one."""
    max_payload_mb: Annotated[int, Field(ge=0, le=100)] = 6
    """Largest request."""
    instance_type: Instance = "ml.m5.xlarge"
    """Kind of machine."""
    instance_count: Annotated[int, Field(ge=1)] = 1
    """Number of machines."""


class Gate(Section):
    """What a model must reach before it is registered (`twofold evaluate`)."""

    metric: str = "validation:loss"
    """Metric that decides: of the training job, or with data held-out:loss, accuracy, rmse or mae."""
    data: str = ""
    """s3://... or a local file of CSV, the label first, that both models are asked; empty: what their jobs said."""
    goal: Literal["Minimize", "Maximize"] = "Minimize"
    """Whether small or large is good."""
    threshold: float | None = None
    """Value that must be reached; null: any will do."""
    tolerance: Annotated[float, Field(ge=0)] = 0.0
    """How much worse than the approved model a new one may be, as a share of that model's value."""


class Monitor(Section):
    """A monitoring schedule over captured requests."""

    schedule: str = "cron(0 * ? * * *)"
    """When it runs: cron hourly, every n hours or daily."""
    baseline: str = ""
    """s3://... folder with statistics.json and constraints.json; empty: that of the model's training job."""
    environment: dict[str, str] = {}
    """Environment variables of the container."""
    topic: str = ""
    """ARN of the SNS topic that hears of violations, by an alarm; empty: no alarm."""
    instance_type: Instance = "ml.m5.large"
    """Kind of machine."""
    instance_count: Annotated[int, Field(ge=1)] = 1
    """Number of machines."""
    max_seconds: Annotated[int, Field(ge=60, le=86_400)] = 1800
    """Seconds after which an execution is stopped; less than the schedule's period."""


class Notebook(Section):
    """A notebook instance."""

    instance_type: Instance = "ml.t3.medium"
    """Kind of machine."""
    volume_gb: Annotated[int, Field(ge=5)] = 20
    """Its disk."""
    repository: str = ""
    """Git repository that is cloned into it."""
    on_start: str = ""
    """Shell script of this machine that runs at each start; at most 16,384 bytes, 5 minutes."""


class Config(Section):
    """The whole file."""

    project: Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=MAX_PROJECT)]
    """Name that everything begins with and is tagged with (twofold:project); at most 20 of a-z, 0-9 and -."""
    image: str = ""
    """The image in ECR, best by digest: ACCOUNT.dkr.ecr.REGION.amazonaws.com/twofold@sha256:..."""
    role: str = ""
    """Role that SageMaker works under: its ARN, or its name in this account."""
    region: str = ""
    """AWS region; empty: that of your AWS configuration."""
    bucket: str = ""
    """Bucket for data, models and results; empty: sagemaker-REGION-ACCOUNT, made when it is missing."""
    prefix: str = ""
    """Folder in the bucket; empty: the project's name."""
    subnets: list[str] = []
    """Subnets of your VPC that jobs and endpoints run in; empty: AWS's own network."""
    security_groups: list[str] = []
    """Security groups in that VPC."""
    tags: dict[str, str] = {}
    """More tags for everything that is created."""
    train: Train = Train()
    """A training job: twofold train."""
    tune: Tune = Tune()
    """A tuning job over the section train: twofold tune."""
    deploy: Deploy = Deploy()
    """An endpoint: twofold deploy."""
    transform: Transform = Transform()
    """A batch transform: twofold transform."""
    gate: Gate = Gate()
    """What a model must reach before it is registered: twofold evaluate."""
    monitor: Monitor = Monitor()
    """A monitoring schedule: twofold monitor."""
    notebook: Notebook = Notebook()
    """A notebook instance: twofold notebook."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.project not in self.endpoint:
            raise ValueError(f"deploy.name is {self.deploy.name!r}, expected a name with {self.project!r} in it")
        return self

    @property
    def endpoint(self) -> str:
        """Name of the endpoint."""
        return self.deploy.name or self.project

    @property
    def folder(self) -> str:
        """Folder in the bucket, without slashes at its ends."""
        return self.prefix.strip("/") or self.project
