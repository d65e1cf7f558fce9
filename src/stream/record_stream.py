"""Whole records from a stream of bytes, some at a time, in memory that does not grow with the stream."""

from array import array
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import DataError, FormatError
from .framing import Framing


@dataclass(frozen=True, slots=True)
class Block:
    """Records that follow one another in a stream."""

    data: bytes
    stops: "array[int]"
    """Byte after each record, counted from the start of `data`."""
    first_record: int
    """Number of the first of them in the stream."""
    first_byte: int
    """Place of `data` in the stream."""

    def part(self, first: int, last: int) -> "Block":
        """Records [first, last) of these."""
        start = self.stops[first - 1] if first else 0
        stop = self.stops[last - 1] if last else 0
        stops = array("q", [place - start for place in self.stops[first:last]])
        return Block(self.data[start:stop], stops, self.first_record + first, self.first_byte + start)


class RecordStream:
    """Takes records off a stream."""

    def __init__(self, read: Callable[[], bytes], framing: Framing, name: str) -> None:
        """Take a function that returns the next bytes of the stream, none at its end, and the stream's name."""
        self._read, self._framing, self._name = read, framing, name
        self._data = bytearray()
        self._stops: array[int] = array("q")
        self._record = self._byte = 0
        self._ended = False

    def take(self, records: int) -> Block:
        """Take the next records: fewer at the end of the stream, at last none.

        Raises:
            DataError: the stream is damaged or ends within a record.
        """
        while len(self._stops) < records and not self._ended:
            self._more()
        stops = self._stops[:records]
        end = stops[-1] if stops else 0
        block = Block(bytes(memoryview(self._data)[:end]), stops, self._record, self._byte)
        self._stops = array("q", [stop - end for stop in self._stops[records:]])
        del self._data[:end]
        self._record += len(stops)
        self._byte += end
        return block

    def skip(self, records: int) -> None:
        """Pass over records, without decoding them."""
        while records > 0:
            if not self._stops and not self._ended:
                self._more()
            found = len(self.take(min(records, max(len(self._stops), 1))).stops)
            if not found:
                return
            records -= found

    def _more(self) -> None:
        chunk = self._read()
        start = self._stops[-1] if self._stops else 0
        try:
            if chunk:
                self._data += chunk
                self._stops += self._framing.stops(self._data, start)
                return
            self._ended = True
            # Whole records may be left that stood before damage: the damage is found now.
            found = self._framing.stops(self._data, start)
            self._stops += found
            start = found[-1] if found else start
            rest = bytes(self._data[start:])
            whole = self._framing.tail(rest) if rest else b""
            del self._data[start:]
            if whole:
                self._data += whole
                self._stops.append(len(self._data))
        except FormatError as error:
            record, byte = self._record + len(self._stops), self._byte + start
            raise DataError(f"{self._name}, record {record} at byte {byte}: {error}") from error
