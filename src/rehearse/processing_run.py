"""One processing job: inputs below `/opt/ml/processing`, the container's own command, outputs to S3, a message."""

import gzip
import json
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from ..contract.outcome import FAILURE_CHARACTERS, MESSAGE_BYTES
from ..contract.paths import Paths
from ..errors import DataError
from . import trees
from .backend import Group, Spec
from .channels import copy, share, sources
from .context import Context
from .job_run import JobRun
from .logs import put_metrics
from .objects import locate, send_tree
from .store import Document
from .sync import Upload

LOG_GROUP = "/aws/sagemaker/ProcessingJobs"
METRICS = "output/metrics/cloudwatch"
"""Folder in which a monitoring container leaves metrics, one JSON object a line."""


class ProcessingRun(JobRun):
    """Runs a processing job."""

    def __init__(self, context: Context, name: str) -> None:
        super().__init__(context, "ProcessingJob", name)
        self._cluster = self.job["ProcessingResources"]["ClusterConfig"]
        self._isolated = bool(self.job.get("NetworkConfig", {}).get("EnableNetworkIsolation"))
        self._trees: list[Paths] = []
        self._uploads: list[Upload] = []
        self._deadline = float("inf")

    def attempt(self) -> bool:
        """Run the job."""
        count = self._cluster["InstanceCount"]
        group = self.context.backend.group(f"processing-{self.name}", count, isolated=self._isolated)
        codes: list[int | None] = []
        try:
            self.update(ProcessingStartTime=time.time())
            self._lay(group)
            limit = self.job.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", 86_400)
            self._deadline = time.monotonic() + limit
            if self.cause is None:
                self._start(group)
                # The documentation names SIGINT here, where it names SIGTERM for training and hosting.
                codes = self.watch(
                    self._check_time, grace_s=self.context.settings.training_grace_s, number=signal.SIGINT
                )
        finally:
            self.stop()
            group.close()
            self.flush()
        self.settle()
        self._finish(codes)
        return True

    def fail(self, reason: str) -> None:
        """Write down that it has failed."""
        self._close("Failed", FailureReason=reason[:FAILURE_CHARACTERS])

    def flush(self) -> None:
        """Send on what the hosts have said and written."""
        super().flush()
        for upload in self._uploads:
            upload.run()

    def _lay(self, group: Group) -> None:
        job, s3 = self.job, self.context.clients.s3
        self._trees = [Paths(self.folder / f"algo-{number}") for number in range(1, len(group.hosts) + 1)]
        found = {item["InputName"]: sources(s3, item["S3Input"]) for item in job.get("ProcessingInputs", [])}
        for number, (paths, host) in enumerate(zip(self._trees, group.hosts, strict=True)):
            trees.write_processing(paths, job, host, group.hosts, group.interface)
            for item in job.get("ProcessingInputs", []):
                folder = trees.below(paths, item["S3Input"]["LocalPath"], "ProcessingInputs.S3Input.LocalPath")
                part = share(
                    found[item["InputName"]],
                    {"S3DataDistributionType": item["S3Input"].get("S3DataDistributionType", "FullyReplicated")},
                    number,
                    len(group.hosts),
                )
                copy(s3, part, folder)
                if item["S3Input"].get("S3CompressionType") == "Gzip":
                    _gunzip(folder)
            for output in self._outputs():
                folder = trees.below(paths, output["LocalPath"], "ProcessingOutputConfig.Outputs.S3Output.LocalPath")
                folder.mkdir(parents=True, exist_ok=True)
                if output["S3UploadMode"] == "Continuous":
                    self._uploads.append(Upload(s3, folder, locate(output["S3Uri"])))

    def _outputs(self) -> list[Document]:
        return [item["S3Output"] for item in self.job.get("ProcessingOutputConfig", {}).get("Outputs", [])]

    def _start(self, group: Group) -> None:
        application, stamp = self.job["AppSpecification"], int(time.time())
        for number, (paths, host) in enumerate(zip(self._trees, group.hosts, strict=True), 1):
            stream = self.open_stream(LOG_GROUP, f"{self.name}/algo-{number}-{stamp}", application["ImageUri"])
            self.start(
                group,
                Spec(
                    name=f"processing-{self.name}-algo-{number}",
                    image=application["ImageUri"],
                    base=paths.base,
                    host=host,
                    entrypoint=application.get("ContainerEntrypoint", []),
                    arguments=application.get("ContainerArguments", []),
                    environ={**self.context.environ(isolated=self._isolated), **self.job.get("Environment", {})},
                    on_line=stream.line,
                ),
            )

    def _check_time(self) -> None:
        if time.monotonic() > self._deadline:
            self.tell("runtime")

    def _finish(self, codes: Sequence[int | None]) -> None:
        if self.cause == "rehearsal":
            self.fail("InternalServerError: the rehearsal was stopped while this job ran")
            return
        for output in self._outputs():
            if output["S3UploadMode"] == "EndOfJob":
                folders = [trees.below(paths, output["LocalPath"], "LocalPath") for paths in self._trees]
                send_tree(self.context.clients.s3, folders, locate(output["S3Uri"]))
        self._put_metrics()
        message = b"".join(paths.message.read_bytes() for paths in self._trees if paths.message.is_file())
        fields: Document = {}
        if message:
            try:
                fields["ExitMessage"] = message.decode("utf-8").encode()[:MESSAGE_BYTES].decode(errors="ignore")
            except UnicodeDecodeError as error:
                raise DataError(f"/opt/ml/output/message is not UTF-8: {error}. Write text to it.") from error
        failed = next((code for code in codes if code), None)
        if self.cause is not None:
            self._close("Stopped", **fields)
        elif failed is not None:
            self._close("Failed", FailureReason=f"AlgorithmError: , exit code: {failed}", **fields)
        else:
            self._close("Completed", **fields)

    def _put_metrics(self) -> None:
        """Of a monitoring job: send on the metrics that its container has left, under the namespace of the platform."""
        if "MonitoringScheduleArn" not in self.job:
            return
        for paths in self._trees:
            for file in sorted((paths.base / METRICS).glob("*.jsonl")):
                lines = file.read_text(encoding="utf-8").splitlines()
                put_metrics(
                    self.context.clients,
                    "/aws/sagemaker/Endpoint/data-metrics",
                    [json.loads(line) for line in lines if line.strip()],
                )

    def _close(self, status: str, **fields: object) -> None:
        self.update(ProcessingJobStatus=status, ProcessingEndTime=time.time(), **fields)


def _gunzip(folder: Path) -> None:
    for file in folder.rglob("*.gz"):
        file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
        file.unlink()
