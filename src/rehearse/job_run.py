"""What all jobs share: a thread, a cause to end for, instances that are watched, streams, and a folder that goes."""

import signal
import threading
import time
from collections.abc import Callable, Sequence

from ..contract.outcome import FAILURE_CHARACTERS
from ..errors import ApiError, TwofoldError
from . import disk
from .backend import LOOK_S, Group, Instance, Spec, end
from .context import Cause, Context
from .logs import Stream
from .store import NAMES, Document

ENDS = {
    "HyperParameterTuningJob": "HyperParameterTuningEndTime",
    "ProcessingJob": "ProcessingEndTime",
    "TrainingJob": "TrainingEndTime",
    "TransformJob": "TransformEndTime",
}
"""Kinds of jobs, and the field that holds when each ended."""


class JobRun:
    """Runs a job in a thread of its own; kinds of jobs say what an attempt is and how a failure is written down."""

    def __init__(self, context: Context, kind: str, name: str) -> None:
        self.context, self.kind, self.name = context, kind, name
        self.job = context.store.get(kind, name)
        self.folder = context.folder / kind / name
        self.cause: Cause | None = None
        """Why it has to end."""
        self.wake = threading.Event()
        """Set when there is a cause."""
        self.streams: list[Stream] = []
        self.instances: list[Instance] = []
        self._deciding = threading.Lock()
        self._decided = False
        self.thread = threading.Thread(target=self._run, name=f"{kind} {name}", daemon=True)

    def tell(self, cause: Cause) -> bool:
        """Have it end, or start again, for a cause; False when it has ended by itself or was told before."""
        with self._deciding:
            heard = not self._decided and self.cause in (None, "reclaimed")
            if heard:
                self.cause = cause
        self.wake.set()
        return heard

    def kill(self, host: int) -> None:
        """Kill everything on one of the hosts, counted from 1, as a machine's failure would.

        Raises:
            ApiError: it has no such host, or does not run yet.
        """
        instances = list(self.instances)
        if not 1 <= host <= len(instances):
            raise ApiError(f"{len(instances)} hosts run, there is no host {host}.", code="ValidationException")
        instances[host - 1].signal(signal.SIGKILL)

    def attempt(self) -> bool:
        """Run the job once; False when it has to start again."""
        raise NotImplementedError

    def fail(self, reason: str) -> None:
        """Write down that it has failed."""
        raise NotImplementedError

    def stopping(self) -> None:
        """Write down that it is being stopped."""
        self.update(**{f"{self.kind}Status": "Stopping"})

    def settle(self) -> bool:
        """Let no cause come any more, but after a reclaim; whether it is settled."""
        with self._deciding:
            self._decided = self.cause != "reclaimed"
            return self._decided

    def update(self, **fields: object) -> Document:
        """Set fields of the job's document."""
        return self.context.store.update(self.kind, self.name, **fields)

    def open_stream(self, group: str, name: str, image: str) -> Stream:
        """Open a log stream, headed by what stands in for the image."""
        stream = Stream(self.context.clients, group, name)
        stream.line(self.context.backend.stands_in and f"{self.context.backend.stands_in} {image}")
        self.streams.append(stream)
        return stream

    def start(self, group: Group, spec: Spec) -> Instance:
        """Start an instance that `stop` ends, whatever happens."""
        self.instances.append(group.start(spec))
        return self.instances[-1]

    def watch(self, tick: Callable[[], None], *, grace_s: float, number: int = signal.SIGTERM) -> list[int | None]:
        """Wait until all instances have ended, one has failed, or there is a cause; then end the rest.

        Args:
            tick: called now and then; may find a cause itself.
            grace_s: from the signal to SIGKILL.
            number: the signal.

        Returns:
            Exit codes as they were before the rest was told to end.
        """
        looked = time.monotonic()
        while not _over(self.instances) and self.cause is None:
            self.wake.wait(LOOK_S)
            if time.monotonic() - looked >= self.context.settings.sync_s:
                self.flush()
                looked = time.monotonic()
            tick()
        codes = [instance.poll() for instance in self.instances]
        if self.cause in ("stopped", "runtime", "wait"):
            self.stopping()
        end(self.instances, grace_s, number)
        return codes

    def stop(self) -> None:
        """End and take away all instances."""
        instances, self.instances = self.instances, []
        end(instances, 0)
        for instance in instances:
            instance.close()

    def flush(self) -> None:
        """Send on what the instances have said."""
        for stream in self.streams:
            stream.flush()

    def _run(self) -> None:
        try:
            while not self.attempt():
                with self._deciding:
                    self.cause = None if self.cause == "reclaimed" else self.cause
                self.wake.clear()
        except TwofoldError as error:
            # The platform's word for what the request or the data is to blame for.
            self.fail(f"ClientError: {error}"[:FAILURE_CHARACTERS])
        except Exception as error:
            self.fail(f"InternalServerError: {type(error).__name__}: {error}"[:FAILURE_CHARACTERS])
            raise
        finally:
            disk.remove(self.folder)
            self.context.ended(self)


def recover(context: Context) -> None:
    """Say of the jobs that a dead rehearsal had running that they have failed."""
    for kind, end_field in ENDS.items():
        for job in context.store.all(kind):
            if job[f"{kind}Status"] in ("InProgress", "Stopping"):
                fields = {
                    f"{kind}Status": "Failed",
                    end_field: time.time(),
                    "FailureReason": "InternalServerError: the rehearsal ended while this job ran",
                    **({"SecondaryStatus": "Failed"} if kind == "TrainingJob" else {}),
                }
                context.store.update(kind, job[NAMES[kind]], **fields)


def stop(context: Context, kind: str, name: str) -> None:
    """Tell a job to stop.

    Raises:
        ApiError: it has ended.
    """
    status, run = context.store.get(kind, name)[f"{kind}Status"], context.run(kind, name)
    if run is None or status not in ("InProgress", "Stopping"):
        raise ApiError(
            f"The request was rejected because the {kind} {name!r} is in status {status}.", code="ValidationException"
        )
    run.tell("stopped")


def _over(instances: Sequence[Instance]) -> bool:
    """Whether all have ended well or one has not."""
    codes = [instance.poll() for instance in instances]
    return all(code is not None for code in codes) or any(codes)
