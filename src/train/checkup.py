"""What this machine offers, what the job asks, what was adapted and why, and whether it can work. Imports no torch."""

import importlib.metadata
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..contract import machine, memory, network
from ..contract.channels import Channel
from ..contract.job import TrainingJob
from ..contract.paths import scratch
from ..errors import TwofoldError
from .config import TRAINING_CHANNELS, read_config
from .launch import fabric, plan_launch, processes_per_host
from .script_hang import timeout_of

Level = Literal["ok", "adapted", "warning", "fault"]
"""Fault: the job cannot work."""

_GB = 1e9
_SMALL_DISK_BYTES = 1 << 30
_SMALL_SHM_BYTES = 1 << 30
_COUNTED_FILES = 20_000
_NEARLY_FULL = 0.9


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    topic: str
    """What it is about, e.g. `memory`."""
    text: str
    """What was found; for a fault also what was expected and what to change."""
    level: Level = "ok"


def examine(job: TrainingJob, environ: Mapping[str, str], *, resolve: bool) -> list[Finding]:
    """Look at machine and job; with `resolve` also at the names of the other hosts, which may take seconds."""
    return [
        *_processors(environ),
        *_memory(),
        *_disks(job),
        *_network(job, resolve=resolve),
        *_channels(job),
        *_outputs(job),
        *_plan(job, environ),
    ]


def _processors(environ: Mapping[str, str]) -> Iterator[Finding]:
    cpus, there = machine.cpus(), os.cpu_count() or 1
    yield Finding("CPUs", f"{cpus}" if cpus == there else f"{cpus} of {there}, by the quota and the affinity mask")
    gpus = machine.gpu_details(environ)
    yield Finding("GPUs", "; ".join(gpus) or "none")
    try:
        build = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        yield Finding("torch", "not installed. Expected it in the image: install it.", "fault")
        return
    if gpus and build.endswith("+cpu"):
        yield Finding("torch", f"{build} is the build for CPUs: the GPUs are not used. Use the CUDA image.", "warning")
    else:
        yield Finding("torch", build)


def _memory() -> Iterator[Finding]:
    usage = memory.usage(machine.CGROUP)
    if usage:
        level: Level = "warning" if usage.share > _NEARLY_FULL else "ok"
        yield Finding("memory", f"{usage.limit / _GB:.1f} GB, {(usage.limit - usage.used) / _GB:.1f} GB free", level)
    free = machine.shm_bytes()
    small = free < _SMALL_SHM_BYTES
    note = ": our loader needs none, nor do its workers; DataLoader workers of a script do" if small else ""
    yield Finding("/dev/shm", f"{free / _GB:.2f} GB free{note}", "adapted" if small else "ok")  # noqa: S108


def _disks(job: TrainingJob) -> Iterator[Finding]:
    for name, path in (("data volume", job.paths.base), ("scratch", scratch())):
        place = next(folder for folder in (path, *path.parents) if folder.exists())
        free = shutil.disk_usage(place).free
        full = free < _SMALL_DISK_BYTES
        advice = ". Raise VolumeSizeInGB if the artifact or parsed data are larger" if full else ""
        yield Finding(name, f"{place}: {free / _GB:.1f} GB free{advice}", "warning" if full else "ok")


def _network(job: TrainingJob, *, resolve: bool) -> Iterator[Finding]:
    found = [one for one in network.interfaces() if one.name != "lo"]
    speeds = [f"{one.name} {one.address or '-'}{f' {one.megabits} Mbit/s' if one.megabits else ''}" for one in found]
    yield Finding("network", ", ".join(speeds) or "loopback only")
    adapters, missing = network.efa_devices(), network.efa_missing()
    if adapters and missing:
        text = f"{', '.join(adapters)}, not used: this image has no {' and no '.join(missing)}. NCCL uses TCP."
        yield Finding("EFA", text, "warning")
    else:
        yield Finding("EFA", ", ".join(adapters) or "none")
    cluster = job.cluster
    if cluster.size == 1:
        return
    chosen = fabric(cluster).get("GLOO_SOCKET_IFNAME", "left to gloo and NCCL")
    named = cluster.interface is not None
    why = "" if named else ": resourceconfig.json names none that is on this machine, this one leads to the other hosts"
    yield Finding("interface", f"{chosen}{why}", "ok" if named else "adapted")
    for host in cluster.hosts if resolve else ():
        try:
            socket.gethostbyname(host)
        except OSError as error:
            text = f"{host} does not resolve ({error}). `train` waits for it: check that it is up."
            yield Finding("hosts", text, "warning")


