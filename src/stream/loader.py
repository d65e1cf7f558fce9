"""This rank's part of each global batch as torch tensors, read ahead by a thread.

Blocks of many steps are planned and gathered at once, and batches are slices of them: per batch there is next to no
Python, and memory is bounded by a few blocks whatever the size of the data.

    readers    plan a block, ask for it, gather or decode it, cut it into batches      two threads, or one
    another    transform its batches                                                   only with a transform

Of samples far away a block is gathered from ranges that were asked for long before (`lanes`).
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from ..errors import ConfigError
from .dataset import Dataset
from .lanes import Rows, lane_slots, read_in_lanes, rows_of, stretches
from .plan import DEFAULT_WINDOW, Block, Plan, Positions, rank_slots
from .remote import Fetched
from .shards import Column
from .side_by_side import Job, in_order
from .streaming_dataset import StreamingDataset
from .workers import Batch, Item, transformed

BLOCK_BYTES = 6 << 20
"""Bytes of samples that are read at once."""
REMOTE_BLOCK_BYTES = 64 << 20
"""Bytes of samples far away that a unit of steps has, over all ranks; `LANES` units are in use at a time."""
APART_BYTES = 64 << 10
"""Samples far away of at least this size are fetched one by one."""
REMOTE_AHEAD = 2
"""Units that are asked for before they are due: one is on its way while one is looked at."""
_AHEAD = 3
"""Blocks that are read, or wait for the user of batches, or are in use: few, so that a cache may hold them."""
_SIDE_BY_SIDE = 2
"""Blocks that are read at the same time."""
_FREED_BYTES = 31 << 20
"""Just below the size from which the C library never keeps memory that was freed."""
_PLANNED = 1 << 14
"""Samples that are planned at once."""
_GROWTH = 4
"""The first block is one step, each of the next so many times as large as the one before."""


class StreamingLoader:
    """Batches of a dataset for one rank of many; iterate once an epoch.

        loader = StreamingLoader("/opt/ml/input/data/training", batch_size=256, seed=1)
        for epoch in range(loader.epoch, 10):
            for batch in loader:                        # {"label": Tensor [n], "features": Tensor [n, 64]}
                train_on(batch)
                state = loader.state_dict()             # goes into the checkpoint; load_state_dict goes on from there

    The state is small data: `{"seed", "epoch", "step"}` and what must not change between stop and resume. A state saved
    on 8 ranks resumes on 3 with the very same global batches.
    """

    def __init__(
        self,
        dataset: Dataset | str | Path,
        batch_size: int,
        *,
        seed: int = 0,
        shuffle: bool = True,
        rank: int | None = None,
        world: int | None = None,
        window: int | None = None,
        drop_last: bool = False,
        pin_memory: bool = False,
        transform: Callable[[Batch], Batch] | None = None,
        workers: int = 0,
    ) -> None:
        """Take what a run is made of; nothing is read before iteration.

        Args:
            dataset: samples by number, or a folder or file that is opened as `StreamingDataset` opens it.
            batch_size: samples of a *global* batch, over all ranks.
            seed: with the epoch it gives the order.
            shuffle: False goes through each slot's span in order.
            rank: this process among all ranks; by default as torch.distributed has it, if it is initialised.
            world: number of all ranks; by default as torch.distributed has it.
            window: samples that are shuffled together within a slot's span; by default 256, and fewer where samples
                far away are so large that windows of all slots would not fit into a block.
            drop_last: leave out the last global batch when it is short.
            pin_memory: put blocks into page-locked memory, from which copies to a GPU overlap with work.
            transform: applied to each batch of this rank in the reading thread.
            workers: processes that apply it instead, for one in slow Python; each is a copy of the program when a pass
                begins. Batches are the same for any number, if the transform is a function of the batch and of the
                random numbers of random, numpy.random and torch, which are seeded for each batch there.

        Raises:
            ConfigError: more ranks than samples in a batch, a rank outside the world, or workers without a transform.
        """
        if rank is None and world is None and dist.is_available() and dist.is_initialized():
            rank, world = dist.get_rank(), dist.get_world_size()
        rank, world = rank or 0, world or 1
        if not 0 <= rank < world <= batch_size:
            raise ConfigError(
                f"rank {rank} of {world} ranks with batch_size {batch_size}. Expected 0 <= rank < world <= batch_size: "
                f"raise 'batch_size' or use fewer ranks."
            )
        if workers < 0 or (workers and transform is None):
            raise ConfigError(
                f"workers is {workers}{'' if transform else ' without a transform'}. Expected 0, or a number of "
                f"processes for a transform: reading and decoding need none."
            )
        dataset = dataset if isinstance(dataset, Dataset) else StreamingDataset(dataset)
        self.dataset, self.batch_size, self.seed, self.shuffle = dataset, batch_size, seed, shuffle
        self.rank, self.world = rank, world
        self.window = window or _default_window(dataset, batch_size)
        self.epoch, self.step = 0, 0
        self._drop_last, self._pin_memory = drop_last, pin_memory
        self._transform, self._workers = transform, workers

    def __len__(self) -> int:
        """Global batches of an epoch."""
        plan = self.plan(self.epoch)
        return plan.samples // self.batch_size if self._drop_last else plan.steps

    def plan(self, epoch: int) -> Plan:
        """Return the order of an epoch."""
        return Plan(
            shard_sizes=self.dataset.sizes,
            batch_size=self.batch_size,
            seed=self.seed,
            epoch=epoch,
            window=self.window,
            shuffle=self.shuffle,
        )

    def state_dict(self) -> dict[str, int]:
        """Where the next batch is, and what that place depends on."""
        return {
            "seed": self.seed,
            "epoch": self.epoch,
            "step": self.step,
            "batch_size": self.batch_size,
            "samples": len(self.dataset),
            "window": self.window,
        }

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on where a state was taken, on any number of ranks.

        Raises:
            ConfigError: batch size, window or data differ from those of the state.
        """
        mine = self.state_dict()
        for name in ("batch_size", "samples", "window"):
            if state.get(name) != mine[name]:
                raise ConfigError(
                    f"The loader's state was saved with {name}={state.get(name)}, now it is {mine[name]}. Expected the "
                    f"same data and {name!r}: the order of samples depends on them."
                )
        self.seed, self.epoch, self.step = state["seed"], state["epoch"], state["step"]

    def __iter__(self) -> Iterator[Batch]:
        """Yield this rank's share of each global batch from the current step on; then the next epoch begins."""
        for batch, _ in self.batches():
            yield batch

    def batches(self) -> Iterator[tuple[Batch, Positions]]:
        """Yield batches with the ids `[n]` of their samples, as the plan has them."""
        source = self._read_ahead()
        if self._transform and self._workers:
            source = self._in_workers(source, self._transform)
        with closing(source):
            for item in source:
                self.step += 1
                yield item
        self.epoch, self.step = self.epoch + 1, 0

    def _read_ahead(self) -> Generator[Item, None, None]:
        """Yield the batches of a pass, read by threads some blocks ahead."""
        # Never touched. That it was freed teaches the C library to keep what is freed up to this size: blocks would
        # otherwise go back to the system, and each page of the next one is zeroed, mapped and unmapped again.
        np.empty(_FREED_BYTES, dtype=np.uint8)
        readers = _SIDE_BY_SIDE if self.dataset.side_by_side else 1
        reads = self._reads(self.plan(self.epoch), len(self), rank_slots(self.batch_size, self.rank, self.world))
        with ExitStack() as open_now:
            open_now.enter_context(closing(reads))
            blocks = open_now.enter_context(closing(in_order(reads, readers, _AHEAD, "twofold-stream-read")))
            if self._transform and not self._workers:
                transforms = (partial(_transformed, self._transform, block) for block in blocks)
                blocks = open_now.enter_context(closing(in_order(transforms, 1, 2, "twofold-stream")))
            for block in blocks:
                yield from block

    def _in_workers(
        self, source: Generator[Item, None, None], transform: Callable[[Batch], Batch]
    ) -> Generator[Item, None, None]:
        """Yield batches as the transform makes them in processes of its own."""
        seeds = ((self.seed, self.epoch, step, self.rank) for step in count(self.step))
        with closing(source), closing(transformed(source, transform, self._workers, seeds)) as batches:
            for batch, ids in batches:
                yield self._pinned(batch), ids

    def _reads(self, plan: Plan, steps: int, slots: range) -> Generator[Job[list[Item]], None, None]:
        """Plan blocks in turn and yield what reads them; what is far away is asked for long before that."""
        if not self.dataset.remote:
            for block in self._blocks(plan, steps, slots):
                yield partial(self._read, block)
            return
        unit, lanes = self._unit(), len(lane_slots(slots))
        aligned = min(unit, self.window)
        cut = stretches(self.step, steps, min(self.step - self.step % aligned + aligned, steps), unit, lanes)
        with ThreadPoolExecutor(1, "twofold-stream-fetch") as fetching:

            def ask(ids: Positions) -> Future[Fetched]:
                return fetching.submit(self.dataset.fetch(ids))

            ahead, most = REMOTE_AHEAD * unit * len(slots), self._block_steps(len(slots))
            try:
                for rows in read_in_lanes(plan, slots, cut, ask, ahead=ahead, most=most):
                    yield partial(self._take, rows)
            finally:
                fetching.shutdown(wait=False, cancel_futures=True)

    def _blocks(self, plan: Plan, steps: int, slots: range) -> Iterator[Block]:
        """Plan blocks, many small ones at once: after each call of numpy another thread may have to be waited for."""
        planned, start, stop = plan.block(0, 0, slots), 0, 0
        for first, last in self._spans(steps, len(slots)):
            if last > stop:
                start, stop = first, min(max(last, first + _PLANNED // max(len(slots), 1)), steps)
                planned = plan.block(start, stop, slots)
            yield planned.part(first - start, last - start)

    def _spans(self, steps: int, slots: int) -> Iterator[tuple[int, int]]:
        """First and last steps of the blocks: small ones first, since somebody waits for the first batch."""
        start, size, aligned = self.step, self._block_steps(slots), 1
        while start < steps:
            stop = min(start - start % aligned + aligned, steps)
            yield start, stop
            start, aligned = stop, min(size, aligned * _GROWTH)

    def _block_steps(self, slots: int) -> int:
        """Steps of a block: as many as fit its bytes, so that one large record makes blocks of one step."""
        return int(min(max(BLOCK_BYTES / max(slots * self.dataset.record_bytes, 1), 1), self.window))

    def _unit(self) -> int:
        """Steps of a unit: whole windows where they fit, or rows near each other would be fetched more than once."""
        steps = int(REMOTE_BLOCK_BYTES / max(self.batch_size * self.dataset.record_bytes, 1))
        return max(steps // self.window * self.window, min(steps, self.window), 1)

    def _read(self, block: Block) -> list[Item]:
        return self._cut(rows_of(block, *self.dataset.read(block.sample_ids)))

    def _take(self, rows: Rows) -> list[Item]:
        return self._cut(replace(rows, columns=self.dataset.take(rows.columns)))

    def _cut(self, rows: Rows) -> list[Item]:
        columns = rows.columns
        if not columns and len(self.dataset):
            # This rank has no share of the block: fields and shapes are those of any sample.
            columns = {name: column[:0] for name, column in self.dataset.read(np.zeros(1, dtype=np.int64))[0].items()}
        tensors: Batch = {name: self._tensor(column) for name, column in columns.items()}
        batches, start = [], 0
        for end in rows.ends.tolist():
            batch = {name: column[start:end] for name, column in tensors.items()}
            batches.append((batch, rows.ids[start:end]))
            start = end
        return batches

    def _tensor(self, column: Column) -> Tensor | Column:
        if not isinstance(column, np.ndarray) or column.dtype.kind not in "biuf":
            return column
        tensor: Tensor = torch.from_numpy(column)
        return tensor.pin_memory() if self._pin_memory and not self._workers else tensor

    def _pinned(self, batch: Batch) -> Batch:
        """Put what has come from a worker into page-locked memory where that is asked for."""
        if not self._pin_memory:
            return batch
        return {name: value.pin_memory() if isinstance(value, Tensor) else value for name, value in batch.items()}


def _transformed(transform: Callable[[Batch], Batch], block: list[Item]) -> list[Item]:
    return [(transform(batch), ids) for batch, ids in block]


def _default_window(dataset: Dataset, batch_size: int) -> int:
    """Samples of a window: a block must hold whole ones where neighbours are fetched together, or they come twice."""
    if not dataset.remote or dataset.record_bytes >= APART_BYTES:
        return DEFAULT_WINDOW
    return int(min(max(REMOTE_BLOCK_BYTES / max(batch_size * dataset.record_bytes, 1), 1), DEFAULT_WINDOW))
