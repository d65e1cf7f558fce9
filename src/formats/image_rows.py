"""An image as the one row of a request, for models that take pixels."""

import numpy as np

from ..errors import FormatError
from . import images
from .rows import Rows, RowShape

_COLOURS = 3


def decode(data: bytes, row_shape: RowShape | None = None) -> Rows:
    """Read JPEG, PNG, WebP, BMP or GIF into `[1, 3, height, width]`, values from 0 to 255.

    For a square row the image is brought to its size as in training: the middle of it, scaled.

    Raises:
        FormatError: broken, a model that takes no pixels, or another size where that cannot be mended.
    """
    if row_shape is not None and (len(row_shape) != _COLOURS or row_shape[0] != _COLOURS):
        raise FormatError(
            f"An image was sent, but the model takes rows of shape {list(row_shape)}. Send rows, e.g. as JSON."
        )
    pixels = images.decode(data)
    if row_shape is not None and pixels.shape[:2] != row_shape[1:]:
        height, width = row_shape[1:]
        if height != width:
            raise FormatError(
                f"The image has {pixels.shape[1]} x {pixels.shape[0]} pixels, expected {width} x {height}. Scale it."
            )
        pixels = images.fitted(pixels, height)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], dtype=np.float32)
