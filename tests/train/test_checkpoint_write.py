import errno
import fcntl
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from safetensors.torch import load_file
from twofold.train.checkpoint_manifest import is_whole
from twofold.train.checkpoint_write import _NAMES, Pauses, undisturbed, write_tensors


@pytest.mark.parametrize("dtype", [*_NAMES, None])
def test_safetensors_reads_what_is_written(tmp_path, dtype):
    tensors = {str(kind): torch.ones(3, 5).to(kind) for kind in ([dtype] if dtype else _NAMES)}
    tensors |= {"scalar": torch.tensor(7), "empty": torch.zeros(0, 4), "odd": torch.ones(3, dtype=torch.bool)}
    stored = write_tensors(tensors, tmp_path / "file", Pauses())
    assert is_whole(tmp_path / "file", stored)
    read = load_file(tmp_path / "file")
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert (read[name].dtype, read[name].shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(read[name].reshape(-1).view(torch.uint8), tensor.reshape(-1).view(torch.uint8))


def test_what_is_longer_than_a_window_is_written_past_the_page_cache(tmp_path, monkeypatch):
    direct, write = [], os.write

    def noting(descriptor, content):
        direct.append(bool(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT))
        return write(descriptor, content)

    monkeypatch.setattr(os, "write", noting)
    tensors = {"a": torch.randn(3 << 20), "b": torch.randn(5), "c": torch.arange(777_777)}
    assert is_whole(tmp_path / "file", write_tensors(tensors, tmp_path / "file", Pauses()))
    read = load_file(tmp_path / "file")
    assert all(torch.equal(read[name], tensor) for name, tensor in tensors.items())
    assert direct == [True] * 3


@pytest.mark.parametrize("refused", ["open", "write", "write after a short one"])
def test_a_file_system_without_direct_writes_is_written_to_as_usual(tmp_path, monkeypatch, refused):
    opened, write, written = os.open, os.write, []

    def opening(path, flags, *mode, **options):
        if refused == "open" and flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return opened(path, flags, *mode, **options)

    def writing(descriptor, content):
        if refused == "write after a short one" and not written:
            written.append(write(descriptor, content[:4096]))
            return written[0]
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        written.append(write(descriptor, content))
        return written[-1]

    monkeypatch.setattr(os, "open", opening)
    monkeypatch.setattr(os, "write", writing)
    stored = write_tensors({"a": torch.arange(3 << 20)}, tmp_path / "file", Pauses())
    assert is_whole(tmp_path / "file", stored)
    assert sum(written) == stored.size
    assert torch.equal(load_file(tmp_path / "file")["a"], torch.arange(3 << 20))


def test_waiting_for_a_cpu_that_others_have_is_not_counted():
    """Else training on all cores would make a last checkpoint, before which it stops, seem too slow to try."""
    cores = os.sched_getaffinity(0)
    rival = subprocess.Popen([sys.executable, "-c", "while True: pass"])

    def work():
        os.sched_setaffinity(0, {min(cores)})
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        begun, clock, cpu = undisturbed(), time.monotonic(), time.thread_time()
        while time.monotonic() - clock < 1:
            pass
        return undisturbed() - begun, time.thread_time() - cpu

    try:
        os.sched_setaffinity(rival.pid, {min(cores)})
        with ThreadPoolExecutor(1) as thread:
            counted, used = thread.submit(work).result()
    finally:
        rival.kill()
        rival.wait()
    assert used < 0.5
    assert counted < used + 0.1


@pytest.mark.parametrize(
    ("until", "worked", "rested"), [(60, 0.05, 0.1), (0.03, 60, 0.03), (-1, 60, 0)], ids=["long", "short", "over"]
)
def test_a_rest_is_by_what_was_worked_and_ends_in_time(until, worked, rested):
    pauses = Pauses(time.monotonic() + until)
    pauses.rest(worked)
    assert rested <= pauses.seconds + 0.005
    assert pauses.seconds < rested + 1


def test_who_hurries_ends_a_rest_and_lets_none_follow():
    pauses = Pauses(time.monotonic() + 600)
    with ThreadPoolExecutor(1) as thread:
        resting = thread.submit(pauses.rest, 300)
        pauses.hurry()
        resting.result(timeout=10)
    pauses.rest(300)
    assert pauses.seconds < 10
