"""What this container was granted: cores, memory, shared memory, GPUs; never what the host has beyond that.

Source: the kernel's cgroup v2 (`cpu.max`, `memory.max`) and v1 (`cpu.cfs_quota_us`, `memory.limit_in_bytes`) files. A
container sees its own group at the root of the mount.
"""

import logging
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from ..errors import PlatformError

CGROUP = Path("/sys/fs/cgroup")
DEVICES = Path("/dev")
MEMINFO = Path("/proc/meminfo")
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - measured, never written here
GPU_TIMEOUT = 60.0
"""Seconds; without the persistence daemon the driver of eight GPUs takes ten and more to wake."""
GPU_ASKED_TIMEOUT = 15.0
"""The same for what has been running for long."""

_V1_UNLIMITED = 1 << 60
"""Bytes; cgroup v1 says "no limit" by a number near 2**63."""

logger = logging.getLogger(__name__)


def cpus(cgroup: Path = CGROUP) -> int:
    """Count the cores that threads can use at once: the affinity mask, cut by the quota.

    A part of a core is rounded down, since threads beyond the quota only get each other throttled; at least 1.
    """
    available = len(os.sched_getaffinity(0))
    quota = _cpu_quota(cgroup)
    return available if quota is None else max(1, min(available, int(quota)))


def memory_limit(cgroup: Path = CGROUP) -> int | None:
    """Bytes that this container may use before it is killed; None when only the machine bounds it."""
    text = _read(cgroup / "memory.max")
    if text is None:
        text = _read(cgroup / "memory" / "memory.limit_in_bytes")
    if text is None or not text.isdecimal():
        return None
    limit = int(text)
    return limit if limit < _V1_UNLIMITED else None


def memory_total(cgroup: Path = CGROUP, meminfo: Path = MEMINFO) -> int:
    """Bytes of memory that this container can use at most: the cgroup's limit, or all of the machine's."""
    limit = memory_limit(cgroup)
    fields = dict(line.split(":", 1) for line in (_read(meminfo) or "").splitlines() if ":" in line)
    machine = int(fields.get("MemTotal", "0 kB").split()[0]) * 1024
    return min(limit, machine) if limit and machine else limit or machine


def private_memory(process: int) -> int:
    """Bytes of memory that would be free if a process ended: what it shares with none; 0 if it has ended."""
    text = _read(Path(f"/proc/{process}/smaps_rollup"))
    if text is not None:
        lines = [line.split() for line in text.splitlines()]
        return sum(int(line[1]) for line in lines if line[0] in ("Private_Clean:", "Private_Dirty:")) * 1024
    # Not every kernel has the sums; pages of files that others have mapped too are counted as shared here.
    pages = (_read(Path(f"/proc/{process}/statm")) or "0 0 0").split()
    return (int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGE_SIZE")


def shm_bytes(folder: Path = SHARED_MEMORY) -> int:
    """Bytes free for shared memory; 0 where there is none or it may not be written."""
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return 0
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def gpu_count(environ: Mapping[str, str], *, timeout: float = GPU_TIMEOUT) -> int:
    """Count the GPUs that this container sees, as sagemaker-training counts them: by `nvidia-smi`, without torch.

    A partitioned GPU counts once: a process can use one partition only. `CUDA_VISIBLE_DEVICES` can hide some.

    Args:
        environ: environment variables; `PATH` and `CUDA_VISIBLE_DEVICES` are looked at.
        timeout: seconds to wait for the driver.

    Raises:
        PlatformError: the driver does not answer in time.
    """
    program = shutil.which("nvidia-smi", path=environ.get("PATH"))
    if program is None:
        return 0
    try:
        done = subprocess.run(
            [program, "--list-gpus"], capture_output=True, check=False, env=dict(environ), timeout=timeout
        )
    except subprocess.TimeoutExpired as error:
        raise PlatformError(
            f"nvidia-smi --list-gpus gave no answer in {timeout:g} s. Expected a list of GPUs. The driver hangs: start "
            f"the job again on another instance."
        ) from error
    except OSError as error:
        logger.warning("No GPU is used: %s cannot be run (%s)", program, error)
        return 0
    if done.returncode != 0:
        said = (done.stdout + done.stderr).decode("utf-8", "replace").strip()
        logger.warning("No GPU is used: nvidia-smi ended with code %d (%s)", done.returncode, said)
        return 0
    listed = sum(line.startswith(b"GPU ") for line in done.stdout.splitlines())
    return min(listed, _visible(environ.get("CUDA_VISIBLE_DEVICES"), listed))


def gpu_details(environ: Mapping[str, str], *, timeout: float = GPU_TIMEOUT) -> list[str]:
    """Name, memory and driver of each GPU of this machine, as `nvidia-smi` says them; none where it does not."""
    rows = _query_gpus(environ, "name,memory.total,driver_version", "csv,noheader", timeout) or []
    return [f"{', '.join(row[:2])}{f', driver {row[2]}' if len(row) > 2 else ''}" for row in rows]


def gpus_work(environ: Mapping[str, str], *, timeout: float = GPU_ASKED_TIMEOUT) -> bool:
    """Tell whether a GPU of this machine is at work, or may be: where `nvidia-smi` fails nobody knows."""
    rows = _query_gpus(environ, "utilization.gpu", "csv,noheader,nounits", timeout)
    return rows is None or any(word.strip() != "0" for row in rows for word in row)


def _query_gpus(environ: Mapping[str, str], what: str, form: str, timeout: float) -> list[list[str]] | None:
    """Ask `nvidia-smi` for numbers of each GPU; no row where it is not installed, None where it fails."""
    program = shutil.which("nvidia-smi", path=environ.get("PATH"))
    if program is None:
        return []
    query = [program, f"--query-gpu={what}", f"--format={form}"]
    try:
        done = subprocess.run(query, capture_output=True, check=True, env=dict(environ), timeout=timeout)
    except (OSError, subprocess.SubprocessError) as error:
        logger.warning("nvidia-smi does not tell %s of the GPUs: %s", what, error)
        return None
    return [line.split(", ") for line in done.stdout.decode("utf-8", "replace").splitlines() if line]


def gpu_here(devices: Path = DEVICES) -> bool:
    """Whether the driver has given this container a GPU; quick, and asks no program."""
    return any(entry.name[len("nvidia") :].isdecimal() for entry in devices.glob("nvidia*"))


def threads_here() -> int:
    """Count the threads of this process, native ones too."""
    return sum(1 for _ in Path("/proc/self/task").iterdir())


def _visible(devices: str | None, listed: int) -> int:
    """Count the entries of `CUDA_VISIBLE_DEVICES`; as CUDA does, stop at the first that names no device."""
    if devices is None:
        return listed
    count = 0
    for entry in devices.split(","):
        device = entry.strip()
        if not device or device.startswith("-") or (device.isdecimal() and int(device) >= listed):
            break
        count += 1
    return count


def _cpu_quota(cgroup: Path) -> float | None:
    """Cores that the quota is worth; None without one."""
    text = _read(cgroup / "cpu.max")
    if text is None:
        quota = _read(cgroup / "cpu" / "cpu.cfs_quota_us")
        period = _read(cgroup / "cpu" / "cpu.cfs_period_us")
    else:
        quota, _, period = text.partition(" ")
    if not quota or not period or not quota.isdecimal() or not period.isdecimal() or int(period) == 0:
        return None
    return int(quota) / int(period)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
