"""A folder of a running host, copied to S3 as it changes."""

import contextlib
from pathlib import Path

from .aws import Client
from .objects import Location, fetch_tree, merged, send


class Upload:
    """Follows one folder: new and changed files are copied, files deleted here are deleted there."""

    def __init__(self, s3: Client, folder: Path, prefix: Location) -> None:
        self._s3, self._folder, self._prefix = s3, folder, prefix
        self._seen: dict[str, tuple[int, int]] = {}

    def restore(self) -> None:
        """Copy to the folder what lies there already, and take it for seen."""
        self._folder.mkdir(parents=True, exist_ok=True)
        fetch_tree(self._s3, self._prefix, self._folder)
        self._seen = self._look()

    def run(self) -> None:
        """Copy what has changed since the last time."""
        now = self._look()
        for name, stamp in now.items():
            if self._seen.get(name) != stamp:
                # Deleted or renamed since it was seen: the next look settles it.
                with contextlib.suppress(FileNotFoundError):
                    send(self._s3, self._folder / name, self._prefix / name)
                    self._seen[name] = stamp
        for name in self._seen.keys() - now.keys():
            self._s3.delete_object(Bucket=self._prefix.bucket, Key=(self._prefix / name).key)
            del self._seen[name]

    def _look(self) -> dict[str, tuple[int, int]]:
        found = {}
        for name, file in merged([self._folder]).items():
            with contextlib.suppress(FileNotFoundError):
                status = file.stat()
                found[name] = (status.st_size, status.st_mtime_ns)
        return found
