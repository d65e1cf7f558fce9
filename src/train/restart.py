"""Ranks that begin again with smaller micro-batches, in the same job, after one has run out of device memory.

rank 1   report: ran out with 6 samples ─┐              ┌─ rank 0   TWOFOLD_RESTART: 3 samples at once
                                         ├─ parent ─────┤
rank 0   lost its peer                  ─┘              └─ rank 1   from the newest checkpoint

It is for what ranks cannot make up for among themselves, see `memory.py`. Parents of several hosts agree (`peers.py`).
"""

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ..contract.job import TrainingJob
from . import reports
from .failures import is_lost, on_host
from .peers import Peers
from .supervise import Ending

log = logging.getLogger("twofold.train")

VARIABLE = "TWOFOLD_RESTART"
"""Environment variable that tells ranks with what they begin again; absent in their first start."""
MOST_LOST_S = 600.0
"""Longest training that may be lost by beginning anew, where a job keeps no checkpoints."""
_OF_RANKS = ("rank-*", "stacks-*", "*.json", "*.partial")
"""What ranks leave in the scratch folder that is of one start; what is derived from channels stays."""


@dataclass(frozen=True, slots=True)
class Restart:
    """With what ranks begin again."""

    micro_batch_size: int
    """Samples of one forward pass on each rank."""
    shortage: str
    """What ran out, where, with how many samples: for the log."""

    @staticmethod
    def of(environ: Mapping[str, str]) -> "Restart | None":
        """Read it from the environment of a rank; None in the first start."""
        return Restart(**json.loads(environ[VARIABLE])) if VARIABLE in environ else None


class Restarts:
    """Called when the ranks of this host have ended; says whether to start them again, and with what."""

    def __init__(self, job: TrainingJob, directory: Path, peers: Peers) -> None:
        """Take the job, the scratch folder of its ranks, and the other hosts, who must do the same."""
        self._cluster, self._directory, self._peers = job.cluster, directory, peers

    def due(self) -> bool:
        """Tell whether a rank of this host has run out, so that all are to end: peers that wait by NCCL never would."""
        return bool((first := reports.first(self._directory)) and first.smaller)

    def __call__(self, ending: Ending, wakeup: int) -> dict[str, str] | None:
        """Return what the environment of the ranks has more in their next start; None where there is none.

        All hosts take the same decision, or those that go on hear of one that does not and end too. Each time the
        micro-batch is smaller than the one that did not fit, so this comes to an end.

        Args:
            ending: how the ranks ended.
            wakeup: descriptor that is readable once the job is told to stop.
        """
        if ending.returncode == 0 or ending.stopped:
            return None
        found = reports.read(self._directory)
        first = next(iter(found), None)
        offers = [report for report in found if report.smaller] if first and first.smaller else []
        if not offers and not is_lost(first, self._peers):
            return None
        offer = min(offers, key=lambda report: report.smaller, default=first)
        self._tell(offer)
        agreed = self._peers.agreed(wakeup)
        if agreed is None:
            return None
        size, shortage = agreed.smaller, agreed.shortage
        log.warning("%s: starting all ranks again with %d at once", shortage, size)
        self._clear()
        self._peers.begin_again()
        return {VARIABLE: json.dumps(asdict(Restart(size, shortage)))}

    def _tell(self, report: reports.Report | None) -> None:
        if report is None:
            self._peers.tell("network: its ranks were ended", 1, lost=True)
            return
        shortage = report.shortage
        if shortage and self._cluster.size > 1:
            shortage = f"host {self._cluster.current_host}, {shortage}"
        text = on_host(self._cluster, report.message)
        lost = is_lost(report, self._peers)
        self._peers.tell(text, report.exit_code, lost=lost, smaller=report.smaller, shortage=shortage)

    def _clear(self) -> None:
        """Remove what would be taken for the word of the next start."""
        for path in [path for pattern in _OF_RANKS for path in self._directory.glob(pattern)]:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
