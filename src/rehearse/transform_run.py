"""One batch transform: containers that serve, objects cut into requests, answers put together again."""

import gzip
import http.client
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ..contract.outcome import FAILURE_CHARACTERS
from ..errors import DataError, PlatformError
from . import model_files
from .backend import LOOK_S, Group, Spec
from .channels import Source, sources
from .context import Context
from .filters import Filters
from .job_run import JobRun
from .objects import locate, read, write
from .payloads import payloads, records
from .replica import Replica
from .serving import Answer, Server
from .store import Document

LOG_GROUP = "/aws/sagemaker/TransformJobs"
TIMEOUT_S, RETRIES = 600, 3
_ENVIRON = {
    "MaxPayloadInMB": "SAGEMAKER_MAX_PAYLOAD_IN_MB",
    "MaxConcurrentTransforms": "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS",
}
_STRATEGIES = {"MultiRecord": "MULTI_RECORD", "SingleRecord": "SINGLE_RECORD"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """How requests are made."""

    concurrency: int
    """Requests at once to each container."""
    single: bool
    """One record a request."""
    payload_mb: int
    """Largest body; 0 is unlimited."""


class TransformRun(JobRun):
    """Runs a transform job."""

    def __init__(self, context: Context, name: str) -> None:
        super().__init__(context, "TransformJob", name)
        model = context.store.get("Model", self.job["ModelName"])
        self._containers = model_files.containers(context, model)
        self._bases: list[Path] = []
        self._isolated = bool(model.get("EnableNetworkIsolation"))
        self._filters = Filters.of(self.job)
        self._servers: list[Replica] = []

    def attempt(self) -> bool:
        """Run the job."""
        self.update(TransformStartTime=time.time())
        self.folder.mkdir(parents=True, exist_ok=True)
        self._bases = model_files.lay(self.context, self._containers, self.folder)
        group = self.context.backend.group(f"transform-{self.name}", 1, isolated=self._isolated)
        broken: list[str] = []
        try:
            for number in range(1, self.job["TransformResources"]["InstanceCount"] + 1):
                self._servers.append(self._server(group, number))
            self._wait_for_health()
            if self.cause is None:
                broken = self._transform()
        finally:
            for server in self._servers:
                server.close()
            group.close()
            self.flush()
        self.settle()
        if self.cause == "rehearsal":
            self.fail("InternalServerError: the rehearsal was stopped while this job ran")
        elif self.cause is not None:
            self._close("Stopped")
        elif broken:
            self.fail(f"ClientError: {len(broken)} objects could not be transformed: {'; '.join(broken)}")
        else:
            self._close("Completed")
        return True

    def fail(self, reason: str) -> None:
        """Write down that it has failed."""
        self._close("Failed", FailureReason=reason[:FAILURE_CHARACTERS])

    def _server(self, group: Group, number: int) -> Replica:
        settings = self.context.settings
        return Replica(
            [
                Server(
                    group,
                    self._spec(number, place),
                    startup_s=settings.startup_s,
                    health_s=settings.health_s,
                    grace_s=settings.serving_grace_s,
                )
                for place in range(len(self._containers))
            ]
        )

    def _spec(self, number: int, place: int) -> Spec:
        """What one of the containers of an instance runs."""
        job, mine = self.job, self._containers[place]
        host = mine.get("ContainerHostname") or f"container-{place + 1}"
        stream = f"{self.name}/i-{number:017d}-{int(time.time())}"
        several = len(self._containers) > 1
        opened = self.open_stream(LOG_GROUP, f"{stream}/{host}" if several else stream, mine["Image"])
        asked = {variable: str(job[field]) for field, variable in _ENVIRON.items() if field in job}
        if "BatchStrategy" in job:
            asked["SAGEMAKER_BATCH_STRATEGY"] = _STRATEGIES[job["BatchStrategy"]]
        return Spec(
            name=f"transform-{self.name}-{number}-{place + 1}",
            image=mine["Image"],
            base=self._bases[place],
            arguments=["serve"],
            environ={
                **self.context.environ(isolated=self._isolated),
                "SAGEMAKER_BATCH": "true",
                **asked,
                **mine.get("Environment", {}),
                **job.get("Environment", {}),
            },
            on_line=opened.line,
            serves=True,
        )

    def _wait_for_health(self) -> None:
        while self.cause is None and not all(server.healthy for server in self._servers):
            self.wake.wait(LOOK_S)
            self.flush()
            for server in self._servers:
                if server.failure is not None:
                    raise PlatformError(server.failure)

    def _parameters(self) -> Parameters:
        """The job's own, then what the container answers, then the platform's."""
        job, asked = self.job, self._ask_parameters()
        strategy = _STRATEGIES.get(job.get("BatchStrategy", ""), asked.get("BatchStrategy", "MULTI_RECORD"))
        return Parameters(
            concurrency=max(1, job.get("MaxConcurrentTransforms") or int(asked.get("MaxConcurrentTransforms", 1))),
            single=strategy == "SINGLE_RECORD",
            payload_mb=job.get("MaxPayloadInMB", int(asked.get("MaxPayloadInMB", 6))),
        )

    def _ask_parameters(self) -> Document:
        answer = self._servers[0].get("/execution-parameters", 10)
        if answer.status != 200:
            return {}
        try:
            found = json.loads(answer.body)
        except ValueError as error:
            raise DataError(f"/execution-parameters answered no JSON: {error}.") from error
        return found if isinstance(found, dict) else {}

    def _transform(self) -> list[str]:
        """Transform all objects; what is wrong with those that could not be."""
        source = self.job["TransformInput"]["DataSource"]["S3DataSource"]
        found, parameters, broken = sources(self.context.clients.s3, source), self._parameters(), []
        with ThreadPoolExecutor(parameters.concurrency * len(self._servers)) as pool:
            for item in found:
                if self.cause is not None:
                    break
                try:
                    self._one(item, parameters, pool)
                except DataError as error:
                    broken.append(f"{item.place}: {error}")
                self.flush()
        return broken

    def _one(self, item: Source, parameters: Parameters, pool: ThreadPoolExecutor) -> None:
        """Transform an object; it yields nothing unless every request was answered."""
        asked, split = self.job["TransformInput"], self.job["TransformInput"].get("SplitType", "None")
        body = read(self.context.clients.s3, item.place)
        if asked.get("CompressionType") == "Gzip":
            body = gzip.decompress(body)
        given = records(body, split)
        filters = self._filters
        sent = given if filters is None else [filters.into(record) for record in given]
        bodies = list(payloads(sent, split, single=parameters.single, limit_mb=parameters.payload_mb))
        numbers = range(len(bodies))
        answers = list(pool.map(self._request, (body for body, _ in bodies), numbers))
        if self.cause is not None:
            return
        if filters is None:
            newline = b"\n" if self.job["TransformOutput"].get("AssembleWith") == "Line" else b""
            result = b"".join(answer.removesuffix(newline) + newline for answer in answers)
        else:
            result = _joined(filters, given, [count for _, count in bodies], answers)
        place = locate(self.job["TransformOutput"]["S3OutputPath"]) / f"{item.name}.out"
        write(self.context.clients.s3, place, result)

    def _request(self, body: bytes, number: int) -> bytes:
        """Send one request, again when it fails; the answer's body."""
        asked, client = self.job["TransformInput"], self.job.get("ModelClientConfig", {})
        headers = {"Content-Type": asked.get("ContentType"), "Accept": self.job["TransformOutput"].get("Accept")}
        present = {name: value for name, value in headers.items() if value}
        found = Answer(0, {}, b"")
        for _ in range(1 + client.get("InvocationsMaxRetries", RETRIES)):
            if self.cause is not None:
                return b""
            server = self._servers[number % len(self._servers)]
            timeout = client.get("InvocationsTimeoutInSeconds", TIMEOUT_S)
            found = server.ask(body, present, timeout, model=None, container=None)
            if 200 <= found.status < 300:
                return found.body
        reason = http.client.responses.get(found.status, "")
        text = found.body.decode("utf-8", errors="replace")[:200]
        raise DataError(f"the model answered {found.status} {reason}: {text}")

    def _close(self, status: str, **fields: object) -> None:
        self.update(TransformJobStatus=status, TransformEndTime=time.time(), **fields)


def _joined(filters: Filters, given: Sequence[bytes], counts: Sequence[int], answers: Sequence[bytes]) -> bytes:
    """Put each record and its line of an answer through the output filter."""
    lines: list[bytes] = []
    for count, answer in zip(counts, answers, strict=True):
        found = [line for line in answer.splitlines() if line.strip()] if count > 1 else [answer]
        if len(found) != count:
            raise DataError(f"the model answered {len(found)} lines to {count} records")
        lines += found
    return b"".join(filters.out(record, line) for record, line in zip(given, lines, strict=True))
