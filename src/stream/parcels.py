"""Batches over a socket between a program and its forked workers: a tree in JSON, then the bytes of its arrays.

Nothing is pickled, and nothing is put into shared memory, which a container may not have.
"""

import json
import socket
import struct
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

_Bytes: TypeAlias = NDArray[np.uint8]
_LENGTH = struct.Struct("<Q")
_NO_BYTES = "OV"
"""Kinds of numpy's types that are more than their bytes."""


def send(connection: socket.socket, value: Any) -> None:  # noqa: ANN401 - any tree
    """Send a tree of dicts, lists and tuples of tensors, arrays, numbers, text and bytes.

    Raises:
        TypeError: something else is in it; nothing has been sent then.
        OSError: the other side has gone.
    """
    buffers: list[memoryview] = []
    tree = json.dumps(_plain(value, buffers)).encode()
    connection.sendall(_LENGTH.pack(len(tree)) + tree)
    for buffer in buffers:
        connection.sendall(buffer)


def receive(connection: socket.socket) -> Any:  # noqa: ANN401 - any tree
    """Receive what `send` has sent.

    Raises:
        EOFError: the other side has gone.
        OSError: the same.
    """
    (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    return _value(json.loads(_exactly(connection, length)), connection)


def _plain(value: Any, buffers: list[memoryview]) -> Any:  # noqa: ANN401 - any tree
    """Describe a value in JSON: one that JSON has stands for itself, any other is a list with its kind in front."""
    if value is None or (isinstance(value, str | bool | int | float) and not isinstance(value, np.generic)):
        return value
    if isinstance(value, torch.Tensor):
        buffers.append(_tensor_bytes(value).data)
        return ["tensor", str(value.dtype).removeprefix("torch."), list(value.shape)]
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind not in _NO_BYTES:
        buffers.append(_array_bytes(np.ascontiguousarray(value)).data)
        return ["array" if isinstance(value, np.ndarray) else "scalar", value.dtype.str, list(value.shape)]
    if isinstance(value, bytes):
        buffers.append(memoryview(value))
        return ["bytes", len(value)]
    if type(value) in (list, tuple):
        return [type(value).__name__, [_plain(item, buffers) for item in value]]
    if type(value) is dict and all(isinstance(name, str) for name in value):
        return ["dict", {name: _plain(item, buffers) for name, item in value.items()}]
    raise TypeError(
        f"found {_described(value)}, which cannot go to or come from a worker process. Expected dicts with names, "
        f"lists and tuples of tensors on the CPU, arrays of numbers or text, numbers, text and bytes: return these, or "
        f"use workers=0."
    )


def _described(value: Any) -> str:  # noqa: ANN401 - any value
    kind = type(value)
    return f"an object of type {kind.__module__}.{kind.__qualname__}"


def _tensor_bytes(tensor: torch.Tensor) -> _Bytes:
    if tensor.device.type != "cpu" or tensor.layout is not torch.strided:
        raise TypeError(
            f"found a tensor on {tensor.device} of layout {tensor.layout}, which cannot go to or come from a worker "
            f"process. Expected a dense one on the CPU: move it to the device in the training loop."
        )
    content: _Bytes = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy()
    return content


def _array_bytes(array: NDArray[Any]) -> _Bytes:
    content: _Bytes = array.reshape(-1).view(np.uint8)
    return content


def _value(plain: Any, connection: socket.socket) -> Any:  # noqa: ANN401 - any tree
    if not isinstance(plain, list):
        return plain
    kind, *rest = plain
    if kind == "dict":
        return {name: _value(item, connection) for name, item in rest[0].items()}
    if kind in {"list", "tuple"}:
        items = [_value(item, connection) for item in rest[0]]
        return items if kind == "list" else tuple(items)
    if kind == "bytes":
        return _exactly(connection, rest[0])
    dtype, shape = rest
    if kind == "tensor":
        tensor = torch.empty(shape, dtype=getattr(torch, dtype))
        _fill(connection, _tensor_bytes(tensor))
        return tensor
    array = np.empty(shape, dtype=dtype)
    _fill(connection, _array_bytes(array))
    return array if kind == "array" else array[()]


def _exactly(connection: socket.socket, size: int) -> bytes:
    content = np.empty(size, dtype=np.uint8)
    _fill(connection, content)
    return content.tobytes()


def _fill(connection: socket.socket, memory: _Bytes) -> None:
    view = memory.data
    while view:
        received = connection.recv_into(view)
        if not received:
            raise EOFError
        view = view[received:]
