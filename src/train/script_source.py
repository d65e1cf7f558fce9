"""The user's code in script mode: found where the job says, brought here and unpacked without trusting the archive.

    sagemaker_submit_directory    absent             /opt/ml/code, where an image may have it
                                  a folder           that folder, as it is
                                  an archive, s3://  unpacked to /opt/ml/code if that is empty, else to scratch

What the SDK packs has files and folders only; anything else in an archive is refused, and so is more than
`MAX_BYTES` of content.
"""

import logging
import lzma
import os
import shutil
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import IO

from ..contract.job import TrainingJob
from ..errors import ConfigError
from ..stream.s3_client import RETRY_SECONDS, SCHEME, named, open_store, parse_uri

log = logging.getLogger(__name__)

MAX_BYTES = 8 << 30
"""Most that an archive of code may hold, unpacked."""
MAX_MEMBERS = 200_000
"""Most files and folders of an archive of code."""
ARCHIVE = "sourcedir.tar.gz"


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
    unpack(archive, target, named_as=place)
    log.info("code of %s unpacked to %s", place, target)
    return target


def download(uri: str, target: Path, environ: Mapping[str, str]) -> None:
    """Copy an object of S3 into a file."""
    import obstore  # noqa: PLC0415 - most jobs have no code in S3

    bucket, key = parse_uri(uri)
    with named(uri), target.open("wb") as file:
        for chunk in obstore.get(open_store(bucket, environ, RETRY_SECONDS), key):
            file.write(chunk)


def unpack(archive: Path, target: Path, *, named_as: str, max_bytes: int = MAX_BYTES) -> None:
    """Unpack a tar archive, compressed or not, into a folder; nothing outside of it is ever written.

    Raises:
        ConfigError: no tar archive, a broken one, or one with a member that no archive of code needs.
    """
    left = min(max_bytes, shutil.disk_usage(_existing(target)).free // 2)
    try:
        # As a stream: each member is looked at before anything of it is written.
        with tarfile.open(archive, "r|*") as members:
            for count, member in enumerate(members):
                left -= member.size
                if left < 0 or count >= MAX_MEMBERS:
                    raise _refusal(named_as, f"holds more than {max_bytes:,} bytes, {MAX_MEMBERS:,} files, or the disk")
                _write(members, member, target / _inside(named_as, member))
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise ConfigError(
            f"{named_as} cannot be unpacked: {error}. Expected a tar.gz archive such as the SDK makes of source_dir."
        ) from error


def _inside(archive: str, member: tarfile.TarInfo) -> PurePosixPath:
    """Path of a member below the folder.

    Raises:
        ConfigError: it would lie outside, or is neither a file nor a folder.
    """
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\0" in member.name:
        raise _refusal(archive, f"has a member {member.name!r}, which would lie outside of its folder")
    if not (member.isreg() or member.isdir()):
        raise _refusal(archive, f"has a member {member.name!r} that is neither a file nor a folder")
    return path


def _write(members: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    if member.isdir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    content: IO[bytes] | None = members.extractfile(member)
    if content is None:
        raise tarfile.ReadError(f"{member.name} has no content")
    with content, path.open("wb") as file:
        shutil.copyfileobj(content, file)
    path.chmod(0o755 if member.mode & 0o111 else 0o644)


def _refusal(archive: str, found: str) -> ConfigError:
    return ConfigError(
        f"{archive} {found}. Expected the files and folders of your code with relative names, no links: pack "
        f"source_dir again, as the SDK does."
    )


def _may_fill(folder: Path) -> bool:
    """Whether a folder is empty, or can be made: what an image or an earlier run has put there stays."""
    if folder.is_dir():
        return os.access(folder, os.W_OK) and not any(folder.iterdir())
    return not folder.exists() and os.access(_existing(folder), os.W_OK)


def _existing(path: Path) -> Path:
    """Nearest folder above a path, or itself, that is there."""
    return next(folder for folder in (path, *path.parents) if folder.is_dir())
