"""One tuning job: trials of optuna, each a training job of its own.

ask for a trial -> training job -> its objective as it comes -> (stopped early) -> tell -> ask again
"""

import itertools
import math
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import Trial, TrialState

from ..errors import ApiError, TwofoldError
from . import training
from .aws import arn
from .context import Cause, Context
from .store import Document
from .training_run import TrainingRun

KIND = "HyperParameterTuningJob"
OBJECTIVE = "_tuning_objective_metric"
STARTUP_TRIALS = 5
"""Trials at random before Bayesian search has something to learn from."""
DEFAULT_JOBS = 750
RANDOM_SEED_BITS = 31


@dataclass(slots=True)
class Running:
    """A trial whose training job runs."""

    trial: Trial
    """What optuna has chosen."""
    name: str
    """Name of the training job."""
    seen: int = 0
    """Values of the objective that optuna has been told."""
    pruned: bool = False
    """Whether it was stopped early."""


class TuningRun:
    """Runs a tuning job in a thread of its own."""

    def __init__(self, context: Context, name: str) -> None:
        self._context, self._name = context, name
        self._job = context.store.get(KIND, name)
        self._config = self._job["HyperParameterTuningJobConfig"]
        self._definition = self._job["TrainingJobDefinition"]
        self._objective = self._config["HyperParameterTuningJobObjective"]
        self._distributions = distributions(self._config.get("ParameterRanges", {}))
        self._cause: Cause | None = None
        self._running: list[Running] = []
        self._started, self._since_best, self._began = 0, 0, time.monotonic()
        self._study = study(self._config, self._distributions)
        self.thread = threading.Thread(target=self._run, name=f"{KIND} {name}", daemon=True)

    def tell(self, cause: Cause) -> bool:
        """Have it end: its training jobs are stopped."""
        heard = self._cause is None
        self._cause = self._cause or cause
        return heard

    def _run(self) -> None:
        try:
            while self._running or not self._enough():
                while len(self._running) < self._parallel() and not self._enough():
                    self._start()
                self._look()
                time.sleep(0.05)
            status = "Completed" if self._cause is None else "Stopped"
            reason = {"FailureReason": "the rehearsal was stopped"} if self._cause == "rehearsal" else {}
            self._close("Failed" if reason else status, **reason)
        except TwofoldError as error:
            self._close("Failed", FailureReason=str(error)[:1024])
        except Exception as error:
            self._close("Failed", FailureReason=f"InternalServerError: {type(error).__name__}: {error}"[:1024])
            raise
        finally:
            self._context.ended(self)

    def _parallel(self) -> int:
        return int(self._config["ResourceLimits"]["MaxParallelTrainingJobs"])

    def _enough(self) -> bool:
        """Whether no trial is to be started any more."""
        limits, criteria = self._config["ResourceLimits"], self._config.get("TuningJobCompletionCriteria", {})
        if time.monotonic() - self._began > limits.get("MaxRuntimeInSeconds", float("inf")):
            self.tell("runtime")
        patience = criteria.get("BestObjectiveNotImproving", {}).get("MaxNumberOfTrainingJobsNotImproving")
        target, best = criteria.get("TargetObjectiveMetricValue"), self._best()
        reached = target is not None and best is not None and not _better(self._objective["Type"], target, best)
        return (
            self._cause is not None
            or self._started >= jobs(self._config, self._distributions)
            or reached
            or (patience is not None and self._since_best >= patience)
        )

    def _best(self) -> float | None:
        done = [trial for trial in self._study.trials if trial.state is TrialState.COMPLETE]
        return float(self._study.best_value) if done else None

    def _start(self) -> None:
        """Start the training job of the next trial, by the name that the platform would give it."""
        self._started += 1
        trial = self._study.ask(dict(self._distributions))
        tuned = {name: _text(value) for name, value in trial.params.items()}
        name = f"{self._name}-{self._started:03d}-{secrets.token_hex(4)}"
        static = self._definition.get("StaticHyperParameters", {})
        request = {key: value for key, value in self._definition.items() if key != "StaticHyperParameters"}
        training.start(
            self._context,
            {
                **request,
                "TrainingJobName": name,
                "HyperParameters": {**static, **tuned, OBJECTIVE: self._objective["MetricName"]},
                "Tags": self._job.get("Tags", []),
                "TuningJobArn": arn("hyper-parameter-tuning-job", self._name, self._context.region),
                "TunedHyperParameters": tuned,
                "ObjectiveStatus": "Pending",
            },
        )
        self._running.append(Running(trial, name))

    def _look(self) -> None:
        """Tell optuna of new values, stop what it gives up, and put away what has ended."""
        for running in list(self._running):
            run = self._context.run("TrainingJob", running.name)
            if isinstance(run, TrainingRun):
                self._report(running, run)
                continue
            self._running.remove(running)
            self._put_away(running)

    def _report(self, running: Running, run: TrainingRun) -> None:
        if self._cause is not None:
            run.tell("rehearsal" if self._cause == "rehearsal" else "stopped")
            return
        values = [item["Value"] for item in run.metrics if item["MetricName"] == self._objective["MetricName"]]
        for step in range(running.seen, len(values)):
            running.trial.report(values[step], step)
        if len(values) > running.seen and not running.pruned and running.trial.should_prune():
            running.pruned = run.tell("stopped")
        running.seen = len(values)

    def _put_away(self, running: Running) -> None:
        document = self._context.store.get("TrainingJob", running.name)
        final = [
            metric["Value"]
            for metric in document.get("FinalMetricDataList", [])
            if metric["MetricName"] == self._objective["MetricName"]
        ]
        good = bool(final) and (document["TrainingJobStatus"] == "Completed" or running.pruned)
        before = self._best()
        if good and not running.pruned:
            self._study.tell(running.trial, final[-1])
        else:
            self._study.tell(running.trial, state=TrialState.PRUNED if good else TrialState.FAIL)
        # A job that never says the objective cannot be ranked.
        fields: Document = {"ObjectiveStatus": "Succeeded" if good else "Failed"}
        if good:
            fields["FinalHyperParameterTuningJobObjectiveMetric"] = {**self._objective, "Value": final[-1]}
        self._context.store.update("TrainingJob", running.name, **fields)
        improved = good and (before is None or _better(self._objective["Type"], final[-1], before))
        self._since_best = 0 if improved else self._since_best + 1

    def _close(self, status: str, **fields: object) -> None:
        self._context.store.update(
            KIND, self._name, HyperParameterTuningJobStatus=status, HyperParameterTuningEndTime=time.time(), **fields
        )


