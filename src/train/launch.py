"""The command and the environment of the ranks of this host. Imports no torch: the parent starts in milliseconds."""

import logging
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..contract import network
from ..contract.cluster import Cluster
from ..contract.job import TrainingJob
from ..errors import ConfigError, NetworkError
from .config import TrainingConfig
from .culprit import PEER_TIMEOUT_S
from .degrees import choose_degrees
from .reports import SCRATCH_VARIABLE
from .starter import ANY_PORT

log = logging.getLogger(__name__)

MASTER_PORT = 7777
"""Port of the first host on which ranks of several hosts meet; the one that AWS's own images use. `MASTER_PORT`
in the environment is another, for jobs that share one machine."""
RESOLVE_TIMEOUT_S = 900.0
"""Longest wait for the names of the other hosts, as in sagemaker-training."""
STOP_TIMEOUT_S = 110
"""Longest wait for ranks to save and leave after SIGTERM; the platform kills at 120 s."""
_LAST_PORT = 65535
_PROCESSES_OF_TOOLKIT = "sagemaker_mpi_num_of_processes_per_host"


@dataclass(frozen=True, slots=True)
class Launch:
    """What the supervisor starts."""

    argv: list[str]
    environ: dict[str, str]
    has_ranks: bool = True
    """Whether it starts ranks, which signals go to in its place."""


def processes_per_host(job: TrainingJob, asked: int, gpus: int) -> int:
    """Ranks on each host: as asked for, else one for each GPU, else one."""
    of_toolkit = job.hyperparameters.framework.get(_PROCESSES_OF_TOOLKIT)
    return asked or (of_toolkit if isinstance(of_toolkit, int) else 0) or gpus or 1


def plan_launch(
    job: TrainingJob, config: TrainingConfig, environ: Mapping[str, str], *, cpus: int, gpus: int, directory: Path
) -> Launch:
    """Describe how the ranks of this host are started; `directory` is where they leave what is gone after the run.

    Raises:
        ConfigError: the ranks cannot share the work as asked; see `choose_degrees`.
    """
    cluster, processes = job.cluster, processes_per_host(job, config.processes_per_host, gpus)
    world = processes * cluster.size
    choose_degrees(config, world, processes)
    variables = {
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(processes),
        "GROUP_RANK": str(cluster.rank),
        "MASTER_ADDR": cluster.master if cluster.size > 1 else "127.0.0.1",
        "MASTER_PORT": str(master_port(environ)) if cluster.size > 1 else ANY_PORT,
    }
    return Launch(
        argv=[sys.executable, "-P", "-m", "twofold.train.starter", "-m", "twofold.train.program"],
        environ=_environ(cluster, environ, processes=processes, cpus=cpus, directory=directory) | variables,
    )


def torchrun(
    cluster: Cluster, command: Sequence[str], environ: Mapping[str, str], *, processes: int, cpus: int, directory: Path
) -> Launch:
    """Describe a torchrun of this host that runs a command, a file or `-m MODULE`, as every process of a script."""
    argv = [
        sys.executable,
        "-P",
        "-m",
        "twofold.train.agent",
        f"--nproc-per-node={processes}",
        *_rendezvous(cluster, environ),
    ]
    return Launch(
        argv=[*argv, f"--shutdown-timeout={PEER_TIMEOUT_S}", *command],
        environ=_environ(cluster, environ, processes=processes, cpus=cpus, directory=directory),
    )


def _environ(
    cluster: Cluster, environ: Mapping[str, str], *, processes: int, cpus: int, directory: Path
) -> dict[str, str]:
    return {
        **fabric(cluster),
        **environ,
        "OMP_NUM_THREADS": environ.get("OMP_NUM_THREADS") or str(max(1, cpus // processes)),
        # A file called torch.py in the working directory must not be taken for torch.
        "PYTHONSAFEPATH": "1",
        SCRATCH_VARIABLE: str(directory),
    }


def master_port(environ: Mapping[str, str]) -> int:
    """Port at which ranks of several hosts meet; at the next one the parents of all hosts hear how the others end.

    Raises:
        ConfigError: `MASTER_PORT` is no port with another after it.
    """
    text = environ.get("MASTER_PORT") or str(MASTER_PORT)
    if not text.isdecimal() or not 0 < int(text) < _LAST_PORT:
        raise ConfigError(
            f"MASTER_PORT is {text!r}. Expected a port from 1 to {_LAST_PORT - 1}; the one after it is used too. "
            f"Correct it, or leave it out for {MASTER_PORT}."
        )
    return int(text)


def _rendezvous(cluster: Cluster, environ: Mapping[str, str]) -> list[str]:
    """Arguments by which the ranks find one another: any free port on one host, the first host's on several."""
    if cluster.size == 1:
        return ["--standalone", "--local-addr=localhost"]
    return [
        f"--nnodes={cluster.size}",
        f"--node-rank={cluster.rank}",
        f"--master-addr={cluster.master}",
        f"--master-port={master_port(environ)}",
    ]


def fabric(cluster: Cluster) -> dict[str, str]:
    """Variables for gloo and NCCL by what is on this machine: the interface to the other hosts, EFA if it can be used.

    One host talks over loopback. On several the interface is the one that `resourceconfig.json` names, or, where that
    is not on this machine, the one that leads to another host.
    """
    if cluster.size == 1:
        return {"GLOO_SOCKET_IFNAME": "lo"}
    other = next(host for host in cluster.hosts if host != cluster.current_host)
    name = cluster.interface or network.leads_to(other)
    variables = {"GLOO_SOCKET_IFNAME": name, "NCCL_SOCKET_IFNAME": name} if name else {}
    if network.efa_devices() and not network.efa_missing():
        # The second is for libraries of ranks that fork while memory is registered with the adapter.
        variables |= {"FI_PROVIDER": "efa", "RDMAV_FORK_SAFE": "1"}
    return variables


def wait_for_hosts(
    hosts: Sequence[str],
    *,
    timeout_s: float = RESOLVE_TIMEOUT_S,
    resolve: Callable[[str], object] = socket.gethostbyname,
    wait: Callable[[float], object] = time.sleep,
) -> None:
    """Wait until every host name resolves: on a new cluster names appear a little after the containers.

    Raises:
        NetworkError: a name did not resolve in time.
    """
    deadline = time.monotonic() + timeout_s
    for host in hosts:
        pause = 0.1
        while (problem := _unresolved(host, resolve)) is not None:
            if time.monotonic() + pause > deadline:
                raise NetworkError(
                    f"Host {host!r} did not resolve within {timeout_s:.0f} s ({problem}). Expected every name of "
                    f"`hosts` in resourceconfig.json to resolve: check that this host is up, "
                    f"and the security group of the VPC."
                )
            log.info("waiting for the name of host %s: %s", host, problem)
            wait(pause)
            pause = min(pause * 2, 10.0)


def _unresolved(host: str, resolve: Callable[[str], object]) -> OSError | None:
    try:
        resolve(host)
    except OSError as error:
        return error
    return None
