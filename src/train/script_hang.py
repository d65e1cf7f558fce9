"""The parent's eye on scripts of the user's own: nobody can count their steps, so it looks at what they do at all.

    stopped for a minute                              ─→ the job ends
    no output and no work on any rank of this host
      for 5 minutes                                   ─→ a warning: who is where
      for half an hour, and a rank waits for another  ─→ the job ends

What is only idle may wait on purpose: it is warned about, and ends where the job has set a bound of its own.
"""

import logging
import math
import os
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path

from ..errors import ConfigError, PlatformError
from . import activity, reports, stacks
from .activity import Process
from .idleness import Idleness
from .pulse import read_pulses
from .reports import Report
from .script_verdict import SETTING, RankState, behind, head, notice, proven, sentence
from .stacks import Stacks

log = logging.getLogger(__name__)

DEFAULT_S = 1800.0
"""Torch's own bound for a collective of gloo, the longest that it has: who waits for longer was told to."""
STOPPED_S = 60.0
"""Nobody stops a process for longer by the way."""
_NOTICE_S = 300.0
_WINDOW_S = 10.0
_BLIND_S = 10.0
"""A gap between looks in which this machine was asleep or frozen, and the scripts with it."""
_FORGET_S = 30.0
"""Ranks that end because of a hang write before they do: what was found counts for a while after."""
_SOURCE = "watchdog"
_LOOSE = -1
"""Stands for the rank of what scripts have started and cut loose."""
_WORKER = "pt_data_worker"
"""Name of the main thread of a DataLoader's worker."""


def timeout_of(environ: Mapping[str, str]) -> float | None:
    """Read the bound that the job has set, in seconds; 0 watches nothing, None is the default.

    Raises:
        ConfigError: it is no such number.
    """
    text = environ.get(SETTING)
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ConfigError(
            f"{SETTING} is {text!r}. Expected seconds, 0 or more: correct it in the job's environment, or leave it out."
        )
    return seconds