def distributions(ranges: Document) -> dict[str, BaseDistribution]:
    """Search space of optuna from the ranges of a request.

    Raises:
        ApiError: a range that is empty, no number, or scaled in a way that is not rehearsed.
    """
    found: dict[str, BaseDistribution] = {}
    try:
        for item in ranges.get("IntegerParameterRanges", []):
            found[item["Name"]] = IntDistribution(int(item["MinValue"]), int(item["MaxValue"]), log=_logarithmic(item))
        for item in ranges.get("ContinuousParameterRanges", []):
            found[item["Name"]] = FloatDistribution(
                float(item["MinValue"]), float(item["MaxValue"]), log=_logarithmic(item)
            )
        for item in ranges.get("CategoricalParameterRanges", []):
            found[item["Name"]] = CategoricalDistribution(item["Values"])
    except ValueError as error:
        raise ApiError(f"A range of ParameterRanges is broken: {error}", code="ValidationException") from error
    if not found:
        raise ApiError("ParameterRanges has no range.", code="ValidationException")
    return found


def study(config: Document, space: Mapping[str, BaseDistribution]) -> "optuna.Study":
    """A study in memory, with the sampler and the pruner that the strategy stands for.

    Raises:
        ApiError: a strategy and ranges that do not go together.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    kind = config["HyperParameterTuningJobObjective"]["Type"]
    made = optuna.create_study(
        direction="minimize" if kind == "Minimize" else "maximize", sampler=_sampler(config), pruner=_pruner(config)
    )
    if config["Strategy"] == "Grid":
        # optuna's own grid ends a loop that there is none of here, where trials are asked for one by one.
        for point in itertools.product(*_choices(space).values()):
            made.enqueue_trial(dict(zip(space, point, strict=True)))
    return made


def jobs(config: Document, space: Mapping[str, BaseDistribution]) -> int:
    """How many training jobs there will be at most."""
    wanted = config["ResourceLimits"].get("MaxNumberOfTrainingJobs")
    if config["Strategy"] != "Grid":
        return int(wanted or DEFAULT_JOBS)
    return math.prod(len(values) for values in _choices(space).values())


def _choices(space: Mapping[str, BaseDistribution]) -> dict[str, Sequence[object]]:
    choices = {name: item.choices for name, item in space.items() if isinstance(item, CategoricalDistribution)}
    if len(choices) < len(space):
        raise ApiError("Grid takes CategoricalParameterRanges only.", code="ValidationException")
    return dict(choices)


def _sampler(config: Document) -> BaseSampler:
    seed = int(config.get("RandomSeed", secrets.randbits(RANDOM_SEED_BITS)))
    if config["Strategy"] in ("Random", "Grid"):
        return RandomSampler(seed=seed)
    # Parallel trials are taken for bad ones until they have ended, so that they are not all the same.
    return TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS, constant_liar=True)


def _pruner(config: Document) -> BasePruner:
    early = config.get("TrainingJobEarlyStoppingType", "Off")
    if config["Strategy"] == "Hyperband":
        if early != "Off":
            raise ApiError(
                "Hyperband stops early by itself: TrainingJobEarlyStoppingType must be Off.", code="ValidationException"
            )
        resources = config.get("StrategyConfig", {}).get("HyperbandStrategyConfig", {})
        return HyperbandPruner(
            min_resource=resources.get("MinResource", 1), max_resource=resources.get("MaxResource", "auto")
        )
    # Auto: worse than the median of the earlier jobs at the same epoch.
    return MedianPruner(n_startup_trials=STARTUP_TRIALS) if early == "Auto" else NopPruner()


def _logarithmic(item: Document) -> bool:
    scaling = item.get("ScalingType", "Auto")
    if scaling == "ReverseLogarithmic":
        raise ApiError("ScalingType ReverseLogarithmic is not rehearsed.", code="NotRehearsed")
    return bool(scaling == "Logarithmic")


def _better(kind: str, one: float, other: float) -> bool:
    return one < other if kind == "Minimize" else one > other


def _text(value: object) -> str:
    return value if isinstance(value, str) else repr(value)
