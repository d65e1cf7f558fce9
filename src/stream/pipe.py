"""Batches from a pipe: one pass for each epoch, in the order in which the records come.

Nothing is shuffled here, since a pipe cannot be turned back: have the platform shuffle (`ShuffleConfig`), or write the
data in a random order. Global batch g of a host is records [g*B, (g+1)*B) of the pass, and each rank has the part of
its slots, so batches depend on the pipe's bytes alone. B is

    the whole global batch      on a channel with all data on every host (FullyReplicated): hosts read all, keep theirs
    the slots of the host       on a channel that is divided between hosts (ShardedByS3Key)

Divided hosts have different numbers of records, perhaps none. So that nobody waits in a collective for a rank that has
gone on, ranks agree before each step: `agree` counts the ranks whose pass has not ended, an epoch ends when there are
none, and until then a rank without samples yields an empty batch `{}`, with which it takes part in the step.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch

from ..contract.channels import Channel
from ..errors import ConfigError, DataError, FormatError
from .ahead import Stop, read_ahead
from .fifo import WAIT_SECONDS
from .host_feed import Feed, Listener, Reader, Shares
from .peer import Pipe
from .plan import rank_slots

Batch: TypeAlias = dict[str, Any]
"""Tensors `[n, ...]` by field, or lists of values that are no numbers or differ in shape."""

_AHEAD = 2


class PipeLoader:
    """Batches of a channel in Pipe mode for one rank of many; iterate once an epoch.

    Each iteration opens the next FIFO and passes over the steps that a loaded state has done. A pass that is left early
    goes on with the next FIFO, at the same step; `end_epoch` lets the next epoch begin there instead.
    """

    def __init__(
        self,
        channel: Channel,
        batch_size: int,
        *,
        rank: int = 0,
        world: int = 1,
        local_rank: int = 0,
        local_world: int = 1,
        sockets: Path | None = None,
        agree: Callable[[int], int] = lambda ranks: ranks,
        attributes: tuple[str, ...] = (),
        drop_last: bool = False,
        pin_memory: bool = False,
        transform: Callable[[Batch], Batch] | None = None,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        """Take what a run is made of; nothing is opened before iteration.

        Args:
            channel: the channel, of mode Pipe.
            batch_size: samples of a *global* batch, over all ranks.
            rank: this process among all ranks; those of one host are neighbours.
            world: number of all ranks.
            local_rank: this process among the ranks of its host; 0 reads the pipe.
            local_world: ranks of this host.
            sockets: folder on the local disk, the same for all ranks of a host and new for each job; not needed with
                one rank a host.
            agree: sums a number over all ranks; needed when hosts have different data.
            attributes: AttributeNames of an augmented manifest, which do not stand in the job's files.
            drop_last: leave out the last batch of a host when it is short.
            pin_memory: put batches into page-locked memory.
            transform: applied to each batch of this rank in the reading thread.
            wait_seconds: bound on waits for a FIFO, its data or another rank.

        Raises:
            ConfigError: more ranks than samples in a batch, ranks that do not fit together, or no folder for sockets.
        """
        if not (0 <= rank < world <= batch_size and 0 <= local_rank < local_world <= world and local_rank <= rank):
            raise ConfigError(
                f"rank {rank} of {world}, local rank {local_rank} of {local_world}, batch_size {batch_size}. Expected "
                f"0 <= rank < world <= batch_size, local ones too: raise 'batch_size' or use fewer ranks."
            )
        self.batch_size, self.epoch, self.step = batch_size, 0, 0
        self._pass = 0
        self._agree, self._drop_last, self._pin_memory, self._transform = agree, drop_last, pin_memory, transform
        self._pipe = Pipe(
            stem=channel.path,
            content_type=channel.content_type,
            record_wrapper=channel.record_wrapper,
            attributes=attributes,
            wait_seconds=wait_seconds,
        )
        slots = [rank_slots(batch_size, rank - local_rank + local, world) for local in range(local_world)]
        self._shares = _shares(slots, batch_size, divided=channel.distribution != "FullyReplicated")
        self._feed = self._open_feed(local_rank, local_world, sockets)

    def state_dict(self) -> dict[str, int]:
        """Where the next batch is, and what that place depends on."""
        return {
            "epoch": self.epoch,
            "step": self.step,
            "batch_size": self.batch_size,
            "host_records": self._shares.records,
        }

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on where a state was taken, as far as the next pass has the records of that one in the same order.

        Raises:
            ConfigError: the batch, or the host's part of it, differs from that of the state.
        """
        mine = self.state_dict()
        for name in ("batch_size", "host_records"):
            if state.get(name) != mine[name]:
                raise ConfigError(
                    f"The loader's state was saved with {name}={state.get(name)}, now it is {mine[name]}. Expected the "
                    f"same 'batch_size', and on a ShardedByS3Key channel the same number of hosts."
                )
        self.epoch, self.step = state["epoch"], state["step"]

    def end_epoch(self) -> None:
        """Let the next iteration begin the next epoch, after one that was left early."""
        self.epoch, self.step = self.epoch + 1, 0

    def close(self) -> None:
        """Close the socket of the host."""
        self._feed.close()

    def __iter__(self) -> Iterator[Batch]:
        """Yield this rank's share of each global batch from the current step on; then the next epoch begins."""
        number, self._pass = self._pass, self._pass + 1
        stop = Stop()
        batches = read_ahead(self._batches(number, stop), _AHEAD, stop)
        try:
            while True:
                batch = next(batches, None)
                if not self._agree(int(batch is not None)):
                    break
                self.step += 1
                yield batch or {}
        finally:
            batches.close()
        self.end_epoch()

    def _batches(self, number: int, stop: Stop) -> Iterator[Batch]:
        for framing, block in self._feed.blocks(number, self.step, stop):
            if not block.stops:
                yield {}
                continue
            try:
                columns = framing.decode(block.data, block.stops, block.first_record, block.first_byte)
            except (FormatError, DataError) as error:
                raise DataError(f"{self._pipe.name}: {error}") from error
            batch = {name: self._tensor(column) for name, column in columns.items()}
            yield self._transform(batch) if self._transform else batch

    def _tensor(self, column: Any) -> Any:  # noqa: ANN401  an array becomes a tensor, a list stays what it is
        if not isinstance(column, np.ndarray) or column.dtype.kind not in "biuf":
            return column
        tensor = torch.from_numpy(np.require(column, requirements=["C", "W"]))
        return tensor.pin_memory() if self._pin_memory else tensor

    def _open_feed(self, local_rank: int, local_world: int, sockets: Path | None) -> Feed:
        if local_world == 1:
            return Reader(self._pipe, self._shares, None, drop_last=self._drop_last)
        if sockets is None:
            raise ConfigError(f"{local_world} ranks of a host share one pipe. Expected a folder for their sockets.")
        address = sockets / f"{self._pipe.stem.name}.sock"
        if local_rank:
            return Listener(self._pipe, local_rank, address)
        return Reader(self._pipe, self._shares, address, drop_last=self._drop_last)


def _shares(slots: list[range], batch_size: int, *, divided: bool) -> Shares:
    """How the records of a host are shared out: its own slots' where hosts have different data, else all slots'."""
    whole = range(slots[0].start, slots[-1].stop) if divided else range(batch_size)
    return Shares(records=len(whole), borders=[(mine.start - whole.start, mine.stop - whole.start) for mine in slots])
