"""A training job as the container sees it: everything that the platform said, read once at the start."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from .channels import Channel, read_channels
from .cluster import Cluster, read_cluster
from .hyperparameters import Hyperparameters, read_hyperparameters
from .json_file import JSON, read_object
from .logs import DEFAULT_LEVEL, read_level
from .paths import Paths


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """What is asked of this container."""

    paths: Paths
    """The file tree."""
    name: str | None = None
    """Name of the job, from `TRAINING_JOB_NAME` or the hyperparameter `sagemaker_job_name`."""
    region: str | None = None
    """AWS region, from the hyperparameter `sagemaker_region`, `AWS_REGION` or `AWS_DEFAULT_REGION`."""
    hyperparameters: Hyperparameters = field(default_factory=Hyperparameters)
    """The user's and the platform's, decoded."""
    channels: dict[str, Channel] = field(default_factory=dict)
    """Data sets by name."""
    cluster: Cluster = field(default_factory=Cluster)
    """The hosts, and which of them this one is."""
    program: str | None = None
    """The user's script in script mode, from `SAGEMAKER_PROGRAM` or `sagemaker_program`."""
    submit_directory: str | None = None
    """Where that script comes from (`s3://…/sourcedir.tar.gz` or a folder), by `sagemaker_submit_directory`."""
    log_level: int = DEFAULT_LEVEL
    """Numeric level of `logging`, from `sagemaker_container_log_level` or its variable."""
    framework_module: str | None = None
    """`SAGEMAKER_TRAINING_MODULE`, handed on to scripts."""
    resource_config: dict[str, JSON] = field(default_factory=dict)
    """`resourceconfig.json` as it is, handed on to scripts."""
    input_data_config: dict[str, JSON] = field(default_factory=dict)
    """`inputdataconfig.json` as it is, handed on to scripts."""


def read_training_job(
    paths: Paths, environ: Mapping[str, str], *, interfaces: Collection[str] | None = None
) -> TrainingJob:
    """Read the files and variables of a training job; every one of them may be missing.

    Args:
        paths: the file tree.
        environ: environment variables.
        interfaces: names of this machine's network interfaces; None asks the machine.

    Raises:
        ConfigError: a file or a variable is broken.
    """
    hyperparameters = read_hyperparameters(paths)

    def setting(key: str) -> str | None:
        value = hyperparameters.framework.get(key)
        return None if value is None else str(value) or None

    return TrainingJob(
        paths=paths,
        name=environ.get("TRAINING_JOB_NAME") or setting("sagemaker_job_name"),
        region=setting("sagemaker_region") or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or None,
        hyperparameters=hyperparameters,
        channels=read_channels(paths),
        cluster=read_cluster(paths.resource_config, interfaces=interfaces),
        program=environ.get("SAGEMAKER_PROGRAM") or setting("sagemaker_program"),
        submit_directory=setting("sagemaker_submit_directory") or environ.get("SAGEMAKER_SUBMIT_DIRECTORY") or None,
        log_level=read_level(environ, setting("sagemaker_container_log_level")),
        framework_module=environ.get("SAGEMAKER_TRAINING_MODULE") or None,
        resource_config=read_object(paths.resource_config) or {},
        input_data_config=read_object(paths.input_data_config) or {},
    )
