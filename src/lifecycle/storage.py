"""The project's part of a bucket, which is made when it is missing; files go under the hash of their content."""

import gzip
import io
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..errors import DataError, UserError
from .aws import Aws
from .names import digest_files
from .refusals import explained

MAX_UPLOAD = 5 * 1024**3
"""Bytes of one object that a single request may bring."""
SKIPPED = {".git", ".hg", ".svn", ".venv", "__pycache__", ".ipynb_checkpoints", ".mypy_cache", ".ruff_cache"}
"""Folders that are no part of somebody's code."""


class Storage:
    """A prefix in a bucket."""

    def __init__(self, aws: Aws, bucket: str, prefix: str) -> None:
        self._aws, self._prefix = aws, prefix
        self._default = not bucket
        self.bucket = bucket or f"sagemaker-{aws.region}-{aws.account()}"
        self._there: bool | None = None
        self._made = False

    def uri(self, *parts: str) -> str:
        """URI of a place below the prefix."""
        return "/".join([f"s3://{self.bucket}", self._prefix, *parts])

    def make_bucket(self) -> None:
        """Make the bucket where it is missing; one that the file names has to be there, but on a rehearsal."""
        if self._is_there() or self._made:
            return
        # us-east-1 is the one region that must not be named.
        region = {} if self._aws.region == "us-east-1" else {"LocationConstraint": self._aws.region}
        more = {"CreateBucketConfiguration": region} if region else {}
        self._aws.do("s3", "CreateBucket", Bucket=self.bucket, **more)
        self._there, self._made = not self._aws.dry, True

    def put(self, key: str, source: Path | bytes) -> str:
        """Upload a file or bytes below the prefix and return the URI.

        Raises:
            DataError: the file is larger than one request may bring.
            TwofoldError: S3 refuses.
        """
        self.make_bucket()
        place = {"Bucket": self.bucket, "Key": f"{self._prefix}/{key}"}
        if isinstance(source, bytes):
            self._aws.do("s3", "PutObject", **place, Body=source)
        else:
            size = source.stat().st_size
            if size > MAX_UPLOAD:
                raise DataError(
                    f"{source} has {size:,} bytes. Expected at most {MAX_UPLOAD:,} a file: upload it by `aws s3 cp` "
                    f"and name its s3:// URI."
                )
            with source.open("rb") as file:
                self._aws.do("s3", "PutObject", **place, Body=file)
        return self.uri(key)

    def put_files(self, folder: str, files: Mapping[str, Path]) -> str:
        """Upload files below `folder/HASH/`, those that are not there yet, and return the URI of that folder."""
        place = f"{folder}/{digest_files(files)}"
        there = self.sizes(f"{place}/")
        for name, path in files.items():
            if there.get(f"{self._prefix}/{place}/{name}") != path.stat().st_size:
                self.put(f"{place}/{name}", path)
        return self.uri(place) + "/"

    def put_code(self, source: Path) -> str:
        """Pack a folder of code as SageMaker's SDK does and upload it; returns the archive's URI."""
        return self._put_packed("code", source, "sourcedir.tar.gz")

    def put_model(self, source: Path) -> str:
        """Upload a model: an archive as it is, a folder packed into one; returns the archive's URI."""
        if source.is_dir():
            return self._put_packed("models", source, "model.tar.gz")
        return self.put_files("models", {"model.tar.gz": source}) + "model.tar.gz"

    def sizes(self, below: str = "") -> dict[str, int]:
        """Bytes of each object below the prefix, by key; none where there is no such bucket."""
        if not self._is_there():
            return {}
        found = self._aws.client("s3").get_paginator("list_objects_v2")
        with explained("ListObjectsV2"):
            pages = list(found.paginate(Bucket=self.bucket, Prefix=f"{self._prefix}/{below}"))
        return {item["Key"]: item["Size"] for page in pages for item in page.get("Contents", [])}

    def below(self, uri: str) -> list[str]:
        """URIs of the objects below a URI of this storage, in order."""
        keys = self.sizes(uri.removeprefix(self.uri()).lstrip("/"))
        return [f"s3://{self.bucket}/{key}" for key in sorted(keys)]

    def exists(self, uri: str) -> bool:
        """Whether there is an object of a URI, in any bucket."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        found = self._aws.ask("s3", "ListObjectsV2", Bucket=bucket, Prefix=key, MaxKeys=1)
        return any(item["Key"] == key for item in found.get("Contents", []))

    def read(self, uri: str) -> bytes:
        """Content of an object of any bucket."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        content: bytes = self._aws.ask("s3", "GetObject", Bucket=bucket, Key=key)["Body"].read()
        return content

    def _put_packed(self, folder: str, source: Path, name: str) -> str:
        files = tree(source)
        key = f"{folder}/{digest_files(files)}/{name}"
        if f"{self._prefix}/{key}" not in self.sizes(key):
            self.put(key, packed(files))
        return self.uri(key)

    def _is_there(self) -> bool:
        """Whether the bucket exists; one that the file names is taken to, since nobody need be allowed to list."""
        if self._there is None:
            named = not (self._default or self._aws.local)
            buckets = () if named else self._aws.ask("s3", "ListBuckets").get("Buckets", [])
            self._there = named or self.bucket in {item["Name"] for item in buckets}
        return self._there


def tree(folder: Path) -> dict[str, Path]:
    """Files below a folder by their names in it, without caches and version control.

    Raises:
        UserError: it is no folder, or empty.
    """
    files = dict(_walk(folder, folder)) if folder.is_dir() else {}
    if not files:
        raise UserError(f"{folder} is {'empty' if folder.is_dir() else 'no folder'}. Expected a folder with files.")
    return files


def _walk(folder: Path, base: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name not in SKIPPED:
            yield from _walk(path, base)
        elif path.is_file() and path.suffix != ".pyc":
            yield path.relative_to(base).as_posix(), path


def packed(files: Mapping[str, Path]) -> bytes:
    """A tar.gz of files, the same bytes for the same content: no times, no owners."""
    content = io.BytesIO()
    # Compressed here and not by tarfile, which would write the time into gzip's header.
    with gzip.GzipFile(fileobj=content, mode="wb", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w") as tar:
        for name in sorted(files):
            entry = tarfile.TarInfo(name)
            entry.size = files[name].stat().st_size
            entry.mode = 0o755 if files[name].stat().st_mode & 0o100 else 0o644
            with files[name].open("rb") as file:
                tar.addfile(entry, file)
    return content.getvalue()
