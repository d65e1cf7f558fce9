"""Checkpoints: every rank writes its own file while training goes on; what all have written counts.

    checkpoints/
    ├── step-000000400/
    │   ├── rank-00000.safetensors     this rank's parts of `model.*`, `optimizer.<parameter>.*`, `best.*`
    │   ├── rank-00001.safetensors
    │   └── complete.json              written last, by the first rank: progress, pieces, sizes and checksums
    └── step-000000600/ ...

The folder is synced with S3 while files are being written, each host on its own and in any order: a file gets its name
when it is whole and on the disk, and on resume a checkpoint counts if all that its manifest names is there.
"""

import contextlib
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from ..errors import ConfigError, PlatformError, TwofoldError
from .checkpoint_choice import choose
from .checkpoint_files import PieceReader, RankWriter, StagedPlanner
from .checkpoint_manifest import MANIFEST, Manifest, StoredFile, StoredTensor, folder_of, steps_in, write_manifest
from .checkpoint_state import Copying, Staging, State
from .checkpoint_write import Pauses
from .ranks import Ranks

log = logging.getLogger(__name__)

KEPT = 2
"""Checkpoints that stay; an older one goes when a newer one is whole."""
STOP_BUDGET_S = 50.0
"""Time from a stop signal to the end of the last checkpoint; a spot instance can be gone after 60 s."""
_NICENESS = 19
"""Of the thread that writes: a seventieth of a core's time where training wants all of it, all of it where it waits."""
_UNHURRIED = 0.5
"""Part of the time between two saves within which one may rest, so that it does not keep the next one waiting."""


@dataclass(slots=True)
class Progress:
    """How far a run has come; with the weights and the optimizer, all that it needs to go on."""

    epoch: int = 0
    """Epochs finished."""
    epoch_step: int = 0
    """Steps finished of the epoch under way."""
    step: int = 0
    """Optimizer steps finished in all."""
    closed: int = 0
    """Steps finished when an epoch was last measured and published."""
    epoch_sums: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    """Loss, score and samples of the epoch under way, over all ranks."""
    best: dict[str, float] = field(default_factory=dict)
    """Validation metrics of the lowest validation loss so far; empty before the first evaluation."""
    worse: int = 0
    """Evaluations since then."""
    scaler: dict[str, Any] = field(default_factory=dict)
    """State of the loss scaler of fp16; empty for other precisions."""
    ledger: str = ""
    """Chain of the ledger; empty where none is kept."""


