"""Ranks that train for real and can be killed at a chosen moment; torch is imported once, and ranks are forked.

Each line on stdin is a run, answered on stdout by its exit code once all of its processes are gone:

    {"trees": ["/tmp/ml"], "per_host": 2, "log": "/tmp/log", "moment": {"at": "fsync", "rank": 1, "count": 3}}

Each tree is a host. At the moment all ranks of all hosts are killed: `{"after_s": 0.5}` after training began, or where
a rank comes to a place for the count-th time: "step", "copy", "write" (half of the file is there), "fsync", "replace",
"replaced", "unlink". At "full" it lives on, and files of this rank cannot grow in that call.
"""

import contextlib
import json
import logging
import os
import resource
import select
import signal
import sys
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
from twofold.contract import logs
from twofold.contract.job import read_training_job
from twofold.contract.paths import Paths
from twofold.train import checkpoint_files, checkpoint_state, loop, program
from twofold.train.ranks import Ranks


def die():
    os.killpg(0, signal.SIGKILL)


@contextlib.contextmanager
def files_of_at_most(size):
    """As a full disk does, fail writes beyond so many bytes; Python ignores the signal that comes with it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def arm(at, count):
    """Die where a call to `at` is the count-th one."""
    owner, name = {
        "step": (loop.Trainer, "_step"),
        "copy": (checkpoint_state.Copying, "finish"),
        "write": (checkpoint_files, "write_tensors"),
        "full": (checkpoint_files, "write_tensors"),
        "fsync": (os, "fsync"),
        "replace": (Path, "replace"),
        "replaced": (Path, "replace"),
        "unlink": (Path, "unlink"),
    }[at]
    real, left = getattr(owner, name), [count]

    def counted(*arguments, **options):
        left[0] -= 1
        if left[0] == 0 and at == "full":
            with files_of_at_most(100):
                return real(*arguments, **options)
        if left[0] == 0 and at == "write":
            real(*arguments, **options)
            path = Path(arguments[1])
            os.truncate(path, path.stat().st_size // 2)
        if left[0] == 0 and at == "replaced":
            real(*arguments, **options)
        if left[0] == 0:
            die()
        return real(*arguments, **options)

    setattr(owner, name, counted)


def tell_when_it_trains(held):
    """Write a byte when the loop begins: what comes before is import and data, where there is nothing to lose."""
    fit = loop.Trainer.fit

    def telling(*arguments):
        os.write(held, b"-")
        return fit(*arguments)

    loop.Trainer.fit = telling


def train(run, rank, store, scratch, held):
    """Be one rank."""
    if rank == 0:
        tell_when_it_trains(held)
    per_host, hosts = run["per_host"], len(run["trees"])
    host, local_rank = divmod(rank, per_host)
    moment = run.get("moment") or {}
    if moment.get("rank") == rank:
        arm(moment["at"], moment["count"])
    world = per_host * hosts
    if world > 1:
        dist.init_process_group("gloo", store=dist.FileStore(store, world), rank=rank, world_size=world)
    logs.configure(logging.INFO if rank == 0 else logging.WARNING, rank=rank)
    ranks = Ranks(rank=rank, local_rank=local_rank, world=world, local_world=per_host)
    job = read_training_job(Paths(Path(run["trees"][host])), {})
    own = Path(scratch, f"host-{host}")
    own.mkdir(exist_ok=True)
    program.run(job, ranks, own)
    # Peers may still be talking to this rank.
    ranks.barrier()


def lead(run, scratch, held):
    """Fork all ranks; when one fails the others end with it."""
    children = []
    for rank in range(run["per_host"] * len(run["trees"])):
        children.append(os.fork())
        if children[-1] == 0:
            code = 1
            try:
                train(run, rank, f"{scratch}/store", scratch, held)
                code = 0
            except BaseException as error:  # noqa: BLE001 - nothing of the parent may run in a child
                print(f"rank {rank}: {type(error).__name__}: {error}", flush=True)
            program.leave(code)
    while children:
        pid, status = os.wait()
        children.remove(pid)
        if status:
            for other in children:
                os.kill(other, signal.SIGKILL)
            return 1
    return 0


def start(run):
    """Run in a session of its own, and return its exit code when the last of its processes is gone."""
    with tempfile.TemporaryDirectory() as scratch:
        alive, held = os.pipe()
        leader = os.fork()
        if leader == 0:
            os.close(alive)
            os.setsid()
            os.write(held, b"-")
            sink = os.open(run["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.dup2(sink, 1)
            os.dup2(sink, 2)
            os._exit(lead(run, scratch, held))
        os.close(held)
        os.read(alive, 1)
        after = (run.get("moment") or {}).get("after_s")
        if after is not None and os.read(alive, 1) and not select.select([alive], [], [], after)[0]:
            os.killpg(leader, signal.SIGKILL)
        while os.read(alive, 1):
            pass
        os.close(alive)
        return os.waitstatus_to_exitcode(os.waitpid(leader, 0)[1])


if __name__ == "__main__":
    torch.set_num_threads(1)
    for line in sys.stdin:
        print(start(json.loads(line)), flush=True)
