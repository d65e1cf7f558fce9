"""Archives of others, unpacked without trusting them: code, and models as SageMaker packs them.

Only files and folders are written, below the target and nowhere else; anything else in an archive is refused before it
is written. `tarfile`'s own filter does not know a bound, and Python 3.11 has it from 3.11.4 on: Debian 12 has 3.11.2.
"""

import lzma
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO

from ..errors import ConfigError

MAX_MEMBERS = 200_000
"""Most files and folders of an archive."""


def unpack(archive: Path, target: Path, *, named_as: str, expected: str, max_bytes: int | None = None) -> None:
    """Unpack a tar archive, compressed or not, into a folder; nothing outside of it is ever written.

    Args:
        archive: the file.
        target: the folder, made when it is missing.
        named_as: what the user calls the archive.
        expected: sentence for errors that says what an archive should be and what to change.
        max_bytes: most that it may hold, unpacked, beside nine tenths of what the disk has free.

    Raises:
        ConfigError: no tar archive, a broken one, one that is too large, or one with a link, a device or a name that
            leads out of the folder.
    """
    room = shutil.disk_usage(existing(target)).free * 9 // 10
    left = bound = room if max_bytes is None else min(max_bytes, room)
    try:
        # As a stream: each member is looked at before anything of it is written.
        with tarfile.open(archive, "r|*") as members:
            for count, member in enumerate(members):
                left -= member.size
                if left < 0 or count >= MAX_MEMBERS:
                    raise ConfigError(
                        f"{named_as} holds more than {bound:,} bytes or {MAX_MEMBERS:,} files. {expected}"
                    )
                _write(members, member, target / _inside(member, named_as, expected))
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise ConfigError(f"{named_as} cannot be unpacked: {error}. {expected}") from error


def existing(path: Path) -> Path:
    """Nearest folder above a path, or itself, that is there."""
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def _inside(member: tarfile.TarInfo, archive: str, expected: str) -> PurePosixPath:
    """Path of a member below the folder.

    Raises:
        ConfigError: it would lie outside, or is neither a file nor a folder.
    """
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\0" in member.name:
        raise ConfigError(f"{archive} has a member {member.name!r}, which would lie outside of its folder. {expected}")
    if not (member.isreg() or member.isdir()):
        raise ConfigError(f"{archive} has a member {member.name!r} that is neither a file nor a folder. {expected}")
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
