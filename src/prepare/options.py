"""What was asked for: read from the command line, handed to the workers as JSON, and compared when a run is resumed."""

import re
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from ..errors import ConfigError

FormatName = Literal["recordio", "tfrecord", "tar", "parquet", "npy"]
OnBadRecord = Literal["stop", "skip"]

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(I?)B?", re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
MIN_SHARD = 1 << 10
"""Smallest size of a shard, in bytes."""


class Options(BaseModel):
    """Arguments of a run; `arguments` are those that change what is written."""

    model_config = ConfigDict(frozen=True)

    input: Path
    output: Path
    format: FormatName
    shard_bytes: int = 128_000_000
    validation: float = 0.0
    """Share of the records that is set aside."""
    label: str | None = None
    content_type: str | None = None
    on_bad_record: OnBadRecord = "stop"
    classes: tuple[str, ...] = ()
    """Names of all classes of a folder of images, where this host may not see one folder of each."""
    host: int = 0
    hosts: int = 1
    sharded: bool = False
    """Whether each host sees its own part of the input, as with ShardedByS3Key, instead of all of it."""

    @property
    def arguments(self) -> dict[str, object]:
        """What makes two runs the same, by the names of the command line."""
        return {
            "--format": self.format,
            "--shard-size": self.shard_bytes,
            "--validation": self.validation,
            "--label": self.label,
            "--content-type": self.content_type,
            "--on-bad-record": self.on_bad_record,
            "--classes": ",".join(self.classes) or None,
            "host": f"{self.host} of {self.hosts}, {'its part' if self.sharded else 'all'} of the input",
        }

    @property
    def splits(self) -> tuple[str, ...]:
        """Folders below the output, one for each part of the records; one without a name where nothing is split."""
        return ("train", "validation") if self.validation else ("",)

    @property
    def prefix(self) -> str:
        """How the names of this host's shards begin: they must not meet those of other hosts in one prefix of S3."""
        return f"part-{self.host:03d}-" if self.hosts > 1 and self.sharded else "part-"

    @property
    def index_name(self) -> str:
        """Name of the index that this host writes."""
        return "index.json" if self.hosts == 1 else f"index-{self.host:03d}.json"


def parse_size(text: str) -> int:
    """Read a size such as `128MB` (10^6 bytes each), `64MiB` (2^20) or `1000000`.

    Raises:
        ConfigError: no size, or too small a one.
    """
    match = _SIZE.fullmatch(text.strip())
    size = int(float(match[1]) * (1024 if match[3] else 1000) ** _POWERS[match[2].upper()]) if match else 0
    if size < MIN_SHARD:
        raise ConfigError(
            f"--shard-size is {text!r}, expected a size of at least {MIN_SHARD} bytes such as 128MB or 64MiB."
        )
    return size
