"""A stream that is compressed with gzip, as a pipe is whose channel does not ask the platform to unpack its objects."""

import gzip
import io
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import DataError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK_BYTES = 1 << 20
"""Bytes that are unpacked at once, at most."""


def unpacked(start: bytes, read: Callable[[], bytes], name: str) -> Callable[[], bytes]:
    """Return what reads the content of gzip members that follow one another, as objects in a pipe do.

    Args:
        start: first bytes of the stream.
        read: returns the next ones, none at the end.
        name: what messages call the stream.

    The function that is returned raises DataError where the stream is damaged or cut short.
    """
    source = gzip.GzipFile(mode="rb", fileobj=io.BufferedReader(_Compressed(start, read), CHUNK_BYTES))

    def content() -> bytes:
        try:
            return bytes(source.read1(CHUNK_BYTES))
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataError(
                f"{name}, near byte {source.tell()} of what is unpacked: {error}. Expected whole gzip files, one after "
                f"another: copy the objects again."
            ) from error

    return content


class _Compressed(io.RawIOBase):
    """The compressed bytes as a file that is only read."""

    def __init__(self, start: bytes, read: Callable[[], bytes]) -> None:
        self._waiting, self._read = bytearray(start), read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        self._waiting += b"" if self._waiting else self._read()
        taken = self._waiting[: len(view)]
        view[: len(taken)] = taken
        del self._waiting[: len(taken)]
        return len(taken)
