"""Several ranks and hosts on one pipe, over real sockets; ranks are threads where a process would show no more."""

import gzip
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from twofold.contract.channels import Channel
from twofold.errors import ConfigError, DataError, PlatformError
from twofold.formats import aialgs
from twofold.stream.pipe import Batch, PipeLoader

Loaders = Callable[..., list[PipeLoader]]

RANK = """
import sys
from pathlib import Path
from twofold.contract.channels import Channel
from twofold.stream.pipe import PipeLoader

folder, rank, world = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
channel = Channel(name="train", path=folder / "train", mode="Pipe")
loader = PipeLoader(
    channel, 7, rank=rank, world=world, local_rank=rank, local_world=world, sockets=folder, wait_seconds=60
)
for epoch in range(2):
    for batch in loader:
        print(epoch, *(batch["label"].flatten().int().tolist() if batch else []), flush=True)
"""


def records(first: int, last: int) -> bytes:
    return b"".join(
        aialgs.encode({"features": np.full(4, i, np.float32), "label": np.array([i], np.float32)})
        for i in range(first, last)
    )


def write(path: Path, data: bytes) -> None:
    """Write a FIFO in a thread."""
    os.mkfifo(path)

    def work() -> None:
        try:
            path.write_bytes(data)
        except BrokenPipeError:
            return

    threading.Thread(target=work, daemon=True).start()


@pytest.fixture
def loaders(tmp_path: Path) -> Iterator[Callable[..., list[PipeLoader]]]:
    """Make all ranks of one host."""
    made: list[PipeLoader] = []

    def make(world: int, folder: Path = tmp_path, **options: float) -> list[PipeLoader]:
        channel = Channel(name="train", path=tmp_path / "train", mode="Pipe")
        for rank in range(world):
            ranks = {"rank": rank, "world": world, "local_rank": rank, "local_world": world}
            made.append(PipeLoader(channel, 7, sockets=folder, **ranks, **options))  # type: ignore[arg-type]
        return made

    yield make
    for loader in made:
        loader.close()


def together(tasks: list[Callable[[], object]]) -> list[object]:
    """Run each in a thread of its own; give its result, or its error."""

    def attempt(task: Callable[[], object]) -> object:
        try:
            return task()
        except (DataError, PlatformError, ConfigError) as error:
            return error

    with ThreadPoolExecutor(len(tasks)) as threads:
        return list(threads.map(attempt, tasks))


def labels(batches: list[Batch]) -> list[list[int]]:
    return [batch["label"].flatten().int().tolist() if batch else [] for batch in batches]


def merged(parts: list[list[list[int]]]) -> list[list[int]]:
    """Global batches of the ranks' shares."""
    assert len({len(part) for part in parts}) == 1
    return [list(chain(*shares)) for shares in zip(*parts, strict=True)]


def steps(total: int, size: int) -> list[list[int]]:
    return [list(range(start, min(start + size, total))) for start in range(0, total, size)]


@pytest.mark.slow
def test_ranks_as_processes_have_the_batches_of_one(tmp_path: Path) -> None:
    write(tmp_path / "train_0", records(0, 40))
    write(tmp_path / "train_1", records(0, 12))
    command = [sys.executable, "-c", RANK, str(tmp_path)]
    ranks = [subprocess.Popen([*command, str(rank), "3"], stdout=subprocess.PIPE, text=True) for rank in range(3)]
    lines = [rank.communicate(timeout=100)[0].splitlines() for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0, 0]
    for epoch, total in enumerate((40, 12)):
        parts = [[list(map(int, line.split()[1:])) for line in mine if line.startswith(str(epoch))] for mine in lines]
        assert merged(parts) == steps(total, 7)


@pytest.mark.parametrize("world", [1, 2, 5])
def test_batches_do_not_depend_on_ranks(tmp_path: Path, world: int, loaders: Loaders) -> None:
    write(tmp_path / "train_0", records(0, 31))
    ranks = loaders(world)
    parts = together([lambda loader=loader: labels(list(loader)) for loader in ranks])
    assert merged(parts) == steps(31, 7)  # type: ignore[arg-type]


def test_ranks_agree_on_what_they_read(tmp_path: Path, loaders: Loaders) -> None:
    """Rank 0 tells the others as much of a pass as shows its header and which columns are text."""
    lines = b"".join(b"%d,%s\n" % (i, b"seven" if i == 700 else b"7") for i in range(2000))
    write(tmp_path / "train_0", gzip.compress(b"label,word\n" + lines))
    parts = together([lambda loader=loader: list(loader) for loader in loaders(3)])
    assert merged([labels(part) for part in parts]) == steps(2000, 7)  # type: ignore[arg-type]
    words = [word for part in parts for batch in part for word in batch["word"]]  # type: ignore[attr-defined]
    assert sorted(words) == sorted(["7"] * 1999 + ["seven"])


