"""The parent's eye on its ranks: who hangs, where, and what the failure file says of it."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path

from ..errors import PlatformError
from . import reports, stacks
from .heartbeat import Beat, read_beats
from .reports import Report
from .stacks import Stacks
from .watchdog import Watchdog

log = logging.getLogger(__name__)

_COMPILE_S = 1800.0
"""Longest that compiling a model may take."""
_ELSEWHERE = 10.0
"""A host whose ranks all wait for others gives the host that is behind so many times longer to say so."""


class HangWatch:
    """Called about once a second while the ranks run; tells when to end them."""

    def __init__(self, directory: Path, *, timeout_s: float, hosts: int) -> None:
        """Take the scratch folder, the least time without a step that is a hang, and the number of hosts."""
        self._directory, self._timeout, self._hosts = directory, timeout_s, hosts
        self._watchdog = Watchdog(timeout_s)

    def __call__(self) -> bool:
        """Tell whether the job has hung; then its report is left, and the stacks of all ranks."""
        now, beats = time.monotonic(), read_beats(self._directory)
        frozen = {rank for rank, beat in beats.items() if _state(beat.pid) == "T"}
        idle = self._watchdog.look(now, beats, frozen)
        if idle is None:
            return False
        found = {rank: self._stacks(rank, beat.pid) for rank, beat in beats.items()}
        if not frozen and any(stack.compiles for stack in found.values()) and idle < _COMPILE_S:
            self._watchdog.grant(_COMPILE_S)
            return False
        behind = _behind(beats, found, frozen)
        if not behind and self._hosts > 1 and idle < self._timeout * _ELSEWHERE:
            self._watchdog.grant(self._timeout * (_ELSEWHERE - 1))
            log.warning("no step for %.0f s: all ranks of this host wait for another host", idle)
            return False
        text = self._text(idle, beats, found, behind, frozen)
        for rank, stack in found.items():
            waits = f"waits in {stack.waits_in}" if stack.waits_in else f"is at {stack.place}"
            head = f"rank {rank}, step {beats[rank].step}, {beats[rank].phase}, {waits}"
            (self._directory / f"stacks-rank-{rank}.txt").write_text(f"{head}\n{stack.text}", encoding="utf-8")
        reports.write(self._directory, Report("watchdog", text, PlatformError.exit_code))
        log.error("%s", text)
        return True

    def _stacks(self, rank: int, pid: int) -> Stacks:
        return stacks.take(pid, self._directory / f"rank-{rank}.stacks")

    @staticmethod
    def _text(
        idle: float, beats: Mapping[int, Beat], found: Mapping[int, Stacks], behind: list[int], frozen: set[int]
    ) -> str:
        median = max((beat.median or 0.0 for beat in beats.values()), default=0.0)
        usual = f" (median {median:.3g} s)" if median else ""
        waiting = [rank for rank in beats if rank not in behind and found[rank].waits_in]
        waits = f" Waiting for it: {listed(waiting)}, in {found[waiting[0]].waits_in}." if waiting else ""
        if not behind:
            return (
                f"network: no step for {idle:.0f} s{usual}: every rank of this host waits{waits.partition(',')[2]} "
                f"Look at the other hosts; check the security group of the VPC."
            )
        first = behind[0]
        stack, step = found[first], beats[first].step + 1
        at = f" at {stack.place}" if stack.place else ""
        if first in frozen:
            cause, what = "platform", f"its process is stopped (SIGSTOP){at}. Do not stop it, or start the job again."
        elif stack.reads:
            cause, what = "data", f"it waits for data{at}. Look at the channel and at S3."
        else:
            cause = "user code" if stack.place and not stack.place.file.startswith(str(_PACKAGE)) else "platform"
            what = f"it is{at or ' nowhere known'}."
        head = f"{cause}: {listed(behind)} hung in step {step}: no step for {idle:.0f} s{usual}"
        return f"{head}: {what}{waits} Raise 'hang_timeout' if a step may take that long."


_PACKAGE = Path(__file__).parents[1]


def _behind(beats: Mapping[int, Beat], found: Mapping[int, Stacks], frozen: set[int]) -> list[int]:
    """Ranks that the others wait for: stopped ones, else those in no collective, else those that have done least."""
    if frozen:
        return sorted(frozen)
    busy = [rank for rank, stack in found.items() if not stack.waits_in]
    if busy:
        return sorted(busy)
    least = min(beat.count for beat in beats.values())
    slow = sorted(rank for rank, beat in beats.items() if beat.count == least)
    return slow if len(slow) < len(beats) else []


def listed(ranks: list[int]) -> str:
    """Name ranks in a sentence."""
    return ("rank " if len(ranks) == 1 else "ranks ") + ", ".join(map(str, ranks))


def _state(pid: int) -> str:
    """State of a process as the kernel has it: T is stopped by a signal."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""
