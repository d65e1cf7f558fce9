"""Transforms in worker processes: the same batches as without, and an end to everything that can happen to them."""

import ast
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from twofold.errors import ConfigError, PlatformError
from twofold.stream.catalog import open_dataset
from twofold.stream.loader import StreamingLoader
from twofold.stream.workers import TransformError

PROGRAM = """
import os, sys, time
from twofold import StreamingLoader

def transform(batch):
    time.sleep(SECONDS)
    return {**batch, "pid": os.getpid()}

batches = iter(StreamingLoader(sys.argv[1], 20, transform=transform, workers=2))
print([next(batches)["pid"] for _ in range(4)], flush=True)
LAST
"""


@pytest.fixture
def dataset(tmp_path, host, write_recordio):
    for number, (first, last) in enumerate(((0, 70), (70, 71), (71, 200))):
        write_recordio(tmp_path / "train" / f"{number}.rec", first, last)
    return open_dataset(tmp_path / "train", channel="train", host=host)


def doubled(batch):
    return {"twice": batch["features"] * 2, "label": batch["label"], "words": [str(n) for n in batch["label"].tolist()]}


def noisy(batch):
    noise = [torch.rand(3), torch.from_numpy(np.random.random(3)), torch.tensor([random.random()])]  # noqa: NPY002
    return {"noise": torch.cat(noise)}


def epochs(dataset, transform, workers, count=2, **options):
    loader = StreamingLoader(dataset, 24, seed=4, transform=transform, workers=workers, **options)
    return [batch for _ in range(count) for batch in loader]


def same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name, value in other.items():
            assert torch.equal(one[name], value) if isinstance(value, torch.Tensor) else one[name] == value


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_any_number_of_workers_gives_the_same_batches(dataset, workers):
    same(epochs(dataset, doubled, workers), epochs(dataset, doubled, 0))


def test_random_numbers_belong_to_the_batch_and_not_to_the_worker(dataset):
    expected = epochs(dataset, noisy, 1)
    same(epochs(dataset, noisy, 3), expected)
    assert len({tuple(batch["noise"].tolist()) for batch in expected}) == len(expected)
    resumed = StreamingLoader(dataset, 24, seed=4, transform=noisy, workers=2)
    resumed.load_state_dict({**resumed.state_dict(), "step": 5})
    same(list(resumed), expected[5:9])


def test_the_programs_own_random_numbers_are_left_alone(dataset):
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    epochs(dataset, noisy, 2, count=1)
    assert torch.equal(torch.rand(2), expected)


def test_state_counts_what_was_handed_out(dataset):
    loader = StreamingLoader(dataset, 24, transform=doubled, workers=2)
    batches = iter(loader)
    for _ in range(3):
        next(batches)
    assert loader.state_dict()["step"] == 3
    batches.close()
    assert (loader.epoch, loader.step) == (0, 3)
    assert len(list(loader)) == len(loader) - 3
    assert (loader.epoch, loader.step) == (1, 0)


def test_a_worker_is_the_program_as_it_is_when_a_pass_begins(dataset):
    at = {"epoch": 0}
    loader = StreamingLoader(dataset, 100, transform=lambda batch: {"epoch": at["epoch"], "n": len(batch)}, workers=1)
    assert {batch["epoch"] for batch in loader} == {0}
    at["epoch"] = 1
    assert {batch["epoch"] for batch in loader} == {1}


ODD = {
    "bfloat": torch.arange(6, dtype=torch.bfloat16).reshape(2, 3),
    "scalar": torch.tensor(3),
    "empty": torch.zeros(0, 4),
    "turned": torch.arange(6.0).reshape(2, 3).T,
    "array": np.arange(6, dtype=">i2").reshape(3, 2)[::-1],
    "number": np.float32(0.5),
    "names": np.array(["a", "längst"]),
    "tree": {"list": [1, 2.5, None, True, "\ud800é", b"\0bytes", float("inf")], "tuple": (np.zeros(0),)},
}


def test_what_a_transform_may_return(dataset):
    [batch, _] = StreamingLoader(dataset, 100, transform=lambda _: ODD, workers=1)
    assert repr(batch) == repr(ODD)
    assert not batch["bfloat"].requires_grad
    batch["array"][0] = 7  # its memory is the program's own


@pytest.mark.parametrize("value", [object(), {1: 2}, {1, 2}, np.array([object()]), torch.zeros(2).to_sparse()])
def test_what_cannot_come_back_is_named(dataset, value):
    with pytest.raises(TypeError, match=r"found (an object of type|a tensor on).*cannot.*use workers=0|on the CPU"):
        list(StreamingLoader(dataset, 100, transform=lambda _: {"x": value}, workers=1))


class OwnError(Exception):
    def __init__(self, code, why):
        super().__init__(code, why)