def _channels(job: TrainingJob) -> Iterator[Finding]:
    for channel in job.channels.values():
        yield _channel(channel)
    if not job.program and not any(name in job.channels for name in TRAINING_CHANNELS):
        found = ", ".join(sorted(job.channels)) or "none"
        expected = " or ".join(map(repr, TRAINING_CHANNELS))
        text = f"no training channel, found: {found}. Expected one called {expected}: name it so in InputDataConfig."
        yield Finding("channels", text, "fault")


def _channel(channel: Channel) -> Finding:
    topic = f"channel {channel.name}"
    if channel.mode == "Pipe":
        return Finding(topic, f"Pipe mode, {channel.path}_0")
    files = size = 0
    for folder, _, names in os.walk(channel.path):
        for name in names[: _COUNTED_FILES - files]:
            files += 1
            size += (Path(folder) / name).stat().st_size
        if files >= _COUNTED_FILES:
            return Finding(topic, f"{channel.mode} mode, over {files} files, over {size / _GB:.3f} GB")
    if files or channel.distribution == "ShardedByS3Key":
        return Finding(topic, f"{channel.mode} mode, {files} files, {size / _GB:.3f} GB, {channel.path}")
    text = f"empty: no file in {channel.path}. Expected objects under the S3 prefix: check it and its last '/'."
    return Finding(topic, text, "fault" if channel.name in TRAINING_CHANNELS else "warning")


def _outputs(job: TrainingJob) -> Iterator[Finding]:
    for path in (job.paths.model, job.paths.output):
        place = next(folder for folder in (path, *path.parents) if folder.exists())
        if not os.access(place, os.W_OK):
            text = f"{path} cannot be written by user {os.getuid()}. Mount it writable, or run as its owner."
            yield Finding("output", text, "fault")
    folder = job.paths.checkpoints
    kept = sorted(entry.name for entry in folder.glob("step-*")) if folder.is_dir() else []
    if kept:
        yield Finding("checkpoint", f"{kept[-1]} in {folder}: training goes on from it", "adapted")
    else:
        yield Finding("checkpoint", f"none in {folder}" if folder.is_dir() else "no folder: none are kept")


def _plan(job: TrainingJob, environ: Mapping[str, str]) -> Iterator[Finding]:
    cpus, cluster = machine.cpus(), job.cluster
    name = f"{job.name or 'unnamed'}, host {cluster.current_host} ({cluster.rank + 1} of {cluster.size})"
    try:
        gpus = machine.gpu_count(environ)
        if job.program:
            timeout_of(environ)
            yield Finding("job", f"{name}, script {job.program}")
            processes = processes_per_host(job, 0, gpus)
        else:
            config = read_config(job.hyperparameters.user)
            yield Finding("job", f"{name}, model {config.model}, batch_size {config.batch_size}")
            processes = processes_per_host(job, config.processes_per_host, gpus)
            plan_launch(job, config, environ, cpus=cpus, gpus=gpus, directory=scratch())
    except TwofoldError as error:
        yield Finding("job", str(error), "fault")
        return
    threads = environ.get("OMP_NUM_THREADS") or str(max(1, cpus // processes))
    text = f"{processes} a host, {threads} threads each"
    more = processes > max(cpus, gpus)
    yield Finding("processes", f"{text}: more than cores" if more else text, "warning" if more else "ok")
