"""Images as arrays: JPEG by simplejpeg, faster than Pillow and with the same bytes, the rest by Pillow.

Every image becomes RGB, uint8, `[height, width, 3]`, the first frame of several. Grey is repeated, alpha is dropped, 16
bits a channel keep their upper 8, CMYK is converted. Pixels stay as they are stored: an orientation in EXIF is *not*
applied, as with Pillow's `open` and the loaders built on it, so that boxes and masks drawn for the stored pixels fit.

Both decoders release the GIL, so threads decode in parallel. What simplejpeg refuses, Pillow judges: the two differ
only in how much junk between a JPEG's segments they put up with.
"""

import io
import re
import struct
import zlib
from collections.abc import Callable
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from ..errors import FormatError

Pixels: TypeAlias = NDArray[np.uint8]
"""`[height, width, 3]`, RGB."""
Room: TypeAlias = Callable[[tuple[int, int, int]], Pixels | None]
"""Says where an image of a shape goes, e.g. into a row of a batch: C-contiguous; None: into an array of its own."""

KINDS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
"""What is decoded, by Pillow's names; its other two dozen parsers are no place for bytes from a stranger."""
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")
"""Ends of the names of such files, in lower case."""
MAX_PIXELS = 1 << 26
"""Largest image decoded, width times height: 201 MB as RGB."""
MAX_SCANS = 500
"""Most passes of a progressive JPEG, libjpeg-turbo's own advice: each costs time for all pixels and few bytes."""
MAX_SCANNED = 1 << 31
"""Most pixels of all scans of a JPEG together."""

_JPEG = b"\xff\xd8\xff"
_SCAN = re.compile(rb"\xff\xda")
"""Searched for by an expression: `bytes.count` takes three times as long, a tenth of the time of decoding."""
_ANY_FAULT = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
"""What Pillow raises on broken files."""


def signature(head: bytes) -> str | None:
    """Kind of image, one of `KINDS`, by the first 12 bytes; None for anything else."""
    if head[:3] == _JPEG:
        return "JPEG"
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return "PNG"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:6] in {b"GIF87a", b"GIF89a"}:
        return "GIF"
    return "BMP" if head[:2] == b"BM" and len(head) >= 12 and head[6:10] == bytes(4) else None


def decode(data: bytes | memoryview, room: Room | None = None) -> Pixels:
    """Decode one image, where `room` is given into the array that it returns.

    Args:
        data: the whole file.
        room: asked once, when the image's shape is known.

    Returns:
        Array `[height, width, 3]` of uint8.

    Raises:
        FormatError: broken, cut short, too large, or of a kind that is not read.
    """
    shape = _fast_shape(data)
    if shape is None:
        pixels = _decode_by_pillow(data)
        height, width, colours = pixels.shape
        return _placed(pixels, room((height, width, colours)) if room else None)
    into = room(shape) if room else None
    try:
        decoded: Pixels = simplejpeg.decode_jpeg(data, "RGB", buffer=into)
    except ValueError:
        return _placed(_decode_by_pillow(data), into)
    return decoded if into is None else into


def fitted(pixels: Pixels, side: int) -> Pixels:
    """Bring the shorter side of an image `[height, width, ...]` to `side` and cut out the middle of the longer one."""
    picture = Image.fromarray(pixels)
    if picture.size == (side, side):
        return pixels
    short = min(picture.size)
    left, top = (picture.width - short) // 2, (picture.height - short) // 2
    middle = picture.crop((left, top, left + short, top + short))
    return np.asarray(middle.resize((side, side), Image.Resampling.BILINEAR))


def encode_jpeg(pixels: Pixels, quality: int = 90) -> bytes:
    """Write `[height, width, 3]` as JPEG with colour at half resolution; the same pixels give the same bytes."""
    _check_pixels(pixels)
    if max(pixels.shape) > 65_500:
        raise FormatError(f"Found an image of {list(pixels.shape)}, expected sides of at most 65500 for JPEG. Use PNG.")
    data: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality, "RGB", "420")
    return data


def encode_png(pixels: Pixels) -> bytes:
    """Write `[height, width, 3]` as PNG, without loss."""
    _check_pixels(pixels)
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG")
    return file.getvalue()


def _fast_shape(data: bytes | memoryview) -> tuple[int, int, int] | None:
    """Shape of a JPEG that simplejpeg decodes to Pillow's very bytes; None: leave the image to Pillow."""
    if bytes(data[:3]) != _JPEG:
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    _check_size(width, height)
    _check_scans(data, width * height)
    return (height, width, 3) if colours in {"YCbCr", "Gray", "RGB"} else None


def _decode_by_pillow(data: bytes | memoryview) -> Pixels:
    try:
        with Image.open(io.BytesIO(data), formats=KINDS) as image:
            _check_size(*image.size)
            if image.format in {"JPEG", "MPO"}:
                _check_scans(data, image.width * image.height)
            return _rgb(image)
    except FormatError:
        raise
    except _ANY_FAULT as error:
        raise FormatError(_reason(data, error)) from error


def _rgb(image: Image.Image) -> Pixels:
    if image.mode.startswith("I;16"):
        grey: NDArray[Any] = np.asarray(image)
        return np.repeat((grey >> 8).astype(np.uint8)[:, :, None], 3, axis=2)
    if image.mode in {"I", "F"}:
        raise FormatError(
            f"The {image.format} has 32 bits a channel (mode {image.mode}), expected 8 or 16. Convert it, or store NPY."
        )
    image.info.pop("transparency", None)  # alpha is dropped anyway; with it Pillow warns
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def _placed(pixels: Pixels, into: Pixels | None) -> Pixels:
    if into is None:
        return pixels
    into[:] = pixels
    return into


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise FormatError(
            f"The image claims {width} x {height} pixels, expected at most {MAX_PIXELS} in all. Scale it down; if it "
            f"should be small, the file is broken."
        )


def _check_scans(data: bytes | memoryview, pixels: int) -> None:
    """Count the marker that starts a scan; compressed data never hold it, since 0xFF in them is followed by 0."""
    most = min(MAX_SCANS, MAX_SCANNED // max(1, pixels))
    if next(islice(_SCAN.finditer(data), most, None), None) is not None:
        raise FormatError(
            f"The JPEG has more than {most} scans, expected at most {most} for its size. It is built to waste time: "
            f"write it anew."
        )


def _check_pixels(pixels: Pixels) -> None:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise FormatError(
            f"Found an array of {list(pixels.shape)} {pixels.dtype}, expected pixels [height, width, 3] of uint8."
        )


def _reason(data: bytes | memoryview, error: Exception) -> str:
    head = bytes(data[:12])
    kind = signature(head)
    if kind is None:
        return f"Found {head!r} at the start, expected an image: {', '.join(KINDS)}. The name does not fit the content."
    detail = str(error)[:120] or type(error).__name__
    return f"The {kind} of {len(data)} bytes cannot be decoded: {detail}. It is cut short or broken: write it anew."
