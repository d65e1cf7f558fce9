"""Resources by kind and name, each a document as Describe answers it, in memory and as one JSON file on the disk."""

import copy
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from ..errors import ApiError

Document = dict[str, Any]

NAMES = {
    "Endpoint": "EndpointName",
    "EndpointConfig": "EndpointConfigName",
    "HyperParameterTuningJob": "HyperParameterTuningJobName",
    "Model": "ModelName",
    "ModelPackage": "ModelPackageArn",
    "ModelPackageGroup": "ModelPackageGroupName",
    "MonitoringSchedule": "MonitoringScheduleName",
    "NotebookInstance": "NotebookInstanceName",
    "NotebookInstanceLifecycleConfig": "NotebookInstanceLifecycleConfigName",
    "ProcessingJob": "ProcessingJobName",
    "TrainingJob": "TrainingJobName",
    "TransformJob": "TransformJobName",
}
"""Kinds of resources, and the field that holds each one's name."""


class Store:
    """Keeps documents; every reader gets a copy, every change is on the disk before it is seen."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._changed = threading.Condition(threading.RLock())
        self._documents: dict[str, dict[str, Document]] = {kind: {} for kind in NAMES}
        for kind in NAMES:
            for file in (folder / kind).glob("*.json"):
                self._documents[kind][unquote(file.stem)] = json.loads(file.read_text(encoding="utf-8"))

    def create(self, kind: str, document: Document) -> None:
        """Add a document.

        Raises:
            ApiError: one of that kind and name is there.
        """
        name = document[NAMES[kind]]
        with self._changed:
            if name in self._documents[kind]:
                raise ApiError(
                    f"Cannot create {kind} {name!r}: one of that name exists. Expected a new name: choose another.",
                    code="ResourceInUse",
                )
            document.setdefault("CreationTime", time.time())
            document.setdefault("LastModifiedTime", document["CreationTime"])
            self._keep(kind, name, document)

    def get(self, kind: str, name: str) -> Document:
        """Copy of a document.

        Raises:
            ApiError: it is not there.
        """
        with self._changed:
            if name not in self._documents[kind]:
                # The SDK and the waiters know a missing resource by these words.
                raise ApiError(
                    f"Could not find {kind} {name!r}: Requested resource not found.",
                    code="ResourceNotFound" if kind.endswith("Job") else "ValidationException",
                )
            return copy.deepcopy(self._documents[kind][name])

    def find(self, kind: str, name: str) -> Document | None:
        """Copy of a document, or None."""
        with self._changed:
            return copy.deepcopy(self._documents[kind].get(name))

    def change(self, kind: str, name: str, change: Callable[[Document], None]) -> Document:
        """Change a document in one piece and return a copy; ApiError when it is not there."""
        with self._changed:
            document = self.get(kind, name)
            change(document)
            document["LastModifiedTime"] = time.time()
            self._keep(kind, name, document)
            return copy.deepcopy(document)

    def update(self, kind: str, name: str, **fields: object) -> Document:
        """Set fields of a document."""
        return self.change(kind, name, lambda document: document.update(fields))

    def delete(self, kind: str, name: str) -> None:
        """Take a document away; ApiError when it is not there."""
        with self._changed:
            self.get(kind, name)
            self._file(kind, name).unlink(missing_ok=True)
            del self._documents[kind][name]
            self._changed.notify_all()

    def all(self, kind: str) -> list[Document]:
        """Copies of all documents of a kind, oldest first."""
        with self._changed:
            return sorted(
                copy.deepcopy(list(self._documents[kind].values())), key=lambda document: document["CreationTime"]
            )

    def by_arn(self, arn: str) -> tuple[str, Document]:
        """Kind and copy of the document with an ARN; ApiError when there is none."""
        with self._changed:
            for kind, documents in self._documents.items():
                for document in documents.values():
                    if document.get(f"{kind}Arn") == arn:
                        return kind, copy.deepcopy(document)
        raise ApiError(f"Could not find a resource with the ARN {arn!r}.", code="ValidationException")

    def wait(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until a condition on the documents holds; looks again whenever one has changed."""
        with self._changed:
            return self._changed.wait_for(condition, timeout_s)

    def _keep(self, kind: str, name: str, document: Document) -> None:
        file = self._file(kind, name)
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = file.with_suffix(".new")
        beside.write_text(json.dumps(document), encoding="utf-8")
        beside.replace(file)
        self._documents[kind][name] = document
        self._changed.notify_all()

    def _file(self, kind: str, name: str) -> Path:
        return self._folder / kind / f"{quote(name, safe='')}.json"
