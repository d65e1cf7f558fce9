"""One endpoint: its fleets, and one thread that deploys, updates, and at last takes them away.

Creating -> InService <-> Updating (new fleets beside the old, healthy, switch, drain; or back to the old)
    +-> Failed                                                          -> Deleting
"""

import dataclasses
import logging
import queue
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from ..errors import ApiError, TwofoldError
from .capture import Capture
from .context import Cause, Context
from .fleet import Fleet
from .logs import put_metrics
from .rollout import Rollout, ringing
from .store import Document

log = logging.getLogger(__name__)

KIND = "Endpoint"
DEFAULT_PARALLEL = 4
"""Asynchronous invocations at once on an instance whose config does not say; the platform chooses."""


@dataclass(frozen=True, slots=True)
class Arriving:
    """New fleets that have a part of the requests while an update is watched."""

    fleets: dict[str, Fleet]
    """By variant."""
    weights: dict[str, float]
    """Of each."""
    share: float = 0.0
    """Part of the requests."""


class EndpointRun:
    """Serves an endpoint until it is deleted or the rehearsal ends."""

    def __init__(self, context: Context, name: str) -> None:
        self._context, self._name = context, name
        self._commands: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._switching = threading.Lock()
        self._deleted = False
        self._fleets: dict[str, Fleet] = {}
        self._weights: dict[str, float] = {}
        self._new: Arriving | None = None
        self._shadow: str | None = None
        self._metrics: list[Document] = []
        self.asked: Counter[str] = Counter()
        """Invocations of each variant so far."""
        self._counting = threading.Lock()
        self._rng = random.Random()  # noqa: S311 - it shares out requests
        self.capture = Capture(context, name, None)
        """Where calls are taken note of."""
        self.config: Document = {}
        """The endpoint config in force."""
        self.pool: ThreadPoolExecutor | None = None
        """Threads of asynchronous invocations."""
        self.listening = ThreadPoolExecutor(DEFAULT_PARALLEL, thread_name_prefix=f"shadow {name}")
        """Threads of requests to the shadow variant, whose answers nobody waits for."""
        self.thread = threading.Thread(target=self._run, name=f"endpoint {name}", daemon=True)

    def tell(self, cause: Cause) -> bool:
        """End it, because it is deleted or the rehearsal ends."""
        self._deleted = cause == "stopped"
        self._commands.put(None)
        return True

    def deploy(self, config: Document, rollout: Rollout = Rollout()) -> None:  # noqa: B008 - it never changes
        """Have the fleets of a config take over."""
        self._commands.put(lambda: self._deploy(config, rollout))

    def resize(self, wanted: Sequence[Document]) -> None:
        """Have variants take other weights and numbers of instances."""
        self._commands.put(lambda: self._resize(wanted))

    def choose(self, target: str | None) -> tuple[str, Fleet]:
        """The variant for one request: the one asked for, else by weight.

        Raises:
            ApiError: there is none of that name, or no variant has a weight.
        """
        with self._switching:
            fleets, weights = self._fleets, self._weights
            if self._new is not None and (self._rng.random() < self._new.share or target not in (None, *weights)):
                fleets, weights = self._new.fleets, self._new.weights
            if target is not None and target not in weights:
                raise ApiError(f"Variant {target!r} is none of {', '.join(weights)}.", code="ValidationError")
            names = [name for name, weight in weights.items() if weight > 0]
            if target is None and not names:
                raise ApiError(
                    f"Endpoint {self._name} has no variant in service.", code="ServiceUnavailable", status=503
                )
            name = target or self._rng.choices(names, [weights[name] for name in names])[0]
            return name, fleets[name]

    def shadow(self) -> tuple[str, Fleet] | None:
        """The variant that gets a copy of this request, if there is one and it is its turn."""
        with self._switching:
            if self._shadow is None or self._shadow not in self._fleets:
                return None
            fleet = self._fleets[self._shadow]
            taken = self._rng.random() * sum(self._weights.values()) < _weight(fleet.variant)
            return (self._shadow, fleet) if taken else None

    def count(self, variant: str, values: Mapping[str, tuple[float, str]]) -> None:
        """Take note of metrics: name, then value and unit."""
        dimensions = [{"Name": "EndpointName", "Value": self._name}, {"Name": "VariantName", "Value": variant}]
        found = [
            {"MetricName": name, "Value": value, "Unit": unit, "Timestamp": time.time(), "Dimensions": dimensions}
            for name, (value, unit) in values.items()
        ]
        with self._counting:
            self._metrics += found
            self.asked[variant] += "Invocations" in values

    def kill(self) -> None:
        """Kill a container, as a fault; it is started again."""
        self.choose(None)[1].kill()

    def _run(self) -> None:
        try:
            while True:
                try:
                    command = self._commands.get(timeout=self._context.settings.sync_s)
                except queue.Empty:
                    self._flush()
                    continue
                if command is None:
                    return
                command()
                self._flush()
        finally:
            with self._switching:
                fleets, self._fleets = self._fleets, {}
            self.listening.shutdown(cancel_futures=True)
            if self.pool is not None:
                self.pool.shutdown(cancel_futures=True)
            _close(fleets.values())
            self._flush()
            if self._deleted:
                self._context.store.delete(KIND, self._name)
            self._context.ended(self)

    def _flush(self) -> None:
        for fleet in [*self._fleets.values(), *(self._new.fleets.values() if self._new else ())]:
            fleet.flush()
        self.capture.flush()
        with self._counting:
            metrics, self._metrics = self._metrics, []
        put_metrics(self._context.clients, "AWS/SageMaker", metrics)

    def _deploy(self, config: Document, rollout: Rollout) -> None:
        old, first = self._fleets, not self._fleets
        fleets: dict[str, Fleet] = {}
        try:
            for variant in _variants(config):
                folder = self._context.folder / "endpoints" / f"{self._name}-{uuid.uuid4().hex[:8]}"
                fleets[variant["VariantName"]] = fleet = Fleet(self._context, self._name, variant, folder)
                fleet.resize(1 if fleet.serverless else variant["InitialInstanceCount"])
            failure = self._wait(fleets) or self._roll_out(Arriving(fleets, _weights(config)), rollout)
        except TwofoldError as error:
            failure = str(error)
        except Exception as error:
            log.exception("endpoint %s", self._name)
            failure = f"InternalServerError: {type(error).__name__}: {error}"
        if failure is not None:
            with self._switching:
                self._new = None
            _close(fleets.values())
            # The old fleets serve on: that is the roll-back.
            status = {"EndpointStatus": "Failed" if first else "InService", "FailureReason": failure[:1024]}
            self._context.store.update(KIND, self._name, **status)
            return
        with self._switching:
            self._fleets, self._weights, self._new = fleets, _weights(config), None
            shadows = config.get("ShadowProductionVariants", [])
            self._shadow = shadows[0]["VariantName"] if shadows else None
        self.capture.flush()
        self.config, self.capture = config, Capture(self._context, self._name, config.get("DataCaptureConfig"))
        self._set_pool(config)
        fields = {key: config.get(key) for key in ("DataCaptureConfig", "AsyncInferenceConfig", "EndpointConfigName")}
        self._show(EndpointStatus="InService", FailureReason=None, **fields)
        _close(old.values())

    def _roll_out(self, new: "Arriving", rollout: Rollout) -> str | None:
        """Give new fleets their requests step by step; the reason when they have to go back."""
        if not self._fleets:
            return None
        since = datetime.now(UTC)
        for share in rollout.steps:
            with self._switching:
                self._new = dataclasses.replace(new, share=share)
            end = time.monotonic() + rollout.wait_s + (rollout.keep_s if share == 1.0 else 0.0)
            while True:
                self._flush()
                if alarm := ringing(self._context.clients.cloudwatch, rollout.alarms, since):
                    return f"Alarm {alarm} rang while the new fleet had {share:.0%} of the requests: rolled back."
                if None in self._commands.queue:
                    return "The endpoint was deleted, or the rehearsal ended, before the update was done."
                if (left := end - time.monotonic()) <= 0:
                    break
                time.sleep(min(left, self._context.settings.sync_s))
        return None

    def _wait(self, fleets: Mapping[str, Fleet]) -> str | None:
        """Wait until all are healthy; the reason when one is given up, or the endpoint has to go."""
        wanted = {
            name: 1 if fleet.serverless else fleet.variant["InitialInstanceCount"] for name, fleet in fleets.items()
        }
        while any(fleet.count < wanted[name] for name, fleet in fleets.items()):
            for name, fleet in fleets.items():
                if fleet.failure is not None:
                    fleet.flush()
                    return f"Variant {name!r}: {fleet.failure}"
            if None in self._commands.queue:
                return "The endpoint was deleted, or the rehearsal ended, before it was in service."
            time.sleep(0.05)
        return None

    def _resize(self, wanted: Sequence[Document]) -> None:
        for change in wanted:
            name = change["VariantName"]
            if "DesiredWeight" in change:
                with self._switching:
                    self._weights[name] = change["DesiredWeight"]
            if "DesiredInstanceCount" in change:
                fleet, count = self._fleets[name], change["DesiredInstanceCount"]
                fleet.resize(count)
                while fleet.count < count and fleet.failure is None and None not in self._commands.queue:
                    time.sleep(0.05)
        self._show(EndpointStatus="InService")

    def _set_pool(self, config: Document) -> None:
        if config.get("AsyncInferenceConfig") and self.pool is None:
            client = config["AsyncInferenceConfig"].get("ClientConfig", {})
            each = client.get("MaxConcurrentInvocationsPerInstance", DEFAULT_PARALLEL)
            instances = sum(variant["InitialInstanceCount"] for variant in config["ProductionVariants"])
            self.pool = ThreadPoolExecutor(each * instances, thread_name_prefix=f"async {self._name}")

    def _show(self, **fields: object) -> None:
        """Write the variants as they stand into the endpoint's document."""
        now = time.time()
        variants = []
        for name, fleet in self._fleets.items():
            weight = self._weights.get(name, _weight(fleet.variant))
            shown: Document = {
                "VariantName": name,
                "DeployedImages": [{"SpecifiedImage": fleet.image, "ResolutionTime": now}],
                "CurrentWeight": weight,
                "DesiredWeight": weight,
            }
            if fleet.serverless:
                shown["CurrentServerlessConfig"] = shown["DesiredServerlessConfig"] = fleet.serverless
            else:
                shown["CurrentInstanceCount"] = shown["DesiredInstanceCount"] = fleet.count
            variants.append(shown)
        shadows = [shown for shown in variants if shown["VariantName"] == self._shadow]
        self._context.store.update(
            KIND,
            self._name,
            ProductionVariants=[shown for shown in variants if shown not in shadows],
            ShadowProductionVariants=shadows or None,
            **fields,
        )


def _variants(config: Document) -> list[Document]:
    """Those that answer, then the one that only listens."""
    return [*config["ProductionVariants"], *config.get("ShadowProductionVariants", [])]


def _weights(config: Document) -> dict[str, float]:
    """Weights of those that answer."""
    return {variant["VariantName"]: _weight(variant) for variant in config["ProductionVariants"]}


def _weight(variant: Document) -> float:
    return float(variant.get("InitialVariantWeight", 1.0))


def _close(fleets: Iterable[Fleet]) -> None:
    for fleet in fleets:
        fleet.close()