class ScriptWatch:
    """Called about once a second while scripts run; tells when to end them."""

    def __init__(self, directory: Path, *, timeout_s: float | None, hosts: int, gpus_work: Callable[[], bool]) -> None:
        """Take what to watch.

        Args:
            directory: scratch folder, where the ranks of this host have their pulse.
            timeout_s: seconds without output and work that are a hang, whatever a script waits for; None is the
                default, which asks for a proof that it waits in vain.
            hosts: of the job.
            gpus_work: tells whether a GPU is at work, or may be.
        """
        self._directory, self._hosts, self._gpus_work = directory, hosts, gpus_work
        self._strict, self._timeout = timeout_s is not None, timeout_s or DEFAULT_S
        self._notice = min(_NOTICE_S, self._timeout / 2)
        self._window = min(_WINDOW_S, self._timeout / 10)
        self._idleness, self._still = Idleness(self._window), _Stillness()
        self._stopped: dict[int, float] = {}
        self._looked, self._next, self._again = time.monotonic(), 0.0, 0.0
        self._noticed, self._kept = False, 0.0
        self._quiet = self._silent = self._looked

    def __call__(self) -> bool:
        """Tell whether the job has hung; then its report is left, and the stacks of all ranks."""
        now = time.monotonic()
        if now - self._looked > _BLIND_S:
            self._idleness.forget()
            self._stopped.clear()
            self._still = _Stillness()
        hung = now >= self._next and self._look(now)
        self._looked = time.monotonic()
        return hung

    def _look(self, now: float) -> bool:
        self._next = now + self._window
        pulses = read_pulses(self._directory)
        if not pulses:
            return False
        table = activity.processes()
        trees = {rank: activity.members(table, pulse.pid) for rank, pulse in pulses.items()}
        loose = activity.others(table, os.getpid(), [pulse.pid for pulse in pulses.values()])
        work = {rank: activity.work(tree) for rank, tree in {**trees, _LOOSE: loose}.items()}
        heard = max(pulse.heard for pulse in pulses.values())
        idle = self._idleness.look(now, heard, work, activity.traffic())
        self._note(now, trees)
        frozen = [rank for rank, since in self._stopped.items() if now - since >= min(STOPPED_S, self._timeout)]
        if frozen:
            return self._judge(now, idle, trees, frozen)
        self._forget(now, now - heard, idle)
        if idle >= self._notice and now >= self._again:
            if not self._gpus_work():
                self._again = now + min(self._notice, max(self._timeout - idle, self._window))
                return self._judge(now, idle, trees, frozen)
            self._idleness.forget()
        if min(now - heard, now - self._kept) >= self._notice:
            # It may work, or wait in a way that looks like it: whatever ends it, the full report says where it was.
            self._keep({rank: self._state(rank, tree, now) for rank, tree in trees.items()}, now)
        return False

    def _note(self, now: float, trees: Mapping[int, list[Process]]) -> None:
        """Remember since when ranks are stopped, and since when their threads have had no turn."""
        mains = {rank: _main(tree) for rank, tree in trees.items() if tree}
        stopped = [rank for rank, main in mains.items() if main.state == activity.STOPPED]
        self._stopped = {rank: self._stopped.get(rank, now) for rank in stopped}
        workers = [process.pid for tree in trees.values() for process in tree if process.name == _WORKER]
        self._still.look(now, [*workers, *(main.pid for main in mains.values())])

    def _judge(self, now: float, idle: float, trees: Mapping[int, list[Process]], frozen: Collection[int]) -> bool:
        """Take the stacks of all ranks; end the job if that is due, else say who is where."""
        states = {rank: self._state(rank, tree, now) for rank, tree in trees.items()}
        self._keep(states, now)
        # With none behind here, it is another host's to say who is.
        ours = bool(behind(states)) or self._hosts == 1
        waited = idle >= self._timeout and (self._strict or proven(states, self._timeout - 2 * self._window))
        report = Report(_SOURCE, sentence(states, idle), PlatformError.exit_code)
        if frozen or (waited and ours):
            reports.write(self._directory, report)
            log.error("%s", report.message)
            return True
        ends = ours and (self._strict or proven(states, self._notice - 2 * self._window))
        if not self._noticed:
            if not ours:
                then = "They wait for another host."
            elif ends:
                then = f"The job ends after {self._timeout:g} s of this."
            else:
                then = f"It may wait on purpose: the job goes on. {SETTING}=SECONDS would end it."
            log.warning("%s %s", notice(states, idle), then)
        self._noticed = True
        if ends:
            # Where torch's own time-out comes first, its error names a rank that waited: this names the one behind.
            reports.write(self._directory, replace(report, peer=True))
        return False

    def _keep(self, states: Mapping[int, RankState], now: float) -> None:
        """Write the stacks of all ranks down, for the full report."""
        self._kept = now
        taken = time.strftime("%H:%M:%S UTC", time.gmtime())
        for rank, state in states.items():
            content = f"{head(rank, state)}, {taken}\n{state.stack.text}"
            try:
                self._stacks_file(rank).write_text(content, encoding="utf-8")
            except OSError as error:
                log.warning("the stack of rank %d is not kept: %s", rank, error)

    def _forget(self, now: float, silent: float, idle: float) -> None:
        """Take back what was found, once scripts have gone on for a while."""
        if idle >= self._notice:
            self._quiet = now
        elif self._noticed and now > self._quiet + _FORGET_S:
            self._noticed, self._again = False, 0.0
            reports.withdraw(self._directory, _SOURCE)
        if silent >= self._notice:
            self._silent = now
        elif self._kept and now > self._silent + _FORGET_S:
            self._kept = 0.0
            for path in self._directory.glob(self._stacks_file("*").name):
                path.unlink()

    def _state(self, rank: int, tree: list[Process], now: float) -> RankState:
        if not tree:
            return RankState(ended=True)
        main = _main(tree)
        stack = self._take(main.pid)
        state = RankState(stack, self._still.seconds(main.pid, now))
        if rank in self._stopped:
            return replace(state, stopped_s=max(now - self._stopped[rank], self._window))
        workers = [process.pid for process in tree if process.name == _WORKER] if stack.reads else []
        if not workers:
            return state
        stillest = max(workers, key=lambda pid: self._still.seconds(pid, now))
        return replace(state, worker=self._take(stillest).place, worker_still_s=self._still.seconds(stillest, now))

    def _take(self, pid: int) -> Stacks:
        return stacks.take(pid, self._directory / f"{pid}.stacks")

    def _stacks_file(self, rank: int | str) -> Path:
        return self._directory / f"stacks-rank-{rank}.txt"


class _Stillness:
    """Since when main threads of processes have not run."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[int, float]] = {}

    def look(self, now: float, pids: Collection[int]) -> None:
        """Look at these, and forget all others."""
        seen = {}
        for pid in pids:
            turns = activity.turns(pid)
            if turns is not None:
                before = self._seen.get(pid)
                seen[pid] = before if before and before[0] == turns else (turns, now)
        self._seen = seen

    def seconds(self, pid: int, now: float) -> float:
        """Seconds for which a process's main thread has had no turn on a core; 0 where that cannot be known."""
        return now - self._seen[pid][1] if pid in self._seen else 0.0


def _main(tree: list[Process]) -> Process:
    """The script's own process, or, of a shell's, the first Python that it runs."""
    return next((process for process in tree if activity.is_python(process.pid)), tree[0])
