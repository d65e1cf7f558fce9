"""Classes of faults that nobody raised on purpose: errors as the kernel, Python and torch raise them."""

import errno
import importlib
import json
import socket

import pytest
import torch
from twofold.contract.causes import cause_of, cause_of_text, is_users, users_frame
from twofold.errors import DataError, ModelError, NetworkError


def raised(error, cause=None):
    try:
        raise error from cause
    except type(error) as caught:
        return caught


def happened(function, *arguments):
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is what is tested
        function(*arguments)
    # What a user's file is in a test is this one: without its line the error came through libraries alone.
    return caught.value.with_traceback(caught.tb.tb_next)


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (MemoryError(), "memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), "memory"),
        (RuntimeError("CUDA error: out of memory"), "memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate"), "memory"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."), "memory"),
        (RuntimeError("unable to write to file </torch_7_1>: No space left on device (28)"), "shared memory"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error."), "shared memory"),
        (OSError(errno.ENOSPC, "No space left on device", "/dev/shm/x"), "shared memory"),
        (OSError(errno.ENOSPC, "No space left on device", "/opt/ml/model/x"), "disk"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "disk"),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), "network"),
        (socket.gaierror(-2, "Name or service not known"), "network"),
        (TimeoutError("timed out"), "network"),
        (torch.distributed.DistNetworkError("The client socket has timed out"), "network"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "network"),
        (OSError(errno.EIO, "Input/output error"), "platform"),
        (ModuleNotFoundError("No module named 'lightgbm'"), "user code"),
        (KeyError("x"), "user code"),
        (DataError("x"), "data"),
        (NetworkError("x"), "network"),
    ],
)
def test_class(error, name):
    assert cause_of(raised(error)).name == name


def test_a_full_disk_behind_an_error_of_another_type_is_a_full_disk():
    assert cause_of(raised(ValueError("no"), OSError(errno.ENOSPC, "full"))).name == "disk"


def test_through_libraries_alone_it_is_not_the_users_code():
    error = happened(json.loads, "{")
    assert users_frame(error) is None
    assert cause_of(error).name == "internal"


def test_our_word_for_a_failure_inside_the_users_code_keeps_their_line():
    error = raised(ModelError("net.py:build failed"), raised(KeyError("x")))
    assert cause_of(error).name == "user code"
    assert users_frame(error).name == "raised"


def test_a_missing_module_has_advice():
    assert "requirements.txt" in cause_of(happened(importlib.import_module, "no_such_module")).hint


@pytest.mark.parametrize("file", [json.__file__, torch.__file__, "<frozen runpy>", cause_of.__code__.co_filename])
def test_files_that_are_not_the_users(file):
    assert not is_users(file)
    assert is_users(__file__)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("ValueError: boom", "user code"),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'x'", "user code"),
        ("my_package.errors.Strange", "user code"),
        ("ModuleNotFoundError: No module named 'lightgbm'", "user code"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", "memory"),
        ("MemoryError", "memory"),
        ("RuntimeError: DataLoader worker (pid 7) is killed by signal: Bus error.", "shared memory"),
        ("OSError: [Errno 28] No space left on device: '/opt/ml/model/x'", "disk"),
        ("ConnectionRefusedError: [Errno 111] Connection refused", "network"),
        ("torch.distributed.DistNetworkError: The client socket has timed out", "network"),
    ],
)
def test_class_of_what_a_traceback_says(text, name):
    assert cause_of_text(text).name == name