def test_all_ranks_leave_a_pass_early_and_begin_the_next(tmp_path: Path, loaders: Loaders) -> None:
    write(tmp_path / "train_0", records(0, 500) * 100)
    write(tmp_path / "train_1", records(70, 84))

    def run(loader: PipeLoader) -> list[list[int]]:
        batches = iter(loader)
        first = labels([next(batches)])
        batches.close()  # type: ignore[attr-defined]
        loader.end_epoch()
        return first + labels(list(loader))

    parts = together([lambda loader=loader: run(loader) for loader in loaders(3)])
    assert merged(parts) == [list(range(7)), list(range(70, 77)), list(range(77, 84))]  # type: ignore[arg-type]


def test_damage_reaches_every_rank(tmp_path: Path, loaders: Loaders) -> None:
    write(tmp_path / "train_0", records(0, 20)[:-3])
    found = together([lambda loader=loader: list(loader) for loader in loaders(3)])
    assert [type(error) for error in found] == [DataError] * 3
    assert all("record 19 at byte" in str(error) for error in found)


def test_rank_that_goes_is_noticed(tmp_path: Path, loaders: Loaders) -> None:
    write(tmp_path / "train_0", records(0, 500) * 100)
    first, second = loaders(2, wait_seconds=30)

    def leave() -> None:
        batches = iter(second)
        next(batches)
        batches.close()  # type: ignore[attr-defined]

    found, _ = together([lambda: list(first), leave])
    assert isinstance(found, PlatformError)
    assert "another rank of this host has gone" in str(found)


def test_reader_that_goes_is_noticed(tmp_path: Path, loaders: Loaders) -> None:
    write(tmp_path / "train_0", records(0, 500) * 100)
    first, second = loaders(2, wait_seconds=30)

    def leave() -> None:
        batches = iter(first)
        next(batches)
        batches.close()  # type: ignore[attr-defined]

    _, found = together([leave, lambda: list(second)])
    assert isinstance(found, PlatformError)
    assert "another rank of this host has gone" in str(found)


def test_rank_that_never_comes(tmp_path: Path, loaders: Loaders) -> None:
    first, second = loaders(2, wait_seconds=0.1)
    with pytest.raises(PlatformError, match=r"1 of 2 ranks of this host began pass 0 in 0\.1 s"):
        list(first)
    first.close()
    with pytest.raises(PlatformError, match=r"local rank 0, which reads the pipe, has not come in 0\.1 s"):
        list(second)


def test_socket_whose_name_is_too_long(tmp_path: Path, loaders: Loaders) -> None:
    with pytest.raises(ConfigError, match="too long for a socket"):
        loaders(2, tmp_path / ("x" * 120))


def test_host_with_less_data_takes_part_to_the_end(tmp_path: Path) -> None:
    """Three hosts share a channel by ShardedByS3Key: one has 20 records, one 5, one none."""
    sizes = (20, 5, 0)
    barrier, lock, counts = threading.Barrier(3), threading.Lock(), [0]

    def agree(going: int) -> int:
        with lock:
            counts[0] += going
        barrier.wait(60)
        total = counts[0]
        if barrier.wait(60) == 0:
            counts[0] = 0
        barrier.wait(60)
        return total

    def run(host: int) -> list[list[int]]:
        folder = tmp_path / str(host)
        folder.mkdir()
        write(folder / "train_0", records(0, sizes[host]))
        channel = Channel(name="train", path=folder / "train", mode="Pipe", distribution="ShardedByS3Key")
        return labels(list(PipeLoader(channel, 9, rank=host, world=3, agree=agree)))

    parts = together([lambda host=host: run(host) for host in range(3)])
    assert parts[0] == steps(20, 3)
    assert parts[1] == [*steps(5, 3), *[[]] * 5]
    assert parts[2] == [[]] * 7


def test_hosts_with_all_data_divide_each_batch(tmp_path: Path) -> None:
    def run(host: int) -> list[list[int]]:
        folder = tmp_path / str(host)
        folder.mkdir()
        write(folder / "train_0", records(0, 25))
        channel = Channel(name="train", path=folder / "train", mode="Pipe")
        return labels(list(PipeLoader(channel, 9, rank=host, world=2)))

    parts = together([lambda host=host: run(host) for host in range(2)])
    assert merged(parts) == steps(25, 9)  # type: ignore[arg-type]


def test_program_ends_though_a_pass_is_open(tmp_path: Path) -> None:
    """The thread that reads ahead waits for a writer that says no more; that must not keep the program."""
    path = tmp_path / "train_0"
    os.mkfifo(path)
    program = RANK.replace(
        "for epoch in range(2):", "batches = iter(loader)\nnext(batches)\nsys.exit(7)\nfor epoch in []:"
    )
    ended = threading.Event()

    def work() -> None:
        with path.open("wb", buffering=0) as fifo:
            fifo.write(records(0, 7))
            ended.wait(100)

    threading.Thread(target=work, daemon=True).start()
    try:
        done = subprocess.run([sys.executable, "-c", program, str(tmp_path), "0", "1"], timeout=50, check=False)
    finally:
        ended.set()
    assert done.returncode == 7
