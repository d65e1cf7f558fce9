"""S3 on the disk: moto holds buckets in memory, so they are copied to the state's folder as they change, and back."""

import hashlib
import json
import logging
import threading
from pathlib import Path

from botocore.exceptions import ClientError

from .aws import Client
from .store import Document

log = logging.getLogger(__name__)

PAUSE_S = 5.0
"""Between two copies, while something changes."""
_KEPT = ("ContentType", "ContentEncoding", "Metadata")


class Keeper:
    """Copies what has changed since the last time, in a thread and once more at the end."""

    def __init__(self, s3: Client, folder: Path, changed: threading.Event) -> None:
        self._s3, self._folder, self._changed = s3, folder, changed
        self._index: dict[str, dict[str, Document]] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)

    def restore(self) -> None:
        """Put back what the rehearsal before has left, then follow what changes."""
        file = self._folder / "index.json"
        self._index = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        for bucket, objects in self._index.items():
            self._s3.create_bucket(Bucket=bucket)
            for key, entry in objects.items():
                with (self._folder / entry["file"]).open("rb") as body:
                    self._s3.put_object(Bucket=bucket, Key=key, Body=body, **entry["fields"])
        self._changed.clear()
        self._thread.start()

    def close(self) -> None:
        """Copy what has changed since, for the last time."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(PAUSE_S):
            self._look()
        self._look()

    def _look(self) -> None:
        if self._changed.is_set():
            self._changed.clear()
            try:
                self._save()
            except ClientError as error:
                # A bucket or an object went while it was copied: the next look finds it gone.
                self._changed.set()
                log.info("S3 changed while it was copied: %s", error)

    def _save(self) -> None:
        index: dict[str, dict[str, Document]] = {}
        self._folder.mkdir(parents=True, exist_ok=True)
        for bucket in (item["Name"] for item in self._s3.list_buckets()["Buckets"]):
            known, index[bucket] = self._index.get(bucket, {}), {}
            for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
                for item in page.get("Contents", ()):
                    key = item["Key"]
                    stamp = f"{item['ETag']} {item['LastModified']}"
                    kept = known.get(key)
                    index[bucket][key] = kept if kept and kept["stamp"] == stamp else self._copy(bucket, key, stamp)
        file = self._folder / "index.json"
        beside = file.with_suffix(".new")
        beside.write_text(json.dumps(index), encoding="utf-8")
        beside.replace(file)
        self._index = index
        wanted = {entry["file"] for objects in index.values() for entry in objects.values()} | {file.name}
        for other in self._folder.iterdir():
            if other.name not in wanted:
                other.unlink()

    def _copy(self, bucket: str, key: str, stamp: str) -> Document:
        found = self._s3.get_object(Bucket=bucket, Key=key)
        name = hashlib.sha256(f"{bucket}/{key} {stamp}".encode()).hexdigest()
        with (self._folder / name).open("wb") as file:
            for piece in found["Body"].iter_chunks(1 << 20):
                file.write(piece)
        return {"file": name, "stamp": stamp, "fields": {field: found[field] for field in _KEPT if found.get(field)}}
