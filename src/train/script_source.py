"""The user's code in script mode: found where the job says, brought here and unpacked without trusting the archive.

    sagemaker_submit_directory    absent             /opt/ml/code, where an image may have it
                                  a folder           that folder, as it is
                                  an archive, s3://  unpacked to /opt/ml/code if that is empty, else to scratch

What the SDK packs has files and folders only (`contract/archives.py`).
"""

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from ..contract.archives import existing, unpack
from ..contract.job import TrainingJob
from ..errors import ConfigError
from ..stream.s3_client import RETRY_SECONDS, SCHEME, named, open_store, parse_uri

log = logging.getLogger(__name__)

MAX_BYTES = 8 << 30
"""Most that an archive of code may hold, unpacked."""
ARCHIVE = "sourcedir.tar.gz"
EXPECTED = (
    "Expected a tar.gz archive of the files and folders of your code with relative names, no links: pack source_dir "
    "again, as the SDK does."
)


def bring_code(job: TrainingJob, environ: Mapping[str, str], scratch: Path) -> Path:
    """Return the folder of the user's code, brought here if it is elsewhere.

    Args:
        job: the training job.
        environ: endpoint, region and credentials of S3.
        scratch: a folder for as long as the run lasts.

    Raises:
        ConfigError: the place does not exist, or holds no archive that can be unpacked safely.
        DataError: the object does not exist or may not be read.
        PlatformError: S3 cannot be reached.
    """
    place = job.submit_directory
    if place is None:
        return job.paths.code
    if place.startswith(SCHEME):
        archive = scratch / ARCHIVE
        download(place, archive, environ if job.region is None else {"AWS_REGION": job.region, **environ})
    else:
        archive = Path(place)
    if archive.is_dir():
        return archive
    if not archive.is_file():
        raise ConfigError(
            f"sagemaker_submit_directory is {place!r}, and there is no such file or folder. Expected a folder of this "
            f"container, a tar.gz archive, or s3://bucket/key of one: correct source_dir."
        )
    target = job.paths.code if _may_fill(job.paths.code) else scratch / "code"
    unpack(archive, target, named_as=place, expected=EXPECTED, max_bytes=MAX_BYTES)
    log.info("code of %s unpacked to %s", place, target)
    return target


def download(uri: str, target: Path, environ: Mapping[str, str]) -> None:
    """Copy an object of S3 into a file."""
    import obstore  # noqa: PLC0415 - most jobs have no code in S3

    bucket, key = parse_uri(uri)
    with named(uri), target.open("wb") as file:
        for chunk in obstore.get(open_store(bucket, environ, RETRY_SECONDS), key):
            file.write(chunk)


def _may_fill(folder: Path) -> bool:
    """Whether a folder is empty, or can be made: what an image or an earlier run has put there stays."""
    if folder.is_dir():
        return os.access(folder, os.W_OK) and not any(folder.iterdir())
    return not folder.exists() and os.access(existing(folder), os.W_OK)
