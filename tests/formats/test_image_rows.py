import io

import numpy as np
import pytest
from PIL import Image
from twofold.errors import FormatError
from twofold.formats import image_rows, images


def saved(height, width, kind="PNG"):
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue(), pixels


def test_an_image_is_one_row_of_pixels():
    data, pixels = saved(6, 8)
    for shape in ((3, 6, 8), None):
        np.testing.assert_array_equal(image_rows.decode(data, shape), pixels.transpose(2, 0, 1)[None])


def test_an_image_of_another_size_is_cut_and_scaled_as_in_training():
    data, pixels = saved(20, 30)
    found = image_rows.decode(data, (3, 8, 8))
    np.testing.assert_array_equal(found, images.fitted(pixels, 8).transpose(2, 0, 1)[None])
    middle = Image.fromarray(pixels[:, 5:25]).resize((8, 8), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(found[0].transpose(1, 2, 0), np.asarray(middle))


@pytest.mark.parametrize(
    ("data", "shape", "message"),
    [
        (saved(6, 8)[0], (3, 8, 6), "The image has 8 x 6 pixels, expected 6 x 8"),
        (saved(6, 8)[0], (64,), r"the model takes rows of shape \[64\]"),
        (saved(6, 8)[0][:60], (3, 6, 8), "cannot be decoded"),
        (b"not an image", (3, 6, 8), "expected an image"),
    ],
)
def test_mistakes_are_named(data, shape, message):
    with pytest.raises(FormatError, match=message):
        image_rows.decode(data, shape)
