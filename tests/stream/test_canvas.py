"""Images are decoded into the batch, and what does not fit there loses nothing."""

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from twofold.formats import webdataset
from twofold.stream.canvas import Canvas
from twofold.stream.catalog import open_dataset


def saved(path, seed, size=(20, 30), kind="JPEG"):
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    path.write_bytes(buffer.getvalue())
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_images_of_one_size_are_one_array_that_nobody_copied(tmp_path, host, kind):
    expected = [saved(tmp_path / "data/a" / f"{n:02d}.img.{kind.lower()}", n, kind=kind) for n in range(20)]
    with ThreadPoolExecutor(3) as threads:
        dataset = open_dataset(tmp_path / "data", channel="train", host=host, threads=threads)
        rows = np.array([7, 3, 3, 19, *range(16)])
        columns, kept = dataset.read(rows)
    assert kept is None
    assert columns["image"].flags.owndata
    np.testing.assert_array_equal(columns["image"], [expected[row] for row in rows])
    assert columns["__key__"][0] == "a/07.img"


def test_an_image_of_another_size_makes_a_list(tmp_path, host):
    expected = [saved(tmp_path / "data/a" / f"{n:02d}.jpg", n, (20, 30 + (n == 4))) for n in range(6)]
    columns, _ = open_dataset(tmp_path / "data", channel="train", host=host).read(np.arange(6))
    assert isinstance(columns["image"], list)
    for found, wanted in zip(columns["image"], expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_a_broken_image_that_is_skipped_leaves_the_others_in_their_order(tmp_path, host):
    expected = [saved(tmp_path / "data/a" / f"{n:02d}.jpg", n) for n in range(6)]
    (tmp_path / "data/a/02.jpg").write_bytes(b"\xff\xd8\xff broken")
    dataset = open_dataset(tmp_path / "data", channel="train", host=host, on_bad_record="skip")
    columns, kept = dataset.read(np.arange(6))
    np.testing.assert_array_equal(kept, [0, 1, 3, 4, 5])
    np.testing.assert_array_equal(columns["image"], [expected[row] for row in kept])
    assert dataset.bad.skipped == 1


def test_images_of_several_archives_are_decoded_into_one_array(tmp_path, host):
    expected = []
    for shard in range(3):
        members = []
        for number in range(shard * 5, shard * 5 + 5):
            expected.append(saved(tmp_path / "image.jpg", number))
            sample = {"__key__": f"{number:03d}", "jpg": (tmp_path / "image.jpg").read_bytes(), "cls": str(number)}
            members.append(webdataset.encode(sample))
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / f"{shard}.tar").write_bytes(b"".join(members) + bytes(1024))
    with ThreadPoolExecutor(3) as threads:
        dataset = open_dataset(tmp_path / "data", channel="train", host=host, threads=threads)
        rows = np.random.default_rng(0).permutation(15)
        columns, _ = dataset.read(rows)
    assert columns["jpg"].flags.owndata
    np.testing.assert_array_equal(columns["jpg"], [expected[row] for row in rows])
    np.testing.assert_array_equal(columns["cls"], rows)


def test_a_place_is_given_once():
    canvas = Canvas(2)
    first, second = canvas.room(0)((4, 5, 3)), canvas.room(1)((4, 5, 3))
    assert canvas.room(0)((4, 5, 3)) is None
    assert canvas.column([first, second]).base is None
    assert canvas.column([first, first.copy()]) is None
    np.testing.assert_array_equal(canvas.column([second, first]), np.stack([second, first]))
