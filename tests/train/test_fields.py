import numpy as np
import pytest
import torch
from twofold.errors import DataError
from twofold.train.fields import choose_fields


def column(*shape, dtype=np.float32):
    return np.zeros((1, *shape), dtype=dtype)


def chosen(sample, **options):
    return choose_fields(sample, "", "training", **options)


IMAGE = {"image": column(4, 6, 3, dtype=np.uint8), "label": column(dtype=np.int64), "__key__": ["a"]}
GREY = {"image": column(4, 6, dtype=np.uint8), "label": column(dtype=np.int64)}


@pytest.mark.parametrize(
    ("sample", "wish", "takes", "shape"),
    [
        (IMAGE, "pixels", "pixels", (3, 4, 6)),
        (IMAGE, "auto", "pixels", (3, 4, 6)),
        (IMAGE, "numbers", "numbers", (72,)),
        (GREY, "pixels", "pixels", (3, 4, 6)),
        (GREY, "auto", "numbers", (24,)),
        ({"data": column(5)}, "auto", "numbers", (4,)),
        ({"data": column(5, dtype=np.uint16)}, "tokens", "tokens", (4,)),
    ],
)
def test_what_a_model_takes_is_found_by_wish_and_data(sample, wish, takes, shape):
    found = chosen(sample, wish=wish)
    assert (found.takes, found.shape) == (takes, shape)
    rows, labels = found.empty
    assert rows.shape == (0, *shape)
    assert len(labels) == 0


def test_pixels_go_to_the_front_and_grey_becomes_colour():
    pixels = torch.randint(0, 256, (2, 4, 6, 3), dtype=torch.uint8)
    rows, labels = chosen(IMAGE, wish="pixels").split({"image": pixels, "label": torch.tensor([3, 1])})
    assert rows.dtype == torch.uint8
    assert torch.equal(rows, pixels.permute(0, 3, 1, 2))
    assert labels.tolist() == [3, 1]
    rows, _ = chosen(GREY, wish="pixels").split({"image": pixels[..., 0], "label": torch.tensor([3, 1])})
    assert all(torch.equal(rows[:, colour], pixels[..., 0]) for colour in range(3))


def test_the_middle_of_an_image_is_brought_to_the_size_asked_for():
    tall = np.zeros((40, 20, 3), dtype=np.uint8)
    tall[10:30] = 200  # the middle square
    wide = np.full((5, 9, 3), 7, dtype=np.uint8)
    fields = chosen(IMAGE, wish="pixels", size=10)
    rows, _ = fields.split({"image": [tall, wide], "label": torch.tensor([0, 1])})
    assert rows.shape == (2, 3, 10, 10)
    assert rows[0].unique().tolist() == [200]
    assert rows[1].unique().tolist() == [7]


def test_tokens_are_asked_and_those_that_follow_are_the_answer():
    tokens = torch.tensor([[1, 2, 3, 4, 60000]], dtype=torch.int32)
    rows, labels = chosen({"data": column(5, dtype=np.int32)}, wish="tokens").split({"data": tokens})
    assert rows.tolist() == [[1, 2, 3, 4]]
    assert labels.tolist() == [[2, 3, 4, 60000]]
    assert rows.dtype == labels.dtype == torch.int64


@pytest.mark.parametrize(
    ("sample", "wish", "batch", "message"),
    [
        (IMAGE, "pixels", {"label": torch.zeros(1)}, "no image 'image'"),
        (IMAGE, "pixels", {"image": torch.zeros(1, 5, 6, 3, dtype=torch.uint8), "label": torch.zeros(1)}, "are 6 x 5"),
        (IMAGE, "pixels", {"image": [np.zeros((2, 2, 3))], "label": torch.zeros(1)}, "differ in size. Expected 6 x 4"),
        ({"data": column(5, dtype=np.int32)}, "tokens", {"data": torch.zeros(1, 6)}, "Samples have 5 features"),
    ],
)
def test_samples_unlike_the_first_are_refused(sample, wish, batch, message):
    with pytest.raises(DataError, match=message):
        chosen(sample, wish=wish).split(batch)
