"""Tar files of samples, as WebDataset has them: members with the same name up to the first dot are one sample.

    train/0001.jpg  train/0001.cls   ->   {"__key__": "train/0001", "jpg": pixels, "cls": 3}

Members of a sample stand side by side. Folders, links, devices, hidden files (`._a.jpg` of a Mac) and names without a
dot are no data: they are left out and counted by reason.

The extension says what a member is; of `seg.png` it is the last part. Source: https://github.com/webdataset/webdataset.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from ..errors import FormatError
from . import images, npy, tar
from .json_values import numeric
from .layout import Sample, Value

KEY = "__key__"
"""Field that holds a sample's key."""
MAX_FIELDS = 1024
"""Most members of one sample."""

_REASONS = {ord("1"): "hard link", ord("2"): "symbolic link", ord("5"): "folder"}
_REASONS |= dict.fromkeys(b"346", "device or pipe")
_IMAGES = frozenset(suffix[1:] for suffix in images.SUFFIXES)
_WHOLE_NUMBERS = frozenset({"cls", "cls2", "index", "id"})
_ENCODERS: Mapping[str, Callable[[NDArray[Any]], bytes]] = {
    "jpg": images.encode_jpeg,
    "jpeg": images.encode_jpeg,
    "png": images.encode_png,
    "npy": npy.encode,
}
_TEXT = frozenset({"txt", "text", "transcript"})


@dataclass(frozen=True, slots=True)
class TarIndex:
    """Where the samples of an archive lie."""

    starts: NDArray[np.int64]
    """First byte of each member's content `[members]`."""
    sizes: NDArray[np.int64]
    """Bytes of each member's content `[members]`."""
    extensions: NDArray[np.int32]
    """Each member's place in `names` `[members]`."""
    names: tuple[str, ...]
    """The extensions that occur, in lower case and without the dot, in order of appearance."""
    firsts: NDArray[np.int64]
    """First member of each sample, and the number of members at the end `[samples + 1]`."""
    keys: bytes
    """Keys of all samples, one after the other."""
    key_stops: NDArray[np.int64]
    """Where each key ends in `keys`, after a 0 `[samples + 1]`."""
    skipped: Mapping[str, int]
    """Members that are no data, counted by reason."""

    def __len__(self) -> int:
        """Samples in the archive."""
        return len(self.firsts) - 1

    def key(self, sample: int) -> str:
        """Name that the members of a sample share, folder included."""
        return self.keys[self.key_stops[sample] : self.key_stops[sample + 1]].decode("utf-8", "backslashreplace")

    def members(self, view: memoryview, sample: int) -> dict[str, memoryview]:
        """Content of a sample's members by extension, not copied out of `view`, the whole archive."""
        places = range(int(self.firsts[sample]), int(self.firsts[sample + 1]))
        return {
            self.names[self.extensions[place]]: view[self.starts[place] : self.starts[place] + self.sizes[place]]
            for place in places
        }


def index(buffer: NDArray[np.uint8]) -> TarIndex:
    """Find all samples of an archive.

    Args:
        buffer: the whole archive, e.g. a memory map.

    Raises:
        FormatError: cut short, a broken header, a sparse member, two members of one name, or the members of one sample
            apart from each other; names the member and the byte.
    """
    samples = _Samples()
    for chunk in tar.members(buffer):
        for member in chunk:
            samples.add(member)
    return samples.index()


def decode(key: str, members: Mapping[str, bytes | memoryview], room: images.Room | None = None) -> Sample:
    """Decode a sample's members by their extensions.

    Images become pixels `[height, width, 3]`, `npy` an array, `cls` and its like an int64 scalar, `txt` text, `json` an
    array when it is a number or an even list of numbers, text when it is a string, otherwise the JSON itself as text.
    Members of any other extension stay bytes. `room` says where the pixels of images go.

    Raises:
        FormatError: names the sample and the member.
    """
    sample: Sample = {KEY: key}
    for extension, data in members.items():
        try:
            sample[extension] = _decode(extension.rpartition(".")[2], data, room)
        except FormatError as error:
            raise FormatError(f"sample {key!r}, member .{extension}: {error}") from error
    return sample


def encode(sample: Sample) -> bytes:
    """Write a sample as members, `__key__` first in their names; its bytes depend on nothing but the sample.

    Arrays go as their extension says: pixels for an image, NPY, digits or JSON; text as UTF-8; bytes as they are.

    Raises:
        FormatError: a value that its extension cannot hold.
    """
    key = sample.get(KEY)
    if not isinstance(key, str) or not key or "." in key.rpartition("/")[2] or key.endswith("/"):
        raise FormatError(f"{KEY} is {key!r}, expected a name without a dot, such as 'train/000017'.")
    fields = [(name, value) for name, value in sample.items() if name != KEY]
    return b"".join(tar.encode_member(f"{key}.{name}", _encode(key, name, value)) for name, value in fields)


