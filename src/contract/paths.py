"""The file tree that SageMaker mounts, under a root that can be moved for tests and local runs.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/model-train-storage.html, and STT:environment.py for the
root's variable and the intermediate folder.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

BASE_DIR_VARIABLE = "SAGEMAKER_BASE_DIR"
DEFAULT_BASE_DIR = Path("/opt/ml")


@dataclass(frozen=True, slots=True)
class Paths:
    """Where the platform puts what a container reads, and where it collects what a container writes."""

    base: Path = DEFAULT_BASE_DIR
    """Root of the tree, `/opt/ml` on the platform."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "Paths":
        """Take the root from `SAGEMAKER_BASE_DIR`; unset or empty means `/opt/ml`."""
        return cls(Path(environ.get(BASE_DIR_VARIABLE) or DEFAULT_BASE_DIR).absolute())

    @property
    def input(self) -> Path:
        """Everything that comes in for a training job."""
        return self.base / "input"

    @property
    def config(self) -> Path:
        """Configuration files of a training job."""
        return self.input / "config"

    @property
    def data(self) -> Path:
        """Parent of the channels: folders, or FIFOs named `<channel>_<epoch>`."""
        return self.input / "data"

    @property
    def hyperparameters(self) -> Path:
        """Hyperparameters, every value a string."""
        return self.config / "hyperparameters.json"

    @property
    def input_data_config(self) -> Path:
        """Mode, content type and distribution of each channel."""
        return self.config / "inputdataconfig.json"

    @property
    def resource_config(self) -> Path:
        """Hosts of the cluster, this host's name, network interface."""
        return self.config / "resourceconfig.json"

    @property
    def model(self) -> Path:
        """The artifact: written by training, read-only when serving."""
        return self.base / "model"

    @property
    def models(self) -> Path:
        """Parent of the models of a multi-model endpoint."""
        return self.base / "models"

    @property
    def output(self) -> Path:
        """Everything that a job leaves beside the model."""
        return self.base / "output"

    @property
    def output_data(self) -> Path:
        """Reports and plots, uploaded as `output.tar.gz`."""
        return self.output / "data"

    @property
    def output_intermediate(self) -> Path:
        """Folder that the toolkit syncs while a job runs."""
        return self.output / "intermediate"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard events, uploaded while a job runs."""
        return self.output / "tensorboard"

    @property
    def failure(self) -> Path:
        """The failure file: its first 1,024 characters become `FailureReason`."""
        return self.output / "failure"

    @property
    def success(self) -> Path:
        """Marker that the toolkit writes at the end of a good run."""
        return self.output / "success"

    @property
    def message(self) -> Path:
        """Exit message of a processing job, its first 1,024 bytes."""
        return self.output / "message"

    @property
    def cloudwatch_metrics(self) -> Path:
        """Metrics of a monitoring job, which the platform hands on to CloudWatch."""
        return self.output / "metrics" / "cloudwatch"

    @property
    def checkpoints(self) -> Path:
        """Checkpoints, synced with S3 both ways."""
        return self.base / "checkpoints"

    @property
    def code(self) -> Path:
        """The user's code in script mode."""
        return self.base / "code"

    @property
    def processing_config(self) -> Path:
        """Configuration files of a processing job: `config`, not `input/config`."""
        return self.base / "config"

    @property
    def processing_resource_config(self) -> Path:
        """Hosts of a processing job."""
        return self.processing_config / "resourceconfig.json"

    @property
    def warm_pool_cache(self) -> Path:
        """The only folder that outlives a job on a warm pool."""
        return self.base / "sagemaker" / "warmpoolcache"

    def local(self, text: str) -> Path:
        """Path that the platform names, which is below the root wherever that is."""
        path = PurePosixPath(text)
        inside = path.is_relative_to(DEFAULT_BASE_DIR)
        return self.base / path.relative_to(DEFAULT_BASE_DIR) if inside else Path(text)

    def channel(self, name: str) -> Path:
        """Folder of a channel in File and FastFile mode."""
        return self.data / name

    def fifo(self, name: str, epoch: int) -> Path:
        """FIFO of a channel in Pipe mode, counted from epoch 0."""
        return self.data / f"{name}_{epoch}"


def scratch() -> Path:
    """Folder that may always be written: `TMPDIR` or what the system offers, never under `/opt/ml`."""
    return Path(tempfile.gettempdir())