class Checkpoints:
    """The checkpoint folder of a job; make and call it on every rank."""

    def __init__(self, folder: Path, identity: Mapping[str, Any], ranks: Ranks) -> None:
        """Take the folder, and the settings that a checkpoint must share with the job that resumes from it."""
        self._folder = folder
        self._identity = dict(identity)
        self._ranks = ranks
        # Ranks talk about a checkpoint while they train: that takes a group apart, and one of the CPU.
        self._group = dist.new_group(backend="gloo") if ranks.world > 1 else None
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="twofold-checkpoint", initializer=_give_way)
        self._staging = Staging()
        self._copying: Copying | None = None
        self._written: Future[None] | None = None
        self._pauses = Pauses()
        self._asked_at = time.monotonic()
        self._kept: list[int] = []
        # Of this rank's file, without waiting for a CPU that trains: before a last checkpoint training has stopped.
        self._slowest_s = 0.0

    def save(self, progress: Progress, state: State) -> None:
        """Begin to write a checkpoint, once the one before is written; a full disk costs this one, not the job.

        Weights and moments must stay as they are until `staged`.
        """
        asked_at, now = self._asked_at, time.monotonic()
        write = self._prepare(progress, state, Pauses(now + _UNHURRIED * (now - asked_at)))
        if write:
            self._asked_at = now
            self._written = self._writer.submit(write)

    def _prepare(self, progress: Progress, state: State, pauses: Pauses) -> Callable[[], None] | None:
        """Return what writes a checkpoint, once the one before is written; nothing if it is there."""
        self.wait()
        if progress.step in self._kept:
            return None
        tensors = state.tensors(first=self._ranks.is_first)
        # A forward pass changes statistics of batches, so these are copied at once.
        moving, fixed = state.statistics(), state.fixed()
        copied = self._staging.copy({name: tensor for name, tensor in tensors.items() if name in moving}) | fixed
        copying = self._staging.begin({name: tensor for name, tensor in tensors.items() if name not in copied})
        self._copying, self._pauses = copying, pauses

        def staged() -> dict[str, Tensor]:
            copying.finish_quietly()
            return copied | copying.copies

        return partial(self._write, tensors, staged, progress.step, asdict(progress), pauses)

    def staged(self) -> None:
        """See to it that weights and moments may change again: help with what is not copied yet."""
        if self._copying:
            self._copying.finish()
            self._copying = None

    def is_written(self) -> bool:
        """Whether no checkpoint is under way."""
        return self._written is None or self._written.done()

    def wait(self) -> None:
        """Wait until the checkpoint under way is written.

        Raises:
            TwofoldError: it failed, and not for want of a disk to write to.
        """
        self.staged()
        self._pauses.hurry()
        if self._written:
            written, self._written = self._written, None
            written.result()

    def save_last(self, progress: Progress, state: State, told_at: float | None) -> None:
        """Write a checkpoint and wait for it, if there is time since the stop signal; else the one under way is it.

        Args:
            progress: as for `save`.
            state: as for `save`.
            told_at: when this rank got the signal, by time.monotonic(); None: another one did.
        """
        self.wait()
        used = time.monotonic() - (told_at or time.monotonic())
        if self._ranks.all(used + self._slowest_s <= STOP_BUDGET_S):
            write = self._prepare(progress, state, Pauses())
            self.staged()
            # In this thread: the other one has what is left of the CPU, and this checkpoint cannot wait.
            if write:
                write()
        else:
            last = f"the last one is of step {self._kept[0]}" if self._kept else "there is none"
            log.warning("no time to write a checkpoint at step %d: %s", progress.step, last)

    def resume(self, state: State) -> Progress:
        """Load the newest whole checkpoint into the state of every rank; without one, a new progress.

        Raises:
            ConfigError: the checkpoint belongs to a run with other settings or another model.
            PlatformError: it cannot be read.
        """
        manifest = choose(self._folder, self._ranks)
        if manifest is None:
            return Progress()
        self._check_identity(manifest.identity)
        targets = state.targets(manifest.tensors)
        self._check_fit({name: list(tensor.shape) for name, tensor in targets.items()}, manifest)
        try:
            load(
                targets,
                storage_reader=PieceReader(self._folder / folder_of(manifest.step), manifest),
                planner=DefaultLoadPlanner(flatten_state_dict=False, flatten_sharded_tensors=False),
                process_group=self._group,
                no_dist=self._group is None,
            )
        except CheckpointException as error:
            raise PlatformError(
                f"The checkpoint of step {manifest.step} in {self._folder} was whole and cannot be read: "
                f"{_reasons(error)}. Start the job again, or remove that folder to go on from the one before."
            ) from error
        progress = Progress(**manifest.progress)
        self._kept = [manifest.step]
        log.info("resuming at step %d, epoch %d, from %s", progress.step, progress.epoch + 1, self._folder)
        return progress

    def _write(
        self,
        tensors: dict[str, Tensor],
        staged: Callable[[], dict[str, Tensor]],
        step: int,
        progress: dict[str, Any],
        pauses: Pauses,
    ) -> None:
        started, folder = time.monotonic(), self._folder / folder_of(step)

        def commit(files: dict[str, StoredFile], stored: dict[str, StoredTensor]) -> None:
            whole = Manifest(step=step, identity=self._identity, progress=progress, files=files, tensors=stored)
            write_manifest(folder, whole)

        writer = RankWriter(folder, self._ranks.rank, pauses, commit)
        try:
            save(
                tensors,
                storage_writer=writer,
                planner=StagedPlanner(staged()),
                process_group=self._group,
                no_dist=self._group is None,
            )
        except CheckpointException as error:
            self._remove(step)
            if not all(isinstance(cause, OSError) for cause, _ in error.failures.values()):
                raise TwofoldError(f"The checkpoint of step {step} failed: {_reasons(error)}") from error
            if self._ranks.is_first:
                log.error("no checkpoint at step %d, earlier ones stay: %s", step, _reasons(error))
            return
        self._slowest_s = max(self._slowest_s, writer.seconds)
        self._kept = [step, *self._kept][:KEPT]
        for other in steps_in(self._folder):
            if other < step and other not in self._kept:
                self._remove(other)
        if self._ranks.is_first:
            log.info("checkpoint at step %d: %s, in %.1f s", step, folder, time.monotonic() - started)

    def _remove(self, step: int) -> None:
        """Remove a checkpoint on this host if that is possible: what stays costs room, not the job."""
        if self._ranks.local_rank:
            return
        folder = self._folder / folder_of(step)
        with contextlib.suppress(OSError):
            # Without its manifest it does not count: whatever is left of it then is never read.
            (folder / MANIFEST).unlink(missing_ok=True)
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()

    def _check_identity(self, found: dict[str, Any]) -> None:
        for name, value in self._identity.items():
            if found.get(name) != value:
                raise ConfigError(
                    f"The checkpoint in {self._folder} was written with {name}={found.get(name)}, this job has "
                    f"{name}={value}. Go on with the same {name}, or start afresh with an empty checkpoint folder."
                )

    def _check_fit(self, shapes: Mapping[str, list[int]], manifest: Manifest) -> None:
        """Find what the model has and the checkpoint has not, or has in another shape, or the other way round."""
        stored = {name: tensor.size for name, tensor in manifest.tensors.items()}
        for name in sorted(shapes.keys() | stored.keys()):
            if shapes.get(name) != stored.get(name):
                raise ConfigError(
                    f"The checkpoint in {self._folder} has {name} with shape {stored.get(name)}, the model of this job "
                    f"{shapes.get(name)}. Go on with the same model, or start afresh with an empty checkpoint folder."
                )


def _give_way() -> None:
    """Let this thread have what training leaves of the CPU: on Linux a thread has a priority of its own."""
    # A sandbox may forbid it: then checkpoints take their share of the CPU as everybody does.
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


def _reasons(error: CheckpointException) -> str:
    return "; ".join(f"{cause} (rank {rank})" for rank, (cause, _) in sorted(error.failures.items()))


def seed_step(seed: int, step: int, rank: int, *, everywhere: bool = True) -> None:
    """Seed the random numbers of one step of one rank, so that a resumed run draws what an unbroken one does.

    Models of the user's own may draw from Python and NumPy too; `everywhere` is for them.
    """
    number = (seed * 1_000_003 + step * 8_191 + rank) % 2**63
    # Not torch.manual_seed: where CUDA is not in use it keeps a note with the whole stack for later, 0.3 ms every time.
    torch.default_generator.manual_seed(number)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed(number)
    if not everywhere:
        return
    random.seed(number)
    np.random.seed(number % 2**32)  # noqa: NPY002 - it is the global state that others draw from
