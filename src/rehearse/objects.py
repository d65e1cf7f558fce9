"""S3 objects and folders of this machine, one into the other."""

import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from botocore.exceptions import ClientError

from ..contract import archives
from ..errors import ConfigError, DataError
from .aws import Client


@dataclass(frozen=True, slots=True)
class Location:
    """A bucket and a key or prefix in it."""

    bucket: str
    """Name of the bucket."""
    key: str
    """Key or prefix, without a slash in front."""

    def __truediv__(self, part: str) -> "Location":
        return Location(self.bucket, "/".join(filter(None, [self.key.rstrip("/"), part])))

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def locate(uri: str) -> Location:
    """Take an `s3://` URI apart.

    Raises:
        DataError: it is none.
    """
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise DataError(f"{uri!r} is no S3 URI. Expected s3://bucket/key: correct it in the request.")
    return Location(bucket, key)


def keys(s3: Client, prefix: Location) -> Iterator[str]:
    """Keys under a prefix in S3's order, without the empty ones that stand for folders.

    Raises:
        DataError: the bucket cannot be listed.
    """
    try:
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=prefix.bucket, Prefix=prefix.key):
            yield from (item["Key"] for item in page.get("Contents", ()) if not item["Key"].endswith("/"))
    except ClientError as error:
        raise DataError(f"{prefix} cannot be listed: {error}. Expected a bucket of this rehearsal.") from error


def read(s3: Client, place: Location) -> bytes:
    """Content of an object; DataError when it is not there."""
    try:
        return bytes(s3.get_object(Bucket=place.bucket, Key=place.key)["Body"].read())
    except ClientError as error:
        raise DataError(f"{place} cannot be read: {error}. Expected an object of this rehearsal.") from error


def write(s3: Client, place: Location, body: bytes, **options: str) -> None:
    """Put an object; DataError when its bucket is not there."""
    try:
        s3.put_object(Bucket=place.bucket, Key=place.key, Body=body, **options)
    except ClientError as error:
        raise DataError(f"{place} cannot be written: {error}. Expected a bucket of this rehearsal.") from error


def fetch(s3: Client, place: Location, file: Path) -> None:
    """Copy an object to a file; DataError when it is not there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        s3.download_file(place.bucket, place.key, str(file))
    except ClientError as error:
        raise DataError(f"{place} cannot be read: {error}. Expected an object of this rehearsal.") from error


def send(s3: Client, file: Path, place: Location) -> None:
    """Copy a file to an object; DataError when its bucket is not there."""
    try:
        with file.open("rb") as body:
            s3.put_object(Bucket=place.bucket, Key=place.key, Body=body)
    except ClientError as error:
        raise DataError(f"{place} cannot be written: {error}. Expected a bucket of this rehearsal.") from error


def fetch_tree(s3: Client, prefix: Location, folder: Path) -> int:
    """Copy everything under a prefix, which is taken for a folder; how many files."""
    root = prefix.key if not prefix.key or prefix.key.endswith("/") else f"{prefix.key}/"
    count = 0
    for key in keys(s3, Location(prefix.bucket, root)):
        fetch(s3, Location(prefix.bucket, key), inside(folder, key.removeprefix(root)))
        count += 1
    return count


def send_tree(s3: Client, folders: Sequence[Path], prefix: Location) -> None:
    """Copy the files of folders under a prefix; of the same name the last folder's wins, as on the platform."""
    for name, file in merged(folders).items():
        send(s3, file, prefix / name)


def send_archive(s3: Client, folders: Sequence[Path], place: Location) -> None:
    """Copy the files of folders as one gzip tar."""
    with TemporaryDirectory() as scratch:
        archive = Path(scratch) / "archive.tar.gz"
        # Without `dereference` the second of two hard links would be a link here, which `unpack` refuses.
        with tarfile.open(archive, "w:gz", compresslevel=1, dereference=True) as tar:
            for name, file in sorted(merged(folders).items()):
                tar.add(file, arcname=name, recursive=False)
        send(s3, archive, place)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a gzip tar.

    Raises:
        DataError: it is none, or it holds a link or a name that leads out of the folder.
    """
    try:
        archives.unpack(archive, folder, named_as="The archive", expected="Expected a .tar.gz as training writes it.")
    except ConfigError as error:
        raise DataError(str(error)) from error


def merged(folders: Sequence[Path]) -> dict[str, Path]:
    """Regular files of folders by relative name; links are left out, as the platform does."""
    return {
        file.relative_to(folder).as_posix(): file
        for folder in folders
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not file.is_symlink()
    }


def inside(folder: Path, name: str) -> Path:
    """Path of a relative name below a folder.

    Raises:
        DataError: the name leads out of it.
    """
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise DataError(f"The key {name!r} leads out of its folder. Expected keys without '..': rename the object.")
    return path