class HardToMake(Exception):
    def __init__(self, first, *, second):
        super().__init__(first)
        self.second = second


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (ValueError("no such colour"), ValueError, "no such colour"),
        (FileNotFoundError(2, "No such file", "a.txt"), FileNotFoundError, "No such file: 'a.txt'"),
        (OwnError(3, "because"), OwnError, "3, 'because'"),
        (HardToMake("one", second=2), TransformError, "transform has failed: .*HardToMake: one"),
        (KeyError(object()), TransformError, "transform has failed: KeyError"),
        (SystemExit(3), SystemExit, "3"),
    ],
)
def test_an_error_of_the_transform_comes_with_its_own_traceback(dataset, error, kind, message):
    def failing(batch):
        if 100 in batch["label"]:
            raise error
        return batch

    loader = StreamingLoader(dataset, 10, transform=failing, workers=2)
    with pytest.raises(kind, match=message) as caught:
        list(loader)
    expected = [100 in batch["label"] for batch in StreamingLoader(dataset, 10)].index(True)
    assert loader.step == expected, "all batches before it came"
    trace = str(caught.value.__cause__)
    assert f'{__file__}", line' in trace
    assert "in failing\n    raise error" in trace


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), r"was killed by SIGKILL \(signal 9\).*memory"),
        (lambda: os._exit(3), "ended with exit code 3"),
    ],
)
def test_a_worker_that_dies_is_an_error_and_no_hang(dataset, end, message):
    def mortal(batch):
        if 100 in batch["label"]:
            end()
        return batch

    with pytest.raises(PlatformError, match=f"A worker of the loader {message}"):
        list(StreamingLoader(dataset, 10, transform=mortal, workers=2))


def test_a_signal_to_the_whole_group_is_the_programs_alone(dataset):
    def signalled(batch):
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
        return batch

    same(epochs(dataset, signalled, 2), epochs(dataset, None, 0))


def test_what_a_transform_prints_is_printed_once(dataset, capfd):
    print("before", end="")
    list(StreamingLoader(dataset, 100, transform=lambda batch: print("within") or batch, workers=2))
    printed = capfd.readouterr().out
    assert (printed.count("before"), printed.count("within")) == (1, 2)  # what two workers print may share a line


@pytest.mark.parametrize(("workers", "transform"), [(-1, doubled), (2, None)])
def test_workers_with_nothing_to_do_are_refused(dataset, workers, transform):
    with pytest.raises(ConfigError, match=f"workers is {workers}"):
        StreamingLoader(dataset, 10, workers=workers, transform=transform)


def alive(pids):
    """Those of some processes that have not ended; a zombie has."""
    stats = [(pid, Path(f"/proc/{pid}/stat")) for pid in pids]
    return [pid for pid, path in stats if path.exists() and path.read_text().rpartition(")")[2].split()[0] != "Z"]


def test_workers_end_with_an_iterator_that_is_dropped(dataset):
    loader = StreamingLoader(dataset, 10, transform=lambda batch: {**batch, "pid": os.getpid()}, workers=3)
    batches = iter(loader)
    pids = {next(batches)["pid"] for _ in range(12)}
    assert alive(pids)
    assert os.getpid() not in pids
    batches.close()
    assert not alive(pids)


@pytest.mark.parametrize(
    ("last", "seconds", "code"),
    [("sys.exit(7)", 0.01, 7), ("os.kill(os.getpid(), 9)", 0.01, -9), ("os.kill(os.getpid(), 9)", 0.5, -9)],
    ids=["ends", "killed", "killed-while-they-work"],
)
def test_workers_end_with_the_program(tmp_path, write_recordio, last, seconds, code):
    write_recordio(tmp_path / "train" / "a.rec", 0, 200)
    program = PROGRAM.replace("SECONDS", str(seconds)).replace("LAST", last)
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "train")], stdout=subprocess.PIPE, timeout=100, check=False
    )
    assert done.returncode == code
    pids, deadline = set(ast.literal_eval(done.stdout.decode())), time.monotonic() + 60
    while alive(pids):
        assert time.monotonic() < deadline, f"{alive(pids)} live on"
        time.sleep(0.05)


def shared_memory() -> set[str]:
    """Return what this process has open or mapped below /dev/shm."""
    # Not readlink: the descriptor of the listing itself is closed by then.
    opened = {os.path.realpath(path) for path in Path("/proc/self/fd").iterdir()}
    mapped = {line.split(maxsplit=5)[-1] for line in Path("/proc/self/maps").read_text().splitlines()}
    return {name for name in opened | mapped if name.startswith("/dev/shm")}


def test_nothing_is_put_into_shared_memory(dataset):
    def look(_batch):
        return {"seen": "\n".join(shared_memory())}

    # Workers are forks: what another test has left in this process is theirs too.
    with tempfile.TemporaryFile(dir="/dev/shm"):
        before = shared_memory()
        found = [batch["seen"] for batch in StreamingLoader(dataset, 50, transform=look, workers=2)]
    assert before
    assert [set(seen.splitlines()) - before for seen in found] == [set()] * 4
