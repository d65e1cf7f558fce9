"""JPEG bytes to pixels, by Pillow (what a peer's users write) or by simplejpeg."""

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def pillow(data: bytes) -> NDArray[np.uint8]:
    """`[height, width, 3]` by Pillow."""
    with Image.open(io.BytesIO(data)) as image:
        return np.array(image.convert("RGB"))


def simplejpeg(data: bytes) -> NDArray[np.uint8]:
    """`[height, width, 3]` by simplejpeg."""
    from simplejpeg import decode_jpeg  # noqa: PLC0415  not in every environment

    return decode_jpeg(data)


DECODERS: dict[str, Callable[[bytes], NDArray[np.uint8]]] = {"pillow": pillow, "simplejpeg": simplejpeg}
