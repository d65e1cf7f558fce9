"""Writes a safetensors file out of memory that is there already: each byte is touched once, summed up and handed over.

`safetensors.torch.save_file` copies what it writes, and a checksum would read the file again: beside a training step
both cost more than the writing. The layout is that of https://github.com/huggingface/safetensors#format: the length of
the header, the header in JSON, and the tensors without gaps.
"""

import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from .checkpoint_manifest import StoredFile

_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint64: "U64",
    torch.uint32: "U32",
    torch.uint16: "U16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_ALIGNMENT = 8
_CHUNK_BYTES = 1 << 20


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> StoredFile:
    """Write contiguous tensors of the CPU to a file, to the disk, and return its size and checksum.

    Raises:
        OSError: the disk is full or broken.
        KeyError: a tensor has a type that safetensors has not.
    """
    # Large types first: each tensor then begins at a multiple of its type's size.
    ordered = dict(sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0])))
    size = crc32 = 0
    with path.open("wb", buffering=0) as file:
        for part in [_header(ordered), *map(_bytes, ordered.values())]:
            for start in range(0, len(part), _CHUNK_BYTES):
                chunk = part[start : start + _CHUNK_BYTES]
                crc32 = zlib.crc32(chunk, crc32)
                while len(chunk):
                    count = file.write(chunk) or 0
                    size, chunk = size + count, chunk[count:]
        os.fsync(file.fileno())
    return StoredFile(size=size, crc32=crc32)


def _header(tensors: Mapping[str, Tensor]) -> memoryview:
    header, end = {}, 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.nbytes
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return memoryview(len(text).to_bytes(8, "little") + text)


def _bytes(tensor: Tensor) -> memoryview:
    """View a tensor's memory."""
    return memoryview(tensor.reshape(-1).view(torch.uint8).numpy())  # type: ignore[arg-type] # numpy of 3.11 has no Buffer
