"""The channels of a job as samples to train on and to measure with."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

from ..contract import machine
from ..contract.channels import Channel
from ..contract.job import TrainingJob
from ..errors import DataError
from ..stream.catalog import Host, open_dataset
from .config import TrainingConfig
from .piped import PipedSamples
from .ranks import Ranks
from .samples import Samples, open_samples

Source: TypeAlias = Samples | PipedSamples
"""The samples of a channel, in File and FastFile mode or in Pipe mode."""

EVALUATION_BATCH = 4096
"""Samples of a batch that is only measured: no gradient is kept, so it can be large."""
TRAINING_CHANNELS = ("training", "train")
VALIDATION_CHANNELS = ("validation", "val", "test")


def open_training(job: TrainingJob, config: TrainingConfig, ranks: Ranks, scratch: Path) -> Source:
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
    return _open(channel, job, config, ranks, scratch, batch_size=config.batch_size)


def open_validation(
    job: TrainingJob, config: TrainingConfig, ranks: Ranks, training: Source, scratch: Path
) -> Source | None:
    """Open the validation channel, if the job has one.

    Raises:
        DataError: its samples have another number of features.
    """
    channel = _first(job.channels, VALIDATION_CHANNELS)
    if channel is None:
        return None
    validation = _open(channel, job, config, ranks, scratch, batch_size=EVALUATION_BATCH)
    if validation.features != training.features:
        raise DataError(
            f"Channel {channel.name!r} has {validation.features} features a sample, channel {training.channel!r} has "
            f"{training.features}. Expected the same columns in both, the label first."
        )
    return validation


def _first(channels: Mapping[str, Channel], names: tuple[str, ...]) -> Channel | None:
    return next((channels[name] for name in names if name in channels), None)


def _open(
    channel: Channel, job: TrainingJob, config: TrainingConfig, ranks: Ranks, scratch: Path, *, batch_size: int
) -> Source:
    if channel.mode == "Pipe":
        return PipedSamples(channel, batch_size, config.label, ranks, scratch)
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
