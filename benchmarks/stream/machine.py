"""What the benchmarks need of the machine: processes with their memory watched, files in the page cache, what it is."""

import contextlib
import json
import os
import platform
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

PERIOD = 0.05
"""Seconds between two looks at the memory."""


@dataclass(frozen=True, slots=True)
class Run:
    """How a child ended."""

    result: dict[str, object]
    anonymous: int
    """Peak of the process tree's RssAnon, bytes."""
    shared: int
    """Peak of its RssShmem, bytes."""


class Failed(Exception):
    """A child did not give a result."""


def environ(work: Path) -> dict[str, str]:
    """What a child sees of the environment: no settings of this machine, caches below `work`, no network."""
    home = work.resolve() / "home"
    home.mkdir(parents=True, exist_ok=True)
    return {"PATH": "/usr/bin:/bin", "HOME": str(home), "TMPDIR": str(home), "HF_HUB_OFFLINE": "1"}


def run(command: list[str], environ: dict[str, str], timeout: float) -> Run:
    """Run a child that prints JSON last, and watch its memory.

    Raises:
        Failed: it exited with an error or not at all.
    """
    child = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    peak = {"RssAnon": 0, "RssShmem": 0}
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(child.pid, peak, done))
    watcher.start()
    try:
        output, _ = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as error:
        child.kill()
        child.communicate()
        raise Failed(f"no result in {timeout:.0f} s") from error
    finally:
        done.set()
        watcher.join()
    lines = [line for line in output.splitlines() if line.startswith("{")]
    # A peer's threads or workers may crash at exit, after the result; what counts is the result.
    if not lines:
        raise Failed(f"exit status {child.returncode}: {output[-2000:]}")
    return Run(json.loads(lines[-1]), peak["RssAnon"], peak["RssShmem"])


def _watch(pid: int, peak: dict[str, int], done: threading.Event) -> None:
    while not done.wait(PERIOD):
        totals = dict.fromkeys(peak, 0)
        for member in tree(pid):
            for name, value in memory(member).items():
                totals[name] += value
        for name, value in totals.items():
            peak[name] = max(peak[name], value)


def tree(pid: int) -> list[int]:
    """A process and its descendants."""
    found, at = [pid], 0
    while at < len(found):
        with contextlib.suppress(OSError):  # the process, or one of its threads, has just ended
            for task in Path(f"/proc/{found[at]}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        at += 1
    return found


def memory(pid: int) -> dict[str, int]:
    """RssAnon and RssShmem of a process in bytes; nothing if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    words = (line.split() for line in lines if line.startswith(("RssAnon", "RssShmem")))
    return {name.rstrip(":"): int(size) * 1024 for name, size, _ in words}


def warm(folder: Path) -> int:
    """Read all files once, so that they are in the page cache; returns their size in bytes."""
    size = 0
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb", buffering=0) as file:
                while chunk := file.read(1 << 22):
                    size += len(chunk)
    return size


def hardware() -> str:
    """Processor, cores, memory, kernel."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
    gib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return f"{model}, {os.cpu_count()} cores, {gib:.0f} GiB, Linux {platform.release()}"
