"""One training job, from its instances to its artifacts.

Starting -> Downloading -> Training -> Uploading -> Completed
                ^             |  a stop, MaxRuntime: SIGTERM, 120 s, SIGKILL -> Uploading -> Stopped
                +- Interrupted+  a spot instance is reclaimed: the same, without an upload, and again from the start
"""

import errno
import time
from collections.abc import Sequence

from ..contract.outcome import FAILURE_CHARACTERS
from ..contract.paths import Paths
from ..errors import PlatformError
from . import disk, trees
from .backend import Group, Spec
from .channels import Pipe, copy, share, sources
from .context import Context
from .job_run import JobRun
from .logs import Scraper, Stream, put_metrics
from .objects import Location, locate, send_archive, send_tree
from .store import Document
from .sync import Upload

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
CHECKPOINTS = "/opt/ml/checkpoints"
TENSORBOARD = "/opt/ml/output/tensorboard"


class TrainingRun(JobRun):
    """Runs a job in a thread of its own and writes into the store how it stands."""

    def __init__(self, context: Context, name: str) -> None:
        super().__init__(context, "TrainingJob", name)
        self._scraper = Scraper(self.job["AlgorithmSpecification"].get("MetricDefinitions", []))
        self._sent = 0
        self._uploads: list[Upload] = []
        self._pipes: list[Pipe] = []
        self._trees: list[Paths] = []
        self._created = time.monotonic()
        self._trained_s = 0.0
        self._since: float | None = None

    @property
    def metrics(self) -> list[Document]:
        """What the metric definitions have found so far."""
        return self._scraper.found

    def attempt(self) -> bool:
        """Run the job once; False when its instances were reclaimed and it has to start again."""
        self._secondary("Starting", "Preparing the instances for training")
        job = self.job
        groups = trees.instance_groups(job["ResourceConfig"])
        count = sum(group["InstanceCount"] for group in groups)
        group = self.context.backend.group(
            f"training-{self.name}", count, isolated=bool(job.get("EnableNetworkIsolation"))
        )
        codes: list[int | None] = []
        try:
            self._secondary("Downloading", "Downloading the input data")
            self.update(TrainingStartTime=time.time())
            self._download(group)
            if self.cause is None:
                self._secondary("Training", "Training image download completed. Training in progress.")
                self._since = time.monotonic()
                self._start(group)
                codes = self.watch(self._check_time, grace_s=self.context.settings.training_grace_s)
                self._trained_s, self._since = self._trained_s + time.monotonic() - self._since, None
        finally:
            self.stop()
            for pipe in self._pipes:
                pipe.close()
            group.close()
            self.flush()
        if not self.settle():
            self._secondary("Interrupted", "The spot instances were reclaimed")
            return False
        self._finish(codes)
        return True

    def _download(self, group: Group) -> None:
        """Make the trees; PlatformError when the disk of a host has no room for them."""
        try:
            self._lay(group)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise PlatformError("Data download failed: no space left on device. Raise VolumeSizeInGB.") from error

    def _lay(self, group: Group) -> None:
        """Make the trees of all hosts: configuration, channels, checkpoints."""
        disk.remove(self.folder)
        job, s3 = self.job, self.context.clients.s3
        self._pipes, self._uploads = [], []
        self._trees = [Paths(self.folder / f"algo-{number}") for number in range(1, len(group.hosts) + 1)]
        of_group = trees.members(trees.instance_groups(job["ResourceConfig"]), group.hosts)
        for paths, host in zip(self._trees, group.hosts, strict=True):
            if size := self.context.weather.small_disk:
                disk.mount(paths.base, size)
            trees.write_training(paths, job, host, group.hosts, group.interface)
        for channel in job.get("InputDataConfig", []):
            data = channel["DataSource"]["S3DataSource"]
            found = sources(s3, data)
            wanted = data.get("InstanceGroupNames") or list(of_group)
            getting = [host for name in wanted for host in of_group[name]]
            for number, host in enumerate(getting):
                paths = self._trees[list(group.hosts).index(host)]
                part = share(found, data, number, len(getting))
                if trees.mode(channel, job) == "Pipe":
                    self._pipes.append(Pipe(s3, part, channel, paths.channel(channel["ChannelName"])))
                else:
                    copy(s3, part, paths.channel(channel["ChannelName"]))
        for field, default, key in (
            ("CheckpointConfig", CHECKPOINTS, "S3Uri"),
            ("TensorBoardOutputConfig", TENSORBOARD, "S3OutputPath"),
        ):
            if (config := job.get(field)) is not None:
                for paths in self._trees:
                    folder = trees.below(paths, config.get("LocalPath", default), f"{field}.LocalPath")
                    upload = Upload(s3, folder, locate(config[key]))
                    if field == "CheckpointConfig":
                        upload.restore()
                    self._uploads.append(upload)

    def _start(self, group: Group) -> None:
        job, algorithm = self.job, self.job["AlgorithmSpecification"]
        entrypoint = algorithm.get("ContainerEntrypoint", [])
        arguments = algorithm.get("ContainerArguments", [] if entrypoint else ["train"])
        stamp, image = int(time.time()), algorithm["TrainingImage"]
        self.streams = []
        for number, (paths, host) in enumerate(zip(self._trees, group.hosts, strict=True), 1):
            stream = self.open_stream(LOG_GROUP, f"{self.name}/algo-{number}-{stamp}", image)

            def on_line(text: str, stream: Stream = stream) -> None:
                stream.line(text)
                self._scraper.line(text)

            self.start(
                group,
                Spec(
                    name=f"training-{self.name}-algo-{number}",
                    image=image,
                    base=paths.base,
                    host=host,
                    entrypoint=entrypoint,
                    arguments=arguments,
                    environ={
                        **self.context.environ(isolated=bool(job.get("EnableNetworkIsolation"))),
                        "TRAINING_JOB_NAME": self.name,
                        "TRAINING_JOB_ARN": job["TrainingJobArn"],
                        **job.get("Environment", {}),
                    },
                    on_line=on_line,
                ),
            )

    def _check_time(self) -> None:
        condition = self.job["StoppingCondition"]
        running = self._trained_s + (time.monotonic() - self._since if self._since else 0)
        if running > condition.get("MaxRuntimeInSeconds", 86_400):
            self.tell("runtime")
        if time.monotonic() - self._created > condition.get("MaxWaitTimeInSeconds", float("inf")):
            self.tell("wait")

    def flush(self) -> None:
        """Send on what the hosts have said and written."""
        super().flush()
        for upload in self._uploads:
            upload.run()
        found = self._scraper.found
        dimensions = [{"Name": "TrainingJobName", "Value": self.name}]
        put_metrics(
            self.context.clients,
            LOG_GROUP,
            [{**metric, "Dimensions": dimensions} for metric in found[self._sent :]],
        )
        self._sent = len(found)
        self.update(FinalMetricDataList=self._scraper.final)

    def _finish(self, codes: Sequence[int | None]) -> None:
        """Send the artifacts and say how it ended."""
        failed = next((number for number, code in enumerate(codes) if code), None)
        if self.cause is None and failed is not None:
            self._send(model=False)
            self.fail(_reason(self._trees, failed, codes[failed] or 0))
            return
        if self.cause == "rehearsal":
            self.fail("InternalServerError: the rehearsal was stopped while this job ran")
            return
        self._secondary("Uploading", "Uploading generated training model")
        self._send(model=True)
        if self.cause is None:
            self._close("Completed", "Completed", "Training job completed")
        else:
            words = {"runtime": "MaxRuntimeExceeded", "wait": "MaxWaitTimeExceeded"}
            self._close("Stopped", words.get(self.cause, "Stopped"), "Training job stopped")

    def _send(self, *, model: bool) -> None:
        output, s3 = self.job["OutputDataConfig"], self.context.clients.s3
        place = locate(output["S3OutputPath"]) / self.name / "output"
        models, data = [tree.model for tree in self._trees], [tree.output_data for tree in self._trees]
        if output.get("CompressionType") == "NONE":
            target: Location = place / "model"
            send_tree(s3, data, place / "data")
            if model:
                send_tree(s3, models, target)
        else:
            target = place / "model.tar.gz"
            send_archive(s3, data, place / "output.tar.gz")
            if model:
                send_archive(s3, models, target)
        if model:
            uri = f"{target}/" if output.get("CompressionType") == "NONE" else str(target)
            self.update(ModelArtifacts={"S3ModelArtifacts": uri})

    def stopping(self) -> None:
        """Write down that it is being stopped."""
        self._secondary("Stopping", "Stopping the training job", TrainingJobStatus="Stopping")

    def fail(self, reason: str) -> None:
        """Write down that it has failed."""
        self.update(FailureReason=reason[:FAILURE_CHARACTERS])
        self._close("Failed", "Failed", reason[:FAILURE_CHARACTERS])

    def _close(self, status: str, secondary: str, message: str) -> None:
        seconds = max(1, round(self._trained_s))
        self.update(TrainingTimeInSeconds=seconds, BillableTimeInSeconds=seconds)
        self._secondary(secondary, message, TrainingJobStatus=status, TrainingEndTime=time.time())

    def _secondary(self, status: str, message: str, **fields: object) -> None:
        """Go over to a secondary status, which ends the one before."""

        def change(job: Document) -> None:
            now, transitions = time.time(), job.setdefault("SecondaryStatusTransitions", [])
            if transitions:
                transitions[-1]["EndTime"] = now
            transitions.append({"Status": status, "StartTime": now, "StatusMessage": message})
            if "TrainingEndTime" in fields:
                transitions[-1]["EndTime"] = now
            job.update({"SecondaryStatus": status, **fields})

        self.context.store.change(self.kind, self.name, change)


def _reason(hosts: Sequence[Paths], failed: int, code: int) -> str:
    """What the failure file of the failed host says, or of any other."""
    for paths in (hosts[failed], *hosts):
        if paths.failure.is_file():
            text = paths.failure.read_text(encoding="utf-8", errors="replace")[:FAILURE_CHARACTERS].strip()
            ending = f", exit code: {code}"
            return f"AlgorithmError: {text}"[: FAILURE_CHARACTERS - len(ending)] + ending
    return f"AlgorithmError: , exit code: {code}"
