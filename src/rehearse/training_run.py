"""One training job, from its instances to its artifacts.

Starting -> Downloading -> Training -> Uploading -> Completed
                ^             |  a stop, MaxRuntime: SIGTERM, 120 s, SIGKILL -> Uploading -> Stopped
                +- Interrupted+  a spot instance is reclaimed: the same, without an upload, and again from the start
"""

import shutil
import signal
import threading
import time
from collections.abc import Sequence

from ..contract.outcome import FAILURE_CHARACTERS
from ..contract.paths import Paths
from ..errors import ApiError, TwofoldError
from . import trees
from .backend import Group, Instance, Spec, end
from .channels import Pipe, copy, share, sources
from .context import Cause, Context
from .logs import Scraper, Stream, put_metrics
from .objects import Location, locate, send_archive, send_tree
from .store import Document
from .sync import Upload

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
CHECKPOINTS = "/opt/ml/checkpoints"
TENSORBOARD = "/opt/ml/output/tensorboard"


class TrainingRun:
    """Runs a job in a thread of its own and writes into the store how it stands."""

    def __init__(self, context: Context, name: str) -> None:
        self._context, self._name = context, name
        self._job = context.store.get("TrainingJob", name)
        self._folder = context.folder / "training" / name
        self._cause: Cause | None = None
        self._wake = threading.Event()
        self._scraper = Scraper(self._job["AlgorithmSpecification"].get("MetricDefinitions", []))
        self._sent = 0
        self._instances: list[Instance] = []
        self._streams: list[Stream] = []
        self._uploads: list[Upload] = []
        self._pipes: list[Pipe] = []
        self._trees: list[Paths] = []
        self._created = time.monotonic()
        self._trained_s = 0.0
        self._since: float | None = None
        self._deciding = threading.Lock()
        self._decided = False
        self.thread = threading.Thread(target=self._run, name=f"training {name}", daemon=True)

    def tell(self, cause: Cause) -> bool:
        """Have it end, or start again, for a cause; False when it has ended by itself or was told before."""
        with self._deciding:
            heard = not self._decided and self._cause in (None, "reclaimed")
            if heard:
                self._cause = cause
        self._wake.set()
        return heard

    def kill(self, host: int) -> None:
        """Kill everything on one of the hosts, counted from 1, as a machine's failure would.

        Raises:
            ApiError: it has no such host, or does not run yet.
        """
        instances = self._instances
        if not 1 <= host <= len(instances):
            raise ApiError(f"{len(instances)} hosts run, there is no host {host}.", code="ValidationException")
        instances[host - 1].signal(signal.SIGKILL)

    @property
    def metrics(self) -> list[Document]:
        """What the metric definitions have found so far."""
        return self._scraper.found

    def _run(self) -> None:
        try:
            while not self._attempt():
                with self._deciding:
                    self._cause = None if self._cause == "reclaimed" else self._cause
                self._wake.clear()
        except TwofoldError as error:
            # The platform's word for what the request or the data is to blame for.
            self._fail(f"ClientError: {error}")
        except Exception as error:
            self._fail(f"InternalServerError: {type(error).__name__}: {error}")
            raise
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._context.ended(self)

    def _attempt(self) -> bool:
        """Run the job once; False when its instances were reclaimed and it has to start again."""
        self._secondary("Starting", "Preparing the instances for training")
        job, store = self._job, self._context.store
        groups = trees.instance_groups(job["ResourceConfig"])
        count = sum(group["InstanceCount"] for group in groups)
        group = self._context.backend.group(
            f"training-{self._name}", count, isolated=bool(job.get("EnableNetworkIsolation"))
        )
        instances: list[Instance] = []
        codes: list[int | None] = []
        try:
            self._secondary("Downloading", "Downloading the input data")
            store.update("TrainingJob", self._name, TrainingStartTime=time.time())
            self._lay(group)
            if self._cause is None:
                self._secondary("Training", "Training image download completed. Training in progress.")
                self._since = time.monotonic()
                instances = self._instances = self._start(group)
                codes = self._watch(instances)
                self._trained_s, self._since = self._trained_s + time.monotonic() - self._since, None
        finally:
            end(instances, 0)
            self._instances = []
            for instance in instances:
                instance.close()
            for pipe in self._pipes:
                pipe.close()
            group.close()
            self._look()
        with self._deciding:
            self._decided = self._cause != "reclaimed"
        if not self._decided:
            self._secondary("Interrupted", "The spot instances were reclaimed")
            return False
        self._finish(codes)
        return True

    def _lay(self, group: Group) -> None:
        """Make the trees of all hosts: configuration, channels, checkpoints."""
        shutil.rmtree(self._folder, ignore_errors=True)
        job, s3 = self._job, self._context.clients.s3
        self._pipes, self._uploads = [], []
        self._trees = [Paths(self._folder / f"algo-{number}") for number in range(1, len(group.hosts) + 1)]
        of_group = trees.members(trees.instance_groups(job["ResourceConfig"]), group.hosts)
        for paths, host in zip(self._trees, group.hosts, strict=True):
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

    def _start(self, group: Group) -> list[Instance]:
        job, instances = self._job, []
        algorithm = job["AlgorithmSpecification"]
        entrypoint = algorithm.get("ContainerEntrypoint", [])
        arguments = algorithm.get("ContainerArguments", [] if entrypoint else ["train"])
        stamp = int(time.time())
        self._streams = []
        for number, (paths, host) in enumerate(zip(self._trees, group.hosts, strict=True), 1):
            stream = Stream(self._context.clients, LOG_GROUP, f"{self._name}/algo-{number}-{stamp}")
            stream.line(
                self._context.backend.stands_in and f"{self._context.backend.stands_in} {algorithm['TrainingImage']}"
            )
            self._streams.append(stream)

            def on_line(text: str, stream: Stream = stream) -> None:
                stream.line(text)
                self._scraper.line(text)

            instances.append(
                group.start(
                    Spec(
                        name=f"training-{self._name}-algo-{number}",
                        image=algorithm["TrainingImage"],
                        base=paths.base,
                        host=host,
                        entrypoint=entrypoint,
                        arguments=arguments,
                        environ={
                            **self._context.environ(isolated=bool(job.get("EnableNetworkIsolation"))),
                            "TRAINING_JOB_NAME": self._name,
                            "TRAINING_JOB_ARN": job["TrainingJobArn"],
                            **job.get("Environment", {}),
                        },
                        on_line=on_line,
                    )
                )
            )
        return instances

    def _watch(self, instances: Sequence[Instance]) -> list[int | None]:
        """Wait until all have ended, one has failed, or they have to; the exit codes before the rest was ended."""
        grace = self._context.settings.training_grace_s
        looked = time.monotonic()
        while not _over(instances) and self._cause is None:
            self._wake.wait(0.05)
            self._check_time()
            if time.monotonic() - looked >= self._context.settings.sync_s:
                self._look()
                looked = time.monotonic()
        codes = [instance.poll() for instance in instances]
        if self._cause in ("stopped", "runtime", "wait"):
            self._context.store.update("TrainingJob", self._name, TrainingJobStatus="Stopping")
            self._secondary("Stopping", "Stopping the training job")
        # Told while it ended by itself, it is stopped all the same: there is nothing to wait for.
        end(instances, grace)
        return codes

    def _check_time(self) -> None:
        condition = self._job["StoppingCondition"]
        running = self._trained_s + (time.monotonic() - self._since if self._since else 0)
        if running > condition.get("MaxRuntimeInSeconds", 86_400):
            self.tell("runtime")
        if time.monotonic() - self._created > condition.get("MaxWaitTimeInSeconds", float("inf")):
            self.tell("wait")

    def _look(self) -> None:
        """Send on what the hosts have said and written."""
        for upload in self._uploads:
            upload.run()
        for stream in self._streams:
            stream.flush()
        found = self._scraper.found
        dimensions = [{"Name": "TrainingJobName", "Value": self._name}]
        put_metrics(
            self._context.clients,
            LOG_GROUP,
            [{**metric, "Dimensions": dimensions} for metric in found[self._sent :]],
        )
        self._sent = len(found)
        self._context.store.update("TrainingJob", self._name, FinalMetricDataList=self._scraper.final)

    def _finish(self, codes: Sequence[int | None]) -> None:
        """Send the artifacts and say how it ended."""
        failed = next((number for number, code in enumerate(codes) if code), None)
        if self._cause is None and failed is not None:
            self._send(model=False)
            self._fail(_reason(self._trees, failed, codes[failed] or 0))
            return
        if self._cause == "rehearsal":
            self._fail("InternalServerError: the rehearsal was stopped while this job ran")
            return
        self._secondary("Uploading", "Uploading generated training model")
        self._send(model=True)
        if self._cause is None:
            self._close("Completed", "Completed", "Training job completed")
        else:
            words = {"runtime": "MaxRuntimeExceeded", "wait": "MaxWaitTimeExceeded"}
            self._close("Stopped", words.get(self._cause, "Stopped"), "Training job stopped")

    def _send(self, *, model: bool) -> None:
        output, s3 = self._job["OutputDataConfig"], self._context.clients.s3
        place = locate(output["S3OutputPath"]) / self._name / "output"
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
            self._context.store.update("TrainingJob", self._name, ModelArtifacts={"S3ModelArtifacts": uri})

    def _fail(self, reason: str) -> None:
        self._context.store.update("TrainingJob", self._name, FailureReason=reason[:FAILURE_CHARACTERS])
        self._close("Failed", "Failed", reason[:FAILURE_CHARACTERS])

    def _close(self, status: str, secondary: str, message: str) -> None:
        seconds = max(1, round(self._trained_s))
        self._context.store.update(
            "TrainingJob", self._name, TrainingTimeInSeconds=seconds, BillableTimeInSeconds=seconds
        )
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

        self._context.store.change("TrainingJob", self._name, change)


def _over(instances: Sequence[Instance]) -> bool:
    """Whether all have ended well or one has not."""
    codes = [instance.poll() for instance in instances]
    return all(code is not None for code in codes) or any(codes)


def _reason(hosts: Sequence[Paths], failed: int, code: int) -> str:
    """What the failure file of the failed host says, or of any other."""
    for paths in (hosts[failed], *hosts):
        if paths.failure.is_file():
            text = paths.failure.read_text(encoding="utf-8", errors="replace")[:FAILURE_CHARACTERS].strip()
            ending = f", exit code: {code}"
            return f"AlgorithmError: {text}"[: FAILURE_CHARACTERS - len(ending)] + ending
    return f"AlgorithmError: , exit code: {code}"
