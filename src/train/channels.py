"""The channels of a job as samples to train on and to measure with."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from ..contract import machine
from ..contract.channels import Channel
from ..contract.job import TrainingJob
from ..errors import ConfigError, DataError
from ..stream.catalog import Host, open_dataset
from ..stream.dataset import Dataset
from ..stream.folders import ImageFolder
from .config import TRAINING_CHANNELS, TrainingConfig
from .degrees import choose_degrees
from .fields import Wish
from .piped import PipedSamples
from .ranks import Ranks
from .samples import Reading, Samples, open_samples
from .texts import cut

Source: TypeAlias = Samples | PipedSamples
"""The samples of a channel, in File and FastFile mode or in Pipe mode."""

EVALUATION_BATCH = 4096
"""Rows of numbers in a batch that is only measured: no gradient is kept, so it can be large."""
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
        ConfigError: early stopping without one.
        DataError: its samples have another number of features.
    """
    channel = _first(job.channels, VALIDATION_CHANNELS)
    if channel is None and config.patience:
        raise ConfigError(
            f"patience is {config.patience}, but there is no channel to measure on. Expected one called "
            f"{' or '.join(map(repr, VALIDATION_CHANNELS))}: add it, or leave 'patience' out."
        )
    if channel is None:
        return None
    validation = _open(
        channel, job, config, ranks, scratch, batch_size=evaluation_batch(config, ranks), known=training.names
    )
    if validation.features != training.features:
        raise DataError(
            f"Channel {channel.name!r} has {validation.features} features a sample, channel {training.channel!r} has "
            f"{training.features}. Expected the same columns in both, the label first."
        )
    return validation


def evaluation_batch(config: TrainingConfig, ranks: Ranks) -> int:
    """Samples of a global batch that is only measured: of images and tokens no more than training takes at once."""
    if config.model in ("linear", "mlp"):
        return EVALUATION_BATCH
    return config.micro_batch_size * choose_degrees(config, ranks.world, ranks.local_world).data or config.batch_size


def reading_of(config: TrainingConfig) -> Reading:
    """Say what a job's model takes of its channels."""
    return Reading(config.label, _wish(config), config.image_size, config.context)


def _wish(config: TrainingConfig) -> Wish:
    if config.model == "gpt" or config.task == "language-modelling":
        return "tokens"
    if config.model == "resnet":
        return "pixels"
    return "auto" if ":" in config.model else "numbers"


def _first(channels: Mapping[str, Channel], names: tuple[str, ...]) -> Channel | None:
    return next((channels[name] for name in names if name in channels), None)


def _open(
    channel: Channel,
    job: TrainingJob,
    config: TrainingConfig,
    ranks: Ranks,
    scratch: Path,
    *,
    batch_size: int,
    known: tuple[str, ...] = (),
) -> Source:
    if channel.mode == "Pipe":
        _check_pipe(channel, choose_degrees(config, ranks.world, ranks.local_world).tensor)
        return PipedSamples(channel, batch_size, reading_of(config), ranks, scratch)
    # A channel of one instance group has no folder on the hosts of the others, and a host can be left without objects.
    sharded = job.cluster.size > 1 and (
        channel.distribution == "ShardedByS3Key" or not ranks.all(channel.path.exists())
    )
    reading, folder, content_type, is_text = reading_of(config), channel.path, channel.content_type, False
    host = Host(scratch / channel.name, leads=ranks.local_rank == 0, barrier=ranks.barrier)
    if reading.wish == "tokens":
        rows = cut(
            folder,
            reading.context,
            channel=channel.name,
            host=host,
            content_type=content_type,
            may_be_empty=sharded,
        )
        is_text = ranks.any(rows.is_text)
        folder, content_type = rows.folder, content_type if rows.folder == folder else None
    dataset = open_dataset(
        folder,
        channel=channel.name,
        host=host,
        content_type=content_type,
        on_bad_record=config.on_bad_record,
        may_be_empty=sharded,
        threads=ThreadPoolExecutor(machine.cpus(), thread_name_prefix="twofold-decode"),
    )
    names = _name_classes(dataset, ranks, known)
    return replace(open_samples(dataset, reading, ranks, sharded=sharded, names=names), is_text=is_text)


def _check_pipe(channel: Channel, tensor: int) -> None:
    """Refuse a pipe, which gives each sample to one rank, where several must see the same."""
    if tensor > 1:
        raise ConfigError(
            f"Channel {channel.name!r} is in Pipe mode, which gives each sample to one rank, and {tensor} ranks share "
            f"each layer and must see the same. Expected another mode for tensor parallelism: set the input mode to "
            f"'FastFile'."
        )


def _name_classes(dataset: Dataset, ranks: Ranks, known: tuple[str, ...]) -> tuple[str, ...]:
    """Number the classes of image folders alike on all hosts and in all channels; call it on every rank."""
    folders = [shard for shard in dataset.shards if isinstance(shard, ImageFolder)]
    names = set(known)
    for host in range(0 if known or not ranks.any(bool(folders)) else ranks.hosts):
        leader = host * ranks.local_world
        own = json.dumps([name for folder in folders for name in folder.classes]).encode()
        names |= set(json.loads(ranks.broadcast(own if ranks.rank == leader else None, leader) or b"[]"))
    for folder in folders:
        folder.renumber(tuple(sorted(names)))
    return tuple(sorted(names))
