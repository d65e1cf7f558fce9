"""Output of instances: log streams in CloudWatch Logs, and the metrics that a job's definitions find in the lines."""

import re
import threading
import time
from collections.abc import Sequence

from botocore.exceptions import ClientError

from .aws import Client, Clients
from .store import Document

MAX_EVENTS = 1000
"""Events in one call; the service takes 10,000."""
MAX_LINE = 200_000
"""Characters of a line; the service takes 256 KB."""


class Stream:
    """A log stream; lines are sent in pieces by `flush`, which whoever watches the instance calls."""

    def __init__(self, clients: Clients, group: str, name: str) -> None:
        self._clients, self._group, self._name = clients, group, name
        self._events: list[Document] = []
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        for create, names in (
            (clients.logs.create_log_group, {"logGroupName": group}),
            (clients.logs.create_log_stream, {"logGroupName": group, "logStreamName": name}),
        ):
            _create(create, names)

    def line(self, text: str) -> None:
        """Add a line; empty ones are no events to the service."""
        if text:
            with self._lock:
                self._events.append({"timestamp": int(time.time() * 1000), "message": text[:MAX_LINE]})

    def flush(self) -> None:
        """Send what has come."""
        with self._sending:
            with self._lock:
                events, self._events = self._events, []
            for first in range(0, len(events), MAX_EVENTS):
                self._clients.logs.put_log_events(
                    logGroupName=self._group, logStreamName=self._name, logEvents=events[first : first + MAX_EVENTS]
                )


class Scraper:
    """Finds metrics in lines: the first group of a definition's regular expression is the number."""

    def __init__(self, definitions: Sequence[Document]) -> None:
        self._patterns = [(item["Name"], re.compile(item["Regex"])) for item in definitions]
        self._found: list[Document] = []
        self._lock = threading.Lock()

    def line(self, text: str) -> None:
        """Look at a line."""
        for name, pattern in self._patterns:
            match = pattern.search(text)
            if match is None or not pattern.groups:
                continue
            try:
                value = float(match.group(1))
            except (TypeError, ValueError):
                continue
            with self._lock:
                self._found.append({"MetricName": name, "Value": value, "Timestamp": time.time()})

    @property
    def found(self) -> list[Document]:
        """Everything found so far, in order."""
        with self._lock:
            return list(self._found)

    @property
    def final(self) -> list[Document]:
        """The last value of each metric."""
        return list({metric["MetricName"]: metric for metric in self.found}.values())


def put_metrics(clients: Clients, namespace: str, metrics: Sequence[Document]) -> None:
    """Send data of metrics to CloudWatch, as its API has them."""
    for first in range(0, len(metrics), MAX_EVENTS):
        clients.cloudwatch.put_metric_data(Namespace=namespace, MetricData=metrics[first : first + MAX_EVENTS])


def _create(create: Client, names: dict[str, str]) -> None:
    try:
        create(**names)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceAlreadyExistsException":
            raise
