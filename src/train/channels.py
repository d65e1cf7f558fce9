"""The channels of a job as samples to train on and to measure with."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..contract import machine
from ..contract.channels import Channel
from ..contract.job import TrainingJob
from ..errors import ConfigError, DataError
from ..stream.catalog import Host, open_dataset
from .config import TrainingConfig
from .ranks import Ranks
from .samples import Samples, open_samples

TRAINING_CHANNELS = ("training", "train")
VALIDATION_CHANNELS = ("validation", "val", "test")


def open_training(job: TrainingJob, config: TrainingConfig, ranks: Ranks, scratch: Path) -> Samples:
    """Open the training channel.

    Raises:
        DataError: the job has no such channel.
    """
    channel = _first(job.channels, TRAINING_CHANNELS)
    if channel is None:
        found = ", ".join(sorted(job.channels)) or "none"
        raise DataError(
            f"No training channel: the channels of this job are: {found}. Expected one called "
            f"{' or '.join(map(repr, TRAINING_CHANNELS))}: name it so in fit({{'training': ...}}) or InputDataConfig."
        )
    return _open(channel, job, config, ranks, scratch)


def open_validation(
    job: TrainingJob, config: TrainingConfig, ranks: Ranks, training: Samples, scratch: Path
) -> Samples | None:
    """Open the validation channel, if the job has one.

    Raises:
        DataError: its samples have another number of features.
    """
    channel = _first(job.channels, VALIDATION_CHANNELS)
    if channel is None:
        return None
    validation = _open(channel, job, config, ranks, scratch)
    if validation.features != training.features:
        raise DataError(
            f"Channel {channel.name!r} has {validation.features} features a sample, channel {training.channel!r} has "
            f"{training.features}. Expected the same columns in both, the label first."
        )
    return validation


def _first(channels: Mapping[str, Channel], names: tuple[str, ...]) -> Channel | None:
    return next((channels[name] for name in names if name in channels), None)


def _open(channel: Channel, job: TrainingJob, config: TrainingConfig, ranks: Ranks, scratch: Path) -> Samples:
    _check_source(channel)
    # A channel of one instance group has no folder on the hosts of the others, and a host can be left without objects.
    sharded = job.cluster.size > 1 and (
        channel.distribution == "ShardedByS3Key" or not ranks.all(channel.path.exists())
    )
    dataset = open_dataset(
        channel.path,
        channel=channel.name,
        host=Host(scratch / channel.name, leads=ranks.local_rank == 0, barrier=ranks.barrier),
        content_type=channel.content_type,
        on_bad_record=config.on_bad_record,
        may_be_empty=sharded,
        threads=ThreadPoolExecutor(machine.cpus(), thread_name_prefix="twofold-decode"),
    )
    return open_samples(dataset, config.label, ranks, sharded=sharded)


def _check_source(channel: Channel) -> None:
    """Refuse what the built-in models do not read, rather than train on the wrong samples."""
    if channel.mode == "Pipe":
        raise ConfigError(
            f"Channel {channel.name!r} has TrainingInputMode Pipe. The built-in models read File and FastFile: set "
            f"input_mode to 'File' or 'FastFile'."
        )
