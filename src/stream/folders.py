"""Shards whose samples are several files or members: WebDataset archives and folders of class-named images."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

import numpy as np

from ..errors import DataError, FormatError
from ..formats import images, webdataset
from ..formats.layout import Sample
from .canvas import Canvas
from .files import File, Maps
from .plan import Positions
from .shards import BadRecords, Read, found_late, read_samples


class TarShard:
    """A WebDataset archive: members of one base name are a sample."""

    first_line: int | None = None

    def __init__(self, file: File, maps: Maps, threads: Executor | None, records: int | None = None) -> None:
        """Take an archive; where its number of samples is known, it is not touched before its first use."""
        self.name, self.threads = file.name, threads
        self._file, self._maps = file, maps
        self._lock = threading.Lock()
        self._index: webdataset.TarIndex | None = None
        known = self._members() if records is None else None
        self.records = len(known) if known else records or 0
        self.record_bytes = decoded_bytes(file.size / max(self.records, 1), known.names if known else (".jpg",))

    def read(self, rows: Positions, bad: BadRecords) -> Read:
        """Decode samples `[n]`."""
        return read_archives([self], np.zeros(len(rows), dtype=np.int64), rows, bad)

    def opened(self, bad: BadRecords) -> Callable[[int, images.Room], Sample]:
        """Return what decodes a sample by its number.

        Raises:
            DataError: no sound archive.
        """
        view = memoryview(self._maps.map(self._file))  # type: ignore[arg-type]
        index = found_late(self._members, self.name, bad)

        def decode(row: int, room: images.Room) -> Sample:
            try:
                return webdataset.decode(index.key(row), index.members(view, row), room)
            except FormatError as error:
                raise FormatError(f"record {row} at byte {index.starts[index.firsts[row]]}: {error}") from error

        return decode

    def _members(self) -> webdataset.TarIndex:
        """Find the samples, once.

        Raises:
            FormatError: no sound archive.
        """
        with self._lock:
            if self._index is None:
                self._index = webdataset.index(self._maps.map(self._file))
            return self._index


def read_archives(shards: Sequence[TarShard], numbers: Positions, rows: Positions, bad: BadRecords) -> Read:
    """Decode samples `[n]` of several archives, all of them at once, by shard number and row."""
    decoders: dict[int, Callable[[int, images.Room], Sample]] = {
        number: shards[number].opened(bad) for number in np.unique(numbers).tolist()
    }
    places, canvas = list(zip(numbers.tolist(), rows.tolist(), strict=True)), Canvas(len(rows))

    def decode(place: int) -> Sample:
        number, row = places[place]
        return decoders[number](row, canvas.room(place))

    names = [shards[number].name for number, _ in places]
    return read_samples(range(len(rows)), decode, names, shards[0].threads, bad, rows=rows, canvas=canvas)


class ImageFolder:
    """Images in folders named after their class; a class's number is its place in the sorted names."""

    first_line: int | None = None

    def __init__(self, channel: str, files: list[File], threads: Executor | None) -> None:
        """Take the files of a channel.

        Raises:
            DataError: images that lie in no folder, so that they have no class.
        """
        self.name = channel
        self._files, self._threads = files, threads
        for file in files:
            if "/" not in file.name:
                raise DataError(
                    f"Channel {channel!r}: the image {file.name} lies in no folder. Expected one folder for each "
                    f"class, such as cat/{file.name}: the folder's name is the label."
                )
        self._names = np.array([file.name.rsplit("/", 1)[0] for file in files])
        self.classes: tuple[str, ...] = ()
        self.renumber(tuple(sorted(set(self._names.tolist()))))
        self.records = len(files)
        self.record_bytes = decoded_bytes(sum(file.size for file in files) / len(files), ("jpg",))

    def renumber(self, classes: tuple[str, ...]) -> None:
        """Number classes by their place among these, in order: those of another channel, or of all hosts.

        Raises:
            DataError: an image of another class.
        """
        for name in np.unique(self._names).tolist():
            if name not in classes:
                raise DataError(
                    f"Channel {self.name!r} has images of the class {name!r}. Expected only those of the training "
                    f"channel: {', '.join(classes[:10])}. Add such images there, or drop the folder."
                )
        self.classes, self.labels = classes, np.searchsorted(np.array(classes), self._names)

    def read(self, rows: Positions, bad: BadRecords) -> Read:
        """Read and decode images `[n]`: fields `image` `[height, width, 3]` uint8, `label`, `__key__`."""
        numbers, canvas = rows.tolist(), Canvas(len(rows))
        names = [self._files[row].name for row in numbers]

        def decode(place: int) -> Sample:
            return self._decode(numbers[place], canvas.room(place))

        return read_samples(range(len(rows)), decode, names, self._threads, bad, rows=rows, canvas=canvas)

    def file_of(self, row: int) -> str:
        """Name of an image's file."""
        return self._files[row].name

    def _decode(self, row: int, room: images.Room) -> Sample:
        file = self._files[row]
        try:
            with file.path.open("rb", buffering=0) as handle:
                data = handle.readall()
        except OSError as error:
            raise FormatError(f"it cannot be read any more: {error.strerror or error}.") from error
        pixels = images.decode(data, room)
        key = file.name.rpartition(".")[0]
        return {"image": pixels, "label": np.asarray(self.labels[row]), "__key__": key}


def decoded_bytes(stored: float, extensions: tuple[str, ...]) -> float:
    """Guess the size of a sample in memory: an image is about ten times what JPEG makes of it."""
    return stored * 10 if any(f".{name.rpartition('.')[2]}" in images.SUFFIXES for name in extensions) else stored
