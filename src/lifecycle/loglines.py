"""Lines of CloudWatch Logs: those of a job or an endpoint, each once, as they come."""

from collections.abc import Iterator

from ..errors import UserError
from .aws import Aws, Document
from .resources import ENDPOINT, NOTEBOOK, PROCESSING, TRAINING, TRANSFORM, Kind, find

GROUPS = {
    TRAINING: "/aws/sagemaker/TrainingJobs",
    PROCESSING: "/aws/sagemaker/ProcessingJobs",
    TRANSFORM: "/aws/sagemaker/TransformJobs",
    ENDPOINT: "/aws/sagemaker/Endpoints/",
    NOTEBOOK: "/aws/sagemaker/NotebookInstances",
}
"""Log group of each kind; an endpoint has one of its own, below."""


class LogReader:
    """Reads on where it stopped."""

    def __init__(self, aws: Aws, kind: Kind, name: str) -> None:
        self._aws = aws
        self._group = GROUPS[kind] + name if kind is ENDPOINT else GROUPS[kind]
        self._prefix: Document = {} if kind is ENDPOINT else {"logStreamNamePrefix": f"{name}/"}
        self._tokens: dict[str, str] = {}

    def lines(self) -> Iterator[str]:
        """Lines that are new, with the stream in front where there are several, in the order of each stream."""
        streams = sorted(stream["logStreamName"] for stream in self._streams())
        for stream in streams:
            mark = f"{stream.rpartition('/')[2]}: " if len(streams) > 1 else ""
            for line in self._new(stream):
                yield mark + line

    def _streams(self) -> Iterator[Document]:
        groups = self._aws.pages("logs", "DescribeLogGroups", "logGroups", logGroupNamePrefix=self._group)
        if not any(group["logGroupName"] == self._group for group in groups):
            return
        yield from self._aws.pages("logs", "DescribeLogStreams", "logStreams", logGroupName=self._group, **self._prefix)

    def _new(self, stream: str) -> Iterator[str]:
        while True:
            token = {"nextToken": self._tokens[stream]} if stream in self._tokens else {}
            answer = self._aws.ask(
                "logs",
                "GetLogEvents",
                logGroupName=self._group,
                logStreamName=stream,
                startFromHead=True,
                **token,
            )
            yield from (str(event["message"]).rstrip() for event in answer["events"])
            # The same token again says that this is all there is for now.
            if answer["nextForwardToken"] == self._tokens.get(stream):
                return
            self._tokens[stream] = answer["nextForwardToken"]


def find_logged(aws: Aws, name: str) -> tuple[Kind, Document]:
    """Kind and description of what has a name and a log.

    Raises:
        UserError: there is nothing of that name.
    """
    for kind in GROUPS:
        found = find(aws, kind, name)
        if found is not None:
            return kind, found
    words = ", ".join(kind.word for kind in GROUPS)
    raise UserError(f"There is nothing called {name!r} in {aws.region}. Expected a {words}: see `twofold status`.")