def _decode(kind: str, data: bytes | memoryview, room: images.Room | None) -> Value:
    if kind in _IMAGES:
        return images.decode(data, room)
    content = bytes(data)
    if kind == "npy":
        return npy.decode(content)
    if kind in _WHOLE_NUMBERS:
        return _whole_number(content)
    if kind == "json":
        return _json(content)
    return _text(content) if kind in _TEXT else content


def _whole_number(content: bytes) -> Value:
    digits = content.strip()
    if not digits.removeprefix(b"-").isdigit() or len(digits) > 18:
        raise FormatError(f"found {digits[:40]!r}, expected a whole number in digits.")
    return np.array(int(digits), np.int64)


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise FormatError(
            f"byte {error.start} is {content[error.start : error.start + 1]!r}, expected text in UTF-8."
        ) from error


def _json(content: bytes) -> Value:
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise FormatError(f"no JSON: {error}. Expected one JSON value in UTF-8.") from error
    if isinstance(value, str):
        return value
    numbers = numeric(value)
    return content.decode() if numbers is None else numbers


def _encode(key: str, name: str, value: Value) -> bytes:
    kind = name.rpartition(".")[2]
    if not isinstance(value, np.ndarray):
        return value.encode() if isinstance(value, str) else value
    if kind in _ENCODERS:
        return _ENCODERS[kind](value)
    if kind in _WHOLE_NUMBERS and value.ndim == 0 and value.dtype.kind in "iu":
        return str(int(value)).encode()
    if kind == "json":
        return orjson.dumps(np.ascontiguousarray(value), option=orjson.OPT_SERIALIZE_NUMPY)
    raise FormatError(
        f"sample {key!r}: .{name} cannot hold an array {list(value.shape)} of {value.dtype}. Call it .npy, or .jpg and "
        f".png for pixels, .cls for a class."
    )


class _Samples:
    """Members on their way into samples."""

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.sizes: list[int] = []
        self.extensions: list[int] = []
        self.names: dict[bytes, int] = {}
        self.firsts: list[int] = []
        self.keys: list[bytes] = []
        self.skipped: Counter[str] = Counter()
        self._key: bytes | None = None

    def add(self, member: tar.Member) -> None:
        """Take one member, in the order of the archive."""
        if member.kind not in tar.DATA:
            self._skip(member)
            return
        folder, slash, base = member.name.rpartition(b"/")
        stem, dot, extension = base.partition(b".")
        if not stem or not dot:
            self.skipped["hidden file" if dot else "name without an extension"] += 1
            return
        key = folder + slash + stem
        name = self.names.setdefault(extension.lower(), len(self.names))
        if key != self._key:
            self._key = key
            self.keys.append(key)
            self.firsts.append(len(self.starts))
        else:
            self._check_new(name, member)
        self.starts.append(member.start)
        self.sizes.append(member.size)
        self.extensions.append(name)

    def index(self) -> TarIndex:
        """All that was added."""
        firsts = np.array([*self.firsts, len(self.starts)], np.int64)
        extensions = np.array(self.extensions, np.int32)
        self._check_together(firsts, extensions)
        return TarIndex(
            starts=np.array(self.starts, np.int64),
            sizes=np.array(self.sizes, np.int64),
            extensions=extensions,
            names=tuple(name.decode("utf-8", "backslashreplace") for name in self.names),
            firsts=firsts,
            keys=b"".join(self.keys),
            key_stops=np.cumsum([0, *map(len, self.keys)], dtype=np.int64),
            skipped=dict(self.skipped),
        )

    def _check_new(self, name: int, member: tar.Member) -> None:
        others = self.extensions[self.firsts[-1] :]
        if name in others:
            raise FormatError(
                f"byte {member.header}: a second member {tar.shown(member.name)} in one sample. Give each its own name."
            )
        if len(others) >= MAX_FIELDS:
            raise FormatError(
                f"byte {member.header}: {tar.shown(member.name)} is member {MAX_FIELDS + 1} of one sample, expected at "
                f"most {MAX_FIELDS}. What tells samples apart must stand before the first dot of the name."
            )

    def _skip(self, member: tar.Member) -> None:
        if member.kind == ord("S"):
            raise FormatError(
                f"byte {member.header}: {tar.shown(member.name)} is a sparse member. Pack it without --sparse."
            )
        self.skipped[_REASONS.get(member.kind, f"type {chr(member.kind)!r}")] += 1

    def _check_together(self, firsts: NDArray[np.int64], extensions: NDArray[np.int32]) -> None:
        """A key may come again, as in archives laid end to end, but not with other extensions than before."""
        if len(set(self.keys)) == len(self.keys):
            return
        before: dict[bytes, tuple[int, frozenset[int]]] = {}
        for sample, key in enumerate(self.keys):
            own = frozenset(extensions[firsts[sample] : firsts[sample + 1]].tolist())
            first, others = before.setdefault(key, (sample, own))
            if others.isdisjoint(own):
                places = [self.starts[firsts[place]] - tar.BLOCK for place in (first, sample)]
                raise FormatError(
                    f"sample {tar.shown(key)}: its members are apart from each other, at bytes {places[0]} and "
                    f"{places[1]}. Pack them side by side: tar --sort=name."
                )
