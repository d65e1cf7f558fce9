"""What holds the memory of this container: the counts of its cgroup, else of the machine.

    v2   memory.current   memory.stat: inactive_file, file, shmem               memory.events: oom_kill
    v1   memory.usage_in_bytes   memory.stat: total_inactive_file, ...          memory.oom_control: oom_kill
    no limit              /proc/meminfo                                         /proc/vmstat: oom_kill

Page cache that nobody uses counts as usage of a cgroup, but goes before anything is killed: it is taken off.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from . import machine

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Usage:
    """Memory in bytes."""

    used: int
    """What cannot be taken back."""
    limit: int
    """Where processes begin to be killed."""
    cache: int
    """Page cache, most of which can be taken back."""
    shared: int
    """Shared memory: /dev/shm and the like, part of the cache."""

    @property
    def share(self) -> float:
        """Used part of the limit."""
        return self.used / self.limit


@dataclass(frozen=True, slots=True)
class Process:
    """What one process holds."""

    pid: int
    name: str
    """Its command, or `rank N`."""
    private: int
    """Bytes of its own, without files and shared memory."""


def usage(cgroup: Path, proc: Path = PROC) -> Usage | None:
    """Measure the memory of this container; None where the kernel does not tell."""
    whole = _table(proc / "meminfo", unit=1024)
    total = whole.get("MemTotal")
    limit = machine.memory_limit(cgroup)
    if limit is None or (total and limit >= total):
        if not total:
            return None
        used = total - whole.get("MemAvailable", 0)
        return Usage(used, total, whole.get("Cached", 0) + whole.get("Buffers", 0), whole.get("Shmem", 0))
    current, stat, prefix = _number(cgroup / "memory.current"), _table(cgroup / "memory.stat"), ""
    if current is None:
        folder = cgroup / "memory"
        current, stat, prefix = _number(folder / "memory.usage_in_bytes"), _table(folder / "memory.stat"), "total_"
    if current is None:
        return None
    idle = stat.get(f"{prefix}inactive_file", 0)
    cache = stat.get("file", 0) if not prefix else stat.get("total_cache", 0)
    return Usage(max(0, current - idle), limit, cache, stat.get(f"{prefix}shmem", 0))


def oom_kills(cgroup: Path, proc: Path = PROC) -> int:
    """Count the processes that the kernel has killed for want of memory so far."""
    for table in (cgroup / "memory.events", cgroup / "memory" / "memory.oom_control", proc / "vmstat"):
        count = _table(table).get("oom_kill")
        if count is not None:
            return count
    return 0


def largest(count: int, proc: Path = PROC) -> list[Process]:
    """Return the processes that hold most, the largest first."""
    found = [process for entry in proc.iterdir() if entry.name.isdecimal() and (process := _process(entry))]
    return sorted(found, key=lambda process: -process.private)[:count]


def _process(entry: Path) -> Process | None:
    try:
        status = _table(entry / "status", unit=1024)
        environ = (entry / "environ").read_bytes() if os.access(entry / "environ", os.R_OK) else b""
        name = (entry / "comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:  # it may end while we look, or be another user's
        return None
    rank = next((text[5:].decode() for text in environ.split(b"\0") if text.startswith(b"RANK=")), None)
    return Process(int(entry.name), f"rank {rank}" if rank else name, status.get("RssAnon", 0))


def _table(path: Path, *, unit: int = 1) -> Mapping[str, int]:
    """Read lines of a name and a number; empty where the file is not there."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    pairs = [line.replace(":", " ").split() for line in lines]
    return {pair[0]: int(pair[1]) * unit for pair in pairs if len(pair) > 1 and pair[1].isdecimal()}


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
