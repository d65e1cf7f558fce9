"""Entry point of `train`: read the job, start the ranks, judge how they ended.

PID 1 of a training container. It imports no torch, so that it is there in a tenth of a second and stays small.
"""

import contextlib
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import FrameType

import click

from ..contract import logs, machine, outcome
from ..contract.job import TrainingJob, read_training_job
from ..contract.paths import Paths, scratch
from ..errors import TwofoldError
from . import reports
from .checkup import examine
from .config import read_config
from .failures import STOPPED_EARLY, on_host, settle
from .hang import HangWatch
from .host_memory import MemoryWatch
from .launch import STOP_TIMEOUT_S, Launch, master_port, plan_launch, processes_per_host, wait_for_hosts
from .peers import Peers, listening
from .restart import Restarts
from .script import find_entry, plan_script
from .script_hang import ScriptWatch, timeout_of
from .script_requirements import install
from .script_source import bring_code
from .supervise import Ending, supervise

log = logging.getLogger("twofold.train")


def run(environ: Mapping[str, str]) -> int:
    """Run the training job of this container and return its exit code."""
    paths = Paths.from_environ(environ)
    # Left by an earlier run in the same tree: it would be taken for the user's own word on this one.
    with contextlib.suppress(OSError):
        paths.failure.unlink()
    logs.configure(logs.DEFAULT_LEVEL)
    try:
        job = read_training_job(paths, environ)
        logs.configure(job.log_level, host=job.cluster.speaker)
        with outcome.room_for_failure(paths):
            return _run_job(job, environ)
    except Exception as error:  # noqa: BLE001 - logged with its traceback by `_fail`
        return _fail(paths, error)


def _fail(paths: Paths, error: Exception) -> int:
    """Say why the job fails, and return its exit code."""
    text = outcome.failure_text(error)
    log.error("%s", text, exc_info=None if isinstance(error, TwofoldError) else error)
    outcome.write_failure(paths, text)
    return outcome.exit_code(error)


def _run_job(job: TrainingJob, environ: Mapping[str, str]) -> int:
    port = master_port(environ) + 1 if job.cluster.size > 1 else 0
    with listening(job.cluster, port) as peers:
        try:
            return _run_ranks(job, environ, peers)
        except Exception as error:  # noqa: BLE001 - logged with its traceback by `_fail`
            # Written first: others may not listen yet, and this host may be stopped while it waits for them.
            code = _fail(job.paths, error)
            peers.tell(on_host(job.cluster, outcome.failure_text(error)), code, lost=False)
            return code


def _run_ranks(job: TrainingJob, environ: Mapping[str, str], peers: Peers) -> int:
    plan = _plan_script if job.program else _plan_model
    with tempfile.TemporaryDirectory(prefix="twofold-", dir=scratch()) as directory:
        reports.reserve(Path(directory))
        hung = _hang_watch(job, environ, Path(directory))
        launch = plan(job, environ, Path(directory))
        memory = MemoryWatch(machine.CGROUP)
        # What a script does when memory runs out is its own business, and it says nothing of it.
        restarts = Restarts(job, Path(directory), peers)
        ending = supervise(
            launch.argv,
            launch.environ,
            stop_timeout_s=STOP_TIMEOUT_S,
            has_ranks=launch.has_ranks,
            hung=partial(_look, memory, hung, peers, restarts),
            again=restarts if not job.program else _never,
        )
        return settle(job, ending, Path(directory), memory.outcome(), peers)


def _never(_ending: Ending, _wakeup: int) -> None:
    """Start nothing again."""


def _look(memory: MemoryWatch, hung: Callable[[], bool], peers: Peers, restarts: Restarts) -> bool:
    """Look after the ranks, once a second; tell whether they hang, have nobody left to work with, or begin again."""
    memory.look()
    return restarts.due() or hung() or peers.look()


def _hang_watch(job: TrainingJob, environ: Mapping[str, str], directory: Path) -> Callable[[], bool]:
    """Return what tells whether the ranks hang."""
    hosts = job.cluster.size
    if job.program:
        seconds = timeout_of(environ)
        gpus_work = partial(machine.gpus_work, environ)
        watch = ScriptWatch(directory, timeout_s=seconds, hosts=hosts, gpus_work=gpus_work)
        return watch if seconds != 0 else lambda: False
    timeout_s = read_config(job.hyperparameters.user).hang_timeout
    return HangWatch(directory, timeout_s=timeout_s, hosts=hosts) if timeout_s else lambda: False


def _plan_model(job: TrainingJob, environ: Mapping[str, str], directory: Path) -> Launch:
    """Plan to train a model, built-in or the user's own, with our loop."""
    config = read_config(job.hyperparameters.user)
    cpus, gpus = machine.cpus(), machine.gpu_count(environ)
    _announce(job, environ, config.processes_per_host, cpus, gpus)
    log.info("hyperparameters: %s", " ".join(f"{name}={value}" for name, value in config.model_dump().items()))
    wait_for_hosts(job.cluster.hosts if job.cluster.size > 1 else [])
    return plan_launch(job, config, environ, cpus=cpus, gpus=gpus, directory=directory)


def _plan_script(job: TrainingJob, environ: Mapping[str, str], directory: Path) -> Launch:
    """Plan to run the user's own script, once its code and what it requires are here."""
    cpus, gpus = machine.cpus(), machine.gpu_count(environ)
    _announce(job, environ, 0, cpus, gpus)
    folder = bring_code(job, environ, directory)
    entry = find_entry(folder, job.program or "")
    package = "-m" in entry
    environ = {**environ, **install(folder, environ, directory, package=package)}
    wait_for_hosts(job.cluster.hosts if job.cluster.size > 1 else [])
    launch = plan_script(job, environ, folder, entry, cpus=cpus, gpus=gpus, directory=directory)
    log.info("script %s in %s", job.program, folder)
    return launch


def _announce(job: TrainingJob, environ: Mapping[str, str], processes: int, cpus: int, gpus: int) -> None:
    cluster = job.cluster
    log.info(
        "job %s: host %s (%d of %d), %d processes a host, %d CPUs, %d GPUs",
        job.name or "(unnamed)",
        cluster.current_host,
        cluster.rank + 1,
        cluster.size,
        processes_per_host(job, processes, gpus),
        cpus,
        gpus,
    )
    for finding in examine(job, environ, resolve=False):
        # A fault ends the job a moment later, with a failure file of its own.
        log.log(logging.WARNING if finding.level == "warning" else logging.INFO, "%s: %s", finding.topic, finding.text)


@click.command(name="train")
def main() -> None:
    """Train the model of the job under /opt/ml (or SAGEMAKER_BASE_DIR), as SageMaker starts it.

    Reads /opt/ml/input/config and the channels under /opt/ml/input/data, writes the artifact to /opt/ml/model, and on
    failure the cause to /opt/ml/output/failure.
    """
    # The kernel keeps signals without a handler from PID 1, and names of hosts may be awaited for minutes.
    signal.signal(signal.SIGTERM, _leave)
    sys.exit(run(os.environ))


def _leave(_number: int, _frame: FrameType | None) -> None:
    """End before there is anything to stop."""
    sys.exit(STOPPED_EARLY)


if __name__ == "__main__":
    main()
