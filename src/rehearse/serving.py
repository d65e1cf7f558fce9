"""One container that serves: started, pinged, started again when it dies, asked.

starting --200 on /ping--> healthy --no 200, twice--> sick --200--> healthy
    ^                                    the process ends: again from the start, after a pause
"""

import http.client
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import PlatformError
from .backend import Group, Instance, Spec, end

PING_TIMEOUT_S = 2.0
PAUSE_S = 1.0
"""Between the death of a container and its next start."""
DEATHS = 3
"""Of a container that has never been healthy, before it is given up; the platform goes on to the end of its time."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a container has answered."""

    status: int
    """HTTP status; 0 when it took too long or broke off."""
    headers: Mapping[str, str]
    """Headers, names in lower case."""
    body: bytes
    """Everything, or the reason why there is nothing."""


class Server:
    """A container and the thread that looks after it."""

    def __init__(
        self, group: Group, spec: Spec, *, startup_s: float, health_s: float, grace_s: float, ping: str = "/ping"
    ) -> None:
        self.spec = spec
        self.healthy = False
        """Whether `/ping` was 200 when last asked."""
        self.failure: str | None = None
        """Why it was given up."""
        self.outstanding = 0
        """Requests that wait for its answer; counted by whoever sends them."""
        self.used = time.monotonic()
        """When it was last asked."""
        self.restarts = 0
        """How often it was started again."""
        self._group = group
        self._ping = ping
        self._instance: Instance | None = None
        self._startup_s, self._health_s, self._grace_s = startup_s, health_s, grace_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=spec.name, daemon=True)
        self._thread.start()

    @property
    def place(self) -> str:
        """Host and port that it answers on now; empty before it has started."""
        return f"{self._instance.host}:{self._instance.port}" if self._instance is not None else ""

    def ask(self, method: str, path: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> Answer:
        """Send one request and read the whole answer."""
        try:
            connection, response = self.send(method, path, body, headers, timeout_s)
            try:
                return Answer(response.status, _lower(response), response.read())
            finally:
                connection.close()
        except (OSError, http.client.HTTPException) as error:
            return Answer(0, {}, f"no answer: {type(error).__name__} {error}".encode())

    def send(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str], timeout_s: float
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Send one request and read the head of the answer; OSError or HTTPException when there is none."""
        self.used = time.monotonic()
        instance = self._instance
        if instance is None:
            raise ConnectionRefusedError("the container has not started")
        connection = http.client.HTTPConnection(instance.host, instance.port, timeout=timeout_s)
        try:
            connection.request(method, path, body=body, headers=dict(headers))
            return connection, connection.getresponse()
        except BaseException:
            connection.close()
            raise

    def kill(self) -> None:
        """Kill its first process, as a machine's failure would; it is started again."""
        if self._instance is not None:
            self._instance.signal(9)

    def close(self) -> None:
        """Stop it, with the platform's grace."""
        self._ended.set()
        self._thread.join()

    def _keep(self) -> None:
        deaths = 0
        while not self._ended.is_set() and self.failure is None:
            try:
                self._instance = self._group.start(self.spec)
            except PlatformError as error:
                self.failure = str(error)
                return
            was_healthy = self._watch(self._instance)
            self.healthy = False
            if self._ended.is_set():
                end([self._instance], self._grace_s)
            code = self._instance.poll()
            self._instance.close()
            deaths = 0 if was_healthy else deaths + 1
            if not self._ended.is_set() and self.failure is None:
                self.restarts += 1
                self.spec.on_line(f"rehearse: the container ended with exit code {code} and is started again")
                if deaths >= DEATHS:
                    self.failure = (
                        f"The container ended {deaths} times before it was healthy, at last with exit code {code}. "
                        f"See its log."
                    )
                self._ended.wait(PAUSE_S)

    def _watch(self, instance: Instance) -> bool:
        """Ping until it ends or has to; whether it ever was healthy."""
        deadline = time.monotonic() + self._startup_s
        missed, was_healthy, looked = 0, False, 0.0
        while instance.poll() is None and not self._ended.wait(0.05):
            pause = self._health_s if was_healthy else min(0.25, self._health_s)
            if time.monotonic() - looked < pause:
                continue
            wanted = self.ask("GET", self._ping, b"", {}, PING_TIMEOUT_S).status == 200
            looked = time.monotonic()
            missed = 0 if wanted else missed + 1
            was_healthy = was_healthy or wanted
            self.healthy = wanted or (self.healthy and missed < 2)
            if not was_healthy and looked > deadline:
                self.failure = (
                    f"The container did not pass the ping health check within {self._startup_s:.0f} s. See its log."
                )
                end([instance], self._grace_s)
        return was_healthy


def _lower(response: http.client.HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.getheaders()}
