"""Channels of a training job: the data sets that the platform mounts below `input/data`.

    File, FastFile     input/data/<channel>/           a folder
    Pipe               input/data/<channel>_<epoch>    a FIFO for each pass, made on demand

For FastFile the platform may write `File` in `inputdataconfig.json`: readers must treat the two alike. Local mode
writes nothing but the mode and the content type.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from ..errors import ConfigError
from .json_file import JSON, choice_field, object_field, read_object, string_field
from .paths import Paths

Mode = Literal["File", "FastFile", "Pipe"]
Distribution = Literal["FullyReplicated", "ShardedByS3Key"]
RecordWrapper = Literal["None", "RecordIO"]
Compression = Literal["None", "Gzip"]

_NAME = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,64}")
_FIRST_FIFO = "_0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One data set of the job."""

    name: str
    """Name as the job has it, e.g. `train`."""
    path: Path
    """Folder in File and FastFile mode; in Pipe mode the FIFOs' common stem, to which `_<epoch>` is added."""
    mode: Mode = "File"
    """How the data comes; File and FastFile are read alike."""
    content_type: str | None = None
    """Media type that the job states, if any."""
    distribution: Distribution = "FullyReplicated"
    """Whether every host has all objects, or its own share of them, which may be none."""
    record_wrapper: RecordWrapper = "None"
    """Whether each object of a pipe is wrapped as one RecordIO record."""
    compression: Compression = "None"
    """Compression of the objects in S3, which the platform undoes in Pipe mode only."""


def read_channels(paths: Paths) -> dict[str, Channel]:
    """Read `inputdataconfig.json`; without the file, take the folders and FIFOs found below `input/data`.

    A channel of the file need not be on disk: with instance groups some hosts have no folder for it.

    Raises:
        ConfigError: the file or one of its fields is broken.
    """
    content = read_object(paths.input_data_config)
    if content is None:
        return _found(paths)
    return {name: _channel(paths, name, value) for name, value in sorted(content.items())}


def _channel(paths: Paths, name: str, value: JSON) -> Channel:
    path = paths.input_data_config
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{path}: {name!r} is no name for a channel. Expected 1 to 64 of the characters A-Z a-z 0-9 . _ - "
            f"(and neither . nor ..). Rename the channel in the job."
        )
    fields: Mapping[str, JSON] = object_field(path, name, value)

    def choice(key: str, choices: tuple[str, ...], default: str) -> str:
        return choice_field(path, f"{name}.{key}", fields.get(key), choices, default=default)

    return Channel(
        name=name,
        path=paths.channel(name),
        mode=cast("Mode", choice("TrainingInputMode", get_args(Mode), _mode_on_disk(paths, name))),
        content_type=string_field(path, f"{name}.ContentType", fields.get("ContentType")),
        distribution=cast("Distribution", choice("S3DistributionType", get_args(Distribution), "FullyReplicated")),
        record_wrapper=cast("RecordWrapper", choice("RecordWrapperType", get_args(RecordWrapper), "None")),
        compression=cast("Compression", choice("CompressionType", get_args(Compression), "None")),
    )


def _mode_on_disk(paths: Paths, name: str) -> Mode:
    return "Pipe" if paths.fifo(name, 0).is_fifo() else "File"


def _found(paths: Paths) -> dict[str, Channel]:
    entries = sorted(paths.data.iterdir()) if paths.data.is_dir() else []
    names = [entry.name for entry in entries if entry.is_dir()]
    names += [entry.name.removesuffix(_FIRST_FIFO) for entry in entries if _is_first_fifo(entry)]
    return {
        name: Channel(name=name, path=paths.channel(name), mode=_mode_on_disk(paths, name))
        for name in sorted(set(names))
        if _NAME.fullmatch(name) and not name.startswith(".")
    }


def _is_first_fifo(entry: Path) -> bool:
    return entry.name.endswith(_FIRST_FIFO) and entry.is_fifo()
