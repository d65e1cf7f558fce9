"""What processes have done so far, as the kernel counts it: CPU time, bytes read and written, turns on a core.

Source: proc(5), https://man7.org/linux/man-pages/man5/proc.5.html. What a process has waited for is counted with it, so
sums over a tree grow as children come and go.
"""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
STOPPED = "T"
"""State of a process that a signal has stopped; one that a debugger holds is `t`."""
_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
_READ_AHEAD = 128 << 10
"""Bytes that one major page fault reads about: what is read through mapped memory is counted nowhere else."""
_LOOPBACK = "lo"


@dataclass(frozen=True, slots=True)
class Process:
    """One process at one moment."""

    pid: int
    parent: int
    group: int
    """Process group."""
    name: str
    """Its main thread's name."""
    state: str
    """One letter: R runs or wants to, S and D wait, T is stopped, Z has ended."""
    cpu_s: float
    """Seconds of CPU so far, of children that it has waited for too."""
    faulted: int
    """Bytes read through mapped memory so far, about."""


@dataclass(frozen=True, slots=True)
class Work:
    """What several processes have done so far."""

    cpu_s: float = 0.0
    bytes: int = 0
    """Read and written: files and pipes, and what came through mapped memory."""
    wants: bool = False
    """Whether one of them runs, or waits for nothing but a core."""


def processes(proc: Path = PROC) -> dict[int, Process]:
    """Look at all processes that can be seen, by process id."""
    found = {}
    for entry in proc.iterdir():
        if entry.name.isdecimal() and (text := _read(entry / "stat")):
            head, _, rest = text.rpartition(")")
            field = rest.split()
            found[int(entry.name)] = Process(
                pid=int(entry.name),
                parent=int(field[1]),
                group=int(field[2]),
                name=head.partition("(")[2],
                state=field[0],
                cpu_s=sum(map(int, field[11:15])) * _TICK_S,
                faulted=(int(field[9]) + int(field[10])) * _READ_AHEAD,
            )
    return found


def members(table: Mapping[int, Process], script: int) -> list[Process]:
    """Return a script's process and then all below it or in its process group; none once it has ended itself."""
    if script not in table:
        return []
    roots = [pid for pid, process in table.items() if script in (pid, process.group)]
    return [table[pid] for pid in sorted(_below(table, roots), key=lambda pid: (pid != script, pid))]


def others(table: Mapping[int, Process], root: int, scripts: Collection[int]) -> list[Process]:
    """Return what runs below a process without being of a script or above one: what scripts have cut loose."""
    known = {root}
    for script in scripts:
        known |= {process.pid for process in members(table, script)}
        pid = script
        while pid in table and pid != root:
            known.add(pid)
            pid = table[pid].parent
    return [table[pid] for pid in sorted(_below(table, [root]) - known)]


def _below(table: Mapping[int, Process], roots: Collection[int]) -> set[int]:
    children: dict[int, list[int]] = {}
    for pid, process in table.items():
        children.setdefault(process.parent, []).append(pid)
    found, left = set[int](), list(roots)
    while left:
        pid = left.pop()
        if pid not in found:
            found.add(pid)
            left += children.get(pid, [])
    return found & table.keys()


def work(of: Collection[Process], proc: Path = PROC) -> Work:
    """Sum up what processes have done so far."""
    return Work(
        cpu_s=sum(process.cpu_s for process in of),
        bytes=sum(process.faulted + _transferred(proc / str(process.pid)) for process in of),
        wants=any(process.state == "R" for process in of),
    )


def turns(pid: int, proc: Path = PROC) -> int | None:
    """Count the turns that a process's main thread has had on a core; None where that cannot be known.

    While the count stays the same the thread has not run at all.
    """
    counts = _numbers(_read(proc / str(pid) / "status"), "voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")
    return sum(counts) if counts else None


def traffic(proc: Path = PROC) -> int:
    """Bytes that this container has received and sent so far, but for those over loopback."""
    total = 0
    for line in _read(proc / "net" / "dev").splitlines():
        name, colon, numbers = line.partition(":")
        if colon and name.strip() != _LOOPBACK:
            fields = numbers.split()
            total += int(fields[0]) + int(fields[8])
    return total


def is_python(pid: int, proc: Path = PROC) -> bool:
    """Whether a process is a Python interpreter."""
    try:
        return (proc / str(pid) / "exe").readlink().name.startswith("python")
    except OSError:
        return False


def _transferred(folder: Path) -> int:
    return sum(_numbers(_read(folder / "io"), "rchar", "wchar"))


def _numbers(text: str, *names: str) -> list[int]:
    pairs = [line.partition(":")[::2] for line in text.splitlines()]
    return [int(value) for name, value in pairs if name in names]


def _read(path: Path) -> str:
    """Read a file of the kernel's; empty where it is gone, or another user's."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
