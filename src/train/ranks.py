"""This process among all ranks of the job, and the few things that they do together."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from .starter import SOCKET_VARIABLE

_TIMEOUT = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Ranks:
    """Who this process is; collectives are no-ops in a job of one."""

    rank: int = 0
    """Number among all ranks of all hosts."""
    local_rank: int = 0
    """Number among the ranks of this host."""
    world: int = 1
    """Number of all ranks."""
    local_world: int = 1
    """Number of the ranks of this host, the same on every host."""
    device: torch.device = torch.device("cpu")  # noqa: RUF009 - immutable
    """Where this rank computes."""

    @property
    def is_first(self) -> bool:
        """Whether this rank writes what the job writes once."""
        return self.rank == 0

    @property
    def host(self) -> int:
        """Number of this rank's host."""
        return self.rank // self.local_world

    @property
    def hosts(self) -> int:
        """Number of all hosts."""
        return self.world // self.local_world

    def sum(self, values: Tensor) -> Tensor:
        """Sum a tensor over all ranks, in place; every rank gets the same result."""
        if self.world > 1:
            dist.all_reduce(values)
        return values

    def largest(self, value: int) -> int:
        """Return the largest value of all ranks."""
        if self.world == 1:
            return value
        values = torch.tensor([value], device=self.device)
        dist.all_reduce(values, op=dist.ReduceOp.MAX)
        return int(values.item())

    def any(self, flag: bool) -> bool:
        """Tell whether the flag is set on any rank."""
        return self.any_of(flag)[0]

    def any_of(self, *flags: bool) -> tuple[bool, ...]:
        """Tell of each flag whether it is set on any rank."""
        if self.world == 1:
            return flags
        return tuple(map(bool, self.sum(torch.tensor(flags, dtype=torch.int64, device=self.device)).tolist()))

    def all(self, flag: bool) -> bool:
        """Tell whether the flag is set on every rank."""
        return not self.any(not flag)

    def broadcast(self, content: bytes | None, source: int = 0) -> bytes | None:
        """Hand what one rank has, bytes or nothing, to every rank."""
        if self.world == 1:
            return content
        size = torch.tensor([-1 if content is None else len(content)], device=self.device)
        dist.broadcast(size, src=source)
        if size.item() < 0:
            return None
        data = torch.empty(int(size.item()), dtype=torch.uint8)
        if content is not None:
            data.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
        data = data.to(self.device)
        dist.broadcast(data, src=source)
        return data.cpu().numpy().tobytes()

    def barrier(self) -> None:
        """Wait until every rank has come here."""
        if self.world > 1:
            dist.barrier()


@contextlib.contextmanager
def join(environ: Mapping[str, str]) -> Iterator[Ranks]:
    """Join the process group that the environment describes as torchrun's does, and leave it at the end."""
    world = int(environ.get("WORLD_SIZE", "1"))
    local_rank = int(environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local_rank) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    ranks = Ranks(
        rank=int(environ.get("RANK", "0")),
        local_rank=local_rank,
        world=world,
        local_world=int(environ.get("LOCAL_WORLD_SIZE", "1")),
        device=device,
    )
    if world == 1:
        yield ranks
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    bound = environ.get(SOCKET_VARIABLE)
    # By it all ranks find one another: the first of them has it, or torchrun.
    store = dist.TCPStore(  # type: ignore[attr-defined] # public, and documented
        environ["MASTER_ADDR"],
        int(environ["MASTER_PORT"]),
        world,
        is_master=ranks.is_first and environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True",
        timeout=_TIMEOUT,
        master_listen_fd=int(bound) if bound else None,
    )
    dist.init_process_group(backend, timeout=_TIMEOUT, store=store, rank=ranks.rank, world_size=world)
    try:
        yield ranks
    finally:
        # After a failure peers may be waiting for this rank in a collective: leaving is what ends their wait.
        with contextlib.suppress(RuntimeError):
            dist.destroy_process_group()
