"""Samples that are files: members of archives, and images in folders named after their class."""

import bisect
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any

import numpy as np

from ..errors import ConfigError, DataError, FormatError
from ..formats import images, webdataset
from ..stream.files import File, Maps
from ..stream.shards import BadRecords, Columns, collate
from . import shaping
from .options import Options
from .records import block_rows


class Archives:
    """Samples of tar files; members stay as they are unless they have to be decoded."""

    def __init__(self, files: list[File], bad: BadRecords, *, decode: bool, plain: bool) -> None:
        self._files, self._bad, self._decode, self._plain = files, bad, decode, plain
        self._maps = Maps()
        try:
            self._indexes = [webdataset.index(self._maps.map(file)) for file in files]
        except FormatError as error:
            raise DataError(f"An archive of the input: {error}") from error
        self._ends = list(accumulate(len(found) for found in self._indexes))
        self.size = self._ends[-1] if self._ends else 0
        total = sum(file.size for file in files) * (10 if decode else 1)
        self._block = block_rows(total / max(self.size, 1))

    def blocks(self, start: int, stop: int) -> Iterator[tuple[int, Columns]]:
        """Yield samples."""
        return _in_blocks(range(start, stop, self._block), stop, self._sample, self._bad)

    def _sample(self, number: int) -> tuple[str, Callable[[], dict[str, Any]]]:
        place = bisect.bisect_right(self._ends, number)
        file, found = self._files[place], self._indexes[place]
        row = number - (self._ends[place - 1] if place else 0)

        def read() -> dict[str, Any]:
            members = found.members(memoryview(self._maps.map(file)), row)  # type: ignore[arg-type]
            if not self._plain:
                return {webdataset.KEY: found.key(row)} | {name: bytes(data) for name, data in members.items()}
            kept = {name: bytes(d) for name, d in members.items() if shaping.is_image(name) and not self._decode}
            rest = {name: data for name, data in members.items() if name not in kept}
            sample = webdataset.decode(found.key(row), rest)
            return shaping.plain({name: sample.get(name, kept.get(name)) for name in [webdataset.KEY, *members]})  # type: ignore[misc]

        return file.name, read


class Pictures:
    """Images in folders named after their class; files stay as they are unless they have to be decoded."""

    def __init__(self, files: list[File], bad: BadRecords, options: Options) -> None:
        self._files, self._bad, self._kind = files, bad, options.format
        homeless = next((file.name for file in files if "/" not in file.name), None)
        if homeless:
            raise DataError(
                f"The image {homeless} lies in no folder. Expected one folder for each class, such as cat/{homeless}."
            )
        names = [file.name.rpartition("/")[0] for file in files]
        self.classes = tuple(options.classes or sorted(set(names)))
        unknown = sorted(set(names) - set(self.classes))
        if unknown:
            raise ConfigError(f"--classes lacks {', '.join(unknown)[:200]}, a folder of the input. Add it.")
        if options.hosts > 1 and options.sharded and not options.classes:
            raise ConfigError(
                f"This host sees {len(self.classes)} classes, and the other {options.hosts - 1} hosts may see others, "
                f"as each has a part of the images. Expected --classes cat,dog,... (PREPARE_CLASSES) with the names "
                f"of all classes, or S3DataDistributionType=FullyReplicated."
            )
        numbers = {name: number for number, name in enumerate(self.classes)}
        self._labels = [numbers[name] for name in names]
        self.size = len(files)
        total = sum(file.size for file in files) * (10 if self._kind in shaping.BY_STRIDE else 1)
        self._block = block_rows(total / max(self.size, 1))

    def blocks(self, start: int, stop: int) -> Iterator[tuple[int, Columns]]:
        """Yield images."""
        return _in_blocks(range(start, stop, self._block), stop, self._sample, self._bad)

    def _sample(self, number: int) -> tuple[str, Callable[[], dict[str, Any]]]:
        file, label = self._files[number], np.asarray(self._labels[number])
        stem, _, suffix = file.name.rpartition(".")
        folder, slash, base = stem.rpartition("/")
        # In an archive the name ends at the first dot.
        key = folder + slash + base.replace(".", "_")

        def read() -> dict[str, Any]:
            data = _bytes(file)
            if self._kind in shaping.BY_STRIDE:
                return {"__key__": key, "image": images.decode(data), "label": label}
            shaping.check_image(data)
            names = (suffix.lower(), "cls") if self._kind == "tar" else ("image", "label")
            return {"__key__": key, names[0]: data, names[1]: label}

        return file.name, read


def _in_blocks(
    firsts: range, stop: int, sample: Callable[[int], tuple[str, Callable[[], dict[str, Any]]]], bad: BadRecords
) -> Iterator[tuple[int, Columns]]:
    """Read samples up to `stop`, block by block; `firsts` are the first of each block."""
    for first in firsts:
        yield from _collated(first, min(first + firsts.step, stop), sample, bad)


def _collated(
    first: int, last: int, sample: Callable[[int], tuple[str, Callable[[], dict[str, Any]]]], bad: BadRecords
) -> Iterator[tuple[int, Columns]]:
    """Read samples and put neighbours of the same fields into columns."""
    run: list[dict[str, Any]] = []
    for number in range(first, last):
        file, read = sample(number)
        try:
            found = read()
        except FormatError as error:
            bad.found(file, error)
            continue
        if run and run[0].keys() != found.keys():
            yield number, collate(run, file)
            run = []
        run.append(found)
    if run:
        yield last, collate(run, file)


def _bytes(file: File) -> bytes:
    try:
        return file.path.read_bytes()
    except OSError as error:
        raise FormatError(f"it cannot be read any more: {error.strerror or error}.") from error
